package series

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openQueueTest(t *testing.T, dir string, most int64) *queue {
	t.Helper()
	q, err := openQueue(dir, most, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.close() })
	return q
}

// all takes everything off and returns the payloads.
func (q *queue) all(t *testing.T) (payloads []string, samples, lost int) {
	t.Helper()
	for {
		got, err := q.peek(1)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.payloads) == 0 && got.lost == 0 {
			return payloads, samples, lost
		}
		for _, p := range got.payloads {
			payloads = append(payloads, string(p))
		}
		samples += got.samples
		lost += got.lost
		if err := q.take(got); err != nil {
			t.Fatal(err)
		}
	}
}

func push(t *testing.T, q *queue, payload string, samples int) int {
	t.Helper()
	dropped, err := q.append([]byte(payload), samples)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

// TestQueueKeepsOrder does random things to a queue, restarts among them, and compares it with a slice.
func TestQueueKeepsOrder(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			dir := t.TempDir()
			q := openQueueTest(t, dir, 4096) // segments of 1 KiB
			var model []string               // payloads, each of as many samples as bytes
			sum := func() (n int) {
				for _, p := range model {
					n += len(p)
				}
				return n
			}
			serial := 0
			for range 400 {
				switch rnd.IntN(8) {
				case 0, 1, 2:
					p := fmt.Sprintf("%06d%s", serial, strings.Repeat("x", rnd.IntN(200)))
					serial++
					dropped := push(t, q, p, len(p))
					model = append(model, p)
					for dropped > 0 {
						dropped -= len(model[0])
						model = model[1:]
					}
					if dropped < 0 {
						t.Fatal("a part of a frame was dropped")
					}
				case 3, 4, 5:
					got, err := q.peek(300)
					if err != nil || got.lost > 0 {
						t.Fatal(err, got.lost)
					}
					if len(got.payloads) == 0 && len(model) > 0 {
						t.Fatalf("nothing to take, %d frames are waiting", len(model))
					}
					for i, p := range got.payloads {
						if string(p) != model[i] {
							t.Fatalf("frame %d is %q, want %q", i, p, model[i])
						}
					}
					if rnd.IntN(4) > 0 {
						if err := q.take(got); err != nil {
							t.Fatal(err)
						}
						model = model[len(got.payloads):]
					}
				case 6:
					if err := q.close(); err != nil {
						t.Fatal(err)
					}
					q = openQueueTest(t, dir, 4096)
				case 7:
					if q.waiting() != sum() {
						t.Fatalf("waiting %d, want %d", q.waiting(), sum())
					}
					if n := bytesBelow(t, dir); n > 4096+64 {
						t.Fatalf("%d bytes on disk, want at most 4096", n)
					}
				}
			}
			got, _, _ := q.all(t)
			if diff := cmp.Diff(model, got); len(model)+len(got) > 0 && diff != "" {
				t.Errorf("at the end -want +got:\n%s", diff)
			}
		})
	}
}

func bytesBelow(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += st.Size()
	}
	return n
}

func segmentFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files[0]
}

// TestQueueTorn cuts the file at every byte, as a crash can, and then goes on.
func TestQueueTorn(t *testing.T) {
	src := t.TempDir()
	q := openQueueTest(t, src, 4096)
	frames := []string{"alpha", "beta", "gamma"}
	for _, f := range frames {
		push(t, q, f, 1)
	}
	whole, err := os.ReadFile(segmentFile(t, src))
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{len(segmentHead)}
	for _, f := range frames {
		ends = append(ends, ends[len(ends)-1]+frameHead+len(f))
	}
	for n := range len(whole) + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(segmentFile(t, src))), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for i, f := range frames {
			if n >= ends[i+1] {
				want = append(want, f)
			}
		}
		q := openQueueTest(t, dir, 4096)
		if q.waiting() != len(want) {
			t.Errorf("cut at %d: waiting %d, want %d", n, q.waiting(), len(want))
		}
		push(t, q, "after", 1)
		got, _, _ := q.all(t)
		if diff := cmp.Diff(append(want, "after"), got); diff != "" {
			t.Errorf("cut at %d -want +got:\n%s", n, diff)
		}
	}
}

// TestQueueRot flips every byte of a frame in a running queue: what is lost is counted, what follows comes out.
func TestQueueRot(t *testing.T) {
	for at := range frameHead + len("alpha") {
		dir := t.TempDir()
		q := openQueueTest(t, dir, 4096)
		push(t, q, "alpha", 3)
		file := segmentFile(t, dir)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i := len(segmentHead) + at; at < 8 || at >= frameHead { // the number of samples only counts
			b[i] ^= 0x40
		} else {
			continue
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := q.roll(9); err != nil {
			t.Fatal(err)
		}
		push(t, q, "beta", 1)
		got, samples, lost := q.all(t)
		if diff := cmp.Diff([]string{"beta"}, got); diff != "" || samples != 1 || lost != 3 || q.waiting() != 0 {
			t.Errorf("byte %d: samples %d, lost %d, want 1 and 3; -want +got:\n%s", at, samples, lost, diff)
		}
	}
}

func TestQueueCursor(t *testing.T) {
	for _, tt := range []struct {
		cursor string // %d is the segment
		want   []string
	}{
		{"", []string{"alpha", "beta"}},
		{"%d 35\n", []string{"beta"}}, // behind the 17 or so bytes of the head and the first frame
		{"%d 36\n", []string{"alpha", "beta"}},
		{"%d 99999\n", []string{"alpha", "beta"}},
		{"%d -5\n", []string{"alpha", "beta"}},
		{"rubbish", []string{"alpha", "beta"}},
		{"\x00\x00\x00\x00", []string{"alpha", "beta"}},
	} {
		t.Run(tt.cursor, func(t *testing.T) {
			dir := t.TempDir()
			q := openQueueTest(t, dir, 4096)
			push(t, q, "alpha", 1)
			if want := int64(len(segmentHead) + frameHead + 5); q.segs[0].size != want || want != 35 {
				t.Fatalf("the first frame ends at %d", q.segs[0].size)
			}
			push(t, q, "beta", 1)
			c := strings.ReplaceAll(tt.cursor, "%d", fmt.Sprint(q.segs[0].id))
			if err := q.close(); err != nil {
				t.Fatal(err)
			}
			if c != "" {
				if err := os.WriteFile(filepath.Join(dir, "cursor"), []byte(c), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, _, _ := openQueueTest(t, dir, 4096).all(t)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestQueueOfALaterVersion(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, fmt.Sprintf("%020d.seg", 1))
	if err := os.WriteFile(name, []byte("egovmon-forward/2\nxxxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openQueue(dir, 4096, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "later version") {
		t.Errorf("got %v, want an error that names the version", err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Errorf("the segment must stay: %v", err)
	}
}
