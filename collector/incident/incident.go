package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// An Incident is one fault from its opening to its closing. It is a copy; changing it changes nothing.
type Incident struct {
	ID string // [a-z0-9_.-], names the incident for ever
	verdict.Component
	Through  string       // of a line: the service that shows it; "" when nothing is heard at all
	State    check.State  // Down, or Unknown for a unit or fleet that fell silent
	Reason   check.Reason // the latest
	Since    time.Time    // the fault was first seen in the slot of this instant
	Opened   time.Time
	Updated  time.Time // of the latest event
	Closed   time.Time // zero while it is open
	Restored time.Time // of a closed one: the component serves again since then
	Why      string    // of the opening, and once closed of the closing
	Votes    verdict.Votes
	Services []string // what it hurts; the first ones of very many
	Units    []string // where; likewise
	Ack      Ack

	leaves [4]int64 // 1 + the index of the leaf of each kind of event, the latest of its kind; 0 without
}

// An Ack is a person's word that the incident was noticed. The zero Ack is none.
type Ack struct {
	User string
	At   time.Time
	Note string
}

// Acknowledged reports whether a person has taken note of it.
func (i *Incident) Acknowledged() bool { return !i.Ack.At.IsZero() }

// IsOpen reports whether the incident goes on.
func (i *Incident) IsOpen() bool { return i.Closed.IsZero() }

// A What says what happened to an incident.
type What string

// The events in the life of an incident.
const (
	Opened       What = "opened"
	Updated      What = "updated" // the fault shows itself differently
	Acknowledged What = "acknowledged"
	Closed       What = "closed"
)

// place is where an incident keeps the leaf of an event.
func (w What) place() int { return slices.Index([]What{Opened, Updated, Acknowledged, Closed}, w) }

// Why something happened, or did not. The words of the verdict for what mutes a fault stand among them.
const (
	First       = "first"        // the fault's first opening within the hour
	Repeat      = "repeat"       // it was closed less than an hour ago
	Changed     = "changed"      // the reason, or what shows it, is another one
	Recovered   = "recovered"    // up or degraded for long enough
	Withdrawn   = "withdrawn"    // nobody is to measure it any more
	Noticed     = "noticed"      // a person took note
	WaitSlot    = "waiting_slot" // one slot shows it, and two are asked for
	WaitSilence = "waiting_silence"
	WaitGood    = "waiting_good" // it works again, not yet for long enough
	Late        = "late"         // the latest result is too old to speak for now
)

// An Event is one thing that happened to an incident.
type Event struct {
	Incident string
	What     What
	At       time.Time
	Why      string

	// Of an acknowledgement.
	User, Note string

	// Of the others.
	verdict.Component
	Through  string
	State    check.State
	Reason   check.Reason
	Since    time.Time // closed: the component serves again since then
	Votes    verdict.Votes
	Services []string
	Units    []string
}

// A Decision says of one faulty component why nothing happened to it now.
type Decision struct {
	Component verdict.Component
	Why       string
	By        verdict.Component // of a muted one: what explains it
}

// maxID is the most bytes of an incident's name.
const maxID = 120

// nameOf names an incident that is opened now. A component opens at most one a second.
func nameOf(c verdict.Component, at time.Time) string {
	parts := []string{at.In(profile.Zone()).Format("20060102-150405"), string(c.Kind), c.Service, c.Unit}
	id := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "-")
	return id[:min(len(id), maxID)]
}

// A Book is what the events of all incidents add up to. Its zero value is ready.
type Book struct {
	open   map[verdict.Component]*Incident
	closed []*Incident // by the time of their closing
}

// keepClosed is how many closed incidents a book remembers.
const keepClosed = 500

// Apply adds an event. An event that does not fit what came before is an error and changes nothing.
func (b *Book) Apply(e Event) error { return b.apply(e, -1) }

func (b *Book) apply(e Event, leaf int64) error {
	if e.What == Opened {
		if old, ok := b.open[e.Component]; ok {
			return fmt.Errorf("incident %s is opened, and %s of the same component is open", e.Incident, old.ID)
		}
		if b.open == nil {
			b.open = map[verdict.Component]*Incident{}
		}
		i := &Incident{ID: e.Incident, Component: e.Component, Opened: e.At, Since: e.Since}
		i.show(e)
		i.leaves[e.What.place()] = leaf + 1
		b.open[e.Component] = i
		return nil
	}
	i := b.find(e.Incident)
	if i == nil {
		return fmt.Errorf("incident %s is %s, and nothing opened it", e.Incident, e.What)
	}
	switch {
	case e.What == Acknowledged && i.Acknowledged():
		return fmt.Errorf("incident %s: %w", i.ID, ErrAcknowledged)
	case e.What == Acknowledged:
		i.Ack = Ack{e.User, e.At, e.Note}
	case !i.IsOpen():
		return fmt.Errorf("incident %s is %s after its end", i.ID, e.What)
	case e.What == Updated:
		i.show(e)
	case e.What == Closed:
		i.Closed, i.Restored, i.Why = e.At, e.Since, e.Why
		delete(b.open, i.Component)
		b.closed = append(b.closed, i)
		b.closed = b.closed[max(0, len(b.closed)-keepClosed):]
	default:
		return fmt.Errorf("incident %s: %q is no event", i.ID, e.What)
	}
	i.Updated = e.At
	i.leaves[e.What.place()] = leaf + 1
	return nil
}

// show takes over how the fault shows itself.
func (i *Incident) show(e Event) {
	i.Through, i.State, i.Reason, i.Votes, i.Why, i.Updated = e.Through, e.State, e.Reason, e.Votes, e.Why, e.At
	i.Services, i.Units = e.Services, e.Units
}

func (b *Book) find(id string) *Incident {
	for _, i := range b.open {
		if i.ID == id {
			return i
		}
	}
	for k := len(b.closed) - 1; k >= 0; k-- {
		if b.closed[k].ID == id {
			return b.closed[k]
		}
	}
	return nil
}

// Open lists the open incidents, the oldest first.
func (b *Book) Open() []Incident {
	out := make([]Incident, 0, len(b.open))
	for _, i := range b.open {
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b Incident) int { return cmp.Or(a.Opened.Compare(b.Opened), strings.Compare(a.ID, b.ID)) })
	return out
}

// Closed lists the closed incidents that the book remembers, the latest first.
func (b *Book) Closed() []Incident {
	out := make([]Incident, 0, len(b.closed))
	for _, i := range slices.Backward(b.closed) {
		out = append(out, *i)
	}
	return out
}

// recent counts the incidents of a component that were closed after t.
func (b *Book) recent(c verdict.Component, t time.Time) (n int) {
	for _, i := range slices.Backward(b.closed) {
		if !i.Closed.After(t) {
			break
		}
		if i.Component == c {
			n++
		}
	}
	return n
}
