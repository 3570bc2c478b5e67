package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
	"egovmon/agent/wire"
)

// ErrOvertaken is wrapped by the errors of a Store that must not sign any more: there is a checkpoint with its own
// signature that it does not hold. An older copy of the log was put back, and whatever it signed now would be a fork.
var ErrOvertaken = errors.New("the log was set back behind a checkpoint that it has signed, and signs nothing more: restore a newer backup or " +
	"the mirror, or begin the successor log with `collector successor`")

// overtakenFile has the checkpoint by which the store was overtaken, as it was shown.
const overtakenFile = "overtaken"

// An overtaking is what a store was shown and does not hold.
type overtaking struct{ tree tlog.Tree }

func (o *overtaking) err(size int64) error {
	return fmt.Errorf("%w (a checkpoint of %d leaves was shown, the log has %d)", ErrOvertaken, o.tree.N, size)
}

// TreeAt returns the tree of the first n leaves.
func (s *Store) TreeAt(n int64) (tlog.Tree, error) {
	if size := s.Size(); n < 0 || n > size {
		return tlog.Tree{}, fmt.Errorf("evidence: the log has %d leaves, not %d", size, n)
	}
	h, err := tlog.TreeHash(n, s.tree.hashes)
	return tlog.Tree{N: n, Hash: h}, err
}

// holds reports whether a tree is the beginning of the log.
func (s *Store) holds(t tlog.Tree) (bool, error) {
	if t.N > s.Size() {
		return false, nil
	}
	have, err := s.TreeAt(t.N)
	return err == nil && have == t, err
}

// Show compares the log with a checkpoint of it that somebody holds. One that is signed by the log's key and is not a
// beginning of it is kept, and ends all writing, now and after every Open that does not find it: the error wraps
// ErrOvertaken then. Any other error says that msg is no checkpoint of this log.
func (s *Store) Show(msg []byte) error {
	t, err := s.openShown(msg)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	s.turn <- struct{}{} // nothing is written between the comparison and its outcome
	defer func() { <-s.turn }()
	ok, err := s.holds(t)
	if err != nil || ok {
		return err
	}
	if o := s.overtaken.Load(); o != nil {
		return o.err(s.Size())
	}
	o := &overtaking{t}
	s.overtaken.Store(o)
	if s.stopped == nil {
		s.stopped = o.err(s.Size())
	}
	s.opts.Logger.Error("evidence: the log does not hold a checkpoint that it has signed; it signs nothing more", "shown", t.N, "leaves", s.Size())
	if err := durable.ReplaceIn(replacing{s.disk}, overtakenFile, msg); err != nil {
		s.opts.Logger.Error("evidence: the checkpoint cannot be kept", "err", err)
	}
	return o.err(s.Size())
}

func (s *Store) openShown(msg []byte) (tlog.Tree, error) {
	if len(msg) > maxCheckpoint {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %d bytes, the most is %d", len(msg), maxCheckpoint)
	}
	n, err := note.Open(msg, note.VerifierList(s.opts.Verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w: want a signature by %s", err, s.opts.Verifier.Name())
	}
	origin, t, err := wire.ParseCheckpoint(n.Text)
	if err == nil && origin != s.opts.Origin {
		err = fmt.Errorf("checkpoint of %q, not of %q", origin, s.opts.Origin)
	}
	return t, err
}

// Overtaken returns the tree that the log was shown and does not hold; ok is false when there is none.
func (s *Store) Overtaken() (t tlog.Tree, ok bool) {
	if o := s.overtaken.Load(); o != nil {
		return o.tree, true
	}
	return tlog.Tree{}, false
}

// loadOvertaken looks whether an earlier run was overtaken, and whether the log still is.
func (s *Store) loadOvertaken() error {
	msg, err := readFile(s.disk, overtakenFile, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t, err := s.openShown(msg)
	if err != nil {
		return fmt.Errorf("%s: %w", overtakenFile, err)
	}
	ok, err := s.holds(t)
	switch {
	case err != nil:
		return err
	case ok:
		s.opts.Logger.Warn("evidence: the log holds again what it was shown", "dir", s.opts.Dir, "leaves", t.N)
		return s.disk.Remove(overtakenFile)
	}
	o := &overtaking{t}
	s.overtaken.Store(o)
	s.stopped = o.err(s.Size())
	return nil
}

// Hold lets every Append wait until Release, Close or the end of its context. What is written already stays readable.
func (s *Store) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil && !s.closed {
		s.held = make(chan struct{})
	}
}

// Held reports whether somebody holds the store.
func (s *Store) Held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held != nil
}

// Release ends Hold. Without one it does nothing.
func (s *Store) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked()
}

func (s *Store) releaseLocked() {
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// wait returns once nobody holds the store.
func (s *Store) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		held := s.held
		s.mu.Unlock()
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return fmt.Errorf("evidence: the log is held until agents were heard: %w", context.Cause(ctx))
		}
	}
}
