package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"egovmon/agent/durable"
)

// A disk is the folder that a journal writes to. A test puts one in its place that loses or refuses what it is given.
type disk interface {
	// Create makes or empties a file for writing and reading.
	Create(name string) (file, error)
	// Append opens a file to write on from size, cutting what is beyond.
	Append(name string, size int64) (file, error)
	// Rename puts a file in the place of another, for good once SyncDir has returned.
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes created, renamed and removed names durable.
	SyncDir() error
}

// A file is one that is being written.
type file interface {
	io.Writer
	io.Closer
	Sync() error
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
}

// A folder is the disk of the operating system.
type folder string

func (d folder) Create(name string) (file, error) {
	path := filepath.Join(string(d), name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if errors.Is(err, os.ErrNotExist) { // somebody removed the folder
		if err = os.Mkdir(string(d), 0o700); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		}
	}
	return f, err
}

func (d folder) Append(name string, size int64) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, closeWith(f, err)
	}
	if _, err := f.Seek(size, io.SeekStart); err != nil {
		return nil, closeWith(f, err)
	}
	return f, nil
}

func closeWith(f io.Closer, err error) error {
	_ = f.Close()
	return err
}

func (d folder) Rename(from, to string) error {
	return durable.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d folder) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d folder) SyncDir() error { return durable.SyncDir(string(d)) }
