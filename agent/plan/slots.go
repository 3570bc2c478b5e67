package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
	"time"
)

// Offset is where in its interval a check runs: u64be(SHA-256(machine "\n" check)[0:8]) mod every, in whole seconds. It
// spreads the checks of a fleet and is the same after every start.
func Offset(machine, check string, every time.Duration) time.Duration {
	n := uint64(every / time.Second)
	if n == 0 {
		return 0
	}
	return time.Duration(hash64(machine+"\n"+check)%n) * time.Second
}

// Phase is the sub-second phase at which a machine ticks, below one second in whole milliseconds.
func Phase(machine string) time.Duration {
	return time.Duration(hash64(machine)%1000) * time.Millisecond
}

func hash64(s string) uint64 {
	h := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(h[:8])
}

// Slots lists the instants in [from, to) at which the machine is to run the check: epoch + offset + k·every, where the
// epoch is 1970-01-01T00:00:00Z and seconds are those of Unix time, which has no leap seconds: a second that UTC
// inserts or leaves out moves no slot. Instants are UTC in whole seconds, in order.
func Slots(machine string, c Check, from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if c.Every < time.Second {
			return
		}
		for t := NextSlot(machine, c, from); t.Before(to); t = t.Add(c.Every) {
			if !yield(t) {
				return
			}
		}
	}
}

// NextSlot returns the first slot of the check at or after t.
func NextSlot(machine string, c Check, t time.Time) time.Time {
	every, offset := int64(c.Every/time.Second), int64(Offset(machine, c.ID, c.Every)/time.Second)
	if every <= 0 {
		return time.Time{}
	}
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	k := ceilDiv(s-offset, every)
	return time.Unix(offset+k*every, 0).UTC()
}

// SlotAt returns the slot that is running at t: the last one at or before it.
func SlotAt(machine string, c Check, t time.Time) time.Time {
	next := NextSlot(machine, c, t)
	if next.Equal(t) {
		return next
	}
	return next.Add(-c.Every)
}

func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// An Epoch is a stretch in which one plan was in force on a machine, as the machine itself recorded it.
type Epoch struct {
	From time.Time // the plan was applied
	To   time.Time // another one was, or the journal ended; the zero Time means it still is
	Plan *Plan
}

// A Due is one slot that a machine was to run.
type Due struct {
	Check string
	Slot  time.Time
	// Until is the end of the stretch that the slot speaks for: slot + every, cut where the plan changed.
	Until time.Time
}

// Expected lists every slot that the machine was to run in [from, to), over changes of plan. A slot that begins before
// a change belongs to the plan of its beginning, and is cut at the change. A slot under way when an epoch begins is
// listed with the instant that the plan calls for, which may lie before the epoch. Slots come by time, then by check.
func Expected(machine string, epochs []Epoch, from, to time.Time) []Due {
	var due []Due
	for _, e := range epochs {
		end := to
		if !e.To.IsZero() && e.To.Before(end) {
			end = e.To
		}
		if e.Plan == nil || !e.From.Before(end) {
			continue
		}
		for _, c := range e.Plan.Checks {
			for s := range Slots(machine, c, SlotAt(machine, c, e.From), end) {
				until := s.Add(c.Every)
				if !e.To.IsZero() && e.To.Before(until) {
					until = e.To
				}
				if until.After(from) && until.After(e.From) {
					due = append(due, Due{c.ID, s, until})
				}
			}
		}
	}
	slices.SortStableFunc(due, func(a, b Due) int {
		return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Check, b.Check))
	})
	return due
}
