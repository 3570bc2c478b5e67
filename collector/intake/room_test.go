//go:build linux

package intake

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/wire"
)

// TestArchiveFull fills the disk under the archive, as root on a small tmpfs. Nothing that was acknowledged is lost, what
// is asked for is answered, machines are asked to wait, and as soon as there is room again all goes on.
func TestArchiveFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root: run the tests as root")
	}
	c := newCentre(t, Limits{})
	c.close()
	dir := filepath.Join(c.dir, "evidence")
	kept := t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		c.open(t)
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	c.open(t)
	a := c.agent(t, "an-thanh")
	if code, ans := a.push(t, a.seal(t, a.opening(t)...)); code != http.StatusOK {
		t.Fatal(code, ans)
	}
	ballast := filepath.Join(dir, "ballast")
	fill := func() {
		t.Helper()
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 4096); ; {
			if _, err := f.Write(block); err != nil {
				return
			}
		}
	}
	at := slot(a.id.Machine, a.now())
	for round := range 3 {
		fill()
		var refused []byte
		for refused == nil { // the last page of the segment may have room for some more
			a.set(at.Add(time.Second))
			x := a.seal(t, result(at))
			res, data := a.call(t, http.MethodPost, wire.PathBatches, frames(x), "Content-Type", wire.TypeBatches)
			at = at.Add(time.Minute)
			if res.StatusCode == http.StatusOK {
				continue
			}
			after, err := strconv.Atoi(res.Header.Get("Retry-After"))
			if res.StatusCode != http.StatusInsufficientStorage || err != nil || after < int(waitForRoom/time.Second) {
				t.Fatalf("round %d: %s, Retry-After %d: %s", round, res.Status, after, data)
			}
			refused = frames(x)
		}
		if st := c.Archive(); st.Failing.IsZero() || st.Why == "" {
			t.Errorf("round %d: the archive is said to work", round)
		}
		if res, _ := a.call(t, http.MethodGet, wire.PathCheckpoint, nil); res.StatusCode != http.StatusOK {
			t.Errorf("round %d: a checkpoint: %s", round, res.Status)
		}
		if res, _ := a.call(t, http.MethodGet, wire.PathPlan, nil); res.StatusCode != http.StatusOK {
			t.Errorf("round %d: the plan: %s", round, res.Status)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if code, ans := a.post(t, refused); code != http.StatusOK || ans.Head.Seq != a.seq {
			t.Fatalf("round %d: with room again: %d, head %d, want %d", round, code, ans.Head.Seq, a.seq)
		}
		if st := c.Archive(); !st.Failing.IsZero() {
			t.Errorf("round %d: the archive is said to fail since %s: %s", round, st.Failing, st.Why)
		}
	}
	a.flush(t)
	c.close()
	c.open(t)
	if ans := c.answer(a.id.Machine, a.journal, ""); ans.Head.Seq != a.seq {
		t.Errorf("opened again, the head is %d, want %d", ans.Head.Seq, a.seq)
	}
	c.flushed(t)
	for slot, n := range observed(c) {
		if n != 1 {
			t.Errorf("slot %s was accepted %d times", slot, n)
		}
	}
	if n := len(observed(c)); n != int(a.seq)-1 {
		t.Errorf("%d results were accepted, want %d", n, a.seq-1)
	}
}
