package signature

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// listed makes a trust list of these certificates; change may spoil it.
func listed(t testing.TB, change func(map[string]any), certs ...*x509.Certificate) []byte {
	t.Helper()
	all := []any{}
	for _, c := range certs {
		all = append(all, base64.StdEncoding.EncodeToString(c.Raw))
	}
	l := map[string]any{"Version": 1, "ListIdentifier": "gca", "SequenceNumber": 41, "ThisUpdate": checktest.Epoch().Add(-time.Hour),
		"NextUpdate": checktest.Epoch().AddDate(0, 1, 0), "Cerificates": all}
	if change != nil {
		change(l)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func with(key string, value any) func(map[string]any) {
	return func(l map[string]any) { l[key] = value }
}

// message wraps a text in a CMS message that a certificate's key signed.
func message(t testing.TB, cert *x509.Certificate, key *rsa.PrivateKey, text []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(text)
	var list []byte
	for _, a := range []wireAttribute{attr(t, oidContentType(), oidData()), attr(t, oidMessageDigest(), sum[:])} {
		list = append(list, marshal(t, a)...)
	}
	signed := sha256.Sum256(marshal(t, tagged(asn1.ClassUniversal, asn1.TagSet, list)))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, 5, signed[:])
	if err != nil {
		t.Fatal(err)
	}
	rsaID := sha256ID()
	rsaID.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	sd := wireSigned{Version: 1, Content: wireContent{oidData(), text}, Certs: tagged(asn1.ClassContextSpecific, 0, cert.Raw), Signers: []wireSigner{{
		Version: 1, Digest: sha256ID(), Attrs: tagged(asn1.ClassContextSpecific, 0, list), Signature: signature, Algorithm: rsaID,
		ID: asn1.RawValue{FullBytes: marshal(t, wireIssuerSerial{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber})},
	}}}
	return marshal(t, wireMessage{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, tagged(asn1.ClassContextSpecific, 0, marshal(t, sd))})
}

func TestTrustlistReasons(t *testing.T) {
	a, b, stranger := newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch()), newAuthority(t, checktest.Epoch())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(4), NotBefore: checktest.Epoch().AddDate(0, -1, 0), NotAfter: checktest.Epoch().AddDate(1, 0, 0)},
		a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	soon, _ := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, NotAfter: checktest.Epoch().AddDate(0, 0, 20)})
	ended, _ := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, NotAfter: checktest.Epoch().Add(-time.Hour)})
	good := listed(t, nil, a.cert, b.cert)
	signed := message(t, signer, key, good)
	altered := []byte(strings.Replace(string(signed), `"gca"`, `"gcb"`, 1))
	unproven := func() bool { return false }
	roots := check.Options{"roots": certPEM(t, a.cert, b.cert)}
	at := func(d time.Duration) time.Time { return checktest.Epoch().Add(d) }
	text := func(s string) []byte { return []byte(s) }

	for _, tt := range []struct {
		name   string
		body   []byte
		with   check.Options
		proven func() bool
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "all is well", body: good, reason: check.OK, detail: "2 certificates on the list of 2026-11-23T02:00:00Z, number 41; it carries no signature", facts: map[string]float64{
			"list_number_serial": 41, "certs_count": 2, "certs_valid_count": 2, "certs_ending_count": 0, "certs_ended_count": 0, "certs_unreadable_count": 0, "signed_code": 0,
			"this_update_unix": float64(at(-time.Hour).Unix()), "first_not_after_unix": float64(a.cert.NotAfter.Unix())}},
		{name: "spelt right", body: listed(t, func(l map[string]any) { l["Certificates"] = l["Cerificates"]; delete(l, "Cerificates") }, a.cert), reason: check.OK},
		{name: "with a byte order mark", body: append([]byte("\xef\xbb\xbf"), good...), reason: check.OK},
		{name: "entries that are objects", body: listed(t, with("Cerificates", []any{map[string]any{"Name": "RootCA", "Raw": base64.StdEncoding.EncodeToString(a.cert.Raw)}})), reason: check.OK, facts: map[string]float64{"certs_count": 1}},
		{name: "entries in PEM", body: listed(t, with("Cerificates", []any{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))})), reason: check.OK, facts: map[string]float64{"certs_count": 1}},
		{name: "the roots are on it", body: good, with: roots, reason: check.OK, facts: map[string]float64{"anchors_count": 2, "anchors_missing_count": 0}},
		{name: "a root is not on it", body: listed(t, nil, a.cert), with: roots, reason: check.ContentMissing, detail: `1 of 2 roots are not on the list, the first is "Thử nghiệm Root"`, facts: map[string]float64{"anchors_missing_count": 1}},
		{name: "a signature that is not known here", body: listed(t, with("Signature", "AAAA"), a.cert), reason: check.OK, detail: "was not verified", facts: map[string]float64{"signed_code": listUnknown}},
		{name: "signed", body: signed, with: roots, reason: check.OK, detail: "its signature holds", facts: map[string]float64{"signed_code": listSigned}},
		{name: "signed, in PEM", body: pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: signed}), with: roots, reason: check.OK, detail: "its signature holds"},
		{name: "signed, and altered", body: altered, with: roots, reason: check.SignatureInvalid, detail: "the signature of the list"},
		{name: "signed by a stranger", body: signed, with: check.Options{"roots": stranger.file()}, reason: check.SignatureInvalid, detail: "unknown authority"},
		{name: "signed, without roots", body: signed, reason: check.Misconfigured, detail: "write the roots"},
		{name: "past its next update", body: listed(t, with("NextUpdate", at(-time.Minute)), a.cert), reason: check.TrustlistStale, detail: "was due 2026-11-23T02:59:00Z"},
		{name: "past its next update by an unproven clock", body: listed(t, with("NextUpdate", at(-time.Minute)), a.cert), proven: unproven, reason: check.ClockUnproven},
		{name: "older than max_age", body: good, with: check.Options{"max_age": time.Minute}, reason: check.TrustlistStale, detail: "more than 1m0s old"},
		{name: "next update near", body: good, with: check.Options{"renew_before": 40 * 24 * time.Hour}, reason: check.TrustlistStale, detail: "is not out yet"},
		{name: "times of .NET", body: listed(t, func(l map[string]any) {
			l["ThisUpdate"], l["NextUpdate"] = fmt.Sprintf("/Date(%d)/", at(-time.Hour).UnixMilli()), fmt.Sprintf("/Date(%d+0700)/", at(time.Hour).UnixMilli())
		}, a.cert), reason: check.OK, facts: map[string]float64{"next_update_unix": float64(at(time.Hour).Unix())}},
		{name: "times without zone, which may be Vietnam's", body: listed(t, func(l map[string]any) {
			l["ThisUpdate"], l["NextUpdate"] = "2026-11-23T09:30:00", "2026-11-23 03:10:00"
		}, a.cert), reason: check.OK, facts: map[string]float64{"this_update_unix": float64(at(-30 * time.Minute).Unix()), "next_update_unix": float64(at(10 * time.Minute).Unix())}},
		{name: "from the future", body: listed(t, func(l map[string]any) { l["ThisUpdate"], l["NextUpdate"] = at(time.Hour), at(2*time.Hour) }, a.cert), reason: check.Protocol, detail: "holds only from"},
		{name: "ends before it begins", body: listed(t, with("NextUpdate", at(-2*time.Hour)), a.cert), reason: check.Protocol, detail: "lies before this one"},
		{name: "without dates", body: listed(t, func(l map[string]any) { delete(l, "NextUpdate") }, a.cert), reason: check.Protocol, detail: "does not say when"},
		{name: "a certificate ends soon", body: listed(t, nil, a.cert, soon), reason: check.CertExpiring, detail: "ends 2026-12-13", facts: map[string]float64{"certs_ending_count": 1}},
		{name: "a certificate ends soon, not so soon", body: listed(t, nil, a.cert, soon), with: check.Options{"warn_days": int64(19)}, reason: check.OK},
		{name: "one has ended", body: listed(t, nil, a.cert, ended), reason: check.OK, facts: map[string]float64{"certs_valid_count": 1, "certs_ended_count": 1}},
		{name: "all have ended", body: listed(t, nil, ended), reason: check.ContentMissing, detail: "none of the 1 certificates"},
		{name: "all have ended by an unproven clock", body: listed(t, nil, ended), proven: unproven, reason: check.ClockUnproven},
		{name: "empty list", body: listed(t, nil), reason: check.ContentMissing, detail: "none of the 0"},
		{name: "an entry that is none", body: listed(t, with("Cerificates", []any{"AAAA", 7, nil, base64.StdEncoding.EncodeToString(a.cert.Raw)})), reason: check.Partial, detail: "3 of 4 entries", facts: map[string]float64{"certs_unreadable_count": 3}},
		{name: "no list", body: text(`{"Version":1}`), reason: check.Protocol, detail: "no list of certificates"},
		{name: "no JSON", body: text("xyz"), reason: check.Protocol, detail: "is not a trust list"},
		{name: "an array", body: text("[]"), reason: check.Protocol, detail: "no JSON object"},
		{name: "cut short", body: good[:len(good)-1], reason: check.Protocol},
		{name: "something after it", body: append(good[:len(good):len(good)], "{}"...), reason: check.Protocol, detail: "something after"},
		{name: "a key twice", body: text(`{"NextUpdate":"2026-12-01","nextupdate":"2036-12-01","Cerificates":[]}`), reason: check.Protocol, detail: "stands twice"},
		{name: "a number that is none", body: listed(t, with("SequenceNumber", "many"), a.cert), reason: check.Protocol, detail: "SequenceNumber"},
		{name: "a time that is none", body: listed(t, with("ThisUpdate", "soon"), a.cert), reason: check.Protocol, detail: `a time`},
		{name: "nested", body: text(`{"X":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"Cerificates":[]}`), reason: check.Protocol},
		{name: "keys without end", body: text("{" + manyKeys(100) + `"Cerificates":[]}`), reason: check.Protocol, detail: "more than 64 keys"},
		{name: "certificates without end", body: text(`{"Cerificates":[` + strings.Repeat("1,", maxListed) + "1]}"), reason: check.Protocol, detail: "more than 4096 certificates"},
		{name: "certificates that are no list", body: text(`{"Cerificates":{}}`), reason: check.Protocol, detail: "that are no list"},
		{name: "a web page", body: text("<html>"), reason: check.Protocol, detail: "a web page came"},
		{name: "a message that is none", body: []byte{0x30, 0x80}, reason: check.Protocol},
		{name: "empty", body: nil, reason: check.Truncated},
		{name: "too large", body: good, with: check.Options{"max_bytes": int64(100)}, reason: check.TooLarge},
		{name: "no such roots", body: good, with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured, detail: "roots: "},
		{name: "slow", body: good, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"url": serve(t, "application/octet-stream", func([]byte) []byte { return tt.body })}
			maps.Copy(o, tt.with)
			r := checktest.NewFunc(t, trustlistKind(), o, check.Env{ClockProven: tt.proven})(t.Context())
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":1,`, i)
	}
	return b.String()
}

// The number of a list only grows.
func TestTrustlistNumberGrows(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	number := 7
	url := serve(t, "application/json", func([]byte) []byte { return listed(t, with("SequenceNumber", number), a.cert) })
	f := checktest.NewFunc(t, trustlistKind(), check.Options{"url": url}, check.Env{})
	for _, step := range []struct {
		number int
		want   check.Reason
	}{{7, check.OK}, {9, check.OK}, {8, check.TrustlistStale}, {9, check.OK}} {
		number = step.number
		want(t, f(t.Context()), step.want, "")
	}
}

// Copies of the list lie in the folders of the people who sign on a machine.
func TestTrustlistCopies(t *testing.T) {
	a := newAuthority(t, checktest.Epoch())
	good := listed(t, func(l map[string]any) { l["ThisUpdate"] = checktest.Epoch().AddDate(0, 0, -6) }, a.cert)
	older := func(next time.Duration) []byte {
		return listed(t, func(l map[string]any) {
			l["SequenceNumber"], l["ThisUpdate"], l["NextUpdate"] = 40, checktest.Epoch().AddDate(0, -2, 0), checktest.Epoch().Add(next)
		}, a.cert)
	}
	twin := listed(t, func(l map[string]any) { l["ListIdentifier"] = "another" }, a.cert)
	newer := listed(t, with("SequenceNumber", 42), a.cert)
	unproven := func() bool { return false }
	for _, tt := range []struct {
		name   string
		copies map[string][]byte // by the name of a person
		lag    time.Duration
		proven func() bool
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "the same", copies: map[string][]byte{"lan": good, "hoa": good}, reason: check.OK, facts: map[string]float64{"copies_count": 2, "copies_stale_count": 0}},
		{name: "newer than the server's", copies: map[string][]byte{"lan": newer}, reason: check.OK},
		{name: "an older one that holds", copies: map[string][]byte{"lan": older(time.Hour)}, reason: check.OK},
		{name: "an older one that holds, for too long", copies: map[string][]byte{"lan": older(time.Hour)}, lag: 5 * 24 * time.Hour, reason: check.TrustlistStale},
		{name: "an older one, run out", copies: map[string][]byte{"lan": good, "hoa": older(-time.Hour)}, reason: check.TrustlistStale, detail: "1 of 2 copies on this machine are too old", facts: map[string]float64{"copies_stale_count": 1}},
		{name: "an older one, run out by an unproven clock", copies: map[string][]byte{"hoa": older(-time.Hour)}, proven: unproven, reason: check.OK},
		{name: "altered", copies: map[string][]byte{"lan": twin}, reason: check.ContentChanged, detail: "1 of 1 copies"},
		{name: "broken", copies: map[string][]byte{"lan": []byte("{")}, reason: check.TrustlistStale, detail: "cannot be read as a trust list"},
		{name: "too large", copies: map[string][]byte{"lan": make([]byte, maxPEM+1)}, reason: check.TrustlistStale, detail: "cannot be read"},
		{name: "none", reason: check.TrustlistStale, detail: "no copy of the list", facts: map[string]float64{"copies_count": 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.copies {
				path := filepath.Join(dir, name, "ctl", "gca.ctl")
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("EGOVMON_TEST", dir)
			o := check.Options{"url": serve(t, "application/json", func([]byte) []byte { return good }), "copies": []string{filepath.Join("%EGOVMON_TEST%", "*", "ctl", "gca.ctl")}}
			if tt.lag > 0 {
				o["copy_lag"] = tt.lag
			}
			r := checktest.NewFunc(t, trustlistKind(), o, check.Env{ClockProven: tt.proven})(t.Context())
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if contains(r.Detail, "lan") && contains(r.Detail, "hoa") || contains(r.Detail, dir) {
				t.Errorf("a path is told: %q", r.Detail)
			}
		})
	}
	if os.Getuid() != 0 { // root may read all
		dir := t.TempDir()
		path := filepath.Join(dir, "gca.ctl")
		if err := os.WriteFile(path, good, 0); err != nil {
			t.Fatal(err)
		}
		o := check.Options{"url": serve(t, "application/json", func([]byte) []byte { return good }), "copies": []string{path}}
		want(t, checktest.NewFunc(t, trustlistKind(), o, check.Env{})(t.Context()), check.NoPermission, "")
	}
}

// Whatever a server answers, reading it ends well and in what the kind declares.
func FuzzTrustlist(f *testing.F) {
	a := newAuthority(f, checktest.Epoch())
	good := listed(f, nil, a.cert)
	f.Add(good)
	f.Add(listed(f, with("Signature", "x")))
	f.Add([]byte(`{"ThisUpdate":"/Date(1+0700)/","NextUpdate":"2026-01-01","SequenceNumber":"7","Cerificates":[{"a":"AAAA"}]}`))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := parseTrustList(body)
		if err != nil {
			return
		}
		c := trustlistCheck{fetcher: fetcher{at: newClock(check.Env{Now: checktest.Epoch})}}
		var seen check.Facts
		l.facts(&seen)
		bad := c.hold(l, &seen)
		_ = c.dates(l)
		r := bad.result("")
		r.Facts, r.Phases = seen, check.Phases{{Name: "total"}}
		checktest.Declared(t, trustlistKind(), r)
	})
}

// rsaSigner makes the certificate of an authority's signer with a key of RSA.
func rsaSigner(t testing.TB, a *authority) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(4), NotBefore: checktest.Epoch().AddDate(0, -1, 0), NotAfter: checktest.Epoch().AddDate(1, 0, 0)},
		a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}
