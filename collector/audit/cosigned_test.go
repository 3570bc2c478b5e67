package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/agent/words"
	"egovmon/collector/evidence"
)

// witnessPair makes the keys of one who cosigns.
func witnessPair(t testing.TB, s seed, name string) (signer string, w *wire.Witness) {
	t.Helper()
	b := make([]byte, ed25519.SeedSize)
	_, _ = s.Read(b)
	key := ed25519.NewKeyFromSeed(b)
	vkey, err := wire.VerifierKey(name, append([]byte{wire.AlgCosign}, key.Public().(ed25519.PublicKey)...))
	if err != nil {
		t.Fatal(err)
	}
	if w, err = wire.NewWitness(vkey); err != nil {
		t.Fatal(err)
	}
	return wire.SignerKey(name, wire.AlgCosign, key), w
}

const inspectorate = "egovmon/d/witness/thanh-tra"

// cosign lets these sign the log as it is, or as change says, and puts that into the log.
func (w *world) cosign(at time.Time, change func(tree *tlog.Tree), signers ...string) {
	w.t.Helper()
	tree := w.store.Tree()
	if change != nil {
		change(&tree)
	}
	text := wire.FormatCheckpoint(w.store.Origin(), tree)
	logSigner, _ := keyPair(w.t, 1, w.store.Origin())
	msg, err := note.Sign(&note.Note{Text: text}, logSigner)
	for _, s := range signers {
		var c wire.Cosignature
		c, e := wire.Cosign(text, s, at)
		err = errors.Join(err, e)
		msg = append(msg, c.Line...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(evidence.Cosigned, map[string]string{"at": wire.FormatTime(at)}, msg, nil)
}

// named puts the keys of a machine and of a witness into the log.
func (w *world) named(machineKey, witness *wire.Witness) {
	w.t.Helper()
	at := start.Add(-time.Hour)
	if machineKey != nil {
		w.append(evidence.AgentKey, map[string]string{"machine": machine, "unit": "xa-a", "use": "cosign", "key": machineKey.Key(), "at": at.Format(time.RFC3339), "token": "t"}, []byte("statement"), nil)
	}
	if witness != nil {
		w.append(evidence.WitnessKey, map[string]string{"at": wire.FormatTime(at), "by": "an", "key": witness.Key(), "state": "accepted"}, nil, nil)
	}
}

func TestCosignedLog(t *testing.T) {
	ours, ourKey := witnessPair(t, 20, wire.WitnessName("d", machine))
	theirs, theirKey := witnessPair(t, 21, inspectorate)
	w := &world{before: func(w *world) { w.named(ourKey, theirKey) }}
	w.build(t)
	size := w.store.Size()
	w.cosign(start.Add(3*time.Hour), nil, ours, theirs)
	w.cosign(start.Add(4*time.Hour), nil, ours)
	data := keep(t, w.bytes())
	for _, c := range []struct {
		name      string
		trust     Trust
		protected int64
		said      string
	}{
		{"with the log's key alone", Trust{}, 0, "not protected against the log's own operator"},
		{"with the witness's key", Trust{Witnesses: []*wire.Witness{theirKey}}, size, "protected against the log's own operator"},
		{"with a state that was printed", Trust{Seen: []Seen{{w.store.Origin(), size + 1, treeAt(t, w.store, size+1)}}}, size + 1, "protected against the log's own operator"},
	} {
		o := w.options()
		o.Trust = c.trust
		r, err := Verify(t.Context(), data, o)
		if err != nil || !r.OK() {
			t.Fatalf("%s: %v, %+v", c.name, err, r.Findings)
		}
		x := r.Witnessing
		if x.Checkpoints != 2 || len(x.Signers) != 2 || x.Protected != c.protected {
			t.Errorf("%s: %+v", c.name, x)
		}
		for _, s := range x.Signers {
			if s.Given != (len(c.trust.Witnesses) > 0 && s.Name == inspectorate) {
				t.Errorf("%s: %+v", c.name, s)
			}
			if want := map[bool]int64{true: size, false: size + 1}[s.Name == inspectorate]; s.Size != want {
				t.Errorf("%s: %s signed %d leaves, want %d", c.name, s.Name, s.Size, want)
			}
		}
		var b strings.Builder
		if err := r.Write(&b, words.EN); err != nil || !strings.Contains(b.String(), c.said) || strings.Contains(b.String(), "%!") {
			t.Errorf("%s: %v: %s", c.name, err, b.String())
		}
	}
}

func treeAt(t testing.TB, s *evidence.Store, n int64) tlog.Hash {
	t.Helper()
	tree, err := s.TreeAt(n)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Hash
}

// TestCosignedAttacks is what an operator who holds the log's key may try against witnesses.
func TestCosignedAttacks(t *testing.T) {
	theirs, theirKey := witnessPair(t, 21, inspectorate)
	forger, forgedKey := witnessPair(t, 22, inspectorate) // the name of the witness, the operator's key
	trusted := Trust{Witnesses: []*wire.Witness{theirKey}}
	for _, c := range []struct {
		name  string
		end   func(w *world)
		trust Trust
		code  Code
		what  string
	}{
		{"the signatures are taken out", func(*world) {}, trusted, BadCosigned, "taken out"},
		{"the operator signs as the witness", func(w *world) { w.named(nil, forgedKey); w.cosign(start.Add(3*time.Hour), nil, forger) }, trusted, BadCosigned, "nobody has signed it whose key is known"},
		{"the log was rewritten since the witness signed", func(w *world) {
			w.cosign(start.Add(3*time.Hour), func(tree *tlog.Tree) { tree.Hash[0] ^= 1 }, theirs)
		}, trusted, SplitView, "rewritten"},
		{"the log was longer when the witness signed", func(w *world) { w.cosign(start.Add(3*time.Hour), func(tree *tlog.Tree) { tree.N += 9 }, theirs) }, trusted, SplitView, "longer before"},
		{"leaves of tomorrow, signed yesterday", func(w *world) { w.cosign(start.Add(-30*time.Hour), nil, theirs) }, trusted, BadTime, "its clock was ahead"},
		{"a printed state is another one", func(*world) {}, Trust{Seen: []Seen{{Origin: "egovmon/d/log/1", Size: 7, Root: tlog.Hash{1}}}}, SplitView, "written down before"},
		{"a printed state is larger", func(*world) {}, Trust{Seen: []Seen{{Origin: "egovmon/d/log/1", Size: 7000}}}, SplitView, "longer before"},
		{"a printed state of another log", func(*world) {}, Trust{Seen: []Seen{{Origin: "egovmon/e/log/1", Size: 7}}}, SplitView, "of a log"},
		{"no cosignature", func(w *world) { w.cosign(start.Add(3*time.Hour), nil) }, Trust{}, BadCosigned, "nobody has signed it"},
		{"no note", func(w *world) { w.append(evidence.Cosigned, map[string]string{"at": "x"}, []byte("hello"), nil) }, Trust{}, BadCosigned, "without signatures"},
		{"a witness's key that is none", func(w *world) {
			w.append(evidence.WitnessKey, map[string]string{"at": wire.FormatTime(start), "by": "an", "key": "x", "state": "accepted"}, nil, nil)
		}, Trust{}, BadLeaf, "witness-key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{receipt: func(f map[string]string, seq uint64) {}}
			w.before = func(w *world) { w.named(nil, nil) }
			w.build(t)
			for i := range 300 { // the latest receipt is noted every 256 leaves
				w.append(evidence.Rule, map[string]string{"name": "votes/1", "n": "x" + strings.Repeat("y", i%30)}, nil, nil)
			}
			c.end(w)
			o := w.options()
			o.Trust = c.trust
			r, err := Verify(t.Context(), keep(t, w.bytes()), o)
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, c.code, -2, c.what)
			if r.OK() || r.Witnessing.Protected > 0 && c.code != BadTime {
				t.Errorf("it passes, with %d leaves protected", r.Witnessing.Protected)
			}
		})
	}
}

func TestTrustFile(t *testing.T) {
	_, w := witnessPair(t, 21, inspectorate)
	root := tlog.Hash{1, 2, 3}
	good := "egovmon-trust/1\n# of the inspectorate\nlog egovmon/d/log/1+00000000+AAAA\nwitness " + w.Key() + "\r\n\n" +
		"checkpoint " + wire.FormatSeen("egovmon/d/log/1", 12, root.String()) + "\ncheckpoint egovmon/d/log/1 13 " + hex.EncodeToString(root[:]) + "\n"
	got, err := ParseTrust([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if got.Key != "egovmon/d/log/1+00000000+AAAA" || len(got.Witnesses) != 1 || got.Witnesses[0].Key() != w.Key() ||
		!slices.Equal(got.Seen, []Seen{{"egovmon/d/log/1", 12, root}, {"egovmon/d/log/1", 13, root}}) {
		t.Errorf("read as %+v", got)
	}
	for _, bad := range []string{
		"", "egovmon-trust/2\n", good + "lg x\n", good + "log another\n", good + "witness x\n", good + "checkpoint a 1\n", good + "checkpoint a -1 " + root.String() + "\n",
		good + "checkpoint a 1 xyz\n", good + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})),
		good + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), good + string(bytes.Repeat([]byte("#\n"), maxTrust)),
	} {
		if _, err := ParseTrust([]byte(bad)); err == nil {
			t.Errorf("%.300q is read", bad)
		}
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add([]byte("egovmon-trust/1\nlog a+00000000+AAAA\ncheckpoint a 1 " + (tlog.Hash{}).String() + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseTrust(text)
		for _, s := range got.Seen {
			if err == nil && s.Size < 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}
