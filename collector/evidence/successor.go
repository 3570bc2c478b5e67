package evidence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

const (
	copyLeaves = 2000    // entries copied in one group, at most
	copyBytes  = 4 << 20 // and their bytes
	// maxSuccessions is how many logs of a district may follow one another.
	maxSuccessions = 64
)

// oldField is the field of a log-key leaf that says which log ended; no other leaf of the type has it.
const oldField = "old"

// SuccessionEntry returns the first leaf of a log that comes after another: it names the old log, its size and root as
// far as the new log holds it, and why. The blob is the succession as the recovery key signed it.
func SuccessionEntry(msg []byte, s wire.Succession) (Entry, error) {
	return NewEntry(LogKey, map[string]string{
		"at": s.At.UTC().Format(time.RFC3339), "key": s.Key, oldField: s.Old, "root": s.Tree.Hash.String(),
		"size": strconv.FormatInt(s.Tree.N, 10), "why": s.Why,
	}, msg, nil)
}

// Successions returns the signed successions that led to this log, the oldest first; none for the first log of a
// district. The leaves of each log stand behind the succession that ended it: those of the log before this one have the
// indexes 1 to n here.
func Successions(s *Store) ([][]byte, error) {
	var notes [][]byte
	for i := int64(0); i < min(s.Size(), maxSuccessions); i++ {
		l, err := s.Leaf(i)
		if err != nil {
			return nil, err
		}
		if l.typ != LogKey || l.Field(oldField) == "" {
			break
		}
		msg, err := s.Blob(i)
		if err != nil {
			return nil, err
		}
		notes = append(notes, msg)
	}
	slices.Reverse(notes)
	return notes, nil
}

// Succeed makes the log that comes after old in o.Dir, which must be empty or not there: the succession, then every
// leaf of old with its blob and body, byte for byte. What is copied is compared with old's signed tree before Succeed
// returns nil; the new log proves the old one with its own leaves 1 to n from then on, so that nothing else of the old
// one is needed. told is called now and then with the leaves copied so far; it may be nil.
func Succeed(ctx context.Context, old *Store, o Options, msg []byte, recovery note.Verifier, told func(leaves int64)) (err error) {
	fail := func(err error) error { return fmt.Errorf("evidence %s: succeed %s: %w", o.Dir, old.Origin(), err) }
	s, err := wire.OpenSuccession(msg, recovery)
	if err != nil {
		return fail(err)
	}
	tree := old.Tree()
	if s.Old != old.Origin() || s.New != o.Origin || s.Tree != tree {
		return fail(fmt.Errorf("the succession is of %s with %d leaves to %s, the log is %s with %d", s.Old, s.Tree.N, s.New, old.Origin(), tree.N))
	}
	first, err := SuccessionEntry(msg, s)
	if err != nil {
		return fail(err)
	}
	fresh, err := Open(o)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	if fresh.Size() > 0 {
		return fail(errors.New("the folder holds a log already: remove it, nothing else knows of it"))
	}
	if _, err := fresh.Append(ctx, first); err != nil {
		return fail(err)
	}
	got, err := copyAll(ctx, old, fresh, tree.N, told)
	if err == nil && got != tree {
		err = fmt.Errorf("%d leaves with the root %s were copied, %d with %s are signed: %w", got.N, got.Hash, tree.N, tree.Hash, ErrRewritten)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// copyAll appends the first n entries of one log to another, and returns the tree over them.
func copyAll(ctx context.Context, from, to *Store, n int64, told func(leaves int64)) (tlog.Tree, error) {
	var right roots
	var group []Entry
	size := 0
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		_, err := to.Append(ctx, group...)
		group, size = group[:0], 0
		if told != nil {
			told(right.n)
		}
		return err
	}
	for e, err := range from.Entries(0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return tlog.Tree{}, err
		}
		if e.Index >= n {
			break
		}
		right.add(e.Leaf.Hash())
		group = append(group, e.Entry)
		if size += len(e.Leaf.text) + len(e.Blob) + len(e.Body); len(group) >= copyLeaves || size >= copyBytes {
			if err := flush(); err != nil {
				return tlog.Tree{}, err
			}
		}
	}
	err := flush()
	return right.tree(), err
}

// roots are the roots of the full subtrees over leaves that are added one by one, the largest first.
type roots struct {
	n    int64
	full []tlog.Hash
}

func (r *roots) add(h tlog.Hash) {
	for k := r.n; k&1 == 1; k >>= 1 { // each 1 bit at the end closes a subtree
		last := len(r.full) - 1
		h = tlog.NodeHash(r.full[last], h)
		r.full = r.full[:last]
	}
	r.full = append(r.full, h)
	r.n++
}

func (r *roots) tree() tlog.Tree { return tlog.Tree{N: r.n, Hash: root(r.full)} }
