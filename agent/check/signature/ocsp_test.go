package signature

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func TestOCSPReasons(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	other, _ := a.officer(nil)
	soon, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 20) })
	gone, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	appoint := func(by *authority, change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
		tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "OCSP 1"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
		if change != nil {
			change(tmpl)
		}
		return by.sign(tmpl)
	}
	good := ocsp.Response{Status: ocsp.Good, SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch().Add(-time.Hour), NextUpdate: checktest.Epoch().Add(23 * time.Hour)}
	// by answers what change makes of a good answer, signed by c with key; embed puts c into the answer.
	by := func(c *x509.Certificate, key crypto.Signer, embed bool, change func(*ocsp.Response)) responder {
		return func([]byte) []byte {
			r := good
			if change != nil {
				change(&r)
			}
			if embed {
				r.Certificate = c
			}
			body, err := ocsp.CreateResponse(a.cert, c, r, key)
			if err != nil {
				t.Error(err)
			}
			return body
		}
	}
	issuer := func(change func(*ocsp.Response)) responder { return by(a.cert, a.key, false, change) }
	delegate, delegateKey := appoint(a, nil)
	noUse, noUseKey := appoint(a, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	old, oldKey := appoint(a, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Minute) })
	foreign, foreignKey := appoint(stranger, nil)
	strange, strangeKey := appoint(a, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	})
	late := newAuthority(t, checktest.Epoch().AddDate(0, 2, 0))
	early, _ := late.officer(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().AddDate(0, -1, 0) })
	ended := newAuthority(t, checktest.Epoch().AddDate(-11, 0, 0))
	last, _ := ended.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(1, 0, 0) })
	deep := a.sub("Thử nghiệm Sub")
	grandchild, grandchildKey := appoint(deep, nil)
	fixed := func(body []byte) responder { return func([]byte) []byte { return body } }
	unproven := func() bool { return false }

	tests := []struct {
		name   string
		answer responder
		with   check.Options
		proven func() bool
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "good, by the issuer", answer: issuer(nil), reason: check.OK, detail: "not revoked, as of 2026-11-23T02:00:00Z", facts: map[string]float64{
			"cert_status_code": 0, "ocsp_status_code": 0, "nonce_code": 0, "status_code": 200, "ip_family_code": 4,
			"this_update_unix": float64(checktest.Epoch().Unix() - 3600), "next_update_unix": float64(checktest.Epoch().Unix() + 23*3600),
			"cert_not_after_unix": float64(cert.NotAfter.Unix()), "issuer_not_after_unix": float64(a.cert.NotAfter.Unix()), "responder_not_after_unix": float64(a.cert.NotAfter.Unix())}},
		{name: "good, the issuer's certificate in the answer", answer: by(a.cert, a.key, true, nil), reason: check.OK},
		{name: "good, by a delegate", answer: by(delegate, delegateKey, true, nil), reason: check.OK, facts: map[string]float64{"responder_not_after_unix": float64(delegate.NotAfter.Unix())}},
		{name: "good, named with SHA-256", answer: issuer(func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), with: check.Options{"hash": "sha256"}, reason: check.OK},
		{name: "good, no next update", answer: issuer(func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), reason: check.OK},
		{name: "good, over GET", answer: issuer(nil), with: check.Options{"method": "GET"}, reason: check.OK},
		{name: "revoked", answer: issuer(func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, checktest.Epoch().AddDate(0, 0, -2) }), reason: check.Revoked, detail: "was revoked 2026-11-21",
			facts: map[string]float64{"cert_status_code": 1, "revoked_unix": float64(checktest.Epoch().AddDate(0, 0, -2).Unix())}},
		{name: "unknown to the responder", answer: issuer(func(r *ocsp.Response) { r.Status = ocsp.Unknown }), reason: check.RevocationInvalid, detail: "does not know", facts: map[string]float64{"cert_status_code": 2}},
		{name: "stale", answer: issuer(func(r *ocsp.Response) { r.NextUpdate = checktest.Epoch().Add(-time.Minute) }), reason: check.RevocationStale, detail: "was due 2026-11-23T02:59:00Z"},
		{name: "stale by an unproven clock", answer: issuer(func(r *ocsp.Response) { r.NextUpdate = checktest.Epoch().Add(-time.Minute) }), proven: unproven, reason: check.ClockUnproven},
		{name: "older than max_age", answer: issuer(nil), with: check.Options{"max_age": 59 * time.Minute}, reason: check.RevocationStale, detail: "more than 59m0s old"},
		{name: "not older than max_age", answer: issuer(nil), with: check.Options{"max_age": time.Hour}, reason: check.OK},
		{name: "next update near", answer: issuer(nil), with: check.Options{"renew_before": 24 * time.Hour}, reason: check.RevocationStale, detail: "is not out yet"},
		{name: "next update not near", answer: issuer(nil), with: check.Options{"renew_before": 23 * time.Hour}, reason: check.OK},
		{name: "from the future", answer: issuer(func(r *ocsp.Response) { r.ThisUpdate = checktest.Epoch().Add(7 * time.Hour) }), reason: check.RevocationInvalid, detail: "holds only from"},
		{name: "a little from the future", answer: issuer(func(r *ocsp.Response) { r.ThisUpdate = checktest.Epoch().Add(4 * time.Minute) }), reason: check.OK},
		{name: "ends before it begins", answer: issuer(func(r *ocsp.Response) { r.NextUpdate = r.ThisUpdate.Add(-time.Hour) }), reason: check.RevocationInvalid, detail: "lies before this one"},
		{name: "replayed for another serial", answer: issuer(func(r *ocsp.Response) { r.SerialNumber = other.SerialNumber }), reason: check.RevocationInvalid, detail: "for another certificate"},
		{name: "for the same serial of another issuer", answer: func([]byte) []byte {
			body, err := ocsp.CreateResponse(stranger.cert, a.cert, good, a.key)
			if err != nil {
				t.Error(err)
			}
			return body
		}, reason: check.RevocationInvalid, detail: "for another certificate"},
		{name: "for the same serial and key under another name", answer: func([]byte) []byte {
			renamed := *a.cert
			renamed.RawSubject = deep.cert.RawSubject
			body, err := ocsp.CreateResponse(&renamed, a.cert, good, a.key)
			if err != nil {
				t.Error(err)
			}
			return body
		}, reason: check.RevocationInvalid, detail: "for another certificate"},
		{name: "by another authority of the same name", answer: by(stranger.cert, stranger.key, false, nil), reason: check.RevocationInvalid, detail: "the signature of the answer"},
		{name: "by a delegate of another authority", answer: by(foreign, foreignKey, true, nil), reason: check.RevocationInvalid, detail: "not appointed by the issuer"},
		{name: "by a delegate of an authority below", answer: by(grandchild, grandchildKey, true, nil), reason: check.RevocationInvalid, detail: "not appointed by the issuer but by"},
		{name: "by a delegate without the right", answer: by(noUse, noUseKey, true, nil), reason: check.RevocationInvalid, detail: "no extended key usage OCSPSigning"},
		{name: "by a delegate that has ended", answer: by(old, oldKey, true, nil), reason: check.RevocationInvalid, detail: `"OCSP 1" is valid from`},
		{name: "by a delegate that has ended by an unproven clock", answer: by(old, oldKey, true, nil), proven: unproven, reason: check.ClockUnproven},
		{name: "by a delegate that is not in the answer", answer: by(delegate, delegateKey, false, nil), reason: check.RevocationInvalid, detail: "signed by nobody that we know"},
		{name: "by a delegate that the plan names", answer: by(foreign, foreignKey, false, nil), with: check.Options{"responder": certPEM(t, foreign)}, reason: check.OK},
		{name: "by a delegate that the plan names and that has ended", answer: by(old, oldKey, false, nil), with: check.Options{"responder": certPEM(t, old)}, reason: check.RevocationInvalid, detail: `"OCSP 1" is valid from`},
		{name: "by a delegate with a critical extension", answer: by(strange, strangeKey, true, nil), reason: check.RevocationInvalid, detail: `"OCSP 1" has a critical extension`},
		{name: "altered", answer: func([]byte) []byte {
			body := issuer(nil)(nil)
			i := strings.Index(string(body), "20261123020000Z")
			body[i+9]++
			return body
		}, reason: check.RevocationInvalid, detail: "the signature of the answer"},
		{name: "critical extension", answer: issuer(func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), reason: check.RevocationInvalid, detail: "critical extension 1.2.3"},
		{name: "extension that is not critical", answer: issuer(func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: []byte{5, 0}}}
		}), reason: check.OK},
		{name: "critical extension of the whole", answer: func([]byte) []byte {
			return extended(t, issuer(nil)(nil), a.key, pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}, reason: check.RevocationInvalid, detail: "critical extension 1.2.3"},
		{name: "extension of the whole that is not critical", answer: func([]byte) []byte {
			return extended(t, issuer(nil)(nil), a.key, pkix.Extension{Id: []int{1, 2, 3}, Value: []byte{5, 0}})
		}, reason: check.OK},
		{name: "another nonce", answer: func([]byte) []byte {
			return extended(t, issuer(nil)(nil), a.key, pkix.Extension{Id: oidNonce(), Value: []byte{4, 2, 1, 2}})
		}, reason: check.RevocationInvalid, detail: "nonce in the answer is not ours"},
		{name: "another nonce, bare", answer: func([]byte) []byte {
			return extended(t, issuer(nil)(nil), a.key, pkix.Extension{Id: oidNonce(), Value: []byte{1, 2}})
		}, reason: check.RevocationInvalid, detail: "nonce in the answer is not ours"},
		{name: "a nonce where none was sent", answer: func([]byte) []byte {
			return extended(t, issuer(nil)(nil), a.key, pkix.Extension{Id: oidNonce(), Value: []byte{4, 2, 1, 2}})
		}, with: check.Options{"nonce": "none"}, reason: check.OK},
		{name: "no nonce where it is required", answer: issuer(nil), with: check.Options{"nonce": "require"}, reason: check.RevocationInvalid, detail: "holds no nonce"},
		{name: "try later", answer: fixed(ocsp.TryLaterErrorResponse), reason: check.RevocationInvalid, detail: "tryLater (3)", facts: map[string]float64{"ocsp_status_code": 3}},
		{name: "unauthorised", answer: fixed(ocsp.UnauthorizedErrorResponse), reason: check.RevocationInvalid, detail: "unauthorized (6)"},
		{name: "internal error", answer: fixed(ocsp.InternalErrorErrorResponse), reason: check.RevocationInvalid, detail: "internalError (2)"},
		{name: "malformed request", answer: fixed(ocsp.MalformedRequestErrorResponse), reason: check.RevocationInvalid, detail: "malformedRequest (1)"},
		{name: "signature required", answer: fixed(ocsp.SigRequredErrorResponse), reason: check.RevocationInvalid, detail: "sigRequired (5)"},
		{name: "a status that there is not", answer: fixed([]byte{0x30, 3, 0x0a, 1, 9}), reason: check.RevocationInvalid, detail: "status 9"},
		{name: "malformed", answer: fixed([]byte("\x30\x80junk")), reason: check.Protocol, detail: "is not an OCSP answer"},
		{name: "something after the answer", answer: func([]byte) []byte { return append(issuer(nil)(nil), 0) }, reason: check.Protocol},
		{name: "a web page", answer: fixed([]byte("<!DOCTYPE html><title>Lỗi</title>")), reason: check.Protocol, detail: "a web page came with status 200"},
		{name: "empty", answer: fixed(nil), reason: check.Truncated},
		{name: "too large", answer: fixed(make([]byte, ocspBytes+1)), reason: check.TooLarge, detail: "more than 65536 bytes", facts: map[string]float64{"body_bytes": ocspBytes}},
		{name: "certificate that ends soon", answer: issuer(func(r *ocsp.Response) { r.SerialNumber = soon.SerialNumber }), with: check.Options{"certificate": certPEM(t, soon)}, reason: check.CertExpiring, detail: "ends 2026-12-13"},
		{name: "certificate that ends soon by an unproven clock", answer: issuer(func(r *ocsp.Response) { r.SerialNumber = soon.SerialNumber }), with: check.Options{"certificate": certPEM(t, soon)}, proven: unproven, reason: check.OK},
		{name: "certificate that has ended", answer: issuer(nil), with: check.Options{"certificate": certPEM(t, gone)}, reason: check.Misconfigured, detail: "give the check a certificate in force"},
		{name: "certificate of another issuer", answer: issuer(nil), with: check.Options{"issuer": deep.file()}, reason: check.Misconfigured, detail: "was not issued by"},
		{name: "issuer that is none", answer: issuer(nil), with: check.Options{"issuer": certPEM(t, other)}, reason: check.Misconfigured, detail: "not an authority's"},
		{name: "issuer that has not begun", answer: issuer(nil), with: check.Options{"issuer": late.file(), "certificate": certPEM(t, early)}, reason: check.RevocationInvalid, detail: `"Thử nghiệm Root" is valid from`},
		{name: "issuer that has ended", answer: issuer(nil), with: check.Options{"issuer": ended.file(), "certificate": certPEM(t, last)}, reason: check.RevocationInvalid, detail: `"Thử nghiệm Root" is valid from`},
		{name: "issuer under the roots", answer: issuer(nil), with: check.Options{"roots": a.file()}, reason: check.OK},
		{name: "issuer under other roots", answer: issuer(nil), with: check.Options{"roots": stranger.file()}, reason: check.RevocationInvalid, detail: "unknown authority"},
		{name: "no such certificate", answer: issuer(nil), with: check.Options{"certificate": "/no/such.pem"}, reason: check.Misconfigured, detail: "/no/such.pem"},
		{name: "no such issuer", answer: issuer(nil), with: check.Options{"issuer": "/no/such.pem"}, reason: check.Misconfigured, detail: "issuer: "},
		{name: "no such roots", answer: issuer(nil), with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured, detail: "roots: "},
		{name: "no such responder", answer: issuer(nil), with: check.Options{"responder": "/no/such.pem"}, reason: check.Misconfigured, detail: "responder: "},
		{name: "a folder for a file", answer: issuer(nil), with: check.Options{"certificate": "."}, reason: check.Misconfigured, detail: "no regular file"},
		{name: "a file without certificate", answer: issuer(nil), with: check.Options{"certificate": "ocsp_test.go"}, reason: check.Misconfigured, detail: "holds no certificate"},
		{name: "slow", answer: issuer(nil), with: check.Options{"slow": time.Nanosecond}, reason: check.Slow, detail: "the limit is 1ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/ocsp-response", tt.answer), "certificate": certPEM(t, cert), "issuer": a.file()}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, ocspKind(), o, check.Env{ClockProven: tt.proven})
			for range 2 { // nothing may be left over from the run before
				r := f(t.Context())
				want(t, r, tt.reason, tt.detail)
				wantFacts(t, r, tt.facts)
			}
		})
	}
}

// extended puts extensions into an answer of x/crypto/ocsp, which cannot, and signs it again.
func extended(t *testing.T, body []byte, key crypto.Signer, exts ...pkix.Extension) []byte {
	t.Helper()
	type basic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	type response struct {
		Type asn1.ObjectIdentifier
		Body []byte
	}
	type whole struct {
		Status   asn1.Enumerated
		Response response `asn1:"explicit,tag:0"`
	}
	var w whole
	var b basic
	if _, err := asn1.Unmarshal(body, &w); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(w.Response.Body, &b); err != nil {
		t.Fatal(err)
	}
	b.Data = tagged(asn1.ClassUniversal, asn1.TagSequence, append(b.Data.Bytes, marshal(t, tagged(asn1.ClassContextSpecific, 1, marshal(t, exts)))...))
	sum := sha256.Sum256(marshal(t, b.Data))
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	b.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	w.Response.Body = marshal(t, b)
	return marshal(t, w)
}

// The request is one that another implementation reads, over POST and over GET.
func TestOCSPRequest(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	for _, tt := range []struct {
		method, hash string
		want         crypto.Hash
	}{{"POST", "sha1", crypto.SHA1}, {"GET", "sha256", crypto.SHA256}, {"GET", "sha1", crypto.SHA1}} {
		var got *ocsp.Request
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, 4096)
			n, _ := r.Body.Read(body)
			body = body[:n]
			if r.Method != tt.method {
				t.Errorf("asked by %s, want %s", r.Method, tt.method)
			}
			if r.Method == http.MethodGet {
				text, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/ocsp/"))
				if err != nil {
					t.Error(err)
				}
				if body, err = base64.StdEncoding.DecodeString(text); err != nil {
					t.Error(err)
				}
			} else if r.Header.Get("Content-Type") != "application/ocsp-request" {
				t.Errorf("content type %q", r.Header.Get("Content-Type"))
			}
			var err error
			if got, err = ocsp.ParseRequest(body); err != nil {
				t.Error(err)
			}
			_, _ = w.Write(ocsp.TryLaterErrorResponse)
		}))
		defer s.Close()
		f := checktest.NewFunc(t, ocspKind(), check.Options{"url": s.URL + "/ocsp/", "certificate": certPEM(t, cert), "issuer": a.file(), "method": tt.method, "hash": tt.hash}, check.Env{})
		want(t, f(t.Context()), check.RevocationInvalid, "tryLater")
		if got == nil || got.SerialNumber.Cmp(cert.SerialNumber) != 0 || got.HashAlgorithm != tt.want {
			t.Errorf("%s: the responder reads %+v", tt.method, got)
		}
	}
}

// Without a url the certificate says whom to ask.
func TestOCSPOfTheCertificate(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	to := serve(t, "application/ocsp-response", func([]byte) []byte { return ocsp.TryLaterErrorResponse })
	cert, _ := a.officer(func(c *x509.Certificate) { c.OCSPServer = []string{to} })
	none, _ := a.officer(nil)
	strange, _ := a.officer(func(c *x509.Certificate) { c.OCSPServer = []string{"ldap://directory.test/"} })
	o := check.Options{"certificate": certPEM(t, cert), "issuer": a.file()}
	want(t, checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context()), check.RevocationInvalid, "tryLater")
	if got := ocspKind().Target(o); len(got) != 1 || got[0] != "127.0.0.1" {
		t.Errorf("target %v", got)
	}
	if got := ocspKind().Target(check.Options{"url": "http://ocsp.test:8080/x"}); len(got) != 1 || got[0] != "ocsp.test" {
		t.Errorf("target %v", got)
	}
	for c, detail := range map[*x509.Certificate]string{none: "names no OCSP responder", strange: `scheme "ldap"`} {
		o := check.Options{"certificate": certPEM(t, c), "issuer": a.file()}
		want(t, checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context()), check.Misconfigured, detail)
	}
	if got := ocspKind().Target(check.Options{"certificate": "/no/such.pem"}); got != nil {
		t.Errorf("target %v", got)
	}
}

// Whatever a responder answers, reading it ends well.
func FuzzOCSP(f *testing.F) {
	a := newAuthority(f, checktest.Epoch())
	cert, _ := a.officer(nil)
	body, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch(), Certificate: a.cert}, a.key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(ocsp.TryLaterErrorResponse)
	f.Add([]byte{0x30, 0x80})
	f.Add(body[:len(body)/2])
	c := ocspCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := parseOCSP(body)
		if err != nil || answer.status != 0 {
			return
		}
		var seen check.Facts
		s, _, bad := c.verify(answer, cert, a.cert, nil, &seen)
		if bad == nil {
			bad = c.judge(s, cert)
			if s.id.serial.Cmp(cert.SerialNumber) != 0 || s.id.serial.Cmp(big.NewInt(0)) == 0 {
				t.Errorf("an answer for serial %v", s.id.serial)
			}
		}
		r := bad.result("")
		r.Facts = seen
		var sp spans
		r.Phases = sp.phases(0)
		checktest.Declared(t, ocspKind(), r)
	})
}
