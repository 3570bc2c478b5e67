package portal

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// httpProxy answers requests by itself and passes tunnels on, when the login is right; code other than 200 refuses.
func httpProxy(t *testing.T, auth string, code int) string {
	t.Helper()
	return "http://" + checktest.Serve(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		switch got := req.Header.Get("Proxy-Authorization"); {
		case got != auth:
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		case code != 200:
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %d x\r\n\r\n", code)
		case req.Method != http.MethodConnect:
			_, _ = io.WriteString(c, page("", "by proxy for "+req.URL.String()))
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
			pass(c, br, req.Host)
		}
	})
}

// socksProxy speaks SOCKS5 without login (RFC 1928) and answers with this reply.
func socksProxy(t *testing.T, reply byte) string {
	t.Helper()
	return "socks5://" + checktest.Serve(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, br, int64(head[1]))
		_, _ = c.Write([]byte{5, 0})
		ask := make([]byte, 10) // an IPv4 address
		if _, err := io.ReadFull(br, ask); err != nil {
			return
		}
		_, _ = c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		if reply == 0 {
			pass(c, br, fmt.Sprintf("%s:%d", net.IP(ask[4:8]), int(ask[8])<<8|int(ask[9])))
		}
	})
}

func pass(c net.Conn, from io.Reader, address string) {
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, from) }()
	_, _ = io.Copy(c, to)
}

func TestHTTPProxy(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	secure := "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}, func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, page("", "straight"))
		}
	})
	plain := raw(t, page("", "straight"))
	at := func(url string) func(*testing.T) string { return func(*testing.T) string { return url } }
	o := func(proxy string, more ...any) check.Options {
		o := check.Options{"proxy": proxy, "roots": a.Roots()}
		for i := 0; i < len(more); i += 2 {
			o[more[i].(string)] = more[i+1]
		}
		return o
	}
	const login = "Basic cHJvYmU6cHc=" // probe:pw
	for _, tt := range []httpTest{
		{name: "http by request", url: at(plain), with: o(httpProxy(t, "", 200), "contains", []string{"by proxy for " + plain}), reason: check.OK},
		{name: "https by tunnel", url: at(secure), with: o(httpProxy(t, "", 200), "contains", []string{"straight"}), reason: check.OK, facts: map[string]float64{"chain_valid_code": 1}},
		{name: "with a login, http", url: at(plain), with: o(httpProxy(t, login, 200), "proxy_user", "probe", "proxy_password", "x"), env: secrets("pw"), reason: check.OK},
		{name: "with a login, https", url: at(secure), with: o(httpProxy(t, login, 200), "proxy_user", "probe", "proxy_password", "x"), env: secrets("pw"), reason: check.OK},
		{name: "with a wrong login, http", url: at(plain), with: o(httpProxy(t, login, 200), "proxy_user", "probe", "proxy_password", "x"), env: secrets("no"), reason: check.Auth},
		{name: "with a wrong login, https", url: at(secure), with: o(httpProxy(t, login, 200), "proxy_user", "probe", "proxy_password", "x"), env: secrets("no"), reason: check.Auth},
		{name: "without the secret", url: at(secure), with: o(httpProxy(t, login, 200), "proxy_user", "probe", "proxy_password", "other"), env: secrets("pw"), reason: check.NotConfigured},
		{name: "refuses the target", url: at(secure), with: o(httpProxy(t, "", 403)), reason: check.Blocked},
		{name: "cannot reach the target", url: at(secure), with: o(httpProxy(t, "", 502)), reason: check.ConnectUnreachable},
		{name: "waits for the target in vain", url: at(secure), with: o(httpProxy(t, "", 504)), reason: check.ConnectTimeout},
		{name: "is no proxy", url: at(secure), with: o("http://" + checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); silent(c) })), reason: check.Protocol},
		{name: "answers without end", url: at(secure), with: o("http://" + checktest.Serve(t, func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		})), reason: check.Truncated},
		{name: "is not there", url: at(secure), with: o("http://" + checktest.ClosedPort(t)), reason: check.ConnectRefused},
		{name: "socks", url: at(secure), with: o(socksProxy(t, 0), "contains", []string{"straight"}), reason: check.OK},
		{name: "socks, http", url: at(plain), with: o(socksProxy(t, 0), "contains", []string{"straight"}), reason: check.OK},
		{name: "socks, not allowed", url: at(plain), with: o(socksProxy(t, 2)), reason: check.Blocked},
		{name: "socks, unreachable", url: at(plain), with: o(socksProxy(t, 4)), reason: check.ConnectUnreachable},
		{name: "socks, refused", url: at(plain), with: o(socksProxy(t, 5)), reason: check.ConnectRefused},
		{name: "socks, expired on the way", url: at(plain), with: o(socksProxy(t, 6)), reason: check.ConnectTimeout},
	} {
		t.Run(tt.name, tt.run)
	}
}

// pemPair writes a certificate and its key, in one file or in two.
func pemPair(t *testing.T, cert tls.Certificate) (both, certOnly, keyOnly string, keyText string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	k := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	dir := t.TempDir()
	for name, text := range map[string]string{"both": c + k, "cert": c, "key": k} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "both"), filepath.Join(dir, "cert"), filepath.Join(dir, "key"), k
}

func TestClientCertificate(t *testing.T) {
	a, other := checktest.NewAuthority(t, "portal.test"), checktest.NewAuthority(t, "portal.test")
	client := func(a *checktest.Authority) tls.Certificate {
		return a.Leaf(nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	url := "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, Time: checktest.Epoch},
		func(c net.Conn) {
			if readRequest(c) {
				_, _ = io.WriteString(c, page("", "hello"))
			}
		})
	both, cert, key, keyText := pemPair(t, client(a))
	wrong, _, _, _ := pemPair(t, client(other))
	secret := check.Env{Secret: func(string) (string, error) { return keyText, nil }}
	broken := check.Env{Secret: func(string) (string, error) { return "", errors.New("no such file") }}
	for _, tt := range []struct {
		name   string
		with   check.Options
		env    check.Env
		reason check.Reason
	}{
		{"in one file", check.Options{"client_cert": both}, check.Env{}, check.OK},
		{"in two files", check.Options{"client_cert": cert, "client_key": key}, check.Env{}, check.OK},
		{"key as a secret", check.Options{"client_cert": cert, "client_key_secret": "k"}, secret, check.OK},
		{"none", check.Options{}, check.Env{}, check.TLSHandshake},
		{"of another authority", check.Options{"client_cert": wrong}, check.Env{}, check.TLSHandshake},
		{"key missing", check.Options{"client_cert": cert}, check.Env{}, check.Misconfigured},
		{"secret missing", check.Options{"client_cert": cert, "client_key_secret": "k"}, broken, check.Misconfigured},
		{"file missing", check.Options{"client_cert": "/no/such/file"}, check.Env{}, check.Misconfigured},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.with["url"], tt.with["roots"] = url, a.Roots()
			f := checktest.NewFunc(t, httpKind(), tt.with, tt.env)
			for range 2 {
				if r := f(t.Context()); r.Reason != tt.reason {
					t.Errorf("got %s %q, want %s", r.Reason, r.Detail, tt.reason)
				}
			}
		})
	}
}

// What goes out, byte for byte where it matters.
func TestHTTPRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	url := "http://" + checktest.Serve(t, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			got <- req
			_, _ = io.WriteString(c, page("", ""))
		}
	})
	f := checktest.NewFunc(t, httpKind(), check.Options{"url": url + "/a%20b?q=1#part", "headers": map[string]string{"host": "portal.test", "accept-language": "vi"},
		"user_agent": "egovmon (+mailto:it@example.vn)", "user": "probe", "password": "x"}, secrets("p:w"))
	if r := f(t.Context()); r.Reason != check.OK {
		t.Fatalf("%s %q", r.Reason, r.Detail)
	}
	req := <-got
	if req.RequestURI != "/a%20b?q=1" || req.Host != "portal.test" || !req.Close {
		t.Errorf("request %s for %s, close %v", req.RequestURI, req.Host, req.Close)
	}
	if user, password, ok := req.BasicAuth(); !ok || user != "probe" || password != "p:w" {
		t.Errorf("login %q %q %v", user, password, ok)
	}
	for name, want := range map[string]string{"User-Agent": "egovmon (+mailto:it@example.vn)", "Accept-Language": "vi", "Accept-Encoding": "gzip, deflate"} {
		if got := req.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	missing := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "user": "probe", "password": "none"}, secrets("x"))
	if r := missing(t.Context()); r.Reason != check.NotConfigured || !strings.Contains(r.Detail, `secret "none"`) {
		t.Errorf("got %s %q, want not_configured", r.Reason, r.Detail)
	}
	none := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "user": "probe", "password": "none"}, check.Env{})
	if r := none(t.Context()); r.Reason != check.NotConfigured {
		t.Errorf("got %s %q, want not_configured", r.Reason, r.Detail)
	}
	empty := checktest.NewFunc(t, httpKind(), check.Options{"url": url, "user": "probe", "password": "x"}, secrets(""))
	if r := empty(t.Context()); r.Reason != check.NotConfigured {
		t.Errorf("got %s %q, want not_configured", r.Reason, r.Detail)
	}
}
