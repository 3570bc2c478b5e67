package faults

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

// small mounts a disk of so many bytes on a folder, in memory.
func small(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small disk: run the tests as root")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted here (%v): run the tests as root with the right to mount", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill takes all that is left of the disk that a folder is on, but for some bytes.
func fill(t *testing.T, dir string, leave int64) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4<<10)
	var n int64
	for {
		k, err := f.Write(block)
		n += int64(k)
		if err != nil {
			break
		}
	}
	if err := f.Truncate(max(0, n-leave)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// TestAgentsDiskFull fills the disk that the agent's folder is on for half an hour, while the collector is away, and for
// half an hour while it is there.
func TestAgentsDiskFull(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{true, false} {
		for _, leave := range []int64{0, 20 << 10} {
			disturb(t, func(w *world) { w.every = time.Minute }, func(r *rig) {
				r.a.stop(false)
				held := r.copy(r.a.dir)
				r.must(os.RemoveAll(r.a.dir))
				small(r.T, r.a.dir, "4m")
				r.must(copyFolder(r.a.dir, held))
				r.a.start()
				time.Sleep(10 * time.Minute)
				if away {
					r.line.cut()
				}
				empty := fill(r.T, r.a.dir, leave)
				time.Sleep(30 * time.Minute)
				empty()
				time.Sleep(10 * time.Minute)
				r.line.mend()
			}, func(r *rig, _, s *story, share float64) {
				if share < 0.99 {
					r.Errorf("%.4f of the seconds were measured: %v", share, s.totals)
				}
			})
		}
	}
}

// TestCollectorsDiskFull fills the disk that the collector's folder is on for an hour. It takes nothing that it cannot
// keep, and has everything in the end.
func TestCollectorsDiskFull(t *testing.T) {
	t.Parallel()
	for _, leave := range []int64{0, 30 << 10} {
		disturb(t, func(w *world) { w.every = time.Minute }, func(r *rig) {
			r.world.close()
			held := r.copy(r.state)
			r.must(os.RemoveAll(r.state))
			small(r.T, r.state, "24m")
			r.must(copyFolder(r.state, held))
			r.world.open()
			time.Sleep(10 * time.Minute)
			empty := fill(r.T, r.state, leave)
			time.Sleep(time.Hour)
			empty()
			time.Sleep(10 * time.Minute)
			if r.centre.Status()[0].Received.Before(r.now().Add(-5 * time.Minute)) { // it has stopped: a supervisor starts it again
				r.crash()
				r.world.open()
			}
		}, func(r *rig, u, s *story, share float64) {
			everything(r, u, s, share)
			if s.totals[check.DataLost] > 0 {
				r.Errorf("data was lost: %v", s.totals)
			}
		})
	}
}
