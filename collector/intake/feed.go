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
	"slices"
	"sync"
	"time"

	"egovmon/agent/durable"
	"egovmon/collector/evidence"
)

const (
	snapshotFile    = "state.json"
	snapshotVersion = 3
	// Two older snapshots are kept, snapshotApart leaves apart at least, so that a consumer which begins some way
	// behind the end of the log can begin at one of them.
	snapshotBefore = "state-1.json"
	snapshotOldest = "state-2.json"
	snapshotApart  = 5000
	maxSnapshot    = 1 << 30
	snapshotEvery  = 5 * time.Minute
	retryAfter     = time.Second
	retryAtMost    = time.Minute
	// slice is how long one consumer that is behind may keep the others waiting at a time.
	slice = 200 * time.Millisecond
)

// snapshots lists the files from the newest on. It is never changed.
var snapshots = []string{snapshotFile, snapshotBefore, snapshotOldest}

// A feed brings what is in the log to the consumers. It belongs to Run, but for position.
type feed struct {
	fold      *Fold
	consumers []*consumer
	saved     int64 // Next of the last snapshot
	kept      int64 // Next of snapshotBefore

	mu       sync.Mutex
	position int64         // every consumer that works has taken all before it
	moved    chan struct{} // closed and replaced when position has grown
}

type consumer struct {
	Consumer
	failed time.Time // of the last error; zero when there is none
	wait   time.Duration
	held   *Accepted // what it failed to take, which comes first when it is tried again
	// own is the fold of a consumer that is behind; nil for one that goes along with the others. What it has been fed is
	// taken, but for held.
	own *Fold
}

// waits reports whether it is not yet time to try a consumer again that failed.
func (c *consumer) waits() bool { return !c.failed.IsZero() && time.Since(c.failed) < c.wait }

// A snapshot is what the server knew at a leaf, so that a start need not read the whole log. It is only believed when
// the log has the same leaf at its end.
type snapshot struct {
	Version  int                        `json:"version"`
	Next     int64                      `json:"next"` // of the fold
	Size     int64                      `json:"size"` // leaves that the machines may know of
	Last     string                     `json:"last"` // hash of leaf Size-1
	Fold     foldState                  `json:"fold"`
	Machines map[string]machineSnapshot `json:"machines"`
	Recovery knownKey                   `json:"recovery"`
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
	for _, name := range snapshots {
		snap, err := s.readSnapshot(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.opts.Logger.Warn("intake: reading more of the log", "file", name, "err", err)
			continue
		}
		fold.state = snap.Fold
		s.recoveryKey = snap.Recovery
		for id, ms := range snap.Machines {
			m := s.machine(id)
			m.heads, m.plan, m.status = ms.Heads, ms.Plan, ms.Status
		}
		break
	}
	s.dict = dictionaries{leaves: maps.Clone(fold.state.Dictionaries), shapes: maps.Clone(fold.state.Shapes), shapeOf: map[string]string{}, gathering: map[string]*gathering{}}
	for _, m := range fold.state.Shapes {
		s.dict.made = append(s.dict.made, m.At)
	}
	s.feed.saved = fold.Next()
	if snap, err := s.readSnapshot(snapshotBefore); err == nil {
		s.feed.kept = snap.Next
	}
	for _, c := range s.opts.Consumers {
		if size := s.opts.Evidence.Size(); c.Next > size {
			s.opts.Logger.Error("intake: a store has taken more leaves than the log has, as after the restore of an older log: run `collector rebuild`",
				"store", c.Name, "taken", c.Next, "log", size)
		}
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
	if snap.Version != snapshotVersion || st.Plans == nil || st.Dictionaries == nil || st.Shapes == nil || st.Machines == nil || st.Journals == nil || st.Next != snap.Next || snap.Next < 1 || snap.Size < snap.Next {
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
	snap.Recovery = s.recoveryKey
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
	if err := durable.MkdirAll(s.opts.Dir); err != nil {
		return err
	}
	if f.saved-f.kept >= snapshotApart {
		for i := len(snapshots) - 1; i > 0; i-- {
			err := os.Rename(filepath.Join(s.opts.Dir, snapshots[i-1]), filepath.Join(s.opts.Dir, snapshots[i]))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		f.kept = f.saved
	}
	if err := durable.Replace(path, data); err != nil {
		return err
	}
	f.saved = snap.Next
	return nil
}

// Run feeds the consumers until ctx ends. It returns an error only if the log cannot be read.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	saved := time.Now()
	for {
		more, err := s.advance(ctx)
		if err != nil {
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
		if more {
			continue
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
		return nil // the snapshots that there are lie before what is still to be given
	}
	if err := s.save(); err != nil {
		s.opts.Logger.Warn("intake: the next start will read more of the log", "err", err)
	}
	return nil
}

func (s *Server) anyBehind() bool {
	return slices.ContainsFunc(s.feed.consumers, func(c *consumer) bool { return c.Next < s.feed.fold.Next() })
}

// advance brings what is new in the log to the consumers. more means that one is behind and can go on at once.
func (s *Server) advance(ctx context.Context) (more bool, err error) {
	f := &s.feed
	for _, c := range f.consumers {
		if err := s.bringUp(ctx, c); err != nil {
			return false, err
		}
	}
	for e, err := range s.opts.Evidence.Entries(f.fold.Next()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, err
		}
		a, ok, err := f.fold.Feed(e)
		if err != nil {
			return false, err
		}
		if e.Leaf.Type() == evidence.LogKey {
			s.replayKey(e.Index, e.Leaf)
		}
		if ok {
			s.judged(a)
			s.compare(a.Leaf, a.Header)
			s.gather(ctx, a)
		}
		for _, c := range f.consumers {
			switch {
			case c.Next != e.Index || c.own != nil: // behind, or it has this leaf already
			case !ok:
				c.Next++
			default:
				s.give(ctx, c, a)
			}
		}
	}
	position := f.fold.Next()
	for _, c := range f.consumers {
		if c.failed.IsZero() {
			position = min(position, c.Next)
		}
		more = more || c.Next < f.fold.Next() && !c.waits()
	}
	f.mu.Lock()
	if f.position != position {
		f.position = position
		close(f.moved)
		f.moved = make(chan struct{})
	}
	f.mu.Unlock()
	return more, nil
}

// give hands one value to a consumer, and reports whether it took it.
func (s *Server) give(ctx context.Context, c *consumer, a Accepted) bool {
	err := c.Accept(ctx, a)
	if err == nil {
		c.Next, c.failed, c.wait, c.held = a.Leaf+1, time.Time{}, 0, nil
		return true
	}
	c.held = &a
	c.failed = time.Now()
	c.wait = min(max(2*c.wait, retryAfter), retryAtMost)
	if ctx.Err() == nil {
		s.opts.Logger.Error("intake: a store did not take a batch; it will be given it again", "store", c.Name, "leaf", a.Leaf, "err", err)
	}
	return false
}

// bringUp gives a consumer that is behind what it has not taken, for the length of a slice. Once it has all that the
// others have, it goes along with them.
func (s *Server) bringUp(ctx context.Context, c *consumer) error {
	end := s.feed.fold.Next()
	if c.Next >= end || c.waits() || c.held != nil && !s.give(ctx, c, *c.held) {
		return nil
	}
	if c.Next < end && c.own == nil {
		own, err := s.foldBefore(c.Next)
		if err != nil {
			return err
		}
		c.own = own
	}
	until := time.Now().Add(slice)
	if c.own == nil {
		return nil
	}
	for e, err := range s.opts.Evidence.Entries(c.own.Next()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if e.Index >= end || time.Now().After(until) {
			break
		}
		a, ok, err := c.own.Feed(e)
		switch {
		case err != nil:
			return err
		case e.Index < c.Next: // taken before
		case !ok:
			c.Next = e.Index + 1
		case !s.give(ctx, c, a):
			return nil
		}
	}
	if c.Next >= end {
		c.own = nil
	}
	return nil
}

// foldBefore returns a fold that stands at the latest snapshot which is not behind the leaf, or at the first leaf.
func (s *Server) foldBefore(leaf int64) (*Fold, error) {
	fold, err := NewFold(s.opts.Kinds, s.opts.Evidence.Blob)
	if err != nil {
		return nil, err
	}
	for _, name := range snapshots {
		if snap, err := s.readSnapshot(name); err == nil && snap.Next <= leaf {
			fold.state = snap.Fold
			break
		}
	}
	return fold, nil
}

// CatchUp calls fn with every value from the leaf from on, in the order of the log, up to the size that the log has
// now. It begins at a snapshot when one lies before from, else at the first leaf. An error of fn ends it.
func (s *Server) CatchUp(ctx context.Context, from int64, fn func(Accepted) error) error {
	fold, err := s.foldBefore(from)
	if err != nil {
		return err
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
