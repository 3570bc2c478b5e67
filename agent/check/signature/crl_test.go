package signature

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// list makes a list of this template in DER.
func (a *authority) list(change func(*x509.RevocationList)) []byte {
	a.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1200), ThisUpdate: a.at.Add(-time.Hour), NextUpdate: a.at.Add(23 * time.Hour)}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func deltaOf(base int64) pkix.Extension {
	value, _ := asn1.Marshal(base)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: value}
}

// scoped makes an issuing distribution point with one of its booleans.
func scoped(tag int) pkix.Extension {
	value, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: []byte{0x80 | byte(tag), 1, 0xff}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: value}
}

func TestCRLReasons(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	mine, _ := a.officer(nil)
	yours, _ := a.officer(nil)
	foreign, _ := a.sub("Thử nghiệm Sub").officer(nil)
	soon := *a
	soon.cert, soon.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Ends soon"}, IsCA: true, BasicConstraintsValid: true, NotAfter: checktest.Epoch().AddDate(0, 0, 5), KeyUsage: x509.KeyUsageCRLSign})
	ended := *a
	ended.cert, ended.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Ended"}, IsCA: true, BasicConstraintsValid: true, NotAfter: checktest.Epoch().Add(-time.Hour), KeyUsage: x509.KeyUsageCRLSign})
	noRight := *a
	noRight.cert, noRight.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "No right"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	plain := *noRight.cert
	entry := func(c *x509.Certificate, exts ...pkix.Extension) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: checktest.Epoch().AddDate(0, 0, -3), ExtraExtensions: exts}
	}
	listed := func(es ...x509.RevocationListEntry) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.RevokedCertificateEntries = es }
	}
	because := func(code int, e x509.RevocationListEntry) x509.RevocationListEntry {
		e.ReasonCode = code
		return e
	}
	extended := func(exts ...pkix.Extension) []byte {
		return a.list(func(l *x509.RevocationList) { l.ExtraExtensions = exts })
	}
	altered := func(body []byte) []byte {
		body = slices.Clone(body)
		i := strings.Index(string(body), "261123020000Z")
		body[i+7]++
		return body
	}
	inPEM := func(kind string, der []byte) []byte {
		return append([]byte("\n"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	serial := func(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber) }
	unproven := func() bool { return false }
	good := a.list(listed(entry(yours)))

	tests := []struct {
		name   string
		body   []byte
		with   check.Options
		proven func() bool
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "all is well", body: good, reason: check.OK, detail: "1 certificates on the list of 2026-11-23T02:00:00Z", facts: map[string]float64{
			"crl_number_serial": 1200, "entries_count": 1, "revoked_count": 0, "watched_count": 0, "body_bytes": float64(len(good)), "status_code": 200,
			"this_update_unix": float64(checktest.Epoch().Unix() - 3600), "next_update_unix": float64(checktest.Epoch().Unix() + 23*3600), "issuer_not_after_unix": float64(a.cert.NotAfter.Unix())}},
		{name: "PEM", body: inPEM("X509 CRL", good), reason: check.OK},
		{name: "empty list", body: a.list(nil), reason: check.OK, facts: map[string]float64{"entries_count": 0}},
		{name: "under the roots", body: good, with: check.Options{"roots": a.file()}, reason: check.OK},
		{name: "a number too large for a fact", body: a.list(func(l *x509.RevocationList) { l.Number = new(big.Int).Lsh(big.NewInt(1), 100) }), reason: check.OK},
		{name: "for user certificates", body: extended(scoped(1)), reason: check.OK},
		{name: "for authorities", body: extended(scoped(2)), reason: check.OK},
		{name: "an extension that is not critical", body: extended(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}), reason: check.OK},
		{name: "watched by serial, not revoked", body: good, with: check.Options{"serials": []string{"0x" + serial(mine), "00:ff"}}, reason: check.OK, facts: map[string]float64{"watched_count": 2}},
		{name: "watched by certificate, not revoked", body: good, with: check.Options{"certificates": certPEM(t, mine, foreign)}, reason: check.OK, facts: map[string]float64{"watched_count": 1}},
		{name: "watched by serial, revoked", body: a.list(listed(entry(mine), because(1, entry(yours)))), with: check.Options{"serials": []string{strings.ToUpper(serial(yours))}}, reason: check.Revoked,
			detail: "was revoked 2026-11-20T03:00:00Z (reason 1)", facts: map[string]float64{"revoked_count": 1, "entries_count": 2, "revoked_unix": float64(checktest.Epoch().AddDate(0, 0, -3).Unix())}},
		{name: "watched by certificate, revoked", body: good, with: check.Options{"certificates": certPEM(t, mine, yours)}, reason: check.Revoked, detail: "one of 1 watched", facts: map[string]float64{"watched_count": 2}},
		{name: "revoked on a stale list", body: a.list(func(l *x509.RevocationList) {
			listed(entry(mine))(l)
			l.NextUpdate = checktest.Epoch().Add(-time.Minute)
		}), with: check.Options{"serials": []string{serial(mine)}}, reason: check.Revoked},
		{name: "stale", body: a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Minute) }), reason: check.RevocationStale, detail: "was due 2026-11-23T02:59:00Z"},
		{name: "stale by an unproven clock", body: a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Minute) }), proven: unproven, reason: check.ClockUnproven},
		{name: "older than max_age", body: good, with: check.Options{"max_age": 30 * time.Minute}, reason: check.RevocationStale, detail: "more than 30m0s old"},
		{name: "next update near", body: good, with: check.Options{"renew_before": 24 * time.Hour}, reason: check.RevocationStale, detail: "is not out yet"},
		{name: "from the future", body: a.list(func(l *x509.RevocationList) { l.ThisUpdate = checktest.Epoch().Add(7 * time.Hour) }), reason: check.RevocationInvalid, detail: "holds only from"},
		{name: "from the future by an unproven clock", body: a.list(func(l *x509.RevocationList) { l.ThisUpdate = checktest.Epoch().Add(7 * time.Hour) }), proven: unproven, reason: check.ClockUnproven},

		{name: "of another authority of the same name", body: stranger.list(nil), reason: check.RevocationInvalid, detail: "the signature of the list"},
		{name: "of another authority", body: soon.list(nil), reason: check.RevocationInvalid, detail: `the list is of "Ends soon"`},
		{name: "altered", body: altered(good), reason: check.RevocationInvalid, detail: "the signature of the list"},
		{name: "critical extension", body: extended(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}), reason: check.RevocationInvalid, detail: "critical extension 1.2.3"},
		{name: "critical extension of an entry", body: a.list(listed(entry(yours, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}))), reason: check.RevocationInvalid, detail: "critical extension 2.5.29.29"},
		{name: "indirect", body: extended(scoped(4)), reason: check.RevocationInvalid, detail: "indirect"},
		{name: "for attribute certificates", body: extended(scoped(5)), reason: check.RevocationInvalid, detail: "attribute certificates"},
		{name: "for some reasons", body: extended(scoped(3)), reason: check.RevocationInvalid, detail: "some reasons"},
		{name: "delta, not expected", body: extended(deltaOf(1100)), reason: check.RevocationInvalid, detail: "a delta list where", facts: map[string]float64{"base_number_serial": 1100}},
		{name: "delta, expected", body: extended(deltaOf(1100)), with: check.Options{"delta": true}, reason: check.OK, facts: map[string]float64{"base_number_serial": 1100}},
		{name: "no delta, expected", body: good, with: check.Options{"delta": true}, reason: check.RevocationInvalid, detail: "a complete list where"},
		{name: "taken off by a delta", body: a.list(func(l *x509.RevocationList) {
			listed(because(removeFromCRL, entry(mine)))(l)
			l.ExtraExtensions = []pkix.Extension{deltaOf(1100)}
		}), with: check.Options{"delta": true, "serials": []string{serial(mine)}}, reason: check.OK, facts: map[string]float64{"revoked_count": 0}},
		{name: "issuer under other roots", body: good, with: check.Options{"roots": stranger.file()}, reason: check.RevocationInvalid, detail: "unknown authority"},
		{name: "issuer has ended", body: ended.list(nil), with: check.Options{"issuer": ended.file()}, reason: check.RevocationInvalid, detail: `"Ended" is valid from`},
		{name: "issuer has ended, under the roots", body: ended.list(nil), with: check.Options{"issuer": ended.file(), "roots": a.file()}, reason: check.RevocationInvalid, detail: `"Ended" is valid from`},
		{name: "issuer has ended by an unproven clock", body: ended.list(nil), with: check.Options{"issuer": ended.file()}, proven: unproven, reason: check.ClockUnproven},
		{name: "issuer ends soon", body: soon.list(nil), with: check.Options{"issuer": soon.file()}, reason: check.CertExpiring, detail: `"Ends soon" ends 2026-11-28`},

		{name: "malformed", body: []byte("\x30\x80junk"), reason: check.Protocol, detail: "is not a revocation list"},
		{name: "cut short", body: good[:len(good)-1], reason: check.Protocol},
		{name: "something after the list", body: append(slices.Clone(good), 0), reason: check.Protocol},
		{name: "PEM of something else", body: inPEM("CERTIFICATE", a.cert.Raw), reason: check.Protocol},
		{name: "a certificate", body: a.cert.Raw, reason: check.Protocol},
		{name: "a web page", body: []byte("<html><body>404</body></html>"), reason: check.Protocol, detail: "a web page came with status 200"},
		{name: "empty", body: nil, reason: check.Truncated},
		{name: "too large", body: good, with: check.Options{"max_bytes": int64(len(good) - 1)}, reason: check.TooLarge},
		{name: "just not too large", body: good, with: check.Options{"max_bytes": int64(len(good))}, reason: check.OK},

		{name: "no such issuer", body: good, with: check.Options{"issuer": "/no/such.pem"}, reason: check.Misconfigured, detail: "issuer: "},
		{name: "issuer that is none", body: good, with: check.Options{"issuer": certPEM(t, mine)}, reason: check.Misconfigured, detail: "not an authority's"},
		{name: "no such roots", body: good, with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured, detail: "roots: "},
		{name: "no such certificates", body: good, with: check.Options{"certificates": "/no/such.pem"}, reason: check.Misconfigured, detail: "certificates: "},
		{name: "slow", body: good, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/pkix-crl", func([]byte) []byte { return tt.body }), "issuer": a.file()}
			maps.Copy(o, tt.with)
			f := checktest.NewFunc(t, crlKind(), o, check.Env{ClockProven: tt.proven})
			for range 2 {
				r := f(t.Context())
				want(t, r, tt.reason, tt.detail)
				wantFacts(t, r, tt.facts)
			}
		})
	}
	plain.KeyUsage = x509.KeyUsageCertSign
	l, err := parseCRL(noRight.list(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, bad := (&crlCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}).verify(l, &plain, nil); bad == nil || bad.reason != check.RevocationInvalid {
		t.Errorf("a list by one without the right to sign lists: %+v", bad)
	}
}

// The number of a list only grows; an older list that comes after a newer one was kept back by somebody.
func TestCRLNumberGrows(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	number := int64(7)
	url := serve(t, "application/pkix-crl", func([]byte) []byte {
		return a.list(func(l *x509.RevocationList) { l.Number = big.NewInt(number) })
	})
	f := checktest.NewFunc(t, crlKind(), check.Options{"url": url, "issuer": a.file()}, check.Env{})
	for _, step := range []struct {
		number int64
		want   check.Reason
	}{{7, check.OK}, {7, check.OK}, {9, check.OK}, {8, check.RevocationStale}, {9, check.OK}} {
		number = step.number
		r := f(t.Context())
		want(t, r, step.want, "")
		wantFacts(t, r, map[string]float64{"crl_number_serial": float64(step.number)})
	}
}

// Revocation dates on both sides of the years in which UTCTime ends.
func TestCRLDates(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	c, _ := a.officer(nil)
	for _, at := range []time.Time{time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)} {
		raw := a.list(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: c.SerialNumber, RevocationTime: at}}
		})
		l, err := parseCRL(raw, map[string]bool{serialKey(c.SerialNumber): true})
		if err != nil || len(l.revoked) != 1 || !l.revoked[0].at.Equal(at) {
			t.Errorf("%v: %+v, %v", at, l, err)
		}
	}
	if got, err := crlTime(23, "500101000000Z"); err != nil || got.Year() != 1950 {
		t.Errorf("UTCTime of the year 50: %v, %v", got, err)
	}
}

// Whatever stands on a list, it is read as the standard library reads it, entries and all.
func FuzzCRL(f *testing.F) {
	a := newAuthority(f, checktest.Epoch())
	c, _ := a.officer(nil)
	f.Add(a.list(nil))
	f.Add(a.list(func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: c.SerialNumber, RevocationTime: checktest.Epoch(), ReasonCode: 1}, {SerialNumber: big.NewInt(128), RevocationTime: checktest.Epoch()}}
		l.ExtraExtensions = []pkix.Extension{deltaOf(1), scoped(2)}
	}))
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Add([]byte{0x30, 0x80})
	watched := map[string]bool{serialKey(c.SerialNumber): true, "\x00\x80": true}
	f.Fuzz(func(t *testing.T, body []byte) {
		raw := unwrapCRL(body)
		l, err := parseCRL(raw, watched)
		std, stdErr := x509.ParseRevocationList(raw)
		if err != nil {
			return
		}
		var facts check.Facts
		l.facts(&facts)
		checktest.Declared(t, crlKind(), check.Result{State: check.Up, Reason: check.OK, Facts: facts, Phases: check.Phases{{Name: "total"}}})
		if stdErr != nil {
			return // it reads the dates and extensions of every entry too
		}
		hits := 0
		for _, e := range std.RevokedCertificateEntries {
			if watched[serialKey(e.SerialNumber)] && e.ReasonCode != removeFromCRL {
				hits++
			}
		}
		if l.entries != len(std.RevokedCertificateEntries) || len(l.revoked) != hits || !l.ThisUpdate.Equal(std.ThisUpdate) ||
			string(l.signed) != string(std.RawTBSRevocationList) || string(l.Signature) != string(std.Signature) {
			t.Errorf("read %d entries, %d watched; the standard library %d, %d", l.entries, len(l.revoked), len(std.RevokedCertificateEntries), hits)
		}
	})
}

// BenchmarkCRL reads and verifies a list of 100,000 entries, beside the standard library's reading alone.
func BenchmarkCRL(b *testing.B) {
	a := newAuthority(b, checktest.Epoch())
	raw := largeList(a)
	watched := map[string]bool{serialKey(big.NewInt(1<<62 + 77)): true}
	b.Run("check", func(b *testing.B) {
		c := &crlCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
		b.ReportAllocs()
		for b.Loop() {
			l, err := parseCRL(raw, watched)
			if err != nil || len(l.revoked) != 1 || l.entries != 100_000 {
				b.Fatal(l, err)
			}
			if _, bad := c.verify(l, a.cert, nil); bad != nil {
				b.Fatal(bad)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x509.ParseRevocationList(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
