package portal

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// environmentEnv tells the test program to fetch that address once, through the proxy of its environment.
const environmentEnv = "EGOVMON_PORTAL_ENVIRONMENT"

// The environment names the proxy, once for a whole process, so that each case has a process of its own.
func TestProxyOfTheEnvironment(t *testing.T) {
	if url := os.Getenv(environmentEnv); url != "" {
		r := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "proxy": "environment"}, check.Env{})(t.Context())
		fmt.Printf("\nRESULT %s %s\n", r.Reason, r.Detail)
		return
	}
	const login = "Basic cHJvYmU6cHc=" // probe:pw
	straight := webServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	open, closed := httpProxy(t, "", 200), httpProxy(t, login, 200)
	at := func(proxy, user string) string { return strings.Replace(proxy, "://", "://"+user+"@", 1) }
	socks := socksLogin(t, "probe", "pw")
	for _, tt := range []struct {
		name   string
		env    []string
		url    string
		reason check.Reason
		detail string
	}{
		{"goes through it", []string{"HTTP_PROXY=" + open}, "http://portal.test/", check.OK, ""},
		{"in small letters", []string{"http_proxy=" + open}, "http://portal.test/", check.OK, ""},
		{"logs in there", []string{"HTTP_PROXY=" + at(closed, "probe:pw")}, "http://portal.test/", check.OK, ""},
		{"is not let in there", []string{"HTTP_PROXY=" + at(closed, "probe:wrong")}, "http://portal.test/", check.Auth, "the proxy wants"},
		{"the proxy is dead", []string{"HTTP_PROXY=http://" + checktest.ClosedPort(t)}, "http://portal.test/", check.ConnectRefused, ""},
		{"the other scheme's", []string{"HTTPS_PROXY=" + open}, straight, check.HTTPStatus, "418"},
		{"never for this machine", []string{"HTTP_PROXY=http://" + checktest.ClosedPort(t)}, straight, check.HTTPStatus, "418"},
		{"not for that name", []string{"HTTP_PROXY=" + open, "NO_PROXY=portal.invalid"}, "http://portal.invalid:1/", check.DNSNXDomain, ""},
		{"over TLS", []string{"HTTP_PROXY=https://probe:pw@proxy.test"}, "http://portal.test/", check.Misconfigured, `proxy of the environment: scheme "https": only http and socks5`},
		{"as a program of a web server", []string{"HTTP_PROXY=" + at(open, "probe:pw"), "REQUEST_METHOD=GET"}, "http://portal.test/", check.Misconfigured, "proxy of the environment: "},
		{"socks", []string{"HTTP_PROXY=" + at(socks, "probe:pw")}, "http://portal.test/", check.OK, ""},
		{"socks, not let in", []string{"HTTP_PROXY=" + at(socks, "probe:no")}, "http://portal.test/", check.Auth, "authentication"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxyOfTheEnvironment$", "-test.v")
			cmd.Env = append(tt.env, "PATH="+os.Getenv("PATH"), environmentEnv+"="+tt.url, checktest.AtOnce)
			out, err := cmd.CombinedOutput()
			_, said, ok := strings.Cut(string(out), "\nRESULT ")
			if err != nil || !ok {
				t.Fatalf("%v: %.500s", err, out)
			}
			said, _, _ = strings.Cut(said, "\n")
			reason, detail, _ := strings.Cut(said, " ")
			if tt.reason == check.DNSNXDomain && strings.HasPrefix(reason, "dns_") {
				reason = string(check.DNSNXDomain) // a resolver that is not there says otherwise
			}
			if reason != string(tt.reason) || !strings.Contains(detail, tt.detail) || strings.Contains(detail, "pw") {
				t.Errorf("got %s, want %s %s", said, tt.reason, tt.detail)
			}
		})
	}
}

// socksLogin speaks SOCKS5 with a login (RFC 1929) and is itself every site behind it.
func socksLogin(t *testing.T, user, password string) string {
	t.Helper()
	return "socks5://" + checktest.Serve(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		read := func(n int) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(br, b); err != nil {
				return nil
			}
			return b
		}
		if head := read(2); head == nil || read(int(head[1])) == nil {
			return
		}
		_, _ = c.Write([]byte{5, 2})
		var given []string
		if read(1) == nil {
			return
		}
		for range 2 {
			n := read(1)
			if n == nil {
				return
			}
			given = append(given, string(read(int(n[0]))))
		}
		if given[0] != user || given[1] != password {
			_, _ = c.Write([]byte{1, 1})
			return
		}
		_, _ = c.Write([]byte{1, 0})
		if ask := read(5); ask == nil || read(int(ask[4])+2) == nil { // a name, and the port
			return
		}
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, page("", "by socks"))
		}
	})
}

// A proxy that does not let us in, or ends the connection, is told apart from the site.
func TestProxyWithALogin(t *testing.T) {
	socks := socksLogin(t, "probe", "pw")
	for _, tt := range []struct {
		proxy, secret string
		reason        check.Reason
		detail        string
	}{
		{socks, "pw", check.OK, ""},
		{socks, "no", check.Auth, "authentication"},
		{"socks5://" + checktest.Serve(t, func(net.Conn) {}), "pw", check.ConnectReset, "proxy 127.0.0.1"},
		{"socks5://" + checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); silent(c) }), "pw", check.Protocol, "proxy 127.0.0.1"},
	} {
		o := check.Options{"url": "http://portal.test/", "proxy": tt.proxy, "proxy_user": "probe", "proxy_password": "x"}
		want{tt.reason, tt.detail, nil}.check(t, checktest.NewFunc(t, httpKind(), o, secrets(tt.secret))(t.Context()))
	}
}

// What is sent along to the url's own host is sent to no other: not to that of a captcha, a feed, a sitemap or a link.
func TestHeadersStayAtHome(t *testing.T) {
	type asked struct{ at, authorization, cookie, own string }
	var seen []asked
	proxy := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		at := r.URL.Host + r.URL.Path
		seen = append(seen, asked{at, r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("X-Own")})
		switch at {
		case "portal.test/":
			_, _ = io.WriteString(w, `<form><input type=password><img class=cap src="http://img.portal.test/c"></form><a href="/tin">`)
		case "img.portal.test/c":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, strings.Repeat("x", 200))
		case "img.portal.test/map":
			_, _ = io.WriteString(w, "<urlset><url><loc>http://portal.test/tin</loc><lastmod>2026-11-23</lastmod></url></urlset>")
		case "portal.test/robots.txt":
			http.NotFound(w, r)
		}
	})
	for _, tt := range []struct {
		kind check.Kind
		with check.Options
	}{
		{loginpageKind(), check.Options{"captcha": "cap", "headers": map[string]string{"Authorization": "Bearer x", "Cookie": "s=1", "X-Own": "1"}}},
		{httpKind(), check.Options{"headers": map[string]string{"Cookie": "s=1", "X-Own": "1"}, "user": "probe", "password": "x", "links": int64(3), "sitemap": "http://img.portal.test/map"}},
		{httpKind(), check.Options{"headers": map[string]string{"Cookie": "s=1", "X-Own": "1"}, "user": "probe", "password": "x", "feed": "http://img.portal.test/map", "newest_max": 24 * time.Hour}},
	} {
		seen = nil
		tt.with["url"], tt.with["proxy"] = "http://portal.test/", proxy
		r := checktest.NewFunc(t, tt.kind, tt.with, secrets("pw"))(t.Context())
		want{check.OK, "", nil}.check(t, r)
		strangers := 0
		for _, a := range seen {
			if home := strings.HasPrefix(a.at, "portal.test/"); home != (a.authorization != "") || home != (a.cookie != "") || a.own != "1" {
				t.Errorf("%s was asked with %+v", a.at, a)
			} else if !home {
				strangers++
			}
		}
		if strangers != 1 || len(seen) < 2 {
			t.Errorf("%s: asked %+v", tt.kind.Name, seen)
		}
	}
}

// After OPTIONS, a redirection by 303 is followed by GET (RFC 9110, section 15.4.4).
func TestSeeOther(t *testing.T) {
	var methods []string
	url := webServer(t, func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method+" "+r.URL.Path)
		switch r.URL.Path {
		case "/303":
			http.Redirect(w, r, "/", http.StatusSeeOther)
		case "/307":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		}
	})
	for path, wanted := range map[string]string{"/303": "OPTIONS /303, GET /", "/307": "OPTIONS /307, OPTIONS /"} {
		methods = nil
		want{check.OK, "", nil}.check(t, checktest.NewFunc(t, httpKind(), check.Options{"url": url + path, "method": "OPTIONS"}, check.Env{})(t.Context()))
		if got := strings.Join(methods, ", "); got != wanted {
			t.Errorf("%s: asked %s, want %s", path, got, wanted)
		}
	}
}

// Packed bodies that hold nothing, or are no such thing.
func TestPackedOddly(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   want
	}{
		{"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 0\r\n\r\n", want{check.OK, "", map[string]float64{"body_bytes": 0}}},
		{"HTTP/1.1 403 No\r\nContent-Encoding: gzip\r\n\r\nno gzip", want{check.HTTPStatus, "status 403, want 200", nil}},
		{"HTTP/1.1 403 No\r\nContent-Encoding: br\r\n\r\nx", want{check.HTTPStatus, "status 403, want 200", nil}},
	} {
		tt.want.of(t, checktest.NewFunc(t, httpKind(), check.Options{"url": raw(t, tt.answer)}, check.Env{}))
	}
}
