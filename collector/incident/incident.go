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
	Cause    Cause               // what is broken, as far as the votes told
	Joined   []verdict.Component // other faults of the same cause, which opened no incident of their own
	Life     Life                // what people made of it

	leaves []int64 // where its events stand in the log: those that it is read back from
	events []What  // what each of them is
}

// A Cause is what a verdict named as broken. The zero Cause is none.
type Cause struct {
	verdict.Component
	Owner      string // the operator who can mend it
	Confidence float64
}

// keep remembers the leaf of an event: of the updates and of the closing the latest, of the others every one. index -1 is
// none.
func (i *Incident) keep(w What, index int64) {
	if index < 0 {
		return
	}
	if at := slices.Index(i.events, w); at >= 0 && (w == Updated || w == Closed) {
		i.leaves[at] = index
		return
	}
	i.leaves, i.events = append(i.leaves, index), append(i.events, w)
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
	Joined       What = "joined"     // another fault shows the same cause
	Assigned     What = "assigned"   // a person gave it to somebody
	Commented    What = "commented"  // a person said something
	Classified   What = "classified" // a person said what sort of incident it is
	Escalated    What = "escalated"  // it was taken a step further
	Concluded    What = "concluded"  // a person said what the cause was, and what was done
)

// known reports whether this program knows the event.
func (w What) known() bool {
	return slices.Contains([]What{Opened, Updated, Acknowledged, Closed, Joined, Assigned, Commented, Classified, Escalated, Concluded}, w)
}

// byPerson reports whether an event is a person's word, and says nothing of how the fault shows itself.
func (w What) byPerson() bool {
	return slices.Contains([]What{Acknowledged, Assigned, Commented, Classified, Escalated, Concluded}, w)
}

// Why something happened, or did not. The words of the verdict for what mutes a fault stand among them.
const (
	First       = "first"        // the fault's first opening within the hour
	Repeat      = "repeat"       // it was closed less than an hour ago
	SameCause   = "same_cause"   // an open incident stands for its cause
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

	// Of what people do.
	User, Note string
	To         string // assigned: to whom; escalated: to which step or office
	Class      Class  // classified
	Measure    string // concluded: what was done; Note is the cause

	// Of the others.
	verdict.Component
	Through  string
	State    check.State
	Reason   check.Reason
	Since    time.Time // closed: the component serves again since then
	Votes    verdict.Votes
	Services []string
	Units    []string
	Cause    Cause
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
	open   map[verdict.Component]*Incident // by component, and by those that joined
	closed []*Incident                     // by the time of their closing
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
		i.keep(e.What, leaf)
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
	case e.What.byPerson():
		if err := i.Life.apply(e); err != nil {
			return fmt.Errorf("incident %s: %w", i.ID, err)
		}
	case !i.IsOpen():
		return fmt.Errorf("incident %s is %s after its end", i.ID, e.What)
	case e.What == Updated:
		i.show(e)
	case e.What == Joined:
		if old, ok := b.open[e.Component]; ok {
			return fmt.Errorf("incident %s is joined by a component of which %s is open", i.ID, old.ID)
		}
		b.open[e.Component] = i
		i.Joined = append(slices.Clone(i.Joined), e.Component)
		i.Services, i.Units = union(i.Services, e.Services), union(i.Units, e.Units)
	case e.What == Closed:
		i.Closed, i.Restored, i.Why = e.At, e.Since, e.Why
		delete(b.open, i.Component)
		for _, c := range i.Joined {
			delete(b.open, c)
		}
		b.closed = append(b.closed, i)
		b.closed = b.closed[max(0, len(b.closed)-keepClosed):]
	default:
		return fmt.Errorf("incident %s: %q is no event", i.ID, e.What)
	}
	if !e.What.byPerson() || e.What == Acknowledged {
		i.Updated = e.At
	}
	i.keep(e.What, leaf)
	return nil
}

// show takes over how the fault shows itself.
func (i *Incident) show(e Event) {
	i.Through, i.State, i.Reason, i.Votes, i.Why, i.Updated = e.Through, e.State, e.Reason, e.Votes, e.Why, e.At
	i.Services, i.Units, i.Cause = e.Services, e.Units, e.Cause
}

// union adds to a list what is not in it yet, as far as a leaf holds it.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return first(out)
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
	for c, i := range b.open {
		if c == i.Component {
			out = append(out, *i)
		}
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
