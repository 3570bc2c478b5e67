package evidence

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// benchBatch is a batch of 1 KiB: a header note of the usual size and the rest body.
func benchBatch(b *testing.B, i int) Entry {
	data := make([]byte, 1024)
	rng := rand.New(rand.NewPCG(1, uint64(i)))
	for j := range data {
		data[j] = byte(rng.Uint32())
	}
	e, err := BatchEntry("pc-an-thanh-01", fmt.Sprintf("%032x", i%100), uint64(i), time.Unix(1795395600, 0), data[:680], data[680:])
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// BenchmarkAppend appends batches of 1 KiB on a real disk, first one after the other, then from 64 callers at a time;
// ratio is how many more per second the groups bring. overhead is what a batch takes on disk besides its own bytes,
// in groups.
func BenchmarkAppend(b *testing.B) {
	entries := make([]Entry, 1000)
	for i := range entries {
		entries[i] = benchBatch(b, i)
	}
	const callers = 64
	var single, group time.Duration
	var overhead, leaves int64
	for b.Loop() {
		o := testOptions(b, b.TempDir())
		o.SegmentBytes = 0
		s := mustOpen(b, o)
		start := time.Now()
		for _, e := range entries[:100] {
			if _, err := s.Append(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		single += time.Since(start)
		before := folderSize(b, o.Dir)
		start = time.Now()
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := c; i < len(entries); i += callers {
					if _, err := s.Append(b.Context(), entries[i]); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		group += time.Since(start)
		leaves += int64(len(entries))
		overhead += folderSize(b, o.Dir) - before - int64(len(entries))*1024
	}
	one, many := 100*float64(b.N)/single.Seconds(), float64(len(entries)*b.N)/group.Seconds()
	b.ReportMetric(one, "single/s")
	b.ReportMetric(many, "group/s")
	b.ReportMetric(many/one, "ratio")
	b.ReportMetric(float64(overhead)/float64(leaves), "overhead-B/batch")
}

// BenchmarkEntries reads a log of batches in order, as a rebuild does.
func BenchmarkEntries(b *testing.B) {
	o := testOptions(b, b.TempDir())
	o.SegmentBytes = 0
	s := mustOpen(b, o)
	const n = 10_000
	for i := 0; i < n; i += 500 {
		var group []Entry
		for j := range 500 {
			group = append(group, benchBatch(b, i+j))
		}
		if _, err := s.Append(b.Context(), group...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for e, err := range s.Entries(0) {
			if err != nil || bytes.Equal(e.Blob, e.Body) {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

func folderSize(b *testing.B, dir string) (size int64) {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		fi, err := os.Stat(name)
		if err != nil {
			b.Fatal(err)
		}
		size += fi.Size()
	}
	return size
}
