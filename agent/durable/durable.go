// Package durable replaces files so that a crash leaves the old content or the new, never half of one. Both programs
// write their small files with it: keys, plans, cursors, snapshots.
//
// What it relies on:
//
//   - When Sync of a file returns nil, all that was written to it before survives a power cut: fsync(2) on Linux,
//     FlushFileBuffers on Windows.
//   - Rename replaces a name in one step. The new name survives a power cut once its folder is synced; on Windows the
//     call itself returns only when the move is on disk (MOVEFILE_WRITE_THROUGH).
//   - What was not synced may survive in any part. That is why the content is synced before it gets its name.
//
// A good run of [Replace] is: openat(temporary, O_EXCL), write, fchown where root writes for another owner, fsync,
// close, rename, fsync(folder). A failure before the rename leaves the old content and removes the temporary file; a
// process killed in between leaves that file, which [Sweep] removes.
//
// BUG: a failed sync of the folder leaves the new content, of which nobody knows whether a power cut takes it back.
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// A Disk is one folder whose files can be replaced, by plain name.
type Disk interface {
	// Create makes or empties a file.
	Create(name string) (File, error)
	Rename(from, to string) error
	// SyncNames makes the creations and renames so far durable.
	SyncNames() error
}

// A File is one that is being written. Its methods are those of os.File.
type File interface {
	io.WriterAt
	Sync() error
	Close() error
}

// ReplaceIn gives a file of d the content data. Its temporary file is called name.new: the caller sees to it that
// nobody else writes there at the same time.
func ReplaceIn(d Disk, name string, data []byte) error { return replace(d, name+suffix, name, data) }

func replace(d Disk, temp, name string, data []byte) error {
	f, err := d.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	return d.SyncNames()
}

const suffix = ".new"

// Replace gives the file at path the content data, with mode 0600, in one durable step. Its folder must be there: one
// that has gone, as with a disk that is not mounted, is an error. Where root writes into the folder of somebody else, the file becomes that owner's. Calls for one path may be
// made at the same time, from several processes too: one of them is the last.
func Replace(path string, data []byte) error {
	dir, name := filepath.Split(path)
	d := &folder{dir: filepath.Clean(dir)}
	if err := replace(d, name, name, data); err != nil {
		return errors.Join(err, d.discard())
	}
	return nil
}

// A folder is the Disk for one Replace. It chooses the name of the temporary file itself.
type folder struct{ dir, temp string }

func (d *folder) Create(name string) (File, error) {
	f, err := os.CreateTemp(d.dir, name+".*"+suffix) // O_EXCL, mode 0600
	if err != nil {
		return nil, err
	}
	d.temp = f.Name()
	if err := KeepOwner(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *folder) Rename(_, to string) error {
	if err := Rename(d.temp, filepath.Join(d.dir, to)); err != nil {
		return err
	}
	d.temp = ""
	return nil
}

func (d *folder) SyncNames() error { return SyncDir(d.dir) }

func (d *folder) discard() error {
	if d.temp == "" {
		return nil
	}
	return os.Remove(d.temp)
}

// MkdirAll makes a folder, and those above it that are missing, with mode 0700. One that root makes within the folder
// of somebody else becomes that owner's.
func MkdirAll(dir string) error {
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := MkdirAll(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if fi, e := os.Stat(dir); e == nil && fi.IsDir() { // another was faster
			return nil
		}
		return err
	}
	return inherit(dir, above)
}

// CheckOwner refuses to work as root in the folder of somebody else, or below it: the files that a program makes there by
// other means than this package its owner could not open.
func CheckOwner(dir string) error {
	name, other := OtherOwner(dir)
	if !other {
		return nil
	}
	return fmt.Errorf("the folder %s belongs to %s, who could not read what root makes there: run this as that user, with sudo -u %s", dir, name, name)
}

var leftover = regexp.MustCompile(`\.[0-9]+\.new$`)

// Sweep removes what replacements that were cut short have left in a folder, once it is an hour old.
func Sweep(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !e.Type().IsRegular() || !leftover.MatchString(e.Name()) {
			continue
		}
		if fi, err := e.Info(); err == nil && now.Sub(fi.ModTime()) > time.Hour {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Read returns the content of a file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes, which this program never writes: restore or remove it", path, limit)
	}
	return data, err
}
