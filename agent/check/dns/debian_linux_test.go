package dns

import (
	"context"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// The addresses that zones name for their servers; the tests lead them to where those listen.
var (
	firstAddress  = netip.MustParseAddr("127.0.0.1")
	secondAddress = netip.MustParseAddr("192.0.2.53")
)

// A debian is BIND with a hierarchy of zones, a second BIND that copied it, and two resolvers: one that validates and speaks
// TLS, and one that believes everything.
type debian struct {
	t          testing.TB
	names      *servers.Names
	copy       *servers.Copy
	validating *servers.Resolver
	believing  *servers.Resolver
	pki        *servers.PKI
	anchor     string
	lies       map[netip.Addr]netip.AddrPort // other servers' addresses
}

// secondServer is what a zone and the one above it say of its second server.
const secondServer = "@ NS ns2\nns2 A 192.0.2.53"

func debianZones() []servers.ZoneConfig {
	return []servers.ZoneConfig{
		{Name: "lab", Signed: true, Records: []string{"www A 192.0.2.1", "tuky NS ns2.tuky", "ns2.tuky A 192.0.2.53"}},
		{Name: "tuky.lab", Signed: true, Records: []string{secondServer, "www A 192.0.2.2", "portal A 192.0.2.2", "portal AAAA 2001:db8::2", "m CNAME www", "out CNAME a.plain.lab.",
			"*.wild A 192.0.2.7", "deep.b A 192.0.2.8"}},
		{Name: "x.tuky.lab", Signed: true, NSEC3: true, Records: []string{"www A 192.0.2.3", "*.wild A 192.0.2.7", "deep.b A 192.0.2.8"}},
		{Name: "opt.lab", Signed: true, NSEC3: true, OptOut: true, Records: []string{"www A 192.0.2.3"}},
		{Name: "un.opt.lab", Records: []string{"www A 192.0.2.5"}},
		{Name: "plain.lab", Records: []string{"a A 192.0.2.4"}},
	}
}

// startDebian starts them, or skips the test and says what is missing.
func startDebian(t testing.TB) *debian {
	t.Helper()
	if testing.Short() {
		t.Skip("starts BIND and Unbound: left out by -short")
	}
	if err := servers.Require("named", "dnssec-keygen", "dnssec-signzone", "unbound"); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-dns-") // not t.TempDir: the programs' own users must get in
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	place := func(name string) servers.Place {
		p := filepath.Join(dir, name)
		must(t, os.Mkdir(p, 0o755))
		return servers.Loopback(p, firstAddress, io.Discard)
	}
	d := &debian{t: t}
	d.names, err = servers.StartNames(t.Context(), place("names"), servers.NamesConfig{Zones: debianZones(), Transfer: true})
	must(t, err)
	t.Cleanup(func() { _ = d.names.Stop() })
	d.copy, err = servers.StartCopy(t.Context(), place("copy"), d.names)
	must(t, err)
	t.Cleanup(func() { _ = d.copy.Stop() })
	d.pki, err = servers.NewPKI(filepath.Join(dir, "pki"), servers.PKIConfig{Now: time.Now()})
	must(t, err)
	id, err := d.pki.Server([]string{"dns.test"}, firstAddress)
	must(t, err)
	c := servers.ResolverFor(d.names)
	c.Certificate, c.Key = id.CertFile(servers.Good), id.KeyFile
	d.validating, err = servers.StartResolver(t.Context(), place("validating"), c)
	must(t, err)
	t.Cleanup(func() { _ = d.validating.Stop() })
	c.Anchors, c.Certificate = nil, ""
	d.believing, err = servers.StartResolver(t.Context(), place("believing"), c)
	must(t, err)
	t.Cleanup(func() { _ = d.believing.Stop() })
	d.anchor = strings.ReplaceAll(d.names.Anchors()[0], "\t", " ")
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// internet is how checks find the zones' servers.
func (d *debian) internet() internet {
	known := map[netip.Addr]netip.AddrPort{
		firstAddress:  netip.MustParseAddrPort(d.names.Addr()),
		secondAddress: netip.MustParseAddrPort(d.copy.Addr()),
	}
	maps.Copy(known, d.lies)
	n := theInternet()
	n.at = func(a netip.Addr) netip.AddrPort {
		if at, ok := known[a]; ok {
			return at
		}
		return netip.AddrPortFrom(a, 1)
	}
	return n
}

// forget lets the resolvers ask anew.
func (d *debian) forget() {
	d.t.Helper()
	must(d.t, d.validating.Flush())
	must(d.t, d.believing.Flush())
}

// run runs a check of a kind with these options over its defaults.
func (d *debian) run(k check.Kind, make func(check.Options, check.Env, internet) (check.Func, error), o check.Options, env check.Env) check.Result {
	d.t.Helper()
	env.Now = orNow(env.Now)
	f, err := make(checktest.WithDefaults(d.t, k, o), checktest.WithEnv(env), d.internet())
	must(d.t, err)
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	r := f(ctx)
	checktest.Declared(d.t, k, r)
	return r
}

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// dns runs the kind dns with the anchor at the resolver that believes everything.
func (d *debian) dns(name string, change check.Options) check.Result {
	d.t.Helper()
	o := check.Options{"name": name, "server": d.believing.Addr(), "anchors": []string{d.anchor}}
	maps.Copy(o, change)
	return d.run(dnsKind(), newDNS, o, check.Env{})
}

// TestDebian runs the kinds against real servers. Each part leaves them as they were.
func TestDebian(t *testing.T) {
	t.Parallel()
	d := startDebian(t)
	for name, part := range map[string]func(*testing.T, *debian){"proofs": debianProofs, "bogus": debianBogus, "encrypted": debianEncrypted, "others": debianOthers, "ipv6": debianIPv6,
		"zone": debianZone, "zone proven": debianZoneProofs, "hijack": debianHijack, "down": debianDown} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			part(t, d)
		})
	}
}

func debianProofs(t *testing.T, d *debian) {
	for _, tc := range []struct {
		name   string
		o      check.Options
		want   check.Reason
		secure float64
		zones  float64
	}{
		{"www.lab", nil, check.OK, 1, 1},
		{"www.tuky.lab", nil, check.OK, 1, 2},
		{"www.x.tuky.lab", nil, check.OK, 1, 3},
		{"m.tuky.lab", nil, check.OK, 1, 2},
		{"any.wild.tuky.lab", nil, check.OK, 1, 2},
		{"any.wild.x.tuky.lab", nil, check.OK, 1, 3},
		{"tuky.lab", check.Options{"type": "DS"}, check.OK, 1, 1},
		{"x.tuky.lab", check.Options{"type": "DNSKEY"}, check.OK, 1, 3},
		{"no.tuky.lab", nil, check.DNSNXDomain, 1, 2},
		{"no.x.tuky.lab", nil, check.DNSNXDomain, 1, 3},
		{"a.no.x.tuky.lab", nil, check.DNSNXDomain, 1, 3},
		{"www.tuky.lab", check.Options{"type": "MX"}, check.DNSEmpty, 1, 2},
		{"www.x.tuky.lab", check.Options{"type": "MX"}, check.DNSEmpty, 1, 3},
		{"b.tuky.lab", nil, check.DNSEmpty, 1, 2},
		{"b.x.tuky.lab", nil, check.DNSEmpty, 1, 3},
		{"any.wild.x.tuky.lab", check.Options{"type": "MX"}, check.DNSEmpty, 1, 3},
		{"any.wild.tuky.lab", check.Options{"type": "MX"}, check.DNSEmpty, 1, 2},
		{"a.plain.lab", nil, check.OK, 0, 1},
		{"no.plain.lab", nil, check.DNSNXDomain, 0, 1},
		{"out.tuky.lab", nil, check.OK, 0, 2},
		{"www.un.opt.lab", nil, check.OK, 0, 2},
		{"no.opt.lab", nil, check.DNSNXDomain, 0, 2},
		{"a.plain.lab", check.Options{"signed": true}, check.Partial, 0, 1},
		{"www.tuky.lab", check.Options{"signed": true}, check.OK, 1, 2},
		{"www.tuky.lab", check.Options{"signature_warn": 60 * 24 * time.Hour}, check.SignatureExpiring, 1, 2},
		{"www.tuky.lab", check.Options{"server": d.validating.Addr()}, check.OK, 1, 2},
	} {
		typ, _ := tc.o["type"].(string)
		t.Run(tc.name+" "+typ, func(t *testing.T) {
			r := d.dns(tc.name, tc.o)
			want(t, r, tc.want)
			wantFact(t, r, "secure_code", tc.secure)
			wantFact(t, r, "zones_count", tc.zones)
			if n, _ := r.Facts.Get("signatures_count"); n > 15 {
				t.Errorf("%v signature checks for %v zones", n, tc.zones)
			}
			if end, ok := r.Facts.Get("rrsig_not_after_unix"); tc.secure == 1 && (!ok || end < float64(time.Now().Unix())) {
				t.Errorf("rrsig_not_after_unix %v", end)
			}
		})
	}
}

func debianBogus(t *testing.T, d *debian) {
	change := func(f func(string, bool) error, on bool) {
		t.Helper()
		must(t, f("tuky.lab", on))
		d.forget()
	}
	own := func(reason check.Reason, o check.Options) {
		t.Helper()
		want(t, d.dns("www.tuky.lab", o), reason)
	}
	asUsers := func(reason check.Reason, name string) {
		t.Helper()
		want(t, d.run(dnsKind(), newDNS, check.Options{"name": name, "server": d.validating.Addr()}, check.Env{}), reason)
	}

	change(d.names.Bogus, true)
	own(check.DNSBogus, nil)
	own(check.DNSBogus, check.Options{"server": d.validating.Addr()})
	asUsers(check.DNSBogus, "www.tuky.lab")
	want(t, d.dns("no.tuky.lab", nil), check.DNSBogus)
	want(t, d.dns("www.lab", nil), check.OK)
	change(d.names.Bogus, false)
	own(check.OK, nil)

	change(d.names.Expired, true)
	r := d.dns("www.tuky.lab", nil)
	want(t, r, check.DNSBogus)
	if !strings.Contains(r.Detail, "ended 2020-02-01T00:00:00Z") {
		t.Errorf("detail %q", r.Detail)
	}
	asUsers(check.DNSBogus, "www.tuky.lab")
	unproven := check.Env{ClockProven: func() bool { return false }}
	o := check.Options{"name": "www.tuky.lab", "server": d.believing.Addr(), "anchors": []string{d.anchor}}
	want(t, d.run(dnsKind(), newDNS, o, unproven), check.ClockUnproven)
	change(d.names.Expired, false)
	want(t, d.run(dnsKind(), newDNS, o, unproven), check.OK)

	// A server that fails is no proof of anything.
	change(d.names.Servfail, true)
	own(check.DNSServfail, nil)
	asUsers(check.DNSServfail, "www.tuky.lab")
	change(d.names.Servfail, false)

	other := "lab. DS 1 13 2 " + strings.Repeat("0", 64)
	r = d.dns("www.tuky.lab", check.Options{"anchors": []string{other}})
	want(t, r, check.DNSBogus)
	if !strings.Contains(r.Detail, "no key of lab is the anchor") {
		t.Errorf("detail %q", r.Detail)
	}
	want(t, d.dns("www.tuky.lab", check.Options{"anchors": []string{other, d.anchor}}), check.OK)
}

func debianEncrypted(t *testing.T, d *debian) {
	for _, tc := range []struct {
		name string
		o    check.Options
		want check.Reason
	}{
		{"tls", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr()}, check.OK},
		{"https", check.Options{"protocol": protocolHTTPS, "server": d.validating.HTTPSAddr()}, check.OK},
		{"tls, by name", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "server_name": "dns.test"}, check.OK},
		{"https, by name", check.Options{"protocol": protocolHTTPS, "server": d.validating.HTTPSAddr(), "server_name": "dns.test"}, check.OK},
		{"both", check.Options{"protocol": protocolTLS, "servers": []string{d.validating.TLSAddr(), d.validating.TLSAddr() + "0"}}, check.Partial},
		{"tls, another name", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "server_name": "other.test"}, check.TLSName},
		{"https, another name", check.Options{"protocol": protocolHTTPS, "server": d.validating.HTTPSAddr(), "server_name": "other.test"}, check.TLSName},
		{"tls, other roots", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "roots": checktest.NewAuthority(t, "x.test").Roots()}, check.TLSUntrusted},
		{"https, other roots", check.Options{"protocol": protocolHTTPS, "server": d.validating.HTTPSAddr(), "roots": checktest.NewAuthority(t, "x.test").Roots()}, check.TLSUntrusted},
		{"tls, no roots file", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "roots": "/nonexistent.pem"}, check.Misconfigured},
		{"tls, ends soon", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "warn_days": int64(3650)}, check.CertExpiring},
		{"tls, too old", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "min_version": "1.3"}, check.OK},
		{"tls, another issuer", check.Options{"protocol": protocolTLS, "server": d.validating.TLSAddr(), "issuer": "nobody"}, check.TLSUntrusted},
		{"https, another path", check.Options{"protocol": protocolHTTPS, "server": d.validating.HTTPSAddr(), "doh_path": "/other"}, check.HTTPStatus},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"name": "www.tuky.lab", "roots": d.pki.Roots, "answers": []string{"192.0.2.2"}}
			maps.Copy(o, tc.o)
			if tc.name == "both" {
				o["servers"] = []string{d.validating.TLSAddr(), "127.0.0.1:1"}
			}
			r := d.run(dnsKind(), newDNS, o, check.Env{})
			want(t, r, tc.want)
			if tc.want == check.OK {
				wantFact(t, r, "tls_version_code", 13)
			}
		})
	}
	// A proof's questions go the same way, over one connection.
	for protocol, server := range map[string]string{protocolTLS: d.validating.TLSAddr(), protocolHTTPS: d.validating.HTTPSAddr()} {
		r := d.dns("www.x.tuky.lab", check.Options{"protocol": protocol, "server": server, "roots": d.pki.Roots})
		want(t, r, check.OK)
		wantFact(t, r, "zones_count", 3)
	}
}

func debianOthers(t *testing.T, d *debian) {
	see := func(name string, o check.Options) check.Result {
		t.Helper()
		all := check.Options{"name": name, "server": d.believing.Addr(), "reference": d.validating.Addr(), "authority": true}
		maps.Copy(all, o)
		return d.run(dnsKind(), newDNS, all, check.Env{})
	}
	for _, name := range []string{"www.tuky.lab", "m.tuky.lab", "a.plain.lab", "out.tuky.lab"} {
		r := see(name, nil)
		want(t, r, check.OK)
		wantFact(t, r, "consistent_code", 1)
		wantFact(t, r, "compared_count", 2)
	}
	r := see("no.tuky.lab", nil)
	want(t, r, check.DNSNXDomain)
	wantFact(t, r, "consistent_code", 1)

	lie := netip.MustParseAddr("198.51.100.66")
	must(t, d.believing.Lies(map[string]netip.Addr{"www.tuky.lab": lie, "no.tuky.lab": lie, "m.tuky.lab": lie}))
	for _, name := range []string{"www.tuky.lab", "no.tuky.lab", "m.tuky.lab"} {
		r = see(name, nil)
		want(t, r, check.DNSInconsistent)
		wantFact(t, r, "consistent_code", 0)
		if !strings.Contains(r.Detail, lie.String()) || !strings.Contains(r.Detail, "the reference") {
			t.Errorf("detail %q", r.Detail)
		}
	}
	// Each of the others sees it alone.
	want(t, see("www.tuky.lab", check.Options{"authority": false}), check.DNSInconsistent)
	// The lie leads astray only where the liar is asked for the way.
	alone := check.Options{"name": "www.tuky.lab", "server": d.believing.Addr(), "authority": true}
	want(t, d.run(dnsKind(), newDNS, alone, check.Env{}), check.DNSInconsistent)
	// A forged answer has no signature.
	want(t, d.dns("www.tuky.lab", nil), check.DNSBogus)
	must(t, d.believing.Lies(nil))

	// Others that are silent are no fault of the servers.
	nowhere := netip.MustParseAddrPort("127.0.0.1:1")
	d.lies = map[netip.Addr]netip.AddrPort{firstAddress: nowhere, secondAddress: nowhere}
	defer func() { d.lies = nil }()
	r = see("www.tuky.lab", check.Options{"reference": "127.0.0.1:1"})
	want(t, r, check.OK)
	if _, ok := r.Facts.Get("consistent_code"); ok {
		t.Error("compared with nobody")
	}
}

func debianIPv6(t *testing.T, d *debian) {
	for name, reason := range map[string]check.Reason{"portal.tuky.lab": check.OK, "www.tuky.lab": check.Partial, "no.tuky.lab": check.DNSNXDomain} {
		r := d.run(dnsKind(), newDNS, check.Options{"name": name, "server": d.validating.Addr(), "ipv6": true}, check.Env{})
		want(t, r, reason)
		if n, ok := r.Facts.Get("aaaa_count"); reason != check.DNSNXDomain && (!ok || (n == 1) != (reason == check.OK)) {
			t.Errorf("%s: aaaa_count %v %v", name, n, ok)
		}
	}
}

// zone runs the kind zone through the resolver that believes everything.
func (d *debian) zone(name string, change check.Options) check.Result {
	d.t.Helper()
	o := check.Options{"name": name, "server": d.believing.Addr()}
	maps.Copy(o, change)
	return d.run(zoneKind(), newZone, o, check.Env{})
}

func debianZone(t *testing.T, d *debian) {
	defer func() { d.lies = nil }()
	nowhere := netip.MustParseAddrPort("127.0.0.1:1")
	lame := netip.MustParseAddrPort(d.validating.Addr())
	for _, tc := range []struct {
		name          string
		first, second netip.AddrPort
		want          check.Reason
	}{
		{"well", netip.AddrPort{}, netip.AddrPort{}, check.OK},
		{"the second is closed", netip.AddrPort{}, nowhere, check.Partial},
		{"the first is closed", nowhere, netip.AddrPort{}, check.Partial},
		{"the second is a resolver", netip.AddrPort{}, lame, check.DNSLame},
		{"both are closed", nowhere, nowhere, check.ConnectRefused},
		{"one is a resolver, one closed", lame, nowhere, check.DNSRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d.lies = map[netip.Addr]netip.AddrPort{}
			if tc.first.IsValid() {
				d.lies[firstAddress] = tc.first
			}
			if tc.second.IsValid() {
				d.lies[secondAddress] = tc.second
			}
			r := d.zone("tuky.lab", check.Options{"grace": 24 * time.Hour})
			want(t, r, tc.want)
			wantFact(t, r, "ns_count", 2)
			wantFact(t, r, "addresses_count", 2)
		})
	}
	d.lies = nil
	// The copy keeps what it has when the zone changes.
	must(t, d.names.SetRecords("plain.lab", []string{"@ NS ns2", "ns2 A 192.0.2.53", "a A 192.0.2.4"}))
	d.forget()
	r := d.zone("plain.lab", check.Options{"grace": time.Duration(0)})
	want(t, r, check.DNSInconsistent)
	if spread, _ := r.Facts.Get("serial_spread_count"); spread == 0 {
		t.Error("serials are alike")
	}
	want(t, d.zone("plain.lab", nil), check.OK)
	want(t, d.zone("no.lab", nil), check.DNSNXDomain)
	want(t, d.zone("www.lab", nil), check.DNSEmpty)
}

func debianZoneProofs(t *testing.T, d *debian) {
	see := func(name string, reason check.Reason, o check.Options) check.Result {
		t.Helper()
		all := check.Options{"anchors": []string{d.anchor}, "grace": 24 * time.Hour}
		maps.Copy(all, o)
		r := d.zone(name, all)
		want(t, r, reason)
		return r
	}
	for name, zones := range map[string]float64{"lab": 1, "tuky.lab": 2, "x.tuky.lab": 3, "opt.lab": 2} {
		r := see(name, check.OK, check.Options{"signed": true})
		wantFact(t, r, "secure_code", 1)
		wantFact(t, r, "zones_count", zones)
	}
	wantFact(t, see("plain.lab", check.OK, nil), "secure_code", 0)
	see("plain.lab", check.Partial, check.Options{"signed": true})
	see("tuky.lab", check.SignatureExpiring, check.Options{"signature_warn": 60 * 24 * time.Hour})
	see("tuky.lab", check.DNSBogus, check.Options{"anchors": []string{"lab. DS 1 13 2 " + strings.Repeat("0", 64)}})

	change := func(f func(string, bool) error, on bool) {
		t.Helper()
		must(t, f("tuky.lab", on))
		d.forget()
	}
	change(d.names.Bogus, true)
	// The copy has what it was given before.
	if r := see("tuky.lab", check.DNSInconsistent, nil); !strings.Contains(r.Detail, "1 of 2 servers have data that do not verify") {
		t.Errorf("detail %q", r.Detail)
	}
	d.lies = map[netip.Addr]netip.AddrPort{secondAddress: netip.MustParseAddrPort(d.names.Addr())}
	see("tuky.lab", check.DNSBogus, nil)
	// A resolver that validates does not lead there, and it is seen why.
	want(t, d.run(zoneKind(), newZone, check.Options{"name": "tuky.lab", "server": d.validating.Addr()}, check.Env{}), check.DNSBogus)
	change(d.names.Bogus, false)
	see("tuky.lab", check.OK, nil)
	change(d.names.Expired, true)
	see("tuky.lab", check.DNSBogus, nil)
	o := check.Options{"name": "tuky.lab", "server": d.believing.Addr(), "anchors": []string{d.anchor}, "grace": 24 * time.Hour}
	want(t, d.run(zoneKind(), newZone, o, check.Env{ClockProven: func() bool { return false }}), check.ClockUnproven)
	change(d.names.Expired, false)

	// A zone whose denials do not verify, behind a server that drops them.
	without := netip.MustParseAddrPort(serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		m, _, err := (&mdns.Client{Net: "tcp"}).Exchange(q, d.names.Addr())
		if err != nil {
			t.Error(err)
			return nil
		}
		m.Truncated = false
		m.Ns = slices.DeleteFunc(m.Ns, func(rr mdns.RR) bool { return rr.Header().Rrtype == mdns.TypeNSEC })
		return m
	}))
	d.lies = map[netip.Addr]netip.AddrPort{firstAddress: without, secondAddress: without}
	defer func() { d.lies = nil }()
	if r := see("tuky.lab", check.DNSBogus, nil); !strings.Contains(r.Detail, "nothing proves") {
		t.Errorf("detail %q", r.Detail)
	}
}

func debianHijack(t *testing.T, d *debian) {
	see := func(reason check.Reason, o check.Options) check.Result {
		t.Helper()
		all := check.Options{"server": d.believing.Addr(), "missing": []string{"{random}.tuky.lab", "no.tuky.lab"}, "name": "www.tuky.lab", "answers": []string{"192.0.2.2"}, "wait": time.Duration(0)}
		maps.Copy(all, o)
		if o["servers"] != nil {
			delete(all, "server")
		}
		r := d.run(hijackKind(), newHijack, all, check.Env{})
		want(t, r, reason)
		return r
	}
	wantFact(t, see(check.OK, nil), "questions_count", 3)
	lie := func(names ...string) {
		t.Helper()
		lies := map[string]netip.Addr{}
		for _, n := range names {
			lies[n] = netip.MustParseAddr("198.51.100.66")
		}
		must(t, d.believing.Lies(lies))
	}
	lie("no.tuky.lab")
	r := see(check.DNSMismatch, nil)
	wantFact(t, r, "forged_count", 1)
	if !strings.Contains(r.Detail, "no.tuky.lab does not exist, and is said to be at 198.51.100.66") {
		t.Errorf("detail %q", r.Detail)
	}
	see(check.DNSMismatch, check.Options{"servers": []string{d.validating.Addr(), d.believing.Addr()}})
	see(check.OK, check.Options{"server": d.validating.Addr()})
	lie("tuky.lab")
	wantFact(t, see(check.DNSMismatch, nil), "forged_count", 3)
	lie()
	see(check.OK, nil)
}

// debianDown has the servers be wrong in the other ways that each kind tells apart.
func debianDown(t *testing.T, d *debian) {
	decoys := check.Options{"answers": []string{"192.0.2.2"}, "wait": time.Duration(0)}
	play := func(name string, want check.Reason, k check.Kind, make func(check.Options, check.Env, internet) (check.Func, error), o check.Options) {
		t.Helper()
		all := check.Options{"name": "www.tuky.lab", "server": d.believing.Addr()}
		if k.Name == "hijack" {
			maps.Copy(all, decoys)
		}
		if maps.Copy(all, o); all["servers"] != nil {
			delete(all, "server")
		}
		if r := d.run(k, make, all, check.Env{}); r.Reason != want {
			t.Errorf("%s, %s: %s (%s), want %s", k.Name, name, r.Reason, r.Detail, want)
		}
	}
	elsewhere := check.Options{"name": "www.elsewhere.test", "server": d.names.Addr()}
	play("refused", check.DNSRefused, dnsKind(), newDNS, elsewhere)
	play("another address", check.DNSMismatch, dnsKind(), newDNS, check.Options{"answers": []string{"192.0.2.9"}})
	play("slow", check.Slow, dnsKind(), newDNS, check.Options{"slow": time.Nanosecond})
	play("led elsewhere", check.DNSMismatch, zoneKind(), newZone, check.Options{"name": "tuky.lab", "ns": []string{"ns9.tuky.lab"}})
	play("slow", check.Slow, zoneKind(), newZone, check.Options{"name": "x.tuky.lab", "slow": time.Nanosecond})
	play("refused", check.DNSRefused, hijackKind(), newHijack, elsewhere)
	play("no such name", check.DNSNXDomain, hijackKind(), newHijack, check.Options{"name": "no.tuky.lab"})
	play("nothing", check.DNSEmpty, hijackKind(), newHijack, check.Options{"name": "b.tuky.lab"})
	play("one is closed", check.Partial, hijackKind(), newHijack, check.Options{"servers": []string{d.validating.Addr(), "127.0.0.1:1"}})
	must(t, d.names.Servfail("tuky.lab", true))
	d.forget()
	play("fails", check.DNSServfail, zoneKind(), newZone, check.Options{"name": "tuky.lab"})
	play("fails", check.DNSServfail, hijackKind(), newHijack, nil)
	must(t, d.names.Servfail("tuky.lab", false))
	d.forget()
}

// BenchmarkChain proves an answer three zones below the anchor through a resolver that has all of it in its cache, beside the
// one exchange that the answer takes without a proof (bare). cpu-ms/op is the processor time of this process: the resolver is
// another one.
func BenchmarkChain(b *testing.B) {
	d := startDebian(b)
	const name = "www.x.tuky.lab"
	o := checktest.WithDefaults(b, dnsKind(), check.Options{"name": name, "server": d.believing.Addr(), "anchors": []string{d.anchor}})
	f, err := newDNS(o, checktest.WithEnv(check.Env{Now: time.Now}), d.internet())
	must(b, err)
	b.Run("check", func(b *testing.B) {
		begin := processorTime(b)
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), long)
			if r := f(ctx); r.Reason != check.OK {
				b.Fatal(r.Reason, r.Detail)
			}
			cancel()
		}
		b.ReportMetric((processorTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/op")
	})
	b.Run("bare", func(b *testing.B) {
		client := &mdns.Client{Timeout: long}
		q := new(mdns.Msg).SetQuestion(name+".", mdns.TypeA).SetEdns0(1232, true)
		begin := processorTime(b)
		for b.Loop() {
			if _, _, err := client.Exchange(q, d.believing.Addr()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((processorTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/op")
	})
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
