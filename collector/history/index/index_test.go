package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/history"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// base is midnight of 2026-11-01 in Vietnam.
var base = time.Date(2026, 10, 31, 17, 0, 0, 0, time.UTC)

func at(s int64) time.Time { return base.Add(time.Duration(s) * time.Second) }

func opened(t testing.TB) *Index {
	t.Helper()
	x, err := Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func obs(id string, slot, every int64, r check.Reason) history.Event {
	return history.Event{Observation: &history.Observation{Check: id, Start: at(slot), From: at(slot), To: at(slot + every), Reason: r}}
}

func begin(s int64, previous string) history.Event {
	return history.Event{Begin: &history.Begin{At: at(s), Previous: previous}}
}

func end(s int64) history.Event { return history.Event{End: &history.End{At: at(s)}} }

func missed(id string, from, to int64, r check.Reason) history.Event {
	return history.Event{Range: &check.Range{Check: id, From: at(from), To: at(to), Reason: r}}
}

// told is a plan of checks "id every", all over the Internet except line.gateway.
func told(s int64, sha string, checks ...string) history.Event {
	p := &history.Plan{At: at(s), SHA256: sha}
	for _, c := range checks {
		var id string
		var every int64
		if _, err := fmt.Sscan(c, &id, &every); err != nil {
			panic(err)
		}
		k := history.Check{ID: id, Kind: "http", Path: plan.Internet, Every: every}
		if id == "line.uplink" {
			k.Kind = "uplink"
		}
		p.Checks = append(p.Checks, k)
	}
	return history.Event{Plan: p}
}

// feed adds batches, numbering their leaves.
func feed(t testing.TB, x *Index, batches ...history.Batch) {
	t.Helper()
	next, err := x.Cursor(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		batches[i].Leaf = next + int64(i)
	}
	if err := x.Add(context.Background(), batches...); err != nil {
		t.Fatal(err)
	}
}

func batch(machine, journal string, events ...history.Event) history.Batch {
	return history.Batch{Machine: machine, Unit: "xa-" + machine, Journal: journal, Events: events}
}

// TestRuns draws what stands in the file from events of a journal, in seconds after base.
func TestRuns(t *testing.T) {
	const web = "s.web"
	tests := []struct {
		name    string
		batches []history.Batch
		want    []history.Run // relative to base
	}{
		{"slots in a row with one state are one run",
			[]history.Batch{batch("a", "j1", begin(0, ""), told(0, "p", "s.web 60"), obs(web, 0, 60, check.OK), obs(web, 60, 60, check.OK)),
				batch("a", "j1", obs(web, 120, 60, check.OK))},
			[]history.Run{run(0, 180, check.OK)}},
		{"a slot that is not there is a hole; nothing is carried forward",
			[]history.Batch{batch("a", "j1", obs(web, 0, 60, check.OK), obs(web, 120, 60, check.OK))},
			[]history.Run{run(0, 60, check.OK), run(120, 180, check.OK)}},
		{"a change of plan cuts, the same plan again does not",
			[]history.Batch{batch("a", "j1", begin(0, ""), told(0, "p", "s.web 600"), obs(web, 0, 600, check.OK), told(100, "p", "s.web 600"),
				told(250, "q", "s.web 60"), obs(web, 300, 60, check.Timeout))},
			[]history.Run{run(0, 250, check.OK), run(300, 360, check.Timeout)}},
		{"a result that ran before the change and is recorded after it ends there",
			[]history.Batch{batch("a", "j1", told(0, "p", "s.web 60"), told(50, "q", "s.web 60"), obs(web, 40, 60, check.OK))},
			[]history.Run{run(40, 50, check.OK)}},
		{"the running slot run again under the new plan speaks from the change on",
			[]history.Batch{batch("a", "j1", told(0, "p", "s.web 60"), obs(web, 0, 60, check.OK), told(50, "q", "s.web 60"),
				history.Event{Observation: &history.Observation{Check: web, Start: at(51), From: at(0), To: at(60), Reason: check.Timeout}})},
			[]history.Run{run(0, 50, check.OK), run(50, 60, check.Timeout)}},
		{"an end cuts",
			[]history.Batch{batch("a", "j1", obs(web, 0, 600, check.OK), end(130))},
			[]history.Run{run(0, 130, check.OK)}},
		{"a range tells why; where it overlaps a result, the result wins",
			[]history.Batch{batch("a", "j1", obs(web, 0, 60, check.OK), begin(200, ""), missed("*", 30, 200, check.MissedStopped), obs(web, 200, 40, check.OK))},
			[]history.Run{run(0, 60, check.OK), run(60, 200, check.MissedStopped), run(200, 240, check.OK)}},
		{"a range of one check says more than one of all",
			[]history.Batch{batch("a", "j1", missed(web, 10, 20, check.MissedOverrun), missed("*", 0, 30, check.MissedSuspended))},
			[]history.Run{run(0, 10, check.MissedSuspended), run(10, 20, check.MissedOverrun), run(20, 30, check.MissedSuspended)}},
		{"a start within the journal cuts nothing",
			[]history.Batch{batch("a", "j1", begin(0, ""), obs(web, 0, 600, check.OK), begin(100, "")), batch("a", "j1", obs(web, 600, 60, check.OK))},
			[]history.Run{run(0, 660, check.OK)}},
		{"a later journal's begin cuts the last result of the one before",
			[]history.Batch{batch("a", "j1", begin(0, ""), obs(web, 0, 600, check.OK)), batch("a", "j2", begin(100, "j1"), obs(web, 150, 60, check.OK))},
			[]history.Run{run(0, 100, check.OK), run(150, 210, check.OK)}},
		{"a clock that stepped back: the later journal wins, and nothing else is removed",
			[]history.Batch{batch("a", "j1", begin(0, ""), obs(web, 0, 100, check.OK), obs(web, 100, 100, check.OK), obs(web, 200, 100, check.Timeout), end(90)),
				batch("a", "j2", begin(90, "j1"), obs(web, 100, 50, check.Slow))},
			[]history.Run{run(0, 100, check.OK), run(100, 150, check.Slow), run(150, 200, check.OK), run(200, 300, check.Timeout)}},
		{"two results for the same second: the later journal wins, whichever comes first",
			[]history.Batch{batch("a", "j2", begin(60, "j1"), obs(web, 60, 60, check.Timeout)), batch("a", "j1", begin(0, ""), obs(web, 0, 60, check.OK), obs(web, 60, 60, check.OK))},
			[]history.Run{run(0, 60, check.OK), run(60, 120, check.Timeout)}},
		{"three journals told from the last to the first stand in the order of their chain",
			[]history.Batch{batch("a", "j3", begin(20, "j2"), obs(web, 20, 5, check.Slow)), batch("a", "j2", begin(10, "j1"), obs(web, 10, 15, check.Timeout)),
				batch("a", "j1", begin(0, ""), obs(web, 0, 30, check.OK))},
			[]history.Run{run(0, 10, check.OK), run(10, 20, check.Timeout), run(20, 25, check.Slow)}},
		{"a slot before the latest fills only what is empty",
			[]history.Batch{batch("a", "j1", obs(web, 0, 60, check.OK), obs(web, 120, 60, check.Timeout), obs(web, 180, 60, check.OK), obs(web, 30, 60, check.Slow), obs(web, 100, 60, check.Slow))},
			[]history.Run{run(0, 60, check.OK), run(60, 90, check.Slow), run(100, 120, check.Slow), run(120, 180, check.Timeout), run(180, 240, check.OK)}},
		{"a later slot ends an earlier one",
			[]history.Batch{batch("a", "j1", obs(web, 0, 60, check.OK), obs(web, 30, 60, check.Timeout))},
			[]history.Run{run(0, 30, check.OK), run(30, 90, check.Timeout)}},
		{"a run over the month's end stays one",
			[]history.Batch{batch("a", "j1", obs(web, -60, 60, check.Timeout), obs(web, 0, 60, check.Timeout), obs(web, 60, 60, check.OK),
				missed("*", -300, -60, check.MissedShutdown))},
			[]history.Run{run(-300, -60, check.MissedShutdown), run(-60, 60, check.Timeout), run(60, 120, check.OK)}},
		{"a word that is not on the closed list is unknown, and can be read again",
			[]history.Batch{batch("a", "j1", obs(web, 0, 60, "all_fine"), obs(web, 60, 60, check.OK), missed("*", 200, 210, "gone"))},
			[]history.Run{run(0, 60, check.Internal), run(60, 120, check.OK), run(200, 210, check.Internal)}},
		{"a stretch that ends before it begins says nothing",
			[]history.Batch{batch("a", "j1", obs(web, 60, -60, check.OK), missed("*", 300, 200, check.MissedStopped))}, nil},
		{"a stretch longer than a day is no slot's",
			[]history.Batch{batch("a", "j1", obs(web, 0, 1<<30, check.OK))},
			[]history.Run{run(0, 86400, check.OK)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := opened(t)
			feed(t, x, tt.batches...)
			got, err := x.Runs(t.Context(), "a", web, at(-1000), at(100_000))
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].From -= base.Unix()
				got[i].To -= base.Unix()
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// fleet makes the batches of some machines over about three days around the turn of a month, in the order of each
// journal: with changes of plan, stops, ranges, stepped clocks.
func fleet(rnd *rand.Rand, machines int) map[string][]history.Batch {
	out := map[string][]history.Batch{}
	reasons := []check.Reason{check.OK, check.OK, check.OK, check.Timeout, check.Slow, check.NoUplink}
	for i := range machines {
		m := fmt.Sprint("m", i)
		now, journal := int64(-86400), 0
		plan := func() history.Event {
			return told(now, fmt.Sprint(m, "-", rnd.IntN(3)), "s.web 600", "line.uplink 300")
		}
		var batches []history.Batch
		start := func(cause string) {
			journal++
			events := []history.Event{begin(now, cause), plan()}
			batches = append(batches, batch(m, fmt.Sprint("j", journal), events...))
		}
		start("")
		for now < 2*86400 {
			var events []history.Event
			for range 1 + rnd.IntN(20) {
				now += 300
				events = append(events, obs("line.uplink", now, 300, reasons[rnd.IntN(len(reasons))]))
				if now%600 == 0 {
					events = append(events, obs("s.web", now, 600, reasons[rnd.IntN(len(reasons))]))
				}
			}
			j := fmt.Sprint("j", journal)
			switch rnd.IntN(6) {
			case 0:
				events = append(events, plan())
			case 1:
				events = append(events, end(now+100), begin(now+5000, ""), missed("*", now+100, now+5000, check.MissedStopped))
				now += 5100 / 300 * 300
			}
			batches = append(batches, batch(m, j, events...))
			if rnd.IntN(12) == 0 {
				now -= int64(rnd.IntN(4)) * 1200
				start(j)
			}
		}
		out[m] = batches
	}
	return out
}

// shuffled returns the batches of a fleet in a random order that keeps each journal's own.
func shuffled(rnd *rand.Rand, fleet map[string][]history.Batch) []history.Batch {
	queues := map[string][]history.Batch{}
	var keys []string
	for m, batches := range fleet {
		for _, b := range batches {
			k := m + b.Journal
			if queues[k] == nil {
				keys = append(keys, k)
			}
			queues[k] = append(queues[k], b)
		}
	}
	slices.Sort(keys)
	var out []history.Batch
	for len(keys) > 0 {
		i := rnd.IntN(len(keys))
		k := keys[i]
		n := 1 + rnd.IntN(min(5, len(queues[k])))
		out = append(out, queues[k][:n]...)
		if queues[k] = queues[k][n:]; len(queues[k]) == 0 {
			keys = slices.Delete(keys, i, i+1)
		}
	}
	return out
}

func dump(t testing.TB, x *Index) string {
	t.Helper()
	var b bytes.Buffer
	if err := x.Dump(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOrderDoesNotMatter: however machines and their journals interleave, however late batches come and however they are
// bundled, the file holds the same.
func TestOrderDoesNotMatter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 5))
	f := fleet(rnd, 4)
	var inOrder []history.Batch
	for _, m := range []string{"m0", "m1", "m2", "m3"} {
		inOrder = append(inOrder, f[m]...)
	}
	x := opened(t)
	feed(t, x, inOrder...)
	want := dump(t, x)
	if n := strings.Count(want, "\n"); n < 500 {
		t.Fatalf("the fleet says too little to prove anything: %d lines", n)
	}
	for round := range 6 {
		y := opened(t)
		rest := shuffled(rnd, f)
		for i := range rest {
			rest[i].Leaf = int64(10 * i)
		}
		for len(rest) > 0 {
			n := 1 + rnd.IntN(min(20, len(rest)))
			if err := y.Add(t.Context(), rest[:n]...); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if d := cmp.Diff(want, dump(t, y)); d != "" {
			t.Fatalf("round %d: -in order +shuffled\n%s", round, d)
		}
	}
}

// TestExactlyOnce breaks Add at every batch, in the middle of its transaction, opens the file again and replays the
// log from the cursor, and from before it.
func TestExactlyOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	batches := shuffled(rnd, fleet(rnd, 2))
	for i := range batches {
		batches[i].Leaf = int64(i)
	}
	whole := opened(t)
	if err := whole.Add(t.Context(), batches...); err != nil {
		t.Fatal(err)
	}
	want := dump(t, whole)
	path := filepath.Join(t.TempDir(), "history.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		if i%5 == 0 {
			// A trigger makes the last statement of the transaction fail, after everything else was written.
			exec(t, x, "CREATE TRIGGER broken BEFORE UPDATE ON cursor BEGIN SELECT raise(ABORT, 'broken'); END")
			if err := x.Add(t.Context(), batches[i]); err == nil || !strings.Contains(err.Error(), "broken") {
				t.Fatalf("Add with a broken store: %v", err)
			}
			exec(t, x, "DROP TRIGGER broken")
			if i%2 == 0 {
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
				if x, err = Open(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		next, err := x.Cursor(t.Context())
		if err != nil || next != int64(i) {
			t.Fatalf("cursor %d, %v; want %d", next, err, i)
		}
		if err := x.Add(t.Context(), batches[max(0, i-3):i+1]...); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(want, dump(t, x)); d != "" {
		t.Errorf("-at once +broken\n%s", d)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(Remove(path), Remove(path)); err != nil {
		t.Error(err)
	}
	if x, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if next, err := x.Cursor(t.Context()); next != 0 || err != nil || dump(t, x) != "" {
		t.Errorf("after Remove: cursor %d, %v, %q", next, err, dump(t, x))
	}
	if err := x.Add(t.Context(), batches...); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, dump(t, x)); d != "" {
		t.Errorf("built again: -want +got\n%s", d)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

func exec(t *testing.T, x *Index, statement string) {
	t.Helper()
	if _, err := x.write.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ?#%name", "history.db")
	if _, err := Open(path); err == nil {
		t.Error("a folder that is not there: no error")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	feed(t, x, batch("a", "j1", obs("s.web", 0, 60, check.OK)))
	if st, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	exec(t, x, "PRAGMA user_version = 99")
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("a file of a later version: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("a file that is no database: %v", err)
	}
}

// TestBrokenPack: a packed value that was damaged is an error that names its place, and no figure.
func TestBrokenPack(t *testing.T) {
	x := opened(t)
	feed(t, x, batch("a", "j1", obs("s.web", 0, 60, check.OK), obs("s.web", 60, 60, check.Timeout)))
	exec(t, x, "UPDATE runs SET packed = x'0101'")
	_, err := x.Runs(t.Context(), "a", "s.web", at(0), at(100))
	if err == nil || !strings.Contains(err.Error(), "journal j1") || !strings.Contains(err.Error(), "s.web") {
		t.Errorf("error %v", err)
	}
}

func district() history.Catalogue {
	return history.Catalogue{Services: []history.Service{{
		ID: "s", Valid: history.Span{From: at(-100).Unix()}, Deciding: []string{"s.web"},
		Watchers: []history.Watcher{{Machine: "a", Unit: "xa-a"}, {Machine: "b", Unit: "xa-b"}},
		Hours:    []history.Span{{From: at(0).Unix(), To: at(120).Unix()}},
	}}}
}

func twoDesks() []history.Batch {
	return []history.Batch{
		batch("a", "j1", begin(0, ""), told(0, "pa", "s.web 60", "line.uplink 60"), obs("s.web", 0, 60, check.OK), obs("line.uplink", 0, 60, check.OK),
			obs("s.web", 60, 60, check.Timeout), obs("line.uplink", 60, 60, check.OK), obs("s.web", 120, 60, check.Timeout), obs("line.uplink", 120, 60, check.OK)),
		batch("b", "j1", begin(0, ""), told(0, "pb", "s.web 60", "line.uplink 60"), obs("s.web", 0, 60, check.OK), obs("line.uplink", 0, 60, check.OK),
			obs("s.web", 60, 60, check.Timeout), obs("line.uplink", 60, 60, check.OK), obs("s.web", 120, 60, check.NoUplink), obs("line.uplink", 120, 60, check.Timeout)),
	}
}

func TestAvailability(t *testing.T) {
	x := opened(t)
	feed(t, x, twoDesks()...)
	got, err := x.Availability(t.Context(), district(), history.Query{From: at(-1000), To: at(300), Machines: true})
	if err != nil {
		t.Fatal(err)
	}
	// 100 s before the plan; 60 up; 60 down; 60 with one vote of two; 120 of which nothing came. b's own line was cut.
	accounts := map[string]history.Account{
		"":             {Up: 60, Down: 60, Unknown: 280, Causes: causes(check.NotPlanned, 100, check.Timeout, 60, check.NoUplink, 60, check.Silent, 120)},
		"xa-a":         {Up: 60, Down: 120, Unknown: 220, Causes: causes(check.NotPlanned, 100, check.Timeout, 120, check.Silent, 120)},
		"xa-b":         {Up: 60, Down: 60, Unknown: 280, Causes: causes(check.NotPlanned, 100, check.Timeout, 60, check.NoUplink, 60, check.Silent, 120)},
		"xa-a/a/s.web": {Up: 60, Down: 120, Unknown: 220, Causes: causes(check.NotPlanned, 100, check.Timeout, 120, check.Silent, 120)},
		"xa-b/b/s.web": {Up: 60, Down: 60, Unknown: 280, Causes: causes(check.NotPlanned, 100, check.Timeout, 60, check.NoUplink, 60, check.Silent, 120)},
	}
	if len(got) != len(accounts) {
		t.Fatalf("%d rows, want %d", len(got), len(accounts))
	}
	for _, r := range got {
		name := r.Unit
		if r.Machine != "" {
			name += "/" + r.Machine + "/" + r.Check
		}
		c, _ := r.Calendar(history.Hours24x7)
		if d := cmp.Diff(accounts[name], c.Account, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%q: -want +got\n%s", name, d)
		}
		h, ok := r.Calendar(history.ServiceHours)
		if !ok || h.Account.Up != 60 || h.Account.Down != 60 || h.Account.Unknown != 0 {
			t.Errorf("%q in service hours: %+v", name, h.Account)
		}
	}
	one, err := x.Availability(t.Context(), district(), history.Query{From: at(0), To: at(9999), Now: at(180), Unit: "xa-a"})
	if err != nil || len(one) != 1 || one[0].Unit != "xa-a" {
		t.Fatalf("one unit: %+v, %v", one, err)
	}
	if c, _ := one[0].Calendar(history.Hours24x7); c.Account.Total() != 180 {
		t.Errorf("until now: %+v, want 180 s", c.Account)
	}
	want := []history.Outage{{From: at(60), To: at(180), Down: 120, Reason: check.Timeout, Ongoing: true}}
	if d := cmp.Diff(want, one[0].Outages); d != "" {
		t.Errorf("outages: -want +got\n%s", d)
	}
}

func causes(pairs ...any) map[check.Reason]int64 {
	m := map[check.Reason]int64{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(check.Reason)] = int64(pairs[i+1].(int))
	}
	return m
}

// TestSwitchedOff: the seconds of a machine that was switched off in order have that reason until it is back, also in a file that
// was opened anew; those of an agent that was stopped, and is not back, do not.
func TestSwitchedOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var leaf int64
	add := func(b history.Batch) {
		t.Helper()
		b.Leaf = leaf
		leaf++
		if err := x.Add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for machine, r := range map[string]check.Reason{"a": check.MissedShutdown, "b": check.MissedStopped, "c": check.MissedShutdown} {
		add(batch(machine, "j1", begin(0, ""), told(0, "p", "s.web 60"), obs("s.web", 0, 60, check.OK), history.Event{End: &history.End{At: at(30), Reason: r}}))
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	add(batch("c", "j1", begin(600, ""), missed("*", 60, 600, check.MissedShutdown), obs("s.web", 600, 60, check.OK)))
	s := history.Span{From: at(0).Unix(), To: at(900).Unix()}
	got, err := x.Machines(t.Context(), []string{"a", "b", "c"}, s)
	if err != nil {
		t.Fatal(err)
	}
	for machine, want := range map[string][]history.Run{
		"a": {run(0, 30, check.OK), run(30, 900, check.MissedShutdown)},
		"b": {run(0, 30, check.OK), run(30, 120, check.MissedStopped), run(120, 900, check.Silent)},
		"c": {run(0, 30, check.OK), run(30, 600, check.MissedShutdown), run(600, 660, check.OK), run(660, 900, check.Silent)},
	} {
		for i := range want {
			want[i].From, want[i].To = want[i].From+s.From, want[i].To+s.From
		}
		if d := cmp.Diff(want, got[machine].Observed("s.web", s)); d != "" {
			t.Errorf("machine %s: -want +got\n%s", machine, d)
		}
	}
}

func TestNow(t *testing.T) {
	x := opened(t)
	feed(t, x, twoDesks()...)
	tests := []struct {
		name string
		at   int64
		hold time.Duration
		want []Standing
	}{
		{"while results speak", 179, 0, []Standing{
			{Service: "s", State: check.Unknown, Reason: check.NoUplink, Since: at(120), Last: at(120)},
			{Service: "s", Unit: "xa-a", State: check.Down, Reason: check.Timeout, Since: at(60), Last: at(120)},
			{Service: "s", Unit: "xa-b", State: check.Unknown, Reason: check.NoUplink, Since: at(120), Last: at(120)}}},
		{"nothing is carried forward", 180, 0, []Standing{
			{Service: "s", State: check.Unknown, Reason: check.Silent, Since: at(120), Last: at(120)},
			{Service: "s", Unit: "xa-a", State: check.Unknown, Reason: check.Silent, Since: at(180), Last: at(120)},
			{Service: "s", Unit: "xa-b", State: check.Unknown, Reason: check.Silent, Since: at(120), Last: at(120)}}},
		{"the next results are on their way", 200, time.Minute, []Standing{
			{Service: "s", State: check.Unknown, Reason: check.NoUplink, Since: at(120), Last: at(120), Held: true},
			{Service: "s", Unit: "xa-a", State: check.Down, Reason: check.Timeout, Since: at(60), Last: at(120), Held: true},
			{Service: "s", Unit: "xa-b", State: check.Unknown, Reason: check.NoUplink, Since: at(120), Last: at(120), Held: true}}},
		{"and did not come", 240, time.Minute, []Standing{
			{Service: "s", State: check.Unknown, Reason: check.Silent, Since: at(120), Last: at(120)},
			{Service: "s", Unit: "xa-a", State: check.Unknown, Reason: check.Silent, Since: at(240), Last: at(120)},
			{Service: "s", Unit: "xa-b", State: check.Unknown, Reason: check.Silent, Since: at(120), Last: at(120)}}},
		{"before anything was planned", -50, 0, []Standing{
			{Service: "s", State: check.Unknown, Reason: check.NotPlanned, Since: at(-100), Last: at(120)},
			{Service: "s", Unit: "xa-a", State: check.Unknown, Reason: check.NotPlanned, Since: at(-100), Last: at(120)},
			{Service: "s", Unit: "xa-b", State: check.Unknown, Reason: check.NotPlanned, Since: at(-100), Last: at(120)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := x.Now(t.Context(), district(), Moment{At: at(tt.at), Back: time.Hour, Hold: tt.hold})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// An agent that starts anew interrupts what it measures, and not the state that it finds again.
func TestSinceOverRestarts(t *testing.T) {
	one := history.Catalogue{Services: []history.Service{{ID: "s", Valid: history.Span{From: at(-100).Unix()}, Deciding: []string{"s.web"},
		Watchers: []history.Watcher{{Machine: "a", Unit: "xa-a"}}}}}
	restart := func(gap int64, why, after check.Reason) []history.Batch {
		return []history.Batch{
			batch("a", "j1", begin(0, ""), told(0, "pa", "s.web 60"), obs("s.web", 0, 60, check.Slow), obs("s.web", 60, 60, check.OK), obs("s.web", 120, 60, check.OK), end(180)),
			batch("a", "j2", begin(180+gap, "j1"), missed("s.web", 180, 180+gap, why), told(180+gap, "pa", "s.web 60"), obs("s.web", 180+gap, 60, after)),
		}
	}
	for _, tt := range []struct {
		name       string
		gap        int64
		why, after check.Reason
		bridge     time.Duration
		since      int64
	}{
		{"it starts anew", 20, check.MissedStopped, check.OK, time.Minute, 60},
		{"as long as may be", 60, check.MissedStopped, check.OK, time.Minute, 60},
		{"the machine starts anew", 20, check.MissedShutdown, check.OK, time.Minute, 60},
		{"too long", 61, check.MissedStopped, check.OK, time.Minute, 241},
		{"another state after it", 20, check.MissedStopped, check.Timeout, time.Minute, 200},
		{"not asked for", 20, check.MissedStopped, check.OK, 0, 200},
		{"measured, and not known", 20, check.NoUplink, check.OK, time.Minute, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := opened(t)
			feed(t, x, restart(tt.gap, tt.why, tt.after)...)
			got, err := x.Now(t.Context(), one, Moment{At: at(181 + tt.gap), Back: time.Hour, Bridge: tt.bridge})
			if err != nil || len(got) != 2 {
				t.Fatalf("%+v, %v", got, err)
			}
			for _, s := range got {
				if !s.Since.Equal(at(tt.since)) || s.State != tt.after.State() {
					t.Errorf("unit %q is %s since %s, want %s", s.Unit, s.State, s.Since.Sub(at(0)), time.Duration(tt.since)*time.Second)
				}
			}
		})
	}
}

// TestReadersAndWriter: figures can be asked for while batches come in, and each sees whole batches only.
func TestReadersAndWriter(t *testing.T) {
	x := opened(t)
	done := make(chan error, 1)
	go func() {
		for i := range int64(60) {
			err := x.Add(context.Background(), history.Batch{Leaf: i, Machine: "a", Unit: "u", Journal: "j", Events: []history.Event{
				obs("s.one", 60*i, 60, []check.Reason{check.OK, check.Timeout}[i%2]), obs("s.two", 60*i, 60, check.OK)}})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for writing := true; writing; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		default:
		}
		m, err := x.Machines(t.Context(), []string{"a"}, history.Span{From: at(0).Unix(), To: at(1e6).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		if a := m["a"]; a != nil {
			one, two := history.Count(a.Runs["s.one"], nil, nil), history.Count(a.Runs["s.two"], nil, nil)
			if one.Total() != two.Total() || one.Up+one.Down != two.Up {
				t.Fatalf("half a batch is seen: %+v and %+v", one, two)
			}
		}
	}
}
