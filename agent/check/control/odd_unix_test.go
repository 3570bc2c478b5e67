//go:build unix

package control

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

// TestOddFiles puts what is not a file where files are expected.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc", "proc/net"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"etc/hosts", "etc/passwd", "proc/net/tcp"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr := tree{root: os.DirFS(dir), zone: time.UTC}
	for _, o := range []check.Options{{"id": "m21"}, {"id": "m10"}, {"id": "m07", "allowed_ports": []string{}}, {"id": "m04"}} {
		if r := judged(t, tr.system(), o); r.Reason != check.NotSupported {
			t.Errorf("%s of named pipes: %s %q", o["id"], r.Reason, r.Detail)
		}
	}
}
