package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// MaxStamp is the most bytes of a time stamp, or of an authority's answer.
const MaxStamp = tsaBytes

// A Stamp is what a time stamp says that was verified.
type Stamp struct {
	At        time.Time     // UTC
	Accuracy  time.Duration // by the authority's own word; 0 when it says nothing
	Authority string        // the name of the certificate that signed it
	Serial    string        // hex
	// Rooted: the certificate leads to one of the roots that were given, at the time of the stamp.
	Rooted bool
}

// StampRequest writes a request for a time stamp over a SHA-256 digest (RFC 3161, section 2.4.1), with a random nonce.
func StampRequest(digest [sha256.Size]byte) (request []byte, nonce *big.Int, err error) {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	nonce = new(big.Int).SetBytes(b)
	request, err = stampRequest(oidSHA256(), digest[:], nil, nonce)
	return request, nonce, err
}

// StampToken returns the time stamp in an authority's answer. An answer that holds none is an error that says why.
func StampToken(answer []byte) ([]byte, error) {
	if len(answer) > MaxStamp {
		return nil, fmt.Errorf("an answer of %d bytes, the most is %d", len(answer), MaxStamp)
	}
	a, err := parseStampAnswer(answer)
	switch {
	case err != nil:
		return nil, err
	case a.status > 1:
		return nil, fmt.Errorf("no time stamp: %s", a.refusal())
	case a.token == nil:
		return nil, errors.New("granted, and no time stamp came")
	}
	return a.token, nil
}

// ReadStamp verifies a time stamp over a SHA-256 digest (RFC 3161, section 2.4.2): its signature, the certificate that it
// names and carries, that this one is for time stamps alone and held when it was made. A nonce that is not nil must stand in
// it. Whether the certificate leads to a root is in Rooted: it is judged at the time of the stamp, so that one stays good
// when its certificate ends; whether it was revoked is not known here.
func ReadStamp(token []byte, digest [sha256.Size]byte, nonce *big.Int, roots []*x509.Certificate) (Stamp, error) {
	if len(token) > MaxStamp {
		return Stamp{}, fmt.Errorf("a time stamp of %d bytes, the most is %d", len(token), MaxStamp)
	}
	d, err := parseSigned(token)
	if err != nil {
		return Stamp{}, fmt.Errorf("the time stamp: %w", err)
	}
	signer, err := d.certificate()
	if err != nil {
		return Stamp{}, err
	}
	if err := d.verify(signer, oidTSTInfo()); err != nil {
		return Stamp{}, fmt.Errorf("the signature of the time stamp: %w", err)
	}
	if err := d.signer.bound(signer); err != nil {
		return Stamp{}, err
	}
	info, err := parseStampInfo(d.content)
	if err != nil {
		return Stamp{}, err
	}
	switch {
	case !info.hash.Equal(oidSHA256()) || !bytes.Equal(info.imprint, digest[:]):
		return Stamp{}, errors.New("the time stamp is over other data (message imprint)")
	case nonce != nil && (info.nonce == nil || info.nonce.Cmp(nonce) != 0):
		return Stamp{}, errors.New("the nonce in the time stamp is not ours: an answer to another request")
	case info.critical != nil:
		return Stamp{}, fmt.Errorf("a critical extension %v that is not known here", info.critical)
	}
	if err := mayStamp(signer, info.genTime); err != nil {
		return Stamp{}, err
	}
	return Stamp{At: info.genTime.UTC(), Accuracy: info.accuracy, Authority: called(signer), Serial: info.serial.Text(16), Rooted: leads(signer, d.certs, roots, info.genTime)}, nil
}

// leads reports whether a certificate for time stamps leads to one of the roots at an instant.
func leads(c *x509.Certificate, more, roots []*x509.Certificate, at time.Time) bool {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}
	for _, r := range roots {
		o.Roots.AddCert(r)
	}
	for _, m := range more {
		o.Intermediates.AddCert(m)
	}
	_, err := c.Verify(o)
	return err == nil
}
