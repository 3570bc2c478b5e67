//go:build linux

package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func TestMain(m *testing.M) {
	checktest.Child(Kinds())
	// Most of these tests wait for what does not come.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// says serves one answer on loopback and returns its URL.
func says(t *testing.T, status int, head http.Header, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), head)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/generate_204"
}

func captiveRun(t *testing.T, o check.Options, env check.Env) check.Result {
	t.Helper()
	f := checktest.NewFunc(t, captiveKind(), o, env)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return f(ctx)
}

func TestCaptiveOverHTTP(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	login := `<html><form action=/login><input name=u><input type=password name=p></form>`
	for _, tc := range []struct {
		name   string
		status int
		head   http.Header
		body   string
		o      check.Options
		want   check.Reason
		detail string
	}{
		{"known", 204, nil, "", nil, check.OK, ""},
		{"known text", 200, nil, "success\n", check.Options{"status": []int64{200}, "contains": []string{"success"}}, check.OK, ""},
		{"known text to the letter", 200, nil, " success\n", check.Options{"status": []int64{200}, "exact": "success"}, check.OK, ""},
		{"something was added", 200, nil, "success<script src=//ads.test/x.js>", check.Options{"status": []int64{200}, "exact": "success"}, check.CaptivePortal, "changes it"},
		{"another page", 200, html, "<h1>Chào mừng</h1>", check.Options{"status": []int64{200}, "contains": []string{"success"}}, check.CaptivePortal, `lacks "success"`},
		{"a page where none is known", 200, html, login, nil, check.CaptivePortal, "somebody else answers"},
		{"log-in page that says no", 403, html, login, nil, check.CaptivePortal, "status 403"},
		{"redirection to the portal", 302, http.Header{"Location": {"http://wifi.test/login?mac=00:11:22:33:44:55"}}, "", nil, check.CaptivePortal, "leads to http://wifi.test/login"},
		{"page that redirects by itself", 503, html, `<META HTTP-EQUIV="refresh" content="0; url=http://wifi.test/?a=1&amp;b=2">`, nil, check.CaptivePortal, "leads to http://wifi.test/"},
		{"says that a log-in is wanted", 511, html, "", nil, check.CaptivePortal, "511"},
		{"block page", 200, html, "<p>Trang web n&#224;y đã bị chặn theo quy định", nil, check.Blocked, "block page"},
		{"block page, decomposed and in capitals", 403, html, "TRANG WEB BỊ CHẶN", nil, check.Blocked, "block page"},
		{"redirection to a block page", 302, http.Header{"Location": {"http://chan.nhamang.test/vi-pham"}}, "", check.Options{"block_pages": []string{"chan.nhamang.test"}}, check.Blocked, "chan.nhamang.test"},
		{"block page of the plan's own", 200, html, "Vui lòng liên hệ phòng CNTT", check.Options{"block_pages": []string{"liên hệ phòng CNTT"}}, check.Blocked, "block page"},
		{"the server is ill", 503, nil, "later", nil, check.HTTPStatus, "status 503"},
		{"the server has moved the page", 301, http.Header{"Location": {"/new"}}, "", nil, check.HTTPRedirect, "another page"},
		{"too slow", 204, nil, "", check.Options{"slow": time.Nanosecond}, check.Slow, "limit"},
		{"endless page", 200, html, strings.Repeat("x", 4*maxAnswer), nil, check.CaptivePortal, "65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"url": says(t, tc.status, tc.head, tc.body)}
			maps.Copy(o, tc.o)
			r := captiveRun(t, o, check.Env{})
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q, want %q in it", r.Detail, tc.detail)
			}
			if strings.Contains(r.Detail, "mac=") {
				t.Errorf("the query is in the detail: %s", r.Detail)
			}
			wantFact(t, r, "http_status_code", float64(tc.status))
			wantFact(t, r, "http_known_code", code(tc.want.State() == check.Up || tc.want == check.Slow))
		})
	}
}

// What does not answer, or not in HTTP.
func TestCaptiveWithoutAnswer(t *testing.T) {
	t.Parallel()
	reset := func(c net.Conn) {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	head := func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		for range 100 {
			if _, err := io.WriteString(c, "X: "+strings.Repeat("y", 10000)+"\r\n"); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name, address string
		want          check.Reason
	}{
		{"nobody listens", refused(t), check.ConnectRefused},
		{"nothing comes back", silent(t), check.Timeout},
		{"hangs up", checktest.Serve(t, reset), check.ConnectReset},
		{"no HTTP", checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.test ESMTP\r\n") }), check.Protocol},
		{"headers without end", checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n"); head(c) }), check.TooLarge},
		{"body that breaks off", checktest.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nknown")
		}), check.Truncated},
		{"name that does not exist", "khong-co.invalid:80", check.DNSNXDomain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := checktest.NewFunc(t, captiveKind(), check.Options{"url": "http://" + tc.address + "/", "status": []int64{200, 204}}, check.Env{})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			r := f(ctx)
			if tc.want == check.DNSNXDomain && r.Reason.State() == check.Down && strings.HasPrefix(string(r.Reason), "dns_") {
				return // without a resolver on this machine it is another one of DNS
			}
			want(t, r, tc.want)
		})
	}
}

func TestCaptiveOverTLS(t *testing.T) {
	const host = "known.test"
	ca := checktest.NewAuthority(t, host)
	box := checktest.NewAuthority(t, host)
	inspection := box.Sub("Firewall TLS Inspection", checktest.Epoch().AddDate(1, 0, 0))
	good := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Leaf(nil, nil)}}, nil)
	ends := func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, -1) }
	name := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"wifi.test"}, nil }
	both := checktest.WritePEM(t, "both.pem", "CERTIFICATE", ca.Cert.Raw, box.Cert.Raw)
	known, portal := says(t, 204, nil, ""), says(t, 200, nil, "log in")
	plain := checktest.Serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://wifi.test/\r\n\r\n")
	})
	with := func(leaf tls.Certificate) string {
		return checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{leaf}}, nil)
	}
	for _, tc := range []struct {
		title, url, address string
		o                   check.Options
		env                 check.Env
		want                check.Reason
		detail              string
	}{
		{"known", known, good, nil, check.Env{}, check.OK, ""},
		{"known issuer", known, good, check.Options{"issuer": "Test Root"}, check.Env{}, check.OK, ""},
		{"root that nobody trusts", known, with(inspection.Leaf(nil, nil)), nil, check.Env{}, check.TLSUntrusted, "Firewall TLS Inspection"},
		{"trusted by the machine, not the issuer of the plan", known, with(inspection.Leaf(nil, nil)), check.Options{"roots": both, "issuer": "test root"}, check.Env{}, check.TLSUntrusted, "in between"},
		{"certificate of another name", known, with(ca.Leaf(nil, name)), nil, check.Env{}, check.TLSName, "another server"},
		{"something else than TLS", known, plain, nil, check.Env{}, check.TLSHandshake, "something else than TLS"},
		{"log-in page and its certificate", portal, with(inspection.Leaf(nil, nil)), nil, check.Env{}, check.CaptivePortal, "somebody else"},
		{"TLS refused", known, refused(t), nil, check.Env{}, check.Partial, "connect_refused"},
		{"known certificate that has ended", known, with(ca.Leaf(nil, ends)), nil, check.Env{}, check.Partial, "tls_expired"},
		{"the same, with a clock that is not proven", known, with(ca.Leaf(nil, ends)), nil, check.Env{ClockProven: func() bool { return false }}, check.ClockUnproven, ""},
		{"HTTP refused", "http://" + refused(t), good, nil, check.Env{}, check.Partial, "connect_refused"},
		{"both refused", "http://" + refused(t), refused(t), nil, check.Env{}, check.ConnectRefused, ""},
		{"roots that cannot be read", known, good, check.Options{"roots": "/nowhere.pem"}, check.Env{}, check.Misconfigured, "roots"},
	} {
		t.Run(tc.title, func(t *testing.T) {
			o := check.Options{"url": tc.url, "address": tc.address, "server_name": host, "roots": ca.Roots()}
			maps.Copy(o, tc.o)
			r := captiveRun(t, o, tc.env)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q, want %q in it", r.Detail, tc.detail)
			}
			if tc.want == check.OK || tc.want == check.TLSUntrusted {
				wantFact(t, r, "tls_known_code", code(tc.want == check.OK))
			}
		})
	}
}

func TestCaptiveCalledOff(t *testing.T) {
	f := checktest.NewFunc(t, captiveKind(), check.Options{"url": "http://" + silent(t)}, check.Env{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	want(t, f(ctx), check.Internal)
}

func TestCaptiveOptions(t *testing.T) {
	for _, tc := range []struct {
		o    check.Options
		want string
	}{
		{check.Options{"url": "https://known.test/"}, `"url"`},
		{check.Options{"url": "http://u:p@known.test/"}, `"url"`},
		{check.Options{"url": "http://known.test/", "issuer": "x"}, `"address"`},
		{check.Options{"url": "http://known.test/", "address": "known.test"}, `"address"`},
		{check.Options{"url": "http://known.test/", "block_pages": []string{" "}}, `"block_pages"`},
	} {
		if _, err := newCaptive(tc.o, check.Env{}); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%v: %v, want an error that names %s", tc.o, err, tc.want)
		}
	}
	hosts := captiveKind().Target(check.Options{"url": "http://a.test/", "address": "b.test:443"})
	if strings.Join(hosts, " ") != "a.test b.test" {
		t.Errorf("targets %v", hosts)
	}
	if r := captiveRun(t, check.Options{"url": says(t, 204, nil, ""), "family": "ip6"}, check.Env{}); r.State != check.Down {
		t.Errorf("family ip6 with an address of IPv4: %s", r.Reason)
	}
}

// A gateway that takes the web for itself, as those of hotels and shops do, in a network of its own.
func TestCaptivePortalOfAGateway(t *testing.T) {
	t.Parallel()
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("gw", true)
	w.Site("web", false)
	w.Join("pc", []string{"10.0.1.2/24"}, "gw", []string{"10.0.1.1/24"})
	w.Join("gw", []string{"10.0.2.1/24"}, "web", []string{"10.0.2.2/24"})
	w.IP("pc", "route add default via 10.0.1.1")
	w.IP("web", "route add default via 10.0.2.1")
	serve := func(site, address string, h http.Handler, cfg *tls.Config) {
		w.Do(site, func() error {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}, TLS: cfg}
			if cfg != nil {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			return nil
		})
	}
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	ca, box := checktest.NewAuthority(t, "known.test"), checktest.NewAuthority(t, "known.test")
	now := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	}
	serve("web", "10.0.2.2:80", answer(204, ""), nil)
	serve("web", "10.0.2.2:443", answer(204, ""), &tls.Config{Certificates: []tls.Certificate{ca.Leaf(nil, now)}})
	serve("gw", "10.0.1.1:8080", answer(200, "<form><input type=password></form>"), nil)
	serve("gw", "10.0.1.1:8081", answer(403, "Trang web này đã bị chặn"), nil)
	serve("gw", "10.0.1.1:8443", answer(200, ""), &tls.Config{Certificates: []tls.Certificate{box.Leaf(nil, now)}})
	plan := `{id: inet.captive, kind: captive, every: 60s, with: {url: "http://10.0.2.2/", address: "10.0.2.2:443", server_name: known.test, roots: ` + ca.Roots() + `}}`
	redirect := func(rules string) string {
		return "table ip t { chain c { type nat hook prerouting priority dstnat; iifname pc " + rules + " \n}\n}"
	}
	for _, tc := range []struct {
		name, rules string
		want        check.Reason
	}{
		{"open", "", check.OK},
		{"log-in page", redirect("tcp dport 80 redirect to :8080"), check.CaptivePortal},
		{"log-in page and TLS", redirect("tcp dport { 80, 443 } redirect to :8080"), check.CaptivePortal},
		{"block page", redirect("tcp dport 80 redirect to :8081"), check.Blocked},
		{"intercepted TLS", redirect("tcp dport 443 redirect to :8443"), check.TLSUntrusted},
		{"the web is dropped", "table inet t { chain c { type filter hook forward priority 0; tcp dport { 80, 443 } drop \n}\n}", check.Timeout},
		{"no way", "table inet t { chain c { type filter hook forward priority 0; reject with icmp type host-unreachable \n}\n}", check.ConnectUnreachable},
	} {
		w.Nft("gw", tc.rules)
		r := w.Check("pc", checktest.Run{Plan: plan, Limit: 3 * time.Second})[0]
		if declared(t, captiveKind(), r); r.Reason != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.name, r.Reason, r.Detail, tc.want)
		}
	}
}
