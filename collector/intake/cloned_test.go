package intake

import (
	"os"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/push"
)

// twin is a second machine with a copy of the disk of the first.
func (x *pushing) twin(t *testing.T) *pushing {
	t.Helper()
	a := *x.agent
	y := &pushing{agent: &a, dir: t.TempDir() + "/copy"}
	if err := os.CopyFS(y.dir, os.DirFS(x.dir)); err != nil {
		t.Fatal(err)
	}
	y.resume(t)
	return y
}

// resume starts the agent with the plan that it had.
func (x *pushing) resume(t *testing.T) {
	t.Helper()
	x.start(t)
	x.f.plan, _ = plan.Parse(planText(x.id.Machine, 1, "60s"), kinds)
}

// measure has the machine measure once and seal.
func (x *pushing) measure(t *testing.T, d time.Duration) (slot time.Time) {
	t.Helper()
	slot = x.record(t, d)
	x.stopAgent(t)
	x.resume(t)
	return slot
}

// turn has the machine measure once, seal and send.
func (x *pushing) turn(t *testing.T, d time.Duration) (slot time.Time) {
	t.Helper()
	slot = x.measure(t, d)
	x.round(t)
	return slot
}

// planned is a machine that has its plan and has sent one result.
func (c *centre) planned(t *testing.T) *pushing {
	t.Helper()
	x := c.pushing(t)
	if err := c.SetPlan(t.Context(), planText(x.id.Machine, 1, "60s")); err != nil {
		t.Fatal(err)
	}
	x.round(t)
	x.turn(t, time.Minute)
	return x
}

// A copied disk makes two machines of one. Both go on and are heard, and from the copy on nothing they say is a figure,
// until one of them enrols again.
func TestClonedImage(t *testing.T) {
	c := newCentre(t, Limits{})
	x := c.planned(t)
	good := x.turn(t, time.Minute)
	y := x.twin(t)
	copied := x.now()
	y.measure(t, time.Minute)
	for range 4 {
		x.turn(t, 20*time.Second)
		y.turn(t, 40*time.Second)
	}
	if x.j.ID() == y.j.ID() {
		t.Fatal("the twins write one journal")
	}
	x.flush(t)
	st := c.Status()[0]
	if st.Cloned.Before(good) || st.Cloned.After(copied.Add(2*time.Minute)) {
		t.Fatalf("cloned since %s, the copy was made at %s; %+v", st.Cloned, copied, st)
	}
	all := c.accepted()
	journals, parked, cloned := map[string]int{}, 0, 0
	for _, a := range all {
		journals[a.Header.Journal]++
		for _, e := range a.Events {
			switch {
			case e.Cloned != nil:
				cloned++
			case e.Observation != nil && e.Observation.Reason == check.IdentityCloned:
				parked++
			case e.Observation != nil && cloned > 0:
				t.Errorf("slot %s of a machine that is two is %s", e.Observation.Slot, e.Observation.Reason)
			}
		}
	}
	if cloned != 1 || parked == 0 || len(journals) != 2 {
		t.Errorf("%d events, %d results parked, batches by journal %v", cloned, parked, journals)
	}
	before := len(all)
	x.turn(t, time.Minute)
	y.turn(t, time.Minute)
	x.flush(t)
	kept := map[string]bool{}
	for _, a := range c.accepted()[before:] {
		kept[a.Header.Journal] = true
	}
	if len(kept) != 2 {
		t.Errorf("of two machines that are parked, batches of %d were kept", len(kept))
	}
	if _, err := push.Renew(t.Context(), x.id, push.RenewOptions{}, c.now); err != nil { // by itself, without a person
		t.Fatal(err)
	}
	y.turn(t, time.Minute)
	x.flush(t)
	if st := c.Status()[0]; st.Cloned.IsZero() {
		t.Error("a renewed certificate makes one machine of two")
	}
	before = len(c.accepted())

	// One of them enrols again, with a fresh disk.
	in, err := c.reg.NewToken("an-thanh", x.id.Machine)
	if err != nil {
		t.Fatal(err)
	}
	id, err := push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if st := c.Status()[0]; !st.Cloned.IsZero() {
		t.Errorf("enrolled again, and still shown as cloned since %s", st.Cloned)
	}
	z := &pushing{agent: &agent{centre: c, id: id}, dir: t.TempDir()}
	z.fresh(t)
	z.start(t)
	z.round(t)
	slot := z.turn(t, time.Minute)
	z.flush(t)
	ended, found := 0, false
	for _, a := range c.accepted()[before:] {
		for _, e := range a.Events {
			switch {
			case e.Cloned != nil && e.Cloned.From.Equal(st.Cloned) && !e.Cloned.To.IsZero():
				ended++
			case e.Observation != nil && e.Observation.Slot.Equal(slot):
				found = e.Observation.Reason == check.OK
			}
		}
	}
	if ended != 1 || !found {
		t.Errorf("the end was told %d times, the new machine's result counts: %t", ended, found)
	}
	x.record(t, time.Minute)
	x.stopAgent(t)
	if err := x.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "enrol it again") {
		t.Errorf("the other one is told: %v", err)
	}
}

// A machine whose snapshot is restored, again and again, is one machine.
func TestSnapshotRestored(t *testing.T) {
	c := newCentre(t, Limits{})
	x := c.planned(t)
	for range 4 {
		saved := x.twin(t) // the snapshot
		x.turn(t, time.Minute)
		x.turn(t, time.Minute)
		saved.turn(t, time.Minute) // the journal forks
		saved.turn(t, time.Minute)
		x = saved
	}
	x.flush(t)
	if st := c.Status()[0]; !st.Cloned.IsZero() || st.Refused[RefusedFork] < 4 {
		t.Errorf("cloned since %s, %d forks", st.Cloned, st.Refused[RefusedFork])
	}
}

// The journals of one machine, by letter, each batch sealed so many minutes after the start. After which one are there
// two machines?
func TestTwins(t *testing.T) {
	type batch struct {
		journal  string
		sealed   int
		received int
	}
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	inTurn := func(n int, every int, names ...string) (bs []batch) {
		for i := range n {
			bs = append(bs, batch{names[i%len(names)], i * every, i * every})
		}
		return bs
	}
	for _, tt := range []struct {
		name    string
		batches []batch
		want    int // index of the batch; -1 for never
		from    int // minutes
	}{
		{"one journal", inTurn(20, 1, "A"), -1, 0},
		{"a new journal each time", inTurn(8, 1, "A", "B", "C", "D", "E", "F", "G", "H"), -1, 0},
		{"in turn", inTurn(9, 1, "A", "B"), 4, 1},
		{"in turn, three of them", inTurn(9, 1, "A", "B", "C"), 5, 2},
		{"in turn, hours apart", inTurn(9, 300, "A", "B"), 4, 300},
		{"in turn, months apart", inTurn(9, 60*24*31, "A", "B"), -1, 0},
		{"two returns", append(inTurn(4, 1, "A", "B"), batch{"B", 4, 4}, batch{"B", 5, 5}), -1, 0},
		// What was sealed before the new journal began comes late, and in turn with it.
		{"sent again after a restore", []batch{{"A", 1, 1}, {"B", 10, 10}, {"A", 2, 11}, {"B", 11, 12}, {"A", 3, 13}, {"B", 12, 14}, {"A", 4, 15}, {"B", 13, 16}}, -1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := NewFold(kinds, nil)
			if err != nil {
				t.Fatal(err)
			}
			m := f.machine("pc")
			got := -1
			var ev *Cloned
			for i, b := range tt.batches {
				h := journal.Header{Machine: "pc", Journal: b.journal, Sealed: at(b.sealed)}
				if c := f.twins(m, "pc "+b.journal, h, at(b.received)); c != nil {
					if got >= 0 {
						t.Fatalf("told twice, after %d and %d", got, i)
					}
					got, ev = i, c
				}
				j := f.journal("pc", b.journal)
				if j.Start.IsZero() {
					j.Start = at(b.sealed)
				}
				j.Sealed = sealedAt(h)
			}
			if got != tt.want {
				t.Fatalf("two machines are seen after batch %d, want %d", got, tt.want)
			}
			if ev != nil && !ev.From.Equal(at(tt.from)) {
				t.Errorf("since %s, want %s", ev.From, at(tt.from))
			}
		})
	}
}

// A machine that has moved brings results of both units in one batch.
func TestUnitAt(t *testing.T) {
	f, err := NewFold(kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := f.machine("pc")
	m.moved("an-thanh", start)
	a := Accepted{Unit: m.Unit, places: m.Places}
	m.moved("an-thanh", start.Add(time.Hour)) // renewed
	m.moved("quang-khai", start.Add(2*time.Hour))
	b := Accepted{Unit: m.Unit, places: m.Places}
	old := &foldMachine{Unit: "an-thanh", First: start} // of an earlier version
	old.moved("quang-khai", start.Add(2*time.Hour))
	for _, tt := range []struct {
		a    Accepted
		hour int
		want string
	}{
		{a, 1, "an-thanh"}, {a, 3, "an-thanh"},
		{b, -1, "an-thanh"}, {b, 0, "an-thanh"}, {b, 1, "an-thanh"}, {b, 2, "quang-khai"}, {b, 3, "quang-khai"},
		{Accepted{Unit: old.Unit, places: old.Places}, 1, "an-thanh"}, {Accepted{Unit: "x"}, 1, "x"},
	} {
		if got := tt.a.UnitAt(start.Add(time.Duration(tt.hour) * time.Hour)); got != tt.want {
			t.Errorf("%v at hour %d: %s, want %s", tt.a.places, tt.hour, got, tt.want)
		}
	}
}
