// Package certlist reads public certificates out of the files that people hand over, and says what there is to know of
// one without asking anybody: in which class of days it ends, whose unit it names, whether its key is too small. It reads
// PEM, DER and PKCS#7 (a bundle of certificates); a private key is refused, and never returned.
package certlist

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/text/unicode/norm"
)

// What one file may have.
const (
	MaxBytes = 1 << 20
	MaxCerts = 500
)

// Why a file is not read.
var (
	// ErrPrivateKey is that a file holds a private key, which has no business here.
	ErrPrivateKey = errors.New("it holds a private key: hand over the certificate alone, and keep the key where it is")
	// ErrPKCS12 is that a file is a PKCS#12 store, which holds private keys.
	ErrPKCS12 = errors.New("it is a PKCS#12 store (.p12, .pfx), which holds private keys: export the certificate alone")
	errNone   = errors.New("it holds no certificate: it must be PEM (-----BEGIN CERTIFICATE-----), DER or PKCS#7 (.p7b)")
)

// Parse reads the certificates of a file.
func Parse(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(text), MaxBytes)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !bytes.Contains(text, []byte("-----BEGIN")) {
		return parseDER(text)
	}
	var all []*x509.Certificate
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		switch {
		case strings.Contains(b.Type, "PRIVATE KEY"):
			return nil, ErrPrivateKey
		case b.Type == "CERTIFICATE", b.Type == "X509 CERTIFICATE", b.Type == "PKCS7", b.Type == "CMS":
			certs, err := parseDER(b.Bytes)
			if err != nil {
				return nil, err
			}
			if all = append(all, certs...); len(all) > MaxCerts {
				return nil, tooMany()
			}
		}
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) { // one that is spoilt is refused too
		return nil, ErrPrivateKey
	}
	if len(all) == 0 {
		return nil, errNone
	}
	return all, nil
}

func tooMany() error { return fmt.Errorf("it holds more than %d certificates", MaxCerts) }

// parseDER reads one certificate, or a bundle.
func parseDER(text []byte) ([]*x509.Certificate, error) {
	in := cryptobyte.String(text)
	var whole, inner cryptobyte.String
	var tag der.Tag
	var kind asn1.ObjectIdentifier
	if !in.ReadASN1(&whole, der.SEQUENCE) || !in.Empty() {
		return nil, errNone
	}
	switch {
	case whole.PeekASN1Tag(der.OBJECT_IDENTIFIER):
		if !whole.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}) || !whole.ReadASN1(&inner, explicit(0)) {
			return nil, errNone
		}
		return parseBundle(inner)
	case whole.PeekASN1Tag(der.INTEGER):
		var version int
		if whole.ReadASN1Integer(&version) && version == 3 && whole.PeekASN1Tag(der.SEQUENCE) {
			return nil, ErrPKCS12
		}
		// PKCS#1, PKCS#8 and SEC 1 keys begin with a version, a certificate does not.
		if whole.ReadAnyASN1(&inner, &tag) {
			return nil, ErrPrivateKey
		}
		return nil, errNone
	case whole.PeekASN1Tag(der.SEQUENCE):
		c, err := x509.ParseCertificate(text)
		if err != nil {
			// PKCS#8 in a password begins with a sequence too, whose first part names the encryption.
			if whole.ReadASN1(&inner, der.SEQUENCE) && inner.ReadASN1ObjectIdentifier(&kind) && whole.PeekASN1Tag(der.OCTET_STRING) {
				return nil, ErrPrivateKey
			}
			return nil, err
		}
		return []*x509.Certificate{c}, nil
	}
	return nil, errNone
}

// parseBundle reads the certificates of SignedData without a signer (RFC 5652, section 5.1).
func parseBundle(wrapped cryptobyte.String) ([]*x509.Certificate, error) {
	var sd, certs cryptobyte.String
	var some bool
	if !wrapped.ReadASN1(&sd, der.SEQUENCE) || !sd.SkipASN1(der.INTEGER) || !sd.SkipASN1(der.SET) || !sd.SkipASN1(der.SEQUENCE) ||
		!sd.ReadOptionalASN1(&certs, &some, explicit(0)) {
		return nil, errors.New("its bundle of certificates cannot be read (PKCS#7)")
	}
	var all []*x509.Certificate
	for !certs.Empty() {
		var raw cryptobyte.String
		if !certs.ReadASN1Element(&raw, der.SEQUENCE) {
			return nil, errors.New("its bundle of certificates cannot be read (PKCS#7)")
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, err
		}
		if all = append(all, c); len(all) > MaxCerts {
			return nil, tooMany()
		}
	}
	if len(all) == 0 {
		return nil, errNone
	}
	return all, nil
}

func explicit(n uint8) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

// A Class says how near the end of a certificate is.
type Class int

// The classes. Each is the days that are left at most; the end is not in them.
const (
	Ended   Class = iota // it has ended, or has not begun
	In15                 // ends within 15 days
	In30                 // within 30 days
	In60                 // within 60 days
	Later                // later than that
	Classes              // how many there are
)

// Of returns the class of a certificate at an instant.
func Of(c *x509.Certificate, now time.Time) Class {
	if now.Before(c.NotBefore) {
		return Ended
	}
	return ClassOf(c.NotAfter, now)
}

// ClassOf returns the class of an end at an instant.
func ClassOf(end, now time.Time) Class {
	switch left := end.Sub(now); {
	case left < 0:
		return Ended
	case left < 15*24*time.Hour:
		return In15
	case left < 30*24*time.Hour:
		return In30
	case left < 60*24*time.Hour:
		return In60
	}
	return Later
}

// SmallKey reports whether a key is below what holds until 2030: RSA of 2048 bits, curves of 256.
func SmallKey(c *x509.Certificate) bool {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() < 2048
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize < 256
	}
	return false
}

// Units are the organisations and their parts that a certificate names as its subject's.
func Units(c *x509.Certificate) []string {
	return slices.Concat(c.Subject.OrganizationalUnit, c.Subject.Organization)
}

// NamesUnit reports whether one of a certificate's units is one of these names, however it is written: capitals, spaces
// and the way in which letters are composed do not matter.
func NamesUnit(c *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(Units(c), func(u string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return plain(u) == plain(n) })
	})
}

// MentionsUnit reports whether one of these names stands within one of a certificate's units, as "xã An Thanh" does in
// "UBND xã An Thanh".
func MentionsUnit(c *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(Units(c), func(u string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			n = plain(n)
			return n != "" && strings.Contains(" "+plain(u)+" ", " "+n+" ")
		})
	})
}

func plain(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(norm.NFC.String(s)), " "))
}
