package audit

import (
	"fmt"
	"time"

	"egovmon/collector/evidence"
)

// keepMonths is how long bodies of batches are kept at least; formats.md binds it.
const keepMonths = 25

// Removed is what was removed from the log by tombstones, and what that leaves unproven.
type Removed struct {
	Bodies int64 `json:"bodies"` // of batches, in their time
	Blobs  int64 `json:"blobs"`  // papers, for the sake of persons
	// InPeriod is how many of the bodies may have spoken of the period: its figures cannot be worked out any more.
	InPeriod int64        `json:"in_period"`
	Stones   []RemovalRow `json:"tombstones,omitempty"`
}

// A RemovalRow is one tombstone.
type RemovalRow struct {
	Leaf  int64     `json:"leaf"`
	At    time.Time `json:"at"`
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Piece string    `json:"piece"`
	Count int64     `json:"count"` // of leaves of which it is gone
}

// An absent piece is one that a leaf names and that is not there: removed by a tombstone that comes later, or taken out.
type absent struct {
	leaf     int64
	piece    evidence.Piece
	received time.Time // of a batch; zero for a paper
	code     Code
	what     string // to say when no tombstone covers it
}

// maxAbsent bounds how many are held.
const maxAbsent = 1 << 22

func (s *story) gone(a absent) {
	if len(s.absent) == maxAbsent {
		s.wrong(a.code, a.leaf, "%s", a.what)
		return
	}
	s.absent = append(s.absent, a)
}

// tombstone takes in a tombstone.
func (s *story) tombstone(e evidence.Stored) {
	if e.Blob == nil {
		return // said before
	}
	r, err := evidence.ReadRemoval(e)
	if err != nil {
		s.v.found(BadTombstone, e.Index, "%v", err)
		return
	}
	s.stones = append(s.stones, r)
	n := int64(0)
	for _, x := range r.Leaves {
		n += x.Last - x.First + 1
	}
	s.v.Removed.Stones = append(s.v.Removed.Stones, RemovalRow{Leaf: r.Leaf, At: r.At, By: r.By, Why: r.Why, Piece: string(r.Piece), Count: n})
}

// removed finds the right by which each absent piece is absent. What has none was taken out.
func (s *story) removed() {
	for _, a := range s.absent {
		r, ok := s.stone(a)
		due := a.received.AddDate(0, keepMonths, 0)
		switch {
		case !ok:
			s.wrong(a.code, a.leaf, "%s, and no tombstone says that it was removed", a.what)
		case a.piece == evidence.BodyPiece && r.At.Before(due):
			s.wrong(BadTombstone, r.Leaf, "leaf %d (tombstone) removed the body of leaf %d at %s; it was to be kept until %s", r.Leaf, a.leaf, r.At.Format(time.RFC3339), due.Format(time.RFC3339))
		case r.At.After(s.last.Add(48 * time.Hour)):
			s.wrong(BadTombstone, r.Leaf, "leaf %d (tombstone) is of %s, and the last receipt in the log of %s: it says that it is later than it is", r.Leaf, r.At.Format(time.RFC3339), s.last.Format(time.RFC3339))
		case a.piece == evidence.BlobPiece:
			s.v.Removed.Blobs++
		default:
			s.v.Removed.Bodies++
			s.v.Removed.InPeriod++
		}
	}
}

func (s *story) stone(a absent) (evidence.Removal, bool) {
	for _, r := range s.stones {
		if r.Piece == a.piece && r.Leaf > a.leaf && r.Has(a.leaf) {
			return r, true
		}
	}
	return evidence.Removal{}, false
}

// unproven says why figures cannot be worked out after removals; "" when they can.
func (x Removed) unproven() string {
	if x.InPeriod == 0 {
		return ""
	}
	return fmt.Sprintf("%d bodies of the period were removed by tombstones: its figures cannot be worked out from this log any more; the export that was kept when its report was issued proves them", x.InPeriod)
}
