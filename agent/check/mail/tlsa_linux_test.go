package mail

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/deploy/lab/servers"
)

// Postfix is bound to its certificate by a signed zone in BIND; the proof is our own, through Unbound.
func TestPostfixBound(t *testing.T) {
	if err := servers.Require("named", "dnssec-keygen", "dnssec-signzone", "unbound"); err != nil {
		t.Skip(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, _ := startMailServer(t)
	dir, err := os.MkdirTemp("/tmp", "egovmon-bound-") // not t.TempDir: the programs' own users must get in
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(os.Chmod(dir, 0o755))
	place := func(name string) servers.Place {
		p := filepath.Join(dir, name)
		must(os.Mkdir(p, 0o755))
		return servers.Loopback(p, netip.MustParseAddr("127.0.0.1"), io.Discard)
	}
	_, port, err := net.SplitHostPort(m.Addr())
	must(err)
	at := func(record string) []string { return []string{"_" + port + "._tcp.mail TLSA " + record} }
	text, err := os.ReadFile(m.CertFile())
	must(err)
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(err)
	good, wrong := record(t, 3, 1, 1, leaf.Raw), "3 1 1 "+strings.Repeat("ab", 32)

	n, err := servers.StartNames(t.Context(), place("names"), servers.NamesConfig{Zones: []servers.ZoneConfig{{Name: "test", Signed: true, Records: at(good)}, {Name: "plain.test", Records: at(good)}}})
	must(err)
	t.Cleanup(func() { _ = n.Stop() })
	resolver, err := servers.StartResolver(t.Context(), place("resolver"), servers.ResolverFor(n))
	must(err)
	t.Cleanup(func() { _ = resolver.Stop() })
	anchors := check.Options{"anchors": []string{strings.ReplaceAll(n.Anchors()[0], "\t", " ")}}
	for _, tt := range []struct {
		name   string
		change func() error // of the zone; it stays
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"the resolver's word", nil, nil, check.OK, ""},
		{"proven", nil, anchors, check.OK, ""},
		{"a zone that nobody signs", nil, check.Options{"anchors": anchors["anchors"], "server_name": "mail.plain.test"}, check.MailAuth, "TLSA of mail.plain.test: not signed"},
		{"a clock that is years ahead", nil, anchors, check.DNSBogus, "TLSA of mail.test"},
		{"a clock that is years ahead, and not proven", nil, anchors, check.ClockUnproven, "clock is not proven"},
		{"another certificate", func() error { return n.SetRecords("test", at(wrong)) }, anchors, check.TLSUntrusted, "none of its 1 TLSA records"},
		{"no records", func() error { return n.SetRecords("test", []string{"mail A 127.0.0.1"}) }, anchors, check.MailAuth, "no TLSA record"},
		{"signatures that do not verify", func() error {
			if err := n.SetRecords("test", at(good)); err != nil {
				return err
			}
			return n.Bogus("test", true)
		}, anchors, check.DNSBogus, "TLSA of mail.test"},
		{"the same by the resolver's word", nil, nil, check.Partial, "dns_servfail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.change != nil {
				must(tt.change())
			}
			must(resolver.Flush())
			o := check.Options{"address": m.Addr(), "server_name": "mail.test", "starttls": tlsOffered, "dane": true, "server": resolver.Addr()}
			maps.Copy(o, tt.with)
			env := check.Env{Now: time.Now}
			if strings.Contains(tt.name, "years ahead") {
				env.Now = func() time.Time { return time.Now().AddDate(3, 0, 0) }
				env.ClockProven = func() bool { return !strings.Contains(tt.name, "not proven") }
			}
			want(t, run(t, smtpKind(), o, env), tt.reason, tt.detail)
		})
	}
}

// What BIND says of a mail domain, through Unbound.
func TestMailDNSOfBIND(t *testing.T) {
	if err := servers.Require("named", "unbound"); err != nil {
		t.Skip(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-maildns-") // not t.TempDir: the programs' own users must get in
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(os.Chmod(dir, 0o755))
	place := func(name string) servers.Place {
		p := filepath.Join(dir, name)
		must(os.Mkdir(p, 0o755))
		return servers.Loopback(p, netip.MustParseAddr("127.0.0.1"), io.Discard)
	}
	mx, spf, dmarc := "@ MX 10 mail", `@ TXT "v=spf1 mx -all"`, `_dmarc TXT "v=DMARC1; p=reject"`
	n, err := servers.StartNames(t.Context(), place("names"), servers.NamesConfig{Zones: []servers.ZoneConfig{
		{Name: "xa.test", Records: []string{mx, "mail A 192.0.2.1", spf, dmarc}},
		{Name: "bare.test", Records: []string{mx, "mail A 192.0.2.1"}},
		{Name: "half.test", Records: []string{mx, "mail A 192.0.2.1", "@ MX 20 gone", spf, dmarc}},
		{Name: "none.test", Records: []string{"www A 192.0.2.1"}},
		{Name: "null.test", Records: []string{"@ MX 0 ."}},
		{Name: "fails.test", Records: []string{mx}},
	}})
	must(err)
	t.Cleanup(func() { _ = n.Stop() })
	must(n.Servfail("fails.test", true))
	c := servers.ResolverFor(n)
	c.Anchors = nil
	u, err := servers.StartResolver(t.Context(), place("resolver"), c)
	must(err)
	t.Cleanup(func() { _ = u.Stop() })
	for _, tt := range []struct {
		name   string
		with   check.Options
		reason check.Reason
	}{
		{"xa.test", nil, check.OK},
		{"bare.test", nil, check.MailAuth},
		{"half.test", nil, check.Partial},
		{"none.test", nil, check.DNSEmpty},
		{"null.test", nil, check.DNSMismatch},
		{"fails.test", nil, check.DNSServfail},
		{"gone.none.test", nil, check.DNSNXDomain},
		{"elsewhere.example", check.Options{"server": n.Addr()}, check.DNSRefused},
		{"xa.test", check.Options{"slow": time.Nanosecond}, check.Slow},
	} {
		o := check.Options{"name": tt.name, "server": u.Addr()}
		maps.Copy(o, tt.with)
		if r := run(t, maildnsKind(), o, check.Env{}); r.Reason != tt.reason {
			t.Errorf("%s: %s (%s), want %s", tt.name, r.Reason, r.Detail, tt.reason)
		}
	}
}
