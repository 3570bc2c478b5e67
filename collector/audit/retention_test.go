package audit

import (
	"slices"
	"testing"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
	"egovmon/collector/retention"
)

// TestRetention removes what is due of a log, with its space before and after; what remains verifies.
func TestRetention(t *testing.T) {
	now := start.AddDate(0, keepMonths, 1)
	w := &world{receipt: nil}
	w.receipt = func(f map[string]string, seq uint64) {
		if seq == 22 { // the last
			f["received"] = now.Format("2006-01-02T15:04:05.000Z")
		}
	}
	w.build(t)
	p, err := retention.Config{}.Policy(profile.ParseDays)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]int{now.AddDate(0, 0, -2): 0, now: 20} { // not the one that began the journal, not that of today
		got, err := retention.Find(t.Context(), w.store, kinds, p, at)
		if err != nil || got.Bodies != want {
			t.Errorf("at %s %d bodies are due, want %d; %v", at.Format(time.DateOnly), got.Bodies, want, err)
		}
	}
	held, err := retention.Config{Hold: []retention.Hold{{From: "2026-11-23", To: "2026-11-23", Why: "w"}}}.Policy(profile.ParseDays)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := retention.Find(t.Context(), w.store, kinds, held, now); err != nil || got.Bodies != 0 {
		t.Errorf("%d bodies are due under a hold, %v", got.Bodies, err)
	}
	before, err := retention.Measure(w.store, p, now)
	if err != nil {
		t.Fatal(err)
	}
	due, err := retention.Find(t.Context(), w.store, kinds, p, now)
	if err != nil {
		t.Fatal(err)
	}
	w.remove(now, evidence.BodyPiece, due.Leaves...)
	after, err := retention.Measure(w.store, p, now)
	if err != nil || before.Bodies-after.Bodies != due.Bytes || after.Forever <= before.Forever || before.Most == 0 {
		t.Errorf("%+v, then %+v, %d bytes were due; %v", before, after, due.Bytes, err)
	}
	if again, err := retention.Find(t.Context(), w.store, kinds, p, now); err != nil || again.Bodies != 0 {
		t.Errorf("%d bodies are due again, %v", again.Bodies, err)
	}
	fold, err := intake.NewFold(kinds, w.store.Blob)
	if err != nil {
		t.Fatal(err)
	}
	// A rebuild takes what is left for what it is, and rejects nothing.
	if err := intake.Replay(t.Context(), w.store, fold, 0, func(a intake.Accepted) error {
		if len(a.Rejected) > 0 {
			t.Errorf("leaf %d: %v", a.Leaf, a.Rejected)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r, err := w.verify(w.export(), nil)
	if err != nil || !r.OK() || r.Removed.Bodies != 20 || slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == Rejected }) {
		t.Errorf("%v %+v %.400v", err, r.Removed, r.Findings)
	}
}
