package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/collector/history"
	"egovmon/collector/report"
)

func TestAnHonestLog(t *testing.T) {
	w := new(world).build(t)
	m := w.report()
	r, err := w.verify(w.export(), encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("%+v %+v", r.Findings, r.Figures)
	}
	want := []Machine{{Machine: machine, Unit: "xa-a", Expected: 120, Results: 105, InRanges: 10, Absent: 5,
		Ranges: map[check.Reason]int64{check.MissedOverrun: 10}}}
	for i := range r.Machines {
		if r.Machines[i].FirstAbsent == "" {
			t.Error("no absent slot is named")
		}
		r.Machines[i].FirstAbsent = ""
	}
	if diff := cmp.Diff(want, r.Machines); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	if r.Figures == nil || r.Figures.Compared != 2 || len(r.Figures.Differences) != 0 {
		t.Errorf("figures: %+v", r.Figures)
	}
	row := m.Rows[0]
	c, _ := row.Calendar(history.Hours24x7)
	if c.Account.Down != 600 || len(row.Outages) != 1 || row.Targets[0].Verdict != report.NotMet && row.Targets[0].Verdict != report.Unsaid {
		t.Errorf("the report says %+v", row)
	}
	if r.Batches == 0 || r.Bodies != r.Batches || r.Bracketed != r.Batches || r.PlansBeforeUse != 1 {
		t.Errorf("%+v", r)
	}
}

// TestAPeriodOfALongLog exports one day of a journal of forty: bodies of other days stay behind, and the figures are
// those of the whole log.
func TestAPeriodOfALongLog(t *testing.T) {
	w := (&world{past: 40}).build(t)
	r, err := w.verify(w.export(), encode(t, w.report()))
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Figures.Compared != 2 {
		t.Fatalf("%+v %+v", r.Findings, r.Figures)
	}
	// The batch of the day before is kept: its slots could speak for a day.
	if r.BodiesLeftOut != 39 || r.Bodies != r.Batches-39 {
		t.Errorf("%d bodies of %d batches, %d left out", r.Bodies, r.Batches, r.BodiesLeftOut)
	}
	if m := r.Machines[0]; m.Results != 105 || m.Absent != m.Expected-115 {
		t.Errorf("%+v", m)
	}
}

// TestLateResults has results of the period in a batch of days later, which only its content tells.
func TestLateResults(t *testing.T) {
	w := (&world{late: true}).build(t)
	r, err := w.verify(w.export(), encode(t, w.report()))
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Figures.Compared != 2 {
		t.Fatalf("%+v %+v", r.Findings, r.Figures)
	}
	if m := r.Machines[0]; m.Results != 110 || r.BodiesLeftOut != 0 {
		t.Errorf("%+v, %d bodies left out", m, r.BodiesLeftOut)
	}
}

func TestWhatAPersonIsTold(t *testing.T) {
	w := new(world).build(t)
	r, err := w.verify(w.export(), encode(t, w.report()))
	if err != nil {
		t.Fatal(err)
	}
	r.found(BadLeaf, 3, "a title\x1b[2J that clears the screen")
	for l, want := range map[words.Lang][]string{
		words.VI: {"120 lượt đo phải có; 105 có kết quả, 10 trong khoảng đã khai báo, 5 vắng mặt", "KHÔNG ĐẠT: có 1 điểm sai.", "?[2J"},
		words.EN: {"120 slots expected; 105 results, 10 in declared ranges, 5 absent", "FAILED: 1 things are wrong."},
	} {
		var b strings.Builder
		if err := r.Write(&b, l); err != nil {
			t.Fatal(err)
		}
		for _, s := range want {
			if !strings.Contains(b.String(), s) {
				t.Errorf("%s does not say %q:\n%s", l, s, b.String())
			}
		}
		if strings.ContainsRune(b.String(), 0x1b) || strings.Contains(b.String(), "<") {
			t.Errorf("%s lets a control character through, or has no phrase:\n%s", l, b.String())
		}
	}
	r.Findings = nil
	var b strings.Builder
	if err := r.Write(&b, words.EN); err != nil || !strings.Contains(b.String(), "not protected against the log's own operator") {
		t.Errorf("%v: %s", err, b.String())
	}
}

// TestASlotThatStillRuns is of a check that had not ended when the last batch before the log's end was sealed.
func TestASlotThatStillRuns(t *testing.T) {
	sealed := time.Date(2026, 11, 23, 13, 44, 5, 3e8, time.UTC)
	slot := sealed.Truncate(time.Second)
	for _, c := range []struct {
		name            string
		until, last     time.Time
		pending, absent int64
	}{
		{"under way", slot.Add(time.Minute), sealed, 1, 0},
		{"it had ended before the batch", sealed.Add(-1), sealed, 0, 1},
		{"the machine is silent for long", slot.Add(time.Minute), sealed.Add(time.Hour), 0, 1},
	} {
		m := &slots{}
		m.sealed = sealed
		r := Machine{}
		r.slot(m, plan.Due{Check: "a", Slot: slot, Until: c.until}, c.last)
		if r.Expected != 1 || r.Pending != c.pending || r.Absent != c.absent {
			t.Errorf("%s: %d pending and %d absent, want %d and %d", c.name, r.Pending, r.Absent, c.pending, c.absent)
		}
	}
}
