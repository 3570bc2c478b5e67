package certlist

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func cert(t testing.TB, k crypto.Signer, end time.Time, subject pkix.Name) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: subject, NotBefore: epoch.AddDate(-1, 0, 0), NotAfter: end}
	raw, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func inPEM(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// bundle makes SignedData that nobody signed, as programs export a chain.
func bundle(t testing.TB, certs ...*x509.Certificate) []byte {
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.Raw...)
	}
	type content struct{ Type asn1.ObjectIdentifier }
	sd := marshal(t, struct {
		Version int
		Digests []pkix.AlgorithmIdentifier `asn1:"set"`
		Content content
		Certs   asn1.RawValue
		Signers []asn1.RawValue `asn1:"set"`
	}{Version: 1, Content: content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}, Certs: asn1.RawValue{Class: 2, IsCompound: true, Bytes: raw}})
	return marshal(t, struct {
		Type asn1.ObjectIdentifier
		Body asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, asn1.RawValue{Class: 2, IsCompound: true, Bytes: sd}})
}

func TestParse(t *testing.T) {
	k := key(t)
	a, b := cert(t, k, epoch, pkix.Name{CommonName: "A"}), cert(t, key(t), epoch, pkix.Name{CommonName: "B"})
	sec1, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	locked := marshal(t, struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, []byte("x")})
	store := marshal(t, struct {
		Version int
		Safe    struct{ Type asn1.ObjectIdentifier }
	}{3, struct{ Type asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}})
	many := slices.Repeat(inPEM("CERTIFICATE", a.Raw), MaxCerts+1)
	for _, tt := range []struct {
		name string
		text []byte
		n    int
		err  error  // or
		say  string // what the error says
	}{
		{name: "PEM", text: inPEM("CERTIFICATE", a.Raw), n: 1},
		{name: "PEM of two, with words between", text: slices.Concat([]byte("\xef\xbb\xbfsubject=A\n"), inPEM("CERTIFICATE", a.Raw), []byte("B:\n"), inPEM("X509 CERTIFICATE", b.Raw)), n: 2},
		{name: "DER", text: a.Raw, n: 1},
		{name: "PKCS#7", text: bundle(t, a, b), n: 2},
		{name: "PKCS#7 in PEM", text: inPEM("PKCS7", bundle(t, a, b)), n: 2},
		{name: "PKCS#7 of nothing", text: bundle(t), err: errNone},
		{name: "certificate and key", text: slices.Concat(inPEM("CERTIFICATE", a.Raw), inPEM("PRIVATE KEY", pkcs8)), err: ErrPrivateKey},
		{name: "key and certificate", text: slices.Concat(inPEM("EC PRIVATE KEY", sec1), inPEM("CERTIFICATE", a.Raw)), err: ErrPrivateKey},
		{name: "locked key in PEM", text: slices.Concat(inPEM("CERTIFICATE", a.Raw), inPEM("ENCRYPTED PRIVATE KEY", locked)), err: ErrPrivateKey},
		{name: "a spoilt key", text: slices.Concat(inPEM("CERTIFICATE", a.Raw), []byte("-----BEGIN RSA PRIVATE KEY-----\nMII*\n")), err: ErrPrivateKey},
		{name: "PKCS#8 in DER", text: pkcs8, err: ErrPrivateKey},
		{name: "SEC 1 in DER", text: sec1, err: ErrPrivateKey},
		{name: "PKCS#1 in DER", text: x509.MarshalPKCS1PrivateKey(small), err: ErrPrivateKey},
		{name: "locked key in DER", text: locked, err: ErrPrivateKey},
		{name: "a key in a certificate's clothes", text: inPEM("CERTIFICATE", pkcs8), err: ErrPrivateKey},
		{name: "PKCS#12", text: store, err: ErrPKCS12},
		{name: "nothing", text: nil, err: errNone},
		{name: "a text", text: []byte("xin chào"), err: errNone},
		{name: "PEM of something else", text: inPEM("X509 CRL", []byte{0x30, 0}), err: errNone},
		{name: "cut short", text: a.Raw[:len(a.Raw)-1], err: errNone},
		{name: "a certificate that is none", text: inPEM("CERTIFICATE", []byte{0x30, 2, 0x30, 0}), say: "malformed"},
		{name: "too many", text: many, say: "more than 500 certificates"},
		{name: "too large", text: make([]byte, MaxBytes+1), say: "at most 1048576 are read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.text)
			if len(got) != tt.n || tt.err != nil && !errors.Is(err, tt.err) || tt.n == 0 && (err == nil || !strings.Contains(err.Error(), tt.say)) {
				t.Errorf("%d certificates, %v; want %d, %v %s", len(got), err, tt.n, tt.err, tt.say)
			}
		})
	}
}

func TestClasses(t *testing.T) {
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]Class{-time.Second: Ended, 0: In15, 15*day - time.Second: In15, 15 * day: In30, 30 * day: In60, 60*day - time.Second: In60, 60 * day: Later} {
		if got := ClassOf(epoch.Add(left), epoch); got != want {
			t.Errorf("%v left: class %d, want %d", left, got, want)
		}
	}
	c := cert(t, key(t), epoch.AddDate(1, 0, 0), pkix.Name{})
	if Of(c, epoch) != Later || Of(c, epoch.AddDate(-2, 0, 0)) != Ended {
		t.Error("a certificate that has not begun counts as one in force")
	}
}

func TestSmallKey(t *testing.T) {
	for bits, want := range map[int]bool{1024: true, 2048: false} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		if got := SmallKey(cert(t, k, epoch, pkix.Name{})); got != want {
			t.Errorf("RSA of %d bits: %v", bits, got)
		}
	}
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !SmallKey(cert(t, k, epoch, pkix.Name{})) || SmallKey(cert(t, key(t), epoch, pkix.Name{})) {
		t.Error("curves of 224 and 256 bits")
	}
}

func TestNamesUnit(t *testing.T) {
	c := cert(t, key(t), epoch, pkix.Name{Organization: []string{"UBND  xã An Thanh"}, OrganizationalUnit: []string{"Văn phòng"}})
	for name, want := range map[string]bool{"ubnd xã an thanh": true, "UBND xa\u0303 An Thanh ": true, "Văn phòng": true, "UBND xã Tứ Kỳ": false, "": false} {
		if got := NamesUnit(c, []string{"x", name}); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for name, want := range map[string]bool{"Xã An Thanh": true, "an thanh": true, "xã An": true, "xã An Than": false, "": false, " ": false} {
		if got := MentionsUnit(c, []string{name}); got != want {
			t.Errorf("mentions %q: %v", name, got)
		}
	}
	if NamesUnit(c, nil) {
		t.Error("no name is a name")
	}
}

// Whatever is handed over, reading it ends well, and never in more than is allowed.
func FuzzParse(f *testing.F) {
	c := cert(f, key(f), epoch, pkix.Name{CommonName: "A"})
	f.Add(c.Raw)
	f.Add(bundle(f, c))
	f.Add(inPEM("PRIVATE KEY", []byte{0x30, 0}))
	f.Add([]byte{0x30, 3, 2, 1, 3})
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := Parse(text)
		if err == nil && (len(certs) == 0 || len(certs) > MaxCerts) {
			t.Errorf("%d certificates", len(certs))
		}
		if err == nil && strings.Contains(string(text), "PRIVATE KEY-----") {
			t.Error("a private key was taken")
		}
	})
}
