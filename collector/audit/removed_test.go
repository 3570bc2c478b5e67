package audit

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/evidence"
)

// remove removes the bodies of the n-th batches, as of an instant, and has the log go on until a receipt of then.
func (w *world) remove(at time.Time, piece evidence.Piece, leaves ...int64) int64 {
	w.t.Helper()
	leaf, err := w.store.Remove(w.t.Context(), evidence.Removal{At: at, By: "an", Why: "25 tháng", Piece: piece, Leaves: evidence.Runs(leaves)})
	if err != nil {
		w.t.Fatal(err)
	}
	return leaf
}

// batches are the leaves of batches.
func (w *world) batches() (out []int64) {
	w.t.Helper()
	for e, err := range w.store.Leaves(0) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Leaf.Type() == evidence.Batch {
			out = append(out, e.Index)
		}
	}
	return out
}

// paper is an attestation with a person's paper.
func (w *world) paper() int64 {
	leaf := w.store.Size()
	w.append(evidence.Attestation, map[string]string{"at": start.Format(time.RFC3339), "by": "an"}, []byte("a person's paper"), nil)
	return leaf
}

// TestTombstones removes what may be removed, and what may not.
func TestTombstones(t *testing.T) {
	later := start.AddDate(0, keepMonths, 1)
	old := func(w *world) { // the log goes on until two years later
		w.receipt = func(f map[string]string, seq uint64) {
			if seq == 22 { // the last
				f["received"] = later.Format("2006-01-02T15:04:05.000Z")
			}
		}
	}
	t.Run("bodies in their time", func(t *testing.T) {
		w := new(world)
		old(w)
		w.build(t)
		figures := encode(t, w.report())
		stone := w.remove(later, evidence.BodyPiece, w.batches()[3:6]...)
		r, err := w.verify(w.export(), nil)
		if err != nil || !r.OK() || r.Removed.Bodies != 3 || r.Removed.InPeriod != 3 || len(r.Removed.Stones) != 1 || r.Removed.Stones[0].Leaf != stone || r.Figures != nil {
			t.Fatalf("%v %+v %.500v", err, r.Removed, r.Findings)
		}
		var b strings.Builder
		if err := r.Write(&b, words.EN); err != nil || !strings.Contains(b.String(), "Removed by a tombstone") || !strings.Contains(b.String(), "3 batches of this period were removed") {
			t.Errorf("%v\n%s", err, b.String())
		}
		r, err = w.verify(w.export(), figures)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, NoFigures, -1, "3 bodies of the period were removed")
	})
	t.Run("a person's paper", func(t *testing.T) {
		w := new(world).build(t)
		paper := w.paper()
		w.remove(start.Add(3*time.Hour), evidence.BlobPiece, paper)
		r, err := w.verify(w.export(), encode(t, w.report()))
		if err != nil || !r.OK() || r.Removed.Blobs != 1 || r.Figures.Compared != 2 {
			t.Errorf("%v %+v %.500v", err, r.Removed, r.Findings)
		}
	})
	t.Run("a body before its time", func(t *testing.T) {
		w := new(world)
		old(w)
		w.build(t)
		stone := w.remove(later.AddDate(0, -2, 0), evidence.BodyPiece, w.batches()[4])
		r, err := w.verify(w.export(), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadTombstone, stone, "it was to be kept until")
	})
	t.Run("a tombstone of the future", func(t *testing.T) {
		w := new(world).build(t)
		stone := w.remove(later, evidence.BodyPiece, w.batches()[4])
		r, err := w.verify(w.export(), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadTombstone, stone, "later than it is")
	})
	t.Run("a body without a tombstone", func(t *testing.T) {
		w := new(world)
		old(w)
		w.build(t)
		batches := w.batches()
		w.remove(later, evidence.BodyPiece, batches[3], batches[5])
		r, err := w.verify(keep(t, without(t, w.bytes(), dirBodies, batches[4])), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, MissingBody, batches[4], "no tombstone says that it was removed")
	})
	t.Run("a paper without a tombstone", func(t *testing.T) {
		w := new(world).build(t)
		paper := w.paper()
		r, err := w.verify(keep(t, without(t, w.bytes(), dirBlobs, paper)), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadBlob, paper, "no tombstone says that it was removed")
	})
	t.Run("a tombstone for what comes after it", func(t *testing.T) {
		w := new(world).build(t)
		w.append(evidence.Tombstone, map[string]string{"at": later.Format(time.RFC3339), "by": "an", "piece": "body", "why": "w"}, []byte("0 99999\n"), nil)
		r, err := w.verify(w.export(), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadTombstone, w.store.Size()-1, "no leaves before it")
	})
	t.Run("a header with a tombstone", func(t *testing.T) {
		w := new(world).build(t)
		batch := w.batches()[4]
		e, err := evidence.Removal{At: start.Add(2 * time.Hour), By: "an", Why: "w", Piece: evidence.BlobPiece, Leaves: evidence.Runs([]int64{batch})}.Entry()
		if err == nil {
			_, err = w.store.Append(t.Context(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.verify(keep(t, without(t, w.bytes(), dirBlobs, batch)), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadBlob, batch, "is missing")
	})
}

// without takes the bytes attached to a leaf out of an export.
func without(t *testing.T, whole []byte, dir string, leaf int64) []byte {
	t.Helper()
	ms := unzip(t, whole)
	m := file(t, ms, dir)
	from, to := attachedAt(m.data, leaf)
	if binary.BigEndian.Uint32(m.data[from-4:]) == 0 {
		t.Fatal("it was not there before")
	}
	m.data = slices.Concat(m.data[:from-4], []byte{0, 0, 0, 0}, m.data[to:])
	out := rezip(t, ms)
	if bytes.Equal(out, whole) {
		t.Fatal("nothing was taken out")
	}
	return out
}
