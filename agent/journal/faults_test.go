package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
)

var errDisk = errors.New("no space left on device")

// A faulty disk fails in its n-th operation, after doing it or instead, and in the ones that follow.
type faulty struct {
	folder
	count int  // operations so far
	from  int  // first that fails; 0 for none
	to    int  // first that works again
	done  bool // the operation takes effect all the same
}

// step reports whether an operation is to take effect, and its error.
func (d *faulty) step() (bool, error) {
	d.count++
	if d.from > 0 && d.count >= d.from && d.count < d.to {
		return d.done, errDisk
	}
	return true, nil
}

func (d *faulty) open(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

func (d *faulty) Create(name string) (file, error) {
	if _, err := d.step(); err != nil {
		return nil, err
	}
	return d.open(d.folder.Create(name))
}

func (d *faulty) Append(name string, size int64) (file, error) {
	if _, err := d.step(); err != nil {
		return nil, err
	}
	return d.open(d.folder.Append(name, size))
}

func (d *faulty) Rename(from, to string) error {
	ok, err := d.step()
	if ok {
		err = errors.Join(d.folder.Rename(from, to), err)
	}
	return err
}

func (d *faulty) SyncDir() error {
	_, err := d.step()
	return err
}

type faultyFile struct {
	file
	d *faulty
}

func (f *faultyFile) Write(b []byte) (int, error) {
	ok, err := f.d.step()
	n := len(b)
	if !ok {
		n /= 2 // what a full disk takes
	}
	if n, e := f.file.Write(b[:n]); e != nil || err != nil {
		return n, errors.Join(e, err)
	}
	return n, nil
}

func (f *faultyFile) Sync() error {
	_, err := f.d.step()
	return err
}

func (f *faultyFile) Truncate(size int64) error {
	ok, err := f.d.step()
	if ok {
		err = errors.Join(f.file.Truncate(size), err)
	}
	return err
}

// Whichever operation fails, done or not, for one operation or a run of them, with a kill in the end or without: every
// result is sealed once, in order, in a chain that verifies.
func TestFaults(t *testing.T) {
	ticks := func(r *rig, d *faulty) (want []check.Result) {
		r.o.disk = d
		r.open()
		_ = r.j.Begin(r.clock) // what fails is tried again
		for i := range 12 {
			r.clock = r.clock.Add(time.Second)
			if i%4 == 3 {
				r.clock = r.clock.Add(time.Minute)
			}
			rs := []check.Result{r.result("a", check.OK), r.result("b", check.OK)}
			_ = r.j.Record(rs, nil) // held, if it fails
			want = append(want, rs...)
		}
		return want
	}
	r := newRig(t)
	d := &faulty{folder: folder(r.o.Dir)}
	r.o.segmentSize = 1500
	ticks(r, d)
	operations := d.count
	if operations < 30 {
		t.Fatalf("%d operations", operations)
	}
	for from := 1; from <= operations; from++ {
		for _, c := range []struct {
			run  int
			done bool
			kill bool
		}{{1, false, false}, {1, true, false}, {5, false, true}, {5, true, true}} {
			r := newRig(t)
			r.o.segmentSize = 1500
			r.o.Dir = filepath.Join(t.TempDir(), "journal")
			d := &faulty{folder: folder(r.o.Dir), from: from, to: from + c.run, done: c.done}
			want := ticks(r, d)
			d.from = 0
			want = append(want, r.tick("a")...) // the disk works again: all of it is durable now
			if c.kill {
				r.start()
			}
			r.stop()
			recs, _ := r.sent()
			got := resultsOf(recs)
			if !slices.EqualFunc(want, got, func(a, b check.Result) bool { return a.Check == b.Check && a.Slot.Equal(b.Slot) }) {
				t.Fatalf("operation %d, %+v: %d results of %d are sealed", from, c, len(got), len(want))
			}
			if rep, err := Verify(r.o.Dir, r.verifiers); err != nil || len(rep.Problems) != 0 && !c.kill && !c.done {
				t.Fatalf("operation %d, %+v: %+v, %v", from, c, rep, err)
			}
		}
	}
}

// While nothing can be written, results are held up to a bound; what is given up beyond is said afterwards.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	d := &faulty{folder: folder(r.o.Dir)}
	r.o.disk = d
	r.start()
	r.tick("a")
	d.from, d.to = d.count+1, 1<<30
	sent := 0
	for r.j.Stats().Lost == 0 {
		r.clock = r.clock.Add(time.Second)
		rs := slices.Repeat([]check.Result{r.result("a", check.OK)}, 200)
		if err := r.j.Record(rs, nil); !errors.Is(err, errDisk) {
			t.Fatalf("recorded on a full disk: %v", err)
		}
		sent += len(rs)
		if sent > 1e6 {
			t.Fatal("held without bound")
		}
	}
	lost := r.j.Stats().Lost
	if got, _ := r.j.LatestOf("a"); got.Slot.After(testTime.Add(time.Second)) {
		t.Errorf("a result that is not durable is shown: %+v", got)
	}
	d.from = 0
	r.clock = r.clock.Add(time.Second)
	if err := r.j.Record(nil, nil); err != nil {
		t.Fatal(err)
	}
	r.tick("b")
	r.stop()
	recs, _ := r.sent()
	if got := len(resultsOf(recs)); got != sent-lost+2 {
		t.Errorf("%d results are sealed of %d less %d", got, sent+2, lost)
	}
	if !slices.ContainsFunc(recs, func(r Record) bool {
		return r.Range != nil && r.Range.Reason == check.DataLost && r.Range.Slots == lost
	}) {
		t.Errorf("no range tells of %d lost results", lost)
	}
	if _, err := os.Stat(filepath.Join(r.o.Dir, openName)); err != nil {
		t.Error(err)
	}
}
