package verdict

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A share is what a chosen component explains.
type share struct {
	classes  []*class
	reasons  map[check.Reason]int
	services map[string]bool
	units    map[string]bool
	n        int
}

// state puts what was chosen into causes, the one with the most votes first.
func (l *locator) state(standings []Standing, classes []class, chosen []int32) {
	shares := map[int32]*share{}
	for _, c := range chosen {
		shares[c] = &share{reasons: map[check.Reason]int{}, services: map[string]bool{}, units: map[string]bool{}}
	}
	for i := range classes {
		cl := &classes[i]
		if cl.by < 0 {
			for _, k := range cl.votes {
				l.leaveOut(&standings[l.votes[k].standing])
			}
			continue
		}
		sh := shares[cl.by]
		sh.classes = append(sh.classes, cl)
		for _, k := range cl.votes {
			s := &standings[l.votes[k].standing]
			sh.services[s.Service], sh.units[s.Unit] = true, true
			if sh.n++; s.State == check.Down {
				sh.reasons[s.Reason]++
			}
		}
	}
	for _, c := range chosen {
		sh := shares[c]
		if sh.n == 0 {
			continue
		}
		cause := Cause{Component: l.r.list[c], Votes: Votes{Up: int(l.ups[c]), Down: sh.n}, Reason: commonest(sh.reasons),
			Services: slices.Sorted(maps.Keys(sh.services)), Units: slices.Sorted(maps.Keys(sh.units))}
		cause.Owner = l.m.ownerOf(&cause)
		cause.Confidence, cause.Or = l.sure(c, sh, chosen)
		l.loc.Causes = append(l.loc.Causes, cause)
	}
	slices.SortFunc(l.loc.Causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Votes.Down, a.Votes.Down), compare(a.Component, b.Component))
	})
	slices.SortFunc(l.loc.Unexplained, func(a, b Ballot) int {
		return cmp.Or(strings.Compare(a.Unit, b.Unit), strings.Compare(a.Service, b.Service))
	})
}

// ownerOf names the operator who can mend a cause: of a line or carrier, who runs such lines; of what a unit has, who
// answers for its own network; of the others, who runs the service, or most of the services.
func (m Model) ownerOf(c *Cause) string {
	judges := m.lineServices()
	switch c.Kind {
	case OfLine, OfCarrier, OfNetwork:
		return m.Services[cmp.Or(c.Service, judges[plan.Internet])].Operator
	case OfLAN, OfMachine:
		return m.Services[judges[plan.LAN]].Operator
	case OfAccess:
		if layerOf(c.Reason) == reach { // packets vanish on the line; nobody answers in the target's place
			return m.Services[judges[plan.Internet]].Operator
		}
		return m.Services[judges[plan.LAN]].Operator
	}
	if c.Service != "" {
		return m.Services[c.Service].Operator
	}
	counts := map[string]int{}
	for _, s := range c.Services {
		counts[m.Services[s].Operator]++
	}
	best := ""
	for _, o := range slices.Sorted(maps.Keys(counts)) {
		if counts[o] > counts[best] {
			best = o
		}
	}
	return best
}

func compare(a, b Component) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Service, b.Service), strings.Compare(a.Unit, b.Unit), strings.Compare(a.Name, b.Name))
}

// commonest returns the reason that most failures have; no_uplink where none was seen.
func commonest(reasons map[check.Reason]int) (best check.Reason) {
	if len(reasons) == 0 {
		return check.NoUplink
	}
	for r, n := range reasons {
		if n > reasons[best] || n == reasons[best] && r < best {
			best = r
		}
	}
	return best
}

// sure says how likely a chosen component is, against the others that explain the same failures, and names those that are
// nearly as likely.
func (l *locator) sure(c int32, sh *share, chosen []int32) (confidence float64, or []Component) {
	cost := func(x int32) float64 {
		sum := l.prior(x)
		for _, cl := range sh.classes {
			sum += l.shown(cl, x)
		}
		return sum
	}
	weight := 1.0
	for _, x := range sh.classes[0].cands {
		if x == c || slices.Contains(chosen, x) || slices.ContainsFunc(sh.classes, func(cl *class) bool { return !slices.Contains(cl.cands, x) }) {
			continue
		}
		d := cost(x) - cost(c)
		weight += math.Exp(-max(d, -5))
		if d < undecided {
			or = append(or, l.r.list[x])
		}
	}
	slices.SortFunc(or, compare)
	hit := float64(sh.n+1) / float64(sh.n+int(l.ups[c])+2)
	return hit / weight, or
}

// doubt collects the votes that the verdict contradicts: successes through what is broken for all others, and failures
// that nothing explains of services that work for the others.
func (l *locator) doubt(standings []Standing, chosen []int32) {
	place := map[int32]int{} // of a component's cause
	for _, c := range chosen {
		if i := slices.IndexFunc(l.loc.Causes, func(x Cause) bool { return x.Component == l.r.list[c] }); i >= 0 && l.ups[c] > 0 {
			place[c] = i
		}
	}
	votes, against := map[string]int{}, map[string][]Ballot{}
	unexplained := map[Ballot]bool{}
	for _, b := range l.loc.Unexplained {
		unexplained[b] = true
	}
	if len(place) == 0 && len(unexplained) == 0 {
		return
	}
	for i := range standings {
		s := &standings[i]
		u, service := l.r.units[s.Unit], l.r.service[s.Service]
		if s.Unit == "" || !s.State.Known() || u == nil || service == nil || !l.fresh(s) {
			continue
		}
		votes[s.Unit]++
		b := Ballot{s.Unit, s.Service, s.State, s.Reason}
		if s.State == check.Down {
			if t := l.voted[s.Service]; unexplained[b] && t.up >= 2*t.down {
				against[s.Unit] = append(against[s.Unit], b)
			}
			continue
		}
		told := false
		l.r.each(u, service, -1, func(c int32, core bool) {
			k, ok := place[c]
			if !ok || !core {
				return
			}
			if list := &l.loc.Causes[k].Against; len(*list) < maxListed {
				*list = append(*list, b)
			}
			if !told && l.loc.Causes[k].Votes.Down >= 2 {
				told = true
				against[s.Unit] = append(against[s.Unit], b)
			}
		})
	}
	for _, unit := range slices.Sorted(maps.Keys(against)) {
		if len(l.loc.Doubts) == maxListed {
			return
		}
		list := against[unit]
		d := Doubt{Unit: unit, Against: len(list), Votes: votes[unit], Ballots: list[:min(len(list), maxListed)]}
		d.Machine = l.r.list[l.r.units[unit].machine].Name
		l.loc.Doubts = append(l.loc.Doubts, d)
	}
}
