package verdict

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// The national case: every commune, and twenty services each.
const (
	nationUnits     = 3321
	nationServices  = 20
	nationProvinces = 34
	lostShare       = 0.05
)

// A nation is a model of that size, with what shares what.
type nation struct {
	m        Model
	units    []string
	services []string
	province map[string]int
	carriers []Component
}

func nationName(kind string, i int) string { return fmt.Sprintf("%s%02d", kind, i) }

// newNation: lan, inet, dns, and 17 services of the web. s03 and s04 share an address, s05 and s06 an address and an
// issuer of certificates, s07 needs s08, s09 to s12 stand in one zone, s18 and s19 are each unit's own sites.
func newNation(units int) *nation {
	n := &nation{province: map[string]int{}, m: Model{Services: map[string]Service{}, Units: map[string]Unit{}}}
	for i := range nationServices {
		id := nationName("s", i)
		n.services = append(n.services, id)
		s := Service{Every: time.Minute, Path: plan.Internet, Web: true, TLS: true, Host: id + ".vn", Zone: nationName("zone", i) + ".vn", Resolver: "s02"}
		switch i {
		case 0:
			s = Service{Every: time.Minute, Path: plan.LAN, Line: true}
		case 1:
			s = Service{Every: time.Minute, Path: plan.Internet, Line: true, Depends: []string{"s00"}}
		case 2:
			s = Service{Every: time.Minute, Path: plan.Internet, Resolver: "s02", Host: "ns.vn"}
		case 3, 4:
			s.Address = "192.0.2.3"
		case 5, 6:
			s.Address, s.Issuer = "192.0.2.5", "ca"
		case 7:
			s.Depends = []string{"s08"}
		case 9, 10, 11, 12:
			s.Zone = "tinh.vn"
		case 18, 19:
			s.PerUnit, s.Host = true, ""
		}
		n.m.Services[id] = s
	}
	for i := range units {
		id, p := fmt.Sprintf("u%04d", i), i%nationProvinces
		carrier := fmt.Sprintf("carrier-%d-%d", p, i/nationProvinces%3)
		n.units, n.province[id] = append(n.units, id), p
		n.m.Units[id] = Unit{Expected: true, Machines: []string{"pc-" + id}, Carriers: map[plan.Path]string{plan.Internet: carrier},
			Resolvers: map[string]string{"s02": fmt.Sprintf("ns-%d", p)}}
		if c := (Component{Kind: OfCarrier, Service: "s01", Name: carrier}); !slices.Contains(n.carriers, c) {
			n.carriers = append(n.carriers, c)
		}
	}
	return n
}

// A broken thing of the simulation says of every vote what becomes of it.
type broken struct {
	Component
	votes func(unit, service string) (check.Reason, bool)
}

// one makes a random fault. It knows nothing of how causes are found.
func (n *nation) one(r *rand.Rand) broken {
	unit := n.units[r.IntN(len(n.units))]
	pick := func(list ...check.Reason) check.Reason { return list[r.IntN(len(list))] }
	web := func(s string) bool { return n.m.Services[s].Web }
	cut := func(c Component, hit func(unit string) bool, first string) broken {
		return broken{c, func(u, s string) (check.Reason, bool) {
			switch {
			case !hit(u) || s < first:
				return "", false
			case s == "s00" || s == "s01":
				return check.Timeout, true
			}
			return check.NoUplink, true
		}}
	}
	far := func(c Component, why check.Reason, hit func(u, s string) bool) broken {
		return broken{c, func(u, s string) (check.Reason, bool) { return why, hit(u, s) }}
	}
	service := func(list ...int) string { return nationName("s", list[r.IntN(len(list))]) }
	switch r.IntN(12) {
	case 0, 1:
		return cut(Component{Kind: OfLine, Service: "s01", Unit: unit}, func(u string) bool { return u == unit }, "s01")
	case 2:
		return cut(Component{Kind: OfLAN, Service: "s00", Unit: unit}, func(u string) bool { return u == unit }, "s00")
	case 3:
		why := pick(check.CaptivePortal, check.TLSUntrusted)
		return far(Component{Kind: OfAccess, Unit: unit}, why, func(u, s string) bool { return u == unit && web(s) })
	case 4:
		c := n.carriers[r.IntN(len(n.carriers))]
		return cut(c, func(u string) bool { return n.m.Units[u].Carriers[plan.Internet] == c.Name }, "s01")
	case 5:
		site := service(18, 19)
		return far(Component{Kind: OfSite, Service: site, Unit: unit}, pick(check.HTTPStatus, check.ConnectRefused), func(u, s string) bool { return u == unit && s == site })
	case 6:
		id := service(7, 13, 14, 15, 16, 17)
		return far(Component{Kind: OfService, Service: id}, pick(check.ConnectRefused, check.HTTPStatus, check.ContentMissing, check.ContentForbidden, check.ConnectTimeout),
			func(_, s string) bool { return s == id })
	case 7:
		return far(Component{Kind: OfService, Service: "s08"}, pick(check.ConnectRefused, check.HTTPStatus), func(_, s string) bool { return s == "s07" || s == "s08" })
	case 8:
		id := service(9, 13, 14, 15, 16, 17)
		return far(Component{Kind: OfCertificate, Service: id}, pick(check.TLSExpired, check.TLSName, check.TLSUntrusted), func(_, s string) bool { return s == id })
	case 9:
		return far(Component{Kind: OfBackend, Name: "192.0.2.3"}, pick(check.ConnectRefused, check.ConnectTimeout, check.HTTPStatus), func(_, s string) bool { return s == "s03" || s == "s04" })
	case 10:
		p := r.IntN(nationProvinces)
		return far(Component{Kind: OfResolver, Service: "s02", Name: fmt.Sprintf("ns-%d", p)}, pick(check.DNSTimeout, check.DNSServfail),
			func(u, s string) bool { return n.province[u] == p && s > "s01" })
	}
	return far(Component{Kind: OfZone, Name: "tinh.vn"}, pick(check.DNSServfail, check.DNSBogus, check.DNSNXDomain), func(_, s string) bool { return s >= "s09" && s <= "s12" })
}

// faults makes up to n faults of which none hides another one: no vote is hit by two.
func (n *nation) faults(r *rand.Rand, most int) (out []broken) {
	taken := map[Component]bool{}
	for range most {
		b := n.one(r)
		var places []Component // units, provinces' lines and services that it touches
		all := func(kind Kind, names ...string) {
			for _, s := range names {
				places = append(places, Component{Kind: kind, Name: s})
			}
		}
		switch b.Kind {
		case OfService, OfCertificate, OfBackend, OfZone:
			for _, s := range n.services {
				if _, hit := b.votes(n.units[0], s); hit {
					all(OfService, s)
				}
			}
		default: // what strikes units excludes another one in the same province
			u := b.Unit
			for i := 0; u == "" && i < len(n.units); i++ {
				if _, hit := b.votes(n.units[i], "s02"); hit {
					u = n.units[i]
				}
			}
			all(OfFleet, fmt.Sprint(n.province[u]))
		}
		if slices.ContainsFunc(places, func(c Component) bool { return taken[c] }) {
			continue
		}
		for _, c := range places {
			taken[c] = true
		}
		out = append(out, b)
	}
	// What is nearer to the unit comes first: behind a cut line nobody sees what else is broken.
	near := func(b broken) int {
		return slices.Index([]Kind{OfLAN, OfLine, OfCarrier, OfResolver, OfAccess}, b.Kind)
	}
	slices.SortStableFunc(out, func(a, b broken) int { return cmp.Compare(uint(near(a)), uint(near(b))) })
	return out
}

// vote makes the standings of a round, services as a whole first.
func (n *nation) vote(r *rand.Rand, broken []broken, now time.Time) []Standing {
	out := make([]Standing, 0, len(n.services)*(len(n.units)+1))
	for _, s := range n.services {
		whole := len(out)
		out = append(out, Standing{})
		up, down := 0, 0
		for _, u := range n.units {
			why := check.OK
			for _, b := range broken {
				if w, hit := b.votes(u, s); hit {
					why = w
					break
				}
			}
			if r.Float64() < lostShare {
				why = check.Silent
			}
			switch why.State() {
			case check.Up:
				up++
			case check.Down:
				down++
			}
			out = append(out, Standing{Service: s, Unit: u, State: why.State(), Reason: why, Since: now.Add(-2 * time.Minute), Last: now.Add(-30 * time.Second), Every: time.Minute})
		}
		out[whole] = Standing{Service: s, State: check.Up, Reason: check.OK, Since: now.Add(-time.Hour), Last: now.Add(-30 * time.Second), Every: time.Minute}
		if down > up {
			out[whole].State, out[whole].Reason = check.Down, check.Timeout
		}
	}
	return out
}

// A rate counts statements against the truth.
type rate struct{ right, said, true int }

func (r rate) precision() float64 { return float64(r.right) / float64(max(1, r.said)) }
func (r rate) recall() float64    { return float64(r.right) / float64(max(1, r.true)) }

func (r *rate) add(said, truth map[Component]bool) {
	r.said += len(said)
	r.true += len(truth)
	for c := range said {
		if truth[c] {
			r.right++
		}
	}
}

// quorumRule is what a monitor without a model of risks says: a service of which k units have it down is broken, and of
// fewer it is the unit's own line. With k = 1 it is the naive rule: any check that is down is an alert about its service.
func quorumRule(standings []Standing, k int) map[Component]bool {
	down := map[string][]string{}
	for _, s := range standings {
		if s.Unit != "" && s.State == check.Down {
			down[s.Service] = append(down[s.Service], s.Unit)
		}
	}
	said := map[Component]bool{}
	for s, units := range down {
		if len(units) >= k {
			said[Component{Kind: OfService, Service: s}] = true
			continue
		}
		for _, u := range units {
			said[Component{Kind: OfLine, Service: "s01", Unit: u}] = true
		}
	}
	return said
}

func TestSimulation(t *testing.T) {
	const rounds, most, quorum = 9, 24, 3
	n := newNation(nationUnits)
	now := noon
	var ours, naive, kofn rate
	wrong := 0
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 8))
		broken := n.faults(r, 1+r.IntN(most))
		standings := n.vote(r, broken, now)
		truth, said := map[Component]bool{}, map[Component]bool{}
		for _, b := range broken {
			truth[b.Component] = true
		}
		for _, c := range Locate(standings, n.m, Moment{Now: now}).Causes {
			said[c.Component] = true
			if !truth[c.Component] && wrong < 5 {
				wrong++
				t.Logf("seed %d: said %+v (%d failures, %d against, %.2f) in vain; or %v", seed, c.Component, c.Votes.Down, c.Votes.Up, c.Confidence, c.Or)
			}
		}
		for c := range truth {
			if !said[c] && wrong < 10 {
				wrong++
				t.Logf("seed %d: missed %+v", seed, c)
			}
		}
		ours.add(said, truth)
		naive.add(quorumRule(standings, 1), truth)
		kofn.add(quorumRule(standings, quorum), truth)
	}
	t.Logf("%d votes a round, %d rounds, %d faults:     precision  recall", nationUnits*nationServices, rounds, ours.true)
	for name, r := range map[string]rate{"verdict": ours, "naive rule": naive, "3 of n": kofn} {
		t.Logf("%-12s %5.3f  %5.3f  (%d statements)", name, r.precision(), r.recall(), r.said)
	}
	if ours.precision() < 0.97 || ours.recall() < 0.97 {
		t.Errorf("precision %.3f, recall %.3f, want 0.97 and more", ours.precision(), ours.recall())
	}
	if ours.true < 60 {
		t.Errorf("only %d faults were played", ours.true)
	}
}

func BenchmarkVerdict(b *testing.B) {
	n := newNation(nationUnits)
	r := rand.New(rand.NewPCG(1, 8))
	broken := n.faults(r, 12)
	standings := n.vote(r, broken, noon)
	b.ReportMetric(float64(nationUnits*nationServices), "votes/op")
	for b.Loop() {
		Judge(standings, n.m, Moment{Now: noon})
	}
}
