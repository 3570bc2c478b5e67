package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// stampCert makes a certificate that may stamp; change may spoil it.
func (a *authority) stampCert(change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "TSA thử nghiệm"}, KeyUsage: x509.KeyUsageDigitalSignature,
		SubjectKeyId: []byte{1, 2, 3, 4}, ExtraExtensions: []pkix.Extension{uses(true, oidTimeStamping())}}
	if change != nil {
		change(tmpl)
	}
	return a.sign(tmpl)
}

func oidServerAuth() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1} }

func TestTSAReasons(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	twin, _ := a.stampCert(nil)
	// with answers by a good authority whose every stamp change has spoilt.
	with := func(change func(*stamper)) responder {
		s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch()}
		if change != nil {
			change(&s)
		}
		return s.answer
	}
	by := func(issuer *authority, change func(*x509.Certificate)) responder {
		c, k := issuer.stampCert(change)
		return with(func(s *stamper) { s.cert, s.key = c, k })
	}
	extended := func(ext ...pkix.Extension) responder {
		return by(a, func(c *x509.Certificate) { c.ExtraExtensions = ext })
	}
	info := func(change func(*wireInfo)) responder { return with(func(s *stamper) { s.info = change }) }
	later := func(d time.Duration) responder { return with(func(s *stamper) { s.at = checktest.Epoch().Add(d) }) }
	attrs := func(change func([]wireAttribute) []wireAttribute) responder {
		return with(func(s *stamper) { s.attrs = change })
	}
	without := func(i int) responder {
		return attrs(func(as []wireAttribute) []wireAttribute { return slices.Delete(as, i, i+1) })
	}
	fixed := func(body []byte) responder { return func([]byte) []byte { return body } }
	middle := a.sub("Thử nghiệm Sub")
	below, belowKey := middle.stampCert(nil)
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
		{name: "all is well", answer: with(nil), reason: check.OK, detail: `stamped 2026-11-23T03:00:00Z by "TSA thử nghiệm"`, facts: map[string]float64{
			"clock_offset_s": 0, "accuracy_s": 0, "pki_status_code": 0, "gen_time_unix": float64(checktest.Epoch().Unix()), "status_code": 200,
			"cert_not_after_unix": float64(cert.NotAfter.Unix()), "chain_not_after_unix": float64(cert.NotAfter.Unix())}},
		{name: "all is well by an unproven clock", answer: with(nil), proven: unproven, reason: check.OK},
		{name: "bound by SHA-1", answer: attrs(func(as []wireAttribute) []wireAttribute { return append(as[:2], essV1(t, cert)) }), reason: check.OK},
		{name: "bound by both", answer: attrs(func(as []wireAttribute) []wireAttribute { return append(as, essV1(t, cert)) }), reason: check.OK},
		{name: "signer by key identifier", answer: with(func(s *stamper) {
			s.sign = func(w *wireSigner) {
				w.Version, w.ID = 3, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, Bytes: []byte{1, 2, 3, 4}}
			}
		}), reason: check.OK},
		{name: "an authority between, sent", answer: with(func(s *stamper) { s.cert, s.key, s.more = below, belowKey, []*x509.Certificate{middle.cert} }), reason: check.OK},
		{name: "an authority between, not sent", answer: with(func(s *stamper) { s.cert, s.key = below, belowKey }), reason: check.TSAInvalid, detail: "unknown authority"},
		{name: "its own certificate among the roots", answer: with(func(s *stamper) { s.cert, s.key = below, belowKey }), with: check.Options{"roots": certPEM(t, below)}, reason: check.OK},
		{name: "policy asked for", answer: with(nil), with: check.Options{"policy": "1.3.6.1.4.1.5.6"}, reason: check.OK},
		{name: "another policy", answer: info(func(i *wireInfo) { i.Policy = asn1.ObjectIdentifier{1, 2, 3} }), with: check.Options{"policy": "1.3.6.1.4.1.5.6"}, reason: check.TSAInvalid, detail: "of policy 1.2.3, want 1.3.6.1.4.1.5.6"},
		{name: "SHA-512", answer: with(nil), with: check.Options{"hash": "sha512"}, reason: check.OK},
		{name: "a fraction of a second", answer: info(func(i *wireInfo) { i.GenTime = generalized("20261123030001.25Z") }), reason: check.OK, facts: map[string]float64{"clock_offset_s": 1.25}},
		{name: "accuracy", answer: info(func(i *wireInfo) { i.Accuracy = wireAccuracy{1, 500, 20} }), reason: check.OK, facts: map[string]float64{"accuracy_s": 1.5}},

		{name: "7 hours ahead", answer: later(7 * time.Hour), reason: check.TSASkew, detail: "7h0m0s ahead of this machine's clock", facts: map[string]float64{"clock_offset_s": 25200}},
		{name: "7 hours ahead by an unproven clock", answer: later(7 * time.Hour), proven: unproven, reason: check.ClockUnproven},
		{name: "a minute ahead", answer: later(time.Minute), reason: check.OK, facts: map[string]float64{"clock_offset_s": 60}},
		{name: "61 s ahead", answer: later(61 * time.Second), reason: check.TSASkew},
		{name: "61 s behind, whole seconds", answer: later(-61 * time.Second), reason: check.OK},
		{name: "62 s behind", answer: later(-62 * time.Second), reason: check.TSASkew, detail: "behind", facts: map[string]float64{"clock_offset_s": -62}},
		{name: "61 s ahead, exact to 2 s", answer: with(func(s *stamper) {
			s.at, s.info = checktest.Epoch().Add(61*time.Second), func(i *wireInfo) { i.Accuracy.Seconds = 2 }
		}), reason: check.OK},
		{name: "2 s ahead, limit 1 s", answer: later(2 * time.Second), with: check.Options{"max_skew": time.Second}, reason: check.TSASkew},

		{name: "refused", answer: fixed([]byte{0x30, 0x12, 0x30, 0x10, 2, 1, 2, 0x30, 6, 0x0c, 4, 'K', 'h', 'o', 'a', 3, 3, 0, 0, 1}), reason: check.TSAInvalid,
			detail: `no time stamp: rejection, unacceptedPolicy, "Khoa"`, facts: map[string]float64{"pki_status_code": 2}},
		{name: "a status that there is not", answer: fixed([]byte{0x30, 5, 0x30, 3, 2, 1, 77}), reason: check.TSAInvalid, detail: "status 77"},
		{name: "granted without a stamp", answer: fixed([]byte{0x30, 5, 0x30, 3, 2, 1, 0}), reason: check.TSAInvalid, detail: "no time stamp came"},
		{name: "granted with modifications", answer: func(q []byte) []byte {
			body := with(nil)(q)
			body[bytes.Index(body, []byte{0x30, 3, 2, 1, 0})+4] = 1
			return body
		}, reason: check.OK, facts: map[string]float64{"pki_status_code": 1}},

		{name: "no chain to the roots", answer: by(stranger, nil), reason: check.TSAInvalid, detail: "certificate"},
		{name: "not for time stamps", answer: extended(uses(true, oidServerAuth())), reason: check.TSAInvalid, detail: "not for this use"},
		{name: "for nothing in particular", answer: extended(), reason: check.TSAInvalid, detail: "no extended key usage"},
		{name: "for time stamps, not critical", answer: extended(uses(false, oidTimeStamping())), reason: check.TSAInvalid, detail: "not critical"},
		{name: "for time stamps and more", answer: extended(uses(true, oidTimeStamping(), oidServerAuth())), reason: check.TSAInvalid, detail: "for other uses too"},
		{name: "for keys, not signatures", answer: by(a, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), reason: check.TSAInvalid, detail: "not for signatures"},
		{name: "certificate has ended", answer: by(a, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }), reason: check.TSAInvalid, detail: "outside the validity"},
		{name: "stamped before the certificate began", answer: func(q []byte) []byte {
			c, k := a.stampCert(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(-time.Second) })
			return stamper{t: t, cert: c, key: k, at: checktest.Epoch().Add(-2 * time.Second)}.answer(q)
		}, reason: check.TSAInvalid, detail: "outside the validity"},
		{name: "certificate has ended, stamped before", answer: func(q []byte) []byte {
			c, k := a.stampCert(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Second) })
			return stamper{t: t, cert: c, key: k, at: checktest.Epoch().Add(-2 * time.Second)}.answer(q)
		}, reason: check.TSAInvalid, detail: "is valid from"},
		{name: "certificate has ended by an unproven clock", answer: func(q []byte) []byte {
			c, k := a.stampCert(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Second) })
			return stamper{t: t, cert: c, key: k, at: checktest.Epoch().Add(-2 * time.Second)}.answer(q)
		}, proven: unproven, reason: check.ClockUnproven},
		{name: "certificate ends soon", answer: by(a, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().AddDate(0, 0, 20) }), reason: check.CertExpiring, detail: `"TSA thử nghiệm" ends 2026-12-13`},
		{name: "root ends soon", answer: with(nil), with: check.Options{"warn_days": int64(3650)}, reason: check.CertExpiring},

		{name: "another nonce", answer: info(func(i *wireInfo) { i.Nonce = big.NewInt(1) }), reason: check.TSAInvalid, detail: "nonce in the time stamp is not ours"},
		{name: "no nonce", answer: info(func(i *wireInfo) { i.Nonce = nil }), reason: check.TSAInvalid, detail: "holds no nonce"},
		{name: "another imprint", answer: info(func(i *wireInfo) { i.Imprint.Hashed = slices.Repeat([]byte{1}, 32) }), reason: check.TSAInvalid, detail: "over other data"},
		{name: "imprint of another hash", answer: info(func(i *wireInfo) { i.Imprint.Hash.Algorithm = oidSHA512() }), reason: check.TSAInvalid, detail: "over other data"},
		{name: "critical extension", answer: info(func(i *wireInfo) {
			i.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), reason: check.TSAInvalid, detail: "critical extension 1.2.3"},
		{name: "version 2", answer: info(func(i *wireInfo) { i.Version = 2 }), reason: check.TSAInvalid, detail: "TSTInfo"},
		{name: "time with a zone", answer: info(func(i *wireInfo) { i.GenTime = generalized("20261123100000+0700") }), reason: check.TSAInvalid, detail: "TSTInfo"},
		{name: "accuracy below zero", answer: info(func(i *wireInfo) { i.Accuracy.Millis = -5 }), reason: check.TSAInvalid, detail: "TSTInfo"},

		{name: "altered after signing", answer: with(func(s *stamper) {
			s.whole = func(d *wireSigned) { d.Content.Content[len(d.Content.Content)-1] ^= 1 }
		}), reason: check.TSAInvalid, detail: "not the one that was signed"},
		{name: "signed by another key", answer: with(func(s *stamper) { s.key = stranger.key }), reason: check.TSAInvalid, detail: "the signature of the time stamp"},
		{name: "signed with an unknown algorithm", answer: with(func(s *stamper) {
			s.sign = func(w *wireSigner) { w.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 3} }
		}), reason: check.TSAInvalid, detail: "algorithm 1.2.3 is not known"},
		{name: "digested with an unknown algorithm", answer: with(func(s *stamper) {
			s.sign = func(w *wireSigner) { w.Digest.Algorithm = asn1.ObjectIdentifier{1, 2, 3} }
		}), reason: check.TSAInvalid, detail: "algorithm 1.2.3 is not known"},
		{name: "content of another type", answer: with(func(s *stamper) {
			s.whole = func(d *wireSigned) { d.Content.Type = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }
		}), reason: check.TSAInvalid, detail: "not signed as what it is"},
		{name: "type not signed", answer: without(0), reason: check.TSAInvalid, detail: "not signed as what it is"},
		{name: "digest not signed", answer: without(1), reason: check.TSAInvalid, detail: "message digest"},
		{name: "certificate not named", answer: without(2), reason: check.TSAInvalid, detail: "no ESSCertID"},
		{name: "another certificate named", answer: with(func(s *stamper) { s.named = twin }), reason: check.TSAInvalid, detail: "bound to another certificate"},
		{name: "another certificate named by SHA-1", answer: attrs(func(as []wireAttribute) []wireAttribute { return append(as[:2], essV1(t, twin)) }), reason: check.TSAInvalid, detail: "bound to another certificate"},
		{name: "another serial named", answer: attrs(func(as []wireAttribute) []wireAttribute {
			return append(as[:2], essV2(t, cert, cert.RawIssuer, big.NewInt(1)))
		}), reason: check.TSAInvalid, detail: "bound to another certificate"},
		{name: "another issuer named", answer: attrs(func(as []wireAttribute) []wireAttribute {
			return append(as[:2], essV2(t, cert, cert.RawSubject, cert.SerialNumber))
		}), reason: check.TSAInvalid, detail: "bound to another certificate"},
		{name: "signed as another type", answer: attrs(func(as []wireAttribute) []wireAttribute {
			as[0] = attr(t, oidContentType(), asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1})
			return as
		}), reason: check.TSAInvalid, detail: "not signed as what it is"},
		{name: "an attribute twice", answer: attrs(func(as []wireAttribute) []wireAttribute { return append(as, as[1]) }), reason: check.TSAInvalid, detail: "stands twice"},
		{name: "an attribute with two values", answer: attrs(func(as []wireAttribute) []wireAttribute {
			as[1].Values = append(as[1].Values, as[1].Values...)
			return as
		}), reason: check.TSAInvalid, detail: "other than one value"},
		{name: "two signers", answer: with(func(s *stamper) {
			s.whole = func(d *wireSigned) { d.Signers = append(d.Signers, d.Signers[0]) }
		}), reason: check.TSAInvalid, detail: "more than one signer"},
		{name: "no certificate", answer: with(func(s *stamper) { s.bare = true }), reason: check.TSAInvalid, detail: "not among the 0 that came"},
		{name: "a crowd of certificates", answer: with(func(s *stamper) { s.more = slices.Repeat([]*x509.Certificate{cert}, maxCerts) }), reason: check.TSAInvalid, detail: "more than 16 certificates"},

		{name: "malformed", answer: fixed([]byte("\x30\x80junk")), reason: check.Protocol, detail: "is not a time stamp"},
		{name: "token malformed", answer: fixed([]byte{0x30, 7, 0x30, 3, 2, 1, 0, 0x30, 0}), reason: check.TSAInvalid, detail: "not that of a signed message"},
		{name: "a web page", answer: fixed([]byte(" <html>")), reason: check.Protocol, detail: "a web page came"},
		{name: "empty", answer: fixed(nil), reason: check.Truncated},
		{name: "too large", answer: fixed(make([]byte, tsaBytes+1)), reason: check.TooLarge},
		{name: "no such roots", answer: with(nil), with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured, detail: "/no/such.pem"},
		{name: "slow", answer: with(nil), with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/timestamp-reply", tt.answer), "roots": a.file()}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, tsaKind(), o, check.Env{ClockProven: tt.proven})
			r := f(t.Context())
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

// A time stamp is of some instant of the exchange; when that takes long, half of it is allowed for.
func TestTSAUnderWay(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	for offset, reason := range map[time.Duration]check.Reason{70 * time.Second: check.OK, 71 * time.Second: check.TSASkew, -71 * time.Second: check.OK, -72 * time.Second: check.TSASkew} {
		asked := false
		now := func() time.Time {
			if !asked {
				asked = true
				return checktest.Epoch().Add(-10 * time.Second)
			}
			return checktest.Epoch().Add(10 * time.Second)
		}
		url := serve(t, "application/timestamp-reply", stamper{t: t, cert: cert, key: key, at: checktest.Epoch().Add(offset)}.answer)
		r := checktest.NewFunc(t, tsaKind(), check.Options{"url": url, "roots": a.file()}, check.Env{Now: now})(t.Context())
		want(t, r, reason, "")
		wantFacts(t, r, map[string]float64{"clock_offset_s": offset.Seconds()})
	}
}

// The answer to one request is none to the next.
func TestTSAReplayed(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	var kept []byte
	f := checktest.NewFunc(t, tsaKind(), check.Options{"roots": a.file(), "url": serve(t, "application/timestamp-reply", func(q []byte) []byte {
		if kept == nil {
			kept = stamper{t: t, cert: cert, key: key, at: checktest.Epoch()}.answer(q)
		}
		return kept
	})}, check.Env{})
	want(t, f(t.Context()), check.OK, "")
	want(t, f(t.Context()), check.TSAInvalid, "over other data")
}

// Whatever a time-stamping authority answers, reading it ends well and never in a stamp that was not asked for.
func FuzzTSA(f *testing.F) {
	a := newAuthority(f, checktest.Epoch())
	cert, key := a.stampCert(nil)
	c := tsaCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}, hash: crypto.SHA256, hashOID: oidSHA256(), skew: time.Minute}
	q, body, err := c.question()
	if err != nil {
		f.Fatal(err)
	}
	roots := newAnchors([]*x509.Certificate{a.cert}, false, 0)
	other, otherBody, err := c.question()
	if err != nil {
		f.Fatal(err)
	}
	s := stamper{t: f, cert: cert, key: key, at: checktest.Epoch()}
	good := s.answer(body)
	f.Add(good)
	f.Add(s.answer(otherBody))
	f.Add([]byte{0x30, 0x12, 0x30, 0x10, 2, 1, 2, 0x30, 6, 0x0c, 4, 'K', 'h', 'o', 'a', 3, 3, 0, 0, 1})
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := parseStampAnswer(body)
		if err != nil {
			return
		}
		_ = answer.refusal()
		var seen check.Facts
		_, chain, bad := c.verify(answer.token, q, roots, &seen)
		if bad == nil && !chain[0].Equal(cert) {
			t.Error("a stamp of another signer")
		}
		if _, _, bad := c.verify(answer.token, other, roots, new(check.Facts)); bad == nil && slices.Equal(body, good) {
			t.Error("a stamp for two requests")
		}
		r := bad.result("")
		r.Facts = seen
		var sp spans
		r.Phases = sp.phases(0)
		checktest.Declared(t, tsaKind(), r)
	})
}
