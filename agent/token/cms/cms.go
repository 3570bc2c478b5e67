// Package cms makes CAdES signatures (ETSI EN 319 122-1): a detached CMS message with one signer, whose signed attributes
// name his certificate, and to which a time stamp and revocation data can be added afterwards.
package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of [HashByName]
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

func oid(n ...int) asn1.ObjectIdentifier { return n }

// The identifiers of RFC 5652, RFC 5035, RFC 5126 and RFC 5940.
func oidData() asn1.ObjectIdentifier          { return oid(1, 2, 840, 113549, 1, 7, 1) }
func oidSignedData() asn1.ObjectIdentifier    { return oid(1, 2, 840, 113549, 1, 7, 2) }
func oidContentType() asn1.ObjectIdentifier   { return oid(1, 2, 840, 113549, 1, 9, 3) }
func oidMessageDigest() asn1.ObjectIdentifier { return oid(1, 2, 840, 113549, 1, 9, 4) }
func oidSigningTime() asn1.ObjectIdentifier   { return oid(1, 2, 840, 113549, 1, 9, 5) }
func oidSigningCert() asn1.ObjectIdentifier   { return oid(1, 2, 840, 113549, 1, 9, 16, 2, 47) }
func oidStamp() asn1.ObjectIdentifier         { return oid(1, 2, 840, 113549, 1, 9, 16, 2, 14) }
func oidOCSP() asn1.ObjectIdentifier          { return oid(1, 3, 6, 1, 5, 5, 7, 16, 2) }

// A Hash is a hash with its identifiers.
type Hash struct {
	Hash       crypto.Hash
	oid        asn1.ObjectIdentifier
	rsa, ecdsa asn1.ObjectIdentifier // of signatures over it
}

// HashByName returns sha256, sha384 or sha512.
func HashByName(s string) (Hash, error) {
	nist := func(n int) asn1.ObjectIdentifier { return oid(2, 16, 840, 1, 101, 3, 4, 2, n) }
	pkcs1 := func(n int) asn1.ObjectIdentifier { return oid(1, 2, 840, 113549, 1, 1, n) }
	x962 := func(n int) asn1.ObjectIdentifier { return oid(1, 2, 840, 10045, 4, 3, n) }
	switch s {
	case "sha256":
		return Hash{crypto.SHA256, nist(1), pkcs1(11), x962(2)}, nil
	case "sha384":
		return Hash{crypto.SHA384, nist(2), pkcs1(12), x962(3)}, nil
	case "sha512":
		return Hash{crypto.SHA512, nist(3), pkcs1(13), x962(4)}, nil
	}
	return Hash{}, fmt.Errorf("hash %q is not known: sha256, sha384 or sha512", s)
}

// A Message is a signature in the making.
type Message struct {
	hash      Hash
	chain     []*x509.Certificate
	attrs     []byte // the signed attributes, without the tag of their set
	algorithm asn1.ObjectIdentifier
	null      bool // whether the algorithm has the parameter NULL
	signature []byte
}

// New begins a signature by the key of chain[0] over content of this digest. A zero time claims none, as in a PDF, whose
// signature dictionary does.
func New(h Hash, chain []*x509.Certificate, digest []byte, signed time.Time) (*Message, error) {
	m := &Message{hash: h, chain: chain}
	switch chain[0].PublicKey.(type) {
	case *rsa.PublicKey:
		m.algorithm, m.null = h.rsa, true
	case *ecdsa.PublicKey:
		m.algorithm = h.ecdsa
	default:
		return nil, fmt.Errorf("certificate with serial %x has a key that is neither RSA nor ECDSA", chain[0].SerialNumber)
	}
	list := [][]byte{
		attribute(oidContentType(), func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData()) }),
		attribute(oidMessageDigest(), func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) }),
		attribute(oidSigningCert(), func(b *cryptobyte.Builder) { signingCertificate(b, h, chain[0]) }),
	}
	if !signed.IsZero() {
		list = append(list, attribute(oidSigningTime(), func(b *cryptobyte.Builder) { addTime(b, signed.UTC()) }))
	}
	slices.SortStableFunc(list, bytes.Compare) // a SET OF in DER
	m.attrs = slices.Concat(list...)
	return m, nil
}

// addTime writes UTCTime up to 2049 and GeneralizedTime later (RFC 5652, section 11.3).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

func attribute(id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		b.AddASN1(der.SET, value)
	})
	return b.BytesOrPanic() // of values that are in order
}

// signingCertificate writes a SigningCertificateV2 (RFC 5035, section 3).
func signingCertificate(b *cryptobyte.Builder, h Hash, c *x509.Certificate) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				if h.Hash != crypto.SHA256 { // which is the default
					addAlgorithm(b, h.oid, false)
				}
				b.AddASN1OctetString(sum(h.Hash, c.Raw))
				b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(explicit(4), func(b *cryptobyte.Builder) { b.AddBytes(c.RawIssuer) })
					})
					b.AddASN1BigInt(c.SerialNumber)
				})
			})
		})
	})
}

func sum(h crypto.Hash, data []byte) []byte {
	w := h.New()
	_, _ = w.Write(data)
	return w.Sum(nil)
}

func explicit(n uint8) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

func addAlgorithm(b *cryptobyte.Builder, id asn1.ObjectIdentifier, null bool) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id)
		if null {
			b.AddASN1NULL()
		}
	})
}

// Digest returns the digest that is to be signed.
func (m *Message) Digest() []byte {
	var b cryptobyte.Builder
	b.AddASN1(der.SET, func(b *cryptobyte.Builder) { b.AddBytes(m.attrs) })
	return sum(m.hash.Hash, b.BytesOrPanic())
}

// ErrOtherKey is a signature that the certificate's key did not make.
var ErrOtherKey = errors.New("the private key is not that of the certificate")

// SetSignature takes the signature over Digest, and checks it with the certificate.
func (m *Message) SetSignature(s []byte) error {
	switch k := m.chain[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(k, m.hash.Hash, m.Digest(), s) != nil {
			return ErrOtherKey
		}
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(k, m.Digest(), s) {
			return ErrOtherKey
		}
	}
	m.signature = s
	return nil
}

// Bytes writes the message with a time stamp over its signature, unless that is nil, and with revocation data: whole OCSP
// answers and revocation lists, in DER each.
func (m *Message) Bytes(stamp []byte, certs, ocsps, crls [][]byte) ([]byte, error) {
	version := int64(1)
	if len(ocsps) > 0 {
		version = 5 // RFC 5652, section 5.1
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData())
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(version)
				b.AddASN1(der.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, m.hash.oid, false) })
				b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData()) })
				addSet(b, 0, m.certificates(certs))
				addSet(b, 1, revocations(ocsps, crls))
				b.AddASN1(der.SET, func(b *cryptobyte.Builder) { m.addSigner(b, stamp) })
			})
		})
	})
	return b.Bytes()
}

// certificates returns the chain and more, each once.
func (m *Message) certificates(more [][]byte) [][]byte {
	var all [][]byte
	for _, c := range m.chain {
		all = append(all, c.Raw)
	}
	for _, c := range more {
		if !slices.ContainsFunc(all, func(have []byte) bool { return bytes.Equal(have, c) }) {
			all = append(all, c)
		}
	}
	return all
}

// revocations returns RevocationInfoChoices: lists, and answers of OCSP as another format (RFC 5940, section 2.1).
func revocations(ocsps, crls [][]byte) [][]byte {
	all := slices.Clone(crls)
	for _, o := range ocsps {
		var b cryptobyte.Builder
		b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidOCSP())
			b.AddBytes(o)
		})
		all = append(all, b.BytesOrPanic())
	}
	return all
}

// addSet writes an implicit [n] SET OF, unless it is empty.
func addSet(b *cryptobyte.Builder, n uint8, elements [][]byte) {
	if len(elements) == 0 {
		return
	}
	slices.SortStableFunc(elements, bytes.Compare)
	b.AddASN1(explicit(n), func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
}

func (m *Message) addSigner(b *cryptobyte.Builder, stamp []byte) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(m.chain[0].RawIssuer)
			b.AddASN1BigInt(m.chain[0].SerialNumber)
		})
		addAlgorithm(b, m.hash.oid, false)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddBytes(m.attrs) })
		addAlgorithm(b, m.algorithm, m.null)
		b.AddASN1OctetString(m.signature)
		if stamp != nil {
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				b.AddBytes(attribute(oidStamp(), func(b *cryptobyte.Builder) { b.AddBytes(stamp) }))
			})
		}
	})
}
