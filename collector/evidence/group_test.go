package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// TestGroupCommit holds the first append in its sync: those that come meanwhile share one, and one whose caller gives
// up is taken back.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s, err := open(testOptions(t, "mem"), d)
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		syncs := 0
		d.onSync = func(name string) {
			if strings.HasPrefix(name, segmentPrefix) {
				syncs++
				<-hold
			}
		}
		var wg sync.WaitGroup
		add := func(ctx context.Context, i int, want error) {
			wg.Go(func() {
				if _, err := s.Append(ctx, testEntry(t, i)); !errors.Is(err, want) {
					t.Errorf("append %d: %v, want %v", i, err, want)
				}
			})
			synctest.Wait() // it is in the sync, or queued
		}
		ctx, cancel := context.WithCancel(t.Context())
		add(ctx, 0, nil) // under way when ctx ends: it waits for the outcome
		for i := 1; i < 10; i++ {
			add(t.Context(), i, nil)
		}
		add(ctx, 99, context.Canceled)
		add(t.Context(), 10, nil)
		cancel()
		synctest.Wait()
		if s.Size() != 0 || len(s.queue) != 10 {
			t.Errorf("before the sync: size %d, %d wait", s.Size(), len(s.queue))
		}
		close(hold)
		wg.Wait()
		if syncs != 2 {
			t.Errorf("%d syncs for 11 appends, want 2", syncs)
		}
		checkLog(t, s, 11)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCloseWhileWaiting closes the store while one append is in its sync and another waits.
func TestCloseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s, err := open(testOptions(t, "mem"), d)
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		d.onSync = func(name string) {
			if strings.HasPrefix(name, segmentPrefix) {
				<-hold
			}
		}
		var wg sync.WaitGroup
		for i, want := range []error{nil, ErrClosed} {
			wg.Go(func() {
				if _, err := s.Append(t.Context(), testEntry(t, i)); !errors.Is(err, want) {
					t.Errorf("append %d: %v, want %v", i, err, want)
				}
			})
			synctest.Wait()
		}
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(hold)
		wg.Wait()
		d.onSync = nil
		s, err = open(testOptions(t, "mem"), d)
		if err != nil {
			t.Fatal(err)
		}
		checkLog(t, s, 1)
	})
}

// TestConcurrent appends from many sides while others read what is there, in every way that there is.
func TestConcurrent(t *testing.T) {
	const writers, each = 8, 40
	dir := t.TempDir()
	s := mustOpen(t, testOptions(t, dir))
	_, v := testKeys()
	handler := s.Handler()
	var done atomic.Bool
	var readers, appends sync.WaitGroup
	reader := func(read func(size int64, tree tlog.Tree) error) {
		readers.Go(func() {
			for !done.Load() {
				if tree := s.Tree(); tree.N > 0 {
					if err := read(tree.N, tree); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	reader(func(size int64, _ tlog.Tree) error {
		n := max(0, size-20)
		for e, err := range s.Entries(n) {
			if err != nil {
				return err
			}
			if e.Index != n {
				return fmt.Errorf("entry %d, want %d", e.Index, n)
			}
			n++
		}
		if n < size {
			return fmt.Errorf("%d entries, want at least %d", n, size)
		}
		return nil
	})
	reader(func(size int64, tree tlog.Tree) error {
		leaf, err := s.Leaf(size - 1)
		if err != nil {
			return err
		}
		p, err := s.ProveLeaf(size-1, size)
		if err != nil {
			return err
		}
		return tlog.CheckRecord(p, size, tree.Hash, size-1, leaf.Hash())
	})
	reader(func(size int64, _ tlog.Tree) error {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/tile/entries/000.p/1", nil))
		if w.Code != 200 {
			return fmt.Errorf("tile: %d %s", w.Code, w.Body)
		}
		_, err := Verify(dir, v)
		return err
	})
	for w := range writers {
		appends.Go(func() {
			for i := range each {
				e, err := NewEntry(Batch, map[string]string{"writer": fmt.Sprint(w), "seq": fmt.Sprint(i)}, []byte("header"), []byte("body"))
				if err != nil {
					t.Error(err)
				}
				first, err := s.Append(t.Context(), e, e)
				if err != nil {
					t.Error(err)
					return
				}
				msg, err := note.Open(s.Checkpoint(), note.VerifierList(v))
				if err != nil {
					t.Error(err)
					return
				}
				if _, tree, err := wire.ParseCheckpoint(msg.Text); err != nil || tree.N < first+2 {
					t.Errorf("leaf %d is acknowledged, the checkpoint has %d leaves (%v)", first+1, tree.N, err)
				}
			}
		})
	}
	appends.Wait()
	done.Store(true)
	readers.Wait()
	next := map[string]int{}
	for e, err := range s.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		w := e.Leaf.Field("writer")
		if got, want := e.Leaf.Field("seq"), fmt.Sprint(next[w]/2); got != want {
			t.Fatalf("leaf %d: writer %s has seq %s, want %s", e.Index, w, got, want)
		}
		next[w]++
	}
	if s.Size() != 2*writers*each {
		t.Errorf("%d leaves, want %d", s.Size(), 2*writers*each)
	}
}

// TestAppendRefuses gives entries that do not hold together; none gets in, nor does what came with it.
func TestAppendRefuses(t *testing.T) {
	s := mustOpen(t, testOptions(t, t.TempDir()))
	good := testEntry(t, 0)
	tests := []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"nothing", nil, "at least one"},
		{"no leaf", []Entry{good, {Blob: []byte("x")}}, "entry 2 of 2: the leaf is empty"},
		{"another blob", []Entry{{Leaf: good.Leaf, Blob: []byte("header of 1"), Body: good.Body}}, "another SHA-256"},
		{"no body", []Entry{{Leaf: good.Leaf, Blob: good.Blob}}, "body has 0 bytes"},
		{"a body that the leaf does not name", []Entry{{Leaf: testEntry(t, 1).Leaf, Blob: testEntry(t, 1).Blob, Body: []byte("x")}}, "names no body"},
	}
	for _, tt := range tests {
		if _, err := s.Append(t.Context(), tt.entries...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, good); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if n := s.Size(); n > 1 {
		t.Errorf("%d leaves", n)
	}
}

// TestFullDisk lets writes fail until there is room again: the store goes on without being opened anew.
func TestFullDisk(t *testing.T) {
	d := newMemDisk()
	s, err := open(testOptions(t, "mem"), d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, s, 0, 3)
	for i := range 3 {
		d.failAt, d.fault = d.ops, torn // the write to the segment
		if _, err := s.Append(t.Context(), testEntry(t, 3)); !errors.Is(err, errFault) || errors.Is(err, ErrStopped) {
			t.Fatalf("round %d: %v", i, err)
		}
		checkLog(t, s, 3)
	}
	appendN(t, s, 3, 1)
	checkLog(t, s, 4)
	// Every other step up to the checkpoint's rename may find no room too: what fails is not in the log, and what is
	// there is served and can be opened.
	for step := 2; ; step++ {
		d.failAt, d.fault = d.ops+step, torn
		_, err := s.Append(t.Context(), testEntry(t, 4))
		if err == nil || errors.Is(err, ErrStopped) {
			if step < 6 {
				t.Errorf("step %d: %v", step, err)
			}
			break
		}
		checkLog(t, s, 4)
		again, err := open(testOptions(t, "mem"), d.clone())
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		checkLog(t, again, 4)
	}
	d = newMemDisk()
	if s, err = open(testOptions(t, "mem"), d); err != nil {
		t.Fatal(err)
	}
	appendN(t, s, 0, 4)
	d.failAt, d.fault = d.ops+1, lost // the sync of the segment: nothing is known any more
	if _, err := s.Append(t.Context(), testEntry(t, 4)); !errors.Is(err, ErrStopped) {
		t.Fatalf("a failed sync: %v", err)
	}
	if _, err := s.Append(t.Context(), testEntry(t, 4)); !errors.Is(err, ErrStopped) {
		t.Fatalf("after a failed sync: %v", err)
	}
	checkLog(t, s, 4)
}

func TestOptions(t *testing.T) {
	o := testOptions(t, t.TempDir())
	mustOpen(t, o).Close()
	other, otherV, err := note.GenerateKey(strings.NewReader(strings.Repeat("x", 64)), testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	otherSigner, err := note.NewSigner(other)
	if err != nil {
		t.Fatal(err)
	}
	otherVerifier, err := note.NewVerifier(otherV)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"no key", func(o *Options) { o.Signer = nil }, "a signer and a verifier"},
		{"other origin", func(o *Options) { o.Origin = "egovmon/tu-ky/log/2" }, "not of one log"},
		{"keys apart", func(o *Options) { o.Signer = otherSigner }, "not of one log"},
		{"another key", func(o *Options) { o.Signer, o.Verifier = otherSigner, otherVerifier }, "another key"},
		{"tiny segments", func(o *Options) { o.SegmentBytes = 1 }, "choose from"},
		{"a file for a folder", func(o *Options) { o.Dir += "/lock" }, "not a directory"},
	}
	for _, tt := range tests {
		bad := o
		tt.set(&bad)
		if s, err := Open(bad); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			if err == nil {
				s.Close()
			}
		}
	}
	mustOpen(t, o)
}

var _ io.Closer = (*Store)(nil)
