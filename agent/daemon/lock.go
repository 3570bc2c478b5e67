package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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
	err = tryLock(f)
	if errors.Is(err, errLocked) { // perhaps by Running, for an instant
		time.Sleep(100 * time.Millisecond)
		err = tryLock(f)
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("data folder %s: another agent works in it: stop that one, or name another folder with --data", dir)
		}
		return nil, fmt.Errorf("data folder: lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

// Running reports whether an agent works in a data folder.
func Running(dir string) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("data folder: %w", err)
	}
	defer f.Close()
	err = tryLock(f)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	return false, err
}
