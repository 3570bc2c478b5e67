package checktest

import (
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
	"testing"
	"time"
)

// An Authority issues certificates for servers of a test, valid around [Epoch].
type Authority struct {
	Cert *x509.Certificate

	t     testing.TB
	host  string
	key   any
	chain [][]byte // from this one up, without the root
}

// NewAuthority makes a root whose leaves are for 127.0.0.1 and this host.
func NewAuthority(t testing.TB, host string) *Authority {
	t.Helper()
	a := &Authority{t: t, host: host}
	a.Cert, a.key = a.Sign(caTemplate("Test Root"), nil)
	return a
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"Test"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: Epoch().AddDate(-1, 0, 0), NotAfter: Epoch().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
}

// Sub makes an intermediate authority below a, which ends at this instant.
func (a *Authority) Sub(name string, ends time.Time) *Authority {
	a.t.Helper()
	tmpl := caTemplate(name)
	tmpl.NotAfter = ends
	s := &Authority{t: a.t, host: a.host}
	s.Cert, s.key = a.Sign(tmpl, nil)
	s.chain = append([][]byte{s.Cert.Raw}, a.chain...)
	return s
}

// Sign makes a certificate with this template; a nil key gives it a fresh P-256 one.
func (a *Authority) Sign(tmpl *x509.Certificate, key any) (*x509.Certificate, any) {
	a.t.Helper()
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			a.t.Fatal(err)
		}
		key = k
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := a.Cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	pub, _ := key.(interface{ Public() crypto.PublicKey })
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// Leaf makes a server certificate for 127.0.0.1 and the authority's host, and half a year more; change may spoil it. It
// comes with the intermediates that lead to the root.
func (a *Authority) Leaf(key any, change func(*x509.Certificate)) tls.Certificate {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: a.host}, DNSNames: []string{a.host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: Epoch().AddDate(0, -1, 0), NotAfter: Epoch().AddDate(0, 6, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(tmpl)
	}
	c, k := a.Sign(tmpl, key)
	return tls.Certificate{Certificate: append([][]byte{c.Raw}, a.chain...), PrivateKey: k, Leaf: c}
}

// Roots writes the authority's own certificate to a PEM file, as a plan names it, and returns the path.
func (a *Authority) Roots() string { return WritePEM(a.t, "roots.pem", "CERTIFICATE", a.Cert.Raw) }

// WritePEM writes blocks of one kind to a file and returns its path.
func WritePEM(t testing.TB, name, kind string, der ...[]byte) string {
	t.Helper()
	var text []byte
	for _, d := range der {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: d})...)
	}
	return WriteFile(t, name, text)
}

// WriteFile writes a file to a folder of its own and returns its path.
func WriteFile(t testing.TB, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
