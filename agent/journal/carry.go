package journal

import (
	"errors"
	"fmt"

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
	var last wire.Head
	for _, s := range j.snapshot() {
		if s.journal != ended {
			continue
		}
		pos := position{num: s.num}
		rd.Dictionaries(inSegment(j.o.Dir, s.name()))
		var failed error
		_, err := j.readSegment(s, &pos, func(x Sealed) bool {
			if last = x.Head; x.Head.Seq > from.Seq {
				n, err := j.carryBatch(rd, x.Batch)
				records += n
				failed = err
			}
			return failed == nil
		})
		if failed != nil {
			return records, failed
		}
		if err != nil {
			j.log.Error("part of a journal cannot be read, and is lost", "journal", ended, "segment", s.name(), "err", err)
		}
		if s.last >= s.first {
			last = s.head()
		}
	}
	if last == (wire.Head{}) {
		return records, fmt.Errorf("journal %s: %w", ended, ErrUnknownHead)
	}
	return records, j.Ack(last)
}

// carryBatch records the results and ranges of a batch again.
func (j *Journal) carryBatch(rd *Reader, b Batch) (n int, err error) {
	h, err := headerOf(b.Note)
	if err != nil {
		return 0, err
	}
	recs, err := rd.Records(h, b.Body)
	if errors.Is(err, ErrDictionary) {
		j.log.Error("a batch cannot be read, and is lost", "journal", h.Journal, "seq", h.Seq, "err", err)
		return 0, nil
	}
	if _, ok := errors.AsType[*ContentError](err); err != nil && !ok {
		return 0, err
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return 0, err
	}
	now, last := j.o.Now(), j.lastTime
	defer func() { j.lastTime = last }() // what is carried says nothing about the clock
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
