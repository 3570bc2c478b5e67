package history

import (
	"slices"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// An Epoch is a stretch in which one plan was in force on a machine. It ends when the machine applies another plan, and
// not when the agent stops: what a stopped agent should have measured is missing, not unplanned.
type Epoch struct {
	Span
	Plan *Plan
}

// check returns the check of the plan.
func (e Epoch) check(id string) (Check, bool) {
	for _, c := range e.Plan.Checks {
		if c.ID == id {
			return c, true
		}
	}
	return Check{}, false
}

// anchored reports whether the plan names anchors for the path, so that a check can be gated by its line.
func (e Epoch) anchored(path plan.Path) bool {
	return slices.ContainsFunc(e.Plan.Checks, func(c Check) bool { return c.Kind == "uplink" && c.Path == path })
}

// Epochs returns the stretches in which plans were in force, from the plans in the order in which the machine applied
// them, journal after journal. Each is in force from its At until the next one's At, the last one until end; a plan that
// a stepped clock applied before its predecessors replaces those from there on.
func Epochs(applied []Plan, end int64) []Epoch {
	var out []Epoch
	for i := range applied {
		at := applied[i].At.Unix()
		for n := len(out); n > 0 && out[n-1].From >= at; n-- {
			out = out[:n-1]
		}
		if n := len(out); n > 0 {
			out[n-1].To = at
		}
		out = append(out, Epoch{Span{at, end}, &applied[i]})
	}
	return slices.DeleteFunc(out, func(e Epoch) bool { return e.To <= e.From })
}

// A Machine is what is known of one machine for a stretch of time.
type Machine struct {
	Name   string
	Epochs []Epoch          // by time
	Runs   map[string][]Run // by check, as [Settle] makes them
}

// Observed returns the runs of one check over all of s: silent where a plan asked for it and nothing came, not_planned
// where none did.
func (m *Machine) Observed(id string, s Span) []Run {
	var planned []Run
	for _, e := range m.Epochs {
		if _, ok := e.check(id); ok {
			planned = Append(planned, Run{e.Span.Meet(s), check.Silent})
		}
	}
	return Fill(Over(planned, Clip(m.Runs[id], s)), s, check.NotPlanned)
}

// lineKind reports whether checks of this kind judge the line itself, so that they need no other proof of it.
func lineKind(kind string) bool {
	switch kind {
	case "gateway", "uplink", "path", "line", "captive", "neighbours", "throughput":
		return true
	}
	return false
}

// proven returns runs over all of s: ok where the machine's line of this path is proven, else no_uplink. It is proven
// while any check over it is up or degraded, and where the plan names no anchors for it; the unit's own network always.
func (m *Machine) proven(path plan.Path, s Span) []Run {
	if path == plan.LAN {
		return []Run{{s, check.OK}}
	}
	var good [][]Span
	for _, e := range m.Epochs {
		in := e.Span.Meet(s)
		if in.Seconds() == 0 {
			continue
		}
		if !e.anchored(path) {
			good = append(good, []Span{in})
			continue
		}
		var of []Span
		for _, c := range e.Plan.Checks {
			if c.Path != path {
				continue
			}
			of = union(of, serving(m.Runs[c.ID], in))
			if len(of) == 1 && of[0] == in {
				break // no other check can prove more
			}
		}
		good = append(good, of)
	}
	var out []Run
	for _, g := range Join(slices.Concat(good...)...) {
		out = Append(out, Run{g, check.OK})
	}
	return Fill(out, s, check.NoUplink)
}

// serving returns the stretches of s in which sorted runs say that a target serves its users, sorted; none touches the next.
func serving(runs []Run, s Span) (out []Span) {
	i, _ := slices.BinarySearchFunc(runs, s.From, ending)
	for _, r := range runs[i:] {
		if r.From >= s.To {
			break
		}
		if in := r.Span.Meet(s); !serves(r.State()) || in.To <= in.From {
			continue
		} else if n := len(out); n > 0 && out[n-1].To == in.From {
			out[n-1].To = in.To
		} else {
			out = append(out, in)
		}
	}
	return out
}

// union returns the seconds of two lists as [Join] returns them, and as they are given.
func union(a, b []Span) []Span {
	if len(a) == 0 {
		return b
	}
	out := make([]Span, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		next := &a
		if len(a) == 0 || len(b) > 0 && b[0].From < a[0].From {
			next = &b
		}
		s := (*next)[0]
		*next = (*next)[1:]
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// serves reports whether a target in this state serves its users.
func serves(s check.State) bool { return s == check.Up || s == check.Degraded }
