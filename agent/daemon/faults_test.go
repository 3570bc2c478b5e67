package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/journal"
)

// kept lists the records on disk, by journal, in order.
func (r *rig) kept() (ids []string, recs map[string][]journal.Record) {
	recs = make(map[string][]journal.Record)
	for e := range journal.Read(JournalDir(r.dir)) {
		if e.Err != nil {
			r.Errorf("%s, byte %d: %v", e.File, e.Offset, e.Err)
		}
		if id := e.Header.Journal; id != "" {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			recs[id] = append(recs[id], e.Records...)
		}
	}
	return ids, recs
}

// wantSent fails unless the collector has every result that is on disk.
func (r *rig) wantSent() {
	r.Helper()
	got := r.c.Results()
	_, recs := r.kept()
	for _, list := range recs {
		for _, rec := range list {
			if rec.Result != nil && !slices.ContainsFunc(got, func(g check.Result) bool {
				return g.Check == rec.Result.Check && g.Slot.Equal(rec.Result.Slot) && g.Start.Equal(rec.Result.Start)
			}) {
				r.Errorf("%s of %s is on disk, and not at the collector", rec.Result.Check, rec.Result.Slot)
			}
		}
	}
}

func (r *rig) copyOf(dir string) string {
	r.Helper()
	to := filepath.Join(r.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		r.Fatal(err)
	}
	for _, name := range []string{to, JournalDir(to)} {
		if err := os.Chmod(name, 0o700); err != nil {
			r.Fatal(err)
		}
	}
	return to
}

// The machine is set back to a snapshot: the collector holds batches that the journal does not know of. The journal is
// closed with a record, a new one names it and why, and what was measured since goes there.
func TestSnapshotRestored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	_, stop := r.start()
	r.until("a result at the collector", func() bool { return len(r.c.Results()) > 0 })
	stop()
	snapshot := r.copyOf(r.dir)
	n := len(r.c.Results())
	_, stop = r.start()
	r.until("another result at the collector", func() bool { return len(r.c.Results()) > n })
	stop()
	r.dir = snapshot
	r.wantSent()
	ids, _ := r.kept()
	d, stop := r.start()
	r.until("a new journal at the collector", func() bool {
		recs := r.c.Records()
		i := slices.IndexFunc(recs, func(x journal.Record) bool { return x.Begin != nil && x.Begin.Cause == "fork" })
		return i >= 0 && slices.ContainsFunc(recs[i:], func(x journal.Record) bool { return x.Result != nil })
	})
	stop()
	r.wantSent()
	now, recs := r.kept()
	if len(now) != 2 || now[0] != ids[0] || now[1] != d.journal.ID() {
		t.Fatalf("journals %q on disk, want %q and a new one", now, ids)
	}
	old, fresh := recs[now[0]], recs[now[1]]
	if e := old[len(old)-1].End; e == nil || e.Cause != "fork" {
		t.Errorf("the old journal ends with %+v, want an end with cause fork", old[len(old)-1])
	}
	if b := fresh[0].Begin; b == nil || b.Cause != "fork" || b.PreviousJournal != ids[0] || !strings.Contains(b.PreviousHead, ":") {
		t.Errorf("the new journal begins with %+v, want cause fork and the head of %s", fresh[0].Begin, ids[0])
	}
	if p := fresh[1].Plan; p == nil || p.Version != 1 {
		t.Errorf("the new journal goes on with %+v, want the plan in force", fresh[1])
	}
}

// The journal is deleted while the agent is stopped: the next one says so, and names the last head that is known.
func TestJournalDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	d, stop := r.start()
	r.until("a result at the collector", func() bool { return len(r.c.Results()) > 0 })
	stop()
	old, n := d.journal.ID(), len(r.c.Results())
	if err := os.RemoveAll(JournalDir(r.dir)); err != nil {
		t.Fatal(err)
	}
	_, stop = r.start()
	r.until("another result at the collector", func() bool { return len(r.c.Results()) > n })
	stop()
	r.wantSent()
	_, recs := r.kept()
	for id, list := range recs {
		if b := list[0].Begin; b == nil || b.Cause != "deleted" || b.PreviousJournal != old || !strings.Contains(b.PreviousHead, ":") {
			t.Errorf("journal %s begins with %+v, want cause deleted and the head of %s", id, b, old)
		}
	}
	if p := r.c.Problems(); len(p) > 0 {
		t.Errorf("the collector found fault: %q", p)
	}
}
