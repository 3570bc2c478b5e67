package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A memDisk keeps apart what is written and what is durable. At change number failAt it fails, before or after the
// change was made.
type memDisk struct {
	names  map[string]*memFile // as programs see them
	synced map[string]*memFile // as a power cut leaves them at least
	ops    int
	failAt int
	kept   bool // the change that fails is made all the same
}

type memFile struct {
	d               *memDisk
	written, synced []byte
}

var errFault = errors.New("fault")

// change makes one change, or fails.
func (d *memDisk) change(f func()) error {
	n := d.ops
	d.ops++
	if n == d.failAt {
		if d.kept {
			f()
		}
		return errFault
	}
	f()
	return nil
}

func (d *memDisk) Create(name string) (File, error) {
	f := &memFile{d: d}
	if err := d.change(func() { d.names[name] = f }); err != nil {
		return nil, err
	}
	return f, nil
}

func (d *memDisk) Rename(from, to string) error {
	return d.change(func() { d.names[to] = d.names[from]; delete(d.names, from) })
}

func (d *memDisk) SyncNames() error { return d.change(func() { d.synced = maps.Clone(d.names) }) }

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	half := len(p) / 2
	f.written = append(f.written[:off], p[:half]...)
	err := f.d.change(func() { f.written = append(f.written, p[half:]...) })
	return len(p), err
}

func (f *memFile) Sync() error {
	return f.d.change(func() { f.synced = bytes.Clone(f.written) })
}

func (f *memFile) Close() error { return f.d.change(func() {}) }

// outcomes lists what a file may hold: after a kill, and after a power cut with and without the names that were not
// synced. Content that was not synced is lost but for its first half.
func (d *memDisk) outcomes(name string) []string {
	all := []string{string(d.names[name].written)}
	for _, names := range []map[string]*memFile{d.names, d.synced} {
		f := names[name]
		if bytes.Equal(f.synced, f.written) {
			all = append(all, string(f.synced))
			continue
		}
		all = append(all, string(f.written[:len(f.written)/2]))
	}
	return all
}

func oldDisk() *memDisk {
	old := &memFile{written: []byte("the old content"), synced: []byte("the old content")}
	d := &memDisk{names: map[string]*memFile{"f": old}, failAt: -1}
	old.d, d.synced = d, maps.Clone(d.names)
	return d
}

// A crash at any step, and a step that fails in either way, leaves the old content or the new one; once Replace has
// returned nil it is the new one.
func TestReplaceIn(t *testing.T) {
	good := oldDisk()
	if err := ReplaceIn(good, "f", []byte("the new content")); err != nil {
		t.Fatal(err)
	}
	if got, want := good.outcomes("f"), []string{"the new content", "the new content", "the new content"}; !cmp.Equal(got, want) {
		t.Errorf("done, and a crash leaves %q", got)
	}
	if good.ops < 6 {
		t.Fatalf("%d changes: create, write, sync, close, rename and sync of names were expected", good.ops)
	}
	for n := range good.ops {
		for _, kept := range []bool{false, true} {
			d := oldDisk()
			d.failAt, d.kept = n, kept
			if err := ReplaceIn(d, "f", []byte("the new content")); !errors.Is(err, errFault) {
				t.Errorf("change %d failed, and the error is %v", n, err)
			}
			for _, got := range d.outcomes("f") {
				if got != "the old content" && got != "the new content" {
					t.Errorf("change %d (made %t): a crash leaves %q", n, kept, got)
				}
			}
		}
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "f")
	if err := Replace(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: %v", err)
	}
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "", "three"} {
		if err := Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, 5); err != nil || string(got) != text {
			t.Errorf("read %q, %v; want %q", got, err, text)
		}
	}
	if _, err := Read(path, 4); err == nil {
		t.Error("a file beyond the limit was read")
	}
	// A folder in the way: the rename fails, and nothing is left behind.
	dir := filepath.Join(filepath.Dir(path), "taken")
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(dir, []byte("no")); err == nil {
		t.Error("a folder was replaced")
	}
	if left := names(t, filepath.Dir(path)); !cmp.Equal(left, []string{"f", "taken"}) {
		t.Errorf("left behind: %v", left)
	}
}

// Those who write at the same time do not mix what they write.
func TestReplaceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if err := Replace(path, bytes.Repeat([]byte{byte('a' + i)}, 1000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || len(got) != 1000 || strings.Trim(string(got), string(got[:1])) != "" {
		t.Errorf("%d bytes of several writers (%v)", len(got), err)
	}
	if left := names(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"f", "f.123.new", "g.456.new", "h.new"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-2 * time.Hour)
		if i == 2 {
			at = time.Now()
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{"f", "g.456.new", "h.new"}; !cmp.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
