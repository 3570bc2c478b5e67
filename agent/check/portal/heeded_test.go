package portal

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func TestOptionsOfTLS(t *testing.T) {
	t.Run("http", func(t *testing.T) { checktest.TLSOptions(t, httpKind(), nil) })
	t.Run("loginpage", func(t *testing.T) { checktest.TLSOptions(t, loginpageKind(), nil) })
}

// A login page heeds the options that it shares with http: what it says with one differs from what it says without.
func TestLoginpageHeedsOptions(t *testing.T) {
	const form = `<p>Đăng nhập</p><form><input name=user><input type=password></form>`
	var plain string
	page := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/proxied" && r.Header.Get("Proxy-Authorization") != "Basic dTpw" { // u:p
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		switch r.URL.Path {
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/header":
			if r.Header.Get("X-Office") != "1" {
				w.WriteHeader(http.StatusForbidden)
			}
		case "/agent":
			if r.UserAgent() != "egovmon lienhe@xa.test" {
				w.WriteHeader(http.StatusForbidden)
			}
		case "/go":
			http.Redirect(w, r, "/", http.StatusFound)
			return
		case "/plain":
			http.Redirect(w, r, plain, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, form)
	}
	plain = webServer(t, page)
	secure := httptest.NewTLSServer(http.HandlerFunc(page))
	t.Cleanup(secure.Close)
	roots := checktest.WritePEM(t, "roots.pem", "CERTIFICATE", secure.Certificate().Raw)
	env := check.Env{Now: time.Now, Secret: func(string) (string, error) { return "p", nil }}
	for _, tt := range []struct {
		path          string
		o             check.Options
		without, with check.Reason
	}{
		{"/503", check.Options{"status": []int64{503}}, check.HTTPStatus, check.OK},
		{"/", check.Options{"contains": []string{"Hải Dương"}}, check.OK, check.ContentMissing},
		{"/", check.Options{"absent": []string{"Đăng nhập"}}, check.OK, check.ContentForbidden},
		{"/", check.Options{"matches": []string{"Hải +Dương"}}, check.OK, check.ContentMissing},
		{"/header", check.Options{"headers": map[string]string{"X-Office": "1"}}, check.HTTPStatus, check.OK},
		{"/", check.Options{"answer_headers": map[string]string{"X-Office": ""}}, check.OK, check.ContentMissing},
		{"/go", check.Options{"redirects": int64(0)}, check.OK, check.HTTPRedirect},
		{"secure/plain", check.Options{"downgrade": true}, check.HTTPRedirect, check.OK},
		{"/", check.Options{"max_bytes": int64(10)}, check.OK, check.TooLarge},
		{"/agent", check.Options{"user_agent": "egovmon lienhe@xa.test"}, check.HTTPStatus, check.OK},
		{"/", check.Options{"proxy": "http://" + checktest.ClosedPort(t)}, check.OK, check.ConnectRefused},
		{"/", check.Options{"family": "ip6"}, check.OK, check.DNSEmpty},
		{"/", check.Options{"slow": time.Nanosecond}, check.OK, check.Slow},
		{"/", check.Options{"fields": []string{"captcha"}}, check.OK, check.ContentMissing},
		{"/proxied", check.Options{"proxy": plain, "proxy_user": "u", "proxy_password": "x"}, check.Auth, check.OK},
	} {
		t.Run(tt.path, func(t *testing.T) {
			for given, want := range map[bool]check.Reason{false: tt.without, true: tt.with} {
				o := check.Options{"url": plain + tt.path}
				if path, ok := strings.CutPrefix(tt.path, "secure"); ok {
					o = check.Options{"url": secure.URL + path, "roots": roots}
				}
				if tt.path == "/proxied" {
					o["proxy"] = plain
				}
				if given {
					maps.Copy(o, tt.o)
				}
				if r := checktest.NewFunc(t, loginpageKind(), o, env)(t.Context()); r.Reason != want {
					t.Errorf("%v, given %v: %s %q, want %s", tt.o, given, r.Reason, r.Detail, want)
				}
			}
		})
	}
}

// A captcha whose address leads nowhere, a secret that is not there, a server that ends the connection while it is sent to.
func TestRareReasons(t *testing.T) {
	for name, src := range map[string]string{"the captcha image has no address": "javascript:x()", "holds no image": "data:text/plain,x"} {
		url := webServer(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `<form><input type=password><img class=cap src="`+src+`"></form>`)
		})
		want{check.ContentMissing, name, nil}.check(t, checktest.NewFunc(t, loginpageKind(), check.Options{"url": url, "captcha": "cap"}, check.Env{})(t.Context()))
	}
	for _, scheme := range []string{"http", "socks5"} {
		at := checktest.Serve(t, drain)
		o := check.Options{"url": "http://127.0.0.1:1/", "proxy": scheme + "://" + at, "proxy_user": "u", "proxy_password": "none"}
		want{check.NotConfigured, "", nil}.check(t, checktest.NewFunc(t, httpKind(), o, check.Env{Secret: noSecret})(t.Context()))
	}
	at := checktest.Serve(t, resets)
	o := check.Options{"url": "http://" + at + "/", "headers": map[string]string{"X-Large": strings.Repeat("x", 16<<20)}}
	want{check.ConnectReset, "sending the request", nil}.check(t, checktest.NewFunc(t, httpKind(), o, check.Env{})(t.Context()))
}

func noSecret(string) (string, error) { return "", errors.New("there is none") }

// drain reads what comes.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// resets reads a little and then ends the connection while more is on its way.
func resets(c net.Conn) {
	_, _ = io.ReadFull(c, make([]byte, 1000))
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
