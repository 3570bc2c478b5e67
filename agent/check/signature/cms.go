package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// A signedData is a CMS message with one signer (RFC 5652, section 5), in DER as RFC 3161 asks for.
type signedData struct {
	kind    asn1.ObjectIdentifier // of the content
	content []byte
	certs   []*x509.Certificate
	signer  signerInfo
}

// A signerInfo says who signed what (RFC 5652, section 5.3).
type signerInfo struct {
	issuer    []byte // DER of the issuer's name, with serial; or else
	serial    *big.Int
	keyID     []byte // the subject key identifier
	digest    algorithm
	attrs     []attribute
	signed    []byte // the attributes as they were signed
	algorithm algorithm
	signature []byte
	unsigned  cryptobyte.String // attributes that were added later, unread
}

// An attribute is a signed attribute with its only value in DER.
type attribute struct {
	oid   asn1.ObjectIdentifier
	value cryptobyte.String
}

func oidContentType() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
}

func oidMessageDigest() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
}

var errCMS = errors.New("its ASN.1 is not that of a signed message")

// parseSigned reads a ContentInfo that holds SignedData with its content.
func parseSigned(raw []byte) (*signedData, error) { return parseMessage(raw, false) }

// parseDetached reads a ContentInfo that holds SignedData whose content stands elsewhere.
func parseDetached(raw []byte) (*signedData, error) { return parseMessage(raw, true) }

func parseMessage(raw []byte, detached bool) (*signedData, error) {
	in := cryptobyte.String(raw)
	var info, wrapped, sd, list, content, octets, certs, signers cryptobyte.String
	var kind asn1.ObjectIdentifier
	var version int64
	if !in.ReadASN1(&info, der.SEQUENCE) || !in.Empty() || !info.ReadASN1ObjectIdentifier(&kind) {
		return nil, errCMS
	}
	if !kind.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}) {
		return nil, fmt.Errorf("a message of type %v, want signed data", kind)
	}
	d := &signedData{}
	if !info.ReadASN1(&wrapped, explicit(0)) || !info.Empty() || !wrapped.ReadASN1(&sd, der.SEQUENCE) || !wrapped.Empty() ||
		!sd.ReadASN1Integer(&version) || !sd.ReadASN1(&list, der.SET) || !sd.ReadASN1(&content, der.SEQUENCE) {
		return nil, errCMS
	}
	if !content.ReadASN1ObjectIdentifier(&d.kind) {
		return nil, errCMS
	}
	if detached && !content.Empty() {
		return nil, errors.New("a message with its content, want one without")
	}
	if !detached && (!content.ReadASN1(&wrapped, explicit(0)) || !content.Empty() || !wrapped.ReadASN1(&octets, der.OCTET_STRING) || !wrapped.Empty()) {
		return nil, errCMS
	}
	d.content = octets
	var some bool
	if !sd.ReadOptionalASN1(&certs, &some, explicit(0)) || !sd.SkipOptionalASN1(explicit(1)) || !sd.ReadASN1(&signers, der.SET) || !sd.Empty() {
		return nil, errCMS
	}
	var err error
	if d.certs, err = readCertificates(certs); err != nil {
		return nil, err
	}
	if d.signer, err = readSigner(&signers); err != nil {
		return nil, err
	}
	if !signers.Empty() {
		return nil, errors.New("more than one signer")
	}
	return d, nil
}

func readSigner(s *cryptobyte.String) (signerInfo, error) {
	var one, id, name, attrs cryptobyte.String
	var version int64
	si := signerInfo{}
	if !s.ReadASN1(&one, der.SEQUENCE) || !one.ReadASN1Integer(&version) {
		return si, errCMS
	}
	if one.PeekASN1Tag(der.SEQUENCE) {
		si.serial = new(big.Int)
		if !one.ReadASN1(&id, der.SEQUENCE) || !id.ReadASN1Element(&name, der.SEQUENCE) || !id.ReadASN1Integer(si.serial) || !id.Empty() {
			return si, errCMS
		}
		si.issuer = name
	} else if !one.ReadASN1Bytes(&si.keyID, der.Tag(0).ContextSpecific()) {
		return si, errCMS
	}
	if !readAlgorithm(&one, &si.digest) {
		return si, errCMS
	}
	whole := one
	if !one.ReadASN1(&attrs, explicit(0)) {
		return si, errors.New("no signed attributes")
	}
	// What is signed has the tag of a SET in place of [0] (RFC 5652, section 5.4).
	si.signed = bytes.Clone(whole[:len(whole)-len(one)])
	si.signed[0] = byte(der.SET)
	var err error
	if si.attrs, err = readAttributes(attrs); err != nil {
		return si, err
	}
	var some bool
	if !readAlgorithm(&one, &si.algorithm) || !one.ReadASN1Bytes(&si.signature, der.OCTET_STRING) || !one.ReadOptionalASN1(&si.unsigned, &some, explicit(1)) || !one.Empty() {
		return si, errCMS
	}
	return si, nil
}

func readAttributes(s cryptobyte.String) ([]attribute, error) {
	var all []attribute
	for !s.Empty() {
		var one, values, value cryptobyte.String
		var tag der.Tag
		a := attribute{}
		if !s.ReadASN1(&one, der.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&a.oid) || !one.ReadASN1(&values, der.SET) || !one.Empty() {
			return nil, errCMS
		}
		if !values.ReadAnyASN1Element(&value, &tag) || !values.Empty() {
			return nil, fmt.Errorf("signed attribute %v has other than one value", a.oid)
		}
		for _, b := range all {
			if b.oid.Equal(a.oid) {
				return nil, fmt.Errorf("signed attribute %v stands twice", a.oid)
			}
		}
		a.value = value
		all = append(all, a)
	}
	return all, nil
}

// attr returns the value of a signed attribute.
func (si *signerInfo) attr(oid asn1.ObjectIdentifier) (cryptobyte.String, bool) {
	for _, a := range si.attrs {
		if a.oid.Equal(oid) {
			return a.value, true
		}
	}
	return nil, false
}

// certificate returns the signer's certificate out of those that came with the message.
func (d *signedData) certificate() (*x509.Certificate, error) {
	for _, c := range d.certs {
		if d.signer.serial != nil && c.SerialNumber.Cmp(d.signer.serial) == 0 && bytes.Equal(c.RawIssuer, d.signer.issuer) ||
			len(d.signer.keyID) > 0 && bytes.Equal(c.SubjectKeyId, d.signer.keyID) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("the signer's certificate is not among the %d that came", len(d.certs))
}

// verify checks that a certificate's key signed the content as being of a kind (RFC 5652, section 5.4).
func (d *signedData) verify(c *x509.Certificate, kind asn1.ObjectIdentifier) error {
	hash, ok := hashOf(d.signer.digest.oid)
	if !ok {
		return fmt.Errorf("digest algorithm %v is not known here", d.signer.digest.oid)
	}
	return d.verifyDigest(c, kind, hash, digest(hash, d.content))
}

// verifyDigest is verify for content of this digest, by this hash.
func (d *signedData) verifyDigest(c *x509.Certificate, kind asn1.ObjectIdentifier, hash crypto.Hash, want []byte) error {
	if own, ok := hashOf(d.signer.digest.oid); !ok || own != hash {
		return fmt.Errorf("the digest algorithm is %v, not the one asked for", d.signer.digest.oid)
	}
	var signedKind asn1.ObjectIdentifier
	v, ok := d.signer.attr(oidContentType())
	if !ok || !v.ReadASN1ObjectIdentifier(&signedKind) || !signedKind.Equal(kind) || !d.kind.Equal(kind) {
		return fmt.Errorf("the content is not signed as what it is (type %v)", d.kind)
	}
	var sum cryptobyte.String
	v, ok = d.signer.attr(oidMessageDigest())
	if !ok || !v.ReadASN1(&sum, der.OCTET_STRING) || !bytes.Equal(sum, want) {
		return errors.New("the content is not the one that was signed (message digest)")
	}
	algo, err := signatureAlgorithm(d.signer.algorithm, hash)
	if err != nil {
		return err
	}
	return c.CheckSignature(algo, d.signer.signed, d.signer.signature)
}

// bound checks that the signature names its certificate: without that, a token could be shown as another's that has
// the same key (RFC 5816; RFC 2634, section 5.4).
func (si *signerInfo) bound(c *x509.Certificate) error {
	found := false
	for _, form := range []struct {
		oid  asn1.ObjectIdentifier
		hash crypto.Hash // of the first version; the second names it, and means SHA-256 when it does not
		v2   bool
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}, crypto.SHA1, false},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}, crypto.SHA256, true},
	} {
		v, ok := si.attr(form.oid)
		if !ok {
			continue
		}
		found = true
		if err := certID(v, form.hash, form.v2, c); err != nil {
			return err
		}
	}
	if !found {
		return errors.New("the signature does not name its certificate (no ESSCertID)")
	}
	return nil
}

// certID compares the first ESSCertID or ESSCertIDv2 with a certificate.
func certID(v cryptobyte.String, h crypto.Hash, v2 bool, c *x509.Certificate) error {
	unread := errors.New("the name of the signature's certificate cannot be read (ESSCertID)")
	var signing, ids, id, sum cryptobyte.String
	if !v.ReadASN1(&signing, der.SEQUENCE) || !signing.ReadASN1(&ids, der.SEQUENCE) || !ids.ReadASN1(&id, der.SEQUENCE) {
		return unread
	}
	if v2 && id.PeekASN1Tag(der.SEQUENCE) {
		var a algorithm
		if !readAlgorithm(&id, &a) {
			return unread
		}
		var ok bool
		if h, ok = hashOf(a.oid); !ok {
			return fmt.Errorf("ESSCertIDv2 with the hash %v, which is not known here", a.oid)
		}
	}
	if !id.ReadASN1(&sum, der.OCTET_STRING) {
		return unread
	}
	other := fmt.Errorf("the signature is bound to another certificate than the one %s (ESSCertID)", called(c))
	if !bytes.Equal(sum, digest(h, c.Raw)) {
		return other
	}
	if id.Empty() {
		return nil
	}
	var is, names, name, issuer cryptobyte.String
	serial := new(big.Int)
	if !id.ReadASN1(&is, der.SEQUENCE) || !is.ReadASN1(&names, der.SEQUENCE) || !is.ReadASN1Integer(serial) {
		return unread
	}
	if serial.Cmp(c.SerialNumber) != 0 {
		return other
	}
	// A directoryName is [4], explicit since Name is a CHOICE.
	if names.ReadASN1(&name, explicit(4)) && name.ReadASN1Element(&issuer, der.SEQUENCE) && !bytes.Equal(issuer, c.RawIssuer) {
		return other
	}
	return nil
}
