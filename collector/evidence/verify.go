package evidence

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Summary says what Verify read.
type Summary struct {
	Origin     string
	Tree       tlog.Tree      // as the checkpoint signs it
	Segments   int            // read
	BlobBytes  int64          // of blobs
	BodyBytes  int64          // of bodies
	LeafBytes  int64          // of leaves
	FileBytes  int64          // of the segments read, frames included
	LeafCounts map[Type]int64 // leaves by type
	Removed    int64          // blobs and bodies that were removed, each with its tombstone
}

// Verify reads the whole log in dir and compares everything with everything: the checksum of each frame, each leaf's
// form, each blob and body with its leaf, each stored hash and each stored root with those computed anew from the
// leaves, and the root at last with the checkpoint that v proves. The error is the first thing found wrong; it names
// file and offset. Verify changes nothing and may run beside the collector: what is behind the checkpoint is left out.
func Verify(dir string, v note.Verifier) (Summary, error) {
	s, err := verify(folder(dir), v)
	if err != nil {
		return s, fmt.Errorf("evidence %s: verify: %w", dir, err)
	}
	return s, nil
}

// An audit is one run of Verify.
type audit struct {
	Summary
	disk   disk
	hashes hashFile
	index  file
	now    tlog.Tree
	gone   []missing
	stones []Removal
	right  []tlog.Hash // roots of the full subtrees so far, the largest first
}

func verify(d disk, v note.Verifier) (Summary, error) {
	origin, signed, msg, err := readCheckpoint(d, v)
	if err != nil {
		return Summary{}, err
	}
	if msg == nil {
		return Summary{}, fmt.Errorf("there is no %s: this folder holds no log", checkpointFile)
	}
	a := &audit{disk: d, Summary: Summary{Origin: origin, Tree: signed, LeafCounts: make(map[Type]int64)}}
	hashes, err := d.Open(hashesFile)
	if err != nil {
		return a.Summary, err
	}
	defer hashes.Close()
	a.hashes = hashFile{hashes}
	if a.index, err = d.Open(indexFile); err != nil {
		return a.Summary, err
	}
	defer a.index.Close()
	a.now.Hash = root(nil)
	for a.now.N < signed.N {
		if err := a.segment(a.Segments); err != nil {
			return a.Summary, err
		}
		a.Segments++
	}
	if a.now != signed {
		return a.Summary, fmt.Errorf("%s signs the root %s for %d leaves, the leaves give %s", checkpointFile, signed.Hash, signed.N, a.now.Hash)
	}
	return a.Summary, a.tombstones()
}

// A missing piece is not there any more.
type missing struct {
	leaf   int64
	piece  Piece
	offset int64
	file   string
}

// tombstones finds the right by which each piece that is gone was removed.
func (a *audit) tombstones() error {
	for _, m := range a.gone {
		if !slices.ContainsFunc(a.stones, func(r Removal) bool { return r.Piece == m.piece && r.Has(m.leaf) }) {
			return &BrokenError{m.file, m.offset, fmt.Sprintf("the %s of leaf %d was removed, and no tombstone says so", m.piece, m.leaf)}
		}
		a.Removed++
	}
	return nil
}

func (a *audit) segment(number int) error {
	name := segmentName(number)
	f, err := a.disk.Open(name)
	if err != nil {
		return fmt.Errorf("%w: the segments before it hold %d of %d leaves", err, a.now.N, a.Tree.N)
	}
	defer f.Close()
	sc, err := newScanner(name, f, 0, scanAhead)
	if err != nil {
		return err
	}
	header, err := sc.header()
	if err != nil {
		return err
	}
	if !isHeader(header, number, a.Origin, a.now) {
		return sc.broken("the header is %q, want %q", header, segmentHeader(number, a.Origin, a.now))
	}
	n := a.now.N
	for a.now.N < a.Tree.N {
		r, err := sc.next()
		switch {
		case errors.Is(err, io.EOF) && n == a.now.N:
			a.FileBytes += sc.off
			return nil
		case errors.Is(err, io.EOF):
			return sc.broken("the file ends before the group is committed")
		case err != nil:
			return err
		case r.commit:
			a.now = tlog.Tree{N: n, Hash: root(a.right)}
			if r.tree != a.now {
				return sc.broken("the commit says %d leaves and root %s, there are %d and %s", r.tree.N, r.tree.Hash, n, a.now.Hash)
			}
		default:
			if err := a.leaf(n, number, r); err != nil {
				return err
			}
			n++
		}
	}
	a.FileBytes += sc.off
	return nil
}

// leaf adds leaf n and compares what the derived files say of it.
func (a *audit) leaf(n int64, segment int, r record) error {
	p, err := readPlace(a.index, n)
	if err != nil {
		return err
	}
	if want := (place{uint32(segment), uint32(r.offset)}); p != want {
		return &BrokenError{indexFile, n * placeSize, fmt.Sprintf("leaf %d is said to be at %v, it is at %v", n, p, want)}
	}
	h := r.Leaf.Hash()
	computed := []tlog.Hash{h}
	for k := n; k&1 == 1; k >>= 1 { // each 1 bit at the end closes a subtree
		last := len(a.right) - 1
		h = tlog.NodeHash(a.right[last], h)
		a.right = a.right[:last]
		computed = append(computed, h)
	}
	a.right = append(a.right, h)
	first := tlog.StoredHashCount(n)
	for i, want := range computed {
		got, err := a.hashes.ReadHashes([]int64{first + int64(i)})
		if err != nil {
			return err
		}
		if got[0] != want {
			return &BrokenError{hashesFile, (first + int64(i)) * tlog.HashSize, fmt.Sprintf("a hash above leaf %d is %s, want %s", n, got[0], want)}
		}
	}
	if r.Leaf.typ == Tombstone {
		stone, err := ReadRemoval(Stored{Entry: r.Entry, Index: n})
		if err != nil {
			return &BrokenError{segmentName(segment), r.offset, err.Error()}
		}
		a.stones = append(a.stones, stone)
	}
	for piece, gone := range map[Piece]bool{BlobPiece: r.blobGone, BodyPiece: r.bodyGone} {
		if gone {
			a.gone = append(a.gone, missing{n, piece, r.offset, segmentName(segment)})
		}
	}
	a.LeafCounts[r.Leaf.typ]++
	a.LeafBytes += int64(len(r.Leaf.text))
	a.BlobBytes += int64(len(r.Blob))
	a.BodyBytes += int64(len(r.Body))
	return nil
}

// root returns the root hash of the tree whose full subtrees have these roots (RFC 6962, section 2.1).
func root(right []tlog.Hash) tlog.Hash {
	if len(right) == 0 {
		h, _ := tlog.TreeHash(0, nil)
		return h
	}
	h := right[len(right)-1]
	for i := len(right) - 2; i >= 0; i-- {
		h = tlog.NodeHash(right[i], h)
	}
	return h
}
