package onestop

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// labPlan is a walk through the lab's one-stop shop as a plan has it.
const labPlan = `plan: test
checks:
  - id: mc.journey
    kind: journey
    every: 5m
    with:
      url: URL
      roots: ROOTS
      approved: "12/GP-STTTT"
      steps:
        - name: mở trang
          get: /dang-nhap
          inputs: {token: __RequestVerificationToken}
        - name: đăng nhập
          post: /dang-nhap
          form: {taikhoan: giamsat, matkhau: {secret: probe}, __RequestVerificationToken: "${token}"}
          contains: [Xin chào]
          extract: {ma: 'mới nhất: ([^ <]+)'}
        - name: tra cứu
          get: /tra-cuu
          form: {ma: "${ma}"}
          contains: ["TEXT", "H23.298"]
          absent: ["Lỗi hệ thống"]
`

// The lab's one-stop shop, well and broken in the ways in which its officers find it.
func TestJourneyOfTheLab(t *testing.T) {
	if err := servers.Require("nginx"); err != nil {
		t.Skip(err)
	}
	p := servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil)
	pki, err := servers.NewPKI(filepath.Join(p.Dir, "pki"), servers.PKIConfig{Now: checktest.Epoch()})
	if err != nil {
		t.Fatal(err)
	}
	const host = "motcua.test"
	s, err := servers.StartPortals(t.Context(), p, servers.PortalsConfig{PKI: pki, Users: map[string]string{"giamsat": password},
		Sites: []servers.SiteConfig{{Name: host, Kind: servers.OneStopSite, Title: "Một cửa điện tử huyện Tứ Kỳ"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	o := parse(t, strings.NewReplacer("URL", s.URL(), "ROOTS", pki.Roots, "TEXT", servers.TextDossier).Replace(labPlan))
	site := s.Site(host)
	for _, tt := range []struct {
		name, secret string
		fault        func(on bool) error
		reason       check.Reason
		detail       string
		steps        float64 // that went well
		chain        bool    // its certificate was seen and holds
	}{
		{"all is well", password, nil, check.OK, "", 3, true},
		{"wrong password", "sai", nil, check.Auth, `step 2 "đăng nhập": status 401`, 1, true},
		{"login works, the look-up fails", password, site.LookupFails, check.HTTPStatus, `step 3 "tra cứu": status 500`, 2, true},
		{"closed for maintenance with status 200", password, site.Maintenance, check.ContentMissing, `step 1 "mở trang"`, 0, true},
		{"the program behind nginx is dead", password, func(on bool) error { return s.BackendDown(host, on) }, check.HTTPStatus, `step 1 "mở trang": status 502`, 0, true},
		{"nginx is dead", password, s.Halt, check.ConnectRefused, `step 1 "mở trang"`, 0, false},
		{"well again", password, nil, check.OK, "", 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				if err := tt.fault(true); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := tt.fault(false); err != nil {
						t.Error(err)
					}
				}()
			}
			r := run(t.Context(), t, o, env(tt.secret))
			if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
			}
			if got, _ := r.Facts.Get("steps_passed_count"); got != tt.steps {
				t.Errorf("%v steps went well, want %v", got, tt.steps)
			}
			if v, ok := r.Facts.Get("chain_valid_code"); ok != tt.chain || tt.chain && v != 1 {
				t.Errorf("chain_valid_code = %v %v", v, ok)
			}
		})
	}
}
