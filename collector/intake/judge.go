package intake

import (
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
)

// Why a record of an archived batch enters no figure: the words of [Accepted.Rejected].
const (
	RejectedUnreadable = "unreadable"       // the line, or the whole body, cannot be read
	RejectedNoBegin    = "no_begin"         // the journal has not said when it began
	RejectedNoPlan     = "no_plan"          // the journal follows no plan that is known here
	RejectedPlan       = "plan_unknown"     // a plan that the log does not have, or that is for another machine
	RejectedCheck      = "check_unknown"    // the check is not in the plan
	RejectedReason     = "reason_unknown"   // the reason is not one that a result, or a range, may have
	RejectedEarly      = "slot_early"       // before the journal's start less a day
	RejectedFuture     = "slot_future"      // later than the receipt by more than 2 min
	RejectedGrid       = "slot_off_grid"    // not an instant at which the plan calls for the check
	RejectedTwice      = "slot_twice"       // the journal has a result for this slot already
	RejectedFact       = "fact_unknown"     // the kind declares no such fact, or the result has it twice
	RejectedBounds     = "fact_bounds"      // a fact is outside of its declared bounds
	RejectedPhase      = "phase_unknown"    // the kind declares no such phase, or the result has it twice
	RejectedRange      = "range_impossible" // a range that is empty, or lies where no slot can be
	RejectedTime       = "time_impossible"  // a begin, end or plan before the machine had an identity, or after the receipt
)

// A judge goes through the records of one batch.
type judge struct {
	*Fold
	a     *Accepted
	j     *journalInForce
	m     *foldMachine
	clock time.Duration // how far the machine's clock was ahead
	last  time.Time     // the latest instant that a slot may have

	ahead  time.Duration // what is taken off the instants of the batch; see ahead
	before time.Duration // that of the machine's batch before
}

func (g *judge) reject(why string) { g.a.Rejected[why]++ }

func (g *judge) emit(e Event) { g.a.Events = append(g.a.Events, e) }

func (g *judge) record(r journal.Record) {
	switch {
	case r.Begin != nil:
		b := *r.Begin
		b.At = g.at(b.At)
		at := g.within(b.At)
		if g.j.Start.IsZero() {
			g.j.Start, g.j.Floor = at, at
			if s := g.m.Sealed; !s.IsZero() && s.Before(at) {
				g.j.Floor = s
			}
		}
		g.j.Begin = at
		if !at.Equal(b.At) {
			g.reject(RejectedTime)
			return
		}
		g.emit(Event{Begin: &b})
	case r.End != nil:
		e := *r.End
		e.At = g.at(e.At)
		if !g.within(e.At).Equal(e.At) {
			g.reject(RejectedTime)
			return
		}
		g.emit(Event{End: &e})
	case r.Plan != nil:
		g.applied(r.Plan)
	case g.j.Start.IsZero():
		g.reject(RejectedNoBegin)
	case r.Range != nil:
		m, why := g.missed(*r.Range)
		if why != "" {
			g.reject(why)
			return
		}
		if m.From.Before(m.To) {
			g.emit(Event{Range: &m})
		}
	case r.Result != nil:
		o, why := g.result(*r.Result)
		if why != "" {
			g.reject(why)
			return
		}
		if first := &g.j.First; first.IsZero() || o.From.Before(*first) {
			*first = o.From
		}
		if g.m.Clone.parked() {
			park(&o)
		}
		g.emit(Event{Observation: &o})
	}
}

// within moves an instant into the time that the machine can speak of.
func (g *judge) within(t time.Time) time.Time {
	if lo := g.m.First.Add(-keptPast); t.Before(lo) {
		return lo
	}
	if t.After(g.last) {
		return g.last
	}
	return t
}

func (g *judge) applied(r *journal.PlanApplied) {
	p := g.plan(r.SHA256, g.a.Machine)
	if p == nil {
		g.reject(RejectedPlan)
		return
	}
	at := g.within(g.at(r.At))
	if !at.Equal(g.at(r.At)) {
		g.reject(RejectedTime)
	}
	if ps := g.j.Plans; len(ps) == 0 || ps[len(ps)-1].SHA256 != r.SHA256 {
		g.j.Plans = append(ps, applied{r.SHA256, at})
		if extra := len(g.j.Plans) - maxApplied; extra > 0 {
			g.j.Plans = slices.Delete(g.j.Plans, 0, extra)
		}
		for id := range g.j.Slots {
			if _, in := g.check(id, at); !in {
				delete(g.j.Slots, id)
			}
		}
		g.forget()
	}
	g.emit(Event{Plan: &PlanChange{At: at, Plan: p}})
}

// check returns the check by which a result of a run that began at start is judged: that of the plan in force then, or
// of another one of the journal, the newest first. A run under way at a change of plan reports by the plan before, and
// one that a journal could not deliver any more comes in the next journal.
func (g *judge) check(id string, start time.Time) (plan.Check, bool) {
	for _, ap := range slices.Backward(g.j.Plans) {
		if !ap.At.After(start) {
			if c, ok := g.checkOf(ap, id); ok {
				return c, true
			}
		}
	}
	for _, ap := range g.j.Plans {
		if ap.At.After(start) {
			if c, ok := g.checkOf(ap, id); ok {
				return c, true
			}
		}
	}
	return plan.Check{}, false
}

func (g *judge) checkOf(ap applied, id string) (plan.Check, bool) {
	p := g.plan(ap.SHA256, g.a.Machine)
	if p == nil {
		return plan.Check{}, false
	}
	return p.Check(id)
}

// earliest is where the journal's slots may begin. What a machine says of a time before it had an identity is not
// believed, whenever its journal claims to have begun.
func (g *judge) earliest() time.Time {
	t := g.j.Floor
	if g.m.First.After(t) {
		t = g.m.First
	}
	return t.Add(-keptPast)
}

func (g *judge) result(r check.Result) (o Observation, why string) {
	if len(g.j.Plans) == 0 {
		return o, RejectedNoPlan
	}
	slot := r.Slot
	c, ok := g.check(r.Check, g.at(r.Start))
	if !ok {
		return o, RejectedCheck
	}
	r.Start, r.Slot = g.at(r.Start), g.slot(slot, c.Every)
	switch {
	case !r.Reason.Valid() || r.Reason.Missed() || r.Reason.AccountOnly():
		return o, RejectedReason
	case r.Slot.Before(g.earliest()):
		return o, RejectedEarly
	case g.at(slot).After(g.last):
		return o, RejectedFuture
	case !plan.SlotAt(g.a.Machine, c, slot).Equal(slot):
		return o, RejectedGrid
	}
	k, _ := g.kinds.Lookup(c.Kind)
	if why := declared(k, r); why != "" {
		return o, why
	}
	seen := g.j.Slots[r.Check]
	if !seen.add(slot.Unix(), int64(c.Every/time.Second)) {
		return o, RejectedTwice
	}
	g.j.Slots[r.Check] = seen
	from := r.Slot
	if g.j.Begin.After(from) && !r.Start.Before(g.j.Begin) { // one that ran before was carried over
		from = g.j.Begin
	}
	return Observation{
		Result: r, Service: c.Service, Kind: c.Kind, Path: c.Path, Every: c.Every,
		From: from, To: r.Slot.Add(c.Every), ClockUnproven: g.unproven(c.Every), Ahead: slot.Sub(r.Slot), StartAhead: g.ahead,
	}, ""
}

// declared tells whether the kind has declared every number and phase of a result. A fact with both bounds 0 has none.
func declared(k check.Kind, r check.Result) (why string) {
	for i, x := range r.Facts {
		d, ok := k.Fact(x.Name)
		if !ok || slices.ContainsFunc(r.Facts[:i], func(y check.Fact) bool { return y.Name == x.Name }) {
			return RejectedFact
		}
		if (d.Min != 0 || d.Max != 0) && (x.Value < d.Min || x.Value > d.Max) {
			return RejectedBounds
		}
	}
	for i, x := range r.Phases {
		if !slices.Contains(k.Phases, x.Name) || slices.ContainsFunc(r.Phases[:i], func(y check.Phase) bool { return y.Name == x.Name }) {
			return RejectedPhase
		}
	}
	return ""
}

// missed places a range. One that lies between two states of the clock begins by the one and ends by the other: where the
// clock was set forward from the right time, or back to it, nothing may be left of it.
func (g *judge) missed(r check.Range) (placed check.Range, why string) {
	if !r.Reason.Missed() {
		return r, RejectedReason
	}
	if !r.From.Before(r.To) || r.Slots < 0 {
		return r, RejectedRange
	}
	from := g.ahead
	if r.Check == "*" && r.Reason != check.DataLost {
		from = g.before
	}
	r.From, r.To = r.From.Add(-from), g.at(r.To)
	if r.Check != "*" {
		if _, ok := g.check(r.Check, r.To); !ok {
			return r, RejectedCheck
		}
	}
	if !g.within(r.To).Equal(r.To) || r.From.Before(r.To) && !g.within(r.From).Equal(r.From) {
		return r, RejectedRange
	}
	return r, ""
}
