package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrNone is wrapped by the error of Blob or Body if the leaf has none.
var ErrNone = errors.New("the leaf has none")

// A Stored is an entry with its place in the log. The bytes belong to the caller.
type Stored struct {
	Entry
	Index int64
}

// Leaf returns leaf i. It is compared with the tree.
func (s *Store) Leaf(i int64) (Leaf, error) {
	r, err := s.pick(i, false, false)
	return r.Leaf, err
}

// Blob returns the blob of leaf i, compared with the leaf. The error wraps ErrNone if it has none.
func (s *Store) Blob(i int64) ([]byte, error) {
	r, err := s.pick(i, true, false)
	if err == nil && r.Leaf.blob == nil {
		err = fmt.Errorf("evidence: blob of leaf %d: %w", i, ErrNone)
	}
	if err == nil && r.blobGone {
		err = fmt.Errorf("evidence: blob of leaf %d: %w", i, ErrRemoved)
	}
	return r.Blob, err
}

// Body returns the body of leaf i, compared with the leaf. The error wraps ErrNone if it has none.
func (s *Store) Body(i int64) ([]byte, error) {
	r, err := s.pick(i, false, true)
	if err == nil && r.Leaf.body == nil {
		err = fmt.Errorf("evidence: body of leaf %d: %w", i, ErrNone)
	}
	if err == nil && r.bodyGone {
		err = fmt.Errorf("evidence: body of leaf %d: %w", i, ErrRemoved)
	}
	return r.Body, err
}

// pick looks leaf i up, with its blob and its body if they are wanted.
func (s *Store) pick(i int64, blob, body bool) (record, error) {
	r, err := s.pickLeaf(i, blob, body)
	if err != nil {
		return record{}, fmt.Errorf("evidence %s: leaf %d: %w", s.opts.Dir, i, err)
	}
	return r, nil
}

func (s *Store) pickLeaf(i int64, blob, body bool) (record, error) {
	if size := s.Size(); i < 0 || i >= size {
		return record{}, fmt.Errorf("the log has the leaves 0 to %d", size-1)
	}
	p, err := readPlace(s.tree.index, i)
	if err != nil {
		return record{}, err
	}
	f, sc, err := s.scan(p, pickAhead)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	sc.skipBlobs, sc.skipBodies = !blob, !body
	r, err := sc.next()
	if errors.Is(err, io.EOF) {
		err = sc.broken("the file ends where leaf %d should be", i)
	}
	if err != nil {
		return record{}, err
	}
	want, err := s.tree.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
	if err != nil {
		return record{}, err
	}
	if r.commit || r.Leaf.Hash() != want[0] {
		return record{}, sc.broken("this is not leaf %d of the tree", i)
	}
	return r, nil
}

// scan opens a segment at the frame of a leaf.
func (s *Store) scan(p place, ahead int) (file, *scanner, error) {
	name := segmentName(int(p.segment))
	f, err := s.disk.Open(name)
	if err != nil {
		return nil, nil, err
	}
	sc, err := newScanner(name, f, int64(p.offset), ahead)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	sc.dec = s.pack.dec
	return f, sc, nil
}

// Entries yields the leaves from the index from on, with their blobs and bodies, up to the size that the log has when
// the iteration begins. It may go on while others append. After an error it ends.
func (s *Store) Entries(from int64) iter.Seq2[Stored, error] {
	return s.entries(from, false)
}

// Leaves is Entries without blobs and bodies, which are not read.
func (s *Store) Leaves(from int64) iter.Seq2[Stored, error] {
	return s.entries(from, true)
}

func (s *Store) entries(from int64, bare bool) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		size := s.Size()
		for i := max(from, 0); i < size; {
			next, more, err := s.segmentEntries(i, size, bare, yield)
			if err != nil {
				yield(Stored{}, fmt.Errorf("evidence %s: leaf %d: %w", s.opts.Dir, next, err))
				return
			}
			if !more {
				return
			}
			i = next
		}
	}
}

// segmentEntries yields the leaves from i on that stand in the segment of leaf i.
func (s *Store) segmentEntries(i, size int64, bare bool, yield func(Stored, error) bool) (next int64, more bool, err error) {
	p, err := readPlace(s.tree.index, i)
	if err != nil {
		return i, false, err
	}
	f, sc, err := s.scan(p, scanAhead)
	if err != nil {
		return i, false, err
	}
	defer f.Close()
	sc.skipBlobs, sc.skipBodies = bare, bare
	for start := i; i < size; {
		r, err := sc.next()
		switch {
		case errors.Is(err, io.EOF) && i > start:
			return i, true, nil
		case errors.Is(err, io.EOF):
			return i, false, sc.broken("the file ends where leaf %d should be", i)
		case err != nil:
			return i, false, err
		case r.commit:
			if r.tree.N != i {
				return i, false, sc.broken("a commit of %d leaves behind leaf %d", r.tree.N, i-1)
			}
			continue
		}
		if !yield(Stored{Entry: r.Entry, Index: i}, nil) {
			return i, false, nil
		}
		i++
	}
	return i, true, nil
}

// Still runs f while nothing is appended, so that what f reads of the log is of one state: that of Checkpoint. What others
// append meanwhile waits; f must not append itself, and should be short.
func (s *Store) Still(ctx context.Context, f func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("evidence: %w", context.Cause(ctx))
	}
	defer func() { <-s.turn }()
	return f()
}

// ProveLeaf proves that leaf i is in the tree of the first size leaves; tlog.CheckRecord checks it.
func (s *Store) ProveLeaf(i, size int64) (tlog.RecordProof, error) {
	if size > s.Size() || i < 0 || i >= size {
		return nil, fmt.Errorf("evidence: no proof of leaf %d in %d leaves: the log has %d", i, size, s.Size())
	}
	return tlog.ProveRecord(size, i, s.tree.hashes)
}

// ProveTree proves that the tree of the first size leaves begins with that of the first old; tlog.CheckTree checks it.
// Every tree begins with the empty one, for which the proof is empty.
func (s *Store) ProveTree(old, size int64) (tlog.TreeProof, error) {
	if size > s.Size() || old < 0 || old > size {
		return nil, fmt.Errorf("evidence: no proof from %d to %d leaves: the log has %d", old, size, s.Size())
	}
	if old == 0 {
		return tlog.TreeProof{}, nil
	}
	return tlog.ProveTree(size, old, s.tree.hashes)
}
