package mail

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// record writes the TLSA data that names a certificate.
func record(t testing.TB, usage, selector, matching int, der []byte) string {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return fmt.Sprintf("%d %d %d %s", usage, selector, matching, hex.EncodeToString(data))
}

// boundZone holds the TLSA records of a server at this address, for which DNSSEC vouches.
func boundZone(t testing.TB, address string, records ...string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	name := "_" + port + "._tcp.mail.test"
	var zone strings.Builder
	zone.WriteString(name + " AD\n")
	for _, r := range records {
		zone.WriteString(name + ". TLSA " + r + "\n")
	}
	return zone.String()
}

// Each usage, selector and way of matching is compared with what the server shows in the handshake.
func TestSMTPBound(t *testing.T) {
	root := checktest.NewAuthority(t, "mail.test")
	sub := root.Sub("Test Sub", checktest.Epoch().AddDate(5, 0, 0))
	good, other := sub.Leaf(nil, nil), sub.Leaf(nil, nil)
	old := sub.Leaf(nil, func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) })
	alien := sub.Leaf(nil, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} })
	own, above, top := good.Certificate[0], sub.Cert.Raw, root.Cert.Raw
	const noMatch = "none of its 1 TLSA records names the certificate of mail.test"
	type row struct {
		name    string
		cert    tls.Certificate // zero for good
		records []string
		edit    func(zone string) string
		script  string
		with    check.Options
		reason  check.Reason
		detail  string
		facts   map[string]float64
	}
	var tests []row
	for _, selector := range []int{0, 1} {
		for _, matching := range []int{0, 1, 2} {
			form := fmt.Sprintf(" %d %d", selector, matching)
			tests = append(tests,
				row{name: "3" + form, records: []string{record(t, 3, selector, matching, own)}, reason: check.OK, facts: map[string]float64{"tlsa_count": 1, "tlsa_match_code": 1}},
				row{name: "3" + form + " of another", records: []string{record(t, 3, selector, matching, other.Certificate[0])}, reason: check.TLSUntrusted, detail: noMatch, facts: map[string]float64{"tlsa_count": 1, "tlsa_match_code": 0}},
				row{name: "3" + form + " of its authority", records: []string{record(t, 3, selector, matching, above)}, reason: check.TLSUntrusted, detail: noMatch},
				row{name: "2" + form, records: []string{record(t, 2, selector, matching, above)}, reason: check.OK, facts: map[string]float64{"tlsa_match_code": 1}},
				row{name: "2" + form + " of itself", records: []string{record(t, 2, selector, matching, own)}, reason: check.OK},
				row{name: "2" + form + ", expired", cert: old, records: []string{record(t, 2, selector, matching, above)}, reason: check.TLSUntrusted, detail: "expired"},
				row{name: "2" + form + ", another name", cert: alien, records: []string{record(t, 2, selector, matching, above)}, reason: check.TLSUntrusted, detail: "other.test"},
				row{name: "3" + form + ", expired and of another name", cert: old, records: []string{record(t, 3, selector, matching, old.Certificate[0])}, reason: check.OK},
			)
		}
	}
	unsigned := func(zone string) string { _, rest, _ := strings.Cut(zone, "\n"); return rest }
	tests = append(tests,
		row{name: "2 0 0 of a root that is not sent", records: []string{record(t, 2, 0, 0, top)}, reason: check.OK},
		row{name: "2 0 1 of a root that is not sent", records: []string{record(t, 2, 0, 1, top)}, reason: check.TLSUntrusted, detail: noMatch},
		row{name: "one of two names it", records: []string{record(t, 3, 1, 1, other.Certificate[0]), record(t, 3, 1, 1, own)}, reason: check.OK, facts: map[string]float64{"tlsa_count": 2}},
		row{name: "usage of the web beside one of mail", records: []string{record(t, 1, 1, 1, own), record(t, 3, 1, 1, other.Certificate[0])}, reason: check.TLSUntrusted, detail: noMatch},
		row{name: "usages of the web alone", records: []string{record(t, 0, 0, 1, above), record(t, 1, 0, 1, own)}, reason: check.MailAuth, detail: "no record of usage 2 or 3"},
		row{name: "cut short", records: []string{"3 1 1 abcd"}, reason: check.MailAuth, detail: "which no server can fulfil"},
		row{name: "no record", reason: check.MailAuth, detail: "mail.test has no TLSA record"},
		row{name: "no name", edit: func(string) string { return "" }, reason: check.MailAuth, detail: "mail.test has no TLSA record"},
		row{name: "not vouched for", records: []string{record(t, 3, 1, 1, own)}, edit: unsigned, reason: check.MailAuth, detail: "does not say that DNSSEC vouches"},
		row{name: "a wrong one that is not vouched for", records: []string{record(t, 3, 1, 1, above)}, edit: unsigned, reason: check.MailAuth, detail: "does not say that DNSSEC vouches"},
		row{name: "resolver fails", edit: func(zone string) string { return strings.Replace(zone, " AD", " SERVFAIL", 1) }, reason: check.Partial, detail: "TLSA of mail.test"},
		row{name: "no record, and no STARTTLS either", script: greetSMTP + "S:250 mail.test\n" + quitSMTP, reason: check.STARTTLSMissing, detail: "STARTTLS; mail.test has no TLSA record"},
		row{name: "an authority that we do not trust, but DNS names it", records: []string{record(t, 3, 1, 1, own)}, with: check.Options{"starttls": tlsRequired, "roots": checktest.NewAuthority(t, "x").Roots()}, reason: check.TLSUntrusted, detail: "unknown authority"},
		row{name: "trusted, and DNS names another", records: []string{record(t, 3, 1, 1, other.Certificate[0])}, with: check.Options{"starttls": tlsRequired, "roots": root.Roots()}, reason: check.TLSUntrusted, detail: noMatch},
		row{name: "from the start", script: "TLS\nS:220 hi\nC:EHLO\nS:250 x\n" + quitSMTP, records: []string{record(t, 3, 1, 1, own)}, with: check.Options{"starttls": tlsImplicit, "roots": root.Roots()}, reason: check.OK, facts: map[string]float64{"tlsa_match_code": 1}},
		row{name: "from the start, another", script: "TLS\nS:220 hi\nHANG\n", records: []string{record(t, 3, 1, 1, above)}, with: check.Options{"starttls": tlsImplicit, "roots": root.Roots()}, reason: check.TLSUntrusted, detail: noMatch},
	)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert, script := tt.cert, tt.script
			if cert.Certificate == nil {
				cert = good
			}
			if script == "" {
				script = fullSMTP + quitSMTP
			}
			o := check.Options{"address": play(t, cert, script), "server_name": "mail.test", "starttls": tlsOffered, "dane": true}
			zone := boundZone(t, o.String("address"), tt.records...)
			if tt.edit != nil {
				zone = tt.edit(zone)
			}
			o["server"] = resolver(t, zone)
			maps.Copy(o, tt.with)
			r := run(t, smtpKind(), o, check.Env{})
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

// A password is not said to a server whose certificate DNS does not name.
func TestSMTPBoundBeforeLogin(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	good, other := a.Leaf(nil, nil), a.Leaf(nil, nil)
	address := play(t, good, openSMTP+"C:never said\n") // what is said next would be told
	r := run(t, smtpKind(), check.Options{"address": address, "server_name": "mail.test", "dane": true, "roots": a.Roots(), "user": userName, "password": "mailbox",
		"server": resolver(t, boundZone(t, address, record(t, 3, 1, 1, other.Certificate[0])))}, check.Env{})
	want(t, r, check.TLSUntrusted, "TLSA")
	if _, ok := r.Facts.Get("login_code"); ok {
		t.Error("a login was tried")
	}
}

func TestSMTPBoundOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"server": "127.0.0.1:53"}, `option "server": it is about TLSA records`},
		{check.Options{"anchors": []string{". DS 1 8 2 00"}}, `option "anchors": it is about TLSA records`},
		{check.Options{"dane": true, "starttls": tlsNone}, `option "dane": without TLS`},
		{check.Options{"dane": true, "address": "127.0.0.1:25"}, `option "dane": TLSA records belong to a name`},
		{check.Options{"dane": true, "anchors": []string{"nonsense"}}, `option "anchors"`},
		{check.Options{"dane": true, "anchors": []string{"other. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"}}, `none is at or above mail.test`},
		{check.Options{"dane": true, "address": strings.Repeat("a.", 122) + "test:25"}, `"name"`},
	} {
		o := check.Options{"address": "mail.test:25"}
		maps.Copy(o, tt.with)
		if _, err := smtpKind().New(checktest.WithDefaults(t, smtpKind(), o), check.Env{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	got := smtpKind().Target(check.Options{"address": "a:25", "server": "192.0.2.53:53"})
	if strings.Join(got, " ") != "a 192.0.2.53" {
		t.Errorf("targets %v", got)
	}
}
