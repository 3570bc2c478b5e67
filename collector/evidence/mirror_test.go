package evidence

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

func mirrorOptions(t testing.TB, dir string) Options {
	t.Helper()
	_, v := testKeys()
	return Options{Dir: dir, Verifier: v, SegmentBytes: minSegment}
}

func mustMirror(t testing.TB, dir string) *Mirror {
	t.Helper()
	m, err := OpenMirror(mirrorOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return m
}

func reader(t testing.TB, dir string) *Store {
	t.Helper()
	_, v := testKeys()
	s, err := OpenReader(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A mirror takes what a log has that others write meanwhile, goes on where it was, and is a log by itself.
func TestMirror(t *testing.T) {
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "mirror")
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 40)
	r, m := reader(t, dir), mustMirror(t, to)
	for range 3 {
		if n, err := m.Sync(t.Context(), r, nil); err != nil || n != 40 && n != 0 {
			t.Fatalf("%d leaves, %v", n, err)
		}
	}
	checkLog(t, m.Store, 40)
	appendN(t, s, 40, 60)
	if r.Size() != 40 {
		t.Errorf("a reader went on by itself to %d leaves", r.Size())
	}
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	checkLog(t, r, 100)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = mustMirror(t, to)
	checkLog(t, m.Store, 40)
	if n, err := m.Sync(t.Context(), r, nil); err != nil || n != 60 {
		t.Fatalf("%d leaves, %v", n, err)
	}
	checkLog(t, m.Store, 100)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, v := testKeys()
	if sum, err := Verify(to, v); err != nil || sum.Tree != s.Tree() {
		t.Fatalf("the mirror is %v: %v", sum.Tree, err)
	}
	again := mustOpen(t, testOptions(t, to))
	checkLog(t, again, 100)
	appendN(t, again, 100, 1) // where the first is lost, the mirror takes its place
}

// A source that was rewritten, or set back, is told of, and the mirror keeps what it has.
func TestMirrorOfARewrittenLog(t *testing.T) {
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "mirror")
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 10)
	older := copyLog(t, dir)
	appendN(t, s, 10, 10)
	m := mustMirror(t, to)
	if _, err := m.Sync(t.Context(), reader(t, dir), nil); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, testOptions(t, older))
	if n, err := m.Sync(t.Context(), reader(t, older), nil); !errors.Is(err, ErrRewritten) || n != 0 {
		t.Errorf("set back: %d, %v", n, err)
	}
	for i := range 20 {
		if _, err := o.Append(t.Context(), testEntry(t, 100+i)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := m.Sync(t.Context(), reader(t, older), nil); !errors.Is(err, ErrRewritten) || n != 0 {
		t.Errorf("grown differently: %d, %v", n, err)
	}
	checkLog(t, m.Store, 20)
	appendN(t, s, 20, 1)
	if n, err := m.Sync(t.Context(), reader(t, dir), nil); err != nil || n != 1 {
		t.Errorf("the first log again: %d, %v", n, err)
	}
}

// A mirror that is stopped in the middle goes on from there, and shows no checkpoint that it does not hold.
func TestMirrorStopped(t *testing.T) {
	dir, to := t.TempDir(), filepath.Join(t.TempDir(), "mirror")
	s := mustOpen(t, testOptions(t, dir))
	var group []Entry
	for i := range copyLeaves + 500 {
		group = append(group, testEntry(t, i))
	}
	if _, err := s.Append(t.Context(), group...); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	m := mustMirror(t, to)
	if _, err := m.Sync(ctx, reader(t, dir), func(int64) { stop() }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if m.Size() != 0 {
		t.Errorf("%d leaves are shown without a checkpoint", m.Size())
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = mustMirror(t, to)
	if m.Size() != 0 {
		t.Errorf("%d leaves are shown without a checkpoint", m.Size())
	}
	if n, err := m.Sync(t.Context(), reader(t, dir), nil); err != nil || n != copyLeaves+500 {
		t.Fatalf("%d, %v", n, err)
	}
	checkLog(t, m.Store, copyLeaves+500)
}

// The parts of a log are a log, as it was when they were listed, whatever is appended meanwhile.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 57)
	parts, err := reader(t, dir).Parts()
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, s, 57, 60)
	to := t.TempDir()
	for _, p := range parts {
		f, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || int64(len(data)) != p.Size {
			t.Fatalf("%s: %d bytes, want %d, %v", p.Name, len(data), p.Size, err)
		}
		if err := os.WriteFile(filepath.Join(to, p.Name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkLog(t, mustOpen(t, testOptions(t, to)), 57)
}

func TestReaderWritesNothing(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	appendN(t, s, 0, 5)
	before := content(t, dir)
	r := reader(t, dir)
	if _, err := r.Append(t.Context(), testEntry(t, 5)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
	checkLog(t, r, 5)
	if after := content(t, dir); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("the folder has changed")
	}
	_, v := testKeys()
	if _, err := OpenReader(t.TempDir(), v); err == nil {
		t.Error("a folder without a log is opened")
	}
}

func content(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[n.Name()] = b
	}
	return out
}

// succession signs one that goes from a log on, and returns the options of the next.
func succession(t testing.TB, s *Store, dir string, recovery note.Signer, change func(*wire.Succession)) (Options, []byte) {
	t.Helper()
	n, _ := wire.LogNumber("tu-ky", s.Origin())
	signer, v, text := newKeys(t, wire.LogName("tu-ky", n+1))
	x := wire.Succession{Old: s.Origin(), Tree: s.Tree(), New: signer.Name(), Key: text, At: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Why: "đĩa hỏng"}
	if change != nil {
		change(&x)
	}
	msg, err := note.Sign(&note.Note{Text: x.Text()}, recovery)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Dir: dir, Origin: v.Name(), Signer: signer, Verifier: v, SegmentBytes: minSegment}, msg
}

func newKeys(t testing.TB, name string) (note.Signer, note.Verifier, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v, vkey
}

// A successor holds every leaf of the log before it, and proves that log with them; so does the one after it.
func TestSucceed(t *testing.T) {
	recovery, rv, _ := newKeys(t, "egovmon/tu-ky/recovery")
	first := mustOpen(t, testOptions(t, t.TempDir()))
	appendN(t, first, 0, 300)
	old := first
	for i := range 2 {
		o, msg := succession(t, old, filepath.Join(t.TempDir(), "log"), recovery, nil)
		told := int64(0)
		if err := Succeed(t.Context(), old, o, msg, rv, func(n int64) { told = n }); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, o)
		if s.Size() != old.Size()+1 || told != old.Size() {
			t.Fatalf("%d leaves after %d, told of %d", s.Size(), old.Size(), told)
		}
		l, err := s.Leaf(0)
		if err != nil || l.Field("old") != old.Origin() || l.Field("size") == "" || l.Field("why") != "đĩa hỏng" {
			t.Errorf("first leaf %q, %v", l.Bytes(), err)
		}
		var right roots
		for e, err := range s.Entries(0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Index > 0 {
				right.add(e.Leaf.Hash())
			}
			if n := int(e.Index) - i - 1; n >= 0 {
				if want := testEntry(t, n); !bytes.Equal(e.Blob, want.Blob) || !bytes.Equal(e.Body, want.Body) || !bytes.Equal(e.Leaf.Bytes(), want.Leaf.Bytes()) {
					t.Fatalf("entry %d is not that of the old log", e.Index)
				}
			}
		}
		if right.tree() != old.Tree() {
			t.Error("the new log does not prove the old one")
		}
		notes, err := Successions(s)
		if err != nil || len(notes) != i+1 || !bytes.Equal(notes[i], msg) {
			t.Errorf("%d successions, %v", len(notes), err)
		}
		for n := range notes {
			if x, err := wire.OpenSuccession(notes[n], rv); err != nil || x.New != wire.LogName("tu-ky", n+2) {
				t.Errorf("succession %d leads to %s: %v", n, x.New, err)
			}
		}
		old = s
	}
	if notes, err := Successions(first); err != nil || len(notes) != 0 {
		t.Errorf("the first log has %d successions, %v", len(notes), err)
	}
}

func TestSucceedRefuses(t *testing.T) {
	recovery, rv, _ := newKeys(t, "egovmon/tu-ky/recovery")
	stranger, _, _ := newKeys(t, "egovmon/tu-ky/recovery")
	old := mustOpen(t, testOptions(t, t.TempDir()))
	appendN(t, old, 0, 3)
	for name, tt := range map[string]struct {
		signer note.Signer
		change func(*wire.Succession)
	}{
		"signed by another key": {stranger, nil},
		"of fewer leaves":       {recovery, func(s *wire.Succession) { s.Tree.N-- }},
		"of another root":       {recovery, func(s *wire.Succession) { s.Tree.Hash = tlog.Hash{} }},
		"of another log":        {recovery, func(s *wire.Succession) { s.Old = "egovmon/khac/log/1" }},
	} {
		dir := filepath.Join(t.TempDir(), "log")
		o, msg := succession(t, old, dir, tt.signer, tt.change)
		if err := Succeed(t.Context(), old, o, msg, rv, nil); err == nil {
			t.Errorf("%s: a log was made", name)
		}
		if entries, err := os.ReadDir(dir); err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == segmentName(0) }) {
			t.Errorf("%s: something was written", name)
		}
	}
	o, msg := succession(t, old, t.TempDir(), recovery, nil)
	if err := Succeed(t.Context(), old, o, msg, rv, nil); err != nil {
		t.Fatal(err)
	}
	if err := Succeed(t.Context(), old, o, msg, rv, nil); err == nil {
		t.Error("a log was made on top of another")
	}
}
