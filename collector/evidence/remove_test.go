package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// removable is a log of receipts and papers: batches with bodies at 0 to n-1, then a paper.
func removable(t testing.TB, dir string, n int) *Store {
	t.Helper()
	s := mustOpen(t, testOptions(t, dir))
	for i := range n {
		e, err := BatchEntry("m", "00112233445566778899aabbccddeeff", uint64(i+1), time.Unix(int64(i), 0), fmt.Appendf(nil, "header %d\n", i), bytes.Repeat(fmt.Appendf(nil, "secret-%d ", i), 100))
		if err == nil {
			_, err = s.Append(t.Context(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := NewEntry(Attestation, map[string]string{"by": "an"}, []byte("a person's paper"), nil)
	if err == nil {
		_, err = s.Append(t.Context(), e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func removal(p Piece, leaves ...int64) Removal {
	return Removal{At: time.Unix(1e9, 0).UTC(), By: "an", Why: "kept for 25 months", Piece: p, Leaves: Runs(leaves)}
}

// onDisk is all that the segments hold.
func onDisk(t *testing.T, dir string) (all []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestRemove removes bodies and a paper: they are gone from the disk, and leaf, tree, proofs, reopening, mirror and
// verification go on.
func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := removable(t, dir, 8)
	tree := s.Tree()
	stone, err := s.Remove(t.Context(), removal(BodyPiece, 1, 2, 5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), removal(BlobPiece, 8)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TreeAt(tree.N); err != nil || got != tree {
		t.Errorf("the tree before is another one: %v, %v", got, err)
	}
	raw := onDisk(t, dir)
	for i := range 8 {
		_, err := s.Body(int64(i))
		gone := i == 1 || i == 2 || i == 5
		if gone != errors.Is(err, ErrRemoved) || !gone && err != nil {
			t.Errorf("body %d: %v", i, err)
		}
		if bytes.Contains(raw, fmt.Appendf(nil, "secret-%d ", i)) == gone {
			t.Errorf("body %d: on the disk %t", i, !gone)
		}
		if _, err := s.Blob(int64(i)); err != nil {
			t.Errorf("the header of %d: %v", i, err)
		}
	}
	if _, err := s.Blob(8); !errors.Is(err, ErrRemoved) || bytes.Contains(raw, []byte("a person's paper")) {
		t.Errorf("the paper is there: %v", err)
	}
	l, err := s.Leaf(stone)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := s.Blob(stone)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReadRemoval(Stored{Entry: Entry{Leaf: l, Blob: blob}, Index: stone})
	want := removal(BodyPiece, 1, 2, 5)
	want.Leaf = stone
	if diff := cmp.Diff(want, r); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if n, err := s.Erase(t.Context(), r); err != nil || n != 0 {
		t.Errorf("a second time %d bytes are erased, %v", n, err)
	}
	n := 0
	for e, err := range s.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.BodyRemoved() || e.BlobRemoved() {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d entries lack a piece, want 4", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(t, dir))
	mirror := t.TempDir()
	m := mustMirror(t, mirror)
	if _, err := m.Sync(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	_, v := testKeys()
	for _, d := range []string{dir, mirror} {
		if sum, err := Verify(d, v); err != nil || sum.Removed != 4 {
			t.Errorf("%d pieces removed, %v", sum.Removed, err)
		}
	}
}

// TestRemovedWithoutATombstone erases a body as who holds the disk can, and the right of which there is none.
func TestRemovedWithoutATombstone(t *testing.T) {
	dir := t.TempDir()
	s := removable(t, dir, 4)
	if _, err := s.Remove(t.Context(), removal(BodyPiece, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.erase(3, BodyPiece); err != nil {
		t.Fatal(err)
	}
	_, v := testKeys()
	if _, err := Verify(dir, v); err == nil || !strings.Contains(err.Error(), "the body of leaf 3 was removed, and no tombstone says so") {
		t.Errorf("got %v", err)
	}
	// A piece with a tombstone for another one of the same leaf.
	other := t.TempDir()
	s = removable(t, other, 1)
	if _, err := s.erase(0, BodyPiece); err != nil {
		t.Fatal(err)
	}
	e, err := removal(BlobPiece, 0).Entry()
	if err == nil {
		_, err = s.Append(t.Context(), e)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(other, v); err == nil || !strings.Contains(err.Error(), "no tombstone") {
		t.Errorf("a tombstone for the blob serves for the body: %v", err)
	}
}

// TestKeptForEver has what may never be removed.
func TestKeptForEver(t *testing.T) {
	s := removable(t, t.TempDir(), 2)
	for name, r := range map[string]Removal{
		"a header":         removal(BlobPiece, 1),
		"no such leaf":     removal(BodyPiece, 99),
		"a body of papers": removal(BodyPiece, 2),
	} {
		size := s.Size()
		if _, err := s.Remove(t.Context(), r); err == nil || s.Size() != size {
			t.Errorf("%s: %v, %d leaves", name, err, s.Size()-size)
		}
	}
	if _, err := s.Erase(t.Context(), removal(BodyPiece, 0)); err == nil {
		t.Error("a body was erased without a tombstone")
	}
	for i, p := range map[int64]Piece{1: BlobPiece, 2: BodyPiece} {
		if _, err := s.erase(i, p); err == nil {
			t.Errorf("the %s of leaf %d was erased", p, i)
		}
	}
}

// TestInterruptedErasure ends between the mark and the zeros, and between the tombstone and the mark.
func TestInterruptedErasure(t *testing.T) {
	dir := t.TempDir()
	s := removable(t, dir, 3)
	e, err := removal(BodyPiece, 0, 1).Entry()
	if err != nil {
		t.Fatal(err)
	}
	stone, err := s.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPlace(s.tree.index, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.disk.Create(segmentName(0))
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := s.find(f, p, 0, BodyPiece)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{kindGone}, at); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, v := testKeys()
	if _, err := Verify(dir, v); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(t, dir))
	r := removal(BodyPiece, 0, 1)
	r.Leaf = stone
	if n, err := s.Erase(t.Context(), r); err != nil || n != 1800 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if raw := onDisk(t, dir); bytes.Contains(raw, []byte("secret-0 ")) || bytes.Contains(raw, []byte("secret-1 ")) {
		t.Error("what was to be erased is there")
	}
}

// FuzzRemovals reads the blob of a tombstone of anybody.
func FuzzRemovals(f *testing.F) {
	f.Add([]byte("0 1\n3 3\n"))
	f.Add([]byte("3 1\n"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		e, err := NewEntry(Tombstone, map[string]string{"at": "2026-11-23T00:00:00.000Z", "by": "an", "piece": "body", "why": "w"}, blob, nil)
		if err != nil {
			return
		}
		r, err := ReadRemoval(Stored{Entry: e, Index: 100})
		if err != nil {
			return
		}
		for _, x := range r.Leaves {
			if x.First < 0 || x.Last >= 100 || !r.Has(x.First) || !r.Has(x.Last) {
				t.Errorf("%+v", x)
			}
		}
	})
}
