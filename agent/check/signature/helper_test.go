package signature

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// An authority issues certificates for a test.
type authority struct {
	t    testing.TB
	at   time.Time
	cert *x509.Certificate
	key  crypto.Signer
	next *atomic.Int64
}

func newAuthority(t testing.TB, at time.Time) *authority {
	t.Helper()
	a := &authority{t: t, at: at, next: new(atomic.Int64)}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Thử nghiệm Root", Country: []string{"VN"}}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: at.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	})
	return a
}

// sign makes a certificate of this template over a fresh key.
func (a *authority) sign(tmpl *x509.Certificate) (*x509.Certificate, crypto.Signer) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(0x5401_0a00 + a.next.Add(1))
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = a.at.AddDate(0, -1, 0)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = a.at.AddDate(1, 0, 0)
	}
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

// sub makes an authority below this one.
func (a *authority) sub(name string) *authority {
	b := &authority{t: a.t, at: a.at, next: a.next}
	b.cert, b.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	return b
}

// officer makes the certificate of a person who signs.
func (a *authority) officer(change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "Nguyễn Văn A"}, KeyUsage: x509.KeyUsageDigitalSignature}
	if change != nil {
		change(tmpl)
	}
	return a.sign(tmpl)
}

// uses makes the extension that says what a certificate is for; the standard library writes it without critical.
func uses(critical bool, oids ...asn1.ObjectIdentifier) pkix.Extension {
	value, _ := asn1.Marshal(oids)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: value}
}

func (a *authority) file() string { return certPEM(a.t, a.cert) }

func certPEM(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return write(t, "certs.pem", text)
}

func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Answers that an honest authority gives come from the lab's servers (debian_linux_test.go). What stands here is there to misbehave:
// it signs what no honest one would, and answers what OpenSSL cannot be brought to.

// A responder makes the body of an answer to the body of a request.
type responder func(request []byte) []byte

// serve answers every request over HTTP, and returns the URL.
func serve(t testing.TB, kind string, answer responder) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(answer(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// says answers every connection with this text, then stays silent until the other side hangs up.
func says(t testing.TB, text string) string {
	return "http://" + checktest.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	})
}

// hangsUp answers every connection with this text and closes it.
func hangsUp(t testing.TB, text string) string {
	return "http://" + checktest.Serve(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, text)
	})
}

func want(t testing.TB, r check.Result, reason check.Reason, detail string) {
	t.Helper()
	if r.Reason != reason || !strings.Contains(r.Detail, detail) {
		t.Errorf("got %s %q, want %s %q", r.Reason, r.Detail, reason, detail)
	}
}

func wantFacts(t testing.TB, r check.Result, facts map[string]float64) {
	t.Helper()
	for name, v := range facts {
		if got, ok := r.Facts.Get(name); !ok || got != v {
			t.Errorf("fact %s = %v %v, want %v", name, got, ok, v)
		}
	}
}

// tagged2 is the DER of what tagged makes.
func tagged2(t testing.TB, tag int, content []byte) []byte {
	return marshal(t, tagged(asn1.ClassContextSpecific, tag, content))
}

// marshalTag is the DER of a text with a context tag.
func marshalTag(t testing.TB, tag int, text string) []byte {
	return marshal(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(text)})
}

// serve2 answers by the path of the request, and returns the URL.
func serve2(t testing.TB, answer func(path string) []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(answer(r.URL.Path)) }))
	t.Cleanup(s.Close)
	return s.URL
}
