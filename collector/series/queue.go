package series

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"egovmon/agent/durable"
)

// A queue keeps frames on disk, in order, until they are taken off at the front. It is a folder of segment files and a
// file "cursor" that says how far the first one has been read: its number and a byte offset. A segment is the line
// "egovmon-forward/1", then frames: length, CRC-32C of the payload and number of samples, 4 bytes each, big-endian, then
// the payload. Every start begins a new segment, so a torn frame is the last of its segment, and reading ends before it.
//
// Frames come out at least once: after a crash the last ones taken off may come again, and those appended since the
// last sync may be lost if the machine lost power.
type queue struct {
	dir     string
	most    int64 // bytes of all segments
	segment int64 // bytes after which a new one begins
	log     *slog.Logger

	mu    sync.Mutex
	segs  []*segment // oldest first; the last one is written to
	w     *os.File
	dirty bool
}

type segment struct {
	id     uint64
	size   int64 // bytes that hold whole frames
	read   int64 // bytes taken off
	frames int   // of samples not taken off
}

const (
	segmentHead = "egovmon-forward/1\n"
	frameHead   = 12
	maxFrame    = 16 << 20
)

var errTorn = errors.New("torn frame")

// crcTable is CRC-32C's.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// openQueue opens the queue in dir, or makes it. It holds at most most bytes.
func openQueue(dir string, most int64, log *slog.Logger) (*queue, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	q := &queue{dir: dir, most: most, segment: min(4<<20, most/4), log: log}
	names, err := filepath.Glob(filepath.Join(dir, "*.seg")) // in order: the numbers have 20 digits
	if err != nil {
		return nil, err
	}
	next := uint64(1)
	at, offset := q.cursor()
	for _, name := range names {
		id, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".seg"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("queue %s: %s is not a segment: remove it", dir, filepath.Base(name))
		}
		next = id + 1
		s := &segment{id: id}
		if id == at {
			s.read = offset
		}
		if err := q.scan(s); err != nil {
			return nil, err
		}
		if id < at || s.frames == 0 {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		q.segs = append(q.segs, s)
	}
	return q, q.roll(max(next, at))
}

// cursor reads how far the frames were taken off. Without a cursor, or with one that makes no sense, all come again.
func (q *queue) cursor() (id uint64, offset int64) {
	b, err := os.ReadFile(filepath.Join(q.dir, "cursor"))
	if err != nil {
		return 0, 0
	}
	if _, err := fmt.Sscanf(string(b), "%d %d\n", &id, &offset); err != nil {
		return 0, 0
	}
	return id, offset
}

func (q *queue) path(id uint64) string { return filepath.Join(q.dir, fmt.Sprintf("%020d.seg", id)) }

// scan finds the whole frames of a segment and the samples in those that were not taken off.
func (q *queue) scan(s *segment) error {
	f, err := os.Open(q.path(s.id))
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head := make([]byte, len(segmentHead))
	if n, err := io.ReadFull(r, head); err != nil {
		return nil // torn before its first frame
	} else if string(head[:n]) != segmentHead {
		return fmt.Errorf("queue %s: segment %d begins with %q, want %q: a later version wrote it; remove the folder to give up what it holds", q.dir, s.id, head, segmentHead)
	}
	s.size = int64(len(segmentHead))
	read, boundary := s.read, s.read <= s.size
	var buf []byte
	for {
		var n int
		if buf, n, err = readFrame(r, buf); err != nil {
			break
		}
		if s.size >= read {
			s.frames += n
		}
		s.size += frameHead + int64(len(buf))
		boundary = boundary || s.size == read
	}
	if !boundary { // the cursor points into a frame: all of it again
		s.read = 0
		return q.scan(s)
	}
	s.read = max(s.read, int64(len(segmentHead)))
	if err != io.EOF {
		q.log.Warn("series: what was waiting for a receiver ends in the middle of a frame, as after a crash", "folder", q.dir, "segment", s.id, "offset", s.size)
	}
	return nil
}

// readFrame reads the payload of a frame and its number of samples. The error is io.EOF between two frames.
func readFrame(r io.Reader, buf []byte) ([]byte, int, error) {
	var h [frameHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if err == io.EOF {
			return buf, 0, io.EOF
		}
		return buf, 0, errTorn
	}
	n := binary.BigEndian.Uint32(h[0:])
	if n > maxFrame {
		return buf, 0, errTorn
	}
	if uint32(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil || crc32.Checksum(buf, crcTable) != binary.BigEndian.Uint32(h[4:]) {
		return buf, 0, errTorn
	}
	return buf, int(binary.BigEndian.Uint32(h[8:])), nil
}

// roll begins a new segment.
func (q *queue) roll(id uint64) error {
	if q.w != nil {
		err := errors.Join(q.w.Sync(), q.w.Close())
		q.w = nil
		if err != nil {
			return err
		}
	}
	f, err := os.OpenFile(q.path(id), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(segmentHead); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	q.w = f
	q.segs = append(q.segs, &segment{id: id, size: int64(len(segmentHead)), read: int64(len(segmentHead))})
	return nil
}

// append adds a frame. When the queue would grow above its bound the oldest segments go first; dropped is the number
// of samples in them that were not taken off.
func (q *queue) append(payload []byte, samples int) (dropped int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := int64(frameHead + len(payload))
	if len(payload) > maxFrame || n+int64(len(segmentHead)) > q.most {
		return 0, fmt.Errorf("queue %s: a frame of %d bytes does not fit into %d", q.dir, n, q.most)
	}
	last := q.segs[len(q.segs)-1]
	if q.w == nil || last.size > int64(len(segmentHead)) && last.size+n > q.segment {
		if err := q.roll(last.id + 1); err != nil {
			return 0, err
		}
		last = q.segs[len(q.segs)-1]
	}
	total := n
	for _, s := range q.segs {
		total += s.size
	}
	for len(q.segs) > 1 && total > q.most {
		total -= q.segs[0].size
		dropped += q.segs[0].frames
		if err := q.dropFirst(); err != nil {
			return dropped, err
		}
	}
	b := make([]byte, frameHead, n)
	binary.BigEndian.PutUint32(b[0:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(payload, crcTable))
	binary.BigEndian.PutUint32(b[8:], uint32(samples))
	if _, err := q.w.Write(append(b, payload...)); err != nil {
		// A part of the frame may stand there: what follows goes into a new segment.
		err = errors.Join(err, q.w.Close())
		q.w = nil
		return dropped, err
	}
	last.size += n
	last.frames += samples
	q.dirty = true
	return dropped, nil
}

func (q *queue) dropFirst() error {
	err := os.Remove(q.path(q.segs[0].id))
	q.segs = q.segs[1:]
	return err
}

// A taken is what peek found: some frames at the front of the queue.
type taken struct {
	payloads [][]byte
	samples  int
	segment  uint64
	end      int64
	lost     int // samples in frames that can no longer be read
}

// peek returns the frames at the front, at least one and then as many as stay within most samples and bytes. Without
// any it returns no payloads and no error.
func (q *queue) peek(most int) (t taken, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.segs) > 1 && q.segs[0].read >= q.segs[0].size {
		if err := q.dropFirst(); err != nil {
			return taken{}, err
		}
	}
	s := q.segs[0]
	t = taken{segment: s.id, end: s.read}
	if s.read >= s.size {
		return t, nil
	}
	f, err := os.Open(q.path(s.id))
	if err != nil {
		return taken{}, err
	}
	defer f.Close()
	r := bufio.NewReader(io.NewSectionReader(f, s.read, s.size-s.read))
	bytes := 0
	for t.end < s.size {
		b, n, err := readFrame(r, nil)
		if err != nil { // it was whole when it was written
			t.lost, t.end = s.frames-t.samples, s.size
			return t, nil
		}
		if len(t.payloads) > 0 && (t.samples+n > most || bytes+len(b) > maxFrame) {
			return t, nil
		}
		t.payloads = append(t.payloads, b)
		t.samples += n
		t.end += frameHead + int64(len(b))
		bytes += len(b)
	}
	return t, nil
}

// take takes off what peek found.
func (q *queue) take(t taken) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.segs[0]
	if s.id != t.segment { // it was given up meanwhile
		return nil
	}
	s.read = t.end
	s.frames -= t.samples + t.lost
	return durable.Replace(filepath.Join(q.dir, "cursor"), fmt.Appendf(nil, "%d %d\n", s.id, s.read))
}

// waiting returns the number of samples in the queue.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, s := range q.segs {
		n += s.frames
	}
	return n
}

// sync makes what was appended survive a loss of power.
func (q *queue) sync() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.dirty || q.w == nil {
		return nil
	}
	q.dirty = false
	return q.w.Sync()
}

func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.w == nil {
		return nil
	}
	err := errors.Join(q.w.Sync(), q.w.Close())
	q.w = nil
	return err
}
