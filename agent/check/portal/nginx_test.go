package portal

import (
	"compress/gzip"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A want is what must come out of one run.
type want struct {
	reason check.Reason
	detail string
	facts  map[string]float64
}

func (w want) of(t *testing.T, f check.Func) {
	t.Helper()
	for range 2 { // nothing may be left over from the run before
		w.check(t, f(t.Context()))
	}
}

func (w want) check(t *testing.T, r check.Result) {
	t.Helper()
	if r.Reason != w.reason || !strings.Contains(r.Detail, w.detail) {
		t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, w.reason, w.detail)
	}
	for name, want := range w.facts {
		if got, ok := r.Facts.Get(name); !ok || got != want {
			t.Errorf("%s = %v %v, want %v", name, got, ok, want)
		}
	}
}

// application is what stands behind nginx: a small portal.
func application(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/":
			_, _ = io.WriteString(w, "<title>Cổng TTĐT huyện Tứ Kỳ</title>"+strings.Repeat("<p>Tin mới</p>", 500))
		case "/short":
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<p>Tứ")
			conn.Close()
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const maintenance = "<h1>Hệ thống đang bảo trì</h1>"

// portalBehind adds a server with a portal and everything that may be wrong with it.
func portalBehind(t *testing.T, n *checktest.Nginx, listen string) {
	t.Helper()
	app := application(t)
	hanging := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	n.Write("1258.html", []byte("<p>T\xfd\xec Ky\xcc</p>")) // Tứ Kỳ in windows-1258: marks stand after their letters
	n.Write("maintenance.html", []byte(maintenance))
	n.Write("size.html", []byte(strings.Repeat("x", 5000)))
	n.Server(listen + `
		location = / { proxy_pass ` + app + `; }
		location = /packed { proxy_pass ` + app + `/; gzip on; gzip_min_length 1; }
		location = /short { proxy_pass ` + app + `; }
		location = /1258.html { root .; charset windows-1258; }
		location = /size.html { root .; }
		location = /old { return 301 /; }
		location = /ring { return 302 /ring; }
		location = /away { return 302 http://portal.example/; }
		location = /hang { proxy_pass http://` + hanging + `; proxy_read_timeout 200ms; }
		location = /busy { return 429; }
		location = /closed { return 503; error_page 503 /maintenance.html; }
		location = /maintenance.html { root .; charset utf-8; internal; }
		location = /nothing { return 444; }
		location = /plain { return 301 http://$host/; }`)
}

// What the lab's portals never do by themselves (answers cut short, rings of redirects, old charsets) is of nginx directives of
// the test's own; what they do, well or broken, is in [TestHTTPOfTheLab].
func TestHTTPBehindNginx(t *testing.T) {
	n, a := checktest.NewNginx(t), checktest.NewAuthority(t, "portal.test")
	plain, secure := n.Listen("127.0.0.1"), n.Listen("127.0.0.1")
	portalBehind(t, n, "listen "+plain+"; listen "+secure+" ssl http2; "+n.Certificate(a.Leaf(nil, nil)))
	n.Start()
	strs := func(s ...string) []string { return s }
	for _, tt := range []struct {
		name, path string
		with       check.Options
		want       want
	}{
		{"gzip", "/packed", check.Options{"contains": strs("Tứ Kỳ"), "answer_headers": map[string]string{"Content-Encoding": "^gzip$"}, "min_bytes": int64(5000)}, want{check.OK, "", nil}},
		{"another charset", "/1258.html", check.Options{"contains": strs("Tứ Kỳ"), "answer_headers": map[string]string{"Content-Type": "windows-1258"}}, want{check.OK, "", nil}},
		{"as large as may be", "/size.html", check.Options{"max_bytes": int64(5000), "min_bytes": int64(5000)}, want{check.OK, "", map[string]float64{"body_bytes": 5000}}},
		{"too large", "/size.html", check.Options{"max_bytes": int64(4999)}, want{check.TooLarge, "4999", nil}},
		{"too small", "/size.html", check.Options{"min_bytes": int64(5001)}, want{check.Truncated, "5001", nil}},
		{"cut short upstream", "/short", nil, want{check.Truncated, "", nil}},
		{"redirected", "/old", nil, want{check.OK, "", map[string]float64{"redirects_count": 1}}},
		{"redirected round and round", "/ring", nil, want{check.HTTPRedirect, "more than 10", nil}},
		{"redirected to another site", "/away", nil, want{check.HTTPRedirect, "http://portal.example/", nil}},
		{"upstream hangs", "/hang", nil, want{check.HTTPStatus, "status 504", map[string]float64{"status_code": 504}}},
		{"maintenance", "/closed", nil, want{check.HTTPStatus, "status 503", map[string]float64{"status_code": 503}}},
		{"asked too often", "/busy", nil, want{check.Blocked, "", nil}},
		{"hangs up", "/nothing", nil, want{check.ConnectReset, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, base := range []string{"http://" + plain, "https://" + secure} {
				o := check.Options{"url": base + tt.path, "roots": a.Roots()}
				maps.Copy(o, tt.with)
				tt.want.of(t, checktest.NewFunc(t, httpKind(), o, check.Env{}))
			}
		})
	}
	down := checktest.NewFunc(t, httpKind(), check.Options{"url": "https://" + secure + "/plain", "roots": a.Roots()}, check.Env{})
	want{check.HTTPRedirect, "from https", nil}.of(t, down)
}

// HTTP/2, and two portals of different authorities at one address: the lab's have neither. The states of certificates are in
// [TestTLSOfTheLab].
func TestTLSBehindNginx(t *testing.T) {
	n, root := checktest.NewNginx(t), checktest.NewAuthority(t, "portal.test")
	sub := root.Sub("Test Issuing CA", checktest.Epoch().AddDate(2, 0, 0))
	whole := sub.Leaf(nil, nil)
	at := map[string]string{"whole": n.Listen("127.0.0.1")}
	n.Server("listen " + at["whole"] + " ssl http2; " + n.Certificate(whole) + " return 204;")
	// Two portals on one address: what is shown depends on the name that is asked for.
	other := checktest.NewAuthority(t, "other.test")
	at["two"] = n.Listen("127.0.0.1")
	n.Server("listen " + at["two"] + " ssl; server_name portal.test; " + n.Certificate(whole) + " return 204;")
	n.Server("listen " + at["two"] + " ssl; server_name other.test; " + n.Certificate(other.Leaf(nil, func(c *x509.Certificate) { c.IPAddresses = nil })) + " return 204;")
	n.Start()
	for _, tt := range []struct {
		name, peer string
		with       check.Options
		want       want
	}{
		{"by its name", "two", check.Options{"server_name": "portal.test"}, want{check.OK, "", nil}},
		{"the other one by its name", "two", check.Options{"server_name": "other.test"}, want{check.TLSUntrusted, "", map[string]float64{"name_valid_code": 1}}},
		{"HTTP/2", "whole", check.Options{"alpn": []string{"h2"}}, want{check.OK, "", nil}},
		{"no HTTP/2", "two", check.Options{"alpn": []string{"h2"}, "server_name": "portal.test"}, want{check.TLSHandshake, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"address": at[tt.peer], "roots": root.Roots()}
			maps.Copy(o, tt.with)
			tt.want.of(t, checktest.NewFunc(t, tlsKind(), o, check.Env{}))
		})
	}
}

// A portal that is to be reached over both families is checked once for each: one that listens on one only is told.
func TestOneFamilyBehindNginx(t *testing.T) {
	n := checktest.NewNginx(t)
	four, six := n.Listen("127.0.0.1"), n.Listen("::1")
	n.Server("listen " + four + "; listen " + six + "; return 200 'Cổng TTĐT';")
	n.Start()
	_, port4, _ := net.SplitHostPort(four)
	for _, tt := range []struct {
		name, url, family string
		want              want
	}{
		{"IPv4", "http://" + four, "any", want{check.OK, "", map[string]float64{"ip_family_code": 4}}},
		{"IPv6", "http://" + six, "any", want{check.OK, "", map[string]float64{"ip_family_code": 6}}},
		{"IPv6 asked for", "http://" + six, "ip6", want{check.OK, "", map[string]float64{"ip_family_code": 6}}},
		{"no IPv6 listener", "http://" + net.JoinHostPort("::1", port4), "ip6", want{check.ConnectRefused, "[::1]", nil}},
		{"no IPv6 address", "http://" + four, "ip6", want{check.DNSEmpty, "", nil}},
		{"no IPv4 address", "http://" + six, "ip4", want{check.DNSEmpty, "", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.of(t, checktest.NewFunc(t, httpKind(), check.Options{"url": tt.url, "family": tt.family}, check.Env{}))
		})
	}
	o := check.Options{"address": net.JoinHostPort("::1", port4)}
	want{check.ConnectRefused, "", nil}.of(t, checktest.NewFunc(t, tlsKind(), o, check.Env{}))
}

// Cookies that go astray and captchas that do not come, by nginx directives of the test's own; the lab's login page is in
// [TestLoginpageOfTheLab].
func TestLoginpageBehindNginx(t *testing.T) {
	app := &site{page: loginForm, image: strings.Repeat("p", 300), imageType: "image/png", wantsCookie: true}
	s := httptest.NewServer(app)
	t.Cleanup(s.Close)
	n, a := checktest.NewNginx(t), checktest.NewAuthority(t, "portal.test")
	at := n.Listen("127.0.0.1")
	up := "proxy_pass " + s.URL + "; "
	n.Write("bare.html", []byte("<div id=app></div>"))
	n.Server("listen " + at + " ssl; " + n.Certificate(a.Leaf(nil, nil)) + `
		location = /login { ` + up + `gzip on; gzip_min_length 1; }
		location = /captcha.png { ` + up + ` }
		location /lost/ { proxy_pass ` + s.URL + `/; proxy_hide_header Set-Cookie; }
		location /elsewhere/ { proxy_pass ` + s.URL + `/; proxy_cookie_path / /nowhere/; }
		location /cut/ { proxy_pass ` + s.URL + `/; }
		location = /cut/captcha.png { proxy_pass http://` + checktest.ClosedPort(t) + `; }
		location /challenged/ { proxy_pass ` + s.URL + `/; }
		location = /challenged/captcha.png { types {} default_type text/html; return 200 "<h1>Please wait</h1>"; }
		location = /bare.html { root .; }
		location = /sso { return 302 https://localhost:$server_port/login; }
		location = /down { return 503; }`)
	n.Start()
	full := check.Options{"fields": []string{"user", "captcha"}, "captcha": "imgCaptcha"}
	for _, tt := range []struct {
		name, path string
		with       check.Options
		want       want
	}{
		{"all is well", "/login", nil, want{check.OK, "", map[string]float64{"forms_count": 2, "captcha_bytes": 300, "chain_valid_code": 1}}},
		{"the session's cookie is lost", "/lost/login", nil, want{check.HTTPStatus, "captcha image: status 403", nil}},
		{"the session's cookie is for another path", "/elsewhere/login", nil, want{check.HTTPStatus, "captcha image: status 403", nil}},
		{"the captcha's server is dead", "/cut/login", nil, want{check.HTTPStatus, "captcha image: status 502", nil}},
		{"a page in place of the captcha", "/challenged/login", nil, want{check.ContentMissing, "captcha image: header Content-Type", nil}},
		{"the form is not in the page", "/bare.html", nil, want{check.ContentMissing, "no form", nil}},
		{"single sign-on away", "/sso", nil, want{check.HTTPRedirect, "another site", nil}},
		{"closed", "/down", nil, want{check.HTTPStatus, "status 503", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": "https://" + at + tt.path, "roots": a.Roots()}
			maps.Copy(o, full)
			maps.Copy(o, tt.with)
			tt.want.of(t, checktest.NewFunc(t, loginpageKind(), o, check.Env{}))
		})
	}
	if app.posted {
		t.Error("something was submitted")
	}
}

// The page that is packed is the one that is there: the check of gzip above would pass on any other as well.
func TestPackedByNginx(t *testing.T) {
	n := checktest.NewNginx(t)
	at := n.Listen("127.0.0.1")
	portalBehind(t, n, "listen "+at+";")
	n.Start()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/packed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": "http://" + at + "/packed"}, check.Env{})
	want{check.OK, "", map[string]float64{"body_bytes": float64(len(text))}}.of(t, f)
}
