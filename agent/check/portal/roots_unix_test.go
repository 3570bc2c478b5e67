//go:build unix

package portal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/reach"
)

// What a plan names as a file of roots, or of a client's certificate and key, may be anything: it is never waited for and never read whole.
func TestHostileRoots(t *testing.T) {
	a := checktest.NewAuthority(t, "portal.test")
	dir := t.TempDir()
	fifo, large, junk := filepath.Join(dir, "fifo"), filepath.Join(dir, "large"), filepath.Join(dir, "junk")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{large: strings.Repeat("x", reach.MaxPEM+1), junk: "no PEM"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}}, nil)
	both, _, _, _ := pemPair(t, a.Leaf(nil, nil))
	for path, detail := range map[string]string{
		fifo: "is no regular file", "/dev/zero": "is no regular file", dir: "is no regular file", large: "more than", junk: "no certificate", filepath.Join(dir, "gone"): "no such file",
	} {
		checktest.Bounded(t, 64<<20, func() {
			r := checktest.NewFunc(t, tlsKind(), check.Options{"address": at, "roots": path}, check.Env{})(t.Context())
			want{check.Misconfigured, detail, nil}.check(t, r)
		})
		if path == junk {
			continue
		}
		r := checktest.NewFunc(t, httpKind(), check.Options{"url": "https://" + at, "roots": a.Roots(), "client_cert": both, "client_key": path}, check.Env{})(t.Context())
		want{check.Misconfigured, detail, nil}.check(t, r)
	}
}

// A certificate that is not for servers, one with a key of another kind, and one whose issuer has no common name.
func TestOddCertificates(t *testing.T) {
	a := checktest.NewAuthority(t, "127.0.0.1")
	serve := func(key any, change func(*x509.Certificate)) string {
		leaf := a.Leaf(nil, change)
		if key != nil {
			leaf = selfSigned(t, key, change)
		}
		return checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{leaf}}, nil)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	nameless := func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"Xã Tứ Kỳ"}} }
	for _, tt := range []struct {
		name, at string
		want     want
	}{
		{"for clients alone", serve(nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want{check.TLSUntrusted, "usage", nil}},
		{"another kind of key, of nobody", serve(other, nameless), want{check.TLSUntrusted, "issuer O=Xã Tứ Kỳ", map[string]float64{"key_bits": 256}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.check(t, checktest.NewFunc(t, tlsKind(), check.Options{"address": tt.at, "roots": a.Roots()}, check.Env{})(t.Context()))
		})
	}
}

// selfSigned is a certificate for 127.0.0.1 by its own key.
func selfSigned(t *testing.T, key any, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	signer, ok := key.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("%T is no key", key)
	}
	leaf, err := x509.ParseCertificate(checktest.NewAuthority(t, "127.0.0.1").Leaf(nil, change).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf.SignatureAlgorithm, leaf.PublicKey = x509.PureEd25519, signer.Public()
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}
}
