package push

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// A heir is what makes successions in tests.
type heir struct {
	*rig
	recovery note.Signer
	key      note.Verifier // of recovery
	text     string
}

// newHeir gives the collector a recovery key, which the agent learns.
func newHeir(r *rig) *heir {
	h := &heir{rig: r}
	h.recovery, h.key = newKey(r, "egovmon/tu-ky/recovery")
	h.text = verifierText(r, h.key, h.recovery)
	r.c.mu.Lock()
	leaf := "egovmon-leaf/1 log-key\nat 2026\nrecovery " + h.text + "\nseal x\n"
	at := r.c.log.add(leaf)
	r.c.recovery = func() any {
		proof, err := tlog.ProveRecord(r.c.log.n, at, r.c.log)
		if err != nil {
			r.Error(err)
		}
		return wire.RecoveryAnswer{Key: h.text, Leaf: []byte(leaf), Index: at, Proof: wire.EncodeProof(proof), Checkpoint: r.c.log.checkpoint()}
	}
	r.c.mu.Unlock()
	return h
}

// verifierText returns a key that newKey made as text.
func verifierText(r *rig, v note.Verifier, s note.Signer) string {
	r.Helper()
	text, ok := keyTexts.Load(v.KeyHash())
	if !ok {
		r.Fatalf("no key %08x of %s", v.KeyHash(), s.Name())
	}
	return text.(string)
}

// succeed ends the collector's log at n leaves and begins the next one. change may spoil the succession or the answer.
func (h *heir) succeed(n int64, change func(s *wire.Succession, a *wire.SuccessorAnswer)) {
	h.Helper()
	old := h.c.log
	number, _ := wire.LogNumber("tu-ky", old.signer.Name())
	signer, v := newKey(h, wire.LogName("tu-ky", number+1))
	at := old.prefix(n)
	hash, err := tlog.TreeHash(n, at)
	if err != nil {
		h.Fatal(err)
	}
	s := wire.Succession{Old: old.signer.Name(), Tree: tlog.Tree{N: n, Hash: hash}, New: signer.Name(), Key: verifierText(h.rig, v, signer),
		At: start, Why: "restored"}
	var spoiled wire.SuccessorAnswer
	if change != nil {
		change(&s, &spoiled)
	}
	signedBy := h.recovery
	if string(spoiled.Leaf) == "another key" {
		signedBy, _ = newKey(h, "egovmon/tu-ky/recovery")
	}
	msg, err := note.Sign(&note.Note{Text: s.Text()}, signedBy)
	if err != nil {
		h.Fatal(err)
	}
	leaf := fmt.Sprintf("egovmon-leaf/1 log-key\nat 2026\nblob %x %d\n", sha256.Sum256(msg), len(msg))
	if string(spoiled.Leaf) == "another leaf" {
		leaf = fmt.Sprintf("egovmon-leaf/1 log-key\nat 2026\nblob %x %d\n", sha256.Sum256([]byte("x")), 1)
	}
	log := &log{signer: signer}
	log.add(leaf)
	for _, l := range at.leaves {
		log.add(l)
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.log = log
	h.c.successor = func() any {
		proof, err := tlog.ProveRecord(log.n, 0, log)
		if err != nil {
			h.Error(err)
		}
		a := wire.SuccessorAnswer{Notes: []string{string(msg)}, Leaf: []byte(leaf), Proof: wire.EncodeProof(proof), Checkpoint: log.checkpoint()}
		if spoiled.Proof != "" {
			a.Proof = spoiled.Proof
		}
		if spoiled.Notes != nil {
			a.Notes = spoiled.Notes
		}
		return a
	}
}

func TestSuccessor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		learnt bool // the agent knows the recovery key
		change func(s *wire.Succession, a *wire.SuccessorAnswer)
		ok     bool
	}{
		{"signed by the recovery key", true, nil, true},
		{"no recovery key is known", false, nil, false},
		{"signed by another recovery key", true, func(_ *wire.Succession, a *wire.SuccessorAnswer) { a.Leaf = []byte("another key") }, false},
		{"not signed at all", true, func(_ *wire.Succession, a *wire.SuccessorAnswer) { a.Notes = []string{"egovmon-successor/1\n"} }, false},
		{"no successions", true, func(_ *wire.Succession, a *wire.SuccessorAnswer) { a.Notes = []string{} }, false},
		{"the succession is not the first leaf", true, func(_ *wire.Succession, a *wire.SuccessorAnswer) { a.Leaf = []byte("another leaf") }, false},
		{"the first leaf is not proven", true, func(_ *wire.Succession, a *wire.SuccessorAnswer) { a.Proof = "x" }, false},
		{"of another log", true, func(s *wire.Succession, _ *wire.SuccessorAnswer) {
			s.Old = "egovmon/tu-ky/log/7"
			s.New = "egovmon/tu-ky/log/8"
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			h := newHeir(r)
			if !tt.learnt {
				r.c.recovery = nil
			}
			for range 6 {
				r.measure()
				r.round()
			}
			r.refused(0)
			if (r.p.recovery != nil) != tt.learnt {
				t.Fatalf("the recovery key is known: %v", r.p.recovery != nil)
			}
			seen := r.p.tree
			h.succeed(3, tt.change)
			r.measure()
			r.round()
			r.arrived() // whatever is thought of the log, what was measured is sent
			for range 2 {
				if got := r.p.logKey.Name() == "egovmon/tu-ky/log/2"; got != tt.ok {
					t.Fatalf("the agent follows %s", r.p.logKey.Name())
				}
				if !tt.ok && r.p.tree != seen {
					t.Errorf("the checkpoint went from %v to %v", seen, r.p.tree)
				}
				if tt.ok && r.p.tree.N != r.c.log.n {
					t.Errorf("the checkpoint has %d leaves, the log %d", r.p.tree.N, r.c.log.n)
				}
				if _, err := os.Stat(filepath.Join(r.o.Dir, CheckpointFile+".1")); (err == nil) != tt.ok {
					t.Errorf("the old log's checkpoint is kept: %v", err == nil)
				}
				r.restart()
			}
		})
	}
}

// A succession is followed once; the log before it is not believed any more, and the one after it is.
func TestSuccessorsInARow(t *testing.T) {
	r := newRig(t)
	h := newHeir(r)
	for range 4 {
		r.measure()
		r.round()
	}
	before := r.c.log
	h.succeed(3, nil)
	r.measure()
	r.round()
	after := r.c.log
	r.c.log = before
	r.measure()
	r.round()
	r.refused(1)
	if r.p.logKey.Name() != "egovmon/tu-ky/log/2" {
		t.Errorf("the agent went back to %s", r.p.logKey.Name())
	}
	r.c.log = after
	h.succeed(5, nil)
	r.measure()
	r.round()
	r.restart()
	if r.p.logKey.Name() != "egovmon/tu-ky/log/3" {
		t.Errorf("the agent follows %s", r.p.logKey.Name())
	}
	r.measure()
	r.round()
	r.refused(0)
	r.arrived()
}

// A kill between keeping the successions and putting the old checkpoint aside is mended by the next start.
func TestSuccessorKilled(t *testing.T) {
	r := newRig(t)
	h := newHeir(r)
	for range 4 {
		r.measure()
		r.round()
	}
	old, err := os.ReadFile(filepath.Join(r.o.Dir, CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	h.succeed(3, nil)
	r.measure()
	r.round()
	if err := os.WriteFile(filepath.Join(r.o.Dir, CheckpointFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.measure()
	r.round()
	r.refused(0)
	if r.p.tree.N != r.c.log.n {
		t.Errorf("the checkpoint has %d leaves, the log %d", r.p.tree.N, r.c.log.n)
	}
	if got, err := os.ReadFile(filepath.Join(r.o.Dir, CheckpointFile+".1")); err != nil || string(got) != string(old) {
		t.Errorf("the old log's checkpoint is not kept: %v", err)
	}
}

// The recovery key is taken from the log alone, and once.
func TestRecoveryKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(a *wire.RecoveryAnswer)
		ok     bool
	}{
		{"in the log", func(*wire.RecoveryAnswer) {}, true},
		{"not in the log", func(a *wire.RecoveryAnswer) { a.Leaf = []byte(strings.Replace(string(a.Leaf), "seal x", "seal y", 1)) }, false},
		{"another key than the leaf's", func(a *wire.RecoveryAnswer) { a.Key = strings.Replace(a.Key, "tu-ky", "khac", 1) }, false},
		{"no key", func(a *wire.RecoveryAnswer) { a.Key = "x" }, false},
		{"proof of another leaf", func(a *wire.RecoveryAnswer) { a.Index = 0 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.c.log.add("something before")
			h := newHeir(r)
			good := r.c.recovery
			r.c.recovery = func() any { a := good().(wire.RecoveryAnswer); tt.change(&a); return a }
			r.measure()
			r.round()
			if got := r.p.recovery != nil; got != tt.ok {
				t.Fatalf("the key is taken: %v, want %v", got, tt.ok)
			}
			r.restart()
			if got := r.p.recovery != nil && r.p.recovery.KeyHash() == h.key.KeyHash(); got != tt.ok {
				t.Errorf("after a start the key is known: %v, want %v", got, tt.ok)
			}
		})
	}
}

// A collector that knows only an older plan is given back those that were followed since, as it signed them, in order.
func TestPlanGivenBack(t *testing.T) {
	r := newRig(t)
	r.o.SignedPlans = func() [][]byte { return [][]byte{[]byte("a former plan"), []byte("the signed plan")} }
	r.restart()
	r.c.setPlan("plan: x\nversion: 2\n", 2)
	r.version, r.plans = 3, []string{"the one in force"}
	r.round()
	if want := []string{"a former plan", "the signed plan"}; !slices.Equal(r.c.returned, want) {
		t.Errorf("given back: %q", r.c.returned)
	}
	if len(r.plans) != 1 {
		t.Error("the older plan is followed")
	}
}
