package audit

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/words"
)

// TestProvenLate has machines that name an old checkpoint, and one that names a fresh one each time.
func TestProvenLate(t *testing.T) {
	w := new(world).build(t)
	r, err := w.verify(w.export(), nil)
	if err != nil || !r.OK() || r.ProvenLate != 0 {
		t.Errorf("fresh checkpoints: %d proven late, %v %.300v", r.ProvenLate, err, r.Findings)
	}
	// Always the state after the third batch: what was sealed more than an hour after it is proved to an hour only.
	var old tlog.Tree
	n := 0
	w = &world{seen: func(now tlog.Tree) tlog.Tree {
		if n++; n == 4 {
			old = now
		}
		if n > 4 {
			return old
		}
		return now
	}}
	w.build(t)
	if r, err = w.verify(w.export(), nil); err != nil || !r.OK() || r.ProvenLate == 0 || r.ProvenLate >= r.Batches || r.LateBatches != 0 {
		t.Errorf("an old checkpoint: %d of %d proven late, %v %.300v", r.ProvenLate, r.Batches, err, r.Findings)
	}
	var b strings.Builder
	if err := r.Write(&b, words.VI); err != nil || !strings.Contains(b.String(), "Chứng thực muộn") {
		t.Errorf("%v\n%s", err, b.String())
	}
	// None at all, and one of before the first receipt, which tells less the older it is.
	w = (&world{seen: func(tlog.Tree) tlog.Tree { return tlog.Tree{} }}).build(t)
	if r, err = w.verify(w.export(), nil); err != nil || r.ProvenLate != r.Batches || r.Batches == 0 {
		t.Errorf("no checkpoint: %d of %d proven late, %v", r.ProvenLate, r.Batches, err)
	}
	var first *tlog.Tree
	w = (&world{seen: func(now tlog.Tree) tlog.Tree {
		if first == nil {
			first = &now
		}
		return *first
	}}).build(t)
	if r, err = w.verify(w.export(), nil); err != nil || r.ProvenLate == 0 || r.ProvenLate == r.Batches {
		t.Errorf("the first checkpoint: %d of %d proven late, %v", r.ProvenLate, r.Batches, err)
	}
}
