//go:build unix

package main

import (
	"os"
	"strings"
	"testing"
)

// As root, no command makes files in the folder of a service that it could not read: it says whom to run it as.
func TestRootInAnothersFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files for others: run the tests as root to see this one")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "--data", dir}, {"token", "--data", dir, "--unit", "x"}, {"rebuild", "--data", dir}, {"restore", "--data", dir, dir}} {
		var out, errs strings.Builder
		if code := run(t.Context(), args, &out, &errs); code == 0 || !strings.Contains(errs.String(), "sudo -u #12345") {
			t.Errorf("%v: exit %d: %.300s", args, code, errs.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
