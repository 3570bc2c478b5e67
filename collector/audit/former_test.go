package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// succeed ends the world's log with the recovery key and goes on in the next one.
func (w *world) succeed(number int, recovery note.Signer, rv note.Verifier) {
	w.t.Helper()
	signer, key := keyPair(w.t, seed(40+number), fmt.Sprintf("egovmon/d/log/%d", number))
	v, err := note.NewVerifier(key)
	if err != nil {
		w.t.Fatal(err)
	}
	s := wire.Succession{Old: w.store.Origin(), Tree: w.store.Tree(), New: v.Name(), Key: key, At: start.Add(3 * time.Hour), Why: "đĩa hỏng"}
	msg, err := note.Sign(&note.Note{Text: s.Text()}, recovery)
	if err != nil {
		w.t.Fatal(err)
	}
	o := evidence.Options{Dir: w.t.TempDir(), Origin: v.Name(), Signer: signer, Verifier: v}
	if err := evidence.Succeed(w.t.Context(), w.store, o, msg, rv, nil); err != nil {
		w.t.Fatal(err)
	}
	if w.store, err = evidence.Open(o); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.store.Close() })
	w.key = key
}

// TestSuccessorLogs: what machines saw of the logs before this one is proven with the leaves that were copied.
func TestSuccessorLogs(t *testing.T) {
	recovery, key := keyPair(t, 9, "egovmon/d/recovery")
	rv, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign := keyPair(t, 10, "egovmon/d/recovery")
	for _, c := range []struct {
		name  string
		w     world
		key   string // that the log names; "" for none
		wrong string // "" where all is well
	}{
		{name: "an honest log", key: key},
		{name: "no recovery key in the log", wrong: "the log names no recovery key"},
		{name: "another recovery key in the log", key: foreign, wrong: "succession: "},
		{"a machine saw another log", world{seen: func(tree tlog.Tree) tlog.Tree { tree.Hash[3] ^= 1; return tree }}, key, "another one was shown to the machine"},
		{"a machine saw more than there was", world{seen: func(tree tlog.Tree) tlog.Tree { tree.N += 50; return tree }}, key, "the log was longer before"},
	} {
		w := c.w.build(t)
		if c.key != "" {
			w.append(evidence.LogKey, map[string]string{"at": start.Format(time.RFC3339), "recovery": c.key, "seal": "s"}, nil, nil)
		}
		for number := 2; number <= 3; number++ {
			w.succeed(number, recovery, rv)
		}
		r, err := w.verify(w.export(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.wrong == "" {
			if !r.OK() || r.Bracketed != r.Batches || r.Batches == 0 {
				t.Errorf("%s: %d of %d batches bracketed, %+.600v", c.name, r.Bracketed, r.Batches, r.Findings)
			}
			continue
		}
		found := false
		for _, f := range r.Findings {
			found = found || strings.Contains(f.What, c.wrong)
		}
		if !found {
			t.Errorf("%s: not found, but %+.600v", c.name, r.Findings)
		}
	}
}
