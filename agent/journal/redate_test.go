package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
)

// A redating is a machine whose clock is an hour ahead, is set right while the collector is away, and is measured only
// after that.
type redating struct {
	*rig
	d     *lab
	ahead time.Duration // of the clock, now
	boot  string

	given    []check.Result
	truly    map[string]time.Time // when each was run, by its check and start
	recorded int
	set      int // operations before the clock was set
}

func runOf(r check.Result) string { return r.Check + r.Start.Format(time.RFC3339Nano) }

func newRedating(t *testing.T) *redating {
	r, d := newLabRig(t)
	x := &redating{rig: r, d: d, ahead: time.Hour, boot: "one", truly: map[string]time.Time{}}
	r.o.Boot = func() (string, time.Duration) { return x.boot, x.now().Sub(testTime.Add(-2 * time.Hour)) }
	r.open()
	return x
}

// now is the true time.
func (x *redating) now() time.Time { return x.clock.Add(-x.ahead) }

// measure records as the agent does, whatever fails.
func (x *redating) measure(ids ...string) {
	x.clock = x.clock.Add(20 * time.Second)
	for _, id := range ids {
		res := x.result(id, check.OK)
		x.given, x.truly[runOf(res)] = append(x.given, res), x.now()
		if err := x.j.Write([]check.Result{res}, nil); err != nil {
			x.Fatal(err)
		}
	}
	if x.j.Sync() == nil {
		x.recorded = len(x.given)
	}
}

// script lets the clock be wrong, be set, and be measured, and has the journal learn of it until that works.
func (x *redating) script() {
	_ = x.j.Begin(x.clock) // what could not be written is held
	for range 5 {
		x.measure("a", "b")
	}
	x.set = x.d.count
	x.ahead, x.clock = 0, x.clock.Add(-time.Hour)
	x.j.MoveClock(-time.Hour, x.clock)
	_ = x.j.Rotate("clock_stepped", x.clock)
	for range 3 {
		x.measure("a", "b")
	}
	x.j.SetClock(Clock{0, x.clock})
	for range 3 {
		if _, err := x.j.Redate(); err == nil {
			break
		}
		x.measure("a")
	}
	x.measure("b")
	_ = x.j.Close("stop", x.clock)
}

// survives opens a copy of the folder, has the clock measured, and reports what is not waiting to be sent, once, at the
// time at which it was run: everything, as the collector has had nothing yet. dated says that the times must be right.
func (x *redating) survives(dir string, c cut, dated bool) error {
	n := &redating{rig: &rig{TB: x.TB, o: x.o, verifiers: x.verifiers, clock: x.clock.Add(time.Minute)}, ahead: x.ahead, boot: x.boot}
	n.o.Dir, n.o.disk = dir, newLab(x.TB, dir)
	n.o.Now = func() time.Time { return n.clock }
	n.o.Boot = func() (string, time.Duration) { return n.boot, n.now().Sub(testTime.Add(-2 * time.Hour)) }
	if c != cuts[0] { // the power was cut, and nothing is known of the clock before
		n.boot, dated = "two", false
	}
	n.open()
	if n.found.Unreadable != "" {
		return errors.New(n.found.Unreadable)
	}
	var err error
	if n.found.LastTime.After(n.clock) {
		err = n.j.Rotate("clock_stepped", n.clock)
	} else {
		err = n.j.Begin(n.clock)
	}
	n.j.SetClock(Clock{n.ahead, n.clock})
	if _, e := n.j.Redate(); err != nil || e != nil {
		return errors.Join(err, e)
	}
	if again, err := n.j.Redate(); again != 0 || err != nil {
		return fmt.Errorf("recorded anew a second time: %d %v", again, err)
	}
	n.stop()
	times, begun := map[string]int{}, map[string]bool{}
	for after := n.j.Acked(); ; {
		bs, err := n.j.Batches(after, 100, 1<<20)
		if err != nil || len(bs) == 0 {
			if err != nil {
				return err
			}
			break
		}
		for _, b := range bs {
			h, recs, err := Open(b.Batch, n.verifiers)
			if err != nil {
				return err
			}
			begun[h.Journal] = begun[h.Journal] || recs[0].Begin != nil && h.Seq == 1
			if !begun[h.Journal] {
				return fmt.Errorf("journal %.4s has no begin, so that the collector takes nothing of it", h.Journal)
			}
			for _, res := range resultsOf(recs) {
				times[runOf(res)]++
				at, ok := x.truly[runOf(res)]
				if off := res.Slot.Add(-stated(h)).Sub(at); !ok || dated && off.Abs() > clockStep {
					return fmt.Errorf("%s, run at %s, was given: %t; it would be placed %s beside that", res.Check, at, ok, off)
				}
			}
			after = b.Head
		}
	}
	for i, res := range x.given {
		if k := times[runOf(res)]; k > 1 || k == 0 && i < x.recorded {
			return fmt.Errorf("result %d of %s is to be sent %d times", i, res.Check, k)
		}
	}
	rep, err := Verify(dir, n.verifiers)
	if err != nil || len(rep.Problems) > 0 {
		return fmt.Errorf("verify: %v %v", rep.Problems, err)
	}
	return nil
}

// A kill or a power cut at whichever operation, also in the middle of recording anew: each result waits to be sent, once,
// and by the clock that it was run by.
func TestRedateCrash(t *testing.T) {
	x := newRedating(t)
	dirs := quickDir(t)
	x.d.after = func(op string) {
		for i, c := range cuts {
			dir := filepath.Join(dirs, fmt.Sprint(x.d.count, "-", i))
			x.d.crash(t, dir, c)
			if err := x.survives(dir, c, true); err != nil {
				t.Errorf("crash after operation %s; %s: %v", op, c.name, err)
			}
			_ = os.RemoveAll(dir)
		}
	}
	x.script()
	if n := x.d.count; x.recorded != len(x.given) || n < 60 {
		t.Fatalf("%d operations, %d of %d results recorded", n, x.recorded, len(x.given))
	}
}

// Whichever operation fails from when the clock is set on, done or not, and whatever a kill or a power cut then leaves: nothing is lost or sent twice.
func TestRedateFaults(t *testing.T) {
	x := newRedating(t)
	x.script()
	for from := x.set + 1; from <= x.d.count; from++ {
		for _, f := range []fault{refused, kept, short} {
			for _, run := range []int{1, 4} {
				if f != refused && run > 1 {
					continue
				}
				x := newRedating(t)
				x.d.from, x.d.to, x.d.fault = from, from+run, f
				dirs, failed := quickDir(t), ""
				x.d.after = func(op string) {
					since := x.d.count - x.d.from
					if since == 0 {
						failed = op
					}
					if since < 0 || since > 2 && since%61 != 0 || t.Failed() {
						return
					}
					c := cuts[x.d.count%2]
					dir := filepath.Join(dirs, fmt.Sprint(x.d.count))
					x.d.crash(t, dir, c)
					if err := x.survives(dir, c, false); err != nil {
						t.Errorf("%d operations from %q on were %s; crash after %q, %s: %v", run, failed, f, op, c.name, err)
					}
					_ = os.RemoveAll(dir)
				}
				x.script()
				if x.recorded < len(x.given)-2 {
					t.Errorf("%d operations from %q on were %s: %d of %d results are recorded in the end", run, failed, f, x.recorded, len(x.given))
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}
