package evidence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// A run is the work that the faults are tried on: it appends until all is in or the disk fails for good.
type run struct {
	acked tlog.Tree // that the last good answer covers
	err   error
}

const runLeaves = 24

// work opens the log on d and appends, in groups of one to three leaves, what is not yet in it. Half way it opens the
// log anew. A failed append is tried again at once, as an agent would.
func work(t *testing.T, d disk) (r run) {
	t.Helper()
	var s *Store
	for pass := range 2 {
		if s, r.err = open(testOptions(t, "mem"), d); r.err != nil {
			return r
		}
		if s.Tree().N < r.acked.N {
			t.Fatalf("opened with %d leaves, acknowledged were %d", s.Size(), r.acked.N)
		}
		for s.Size() < int64(runLeaves/2*(pass+1)) {
			from := int(s.Size())
			var group []Entry
			for i := from; i < min(from+1+from%3, runLeaves); i++ {
				group = append(group, testEntry(t, i))
			}
			first, err := s.Append(t.Context(), group...)
			if errors.Is(err, ErrStopped) {
				r.err = err
				return r
			}
			if err != nil {
				if s.Size() != int64(from) {
					t.Fatalf("the append failed (%v), but the log grew from %d to %d", err, from, s.Size())
				}
				continue
			}
			if first != int64(from) || s.Size() != int64(from+len(group)) {
				t.Fatalf("appended %d leaves at %d, size %d; want them at %d", len(group), first, s.Size(), from)
			}
			r.acked = s.Tree()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// checkAfter opens what a fault and a crash left and checks that nothing acknowledged is missing or other, that what
// else is there was really brought, in whole groups, and that the work can be ended.
func checkAfter(t *testing.T, d *memDisk, r run) {
	t.Helper()
	_, v := testKeys()
	if _, signed, _, err := readCheckpoint(d, v); err != nil || signed.N < r.acked.N {
		t.Fatalf("the checkpoint on disk has %d leaves, but %d were acknowledged (%v)", signed.N, r.acked.N, err)
	}
	s, err := open(testOptions(t, "mem"), d)
	if err != nil {
		t.Fatalf("reopen: %v", err)
	}
	if s.Size() < r.acked.N {
		t.Fatalf("%d leaves, but %d were acknowledged", s.Size(), r.acked.N)
	}
	was, err := tlog.TreeHash(r.acked.N, s.tree.hashes)
	if err != nil || (r.acked.N > 0 && was != r.acked.Hash) {
		t.Fatalf("the tree of %d leaves is not the one acknowledged (%v)", r.acked.N, err)
	}
	whole := int64(0)
	for whole < min(s.Size(), runLeaves) {
		whole = min(whole+1+whole%3, runLeaves)
	}
	if whole != s.Size() {
		t.Fatalf("%d leaves: a group is there in part", s.Size())
	}
	checkLog(t, s, int(s.Size()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r := work(t, d); r.err != nil {
		t.Fatalf("going on: %v", r.err)
	}
	if sum, err := verify(d, v); err != nil || sum.Tree.N != runLeaves {
		t.Fatalf("verify: %d leaves, %v", sum.Tree.N, err)
	}
}

// TestFaults breaks each change of the disk in three ways, lets the process die or the power fail, and opens again.
func TestFaults(t *testing.T) {
	faults, stopped := 0, 0
	for _, f := range []fault{lost, kept, torn} {
		for n := 0; ; n++ {
			d := newMemDisk()
			d.failAt, d.fault = n, f
			r := work(t, d)
			if d.ops <= n {
				break // the work was over before
			}
			faults++
			if r.err != nil {
				stopped++
				if !errors.Is(r.err, errFault) {
					t.Errorf("%v at change %d: %v", f, n, r.err)
				}
			}
			name := fmt.Sprintf("%v/%d", f, n)
			t.Run(name+"/killed", func(t *testing.T) { checkAfter(t, d.clone(), r) })
			t.Run(name+"/power cut", func(t *testing.T) { checkAfter(t, d.powerCut(nil), r) })
			t.Run(name+"/power cut in parts", func(t *testing.T) {
				checkAfter(t, d.powerCut(rand.New(rand.NewPCG(uint64(f), uint64(n)))), r)
			})
		}
	}
	if faults < 200 || stopped < 100 || faults-stopped < 30 {
		t.Errorf("%d faults, %d of them stopped the store: the work is too small to show anything", faults, stopped)
	}
}

// TestPowerCutAnywhere cuts the power before each change, with no fault before.
func TestPowerCutAnywhere(t *testing.T) {
	for n := 0; ; n++ {
		d := newMemDisk()
		d.failAt, d.fault = n, lost
		var before *memDisk
		r := work(t, stopAt{d, &before})
		if before == nil {
			break
		}
		for seed := range uint64(2) {
			checkAfter(t, before.powerCut(rand.New(rand.NewPCG(seed, uint64(n)))), r)
		}
	}
}

// A stopAt is a memDisk that has no further changes once one has failed: the machine is off.
type stopAt struct {
	*memDisk
	off **memDisk
}

func (d stopAt) check(err error) error {
	if errors.Is(err, errFault) {
		*d.off = d.memDisk
		d.failAt = d.ops // the next one fails too
	}
	return err
}

func (d stopAt) Create(name string) (file, error) {
	f, err := d.memDisk.Create(name)
	if err != nil {
		return nil, d.check(err)
	}
	return stopFile{f, d}, nil
}
func (d stopAt) Rename(from, to string) error { return d.check(d.memDisk.Rename(from, to)) }
func (d stopAt) Remove(name string) error     { return d.check(d.memDisk.Remove(name)) }
func (d stopAt) SyncNames() error             { return d.check(d.memDisk.SyncNames()) }

type stopFile struct {
	file
	d stopAt
}

func (f stopFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	return n, f.d.check(err)
}
func (f stopFile) Truncate(size int64) error { return f.d.check(f.file.Truncate(size)) }
func (f stopFile) Sync() error               { return f.d.check(f.file.Sync()) }

// small returns a disk with a log of n leaves, one to a group, and the tree after each.
func small(t *testing.T, n int) (*memDisk, []*memDisk) {
	t.Helper()
	d := newMemDisk()
	s, err := open(testOptions(t, "mem"), d)
	if err != nil {
		t.Fatal(err)
	}
	states := []*memDisk{d.clone()}
	for i := range n {
		appendN(t, s, i, 1)
		states = append(states, d.clone())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return d, states
}

// TestTornTail cuts the last segment at every byte of its last group: once the group is not yet in the checkpoint,
// then it goes and the log is as before; once it is, then Open must refuse.
func TestTornTail(t *testing.T) {
	rotating := 1 // the leaf that begins the second segment
	for segmentsOf(t, rotating) == 1 {
		rotating++
	}
	for _, n := range []int{1, rotating} {
		d, states := small(t, n)
		before := states[n-1]
		count, err := segments(d)
		if err != nil {
			t.Fatal(err)
		}
		name := segmentName(count - 1)
		start := 0
		if old, ok := before.names[name]; ok {
			start = len(old.data)
		}
		whole := d.size(t, name)
		for end := start; end < whole; end++ {
			for _, fill := range []int{0, whole - end} { // what a file system may leave behind the end: zeros
				c := d.clone()
				c.names[name].data = append(c.names[name].data[:end], make([]byte, fill)...)
				acknowledged := c.clone()
				c.names[checkpointFile] = before.names[checkpointFile]
				s, err := open(testOptions(t, "mem"), c.clone())
				if err != nil {
					t.Fatalf("%d of %d bytes: %v", end, whole, err)
				}
				checkLog(t, s, n-1)
				appendN(t, s, n-1, 1)
				checkLog(t, s, n)
				_, err = open(testOptions(t, "mem"), acknowledged)
				if err == nil || !strings.Contains(err.Error(), "acknowledged") || !strings.Contains(err.Error(), name) {
					t.Fatalf("%d of %d bytes, acknowledged: %v", end, whole, err)
				}
			}
		}
	}
}

func segmentsOf(t *testing.T, n int) int {
	t.Helper()
	d, _ := small(t, n)
	count, err := segments(d)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// TestLost takes whole files away.
func TestLost(t *testing.T) {
	const n = 50
	d, states := small(t, n)
	_, v := testKeys()
	last := segmentName(segmentsOf(t, n) - 1)
	tests := []struct {
		name  string
		spoil func(*memDisk)
		want  string // in the error; "" if Open mends it
	}{
		{"hashes", func(d *memDisk) { delete(d.names, hashesFile) }, ""},
		{"index", func(d *memDisk) { delete(d.names, indexFile) }, ""},
		{"hashes cut", func(d *memDisk) { d.names[hashesFile].data = d.names[hashesFile].data[:100] }, ""},
		{"hashes zeroed", func(d *memDisk) { clear(d.names[hashesFile].data) }, ""},
		{"new checkpoint", func(d *memDisk) { d.names["checkpoint.new"] = &memData{data: []byte("half a ch")} }, ""},
		{"older checkpoint", func(d *memDisk) { d.names[checkpointFile] = states[n-1].names[checkpointFile] }, ""},
		{"checkpoint", func(d *memDisk) { delete(d.names, checkpointFile) }, "no checkpoint"},
		{"checkpoint cut", func(d *memDisk) { d.names[checkpointFile].data = d.names[checkpointFile].data[:40] }, "damaged"},
		{"first segment", func(d *memDisk) { delete(d.names, segmentName(0)) }, "put the missing ones back"},
		{"last segment", func(d *memDisk) { delete(d.names, last) }, "the newest are lost"},
		{"last leaf", func(d *memDisk) {
			d.names[last] = states[n-1].names[last]
		}, "the newest are lost"},
		{"first segment of another log", func(d *memDisk) {
			delete(d.names, hashesFile)
			m := d.names[segmentName(0)]
			m.data = slices.Concat(appendFrame(nil, kindHeader, segmentHeader(0, "egovmon/x/log/1", tlog.Tree{})), m.data)
		}, "the header is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := d.clone()
			tt.spoil(c)
			c = c.clone()
			s, err := open(testOptions(t, "mem"), c)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("opened: %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkLog(t, s, n)
			if _, err := verify(c, v); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFlippedBits spoils every byte of every file in turn: Verify finds each, and nothing is read wrongly.
func TestFlippedBits(t *testing.T) {
	const n = 8
	d, _ := small(t, n)
	_, v := testKeys()
	opened := 0
	for name, m := range d.names {
		for at := range m.data {
			m.data[at] ^= 1 << (at % 8)
			_, err := verify(d, v)
			if err == nil {
				t.Fatalf("%s: byte %d is spoilt, and Verify finds nothing", name, at)
			}
			if !strings.Contains(err.Error(), name) {
				t.Fatalf("%s: byte %d: the error names another file: %v", name, at, err)
			}
			if at%3 != 0 {
				m.data[at] ^= 1 << (at % 8)
				continue // opening takes longer
			}
			if s, err := open(testOptions(t, "mem"), d.clone()); err == nil {
				opened++
				readAll(t, s, n)
			}
			m.data[at] ^= 1 << (at % 8)
		}
	}
	if opened == 0 {
		t.Error("no spoilt log could be opened, so the reading was not tested")
	}
}

// readAll reads every entry in both ways; each is an error or right.
func readAll(t *testing.T, s *Store, n int) {
	t.Helper()
	for e, err := range s.Entries(0) {
		if err == nil && string(e.Leaf.Bytes()) != string(testEntry(t, int(e.Index)).Leaf.Bytes()) {
			t.Fatalf("entry %d is another one", e.Index)
		}
	}
	for i := range n {
		want := testEntry(t, i)
		if leaf, err := s.Leaf(int64(i)); err == nil && string(leaf.Bytes()) != string(want.Leaf.Bytes()) {
			t.Fatalf("leaf %d is another one", i)
		}
		if blob, err := s.Blob(int64(i)); err == nil && string(blob) != string(want.Blob) {
			t.Fatalf("blob %d is another one", i)
		}
		if body, err := s.Body(int64(i)); err == nil && string(body) != string(want.Body) {
			t.Fatalf("body %d is another one", i)
		}
	}
}
