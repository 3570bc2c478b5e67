package evidence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	hashesFile = "hashes"
	indexFile  = "index"
	placeSize  = 8
)

// A hashFile reads the hashes of a tree, 32 bytes each at their tlog.StoredHashIndex.
type hashFile struct{ file }

// ReadHashes implements tlog.HashReader.
func (f hashFile) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	if len(indexes) == 0 {
		return hashes, nil
	}
	lo, hi := indexes[0], indexes[0]
	for _, x := range indexes {
		lo, hi = min(lo, x), max(hi, x)
	}
	if n := hi - lo + 1; n <= 1024 { // a tile of the lowest level spans at most 511
		block := make([]byte, n*tlog.HashSize)
		if err := f.read(block, lo*tlog.HashSize); err != nil {
			return nil, err
		}
		for i, x := range indexes {
			copy(hashes[i][:], block[(x-lo)*tlog.HashSize:])
		}
		return hashes, nil
	}
	for i, x := range indexes {
		if err := f.read(hashes[i][:], x*tlog.HashSize); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

func (f hashFile) read(p []byte, off int64) error {
	if _, err := f.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: offset %d: %w", hashesFile, off, err)
	} else if err != nil {
		return &BrokenError{hashesFile, off, "the file is too short: remove it while no collector runs, the next start makes it again"}
	}
	return nil
}

// A place is where a leaf stands: the number of its segment and the offset of its frame.
type place struct{ segment, offset uint32 }

// readPlace returns the place of leaf i.
func readPlace(index file, i int64) (place, error) {
	var b [placeSize]byte
	if _, err := index.ReadAt(b[:], i*placeSize); err != nil {
		return place{}, fmt.Errorf("%s: leaf %d: %w", indexFile, i, err)
	}
	return place{binary.BigEndian.Uint32(b[:4]), binary.BigEndian.Uint32(b[4:])}, nil
}

// A tree grows the two derived files, hashes and index. What was added is seen by ReadHashes at once, but written only
// by flush. Both files can be made again from the segments.
type tree struct {
	hashes  hashFile
	index   file
	size    int64 // leaves, those not flushed included
	flushed int64 // leaves
	newHash []tlog.Hash
	places  []byte // records of the index
}

// reset forgets what is not flushed and takes the files to hold n leaves.
func (t *tree) reset(n int64) {
	t.size, t.flushed, t.newHash, t.places = n, n, t.newHash[:0], t.places[:0]
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	stored := tlog.StoredHashCount(t.flushed)
	hashes := make([]tlog.Hash, len(indexes))
	var on []int64 // in the file
	for i, x := range indexes {
		switch {
		case x < stored:
			on = append(on, x)
		case x-stored < int64(len(t.newHash)):
			hashes[i] = t.newHash[x-stored]
		default:
			return nil, fmt.Errorf("hash %d is not in a tree of %d leaves", x, t.size)
		}
	}
	read, err := t.hashes.ReadHashes(on)
	if err != nil {
		return nil, err
	}
	for i, x := range indexes {
		if x < stored {
			hashes[i], read = read[0], read[1:]
		}
	}
	return hashes, nil
}

// add appends a leaf.
func (t *tree) add(leaf tlog.Hash, p place) error {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return err
	}
	t.newHash = append(t.newHash, hashes...)
	t.places = binary.BigEndian.AppendUint32(t.places, p.segment)
	t.places = binary.BigEndian.AppendUint32(t.places, p.offset)
	t.size++
	return nil
}

// at returns the tree of the first n leaves.
func (t *tree) at(n int64) (tlog.Tree, error) {
	h, err := tlog.TreeHash(n, t)
	return tlog.Tree{N: n, Hash: h}, err
}

// flush writes what was added to the files, without sync.
func (t *tree) flush() error {
	buf := make([]byte, 0, len(t.newHash)*tlog.HashSize)
	for _, h := range t.newHash {
		buf = append(buf, h[:]...)
	}
	if _, err := t.hashes.WriteAt(buf, tlog.StoredHashCount(t.flushed)*tlog.HashSize); err != nil {
		return err
	}
	if _, err := t.index.WriteAt(t.places, t.flushed*placeSize); err != nil {
		return err
	}
	t.reset(t.size)
	return nil
}

func (t *tree) sync() error { return errors.Join(t.hashes.Sync(), t.index.Sync()) }
