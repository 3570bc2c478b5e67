package stamp

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// Digest is what is stamped of a state of a log: the SHA-256 of a checkpoint's text.
func Digest(origin string, t tlog.Tree) [sha256.Size]byte {
	return sha256.Sum256([]byte(wire.FormatCheckpoint(origin, t)))
}

// A Leaf is a leaf of type stamp, of which the token is not verified.
type Leaf struct {
	Index  int64
	Origin string
	Size   int64     // leaves that were stamped
	At     time.Time // by the collector's clock
}

// Entry returns the leaf with its token.
func (l Leaf) Entry(token []byte) (evidence.Entry, error) {
	return evidence.NewEntry(evidence.Stamp, map[string]string{"at": wire.FormatTime(l.At), "origin": l.Origin, "size": strconv.FormatInt(l.Size, 10)}, token, nil)
}

// ReadLeaf reads a leaf of type stamp.
func ReadLeaf(e evidence.Stored) (Leaf, error) {
	l := Leaf{Index: e.Index, Origin: e.Leaf.Field("origin")}
	var err error
	if l.At, err = time.Parse(time.RFC3339, e.Leaf.Field("at")); err != nil {
		return l, fmt.Errorf("leaf %d (stamp): %w", e.Index, err)
	}
	if l.Size, err = strconv.ParseInt(e.Leaf.Field("size"), 10, 64); err != nil || l.Size < 1 {
		return l, fmt.Errorf("leaf %d (stamp): size %.40q is no number of leaves", e.Index, e.Leaf.Field("size"))
	}
	if _, ok := e.Leaf.Blob(); !ok {
		return l, fmt.Errorf("leaf %d (stamp): it holds no time stamp", e.Index)
	}
	return l, nil
}

// Leaves is what a log is read from; *evidence.Store is one.
type Leaves interface {
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
	Size() int64
}

// last returns the latest stamp of a log, of its leaves from the index next on; ok is false without one.
func last(log Leaves, origin string, next int64) (l Leaf, ok bool, err error) {
	for e, err := range log.Leaves(next) {
		if err != nil {
			return l, ok, err
		}
		if e.Leaf.Type() != evidence.Stamp || e.Leaf.Field("origin") != origin {
			continue
		}
		x, err := ReadLeaf(e)
		if err != nil {
			return l, ok, err
		}
		l, ok = x, true
	}
	return l, ok, nil
}
