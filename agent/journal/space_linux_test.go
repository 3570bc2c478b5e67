package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/check"
)

// A real disk that others have filled up, and empty again.
func TestRealDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("egovmon-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small disk cannot be mounted: %v; run the test as root", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := &rig{TB: t, clock: testTime}
	signer, verifiers := testKey(t, testKeyName)
	r.verifiers = verifiers
	r.o = Options{Dir: filepath.Join(dir, "journal"), Machine: "pc-an-thanh-01", Signer: signer, Build: "test",
		Now: func() time.Time { return r.clock }, Log: discard, Seal: time.Hour}
	r.start()
	for range 4 {
		r.clock = r.clock.Add(3 * time.Second)
		if err := r.j.Record([]check.Result{r.full("a")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	given := 4 + r.fillUp()
	lost := r.j.Stats().Lost
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// There is room again, though less than what is held takes as it is: it is sealed, a batch at a time.
	if err := unix.Mount("egovmon-test", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	r.clock = r.clock.Add(time.Second)
	if err := r.j.Sync(); err != nil {
		t.Fatal(err)
	}
	r.clock = r.clock.Add(calm)
	if err := r.j.Record([]check.Result{r.full("a")}, nil); err != nil {
		t.Fatal(err)
	}
	r.stop()
	// What fits depends on the file system's blocks.
	if seen := r.wantAll(given+1, lost); len(seen) < 3 || seen[0] != nothing || !slices.Contains(seen, phases) || seen[len(seen)-1] != nothing {
		t.Errorf("parts left out, in the order of the results: %v, want none, some, and none again", seen)
	}
}
