package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
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
