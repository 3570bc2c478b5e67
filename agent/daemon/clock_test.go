package daemon

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/schedule"
)

// A desk is one machine whose clock a test moves, with the scheduler, sink and journal of an agent, in a bubble.
type desk struct {
	*testing.T
	dir    string
	signer note.Signer
	keys   note.Verifiers
	kinds  check.Table
	plan   *plan.Plan
	built  time.Time

	mu           sync.Mutex
	shift, slept time.Duration
}

func newDesk(t *testing.T) *desk {
	skey, vkey, err := note.GenerateKey(rand.Reader, "egovmon/tu-ky/journal/"+machine)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, dir: t.TempDir(), signer: signer, keys: note.VerifierList(key), built: time.Now().Add(-24 * time.Hour)}
	d.kinds = check.Table{{Name: "fake", New: func(check.Options, check.Env) (check.Func, error) {
		return func(context.Context) check.Result {
			time.Sleep(300 * time.Millisecond)
			return check.Because(check.OK, "")
		}, nil
	}}}
	text := "plan: test\nfor: " + machine + "\nversion: 1\nchecks:\n  - {id: a.x, kind: fake, every: 30s, timeout: 2s}\n  - {id: a.y, kind: fake, every: 60s, timeout: 2s}\n"
	if d.plan, err = plan.Parse([]byte(text), d.kinds); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Add(d.shift)
}

func (d *desk) suspended() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slept
}

// move sets the clock forward, or back, and says how much of that the machine slept.
func (d *desk) move(by, slept time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shift, d.slept = d.shift+by, d.slept+slept
}

// run lets the agent work while the test does something, and then stops it in order, or kills it.
func (d *desk) run(kill bool, while func()) journal.Recovered {
	d.Helper()
	j, found, err := journal.OpenJournal(journal.Options{Dir: filepath.Join(d.dir, "journal"), Machine: machine, Signer: d.signer,
		Now: d.now, Build: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.Fatal(err)
	}
	s := schedule.New(schedule.Options{Machine: machine, Kinds: d.kinds, Sink: &sink{dir: d.dir, journal: j, log: slog.New(slog.DiscardHandler)},
		Now: d.now, Suspended: d.suspended, Built: d.built, Before: before(found, nil)})
	s.Apply(d.plan)
	ctx, cancel := context.WithCancel(d.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	wg.Go(func() { _ = j.Run(ctx) })
	while()
	cancel()
	wg.Wait()
	if !kill {
		if err := j.Close("stop", d.now()); err != nil {
			d.Error(err)
		}
	}
	return found
}

// audit reads the journals: they verify, no slot has two results in one, and every slot from the first record to the
// last begin has a result or is named in a range. It returns the reasons of the ranges and the causes of the ends.
func (d *desk) audit(until time.Time) (reasons []check.Reason, causes []string) {
	d.Helper()
	dir := filepath.Join(d.dir, "journal")
	if rep, err := journal.Verify(dir, d.keys); err != nil || len(rep.Problems) > 0 {
		d.Errorf("%+v, %v", rep, err)
	}
	type key struct {
		journal, check string
		slot           int64
	}
	in := make(map[key]int)
	covered := make(map[key]bool)
	var ranges []check.Range
	var from time.Time
	id := ""
	for e := range journal.Read(dir) {
		if e.Header.Journal != "" {
			id = e.Header.Journal
		}
		for _, r := range e.Records {
			switch {
			case r.Result != nil:
				in[key{id, r.Result.Check, r.Result.Slot.Unix()}]++
				covered[key{"", r.Result.Check, r.Result.Slot.Unix()}] = true
			case r.Range != nil:
				ranges, reasons = append(ranges, *r.Range), append(reasons, r.Range.Reason)
			case r.Plan != nil && from.IsZero():
				from = r.Plan.At
			case r.End != nil:
				causes = append(causes, r.End.Cause)
			}
		}
	}
	for k, n := range in {
		if n > 1 {
			d.Errorf("%s has %d results for %s in one journal", k.check, n, time.Unix(k.slot, 0).UTC())
		}
	}
	n := 0
	for _, c := range d.plan.Checks {
		for s := range plan.Slots(machine, c, plan.SlotAt(machine, c, from), until) {
			n++
			if !covered[key{"", c.ID, s.Unix()}] && !slices.ContainsFunc(ranges, func(g check.Range) bool {
				return (g.Check == "*" || g.Check == c.ID) && !s.Before(g.From) && s.Before(g.To)
			}) {
				d.Errorf("%s at %s has neither a result nor a range", c.ID, s)
			}
		}
	}
	if n < 20 {
		d.Errorf("%d slots from %s to %s", n, from, until)
	}
	return reasons, causes
}

// Whatever the clock does, and whether the machine sleeps: every slot is measured or says why it was not.
func TestClock(t *testing.T) {
	const bit = 10 * time.Minute
	years := -17 * 365 * 24 * time.Hour
	for _, tt := range []struct {
		name    string
		story   func(d *desk)
		reasons []check.Reason
		causes  []string
	}{
		{"an hour forward", func(d *desk) {
			d.run(false, func() { time.Sleep(bit); d.move(time.Hour, 0); time.Sleep(bit) })
		}, []check.Reason{check.MissedClockJump}, []string{"stop"}},
		{"an hour back", func(d *desk) {
			d.run(false, func() { time.Sleep(bit); d.move(-time.Hour, 0); time.Sleep(2*time.Hour - bit) })
		}, nil, []string{"clock_stepped", "stop"}},
		{"asleep for half an hour", func(d *desk) {
			d.run(false, func() { time.Sleep(bit); d.move(30*time.Minute, 30*time.Minute); time.Sleep(bit) })
		}, []check.Reason{check.MissedSuspended}, []string{"stop"}},
		{"asleep, and killed at once after that", func(d *desk) {
			d.run(true, func() { time.Sleep(bit); d.move(30*time.Minute, 30*time.Minute); time.Sleep(1500 * time.Millisecond) })
			time.Sleep(time.Minute)
			d.run(false, func() { time.Sleep(bit) })
		}, []check.Reason{check.MissedSuspended, check.MissedStopped}, []string{"stop"}},
		{"the clock shows 2010 at a start, and is set later", func(d *desk) {
			d.run(false, func() { time.Sleep(bit) })
			d.move(years, 0)
			d.run(false, func() { time.Sleep(bit); d.move(-years, 0); time.Sleep(bit) })
		}, []check.Reason{check.ClockUnset}, []string{"stop", "stop"}},
		{"the clock shows 2010 at a start until the next one", func(d *desk) {
			d.run(false, func() { time.Sleep(bit) })
			d.move(years, 0)
			d.run(true, func() { time.Sleep(bit) })
			d.move(-years, 0)
			d.run(false, func() { time.Sleep(bit) })
		}, []check.Reason{check.MissedStopped}, []string{"stop", "stop"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				tt.story(d)
				reasons, causes := d.audit(d.now().Add(-2 * time.Minute))
				if !slices.Equal(reasons, tt.reasons) || !slices.Equal(causes, tt.causes) {
					t.Errorf("ranges of %v, ends %q; want %v, %q", reasons, causes, tt.reasons, tt.causes)
				}
			})
		})
	}
}
