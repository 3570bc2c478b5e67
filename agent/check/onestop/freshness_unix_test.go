//go:build unix

package onestop

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// What somebody else may put into a folder holds up neither the check nor the machine.
func TestFreshnessOfHostileFiles(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	good := made(t, dir, "good.bak", "09:00 23/11/2026", time.Hour)
	fifo := filepath.Join(dir, "fifo.bak")
	must(syscall.Mkfifo(fifo, 0o600))
	must(os.Symlink(fifo, filepath.Join(dir, "to-fifo.bak")))
	must(os.Symlink(good, filepath.Join(dir, "to-good")))
	must(os.Symlink("loop.bak", filepath.Join(dir, "loop.bak")))
	must(os.Symlink("/dev/zero", filepath.Join(dir, "zero.bak")))
	big := made(t, dir, "big.log", "", 0)
	must(os.Truncate(big, 1<<30))
	f, err := os.OpenFile(big, os.O_WRONLY|os.O_APPEND, 0)
	must(err)
	_, err = f.WriteString("\n09:30 23/11/2026 xong\n")
	must(err)
	must(f.Close())
	must(os.Chtimes(big, checktest.Epoch(), checktest.Epoch()))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, tt := range []struct {
		name   string
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{"a pipe", check.Options{"file": fifo}, check.NotSupported, "no regular file", nil},
		{"a link to a pipe, for its text", check.Options{"file": filepath.Join(dir, "to-fifo.bak"), "matches": "(.*)"}, check.NotSupported, "no regular file", nil},
		{"a device", check.Options{"file": "/dev/zero", "matches": "(.*)"}, check.NotSupported, "no regular file", nil},
		{"a link to itself", check.Options{"file": filepath.Join(dir, "loop.bak")}, check.NotSupported, "", nil},
		{"a link to a file", check.Options{"file": filepath.Join(dir, "to-good"), "matches": "(.*)"}, check.OK, "", map[string]float64{"age_s": 3600}},
		{"a good one among them", check.Options{"file": filepath.Join(dir, "*.bak"), "matches": "(.*)"}, check.OK, "", map[string]float64{"age_s": 3600, "size_bytes": 16}},
		{"a gigabyte", check.Options{"file": big, "matches": "(.*) xong"}, check.OK, "", map[string]float64{"age_s": 1800, "size_bytes": 1<<30 + 23}},
		{"the folder is a file", check.Options{"file": filepath.Join(good, "*")}, check.NotSupported, "not a directory", nil},
	} {
		t.Run(tt.name, func(t *testing.T) { wants(t, fresh(t, tt.with, check.Env{}), tt.reason, tt.detail, tt.facts) })
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
	}
	if _, err := openPlain(fifo); err != nil { // it must not wait for a writer
		t.Errorf("a pipe cannot be opened: %v", err)
	}
}

func TestFilesFault(t *testing.T) {
	f := files{least: 1}
	for err, want := range map[error]check.Reason{&fs.PathError{Op: "open", Path: "/home/lan", Err: syscall.EACCES}: check.NoPermission,
		&fs.PathError{Op: "stat", Path: "/home/lan", Err: syscall.ENOENT}: check.ContentMissing, &fs.PathError{Op: "read", Path: "/home/lan", Err: syscall.EIO}: check.NotSupported} {
		if bad := f.fault(err, 0); bad.Reason != want || strings.Contains(bad.Detail, "lan") {
			t.Errorf("%v is %s %q, want %s", err, bad.Reason, bad.Detail, want)
		}
	}
}

// A folder and a file that the agent's account may not read are nobody's outage.
func TestFreshnessWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything: run it as another user")
	}
	dir := t.TempDir()
	file := made(t, dir, "x", "y", 0)
	if err := os.Chmod(file, 0); err != nil {
		t.Fatal(err)
	}
	wants(t, fresh(t, check.Options{"file": file, "matches": "(.*)"}, check.Env{}), check.NoPermission, "", nil)
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) //nolint:gosec // so that it can be removed
	wants(t, fresh(t, check.Options{"file": filepath.Join(dir, "*")}, check.Env{}), check.NoPermission, "", nil)
}

// More names than may be are told, not waited for.
func TestFreshnessOfManyFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		made(t, dir, name, "x", 0)
	}
	f, err := newFiles(filepath.Join(dir, "*"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int]check.Reason{2: check.TooLarge, 3: ""} {
		f.most = most
		var got check.Reason
		if n := f.look(t.Context(), false); n.bad != nil {
			got = n.bad.Reason
		}
		if got != want {
			t.Errorf("at most %d: %q, want %q", most, got, want)
		}
	}
}
