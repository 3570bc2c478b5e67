package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

// ErrReadOnly is wrapped by the errors of Append in a Store of OpenReader.
var ErrReadOnly = errors.New("the log is open for reading only")

// OpenReader opens the log in dir for reading, beside the process that writes it, if there is one. It has what the
// checkpoint covers that is on disk now; Refresh takes what came since. Nothing in the folder is touched.
//
// It relies on hashes and index as they are on disk: where they were removed, the log must be opened once by Open.
func OpenReader(dir string, v note.Verifier) (*Store, error) {
	s := &Store{opts: Options{Dir: dir, Origin: v.Name(), Verifier: v}, disk: folder(dir), turn: make(chan struct{}, 1)}
	s.opts.Logger = slog.New(slog.DiscardHandler)
	if err := s.openForReading(); err != nil {
		for _, f := range []file{s.tree.hashes.file, s.tree.index} {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return nil, fmt.Errorf("evidence %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openForReading() error {
	var err error
	if s.pack, err = newPacker(); err != nil {
		return err
	}
	hashes, err := s.disk.Open(hashesFile)
	if err != nil {
		return err
	}
	s.tree.hashes = hashFile{hashes}
	if s.tree.index, err = s.disk.Open(indexFile); err != nil {
		return err
	}
	s.stopped = ErrReadOnly
	return s.refresh()
}

// Refresh takes the checkpoint that is on disk now for the state of a Store of OpenReader. A checkpoint that does not
// continue the one before is an error that wraps ErrRewritten, and changes nothing.
func (s *Store) Refresh() error {
	if err := s.refresh(); err != nil {
		return fmt.Errorf("evidence %s: %w", s.opts.Dir, err)
	}
	return nil
}

// ErrRewritten says that a log is not the one that was read or copied before: leaves were changed or removed.
var ErrRewritten = errors.New("the log is not the one that was there before: leaves were changed or removed")

func (s *Store) refresh() error {
	origin, t, msg, err := readCheckpoint(s.disk, s.opts.Verifier)
	switch {
	case err != nil:
		return err
	case msg == nil:
		return fmt.Errorf("there is no %s: this folder holds no log: %w", checkpointFile, fs.ErrNotExist)
	case origin != s.opts.Origin:
		return fmt.Errorf("%s is of the log %q, not of %q", checkpointFile, origin, s.opts.Origin)
	}
	got, err := tlog.TreeHash(t.N, s.tree.hashes)
	if err != nil {
		return err
	}
	if got != t.Hash {
		return fmt.Errorf("%s signs the root %s for %d leaves, %s gives %s", checkpointFile, t.Hash, t.N, hashesFile, got)
	}
	if before := s.committed.Load(); before != nil && before.tree != t {
		if t.N < before.tree.N {
			return fmt.Errorf("%d leaves after %d: %w", t.N, before.tree.N, ErrRewritten)
		}
		if h, err := tlog.TreeHash(before.tree.N, s.tree.hashes); err != nil || h != before.tree.Hash {
			return errors.Join(fmt.Errorf("the first %d leaves: %w", before.tree.N, ErrRewritten), err)
		}
	}
	s.tree.reset(t.N)
	s.committed.Store(&commit{tree: t, note: msg})
	return nil
}

// Origin returns the name of the log.
func (s *Store) Origin() string { return s.opts.Origin }

// Verifier checks the log's checkpoints.
func (s *Store) Verifier() note.Verifier { return s.opts.Verifier }

// Lock keeps every other process from opening the log in a folder for writing, until the lock is closed.
func Lock(dir string) (io.Closer, error) {
	f, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("evidence %s: %w", dir, err)
	}
	return f, nil
}

// ReadSize returns the number of leaves of the log in a folder, of which nothing is verified.
func ReadSize(dir string) (int64, error) {
	msg, err := readFile(folder(dir), checkpointFile, maxCheckpoint)
	if err != nil {
		return 0, fmt.Errorf("evidence %s: %w", dir, err)
	}
	text, _, _ := bytes.Cut(msg, []byte("\n\n"))
	_, t, err := wire.ParseCheckpoint(string(text) + "\n")
	return t.N, err
}

// ReadOrigin returns the name of the log in a folder, of which nothing is verified; "" if there is none.
func ReadOrigin(dir string) (string, error) {
	msg, err := readFile(folder(dir), checkpointFile, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("evidence %s: %w", dir, err)
	}
	for i, c := range msg {
		if c == '\n' {
			return string(msg[:i]), nil
		}
	}
	return "", fmt.Errorf("evidence %s: %s is no checkpoint: put it back from a backup", dir, checkpointFile)
}

// A Part is one file of a log as far as a checkpoint covers it.
type Part struct {
	Name string
	Size int64
	Open func() (io.ReadCloser, error)
}

// Parts lists the files that make up the log as its checkpoint covers it now: the segments, the last one cut behind the
// last commit that counts, and the checkpoint at the end. What is derived is left out. The bytes stay as they are while
// others append.
func (s *Store) Parts() ([]Part, error) {
	now := s.committed.Load()
	var parts []Part
	if now.tree.N > 0 {
		last, end, err := s.commitEnd(now.tree.N)
		if err != nil {
			return nil, fmt.Errorf("evidence %s: %w", s.opts.Dir, err)
		}
		for i := range last + 1 {
			size := end
			if i < last {
				if size, err = s.segmentSize(i); err != nil {
					return nil, fmt.Errorf("evidence %s: %w", s.opts.Dir, err)
				}
			}
			parts = append(parts, s.part(segmentName(i), size))
		}
	}
	return append(parts, Part{Name: checkpointFile, Size: int64(len(now.note)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(now.note)), nil
	}}), nil
}

func (s *Store) segmentSize(number int) (int64, error) {
	f, err := s.disk.Open(segmentName(number))
	if err != nil {
		return 0, err
	}
	size, err := f.Size()
	return size, errors.Join(err, f.Close())
}

func (s *Store) part(name string, size int64) Part {
	return Part{Name: name, Size: size, Open: func() (io.ReadCloser, error) {
		f, err := s.disk.Open(name)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, 0, size), f}, nil
	}}
}

// commitEnd returns the segment of the commit behind the first n leaves, and the offset at which it ends.
func (s *Store) commitEnd(n int64) (number int, end int64, err error) {
	p, err := readPlace(s.tree.index, n-1)
	if err != nil {
		return 0, 0, err
	}
	f, sc, err := s.scan(p, pickAhead)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	sc.skipBlobs, sc.skipBodies = true, true
	for {
		r, err := sc.next()
		switch {
		case errors.Is(err, io.EOF):
			return 0, 0, sc.broken("the file ends before leaf %d is committed", n-1)
		case err != nil:
			return 0, 0, err
		case r.commit && r.tree.N == n:
			return int(p.segment), sc.off, nil
		case r.commit:
			return 0, 0, sc.broken("a commit of %d leaves behind leaf %d", r.tree.N, n-1)
		}
	}
}
