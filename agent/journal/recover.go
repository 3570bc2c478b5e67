package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/wire"
)

// A place is the text of a file's first frame: where in which journal it begins.
type place struct {
	machine, journal string
	seq              uint64
	previous         string
	last             time.Time
}

// The versions of a segment: without a dictionary, and with one.
const (
	segmentPlain  = "egovmon-segment/1"
	segmentPacked = "egovmon-segment/2"
)

// parseSegment reads the text of a segment's first frame.
func parseSegment(text string) (place, error) {
	if strings.HasPrefix(text, segmentPacked+"\n") {
		return parsePlace(text, segmentPacked, "first")
	}
	return parsePlace(text, segmentPlain, "first")
}

// parsePlace reads the text of a segment's (number: first) or open file's (number: seq) first frame.
func parsePlace(text, version, number string) (place, error) {
	p := headerParser{rest: text}
	if v := p.line(); v != version {
		return place{}, fmt.Errorf("is of version %.40q: this program reads %s", v, version)
	}
	var r place
	r.machine = p.fields("machine", 1)[0]
	r.journal = p.fields("journal", 1)[0]
	r.seq = uint64(p.number(p.fields(number, 1)[0]))
	r.previous = p.fields("previous", 1)[0]
	r.last = p.time(p.fields("last", 1)[0])
	if p.err != nil {
		return place{}, p.err
	}
	if !isHex(r.journal, 16) || !isHex(r.previous, 32) || r.seq == 0 {
		return place{}, errors.New("does not name a journal and a batch")
	}
	return r, nil
}

// recover finds where the journal stands.
func (j *Journal) recover() (Recovered, error) {
	if err := os.MkdirAll(j.o.Dir, 0o700); err != nil {
		return Recovered{}, fmt.Errorf("journal: folder: %w", err)
	}
	nums, err := segmentNumbers(j.o.Dir)
	if err != nil {
		return Recovered{}, err
	}
	var r Recovered
	if err := j.indexSegments(nums, &r); err != nil {
		return Recovered{}, err
	}
	written := j.lastWritten() // before settle touches the files
	if err := j.settle(); err != nil {
		return Recovered{}, fmt.Errorf("journal: sync what the last run wrote: %w", err)
	}
	sealed, err := j.recoverLast(&r)
	if err != nil {
		return Recovered{}, err
	}
	if err := j.recoverOpen(sealed, &r); err != nil {
		return Recovered{}, err
	}
	j.recoverCursor(&r)
	j.eras = readEras(j.o.Dir)
	j.broken = r.Unreadable
	r.Journal, r.LastTime, r.Plan = j.id, j.lastTime, j.plan
	r.First = len(nums) == 0 && j.id == ""
	j.recoverFormer(&r)
	if r.TornBytes > 0 || r.Unreadable != "" {
		r.TornAt = written
	}
	r.LastSlot = j.LastSlots()
	if r.Unreadable != "" {
		if r.Ended, err = j.ended(r.LastSlot); err != nil {
			return Recovered{}, err
		}
	}
	j.publish()
	j.recorded = 0
	if j.id != "" && !r.Clean {
		j.log.Warn("the run before did not end in order; if that was a power cut, its last second may be missing", "dir", j.o.Dir, "last", j.lastTime)
	}
	if r.TornBytes > 0 {
		j.log.Warn("journal ended in the middle of a write, which was cut off", "dir", j.o.Dir, "bytes", r.TornBytes)
	}
	if r.Unreadable != "" {
		j.log.Error("journal cannot go on; a new one will name it", "dir", j.o.Dir, "err", r.Unreadable)
	}
	return r, nil
}

// ended lists the checks whose last slot is not among the lines that the next journal takes over.
func (j *Journal) ended(last map[string]time.Time) (checks []string, err error) {
	rd, err := NewReader()
	if err != nil {
		return nil, err
	}
	recs, _ := rd.lines(j.lines) // of which there may be none
	for id, slot := range last {
		if !slices.ContainsFunc(recs, func(r Record) bool { return r.Result != nil && r.Result.Check == id && r.Result.Slot.Equal(slot) }) {
			checks = append(checks, id)
		}
	}
	slices.Sort(checks)
	return checks, nil
}

// segmentNumbers lists the numbers of the segments in a folder, in order.
func segmentNumbers(dir string) ([]int, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var nums []int
	for _, n := range names {
		stem, ok := strings.CutSuffix(n.Name(), ".seg")
		if num, err := strconv.Atoi(stem); ok && err == nil && num > 0 && (segment{num: num}).name() == n.Name() {
			nums = append(nums, num)
		}
	}
	slices.Sort(nums)
	return nums, nil
}

// indexSegments reads the first frame of every segment. One that cannot be read is left out, and said.
func (j *Journal) indexSegments(nums []int, r *Recovered) error {
	for _, num := range nums {
		s := segment{num: num}
		p, size, err := readPlace(filepath.Join(j.o.Dir, s.name()))
		j.num = num
		switch last := num == nums[len(nums)-1]; {
		case err == nil:
		case last && errors.Is(err, errTorn):
			r.TornBytes += size
			continue
		case last:
			r.Unreadable = fmt.Sprintf("segment %s: %v", s.name(), err)
			continue
		default: // those around it say what is missing, if anything
			j.log.Warn("segment of the journal cannot be read", "dir", j.o.Dir, "segment", s.name(), "err", err)
			continue
		}
		if p.machine != j.o.Machine {
			return fmt.Errorf("journal: %s is the journal of machine %s, not of %s: use another folder, or enrol as that machine", j.o.Dir, p.machine, j.o.Machine)
		}
		s.journal, s.first, s.last, s.size, s.sealed = p.journal, p.seq, p.seq-1, size, p.last
		if n := len(j.segments); n > 0 {
			before := &j.segments[n-1]
			before.sealed = p.last
			if before.journal == s.journal {
				before.last = s.first - 1
			} else if err := j.scanSegment(before, nil); err != nil {
				r.Unreadable = fmt.Sprintf("segment %s: %v", before.name(), err)
			}
		}
		j.segments = append(j.segments, s)
	}
	n := len(j.segments)
	j.segments = slices.DeleteFunc(j.segments, func(s segment) bool {
		n--
		if n == 0 || s.last >= s.first {
			return false
		}
		j.litter = append(j.litter, s.name()) // the next one begins where it does
		return true
	})
	j.sweep()
	return nil
}

// readPlace reads a segment's first frame and the file's size.
func readPlace(path string) (place, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return place{}, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return place{}, 0, err
	}
	fr, err := readFrame(f, 0, st.Size(), 0)
	if err == io.EOF {
		err = fmt.Errorf("%w: the file is empty", errTorn)
	}
	if err != nil {
		return place{}, st.Size(), err
	}
	text, _, err := splitPart(fr.payload)
	if err != nil || fr.kind != kindSegment {
		return place{}, st.Size(), fmt.Errorf("%w: begins with another frame", errTorn)
	}
	p, err := parseSegment(string(text))
	return p, st.Size(), err
}

// scanSegment walks the batches of a segment, sets its last seq, seal time and size (of what can be read), and hands
// each frame to use, which may be nil. A batch that does not follow the one before is an error.
func (j *Journal) scanSegment(s *segment, use func(kind byte, b Batch, h Header) error) error {
	f, err := os.Open(filepath.Join(j.o.Dir, s.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	size := s.size
	s.size, s.last = 0, s.first-1
	for {
		fr, err := readFrame(f, s.size, size, 0)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := splitBatch(fr.payload)
		if err != nil {
			return err
		}
		var h Header
		if fr.kind == kindBatch {
			if h, err = headerOf(b.Note); err != nil {
				return err
			}
			if h.Journal != s.journal || h.Seq != s.last+1 {
				return fmt.Errorf("batch %s/%d follows %s/%d", h.Journal, h.Seq, s.journal, s.last)
			}
			s.last, s.sealed = h.Seq, h.Sealed
		}
		if use != nil {
			if err := use(fr.kind, b, h); err != nil {
				return err
			}
		}
		s.size = fr.end
	}
}

// headerOf reads the header of our own note, whose bytes a CRC vouches for, without verifying the signature.
func headerOf(note []byte) (Header, error) {
	text, _, ok := bytes.Cut(note, []byte("\n\n"))
	if !ok {
		return Header{}, errors.New("note without a signature")
	}
	return ParseHeader(string(text) + "\n")
}

// recoverLast reads the last segment through: what was recorded last, and where writing goes on. It returns the lines of
// the last batch.
func (j *Journal) recoverLast(r *Recovered) (sealed []byte, err error) {
	if len(j.segments) == 0 {
		return nil, nil
	}
	s := &j.segments[len(j.segments)-1]
	rd, err := NewReader()
	if err != nil {
		return nil, err
	}
	rd.Dictionaries(inSegment(j.o.Dir, s.name()))
	size := s.size
	j.id, j.lastTime = s.journal, s.sealed
	err = j.scanSegment(s, func(kind byte, b Batch, h Header) error {
		lines, err := j.recoverFrame(rd, kind, b, h, r)
		if kind == kindBatch && err == nil {
			sealed = lines
		}
		return err
	})
	switch {
	case errors.Is(err, errTorn) && j.wholeBehind(s):
		j.damaged = new(*s)
		r.Unreadable = fmt.Sprintf("segment %s: %v, and there are whole batches behind it", s.name(), err)
	case errors.Is(err, errTorn):
		r.TornBytes += size - s.size
	case err != nil:
		r.Unreadable = fmt.Sprintf("segment %s: %v", s.name(), err)
	}
	j.seq = s.last + 1
	if s.last > 0 {
		j.head = wire.Head{Journal: s.journal, Seq: s.last}
	}
	// A segment that ends in the middle of a write is never written to again: the next one says where it ends.
	if err == nil && s.last >= s.first {
		f, err := j.disk.Append(s.name(), s.size)
		if err != nil {
			return nil, fmt.Errorf("journal: segment %s: %w", s.name(), err)
		}
		j.seg = f
	}
	return sealed, nil
}

// recoverFrame takes what a frame of the last segment says, and returns its lines.
func (j *Journal) recoverFrame(rd *Reader, kind byte, b Batch, h Header, r *Recovered) (lines []byte, err error) {
	switch kind {
	case kindSegment:
		p, err := parseSegment(string(b.Note))
		if err != nil {
			return nil, err
		}
		j.previous, j.headHash = p.previous, p.previous
		if lines, err = rd.zstd.DecodeAll(b.Body, nil); err != nil {
			return nil, err
		}
		j.replay(rd, lines, r)
		return lines, nil
	case kindDictionary:
		j.segDict = hashOf(b.Body)
		return nil, nil
	}
	if h.Previous != j.previous {
		return nil, fmt.Errorf("batch %d does not name the batch before it", h.Seq)
	}
	z, err := rd.decompressor(h.Dictionary)
	if err != nil {
		return nil, err
	}
	if lines, err = decompress(z, h, b.Body); err != nil {
		return nil, err
	}
	if j.clock != nil && h.Clock != nil {
		if by := h.Clock.Offset - j.clock.Offset; by.Abs() > clockStep { // what was recorded before was so by another clock
			j.lastTime = j.lastTime.Add(by)
		}
	}
	j.replay(rd, lines, r)
	j.previous, j.headHash = b.Hash(), b.Hash()
	j.lastTime = later(j.lastTime, h.Sealed)
	j.clock, j.seen = h.Clock, h.Checkpoint
	return lines, nil
}

// wholeBehind reports whether whole batches lie behind the place where a segment makes no sense: then it is not the end
// of a write that was broken off.
func (j *Journal) wholeBehind(s *segment) (found bool) {
	j.behind(*s, s.size, func(Batch, Header) error { found = true; return errors.New("one will do") })
	return found
}

// saveBehind carries the batches behind the damage in the last segment of the journal that cannot go on.
func (j *Journal) saveBehind(s segment) error {
	rd, err := NewReader()
	if err != nil {
		return err
	}
	rd.Dictionaries(inSegment(j.o.Dir, s.name()))
	c := carrier{j: j, rd: rd, now: j.o.Now(), has: j.recordedAfter(s.journal), last: s.head(), sealed: s.sealed, gap: true}
	if acked := readCursor(j.o.Dir); acked.Journal == s.journal {
		c.from = acked.Seq // which the collector has
	}
	last := j.lastTime
	j.behind(s, s.size, func(b Batch, h Header) error {
		err := c.take(b)
		c.gap = true
		return err
	})
	c.end()
	j.lastTime = last // what is carried says nothing about the clock
	j.log.Warn("batches behind damage are recorded again", "journal", s.journal, "segment", s.name(), "records", c.records)
	return c.err
}

// lastWritten is when the files that are written to were last changed, in the time of the machine's clock.
func (j *Journal) lastWritten() (at time.Time) {
	names := []string{openName}
	if n := len(j.segments); n > 0 {
		names = append(names, j.segments[n-1].name())
	}
	for _, name := range names {
		if st, err := os.Stat(filepath.Join(j.o.Dir, name)); err == nil {
			at = later(at, st.ModTime().UTC())
		}
	}
	return at
}

// settle makes durable what the run before wrote and may not have synced, before it counts as recorded.
func (j *Journal) settle() error {
	names := []string{openName}
	if n := len(j.segments); n > 0 {
		names = append(names, j.segments[n-1].name())
	}
	for _, name := range names {
		st, err := os.Stat(filepath.Join(j.o.Dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		f, err := j.disk.Append(name, st.Size())
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return j.disk.SyncDir()
}

// replay takes lines that were recorded before.
func (j *Journal) replay(rd *Reader, lines []byte, r *Recovered) (n int) {
	for line := range bytes.Lines(lines) {
		rec, err := rd.line(line)
		if err != nil {
			j.log.Warn("line of the journal cannot be read", "dir", j.o.Dir, "err", err)
			continue
		}
		n++
		j.lastTime = later(j.lastTime, instant(&rec))
		r.Clean, r.EndCause = rec.End != nil, ""
		switch {
		case rec.End != nil:
			r.EndCause = rec.End.Cause
		case rec.Plan != nil:
			j.plan = rec.Plan
		case rec.Range != nil:
			r.Ranges = append(r.Ranges, *rec.Range)
		case rec.Result != nil:
			j.waiting = append(j.waiting, *rec.Result)
		}
	}
	j.publish()
	return n
}
