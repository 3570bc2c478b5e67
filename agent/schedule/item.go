package schedule

import (
	"context"
	"fmt"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// An item is a check with its state. Its fields are guarded by Scheduler.mu.
type item struct {
	c         plan.Check
	offset    int64 // of its slots, in seconds
	fn        check.Func
	err       error     // why fn could not be made
	next      time.Time // the slot that comes next, or is due
	notBefore time.Time // of the first round's spread; zero later
	first     bool      // counted in Scheduler.left
	busy      bool      // queued or running
	started   bool      // running
	slot      time.Time // while busy: the slot being run
	gone      bool      // no longer in the plan, or of a time that comes again: what it finds is dropped
	cancel    context.CancelFunc
	done      *done // which of its slots have a result; nil before the first

	missFrom, missTo time.Time // slots missed because the run before took too long
	missed           int
	missSince        time.Time
}

func (s *Scheduler) newItem(p *plan.Plan, c plan.Check) *item {
	it := &item{c: c, offset: int64(plan.Offset(s.o.Machine, c.ID, c.Every) / time.Second)}
	k, ok := s.o.Kinds.Lookup(c.Kind)
	if !ok {
		it.err = fmt.Errorf("this program has no kind %q", c.Kind)
		return it
	}
	env := check.Env{Check: c.ID, Timeout: c.Timeout, Now: s.o.Now, Source: p.Source(c.Path), Secret: s.o.Secret, ClockProven: s.o.ClockProven, Shared: s.o.Shared}
	if s.o.Notes != nil {
		env.Notes = s.o.Notes(c.ID, c.Kind)
	}
	it.fn, it.err = k.New(c.Options, env)
	return it
}

// slotAt is plan.SlotAt without the hash.
func (it *item) slotAt(t time.Time) time.Time {
	every := int64(it.c.Every / time.Second)
	into := (t.Unix() - it.offset) % every
	if into < 0 {
		into += every
	}
	return time.Unix(t.Unix()-into, 0).UTC()
}

// pending is the first slot that has neither been run nor named.
func (it *item) pending() time.Time {
	if it.busy {
		return it.slot
	}
	return it.next
}

// cutLocked ends the run of an item, whose result is dropped.
func (s *Scheduler) cutLocked(it *item) {
	it.gone = true
	if it.cancel != nil {
		it.cancel()
	}
	s.ready = slices.DeleteFunc(s.ready, func(o *item) bool { return o == it })
}
