package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

func algorithmOf(t testing.TB, raw []byte) algorithm {
	t.Helper()
	var a algorithm
	if s := cryptobyte.String(raw); !readAlgorithm(&s, &a) {
		t.Fatalf("algorithm %x cannot be read", raw)
	}
	return a
}

// The algorithm of a certificate's signature is told as the standard library tells it.
func TestSignatureAlgorithm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for want, key := range map[x509.SignatureAlgorithm]crypto.Signer{
		x509.SHA256WithRSA: rsaKey, x509.SHA384WithRSA: rsaKey, x509.SHA512WithRSA: rsaKey,
		x509.SHA256WithRSAPSS: rsaKey, x509.SHA384WithRSAPSS: rsaKey, x509.SHA512WithRSAPSS: rsaKey,
		x509.ECDSAWithSHA256: ecdsaKey, x509.ECDSAWithSHA384: ecdsaKey, x509.ECDSAWithSHA512: ecdsaKey, x509.PureEd25519: edKey,
	} {
		tmpl := &x509.Certificate{SerialNumber: serialOne(), Subject: pkix.Name{CommonName: "x"}, SignatureAlgorithm: want}
		raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			t.Fatal(want, err)
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(want, err)
		}
		whole := cryptobyte.String(raw)
		var seq cryptobyte.String
		var a algorithm
		if !whole.ReadASN1(&seq, der.SEQUENCE) || !seq.SkipASN1(der.SEQUENCE) || !readAlgorithm(&seq, &a) {
			t.Fatal(want, "the algorithm cannot be read")
		}
		got, err := signatureAlgorithm(a, 0)
		if err != nil || got != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		if err := c.CheckSignature(got, c.RawTBSCertificate, c.Signature); err != nil {
			t.Errorf("%v: %v", want, err)
		}
	}
}

// Some identifiers name the key alone, and some that we do not take.
func TestSignatureAlgorithmByHash(t *testing.T) {
	rsaKey, ecKey, pss := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	null := asn1.NullRawValue
	for _, tt := range []struct {
		oid    asn1.ObjectIdentifier
		params asn1.RawValue
		hash   crypto.Hash
		want   x509.SignatureAlgorithm // 0 for an error
	}{
		{rsaKey, null, crypto.SHA1, x509.SHA1WithRSA}, {rsaKey, null, crypto.SHA256, x509.SHA256WithRSA},
		{rsaKey, null, crypto.SHA384, x509.SHA384WithRSA}, {rsaKey, null, crypto.SHA512, x509.SHA512WithRSA}, {rsaKey, null, 0, 0},
		{ecKey, null, crypto.SHA1, x509.ECDSAWithSHA1}, {ecKey, null, crypto.SHA256, x509.ECDSAWithSHA256}, {ecKey, null, crypto.MD5, 0},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, null, 0, x509.SHA1WithRSA}, {asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}, null, 0, x509.ECDSAWithSHA1},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, null, crypto.MD5, 0}, // MD5 with RSA
		{pss, null, crypto.SHA256, 0}, {pss, asn1.RawValue{Tag: 16, IsCompound: true}, crypto.SHA256, 0},
	} {
		raw, err := asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: tt.oid, Parameters: tt.params})
		if err != nil {
			t.Fatal(err)
		}
		got, err := signatureAlgorithm(algorithmOf(t, raw), tt.hash)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%v with %v: %v, %v, want %v", tt.oid, tt.hash, got, err, tt.want)
		}
	}
}

func TestHashes(t *testing.T) {
	for name, want := range map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512} {
		h, oid := hashByName(name)
		back, ok := hashOf(oid)
		if h != want || back != want || !ok || !h.Available() {
			t.Errorf("%s: %v, %v by its identifier", name, h, back)
		}
	}
	if _, ok := hashOf(asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}); ok {
		t.Error("MD5 is taken")
	}
}
