package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

// Carry records again, in the present journal, the results and ranges of an ended one that were not acknowledged, and
// then takes the ended one as acknowledged: the collector can take no more of it. Where it is damaged, what can be read
// is carried. It returns how many records it carried; called again after an error, it begins anew, and the collector
// counts what it gets twice as such.
func (j *Journal) Carry(ended string) (records int, err error) {
	from := wire.Head{Journal: ended}
	if a := j.Acked(); a.Journal == ended {
		from = a
	}
	return j.CarryAfter(from)
}

// CarryAfter is Carry of everything after a head, whatever was acknowledged. Seq 0 stands before a journal's first batch.
func (j *Journal) CarryAfter(from wire.Head) (records int, err error) {
	ended := from.Journal
	if ended == j.ID() {
		return 0, fmt.Errorf("journal %s: has not ended", ended)
	}
	rd, err := NewReader()
	if err != nil {
		return 0, err
	}
	c := carrier{j: j, rd: rd, from: from.Seq}
	segs := j.snapshot()
	for i, s := range segs {
		if s.journal != ended {
			continue
		}
		rd.Dictionaries(inSegment(j.o.Dir, s.name()))
		pos := position{num: s.num}
		_, err := j.readSegment(s, &pos, func(x Sealed) bool { return c.take(x.Batch) == nil })
		if c.err == nil && err != nil {
			j.log.Error("part of a journal cannot be read, and is lost", "journal", ended, "segment", s.name(), "err", err)
			c.damaged()
			most := s.last
			if i+1 == len(segs) || segs[i+1].journal != ended {
				most = math.MaxUint64
			}
			j.behind(s, pos.off, func(b Batch, h Header) error {
				if h.Seq > most {
					return nil
				}
				return c.take(b)
			})
		}
		if c.err != nil {
			return c.records, c.err
		}
		if s.last >= s.first {
			c.last = s.head()
		}
	}
	if c.last == (wire.Head{}) {
		return c.records, fmt.Errorf("journal %s: %w", ended, ErrUnknownHead)
	}
	return c.records, j.Ack(c.last)
}

// A carrier records batches of a journal that ended again, and what is missing between them as lost.
type carrier struct {
	j       *Journal
	rd      *Reader
	from    uint64    // batches up to here are not carried
	last    wire.Head // of the batches that were read
	sealed  time.Time // when that one was
	gap     bool      // what follows it cannot be read
	records int
	err     error
}

// damaged notes that what follows cannot be read.
func (c *carrier) damaged() { c.gap = true }

// take carries a batch, and remembers the error.
func (c *carrier) take(b Batch) error {
	h, err := headerOf(b.Note)
	if err != nil {
		c.err = err
		return err
	}
	if h.Seq > c.from {
		c.j.writing.Lock()
		n, err := c.j.carryBatch(c.rd, h, b, c.lost(h))
		c.j.writing.Unlock()
		if c.records += n; err != nil {
			c.err = err
			return err
		}
	}
	c.last, c.sealed, c.gap = h.Head(), h.Sealed, false
	return nil
}

// lost returns what is missing before a batch; nil for nothing. How many slots that is cannot be told: at least one a
// batch.
func (c *carrier) lost(h Header) *check.Range {
	if !c.gap || h.Seq <= c.last.Seq+1 {
		return nil
	}
	return &check.Range{Reason: check.DataLost, Check: "*", From: c.sealed, Slots: int(min(h.Seq-c.last.Seq-1, maxWhole))}
}

// behind hands over the whole batches of a segment that lie behind a place which makes no sense, until use fails.
func (j *Journal) behind(s segment, off int64, use func(Batch, Header) error) {
	f, err := os.Open(filepath.Join(j.o.Dir, s.name()))
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	for at := nextFrame(f, off+1, st.Size(), kindBatch, 0); at < st.Size(); {
		fr, err := readFrame(f, at, st.Size(), 0)
		if err != nil || fr.kind != kindBatch {
			at = nextFrame(f, at+1, st.Size(), kindBatch, 0)
			continue
		}
		at = fr.end
		b, err := splitBatch(fr.payload)
		if err != nil {
			continue
		}
		if h, err := headerOf(b.Note); err == nil && h.Journal == s.journal && use(b, h) != nil {
			return
		}
	}
}

// carryBatch records the results and ranges of a batch again, behind a range of what is missing before it. The caller
// holds writing.
func (j *Journal) carryBatch(rd *Reader, h Header, b Batch, lost *check.Range) (n int, err error) {
	recs, err := rd.Records(h, b.Body)
	if errors.Is(err, ErrDictionary) {
		j.log.Error("a batch cannot be read, and is lost", "journal", h.Journal, "seq", h.Seq, "err", err)
		return 0, nil
	}
	if _, ok := errors.AsType[*ContentError](err); err != nil && !ok {
		return 0, err
	}
	if err := j.ready(); err != nil {
		return 0, err
	}
	now, last := j.o.Now(), j.lastTime
	defer func() { j.lastTime = last }() // what is carried says nothing about the clock
	if lost != nil {
		lost.To = later(earliest(recs, h.Sealed), lost.From.Add(time.Second))
		if err := j.add(&Record{Range: lost}, now); err != nil {
			return 0, err
		}
	}
	for i := range recs {
		r := &recs[i]
		if r.Result == nil && r.Range == nil {
			continue
		}
		if len(j.lines) >= maxOpen {
			if err := j.flush(now); err != nil {
				return n, err
			}
		}
		if err := j.add(r, now); err != nil {
			return n, err
		}
		if r.Result != nil {
			j.seal.results++
		}
		n++
	}
	j.seal.urgent = true
	return n, j.flush(now)
}

// earliest returns the first slot of results; otherwise the other time.
func earliest(recs []Record, otherwise time.Time) time.Time {
	for i := range recs {
		if r := recs[i].Result; r != nil && r.Slot.Before(otherwise) {
			otherwise = r.Slot
		}
	}
	return otherwise
}
