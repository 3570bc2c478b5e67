package intake

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/push"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
)

// rebuilt is the dump of a history that is made from a log alone, by so many batches at a time.
func rebuilt(t *testing.T, log *evidence.Store, atOnce int) string {
	t.Helper()
	x, err := index.Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	fold, err := NewFold(kinds, log.Blob)
	if err != nil {
		t.Fatal(err)
	}
	var held []history.Batch
	err = Replay(t.Context(), log, fold, 0, func(a Accepted) error {
		if held = append(held, a.History()); len(held) < atOnce {
			return nil
		}
		err := x.Add(t.Context(), held...)
		held = held[:0]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Add(t.Context(), held...); err != nil {
		t.Fatal(err)
	}
	return dumpOf(t, x)
}

func dumpOf(t *testing.T, x *index.Index) string {
	t.Helper()
	var b strings.Builder
	if err := x.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The evidence alone gives the history that grew batch by batch, byte for byte: with late batches, plans that changed, a
// clock that was wrong, results that make no sense, a machine that moved to another unit, journals that ended and began,
// and leaves of other things in between; and so does the log that comes after it.
func TestRebuildGivesTheLiveHistory(t *testing.T) {
	c := newCentre(t, Limits{})
	c.close()
	live, err := index.Open(filepath.Join(c.dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	c.opts.Consumers = []Consumer{{Name: "history", Accept: func(ctx context.Context, a Accepted) error { return live.Add(ctx, a.History()) }}}
	c.open(t)
	recovery, rv := c.setUpRecovery(t)
	attested := func() {
		t.Helper()
		e, err := evidence.NewEntry(evidence.Attestation, map[string]string{"control": "a01", "unit": "an-thanh"}, []byte("paper"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	state := func(r journal.Record, why check.Reason) journal.Record {
		x := check.Because(why, "")
		r.Result.State, r.Result.Reason = x.State, x.Reason
		return r
	}
	a, b := c.agent(t, "an-thanh"), c.machineOf(t, "tu-ky", moving)
	a.push(t, a.seal(t, a.opening(t)...))
	b.push(t, b.seal(t, b.opening(t)...))
	var late []journal.Batch
	for i := range 30 {
		c.set(start.Add(time.Duration(i+1) * time.Minute))
		why := []check.Reason{check.OK, check.OK, check.ConnectRefused, check.Slow}[i/3%4]
		ra := state(result(slot(a.id.Machine, start.Add(time.Duration(i)*time.Minute))), why)
		late = append(late, a.seal(t, ra)) // delivered at the end
		rb := result(slot(b.id.Machine, start.Add(time.Duration(i)*time.Minute)))
		switch i {
		case 5:
			rb.Result.Slot = rb.Result.Slot.Add(time.Second) // off the grid
		case 9:
			b.push(t, b.seal(t, journal.Record{Range: &check.Range{Reason: check.MissedSuspended, Check: "*", From: c.now().Add(-30 * time.Second), To: c.now(), Slots: 1}}))
			attested()
			continue
		case 15: // another plan
			text := planText(b.id.Machine, 2, "120s")
			if err := c.SetPlan(t.Context(), text); err != nil {
				t.Fatal(err)
			}
			b.push(t, b.seal(t, applies(t, text, c.now())))
			continue
		}
		b.push(t, b.seal(t, rb))
	}
	b.push(t, b.seal(t, journal.Record{End: &journal.End{At: c.now(), Cause: "stop"}}))
	// The machine moves to another unit, with a new journal.
	old := b.journal
	in, err := c.reg.NewToken("an-thanh", moving)
	if err != nil {
		t.Fatal(err)
	}
	if b.id, err = push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now}); err != nil {
		t.Fatal(err)
	}
	b.fresh(t)
	text := planText(b.id.Machine, 3, "60s")
	if err := c.SetPlan(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	again := begin(c.now())
	again.Begin.PreviousJournal = old
	b.push(t, b.seal(t, again, applies(t, text, c.now())))
	c.set(c.now().Add(2 * time.Minute))
	b.push(t, b.seal(t, state(result(slot(b.id.Machine, c.now().Add(-time.Minute))), check.Timeout)))
	c.set(c.now().Add(6 * time.Hour))
	for _, x := range late {
		a.push(t, x)
	}
	a.flush(t)

	want := dumpOf(t, live)
	if n := strings.Count(want, "\nresult "); n < 10 || !strings.Contains(want, "connect_refused") || !strings.Contains(want, "range ") || strings.Count(want, "journal ") != 3 {
		t.Fatalf("the live history has %d runs:\n%.2000s", n, want)
	}
	for _, atOnce := range []int{1, 7, 1000} {
		if got := rebuilt(t, c.log, atOnce); got != want {
			t.Errorf("made again by %d at once it is another:\n%s\n--- live\n%s", atOnce, got, want)
		}
	}
	c.close()
	c.succeed(t, recovery, rv)
	c.opts.Consumers = []Consumer{}
	c.open(t)
	if got := rebuilt(t, c.log, 1000); got != want {
		t.Errorf("made again from the successor it is another:\n%s\n--- live\n%s", got, want)
	}
}
