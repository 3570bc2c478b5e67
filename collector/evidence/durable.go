package evidence

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"egovmon/agent/durable"
)

// All that this package writes goes through the disk and file of this page.
//
// What is relied on:
//
//   - When Sync of a file returns nil, all that was written to the file before survives a power cut. This is fsync(2)
//     on Linux and FlushFileBuffers on Windows, and no more true than the drive's own promise to flush its cache.
//   - When Sync of a file fails, nothing is known about what was written since the last good one: the kernel may
//     have dropped the pages and report the next Sync as good (Rebello et al., "Can Applications Recover from fsync
//     Failures?", USENIX ATC 2020). So a store never tries a Sync again; it stops, and Open looks at what is there.
//   - Rename replaces a name in one step, and a new or renamed name survives a power cut once the folder is synced.
//     See package durable for Windows.
//   - A write that was not synced may survive in any part, in any order, or as zeros. So every frame has a checksum,
//     and a group of frames counts only with the commit frame behind it.
//
// A good append to an existing segment is: pwrite(segment), fsync(segment), pwrite(hashes), pwrite(index),
// openat(checkpoint.new), pwrite, fsync, rename(checkpoint.new, checkpoint), fsync(folder).
//
// BUG: bytes that go bad later, in what was synced, are found when they are read and by Verify, not mended here.

// A file is one open file. Its methods are those of os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// A disk is one folder of files, by plain name.
type disk interface {
	// Open opens a file for reading; the error wraps fs.ErrNotExist if there is none.
	Open(name string) (file, error)
	// Create opens a file for reading and writing, and makes it if there is none.
	Create(name string) (file, error)
	// Names lists the files in no order.
	Names() ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncNames makes the creations, renames and removals so far durable.
	SyncNames() error
}

// A folder is the disk that is a folder of the operating system.
type folder string

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (d folder) open(name string, flag int) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d folder) Open(name string) (file, error)   { return d.open(name, os.O_RDONLY) }
func (d folder) Create(name string) (file, error) { return d.open(name, os.O_RDWR|os.O_CREATE) }
func (d folder) Remove(name string) error         { return os.Remove(filepath.Join(string(d), name)) }

func (d folder) Rename(from, to string) error {
	return durable.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d folder) SyncNames() error { return durable.SyncDir(string(d)) }

func (d folder) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// A replacing disk is one for durable.ReplaceIn.
type replacing struct{ disk }

func (d replacing) Create(name string) (durable.File, error) {
	f, err := d.disk.Create(name)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// cut takes away what follows the first size bytes of the file, durably.
func cut(f file, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// readFile returns the content of a file that must not be larger than limit.
func readFile(d disk, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, the most is %d", name, size, limit)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !(errors.Is(err, io.EOF) && size == 0) {
		return nil, err
	}
	return data, nil
}
