package signature

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// What a server does before its answer is read is one matter for every kind; a revocation list stands for all.
func TestFetchReasons(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	body := a.list(nil)
	good := serve(t, "application/pkix-crl", func([]byte) []byte { return body })
	ok := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)) + string(body)
	status := func(code int, location string) func(*testing.T) string {
		return func(t *testing.T) string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/at/last" {
					_, _ = w.Write(body)
					return
				}
				w.Header().Set("Location", location)
				w.WriteHeader(code)
			}))
			t.Cleanup(s.Close)
			return s.URL
		}
	}
	text := func(s string) func(*testing.T) string { return func(t *testing.T) string { return hangsUp(t, s) } }
	tests := []struct {
		name   string
		url    func(*testing.T) string
		with   check.Options
		env    check.Env
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "by length", url: text(ok), reason: check.OK, facts: map[string]float64{"status_code": 200, "ip_family_code": 4, "body_bytes": float64(len(body))}},
		{name: "until the end", url: text("HTTP/1.0 200 OK\r\n\r\n" + string(body)), reason: check.OK},
		{name: "after an interim answer", url: text("HTTP/1.1 100 Continue\r\n\r\n" + ok), reason: check.OK},
		{name: "interim answers without end", url: text(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + ok), reason: check.Protocol},
		{name: "wrong type, right list", url: func(t *testing.T) string { return serve(t, "text/plain", func([]byte) []byte { return body }) }, reason: check.OK},
		{name: "from an address", url: func(*testing.T) string { return good }, env: check.Env{Source: netip.MustParseAddr("127.0.0.9")}, reason: check.OK},
		{name: "from an address that is not ours", url: func(*testing.T) string { return good }, env: check.Env{Source: netip.MustParseAddr("192.0.2.77")}, reason: check.ConnectUnreachable},
		{name: "of the other IP version", url: func(*testing.T) string { return good }, with: check.Options{"family": "ip6"}, reason: check.DNSEmpty},
		{name: "of this IP version", url: func(*testing.T) string { return good }, with: check.Options{"family": "ip4"}, reason: check.OK},
		{name: "port closed", url: func(t *testing.T) string { return "http://" + checktest.ClosedPort(t) }, reason: check.ConnectRefused},
		{name: "hangs up", url: text(""), reason: check.ConnectReset},
		{name: "cut short", url: text(ok[:len(ok)-1]), reason: check.Truncated, detail: "reading the answer"},
		{name: "speaks something else", url: text("220 mail.test ESMTP\r\n"), reason: check.Protocol},
		{name: "HTTP/2.0 without asking", url: text("HTTP/2.0 200 OK\r\n\r\n"), reason: check.Protocol},
		{name: "headers without end", url: text("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxHead/6)), reason: check.TooLarge, detail: "headers"},
		{name: "more than its length says it may", url: text("HTTP/1.1 200 OK\r\n\r\n" + string(body)), with: check.Options{"max_bytes": int64(10)}, reason: check.TooLarge, facts: map[string]float64{"body_bytes": 10}},
		{name: "cut short in a chunk", url: text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na"), reason: check.Truncated},
		{name: "chunks with much beside them", url: text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\na\r\n", 100)), reason: check.Protocol},
		{name: "status 404", url: status(404, ""), reason: check.HTTPStatus, detail: "status 404, want 200", facts: map[string]float64{"status_code": 404}},
		{name: "status 204", url: status(204, ""), reason: check.HTTPStatus},
		{name: "status 503", url: status(503, ""), reason: check.HTTPStatus},
		{name: "status 429", url: status(429, ""), reason: check.Blocked},
		{name: "status 511", url: status(511, ""), reason: check.CaptivePortal},
		{name: "redirected on the host", url: status(302, "/at/last"), reason: check.OK},
		{name: "redirected for ever", url: status(302, "/x"), reason: check.HTTPRedirect, detail: "more than 3"},
		{name: "redirected to another host", url: status(301, "http://login.test/"), reason: check.HTTPRedirect, detail: "another host, login.test"},
		{name: "redirected to another scheme", url: status(301, "ftp://127.0.0.1/"), reason: check.HTTPRedirect, detail: `scheme "ftp"`},
		{name: "redirected nowhere", url: status(301, "http://[::1"), reason: check.HTTPRedirect},
		{name: "https without TLS", url: func(t *testing.T) string { return "https" + strings.TrimPrefix(good, "http") }, reason: check.TLSHandshake},
		{name: "no such roots", url: func(t *testing.T) string { return "https" + strings.TrimPrefix(good, "http") }, with: check.Options{"tls_roots": "/no/such.pem"}, reason: check.Misconfigured, detail: "tls_roots"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": tt.url(t), "issuer": a.file()}
			maps.Copy(o, tt.with)
			r := checktest.NewFunc(t, crlKind(), o, tt.env)(t.Context())
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

// A redirection of a POST that would lose its body is not followed, one that keeps it is.
func TestFetchRedirectsAPost(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	for status, reason := range map[int]check.Reason{301: check.HTTPRedirect, 302: check.HTTPRedirect, 303: check.HTTPRedirect, 307: check.OK, 308: check.OK} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/tsa" {
				http.Redirect(w, r, "/tsa", status)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(stamper{t: t, cert: cert, key: key, at: checktest.Epoch()}.answer(body))
		}))
		r := checktest.NewFunc(t, tsaKind(), check.Options{"url": s.URL, "roots": a.file()}, check.Env{})(t.Context())
		s.Close()
		if r.Reason != reason {
			t.Errorf("%d: got %s %q, want %s", status, r.Reason, r.Detail, reason)
		}
	}
}

// The time runs out in the step where the server falls silent, or drips.
func TestFetchTimeout(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	drip := "http://" + checktest.Serve(t, func(c net.Conn) {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for err == nil {
			time.Sleep(10 * time.Millisecond)
			_, err = c.Write([]byte{0x30})
		}
	})
	for name, url := range map[string]string{"silent": says(t, ""), "falls silent": says(t, "HTTP/1.1 200 OK\r\n"), "drips": drip} {
		t.Run(name, func(t *testing.T) {
			f := checktest.NewFunc(t, crlKind(), check.Options{"url": url, "issuer": a.file()}, check.Env{})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			want(t, f(ctx), check.Timeout, "")
		})
	}
	f := checktest.NewFunc(t, crlKind(), check.Options{"url": drip, "issuer": a.file()}, check.Env{})
	past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	want(t, f(past), check.ConnectTimeout, "")
	f = checktest.NewFunc(t, crlKind(), check.Options{"url": "http://name.invalid./", "issuer": a.file()}, check.Env{})
	r := f(past)
	want(t, r, check.DNSTimeout, "")
	if _, ok := r.Phases.Get("dns"); !ok {
		t.Errorf("phases %v", r.Phases)
	}
}

// A run that is called off says nothing about its target.
func TestCalledOff(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	for _, k := range Kinds() {
		if k.Name == "sign" || k.Name == "mobilepki" || k.Name == "certs" {
			continue // two need more than these options, and their own tests call them off; the third reads files
		}
		address := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		o := check.Options{"url": "http://" + address, "issuer": a.file(), "roots": a.file(), "certificate": certPEM(t, cert), "address": address}
		maps.DeleteFunc(o, func(name string, _ any) bool { _, ok := k.Option(name); return !ok })
		f := checktest.NewFunc(t, k, o, check.Env{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want(t, f(ctx), check.Internal, "called off")
	}
}

func TestFetchOverTLS(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	body := a.list(nil)
	server := func(change func(*x509.Certificate)) string {
		tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "crl.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if change != nil {
			change(tmpl)
		}
		c, key := a.sign(tmpl)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/down" {
				http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
				return
			}
			_, _ = w.Write(body)
		}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	ended := func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }
	for _, tt := range []struct {
		name   string
		url    string
		roots  string
		proven bool
		want   check.Reason
	}{
		{"trusted", server(nil), a.file(), true, check.OK},
		{"untrusted", server(nil), newAuthority(t, checktest.Epoch()).file(), true, check.TLSUntrusted},
		{"for another name", server(func(c *x509.Certificate) { c.IPAddresses = nil; c.DNSNames = []string{"crl.test"} }), a.file(), true, check.TLSName},
		{"has ended", server(ended), a.file(), true, check.TLSExpired},
		{"has ended by an unproven clock", server(ended), a.file(), false, check.ClockUnproven},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": tt.url, "issuer": a.file(), "tls_roots": tt.roots}
			r := checktest.NewFunc(t, crlKind(), o, check.Env{ClockProven: func() bool { return tt.proven }})(t.Context())
			want(t, r, tt.want, "")
			if _, ok := r.Phases.Get("tls"); !ok {
				t.Errorf("phases %v", r.Phases)
			}
		})
	}
	down := server(nil) + "/down"
	want(t, checktest.NewFunc(t, crlKind(), check.Options{"url": down, "issuer": a.file(), "tls_roots": a.file()}, check.Env{})(t.Context()), check.HTTPRedirect, "from https to http")
}

// Whatever a server answers, reading it ends well and in what the kind declares.
func FuzzFetch(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 302 x\r\nLocation: //[::1\r\n\r\n", "HTTP/1.0 200\r\n\r\n0",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 100 x\r\n\r\n", "\x00", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := fetcher{maxBytes: 100}
		u, err := parseURL("http://crl.test/")
		if err != nil {
			t.Fatal(err)
		}
		var sp spans
		var facts check.Facts
		_, next, a, bad := c.read(&canned{data: text}, c.request(question{method: "GET", url: u}), &sp, &facts)
		if bad == nil && next == nil && (len(a.body) == 0 || len(a.body) > 100) {
			t.Errorf("a body of %d bytes", len(a.body))
		}
		r := bad.result("")
		r.Facts, r.Phases = facts, sp.phases(0)
		checktest.Declared(t, crlKind(), r)
	})
}

// A canned connection has said all it will say.
type canned struct {
	net.Conn
	data []byte
}

// Read returns what is left.
func (c *canned) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}
