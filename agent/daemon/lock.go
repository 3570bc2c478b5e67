package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// lockFile is what an agent holds locked while it works in a data folder.
const lockFile = "lock"

// errLocked says that another process holds a lock.
var errLocked = errors.New("locked by another process")

// lock takes a data folder for this process alone. The operating system frees it when the process ends, however it ends.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := tryLock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("data folder %s: another agent works in it: stop that one, or name another folder with --data", dir)
		}
		return nil, fmt.Errorf("data folder: lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
