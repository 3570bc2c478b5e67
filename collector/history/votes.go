package history

import (
	"cmp"
	"slices"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A vote is what a machine or a unit says of a service in a stretch.
type vote struct {
	Span
	reason  check.Reason // of the vote, or why there is none
	carrier string
	planned bool // a plan asks for a deciding check
	votes   bool
}

// A Judgement is the state of a service over a stretch: as a whole, and as each unit that watches it has it.
type Judgement struct {
	Runs  []Run // cover the whole stretch
	Units []Unit
}

// A Unit is how one unit has a service.
type Unit struct {
	ID   string
	Runs []Run // cover the whole stretch
}

// A Bench judges services by rule votes/1 over what machines measured.
type Bench struct {
	machines map[string]*Machine
	proofs   map[proof][]Run
	span     Span

	catalogue Catalogue // what derived services rest on; see With
}

type proof struct {
	machine string
	path    plan.Path
}

// NewBench returns a bench for a stretch that the machines' runs are known for. Machines that are not there have
// measured nothing and had no plan.
func NewBench(machines map[string]*Machine, s Span) *Bench {
	return &Bench{machines: machines, proofs: map[proof][]Run{}, span: s}
}

// With gives the bench the services that derived ones rest on; without them those are not known.
func (b *Bench) With(cat Catalogue) *Bench {
	b.catalogue = cat
	return b
}

// Judge returns the state of the service in s, which lies within the bench's stretch. Units stand in the order of the
// service's watchers. A service that is derived or attested is judged by what it rests on; no machine votes on it.
func (b *Bench) Judge(svc Service, s Span) Judgement { return b.judge(svc, s, 0) }

func (b *Bench) judge(svc Service, s Span, depth int) Judgement {
	s = s.Meet(b.span)
	switch {
	case s.Seconds() == 0:
		return Judgement{}
	case svc.Derived != nil:
		return b.judgeDerived(svc, s, depth)
	case svc.Attested:
		return judgeWords(svc, s)
	}
	var names []string
	byUnit := map[string][][]vote{}
	for _, w := range svc.Watchers {
		if _, ok := byUnit[w.Unit]; !ok {
			names = append(names, w.Unit)
		}
		byUnit[w.Unit] = append(byUnit[w.Unit], b.watch(svc, w, s))
	}
	units := make([][]vote, len(names))
	j := Judgement{Units: make([]Unit, len(names))}
	for i, name := range names {
		units[i] = unite(byUnit[name], s)
		j.Units[i] = Unit{ID: name}
		for _, v := range units[i] {
			j.Units[i].Runs = Append(j.Units[i].Runs, Run{v.Span, v.reason})
		}
	}
	j.Runs = decide(units, svc.Quorum, s)
	return j
}

// watch returns the votes of one machine over all of s.
func (b *Bench) watch(svc Service, w Watcher, s Span) []vote {
	var out []vote
	at := s.From
	idle := func(to int64) {
		if at < to {
			out = append(out, vote{Span: Span{at, to}, reason: check.NotPlanned, carrier: w.Carrier})
		}
	}
	m := b.machines[w.Machine]
	if m != nil {
		for _, e := range m.Epochs {
			in := e.Span.Meet(open(w.Valid)).Meet(s)
			if in.Seconds() == 0 {
				continue
			}
			idle(in.From)
			out = b.epoch(out, svc, w, m, e, in)
			at = in.To
		}
	}
	idle(s.To)
	return out
}

// epoch appends the votes of a machine while one plan was in force.
func (b *Bench) epoch(out []vote, svc Service, w Watcher, m *Machine, e Epoch, s Span) []vote {
	var lists [][]Run // those of the deciding checks, then the proofs
	var paths []plan.Path
	planned := false
	for _, id := range svc.Deciding {
		c, ok := e.check(id)
		if !ok {
			lists = append(lists, []Run{{s, w.lacking(id)}})
			continue
		}
		planned = true
		lists = append(lists, Fill(m.Runs[id], s, check.Silent))
		if c.Path != plan.LAN && !lineKind(c.Kind) && !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	deciding := len(lists)
	for _, p := range paths {
		key := proof{m.Name, p}
		if _, ok := b.proofs[key]; !ok {
			b.proofs[key] = m.proven(p, b.span)
		}
		lists = append(lists, Clip(b.proofs[key], s))
	}
	sweep(s, lists, func(r Run) Span { return r.Span }, func(in Span, at []Run) {
		v := vote{Span: in, reason: check.NotPlanned, carrier: w.Carrier, planned: planned}
		line := true
		for i, r := range at {
			switch {
			case r.Reason == check.NoUplink:
				line = false
			case i >= deciding:
				continue
			}
			if i < deciding && (i == 0 || worse(r.State(), v.reason.State())) {
				v.reason = r.Reason
			}
		}
		v.votes = line && v.reason.State() != check.Unknown
		if !line && v.reason.State() != check.Unknown {
			v.reason = check.NoUplink
		}
		out = append(out, v)
	})
	return out
}

// lacking says why no plan has a deciding check.
func (w Watcher) lacking(id string) check.Reason {
	if slices.Contains(w.NotConfigured, id) {
		return check.NotConfigured
	}
	return check.NotPlanned
}

// gravity orders states for a machine's vote: down > unknown > degraded > up.
func gravity(s check.State) int {
	switch s {
	case check.Up:
		return 0
	case check.Degraded:
		return 1
	case check.Unknown:
		return 2
	default:
		return 3
	}
}

func worse(a, b check.State) bool { return gravity(a) > gravity(b) }

// telling orders the reasons for having no vote: what a machine said of itself tells more than its silence.
func telling(r check.Reason) int {
	switch r {
	case check.NotPlanned:
		return 0
	case check.Silent:
		return 1
	default:
		return 2
	}
}

// unite returns the one vote of a unit: the best of its machines that vote; of none, the most telling reason why.
func unite(machines [][]vote, s Span) []vote {
	if len(machines) == 1 {
		return machines[0]
	}
	var out []vote
	sweep(s, machines, func(v vote) Span { return v.Span }, func(in Span, at []vote) {
		u := at[0]
		planned := u.planned
		for _, v := range at[1:] {
			planned = planned || v.planned
			switch {
			case v.votes != u.votes:
				if v.votes {
					u = v
				}
			case v.votes && worse(u.reason.State(), v.reason.State()),
				!v.votes && telling(v.reason) > telling(u.reason):
				u = v
			}
		}
		u.Span, u.planned = in, planned
		out = append(out, u)
	})
	return out
}

// sweep calls f for every stretch of s in which nothing changes, with the item of each list there. Each list covers all
// of s.
func sweep[T any](s Span, lists [][]T, span func(T) Span, f func(Span, []T)) {
	if len(lists) == 0 {
		return
	}
	next := make([]int, len(lists))
	now := make([]T, len(lists))
	for at := s.From; at < s.To; {
		end := s.To
		for i, l := range lists {
			for span(l[next[i]]).To <= at {
				next[i]++
			}
			now[i] = l[next[i]]
			end = min(end, span(now[i]).To)
		}
		f(Span{at, end}, now)
		at = end
	}
}

// A tally counts the votes of all units at one second.
type tally struct {
	units    map[check.State]int
	reasons  map[check.Reason]int // of votes, and of units without one
	carriers map[string]int
	planned  int
}

func (t *tally) count(v vote, n int) {
	if v.planned {
		t.planned += n
	}
	bump(t.reasons, v.reason, n)
	if v.votes {
		t.units[v.reason.State()] += n
		bump(t.carriers, v.carrier, n)
	}
}

func bump[K comparable](m map[K]int, k K, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

// result returns what the votes decide.
func (t *tally) result(q Quorum) check.Reason {
	need, carriers := q.Units, q.Carriers
	if need <= 0 {
		need = max(1, min(2, t.planned))
	}
	good := t.units[check.Up] + t.units[check.Degraded]
	voting := good + t.units[check.Down]
	switch {
	case voting < need || len(t.carriers) < max(1, carriers):
		return t.most(check.Unknown)
	case 2*good < voting:
		return t.most(check.Down)
	case 2*t.units[check.Degraded] >= good:
		return t.most(check.Degraded)
	default:
		return check.OK
	}
}

// most returns the reason of a state that most units have, of equal ones the first by alphabet. Where every planned unit
// votes and they are still too few, no plan covers what is missing.
func (t *tally) most(s check.State) check.Reason {
	best, n := check.NotPlanned, 0
	for r, k := range t.reasons {
		if r.State() == s && (k > n || k == n && r < best) {
			best, n = r, k
		}
	}
	return best
}

// decide returns the state of a service from the votes of units, each of which covers all of s.
func decide(units [][]vote, q Quorum, s Span) []Run {
	type change struct {
		at      int64
		unit, k int
	}
	var changes []change
	for u, votes := range units {
		for k, v := range votes {
			changes = append(changes, change{v.From, u, k})
		}
	}
	if len(changes) == 0 {
		return []Run{{s, check.NotPlanned}}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	t := tally{map[check.State]int{}, map[check.Reason]int{}, map[string]int{}, 0}
	var out []Run
	for i := 0; i < len(changes); {
		at := changes[i].at
		for ; i < len(changes) && changes[i].at == at; i++ {
			c := changes[i]
			if c.k > 0 {
				t.count(units[c.unit][c.k-1], -1)
			}
			t.count(units[c.unit][c.k], 1)
		}
		end := s.To
		if i < len(changes) {
			end = changes[i].at
		}
		out = Append(out, Run{Span{at, end}, t.result(q)})
	}
	return out
}
