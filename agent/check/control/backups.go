package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"egovmon/agent/check"
)

// backups are the files of a backup, in numbers.
type backups struct {
	count  int
	newest backupFile
	before backupFile // the next to newest; zero when there is one file
	same   bool       // on the file system of the data
}

type backupFile struct {
	written time.Time
	size    int64
}

const (
	maxBackups = 100000 // files and folders looked at
	maxDepth   = 8      // of folders in folders
)

// judgeBackups asks that the newest file is young, not empty, and elsewhere than the data.
func judgeBackups(b backups, l *limits, now time.Time) *check.Result {
	var r *check.Result
	age := now.Sub(b.newest.written)
	hours := func(d time.Duration) float64 { return max(0, d.Hours()) }
	switch {
	case b.count == 0:
		r = because(check.ControlFail, "there is no backup")
	case age < -slack:
		r = because(check.ControlPartial, "the newest backup is dated in the future")
	case b.newest.size < l.minBytes:
		r = because(check.ControlFail, "the newest backup has %d bytes; at least %d are asked for", b.newest.size, l.minBytes)
	case age > l.failAge:
		r = because(check.ControlFail, "the newest backup is %.0f hours old; at most %.0f are allowed", hours(age), hours(l.maxAge))
	case age > l.maxAge:
		r = because(check.ControlPartial, "the newest backup is %.0f hours old; at most %.0f are allowed", hours(age), hours(l.maxAge))
	case b.same:
		r = because(check.ControlPartial, "the newest backup is %.0f hours old, but on the file system of the data", hours(age))
	default:
		r = because(check.OK, "the newest backup is %.0f hours old, on another file system than the data", hours(age))
	}
	r.Facts.Add("backups_count", float64(b.count))
	if b.count > 0 {
		addAge(&r.Facts, "age_s", b.newest.written, now)
		r.Facts.Add("backup_bytes", float64(b.newest.size))
		r.Facts.Add("same_device_code", yes01(b.same))
	}
	if b.count > 1 && b.before.size > 0 {
		r.Facts.Add("backup_size_ratio", min(1e9, float64(b.newest.size)/float64(b.before.size)))
	}
	return r
}

// gatherBackups looks at the files of a pattern, or of a folder and the folders in it. Links are not followed.
func gatherBackups(ctx context.Context, root fs.FS, pattern string) (b backups, newest string, err error) {
	s := &search{ctx: ctx, root: root}
	err = s.search(strings.Split(path.Clean(pattern), "/"), ".")
	return s.found, s.newest, err
}

// A search goes down a pattern, folder by folder.
type search struct {
	ctx    context.Context
	root   fs.FS
	looked int
	found  backups
	newest string
}

// search follows the parts of a pattern below a folder.
func (s *search) search(parts []string, dir string) error {
	part, rest := parts[0], parts[1:]
	if !strings.ContainsAny(part, `*?[\`) {
		name := path.Join(dir, part)
		i, err := fs.Stat(s.root, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case len(rest) > 0:
			return s.search(rest, name)
		case i.IsDir():
			return s.folder(name, 0)
		}
		return s.look(name, i)
	}
	entries, err := readDir(s.root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := path.Match(part, e.Name()); !ok {
			continue
		}
		if err := s.entry(e, path.Join(dir, e.Name()), rest); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) entry(e fs.DirEntry, name string, rest []string) error {
	switch {
	case e.IsDir() && len(rest) > 0:
		return s.search(rest, name)
	case e.IsDir():
		return s.folder(name, 0)
	case len(rest) > 0:
		return nil
	}
	i, err := e.Info()
	if err != nil {
		return gone(err)
	}
	return s.look(name, i)
}

func (s *search) folder(dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("folders deeper than %d: %w", maxDepth, errors.ErrUnsupported)
	}
	entries, err := readDir(s.root, dir)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			err = s.folder(name, depth+1)
		} else if i, infoErr := e.Info(); infoErr != nil {
			err = gone(infoErr)
		} else {
			err = s.look(name, i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// look takes in one file, if it is a regular one.
func (s *search) look(name string, i fs.FileInfo) error {
	if s.looked++; s.looked > maxBackups {
		return fmt.Errorf("more than %d files: %w", maxBackups, errors.ErrUnsupported)
	}
	if err := s.ctx.Err(); err != nil || !i.Mode().IsRegular() {
		return err
	}
	f := backupFile{i.ModTime(), i.Size()}
	s.found.count++
	switch b := &s.found; {
	case s.newest == "" || f.written.After(b.newest.written):
		b.before, b.newest, s.newest = b.newest, f, name
	case f.written.After(b.before.written):
		b.before = f
	}
	return nil
}

// gone forgives what was removed while we looked.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
