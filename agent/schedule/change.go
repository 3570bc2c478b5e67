package schedule

import (
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// switchTo puts p in force. Checks that p leaves as they were go on; what it changes or leaves out is cut short.
func (s *Scheduler) switchTo(p *plan.Plan, now time.Time) {
	s.mu.Lock()
	kept := map[string]*item{}
	for _, c := range p.Checks {
		if it, ok := s.items[c.ID]; ok && same(it.c, c) && s.plan.Source(c.Path) == p.Source(c.Path) {
			kept[c.ID] = it
		}
	}
	for _, it := range s.order {
		if kept[it.c.ID] == nil {
			s.dropLocked(it, p, now)
		}
	}
	s.mu.Unlock()
	s.flush()
	if err := s.o.Sink.Applied(p, now); err != nil {
		s.log.Error("cannot record the plan", "version", p.Version, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.items, s.order = p, map[string]*item{}, nil
	var fresh []*item
	for _, c := range p.Checks {
		it := kept[c.ID]
		if it == nil {
			it = s.newItem(p, c)
			fresh = append(fresh, it)
		}
		s.items[c.ID] = it
		s.order = append(s.order, it)
	}
	s.gate.reset(p)
	s.spreadLocked(fresh, now)
	s.log.Info("plan in force", "plan", p.Name, "version", p.Version, "checks", len(p.Checks), "new_or_changed", len(fresh))
}

// dropLocked takes an item out of the plan. Its slots that have come and have no result are named as missed, except the
// one that the next plan runs under the same id.
func (s *Scheduler) dropLocked(it *item, next *plan.Plan, now time.Time) {
	s.missedLocked(it)
	until := it.slotAt(now).Add(it.c.Every)
	if c, ok := next.Check(it.c.ID); ok && plan.SlotAt(s.o.Machine, c, now).Equal(it.slotAt(now)) {
		until = it.slotAt(now)
	}
	s.nameLocked(check.MissedStopped, it, it.pending(), until, now)
	if it.busy {
		s.cutLocked(it)
	}
}

// same reports whether two checks are run alike.
func same(a, b plan.Check) bool {
	return a.Kind == b.Kind && a.Every == b.Every && a.Timeout == b.Timeout && a.Confirm == b.Confirm && a.Path == b.Path &&
		a.Service == b.Service && fmt.Sprint(a.Options) == fmt.Sprint(b.Options)
}

// clockStep acts on what the watch saw since the last tick.
func (s *Scheduler) clockStep(st step, now time.Time) {
	switch {
	case st.back:
		s.mu.Lock()
		s.rewindLocked(now)
		s.mu.Unlock()
		s.flush()
		s.stepped(st, now)
	case st.reason != "":
		s.write()
		s.mu.Lock()
		if st.by != 0 {
			s.cutAllLocked()
		}
		s.missAllLocked(st.reason, st.from, now)
		s.mu.Unlock()
		s.moved(st)
	}
}

// moved passes on that the clock was set, before anything is recorded that was run by it.
func (s *Scheduler) moved(st step) {
	if s.o.ClockMoved != nil && st.by != 0 {
		s.o.ClockMoved(st.by)
	}
}

func (s *Scheduler) stepped(st step, now time.Time) {
	s.log.Warn("the clock went back: a new journal begins", "from", st.from, "to", now)
	s.moved(st) // so that the end of the old one stands in a batch of the new time
	if err := s.o.Sink.Stepped(now); err != nil {
		s.log.Error("cannot begin a new journal", "err", err)
	}
}

// rewindLocked puts all checks back to the slot that runs at now, for a new journal. What is under way is given up: its
// slot comes again, or, where it does not, is named as missed.
func (s *Scheduler) rewindLocked(now time.Time) {
	for _, it := range s.order {
		s.missedLocked(it)
		s.nameLocked(check.MissedClockJump, it, it.pending(), it.slotAt(now), now)
	}
	s.cutAllLocked()
	for _, it := range s.order {
		it.next, it.notBefore, it.done = it.slotAt(now), time.Time{}, nil
	}
	clear(s.done)
}

// cutAllLocked gives up every run under way, as the clock that its slot was told by is no more: its check is due again.
func (s *Scheduler) cutAllLocked() {
	for i, it := range s.order {
		if !it.busy {
			continue
		}
		s.missedLocked(it)
		s.cutLocked(it)
		again := s.newItem(s.plan, it.c)
		again.next, again.done = it.slot, it.done
		s.items[it.c.ID], s.order[i] = again, again
	}
}

// again has the slot that runs at now run again, of all checks that are through with it, spread as in a first round.
func (s *Scheduler) again(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []*item
	for _, it := range s.order {
		if !it.busy && it.next.After(now) {
			it.done = nil
			delete(s.done, it.c.ID)
			items = append(items, it)
		}
	}
	s.spreadLocked(items, now)
}

// missAllLocked records one range for all checks, whose slots from now on go on as if nothing had been due before.
func (s *Scheduler) missAllLocked(r check.Reason, from, now time.Time) {
	n, first := 0, now
	for _, it := range s.order {
		current, waits := it.slotAt(now), it.busy && !it.started
		at := it.next
		if waits {
			at = it.slot
		}
		if !at.Before(current) {
			continue
		}
		if at.Before(first) {
			first = at
		}
		n += int(current.Sub(at) / it.c.Every)
		it.next = current
		if waits {
			it.slot, it.next = current, current.Add(it.c.Every)
		}
	}
	if n == 0 {
		return
	}
	if from.Before(first) {
		first = from
	}
	s.stats.Missed[r] += int64(n)
	s.ranges = append(s.ranges, check.Range{Reason: r, Check: "*", From: first.Truncate(time.Second), To: now.Truncate(time.Second), Slots: n})
	s.log.Info("slots were not run", "reason", r, "slots", n, "from", first, "to", now)
}

// nameLocked records the slots of an item in [from, until) as missed. The range ends at now if the last slot is not over
// yet: no record speaks of a time to come.
func (s *Scheduler) nameLocked(r check.Reason, it *item, from, until, now time.Time) {
	n := int(until.Sub(from) / it.c.Every)
	if n <= 0 {
		return
	}
	if end := now.Truncate(time.Second).Add(time.Second); end.Before(until) {
		until = end
	}
	s.stats.Missed[r] += int64(n)
	s.ranges = append(s.ranges, check.Range{Reason: r, Check: it.c.ID, From: from, To: until, Slots: n})
}
