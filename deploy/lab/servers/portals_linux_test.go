package servers

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/plan"

	"egovmon/agent/check/kinds"
)

// visit is a look at a site's page, by its name and the server's address.
func visit(pki *PKI, s *Portals, site, path string, reason check.Reason, detail string) look {
	o := check.Options{"url": s.URL() + path, "roots": pki.Roots, "contains": []string{"Tứ Kỳ"}, "absent": []string{"bảo trì"}}
	if site != "" {
		o["server_name"], o["headers"] = site, map[string]string{"Host": site}
	}
	return look{kind: "http", with: o, reason: reason, detail: detail}
}

func startPortals(t *testing.T, p Place, pki *PKI, sites ...SiteConfig) *Portals {
	t.Helper()
	s := must[*Portals](t)(StartPortals(t.Context(), p, PortalsConfig{PKI: pki, Sites: sites, Users: map[string]string{"giamsat": "Mật khẩu 9"}}))
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestPortals(t *testing.T) {
	need(t, "nginx")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		s := startPortals(t, p, pki,
			SiteConfig{Name: "tuky.lab", Aliases: []string{"www.tuky.lab"}, Kind: PortalSite, Title: "Cổng TTĐT huyện Tứ Kỳ"},
			SiteConfig{Name: "xa-a.lab", Kind: PortalSite, Title: "Xã A, huyện Tứ Kỳ", Backend: "communes"},
			SiteConfig{Name: "xa-b.lab", Kind: PortalSite, Title: "Xã B, huyện Tứ Kỳ", Backend: "communes"})
		district, a := s.Site("tuky.lab"), s.Site("xa-a.lab")
		page := func(site string, reason check.Reason, detail string) look {
			return visit(pki, s, site, "/", reason, detail)
		}
		use := func(c Certificate) func() error { return func() error { return district.UseCertificate(c) } }
		walk(t, []step{
			{"by its address", nil, page("", check.OK, "")},
			{"by its name", nil, page("tuky.lab", check.OK, "")},
			{"by its other name", nil, page("www.tuky.lab", check.OK, "")},
			{"a commune", nil, page("xa-a.lab", check.OK, "")},
			{"maintenance", func() error { return district.Maintenance(true) }, page("tuky.lab", check.ContentForbidden, "bảo trì")},
			{"not the communes'", nil, page("xa-a.lab", check.OK, "")},
			{"maintenance is over", func() error { return district.Maintenance(false) }, page("tuky.lab", check.OK, "")},
			{"defaced", func() error { return a.Deface(true) }, page("xa-a.lab", check.ContentMissing, "Tứ Kỳ")},
			{"not its neighbour", nil, page("xa-b.lab", check.OK, "")},
			{"mended", func() error { return a.Deface(false) }, page("xa-a.lab", check.OK, "")},
			{"expired", use(Expired), page("tuky.lab", check.TLSExpired, "")},
			{"not the communes' certificate", nil, page("xa-a.lab", check.OK, "")},
			{"another name", use(OtherName), page("tuky.lab", check.TLSName, "")},
			{"no intermediate", use(NoIntermediate), page("tuky.lab", check.TLSUntrusted, "")},
			{"good certificate", use(Good), page("tuky.lab", check.OK, "")},
			{"backend of the communes down", func() error { return s.BackendDown("communes", true) }, page("xa-a.lab", check.HTTPStatus, "status 502")},
			{"the other commune", nil, page("xa-b.lab", check.HTTPStatus, "status 502")},
			{"the district beside it", nil, page("tuky.lab", check.OK, "")},
			{"backend up", func() error { return s.BackendDown("communes", false) }, page("xa-b.lab", check.OK, "")},
			{"stopped", func() error { return s.Halt(true) }, page("tuky.lab", check.ConnectRefused, "")},
			{"started", func() error { return s.Halt(false) }, page("tuky.lab", check.OK, "")},
		})
		if s.BackendDown("nobody", true) == nil || district.UseCertificate("rusty") == nil || s.Site("nobody") != nil {
			t.Error("what is not there was taken")
		}
		toHTTPS(t, p, s)
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		see(t, "stopped for good", page("", check.ConnectRefused, ""))
		if s.Halt(false) == nil {
			t.Error("came back after Stop")
		}
	})
}

// toHTTPS sees that port 80 leads to port 443.
func toHTTPS(t *testing.T, p Place, s *Portals) {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.at(80)+"/tin?x=1", nil))
	req.Host = "xa-a.lab"
	resp := must[*http.Response](t)(http.DefaultTransport.RoundTrip(req))
	resp.Body.Close()
	want := s.Site("xa-a.lab").URL() + "/tin?x=1"
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusMovedPermanently || got != want {
		t.Errorf("port 80: %d to %s, want %s", resp.StatusCode, got, want)
	}
}

func TestServicePortal(t *testing.T) {
	need(t, "nginx")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		s := startPortals(t, p, pki, SiteConfig{Name: "dvc.lab", Kind: ServiceSite, Title: "Cổng dịch vụ công"}, SiteConfig{Name: "tt.lab", Kind: PaymentSite, Title: "Thanh toán"})
		login := func(reason check.Reason) look {
			return look{kind: "loginpage", reason: reason, with: check.Options{"url": s.URL() + "/dang-nhap", "roots": pki.Roots, "fields": []string{"taikhoan", "captcha"}, "captcha": "captcha"}}
		}
		pay := visit(pki, s, "tt.lab", "/thanh-toan", check.OK, "")
		pay.with["contains"] = []string{"Thanh toán phí"}
		walk(t, []step{
			{"login page", nil, login(check.OK)},
			{"payment page", nil, pay},
			{"maintenance", func() error { return s.Site("dvc.lab").Maintenance(true) }, login(check.ContentMissing)},
		})
	})
}

// journeyPlan is a walk through a one-stop shop as a plan has it.
const journeyPlan = `plan: test
checks:
  - id: mc.journey
    kind: journey
    every: 5m
    with:
      url: URL
      roots: ROOTS
      approved: "12/GP"
      steps:
        - name: mở trang
          get: /dang-nhap
          inputs: {token: __RequestVerificationToken}
        - name: đăng nhập
          post: /dang-nhap
          form: {taikhoan: giamsat, matkhau: {secret: motcua}, __RequestVerificationToken: "${token}"}
          contains: [Xin chào]
          extract: {ma: 'mới nhất: ([^ <]+)'}
        - name: tra cứu
          get: /tra-cuu
          form: {ma: "${ma}"}
          contains: ["Trạng thái: Đang xử lý", "H23.298"]
`

func TestOneStop(t *testing.T) {
	need(t, "nginx")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		s := startPortals(t, p, pki, SiteConfig{Name: "motcua.lab", Kind: OneStopSite, Title: "Một cửa điện tử huyện Tứ Kỳ"})
		text := strings.NewReplacer("URL", s.URL(), "ROOTS", pki.Roots).Replace(journeyPlan)
		walked := must[*plan.Plan](t)(plan.Parse([]byte(text), kinds.Table())).Checks[0].Options
		journey := func(reason check.Reason, detail string) look {
			return look{kind: "journey", with: walked, secret: "Mật khẩu 9", reason: reason, detail: detail}
		}
		wrong := journey(check.Auth, "status 401")
		wrong.secret = "falsch"
		site := s.Site("motcua.lab")
		walk(t, []step{
			{"all is well", nil, journey(check.OK, "")},
			{"wrong password", nil, wrong},
			{"look-up fails", func() error { return site.LookupFails(true) }, journey(check.HTTPStatus, `step 3 "tra cứu": status 500`)},
			{"its front page all the same", nil, visit(pki, s, "", "/", check.OK, "")},
			{"look-up works", func() error { return site.LookupFails(false) }, journey(check.OK, "")},
			{"backend down", func() error { return s.BackendDown("motcua.lab", true) }, journey(check.HTTPStatus, "status 502")},
		})
		if err := s.BackendDown("motcua.lab", false); err != nil {
			t.Fatal(err)
		}
		notLetIn(t, s)
	})
}

// notLetIn tries what a browser may not do: to look up without a login, and to send a form that it was not given.
func notLetIn(t *testing.T, s *Portals) {
	t.Helper()
	site := s.Site("motcua.lab")
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "/tra-cuu?ma=1", "", http.StatusFound},
		{http.MethodGet, "/ho-so", "", http.StatusFound},
		{http.MethodPost, "/dang-nhap", "taikhoan=giamsat&matkhau=M%E1%BA%ADt+kh%E1%BA%A9u+9", http.StatusBadRequest},
		{http.MethodGet, "/captcha.png", "", http.StatusNotFound},
		{http.MethodGet, "/thanh-toan", "", http.StatusNotFound},
		{http.MethodDelete, "/dang-nhap", "", http.StatusMethodNotAllowed},
	} {
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), tt.method, "http://motcua.lab"+tt.path, strings.NewReader(tt.body)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := &answer{header: http.Header{}}
		site.ServeHTTP(w, r)
		if w.status != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, w.status, tt.status)
		}
	}
}

// A form is not taken with a token other than the one that came with it.
func TestForgedForm(t *testing.T) {
	site := &Site{c: SiteConfig{Kind: OneStopSite}, users: map[string]string{"giamsat": "9"}, sessions: map[string]*session{}}
	w := &answer{header: http.Header{}}
	site.ServeHTTP(w, must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://motcua.lab/dang-nhap", nil)))
	cookie, _, _ := strings.Cut(w.header.Get("Set-Cookie"), ";")
	var token string
	for _, s := range site.sessions {
		token = s.token
	}
	for _, tt := range []struct {
		token  string
		status int
	}{{"", http.StatusBadRequest}, {token + "x", http.StatusBadRequest}, {token, http.StatusSeeOther}} {
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, "http://motcua.lab/dang-nhap",
			strings.NewReader("taikhoan=giamsat&matkhau=9&__RequestVerificationToken="+tt.token)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		w := &answer{header: http.Header{}}
		if site.ServeHTTP(w, r); w.status != tt.status {
			t.Errorf("token %q: status %d, want %d", tt.token, w.status, tt.status)
		}
	}
}

// An answer is what a handler said.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }

func TestCaptive(t *testing.T) {
	need(t, "nginx")
	places(t, func(t *testing.T, p Place) {
		pki := newPKI(t, p)
		c := must[*Captive](t)(StartCaptive(t.Context(), p, CaptiveConfig{PKI: pki, Host: "wifi.lab"}))
		defer c.Stop()
		page := look{kind: "http", with: check.Options{"url": "http://" + c.Addr() + "/tin", "headers": map[string]string{"Host": "tuky.lab"}}, reason: check.HTTPRedirect, detail: "http://wifi.lab"}
		secure := look{kind: "tls", with: check.Options{"address": p.at(443), "server_name": "tuky.lab", "roots": pki.Roots}, reason: check.TLSName}
		if _, _, err := net.SplitHostPort(c.Addr()); err != nil {
			t.Error(err)
		}
		gone := page
		gone.reason, gone.detail = check.ConnectRefused, ""
		walk(t, []step{
			{"over HTTP", nil, page},
			{"over TLS", nil, secure},
			{"halted", func() error { return c.Halt(true) }, gone},
			{"again", func() error { return c.Halt(false) }, page},
		})
	})
}

func TestPortalsThatCannotBe(t *testing.T) {
	p := localhost(t)
	pki := newPKI(t, p)
	for _, c := range []PortalsConfig{{PKI: pki}, {PKI: pki, Sites: []SiteConfig{{Name: "x.lab", Kind: "shop"}}}} {
		if _, err := StartPortals(t.Context(), p, c); err == nil {
			t.Errorf("started %+v", c.Sites)
		}
	}
}
