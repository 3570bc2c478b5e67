package schedule

import (
	"context"
	"slices"
	"time"

	"egovmon/agent/check"
)

// startDueLocked queues every check whose slot has come and starts as many as there are places. A check that is still
// running is left alone: it misses the slots that end meanwhile, and begins the one under way when it is through.
func (s *Scheduler) startDueLocked(ctx context.Context, now time.Time) {
	for _, it := range s.order {
		if it.next.After(now) || it.notBefore.After(now) || it.busy && !it.started {
			continue // what waits for a place finds out then which slot is left
		}
		current := it.slotAt(now)
		s.missLocked(it, current, now)
		if it.started {
			continue
		}
		it.busy, it.slot, it.next = true, current, current.Add(it.c.Every)
		s.ready = append(s.ready, it)
	}
	for len(s.ready) > 0 && s.running < s.limitLocked() {
		it := s.ready[0]
		s.ready = s.ready[1:]
		s.running++
		s.wg.Go(func() { s.work(ctx, it) })
	}
	for _, it := range s.order {
		if it.missed > 0 && now.Sub(it.missSince) >= missFlush {
			s.missedLocked(it)
		}
	}
}

func (s *Scheduler) limitLocked() int {
	if s.plan == nil {
		return 1
	}
	return s.plan.Concurrency
}

// missLocked notes that the slots of it from it.next up to, not including, until were not run because it was busy.
func (s *Scheduler) missLocked(it *item, until, now time.Time) {
	if !it.next.Before(until) {
		return
	}
	if it.missed == 0 {
		it.missFrom, it.missSince = it.next, now
	}
	n := int(until.Sub(it.next) / it.c.Every)
	it.missed += n
	s.stats.Missed[check.MissedOverrun] += int64(n)
	it.next, it.missTo = until, until
}

// missedLocked turns the slots an item missed into one range.
func (s *Scheduler) missedLocked(it *item) {
	if it.missed == 0 {
		return
	}
	s.ranges = append(s.ranges, check.Range{Reason: check.MissedOverrun, Check: it.c.ID, From: it.missFrom, To: it.missTo, Slots: it.missed})
	it.missed = 0
}

// work runs an item and then whatever waits for a place.
func (s *Scheduler) work(ctx context.Context, it *item) {
	for it != nil {
		s.mu.Lock()
		now := s.now()
		if it.slot.Sub(now) > stepLimit {
			// The clock went back, which the next tick deals with.
			s.ready = slices.Insert(s.ready, 0, it)
			s.running--
			s.mu.Unlock()
			return
		}
		if end := it.slot.Add(it.c.Every); !now.Before(end) && !it.gone {
			// No place was free while its slot lasted: that slot was missed, and the running one is taken.
			current := it.slotAt(now)
			it.next = it.slot
			s.missLocked(it, current, now)
			it.slot, it.next = current, current.Add(it.c.Every)
		}
		s.missedLocked(it)
		s.delayLocked(it, now)
		run, cancel := context.WithCancel(ctx)
		it.started, it.cancel = true, cancel
		slot := it.slot
		s.mu.Unlock()

		r, ok := s.runOnce(run, it, slot)
		cancel()

		s.mu.Lock()
		it.busy, it.started, it.cancel = false, false, nil
		s.stats.Runs++
		if ok && !it.gone {
			s.results = append(s.results, r)
			nudge(s.finished)
			s.doneLocked(it, slot)
			if it.first {
				it.first = false
				s.left--
			}
			if s.stats.Runs == 1 || s.left == 0 {
				nudge(s.early)
			}
			if s.left == 0 {
				s.left = -1
			}
		}
		it = s.nextLocked()
		s.mu.Unlock()
	}
}

// nextLocked takes the next item that waits, or gives the place back.
func (s *Scheduler) nextLocked() *item {
	if len(s.ready) == 0 || s.running > s.limitLocked() {
		s.running--
		return nil
	}
	it := s.ready[0]
	s.ready = s.ready[1:]
	return it
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
