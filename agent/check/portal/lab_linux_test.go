package portal

import (
	"maps"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// labSites starts the lab's nginx with these sites on loopback; its certificates are of [checktest.Epoch].
func labSites(t *testing.T, sites ...servers.SiteConfig) (*servers.Portals, *servers.PKI) {
	t.Helper()
	if err := servers.Require("nginx"); err != nil {
		t.Skip(err)
	}
	p := servers.Loopback(t.TempDir(), netip.MustParseAddr("127.0.0.1"), nil)
	pki, err := servers.NewPKI(filepath.Join(p.Dir, "pki"), servers.PKIConfig{Now: checktest.Epoch()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := servers.StartPortals(t.Context(), p, servers.PortalsConfig{PKI: pki, Sites: sites, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { done(t, s.Stop()) })
	return s, pki
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// A portal as the lab has it, well and broken in the ways in which its users find it.
func TestHTTPOfTheLab(t *testing.T) {
	s, pki := labSites(t, servers.SiteConfig{Name: "tuky.test", Kind: servers.PortalSite, Title: "Cổng TTĐT huyện Tứ Kỳ"})
	site := s.Site("tuky.test")
	strs := func(s ...string) []string { return s }
	for _, tt := range []struct {
		name, path string
		fault      func(on bool) error
		with       check.Options
		want       want
	}{
		{"content", "/", nil, check.Options{"contains": strs("Tứ Kỳ"), "absent": strs("bảo trì")}, want{check.OK, "", map[string]float64{"status_code": 200, "http_version_code": 11, "redirects_count": 0}}},
		{"content missing", "/", nil, check.Options{"contains": strs("Hải Dương")}, want{check.ContentMissing, "Hải Dương", nil}},
		{"defaced", "/", site.Deface, check.Options{"contains": strs("Tứ Kỳ")}, want{check.ContentMissing, "Tứ Kỳ", map[string]float64{"status_code": 200}}},
		{"upstream dead", "/", func(on bool) error { return s.BackendDown("tuky.test", on) }, nil, want{check.HTTPStatus, "status 502", map[string]float64{"status_code": 502}}},
		{"maintenance with status 200", "/", site.Maintenance, check.Options{"absent": strs("bảo trì")}, want{check.ContentForbidden, "bảo trì", map[string]float64{"status_code": 200}}},
		{"not there", "/gone", nil, nil, want{check.HTTPStatus, "status 404", nil}},
		{"nginx dead", "/", s.Halt, nil, want{check.ConnectRefused, "", nil}},
		{"well again", "/", nil, check.Options{"contains": strs("Tứ Kỳ"), "absent": strs("bảo trì")}, want{check.OK, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				done(t, tt.fault(true))
				defer func() { done(t, tt.fault(false)) }()
			}
			for _, base := range []string{s.PlainURL(), s.URL()} {
				o := check.Options{"url": base + tt.path, "roots": pki.Roots}
				maps.Copy(o, tt.with)
				tt.want.of(t, checktest.NewFunc(t, httpKind(), o, check.Env{}))
			}
		})
	}
}

// A portal's certificate in each state that the lab has.
func TestTLSOfTheLab(t *testing.T) {
	s, pki := labSites(t, servers.SiteConfig{Name: "portal.test", Kind: servers.PortalSite, Title: "Cổng TTĐT"},
		servers.SiteConfig{Name: "other.test", Kind: servers.PortalSite, Title: "Cổng khác"})
	const day = 24 * time.Hour
	unix := func(d time.Duration) float64 { return float64(checktest.Epoch().Add(d).Unix()) }
	issuer := pki.G2.Cert.Subject.CommonName + " (" + pki.G2.Cert.Subject.Organization[0] + ")"
	for _, tt := range []struct {
		name   string
		state  servers.Certificate
		with   check.Options
		page   bool // a page fails in the same way
		wanted want
	}{
		{"all is well", servers.Good, nil, true, want{check.OK, "issued by " + issuer, map[string]float64{"chain_certs_count": 2, "chain_valid_code": 1,
			"intermediate_not_after_unix": float64(pki.G2.Cert.NotAfter.Unix())}}},
		{"missing intermediate", servers.NoIntermediate, nil, true, want{check.TLSUntrusted, "issuer " + issuer, map[string]float64{"chain_certs_count": 1, "chain_valid_code": 0, "name_valid_code": 1}}},
		{"expired", servers.Expired, nil, true, want{check.TLSExpired, "portal.test", map[string]float64{"cert_not_after_unix": unix(-day)}}},
		{"ends soon", servers.Ending, nil, true, want{check.CertExpiring, "portal.test", map[string]float64{"chain_not_after_unix": unix(5 * day)}}},
		{"ends soon enough", servers.Ending, check.Options{"warn_days": int64(4)}, false, want{check.OK, "", nil}},
		{"of another name", servers.OtherName, nil, true, want{check.TLSName, "", map[string]float64{"name_valid_code": 0}}},
		{"wrong name", servers.Good, check.Options{"server_name": "motcua.test"}, false, want{check.TLSName, "motcua.test", nil}},
		{"by its name", servers.Good, check.Options{"server_name": "portal.test"}, false, want{check.OK, "", nil}},
		{"another portal at the same address", servers.Expired, check.Options{"server_name": "other.test"}, false, want{check.OK, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done(t, s.Site("portal.test").UseCertificate(tt.state))
			o := check.Options{"address": s.Addr(), "roots": pki.Roots}
			maps.Copy(o, tt.with)
			tt.wanted.of(t, checktest.NewFunc(t, tlsKind(), o, check.Env{}))
			if tt.page {
				o := check.Options{"url": s.URL() + "/", "roots": pki.Roots}
				want{tt.wanted.reason, "", nil}.of(t, checktest.NewFunc(t, httpKind(), o, check.Env{}))
			}
		})
	}
}

// The login page of a portal of public services.
func TestLoginpageOfTheLab(t *testing.T) {
	s, pki := labSites(t, servers.SiteConfig{Name: "dvc.test", Kind: servers.ServiceSite, Title: "Dịch vụ công"})
	site := s.Site("dvc.test")
	expired := func(on bool) error {
		if on {
			return site.UseCertificate(servers.Expired)
		}
		return site.UseCertificate(servers.Good)
	}
	for _, tt := range []struct {
		name  string
		fault func(on bool) error
		want  want
	}{
		{"all is well", nil, want{check.OK, "", map[string]float64{"forms_count": 1, "status_code": 200, "chain_valid_code": 1}}},
		{"closed for maintenance", site.Maintenance, want{check.ContentMissing, "no form", nil}},
		{"the program behind it is dead", func(on bool) error { return s.BackendDown("dvc.test", on) }, want{check.HTTPStatus, "status 502", nil}},
		{"certificate expired", expired, want{check.TLSExpired, "dvc.test", nil}},
		{"well again", nil, want{check.OK, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				done(t, tt.fault(true))
				defer func() { done(t, tt.fault(false)) }()
			}
			o := check.Options{"url": s.URL() + "/dang-nhap", "roots": pki.Roots, "fields": []string{"taikhoan", "captcha"}, "captcha": "captcha"}
			tt.want.of(t, checktest.NewFunc(t, loginpageKind(), o, check.Env{}))
		})
	}
}
