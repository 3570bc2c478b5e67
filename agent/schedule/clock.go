package schedule

import (
	"context"
	"time"

	"egovmon/agent/check"
)

const (
	// clockAgree is how near the collector's time must be to ours for it to confirm our clock.
	clockAgree = time.Minute
	clockRetry = 10 * time.Second
)

// Plausible reports whether a clock may be believed: it shows neither a time before the program was built nor one
// before the last record of the journal.
func Plausible(now, built, last time.Time) bool {
	return !now.Before(built) && !now.Before(last)
}

// waitForClock returns the first plausible time. A clock that is not plausible by itself becomes so when it is set, or
// when the collector confirms it; the stretch from the last record until then is a clock_unset range.
func (s *Scheduler) waitForClock(ctx context.Context) (time.Time, bool) {
	waited, since := false, time.Now()
	for {
		now := s.now()
		switch {
		case Plausible(now, s.o.Built, s.o.Before.Last):
			if waited && s.o.Before.Reason != "" {
				s.o.Before.Reason = check.ClockUnset                                     // the range of the stop takes this reason
				if since := now.Add(-time.Since(since)); since.Before(s.o.Before.Last) { // it was not set: it is behind
					s.unset = since
					s.anew(now)
					return now, true
				}
			}
			s.begin(now)
			return now, true
		case s.confirmed(ctx, now):
			if now.Before(s.o.Before.Last) { // what was recorded since then was so by a clock that was ahead
				if s.o.RecordedBefore != nil {
					s.unset = s.o.RecordedBefore(now)
				}
				s.anew(now)
			} else {
				s.begin(now)
			}
			return now, true
		}
		if !waited {
			s.log.Error("the clock of this machine is wrong: nothing is checked until it is set", "now", now, "built", s.o.Built,
				"last_record", s.o.Before.Last)
		}
		waited = true
		if !pause(ctx, clockRetry) {
			return time.Time{}, false
		}
	}
}

func (s *Scheduler) begin(now time.Time) {
	if err := s.o.Sink.Begin(now); err != nil {
		s.log.Error("cannot begin the journal", "err", err)
	}
}

// anew begins a new journal, for slots of a time that the present one speaks of already.
func (s *Scheduler) anew(now time.Time) {
	if err := s.o.Sink.Stepped(now); err != nil {
		s.log.Error("cannot begin a new journal", "err", err)
	}
	s.o.Before = Before{}
}

func (s *Scheduler) confirmed(ctx context.Context, now time.Time) bool {
	if s.o.CollectorTime == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, clockRetry)
	defer cancel()
	t, err := s.o.CollectorTime(ctx)
	return err == nil && t.Sub(now).Abs() <= clockAgree
}

// A watch compares the wall clock with the monotonic one from tick to tick.
type watch struct {
	o         Options
	wall      time.Time
	mono      time.Time
	suspended time.Duration
}

// A step is what happened to the clock since the last tick. The zero value is nothing.
type step struct {
	back   bool          // it went back by more than stepLimit
	reason check.Reason  // why slots were missed: MissedSuspended or MissedClockJump
	from   time.Time     // the wall clock at the last tick
	by     time.Duration // how far it was set, if it was
}

func newWatch(o Options, now time.Time) *watch {
	return &watch{o: o, wall: now, mono: time.Now(), suspended: o.slept()}
}

func (o Options) slept() time.Duration {
	if o.Suspended == nil {
		return 0
	}
	return o.Suspended()
}

func (w *watch) observe(now time.Time) step {
	mono, slept := time.Now(), w.o.slept()
	wall, ran := now.Sub(w.wall), mono.Sub(w.mono)
	st := judge(wall, ran, slept-w.suspended)
	st.from = w.wall
	w.wall, w.mono, w.suspended = now, mono, slept
	return st
}

// judge says what happened between two ticks that lie wall apart by the wall clock and mono apart by the monotonic one,
// slept of which the machine was suspended. The monotonic clock stands still during that on some systems and not on
// others.
func judge(wall, mono, slept time.Duration) (st step) {
	jump := wall - mono
	if slept > stepLimit {
		st.reason = check.MissedSuspended
		if mono < slept { // it stood still
			jump -= slept
		}
	}
	if jump.Abs() <= stepLimit {
		return st
	}
	st.by = jump
	switch {
	case wall < -stepLimit || jump < 0 && slept <= stepLimit:
		return step{back: true, by: jump}
	case st.reason == "":
		st.reason = check.MissedClockJump
	}
	return st
}
