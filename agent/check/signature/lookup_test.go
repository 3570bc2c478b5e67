package signature

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// shelf serves a list that can be changed, and counts who asks.
type shelf struct {
	url  string
	body []byte
	n    int
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{}
	s.url = serve(t, "application/pkix-crl", func([]byte) []byte { s.n++; return s.body })
	return s
}

func revokedNow(c *x509.Certificate) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: c.SerialNumber, RevocationTime: checktest.Epoch().Add(-time.Hour), ReasonCode: 1}}
	}
}

// An authority whose own certificate was revoked stamps nothing that counts; its list is asked again when it is due.
func TestTSARevoked(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	list, now := newShelf(t), checktest.Epoch()
	s := stamper{t: t, cert: cert, key: key}
	url := serve(t, "application/timestamp-reply", func(q []byte) []byte { s.at = now; return s.answer(q) })
	run := func(crl string) check.Result {
		o := check.Options{"url": url, "roots": a.file(), "crl": crl}
		return checktest.NewFunc(t, tsaKind(), o, check.Env{Now: func() time.Time { return now }})(t.Context())
	}
	for _, tt := range []struct {
		name   string
		body   []byte
		reason check.Reason
		detail string
	}{
		{"not revoked", a.list(nil), check.OK, "stamped"},
		{"revoked", a.list(revokedNow(cert)), check.Revoked, `certificate "TSA thử nghiệm" was revoked 2026-11-23T02:00:00Z (reason 1)`},
		{"list of another", stranger.list(nil), check.RevocationInvalid, "the authority's certificate: the signature of the list"},
		{"stale list", a.list(func(l *x509.RevocationList) { l.NextUpdate = now.Add(-time.Minute) }), check.RevocationStale, "was due"},
		{"list for authorities", a.list(func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{scoped(2)} }), check.RevocationInvalid, "says nothing of the certificate"},
		{"a delta list", a.list(func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{deltaOf(1)} }), check.RevocationInvalid, "a delta list where"},
		{"no list", []byte("x"), check.RevocationInvalid, "cannot be read"},
	} {
		list.body = tt.body
		r := run(list.url)
		want(t, r, tt.reason, tt.detail)
	}
	want(t, run("http://"+checktest.ClosedPort(t)), check.Partial, "whether the authority's certificate was revoked could not be learnt: connect_refused")

	list.n, list.body = 0, a.list(nil)
	f := checktest.NewFunc(t, tsaKind(), check.Options{"url": url, "roots": a.file(), "crl": list.url}, check.Env{Now: func() time.Time { return now }})
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 1}, {5 * time.Hour, 1}, {2 * time.Hour, 2}, {-8 * time.Hour, 3}} {
		now = now.Add(step.after)
		want(t, f(t.Context()), check.OK, "")
		if list.n != step.asked {
			t.Errorf("%v later the list was asked %d times, want %d", step.after, list.n, step.asked)
		}
	}
}

// An appointed responder that does not say that it need not be looked up is looked up.
func TestOCSPResponderRevoked(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	noCheck := pkix.Extension{Id: oidNoCheck(), Value: []byte{5, 0}}
	for _, tt := range []struct {
		name    string
		exts    []pkix.Extension
		usage   x509.KeyUsage
		revoked bool
		list    bool
		reason  check.Reason
		detail  string
		code    float64
	}{
		{name: "not revoked", list: true, reason: check.OK, code: signerToCheck},
		{name: "revoked", list: true, revoked: true, reason: check.Revoked, detail: `the responder's certificate: certificate "OCSP" was revoked`, code: signerToCheck},
		{name: "revoked, and need not be looked up", exts: []pkix.Extension{noCheck}, list: true, revoked: true, reason: check.OK, code: signerNoCheck},
		{name: "revoked, and not looked up", revoked: true, reason: check.OK, code: signerToCheck},
		{name: "not for signatures", usage: x509.KeyUsageKeyEncipherment, reason: check.RevocationInvalid, detail: `responder "OCSP" is not for signatures`, code: signerToCheck},
	} {
		t.Run(tt.name, func(t *testing.T) {
			by, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "OCSP"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, ExtraExtensions: tt.exts, KeyUsage: tt.usage})
			url := serve(t, "application/ocsp-response", func([]byte) []byte {
				body, err := ocsp.CreateResponse(a.cert, by, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch(), Certificate: by}, key)
				if err != nil {
					t.Error(err)
				}
				return body
			})
			o := check.Options{"url": url, "certificate": certPEM(t, cert), "issuer": a.file()}
			if tt.list {
				s := newShelf(t)
				if s.body = a.list(nil); tt.revoked {
					s.body = a.list(revokedNow(by))
				}
				o["responder_crl"] = s.url
			}
			r := checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context())
			want(t, r, tt.reason, tt.detail)
			if tt.reason != check.RevocationInvalid {
				wantFacts(t, r, map[string]float64{"responder_code": tt.code})
			}
		})
	}
}

// An old answer that somebody kept shows by its time, though it has not run out: after a newer one, or when it names no
// next update.
func TestOCSPOldAnswerReplayed(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, _ := a.officer(nil)
	r := ocsp.Response{SerialNumber: cert.SerialNumber}
	url := serve(t, "application/ocsp-response", func([]byte) []byte {
		body, err := ocsp.CreateResponse(a.cert, a.cert, r, a.key)
		if err != nil {
			t.Error(err)
		}
		return body
	})
	o := check.Options{"url": url, "certificate": certPEM(t, cert), "issuer": a.file()}
	f := checktest.NewFunc(t, ocspKind(), o, check.Env{})
	for _, step := range []struct {
		name   string
		this   time.Duration
		next   time.Duration // 0 for none
		status int
		reason check.Reason
		detail string
	}{
		{"new", -10 * time.Hour, 24 * time.Hour, ocsp.Good, check.OK, ""},
		{"newer", -5 * time.Hour, 24 * time.Hour, ocsp.Good, check.OK, ""},
		{"by another that shares the work", -6 * time.Hour, 24 * time.Hour, ocsp.Good, check.OK, ""},
		{"kept", -10 * time.Hour, 24 * time.Hour, ocsp.Good, check.RevocationStale, "after one as of 2026-11-22T22:00:00Z was seen"},
		{"revoked", -time.Hour, 24 * time.Hour, ocsp.Revoked, check.Revoked, ""},
		{"kept from before it was revoked", -5 * time.Hour, 24 * time.Hour, ocsp.Good, check.RevocationStale, "after one as of 2026-11-23T02:00:00Z"},
		{"new again", 0, 24 * time.Hour, ocsp.Good, check.OK, ""},
		{"kept, run out", -90 * time.Minute, -time.Minute, ocsp.Good, check.RevocationStale, "was due"},
	} {
		t.Run(step.name, func(t *testing.T) {
			r.Status, r.ThisUpdate, r.NextUpdate, r.RevokedAt = step.status, checktest.Epoch().Add(step.this), time.Time{}, checktest.Epoch().AddDate(0, 0, -1)
			if step.next != 0 {
				r.NextUpdate = checktest.Epoch().Add(step.next)
			}
			want(t, f(t.Context()), step.reason, step.detail)
		})
	}
	r.NextUpdate = time.Time{}
	for age, reason := range map[time.Duration]check.Reason{24 * time.Hour: check.OK, 25 * time.Hour: check.RevocationStale} {
		r.ThisUpdate = checktest.Epoch().Add(-age)
		want(t, checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context()), reason, "")
	}
	o["max_age"] = 26 * time.Hour
	want(t, checktest.NewFunc(t, ocspKind(), o, check.Env{})(t.Context()), check.OK, "")
}

// A complete list and its delta list are judged together.
func TestCRLWithDelta(t *testing.T) {
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	mine, _ := a.officer(nil)
	base, delta := newShelf(t), newShelf(t)
	freshest := func(url string) pkix.Extension {
		name := tagged(2, 0, tagged2(t, 0, marshalTag(t, 6, url)))
		return pkix.Extension{Id: []int{2, 5, 29, 46}, Value: marshal(t, tagged(0, 16, marshal(t, tagged(0, 16, marshal(t, name)))))}
	}
	whole := func(change func(*x509.RevocationList)) []byte {
		return a.list(func(l *x509.RevocationList) {
			l.Number = big.NewInt(100)
			if change != nil {
				change(l)
			}
		})
	}
	part := func(number, on int64, change func(*x509.RevocationList)) []byte {
		return a.list(func(l *x509.RevocationList) {
			l.Number, l.ExtraExtensions = big.NewInt(number), []pkix.Extension{deltaOf(on)}
			if change != nil {
				change(l)
			}
		})
	}
	removed := func(l *x509.RevocationList) {
		revokedNow(mine)(l)
		l.RevokedCertificateEntries[0].ReasonCode = removeFromCRL
	}
	also := func(e pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, e) }
	}
	for _, tt := range []struct {
		name        string
		base, delta []byte
		reason      check.Reason
		detail      string
		facts       map[string]float64
	}{
		{"nothing on either", whole(nil), part(101, 100, nil), check.OK, "0 certificates on the list of 2026-11-23T02:00:00Z and 0 on the delta list", map[string]float64{"delta_number_serial": 101, "delta_entries_count": 0}},
		{"builds on an older one", whole(nil), part(101, 90, nil), check.OK, "", nil},
		{"revoked since", whole(nil), part(101, 100, revokedNow(mine)), check.Revoked, "", map[string]float64{"delta_entries_count": 1}},
		{"no longer revoked", whole(revokedNow(mine)), part(101, 100, removed), check.OK, "", nil},
		{"still revoked", whole(revokedNow(mine)), part(101, 100, nil), check.Revoked, "", nil},
		{"same scope", whole(also(scoped(1))), part(101, 100, also(scoped(1))), check.OK, "", nil},
		{"another scope", whole(also(scoped(1))), part(101, 100, nil), check.RevocationInvalid, "of another scope", nil},
		{"builds on one that is not out here", whole(nil), part(103, 101, nil), check.RevocationStale, "builds on list number 101", nil},
		{"older than the complete one", whole(nil), part(99, 90, nil), check.RevocationStale, "before the complete one's 100", nil},
		{"a complete one in its place", whole(nil), whole(nil), check.RevocationInvalid, "the delta list: a complete list where", nil},
		{"of another authority", whole(nil), stranger.list(nil), check.RevocationInvalid, "the delta list: the signature", nil},
		{"run out", whole(nil), part(101, 100, func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Minute) }), check.RevocationStale, "the delta list: the next update was due", nil},
		{"not to be had", whole(nil), nil, check.Partial, "the complete list holds; the delta list: truncated", nil},
		{"not to be had, and revoked", whole(revokedNow(mine)), nil, check.Revoked, "", nil},
		{"not one", whole(nil), []byte("x"), check.Partial, "the delta list: protocol", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base.body, delta.body = tt.base, tt.delta
			o := check.Options{"url": base.url, "issuer": a.file(), "certificates": certPEM(t, mine), "delta_url": delta.url}
			r := checktest.NewFunc(t, crlKind(), o, check.Env{})(t.Context())
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
	// The list names it, at its own host and at another.
	both := serve2(t, func(path string) []byte {
		if path == "/delta" {
			return delta.body
		}
		return base.body
	})
	delta.body = part(101, 100, revokedNow(mine))
	for _, tt := range []struct {
		base   []byte
		reason check.Reason
		detail string
	}{
		{whole(also(freshest(both + "/delta"))), check.Revoked, ""},
		{whole(also(freshest("http://other.test/delta"))), check.Misconfigured, "at another host, http://other.test/delta: write it as delta_url"},
		{whole(nil), check.Misconfigured, "names no delta list"},
	} {
		base.body = tt.base
		o := check.Options{"url": both + "/base", "issuer": a.file(), "certificates": certPEM(t, mine), "freshest": true}
		want(t, checktest.NewFunc(t, crlKind(), o, check.Env{})(t.Context()), tt.reason, tt.detail)
	}
}

// A list that is not about a certificate says nothing of it.
func TestCRLScope(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	user, _ := a.officer(func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://ca.test/1.crl"} })
	plain, _ := a.officer(nil)
	point := func(url string) pkix.Extension {
		name := tagged(2, 0, tagged2(t, 0, marshalTag(t, 6, url)))
		return pkix.Extension{Id: []int{2, 5, 29, 28}, Critical: true, Value: marshal(t, tagged(0, 16, marshal(t, name)))}
	}
	for _, tt := range []struct {
		name   string
		ext    pkix.Extension
		of     *x509.Certificate
		reason check.Reason
		detail string
	}{
		{"users", scoped(1), user, check.OK, ""},
		{"users, of an authority", scoped(1), a.sub("Sub").cert, check.RevocationInvalid, `for users' certificates only says nothing of the authority "Sub"`},
		{"authorities, of a user", scoped(2), user, check.RevocationInvalid, "for authorities' certificates only"},
		{"its own point", point("http://ca.test/1.crl"), user, check.OK, ""},
		{"another point", point("http://ca.test/2.crl"), user, check.RevocationInvalid, "of another distribution point"},
		{"a point, of a certificate that names none", point("http://ca.test/2.crl"), plain, check.OK, ""},
		{"for none", pkix.Extension{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 6, 0x81, 1, 0xff, 0x82, 1, 0xff}}, user, check.RevocationInvalid, "which is for none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := a.list(func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{tt.ext} })
			o := check.Options{"url": serve(t, "application/pkix-crl", func([]byte) []byte { return body }), "issuer": a.file(), "certificates": certPEM(t, tt.of)}
			want(t, checktest.NewFunc(t, crlKind(), o, check.Env{})(t.Context()), tt.reason, tt.detail)
		})
	}
}

// Two time stamps never have one serial number.
func TestTSASerial(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	serial := big.NewInt(5)
	s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch(), info: func(i *wireInfo) { i.Serial = serial }}
	f := checktest.NewFunc(t, tsaKind(), check.Options{"url": serve(t, "application/timestamp-reply", s.answer), "roots": a.file()}, check.Env{})
	r := f(t.Context())
	want(t, r, check.OK, "")
	wantFacts(t, r, map[string]float64{"stamp_serial": 5})
	want(t, f(t.Context()), check.TSAInvalid, "two time stamps have the serial number 5")
	serial = big.NewInt(6)
	want(t, f(t.Context()), check.OK, "")
	serial = new(big.Int).Lsh(big.NewInt(1), maxSerialBits-1)
	want(t, f(t.Context()), check.OK, "")
	for _, bad := range []*big.Int{big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), maxSerialBits)} {
		serial = bad
		want(t, f(t.Context()), check.TSAInvalid, "serial number of the time stamp")
	}
}

// An authority that says that its time is good to a day explains no skew by that.
func TestTSAAccuracy(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch().Add(7 * time.Hour), info: func(i *wireInfo) { i.Accuracy.Seconds = 86400 }}
	r := checktest.NewFunc(t, tsaKind(), check.Options{"url": serve(t, "application/timestamp-reply", s.answer), "roots": a.file()}, check.Env{})(t.Context())
	want(t, r, check.TSASkew, "exact to 24h0m0s only")
}

// A key whose checking would take minutes is not tried.
func TestHugeKey(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	cert, key := a.stampCert(nil)
	n := new(big.Int).Lsh(big.NewInt(1), 100_000)
	n.SetBit(n, 0, 1)
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: checktest.Epoch()}, a.cert, &rsa.PublicKey{N: n, E: 1<<31 - 1}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	huge, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := stamper{t: t, cert: cert, key: key, at: checktest.Epoch(), more: []*x509.Certificate{huge}}
	r := checktest.NewFunc(t, tsaKind(), check.Options{"url": serve(t, "application/timestamp-reply", s.answer), "roots": a.file()}, check.Env{})(t.Context())
	want(t, r, check.TSAInvalid, "a key of 100001 bits, at most 8192 are checked")
	body, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{SerialNumber: cert.SerialNumber, ThisUpdate: checktest.Epoch(), Certificate: huge}, a.key)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, "application/ocsp-response", func([]byte) []byte { return body })
	r = checktest.NewFunc(t, ocspKind(), check.Options{"url": url, "certificate": certPEM(t, cert), "issuer": a.file()}, check.Env{})(t.Context())
	want(t, r, check.Protocol, "a key of 100001 bits")
}
