package portal

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

const loginForm = `<!doctype html><html><body><form action=/search><input name=q></form>
<form method=post action=/login><input type=hidden name=__token value=abc><input name="user"><input type="PASSWORD" name=pw>
<img id=imgCaptcha src="captcha.png?x=1"><input name=captcha></form><p>Đăng nhập</p></body></html>`

// A site is a login page with everything that can be wrong with it.
type site struct {
	page        string
	imageType   string
	image       string
	wantsCookie bool
	posted      bool
	location    string // where /go leads
}

// ServeHTTP serves the site.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		s.posted = true
	}
	switch r.URL.Path {
	case "/go":
		http.Redirect(w, r, s.location, http.StatusFound)
	case "/login":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/"})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, s.page)
	case "/captcha.png":
		if _, err := r.Cookie("session"); err != nil && s.wantsCookie {
			http.Error(w, "no session", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", s.imageType)
		_, _ = io.WriteString(w, s.image)
	case "/hang":
		<-r.Context().Done()
	default:
		http.NotFound(w, r)
	}
}

func TestLoginpage(t *testing.T) {
	strs := func(s ...string) []string { return s }
	full := check.Options{"fields": strs("user", "captcha"), "captcha": "imgCaptcha"}
	image := strings.Repeat("p", 300)
	for _, tt := range []struct {
		name     string
		site     site
		path     string
		with     check.Options
		reason   check.Reason
		detail   string
		facts    map[string]float64
		location string
	}{
		{name: "all is well", site: site{wantsCookie: true}, with: full, reason: check.OK,
			facts: map[string]float64{"forms_count": 2, "fields_count": 4, "captcha_bytes": 300, "status_code": 200}},
		{name: "captcha by its path", with: check.Options{"captcha": "/captcha.png"}, reason: check.OK, facts: map[string]float64{"captcha_bytes": 300}},
		{name: "captcha in the page", site: site{page: `<form><input type=password><img class=cap src="data:image/png;base64,aGVsbG8="></form>`},
			with: check.Options{"captcha": "cap", "captcha_min_bytes": int64(5)}, reason: check.OK, facts: map[string]float64{"captcha_bytes": 5}},
		{name: "captcha in the page, too small", site: site{page: `<form><input type=password><img class=cap src="data:image/png;base64,aGVsbG8="></form>`},
			with: check.Options{"captcha": "cap"}, reason: check.Truncated, detail: "5 bytes"},
		{name: "captcha in the page, broken", site: site{page: `<form><input type=password><img class=cap src="data:image/png;base64,!"></form>`},
			with: check.Options{"captcha": "cap"}, reason: check.ContentMissing, detail: "no base64"},
		{name: "a login in two steps", site: site{page: `<form><input name=user></form>`}, with: check.Options{"fields": strs("user"), "password": false}, reason: check.OK},
		{name: "a field that names its form", site: site{page: `<form id=f><input name=user></form><input type=password form=f>`}, with: check.Options{"fields": strs("user")}, reason: check.OK},
		{name: "no form", site: site{page: "<div id=app></div><input type=password>"}, reason: check.ContentMissing, detail: "no form"},
		{name: "a form in a comment", site: site{page: "<!-- " + loginForm + " -->"}, reason: check.ContentMissing, detail: "no form"},
		{name: "a form in a script", site: site{page: "<script>var x='" + loginForm + "'</script>"}, reason: check.ContentMissing, detail: "no form"},
		{name: "a form in a template", site: site{page: "<template>" + loginForm + "</template>"}, reason: check.ContentMissing, detail: "no form"},
		{name: "a field is missing", with: check.Options{"fields": strs("user", "otp")}, reason: check.ContentMissing, detail: `field "otp" is missing`},
		{name: "fields in two forms", with: check.Options{"fields": strs("q")}, reason: check.ContentMissing, detail: "none of 2 forms"},
		{name: "no password", site: site{page: "<form><input name=user></form>"}, reason: check.ContentMissing, detail: "type password"},
		{name: "text is not there", with: check.Options{"contains": strs("Tứ Kỳ")}, reason: check.ContentMissing, detail: "Tứ Kỳ"},
		{name: "text that must not be", with: check.Options{"absent": strs("Đăng nhập")}, reason: check.ContentForbidden, detail: "Đăng nhập"},
		{name: "captcha not on the page", with: check.Options{"captcha": "recaptcha"}, reason: check.ContentMissing, detail: `no image with "recaptcha"`},
		{name: "captcha gone", with: check.Options{"captcha": "/gone.png"}, reason: check.HTTPStatus, detail: "captcha image: status 404"},
		{name: "captcha is a page", site: site{imageType: "text/html"}, with: full, reason: check.ContentMissing, detail: "captcha image: header Content-Type"},
		{name: "captcha is empty", site: site{image: "x"}, with: full, reason: check.Truncated, detail: "captcha image: the body has 1 bytes"},
		{name: "captcha at another site", with: check.Options{"captcha": "http://localhost.test/x.png"}, reason: check.HTTPRedirect, detail: "at another site"},
		{name: "captcha hangs", with: check.Options{"captcha": "/hang"}, reason: check.Timeout, detail: "captcha image"},
		{name: "page hangs", path: "/hang", reason: check.Timeout},
		{name: "page gone", path: "/gone", reason: check.HTTPStatus},
		{name: "page too large", with: check.Options{"max_bytes": int64(10)}, reason: check.TooLarge},
		{name: "single sign-on", path: "/go", location: "localhost", with: check.Options{"sso_host": "localhost"}, reason: check.OK, facts: map[string]float64{"redirects_count": 1}},
		{name: "single sign-on to another host", path: "/go", location: "localhost", with: check.Options{"sso_host": "sso.test"}, reason: check.HTTPRedirect, detail: "another site"},
		{name: "single sign-on allowed through others ends wrong", path: "/go", location: "localhost", with: check.Options{"sso_host": "sso.test", "other_hosts": true}, reason: check.HTTPRedirect, detail: "want host sso.test"},
		{name: "no single sign-on where one must be", with: check.Options{"sso_host": "sso.test"}, reason: check.HTTPRedirect, detail: "want host sso.test"},
		{name: "redirected away", path: "/go", location: "localhost", reason: check.HTTPRedirect, detail: "another site"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &tt.site
			s.page, s.image, s.imageType = orElse(s.page, loginForm), orElse(s.image, image), orElse(s.imageType, "image/png")
			server := httptest.NewServer(s)
			t.Cleanup(server.Close)
			if tt.location != "" {
				s.location = strings.Replace(server.URL, "127.0.0.1", tt.location, 1) + "/login"
			}
			o := check.Options{"url": server.URL + orElse(tt.path, "/login")}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, loginpageKind(), o, check.Env{})
			ctx := t.Context()
			if tt.reason == check.Timeout {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			r := f(ctx)
			if r.Reason != tt.reason || !strings.Contains(r.Detail, tt.detail) {
				t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, tt.reason, tt.detail)
			}
			for name, want := range tt.facts {
				if got, ok := r.Facts.Get(name); !ok || got != want {
					t.Errorf("%s = %v %v, want %v", name, got, ok, want)
				}
			}
			if s.posted {
				t.Error("something was submitted")
			}
		})
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func TestLoginpageOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"url": "ftp://portal.test/"}, `option "url"`},
		{check.Options{"fields": []string{""}}, `option "fields": an empty`},
		{check.Options{"password": false}, `option "fields": nothing`},
		{check.Options{"captcha": "ftp://x/"}, `option "captcha"`},
		{check.Options{"sso_host": "-ạ_"}, `option "sso_host"`},
	} {
		if !tt.with.Has("url") {
			tt.with["url"] = "https://portal.test/"
		}
		_, err := loginpageKind().New(checktest.WithDefaults(t, loginpageKind(), tt.with), checktest.WithEnv(check.Env{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	for _, name := range []string{"method", "user", "client_key"} {
		if _, ok := loginpageKind().Option(name); ok {
			t.Errorf("a login page takes %s, which identifies somebody or submits something", name)
		}
	}
}

// A worn certificate of the portal is told for its login page too.
func TestLoginpageCertificate(t *testing.T) {
	s := httptest.NewTLSServer(&site{page: loginForm})
	t.Cleanup(s.Close)
	r := checktest.NewFunc(t, loginpageKind(), check.Options{"url": s.URL + "/login"}, check.Env{})(t.Context())
	if r.Reason != check.TLSUntrusted {
		t.Errorf("got %s %q, want tls_untrusted", r.Reason, r.Detail)
	}
}
