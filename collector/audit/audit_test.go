package audit

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
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
