package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

const testOrigin = "egovmon/tu-ky/log/1"

// testKeys makes the key that all tests use.
var testKeys = sync.OnceValues(func() (note.Signer, note.Verifier) {
	skey, vkey, err1 := note.GenerateKey(strings.NewReader(strings.Repeat("7", 64)), testOrigin)
	signer, err2 := note.NewSigner(skey)
	verifier, err3 := note.NewVerifier(vkey)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic(err)
	}
	return signer, verifier
})

func testOptions(t testing.TB, dir string) Options {
	t.Helper()
	s, v := testKeys()
	return Options{Dir: dir, Origin: testOrigin, Signer: s, Verifier: v, SegmentBytes: minSegment}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// testEntry returns an entry of its own for each i: every third without a blob, every second with a body.
func testEntry(t testing.TB, i int) Entry {
	t.Helper()
	var blob, body []byte
	if i%3 != 2 {
		blob = fmt.Appendf(nil, "header of %d", i)
	}
	if i%2 == 0 {
		body = bytes.Repeat([]byte{byte(i)}, 100+i%50)
	}
	e, err := NewEntry(Incident, map[string]string{"number": fmt.Sprint(i), "unit": "xã An Thanh"}, blob, body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func appendN(t testing.TB, s *Store, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		got, err := s.Append(t.Context(), testEntry(t, i))
		if err != nil || got != int64(i) {
			t.Fatalf("Append of leaf %d: %d, %v", i, got, err)
		}
	}
}

// checkLog compares all that a store gives with the entries 0 to n-1, and with a tree computed in another way.
func checkLog(t testing.TB, s *Store, n int) {
	t.Helper()
	_, v := testKeys()
	if got := s.Size(); got != int64(n) {
		t.Fatalf("size %d, want %d", got, n)
	}
	var leaves [][]byte
	for e, err := range s.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		want := testEntry(t, int(e.Index))
		if int(e.Index) != len(leaves) || !bytes.Equal(e.Leaf.Bytes(), want.Leaf.Bytes()) || !bytes.Equal(e.Blob, want.Blob) || !bytes.Equal(e.Body, want.Body) {
			t.Fatalf("entry %d reads %q", e.Index, e.Leaf.Bytes())
		}
		leaves = append(leaves, want.Leaf.Bytes())
	}
	if len(leaves) != n {
		t.Fatalf("%d entries, want %d", len(leaves), n)
	}
	msg, err := note.Open(s.Checkpoint(), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	origin, tree, err := wire.ParseCheckpoint(msg.Text)
	if want := (tlog.Tree{N: int64(n), Hash: merkle(leaves)}); err != nil || origin != testOrigin || tree != want {
		t.Fatalf("checkpoint %q %v, want %v (%v)", origin, tree, want, err)
	}
}

func TestAppendAndReopen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	checkLog(t, s, 0)
	const n = 100
	for i := range n {
		appendN(t, s, i, 1)
		if i%10 == 9 {
			checkLog(t, s, i+1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, testOptions(t, dir))
			checkLog(t, s, i+1)
		}
	}
	for i := range int64(n) {
		want := testEntry(t, int(i))
		leaf, err := s.Leaf(i)
		if err != nil || !bytes.Equal(leaf.Bytes(), want.Leaf.Bytes()) {
			t.Fatalf("leaf %d: %q, %v", i, leaf.Bytes(), err)
		}
		blob, err := s.Blob(i)
		if !bytes.Equal(blob, want.Blob) || (want.Blob == nil) != errors.Is(err, ErrNone) {
			t.Fatalf("blob %d: %q, %v", i, blob, err)
		}
		body, err := s.Body(i)
		if !bytes.Equal(body, want.Body) || (want.Body == nil) != errors.Is(err, ErrNone) {
			t.Fatalf("body %d: %q, %v", i, body, err)
		}
	}
	if _, err := s.Leaf(n); err == nil {
		t.Error("a leaf behind the last is found")
	}
	if segs, err := segments(folder(dir)); err != nil || segs < 3 {
		t.Errorf("%d segments, %v: the test wants some", segs, err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, dir) {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := os.FileMode(0o600); name != dir && fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, fi.Mode(), want)
		}
	}
	_, v := testKeys()
	sum, err := Verify(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[Type]int64{Incident: n}, sum.LeafCounts); diff != "" || sum.Tree != s.Tree() {
		t.Errorf("summary %+v\n%s", sum, diff)
	}
}

func TestProofs(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	var trees []tlog.Tree
	var leaves []tlog.Hash
	for i := range 33 {
		trees = append(trees, s.Tree())
		leaves = append(leaves, testEntry(t, i).Leaf.Hash())
		appendN(t, s, i, 1)
	}
	for _, tree := range trees[1:] {
		for i := range tree.N {
			p, err := s.ProveLeaf(i, tree.N)
			if err != nil {
				t.Fatal(err)
			}
			sent, err := wire.DecodeProof(wire.EncodeProof(p))
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(sent, tree.N, tree.Hash, i, leaves[i]); err != nil {
				t.Fatalf("leaf %d in %d: %v", i, tree.N, err)
			}
			if tlog.CheckRecord(sent, tree.N, tree.Hash, i, tlog.RecordHash([]byte("other"))) == nil {
				t.Fatal("a proof of another leaf is good")
			}
		}
		for _, old := range trees[1:tree.N] {
			p, err := s.ProveTree(old.N, tree.N)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(p, tree.N, tree.Hash, old.N, old.Hash); err != nil {
				t.Fatalf("%d in %d: %v", old.N, tree.N, err)
			}
		}
	}
	if p, err := s.ProveTree(0, 33); err != nil || len(p) != 0 {
		t.Errorf("proof from the empty tree: %v, %v", p, err)
	}
	for _, c := range [][2]int64{{33, 33}, {0, 34}, {-1, 3}} {
		if _, err := s.ProveLeaf(c[0], c[1]); err == nil {
			t.Errorf("leaf %d is proven in %d leaves", c[0], c[1])
		}
	}
	if _, err := s.ProveTree(3, 34); err == nil {
		t.Error("a tree larger than the log is proven")
	}
}

func TestOpenTwice(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := mustOpen(t, o)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("a second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), testEntry(t, 0)); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed store: %v", err)
	}
	mustOpen(t, o)
}

func TestBatchEntry(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 0, 7, 412_900_000, time.FixedZone("", 7*3600))
	e, err := BatchEntry("pc-an-thanh-01", strings.Repeat("5f", 16), 42, at, []byte("egovmon-batch/1\n"), []byte("zstd"))
	if err != nil {
		t.Fatal(err)
	}
	want := `egovmon-leaf/1 batch
body 86b1ba8c7a1d5a8e18a8a3b0d7ac0fca8e6c5d8bca3e6b8bbdfcf7aa1c7a1a00 4
journal 5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f
machine pc-an-thanh-01
received 2026-11-23T01:00:07.412Z
seq 42
blob ` + RefTo([]byte("egovmon-batch/1\n")).String() + "\n"
	want = strings.Replace(want, "86b1ba8c7a1d5a8e18a8a3b0d7ac0fca8e6c5d8bca3e6b8bbdfcf7aa1c7a1a00 4", RefTo([]byte("zstd")).String(), 1)
	if diff := cmp.Diff(want, string(e.Leaf.Bytes())); diff != "" {
		t.Error(diff)
	}
	if _, err := BatchEntry("m", "j", 1, at, nil, []byte("zstd")); err == nil {
		t.Error("a batch without a header")
	}
}
