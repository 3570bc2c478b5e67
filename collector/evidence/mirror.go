package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Mirror is a second copy of a log, in a folder of the same form, that only ever grows: what it holds it never
// changes or removes, whatever becomes of the first. It has no key: its checkpoints are those that the first log
// signed. Make it with OpenMirror.
type Mirror struct {
	*Store
}

// OpenMirror opens the copy in dir of the log that v verifies, or makes an empty one. Only one process can have it open.
func OpenMirror(o Options) (*Mirror, error) {
	if o.Verifier == nil {
		return nil, errors.New("evidence: a mirror needs a verifier")
	}
	o.Origin, o.Signer = o.Verifier.Name(), keyless{o.Verifier}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("evidence: mirror: %w", err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("evidence: mirror %s: %w", o.Dir, err)
	}
	s, err := open(o, folder(o.Dir))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return &Mirror{s}, nil
}

// A keyless signer stands where a log has its key, and signs nothing.
type keyless struct{ note.Verifier }

var errKeyless = errors.New("a mirror has no key: it signs nothing")

// Sign refuses.
func (keyless) Sign([]byte) ([]byte, error) { return nil, errKeyless }

// isMirror reports whether the store is a copy that signs nothing.
func (s *Store) isMirror() bool { _, ok := s.opts.Signer.(keyless); return ok }

// Sync copies what the source has and the mirror has not. It returns how many leaves came. A source that has fewer
// leaves than the mirror, or others, is an error that wraps ErrRewritten; the mirror stays as it is then, and is the
// proof. told is called now and then with the leaves copied so far; it may be nil.
func (m *Mirror) Sync(ctx context.Context, source *Store, told func(leaves int64)) (copied int64, err error) {
	fail := func(err error) error {
		return fmt.Errorf("evidence: mirror %s of %s: %w", m.opts.Dir, source.opts.Dir, err)
	}
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	if m.stopped != nil {
		return 0, fail(m.stopped)
	}
	if source.Origin() != m.opts.Origin {
		return 0, fail(fmt.Errorf("the source is %s, the mirror of %s", source.Origin(), m.opts.Origin))
	}
	from := m.tree.size // what an earlier run wrote and did not publish is there already
	now := source.committed.Load()
	if err := m.continues(source, now.tree); err != nil {
		return 0, fail(err)
	}
	have := m.committed.Load().tree
	if have == now.tree {
		return 0, nil
	}
	if err := m.take(ctx, source, from, now.tree.N, told); err != nil {
		return 0, fail(err)
	}
	got, err := m.tree.at(now.tree.N)
	if err != nil {
		return 0, fail(err)
	}
	if got != now.tree {
		return 0, fail(m.stop(fmt.Errorf("the leaves copied give the root %s, %s is signed: %w", got.Hash, now.tree.Hash, ErrRewritten)))
	}
	if err := m.accept(now); err != nil {
		return 0, fail(err)
	}
	return now.tree.N - have.N, nil
}

// continues reports whether the source is what the mirror holds, and perhaps more.
func (m *Mirror) continues(source *Store, now tlog.Tree) error {
	have, err := m.Store.tree.at(m.Store.tree.size)
	if err != nil {
		return err
	}
	if now.N < have.N {
		return fmt.Errorf("the source has %d leaves, the mirror %d: %w", now.N, have.N, ErrRewritten)
	}
	if have.N == 0 {
		return nil
	}
	h, err := tlog.TreeHash(have.N, source.tree.hashes)
	if err != nil {
		return err
	}
	if h != have.Hash {
		return fmt.Errorf("the first %d leaves of the source have the root %s, those of the mirror %s: %w", have.N, h, have.Hash, ErrRewritten)
	}
	return nil
}

// take appends the leaves from to n-1 of the source, in groups. The caller has the turn.
func (m *Mirror) take(ctx context.Context, source *Store, from, n int64, told func(leaves int64)) error {
	r := &request{done: make(chan struct{})}
	flush := func() error {
		if len(r.entries) == 0 {
			return nil
		}
		err := m.write([]*request{r})
		r.entries, r.bytes = r.entries[:0], 0
		if told != nil {
			told(m.tree.size)
		}
		return err
	}
	for e, err := range source.Entries(from) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = e.check()
		}
		if err != nil {
			return err
		}
		if e.Index >= n {
			break
		}
		r.entries = append(r.entries, e.Entry)
		if r.bytes += len(e.Leaf.text) + len(e.Blob) + len(e.Body); len(r.entries) >= copyLeaves || r.bytes >= copyBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
