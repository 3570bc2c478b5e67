package exporter

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"
)

// An authority signs the certificates of these tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for a name and 127.0.0.1 and its key, as PEM.
func (a authority) issue(t *testing.T, name string, serial int64) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pk})
}

func (a authority) client(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	cert, key := a.issue(t, name, 7)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello over %s", r.Proto) }

// ours and toolkit serve hello by the same file.
func ours(t *testing.T, file string) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(hello), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	secured, err := Secure(s, l, file)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, s, func() error { return s.Serve(secured) })
	return l.Addr().String()
}

func toolkit(t *testing.T, file string) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(hello), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	serve(t, s, func() error {
		return kit.Serve(l, s, &kit.FlagConfig{WebConfigFile: &file}, slog.New(slog.DiscardHandler))
	})
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serve(t *testing.T, s *http.Server, f func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
}

// A visit is one request of a client.
type visit struct {
	scheme, user, password string
	cert                   *tls.Certificate
	max                    uint16
	h2                     bool
}

// pay makes the visit and returns the status with some headers and the protocol, or "refused".
func (v visit) pay(t *testing.T, addr string, roots *x509.CertPool) string {
	t.Helper()
	cfg := &tls.Config{RootCAs: roots, MaxVersion: v.max}
	if v.cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return v.cert, nil }
	}
	tr := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, ForceAttemptHTTP2: v.h2}
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.scheme+"://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.user != "" {
		req.SetBasicAuth(v.user, v.password)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "refused"
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	s := fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get("X-Frame-Options"))
	if resp.StatusCode == http.StatusOK {
		s += string(body)
	}
	if resp.TLS != nil {
		s += " " + tls.VersionName(resp.TLS.Version)
	}
	if auth := resp.Header.Get("WWW-Authenticate"); auth != "" {
		s += strings.Fields(auth)[0]
	}
	return s
}

// The same file, read by exporter-toolkit and by us, answers the same visits alike.
func TestLikeToolkit(t *testing.T) {
	dir, a, other := t.TempDir(), newAuthority(t), newAuthority(t)
	cert, key := a.issue(t, "agent.test", 2)
	write(t, dir, "cert.pem", cert)
	write(t, dir, "key.pem", key)
	write(t, dir, "ca.pem", a.pem())
	secret, empty := hash(t, "secret"), hash(t, "")
	const files = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
	inline := "tls_server_config:\n  cert: |\n    " + strings.ReplaceAll(string(cert), "\n", "\n    ") + "\n  key: |\n    " + strings.ReplaceAll(string(key), "\n", "\n    ") + "\n"
	users := "basic_auth_users:\n  prometheus: " + secret + "\n  none: " + empty + "\n"
	configs := map[string]string{
		"empty":       "",
		"comment":     "# nothing\n",
		"users":       users,
		"headers":     "http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
		"tls":         files,
		"crlf":        strings.ReplaceAll(files+users, "\n", "\r\n"),
		"inline":      inline,
		"tls users":   files + users + "http_server_config:\n  http2: true\n  headers: {X-Frame-Options: sameorigin}\n",
		"http1":       files + "http_server_config:\n  http2: false\n",
		"tls13":       files + "  min_version: TLS13\n",
		"tls12":       files + "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256]\n  prefer_server_cipher_suites: false\n",
		"mtls":        files + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n",
		"mtls sans":   files + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [prometheus.test]\n",
		"if given":    files + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n",
		"any":         files + "  client_auth_type: RequireAnyClientCert\n",
		"old any":     files + "  client_auth_type: RequireClientCert\n",
		"mtls, users": files + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n" + users,
	}
	visits := map[string]visit{
		"http": {scheme: "http"}, "https": {scheme: "https"}, "h2": {scheme: "https", h2: true}, "tls12": {scheme: "https", max: tls.VersionTLS12},
		"right": {scheme: "http", user: "prometheus", password: "secret"}, "wrong": {scheme: "http", user: "prometheus", password: "Secret"},
		"stranger": {scheme: "http", user: "admin", password: "secret"}, "empty": {scheme: "http", user: "none"},
		"https right": {scheme: "https", user: "prometheus", password: "secret"},
		"cert":        {scheme: "https", cert: a.client(t, "prometheus.test")}, "other name": {scheme: "https", cert: a.client(t, "x.test")},
		"other authority": {scheme: "https", cert: other.client(t, "prometheus.test")},
		"cert right":      {scheme: "https", cert: a.client(t, "prometheus.test"), user: "prometheus", password: "secret"},
	}
	for name, text := range configs {
		t.Run(name, func(t *testing.T) {
			file := write(t, dir, strings.ReplaceAll(name, " ", "_")+".yml", []byte(text))
			us, them := ours(t, file), toolkit(t, file)
			for what, v := range visits {
				for range 2 { // the second is answered from memory
					got, want := v.pay(t, us, a.pool()), v.pay(t, them, a.pool())
					if got != want {
						t.Errorf("%s: %q, exporter-toolkit answers %q", what, got, want)
					}
				}
			}
		})
	}
}

func TestSecureChanges(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	roots := a.pool()
	put := func(serial int64) {
		cert, key := a.issue(t, "agent.test", serial)
		write(t, dir, "cert.pem", cert)
		write(t, dir, "key.pem", key)
	}
	put(10)
	const base = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
	file := write(t, dir, "web.yml", []byte(base+"basic_auth_users: {a: "+hash(t, "1")+"}\n"))
	addr := ours(t, file)
	serial := func() int64 {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	one, two := visit{scheme: "https", user: "a", password: "1"}, visit{scheme: "https", user: "a", password: "22"}
	if got := serial(); got != 10 {
		t.Fatalf("serial %d", got)
	}
	put(11)
	if got := serial(); got != 11 {
		t.Errorf("a renewed certificate is not used: serial %d", got)
	}
	cert, _ := a.issue(t, "agent.test", 12)
	write(t, dir, "cert.pem", append(cert, '\n'))
	if got := serial(); got != 11 {
		t.Errorf("a certificate without its key: serial %d", got)
	}
	put(13)
	if got := serial(); got != 13 {
		t.Errorf("after both were replaced: serial %d", got)
	}
	if got := one.pay(t, addr, roots) + two.pay(t, addr, roots); got != "200 hello over HTTP/1.1 TLS 1.3401  TLS 1.3Basic" {
		t.Errorf("before the change: %s", got)
	}
	write(t, dir, "web.yml", []byte(base+"basic_auth_users: {a: "+hash(t, "22")+"} # new\n"))
	if got := one.pay(t, addr, roots) + two.pay(t, addr, roots); got != "401  TLS 1.3Basic200 hello over HTTP/1.1 TLS 1.3" {
		t.Errorf("after the change: %s", got)
	}
	// Broken or gone, it lets nobody in.
	write(t, dir, "web.yml", []byte(base+"basic_auth_user: {}\n"))
	if got := one.pay(t, addr, roots); got != "refused" {
		t.Errorf("with a mistake: %s", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := two.pay(t, addr, roots); got != "refused" {
		t.Errorf("without the file: %s", got)
	}
	write(t, dir, "web.yml", []byte(base))
	if got := one.pay(t, addr, roots); got != "200 hello over HTTP/1.1 TLS 1.3" {
		t.Errorf("mended: %s", got)
	}
}

// Names are judged when a session is resumed too.
func TestAllowedNamesOnResumption(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := a.issue(t, "agent.test", 2)
	write(t, dir, "c", cert)
	write(t, dir, "k", key)
	write(t, dir, "ca", a.pem())
	const base = "tls_server_config: {cert_file: c, key_file: k, client_ca_file: ca, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: "
	addr := ours(t, write(t, dir, "web.yml", []byte(base+"[one.test]}\n")))
	cfg := &tls.Config{RootCAs: a.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(4), ServerName: "agent.test",
		Certificates: []tls.Certificate{*a.client(t, "one.test")}}
	visit := func() error {
		c, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
	if err := visit(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "web.yml", []byte(base+"[another.test]}\n"))
	if err := visit(); err == nil {
		t.Error("a name that is no longer allowed resumed its session")
	}
}

func TestSecureRateLimit(t *testing.T) {
	file := write(t, t.TempDir(), "web.yml", []byte("rate_limit: {interval: 1h, burst: 2}\n"))
	addr := ours(t, file)
	v := visit{scheme: "http"}
	if got := v.pay(t, addr, nil) + v.pay(t, addr, nil) + v.pay(t, addr, nil); got != "200 hello over HTTP/1.1200 hello over HTTP/1.1429 " {
		t.Error(got)
	}
}

func TestSecurePlain(t *testing.T) {
	l := listen(t)
	defer l.Close()
	h := http.HandlerFunc(hello)
	s := &http.Server{Handler: h}
	if got, err := Secure(s, l, ""); got != l || err != nil || s.TLSConfig != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestSecureErrors(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := a.issue(t, "agent.test", 2)
	_, otherKey := a.issue(t, "agent.test", 3)
	for name, text := range map[string][]byte{"c": cert, "k": key, "other": otherKey, "none": []byte("nothing\n"), "big": make([]byte, maxPEM+1)} {
		write(t, dir, name, text)
	}
	for text, want := range map[string]string{
		"tls_server_config: {cert_file: x, key_file: k}":                                                                     "x: no such file",
		"tls_server_config: {cert_file: c, key_file: x}":                                                                     "key_file: open",
		"tls_server_config: {cert_file: c, key_file: other}":                                                                 "does not match",
		"tls_server_config: {cert_file: none, key_file: k}":                                                                  "name a PEM certificate chain",
		"tls_server_config: {cert_file: big, key_file: k}":                                                                   "more than",
		"tls_server_config: {cert_file: c, key_file: k, client_ca_file: none, client_auth_type: RequireAndVerifyClientCert}": "no certificate in it",
		"tls_server_config: {cert_file: c, key_file: k, client_ca_file: x, client_auth_type: RequireAndVerifyClientCert}":    "client_ca_file: open",
		"tls_server_config:\n  cert_file: c\n  key_fil: k\n":                                                                 "line 3: unknown key \"key_fil\" in tls_server_config: known here are cert,",
	} {
		file := write(t, dir, "web.yml", []byte(text))
		l := listen(t)
		_, err := Secure(&http.Server{}, l, file)
		_ = l.Close()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Secure(&http.Server{}, nil, filepath.Join(dir, "gone.yml")); err == nil || !strings.Contains(err.Error(), "gone.yml") {
		t.Error(err)
	}
}

// Nothing that an agent links through this package makes the linker keep every exported method.
func TestReachesNoTemplates(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		switch dep {
		case "text/template", "html/template", "golang.org/x/net/trace", "github.com/prometheus/exporter-toolkit/web":
			t.Errorf("this package reaches %s", dep)
		}
	}
}
