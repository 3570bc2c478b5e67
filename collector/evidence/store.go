package evidence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
)

// ErrClosed is returned by the calls of a closed Store.
var ErrClosed = errors.New("evidence: the store is closed")

// ErrStopped is wrapped by the errors of a Store that stopped because it cannot know what is on disk.
var ErrStopped = errors.New("the evidence store has stopped: mend the disk, then start the collector again")

const (
	lockFile       = "lock"
	defaultSegment = 64 << 20
	minSegment     = 4 << 10
	maxSegment     = 1 << 30   // offsets in the index have 32 bits
	maxGroup       = 8 << 20   // a group is closed above this many bytes
	maxAppend      = 256 << 20 // bytes of one Append
)

// Options say where a log is and who signs it.
type Options struct {
	// Dir is the folder of this log alone. It is made, with mode 0700, if it is not there.
	Dir string
	// Origin is the name of the log, egovmon/D/log/N. It is also the name of the key.
	Origin string
	// Signer signs checkpoints, Verifier proves those found on disk; they are one Ed25519 key.
	Signer   note.Signer
	Verifier note.Verifier
	// Logger is told what Open mended. Default: nobody.
	Logger *slog.Logger
	// SegmentBytes is the size from which on a segment is followed by a new one. Default 64 MiB; from 4 KiB to 1 GiB.
	SegmentBytes int64
}

func (o *Options) complete() error {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Signer == nil || o.Verifier == nil:
		return errors.New("a signer and a verifier are needed")
	case o.Signer.Name() != o.Origin || o.Verifier.Name() != o.Origin || o.Signer.KeyHash() != o.Verifier.KeyHash():
		return fmt.Errorf("origin %q, signer %s+%08x and verifier %s+%08x are not of one log", o.Origin,
			o.Signer.Name(), o.Signer.KeyHash(), o.Verifier.Name(), o.Verifier.KeyHash())
	case o.SegmentBytes < minSegment || o.SegmentBytes > maxSegment:
		return fmt.Errorf("segments of %d bytes: choose from %d to %d", o.SegmentBytes, minSegment, maxSegment)
	}
	return nil
}

// A Store is an open log. Its methods may be called at the same time.
//
// It has no goroutine of its own. Callers of Append queue what they bring, and the one that gets the turn writes
// for all who wait: one write, one sync and one checkpoint for a group.
type Store struct {
	opts Options
	disk disk
	lock *os.File // nil in tests without one

	pack *packer // packer.enc belongs to who has the turn

	turn chan struct{} // holds one token; who has it may write and owns tree, active and stopped
	tree tree
	// active is the segment that is appended to; without one the next group begins segment 0.
	active  *segment
	stopped error // why nothing is written any more

	mu     sync.Mutex
	queue  []*request // waiting, in order
	closed bool
	held   chan struct{} // closed by Release; nil when nobody holds the store

	committed atomic.Pointer[commit]
	overtaken atomic.Pointer[overtaking]
}

// A commit is a state of the log that is durable and signed.
type commit struct {
	tree tlog.Tree
	note []byte
}

// A segment is a segment file that is appended to.
type segment struct {
	file
	number int
	end    int64 // of the last commit
	plain  bool  // of the version without packed frames
}

// A request is one Append. Its fields belong to the writer until done is closed.
type request struct {
	entries []Entry
	bytes   int
	first   int64
	err     error
	done    chan struct{}
}

// Open opens the log in o.Dir, or makes an empty one. Only one process can have it open.
//
// What follows the last whole group and is in no checkpoint was never acknowledged; Open cuts it off and tells the
// Logger. Everything else that is not as it was written is an error that names file and offset, and no segment and no
// checkpoint is touched.
func Open(o Options) (*Store, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("evidence %s: %w", o.Dir, err)
	}
	s, err := open(o, folder(o.Dir))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f)
	if err == nil && !ok {
		err = errors.New("another process has the log open: stop it first")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Append adds the entries to the log, in order and all or none, and returns the index of the first. When it returns
// nil they are durable and in Checkpoint.
//
// A ctx that ends while the entries still wait for their turn takes them back; after that Append returns the outcome.
// On an error that wraps ErrStopped it is open whether the entries are in the log: the next Open shows it.
// On any other error they are not in the log, and Append may be tried again.
func (s *Store) Append(ctx context.Context, entries ...Entry) (first int64, err error) {
	r := &request{entries: entries, done: make(chan struct{})}
	for i, e := range entries {
		if err := e.check(); err != nil {
			return 0, fmt.Errorf("evidence: entry %d of %d: %w", i+1, len(entries), err)
		}
		r.bytes += 3*frameHead + len(e.Leaf.text) + len(e.Blob) + len(e.Body)
	}
	if len(entries) == 0 || r.bytes > maxAppend {
		return 0, fmt.Errorf("evidence: %d entries of %d bytes: append at least one entry and at most %d bytes", len(entries), r.bytes, maxAppend)
	}
	if err := s.wait(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, ErrClosed
	}
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	for {
		select {
		case <-r.done:
			return r.first, r.err
		case s.turn <- struct{}{}:
			s.commitGroup(s.takeGroup())
			<-s.turn
		case <-ctx.Done():
			if s.withdraw(r) {
				return 0, fmt.Errorf("evidence: append: %w", context.Cause(ctx))
			}
			<-r.done
			return r.first, r.err
		}
	}
}

// withdraw takes r out of the queue; false means that a group has it.
func (s *Store) withdraw(r *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, r)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// takeGroup takes from the queue what is written together. It is empty if others wrote it all.
func (s *Store) takeGroup() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+s.queue[n].bytes <= maxGroup) {
		size += s.queue[n].bytes
		n++
	}
	group := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return group
}

// commitGroup writes a group and tells each request the outcome. The caller has the turn.
func (s *Store) commitGroup(group []*request) {
	if len(group) == 0 {
		return
	}
	err := s.stopped
	if err == nil {
		err = s.write(group)
	}
	for _, r := range group {
		if err != nil {
			r.err = fmt.Errorf("evidence %s: append: %w", s.opts.Dir, err)
		}
		close(r.done)
	}
}

// write makes the group durable: leaves, blobs and bodies first, then the tree, then the checkpoint.
func (s *Store) write(group []*request) error {
	seg, created, err := s.writable()
	if err != nil {
		return err
	}
	old, err := s.tree.at(s.tree.size) // of a mirror it may be ahead of the checkpoint
	if err != nil {
		return s.stop(err)
	}
	buf := make([]byte, 0, 64<<10)
	if created {
		buf = appendFrame(buf, kindHeader, segmentHeader(seg.number, s.opts.Origin, old))
	}
	for _, r := range group {
		r.first = s.tree.size
		for _, e := range r.entries {
			if err := s.tree.add(e.Leaf.Hash(), place{uint32(seg.number), uint32(seg.end + int64(len(buf)))}); err != nil {
				return s.stop(err)
			}
			if seg.plain {
				buf = appendEntry(buf, e)
			} else {
				buf = s.pack.appendEntry(buf, e)
			}
		}
	}
	now, err := s.tree.at(s.tree.size)
	if err != nil {
		return s.stop(err)
	}
	buf = appendCommit(buf, now)
	if _, err := seg.WriteAt(buf, seg.end); err != nil {
		return s.undo(seg, created, old, err)
	}
	if err := seg.Sync(); err != nil {
		return s.stop(err)
	}
	if created {
		if err := s.disk.SyncNames(); err != nil {
			return s.stop(err)
		}
	}
	if err := s.tree.flush(); err != nil {
		return s.undo(seg, created, old, err)
	}
	if err := s.publish(now); errors.Is(err, errUnpublished) {
		return s.undo(seg, created, old, err)
	} else if err != nil {
		return s.stop(err)
	}
	seg.end += int64(len(buf))
	if created {
		s.retire()
		s.active = seg
	}
	return nil
}

// writable returns the segment to append to; created means that it is a new one, which has no name on disk for sure.
func (s *Store) writable() (seg *segment, created bool, err error) {
	number := 0
	if s.active != nil {
		if s.active.end < s.opts.SegmentBytes {
			return s.active, false, nil
		}
		number = s.active.number + 1
	}
	// Open makes hashes and index again from the last segment on; what is before it must stay.
	if err := s.tree.sync(); err != nil {
		return nil, false, s.stop(err)
	}
	f, err := s.disk.Create(segmentName(number))
	if err != nil {
		return nil, false, err
	}
	return &segment{file: f, number: number}, true, nil
}

// retire closes the segment that was appended to until now.
func (s *Store) retire() {
	if s.active == nil {
		return
	}
	if err := s.active.Close(); err != nil {
		s.opts.Logger.Warn("evidence: close segment", "segment", s.active.number, "err", err)
	}
}

// publish signs the tree, and makes it the log's state once the checkpoint is durable.
func (s *Store) publish(t tlog.Tree) error {
	if s.isMirror() {
		return nil // the checkpoint comes from the log that it copies
	}
	msg, err := signCheckpoint(s.opts.Signer, s.opts.Origin, t)
	if err != nil {
		return err
	}
	return s.accept(&commit{tree: t, note: msg})
}

// errUnpublished says that the checkpoint on disk is for sure the one before, as when there was no room for a new one.
var errUnpublished = errors.New("the checkpoint cannot be written")

// A renaming disk notes whether a new checkpoint may be in the place of the old one.
type renaming struct {
	durable.Disk
	tried bool
}

func (d *renaming) Rename(from, to string) error {
	d.tried = true
	return d.Disk.Rename(from, to)
}

// accept makes a signed state the log's state.
func (s *Store) accept(c *commit) error {
	d := &renaming{Disk: replacing{s.disk}}
	if err := durable.ReplaceIn(d, checkpointFile, c.note); err != nil {
		if !d.tried {
			err = fmt.Errorf("%w: %w", errUnpublished, err)
		}
		return err
	}
	s.committed.Store(c)
	return nil
}

// undo takes back a group after a write failed with cause, as on a full disk. If that fails too the store stops.
func (s *Store) undo(seg *segment, created bool, old tlog.Tree, cause error) error {
	s.tree.reset(old.N)
	var err error
	if created {
		err = errors.Join(seg.Close(), s.disk.Remove(segmentName(seg.number)), s.disk.SyncNames())
	} else {
		err = cut(seg, seg.end)
	}
	if err != nil {
		return s.stop(errors.Join(cause, err))
	}
	return cause
}

// stop ends all writing. Nothing that was acknowledged is in doubt, only the group that failed.
func (s *Store) stop(cause error) error {
	s.stopped = fmt.Errorf("%w: %w", ErrStopped, cause)
	return s.stopped
}

// Size returns the number of leaves that were acknowledged.
func (s *Store) Size() int64 { return s.committed.Load().tree.N }

// Tree returns the tree that Checkpoint signs.
func (s *Store) Tree() tlog.Tree { return s.committed.Load().tree }

// Checkpoint returns the latest checkpoint, a signed note. It covers everything that was acknowledged.
func (s *Store) Checkpoint() []byte { return slices.Clone(s.committed.Load().note) }

// Close waits for the group being written, refuses what still waits, and gives the folder free.
// Reads under way may fail.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closed = true
	s.releaseLocked()
	waiting := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, r := range waiting {
		r.err = ErrClosed
		close(r.done)
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.stopped = ErrClosed
	err := errors.Join(s.tree.hashes.Close(), s.tree.index.Close())
	if s.active != nil {
		err = errors.Join(err, s.active.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
