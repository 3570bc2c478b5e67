package intake

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/push"
)

// followed is where a machine's plans go.
type followed struct {
	plan    *plan.Plan
	signed  []byte // as it came
	former  [][]byte
	journal func() *journal.Journal
	now     func() time.Time
	kinds   check.Table // default the one kind of these tests
}

func (f *followed) InForce() (string, int64) {
	if f.plan == nil {
		return "", 0
	}
	return f.plan.Hash(), f.plan.Version
}

func (f *followed) Apply(text, signed []byte) error {
	table := kinds
	if f.kinds != nil {
		table = f.kinds
	}
	p, err := plan.Parse(text, table)
	if err != nil {
		return err
	}
	f.plan, f.signed = p, signed
	return f.journal().PlanApplied(journal.PlanApplied{Version: p.Version, SHA256: p.Hash(), At: f.now()})
}

// A pushing agent has the journal and the pusher that agents have.
type pushing struct {
	*agent
	dir string
	j   *journal.Journal
	p   *push.Pusher
	f   *followed
}

func (c *centre) pushing(t *testing.T) *pushing {
	t.Helper()
	x := &pushing{agent: c.agent(t, "an-thanh"), dir: t.TempDir()}
	x.start(t)
	return x
}

func (x *pushing) start(t *testing.T) {
	t.Helper()
	var err error
	x.j, _, err = journal.OpenJournal(journal.Options{Dir: filepath.Join(x.dir, "journal"), Machine: x.id.Machine, Signer: x.signer, Now: x.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.j.Begin(x.now()); err != nil {
		t.Fatal(err)
	}
	logKey, err := x.id.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	planKey, err := x.id.PlanVerifier()
	if err != nil {
		t.Fatal(err)
	}
	journalKey, err := x.id.JournalVerifier()
	if err != nil {
		t.Fatal(err)
	}
	x.f = &followed{journal: func() *journal.Journal { return x.j }, now: x.now}
	x.p, err = push.New(push.Options{JournalKey: journalKey, Collector: x.url, Client: x.client, Machine: x.id.Machine, Journal: x.j, LogKey: logKey, PlanKey: planKey,
		Plans: x.f, SignedPlans: func() [][]byte { return append(x.f.former, x.f.signed) }, Fork: func(now time.Time) error { return x.j.Rotate("fork", now) }, Dir: x.dir, Now: x.now, Prove: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
}

// record writes a result for the slot that is running after d.
func (x *pushing) record(t *testing.T, d time.Duration) time.Time {
	t.Helper()
	return x.recordAt(t, d, time.Minute)
}

// recordAt is record for a check that runs at other times.
func (x *pushing) recordAt(t *testing.T, d, every time.Duration) time.Time {
	t.Helper()
	x.set(x.now().Add(d))
	at := plan.SlotAt(x.id.Machine, plan.Check{ID: "s.tcp", Every: every}, x.now())
	r := *result(at).Result
	r.Start = x.now()
	if err := x.j.Record([]check.Result{r}, nil); err != nil {
		t.Fatal(err)
	}
	return at
}

func (x *pushing) stopAgent(t *testing.T) {
	t.Helper()
	if err := x.j.Close("stop", x.now()); err != nil {
		t.Fatal(err)
	}
}

func (x *pushing) round(t *testing.T) {
	t.Helper()
	if err := x.p.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := x.p.Stats(); st.Refused != 0 {
		t.Fatalf("the agent does not believe the collector: %+v", st)
	}
}

// observed returns how often each slot was accepted.
func observed(c *centre) map[time.Time]int {
	n := map[time.Time]int{}
	for _, a := range c.accepted() {
		for _, e := range a.Events {
			if e.Observation != nil {
				n[e.Observation.Slot.UTC()]++
			}
		}
	}
	return n
}

// An agent whose disk was set back to an earlier state goes on by itself, and nothing it measured is lost or counted
// twice, before or after.
func TestRewoundDisk(t *testing.T) {
	c := newCentre(t, Limits{})
	x := c.pushing(t)
	if err := c.SetPlan(t.Context(), planText(x.id.Machine, 1, "60s")); err != nil {
		t.Fatal(err)
	}
	x.round(t) // the plan comes
	if x.f.plan == nil {
		t.Fatal("no plan was applied")
	}
	want := map[time.Time]bool{}
	want[x.record(t, time.Minute)] = true
	x.stopAgent(t)
	x.round(t)
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	if err := os.CopyFS(snapshot, os.DirFS(x.dir)); err != nil {
		t.Fatal(err)
	}
	x.start(t)
	x.f.plan, _ = plan.Parse(planText(x.id.Machine, 1, "60s"), kinds)
	want[x.record(t, time.Minute)] = true
	x.stopAgent(t)
	x.round(t)

	// Back to the snapshot.
	x.dir = snapshot
	x.start(t)
	x.f.plan, _ = plan.Parse(planText(x.id.Machine, 1, "60s"), kinds)
	forked := x.j.ID()
	for range 3 {
		want[x.record(t, time.Minute)] = true
		x.stopAgent(t)
		x.set(x.now().Add(time.Second))
		x.start(t)
		x.f.plan, _ = plan.Parse(planText(x.id.Machine, 1, "60s"), kinds)
		x.round(t)
	}
	if x.j.ID() == forked {
		t.Fatal("the agent goes on in the journal that the collector refuses")
	}
	x.stopAgent(t)
	x.round(t)
	x.flush(t)
	got := observed(c)
	for at := range want {
		if got[at] != 1 {
			t.Errorf("slot %s was accepted %d times", at, got[at])
		}
	}
	for _, a := range c.accepted() {
		if len(a.Rejected) != 0 {
			t.Errorf("batch %d of %.6s: rejected %v", a.Header.Seq, a.Header.Journal, a.Rejected)
		}
	}
	if st := c.Status()[0]; st.Refused[RefusedFork] == 0 {
		t.Errorf("no fork is counted: %+v", st)
	}
}

// A machine that enrols again, for another unit too, brings what it could not send before under its new key, and what it
// measured before the move is of the old unit.
func TestEnrolledAgainWithUnsentResults(t *testing.T) {
	c := newCentre(t, Limits{})
	x := c.planned(t)
	want := map[time.Time]string{}
	for range 3 {
		want[x.measure(t, time.Minute)] = "an-thanh"
	}
	x.set(x.now().Add(10 * time.Minute))
	x.stopAgent(t)
	c.moved = x.id.Machine
	in, err := c.reg.NewToken("quang-khai", x.id.Machine)
	if err != nil {
		t.Fatal(err)
	}
	if x.id, err = push.Enrol(t.Context(), c.url, in.Token.String(), push.EnrolOptions{Now: c.now}); err != nil {
		t.Fatal(err)
	}
	x.fresh(t)
	x.resume(t)
	want[x.measure(t, time.Minute)] = "quang-khai"
	x.round(t)
	want[x.measure(t, time.Minute)] = "quang-khai"
	x.round(t)
	x.round(t)
	x.flush(t)
	got := map[time.Time]string{}
	for _, a := range c.accepted() {
		for why, n := range a.Rejected {
			t.Errorf("batch %d of %.6s: %d rejected: %s", a.Header.Seq, a.Header.Journal, n, why)
		}
		for _, e := range a.Events {
			if o := e.Observation; o != nil {
				if _, twice := got[o.Slot.UTC()]; twice {
					t.Errorf("slot %s came twice", o.Slot)
				}
				got[o.Slot.UTC()] = a.UnitAt(o.Slot)
			}
		}
	}
	for slot, unit := range want {
		if got[slot] != unit {
			t.Errorf("slot %s: unit %q, want %q", slot, got[slot], unit)
		}
	}
	if st := c.Status()[0]; !st.Cloned.IsZero() {
		t.Errorf("a machine that moved is taken for two since %s", st.Cloned)
	}
}
