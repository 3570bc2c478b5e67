package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"egovmon/agent/check"
	"egovmon/agent/wire"
)

// A segment is a file of sealed batches of one journal, in order.
type segment struct {
	num         int
	journal     string
	first, last uint64 // seqs; last is first-1 while the segment is empty
	size        int64
	sealed      time.Time // when its last batch was sealed, or a little later
}

func (s segment) name() string { return fmt.Sprintf("%08d.seg", s.num) }
func (s segment) head() wire.Head {
	return wire.Head{Journal: s.journal, Seq: s.last}
}

// sealNow seals the open batch, durable when it returns nil. After an error nothing has changed, except that the next
// batch begins a new segment, which says from where on the old one no longer counts.
func (j *Journal) sealNow(now time.Time) error {
	if len(j.lines) == 0 {
		return nil
	}
	if j.erasLate {
		_ = j.writeEras() // which was logged; without it the batch is of an unproven clock at worst
	}
	h := Header{
		Machine: j.o.Machine, Journal: j.id, Seq: j.seq, Previous: j.previous, Sealed: j.by(now),
		Clock: j.clock, Checkpoint: j.seen,
	}
	if j.past != nil {
		h.Clock = j.past.clock
	}
	var z *zstd.Encoder
	var err error
	if j.packer != nil {
		h.Dictionary, z = j.packer.sha256, j.packer.zstd
	} else if z, err = j.plain(); err != nil {
		return err
	}
	b, err := sealLines(h, j.lines, j.records, z, j.o.Signer)
	if err != nil {
		return err
	}
	if err := j.writeBatch(b, now); err != nil {
		return err
	}
	j.previous = b.Hash()
	j.seq++
	j.lines, j.records, j.written, j.synced, j.openFresh = j.lines[:0], 0, 0, 0, true
	j.lastTime = later(j.lastTime, now)
	j.seal.sealed(now)
	signal(j.sealed)
	return nil
}

// writeBatch appends a batch to the last segment, or to a new one when that is full.
func (j *Journal) writeBatch(b Batch, now time.Time) error {
	j.mu.RLock()
	var s segment
	if n := len(j.segments); n > 0 {
		s = j.segments[n-1]
	}
	j.mu.RUnlock()
	fresh := j.seg == nil || s.size >= j.o.segmentSize || j.packer != nil && j.packer.sha256 != j.segDict
	if fresh {
		j.closeSegment()
		j.num++
		s = segment{num: j.num, journal: j.id, first: j.seq, last: j.seq - 1}
		f, err := j.disk.Create(s.name())
		if err != nil {
			j.litter = append(j.litter, s.name())
			return fmt.Errorf("new segment: %w", err)
		}
		j.seg, j.segDict = f, ""
		if j.packer != nil {
			j.segDict = j.packer.sha256
		}
	}
	j.buf = j.buf[:0]
	if fresh {
		var err error
		if j.buf, err = j.appendSnapshot(j.buf); err != nil {
			j.abandon(s, fresh)
			return fmt.Errorf("segment %s: %w", s.name(), err)
		}
	}
	j.buf, _ = appendFrame(j.buf, 0, kindBatch, appendBatch(nil, b))
	err := writeSync(j.seg, j.buf)
	if err == nil && fresh {
		err = j.disk.SyncDir()
	}
	if err != nil {
		j.abandon(s, fresh)
		return fmt.Errorf("segment %s: %w", s.name(), err)
	}
	s.last, s.size, s.sealed = j.seq, s.size+int64(len(j.buf)), now
	j.mu.Lock()
	if fresh {
		j.segments = append(j.segments, s)
	} else {
		j.segments[len(j.segments)-1] = s
	}
	if j.acked == j.head {
		j.oldest = now
	}
	j.head, j.headHash = wire.Head{Journal: j.id, Seq: j.seq}, b.Hash()
	j.mu.Unlock()
	if cap(j.buf) > 64<<10 {
		j.buf = nil
	}
	return nil
}

// abandon gives up a segment that a write failed in. What it holds of the failed batch is cut off if that can be done,
// and passed over by every reader if not.
func (j *Journal) abandon(s segment, fresh bool) {
	_ = j.seg.Truncate(s.size)
	j.closeSegment()
	if fresh {
		j.litter = append(j.litter, s.name())
		j.sweep()
	}
}

// sweep removes segments that failed when they were begun. The one that was begun instead says that they do not count,
// so that they must go before it does. It reports whether they are gone.
func (j *Journal) sweep() bool {
	j.litter = slices.DeleteFunc(j.litter, func(name string) bool {
		err := j.disk.Remove(name)
		return err == nil || errors.Is(err, os.ErrNotExist)
	})
	return len(j.litter) == 0
}

func (j *Journal) closeSegment() {
	if j.seg != nil {
		_ = j.seg.Close() // every write to it was synced
		j.seg = nil
	}
}

func writeSync(f file, b []byte) error {
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// appendSnapshot appends the first frame of a segment: where it begins, and as lines the plan in force and the last
// result of each check, so that a start reads the last segment only. The dictionary in use comes behind it, and makes
// it a segment of version 2.
func (j *Journal) appendSnapshot(dst []byte) ([]byte, error) {
	z, err := j.plain()
	if err != nil {
		return dst, err
	}
	version := segmentPlain
	if j.packer != nil {
		version = segmentPacked
	}
	text := fmt.Sprintf("%s\nmachine %s\njournal %s\nfirst %d\nprevious %s\nlast %s\n", version, j.o.Machine, j.id, j.seq, j.previous, j.lastTime.UTC().Format(layoutMilli))
	var lines []byte
	if j.plan != nil {
		lines, _ = j.enc.record(lines, &Record{Plan: j.plan})
	}
	j.mu.RLock()
	ids := slices.Sorted(maps.Keys(j.latest))
	for _, id := range ids {
		r := j.latest[id]
		lines, _ = j.enc.record(lines, &Record{Result: &r})
	}
	j.mu.RUnlock()
	dst, _ = appendFrame(dst, 0, kindSegment, wire.AppendBatch(nil, []byte(text), z.EncodeAll(lines, nil)))
	if j.packer != nil {
		dst, _ = appendFrame(dst, 0, kindDictionary, wire.AppendBatch(nil, []byte(dictionaryMagic), j.packer.bytes))
		j.zstd = nil // until the next segment
	}
	return dst, nil
}

// plain returns the compressor without a dictionary.
func (j *Journal) plain() (*zstd.Encoder, error) {
	if j.zstd == nil {
		z, err := newCompressor(nil)
		if err != nil {
			return nil, fmt.Errorf("journal: compressor: %w", err)
		}
		j.zstd = z
	}
	return j.zstd, nil
}

// syncOpen makes the lines of the open batch durable in its file. When the file fails, all lines go to a new one.
func (j *Journal) syncOpen() error {
	if j.synced == len(j.lines) {
		return nil
	}
	if err := j.writeOpen(); err != nil {
		return err
	}
	if j.synced == len(j.lines) {
		return nil // in a new file
	}
	err := j.open.Sync()
	if err == nil {
		j.synced = len(j.lines)
		return nil
	}
	// What the file holds of all that was written since the sync before can no longer be told.
	j.giveUpOpen(err)
	return j.replaceOpen()
}

// writeOpen appends the lines that the open batch's file does not hold yet, without a sync. A file that takes no more
// because the disk is full is kept, without what it took of them; any other that fails gives way to a new one, which is
// synced.
func (j *Journal) writeOpen() error {
	if j.written == len(j.lines) {
		return nil
	}
	if j.open == nil {
		return j.replaceOpen()
	}
	err := j.appendOpen()
	if err == nil {
		return nil
	}
	if diskFull(err) && j.cutOpen() == nil {
		return err
	}
	j.giveUpOpen(err)
	return j.replaceOpen()
}

func (j *Journal) appendOpen() error {
	j.buf = j.buf[:0]
	if j.openFresh {
		j.openSize = 0
		if err := j.cutOpen(); err != nil {
			return err
		}
		j.appendOpenHead()
	}
	j.appendLines()
	if _, err := j.open.Write(j.buf); err != nil {
		return err
	}
	j.openFresh, j.openSize, j.written = false, j.openSize+int64(len(j.buf)), len(j.lines)
	return nil
}

// cutOpen takes off what lies behind the last whole frame of the open batch's file.
func (j *Journal) cutOpen() error {
	if err := j.open.Truncate(j.openSize); err != nil {
		return err
	}
	_, err := j.open.Seek(j.openSize, io.SeekStart)
	return err
}

func (j *Journal) giveUpOpen(err error) {
	j.log.Warn("file of the open batch is given up for a new one", "dir", j.o.Dir, "err", err)
	_ = j.open.Close()
	j.open = nil
}

// replaceOpen writes the open batch to a new file and puts that in the place of the old one.
func (j *Journal) replaceOpen() error {
	j.written, j.synced = 0, 0
	f, err := j.disk.Create(openNew)
	if err != nil {
		return err
	}
	j.buf = j.buf[:0]
	j.appendOpenHead()
	j.appendLines()
	if err := writeSync(f, j.buf); err != nil {
		err = closeWith(f, err)
		_ = j.disk.Remove(openNew) // a full disk needs the room
		return err
	}
	if err := f.Close(); err != nil { // Windows renames no open file
		return err
	}
	if err := j.disk.Rename(openNew, openName); err != nil {
		return err
	}
	if err := j.disk.SyncDir(); err != nil {
		return err
	}
	f, err = j.disk.Append(openName, int64(len(j.buf)))
	if err != nil {
		return err
	}
	j.open, j.openFresh, j.openSize = f, false, int64(len(j.buf))
	j.written, j.synced = len(j.lines), len(j.lines)
	return nil
}

// appendOpenHead puts together the first frame of the open batch's file; its CRC seeds those of the others.
func (j *Journal) appendOpenHead() {
	text := fmt.Sprintf("egovmon-open/1\nmachine %s\njournal %s\nseq %d\nprevious %s\nlast %s\n", j.o.Machine, j.id, j.seq, j.previous, j.lastTime.UTC().Format(layoutMilli))
	j.buf, j.openSeed = appendFrame(j.buf, 0, kindOpen, []byte(text))
}

// appendLines puts together frames of the lines that are not yet written.
func (j *Journal) appendLines() {
	for rest := j.lines[j.written:]; len(rest) > 0; {
		n := len(rest)
		if n > maxLine*4 {
			n = bytes.LastIndexByte(rest[:maxLine*4], '\n') + 1
		}
		j.buf, _ = appendFrame(j.buf, j.openSeed, kindLines, rest[:n])
		rest = rest[n:]
	}
}

// Stats are a journal's figures.
type Stats struct {
	Recorded uint64    // results since it was opened
	Bytes    int64     // on disk
	Batches  uint64    // sealed and not acknowledged
	Oldest   time.Time // when the first of them was sealed; zero for none
	Head     wire.Head // the last sealed batch
	Acked    wire.Head // the last acknowledged one
	Held     int       // results that could not be written yet
	Lost     int       // results given up since it was opened
	Spared   int       // results recorded without detail or phases since it was opened, as the disk was full
}

// Stats returns the figures of now.
func (j *Journal) Stats() Stats {
	j.writing.Lock()
	held, lost, spared := 0, j.lostInAll, j.spared
	if j.written < len(j.lines) {
		held = len(j.waiting)
	}
	j.writing.Unlock()
	j.mu.RLock()
	defer j.mu.RUnlock()
	s := Stats{Recorded: j.recorded, Bytes: j.openUsed, Oldest: j.oldest, Head: j.head, Acked: j.acked, Held: held, Lost: lost, Spared: spared}
	for _, seg := range j.segments {
		s.Bytes += seg.size
		s.Batches += j.unacked(seg)
	}
	return s
}

// Latest returns the last result recorded of each check of this journal, in the order of their ids.
func (j *Journal) Latest() []check.Result {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.SortedFunc(maps.Values(j.latest), func(a, b check.Result) int { return cmp.Compare(a.Check, b.Check) })
}

// LatestOf returns the last result recorded of a check.
func (j *Journal) LatestOf(id string) (check.Result, bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	r, ok := j.latest[id]
	return r, ok
}

// LastSlots returns the slot last recorded of each check of this journal.
func (j *Journal) LastSlots() map[string]time.Time {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return maps.Clone(j.lastSlot)
}

// LastRecordTime returns the latest instant recorded in this journal; a clock behind it is not plausible.
func (j *Journal) LastRecordTime() time.Time {
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.lastTime
}

// ID returns the id of the journal that is written now; "" before the first one began.
func (j *Journal) ID() string {
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.id
}

// Head names the last sealed batch, and gives the hash of its note; the zero Head while there is none.
func (j *Journal) Head() (wire.Head, string) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.head, j.headHash
}

// SetSeal changes how long results are gathered, as the plan says.
func (j *Journal) SetSeal(d time.Duration) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if d > 0 {
		j.seal.seal = d
		j.arm()
	}
}

// SealEvery returns how long results are gathered.
func (j *Journal) SealEvery() time.Duration {
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.seal.seal
}

// SetClock gives the offset that the next headers carry.
func (j *Journal) SetClock(c Clock) {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.clock, j.measured = &c, true
}

// MoveClock says that the machine's clock was set, and by how much. The offset that was measured last is corrected by that;
// what was recorded before is sealed with the one that held then. A clock that was never measured stays so.
func (j *Journal) MoveClock(by time.Duration, now time.Time) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed || j.clock == nil && j.o.Boot == nil {
		return
	}
	if j.begun {
		if err := j.sealNow(now.Add(-by)); err != nil {
			j.complain("batch cannot be sealed before the clock that was set", err)
		} else {
			j.publish()
		}
	}
	if j.clock != nil {
		j.clock = &Clock{Offset: j.clock.Offset + by, Measured: j.clock.Measured.Add(by)}
	}
	if j.begun {
		j.enterEra(now)
	}
}

// SetCheckpoint gives the checkpoint that the next headers carry.
func (j *Journal) SetCheckpoint(c Checkpoint) {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.seen = &c
}

// Sealed delivers a value after batches were sealed. It is for one receiver.
func (j *Journal) Sealed() <-chan struct{} { return j.sealed }
