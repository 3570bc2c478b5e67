package intake

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

func TestSlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s slots
	seen := map[int64]bool{}
	for i := range 5000 {
		slot := 60*int64(rng.IntN(40)) + 60*int64(i/10)
		if got := s.add(slot, 60); got == seen[slot] {
			t.Fatalf("slot %d: new %t, seen before %t; %v", slot, got, seen[slot], s)
		}
		seen[slot] = true
	}
	if len(s) > 30 {
		t.Errorf("%d runs for nearly consecutive slots", len(s))
	}
	for r := range s {
		if r > 0 && s[r].From <= s[r-1].To {
			t.Fatalf("runs out of order: %v", s)
		}
	}
	// Gaps: the far past is forgotten, and then nothing there is new.
	s = nil
	for i := range int64(maxRuns + 10) {
		s.add(i*120, 60)
	}
	if len(s) != maxRuns || s.add(60, 60) || !s.add(maxRuns*120+60, 60) {
		t.Errorf("%d runs, want %d", len(s), maxRuns)
	}
	// Another interval has its own runs.
	s = nil
	for _, slot := range []int64{0, 60, 120} {
		s.add(slot, 60)
	}
	if !s.add(30, 30) || s.add(60, 30) || !s.add(150, 30) {
		t.Errorf("after a change of interval: %v", s)
	}
}

// A consumer that fails gets everything, once and in order, when it works again; others do not wait for it.
func TestConsumerFails(t *testing.T) {
	c := newCentre(t, Limits{})
	var broken, whole []int64
	fail := true
	c.stop()
	c.log.Close()
	c.opts.Consumers = []Consumer{
		{Name: "broken", Accept: func(_ context.Context, a Accepted) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if fail {
				return errors.New("disk full")
			}
			broken = append(broken, a.Leaf)
			return nil
		}},
		{Name: "whole", Accept: func(_ context.Context, a Accepted) error {
			whole = append(whole, a.Leaf)
			return nil
		}},
	}
	c.open(t)
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	for range 5 {
		a.push(t, a.seal(t, result(slot(a.id.Machine, start))))
		a.flush(t)
	}
	if len(whole) != 6 || len(broken) != 0 {
		t.Fatalf("whole has %v, broken has %v", whole, broken)
	}
	c.mu.Lock()
	fail = false
	c.mu.Unlock()
	c.close() // and begin again, as after the disk was mended
	c.open(t)
	a.push(t, a.seal(t, result(slot(a.id.Machine, start.Add(time.Minute)))))
	a.flush(t)
	if fmt.Sprint(broken) != fmt.Sprint(append(whole[:6:6], broken[len(broken)-1])) {
		t.Errorf("broken has %v, want %v and one more", broken, whole[:6])
	}
}

// It need not be started again for that.
func TestConsumerRecovers(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	for range 3 {
		a.push(t, a.seal(t, result(slot(a.id.Machine, start))))
	}
	a.flush(t)
	var got []int64
	fails := 2
	o := c.opts
	o.Evidence, o.Registrar, o.Dir = c.log, c.reg, t.TempDir()
	o.Consumers = []Consumer{{Name: "test", Accept: func(_ context.Context, a Accepted) error {
		if len(got) == 2 && fails > 0 {
			fails--
			return errors.New("disk full")
		}
		got = append(got, a.Leaf)
		return nil
	}}}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{2, 2, 4} {
		if _, err := s.advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(got) != n {
			t.Fatalf("round %d: it has %v, want %d", i+1, got, n)
		}
		if s.anyBehind() != (len(got) < 4) {
			t.Errorf("round %d: behind: %t", i+1, s.anyBehind())
		}
		s.feed.consumers[0].wait = 0 // its time to wait is over
	}
	for i, a := range c.accepted() {
		if got[i] != a.Leaf {
			t.Errorf("it has %v", got)
		}
	}
}

// A snapshot that is damaged or of another log costs time, not truth.
func TestSnapshotDamaged(t *testing.T) {
	c := newCentre(t, Limits{})
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	a.flush(t)
	c.close()
	path := filepath.Join(c.opts.Dir, snapshotFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := newCentre(t, Limits{})
	b := other.agent(t, "an-thanh")
	for range 5 {
		other.push1(t, b)
	}
	b.flush(t)
	other.close()
	foreign, err := os.ReadFile(filepath.Join(other.opts.Dir, snapshotFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cut": good[:len(good)/2], "empty": nil, "another log's": foreign, "rubbish": []byte(`{"version":1,"next":-5}`)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c.open(t)
		if code, ans := a.push(t, a.seal(t, result(start))); code != http.StatusOK {
			t.Errorf("%s: %d %+v", name, code, ans)
		}
		c.close()
	}
	other.open(t)
	c.open(t)
}

// A consumer that begins some way behind the end begins at a snapshot, not at the first leaf.
func TestSnapshotsApart(t *testing.T) {
	c := newCentre(t, Limits{Bytes: 1 << 30, Results: 1 << 30})
	a := c.agent(t, "an-thanh")
	a.push(t, a.seal(t, a.opening(t)...))
	for c.log.Size() < snapshotApart+10 {
		var bs []journal.Batch
		for range wire.MaxBatches {
			bs = append(bs, a.seal(t, result(start)))
		}
		if code, ans := a.push(t, bs...); code != http.StatusOK {
			t.Fatal(code, ans)
		}
	}
	a.flush(t)
	first := c.log.Size()
	for range 3 { // each stop writes a snapshot
		c.close()
		c.open(t)
		c.push1(t, a)
		a.flush(t)
	}
	size := c.log.Size()
	for _, tt := range []struct{ leaf, from int64 }{{first - 1, 0}, {first, first}, {size - 1, size - 1}} {
		if f, err := c.foldBefore(tt.leaf); err != nil || f.Next() != tt.from {
			t.Errorf("for leaf %d it begins at %d, want %d: %v", tt.leaf, f.Next(), tt.from, err)
		}
	}
	var leaves []int64
	if err := c.CatchUp(t.Context(), size-2, func(a Accepted) error { leaves = append(leaves, a.Leaf); return nil }); err != nil || len(leaves) != 2 {
		t.Errorf("%v, %v", leaves, err)
	}
}

func (c *centre) push1(t *testing.T, a *agent) {
	t.Helper()
	if code, ans := a.push(t, a.seal(t, result(start))); code != http.StatusOK {
		t.Fatal(code, ans)
	}
}

// FuzzBatches sends any bytes to the handler: whatever they are, only a machine's next batches are archived, and the
// answer is one of those that the API has. Fuzz it with -fuzzminimizetime 1x: what it covers is never twice the same.
func FuzzBatches(f *testing.F) {
	c := newCentre(f, Limits{Results: 1 << 30, Bytes: 1 << 30, Journals: 1 << 20})
	a := c.agent(f, "an-thanh")
	open := a.opening(f)
	good := frames(a.seal(f, open...), a.seal(f, result(start)))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append([]byte{0}, good...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{})
	f.Add(frames(journal.Batch{Note: []byte("egovmon-batch/1\n"), Body: []byte{0x28, 0xb5, 0x2f, 0xfd}}))
	h := c.Handler()
	chain := []*x509.Certificate{a.id.TLS.Leaf, c.keys.CA}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := c.log.Size()
		r := httptest.NewRequest(http.MethodPost, wire.PathBatches, bytes.NewReader(body))
		r.Header.Set("Content-Type", wire.TypeBatches)
		r.TLS = &tls.ConnectionState{PeerCertificates: chain[:1], VerifiedChains: [][]*x509.Certificate{chain}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		code := w.Code
		ans, err := wire.DecodeAnswer(w.Body)
		if err != nil {
			t.Errorf("status %d: %v", code, err)
		}
		switch code {
		case 200, 400, 403, 409, 413, 429:
		default:
			t.Errorf("status %d", code)
		}
		if grown := c.log.Size() - before; grown < 0 || grown > 2 || ans.Head.Seq > 2 {
			t.Errorf("%d leaves more, head %+v", grown, ans.Head)
		}
	})
}
