package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"egovmon/agent/wire"
)

// ErrUnknownHead says that a journal holds no such batch, or not any more.
var ErrUnknownHead = errors.New("no such batch in the journal")

// A DamagedError says that batches of a journal cannot be read. Those behind them are of no use to the collector, as
// each names the one before.
type DamagedError struct {
	Journal string
	Err     error
}

// Error says where the damage is.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal %s is damaged: %v", e.Journal, e.Err)
}

// Unwrap returns what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

// A Sealed is a batch and its name.
type Sealed struct {
	Head  wire.Head
	Batch Batch
}

// A position is a place between two batches, kept so that reading on does not begin anew.
type position struct {
	head wire.Head // the batch before
	num  int       // of the segment
	off  int64
}

// Batches returns the sealed batches after a head, in order, all of one journal: at least one if there is one, at most
// count, and together at most size bytes as framed for a request. The zero Head stands before the first batch that is
// kept; seq 0 before the first one of a journal. After a journal's last batch comes the next journal's first. Where a segment is damaged it stops, with a [*DamagedError] once nothing
// is left before the damage.
func (j *Journal) Batches(after wire.Head, count, size int) ([]Sealed, error) {
	j.reading.Lock()
	defer j.reading.Unlock()
	segs := j.snapshot()
	pos, err := j.locate(segs, after)
	if err != nil {
		return nil, err
	}
	var out []Sealed
	for _, s := range segs {
		if s.num < pos.num {
			continue
		}
		if len(out) > 0 && out[0].Head.Journal != s.journal {
			break
		}
		if s.num > pos.num {
			pos.num, pos.off = s.num, 0
		}
		var gap error
		more, err := j.readSegment(s, &pos, func(x Sealed) bool {
			if before := pos.head; before.Journal == x.Head.Journal && before.Seq+1 != x.Head.Seq {
				gap = fmt.Errorf("batch %d is followed by %d", before.Seq, x.Head.Seq)
				return false
			}
			size -= wire.FrameSize(len(x.Batch.Note), len(x.Batch.Body))
			if len(out) > 0 && (size < 0 || len(out) == count) {
				return false
			}
			out = append(out, x)
			return true
		})
		if err = cmp.Or(err, gap); err != nil && len(out) == 0 {
			return nil, &DamagedError{s.journal, fmt.Errorf("segment %s: %w", s.name(), err)}
		}
		if err != nil || !more {
			break
		}
	}
	j.pos = pos
	return out, nil
}

func (j *Journal) snapshot() []segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Clone(j.segments)
}

// locate finds the place after a head.
func (j *Journal) locate(segs []segment, after wire.Head) (position, error) {
	kept := func(num int) bool { return slices.ContainsFunc(segs, func(s segment) bool { return s.num == num }) }
	if after == (wire.Head{}) {
		return position{}, nil
	}
	if j.pos.head == after && kept(j.pos.num) {
		return j.pos, nil
	}
	for _, s := range segs {
		if s.journal != after.Journal || after.Seq+1 < s.first || after.Seq > s.last {
			continue
		}
		pos := position{num: s.num}
		switch {
		case after.Seq == s.last:
			pos.off = s.size // without reading, so that damage is passed over
		case after.Seq >= s.first:
			_, err := j.readSegment(s, &pos, func(x Sealed) bool { return x.Head.Seq <= after.Seq })
			if err != nil {
				return pos, &DamagedError{s.journal, fmt.Errorf("segment %s: %w", s.name(), err)}
			}
		}
		pos.head = after
		return pos, nil
	}
	return position{}, fmt.Errorf("batch %s/%d: %w", after.Journal, after.Seq, ErrUnknownHead)
}

// readSegment hands over the batches of a segment from pos on, and moves pos behind each one that is taken. It
// reports whether all were taken.
func (j *Journal) readSegment(s segment, pos *position, take func(Sealed) bool) (bool, error) {
	// Behind the last batch may lie what a failed write left.
	if pos.off >= s.size || s.last < s.first || pos.head.Journal == s.journal && pos.head.Seq >= s.last {
		return true, nil
	}
	f, err := os.Open(filepath.Join(j.o.Dir, s.name()))
	if err != nil {
		return false, err
	}
	defer f.Close()
	for {
		fr, err := readFrame(f, pos.off, s.size, 0)
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if fr.kind == kindBatch {
			b, err := splitBatch(fr.payload)
			if err != nil {
				return false, err
			}
			h, err := headerOf(b.Note)
			if err != nil {
				return false, err
			}
			if h.Seq > s.last {
				return true, nil // the next segment has it
			}
			if !take(Sealed{h.Head(), b}) {
				return false, nil
			}
			if pos.head, pos.off = h.Head(), fr.end; h.Seq == s.last {
				return true, nil
			}
		}
		pos.off = fr.end
	}
}

// LastBefore returns when the last batch was sealed of those that say they were no later than a time; zero when there is
// none. Where the clock was ahead, batches behind it say that they were sealed later.
func (j *Journal) LastBefore(t time.Time) (last time.Time) {
	for _, s := range slices.Backward(j.snapshot()) {
		pos := position{num: s.num}
		_, _ = j.readSegment(s, &pos, func(x Sealed) bool { // what cannot be read says nothing
			if h, err := headerOf(x.Batch.Note); err == nil && !h.Sealed.After(t) {
				last = later(last, h.Sealed)
			}
			return true
		})
		if !last.IsZero() {
			break
		}
	}
	return last
}

// Ack notes that everything up to a head is archived, durably for all but a power cut: then it is sent again, which is
// harmless. A head behind the one noted before changes nothing; one that the journal does not hold is ErrUnknownHead.
func (j *Journal) Ack(head wire.Head) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.ack(head)
}

// ack is Ack; the caller holds writing.
func (j *Journal) ack(head wire.Head) error {
	moved, err := j.moveCursor(head)
	if err != nil || !moved {
		return err
	}
	var oldest time.Time
	if next, err := j.Batches(head, 1, 0); err == nil && len(next) > 0 {
		if h, err := headerOf(next[0].Batch.Note); err == nil {
			oldest = h.Sealed
		}
	}
	j.mu.Lock()
	j.oldest = oldest
	j.mu.Unlock()
	now := j.o.Now()
	j.prune(now)
	if last, hash := j.Head(); last.Journal == j.id {
		j.remember(last, hash, now)
	}
	return j.writeCursor(head)
}

// moveCursor sets the acknowledged head in memory.
func (j *Journal) moveCursor(head wire.Head) (moved bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.segments, func(s segment) bool {
		return s.journal == head.Journal && s.first <= head.Seq && head.Seq <= s.last
	})
	if i < 0 {
		return false, fmt.Errorf("batch %s/%d: %w", head.Journal, head.Seq, ErrUnknownHead)
	}
	for _, s := range j.segments[i:] {
		if s.journal == j.acked.Journal && s.first <= j.acked.Seq && j.acked.Seq <= s.last {
			if s.num != j.segments[i].num || j.acked.Seq >= head.Seq {
				return false, nil
			}
		}
	}
	j.acked = head
	return true, nil
}

// Acked returns the last acknowledged head; the zero Head for none.
func (j *Journal) Acked() wire.Head {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.acked
}

// unacked counts the batches of a segment that are not acknowledged. The caller holds mu.
func (j *Journal) unacked(s segment) uint64 {
	if j.acked == (wire.Head{}) {
		return s.last + 1 - s.first
	}
	at := slices.IndexFunc(j.segments, func(s segment) bool {
		return s.journal == j.acked.Journal && s.first <= j.acked.Seq && j.acked.Seq <= s.last
	})
	switch {
	case at >= 0 && s.num < j.segments[at].num:
		return 0
	case at >= 0 && s.num == j.segments[at].num:
		return s.last - j.acked.Seq
	}
	return s.last + 1 - s.first
}

// prune removes segments that are acknowledged, older than Keep, and not the last.
func (j *Journal) prune(now time.Time) {
	if !j.sweep() {
		return
	}
	j.mu.Lock()
	var old []segment
	for len(j.segments) > 1 && j.unacked(j.segments[0]) == 0 && now.Sub(j.segments[0].sealed) > j.o.Keep && !j.holds(j.segments[0], j.acked) {
		old = append(old, j.segments[0])
		j.segments = slices.Delete(j.segments, 0, 1)
	}
	j.mu.Unlock()
	for _, s := range old {
		if err := j.disk.Remove(s.name()); err != nil {
			j.log.Error("old segment cannot be removed", "dir", j.o.Dir, "segment", s.name(), "err", err)
		}
	}
}

// holds keeps the segment in which reading goes on.
func (j *Journal) holds(s segment, head wire.Head) bool {
	return s.journal == head.Journal && s.first <= head.Seq && head.Seq <= s.last
}

// writeCursor stores the acknowledged head.
func (j *Journal) writeCursor(head wire.Head) error {
	f, err := j.disk.Create(cursorName + ".new")
	if err != nil {
		return fmt.Errorf("journal: cursor: %w", err)
	}
	if _, err := fmt.Fprintf(f, "egovmon-cursor/1 %s %d .\n", head.Journal, head.Seq); err != nil {
		return fmt.Errorf("journal: cursor: %w", closeWith(f, err))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("journal: cursor: %w", err)
	}
	if err := j.disk.Rename(cursorName+".new", cursorName); err != nil {
		return fmt.Errorf("journal: cursor: %w", err)
	}
	return nil
}

// recoverCursor reads the acknowledged head. Without a readable one everything counts as not acknowledged. One beyond
// what is left says that batches which the collector has are gone here.
func (j *Journal) recoverCursor(r *Recovered) {
	head := readCursor(j.o.Dir)
	if head.Journal != "" {
		if _, err := j.moveCursor(head); err != nil && head.Journal == j.id && head.Seq >= j.seq && r.Unreadable == "" {
			r.Unreadable = fmt.Sprintf("the collector has batch %d, the segments end at %d", head.Seq, j.seq-1)
		}
	}
	if next, err := j.Batches(j.acked, 1, 0); err == nil && len(next) > 0 {
		if h, err := headerOf(next[0].Batch.Note); err == nil {
			j.oldest = h.Sealed
		}
	}
}
