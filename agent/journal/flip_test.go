package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

// A bit that flips, anywhere in the last batch or in what is not sealed yet, costs no more than the write it stands in,
// and the start after it says that something is lost, and when that was written.
func TestFlips(t *testing.T) {
	r := newRig(t)
	r.tick("a", "b")
	r.clock = r.clock.Add(2 * time.Minute)
	r.tick("a", "b")
	sealedFrom := sizeOf(t, filepath.Join(r.o.Dir, "00000001.seg"))
	r.clock = r.clock.Add(2 * time.Minute)
	r.tick("a", "b") // the last batch
	whole := r.tick("a")
	openHead := int64(0)
	for range 3 {
		r.clock = r.clock.Add(time.Second)
		res := r.result("a", check.OK)
		if err := r.j.Write([]check.Result{res}, nil); err != nil {
			t.Fatal(err)
		}
		whole = append(whole, res)
	}
	recs, _ := r.sent()
	given := slices.Concat(resultsOf(recs), whole)
	frames(r.o.Dir, openName, true, func(at int64, f frame, err error) bool { openHead = f.end; return false })
	if n := len(given); n != 10 || openHead == 0 {
		t.Fatalf("%d results, %d bytes of head", n, openHead)
	}
	for _, f := range []struct {
		name       string
		from, most int64
		lost       int // results at most
	}{
		{"00000001.seg", sealedFrom, 1 << 40, 4}, // the last batch has both
		{openName, openHead, 1 << 40, 1},
		{openName, 0, openHead, 4}, // which batch it is cannot be told any more
	} {
		for at := f.from; at < min(sizeOf(t, filepath.Join(r.o.Dir, f.name)), f.most); at++ {
			flipped(t, r, given, f.name, at, f.lost)
		}
	}
}

func flipped(t *testing.T, from *rig, given []check.Result, name string, at int64, most int) {
	t.Helper()
	r := &rig{TB: t, o: from.o, verifiers: from.verifiers, clock: from.clock.Add(time.Minute)}
	r.o.Now = func() time.Time { return r.clock }
	r.o.Dir = copyDir(t, from.o.Dir)
	path := filepath.Join(r.o.Dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1 << (at % 8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	written := time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	other := openName
	if name == openName {
		other = "00000001.seg"
	}
	if err := os.Chtimes(filepath.Join(r.o.Dir, other), written, written); err != nil {
		t.Fatal(err)
	}
	r.o.disk = newLab(t, r.o.Dir)
	r.start()
	given = append(slices.Clone(given), r.tick("c")...)
	r.stop()
	recs, _, err := r.chain()
	if err != nil {
		t.Fatalf("%s, byte %d: %v", name, at, err)
	}
	got := resultsOf(recs)
	lost := len(given) - len(got)
	i := 0
	for _, g := range given {
		if i < len(got) && got[i].Check == g.Check && got[i].Slot.Equal(g.Slot) {
			i++
		}
	}
	if i != len(got) || lost < 0 || lost > most {
		t.Fatalf("%s, byte %d: %d results of %d are there, %d in order: got %v want %v; %+v", name, at, len(got), len(given), i, slotsOf(got), slotsOf(given), r.found)
	}
	if lost > 0 && (!r.found.TornAt.Equal(written) || r.found.TornBytes == 0 && r.found.Unreadable == "") {
		t.Fatalf("%s, byte %d: %d results are lost, and the start says %+v", name, at, lost, r.found)
	}
}

func slotsOf(rs []check.Result) (s []string) {
	for _, r := range rs {
		s = append(s, r.Check+r.Slot.Format("04:05"))
	}
	return s
}
