package board

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/collector/intake"
)

const every = 15 * time.Second

// slot is the n-th slot of the tests.
func slot(n int) time.Time { return noon.Truncate(every).Add(time.Duration(n) * every) }

func ran(id string, n int, r check.Reason) intake.Event {
	return intake.Event{Observation: &intake.Observation{
		Result:  check.Result{Check: id, Slot: slot(n), State: r.State(), Reason: r, Attempts: 1},
		Service: "thu_thap", Kind: "tcp", Every: every}}
}

func batch(machine string, events ...intake.Event) intake.Accepted {
	return intake.Accepted{Machine: machine, Unit: "huyen-tu-ky", Events: events}
}

// outline writes the entries of a Detail in short, newest first.
func outline(d Detail) []string {
	var out []string
	for _, e := range d.Entries {
		n := int(e.at().Sub(slot(0)) / every)
		switch {
		case e.Result != nil:
			out = append(out, fmt.Sprintf("%d %s", n, e.Result.Reason))
		case e.Gap != nil:
			out = append(out, fmt.Sprintf("%d gap %s to %d", n, e.Gap.Reason, int(e.Gap.To.Sub(slot(0))/every)))
		case e.Mark != nil:
			out = append(out, fmt.Sprintf("%d %s", n, e.Mark.What))
		}
	}
	return out
}

func detailOf(t *testing.T, l *Live, machine, id string) Detail {
	t.Helper()
	d, ok := l.Detail(machine, id)
	if !ok {
		t.Fatalf("nothing is kept of %s of %s", id, machine)
	}
	return d
}

func TestLiveKeepsWhatABatchSays(t *testing.T) {
	var l Live
	if _, ok := l.Detail("m", "a"); ok {
		t.Error("an empty Live has something")
	}
	with := func(ids ...string) *plan.Plan {
		p := &plan.Plan{Version: 4}
		for _, id := range ids {
			p.Checks = append(p.Checks, plan.Check{ID: id})
		}
		return p
	}
	l.Add(batch("m", ran("a", 0, check.OK), ran("b", 0, check.OK), ran("a", 1, check.Timeout)))
	l.Add(batch("m",
		intake.Event{Range: &check.Range{Reason: check.MissedSuspended, Check: "*", From: slot(2), To: slot(9), Slots: 14}},
		intake.Event{Range: &check.Range{Reason: check.MissedOverrun, Check: "a", From: slot(9), To: slot(10), Slots: 1}},
		intake.Event{Range: &check.Range{Reason: check.MissedOverrun, Check: "never seen", From: slot(9), To: slot(10), Slots: 1}},
		intake.Event{End: &journal.End{At: slot(10)}},
		intake.Event{Begin: &journal.Begin{At: slot(11)}},
		intake.Event{Plan: &intake.PlanChange{At: slot(11), Plan: with("a")}},
		ran("a", 11, check.OK)))
	l.Add(batch("m", ran("a", 10, check.Slow))) // late
	l.Add(batch("other", ran("a", 50, check.OK)))

	want := []string{"11 ok", "11 plan", "11 begin", "10 slow", "10 end", "9 gap missed_overrun to 10", "2 gap missed_suspended to 9", "1 timeout", "0 ok"}
	d := detailOf(t, &l, "m", "a")
	if diff := cmp.Diff(want, outline(d)); diff != "" {
		t.Errorf("a (-want +got):\n%s", diff)
	}
	if d.Machine != "m" || d.Unit != "huyen-tu-ky" || d.Check != "a" || d.Service != "thu_thap" || d.Kind != "tcp" || d.Every != every {
		t.Errorf("head %+v", d)
	}
	want = []string{"11 removed", "11 begin", "10 end", "2 gap missed_suspended to 9", "0 ok"}
	if diff := cmp.Diff(want, outline(detailOf(t, &l, "m", "b"))); diff != "" {
		t.Errorf("b (-want +got):\n%s", diff)
	}
	if r, ok := l.Last("m", "a"); !ok || !r.Slot.Equal(slot(11)) {
		t.Errorf("last result %+v, %v", r, ok)
	}
	if diff := cmp.Diff([]string{"a", "b"}, l.Checks("m")); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if _, ok := l.Last("m", "never seen"); ok {
		t.Error("a range alone made a check")
	}
	d.Entries[0] = Entry{}
	if got := outline(detailOf(t, &l, "m", "a"))[0]; got != "11 ok" {
		t.Errorf("who changes a Detail changes the Live: %s", got)
	}
}

func TestLiveIsBounded(t *testing.T) {
	var l Live
	for n := range 200 {
		l.Add(batch("m", ran("a", n, check.OK)))
	}
	d := detailOf(t, &l, "m", "a")
	if len(d.Entries) != keepEntries || outline(d)[0] != "199 ok" {
		t.Errorf("%d entries, the newest %s; want %d and the last that came", len(d.Entries), outline(d)[0], keepEntries)
	}
	// Late results older than all that is kept do not push out newer ones.
	l.Add(batch("m", ran("a", 3, check.Timeout)))
	if got := outline(detailOf(t, &l, "m", "a")); got[len(got)-1] != "140 ok" {
		t.Errorf("the oldest is now %s", got[len(got)-1])
	}
	l.limit = 1200
	many := l.limit/leastEntries + 50
	for i := range many {
		var events []intake.Event
		for n := range leastEntries + 2 {
			events = append(events, ran("a", n, check.OK))
		}
		l.Add(batch(fmt.Sprintf("m%d", i), events...))
	}
	total := 0
	for _, checks := range l.machines {
		for _, t := range checks {
			total += len(t.entries)
		}
	}
	if total != l.entries || total > l.limit {
		t.Errorf("%d entries are kept and %d counted; want at most %d", total, l.entries, l.limit)
	}
	if _, ok := l.Detail("m", "a"); ok {
		t.Error("what was quiet longest is still there")
	}
	if got := len(detailOf(t, &l, fmt.Sprintf("m%d", many-1), "a").Entries); got < leastEntries {
		t.Errorf("the last machine has %d entries, want at least %d", got, leastEntries)
	}
}

func TestLiveInParallel(t *testing.T) {
	var l Live
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			m := fmt.Sprintf("m%d", g%2)
			for n := range 100 {
				l.Add(batch(m, ran("a", n, check.OK), intake.Event{Begin: &journal.Begin{At: slot(n)}}))
				if d, ok := l.Detail(m, "a"); !ok || len(d.Entries) == 0 {
					t.Error("what was added is not there")
				}
				l.Last(m, "a")
				l.Checks(m)
			}
		})
	}
	wg.Wait()
}

func TestMissingRunsAreGaps(t *testing.T) {
	entry := func(n int) Entry {
		return Entry{Result: &Result{Result: check.Result{Slot: slot(n), Reason: check.OK}, Every: every}}
	}
	tests := []struct {
		name string
		in   []Entry
		want []string
	}{
		{"none", nil, nil},
		{"one after the other", []Entry{entry(2), entry(1), entry(0)}, []string{"2 ok", "1 ok", "0 ok"}},
		{"three missing", []Entry{entry(4), entry(0)}, []string{"4 ok", "1 gap  to 4", "0 ok"}},
		{"a mark in between", []Entry{entry(4), {Mark: &Mark{At: slot(3), What: MarkBegin}}, entry(0)}, []string{"4 ok", "3 begin", "1 gap  to 4", "0 ok"}},
		{"a reason is known", []Entry{entry(4), {Gap: &Gap{Reason: check.MissedStopped, From: slot(1), To: slot(4)}}, entry(0)},
			[]string{"4 ok", "1 gap missed_stopped to 4", "0 ok"}},
		{"twice for one slot", []Entry{entry(0), entry(0)}, []string{"0 ok", "0 ok"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, outline(Detail{Entries: withGaps(tt.in)})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestChart(t *testing.T) {
	if c := newChart("vi", nil); c.Width != 0 {
		t.Errorf("nothing gives a chart of width %d", c.Width)
	}
	d := detail("thu_thap", "tcp", every, check.Timeout)
	c := newChart("vi", withGaps(d.Entries))
	if want := 47*columnWidth + 2*gapColumns*columnWidth; c.Width != want || len(c.Strip) != 47 || len(c.Holes) != 2 || len(c.Marks) != 1 {
		t.Errorf("width %d, want %d; %d results, %d holes, %d marks", c.Width, want, len(c.Strip), len(c.Holes), len(c.Marks))
	}
	for _, r := range append(c.Bars, c.Strip...) {
		if r.Y < -1e-6 || r.Y+r.H > float64(c.Height)+1e-6 || r.X < 0 || r.X+r.W > float64(c.Width) || r.H < 0 {
			t.Errorf("%+v sticks out of %d × %d", r, c.Width, c.Height)
		}
		for _, h := range c.Holes {
			if r.X < h.X+h.W && h.X < r.X+r.W {
				t.Errorf("%+v lies in a hole", r)
			}
		}
	}
	if c := newChart("vi", d.Entries[:2]); !c.Short || c.Width != leastColumns*columnWidth {
		t.Errorf("two results fill a chart of width %d", c.Width)
	}
	// Phases that claim more than the whole run stay inside it.
	lie := Entry{Result: &Result{Result: check.Result{Slot: noon, Took: time.Millisecond, Phases: check.Phases{{Name: "dns", Took: time.Hour}, {Name: "tls", Took: -time.Hour}}}}}
	for _, r := range newChart("en", []Entry{lie}).Bars {
		if r.Y < 0 || r.H > chartHeight {
			t.Errorf("%+v is larger than the run", r)
		}
	}
}
