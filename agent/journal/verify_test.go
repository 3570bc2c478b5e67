package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	r := newRig(t)
	r.o.segmentSize = 3000
	r.start()
	for range 20 {
		r.clock = r.clock.Add(time.Minute)
		r.tick("a", "b")
	}
	if err := r.j.Rotate("clock_stepped", r.clock); err != nil {
		t.Fatal(err)
	}
	r.tick("a")
	r.tick("a")
	got, err := Verify(r.o.Dir, r.verifiers)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Problems) != 0 || got.Journals != 2 || got.Batches < 10 || got.Records < 40 || got.Open == 0 {
		t.Errorf("report %+v", got)
	}
	// Every byte of a segment counts.
	path := filepath.Join(r.o.Dir, "00000002.seg")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 37 {
		spoilt := append([]byte{}, whole...)
		spoilt[at] ^= 0x40
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Verify(r.o.Dir, r.verifiers); err != nil || len(got.Problems) == 0 {
			t.Fatalf("byte %d was changed: %+v, %v", at, got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, err = Verify(r.o.Dir, r.verifiers); err != nil || len(got.Problems) == 0 || !strings.Contains(got.Problems[0].Error(), "follows batch") {
		t.Errorf("without a segment: %+v, %v", got, err)
	}
	if _, err := Verify(filepath.Join(r.o.Dir, "none"), r.verifiers); err == nil {
		t.Error("a folder that is not there was verified")
	}
	_, other := testKey(t, testKeyName)
	if got, err := Verify(r.o.Dir, other); err != nil || got.Batches != 0 || len(got.Problems) == 0 {
		t.Errorf("with another key: %+v, %v", got, err)
	}
}
