package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/check"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
	"egovmon/collector/report"
)

// TestACheckTakenOut takes a check out of the plan while its service is down: the seconds after count as unknown, the
// coverage says so, and the report lists the plan.
func TestACheckTakenOut(t *testing.T) {
	w := (&world{dropped: 35}).build(t)
	m := w.report()
	c := countedOf(t, &m, "")
	if c.Account.Down != 300 || c.Account.Causes[check.NotPlanned] == 0 || c.Figures.Coverage == nil || *c.Figures.Coverage > 0.03 || *c.Figures.Upper-*c.Figures.Lower < 0.9 {
		t.Errorf("%d s down, causes %v, %+v", c.Account.Down, c.Account.Causes, c.Figures)
	}
	listed := func(kind evidence.Type, what string) bool {
		return slices.ContainsFunc(m.Changes, func(c report.Change) bool { return c.Type == string(kind) && c.What == what })
	}
	if !listed(evidence.Plan, machine+" v2") {
		t.Errorf("the report does not list the plan: %+v", m.Changes)
	}
	path := w.export()
	if r, err := w.verify(path, encode(t, m)); err != nil || !r.OK() {
		t.Fatalf("%v %.400v", err, r.Findings)
	}
	m.Changes = slices.DeleteFunc(m.Changes, func(c report.Change) bool { return c.What == machine+" v2" })
	r, err := w.verify(path, encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	found(t, r, BadFigures, -1, "plan m-a-1 v2) is left out")
}

// TestMovedThresholds moves a target, the quorum and the watchers after the fact: the report must list each, and cannot
// hide it, nor list what is not there.
func TestMovedThresholds(t *testing.T) {
	for _, file := range []string{"targets.yaml", "services.yaml", "machines.yaml"} {
		w := new(world).build(t)
		kind := evidence.Profile
		if file == "targets.yaml" {
			kind = evidence.Target
		}
		w.append(kind, map[string]string{"file": file, "district": "d"}, []byte(w.files()[file]+"# moved\n"), nil)
		m := w.report()
		leaf := w.store.Size() - 1
		i := slices.IndexFunc(m.Changes, func(c report.Change) bool { return c.Leaf == leaf && c.What == file })
		if i < 0 {
			t.Errorf("%s: the report lists %+v", file, m.Changes)
			continue
		}
		path := w.export()
		if r, err := w.verify(path, encode(t, m)); err != nil || !r.OK() {
			t.Errorf("%s: %v %.400v", file, err, r.Findings)
		}
		whole := m.Changes
		m.Changes = slices.Delete(slices.Clone(whole), i, i+1)
		r, err := w.verify(path, encode(t, m))
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadFigures, -1, "the change in leaf")
		m.Changes = append(slices.Clone(whole), report.Change{Leaf: 1, Type: "rule", What: "votes/9"})
		if r, err = w.verify(path, encode(t, m)); err != nil {
			t.Fatal(err)
		}
		found(t, r, BadFigures, -1, "the log has none there")
	}
}

// TestMovedBatches has a batch stand before the one that it follows.
func TestMovedBatches(t *testing.T) {
	w := (&world{swapped: 6}).build(t)
	r, err := w.verify(w.export(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found(t, r, BadChain, w.batches()[5], "batches 6 to 6 of the journal are missing")
	found(t, r, BadChain, w.batches()[6], "was there already")
}

// TestKeys has the journal's key revoked, rotated with the old one's word for it, and replaced without.
func TestKeys(t *testing.T) {
	revoked := func(w *world) {
		w.append(evidence.Revocation, map[string]string{"machine": machine, "at": start.Add(-time.Minute).Format(time.RFC3339), "by": "an", "why": "lost"}, nil, nil)
	}
	w := (&world{before: revoked}).build(t)
	r, err := w.verify(w.export(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found(t, r, BadBatch, w.batches()[0], "not signed by a key that was good")

	// A key with which the machine goes on: its predecessor has signed for it, or not.
	for _, c := range []struct {
		name, want string
		change     func(f map[string]string, statement, proof, old []byte)
	}{
		{"rotated", "", nil},
		{"not signed by the one before", "has not signed for it", func(_ map[string]string, _, _, old []byte) { old[0] ^= 1 }},
		{"not signed by itself", "has not signed the statement itself", func(_ map[string]string, _, proof, _ []byte) { proof[0] ^= 1 }},
		{"of another machine", "no statement of the machine", func(_ map[string]string, statement, _, _ []byte) { statement[len("egovmon-renew/1\nmachine m")] = 'x' }},
		{"after a key that is none of the machine's", "none of the machine's", func(f map[string]string, _, _, _ []byte) {
			_, f["predecessor"] = keyPair(t, 9, "egovmon/d/journal/"+machine)
		}},
		{"after none", "none of the machine's", func(f map[string]string, _, _, _ []byte) { delete(f, "predecessor") }},
		{"in place of the one that was signed for", "names another key", func(f map[string]string, _, _, _ []byte) { _, f["key"] = keyPair(t, 9, "egovmon/d/journal/"+machine) }},
		{"after one that was revoked", "none of the machine's", nil},
	} {
		signer, key := keyPair(t, 8, "egovmon/d/journal/"+machine)
		_, before := keyPair(t, 2, "egovmon/d/journal/"+machine)
		var leaf int64
		w := &world{signer: signer, before: func(w *world) {
			if strings.Contains(c.name, "revoked") {
				w.append(evidence.Revocation, map[string]string{"machine": machine, "at": start.Add(-2 * time.Minute).Format(time.RFC3339), "why": "lost"}, nil, nil)
			}
			raw := rawKey(t, key)
			statement := wire.RenewRequest{CSR: []byte("csr"), Journal: &wire.Successor{Key: raw}}.Statement(machine)
			sign := func(s seed) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(seedOf(t, s)), statement) }
			f := map[string]string{"machine": machine, "unit": "xa-a", "use": "journal", "key": key, "at": start.Add(-time.Minute).Format(time.RFC3339), "predecessor": before}
			proof, old := sign(8), sign(2)
			if c.change != nil {
				c.change(f, statement, proof, old)
			}
			leaf = w.store.Size()
			w.append(evidence.AgentKey, f, fmt.Appendf(nil, "%sproof %x\nold %x\n", statement, proof, old), nil)
		}}
		w.build(t)
		if r, err = w.verify(w.export(), nil); err != nil {
			t.Fatal(err)
		}
		if c.want == "" && !r.OK() {
			t.Errorf("%s: %.400v", c.name, r.Findings)
		} else if c.want != "" {
			found(t, r, BadKey, leaf, c.want)
		}
	}
}

// seedOf is the seed of a key that keyPair makes.
func seedOf(t *testing.T, s seed) []byte {
	t.Helper()
	private, _, err := note.GenerateKey(s, "x")
	if err != nil {
		t.Fatal(err)
	}
	return rawKey(t, private)[1:]
}

// rawKey is the key in the text of one, with its algorithm.
func rawKey(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text[strings.LastIndexByte(text, '+')+1:])
	if parts := strings.SplitN(text, "+", 3); len(parts) == 3 && !strings.HasPrefix(text, "PRIVATE") {
		b, err = base64.StdEncoding.DecodeString(parts[2])
	} else if parts := strings.SplitN(text, "+", 5); len(parts) == 5 {
		b, err = base64.StdEncoding.DecodeString(parts[4])
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}
