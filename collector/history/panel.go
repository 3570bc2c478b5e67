package history

import (
	"cmp"
	"slices"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A code stands for a reason, and a carrier for the name of one, as long as one service is judged: a year of a district is some
// ten thousand votes, of the whole country some millions, and words are slow to compare.
type (
	code    uint16
	carrier uint32
)

// The codes that the rule itself names.
const (
	notPlanned code = iota
	silent
	noUplink
)

// A panel judges one service: it holds the votes, and the words that they stand for.
type panel struct {
	reasons  []check.Reason // by code
	states   []check.State  // likewise
	carriers []string

	room  []vote // where the votes of machines stand, one after the other
	lists []cursor
	paths []plan.Path
}

func newPanel() *panel {
	p := &panel{}
	for _, r := range []check.Reason{check.NotPlanned, check.Silent, check.NoUplink} { // in the order of the constants
		p.of(r)
	}
	return p
}

// of returns the code of a reason. They are few: those that one service was ever given.
func (p *panel) of(r check.Reason) code {
	for i, have := range p.reasons {
		if have == r {
			return code(i)
		}
	}
	p.reasons, p.states = append(p.reasons, r), append(p.states, r.State())
	return code(len(p.reasons) - 1)
}

func (p *panel) carrier(name string) carrier {
	i := slices.Index(p.carriers, name)
	if i < 0 {
		i = len(p.carriers)
		p.carriers = append(p.carriers, name)
	}
	return carrier(i)
}

// cast puts a vote behind those from begin on, joined with the last where it says the same.
func (p *panel) cast(v vote, begin int) {
	if n := len(p.room); n > begin && p.room[n-1].To == v.From && same(p.room[n-1], v) {
		p.room[n-1].To = v.To
		return
	}
	p.room = append(p.room, v)
}

// same reports whether two votes differ in nothing but their stretch.
func same(a, b vote) bool {
	b.Span = a.Span
	return a == b
}

// runs returns what votes, one after the other, say.
func (p *panel) runs(votes []vote) []Run {
	out := make([]Run, 0, len(votes))
	for i := 0; i < len(votes); {
		r := Run{votes[i].Span, p.reasons[votes[i].reason]}
		k := i + 1
		for ; k < len(votes) && votes[k].From == r.To && votes[k].reason == votes[i].reason; k++ {
			r.To = votes[k].To
		}
		out = append(out, r)
		i = k
	}
	return out
}

// A cursor is asked for ever later seconds of sorted runs.
type cursor struct {
	runs []Run
	gap  code // where they say nothing
	next int
	of   code // of runs[next]
	read bool // of is known
}

// from returns a cursor that is first asked for the second at.
func from(runs []Run, at int64, gap code) cursor {
	i, _ := slices.BinarySearchFunc(runs, at, ending)
	return cursor{runs: runs, gap: gap, next: i}
}

// ending orders runs by where they end: those that end at t or before stand before it.
func ending(r Run, t int64) int {
	if r.To <= t {
		return -1
	}
	return 1
}

// at returns what is said of the second t, and until when that stays so, at most until.
func (c *cursor) at(p *panel, t, until int64) (code, int64) {
	for c.next < len(c.runs) && c.runs[c.next].To <= t {
		c.next++
		c.read = false
	}
	if c.next == len(c.runs) {
		return c.gap, until
	}
	r := &c.runs[c.next]
	if r.From > t {
		return c.gap, min(until, r.From)
	}
	if !c.read {
		c.of, c.read = p.of(r.Reason), true
	}
	return c.of, min(until, r.To)
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

func (p *panel) worse(a, b code) bool { return gravity(p.states[a]) > gravity(p.states[b]) }

// telling orders the reasons for having no vote: what a machine said of itself tells more than its silence.
func telling(r code) int {
	switch r {
	case notPlanned:
		return 0
	case silent:
		return 1
	default:
		return 2
	}
}

// unite returns the one vote of a unit: the best of its machines that vote; of none, the most telling reason why.
func (p *panel) unite(machines [][]vote, s Span) []vote {
	if len(machines) == 1 {
		return machines[0]
	}
	begin := len(p.room)
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
			case v.votes && p.worse(u.reason, v.reason),
				!v.votes && telling(v.reason) > telling(u.reason):
				u = v
			}
		}
		u.Span, u.planned = in, planned
		p.cast(u, begin)
	})
	return p.room[begin:len(p.room):len(p.room)]
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
	*panel
	units     [4]int // that vote, by gravity
	of        []int  // by code: of votes, and of units without one
	on        []int  // votes by carrier
	different int    // carriers that any vote is on
	planned   int
}

func (t *tally) count(v *vote, n int) {
	if v.planned {
		t.planned += n
	}
	t.of[v.reason] += n
	if !v.votes {
		return
	}
	t.units[gravity(t.states[v.reason])] += n
	before := t.on[v.carrier]
	t.on[v.carrier] += n
	switch {
	case before == 0:
		t.different++
	case before+n == 0:
		t.different--
	}
}

// result returns what the votes decide.
func (t *tally) result(q Quorum) code {
	need, carriers := q.Units, q.Carriers
	if need <= 0 {
		need = max(1, min(2, t.planned))
	}
	degraded := t.units[gravity(check.Degraded)]
	good := t.units[gravity(check.Up)] + degraded
	voting := good + t.units[gravity(check.Down)]
	switch {
	case voting < need || t.different < max(1, carriers):
		return t.most(check.Unknown)
	case 2*good < voting:
		return t.most(check.Down)
	case 2*degraded >= good:
		return t.most(check.Degraded)
	default:
		return t.panel.of(check.OK)
	}
}

// most returns the reason of a state that most units have, of equal ones the first by alphabet. Where every planned unit
// votes and they are still too few, no plan covers what is missing.
func (t *tally) most(s check.State) code {
	best, n := notPlanned, 0
	for r, k := range t.of {
		if k > 0 && t.states[r] == s && (k > n || k == n && t.reasons[r] < t.reasons[best]) {
			best, n = code(r), k
		}
	}
	return best
}

// A change is a second from which on a unit says something else.
type change struct {
	at   int64
	unit int32
	vote int32 // of the unit
}

// decide returns the state of a service from the votes of units, each of which covers all of s.
func (p *panel) decide(units [][]vote, q Quorum, s Span) []Run {
	n := 0
	for _, votes := range units {
		n += len(votes)
	}
	if n == 0 {
		return []Run{{s, check.NotPlanned}}
	}
	changes := make([]change, 0, n)
	for u, votes := range units {
		for k := range votes {
			changes = append(changes, change{votes[k].From, int32(u), int32(k)})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	p.of(check.OK) // every code that there is
	t := tally{panel: p, of: make([]int, len(p.reasons)), on: make([]int, len(p.carriers))}
	var out []vote
	for i := 0; i < len(changes); {
		at := changes[i].at
		for ; i < len(changes) && changes[i].at == at; i++ {
			c := changes[i]
			votes := units[c.unit]
			if c.vote > 0 {
				t.count(&votes[c.vote-1], -1)
			}
			t.count(&votes[c.vote], 1)
		}
		end := s.To
		if i < len(changes) {
			end = changes[i].at
		}
		r := t.result(q)
		if n := len(out); n > 0 && out[n-1].reason == r {
			out[n-1].To = end
			continue
		}
		out = append(out, vote{Span: Span{at, end}, reason: r})
	}
	return p.runs(out)
}
