//go:build unix

package durable

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "f")
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %o", p, fi.Mode(), err, want)
		}
	}
}

// What root writes into the folder of a service is the service's.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write for others: run the tests as root to see this one")
	}
	const uid, gid = 12345, 12346
	dir := t.TempDir()
	if _, other := OtherOwner(dir); other {
		t.Error("our own folder is said to be another's")
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a", "b", "f")
	if err := CheckOwner(path); err == nil || !strings.Contains(err.Error(), "sudo -u #12345") {
		t.Errorf("work below the folder of another: %v", err)
	}
	if err := CheckOwner(t.TempDir()); err != nil {
		t.Errorf("work in our own: %v", err)
	}
	if name, other := OtherOwner(filepath.Dir(path)); !other || name != "#12345" {
		t.Errorf("the owner is said to be %q, %t", name, other)
	}
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Replace(path, []byte("secret")); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", p, st.Uid, st.Gid, uid, gid)
		}
	}
}
