package faults

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

// rounds is how often TestKill kills something. `go test ./collector/faults -run TestKill -rounds 200 -timeout 30m` is
// what a release goes through.
var rounds = flag.Int("rounds", 20, "how many times TestKill kills a program")

// nearChange reports whether a real peer may have changed while the slot was run that a second belongs to: a result of a
// slot of ten seconds speaks of a state that was seen up to ten seconds before or after.
func nearChange(at int64) bool {
	const slot, slack = 10, 10
	into := at % int64(period/time.Second)
	return into < slot+slack || into > int64(period/time.Second)-slack
}

// seen holds the results of real processes against the script of the peer.
func seen(t *testing.T, s *story) {
	t.Helper()
	wrong := 0
	for k, o := range s.archived {
		began, ended := o.Start.Add(-time.Second), o.Start.Add(o.Took+time.Second)
		if o.Reason == check.Timeout || o.Reason == check.ConnectTimeout {
			continue // the machine that runs the test was too busy
		}
		if o.Reason != byMinute(o.Check, began) && o.Reason != byMinute(o.Check, ended) {
			if wrong++; wrong == 1 {
				t.Errorf("%v: the result says %s, the peer said %s", k, o.Reason, byMinute(o.Check, o.Start))
			}
		}
	}
}

// TestKill kills agent and collector at random moments while another pair, undisturbed, watches the same peer. What the
// agent has ever shown as recorded is in the history in the end, once, and as the peer was.
func TestKill(t *testing.T) {
	t.Parallel()
	killing(t, programs(t), *rounds, func(*town) {})
}

// TestPowerCut does so with programs that keep what they write to themselves until they sync it, so that a kill takes
// from the disk what a power cut takes; of the history's file, all that was not brought in from its log.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	bin, err := build(overlay(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(bin) })
	killing(t, bin, (2**rounds+4)/5, func(w *town) {
		for _, end := range []string{"-wal", "-shm"} {
			if err := os.Remove(filepath.Join(w.state, "history.db"+end)); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
	})
}

// overlay says with which sources the programs are built whose writes get lost.
func overlay(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for _, x := range []struct{ source, of, from, to string }{
		{"agent/journal/journal.go", "journal", "o.disk = folder(o.Dir)", "o.disk = unsynced{folder(o.Dir)}"},
		{"collector/evidence/store.go", "evidence", "open(o, folder(o.Dir))", "open(o, holdBack(folder(o.Dir)))"},
	} {
		path := filepath.Join(root, filepath.FromSlash(x.source))
		text := read(t, path)
		if !strings.Contains(text, x.from) {
			t.Fatalf("%s does not say %q any more: say here where its disk is chosen", x.source, x.from)
		}
		changed := filepath.Join(dir, x.of+".go")
		if err := os.WriteFile(changed, []byte(strings.Replace(text, x.from, x.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = changed
		replace[filepath.Join(filepath.Dir(path), "unsynced.go")] = filepath.Join(root, "collector", "faults", "testdata", "overlay", x.of+".go.txt")
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// killing kills programs so many times, and judges what is left. cut is what else a fault takes from the collector.
func killing(t *testing.T, bin string, rounds int, cut func(w *town)) {
	peer := newPeer(t)
	w, calm := newTown(t, bin, peer), newTown(t, programs(t), peer)
	calm.start()
	w.start()
	shown := map[string]map[float64]bool{}
	look := func() {
		for id, at := range w.shown() {
			if shown[id] == nil {
				shown[id] = map[float64]bool{}
			}
			shown[id][at] = true
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := map[string]int{}
	for range rounds {
		time.Sleep(time.Duration(rng.Int64N(int64(4 * time.Second))))
		look()
		switch rng.IntN(5) {
		case 0, 1, 2:
			kills["agent"]++
			w.watcher.kill()
			w.start()
		case 3:
			kills["collector"]++
			w.collector.kill()
			cut(w)
			w.open()
		case 4:
			kills["both"]++
			w.watcher.kill()
			w.collector.kill()
			cut(w)
			w.open()
			w.start()
		}
	}
	time.Sleep(2 * time.Second)
	look()
	w.rest()
	calm.rest()
	s, u := w.remains().judge(t), calm.remains().judge(t)
	seen(t, s)
	seen(t, u)
	promised, broken := w.promises(s, shown)
	if promised == 0 || broken > 0 {
		t.Errorf("%d of %d results that the agent showed as recorded are not in the history", broken, promised)
	}
	share := agree(t, u, s, nearChange)
	t.Logf("killed %v; %d results, %d of them seen as recorded; %.2f of the seconds of the undisturbed run: %v", kills, len(s.recorded), promised, share, s.totals)
	out, errs, err := w.try("agent", "journal", "verify", "--data", w.agent)
	if err != nil {
		t.Errorf("agent journal verify: %v: %.500s%.500s", err, out, errs)
	}
	if share < 0.5 {
		t.Errorf("only %.2f of the seconds were measured in spite of the kills", share)
	}
}

// promises counts what the agent showed as recorded, and what of it is not in the log.
func (w *town) promises(s *story, shown map[string]map[float64]bool) (promised, broken int) {
	starts := map[string]map[int64]bool{}
	for k := range s.archived {
		if starts[k.check] == nil {
			starts[k.check] = map[int64]bool{}
		}
		starts[k.check][k.start] = true
	}
	for id, ats := range shown {
		for at := range ats {
			promised++
			if !starts[id][int64(at*1000+0.5)] {
				broken++
			}
		}
	}
	return promised, broken
}
