package journal

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// errMedium is what a disk says that fails; errFull what one says that has no room.
var (
	errMedium = errors.New("input/output error")
	errFull   = &os.PathError{Op: "write", Path: "test", Err: syscall.ENOSPC}
)

// quickDir is a temporary folder in memory, where there is one: what is durable is the lab's affair.
func quickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "egovmon-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A fault is what a lab does to operations.
type fault int

const (
	refused fault = iota // nothing happens, and an error comes back
	kept                 // it happens, and an error comes back all the same
	short                // half of a write happens, and an error comes back; nothing of another operation
	first                // the first one happens, those after it do not, and an error comes back each time
)

func (f fault) String() string {
	return [...]string{"refused", "kept", "cut short", "refused but the first"}[f]
}

// A lab is a disk in a folder that fails when it is told to, and that knows what of its content would survive a power
// cut: of a file what was there at its last sync, of the names those of the last SyncDir. The folder itself holds what
// a running program sees, and what a kill leaves.
type lab struct {
	folder
	names map[string]*node // as the program sees them
	kept  map[string]*node // durable ones
	size  int64            // bytes of all files that fit; 0 for any number

	count    int // operations so far
	from, to int // those that fail: [from, to); from 0 for none
	fault    fault
	only     string          // part of the operations that fail; "" for all
	after    func(op string) // called behind each operation
}

// A node is a file without a name.
type node struct {
	durable []byte
	changes []change
}

// A change is a write at an offset, or, with data nil, a cut to it.
type change struct {
	at   int64
	data []byte
}

func newLab(t testing.TB, dir string) *lab {
	t.Helper()
	d := &lab{folder: folder(dir), names: make(map[string]*node)}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		d.names[e.Name()] = &node{durable: b}
	}
	d.kept = maps.Clone(d.names)
	return d
}

// do counts an operation and lets it happen or not.
func (d *lab) do(op string, happen func() error) error {
	d.count++
	var err error
	if fails := d.from > 0 && d.count >= d.from && d.count < d.to && strings.Contains(op, d.only); !fails {
		err = happen()
	} else if err = errMedium; d.fault == kept || d.fault == first && d.count == d.from {
		err = errors.Join(happen(), errMedium)
	}
	if d.after != nil {
		d.after(fmt.Sprintf("%d: %s", d.count, op))
	}
	return err
}

func (d *lab) Create(name string) (file, error) {
	var f file
	err := d.do("create "+name, func() (err error) {
		if f, err = d.folder.Create(name); err == nil {
			d.names[name] = new(node)
		}
		return err
	})
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	return &labFile{f, d, d.names[name], name, 0}, nil
}

func (d *lab) Append(name string, size int64) (file, error) {
	var f file
	err := d.do("open "+name, func() (err error) {
		if f, err = d.folder.Append(name, size); err == nil {
			d.names[name].changes = append(d.names[name].changes, change{size, nil})
		}
		return err
	})
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	return &labFile{f, d, d.names[name], name, size}, nil
}

func (d *lab) Rename(from, to string) error {
	return d.do("rename "+from+" "+to, func() error {
		d.names[to] = d.names[from]
		delete(d.names, from)
		return d.folder.Rename(from, to)
	})
}

func (d *lab) Remove(name string) error {
	return d.do("remove "+name, func() error {
		delete(d.names, name)
		return d.folder.Remove(name)
	})
}

func (d *lab) SyncDir() error {
	return d.do("sync folder", func() error { d.kept = maps.Clone(d.names); return nil })
}

type labFile struct {
	file
	d    *lab
	n    *node
	name string
	at   int64
}

func (f *labFile) Write(b []byte) (n int, err error) {
	write := func(b []byte) {
		var m int
		if m, err = f.file.Write(b); m > 0 {
			f.n.changes = append(f.n.changes, change{f.at, slices.Clone(b[:m])})
		}
		f.at, n = f.at+int64(m), m
	}
	happened := false
	e := f.d.do(fmt.Sprintf("write %s, %d bytes", f.name, len(b)), func() error {
		happened = true
		if room := f.d.size - f.d.used(); f.d.size > 0 && int64(len(b)) > room {
			write(b[:max(0, room)])
			return errors.Join(err, errFull)
		}
		write(b)
		return err
	})
	if !happened && f.d.fault == short {
		write(b[:len(b)/2])
	}
	return n, errors.Join(err, e)
}

// used is how many bytes all files take.
func (d *lab) used() (n int64) {
	for name := range d.names {
		if st, err := os.Stat(filepath.Join(string(d.folder), name)); err == nil {
			n += st.Size()
		}
	}
	return n
}

func (f *labFile) Sync() error {
	return f.d.do("sync "+f.name, func() error {
		f.n.durable, f.n.changes = f.n.content(len(f.n.changes), whole), nil
		return nil
	})
}

func (f *labFile) Truncate(size int64) error {
	return f.d.do(fmt.Sprintf("cut %s to %d bytes", f.name, size), func() error {
		f.n.changes = append(f.n.changes, change{size, nil})
		return f.file.Truncate(size)
	})
}

func (f *labFile) Seek(offset int64, whence int) (int64, error) {
	f.at = offset
	if whence != io.SeekStart {
		return 0, errors.New("the lab seeks from the start only")
	}
	return f.file.Seek(offset, whence)
}

// A last is what becomes of the last write that survives.
type last int

const (
	whole last = iota
	torn       // half of it is there
	holes      // its place is there, and empty
)

// content is what a node holds after the first n of its changes.
func (f *node) content(n int, how last) []byte {
	b := slices.Clone(f.durable)
	for i, c := range f.changes[:n] {
		data := c.data
		if i == n-1 && how == torn {
			data = data[:len(data)/2]
		}
		if c.data == nil {
			if int64(len(b)) > c.at {
				b = b[:c.at]
			}
			continue
		}
		if i == n-1 && how == holes {
			data = make([]byte, len(data))
		}
		if need := c.at + int64(len(data)); int64(len(b)) < need {
			b = append(b, make([]byte, need-int64(len(b)))...)
		}
		copy(b[c.at:], data)
	}
	return b
}

// A cut says what a power cut leaves of what was not synced.
type cut struct {
	name  string
	names bool // new, moved and removed names
	data  bool // writes
	last  last
}

var cuts = []cut{
	{"kill: everything is there", true, true, whole},
	{"nothing unsynced is there", false, false, whole},
	{"names are there, data is not", true, false, whole},
	{"data is there, names are not", false, true, whole},
	{"the last write is torn", true, true, torn},
	{"the last write left a hole", true, true, holes},
}

// crash writes what a power cut leaves to a folder.
func (d *lab) crash(t testing.TB, dir string, c cut) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	names := d.kept
	if c.names {
		names = d.names
	}
	for name, f := range names {
		n := 0
		if c.data {
			n = len(f.changes)
		}
		if err := os.WriteFile(filepath.Join(dir, name), f.content(n, c.last), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
