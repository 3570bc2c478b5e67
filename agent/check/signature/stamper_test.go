package signature

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"
)

// The structures of RFC 3161 and RFC 5652 as encoding/asn1 writes them, apart from the code under test.
type (
	wireImprint struct {
		Hash   pkix.AlgorithmIdentifier
		Hashed []byte
	}
	wireRequest struct {
		Version int
		Imprint wireImprint
		Policy  asn1.ObjectIdentifier `asn1:"optional"`
		Nonce   *big.Int              `asn1:"optional"`
		CertReq bool                  `asn1:"optional"`
	}
	wireAccuracy struct {
		Seconds int `asn1:"optional"`
		Millis  int `asn1:"optional,tag:0"`
		Micros  int `asn1:"optional,tag:1"`
	}
	wireInfo struct {
		Version    int
		Policy     asn1.ObjectIdentifier
		Imprint    wireImprint
		Serial     *big.Int
		GenTime    asn1.RawValue
		Accuracy   wireAccuracy     `asn1:"optional"`
		Ordering   bool             `asn1:"optional"`
		Nonce      *big.Int         `asn1:"optional"`
		Extensions []pkix.Extension `asn1:"optional,tag:1"`
	}
	wireAttribute struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
	wireIssuerSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	wireSigner struct {
		Version   int
		ID        asn1.RawValue
		Digest    pkix.AlgorithmIdentifier
		Attrs     asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature []byte
	}
	wireContent struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	wireSigned struct {
		Version int
		Digests []pkix.AlgorithmIdentifier `asn1:"set"`
		Content wireContent
		Certs   asn1.RawValue `asn1:"optional"`
		Signers []wireSigner  `asn1:"set"`
	}
	wireMessage struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
)

// A stamper is a time-stamping authority whose every part can be spoilt.
type stamper struct {
	t     testing.TB
	cert  *x509.Certificate
	key   crypto.Signer
	more  []*x509.Certificate // sent beside cert
	at    time.Time
	info  func(*wireInfo)
	attrs func([]wireAttribute) []wireAttribute
	sign  func(*wireSigner)
	whole func(*wireSigned)
	named *x509.Certificate // whom ESSCertIDv2 names; nil for cert
	bare  bool              // without the certificate
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func tagged(class, tag int, content []byte) asn1.RawValue {
	return asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: content}
}

func sha256ID() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: oidSHA256(), Parameters: asn1.NullRawValue}
}

func generalized(text string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte(text)}
}

func attr(t testing.TB, oid asn1.ObjectIdentifier, value any) wireAttribute {
	return wireAttribute{oid, []asn1.RawValue{{FullBytes: marshal(t, value)}}}
}

// essV1 names a certificate by its SHA-1 (RFC 2634, section 5.4).
func essV1(t testing.TB, c *x509.Certificate) wireAttribute {
	sum := sha1.Sum(c.Raw)
	type id struct{ Hash []byte }
	return attr(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}, struct{ IDs []id }{[]id{{sum[:]}}})
}

// essV2 names a certificate by its SHA-256, issuer and serial (RFC 5035, section 4).
func essV2(t testing.TB, c *x509.Certificate, issuer []byte, serial *big.Int) wireAttribute {
	sum := sha256.Sum256(c.Raw)
	type issuerSerial struct {
		Names  []asn1.RawValue
		Serial *big.Int
	}
	type id struct {
		Hash []byte
		Of   issuerSerial
	}
	names := []asn1.RawValue{tagged(asn1.ClassContextSpecific, 4, issuer)}
	return attr(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}, struct{ IDs []id }{[]id{{sum[:], issuerSerial{names, serial}}}})
}

// answer makes the whole answer to a request.
func (s stamper) answer(request []byte) []byte {
	return marshal(s.t, struct {
		Status struct{ Status int }
		Token  asn1.RawValue
	}{Token: asn1.RawValue{FullBytes: s.token(request)}})
}

func (s stamper) token(request []byte) []byte {
	t := s.t
	var q wireRequest
	if rest, err := asn1.Unmarshal(request, &q); err != nil || len(rest) > 0 || q.Version != 1 || !q.CertReq || q.Nonce == nil {
		t.Errorf("request %+v: %v", q, err)
		return nil
	}
	policy := q.Policy
	if policy == nil {
		policy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	}
	info := wireInfo{Version: 1, Policy: policy, Imprint: q.Imprint, Serial: q.Nonce, GenTime: generalized(s.at.UTC().Format("20060102150405Z")), Nonce: q.Nonce}
	if s.info != nil {
		s.info(&info)
	}
	content := marshal(t, info)
	sum := sha256.Sum256(content)
	named := s.cert
	if s.named != nil {
		named = s.named
	}
	attrs := []wireAttribute{attr(t, oidContentType(), oidTSTInfo()), attr(t, oidMessageDigest(), sum[:]), essV2(t, named, named.RawIssuer, named.SerialNumber)}
	if s.attrs != nil {
		attrs = s.attrs(attrs)
	}
	var list []byte
	for _, a := range attrs {
		list = append(list, marshal(t, a)...)
	}
	signed := sha256.Sum256(marshal(t, tagged(asn1.ClassUniversal, asn1.TagSet, list)))
	signature, err := s.key.Sign(rand.Reader, signed[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	signer := wireSigner{
		Version: 1, Digest: sha256ID(), Attrs: tagged(asn1.ClassContextSpecific, 0, list), Signature: signature,
		ID:        asn1.RawValue{FullBytes: marshal(t, wireIssuerSerial{asn1.RawValue{FullBytes: s.cert.RawIssuer}, s.cert.SerialNumber})},
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
	}
	if s.sign != nil {
		s.sign(&signer)
	}
	sd := wireSigned{Version: 3, Digests: []pkix.AlgorithmIdentifier{sha256ID()}, Content: wireContent{oidTSTInfo(), content}, Signers: []wireSigner{signer}}
	if !s.bare {
		var raw []byte
		for _, c := range slices.Concat([]*x509.Certificate{s.cert}, s.more) {
			raw = append(raw, c.Raw...)
		}
		sd.Certs = tagged(asn1.ClassContextSpecific, 0, raw)
	}
	if s.whole != nil {
		s.whole(&sd)
	}
	return marshal(t, wireMessage{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, tagged(asn1.ClassContextSpecific, 0, marshal(t, sd))})
}
