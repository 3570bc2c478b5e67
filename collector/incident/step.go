package incident

import (
	"maps"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/verdict"
)

// A Policy says how long things must last.
type Policy struct {
	// Lateness is how long after its slot ended a result may come and still speak for now: gathering and sending take up
	// to a minute. Default 90 s.
	Lateness time.Duration
	// Silence is how long ago the latest result of a unit must have begun before its silence is an incident: at least two
	// slots, and results must no longer be on their way. Zero asks for no more than that.
	Silence time.Duration
	// FlapWindow is how soon after its closing a fault comes back as the same trouble: each such return doubles the slots
	// in which it must be good before it is closed, up to eight times. Default 1 h.
	FlapWindow time.Duration
	// Update is the least time between two events of one open incident. Default 10 min.
	Update time.Duration
	// Withdraw is how long nobody must be planned to measure a component before its incident is closed. Default 10 min.
	Withdraw time.Duration
}

func (p *Policy) complete() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&p.Lateness, 90*time.Second)
	def(&p.FlapWindow, time.Hour)
	def(&p.Update, 10*time.Minute)
	def(&p.Withdraw, 10*time.Minute)
}

// maxDoublings bounds the slots that a fault which keeps coming back must be good for.
const maxDoublings = 3

// A Machine judges findings against a book. It remembers since when each component works again; losing that, by a
// restart, only puts off a closing.
type Machine struct {
	policy  Policy
	started time.Time // silence before that is our own
	good    map[verdict.Component]time.Time
	gone    map[verdict.Component]time.Time
	muted   map[verdict.Component]time.Time // until when something else explained it
}

// NewMachine returns a machine that begins to listen at started. Zero values of the policy are its defaults.
func NewMachine(p Policy, started time.Time) *Machine {
	p.complete()
	return &Machine{policy: p, started: started, good: map[verdict.Component]time.Time{}, gone: map[verdict.Component]time.Time{},
		muted: map[verdict.Component]time.Time{}}
}

// Step returns what happens at now, and why other faults change nothing. It does not change the book: its events are
// applied once they are written. Calling it again instead is harmless.
func (m *Machine) Step(b *Book, findings []verdict.Finding, now time.Time) (events []Event, waiting []Decision) {
	seen := make(map[verdict.Component]*verdict.Finding, len(findings))
	for i := range findings {
		seen[findings[i].Component] = &findings[i]
	}
	causes := b.causes(seen)
	for i := range findings {
		f := &findings[i]
		old, open := b.open[f.Component]
		var why string
		var e *Event
		switch {
		case open && old.Component != f.Component: // it has joined: judged with the one that it joined
			continue
		case open:
			e, why = m.goOn(b, old, f, seen, now)
		case f.Fault():
			if e, why = m.begin(b, f, now); e != nil && f.Cause != nil {
				if id, ok := causes[f.Cause.Component]; ok {
					e.Incident, e.What, e.Why = id, Joined, SameCause
				} else {
					causes[f.Cause.Component] = e.Incident
				}
			}
		}
		switch {
		case e != nil:
			events = append(events, *e)
		case why != "":
			waiting = append(waiting, Decision{Component: f.Component, Why: why, By: f.By})
		}
	}
	for _, i := range b.Open() {
		if seen[i.Component] != nil {
			continue
		}
		if e := m.withdraw(&i, now); e != nil {
			events = append(events, *e)
		}
	}
	maps.DeleteFunc(m.good, func(c verdict.Component, _ time.Time) bool { return b.open[c] == nil })
	maps.DeleteFunc(m.muted, func(c verdict.Component, _ time.Time) bool { return seen[c] == nil || seen[c].Good() })
	maps.DeleteFunc(m.gone, func(c verdict.Component, _ time.Time) bool { return b.open[c] == nil })
	return events, waiting
}

// causes says which open incident stands for which cause: by what its faults show now, and else by what they showed last.
func (b *Book) causes(seen map[verdict.Component]*verdict.Finding) map[verdict.Component]string {
	out := map[verdict.Component]string{}
	for _, i := range b.Open() {
		if i.Cause.Kind != "" {
			out[i.Cause.Component] = i.ID
		}
	}
	for c, i := range b.open {
		if f := seen[c]; f != nil && f.Fault() && f.Cause != nil {
			if _, ok := out[f.Cause.Component]; !ok {
				out[f.Cause.Component] = i.ID
			}
		}
	}
	return out
}

// begin opens an incident, or says why not.
func (m *Machine) begin(b *Book, f *verdict.Finding, now time.Time) (*Event, string) {
	// What depends on a thing that works again needs its own next round to show so: two slots of its own, from then on.
	since := f.Since
	if until := m.muted[f.Component]; until.After(since) {
		since = until
	}
	switch {
	case f.Muted != "":
		m.muted[f.Component] = now
		return nil, f.Muted
	case f.Silent:
		from := since
		if !f.Last.IsZero() && f.Last.Before(f.Since) && since.Equal(f.Since) {
			from = f.Last
		}
		if from.Before(m.started) {
			from = m.started
		}
		if now.Sub(from) < max(m.policy.Silence, 2*f.Every) {
			return nil, WaitSilence
		}
	case !m.fresh(f, now):
		return nil, Late
	case f.Last.Sub(since) < f.Every || f.Unsettled:
		return nil, WaitSlot
	}
	e := eventOf(f, Opened, now)
	e.Incident, e.Why = nameOf(f.Component, now), First
	if b.recent(f.Component, now.Add(-m.policy.FlapWindow)) > 0 {
		e.Why = Repeat
	}
	return &e, ""
}

// fresh reports whether the latest result speaks for now.
func (m *Machine) fresh(f *verdict.Finding, now time.Time) bool {
	return !f.Last.IsZero() && now.Sub(f.Last) <= f.Every+m.policy.Lateness
}

// goOn closes or updates an open incident, or says why neither.
func (m *Machine) goOn(b *Book, old *Incident, f *verdict.Finding, seen map[verdict.Component]*verdict.Finding, now time.Time) (*Event, string) {
	if f.Good() {
		delete(m.gone, f.Component)
		return m.endAll(b, old, f, seen, now)
	}
	delete(m.good, f.Component)
	if f.Reason == check.NotPlanned {
		return m.withdraw(old, now), ""
	}
	delete(m.gone, f.Component)
	switch {
	case !f.Fault(), !f.Silent && !m.fresh(f, now):
		return nil, ""
	case f.Cause != nil && f.Cause.Component != old.Cause.Component && now.Sub(old.Updated) >= recause:
	case f.State == old.State && f.Reason == old.Reason && f.Through == old.Through, now.Sub(old.Updated) < m.policy.Update:
		return nil, ""
	}
	e := eventOf(f, Updated, now)
	e.Incident, e.Why = old.ID, Changed
	for _, c := range old.Joined {
		if f := seen[c]; f != nil && f.Fault() {
			e.Services, e.Units = union(e.Services, f.Services), union(e.Units, f.Units)
		}
	}
	if f.Cause == nil {
		e.Cause = old.Cause
	}
	return &e, ""
}

// recause is the least time between two events that name another cause: it may turn out to be a wider one while the first
// votes come in.
const recause = time.Minute

// endAll closes an incident once its fault and all that joined it are over. It has lasted until the last of them was.
func (m *Machine) endAll(b *Book, old *Incident, f *verdict.Finding, seen map[verdict.Component]*verdict.Finding, now time.Time) (*Event, string) {
	e, why := m.end(b, old, f, now)
	for _, c := range old.Joined {
		g := seen[c]
		switch {
		case g == nil || g.Reason == check.NotPlanned: // nobody is to measure it any more
			continue
		case !g.Good():
			delete(m.good, c)
			e, why = nil, WaitGood
			continue
		}
		one, wait := m.end(b, old, g, now)
		switch {
		case one == nil:
			e, why = nil, wait
		case e != nil && one.Since.After(e.Since):
			e.Since = one.Since
		}
	}
	return e, why
}

func (m *Machine) end(b *Book, old *Incident, f *verdict.Finding, now time.Time) (*Event, string) {
	from, ok := m.good[f.Component]
	if !ok {
		from = f.Since
		if old.State == check.Unknown || from.Before(old.Since) {
			from = f.Last // what filled the gap afterwards does not count
		}
		m.good[f.Component] = from
	}
	doublings := min(b.recent(f.Component, now.Add(-m.policy.FlapWindow)), maxDoublings)
	slots := 2 << doublings
	switch {
	case !m.fresh(f, now):
		return nil, Late
	case f.Last.Sub(from) < time.Duration(slots-1)*f.Every:
		return nil, WaitGood
	}
	e := eventOf(f, Closed, now)
	e.Incident, e.Why, e.Since = old.ID, Recovered, from
	return &e, ""
}

// withdraw closes an incident of what nobody is to measure any more.
func (m *Machine) withdraw(old *Incident, now time.Time) *Event {
	from, ok := m.gone[old.Component]
	if !ok {
		m.gone[old.Component] = now
		return nil
	}
	if now.Sub(from) < m.policy.Withdraw {
		return nil
	}
	return &Event{Incident: old.ID, What: Closed, At: now, Why: Withdrawn, Component: old.Component, State: check.Unknown,
		Reason: check.NotPlanned, Since: from}
}

func eventOf(f *verdict.Finding, what What, now time.Time) Event {
	e := Event{What: what, At: now.UTC().Truncate(time.Millisecond), Component: f.Component, Through: f.Through, State: f.State, Reason: f.Reason,
		Since: f.Since.UTC().Truncate(time.Second), Votes: f.Votes, Services: first(f.Services), Units: first(f.Units)}
	if c := f.Cause; c != nil {
		e.Cause = Cause{Component: c.Component, Owner: c.Owner, Confidence: c.Confidence}
	}
	return e
}

// maxList is the most bytes that the names of a list take in a leaf.
const maxList = 1200

// first returns as many of the names as fit in a leaf, in order.
func first(names []string) []string {
	n, size := 0, 0
	for n < len(names) && size+len(names[n])+1 <= maxList {
		size += len(names[n]) + 1
		n++
	}
	return strings.Fields(strings.Join(names[:n], " "))
}
