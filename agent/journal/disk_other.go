//go:build !windows

package journal

import "os"

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return closeWith(f, err)
	}
	return f.Close()
}
