package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// recoverOpen reads the file of the open batch, unless its batch was sealed before the end came. sealed are the lines of
// the last sealed batch.
func (j *Journal) recoverOpen(sealed []byte, r *Recovered) error {
	f, err := os.Open(filepath.Join(j.o.Dir, openName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: open batch: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("journal: open batch: %w", err)
	}
	head, err := readFrame(f, 0, st.Size(), 0)
	if err != nil || head.kind != kindOpen {
		r.TornBytes += st.Size()
		return nil
	}
	p, err := parsePlace(string(head.payload), "egovmon-open/1", "seq")
	if err != nil {
		return fmt.Errorf("journal: open batch: %w", err)
	}
	if p.machine != j.o.Machine {
		return fmt.Errorf("journal: %s is the journal of machine %s, not of %s: use another folder, or enrol as that machine", j.o.Dir, p.machine, j.o.Machine)
	}
	lines, torn := openLines(f, head, st.Size())
	r.TornBytes += torn
	switch {
	case p.journal == j.id && p.seq+1 == j.seq:
		// Sealed. What was recorded after a seal that only seemed to fail is not in that batch.
		if sealed == nil {
			sealed = j.linesBefore(p.seq)
		}
		return j.recoverLines(lines[commonLines(lines, sealed):], r)
	case p.seq <= j.lastOf(p.journal):
		return nil // sealed
	case p.journal != j.id && (p.seq == 1 || j.id == ""):
		j.enter(p) // begun after the last segment ended
		r.Clean, r.EndCause, r.Ranges = false, "", nil
	case p.journal != j.id || p.seq != j.seq || p.previous != j.previous:
		r.Unreadable = fmt.Sprintf("open batch is %s/%d, the segments end at %s/%d", p.journal, p.seq, j.id, j.seq-1)
		if p.journal == j.id {
			j.seq, j.previous = p.seq, p.previous // named by the journal that comes next
		}
	}
	if p.seq > 1 && len(j.segments) == 0 {
		r.Unreadable = fmt.Sprintf("open batch is %s/%d, the segments before it are gone", p.journal, p.seq)
	}
	j.lastTime = later(j.lastTime, p.last)
	if acked := readCursor(j.o.Dir); acked.Journal == p.journal && p.seq <= acked.Seq {
		return j.recoverSent(lines, r)
	}
	return j.recoverLines(lines, r)
}

// recoverSent takes lines of a batch that is lost here, and that the collector has: what they say is known, and they are not
// to be sent again.
func (j *Journal) recoverSent(lines []byte, r *Recovered) error {
	rd, err := NewReader()
	if err != nil {
		return err
	}
	j.replay(rd, lines, r)
	return nil
}

// lastOf returns the last sealed batch of a journal; 0 for none.
func (j *Journal) lastOf(id string) (seq uint64) {
	for _, s := range j.segments {
		if s.journal == id {
			seq = max(seq, s.last)
		}
	}
	return seq
}

// linesBefore reads the lines of a batch at the end of the segment before the last one, which holds none.
func (j *Journal) linesBefore(seq uint64) (lines []byte) {
	rd, err := NewReader()
	if err != nil || len(j.segments) < 2 {
		return nil
	}
	s := j.segments[len(j.segments)-2]
	rd.Dictionaries(inSegment(j.o.Dir, s.name()))
	_ = j.scanSegment(&s, func(kind byte, b Batch, h Header) error {
		if kind == kindBatch && h.Seq == seq {
			z, err := rd.decompressor(h.Dictionary)
			if err != nil {
				return err
			}
			lines, _ = decompress(z, h, b.Body)
		}
		return nil
	})
	return lines
}

// commonLines is how many bytes of whole lines two texts begin with alike.
func commonLines(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return bytes.LastIndexByte(a[:n], '\n') + 1
}

// enter goes over to the journal that the open file names.
func (j *Journal) enter(p place) {
	j.id, j.seq, j.previous, j.lastTime = p.journal, p.seq, p.previous, p.last
	j.closeSegment()
	clear(j.latest)
	clear(j.lastSlot)
}

// openLines reads the lines behind the first frame of the open batch's file, and how many bytes there make no sense.
// Frames behind these are taken too: each was written for itself.
func openLines(f io.ReaderAt, head frame, size int64) (lines []byte, torn int64) {
	for at := head.end; at < size; {
		fr, err := readFrame(f, at, size, head.sum)
		if err != nil || fr.kind != kindLines {
			next := nextFrame(f, at+1, size, kindLines, head.sum)
			torn += next - at
			at = next
			continue
		}
		lines, at = append(lines, fr.payload...), fr.end
	}
	return lines, torn
}

// nextFrame returns where the next whole frame of a kind begins; size for nowhere.
func nextFrame(f io.ReaderAt, at, size int64, kind byte, seed uint32) int64 {
	rest := make([]byte, max(0, size-at))
	if _, err := f.ReadAt(rest, at); err != nil {
		return size
	}
	for i := range rest {
		if len(rest)-i <= frameHead || rest[i+frameHead] != kind {
			continue
		}
		if fr, err := readFrame(bytes.NewReader(rest), int64(i), int64(len(rest)), seed); err == nil && fr.kind == kind {
			return at + int64(i)
		}
	}
	return size
}

// recoverLines takes the lines of the open batch.
func (j *Journal) recoverLines(lines []byte, r *Recovered) error {
	if len(lines) == 0 {
		return nil
	}
	rd, err := NewReader()
	if err != nil {
		return err
	}
	n := j.replay(rd, lines, r)
	j.lines = append(j.lines, lines...)
	j.records += n
	j.seal.wrote(len(lines), j.o.Now())
	j.seal.results += n
	return nil
}
