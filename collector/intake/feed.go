package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"egovmon/collector/evidence"
)

const (
	snapshotFile    = "state.json"
	snapshotBefore  = "state-before.json"
	snapshotVersion = 1
	maxSnapshot     = 1 << 30
	snapshotEvery   = 5 * time.Minute
	retryAfter      = time.Second
	retryAtMost     = time.Minute
)

// A feed brings what is in the log to the consumers. It belongs to Run, but for position.
type feed struct {
	fold      *Fold
	consumers []*consumer
	saved     int64 // Next of the last snapshot

	mu       sync.Mutex
	position int64         // every consumer that works has all before it
	moved    chan struct{} // closed and replaced when position has grown
}

type consumer struct {
	Consumer
	failed time.Time // of the last error; zero when there is none
	wait   time.Duration
}

// A snapshot is what the server knew at a leaf, so that a start need not read the whole log. It is only believed when
// the log has the same leaf at its end.
type snapshot struct {
	Version  int                        `json:"version"`
	Next     int64                      `json:"next"` // of the fold
	Size     int64                      `json:"size"` // leaves that the machines may know of
	Last     string                     `json:"last"` // hash of leaf Size-1
	Fold     foldState                  `json:"fold"`
	Machines map[string]machineSnapshot `json:"machines"`
}

type machineSnapshot struct {
	Heads  heads       `json:"heads"`
	Plan   planInForce `json:"plan"`
	Status Status      `json:"status"`
}

// openFeed starts from the last snapshot that is of this log, or from the beginning.
func (s *Server) openFeed() error {
	fold, err := NewFold(s.opts.Kinds, s.opts.Evidence.Blob)
	if err != nil {
		return err
	}
	s.feed.fold, s.feed.moved = fold, make(chan struct{})
	for _, name := range []string{snapshotFile, snapshotBefore} {
		snap, err := s.readSnapshot(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.opts.Logger.Warn("intake: reading more of the log", "file", name, "err", err)
			continue
		}
		fold.state = snap.Fold
		for id, ms := range snap.Machines {
			m := s.machine(id)
			m.heads, m.plan, m.status = ms.Heads, ms.Plan, ms.Status
		}
		break
	}
	s.feed.saved, s.feed.position = fold.Next(), fold.Next()
	for _, c := range s.opts.Consumers {
		s.feed.consumers = append(s.feed.consumers, &consumer{Consumer: c})
	}
	return nil
}

func (s *Server) readSnapshot(name string) (snap snapshot, err error) {
	f, err := os.Open(filepath.Join(s.opts.Dir, name))
	if err != nil {
		return snap, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxSnapshot)).Decode(&snap); err != nil {
		return snap, err
	}
	st := snap.Fold
	if snap.Version != snapshotVersion || st.Plans == nil || st.Machines == nil || st.Journals == nil || st.Next != snap.Next || snap.Next < 1 || snap.Size < snap.Next {
		return snap, fmt.Errorf("it is not of version %d", snapshotVersion)
	}
	last, err := s.opts.Evidence.Leaf(snap.Size - 1)
	if err != nil {
		return snap, err
	}
	if last.Hash().String() != snap.Last {
		return snap, errors.New("it was made from another log")
	}
	return snap, nil
}

// save writes a snapshot, and keeps the one before: a consumer that is behind can begin there.
func (s *Server) save() error {
	f := &s.feed
	if f.fold.Next() == f.saved {
		return nil
	}
	snap := snapshot{Version: snapshotVersion, Next: f.fold.Next(), Fold: f.fold.state, Machines: map[string]machineSnapshot{}}
	s.mu.Lock()
	for id, m := range s.machines {
		st := m.status
		st.Rejected = maps.Clone(st.Rejected)
		st.Refused = maps.Clone(st.Refused)
		snap.Machines[id] = machineSnapshot{*m.heads.clone(), m.plan, st}
	}
	s.mu.Unlock()
	snap.Size = s.opts.Evidence.Size() // asked after the machines: no head is beyond it
	last, err := s.opts.Evidence.Leaf(snap.Size - 1)
	if err != nil {
		return err
	}
	snap.Last = last.Hash().String()
	data, err := json.Marshal(snap)
	if err != nil {
		return err
	}
	path := filepath.Join(s.opts.Dir, snapshotFile)
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(s.opts.Dir, snapshotBefore)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeFile(path, data); err != nil {
		return err
	}
	f.saved = snap.Next
	return nil
}

// writeFile makes the file, mode 0600, in one durable step.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if runtime.GOOS == "windows" { // NTFS journals names by itself
		return nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Run feeds the consumers until ctx ends. It returns an error only if the log cannot be read.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	saved := time.Now()
	for {
		if err := s.advance(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			return fmt.Errorf("intake: %w", err)
		}
		if time.Since(saved) > snapshotEvery && !s.anyBehind() {
			saved = time.Now()
			if err := s.save(); err != nil {
				s.opts.Logger.Warn("intake: the next start will read more of the log", "err", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-s.waking:
		case <-tick.C:
		}
		if ctx.Err() != nil {
			break
		}
	}
	if s.anyBehind() {
		return nil
	}
	if err := s.save(); err != nil {
		s.opts.Logger.Warn("intake: the next start will read more of the log", "err", err)
	}
	return nil
}

func (s *Server) anyBehind() bool {
	return slices.ContainsFunc(s.feed.consumers, func(c *consumer) bool { return c.Next < s.feed.fold.Next() })
}

// advance brings what is new in the log to the consumers.
func (s *Server) advance(ctx context.Context) error {
	f := &s.feed
	for _, c := range f.consumers {
		if err := s.bringUp(ctx, c); err != nil {
			return err
		}
	}
	for e, err := range s.opts.Evidence.Entries(f.fold.Next()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		a, ok, err := f.fold.Feed(e)
		if err != nil {
			return err
		}
		if ok {
			s.judged(a)
		}
		for _, c := range f.consumers {
			switch {
			case c.Next != e.Index: // behind, or it has this leaf already
			case !ok:
				c.Next++
			default:
				s.give(ctx, c, a)
			}
		}
	}
	f.mu.Lock()
	if f.position != f.fold.Next() {
		f.position = f.fold.Next()
		close(f.moved)
		f.moved = make(chan struct{})
	}
	f.mu.Unlock()
	return nil
}

// give hands one value to a consumer, and reports whether it took it.
func (s *Server) give(ctx context.Context, c *consumer, a Accepted) bool {
	err := c.Accept(ctx, a)
	if err == nil {
		c.Next, c.failed, c.wait = a.Leaf+1, time.Time{}, 0
		return true
	}
	c.failed = time.Now()
	c.wait = min(max(2*c.wait, retryAfter), retryAtMost)
	if ctx.Err() == nil {
		s.opts.Logger.Error("intake: a store did not take a batch; it will be given it again", "store", c.Name, "leaf", a.Leaf, "err", err)
	}
	return false
}

// bringUp gives a consumer that is behind what it has not taken, unless it failed just now.
func (s *Server) bringUp(ctx context.Context, c *consumer) error {
	end := s.feed.fold.Next()
	if c.Next >= end || !c.failed.IsZero() && time.Since(c.failed) < c.wait {
		return nil
	}
	err := s.CatchUp(ctx, c.Next, func(a Accepted) error {
		switch {
		case a.Leaf >= end:
			return errThere
		case !s.give(ctx, c, a):
			return errLater
		}
		return nil
	})
	switch {
	case errors.Is(err, errLater):
		return nil
	case err != nil && !errors.Is(err, errThere):
		return err
	}
	c.Next = max(c.Next, end)
	return nil
}

// Why bringUp breaks off.
var (
	errThere = errors.New("the consumer has caught up")
	errLater = errors.New("the consumer failed again")
)

// CatchUp calls fn with every value from the leaf from on, in the order of the log, up to the size that the log has
// now. It begins at a snapshot when one lies before from, else at the first leaf. An error of fn ends it.
func (s *Server) CatchUp(ctx context.Context, from int64, fn func(Accepted) error) error {
	fold, err := NewFold(s.opts.Kinds, s.opts.Evidence.Blob)
	if err != nil {
		return err
	}
	for _, name := range []string{snapshotFile, snapshotBefore} {
		if snap, err := s.readSnapshot(name); err == nil && snap.Next <= from {
			fold.state = snap.Fold
			break
		}
	}
	return replay(ctx, s.opts.Evidence, fold, from, fn)
}

// Replay calls fn with every value that the log gives from the leaf from on, reading it from its beginning. It is what
// `collector rebuild` uses, without a Server.
func Replay(ctx context.Context, log *evidence.Store, fold *Fold, from int64, fn func(Accepted) error) error {
	return replay(ctx, log, fold, from, fn)
}

func replay(ctx context.Context, log *evidence.Store, fold *Fold, from int64, fn func(Accepted) error) error {
	for e, err := range log.Entries(fold.Next()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		a, ok, err := fold.Feed(e)
		if err != nil {
			return err
		}
		if ok && a.Leaf >= from {
			if err := fn(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush returns once all that is in the log now was given to the consumers. Run must be under way.
func (s *Server) Flush(ctx context.Context) error {
	size := s.opts.Evidence.Size()
	for {
		s.feed.mu.Lock()
		there, moved := s.feed.position >= size, s.feed.moved
		s.feed.mu.Unlock()
		if there {
			return nil
		}
		s.wake()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}
