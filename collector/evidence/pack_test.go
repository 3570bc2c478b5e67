package evidence

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

func receipt(t testing.TB, i int) Entry {
	t.Helper()
	note := fmt.Sprintf("egovmon-batch/1\nmachine pc-an-thanh-01\njournal %032d\nseq %d\nprevious %064d\n\n— egovmon/tu-ky/journal/pc-an-thanh-01 AAAA\n", 7, i+1, i)
	e, err := BatchEntry("pc-an-thanh-01", fmt.Sprintf("%032d", 7), uint64(i+1), time.Unix(1795395600+int64(i), 0), []byte(note), bytes.Repeat([]byte{byte(i)}, 50))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Receipts are packed, give back the bytes that were appended, and everything else stands as it is.
func TestPacked(t *testing.T) {
	d := newMemDisk()
	s, err := open(testOptions(t, "mem"), d)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := NewEntry(Plan, map[string]string{"machine": "pc"}, []byte(strings.Repeat("plan", 40)), nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := BatchEntry("pc", fmt.Sprintf("%032d", 1), 1, time.Unix(0, 0), bytes.Repeat([]byte("x"), maxPacked), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{receipt(t, 0), plan, receipt(t, 1), large, receipt(t, 2)}
	for _, e := range want {
		if _, err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	data := d.names[segmentName(0)].data
	if bytes.Contains(data, want[0].Leaf.text) || !bytes.Contains(data, plan.Leaf.text) || !bytes.Contains(data, large.Leaf.text) {
		t.Error("a receipt stands as it is, or another leaf does not")
	}
	same := func(s *Store) {
		t.Helper()
		for e, err := range s.Entries(0) {
			if err != nil {
				t.Fatal(err)
			}
			w := want[e.Index]
			if !bytes.Equal(e.Leaf.text, w.Leaf.text) || !bytes.Equal(e.Blob, w.Blob) || !bytes.Equal(e.Body, w.Body) {
				t.Errorf("leaf %d is not what was appended", e.Index)
			}
			if b, err := s.Blob(e.Index); err != nil || !bytes.Equal(b, w.Blob) {
				t.Errorf("blob %d: %v", e.Index, err)
			}
		}
		for e, err := range s.Leaves(0) {
			if err != nil || e.Blob != nil || e.Body != nil {
				t.Errorf("leaf %d alone: %v", e.Index, err)
			}
		}
	}
	same(s)
	delete(d.names, hashesFile)
	delete(d.names, indexFile)
	if s, err = open(testOptions(t, "mem"), d.clone()); err != nil {
		t.Fatal(err)
	}
	same(s)
	if _, err := verify(d, s.opts.Verifier); err == nil {
		t.Error("Verify misses no hashes") // they were deleted: it is Open that makes them again
	}
}

// A log that was begun by the version without packing is read, goes on in its last segment as it was, and packs from
// the next one on.
func TestPlainSegment(t *testing.T) {
	src := newMemDisk()
	s, err := open(testOptions(t, "mem"), src)
	if err != nil {
		t.Fatal(err)
	}
	empty := s.Tree()
	old := newMemDisk()
	seg := appendFrame(nil, kindHeader, bytes.Replace(segmentHeader(0, s.opts.Origin, empty), []byte(segmentMagic), []byte(segmentPlain), 1))
	const n = 5
	for i := range n {
		if _, err := s.Append(t.Context(), receipt(t, i)); err != nil {
			t.Fatal(err)
		}
		seg = appendCommit(appendEntry(seg, receipt(t, i)), s.Tree())
	}
	old.names[segmentName(0)] = &memData{data: seg, synced: slices.Clone(seg)}
	old.names[checkpointFile] = src.names[checkpointFile]
	o := testOptions(t, "mem")
	o.SegmentBytes = minSegment
	if s, err = open(o, old); err != nil {
		t.Fatal(err)
	}
	for i := n; i < 30; i++ {
		if _, err := s.Append(t.Context(), receipt(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	for e, err := range s.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if w := receipt(t, next); !bytes.Equal(e.Leaf.text, w.Leaf.text) || !bytes.Equal(e.Blob, w.Blob) || !bytes.Equal(e.Body, w.Body) {
			t.Errorf("leaf %d is not what was appended", next)
		}
		next++
	}
	if next != 30 {
		t.Errorf("%d leaves", next)
	}
	for number, want := range []bool{false, true} {
		if got := slices.Contains(kindsOf(t, old, number), kindPacked); got != want {
			t.Errorf("segment %d has packed frames: %v, want %v", number, got, want)
		}
	}
	if _, err := verify(old, o.Verifier); err != nil {
		t.Error(err)
	}
	if s, err = open(o, old.clone()); err != nil || s.Size() != 30 {
		t.Errorf("opened again: %v", err)
	}
}

func kindsOf(t *testing.T, d disk, number int) (kinds []byte) {
	t.Helper()
	f, err := d.Open(segmentName(number))
	if err != nil {
		t.Fatal(err)
	}
	sc, err := newScanner("x", f, 0, pickAhead)
	if err != nil {
		t.Fatal(err)
	}
	for {
		kind, _, err := sc.frame()
		if err != nil {
			return kinds
		}
		kinds = append(kinds, kind)
	}
}

// What was forged into a packed frame costs no memory and is found.
func TestPackedForged(t *testing.T) {
	p, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	enc := func(b []byte) []byte { return p.enc.EncodeAll(b, nil) }
	for name, payload := range map[string][]byte{
		"nothing": nil, "text": []byte("leaf"), "a bomb": enc(make([]byte, 64<<20)), "empty": enc(nil),
		"a leaf without end": enc([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 'x'}), "no blob": enc([]byte{1, 'x'}),
	} {
		if _, _, err := unpack(p.dec, payload); err == nil {
			t.Errorf("%s is read", name)
		}
		d := newMemDisk()
		d.names["x"] = &memData{data: appendFrame(nil, kindPacked, payload)}
		f, err := d.Open("x")
		if err != nil {
			t.Fatal(err)
		}
		sc, err := newScanner("x", f, 0, pickAhead)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sc.next(); err == nil {
			t.Errorf("%s is read from a segment", name)
		}
	}
	bomb := enc(make([]byte, 64<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, _ = unpack(p.dec, bomb)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated for a bomb", n)
	}
}

// The words of the format are part of it: a log written with others could not be read.
func TestPackedWords(t *testing.T) {
	if got := tlog.RecordHash([]byte(packedWords)).String(); got != "y4rehc6rSXFzd4DIodE5WUnVb5eAv1TGuHF1ceEfyQs=" {
		t.Errorf("the words have the hash %s: they are never changed; a new version of the segment has new ones", got)
	}
}

func FuzzUnpack(f *testing.F) {
	p, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	packed := p.appendEntry(nil, receipt(f, 3))
	f.Add(packed[frameHead:])
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		text, blob, err := unpack(p.dec, payload)
		if err == nil && (len(text)+len(blob) > maxPacked+200 || !bytes.HasSuffix(text, []byte(blobLine(RefTo(blob))))) {
			t.Errorf("%d bytes of leaf and %d of blob", len(text), len(blob))
		}
	})
}
