package mail

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// dkimRecord makes a record with a key of this size.
func dkimRecord(t testing.TB, bits int, more string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(der)
	return fmt.Sprintf(`s1._domainkey.xa.test. TXT "v=DKIM1; k=rsa; %sp=%s" "%s"`+"\n", more, p[:100], p[100:])
}

func TestMailDNSKeys(t *testing.T) {
	good := goodMX + goodSPF + goodDMARC
	two, one := dkimRecord(t, 2048, ""), dkimRecord(t, 1024, "")
	pair := base64.StdEncoding.EncodeToString(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	record := func(s string) string { return `s1._domainkey.xa.test. TXT "` + s + "\"\n" }
	s1 := check.Options{"dkim": []string{"s1"}}
	for _, tt := range []struct {
		name   string
		zone   string
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "long enough", zone: two, with: s1, reason: check.OK, facts: map[string]float64{"dkim_ok_count": 1, "dkim_key_bits": 2048}},
		{name: "of the least size", zone: one, with: s1, reason: check.OK, facts: map[string]float64{"dkim_key_bits": 1024}},
		{name: "shorter than the plan's", zone: one, with: check.Options{"dkim": []string{"s1"}, "dkim_bits": int64(2048)}, reason: check.MailAuth, detail: "1024 bits, the least allowed is 2048", facts: map[string]float64{"dkim_ok_count": 0}},
		{name: "Ed25519", zone: record("v=DKIM1; k=ed25519; p=" + pair), with: s1, reason: check.OK, facts: map[string]float64{"dkim_ok_count": 1}},
		{name: "Ed25519 of another size", zone: record("v=DKIM1; k=ed25519; p=AAAA"), with: s1, reason: check.MailAuth, detail: "has 32 bytes, not 3"},
		{name: "one of two selectors", zone: two, with: check.Options{"dkim": []string{"s1", "s2"}}, reason: check.MailAuth, detail: "s2 has 0 keys", facts: map[string]float64{"dkim_ok_count": 1}},
		{name: "two keys", zone: two + record("p=AAAA"), with: s1, reason: check.MailAuth, detail: "2 keys"},
		{name: "withdrawn", zone: record("v=DKIM1; p="), with: s1, reason: check.MailAuth, detail: "withdrawn"},
		{name: "for tests", zone: dkimRecord(t, 2048, "t=s:y; "), with: s1, reason: check.MailAuth, detail: "t=y"},
		{name: "another version", zone: record("v=DKIM2; p=AAAA"), with: s1, reason: check.MailAuth, detail: "DKIM2"},
		{name: "another kind", zone: record("k=dsa; p=AAAA"), with: s1, reason: check.MailAuth, detail: "dsa is no kind"},
		{name: "no base64", zone: record("p=***"), with: s1, reason: check.MailAuth, detail: "no base64"},
		{name: "no key", zone: record("p=AAAA"), with: s1, reason: check.MailAuth, detail: "cannot be read"},
		{name: "twice the same tag", zone: record("p=AAAA; p=AAAA"), with: s1, reason: check.MailAuth, detail: "twice"},
		{name: "resolver fails for it", zone: "s1._domainkey.xa.test SERVFAIL", with: s1, reason: check.Partial, detail: "dns_servfail"},

		{name: "TLS reports", zone: `_smtp._tls.xa.test. TXT "v=TLSRPTv1; rua=mailto:tls@xa.test,https://r.test/x"`, with: check.Options{"tls_rpt": true}, reason: check.OK, facts: map[string]float64{"tls_rpt_code": 1}},
		{name: "no TLS reports", zone: "", with: check.Options{"tls_rpt": true}, reason: check.MailAuth, detail: "0 TLS-RPT", facts: map[string]float64{"tls_rpt_code": 0}},
		{name: "TLS reports that cannot be read", zone: `_smtp._tls.xa.test. TXT "v=TLSRPTv1; rua"`, with: check.Options{"tls_rpt": true}, reason: check.MailAuth, detail: "TLS-RPT: ", facts: map[string]float64{"tls_rpt_code": 1}},
		{name: "TLS reports to nowhere", zone: `_smtp._tls.xa.test. TXT "v=TLSRPTv1; rua=tls@xa.test"`, with: check.Options{"tls_rpt": true}, reason: check.MailAuth, detail: "neither mailto"},

		{name: "reverse names", zone: "1.2.0.192.in-addr.arpa. PTR mx1.xa.test.\n" + "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx2.xa.test.\n", with: check.Options{"reverse": true},
			reason: check.OK, facts: map[string]float64{"addresses_count": 2, "reverse_ok_count": 2}},
		{name: "no reverse name", zone: "1.2.0.192.in-addr.arpa. PTR mx1.xa.test.\n", with: check.Options{"reverse": true}, reason: check.MailAuth, detail: "2001:db8::2 has no name", facts: map[string]float64{"reverse_ok_count": 1}},
		{name: "a reverse name of somebody else", zone: "7.2.0.192.in-addr.arpa. PTR evil.test.\nevil.test. A 192.0.2.66\n" + "1.2.0.192.in-addr.arpa. PTR mx1.xa.test.\n" + "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx2.xa.test.\n",
			with: check.Options{"reverse": true, "senders": []string{"192.0.2.7"}}, reason: check.MailAuth, detail: "192.0.2.7, evil.test, does not lead back", facts: map[string]float64{"addresses_count": 3, "reverse_ok_count": 2}},
		{name: "reverse names not told", zone: "1.2.0.192.in-addr.arpa SERVFAIL\n2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx2.xa.test.", with: check.Options{"reverse": true}, reason: check.Partial, detail: "dns_servfail"},

		{name: "on no list", zone: "", with: check.Options{"blocklists": []string{"bl.test", "dnsbl.test."}}, reason: check.OK, facts: map[string]float64{"blocklisted_count": 0, "blocklist_silent_count": 0}},
		{name: "on a list", zone: "1.2.0.192.bl.test. A 127.0.0.2\n", with: check.Options{"blocklists": []string{"bl.test"}}, reason: check.MailAuth, detail: "192.0.2.1 is on the block list bl.test", facts: map[string]float64{"blocklisted_count": 1}},
		{name: "IPv6 on a list", zone: "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test. A 127.0.0.4\n", with: check.Options{"blocklists": []string{"bl.test"}}, reason: check.MailAuth, detail: "2001:db8::2 is on"},
		{name: "a sender on a list", zone: "9.2.0.192.bl.test. A 127.0.0.2\n", with: check.Options{"blocklists": []string{"bl.test"}, "senders": []string{"192.0.2.9"}}, reason: check.MailAuth, detail: "192.0.2.9"},
		{name: "a list that serves us not", zone: "1.2.0.192.bl.test. A 127.255.255.254\n", with: check.Options{"blocklists": []string{"bl.test"}}, reason: check.Partial, detail: "does not answer us", facts: map[string]float64{"blocklist_silent_count": 1, "blocklisted_count": 0}},
		{name: "a list that is gone", zone: "1.2.0.192.bl.test. A 192.0.2.200\n", with: check.Options{"blocklists": []string{"bl.test"}}, reason: check.Partial, detail: "does not answer us"},
		{name: "a list that fails, another that lists", zone: "1.2.0.192.a.test SERVFAIL\n1.2.0.192.b.test. A 127.0.0.2\n", with: check.Options{"blocklists": []string{"a.test", "b.test"}}, reason: check.MailAuth, detail: "b.test", facts: map[string]float64{"blocklist_silent_count": 1, "blocklisted_count": 1}},

		{name: "DANE", zone: tlsa("mx1", "3 1 1 "+strings.Repeat("ab", 32)) + tlsa("mx2", "2 0 2 "+strings.Repeat("ab", 64)), with: check.Options{"dane": true}, reason: check.OK, facts: map[string]float64{"dane_ok_count": 2}},
		{name: "DANE at one server", zone: tlsa("mx1", "3 1 1 "+strings.Repeat("ab", 32)), with: check.Options{"dane": true}, reason: check.MailAuth, detail: "mx2.xa.test has no TLSA", facts: map[string]float64{"dane_ok_count": 1}},
		{name: "DANE without DNSSEC", zone: strings.ReplaceAll(tlsa("mx1", "3 1 1 "+strings.Repeat("ab", 32)), "_25._tcp.mx1.xa.test AD\n", ""), with: check.Options{"dane": true}, reason: check.MailAuth, detail: "vouches"},
		{name: "DANE of the web", zone: tlsa("mx1", "1 1 1 "+strings.Repeat("ab", 32)), with: check.Options{"dane": true}, reason: check.MailAuth, detail: "usage 2 or 3"},
		{name: "DANE cut short", zone: tlsa("mx1", "3 1 1 abcd"), with: check.Options{"dane": true}, reason: check.MailAuth, detail: "which no server can fulfil"},
		{name: "DANE, resolver fails", zone: "_25._tcp.mx1.xa.test SERVFAIL\n" + tlsa("mx2", "3 1 1 "+strings.Repeat("ab", 32)), with: check.Options{"dane": true}, reason: check.Partial, detail: "dns_servfail"},

		{name: "down wins", zone: "", with: check.Options{"name": "gone.test", "dkim": []string{"s1"}, "tls_rpt": true}, reason: check.DNSNXDomain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := check.Options{"name": "xa.test", "server": resolver(t, good+tt.zone)}
			maps.Copy(o, tt.with)
			r := run(t, maildnsKind(), o, check.Env{})
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

// tlsa is a record of one server, for which DNSSEC vouches.
func tlsa(host, data string) string {
	name := "_25._tcp." + host + ".xa.test"
	return name + ". TLSA " + data + "\n" + name + " AD\n"
}

func TestMailDNSPolicy(t *testing.T) {
	a, other := checktest.NewAuthority(t, "mta-sts.xa.test"), checktest.NewAuthority(t, "mta-sts.xa.test")
	cert := a.Leaf(nil, nil)
	policy := func(lines string) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + strings.ReplaceAll(lines, "|", "\r\n")
	}
	const good = "version: STSv1|mode: enforce|mx: mx1.xa.test|mx: *.xa.test|max_age: 604800|"
	record := `_mta-sts.xa.test. TXT "v=STSv1; id=20261123"` + "\n"
	for _, tt := range []struct {
		name   string
		zone   string
		answer string
		most   uint16 // version of TLS
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "enforced", answer: policy(good), reason: check.OK, facts: map[string]float64{"mta_sts_code": 2, "mta_sts_max_age_s": 604800}},
		{name: "with bare line ends", answer: policy(strings.ReplaceAll(good, "|", "\n")), reason: check.OK},
		{name: "weaker than the plan's", answer: policy(strings.Replace(good, "enforce", "testing", 1)), reason: check.MailAuth, detail: "is testing, the plan asks for at least enforce", facts: map[string]float64{"mta_sts_code": 1}},
		{name: "strong enough", answer: policy(strings.Replace(good, "enforce", "testing", 1)), with: check.Options{"mta_sts": "testing"}, reason: check.OK},
		{name: "turned off", answer: policy("version: STSv1|mode: none|max_age: 60"), with: check.Options{"mta_sts": "none"}, reason: check.OK, facts: map[string]float64{"mta_sts_code": 0}},
		{name: "a server left out", answer: policy("version: STSv1|mode: enforce|mx: mx1.xa.test|mx: *.mx2.xa.test|max_age: 60"), reason: check.MailAuth, detail: "leaves out mx2.xa.test"},
		{name: "no record", zone: "-", answer: policy(good), reason: check.MailAuth, detail: "0 MTA-STS records"},
		{name: "two records", zone: record + strings.Replace(record, "2026", "2027", 1), answer: policy(good), reason: check.MailAuth, detail: "2 MTA-STS records"},
		{name: "a record without an id", zone: `_mta-sts.xa.test. TXT "v=STSv1;"`, answer: policy(good), reason: check.MailAuth, detail: "no id"},
		{name: "no version", answer: policy("mode: enforce|mx: *.xa.test|max_age: 60"), reason: check.MailAuth, detail: "version"},
		{name: "another version", answer: policy(strings.Replace(good, "STSv1", "STSv2", 1)), reason: check.MailAuth, detail: "STSv2"},
		{name: "another mode", answer: policy(strings.Replace(good, "enforce", "strict", 1)), reason: check.MailAuth, detail: `"strict" is no mode`},
		{name: "for longer than a year", answer: policy(strings.Replace(good, "604800", "99999999", 1)), reason: check.MailAuth, detail: "max_age"},
		{name: "no servers", answer: policy("version: STSv1|mode: enforce|max_age: 60"), reason: check.MailAuth, detail: "no mx"},
		{name: "no policy", answer: policy("<html>"), reason: check.MailAuth, detail: "no line of a policy"},
		{name: "not found", answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", reason: check.Partial, detail: "answers 404"},
		{name: "elsewhere", answer: "HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\nContent-Length: 0\r\n\r\n", reason: check.Partial, detail: "answers 301"},
		{name: "a page", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", reason: check.Partial, detail: "text/html, not text/plain"},
		{name: "no HTTP", answer: "220 hi\r\n", reason: check.Partial, detail: "no HTTP"},
		{name: "hangs up", answer: "", reason: check.Partial},
		{name: "cut off", answer: "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\nversion", reason: check.Partial, detail: "cut off"},
		{name: "endless", answer: "flood", reason: check.Partial, detail: "more than 65536 bytes"},
		{name: "endless header", answer: "header", reason: check.Partial, detail: "too long"},
		{name: "silent", answer: "silent", reason: check.Partial, detail: "no HTTP"},
		{name: "untrusted", answer: policy(good), with: check.Options{"roots": other.Roots()}, reason: check.Partial, detail: "certificate"},
		{name: "another name", answer: policy(good), with: check.Options{"server_name": "x.test"}, reason: check.Partial, detail: "x.test"},
		{name: "another issuer", answer: policy(good), with: check.Options{"issuer": "Somebody Else"}, reason: check.Partial, detail: "not by the issuer"},
		{name: "an authority that was withdrawn", answer: policy(good), with: check.Options{"distrusted": []string{fingerprint(a.Cert.Raw)}}, reason: check.Partial, detail: "certificate"},
		{name: "no IPv6 address", answer: policy(good), with: check.Options{"family": "ip6"}, reason: check.Partial, detail: "cannot be fetched"},
		{name: "TLS that the plan does not allow", answer: policy(good), most: tls.VersionTLS12, with: check.Options{"min_version": "1.3"}, reason: check.WeakTLS, detail: "policy of MTA-STS: "},
		{name: "TLS that is allowed", answer: policy(good), most: tls.VersionTLS12, reason: check.OK},
		{name: "a certificate that ends", answer: policy(good), with: check.Options{"warn_days": int64(3650)}, reason: check.CertExpiring, detail: "policy of MTA-STS: "},
		{name: "closed", answer: policy(good), with: check.Options{"mta_sts_address": checktest.ClosedPort(t)}, reason: check.Partial, detail: "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address := checktest.Serve(t, func(conn net.Conn) { serveSTS(conn, cert, tt.most, tt.answer) })
			zone := record
			if tt.zone != "" {
				zone = strings.TrimPrefix(tt.zone, "-")
			}
			o := check.Options{"name": "xa.test", "server": resolver(t, goodMX+goodSPF+goodDMARC+zone), "mta_sts": "enforce", "mta_sts_address": address, "roots": a.Roots()}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.answer == "silent" {
				limit = time.Second
			}
			begin := time.Now()
			r := runFor(t, maildnsKind(), o, check.Env{}, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if took := time.Since(begin); took > limit+10*time.Second {
				t.Errorf("took %s of %s", took, limit)
			}
		})
	}
}

func serveSTS(raw net.Conn, cert tls.Certificate, most uint16, answer string) {
	conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: most})
	if conn.Handshake() != nil {
		return
	}
	request := make([]byte, 512)
	n, _ := conn.Read(request)
	if !strings.HasPrefix(string(request[:n]), "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.xa.test\r\n") {
		return
	}
	switch answer {
	case "flood":
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
		for line := strings.Repeat("mx: a.test\r\n", 1000); ; {
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	case "header":
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for line := "X: " + strings.Repeat("x", 5000) + "\r\n"; ; {
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	case "silent":
		_, _ = io.Copy(io.Discard, conn)
	}
	_, _ = io.WriteString(conn, answer)
	_ = conn.Close()
}

func TestMailDNSMoreOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"dkim": []string{"a b"}}, `option "dkim": "a b" is no selector`},
		{check.Options{"senders": []string{"mx.test"}}, `option "senders": "mx.test" is no IP address`},
		{check.Options{"blocklists": []string{"list"}}, `option "blocklists": "list" is no zone`},
		{check.Options{"distrusted": []string{"x"}}, `option "distrusted"`},
	} {
		o := check.Options{"name": "xa.test"}
		maps.Copy(o, tt.with)
		if _, err := maildnsKind().New(checktest.WithDefaults(t, maildnsKind(), o), check.Env{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %s", tt.with, err, tt.want)
		}
	}
	hosts := maildnsKind().Target(checktest.WithDefaults(t, maildnsKind(), check.Options{"name": "xa.test", "mta_sts": "enforce"}))
	if len(hosts) != 1 || hosts[0] != "mta-sts.xa.test" {
		t.Errorf("it reaches %v", hosts)
	}
}

func FuzzDKIM(f *testing.F) {
	for _, s := range []string{"v=DKIM1; k=rsa; p=AAAA", "p=", "k=ed25519;p=" + strings.Repeat("A", 43) + "=", ";;=;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := parseDKIM(s); err == nil && (k.bits <= 0 || k.kind == "") {
			t.Errorf("%q: %+v", s, k)
		}
	})
}

func FuzzSTS(f *testing.F) {
	for _, s := range []string{"version: STSv1\r\nmode: enforce\r\nmx: *.xa.test\r\nmax_age: 1\r\n", "mode: none\nversion: STSv1\nmax_age: 31557600", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parseSTS(s); err == nil && (stsStrength(p.mode) < 0 || p.age < 0 || p.age > maxSTSAge || len(p.mx) > 100) {
			t.Errorf("%q: %+v", s, p)
		}
		_, _ = readPolicy(strings.NewReader(s))
	})
}
