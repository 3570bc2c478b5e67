package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// The states of a certificate (RFC 6960, section 4.2.1, CertStatus).
const (
	certGood = iota
	certRevoked
	certUnknown
)

func oidNonce() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2} }

// oidNoCheck says that a responder's certificate need not be looked up itself (RFC 6960, section 4.2.2.2.1).
func oidNoCheck() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
}

// context returns the tag [n], constructed as for an explicit one.
func explicit(n uint8) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

// An identity is how OCSP names a certificate (RFC 6960, section 4.1.1, CertID).
type identity struct {
	hash      asn1.ObjectIdentifier
	name, key []byte // hashes of the issuer's name and key
	serial    *big.Int
}

// issuerHashes returns the hashes of an issuer's name and key.
func issuerHashes(h crypto.Hash, issuer *x509.Certificate) (name, key []byte, err error) {
	key, err = keyBits(issuer)
	if err != nil {
		return nil, nil, err
	}
	return digest(h, issuer.RawSubject), digest(h, key), nil
}

// keyBits returns the bits of a certificate's public key, without tag and length.
func keyBits(c *x509.Certificate) ([]byte, error) {
	spki := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var seq cryptobyte.String
	var key asn1.BitString
	if !spki.ReadASN1(&seq, der.SEQUENCE) || !seq.SkipASN1(der.SEQUENCE) || !seq.ReadASN1BitString(&key) {
		return nil, errors.New("the issuer's public key cannot be read")
	}
	return key.RightAlign(), nil
}

// ocspRequest writes a request for one certificate (RFC 6960, section 4.1.1). A nil nonce is left out.
func ocspRequest(serial *big.Int, issuer *x509.Certificate, h crypto.Hash, hash asn1.ObjectIdentifier, nonce []byte) ([]byte, error) {
	name, key, err := issuerHashes(h, issuer)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // OCSPRequest
		b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // TBSRequest
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // requestList
				b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // Request
					b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) { // CertID
						addAlgorithm(b, hash)
						b.AddASN1OctetString(name)
						b.AddASN1OctetString(key)
						b.AddASN1BigInt(serial)
					})
				})
			})
			if nonce == nil {
				return
			}
			b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { // requestExtensions
				b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(oidNonce())
						b.AddASN1(der.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
					})
				})
			})
		})
	})
	return b.Bytes()
}

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1NULL()
	})
}

// An ocspAnswer is a basic response (RFC 6960, section 4.2.1), read and not yet judged.
type ocspAnswer struct {
	status     int // OCSPResponseStatus; all else is set only when it is 0, successful
	signed     []byte
	signatures algorithm
	signature  []byte
	certs      []*x509.Certificate
	responder  []byte // DER of the responder's name, or nil
	keyHash    []byte // SHA-1 of the responder's key, or nil
	produced   time.Time
	singles    []single
	nonce      []byte // nil when the answer has none
	critical   asn1.ObjectIdentifier
}

// A single is what an answer says of one certificate.
type single struct {
	id         identity
	status     int
	revoked    time.Time // when it was revoked
	thisUpdate time.Time
	nextUpdate time.Time // zero when newer information is always available
	critical   asn1.ObjectIdentifier
}

// The most certificates, and statements, that an answer may hold.
const (
	maxCerts   = 16
	maxSingles = 256
)

var errOCSP = errors.New("its ASN.1 is not that of an OCSP answer")

// parseOCSP reads an answer (RFC 6960, section 4.2.1).
func parseOCSP(body []byte) (*ocspAnswer, error) {
	in := cryptobyte.String(body)
	var resp, raw, wrapped, basic, octets cryptobyte.String
	a := &ocspAnswer{}
	if !in.ReadASN1(&resp, der.SEQUENCE) || !in.Empty() || !resp.ReadASN1Enum(&a.status) {
		return nil, errOCSP
	}
	if a.status != 0 {
		return a, nil
	}
	var kind asn1.ObjectIdentifier
	if !resp.ReadASN1(&wrapped, explicit(0)) || !resp.Empty() || !wrapped.ReadASN1(&raw, der.SEQUENCE) ||
		!raw.ReadASN1ObjectIdentifier(&kind) || !raw.ReadASN1(&octets, der.OCTET_STRING) {
		return nil, errOCSP
	}
	if !kind.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}) {
		return nil, fmt.Errorf("a response of type %v, want the basic one", kind)
	}
	var data cryptobyte.String
	var bits asn1.BitString
	if !octets.ReadASN1(&basic, der.SEQUENCE) || !octets.Empty() || !basic.ReadASN1Element(&data, der.SEQUENCE) ||
		!readAlgorithm(&basic, &a.signatures) || !basic.ReadASN1BitString(&bits) {
		return nil, errOCSP
	}
	a.signed, a.signature = data, bits.RightAlign()
	if err := a.readCerts(basic); err != nil {
		return nil, err
	}
	return a, a.readData(data)
}

func (a *ocspAnswer) readCerts(s cryptobyte.String) error {
	if s.Empty() {
		return nil
	}
	var list, certs cryptobyte.String
	if !s.ReadASN1(&list, explicit(0)) || !s.Empty() || !list.ReadASN1(&certs, der.SEQUENCE) {
		return errOCSP
	}
	var err error
	a.certs, err = readCertificates(certs)
	return err
}

// readCertificates reads certificates that stand one after the other.
func readCertificates(s cryptobyte.String) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for !s.Empty() {
		var raw cryptobyte.String
		if !s.ReadASN1Element(&raw, der.SEQUENCE) {
			return nil, errors.New("its certificates cannot be read")
		}
		if len(certs) == maxCerts {
			return nil, fmt.Errorf("more than %d certificates", maxCerts)
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("a certificate in it: %w", err)
		}
		if err := usable(c); err != nil {
			return nil, fmt.Errorf("a certificate in it: %w", err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// readData reads the part that is signed (ResponseData).
func (a *ocspAnswer) readData(s cryptobyte.String) error {
	var data, id, list cryptobyte.String
	if !s.ReadASN1(&data, der.SEQUENCE) || !data.SkipOptionalASN1(explicit(0)) {
		return errOCSP
	}
	switch {
	case data.PeekASN1Tag(explicit(1)):
		var name cryptobyte.String
		if !data.ReadASN1(&id, explicit(1)) || !id.ReadASN1Element(&name, der.SEQUENCE) {
			return errOCSP
		}
		a.responder = name
	default:
		var hash cryptobyte.String
		if !data.ReadASN1(&id, explicit(2)) || !id.ReadASN1(&hash, der.OCTET_STRING) {
			return errOCSP
		}
		a.keyHash = hash
	}
	if !readTime(&data, &a.produced) || !data.ReadASN1(&list, der.SEQUENCE) {
		return errOCSP
	}
	for !list.Empty() {
		if len(a.singles) == maxSingles {
			return fmt.Errorf("more than %d statements", maxSingles)
		}
		s, ok := readSingle(&list)
		if !ok {
			return errOCSP
		}
		a.singles = append(a.singles, s)
	}
	return a.readExtensions(data)
}

// readExtensions finds the nonce (RFC 9654).
func (a *ocspAnswer) readExtensions(s cryptobyte.String) error {
	if s.Empty() {
		return nil
	}
	var err error
	a.critical, err = eachExtension(s, explicit(1), func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		if !oid.Equal(oidNonce()) {
			return false
		}
		// Some responders send the nonce without the OCTET STRING around it.
		a.nonce = value
		var inner cryptobyte.String
		if v := value; v.ReadASN1(&inner, der.OCTET_STRING) && v.Empty() {
			a.nonce = inner
		}
		return true
	})
	return err
}

// eachExtension reads extensions in the tag and calls known for each; it returns the first critical one that is not.
func eachExtension(s cryptobyte.String, tag der.Tag, known func(asn1.ObjectIdentifier, cryptobyte.String) bool) (critical asn1.ObjectIdentifier, err error) {
	var wrapped, list cryptobyte.String
	if !s.ReadASN1(&wrapped, tag) || !s.Empty() || !wrapped.ReadASN1(&list, der.SEQUENCE) || !wrapped.Empty() {
		return nil, errors.New("its extensions cannot be read")
	}
	return listedExtensions(list, known)
}

func listedExtensions(list cryptobyte.String, known func(asn1.ObjectIdentifier, cryptobyte.String) bool) (critical asn1.ObjectIdentifier, err error) {
	for !list.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		must := false
		if !list.ReadASN1(&ext, der.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&oid) ||
			ext.PeekASN1Tag(der.BOOLEAN) && !ext.ReadASN1Boolean(&must) || !ext.ReadASN1(&value, der.OCTET_STRING) || !ext.Empty() {
			return nil, errors.New("its extensions cannot be read")
		}
		if !known(oid, value) && must && critical == nil {
			critical = oid
		}
	}
	return critical, nil
}

func readSingle(list *cryptobyte.String) (single, bool) {
	var one, id, status, next cryptobyte.String
	var hash algorithm
	s := single{}
	s.id.serial = new(big.Int)
	if !list.ReadASN1(&one, der.SEQUENCE) || !one.ReadASN1(&id, der.SEQUENCE) || !readAlgorithm(&id, &hash) ||
		!id.ReadASN1Bytes(&s.id.name, der.OCTET_STRING) || !id.ReadASN1Bytes(&s.id.key, der.OCTET_STRING) || !id.ReadASN1Integer(s.id.serial) {
		return s, false
	}
	s.id.hash = hash.oid
	var tag der.Tag
	if !one.ReadAnyASN1(&status, &tag) {
		return s, false
	}
	switch tag {
	case der.Tag(0).ContextSpecific():
		s.status = certGood
	case explicit(1):
		s.status = certRevoked
		if !readTime(&status, &s.revoked) {
			return s, false
		}
	case der.Tag(2).ContextSpecific():
		s.status = certUnknown
	default:
		return s, false
	}
	if !readTime(&one, &s.thisUpdate) {
		return s, false
	}
	if one.PeekASN1Tag(explicit(0)) && (!one.ReadASN1(&next, explicit(0)) || !readTime(&next, &s.nextUpdate)) {
		return s, false
	}
	if !one.Empty() {
		critical, err := eachExtension(one, explicit(1), func(asn1.ObjectIdentifier, cryptobyte.String) bool { return false })
		if err != nil {
			return s, false
		}
		s.critical = critical
	}
	return s, true
}

// readTime reads a GeneralizedTime in UTC, with or without a fraction of a second (RFC 5280, section 4.1.2.5.2; RFC
// 3161, section 2.4.2).
func readTime(s *cryptobyte.String, t *time.Time) bool {
	var text cryptobyte.String
	if !s.ReadASN1(&text, der.GeneralizedTime) {
		return false
	}
	v, err := time.Parse("20060102150405Z", string(text))
	if err != nil {
		return false
	}
	*t = v
	return true
}

// find returns what the answer says of a certificate.
func (a *ocspAnswer) find(serial *big.Int, issuer *x509.Certificate) (*single, error) {
	other := false
	for i := range a.singles {
		s := &a.singles[i]
		h, ok := hashOf(s.id.hash)
		if !ok {
			continue
		}
		name, key, err := issuerHashes(h, issuer)
		if err != nil {
			return nil, err
		}
		if s.id.serial.Cmp(serial) == 0 && bytes.Equal(s.id.name, name) && bytes.Equal(s.id.key, key) {
			return s, nil
		}
		other = true
	}
	if other {
		return nil, fmt.Errorf("the answer is for another certificate, not for serial %x", serial)
	}
	return nil, errors.New("the answer says nothing of any certificate that we can tell")
}
