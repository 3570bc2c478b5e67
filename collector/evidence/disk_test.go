package evidence

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

var errFault = errors.New("made to fail")

// A fault is what a memDisk does to one of the operations that change it.
type fault int

const (
	lost fault = iota // not done, and reported as failed
	kept              // done, but reported as failed
	torn              // a write done by half and reported as failed; like lost for other operations
)

func (f fault) String() string { return []string{"lost", "kept", "torn"}[f] }

// A memDisk is a disk in memory that knows what a power cut would leave.
type memDisk struct {
	mu     sync.Mutex
	names  map[string]*memData
	synced map[string]*memData // names after a power cut
	ops    int                 // changes so far
	failAt int                 // the change with this number fails; -1 for none
	fault  fault
	onSync func(name string) // called before each Sync of a file, without the lock
}

type memData struct{ data, synced []byte }

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*memData{}, synced: map[string]*memData{}, failAt: -1}
}

// change runs one operation under the lock, or makes it fail. by half is what torn leaves done.
func (d *memDisk) change(do, byHalf func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.ops
	d.ops++
	switch {
	case n != d.failAt:
		do()
		return nil
	case d.fault == kept:
		do()
	case d.fault == torn && byHalf != nil:
		byHalf()
	}
	return errFault
}

func (d *memDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m, ok := d.names[name]; ok {
		return &memFile{d, m, name}, nil
	}
	return nil, fs.ErrNotExist
}

func (d *memDisk) Create(name string) (file, error) {
	if f, err := d.Open(name); err == nil {
		return f, nil
	}
	m := &memData{}
	if err := d.change(func() { d.names[name] = m }, nil); err != nil {
		return nil, err
	}
	return &memFile{d, m, name}, nil
}

func (d *memDisk) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *memDisk) Rename(from, to string) error {
	return d.change(func() { d.names[to] = d.names[from]; delete(d.names, from) }, nil)
}

func (d *memDisk) Remove(name string) error {
	return d.change(func() { delete(d.names, name) }, nil)
}

func (d *memDisk) SyncNames() error {
	return d.change(func() { d.synced = maps.Clone(d.names) }, nil)
}

type memFile struct {
	d    *memDisk
	m    *memData
	name string
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := copy(p, f.m.data[min(off, int64(len(f.m.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	put := func(p []byte) {
		if need := off + int64(len(p)) - int64(len(f.m.data)); need > 0 {
			f.m.data = append(f.m.data, make([]byte, need)...)
		}
		copy(f.m.data[off:], p)
	}
	err := f.d.change(func() { put(p) }, func() { put(p[:len(p)/2]) })
	return len(p), err
}

func (f *memFile) Truncate(size int64) error {
	return f.d.change(func() {
		f.m.data = append(f.m.data[:min(size, int64(len(f.m.data)))], make([]byte, max(0, size-int64(len(f.m.data))))...)
	}, nil)
}

func (f *memFile) Sync() error {
	if f.d.onSync != nil {
		f.d.onSync(f.name)
	}
	return f.d.change(func() { f.m.synced = slices.Clone(f.m.data) }, nil)
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.m.data)), nil
}

func (f *memFile) Close() error { return nil }

// clone returns the disk as a kill of the process leaves it.
func (d *memDisk) clone() *memDisk {
	c := newMemDisk()
	for name, m := range d.names {
		c.names[name] = &memData{slices.Clone(m.data), slices.Clone(m.data)}
	}
	c.synced = maps.Clone(c.names)
	return c
}

// powerCut returns the disk as a power cut leaves it. Without rng nothing that was not synced survives; with it any
// part does, in blocks, and what was not written there is zero.
func (d *memDisk) powerCut(rng *rand.Rand) *memDisk {
	c := newMemDisk()
	names := d.synced
	if rng != nil && rng.IntN(2) == 0 {
		names = d.names
	}
	for name, m := range names {
		data := slices.Clone(m.synced)
		if rng != nil {
			data = survive(rng, m)
		}
		c.names[name] = &memData{data, slices.Clone(data)}
	}
	c.synced = maps.Clone(c.names)
	return c
}

func survive(rng *rand.Rand, m *memData) []byte {
	const block = 32
	short, long := min(len(m.data), len(m.synced)), max(len(m.data), len(m.synced))
	data := make([]byte, short+rng.IntN(long-short+1))
	copy(data, m.synced)
	for at := 0; at < len(data); at += block {
		if at < len(m.data) && rng.IntN(2) == 0 {
			copy(data[at:min(at+block, len(data))], m.data[at:])
		}
	}
	return data
}

// size returns the bytes in a file.
func (d *memDisk) size(t testing.TB, name string) int {
	t.Helper()
	m, ok := d.names[name]
	if !ok {
		t.Fatalf("no file %s", name)
	}
	return len(m.data)
}
