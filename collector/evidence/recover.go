package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	scanAhead = 1 << 20 // bytes read at a time by those who read everything
	pickAhead = 8 << 10 // by those who look one leaf up: a leaf and its header note fit
)

// errTree says that hashes computed anew are not those in a segment.
var errTree = errors.New("the leaves do not give the root hash that was stored with them")

// open is Open on any disk, without the lock.
func open(o Options, d disk) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("evidence %s: %w", o.Dir, err)
	}
	s := &Store{opts: o, disk: d, turn: make(chan struct{}, 1)}
	var err error
	if s.pack, err = newPacker(); err != nil {
		return nil, fmt.Errorf("evidence %s: %w", o.Dir, err)
	}
	err = s.load()
	if err == nil {
		err = s.loadOvertaken()
	}
	if err != nil {
		for _, f := range []file{s.tree.hashes.file, s.tree.index} {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
		return nil, fmt.Errorf("evidence %s: %w", o.Dir, err)
	}
	return s, nil
}

// load brings the store to the state that is on disk.
func (s *Store) load() error {
	count, err := segments(s.disk)
	if err != nil {
		return err
	}
	origin, signed, msg, err := readCheckpoint(s.disk, s.opts.Verifier)
	switch {
	case err != nil:
		return err
	case msg == nil && count > 0 && !s.isMirror():
		return fmt.Errorf("there are %d segments but no %s: put it back from a backup or from what agents have seen", count, checkpointFile)
	case msg != nil && origin != s.opts.Origin:
		return fmt.Errorf("%s is of the log %q, not of %q", checkpointFile, origin, s.opts.Origin)
	}
	hashes, err := s.disk.Create(hashesFile)
	if err != nil {
		return err
	}
	s.tree.hashes = hashFile{hashes}
	if s.tree.index, err = s.disk.Create(indexFile); err != nil {
		return err
	}
	if msg == nil {
		if signed, err = s.tree.at(0); err != nil {
			return err
		}
		if !s.isMirror() {
			return s.publish(signed)
		}
	}
	if count == 0 && msg == nil {
		s.committed.Store(&commit{tree: signed})
		return nil
	}
	end, err := s.replay(count, signed)
	if err != nil {
		return err
	}
	return s.resume(count, end, signed, msg)
}

// replay brings the tree up to the last commit on disk and returns where that ends in the last segment, 0 if nothing
// in it is committed. It reads only the last segment or two if hashes and index agree with them, else all.
func (s *Store) replay(count int, signed tlog.Tree) (end int64, err error) {
	from, first := s.startSegment(count)
	end, err = s.replayFrom(from, first, count, signed)
	if errors.Is(err, errTree) && from > 0 {
		s.opts.Logger.Warn("evidence: hashes and index are made again from all segments", "dir", s.opts.Dir, "err", err)
		end, err = s.replayFrom(0, 0, count, signed)
	}
	return end, err
}

// startSegment chooses where to begin: the last segment whose header agrees with hashes and index.
func (s *Store) startSegment(count int) (number int, first int64) {
	hashes, err1 := s.tree.hashes.Size()
	places, err2 := s.tree.index.Size()
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0
	}
	for k := count - 1; k >= max(1, count-2); k-- {
		header, err := s.readHeader(k)
		if err != nil {
			continue
		}
		n, err := headerFirst(header)
		if err != nil || places < n*placeSize || hashes < tlog.StoredHashCount(n)*tlog.HashSize {
			continue
		}
		s.tree.reset(n)
		before, err := s.tree.at(n)
		if err == nil && isHeader(header, k, s.opts.Origin, before) {
			return k, n
		}
	}
	if count > 2 {
		s.opts.Logger.Warn("evidence: hashes and index are made again from all segments", "dir", s.opts.Dir)
	}
	return 0, 0
}

func (s *Store) readHeader(number int) ([]byte, error) {
	f, err := s.disk.Open(segmentName(number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sc, err := newScanner(segmentName(number), f, 0, pickAhead)
	if err != nil {
		return nil, err
	}
	return sc.header()
}

// replayFrom adds the committed leaves of the segments from number on, the first of which has the index first.
// Broken bytes are forgiven only behind everything that signed covers, and in the last segment.
func (s *Store) replayFrom(number int, first int64, count int, signed tlog.Tree) (end int64, err error) {
	s.tree.reset(first)
	for ; number < count; number++ {
		end, err = s.replaySegment(number)
		_, broken := errors.AsType[*BrokenError](err)
		last := number == count-1
		switch {
		case broken && last && s.tree.size >= signed.N:
			s.opts.Logger.Warn("evidence: what was being written when the collector stopped is cut off; it was never acknowledged",
				"dir", s.opts.Dir, "err", err)
		case broken:
			return 0, fmt.Errorf("%w; leaf %d, which was acknowledged, cannot be read: put the file back from a backup", err, s.tree.size)
		case err != nil:
			return 0, err
		}
		if err := s.tree.flush(); err != nil {
			return 0, err
		}
	}
	if s.tree.size < signed.N {
		return 0, fmt.Errorf("the segments up to %s hold %d leaves, but %s covers %d, which were acknowledged: the newest are lost: "+
			"put them back from a backup, or keep this folder as it is and begin a new log (egovmon/…/log/N with N one higher)",
			segmentName(max(0, count-1)), s.tree.size, checkpointFile, signed.N)
	}
	t, err := s.tree.at(signed.N)
	if err != nil {
		return 0, err
	}
	if t != signed {
		return 0, fmt.Errorf("%s: %w: it signs the root %s for %d leaves, the segments give %s: one of them is of another time: put both back from one backup",
			checkpointFile, errTree, signed.Hash, signed.N, t.Hash)
	}
	return end, nil
}

// replaySegment adds the committed leaves of one segment and returns the end of the last commit. With an error the
// tree and the end are those of the last good commit.
func (s *Store) replaySegment(number int) (end int64, err error) {
	name := segmentName(number)
	f, err := s.disk.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sc, err := newScanner(name, f, 0, scanAhead)
	if err != nil {
		return 0, err
	}
	before, err := s.tree.at(s.tree.size)
	if err != nil {
		return 0, err
	}
	header, err := sc.header()
	if err != nil {
		return 0, err
	}
	if !isHeader(header, number, s.opts.Origin, before) {
		return 0, fmt.Errorf("%s: %w: the header is %q, want %q", name, errTree, header, segmentHeader(number, s.opts.Origin, before))
	}
	type added struct {
		leaf tlog.Hash
		at   place
	}
	var group []added
	for {
		r, err := sc.next()
		switch {
		case errors.Is(err, io.EOF) && len(group) > 0:
			return end, sc.broken("the file ends before the group is committed")
		case errors.Is(err, io.EOF) && end == 0:
			return end, sc.broken("the segment has no commit")
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return end, err
		case !r.commit:
			group = append(group, added{r.Leaf.Hash(), place{uint32(number), uint32(r.offset)}})
			continue
		}
		for _, a := range group {
			if err := s.tree.add(a.leaf, a.at); err != nil {
				return end, err
			}
		}
		group = group[:0]
		now, err := s.tree.at(s.tree.size)
		if err != nil {
			return end, err
		}
		if now != r.tree {
			return end, fmt.Errorf("%s: offset %d: %w (leaf %d)", name, r.offset, errTree, s.tree.size)
		}
		end = sc.off
	}
}

// resume cuts off what follows the last commit, makes the rest durable and signs it if it is new.
func (s *Store) resume(count int, end int64, signed tlog.Tree, msg []byte) error {
	if err := s.tree.sync(); err != nil {
		return err
	}
	if count > 0 && end == 0 { // a segment that was begun, and nothing more
		if err := s.disk.Remove(segmentName(count - 1)); err != nil {
			return err
		}
		if err := s.disk.SyncNames(); err != nil {
			return err
		}
		count--
	}
	if count > 0 {
		seg, err := s.reopen(count-1, end)
		if err != nil {
			return err
		}
		s.active = seg
	}
	now, err := s.tree.at(s.tree.size)
	switch {
	case err != nil:
	case now.N > signed.N && !s.isMirror():
		err = s.publish(now)
	default: // of a mirror, what is behind the checkpoint waits for the next one
		s.committed.Store(&commit{tree: signed, note: msg})
	}
	if err != nil && s.active != nil {
		err = errors.Join(err, s.active.Close())
	}
	return err
}

// reopen opens the last segment for writing behind end; 0 stands for the end of the file.
func (s *Store) reopen(number int, end int64) (*segment, error) {
	f, err := s.disk.Create(segmentName(number))
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && end == 0 {
		end = size
	}
	if err == nil && end != size {
		err = f.Truncate(end)
	}
	if err == nil {
		err = f.Sync() // a group that was written but not synced is signed next
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	header, err := s.readHeader(number)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{file: f, number: number, end: end, plain: bytes.HasPrefix(header, []byte(segmentPlain))}, nil
}
