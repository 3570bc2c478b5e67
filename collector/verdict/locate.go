package verdict

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

// Bounds and costs of localisation, in nats where they are costs.
const (
	enter = 2.0 / 3 // of the votes through a component must fail before it is blamed
	leave = 1.0 / 3 // of them must fail for it to stay blamed

	noiseCost     = 5.0 // of a failure that nothing blamed explains
	successCost   = 3.0 // of a success that says otherwise
	successActive = 1.0 // likewise, of what was blamed before

	oddShare = 1e-4 // of the cost of a reason, that each failure adds beyond the first

	exactMost   = 14        // candidates of a group up to which the cheapest set is found for certain
	undecided   = 1.0986123 // ln 3: the other explanation is less than three times less likely
	maxListed   = 100       // contradictions, unexplained votes and doubts that a verdict lists
	futureLimit = 2 * time.Minute
)

// A Moment is when standings are judged, and what was blamed before.
type Moment struct {
	Now      time.Time     // the zero Time takes every vote as fresh
	Lateness time.Duration // how long after its slot ended a result may come and still speak for now
	Before   []Component   // the causes of the last verdict, which stay until at most a third of their votes fail
}

// A Ballot is what one unit says of one service.
type Ballot struct {
	Unit, Service string
	State         check.State
	Reason        check.Reason
}

// A Cause is a component that is broken, as far as the votes tell.
type Cause struct {
	Component
	Reason     check.Reason // the commonest
	Votes      Votes        // of the votes through it: Down are the failures that it explains, Up the successes against it
	Confidence float64      // from 0 to 1
	Services   []string     // what it hurts, in the order of the alphabet
	Units      []string     // where, likewise
	Owner      string       // the operator who can mend it; "" where the model does not say
	Or         []Component  // explanations that are less than three times less likely: what could not be decided
	Against    []Ballot     // votes that contradict it, the first ones of many
}

// A Doubt is a unit whose votes the others contradict: its agent is wrong, or lies.
type Doubt struct {
	Unit    string
	Machine string   // its probes, in one line
	Against int      // how many of its votes the others contradict
	Votes   int      // of so many
	Ballots []Ballot // the first of those
}

// A Location is the smallest set of components that explains the fresh failures, and what it leaves open.
type Location struct {
	Causes      []Cause
	Unexplained []Ballot // failures that no cause explains, the first ones of many
	Left        int      // how many there are
	Doubts      []Doubt
	Stale       int // votes that were too old, or from the future, and did not count
	// Bound is how many times the cost of the best set the cost of this one may be, at most: 1 where it is the best.
	Bound float64
}

// A locator works one location out.
type locator struct {
	m      Model
	at     Moment
	r      *risks
	traits map[Kind]trait

	votes []vote
	known []int32   // by component: votes that speak, among those that a success contradicts
	fails []int32   // by component: of those, failures that it could have caused
	ups   []int32   // by component: successes
	odd   []float64 // by component: how odd the reasons of those failures are for it, added up
	voted map[string]*tally
	loc   Location

	active     []bool
	admissible []bool
	costs      [][layers]float64 // by component: of a failure of that layer; +Inf is never
}

// A vote is a failure.
type vote struct {
	standing int32
	unit     *unitRisks
	service  *serviceRisks
	site     int32
	layer    layer
}

// A tally counts what the units say of a service.
type tally struct{ up, down int }

// Locate says which components are broken, by the votes of the units. It is a pure function: the same standings, model
// and moment give the same location, in whatever order the standings come.
//
// It is risk-model localisation as in SCORE (Kompella et al., NSDI 2005) with priors by reason layer as in Sherlock (Bahl
// et al., SIGCOMM 2007). A component is a candidate when at least two thirds of the votes through it fail in a way that it
// can bring about (the hit ratio); of the candidates, the cheapest set is chosen, where each has its prior, each failure
// the cost of its reason under what explains it, and each success against a chosen one a cost of its own. Groups of at
// most 14 candidates are searched in full; larger ones are chosen greedily, within the bound of weighted set cover.
func Locate(standings []Standing, m Model, at Moment) Location {
	l := &locator{m: m, at: at, r: newRisks(m), traits: traits(), voted: map[string]*tally{}}
	sorted := slices.IsSortedFunc(standings, order)
	if !sorted {
		standings = slices.Clone(standings)
		slices.SortStableFunc(standings, order)
	}
	return l.locate(standings)
}

func order(a, b Standing) int {
	return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Unit, b.Unit))
}

func (l *locator) locate(standings []Standing) Location {
	failures := l.read(standings)
	l.prepare()
	l.count(standings, failures)
	classes := l.classes()
	chosen := l.choose(classes)
	l.state(standings, classes, chosen)
	l.doubt(standings, chosen)
	return l.loc
}

// fresh reports whether a vote speaks for now.
func (l *locator) fresh(s *Standing) bool {
	if l.at.Now.IsZero() || s.Last.IsZero() {
		return true
	}
	every := cmp.Or(s.Every, l.m.Services[s.Service].Every, shortest)
	age := l.at.Now.Sub(s.Last)
	return age <= 2*every+l.at.Lateness && age >= -futureLimit
}

// read sorts out what speaks: it counts the successes, and returns the places of the failures.
func (l *locator) read(standings []Standing) (failures []int32) {
	for i := range standings {
		s := &standings[i]
		if s.Unit == "" || !s.State.Known() && s.Reason != check.NoUplink {
			continue
		}
		if !l.fresh(s) {
			l.loc.Stale++
			continue
		}
		if !s.State.Known() {
			failures = append(failures, int32(i))
			continue
		}
		t := l.voted[s.Service]
		if t == nil {
			t = &tally{}
			l.voted[s.Service] = t
		}
		if s.State == check.Down {
			t.down++
			failures = append(failures, int32(i))
			continue
		}
		t.up++
	}
	return failures
}

// prepare makes the components and what failures cost under them. Sites come only with their failures.
func (l *locator) prepare() {
	n := len(l.r.list)
	l.known, l.fails, l.ups, l.odd = make([]int32, n), make([]int32, n), make([]int32, n), make([]float64, n)
	l.active = make([]bool, n)
	for _, c := range l.at.Before {
		if i, ok := l.r.ids[c]; ok {
			l.active[i] = true
		}
	}
	for i := range l.r.list {
		l.costs = append(l.costs, l.costsOf(l.r.list[i].Kind))
	}
}

func (l *locator) costsOf(k Kind) (out [layers]float64) {
	for i, w := range l.traits[k].weight {
		out[i] = math.Inf(1)
		if w > 0 {
			out[i] = -math.Log(w)
		}
	}
	return out
}

// site returns the component of what a service is for one unit alone.
func (l *locator) site(s *Standing) int32 {
	c := Component{Kind: OfSite, Service: s.Service, Unit: s.Unit}
	n := len(l.r.list)
	i := l.r.id(c)
	if int(i) == n {
		l.known, l.fails, l.ups, l.odd = append(l.known, 0), append(l.fails, 0), append(l.ups, 0), append(l.odd, 0)
		l.active, l.costs = append(l.active, slices.Contains(l.at.Before, c)), append(l.costs, l.costsOf(OfSite))
	}
	return i
}

// count adds up, by component, how many votes pass through it, and how many fail as it would make them.
func (l *locator) count(standings []Standing, failures []int32) {
	for i := range standings {
		s := &standings[i]
		if s.Unit == "" || s.State != check.Up && s.State != check.Degraded || !l.fresh(s) {
			continue
		}
		u, service := l.r.units[s.Unit], l.r.service[s.Service]
		if u == nil || service == nil {
			continue
		}
		l.r.each(u, service, -1, func(c int32, core bool) {
			if core {
				l.known[c]++
				l.ups[c]++
			}
		})
	}
	for _, i := range failures {
		s := &standings[i]
		v := vote{standing: i, unit: l.r.units[s.Unit], service: l.r.service[s.Service], site: -1, layer: layerOf(s.Reason)}
		if v.unit == nil || v.service == nil {
			l.leaveOut(s)
			continue
		}
		if v.service.perUnit {
			v.site = l.site(s)
		}
		l.r.each(v.unit, v.service, v.site, func(c int32, core bool) {
			possible := !math.IsInf(l.costs[c][v.layer], 1)
			if !core || v.layer == cut && !possible {
				return
			}
			l.known[c]++
			if possible {
				l.fails[c]++
				l.odd[c] += l.costs[c][v.layer]
			}
		})
		l.votes = append(l.votes, v)
	}
	l.admissible = make([]bool, len(l.r.list))
	for c := range l.admissible {
		need := enter
		if l.active[c] {
			need = leave
		}
		// Of a part that only dependants show, nothing is known but what they say.
		l.admissible[c] = l.fails[c] > 0 && float64(l.fails[c]) >= need*float64(l.known[c])-1e-9
	}
}

func (l *locator) leaveOut(s *Standing) {
	if s.State != check.Down {
		return
	}
	l.loc.Left++
	if len(l.loc.Unexplained) < maxListed {
		l.loc.Unexplained = append(l.loc.Unexplained, Ballot{s.Unit, s.Service, s.State, s.Reason})
	}
}

// A class is failures that the same candidates explain at the same cost.
type class struct {
	cands []int32
	layer layer
	votes []int32 // places in locator.votes
	by    int32   // the candidate that explains it; -1 without
}

// classes sorts the failures by what could explain them.
func (l *locator) classes() []class {
	var out []class
	at := map[string]int{}
	var key []byte
	for k := range l.votes {
		v := &l.votes[k]
		key = append(key[:0], byte(v.layer))
		l.r.each(v.unit, v.service, v.site, func(c int32, _ bool) {
			if l.admissible[c] && l.costs[c][v.layer] < v.layer.noise() {
				key = binary.BigEndian.AppendUint32(key, uint32(c))
			}
		})
		i, ok := at[string(key)]
		if !ok {
			i = len(out)
			at[string(key)] = i
			n := class{layer: v.layer, by: -1}
			for b := key[1:]; len(b) > 0; b = b[4:] {
				n.cands = append(n.cands, int32(binary.BigEndian.Uint32(b)))
			}
			out = append(out, n)
		}
		out[i].votes = append(out[i].votes, int32(k))
	}
	return out
}
