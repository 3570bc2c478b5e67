package signature

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func serialOne() *big.Int { return big.NewInt(1) }

// spoil calls read with every shorter form of an answer, and with every byte of it changed in three ways.
func spoil(good []byte, read func([]byte)) {
	for n := range good {
		read(good[:n:n])
	}
	for i := range good {
		for _, change := range []byte{0x01, 0x20, 0x80} {
			body := slices.Clone(good)
			body[i] ^= change
			read(body)
		}
	}
}

// However an OCSP answer is spoilt, what is accepted says the same as the good one.
func TestOCSPSpoilt(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	signer, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "OCSP"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}})
	good, err := ocsp.CreateResponse(a.cert, signer, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch(), NextUpdate: checktest.Epoch().Add(time.Hour), Certificate: signer,
		Status: ocsp.Revoked, RevokedAt: checktest.Epoch().Add(-time.Hour), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	c := ocspCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
	accepted := 0
	read := func(body []byte) {
		answer, err := parseOCSP(body)
		if err != nil || answer.status != 0 {
			return
		}
		s, _, bad := c.verify(answer, cert, a.cert, nil, new(check.Facts))
		if bad != nil {
			return
		}
		accepted++
		if s.status != certRevoked || !s.thisUpdate.Equal(checktest.Epoch()) || !s.nextUpdate.Equal(checktest.Epoch().Add(time.Hour)) || !s.revoked.Equal(checktest.Epoch().Add(-time.Hour)) {
			t.Errorf("accepted %+v", s)
		}
	}
	read(good)
	if accepted != 1 {
		t.Fatal("the good answer is not accepted")
	}
	spoil(good, read)
}

// However a revocation list is spoilt, what is accepted says the same as the good one.
func TestCRLSpoilt(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	gone, _ := a.officer(nil)
	far := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	good := a.list(func(l *x509.RevocationList) {
		l.NextUpdate = far
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: serialOne(), RevocationTime: checktest.Epoch(), ReasonCode: 4}, {SerialNumber: gone.SerialNumber, RevocationTime: checktest.Epoch()}}
		l.ExtraExtensions = []pkix.Extension{scoped(1)}
	})
	c := crlCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
	watched := map[string]bool{serialKey(gone.SerialNumber): true}
	accepted := 0
	read := func(body []byte) {
		l, err := parseCRL(body, watched)
		if err != nil {
			return
		}
		if _, bad := c.verify(l, a.cert, nil); bad != nil {
			return
		}
		accepted++
		if l.entries != 2 || len(l.revoked) != 1 || !l.revoked[0].at.Equal(checktest.Epoch()) || l.Number.Int64() != 1200 || !l.NextUpdate.Equal(far) || !l.scope.user {
			t.Errorf("accepted %+v", l)
		}
	}
	read(good)
	if accepted != 1 {
		t.Fatal("the good list is not accepted")
	}
	spoil(good, read)
	if accepted != 1 {
		t.Errorf("%d spoilt lists were accepted", accepted-1)
	}
}

// However a time stamp is spoilt, what is accepted says the same as the good one, by the same signer.
func TestTSASpoilt(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	c := tsaCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}, skew: time.Minute}
	c.hash, c.hashOID = hashByName("sha256")
	q, body, err := c.question()
	if err != nil {
		t.Fatal(err)
	}
	q.sent, q.came = checktest.Epoch(), checktest.Epoch()
	roots := newAnchors([]*x509.Certificate{a.cert}, false, 0)
	good := stamper{t: t, cert: cert, key: key, at: checktest.Epoch(), info: func(i *wireInfo) {
		i.Accuracy = wireAccuracy{1, 2, 3}
		i.Ordering = true
		i.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
	}, attrs: func(as []wireAttribute) []wireAttribute { return append(as, essV1(t, cert)) }}.answer(body)
	accepted := 0
	read := func(body []byte) {
		answer, err := parseStampAnswer(body)
		if err != nil || answer.status > 1 {
			return
		}
		info, chain, bad := c.verify(answer.token, q, roots, new(check.Facts))
		if bad != nil {
			return
		}
		accepted++
		if !info.genTime.Equal(checktest.Epoch()) || info.accuracy != time.Second+2*time.Millisecond+3*time.Microsecond || !chain[0].Equal(cert) || !bytes.Equal(info.imprint, q.imprint) {
			t.Errorf("accepted %+v", info)
		}
	}
	read(good)
	if accepted != 1 {
		t.Fatal("the good time stamp is not accepted")
	}
	spoil(good, read)
	// Nothing depends on two version numbers, the list of digests before the content (15 bytes) and the NULL of the
	// signer's digest (2 bytes); and status 0 has become 1, which is granted too.
	if n := accepted - 1; n > 3*(2+15+2)+1 {
		t.Errorf("%d spoilt time stamps were accepted", n)
	}
}

// A file of certificates is read again when it changes, and only then; it is PEM or DER.
func TestCertFile(t *testing.T) {
	a, b := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	path := write(t, "certs", a.cert.Raw)
	f := certFile{path: path}
	if c, err := f.one(); err != nil || !c.Equal(a.cert) {
		t.Fatal(c, err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{1}}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.cert.Raw})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if c, err := f.one(); err != nil || !c.Equal(b.cert) {
			t.Fatal(c, err)
		}
	}
	for name, text := range map[string][]byte{"too large": make([]byte, maxPEM+1), "no certificate in the PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := f.one(); err == nil {
			t.Errorf("%s: read as %v", name, c)
		}
	}
	if certs, err := (&certFile{}).load(); certs != nil || err != nil {
		t.Errorf("no file: %v, %v", certs, err)
	}
}

// BenchmarkOCSP reads and verifies one answer of a delegated responder.
func BenchmarkOCSP(b *testing.B) {
	a := newAuthority(b, checktest.Epoch())
	cert, _ := a.officer(nil)
	signer, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "OCSP"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}})
	body, err := ocsp.CreateResponse(a.cert, signer, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch(), NextUpdate: checktest.Epoch().Add(time.Hour), Certificate: signer}, key)
	if err != nil {
		b.Fatal(err)
	}
	c := ocspCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
	b.ReportAllocs()
	for b.Loop() {
		answer, err := parseOCSP(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, bad := c.verify(answer, cert, a.cert, nil, new(check.Facts)); bad != nil {
			b.Fatal(bad.detail)
		}
	}
}

// BenchmarkTSA makes a request and verifies its time stamp; the signing of the authority is left out.
func BenchmarkTSA(b *testing.B) {
	a := newAuthority(b, checktest.Epoch())
	cert, key := a.stampCert(nil)
	c := tsaCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}, skew: time.Minute}
	c.hash, c.hashOID = hashByName("sha256")
	roots := newAnchors([]*x509.Certificate{a.cert}, false, 0)
	q, body, err := c.question()
	if err != nil {
		b.Fatal(err)
	}
	good := stamper{t: b, cert: cert, key: key, at: checktest.Epoch()}.answer(body)
	b.ReportAllocs()
	for b.Loop() {
		answer, err := parseStampAnswer(good)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, bad := c.verify(answer.token, q, roots, new(check.Facts)); bad != nil {
			b.Fatal(bad.detail)
		}
	}
}
