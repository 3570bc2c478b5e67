package faults

import (
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/intake"
)

// wrongFor is how long a clock is wrong in these tests, before it is set right.
const wrongFor = 30 * time.Minute

// TestClock steps the machine's clock, with and without a collector to measure it against, and sets it right half an hour
// later. What was run meanwhile is in the history where it was run, as clock_unproven; no second is silent, or of another
// time.
func TestClock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		step time.Duration
		away bool
	}{
		{"an hour ahead", time.Hour, false},
		{"an hour behind", -time.Hour, false},
		{"an hour ahead, alone", time.Hour, true},
		{"an hour behind, alone", -time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wrong stretch
			disturb(t, nil, func(r *rig) {
				time.Sleep(2 * time.Hour)
				if tt.away {
					r.line.cut()
				}
				wrong.from = r.now()
				r.a.shift.Add(int64(tt.step))
				time.Sleep(wrongFor)
				r.a.shift.Add(-int64(tt.step))
				wrong.to = r.now()
				time.Sleep(time.Hour)
				r.line.mend()
			}, func(r *rig, u, s *story, share float64) { wrong.judge(r, u, s) })
		})
	}
}

// TestClockLearntLate has the machine's clock wrong while the collector is away, and lets the agent learn only afterwards by
// how much. As the machine was not started anew in between, all that it has recorded is still placed where it was run.
func TestClockLearntLate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		step time.Duration
		set  bool // right again before the collector is back
		kill bool // the agent is killed in between, which makes it read all that it knows from disk
	}{
		{"ahead, and set right", time.Hour, true, false},
		{"behind, and set right", -time.Hour, true, false},
		{"ahead until after", time.Hour, false, false},
		{"behind until after", -time.Hour, false, false},
		{"ahead until after, with kills", time.Hour, false, true},
		{"behind, and set right, with kills", -time.Hour, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wrong stretch
			again := func(r *rig) {
				if tt.kill {
					r.a.stop(true)
					r.a.start()
					time.Sleep(time.Hour)
				}
			}
			disturb(t, nil, func(r *rig) {
				r.line.cut()
				r.a.stop(true) // what was measured before says nothing of a clock after a start
				r.line.cut()
				r.a.boots.Add(1)
				wrong.from = r.now()
				r.a.shift.Add(int64(tt.step))
				r.a.start()
				time.Sleep(2 * time.Hour)
				again(r)
				time.Sleep(time.Hour)
				if tt.set {
					r.a.shift.Add(-int64(tt.step))
					wrong.to = r.now()
					time.Sleep(time.Hour)
					again(r)
				}
				r.line.mend()
				if !tt.set {
					time.Sleep(10 * time.Minute)
					r.a.shift.Add(-int64(tt.step))
					wrong.to = r.now()
				}
			}, func(r *rig, u, s *story, share float64) {
				wrong.judge(r, u, s, check.ClockUnset, check.MissedStopped)
				// A clock that is behind the last record is not believed by itself, and so nothing is run until it is past that.
				unset := int64(len(r.checks)) * int64(max(0, -tt.step)/time.Second)
				if n := s.totals[check.ClockUnset]; n < unset*9/10 || n > unset*11/10 {
					r.Errorf("%d seconds are clock_unset, want about %d", n, unset)
				}
				if n := s.totals[check.MissedStopped]; n > 120 {
					r.Errorf("%d seconds are missed_stopped", n)
				}
			})
		})
	}
}

// TestClockOfAnEarlierStart has the machine's clock ahead while the collector is away, and right when it is started again. By how
// much it was wrong nobody can tell any more, so that what was measured at a time to come is no figure. Every second of
// that says why.
func TestClockOfAnEarlierStart(t *testing.T) {
	t.Parallel()
	const wrong = 3 * time.Hour
	disturb(t, nil, func(r *rig) {
		r.rejected = []string{intake.RejectedFuture, intake.RejectedRange, intake.RejectedTime}
		r.a.stop(true)
		r.line.cut()
		r.a.boots.Add(1)
		r.a.shift.Add(int64(48 * time.Hour))
		r.a.start()
		time.Sleep(wrong)
		r.a.stop(true)
		r.a.boots.Add(1)
		r.a.shift.Add(-int64(48 * time.Hour))
		r.a.start()
	}, func(r *rig, u, s *story, share float64) {
		atLeast(0.4, check.ClockUnset)(r, u, s, share)
		want := int64(len(r.checks)) * int64(wrong/time.Second)
		if n := s.totals[check.ClockUnset]; n < want*95/100 || n > want*105/100 {
			r.Errorf("%d seconds are clock_unset, want about %d: %v", n, want, s.totals)
		}
	})
}

// A stretch is when a machine's clock was wrong, in true time.
type stretch struct{ from, to time.Time }

// judge asks that the stretch, and no more than a slot beyond either end, is clock_unproven, that every result of it
// stands where it was run, and that all else is as if nothing had been, but for what has one of the reasons in also.
func (w stretch) judge(r *rig, undisturbed, disturbed *story, also ...check.Reason) {
	r.Helper()
	edge := int64(2 * r.every / time.Second)
	for id, runs := range disturbed.observed {
		for _, run := range runs {
			switch {
			case measured(run.Reason) || slices.Contains(also, run.Reason):
			case run.Reason != check.ClockUnproven:
				r.Errorf("%s: %d seconds from %s are %s", id, run.Seconds(), time.Unix(run.From, 0).UTC().Format("02T15:04:05"), run.Reason)
			case run.From < w.from.Unix()-edge || run.To > w.to.Unix()+edge:
				r.Errorf("%s: %d seconds from %s are %s, and the clock was wrong from %s to %s", id, run.Seconds(), time.Unix(run.From, 0).UTC().Format("02T15:04:05"),
					run.Reason, w.from.Format("02T15:04:05"), w.to.Format("02T15:04:05"))
			}
		}
	}
	n := 0
	for _, o := range disturbed.archived {
		if !o.ClockUnproven {
			continue
		}
		n++
		if want := reasonAt(undisturbed.observed[o.Check], o.Start.Unix()); o.Reason != want || (o.Slot.Sub(o.Start)).Abs() > r.every {
			r.Errorf("a result of %s, slot %s, run at %s is %s, and was %s then", o.Check, o.Slot.Format("02T15:04:05"), o.Start.Format("02T15:04:05"), o.Reason, want)
			return
		}
	}
	if want := len(r.checks) * int((w.to.Sub(w.from)-time.Duration(disturbed.totals[check.ClockUnset]/int64(len(r.checks)))*time.Second)/r.every-2); n < want {
		r.Errorf("%d results were run by the wrong clock, want %d at least", n, want)
	}
}
