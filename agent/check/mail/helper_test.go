package mail

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Test Root", Organization: []string{"Test"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: epoch().AddDate(-1, 0, 0), NotAfter: epoch().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) sign(tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// leaf makes a server certificate for 127.0.0.1 and mail.test; change may spoil it.
func (a *authority) leaf(change func(*x509.Certificate)) tls.Certificate {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "mail.test"}, DNSNames: []string{"mail.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: epoch().AddDate(0, -1, 0), NotAfter: epoch().AddDate(0, 6, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(tmpl)
	}
	c, k := a.sign(tmpl)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k, Leaf: c}
}

// roots writes the PEM file that a plan names.
func (a *authority) roots() string {
	return writeFile(a.t, "roots.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func writeFile(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// play starts a server that follows a script, one step a line:
//
//	S:text    sends the text, "|" standing for the end of a line, "¶" for one without CR, and ends it
//	RAW:text  sends the text without an end
//	C:text    reads a line, which must begin so
//	BYTE      reads one byte
//	TLS       makes the handshake, by TLS 1.3; TLS1.2 and TLS1.1 by these
//	HANG      says nothing more until the other side goes
//	DRIP:x    sends x, slowly and without end
//	FLOOD:x   sends x without end
//
// Where the script ends it hangs up; where the other side says something else it reports that.
func play(t testing.TB, cert tls.Certificate, script string) string {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		if err := follow(conn, cert, script); err != nil {
			t.Error(err)
		}
	})
}

func follow(conn net.Conn, cert tls.Certificate, script string) error {
	in := bufio.NewReader(conn)
	for step := range strings.Lines(script) {
		word, text, _ := strings.Cut(strings.TrimSpace(step), ":")
		text = strings.NewReplacer("|", "\r\n", "¶", "\n").Replace(text)
		switch word {
		case "":
		case "S", "RAW":
			if word == "S" {
				text += "\r\n"
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return nil // the other side has gone, and says why
			}
		case "C":
			got, err := in.ReadString('\n')
			if err != nil {
				return nil
			}
			if !strings.HasPrefix(got, text) {
				return errors.New("the script has " + text + ", the check said " + got)
			}
		case "BYTE":
			if _, err := in.ReadByte(); err != nil {
				return nil
			}
		case "TLS", "TLS1.2", "TLS1.1":
			versions := map[string]uint16{"TLS": tls.VersionTLS13, "TLS1.2": tls.VersionTLS12, "TLS1.1": tls.VersionTLS11}
			s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: versions[word], MaxVersion: versions[word]})
			if s.Handshake() != nil {
				return nil
			}
			conn, in = s, bufio.NewReader(s)
		case "HANG":
			_, _ = io.Copy(io.Discard, in)
		case "DRIP":
			for i := 0; ; i++ {
				if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
					return nil
				}
				time.Sleep(10 * time.Millisecond)
			}
		case "FLOOD":
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return nil
				}
			}
		default:
			return errors.New("no such step: " + step)
		}
	}
	return nil
}

// run makes a check of the kind with these options over its defaults and runs it once.
func run(t testing.TB, k check.Kind, o check.Options, env check.Env) check.Result {
	t.Helper()
	return runFor(t, k, o, env, 20*time.Second)
}

func runFor(t testing.TB, k check.Kind, o check.Options, env check.Env, limit time.Duration) check.Result {
	t.Helper()
	if env.Now == nil {
		env.Now = epoch
	}
	if env.Secret == nil {
		env.Secret = func(name string) (string, error) {
			if name != "mailbox" {
				return "", errors.New("there is none")
			}
			return password + "\n", nil
		}
	}
	f, err := k.New(withDefaults(t, k, o), env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r := f(ctx)
	declared(t, k, r)
	return r
}

// The monitoring account of the tests. Neither may stand in a detail.
const (
	userName = "probe@xa.test"
	password = `p"\a ssứ}`
)

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

// declared reports what in a result the kind did not promise, and secrets that it lets out.
func declared(t testing.TB, k check.Kind, r check.Result) {
	t.Helper()
	if !r.Reason.Valid() || r.State != r.Reason.State() || r.Reason.Missed() || r.Reason.AccountOnly() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	if r.Detail != check.CleanDetail(r.Detail) {
		t.Errorf("detail %q is not clean", r.Detail)
	}
	for _, secret := range []string{userName, password, saslPlain(userName, password)} {
		if strings.Contains(r.Detail, secret) {
			t.Errorf("detail %q holds the account", r.Detail)
		}
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		d, ok := k.Fact(f.Name)
		if !ok || seen[f.Name] || f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v: declared %v [%v, %v], stands twice %v", f.Name, f.Value, ok, d.Min, d.Max, seen[f.Name])
		}
		seen[f.Name] = true
	}
	for i, p := range r.Phases {
		if !slices.Contains(k.Phases, p.Name) || slices.ContainsFunc(r.Phases[:i], func(q check.Phase) bool { return q.Name == p.Name }) {
			t.Errorf("phase %s: unknown or twice in %v", p.Name, r.Phases)
		}
	}
	if len(r.Phases) == 0 || r.Phases[len(r.Phases)-1].Name != phaseTotal {
		t.Errorf("phases %v do not end in total", r.Phases)
	}
}

func want(t testing.TB, r check.Result, reason check.Reason, detail string) {
	t.Helper()
	if r.Reason != reason || !strings.Contains(r.Detail, detail) {
		t.Errorf("got %s (%s), want %s (%s)", r.Reason, r.Detail, reason, detail)
	}
}

func wantFacts(t testing.TB, r check.Result, facts map[string]float64) {
	t.Helper()
	for name, v := range facts {
		if got, ok := r.Facts.Get(name); !ok || got != v {
			t.Errorf("fact %s = %v, %v; want %v", name, got, ok, v)
		}
	}
}
