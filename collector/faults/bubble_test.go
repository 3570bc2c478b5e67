package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

// A rig is a world that is disturbed, and its twin, in which the same machine measures the same services undisturbed.
type rig struct {
	*world
	a    *agent
	twin *world
	b    *agent // the twin's

	also     []string // further folders that have held the journal
	keys     []string // journal keys of before
	damaged  bool
	orphans  bool
	cloned   bool
	relogged bool
	rejected []string // reasons for which results may be rejected
}

// disturb runs both worlds for an hour, lets f disturb the one, runs both for hours more, and judges what is left.
// It returns the two stories and the share of the measured seconds that the disturbed world measured too.
func disturb(t *testing.T, set func(w *world), f func(r *rig), after func(r *rig, undisturbed, disturbed *story, share float64)) {
	t.Helper()
	inBubble(t, func(w *world) {
		r := &rig{world: w, twin: newWorld(w.T)}
		for _, x := range []*world{r.world, r.twin} {
			if set != nil {
				set(x)
			}
			x.open()
		}
		r.a, r.b = r.world.enrol(machine), r.twin.enrol(machine)
		r.world.plan(machine, 1)
		r.twin.plan(machine, 1)
		r.a.start()
		r.b.start()
		time.Sleep(time.Hour + 7*time.Second)
		f(r)
		time.Sleep(2 * time.Hour)
		r.a.stop(false)
		r.b.stop(false)
		r.settle()
		r.world.close()
		r.twin.close()
		undisturbed := remains{machine: machine, agents: []string{r.b.dir}, state: r.twin.state, kinds: r.twin.kinds}.judge(w.T)
		disturbed := remains{machine: machine, agents: append([]string{r.a.dir}, r.also...), state: r.world.state, kinds: r.world.kinds,
			keys: r.keys, damaged: r.damaged, cloned: r.cloned, orphans: r.orphans, relogged: r.relogged, rejected: r.rejected}.judge(w.T)
		share := agree(w.T, undisturbed, disturbed, nil)
		after(r, undisturbed, disturbed, share)
	})
}

// everything asks that nothing at all is missing.
func everything(r *rig, _, s *story, share float64) {
	r.Helper()
	if share != 1 || s.totals[check.Silent] != 0 {
		r.Errorf("%.4f of the seconds were measured, want all: %v", share, s.totals)
	}
}

// atLeast asks for a share of the seconds, and that of each of the others the history says why.
func atLeast(share float64, reasons ...check.Reason) func(*rig, *story, *story, float64) {
	return func(r *rig, _, s *story, got float64) {
		r.Helper()
		if got < share {
			r.Errorf("%.4f of the seconds were measured, want %.4f at least: %v", got, share, s.totals)
		}
		for reason := range s.totals {
			if !measured(reason) && !slices.Contains(reasons, reason) {
				r.Errorf("%d seconds are %s: %v", s.totals[reason], reason, s.totals)
			}
		}
		for _, reason := range reasons {
			if s.totals[reason] == 0 {
				r.Errorf("no second is %s: %v", reason, s.totals)
			}
		}
	}
}

// TestUndisturbed shows that the judges are content with a run that nothing disturbs.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(*rig) {}, everything)
}

// TestCollectorAway keeps the collector away for ten days: each result of them is in the history in the end.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	const days = 10
	disturb(t, func(w *world) { w.every, w.seal = 15*time.Minute, 15*time.Minute }, func(r *rig) {
		r.world.close()
		time.Sleep(days * 24 * time.Hour)
		r.world.open()
		time.Sleep(time.Hour)
	}, func(r *rig, u, s *story, share float64) {
		everything(r, u, s, share)
		if n := len(s.recorded); n < days*96*len(r.checks) {
			r.Errorf("%d results in %d days", n, days)
		}
	})
}

// TestCrashes stops agent and collector at random moments, each as a kill does.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disturb(t, func(w *world) { w.every = time.Minute }, func(r *rig) {
			for range 12 {
				time.Sleep(time.Duration(rng.Int64N(int64(5 * time.Minute))))
				if rng.IntN(3) != 0 {
					r.a.stop(true)
					time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
					r.a.start()
				}
				if rng.IntN(3) == 0 {
					r.crash()
					time.Sleep(time.Duration(rng.Int64N(int64(time.Minute))))
					r.world.open()
				}
			}
		}, func(r *rig, _, s *story, share float64) {
			if share < 0.99 || s.totals[check.Silent] > 60*int64(len(r.checks)) {
				r.Errorf("seed %d: %.4f of the seconds were measured: %v", seed, share, s.totals)
			}
		})
	}
}

// TestAgentOff stops the agent for half an hour, and switches the machine off for as long. Every second of that says why
// it was not measured.
func TestAgentOff(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		r.a.stop(false)
		time.Sleep(30 * time.Minute)
		r.a.start()
		time.Sleep(time.Hour)
		r.a.stop(true)
		time.Sleep(30 * time.Minute)
		r.a.start()
	}, func(r *rig, u, s *story, share float64) {
		if n := s.totals[check.Silent]; n > 0 {
			r.Errorf("%d seconds are silent: nothing says why they were not measured", n)
		}
		atLeast(0.7, check.MissedStopped)(r, u, s, share)
	})
}

// TestSuspended lets the machine sleep for half an hour.
func TestSuspended(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		const nap = 30 * time.Minute
		r.a.slept.Add(int64(nap))
		for _, w := range []*world{r.world, r.twin} {
			w.shift.Add(int64(nap))
		}
		r.b.slept.Add(int64(nap)) // the twin's stands still with it
	}, atLeast(1, check.MissedSuspended))
}

// TestBootIn2010 starts the machine with an empty clock battery.
func TestBootIn2010(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		r.a.stop(true)
		wrong := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC).Sub(r.now())
		r.a.shift.Store(int64(wrong))
		r.a.start()
		time.Sleep(30 * time.Minute)
		r.a.shift.Store(0)
	}, atLeast(0.8, check.ClockUnset))
}

// TestJournalDeleted takes the journal away while the agent is off. What the log has stays.
func TestJournalDeleted(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		r.a.stop(true)
		r.must(os.RemoveAll(filepath.Join(r.a.dir, "journal")))
		time.Sleep(10 * time.Minute)
		r.a.start()
		r.orphans = true
	}, atLeast(0.9, check.Silent))
}

// TestAgentRestored puts the agent's disk back to an earlier state. What it measured in between is in the log, or in the
// folder that was thrown away and nowhere else.
func TestAgentRestored(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		snapshot := r.copy(r.a.dir)
		time.Sleep(2 * time.Hour)
		r.a.stop(false)
		r.also = append(r.also, r.copy(r.a.dir))
		r.replace(r.a.dir, snapshot)
		r.a.start()
	}, atLeast(0.95))
}

// TestCollectorRestored puts the collector's disk back to an earlier state. The agent shows it what it has signed since,
// and the successor log asks for what was lost.
func TestCollectorRestored(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		r.setUpRecovery()
		time.Sleep(time.Hour)
		r.crash()
		snapshot := r.copy(r.state)
		r.world.open()
		time.Sleep(26 * time.Hour)
		r.world.close()
		r.replace(r.state, snapshot)
		r.world.open()
		size := r.centre.store.Size()
		time.Sleep(time.Hour)
		if _, ok := r.centre.store.Overtaken(); !ok || r.centre.store.Size() != size {
			r.Errorf("%d leaves were signed that contradict what the agent has seen; overtaken: %v", r.centre.store.Size()-size, ok)
		}
		r.world.close()
		r.succeed()
		r.world.open()
		r.relogged = true
	}, everything)
}

// TestPlansOfTheGap puts the collector's disk back to before two changes of plan. The agent gives back both plans, in order,
// so that what was measured by each counts as it did.
func TestPlansOfTheGap(t *testing.T) {
	t.Parallel()
	disturb(t, nil, func(r *rig) {
		change := func(version int, checks ...string) {
			for _, w := range []*world{r.world, r.twin} {
				w.checks = checks
				w.plan(machine, version)
			}
		}
		r.setUpRecovery()
		time.Sleep(time.Hour)
		r.crash()
		snapshot := r.copy(r.state)
		r.world.open()
		time.Sleep(time.Hour)
		change(2, "web.one", "web.two", "web.three", "web.four")
		time.Sleep(3 * time.Hour)
		change(3, "web.one", "web.two", "web.three", "web.four", "web.five")
		time.Sleep(2 * time.Hour)
		r.world.close()
		r.replace(r.state, snapshot)
		r.world.open()
		time.Sleep(time.Hour)
		r.world.close()
		r.succeed()
		r.world.open()
		r.relogged = true
	}, func(r *rig, u, s *story, share float64) {
		if share != 1 || s.totals[check.Silent] > u.totals[check.Silent] {
			r.Errorf("%.4f of the seconds were measured, want all: %v, undisturbed %v", share, s.totals, u.totals)
		}
	})
}
