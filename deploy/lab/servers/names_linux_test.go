package servers

import (
	"net/netip"
	"strings"
	"testing"

	"egovmon/agent/check"

	"github.com/miekg/dns"
)

// labZones are zones as the lab has them: one signed above all, signed and unsigned ones below.
func labZones() []ZoneConfig {
	return []ZoneConfig{
		{Name: "lab", Signed: true, Records: []string{"tinh A 192.0.2.1"}},
		{Name: "tuky.lab", Signed: true, Records: []string{"@ A 192.0.2.2", "www CNAME @", `_dmarc TXT "v=DMARC1; p=reject"`}},
		{Name: "plain.lab", Records: []string{"@ A 192.0.2.3"}},
	}
}

// common is a Place at the address of loopback that all programs share.
func common(p Place) Place { return Loopback(p.Dir, netip.MustParseAddr("127.0.0.1"), p.Log) }

func TestNames(t *testing.T) {
	need(t, "named", "dnssec-keygen", "dnssec-signzone", "unbound")
	places(t, func(t *testing.T, p Place) {
		if p.Netns == "" {
			p = common(p)
		}
		n := must[*Names](t)(StartNames(t.Context(), p, NamesConfig{Zones: labZones()}))
		defer n.Stop()
		if len(n.Anchors()) != 1 || !strings.HasPrefix(n.Anchors()[0], "lab.") {
			t.Errorf("anchors %q", n.Anchors())
		}
		rp := p
		if p.Netns == "" {
			rp = localhost(t) // the authority's port is taken in its own place
		} else {
			rp.IP = netip.MustParseAddr("127.0.0.1")
			rp.Dir = localhost(t).Dir
		}
		r := must[*Resolver](t)(StartResolver(t.Context(), rp, ResolverFor(n)))
		defer r.Stop()
		authority := func(zone string, reason check.Reason) look {
			return look{kind: "dns", with: check.Options{"name": zone, "server": n.Addr(), "recursion": false}, reason: reason}
		}
		if p.Netns != "" {
			// The resolver of the namespace is not to be reached from here: it is asked by hand below.
			walk(t, []step{{"authority", nil, authority("tuky.lab", check.OK)}})
			resolverInNamespace(t, n, r, rp)
			return
		}
		resolved := func(name string, reason check.Reason) look {
			return look{kind: "dns", with: check.Options{"name": name, "server": r.Addr()}, reason: reason}
		}
		fault := func(f func(string, bool) error, zone string, on bool) func() error {
			return func() error {
				if err := f(zone, on); err != nil {
					return err
				}
				return r.Flush()
			}
		}
		walk(t, []step{
			{"signed", nil, resolved("tuky.lab", check.OK)},
			{"unsigned", nil, resolved("plain.lab", check.OK)},
			{"no such name", nil, resolved("no.tuky.lab", check.DNSNXDomain)},
			{"not ours", nil, resolved("other.example", check.DNSRefused)},
			{"bogus", fault(n.Bogus, "tuky.lab", true), resolved("tuky.lab", check.DNSBogus)},
			{"its authority answers all the same", nil, authority("tuky.lab", check.OK)},
			{"the zone above is well", nil, resolved("tinh.lab", check.OK)},
			{"not bogus", fault(n.Bogus, "tuky.lab", false), resolved("tuky.lab", check.OK)},
			{"failing zone", fault(n.Servfail, "plain.lab", true), authority("plain.lab", check.DNSServfail)},
			{"failing zone, resolved", nil, resolved("plain.lab", check.DNSServfail)},
			{"another zone", nil, resolved("tuky.lab", check.OK)},
			{"zone is back", fault(n.Servfail, "plain.lab", false), resolved("plain.lab", check.OK)},
			{"lame", fault(n.Lame, "plain.lab", true), resolved("plain.lab", check.DNSServfail)},
			{"not lame", fault(n.Lame, "plain.lab", false), resolved("plain.lab", check.OK)},
			{"authority dead", fault(func(_ string, on bool) error { return n.Halt(on) }, "", true), authority("tuky.lab", check.ConnectRefused)},
			{"authority alive", fault(func(_ string, on bool) error { return n.Halt(on) }, "", false), resolved("tuky.lab", check.OK)},
		})
		authentic(t, r)
		liesAndDeaths(t, r, resolved)
		if n.Bogus("nobody.lab", true) == nil {
			t.Error("a zone that is not there was taken")
		}
	})
}

// authentic sees that what is signed was validated, and what is not was not.
func authentic(t *testing.T, r *Resolver) {
	t.Helper()
	for name, want := range map[string]float64{"tuky.lab": 1, "plain.lab": 0} {
		facts := see(t, name, look{kind: "dns", with: check.Options{"name": name, "server": r.Addr(), "dnssec": true}, reason: check.OK})
		if got, ok := facts.Get("authentic_code"); !ok || got != want {
			t.Errorf("%s: authentic_code = %v %v, want %v", name, got, ok, want)
		}
	}
}

func liesAndDeaths(t *testing.T, r *Resolver, resolved func(string, check.Reason) look) {
	t.Helper()
	honest := func(reason check.Reason) look {
		l := resolved("www.tuky.lab", reason)
		l.with["answers"] = []string{"192.0.2.2"}
		return l
	}
	lie := func() error { return r.Lies(map[string]netip.Addr{"tuky.lab": netip.MustParseAddr("198.51.100.66")}) }
	walk(t, []step{
		{"honest", nil, honest(check.OK)},
		{"lies", lie, honest(check.DNSMismatch)},
		{"not of others", nil, resolved("plain.lab", check.OK)},
		{"honest again", func() error { return r.Lies(nil) }, honest(check.OK)},
		{"dead", func() error { return r.Halt(true) }, look{kind: "dns", with: honest("").with, reason: check.ConnectRefused}},
		{"alive", func() error { return r.Halt(false) }, honest(check.OK)},
	})
	if err := r.Hang(true); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), r.p, r.Addr(), "tuky.lab", dns.TypeA); err == nil {
		t.Error("a resolver that hangs has answered")
	}
	walk(t, []step{{"goes on", func() error { return r.Hang(false) }, honest(check.OK)}})
}

// resolverInNamespace asks a resolver that follows delegations to port 53.
func resolverInNamespace(t *testing.T, n *Names, r *Resolver, p Place) {
	t.Helper()
	rcode := func(name string) string {
		t.Helper()
		m := must[*dns.Msg](t)(ask(t.Context(), p, r.Addr(), name, dns.TypeA))
		return dns.RcodeToString[m.Rcode]
	}
	if got := rcode("tuky.lab"); got != "NOERROR" {
		t.Error(got)
	}
	for name, f := range map[string]func(string, bool) error{"bogus": n.Bogus, "servfail": n.Servfail, "lame": n.Lame} {
		for _, on := range []bool{true, false} {
			if err := f("tuky.lab", on); err != nil {
				t.Fatal(err)
			}
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
			want := map[bool]string{true: "SERVFAIL", false: "NOERROR"}[on]
			if got := rcode("tuky.lab"); got != want {
				t.Errorf("%s %v: %s, want %s", name, on, got, want)
			}
		}
	}
}

func TestNamesNeedAnInterface(t *testing.T) {
	need(t, "named", "dnssec-keygen", "dnssec-signzone")
	if _, err := StartNames(t.Context(), localhost(t), NamesConfig{Zones: labZones()}); err == nil || !strings.Contains(err.Error(), "use one that `ip addr` shows") {
		t.Errorf("got %v", err)
	}
}

func TestSetRecords(t *testing.T) {
	need(t, "named", "dnssec-keygen", "dnssec-signzone")
	p := common(localhost(t))
	n := must[*Names](t)(StartNames(t.Context(), p, NamesConfig{Zones: labZones()}))
	defer n.Stop()
	l := look{kind: "dns", with: check.Options{"name": "tuky.lab", "type": "TXT", "server": n.Addr(), "recursion": false}, reason: check.DNSEmpty}
	set := func(records ...string) func() error {
		return func() error { return n.SetRecords("tuky.lab", records) }
	}
	there := l
	there.reason = check.OK
	walk(t, []step{{"none", nil, l}, {"one", set(`@ TXT "v=spf1 -all"`), there}, {"none again", set("@ A 192.0.2.2"), l}})
	if err := n.SetRecords("tuky.lab", []string{"@ A 999.0.0.1"}); err == nil {
		t.Error("a zone that cannot be read was taken")
	}
}
