package schedule

import (
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
)

// Stats are counts since the start, for the exporter.
type Stats struct {
	Runs    int64                  // finished runs
	Missed  map[check.Reason]int64 // slots, by reason
	Running int                    // under way
	Delays  [len(delayBounds) + 1]int64
	// DelaySum is the sum of all start delays: how long after its slot, or its place in the first round, a run began.
	DelaySum time.Duration
}

// delayBounds are the upper bounds of Stats.Delays; the last bucket is unbounded.
var delayBounds = [...]time.Duration{
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second,
	15 * time.Second, time.Minute,
}

// DelayBounds returns the upper bounds of the buckets of [Stats.Delays] but the last, which has none.
func DelayBounds() []time.Duration { return delayBounds[:] }

// Stats returns the counts so far.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Missed = maps.Clone(st.Missed)
	st.Running = s.running
	return st
}

func (s *Scheduler) delayLocked(it *item, now time.Time) {
	from := it.slot
	if it.notBefore.After(from) {
		from = it.notBefore
	}
	it.notBefore = time.Time{}
	d := max(0, now.Sub(from))
	i := slices.IndexFunc(delayBounds[:], func(b time.Duration) bool { return d <= b })
	if i < 0 {
		i = len(delayBounds)
	}
	s.stats.Delays[i]++
	s.stats.DelaySum += d
}
