package standin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// A PKI is a root and an authority below it, made for one lab.
type PKI struct {
	Roots []byte // PEM of the root

	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	now       time.Time
}

// NewPKI makes a root and an authority whose certificates hold for a month around now.
func NewPKI(now time.Time) (*PKI, error) {
	root, rootKey, err := issue(template(now, "Lab Root"), nil, nil)
	if err != nil {
		return nil, err
	}
	sub, key, err := issue(template(now, "Lab Authority G2"), root, rootKey)
	if err != nil {
		return nil, err
	}
	return &PKI{Roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), authority: sub, key: key, now: now}, nil
}

func template(now time.Time, name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"egovmon lab"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(0, 2, 0)}
}

// issue signs a certificate for a new key; without a parent it signs itself.
func issue(t, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)); err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, by = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), by)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s: %w", t.Subject.CommonName, err)
	}
	c, err := x509.ParseCertificate(der)
	return c, key, err
}

// A Certificate says which of its certificates a site shows.
type Certificate int

// The certificates of a site.
const (
	Good           Certificate = iota
	Expired                    // it ended an hour ago
	OtherName                  // it is for another host
	NoIntermediate             // the server does not send the authority's
)

// certificates makes all of them for a host.
func (p *PKI) certificates(host string) (map[Certificate]*tls.Certificate, error) {
	out := map[Certificate]*tls.Certificate{}
	for kind, c := range map[Certificate]struct {
		name string
		end  time.Time
	}{Good: {host, p.now.AddDate(0, 1, 15)}, Expired: {host, p.now.Add(-time.Hour)}, OtherName: {"other.test", p.now.AddDate(0, 1, 15)}} {
		t := &x509.Certificate{Subject: pkix.Name{CommonName: c.name}, DNSNames: []string{c.name}, NotBefore: p.now.Add(-23 * time.Hour), NotAfter: c.end,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		leaf, key, err := issue(t, p.authority, p.key)
		if err != nil {
			return nil, err
		}
		out[kind] = &tls.Certificate{Certificate: [][]byte{leaf.Raw, p.authority.Raw}, PrivateKey: key}
		if kind == Good {
			out[NoIntermediate] = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
		}
	}
	return out, nil
}
