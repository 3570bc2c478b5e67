package intake

import (
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/collector/evidence"
)

// Two machines on one identity, as a copied disk makes them, each go on by themselves: the one that comes second to a
// batch number is refused, and begins a journal of its own. From then on two journals of one machine grow in turn. A
// machine alone never goes back to a journal that it has left, but for one case: a snapshot of it was restored whose
// journal nobody has continued since. So one return says nothing. manyReturns of them within returnsWithin do, when
// both journals were sealed while the other was alive: what arrives late, or twice, was not.
//
// From the first second of which both journals speak until somebody enrols one of the two machines again, nothing that
// comes under the identity is a figure: it is kept, and counts as unknown/identity_cloned.
const (
	manyReturns   = 3
	returnsWithin = 7 * 24 * time.Hour
)

// A Cloned says since when two machines have measured under one identity, as far as anybody can tell. To is when one of
// them enrolled again; zero while none has.
type Cloned struct {
	From, To time.Time
}

// A cloning is what the fold knows of the twins of a machine.
type cloning struct {
	Latest  string      `json:"latest,omitempty"`  // key of the journal that was fed last
	Returns []time.Time `json:"returns,omitempty"` // receipts of the last batches that went back to another journal
	From    time.Time   `json:"from,omitzero"`     // as in Cloned; zero while there is one machine
	To      time.Time   `json:"to,omitzero"`       // of a From that no batch has ended yet
}

// enrolled notes that a person gave the machine a new identity.
func (c *cloning) enrolled(at time.Time) {
	*c = cloning{From: c.From}
	if !c.From.IsZero() {
		c.To = at
	}
}

// parked reports whether what comes now is no figure.
func (c *cloning) parked() bool { return !c.From.IsZero() && c.To.IsZero() }

// twins looks for a second machine before the records of a batch are read. ev is nil unless something has begun or ended.
func (f *Fold) twins(m *foldMachine, key string, h journal.Header, received time.Time) (ev *Cloned) {
	c := &m.Clone
	if !c.To.IsZero() {
		ev = &Cloned{From: c.From, To: c.To}
		c.From, c.To = time.Time{}, time.Time{}
	}
	left, latest := f.state.Journals[c.Latest], c.Latest
	here, known := f.state.Journals[key]
	c.Latest = key
	if c.parked() || !known || left == nil || latest == key {
		return ev
	}
	if !sealedAt(h).After(left.Start) || !left.Sealed.After(here.Start) {
		return ev
	}
	c.Returns = slices.DeleteFunc(append(c.Returns, received), func(t time.Time) bool { return received.Sub(t) > returnsWithin })
	if len(c.Returns) < manyReturns {
		return ev
	}
	c.From, c.Returns = later(here.earliest(), left.earliest()), nil
	if c.From.Before(m.Enrolled) {
		c.From = m.Enrolled
	}
	return &Cloned{From: c.From}
}

// earliest is the first second that a journal speaks for.
func (j *journalInForce) earliest() time.Time {
	if j.First.IsZero() || j.Start.Before(j.First) {
		return j.Start
	}
	return j.First
}

// park makes an observation unknown: nobody can tell which of two machines has made it.
func park(o *Observation) { o.State, o.Reason = check.Unknown, check.IdentityCloned }

// A place is where a machine stands from an instant on.
type place struct {
	From time.Time `json:"from"`
	Unit string    `json:"unit"`
}

// moved notes the unit that an identity was given for.
func (m *foldMachine) moved(unit string, at time.Time) {
	if n := len(m.Places); m.Unit != unit || n == 0 {
		if n == 0 && m.Unit != "" { // kept by a version that remembered the last unit only
			m.Places = append(m.Places, place{m.First, m.Unit})
		}
		m.Places = append(slices.Clip(m.Places), place{at, unit}) // clipped: those who hold the old list keep it
	}
	m.Unit = unit
}

// UnitAt returns the unit that the machine belonged to at t: what was measured before a move stays with the old one,
// also when it comes later.
func (a Accepted) UnitAt(t time.Time) string {
	unit := a.Unit
	for _, p := range slices.Backward(a.places) {
		unit = p.Unit
		if !p.From.After(t) {
			break
		}
	}
	return unit
}

// byToken reports whether a key came by a token, with a person, and not as the successor of another.
func byToken(l evidence.Leaf) bool { return l.Field("token") != "" }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
