//go:build !windows

package host

import (
	"fmt"
	"os"
)

// machineKey is none: the file's mode keeps others out.
func machineKey() sealer { return nil }

// keepOut does nothing: files and folders are made for their owner alone.
func keepOut(string) error { return nil }

// private returns why a file could be read by others, nil if it cannot.
func private(path string, fi os.FileInfo) error {
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o, so that others can read it: run chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	return nil
}
