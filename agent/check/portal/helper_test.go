package portal

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// epoch is the instant that certificates are judged at in these tests.
func epoch() time.Time { return time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) }

// An authority issues certificates for servers of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  any
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test Root", Organization: []string{"Test"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: epoch().AddDate(-1, 0, 0), NotAfter: epoch().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	a := &authority{t: t}
	a.cert, a.key = a.sign(tmpl, nil)
	return a
}

// sign makes a certificate with this template; a nil key gives it a fresh P-256 one.
func (a *authority) sign(tmpl *x509.Certificate, key any) (*x509.Certificate, any) {
	a.t.Helper()
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			a.t.Fatal(err)
		}
		key = k
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, publicOf(key), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) roots() string {
	return writePEM(a.t, "roots.pem", "CERTIFICATE", a.cert.Raw)
}

func writePEM(t testing.TB, name, kind string, der ...[]byte) string {
	t.Helper()
	var text []byte
	for _, d := range der {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: d})...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func publicOf(key any) any {
	k, _ := key.(interface{ Public() crypto.PublicKey })
	return k.Public()
}

// leaf makes a server certificate for 127.0.0.1 and portal.test; change may spoil it.
func (a *authority) leaf(key any, change func(*x509.Certificate)) tls.Certificate {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "portal.test"}, DNSNames: []string{"portal.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: epoch().AddDate(0, -1, 0), NotAfter: epoch().AddDate(0, 6, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(tmpl)
	}
	c, k := a.sign(tmpl, key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k, Leaf: c}
}

// serve answers every connection to a port of 127.0.0.1 with handle, and returns its host:port.
func serve(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// serveTLS speaks TLS with these settings and then handles the connection; a nil handle reads until the end.
func serveTLS(t testing.TB, cfg *tls.Config, handle func(net.Conn)) string {
	return serve(t, func(conn net.Conn) {
		s := tls.Server(conn, cfg)
		if s.Handshake() != nil {
			return
		}
		if handle == nil {
			_, _ = s.Read(make([]byte, 1))
			return
		}
		handle(s)
	})
}

// newFunc makes a Func as a plan would, with the kind's defaults, and fails the test when a result strays from what
// the kind declares.
func newFunc(t testing.TB, k check.Kind, o check.Options, env check.Env) check.Func {
	t.Helper()
	f, err := k.New(withDefaults(t, k, o), withEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) check.Result {
		r := f(ctx)
		declared(t, k, r)
		return r
	}
}

func withEnv(env check.Env) check.Env {
	if env.Now == nil {
		env.Now = epoch
	}
	if env.Timeout == 0 {
		env.Timeout = 30 * time.Second
	}
	return env
}

func withDefaults(t testing.TB, k check.Kind, o check.Options) check.Options {
	t.Helper()
	all := check.Options{}
	for _, d := range k.Options {
		if d.Default == "" {
			continue
		}
		v, err := plan.Default(d)
		if err != nil {
			t.Fatalf("default of %s: %v", d.Name, err)
		}
		all[d.Name] = v
	}
	for name, v := range o {
		if _, ok := k.Option(name); !ok {
			t.Fatalf("kind %s has no option %q", k.Name, name)
		}
		all[name] = v
	}
	return all
}

// declared reports what in a result the kind did not promise.
func declared(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	if !r.Reason.Valid() || r.State != r.Reason.State() || r.Reason.Missed() || r.Reason.AccountOnly() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	if r.Detail != check.CleanDetail(r.Detail) {
		t.Errorf("detail %q is not clean", r.Detail)
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		d, ok := k.Fact(f.Name)
		if !ok || seen[f.Name] || f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v: declared %v [%v, %v], stands twice %v", f.Name, f.Value, ok, d.Min, d.Max, seen[f.Name])
		}
		seen[f.Name] = true
	}
	at := -1
	for _, p := range r.Phases {
		i := slices.Index(k.Phases, p.Name)
		if i <= at {
			t.Errorf("phase %s: unknown, twice or out of order in %v", p.Name, r.Phases)
		}
		at = i
	}
	if len(r.Phases) == 0 || r.Phases[len(r.Phases)-1].Name != "total" {
		t.Errorf("phases %v do not end in total", r.Phases)
	}
}
