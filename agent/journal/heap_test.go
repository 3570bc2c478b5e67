package journal

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TestSealingHeap measures what a journal with a dictionary keeps on the heap while it gathers a batch, and what sealing
// that allocates on top of it: for 20 and for 100 checks a minute, and for the largest batch there is. To see the figures:
// go test ./agent/journal -run TestSealingHeap -v
func TestSealingHeap(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nothing is collected but when it is asked for
	for _, tt := range []struct {
		results int
		most    int64 // KiB
	}{{20, 1 << 10}, {100, 1 << 10}, {maxResults, 1 << 10}} {
		held, sealing := sealingHeap(t, tt.results)
		t.Logf("%d results a batch: %d KiB are kept, %d KiB allocated to write and seal one", tt.results, held>>10, sealing>>10)
		if sum := (held + sealing) >> 10; sum > tt.most {
			t.Errorf("%d results a batch: sealing takes %d KiB of heap, at most %d are allowed", tt.results, sum, tt.most)
		}
	}
}

func sealingHeap(t *testing.T, n int) (held, sealing int64) {
	r := newRig(t)
	r.o.Dir = filepath.Join(t.TempDir(), "journal")
	rs := testResults(n)
	for i := range rs {
		rs[i].Reason, rs[i].State, rs[i].Check = check.OK, check.Up, fmt.Sprintf("a.x%d", i%25)
	}
	var dictionary []byte
	var e encoder
	for i := 0; len(dictionary) < 24<<10; i++ {
		dictionary, _ = e.record(dictionary, &Record{Result: &rs[i%n]})
	}
	live := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	before := live()
	r.start()
	if err := r.j.SetDictionary(dictionary); err != nil {
		t.Fatal(err)
	}
	batch := func() {
		for tick := range slices.Chunk(rs, max(1, n/20)) {
			r.clock = r.clock.Add(3100 * time.Millisecond)
			for i := range tick {
				tick[i].Slot = tick[i].Slot.Add(time.Minute)
				if err := r.j.Write(tick[i:i+1], nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.j.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 5 {
		batch()
	}
	head, _ := r.j.Head()
	kept := live()
	batch()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if now, _ := r.j.Head(); now.Seq != head.Seq+1 {
		t.Fatalf("batch %d after batch %d: want one", now.Seq, head.Seq)
	}
	runtime.KeepAlive(r.j)
	return int64(kept.HeapAlloc) - int64(before.HeapAlloc), int64(after.TotalAlloc - kept.TotalAlloc)
}
