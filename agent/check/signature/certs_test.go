package signature

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/token/talk"
)

// person makes the certificate of somebody of a unit that ends in so many days.
func (a *authority) person(name, unit string, days int) *x509.Certificate {
	c, _ := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{unit}}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: a.at.AddDate(-3, 0, 0), NotAfter: a.at.Add(time.Duration(days)*24*time.Hour + time.Hour)})
	return c
}

// folder writes certificates into a folder, each into a file of its own.
func folder(t testing.TB, certs ...*x509.Certificate) string {
	t.Helper()
	dir := t.TempDir()
	for i, c := range certs {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.cer", i)), c.Raw)
	}
	return dir
}

func put(t testing.TB, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runCerts runs the kind once, with what the machine has.
func runCerts(t testing.TB, o check.Options, env check.Env, change func(*certsCheck)) check.Result {
	t.Helper()
	c, err := newCertsCheck(checktest.WithDefaults(t, certsKind(), o), checktest.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	r := c.run(t.Context())
	checktest.Declared(t, certsKind(), r)
	for _, name := range []string{"Nguyễn", "Trần", "An Thanh", "5401"} {
		if contains(r.Detail, name) {
			t.Errorf("a person or unit is named: %q", r.Detail)
		}
	}
	return r
}

func TestCertsCounts(t *testing.T) {
	const unit = "UBND xã An Thanh"
	a, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	sub := a.sub("Sub")
	lan, hoa, binh := a.person("Nguyễn Thị Lan", unit, 400), a.person("Nguyễn Hoa", unit, 90), a.person("Trần Bình", unit, 70)
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(9), NotBefore: a.at.AddDate(-1, 0, 0), NotAfter: a.at.AddDate(1, 0, 0)}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	privateKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	spoilt := folder(t, lan)
	put(t, filepath.Join(spoilt, "x.pem"), []byte("xin chào"))
	put(t, filepath.Join(spoilt, "read.me"), []byte("not looked at"))
	withKey := folder(t, lan)
	put(t, filepath.Join(withKey, "key.pem"), privateKey)
	keyAlone := t.TempDir()
	put(t, filepath.Join(keyAlone, "key.pem"), privateKey)
	below := sub.person("Nguyễn Văn C", unit, 400)
	unproven := func() bool { return false }
	facts := func(all, ended, d15, d30, d60, later float64) map[string]float64 {
		return map[string]float64{"certs_count": all, "certs_ended_count": ended, "certs_15d_count": d15, "certs_30d_count": d30, "certs_60d_count": d60, "certs_later_count": later}
	}
	files := func(certs ...*x509.Certificate) check.Options {
		return check.Options{"files": []string{folder(t, certs...)}}
	}
	also := func(o check.Options, kv ...any) check.Options {
		for i := 0; i < len(kv); i += 2 {
			o[kv[i].(string)] = kv[i+1]
		}
		return o
	}
	for _, tt := range []struct {
		name   string
		with   check.Options
		proven func() bool
		change func(*certsCheck)
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "all is well", with: files(lan, hoa, binh), reason: check.OK, detail: "3 certificates, the first ends 2027-02-01", facts: facts(3, 0, 0, 0, 0, 3)},
		{name: "each class", with: files(lan, a.person("A", unit, -1), a.person("B", unit, 3), a.person("C", unit, 20), a.person("D", unit, 45)), reason: check.SignatureExpiring,
			detail: "of 5 certificates 1 have ended and 2 end within 30 days", facts: facts(5, 1, 1, 1, 1, 1)},
		{name: "warned of later", with: also(files(a.person("C", unit, 20)), "warn_days", int64(15)), reason: check.OK, facts: facts(1, 0, 0, 1, 0, 0)},
		{name: "warned of earlier", with: also(files(binh), "warn_days", int64(90)), reason: check.SignatureExpiring, facts: facts(1, 0, 0, 0, 0, 1)},
		{name: "renewed already", with: files(a.person("Nguyễn Thị Lan", unit, 3), a.person("Nguyễn Thị Lan", unit, -30), lan), reason: check.OK, facts: map[string]float64{"renewed_count": 2, "certs_15d_count": 1}},
		{name: "renewed by one that ends soon", with: files(a.person("Nguyễn Thị Lan", unit, -3), a.person("Nguyễn Thị Lan", unit, 3)), reason: check.SignatureExpiring, detail: "1 have ended and 1 end"},
		{name: "ends by an unproven clock", with: files(a.person("B", unit, 3)), proven: unproven, reason: check.ClockUnproven},
		{name: "twice", with: files(lan, lan, hoa), reason: check.OK, facts: map[string]float64{"certs_count": 2, "duplicates_count": 1}},
		{name: "authorities are not counted", with: files(lan, a.cert, sub.cert), reason: check.OK, facts: map[string]float64{"certs_count": 1}},
		{name: "one file of many", with: check.Options{"files": []string{certPEM(t, lan, hoa, binh)}}, reason: check.OK, facts: map[string]float64{"certs_count": 3}},
		{name: "the unit of today", with: also(files(lan, hoa), "units", []string{"Đảng ủy xã An Thanh", "ubnd xã an thanh"}), reason: check.OK, facts: map[string]float64{"other_unit_count": 0}},
		{name: "a unit of before the merger", with: also(files(lan, a.person("A", "UBND huyện Tứ Kỳ", 400)), "units", []string{unit}), reason: check.Partial, detail: "1 of 2 certificates name another unit than today's",
			facts: map[string]float64{"other_unit_count": 1}},
		{name: "under the roots", with: also(files(lan, hoa), "roots", a.file()), reason: check.OK, facts: map[string]float64{"untrusted_count": 0}},
		{name: "under the roots over an authority in a file", with: also(files(below, sub.cert), "roots", a.file()), reason: check.OK},
		{name: "under the roots over an authority of the plan", with: also(files(below), "roots", a.file(), "intermediates", sub.file()), reason: check.OK},
		{name: "under the roots over an authority that is missing", with: also(files(below, lan), "roots", a.file()), reason: check.SignatureInvalid, detail: "1 of 2 certificates in force lead to none", facts: map[string]float64{"untrusted_count": 1}},
		{name: "under other roots", with: also(files(lan), "roots", stranger.file()), reason: check.SignatureInvalid, detail: "1 of 1"},
		{name: "a small key", with: check.Options{"files": []string{put(t, filepath.Join(t.TempDir(), "small.cer"), raw)}}, reason: check.WeakTLS, detail: "1 of 1", facts: map[string]float64{"small_keys_count": 1}},
		{name: "a file that is none", with: check.Options{"files": []string{spoilt}}, reason: check.Partial, detail: "1 files cannot be read", facts: map[string]float64{"bad_files_count": 1}},
		{name: "a private key", with: check.Options{"files": []string{withKey}}, reason: check.Partial, detail: "1 files hold a private key", facts: map[string]float64{"private_keys_count": 1}},
		{name: "a private key alone", with: check.Options{"files": []string{keyAlone}}, reason: check.Misconfigured, detail: "1 hold a private key"},
		{name: "an empty folder", with: check.Options{"files": []string{t.TempDir()}}, reason: check.NotConfigured, facts: map[string]float64{"certs_count": 0}},
		{name: "no such file", with: check.Options{"files": []string{"/no/such"}}, reason: check.Misconfigured, detail: "/no/such"},
		{name: "no such roots", with: also(files(lan), "roots", "/no/such.pem"), reason: check.Misconfigured, detail: "roots: "},
		{name: "no such intermediates", with: also(files(lan), "intermediates", "/no/such.pem"), reason: check.Misconfigured, detail: "intermediates: "},
		{name: "slow", with: also(files(lan), "slow", time.Nanosecond), reason: check.Slow},
		{name: "a store of Windows", with: check.Options{"stores": []string{"user"}}, change: func(c *certsCheck) {
			c.store = func(name string) ([]*x509.Certificate, error) { return []*x509.Certificate{lan}, nil }
		}, reason: check.OK, facts: map[string]float64{"certs_count": 1}},
		{name: "a store where there is none", with: check.Options{"stores": []string{"user"}}, change: func(c *certsCheck) {
			c.store = func(string) ([]*x509.Certificate, error) { return nil, errors.ErrUnsupported }
		}, reason: check.NotSupported, detail: "only Windows"},
		{name: "a store where there is none, and files", with: also(files(lan), "stores", []string{"user"}), change: func(c *certsCheck) {
			c.store = func(string) ([]*x509.Certificate, error) { return nil, errors.ErrUnsupported }
		}, reason: check.NotSupported, facts: map[string]float64{"certs_count": 1}},
		{name: "a store that is locked", with: check.Options{"stores": []string{"machine"}}, change: func(c *certsCheck) {
			c.store = func(string) ([]*x509.Certificate, error) { return nil, fs.ErrPermission }
		}, reason: check.NoPermission},
		{name: "tokens, without the helper program", with: check.Options{"modules": []string{"/no/such.so"}}, change: func(c *certsCheck) {
			c.find = func() (string, error) { return "", talk.ErrAbsent }
		}, reason: check.NotSupported, detail: "does not stand beside the agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runCerts(t, tt.with, check.Env{ClockProven: tt.proven}, tt.change)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
	if os.Getuid() != 0 { // root may read all
		dir := folder(t, lan, hoa)
		if err := os.Chmod(filepath.Join(dir, "1.cer"), 0); err != nil {
			t.Fatal(err)
		}
		want(t, runCerts(t, check.Options{"files": []string{dir}}, check.Env{}, nil), check.NoPermission, "")
	}
}

// What tokens show, as the helper program tells it.
func TestCertsShown(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	one := talk.Token{Certificates: []talk.Certificate{{DER: a.person("A", "B", 400).Raw}, {DER: []byte{0x30}}}}
	for _, tt := range []struct {
		name    string
		modules []talk.Module
		n       int
		reason  check.Reason
	}{
		{"a certificate", []talk.Module{{Tokens: []talk.Token{one}}}, 1, ""},
		{"a module that fails beside", []talk.Module{{Error: "x"}, {Tokens: []talk.Token{one, one}}}, 2, ""},
		{"a module that fails", []talk.Module{{Error: "x"}, {}}, 0, check.NotSupported},
		{"no token", []talk.Module{{}, {}}, 0, check.TokenAbsent},
		{"no certificate", []talk.Module{{Tokens: []talk.Token{{}}}}, 0, check.NotConfigured},
		{"one that is none", []talk.Module{{Tokens: []talk.Token{{Certificates: one.Certificates[1:]}}}}, 0, check.NotConfigured},
	} {
		certs, bad := shown(tt.modules)
		if len(certs) != tt.n || (bad == nil) != (tt.reason == "") || bad != nil && bad.reason != tt.reason {
			t.Errorf("%s: %d certificates, %+v", tt.name, len(certs), bad)
		}
	}
}

func TestCertsTooMany(t *testing.T) {
	dir := t.TempDir()
	for i := range maxCertFiles + 1 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.pem", i)), nil)
	}
	want(t, runCerts(t, check.Options{"files": []string{dir}}, check.Env{}, nil), check.Misconfigured, "1001 files of certificates, at most 1000")
	a := newAuthority(t, checktest.Epoch())
	c := a.person("A", "B", 400)
	many := make([]*x509.Certificate, maxUserCerts+1)
	for i := range many {
		x := *c
		x.Raw = fmt.Appendf(nil, "%d", i)
		many[i] = &x
	}
	var f found
	if f.sort(many); len(f.certs) != maxUserCerts || f.bad != 1 {
		t.Errorf("%d certificates, %d left out", len(f.certs), f.bad)
	}
}

// Certificates are asked about where they say, at hosts of the plan alone, a few at a time, and not again too soon.
func TestCertsRevocation(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	status := map[string]int{} // of certificates, by serial
	var asked, listed int
	broken := false
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ocsp", func(w http.ResponseWriter, r *http.Request) {
		asked++
		body := make([]byte, 4096)
		n, _ := r.Body.Read(body)
		q, err := ocsp.ParseRequest(body[:n])
		if err != nil || broken {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{Status: status[q.SerialNumber.String()], SerialNumber: q.SerialNumber, ThisUpdate: checktest.Epoch().Add(-time.Hour),
			NextUpdate: checktest.Epoch().AddDate(0, 1, 0), RevokedAt: checktest.Epoch()}, a.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	})
	var body []byte
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, r *http.Request) { listed++; _, _ = w.Write(body) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	made := 0
	officer := func(ocspURL, list string) *x509.Certificate {
		made++
		c, _ := a.officer(func(c *x509.Certificate) {
			c.Subject.CommonName = fmt.Sprintf("Nguyễn %d", made)
			if ocspURL != "" {
				c.OCSPServer = []string{ocspURL}
			}
			if list != "" {
				c.CRLDistributionPoints = []string{list}
			}
		})
		return c
	}
	byOCSP, byList, byBoth, byNone := officer(s.URL+"/ocsp", ""), officer("", s.URL+"/list"), officer(s.URL+"/ocsp", s.URL+"/list"), officer("", "")
	elsewhere := officer("http://127.0.0.2:1/ocsp", "http://127.0.0.2:1/list")
	list := func(certs ...*x509.Certificate) []byte {
		return a.list(func(l *x509.RevocationList) {
			l.NextUpdate = checktest.Epoch().AddDate(0, 1, 0)
			for _, c := range certs {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: checktest.Epoch()})
			}
		})
	}
	body = list()
	now := checktest.Epoch()
	more := check.Options{}
	newCheck := func(asks int, certs ...*x509.Certificate) func() check.Result {
		o := check.Options{"files": []string{folder(t, certs...)}, "roots": a.file(), "hosts": []string{host}, "asks": int64(asks)}
		maps.Copy(o, more)
		c, err := newCertsCheck(checktest.WithDefaults(t, certsKind(), o), checktest.WithEnv(check.Env{Now: func() time.Time { return now }}))
		if err != nil {
			t.Fatal(err)
		}
		return func() check.Result {
			r := c.run(t.Context())
			checktest.Declared(t, certsKind(), r)
			return r
		}
	}
	state := func(good, revoked, unasked, requests float64) map[string]float64 {
		return map[string]float64{"good_count": good, "revoked_count": revoked, "unasked_count": unasked, "requests_count": requests}
	}
	// One list serves all that name it, and what is known is not asked again before its time.
	run := newCheck(10, byOCSP, byList, byBoth, officer("", s.URL+"/list"))
	r := run()
	want(t, r, check.OK, "")
	wantFacts(t, r, state(4, 0, 0, 3))
	r = run()
	want(t, r, check.OK, "")
	wantFacts(t, r, state(4, 0, 0, 0))
	now = now.Add(25 * time.Hour)
	status[byOCSP.SerialNumber.String()] = ocsp.Revoked
	r = run()
	want(t, r, check.Revoked, "1 of 4 certificates were revoked")
	wantFacts(t, r, state(3, 1, 0, 3))
	wantFacts(t, run(), state(3, 1, 0, 0))

	// What is known holds as long as the plan says, and no longer.
	more, now = check.Options{"recheck": 2 * time.Hour}, checktest.Epoch()
	run = newCheck(10, byBoth)
	for _, at := range []struct {
		later    time.Duration
		requests float64
	}{{0, 1}, {119 * time.Minute, 0}, {121 * time.Minute, 1}, {4 * time.Hour, 0}, {5 * time.Hour, 1}} {
		now = checktest.Epoch().Add(at.later)
		wantFacts(t, run(), state(1, 0, 0, at.requests))
	}
	more = check.Options{}

	// A few at a time.
	now = checktest.Epoch()
	run = newCheck(1, byList, byBoth, officer(s.URL+"/ocsp", ""))
	for i, want := range []map[string]float64{state(1, 0, 2, 1), state(2, 0, 1, 1), state(3, 0, 0, 1), state(3, 0, 0, 0)} {
		r := run()
		if r.Reason != check.OK {
			t.Errorf("run %d: %s %q", i, r.Reason, r.Detail)
		}
		wantFacts(t, r, want)
	}
	// On the list; the responder silent, so that the list is asked; nobody to ask; another host is never asked.
	body = list(byList)
	want(t, newCheck(10, byList)(), check.Revoked, "")
	broken = true
	asked, listed = 0, 0
	r = newCheck(10, byBoth)()
	want(t, r, check.OK, "")
	if asked != 1 || listed != 1 {
		t.Errorf("asked %d, lists %d", asked, listed)
	}
	run = newCheck(10, officer(s.URL+"/ocsp", ""))
	for range 2 { // what could not be learnt is not forgotten while it is not asked again
		want(t, run(), check.Partial, "whether 1 certificates were revoked could not be learnt: http_status")
	}
	if asked != 2 {
		t.Errorf("a responder that does not answer was asked %d times", asked-1)
	}
	now = now.Add(61 * time.Minute)
	broken = false
	want(t, run(), check.OK, "")
	now = checktest.Epoch()
	r = newCheck(10, byNone)()
	want(t, r, check.Partial, "misconfigured")
	r = newCheck(10, elsewhere)()
	want(t, r, check.Partial, "misconfigured")
	wantFacts(t, r, state(0, 0, 1, 0))
	// Who keeps certificates elsewhere asks in the same way, a few at a time; what has ended and what leads nowhere is not asked.
	body, broken = list(byList), true
	ended, _ := a.officer(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	strange, _ := newAuthority(t, checktest.Epoch()).officer(func(c *x509.Certificate) { c.OCSPServer = []string{s.URL + "/ocsp"} })
	unsaid := officer(s.URL+"/ocsp", "")
	q, err := NewInquiry(InquiryConfig{Roots: a.file(), Hosts: []string{host}, Asks: 1, Recheck: 24 * time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	all := []*x509.Certificate{byList, ended, strange, unsaid, officer("", s.URL+"/list"), a.cert}
	asked, listed = 0, 0
	var got map[[sha256.Size]byte]Standing
	for range 3 {
		if got, err = q.Ask(t.Context(), all, nil); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 || listed != 2 || len(got) != 4 {
		t.Errorf("asked %d, lists %d, standings of %d", asked, listed, len(got))
	}
	for i, want := range map[int]Standing{0: Revoked, 1: Unasked, 2: Stray, 3: Unasked, 4: Good, 5: Unasked} {
		if s := got[sha256.Sum256(all[i].Raw)]; s != want {
			t.Errorf("certificate %d: standing %d, want %d", i, s, want)
		}
	}
	broken = false
	for name, cfg := range map[string]InquiryConfig{"hosts": {Roots: a.file()}, "roots": {Hosts: []string{host}}, "is no host": {Roots: a.file(), Hosts: []string{"http://x"}}} {
		if _, err := NewInquiry(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A list that is due again.
	body = a.list(func(l *x509.RevocationList) { l.NextUpdate = checktest.Epoch().Add(-time.Hour) })
	want(t, newCheck(10, officer("", s.URL+"/list"))(), check.RevocationStale, "past its next update")
}

func TestCertsOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{}, `option "files": nothing to look after`},
		{check.Options{"files": []string{"/x"}, "hosts": []string{"http://ocsp.test"}, "roots": "/r.pem"}, `option "hosts": "http://ocsp.test" is no host`},
		{check.Options{"files": []string{"/x"}, "hosts": []string{"ocsp.test"}}, `option "hosts": answers about revocation are verified from roots`},
		{check.Options{"files": []string{"/x"}, "password": "p12"}, `option "password": this machine keeps no secrets`},
		{check.Options{"files": []string{"/x"}, "user_agent": "\x7f"}, `option "user_agent"`},
	} {
		_, err := certsKind().New(checktest.WithDefaults(t, certsKind(), tt.with), check.Env{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
}
