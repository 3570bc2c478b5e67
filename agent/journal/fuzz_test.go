package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/wire"
)

// Whatever lies in the folder, a journal opens or says why not, goes on, and what it then holds verifies.
func FuzzOpenJournal(f *testing.F) {
	r := newRig(f)
	r.tick("a", "b")
	head, _ := r.j.Head()
	if err := r.j.Ack(head); err != nil {
		f.Fatal(err)
	}
	r.tick("a")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(r.o.Dir, name))
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	seg, open, cursor := read("00000001.seg"), read(openName), read(cursorName)
	f.Add(seg, open, cursor)
	f.Add(seg[:len(seg)-3], open, []byte{})
	f.Add([]byte{}, open, cursor)
	f.Add(seg, open[:len(open)/2], []byte("egovmon-cursor/1 x 9 .\n"))
	f.Add(seg, []byte{}, []byte("egovmon-cursor/1 "+testJournal+" 18446744073709551615 .\n"))
	f.Add(append(bytes.Clone(seg), seg...), append(bytes.Clone(open), open...), cursor)
	for _, at := range []int{0, 3, 8, 9, len(seg) / 3, len(seg) / 2} {
		b := bytes.Clone(seg)
		b[at] ^= 0x10
		f.Add(b, open, cursor)
	}
	f.Fuzz(func(t *testing.T, seg, open, cursor []byte) {
		n := &rig{TB: t, o: r.o, verifiers: r.verifiers, clock: r.clock.AddDate(1, 0, 0)}
		dir := quickDir(t)
		for name, b := range map[string][]byte{"00000001.seg": seg, openName: open, cursorName: cursor} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n.o.Dir, n.o.disk, n.o.Now = dir, newLab(t, dir), n.now
		for e := range Read(dir) {
			_ = e.Problem()
		}
		if _, err := Verify(dir, n.verifiers); err != nil {
			t.Fatal(err)
		}
		var err error
		if n.j, n.found, err = OpenJournal(n.o); err != nil {
			return // it says why not
		}
		if err := n.j.Begin(n.clock); err != nil {
			t.Fatalf("%v; found %+v", err, n.found)
		}
		want := n.tick("zz")
		n.stop()
		found := false
		for e := range Read(dir) {
			for _, res := range resultsOf(e.Records) {
				found = found || res.Check == "zz" && res.Slot.Equal(want[0].Slot)
			}
		}
		if !found {
			t.Fatalf("what was recorded after %+v is not there", n.found)
		}
	})
}

// A batch is what its machine signed, or it is refused as a whole.
func FuzzOpenBatch(f *testing.F) {
	signer, verifiers := testKey(f, testKeyName)
	recs := benchRecords(3)
	b, err := Seal(testHeader(), recs, signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Note, b.Body)
	f.Add(b.Note, b.Body[:len(b.Body)-1])
	f.Add(b.Note[:len(b.Note)-2], b.Body)
	f.Add(bytes.Replace(b.Note, []byte("seq "), []byte("seq 0"), 1), b.Body)
	f.Add(append(bytes.Clone(b.Note), b.Note...), b.Body)
	f.Add([]byte("egovmon-batch/2\n\n— x y\n"), []byte{0x28, 0xb5, 0x2f, 0xfd})
	rd, err := NewReader()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, body []byte) {
		h, got, err := rd.Open(Batch{Note: text, Body: body}, verifiers)
		if _, content := errors.AsType[*ContentError](err); err != nil && !content {
			if len(got) > 0 {
				t.Fatalf("%d records beside the error %v", len(got), err)
			}
		} else if !bytes.Equal(text, b.Note) || !bytes.Equal(body, b.Body) || h.Text() != textOf(t, b.Note, verifiers) {
			t.Fatalf("taken, and not what was signed: %q", text)
		}
		// What the checksum of a segment vouches for is read without its signature.
		if h, err := headerOf(text); err == nil {
			_, _ = rd.Records(h, body)
		}
		if x, err := splitBatch(text); err == nil && len(x.Note)+len(x.Body) > len(text) {
			t.Fatal("parts are larger than the whole")
		}
	})
}

func textOf(t *testing.T, b []byte, verifiers note.Verifiers) string {
	n, err := note.Open(b, verifiers)
	if err != nil {
		t.Fatal(err)
	}
	return n.Text
}

// The small files of a journal are read or refused.
func FuzzSmallFiles(f *testing.F) {
	f.Add("egovmon-cursor/1 " + testJournal + " 7 .\n")
	f.Add("egovmon-head/1 " + testJournal + " 7 " + NoPrevious + "\n")
	f.Add("egovmon-head/1 " + testJournal + " 0 -\n")
	f.Add("egovmon-open/1\nmachine pc-01\njournal " + testJournal + "\nseq 3\nprevious " + NoPrevious + "\nlast 2026-11-23T01:00:00.000Z\n")
	f.Fuzz(func(t *testing.T, text string) {
		if head, hash, ok := parseFormer(text); ok && (!isHex(head.Journal, 16) || hash != "" && !isHex(hash, 32)) {
			t.Errorf("head %v %q is taken", head, hash)
		}
		if p, err := parsePlace(text, "egovmon-open/1", "seq"); err == nil && (p.seq == 0 || !isHex(p.journal, 16)) {
			t.Errorf("place %+v is taken", p)
		}
		if p, err := parseSegment(text); err == nil && (p.seq == 0 || !isHex(p.previous, 32)) {
			t.Errorf("place %+v is taken", p)
		}
	})
}

// What is known of the clock is what was written, whole, or nothing: a part of it, or one that a disk has changed, would
// move results to another time.
func FuzzEras(f *testing.F) {
	boot := "5b0c6a52-43d5-4d3c-9f2b-0a6c1e8b7f10"
	full := make([]era, maxEras)
	for i := range full {
		full[i] = era{head: wire.Head{Journal: testJournal, Seq: uint64(i + 1)}, boot: boot, started: testTime.Add(time.Duration(i) * time.Minute)}
		if i%2 == 1 {
			full[i].clock = &Clock{Offset: time.Duration(i-3) * 1500 * time.Millisecond, Measured: testTime}
		}
	}
	lines := func(head, rest string) string { return head + "\n" + rest + hashOf([]byte(head+"\n"+rest)) + "\n" }
	good := formatEras(full[:2])
	if cmp.Diff(full, parseEras(formatEras(full)), cmp.AllowUnexported(era{})) != "" {
		f.Fatal("eras are read otherwise than they were written")
	}
	f.Add(good)
	f.Add(formatEras(nil))
	f.Add(formatEras(append(full, full[0])))
	f.Add(good[:len(good)-1])
	f.Add(good[:strings.LastIndexByte(good[:len(good)-1], '\n')+1])
	f.Add(strings.Replace(good, "01:00:00", "02:00:00", 1))
	f.Add(lines("egovmon-clock/2", ""))
	for _, l := range []string{"", " ", testJournal + " 0 b 2026-11-23T01:00:00.000Z", testJournal + " 1  2026-11-23T01:00:00.000Z", "x 1 b 2026-11-23T01:00:00.000Z",
		testJournal + " -1 b 2026-11-23T01:00:00.000Z", testJournal + " 1 b 2026-13-23T01:00:00.000Z", testJournal + " 1 b 2026-11-23T01:00:00.000Z x"} {
		if got := parseEras(lines(eraHead, l+"\n")); got != nil {
			f.Errorf("%q is taken for %v", l, got)
		}
		f.Add(lines(eraHead, l+"\n"))
	}
	for i := range len(good) {
		b := []byte(good)
		b[i] ^= 1
		if got := parseEras(string(b)); got != nil || parseEras(good[:i]) != nil {
			f.Fatalf("cut at byte %d, or with another one there, it is taken: %v", i, got)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := quickDir(t)
		if err := os.WriteFile(filepath.Join(dir, eraName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		eras := readEras(dir)
		for _, e := range eras {
			if !isHex(e.head.Journal, 16) || e.head.Seq == 0 || e.boot == "" {
				t.Errorf("era %+v is taken", e)
			}
		}
		if len(eras) > maxEras || len(eras) > 0 && cmp.Diff(eras, parseEras(formatEras(eras)), cmp.AllowUnexported(era{})) != "" {
			t.Errorf("%d eras are read, and not written as they are read", len(eras))
		}
	})
}
