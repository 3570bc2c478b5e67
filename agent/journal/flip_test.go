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
	r, _ := newLabRig(t)
	r.o.segmentSize = segmentSize
	r.open()
	r.begin()
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
	r.o.Dir = copyTo(t, filepath.Join(quickDir(t), "copy"), from.o.Dir)
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

// Batches behind damage are recorded again, at the start when it is in the last segment, or when the pusher comes to it;
// what stood between is said to be lost.
func TestBehindDamage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start bool // the damage is found at a start
		size  int64
	}{
		{"in the last segment, at a start", true, 1 << 20},
		{"in another segment, by the pusher", false, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.o.Dir, r.o.segmentSize = filepath.Join(t.TempDir(), "journal"), tt.size
			r.start()
			var want []check.Result
			for range 8 {
				r.clock = r.clock.Add(time.Minute)
				want = append(want, r.tick("a", "b")...)
			}
			old := r.j.ID()
			_, heads := r.sent()
			var at int64
			n := 0
			frames(r.o.Dir, "00000001.seg", false, func(off int64, f frame, err error) bool {
				if f.kind == kindBatch {
					n++
				}
				at = f.end - 10 // in the second batch
				return n < 2
			})
			b, err := os.ReadFile(filepath.Join(r.o.Dir, "00000001.seg"))
			if err != nil {
				t.Fatal(err)
			}
			b[at] ^= 1
			if err := os.WriteFile(filepath.Join(r.o.Dir, "00000001.seg"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.start {
				r.start()
			} else {
				if _, err := r.j.Batches(heads[0], 10, 1<<20); err == nil {
					t.Fatal("damage is passed over")
				}
				if err := r.j.Rotate("fork", r.clock); err != nil {
					t.Fatal(err)
				}
				if _, err := r.j.Carry(old); err != nil {
					t.Fatal(err)
				}
			}
			r.stop()
			var got []check.Result
			var lost []check.Range
			for _, s := range r.j.snapshot() {
				if s.journal == old {
					continue
				}
				r.j.behind(segment{num: s.num, journal: s.journal}, -1, func(b Batch, h Header) error {
					_, recs, err := Open(b, r.verifiers)
					for _, rec := range recs {
						if rec.Range != nil {
							lost = append(lost, *rec.Range)
						}
					}
					got = append(got, resultsOf(recs)...)
					return err
				})
			}
			if len(lost) != 1 || lost[0].Reason != check.DataLost || lost[0].Slots != 1 {
				t.Fatalf("ranges %+v, want one of data_lost", lost)
			}
			gone := 0
			for _, w := range want[2:] { // the first batch is whole
				n := 0
				for _, g := range got {
					if g.Check == w.Check && g.Slot.Equal(w.Slot) {
						n++
					}
				}
				in := !w.Slot.Before(lost[0].From.Truncate(time.Second)) && w.Slot.Before(lost[0].To)
				if n > 1 || n == 0 && !in {
					t.Errorf("%s of %s is recorded again %d times, the range is %+v", w.Check, w.Slot, n, lost[0])
				}
				if n == 0 {
					gone++
				}
			}
			if gone == 0 || gone > 4 {
				t.Errorf("%d results are lost, want those of one batch", gone)
			}
		})
	}
}
