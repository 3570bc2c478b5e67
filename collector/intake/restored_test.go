package intake

import (
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// setUpRecovery gives the district a recovery key, and returns it.
func (c *centre) setUpRecovery(t *testing.T) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, wire.RecoveryName("tu-ky"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.NewEntry(evidence.LogKey, map[string]string{"at": wire.FormatTime(c.now()), "recovery": vkey}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.log.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// succeed begins the log after the one that there is, as `collector successor` does. The collector is stopped.
func (c *centre) succeed(t *testing.T, recovery note.Signer, v note.Verifier) {
	t.Helper()
	dir := filepath.Join(c.dir, "evidence")
	lv, err := c.keys.LogVerifier()
	if err != nil {
		t.Fatal(err)
	}
	old, err := evidence.OpenReader(dir, lv)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := wire.LogNumber("tu-ky", old.Origin())
	if err := c.keys.NewLog(filepath.Join(c.dir, "keys"), n); err != nil {
		t.Fatal(err)
	}
	if lv, err = c.keys.LogVerifier(); err != nil {
		t.Fatal(err)
	}
	s := wire.Succession{Old: old.Origin(), Tree: old.Tree(), New: lv.Name(), Key: c.keys.LogKey, At: c.now().UTC().Truncate(time.Second), Why: "restored"}
	msg, err := note.Sign(&note.Note{Text: s.Text()}, recovery)
	if err != nil {
		t.Fatal(err)
	}
	fresh := dir + ".new"
	if err := evidence.Succeed(t.Context(), old, evidence.Options{Dir: fresh, Origin: lv.Name(), Signer: c.keys.LogSigner, Verifier: lv}, msg, v, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(old.Close(), os.RemoveAll(dir), os.Rename(fresh, dir)); err != nil {
		t.Fatal(err)
	}
}

// A collector that was set back to an older state signs nothing that contradicts what it signed before. The successor
// log lets it go on: it asks for what it lost, and takes back the plan that it forgot.
func TestCollectorRestored(t *testing.T) {
	c := newCentre(t, Limits{})
	recovery, rv := c.setUpRecovery(t)
	x := c.pushing(t)
	plans := map[int][]byte{1: planText(x.id.Machine, 1, "60s"), 2: planText(x.id.Machine, 2, "120s"), 3: planText(x.id.Machine, 3, "180s")}
	follow := func(version int) {
		t.Helper()
		var err error
		x.f.former = nil
		for v := 1; v < version; v++ {
			signed, err := c.sign(plans[v])
			if err != nil {
				t.Fatal(err)
			}
			x.f.former = append(x.f.former, signed)
		}
		if x.f.plan, err = plan.Parse(plans[version], kinds); err != nil {
			t.Fatal(err)
		}
		if x.f.signed, err = c.sign(plans[version]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetPlan(t.Context(), plans[1]); err != nil {
		t.Fatal(err)
	}
	x.round(t)
	want := map[time.Time]bool{x.record(t, time.Minute): true}
	x.stopAgent(t)
	x.round(t)
	x.flush(t)
	c.close()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(filepath.Join(c.dir, "evidence"))); err != nil {
		t.Fatal(err)
	}
	c.open(t)
	x.start(t)
	follow(1)
	want[x.record(t, time.Minute)] = true
	x.stopAgent(t)
	x.round(t)
	if err := c.SetPlan(t.Context(), plans[2]); err != nil {
		t.Fatal(err)
	}
	x.start(t)
	follow(1)
	x.round(t) // plan 2 comes
	if x.f.plan.Version != 2 {
		t.Fatal("plan 2 was not applied")
	}
	want[x.recordAt(t, 2*time.Minute, 2*time.Minute)] = true
	x.stopAgent(t)
	x.round(t)
	if err := c.SetPlan(t.Context(), plans[3]); err != nil {
		t.Fatal(err)
	}
	x.start(t)
	follow(2)
	x.round(t) // plan 3 comes
	if x.f.plan.Version != 3 {
		t.Fatal("plan 3 was not applied")
	}
	want[x.recordAt(t, 3*time.Minute, 3*time.Minute)] = true
	x.stopAgent(t)
	x.round(t)
	c.close()

	// Back to the backup.
	if err := os.RemoveAll(filepath.Join(c.dir, "evidence")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(c.dir, "evidence"), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	c.got = nil
	c.open(t)
	size := c.log.Size()
	x.start(t)
	follow(3)
	want[x.recordAt(t, 3*time.Minute, 3*time.Minute)] = true
	x.stopAgent(t)
	for range 3 {
		if err := x.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
			t.Fatalf("the agent's round: %v", err)
		}
	}
	if x.p.Stats().Refused == 0 {
		t.Error("the agent did not notice that the log was cut")
	}
	if _, ok := c.log.Overtaken(); !ok || c.log.Size() != size {
		t.Errorf("the log has %d leaves after %d, overtaken: %v", c.log.Size(), size, ok)
	}
	if err := c.SetPlan(t.Context(), planText(x.id.Machine, 9, "60s")); !errors.Is(err, evidence.ErrOvertaken) {
		t.Errorf("a plan for a log that was set back: %v", err)
	}
	c.close()

	c.succeed(t, recovery, rv)
	c.got = nil
	c.open(t)
	x.start(t)
	follow(3)
	x.stopAgent(t)
	if err := x.p.Round(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Fatalf("the agent's first round, in which it learns of the new log: %v", err)
	}
	if err := x.p.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
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
	if _, version, ok, err := c.Plan(x.id.Machine); version != 3 || !ok || err != nil {
		t.Errorf("plan %d is in force, want the one that the machine gave back (%v)", version, err)
	}
	if x.p.Stats().Leaves != c.log.Size() {
		t.Errorf("the agent has seen %d leaves of %d", x.p.Stats().Leaves, c.log.Size())
	}
}

// Only what the log or the plan key signed is believed, and only of the machine that shows it.
func TestShownAndReturned(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	own, err := c.sign(planText(a.id.Machine, 7, "60s"))
	if err != nil {
		t.Fatal(err)
	}
	others, err := c.sign(planText("pc-khac-01", 7, "60s"))
	if err != nil {
		t.Fatal(err)
	}
	forged := []byte(strings.Replace(string(own), "60s", "30s", 1))
	older, err := c.sign(planText(a.id.Machine, 1, "30s"))
	if err != nil {
		t.Fatal(err)
	}
	size := c.log.Size()
	for _, tt := range []struct {
		name, path string
		body       []byte
		code       int
	}{
		{"its own checkpoint", wire.PathCheckpoint, c.log.Checkpoint(), http.StatusOK},
		{"no checkpoint", wire.PathCheckpoint, []byte("hello"), http.StatusBadRequest},
		{"an endless checkpoint", wire.PathCheckpoint, make([]byte, wire.MaxAnswer+1), http.StatusRequestEntityTooLarge},
		{"a plan with a word changed", wire.PathPlan, forged, http.StatusBadRequest},
		{"the plan of another machine", wire.PathPlan, others, http.StatusBadRequest},
		{"no plan", wire.PathPlan, []byte("x"), http.StatusBadRequest},
		{"an endless plan", wire.PathPlan, make([]byte, wire.MaxPlan+5<<10), http.StatusRequestEntityTooLarge},
		{"a plan older than the one in force", wire.PathPlan, older, http.StatusOK},
	} {
		if res, body := a.call(t, http.MethodPost, tt.path, tt.body); res.StatusCode != tt.code {
			t.Errorf("%s: %s %s", tt.name, res.Status, body)
		}
	}
	if c.log.Size() != size {
		t.Errorf("%d leaves came of it", c.log.Size()-size)
	}
	if _, ok := c.log.Overtaken(); ok {
		t.Error("the log was stopped")
	}
	if res, body := a.call(t, http.MethodPost, wire.PathPlan, own); res.StatusCode != http.StatusOK || c.log.Size() != size+1 {
		t.Errorf("a plan that the collector signed: %s %s", res.Status, body)
	}
	for _, path := range []string{wire.PathRecovery, wire.PathSuccessor + "?from=1", wire.PathSuccessor + "?from=2"} {
		if res, _ := a.call(t, http.MethodGet, path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s without one: %s", path, res.Status)
		}
	}
	for _, path := range []string{wire.PathSuccessor, wire.PathSuccessor + "?from=0", wire.PathSuccessor + "?from=x"} {
		if res, _ := a.call(t, http.MethodGet, path, nil); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	c.setUpRecovery(t)
	a.flush(t)
	c.wake()
	if res, body := a.call(t, http.MethodGet, wire.PathRecovery, nil); res.StatusCode != http.StatusOK || !strings.Contains(string(body), wire.RecoveryName("tu-ky")) {
		t.Errorf("the recovery key: %s %s", res.Status, body)
	}
	// One that says that it has seen more than there is gets nothing archived.
	b := a.seal(t, result(slot(a.id.Machine, start)))
	size = c.log.Size()
	if res, _ := a.call(t, http.MethodPost, wire.PathBatches+"?from=99999", frames(b), "Content-Type", wire.TypeBatches); res.StatusCode != http.StatusTooManyRequests || c.log.Size() != size {
		t.Errorf("a machine ahead of the log: %s, %d leaves came", res.Status, c.log.Size()-size)
	}
	if c.Claimed().IsZero() {
		t.Error("the claim was not noticed")
	}
}

// A machine whose headers name a checkpoint that is not of this log was shown another one: that is told, and what it
// measured counts all the same.
func TestSplitViewIsTold(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	push := func(seen *journal.Checkpoint, want int64) {
		t.Helper()
		h := a.header()
		h.Checkpoint = seen
		b, err := journal.Seal(h, []journal.Record{result(slot(a.id.Machine, start))}, a.signer)
		if err != nil {
			t.Fatal(err)
		}
		a.seq, a.previous = a.seq+1, b.Hash()
		size := c.log.Size()
		if code, ans := a.push(t, b); code != http.StatusOK || c.log.Size() != size+1 {
			t.Fatalf("%d %+v", code, ans)
		}
		a.flush(t)
		if got := c.Contradictions(); got != want {
			t.Errorf("%d contradictions, want %d", got, want)
		}
	}
	a.push(t, a.seal(t, a.opening(t)...))
	a.flush(t)
	good := c.log.Tree()
	push(nil, 0)
	push(&journal.Checkpoint{Origin: c.log.Origin(), Size: good.N, Hash: good.Hash}, 0)
	push(&journal.Checkpoint{Origin: "egovmon/tu-ky/log/7", Size: good.N, Hash: tlog.Hash{1}}, 0) // of a log that ended
	push(&journal.Checkpoint{Origin: c.log.Origin(), Size: good.N, Hash: tlog.Hash{1}}, 1)
	push(&journal.Checkpoint{Origin: c.log.Origin(), Size: 99999, Hash: good.Hash}, 2)
	push(&journal.Checkpoint{Origin: c.log.Origin(), Size: good.N, Hash: good.Hash}, 2)
}
