package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/history/index"
)

// A wound is what is done to the end of a file, so many bytes from its end.
type wound struct {
	name string
	do   func(b []byte, at int) []byte
}

// wounds is never changed.
var wounds = []wound{
	{"cut off", func(b []byte, at int) []byte { return b[:max(0, len(b)-at)] }},
	{"flipped", func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[max(0, len(b)-at)] ^= 0x10
		return b
	}},
	{"zeroed", func(b []byte, at int) []byte {
		b = slices.Clone(b)
		clear(b[max(0, len(b)-at):])
		return b
	}},
	{"followed by noise", func(b []byte, at int) []byte {
		return append(slices.Clone(b), []byte(strings.Repeat("\x7fnoise", 1+at/6))...)
	}},
}

// hurt changes the end of a file.
func hurt(path string, x wound, at int) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return err
	}
	return os.WriteFile(path, x.do(b, min(at, len(b))), 0o600)
}

// newest is the file of a pattern whose name is the last.
func newest(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no file %s", pattern)
	}
	return slices.Max(names)
}

// TestAgentsTails damages the ends of the agent's files after a kill. The agent starts again in each case and goes on; what
// the collector has stays, of every second that was lost it is told why, and nothing is made up.
func TestAgentsTails(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"open", "*.seg", "cursor"} {
		for _, x := range wounds {
			for _, at := range []int{3, 700} {
				if file == "cursor" && at > 3 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", strings.Trim(file, "*."), x.name, at), func(t *testing.T) {
					disturb(t, func(w *world) { w.every, w.seal = time.Minute, 3*time.Minute }, func(r *rig) {
						r.a.stop(true)
						before := remains{machine: machine, agents: []string{r.a.dir}}
						held := &story{recorded: map[key]check.Result{}}
						before.readJournal(r.T, r.a.dir, held)
						r.must(hurt(newest(r.T, filepath.Join(r.a.dir, "journal", file)), x, at))
						r.damaged, r.orphans = true, true
						r.a.start()
						time.Sleep(time.Minute)
					}, func(r *rig, u, s *story, share float64) {
						if share < 0.95 {
							r.Errorf("%.4f of the seconds were measured: %v", share, s.totals)
						}
						if n := s.totals[check.Silent]; n > 0 {
							r.Errorf("%d seconds are silent: nothing says why they were not measured", n)
						}
					})
				})
			}
		}
	}
}

// TestCollectorsTails damages the ends of the collector's files after a kill. It goes on with nothing lost, or refuses and
// says which file it is and what to do.
func TestCollectorsTails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file   string
		wounds string // those after which it refuses
		says   string
	}{
		{file: "intake/state.json"},
		{file: "evidence/segment-*", wounds: "cut off flipped zeroed", says: "back from a backup"},
		{file: "evidence/hashes"},
		{file: "evidence/index"},
		{file: "evidence/checkpoint", wounds: "cut off flipped zeroed followed by noise", says: "checkpoint"},
		{file: "enrol/registry.json"},
	} {
		for _, x := range wounds {
			t.Run(tt.file+"/"+x.name, func(t *testing.T) {
				disturb(t, nil, func(r *rig) {
					r.world.close()
					whole := r.copy(r.state)
					r.must(hurt(newest(r.T, filepath.Join(r.state, filepath.FromSlash(tt.file))), x, 40))
					err := tryOpen(r.world)
					if err == nil {
						r.world.open()
						time.Sleep(time.Minute)
						return
					}
					if !strings.Contains(tt.wounds, x.name) || !strings.Contains(err.Error(), tt.says) {
						r.Errorf("the collector does not start: %v", err)
					}
					r.replace(r.state, whole)
					r.world.open()
				}, everything)
			})
		}
	}
}

// TestHistoryDamaged damages the history and throws it away, as `collector rebuild` does: it is made again from the log.
func TestHistoryDamaged(t *testing.T) {
	t.Parallel()
	for _, x := range wounds {
		t.Run(x.name, func(t *testing.T) {
			disturb(t, nil, func(r *rig) {
				r.world.close()
				path := filepath.Join(r.state, "history.db")
				r.must(hurt(path, x, 4000))
				if err := tryOpen(r.world); err != nil && !strings.Contains(err.Error(), "rebuild") {
					r.Errorf("the error does not say what to do: %v", err)
				}
				r.must(index.Remove(path))
				r.world.open()
			}, everything)
		})
	}
}

// tryOpen tries whether the rooms open, and closes them again.
func tryOpen(w *world) error {
	keys, err := enrol.OpenKeys(filepath.Join(w.state, "keys"), district, w.now)
	if err != nil {
		return err
	}
	v, err := keys.LogVerifier()
	if err != nil {
		return err
	}
	store, err := evidence.Open(evidence.Options{Dir: filepath.Join(w.state, "evidence"), Origin: v.Name(), Signer: keys.LogSigner, Verifier: v})
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	x, err := index.Open(filepath.Join(w.state, "history.db"))
	if err != nil {
		return err
	}
	_, err = x.Cursor(w.Context())
	if e := x.Close(); err == nil {
		err = e
	}
	return err
}
