package evidence

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrRemoved is wrapped by the error of Blob or Body if what the leaf names was removed.
var ErrRemoved = errors.New("it was removed; a tombstone in the log says by what right")

// A Piece is what a leaf refers to.
type Piece string

// The pieces.
const (
	BodyPiece Piece = "body"
	BlobPiece Piece = "blob"
)

// Removable reports whether a piece of a leaf may be removed at all: bodies, when their time is up or for a person's sake,
// and papers that may name a person. Everything else is kept for ever.
func Removable(t Type, p Piece) bool {
	if p == BodyPiece {
		return t == Batch || t == Certificate
	}
	switch t {
	case Attestation, Exclusion, Exception, Correction:
		return p == BlobPiece
	}
	return false
}

// BodyRemoved reports whether the body that the leaf names was removed from the store that the entry was read from.
func (e Entry) BodyRemoved() bool { return e.bodyGone }

// BlobRemoved is BodyRemoved for the blob.
func (e Entry) BlobRemoved() bool { return e.blobGone }

// A Removal is what a tombstone says: which pieces were removed, when, by whom and by what right.
type Removal struct {
	Leaf   int64 // of the tombstone
	At     time.Time
	By     string
	Why    string
	Piece  Piece
	Leaves []Run // of which the piece was removed, in order
}

// A Run is the leaves from First to Last.
type Run struct{ First, Last int64 }

// maxRuns is how many runs of leaves a tombstone may name.
const maxRuns = 1 << 20

// Runs packs indexes, which it sorts.
func Runs(leaves []int64) []Run {
	leaves = slices.Compact(slices.Sorted(slices.Values(leaves)))
	var out []Run
	for _, i := range leaves {
		if n := len(out); n > 0 && out[n-1].Last == i-1 {
			out[n-1].Last = i
		} else {
			out = append(out, Run{i, i})
		}
	}
	return out
}

// Has reports whether a leaf is among those of the removal.
func (r Removal) Has(leaf int64) bool {
	_, ok := slices.BinarySearchFunc(r.Leaves, leaf, func(x Run, leaf int64) int {
		switch {
		case x.Last < leaf:
			return -1
		case x.First > leaf:
			return 1
		}
		return 0
	})
	return ok
}

// Entry returns the tombstone: its blob is a line FIRST LAST for each run.
func (r Removal) Entry() (Entry, error) {
	var blob []byte
	for _, x := range r.Leaves {
		blob = fmt.Appendf(blob, "%d %d\n", x.First, x.Last)
	}
	return NewEntry(Tombstone, map[string]string{"at": r.At.UTC().Format(receivedFormat), "by": r.By, "piece": string(r.Piece), "why": r.Why}, blob, nil)
}

// ReadRemoval reads a tombstone.
func ReadRemoval(e Stored) (Removal, error) {
	l := e.Leaf
	r := Removal{Leaf: e.Index, By: l.Field("by"), Why: l.Field("why"), Piece: Piece(l.Field("piece"))}
	bad := func(format string, args ...any) (Removal, error) {
		return r, fmt.Errorf("leaf %d (tombstone): %s", e.Index, fmt.Sprintf(format, args...))
	}
	var err error
	if r.At, err = time.Parse(time.RFC3339, l.Field("at")); err != nil {
		return bad("%v", err)
	}
	if r.Piece != BodyPiece && r.Piece != BlobPiece {
		return bad("piece %.40q is none of body, blob", r.Piece)
	}
	last := int64(-1)
	for sc := bufio.NewScanner(bytes.NewReader(e.Blob)); sc.Scan(); {
		first, end, _ := bytes.Cut(sc.Bytes(), []byte(" "))
		a, err := strconv.ParseInt(string(first), 10, 64)
		b, err2 := strconv.ParseInt(string(end), 10, 64)
		if err = errors.Join(err, err2); err != nil || a <= last || b < a || b >= e.Index || len(r.Leaves) == maxRuns {
			return bad("%.40q are no leaves before it, in order", sc.Text())
		}
		r.Leaves, last = append(r.Leaves, Run{a, b}), b
	}
	if len(r.Leaves) == 0 {
		return bad("it names no leaves")
	}
	return r, nil
}

// Remove puts a tombstone into the log, and then erases the pieces that it names. What was interrupted in between is
// completed by Erase.
func (s *Store) Remove(ctx context.Context, r Removal) (leaf int64, err error) {
	for _, x := range r.Leaves {
		for i := x.First; i <= x.Last; i++ {
			l, err := s.Leaf(i)
			if err != nil {
				return 0, err
			}
			if !Removable(l.typ, r.Piece) {
				return 0, fmt.Errorf("evidence: leaf %d (%s): its %s is kept for ever", i, l.typ, r.Piece)
			}
		}
	}
	e, err := r.Entry()
	if err == nil {
		leaf, err = s.Append(ctx, e)
	}
	if err != nil {
		return 0, err
	}
	r.Leaf = leaf
	_, err = s.Erase(ctx, r)
	return leaf, err
}

// Erase erases what a tombstone in the log names, and returns how many bytes that were. What is erased already stays as it
// is. Leaf, tree and everything else stay, at their places.
func (s *Store) Erase(ctx context.Context, r Removal) (bytes int64, err error) {
	l, err := s.Leaf(r.Leaf)
	if err != nil || l.typ != Tombstone {
		return 0, fmt.Errorf("evidence: leaf %d is no tombstone: nothing is erased without one: %w", r.Leaf, err)
	}
	for _, x := range r.Leaves {
		for i := x.First; i <= x.Last; i++ {
			if err := ctx.Err(); err != nil {
				return bytes, err
			}
			n, err := s.erase(i, r.Piece)
			if bytes += n; err != nil {
				return bytes, fmt.Errorf("evidence %s: leaf %d: %w", s.opts.Dir, i, err)
			}
		}
	}
	return bytes, nil
}

// erase overwrites one piece. Its frame is marked first, durably, so that a part that was overwritten is never read as one
// that went bad.
func (s *Store) erase(i int64, piece Piece) (int64, error) {
	p, err := readPlace(s.tree.index, i)
	if err != nil {
		return 0, err
	}
	f, err := s.disk.Create(segmentName(int(p.segment)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	at, size, err := s.find(f, p, i, piece)
	if err != nil || size == 0 {
		return 0, err
	}
	if _, err := f.WriteAt([]byte{kindGone}, at); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	zeros := make([]byte, min(size, 64<<10))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], at+frameHead+off); err != nil {
			return 0, err
		}
	}
	punch(f, at+frameHead, size)
	return size, f.Sync()
}

// find returns where the frame of a piece of leaf i begins, and how many bytes it holds; 0 when it was erased before.
func (s *Store) find(f file, p place, i int64, piece Piece) (at, size int64, err error) {
	sc, err := newScanner(segmentName(int(p.segment)), f, int64(p.offset), pickAhead)
	if err != nil {
		return 0, 0, err
	}
	sc.dec = s.pack.dec
	sc.skipBlobs, sc.skipBodies = true, true
	r, err := sc.next()
	if err != nil {
		return 0, 0, err
	}
	want, err := s.tree.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
	if err != nil {
		return 0, 0, err
	}
	if r.commit || r.Leaf.Hash() != want[0] {
		return 0, 0, sc.broken("this is not leaf %d of the tree", i)
	}
	switch {
	case !Removable(r.Leaf.typ, piece):
		return 0, 0, fmt.Errorf("the %s of a leaf of type %s is kept for ever", piece, r.Leaf.typ)
	case piece == BodyPiece && r.Leaf.body != nil:
		at = r.bodyAt
	case piece == BlobPiece && r.Leaf.blob != nil && !r.packed:
		at = r.blobAt
	default:
		return 0, 0, nil
	}
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		return 0, 0, err
	}
	size = int64(binary.BigEndian.Uint32(head[1:5]))
	if head[0] != kindGone {
		return at, size, nil
	}
	left := make([]byte, size) // of an erasure that was interrupted
	if _, err := f.ReadAt(left, at+frameHead); err != nil && size > 0 {
		return 0, 0, err
	}
	if !slices.ContainsFunc(left, func(b byte) bool { return b != 0 }) {
		return 0, 0, nil
	}
	return at, size, nil
}
