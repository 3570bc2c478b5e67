package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

// Carry records again, in the present journal, the results and ranges of an ended one that were not acknowledged, and
// then takes the ended one as acknowledged: the collector can take no more of it. Where it is damaged, what can be read
// is carried. What another clock has seen goes into journals of its own, so that each batch states the clock that it was
// recorded by; then the present journal is another one. It returns how many records it carried; called again after an
// error, it passes over what it has recorded already.
func (j *Journal) Carry(ended string) (records int, err error) {
	from := wire.Head{Journal: ended}
	if a := j.Acked(); a.Journal == ended {
		from = a
	}
	return j.CarryAfter(from)
}

// CarryAfter is Carry of everything after a head, whatever was acknowledged. Seq 0 stands before a journal's first batch.
func (j *Journal) CarryAfter(from wire.Head) (records int, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if from.Journal == j.id {
		return 0, fmt.Errorf("journal %s: has not ended", j.id)
	}
	return j.carry(from)
}

// CanRedate reports whether [Journal.Redate] can know anything: whether the machine tells when it was started.
func (j *Journal) CanRedate() bool {
	if j.o.Boot == nil {
		return false
	}
	boot, _ := j.o.Boot()
	return boot != ""
}

// Redate records again, in new journals, what waits to be sent, if a batch of it states another clock than is known now to
// have recorded it: each result with the state of its clock, as far as the last measurement proves it. Without such a
// batch it does nothing.
func (j *Journal) Redate() (records int, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.ready(); err != nil {
		return 0, err
	}
	acked := j.Acked()
	wrong, err := j.lastMisdated(acked)
	if err != nil || wrong == "" {
		return 0, err
	}
	if err := j.turn("redated", j.o.Now(), nil); err != nil {
		return 0, err
	}
	if err := j.keepLearnt(); err != nil {
		return 0, fmt.Errorf("journal %s: keep what is known of the clock: %w", j.id, err)
	}
	var olds []wire.Head
	for _, s := range j.snapshot() {
		switch n := len(olds); {
		case s.journal == j.id || n > 0 && olds[n-1].Journal == s.journal:
		case s.journal == acked.Journal:
			olds = append(olds[:0], acked)
		case n > 0 && olds[n-1].Journal == wrong: // what comes behind is right, as after a try that was broken off
		default:
			olds = append(olds, wire.Head{Journal: s.journal})
		}
	}
	records, err = j.carry(olds...)
	if e := j.turn("redated", j.o.Now(), nil); e != nil { // what is run from now on stands apart
		err = errors.Join(err, e)
	}
	return records, err
}

// lastMisdated returns the journal of the last batch after a head that states another clock than it was recorded by; ""
// when there is none.
func (j *Journal) lastMisdated(after wire.Head) (id string, err error) {
	for {
		bs, err := j.Batches(after, wire.MaxBatches, wire.MaxBody)
		if err != nil || len(bs) == 0 {
			return id, err
		}
		for _, b := range bs {
			h, err := headerOf(b.Batch.Note)
			if err != nil {
				return "", err
			}
			if j.misdated(h) {
				id = b.Head.Journal
			}
			after = b.Head
		}
	}
}

// turn ends the present journal, and begins another one that follows the same plan.
func (j *Journal) turn(cause string, now time.Time, p *past) error {
	if err := j.endNow(cause, now); err != nil {
		return err
	}
	j.past = p
	if err := j.beginNew(now, cause); err != nil {
		return err
	}
	if j.plan == nil {
		return nil
	}
	follows := *j.plan
	follows.At = j.by(now)
	return j.record(now, Record{Plan: &follows})
}

// carry records again what journals that have ended hold after heads of theirs, and takes them as acknowledged. The caller
// holds writing.
func (j *Journal) carry(from ...wire.Head) (records int, err error) {
	if !slices.ContainsFunc(j.snapshot(), func(s segment) bool { return s.journal == from[0].Journal }) {
		return 0, fmt.Errorf("journal %s: %w", from[0].Journal, ErrUnknownHead)
	}
	if err := j.ready(); err != nil {
		return 0, err
	}
	rd, err := NewReader()
	if err != nil {
		return 0, err
	}
	c := carrier{j: j, rd: rd, now: j.o.Now(), has: j.recordedAfter(from[len(from)-1].Journal)}
	last := j.lastTime
	for _, f := range from {
		c.journal(f)
	}
	c.end()
	j.lastTime = last // what is carried says nothing about the clock
	if c.err != nil {
		return c.records, c.err
	}
	if c.last == (wire.Head{}) {
		return c.records, fmt.Errorf("journal %s: %w", from[0].Journal, ErrUnknownHead)
	}
	return c.records, j.ack(c.last)
}

// A carrier records batches of journals that ended again, and what is missing between them as lost.
type carrier struct {
	j       *Journal
	rd      *Reader
	now     time.Time
	has     []uint64  // what is recorded again already; see recordedAfter
	from    uint64    // batches up to here are not carried
	last    wire.Head // of the batches that were read
	sealed  time.Time // when that one was
	gap     bool      // what follows it cannot be read
	kept    int       // bytes of the open batch that stay when what is carried under another clock fails
	lines   int       // of these
	records int
	err     error
}

// journal carries what a journal holds after a head.
func (c *carrier) journal(from wire.Head) {
	j, ended := c.j, from.Journal
	c.from = from.Seq
	segs := j.snapshot()
	for i, s := range segs {
		if s.journal != ended || c.err != nil {
			continue
		}
		c.rd.Dictionaries(inSegment(j.o.Dir, s.name()))
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
		if c.err == nil && s.last >= s.first {
			c.last = s.head()
		}
	}
}

// damaged notes that what follows cannot be read.
func (c *carrier) damaged() { c.gap = true }

// take carries a batch, and remembers the error.
func (c *carrier) take(b Batch) error {
	h, err := headerOf(b.Note)
	if err == nil && h.Seq > c.from {
		err = c.carry(h, b)
	}
	if err != nil {
		c.err = err
		return err
	}
	c.last, c.sealed, c.gap = h.Head(), h.Sealed, false
	return nil
}

// carry records the results and ranges of a batch again, behind a range of what is missing before it.
func (c *carrier) carry(h Header, b Batch) error {
	j := c.j
	recs, err := c.rd.Records(h, b.Body)
	if errors.Is(err, ErrDictionary) {
		j.log.Error("a batch cannot be read, and is lost", "journal", h.Journal, "seq", h.Seq, "err", err)
		return nil
	}
	if _, ok := errors.AsType[*ContentError](err); err != nil && !ok {
		return err
	}
	by := j.seenBy(h)
	if err := c.ended(recs, by, j.pastOf(h)); err != nil {
		return err
	}
	if err := c.under(j.pastOf(h)); err != nil {
		return err
	}
	if lost := c.lost(h); lost != nil {
		lost.To = later(earliest(recs, h.Sealed), lost.From.Add(time.Second))
		if err := j.add(&Record{Range: lost}, c.now); err != nil {
			return err
		}
	}
	for i := range recs {
		r := &recs[i]
		switch {
		case j.past != nil && r.Begin != nil:
			r = &Record{Begin: &Begin{At: r.Begin.At, Build: r.Begin.Build, Cause: r.Begin.Cause}}
		case j.past != nil && r.End != nil:
		case r.Result == nil && r.Range == nil || c.recorded(r, by):
			continue
		}
		if len(j.lines) >= maxOpen || j.seal.results >= maxResults {
			if err := c.flush(); err != nil {
				return err
			}
		}
		if err := j.add(r, c.now); err != nil {
			return err
		}
		if r.Result != nil {
			j.seal.results++
		}
		if r.Result != nil || r.Range != nil {
			c.records++
		}
	}
	return nil
}

// ended records the ends that a batch of another clock names in the journal that is left with it, by its own clock: what
// was run before speaks for no second after.
func (c *carrier) ended(recs []Record, by time.Duration, next *past) error {
	j := c.j
	if j.past == nil || same(j.past, next) {
		return nil
	}
	own := j.past.shift
	if j.clock != nil {
		own += j.clock.Offset
	}
	for _, r := range recs {
		if r.End == nil {
			continue
		}
		if err := j.add(&Record{End: &End{At: r.End.At.Add(own - by), Cause: r.End.Cause}}, c.now); err != nil {
			return err
		}
	}
	return nil
}

// under makes what follows stand in a journal of the clock that it was recorded by.
func (c *carrier) under(p *past) error {
	j := c.j
	if same(j.past, p) {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	id := j.id
	err := j.turn("redated", c.now, p)
	if j.id != id { // its begin stays, also where it could not be written yet
		c.kept, c.lines = len(j.lines), j.records
	}
	return err
}

// same reports whether two states of the clock are one for a journal.
func same(a, b *past) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.boot == b.boot && (a.shift-b.shift).Abs() <= clockStep && (a.clock == nil) == (b.clock == nil)
}

// flush makes durable what was carried: sealed, where the clock is another one.
func (c *carrier) flush() error {
	if c.j.past == nil {
		return c.j.flush(c.now)
	}
	if err := c.j.sealNow(c.now); err != nil {
		return err
	}
	c.kept, c.lines = 0, 0
	return nil
}

// end makes durable what is left, and goes back to the present clock. After an error under another one, what was carried
// and is not sealed is taken out again: it is still where it was.
func (c *carrier) end() {
	j := c.j
	if c.err == nil {
		j.seal.urgent = j.seal.urgent || c.records > 0
		c.err = c.flush()
	}
	if j.past == nil {
		return
	}
	if c.err != nil {
		j.lines, j.records = j.lines[:c.kept], c.lines
	}
	if err := j.turn("redated", c.now, nil); err != nil {
		c.err = errors.Join(c.err, err)
		if j.past != nil {
			c.stay()
		}
	}
}

// stay makes the journal of another clock, which could not be ended, one of the present clock from here on.
func (c *carrier) stay() {
	j := c.j
	j.past = nil
	j.enterEra(c.now)
	recs, err := c.rd.lines(j.lines)
	if j.seq > 1 || err != nil {
		return
	}
	// Nothing of it is sealed: its begin, and the plan that it follows, were just now.
	if j.open != nil {
		_ = j.open.Close()
		j.open = nil
	}
	j.lines, j.records, j.written, j.synced = j.lines[:0], 0, 0, 0
	for _, r := range recs {
		switch {
		case r.Begin != nil:
			r.Begin.At = c.now
		case r.Plan != nil:
			r.Plan.At = c.now
		}
		c.err = errors.Join(c.err, j.add(&r, c.now))
	}
}

// lost returns what is missing before a batch; nil for nothing. How many slots that is cannot be told: at least one a
// batch.
func (c *carrier) lost(h Header) *check.Range {
	if !c.gap || h.Seq <= c.last.Seq+1 {
		return nil
	}
	return &check.Range{Reason: check.DataLost, Check: "*", From: c.sealed, Slots: int(min(h.Seq-c.last.Seq-1, maxWhole))}
}

// recorded reports whether a record is one of those that were carried before.
func (c *carrier) recorded(r *Record, by time.Duration) bool {
	if len(c.has) == 0 {
		return false
	}
	_, found := slices.BinarySearch(c.has, identity(r, by))
	return found
}

// identity is a number for a result's check, slot and start, or a range, by a clock that was so far ahead: the same for a
// record that is recorded again, and another one for what was run at another time by a clock that showed the same.
func identity(r *Record, by time.Duration) uint64 {
	h := fnv.New64a()
	var b [8]byte
	put := func(n int64) {
		binary.BigEndian.PutUint64(b[:], uint64(n))
		_, _ = h.Write(b[:])
	}
	put(int64(by.Round(10 * time.Second)))
	switch {
	case r.Result != nil:
		put(r.Result.Slot.Unix())
		put(r.Result.Start.UnixMilli())
		_, _ = io.WriteString(h, r.Result.Check)
	case r.Range != nil:
		put(r.Range.From.Unix())
		put(r.Range.To.Unix())
		put(int64(r.Range.Slots))
		_, _ = io.WriteString(h, r.Range.Check+" "+string(r.Range.Reason))
	}
	return h.Sum64()
}

// recordedAfter returns the identities, sorted, of what is recorded in journals after one that ended, and in the open
// batch: what was carried from it before.
func (j *Journal) recordedAfter(ended string) (has []uint64) {
	rd, err := NewReader()
	if err != nil {
		return nil
	}
	note := func(recs []Record, by time.Duration) {
		for i := range recs {
			if recs[i].Result != nil || recs[i].Range != nil {
				has = append(has, identity(&recs[i], by))
			}
		}
	}
	behind := false
	for _, s := range j.snapshot() {
		if s.journal == ended {
			behind = true
			continue
		}
		if !behind {
			continue
		}
		rd.Dictionaries(inSegment(j.o.Dir, s.name()))
		pos := position{num: s.num}
		_, _ = j.readSegment(s, &pos, func(x Sealed) bool { // where it cannot be read, something is carried twice
			if h, err := headerOf(x.Batch.Note); err == nil {
				recs, _ := rd.Records(h, x.Batch.Body)
				note(recs, j.seenBy(h))
			}
			return true
		})
	}
	if recs, _ := rd.lines(j.lines); len(recs) > 0 {
		note(recs, j.seenBy(Header{Journal: j.id, Seq: j.seq, Sealed: j.o.Now(), Clock: j.clock}))
	}
	slices.Sort(has)
	return slices.Compact(has)
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

// earliest returns the first slot of results; otherwise the other time.
func earliest(recs []Record, otherwise time.Time) time.Time {
	for i := range recs {
		if r := recs[i].Result; r != nil && r.Slot.Before(otherwise) {
			otherwise = r.Slot
		}
	}
	return otherwise
}
