package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What a batch of 500 results costs: its lines, and with compression and signature.
func BenchmarkEncode500(b *testing.B) {
	recs := benchRecords(500)
	var e encoder
	var lines []byte
	b.ReportAllocs()
	for b.Loop() {
		lines = lines[:0]
		for i := range recs {
			lines, _ = e.record(lines, &recs[i])
		}
	}
	b.ReportMetric(float64(len(lines))/500, "B/result")
}

func BenchmarkSeal500(b *testing.B) {
	signer, _ := testKey(b, testKeyName)
	recs := benchRecords(500)
	z, err := newCompressor(nil)
	if err != nil {
		b.Fatal(err)
	}
	var e encoder
	var lines []byte
	var size int
	b.ReportAllocs()
	for b.Loop() {
		lines = lines[:0]
		for i := range recs {
			lines, _ = e.record(lines, &recs[i])
		}
		batch, err := sealLines(testHeader(), lines, len(recs), z, signer)
		if err != nil {
			b.Fatal(err)
		}
		size = len(batch.Note) + len(batch.Body)
	}
	b.ReportMetric(float64(size)/500, "B/result")
}

func BenchmarkOpen500(b *testing.B) {
	signer, verifiers := testKey(b, testKeyName)
	batch, err := Seal(testHeader(), benchRecords(500), signer)
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewReader()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Open(batch, verifiers); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRecords(n int) []Record {
	rs := testResults(n)
	recs := make([]Record, n)
	for i := range rs {
		recs[i].Result = &rs[i]
	}
	return recs
}

// Recording 25 results durably, as a multiple of writing and syncing as many bytes to a bare file.
func BenchmarkRecord25(b *testing.B) {
	r := newRig(b)
	rs := testResults(1000)[:25]
	for i := range rs {
		rs[i].Reason, rs[i].State = "ok", 1
	}
	var e encoder
	var line []byte
	for i := range rs {
		line, _ = e.record(line, &Record{Result: &rs[i]})
	}
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var bare, ours []time.Duration // the median is compared: a busy machine spoils the mean
	b.ReportAllocs()
	for b.Loop() {
		r.clock = r.clock.Add(3 * time.Second) // a batch is sealed every 20 ticks
		t := time.Now()
		if err := r.j.Record(rs, nil); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(t))
		t = time.Now()
		if err := writeSync(f, line); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(t))
	}
	slices.Sort(ours)
	slices.Sort(bare)
	b.ReportMetric(float64(ours[len(ours)/2])/float64(bare[len(bare)/2]), "x-bare")
}

// What a minute's batch takes on disk and on the line, by result, at 20 and at 400 checks a minute.
func BenchmarkBytesPerResult(b *testing.B) {
	for _, n := range []int{20, 400} {
		b.Run(map[int]string{20: "20-a-minute", 400: "400-a-minute"}[n], func(b *testing.B) {
			signer, _ := testKey(b, testKeyName)
			recs := benchRecords(n)
			var size int
			for b.Loop() {
				batch, err := Seal(testHeader(), recs, signer)
				if err != nil {
					b.Fatal(err)
				}
				size = len(batch.Note) + len(batch.Body)
			}
			b.ReportMetric(float64(size)/float64(n), "B/result")
		})
	}
}
