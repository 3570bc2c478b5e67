package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

// The phases of zone: finding it, asking its servers, proving it.
const (
	phaseFind = "find"
	phaseAsk  = "ask"
)

// The values of the option family.
const (
	familyAny = "any"
	familyIP4 = "ip4"
	familyIP6 = "ip6"
)

func zoneKind() check.Kind {
	return check.Kind{
		Name:    "zone",
		Family:  "dns",
		Summary: "Asks every name server of a zone for it, at every address, and compares them with one another, with the zone above and with what was there before; proves the zone by DNSSEC.",
		Options: []check.Option{
			{Name: "name", Type: check.TypeString, Required: true, Help: "The zone, by the name that its SOA stands at."},
			{Name: "server", Type: check.TypeAddress, Help: "Resolver to find the zone's servers through; without server and servers it is those of the system."},
			{Name: "servers", Type: check.TypeAddrs, Min: 1, Max: maxServers, Help: "Resolvers to find the zone's servers through; the next one when the one before it fails."},
			{Name: "ns", Type: check.TypeStrings, Min: 1, Max: maxNames, Help: "The names of the zone's servers; others, and missing ones, are dns_mismatch."},
			{Name: "family", Type: check.TypeString, Default: familyAny, Enum: []string{familyAny, familyIP4, familyIP6},
				Help: "The addresses of the servers to ask; any leaves those of a version out that this machine has no way for."},
			{Name: "grace", Type: check.TypeDuration, Default: "15m", Max: 7 * 24 * 3600, Help: "How long servers may have serials apart, as after a change, before it is dns_inconsistent."},
			{Name: "changed", Type: check.TypeDuration, Default: "1h", Max: 7 * 24 * 3600,
				Help: "How long a change of the zone's servers, their addresses or the TTL of the delegation is shown as content_changed; 0s for never."},
			anchorsOption(), signedOption(), signatureWarnOption(),
			triesOption(),
			{Name: "slow", Type: check.TypeDuration, Min: 0.0001, Max: 60, Help: "The state is degraded when the slowest server takes longer; without it nothing is too slow."},
		},
		Facts:  slices.Concat(zoneFacts(), proofFacts()),
		Phases: []string{phaseFind, phaseAsk, phaseDNSSEC, "total"},
		Target: targets,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newZone(o, env, theInternet())
		},
	}
}

func zoneFacts() []check.FactDef {
	count := func(name, help string, most float64) check.FactDef {
		return check.FactDef{Name: name, Help: help, Max: most}
	}
	return []check.FactDef{
		count("ns_count", "name servers that the zone and the zone above name", lookup.MaxAnswers),
		count("ns_unknown_count", "those of them that have no address", maxNames),
		count("addresses_count", "addresses of name servers that were asked", maxAddresses),
		count("addresses_ok_count", "addresses at which a server speaks for the zone", maxAddresses),
		count("lame_count", "addresses at which a server does not speak for the zone", maxAddresses),
		count("silent_count", "addresses at which nobody answers", maxAddresses),
		count("no_way_count", "addresses of a version of IP that this machine has no way for", maxAddresses),
		count("soa_serial", "newest serial of the zone", 1<<32-1),
		count("serial_spread_count", "how far the oldest serial is behind the newest", 1<<31),
		count("ns_ttl_s", "time to live of the list of servers, as the zone has it", 1<<32-1),
		count("delegation_ttl_s", "time to live of the list of servers, as the zone above has it", 1<<32-1),
		count("delegation_code", "a number of the servers' names and addresses: another number is another set", 1<<32-1),
		count("rtt_max_s", "the slowest answer of a server that speaks for the zone", 3600),
		count("questions_count", "questions put to resolvers", maxQuestions+200),
	}
}

// A zoneCheck is a check of kind zone. It remembers what it saw last.
type zoneCheck struct {
	place
	name    string // canonical
	ns      []string
	family  string
	grace   time.Duration
	changed time.Duration
	slow    time.Duration
	tries   int
	prover  prover

	apart  time.Time   // since when serials are apart; zero while they are not
	before delegation  // as it was in the last run that saw one
	change fluctuation // the last change
}

// A delegation is what a zone's servers are known by.
type delegation struct {
	code       uint32
	ttl, above uint32 // of the NS records at the zone and above it; 0 when they were not seen
}

// A fluctuation is a change of the delegation. The zero value is none.
type fluctuation struct {
	at   time.Time
	what string
}

func newZone(o check.Options, env check.Env, net internet) (check.Func, error) {
	c := &zoneCheck{family: o.String("family"), grace: o.Duration("grace"), changed: o.Duration("changed"), slow: o.Duration("slow"), tries: max(1, int(o.Int("tries")))}
	var err error
	if c.place, err = newPlace(o, env, net); err != nil {
		return nil, err
	}
	q, err := lookup.NewQuery(o.String("name"), "SOA", false, false)
	if err != nil {
		return nil, err
	}
	c.name = mdns.CanonicalName(q.Name)
	if c.prover, err = newProver(o, env, c.name); err != nil {
		return nil, err
	}
	for _, s := range o.Strings("ns") {
		if _, err := lookup.NewQuery(s, "A", true, false); err != nil || s == "" {
			return nil, fmt.Errorf("option %q: %q is no name of a server: write e.g. ns1.example.vn", "ns", s)
		}
		c.ns = append(c.ns, mdns.CanonicalName(s))
	}
	slices.Sort(c.ns)
	c.ns = slices.Compact(c.ns)
	if source := env.Source; source.IsValid() {
		family := familyIP6
		if source.Unmap().Is4() {
			family = familyIP4
		}
		if c.family != familyAny && c.family != family {
			return nil, fmt.Errorf("option %q: %s is not of the version of IP that this check leaves from: leave it out", "family", c.family)
		}
		c.family = family
	}
	return c.check, nil
}

func (c *zoneCheck) check(ctx context.Context) check.Result {
	begin := time.Now()
	servers, bad := c.resolvers()
	if bad != nil {
		bad.Phases.Add("total", time.Since(begin))
		return *bad
	}
	v := &view{}
	c.look(ctx, servers, v)
	r := c.judge(v).Result()
	v.facts(&r.Facts)
	v.proof.facts(&r.Facts)
	for _, p := range v.phases {
		r.Phases.Add(p.Name, p.Took)
	}
	r.Phases.Add("total", time.Since(begin))
	return r
}

// look finds the zone's servers and asks them.
func (c *zoneCheck) look(ctx context.Context, servers []string, v *view) {
	begin := time.Now()
	f := &finder{stub: lookup.Stub{Servers: servers, Source: c.source, Most: maxQuestions}, net: c.net, tries: c.tries}
	finding, cancel := lookup.Share(ctx, 2)
	c.find(finding, f, v)
	cancel()
	v.questions = f.stub.Asked()
	v.phases.Add(phaseFind, time.Since(begin))
	if v.fault != nil {
		return
	}
	begin = time.Now()
	asking, cancel := lookup.Share(ctx, 2)
	c.askAll(asking, v)
	v.phases.Add(phaseAsk, time.Since(begin))
	cancel()
	if c.prover.anchors != nil && len(v.speakers()) > 0 {
		begin = time.Now()
		c.prove(ctx, f, v)
		v.phases.Add(phaseDNSSEC, time.Since(begin))
	}
}

// names of servers for a person, so many that a detail has room for them.
func listed(hosts []string) string {
	const most = 3
	var short []string
	for _, h := range hosts[:min(len(hosts), most)] {
		short = append(short, strings.TrimSuffix(h, "."))
	}
	if n := len(hosts) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(short, ", "), n)
	}
	return strings.Join(short, ", ")
}
