package mail

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// resolver starts a resolver on loopback, by UDP and TCP, that knows these records, one a line as a zone file has them.
// A line `name SERVFAIL` or `name SILENT` makes it fail for a name, `name AD` says that DNSSEC vouches for it; other names do not exist.
func resolver(t testing.TB, zone string) string {
	t.Helper()
	return resolverAt(t, "127.0.0.1:0", zone)
}

// resolverAt starts it at an address.
func resolverAt(t testing.TB, address, zone string) string {
	t.Helper()
	records, fails := map[string][]mdns.RR{}, map[string]string{}
	for line := range strings.Lines(zone) {
		line = strings.TrimSpace(line)
		if name, how, ok := strings.Cut(line, " "); ok && (how == "SERVFAIL" || how == "SILENT" || how == "REFUSED" || how == "AD") {
			fails[mdns.Fqdn(name)] = how
			continue
		}
		rr, err := mdns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		if rr != nil {
			records[rr.Header().Name] = append(records[rr.Header().Name], rr)
		}
	}
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		name := q.Question[0].Name
		switch fails[name] {
		case "SILENT":
			return
		case "SERVFAIL":
			m.Rcode = mdns.RcodeServerFailure
		case "REFUSED":
			m.Rcode = mdns.RcodeRefused
		}
		m.AuthenticatedData = fails[name] == "AD"
		if _, ok := records[name]; !ok && fails[name] == "" {
			m.Rcode = mdns.RcodeNameError
		}
		for range 8 {
			next := ""
			for _, rr := range records[name] {
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				} else if sig, ok := rr.(*mdns.RRSIG); ok && sig.TypeCovered == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				} else if c, ok := rr.(*mdns.CNAME); ok {
					m.Answer = append(m.Answer, rr)
					next = c.Target
				}
			}
			if next == "" {
				break
			}
			name = next
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(1232)
		}
		_ = w.WriteMsg(m)
	})
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*mdns.Server{{Listener: l, Handler: handler}, {PacketConn: u, Handler: handler}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return l.Addr().String()
}

const (
	goodMX    = "xa.test. MX 10 mx1.xa.test.\nxa.test. MX 20 mx2.xa.test.\nmx1.xa.test. A 192.0.2.1\nmx2.xa.test. AAAA 2001:db8::2\n"
	goodSPF   = `xa.test. TXT "v=spf1 mx ip4:192.0.2.0/24 -all"` + "\n" + `xa.test. TXT "google-site-verification=x"` + "\n"
	goodDMARC = `_dmarc.xa.test. TXT "v=DMARC1; p=reject; rua=mailto:a@xa.test"` + "\n"
)

func TestMailDNSReasons(t *testing.T) {
	spf := func(record string) string { return goodMX + goodDMARC + `xa.test. TXT "` + record + "\"\n" }
	dmarc := func(record string) string { return goodMX + goodSPF + `_dmarc.xa.test. TXT "` + record + "\"\n" }
	chain := func(n int) string { // records that take in one another, n times
		var s strings.Builder
		s.WriteString(spf("v=spf1 include:s1.test -all"))
		for i := range n {
			s.WriteString(fmt.Sprintf("s%d.test. TXT \"v=spf1 include:s%d.test -all\"\n", i+1, i+2))
		}
		return s.String() + fmt.Sprintf("s%d.test. TXT \"v=spf1 ip4:192.0.2.1 -all\"\n", n+1)
	}
	var long strings.Builder
	for i := range 40 {
		long.WriteString(fmt.Sprintf(`xa.test. TXT "site-verification-%02d=%s"`+"\n", i, strings.Repeat("x", 60)))
	}
	tests := []struct {
		name   string
		zone   string
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "all is well", zone: goodMX + goodSPF + goodDMARC, reason: check.OK, facts: map[string]float64{"mx_count": 2, "mx_ok_count": 2, "null_mx_code": 0,
			"spf_records_count": 1, "spf_lookups_count": 1, "dmarc_records_count": 1, "dmarc_policy_code": 2, "questions_count": 6}},
		{name: "an answer that does not fit UDP", zone: goodMX + goodSPF + goodDMARC + long.String(), reason: check.OK, facts: map[string]float64{"spf_records_count": 1}},
		{name: "a name of Vietnam", zone: strings.ReplaceAll(goodMX+goodSPF+goodDMARC, "xa.test.", "xn--x-yfa.test."), with: check.Options{"name": "xã.test"}, reason: check.OK},

		{name: "no such domain", zone: "other.test. A 192.0.2.1", reason: check.DNSNXDomain, detail: "MX of xa.test"},
		{name: "no MX", zone: "xa.test. A 192.0.2.1", reason: check.DNSEmpty},
		{name: "resolver fails", zone: "xa.test SERVFAIL", reason: check.DNSServfail},
		{name: "resolver refuses", zone: "xa.test REFUSED", reason: check.DNSRefused},
		{name: "resolver is silent", zone: "xa.test SILENT", reason: check.DNSTimeout},
		{name: "takes no letters", zone: "xa.test. MX 0 .\n", reason: check.DNSMismatch, detail: "takes no letters (null MX)", facts: map[string]float64{"null_mx_code": 1, "mx_count": 0}},
		{name: "takes none, as planned", zone: "xa.test. MX 0 .\nxa.test. TXT \"v=spf1 -all\"\n" + goodDMARC, with: check.Options{"receives": false}, reason: check.OK},
		{name: "should take none and does not say so", zone: "xa.test. A 192.0.2.1\n", with: check.Options{"receives": false}, reason: check.DNSMismatch, detail: "a null MX is missing"},
		{name: "should take none and does", zone: goodMX, with: check.Options{"receives": false}, reason: check.DNSMismatch, detail: "mx1.xa.test, mx2.xa.test"},
		{name: "takes none and some", zone: "xa.test. MX 0 .\n" + goodMX, reason: check.DNSMismatch, detail: "all the same"},
		{name: "one server without address", zone: strings.Replace(goodMX, "mx2.xa.test. AAAA", "mx3.xa.test. AAAA", 1) + goodSPF + goodDMARC, reason: check.Partial, detail: "mx2.xa.test has no address: the name does not exist", facts: map[string]float64{"mx_count": 2, "mx_ok_count": 1}},
		{name: "no server with an address", zone: "xa.test. MX 10 mx.xa.test.\nmx.xa.test. TXT x\n", reason: check.DNSEmpty, detail: "mx.xa.test has no address"},
		{name: "an address as server", zone: "xa.test. MX 10 192.0.2.1.\n", reason: check.DNSEmpty},
		{name: "one server is an alias", zone: goodMX + goodSPF + goodDMARC + "xa.test. MX 30 mail.test.\nmail.test. CNAME mx1.xa.test.\n", reason: check.Partial, detail: "mail.test is an alias", facts: map[string]float64{"mx_count": 3, "mx_ok_count": 2}},
		{name: "the only server is an alias", zone: "xa.test. MX 30 mail.test.\nmail.test. CNAME mx1.test.\nmx1.test. A 192.0.2.1\n" + goodSPF + goodDMARC, reason: check.Partial, detail: "alias"},
		{name: "address cannot be looked up", zone: "xa.test. MX 10 mx.xa.test.\nmx.xa.test SERVFAIL", reason: check.DNSServfail, detail: "address of mx.xa.test"},
		{name: "one address cannot be looked up", zone: goodMX + "xa.test. MX 5 mx3.xa.test.\nmx3.xa.test SERVFAIL\n" + goodSPF + goodDMARC, reason: check.Partial},

		{name: "no SPF", zone: goodMX + goodDMARC, reason: check.MailAuth, detail: "xa.test has no SPF record", facts: map[string]float64{"spf_records_count": 0}},
		{name: "no SPF, not asked for", zone: goodMX + goodDMARC, with: check.Options{"spf": false}, reason: check.OK},
		{name: "two SPF records", zone: goodMX + goodDMARC + goodSPF + "xa.test. TXT \"v=spf1 -all\"\n", reason: check.MailAuth, detail: "2 SPF records"},
		{name: "broken SPF", zone: spf("v=spf1 ipv4:192.0.2.1 -all"), reason: check.MailAuth, detail: "ipv4:192.0.2.1: no term of SPF"},
		{name: "SPF for everybody", zone: spf("v=spf1 mx +all"), reason: check.MailAuth, detail: "lets everybody send"},
		{name: "SPF for everybody by redirect", zone: spf("v=spf1 redirect=s.test") + "s.test. TXT \"v=spf1 all\"\n", reason: check.MailAuth, detail: "lets everybody send"},
		{name: "everybody of an include is not everybody", zone: spf("v=spf1 include:s.test -all") + "s.test. TXT \"v=spf1 +all\"\n", reason: check.OK},
		{name: "redirect behind all is nothing", zone: spf("v=spf1 -all redirect=gone.test"), reason: check.OK, facts: map[string]float64{"spf_lookups_count": 0}},
		{name: "macros are not looked up", zone: spf("v=spf1 exists:%{i}._spf.%{d2} include:%{o}.test -all"), reason: check.OK, facts: map[string]float64{"spf_lookups_count": 2}},
		{name: "ten lookups", zone: chain(9), reason: check.OK, facts: map[string]float64{"spf_lookups_count": 10}},
		{name: "eleven lookups", zone: chain(10), reason: check.MailAuth, detail: "more than 10 lookups", facts: map[string]float64{"spf_lookups_count": 11}},
		{name: "SPF that takes in itself", zone: spf("v=spf1 include:xa.test -all"), reason: check.MailAuth, detail: "more than 10 lookups"},
		{name: "includes nothing", zone: spf("v=spf1 include:gone.test -all"), reason: check.MailAuth, detail: "takes in gone.test, which has 0 SPF records"},
		{name: "include cannot be looked up", zone: spf("v=spf1 include:s.test -all") + "s.test SERVFAIL", reason: check.Partial, detail: "(dns_servfail)"},

		{name: "no DMARC", zone: goodMX + goodSPF, reason: check.MailAuth, detail: "xa.test has no DMARC record", facts: map[string]float64{"dmarc_records_count": 0}},
		{name: "no DMARC, not asked for", zone: goodMX + goodSPF, with: check.Options{"dmarc": "off"}, reason: check.OK},
		{name: "two DMARC records", zone: goodMX + goodSPF + goodDMARC + "_dmarc.xa.test. TXT \"v=DMARC1; p=none\"\n", reason: check.MailAuth, detail: "2 DMARC records"},
		{name: "DMARC without policy", zone: dmarc("v=DMARC1; rua=mailto:a@b.test"), reason: check.MailAuth, detail: "the policy (p) is missing"},
		{name: "weaker than planned", zone: dmarc("v=DMARC1; p=none"), with: check.Options{"dmarc": "quarantine"}, reason: check.MailAuth, detail: "asks for none, the plan for at least quarantine", facts: map[string]float64{"dmarc_policy_code": 0}},
		{name: "as strong as planned", zone: dmarc("v=DMARC1 ;P=Quarantine;"), with: check.Options{"dmarc": "quarantine"}, reason: check.OK, facts: map[string]float64{"dmarc_policy_code": 1}},
		{name: "DMARC of the domain above", zone: strings.ReplaceAll(goodMX+goodSPF, "xa.test.", "xa.tinh.test.") + "_dmarc.tinh.test. TXT \"v=DMARC1; p=reject; sp=none\"\n",
			with: check.Options{"name": "xa.tinh.test", "dmarc": "none"}, reason: check.OK, facts: map[string]float64{"dmarc_policy_code": 0}},
		{name: "not of the last label", zone: goodMX + goodSPF + "_dmarc.test. TXT \"v=DMARC1; p=reject\"\n", reason: check.MailAuth},
		{name: "DMARC cannot be looked up", zone: goodMX + goodSPF + "_dmarc.xa.test SERVFAIL", reason: check.Partial},
		{name: "both are missing", zone: goodMX, reason: check.MailAuth, detail: "has no SPF record; xa.test has no DMARC record"},

		{name: "slow", zone: goodMX + goodSPF + goodDMARC, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := check.Options{"name": "xa.test", "server": resolver(t, tt.zone)}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.reason == check.DNSTimeout {
				limit = 600 * time.Millisecond
			}
			r := runFor(t, maildnsKind(), o, check.Env{}, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}

// The next resolver is asked when one fails, and only then.
func TestMailDNSServers(t *testing.T) {
	good, other := resolver(t, goodMX+goodSPF+goodDMARC), resolver(t, "x.test. A 192.0.2.1")
	failing := resolver(t, "xa.test SERVFAIL\n_dmarc.xa.test REFUSED\nmx1.xa.test SERVFAIL\nmx2.xa.test SILENT\n")
	for _, tt := range []struct {
		servers []string
		reason  check.Reason
	}{
		{[]string{failing, good}, check.OK},
		{[]string{other, good}, check.DNSNXDomain},
		{[]string{failing, failing}, check.DNSServfail},
		{[]string{good, failing}, check.OK},
	} {
		want(t, runFor(t, maildnsKind(), check.Options{"name": "xa.test", "servers": tt.servers}, check.Env{}, 5*time.Second), tt.reason, "")
	}
	o := checktest.WithDefaults(t, maildnsKind(), check.Options{"name": "xa.test"})
	for _, tt := range []struct {
		system []netip.AddrPort
		err    error
		reason check.Reason
	}{
		{[]netip.AddrPort{netip.MustParseAddrPort(good)}, nil, check.OK},
		{nil, nil, check.NotConfigured},
		{nil, errors.New("not here"), check.NotSupported},
	} {
		f, err := newMailDNS(o, check.Env{Timeout: 5 * time.Second}, func() ([]netip.AddrPort, error) { return tt.system, tt.err })
		if err != nil {
			t.Fatal(err)
		}
		r := f(t.Context())
		checktest.Sound(t, maildnsKind(), r)
		want(t, r, tt.reason, "")
	}
}

func TestMailDNSOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"name": "a@xa.test"}, `option "name"`},
		{check.Options{"name": "localhost"}, `option "name"`},
		{check.Options{"name": "-ạ_.test"}, `option "name"`},
		{check.Options{"name": strings.Repeat("a", 64) + ".test"}, `option "name"`},
		{check.Options{"name": "xa.test", "server": "127.0.0.1"}, `option "server"`},
		{check.Options{"name": "xa.test", "server": "127.0.0.1:53", "servers": []string{"127.0.0.1:53"}}, `option "server": it excludes servers`},
	} {
		_, err := maildnsKind().New(checktest.WithDefaults(t, maildnsKind(), tt.with), check.Env{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	if got := maildnsKind().Target(check.Options{"servers": []string{"a:53", "[::1]:53"}}); strings.Join(got, " ") != "a ::1" {
		t.Errorf("targets %v", got)
	}
}

func TestParseSPF(t *testing.T) {
	for _, tt := range []struct {
		record  string
		lookups int
		all     byte
		bad     string
	}{
		{"v=spf1", 0, 0, ""},
		{"v=spf1 a mx ptr include:x.test exists:y.test ~all", 5, '~', ""},
		{"v=spf1 a:x.test/24 mx/24//64 a//64 a:x.test//128 ?all", 4, '?', ""},
		{"V=SPF1 A:X.TEST -ALL a mx", 1, '-', ""},
		{"v=spf1  ip4:192.0.2.1  ip6:2001:db8::/32 unknown=%%x redirect=x.test exp=e.%{d}", 1, 0, ""},
		{"v=spf1 -all a/99", 0, 0, "a/99"},
		{"v=spf1 a/24/64", 0, 0, "two slashes"},
		{"v=spf1 a/", 0, 0, "no length"},
		{"v=spf1 a//129", 0, 0, "no length"},
		{"v=spf1 a:", 0, 0, "no name"},
		{"v=spf1 include", 0, 0, "no name"},
		{"v=spf1 include:%{x}.test", 0, 0, "no name"},
		{"v=spf1 exists:%(i).test", 0, 0, "no name"},
		{"v=spf1 ip4:192.0.2.1/33", 0, 0, "no length"},
		{"v=spf1 ip4:2001:db8::1", 0, 0, "no address of ip4"},
		{"v=spf1 ip6:192.0.2.1", 0, 0, "no address of ip6"},
		{"v=spf1 ip4", 0, 0, "no address"},
		{"v=spf1 all:x", 0, 0, "all takes nothing"},
		{"v=spf1 ptr/24", 0, 0, "ptr"},
		{"v=spf1 +", 0, 0, "no term"},
		{"v=spf1 redirect=a.test redirect=b.test", 0, 0, "redirect stands twice"},
		{"v=spf1 redirect=", 0, 0, "no name"},
		{"v=spf1 include:a\x00b.test", 0, 0, "no name"},
	} {
		r, err := parseSPF(tt.record)
		switch {
		case tt.bad != "":
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%q: got %v, want %s", tt.record, err, tt.bad)
			}
		case err != nil || r.lookups != tt.lookups || r.all != tt.all:
			t.Errorf("%q: %d lookups, all %q, %v; want %d, %q", tt.record, r.lookups, r.all, err, tt.lookups, tt.all)
		}
	}
	for s, want := range map[string]bool{"v=spf1": true, "v=spf1 a": true, "v=spf10": false, "v=spf1\ta": false, " v=spf1": false, "": false} {
		if isSPF(s) != want {
			t.Errorf("isSPF(%q) is %v", s, !want)
		}
	}
}

func TestParseDMARC(t *testing.T) {
	for _, tt := range []struct{ record, policy, subdomain, bad string }{
		{"v=DMARC1; p=none", "none", "none", ""},
		{"v=DMARC1;p=REJECT; sp=quarantine ; fo=1;", "reject", "quarantine", ""},
		{"v=DMARC1", "", "", "is missing"},
		{"v=DMARC1; p=block", "", "", `"block" is no policy`},
		{"v=DMARC1; p=none; sp=", "", "", "is no policy"},
		{"v=DMARC1; p=none; p=reject", "", "", "stands twice"},
		{"v=DMARC1; nonsense", "", "", "nonsense is no tag"},
	} {
		r, err := parseDMARC(tt.record)
		switch {
		case tt.bad != "":
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%q: got %v, want %s", tt.record, err, tt.bad)
			}
		case err != nil || r.policy != tt.policy || r.subdomain != tt.subdomain:
			t.Errorf("%q: %+v, %v", tt.record, r, err)
		}
	}
	for s, want := range map[string]bool{"v=DMARC1": true, "v = DMARC1 ; p=none": true, "v=dmarc1; p=none": false, "p=none; v=DMARC1": false, "v=DMARC10": false} {
		if isDMARC(s) != want {
			t.Errorf("isDMARC(%q) is %v", s, !want)
		}
	}
}

// A record that can be read counts no more than its terms, and follows no more than it counts.
func FuzzSPF(f *testing.F) {
	for _, s := range []string{"v=spf1 a mx/24//64 include:%{d}.test -all", "v=spf1 redirect=x", "v=spf1 ip6:::/0 ?all exp=%%", "v=spf1 %{", "v=spf1 +-all"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseSPF(s)
		if err == nil && (r.lookups > len(s) || len(r.follow) > r.lookups || r.redirect && len(r.follow) == 0 && !strings.Contains(s, "%")) {
			t.Errorf("%q: %+v", s, r)
		}
		for _, name := range r.follow {
			if strings.ContainsAny(name, " %/:") {
				t.Errorf("%q follows %q", s, name)
			}
		}
	})
}

func FuzzDMARC(f *testing.F) {
	f.Add("v=DMARC1; p=none; sp=reject;;")
	f.Add("v=DMARC1;=;p")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseDMARC(s)
		if _, ok := dmarcStrength(r.policy); err == nil && !ok {
			t.Errorf("%q: policy %q", s, r.policy)
		}
	})
}

// What our own end cuts short tells nothing of the domain.
func TestMailDNSCalledOff(t *testing.T) {
	ctx, cancel := contextOf(t)
	cancel()
	o := check.Options{"name": "xa.test", "server": resolver(t, goodMX)}
	r := checktest.NewFunc(t, maildnsKind(), o, check.Env{})(ctx)
	if r.Reason != check.Internal {
		t.Errorf("%s (%s)", r.Reason, r.Detail)
	}
}
