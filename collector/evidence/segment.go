package evidence

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"
)

// The kinds of frame.
const (
	kindHeader byte = 'H' // first frame of a segment
	kindLeaf   byte = 'L' // the bytes of a leaf
	kindBlob   byte = 'B' // the blob of the leaf before it
	kindPacked byte = 'P' // a leaf and its blob, compressed; see pack.go
	kindBody   byte = 'D' // the body of the leaf before it
	kindGone   byte = 'X' // in the place of a blob or a body that was removed; its payload says nothing
	kindCommit byte = 'C' // ends a group: u64 tree size, 32 bytes root
)

const (
	frameHead    = 1 + 4 + 4
	commitSize   = 8 + tlog.HashSize
	segmentMagic = "egovmon-segment/2\n"
	segmentPlain = "egovmon-segment/1\n" // without frames of kind P; read, and appended to without them
	maxHeader    = 1 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends one frame: kind, u32 length, u32 CRC-32C of kind, length and payload, payload. Big endian.
func appendFrame(dst []byte, kind byte, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload)))
	crc := crc32.Update(crc32.Checksum(dst[start:], castagnoli), castagnoli, payload)
	dst = binary.BigEndian.AppendUint32(dst, crc)
	return append(dst, payload...)
}

func appendEntry(dst []byte, e Entry) []byte {
	dst = appendFrame(dst, kindLeaf, e.Leaf.text)
	if e.Leaf.blob != nil {
		dst = appendPiece(dst, kindBlob, e.Blob, e.blobGone)
	}
	if e.Leaf.body != nil {
		dst = appendPiece(dst, kindBody, e.Body, e.bodyGone)
	}
	return dst
}

// appendPiece appends a blob or a body, or the mark of one that was removed.
func appendPiece(dst []byte, kind byte, data []byte, gone bool) []byte {
	if gone {
		return appendFrame(dst, kindGone, nil)
	}
	return appendFrame(dst, kind, data)
}

func appendCommit(dst []byte, t tlog.Tree) []byte {
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, commitSize), uint64(t.N))
	return appendFrame(dst, kindCommit, append(payload, t.Hash[:]...))
}

// segmentHeader returns the payload of a segment's first frame; before is the tree before its first leaf.
func segmentHeader(number int, origin string, before tlog.Tree) []byte {
	return fmt.Appendf(nil, "%sorigin %s\nnumber %d\nfirst %d\nroot %s\n", segmentMagic, origin, number, before.N, before.Hash)
}

// isHeader reports whether a header is that of this segment, in this version or the one before.
func isHeader(header []byte, number int, origin string, before tlog.Tree) bool {
	want := segmentHeader(number, origin, before)
	if rest, plain := bytes.CutPrefix(header, []byte(segmentPlain)); plain {
		return bytes.Equal(rest, want[len(segmentMagic):])
	}
	return bytes.Equal(header, want)
}

// headerFirst returns the index of a segment's first leaf as its header says.
func headerFirst(header []byte) (int64, error) {
	text := string(header)
	if !strings.HasPrefix(text, segmentMagic) && !strings.HasPrefix(text, segmentPlain) {
		return 0, fmt.Errorf("the header does not begin with %q: written by a newer version, or no segment", segmentMagic)
	}
	_, rest, _ := strings.Cut(text, "\nfirst ")
	first, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the header names no first leaf")
	}
	return n, nil
}

const segmentPrefix = "segment-"

func segmentName(number int) string { return fmt.Sprintf("%s%08d", segmentPrefix, number) }

// segments counts the segments of the folder. Their numbers go from 0 without a gap.
func segments(d disk) (int, error) {
	names, err := d.Names()
	if err != nil {
		return 0, err
	}
	n, highest := 0, -1
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, segmentPrefix)
		if !ok {
			continue
		}
		number, err := strconv.Atoi(digits)
		if err != nil || segmentName(number) != name {
			return 0, fmt.Errorf("%s is no segment: take it out of the folder", name)
		}
		n++
		highest = max(highest, number)
	}
	if highest+1 != n {
		return 0, fmt.Errorf("of the segments 0 to %d only %d are there: put the missing ones back from a backup", highest, n)
	}
	return n, nil
}

// A BrokenError says that stored bytes are not what was written.
type BrokenError struct {
	File   string // name in the store's folder
	Offset int64  // of the frame that is broken
	Reason string
}

// Error says which file is broken where, and how.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s", e.File, e.Offset, e.Reason)
}

// A scanner reads the frames of one segment in order.
type scanner struct {
	name  string
	r     *bufio.Reader
	off   int64 // of the next frame
	end   int64 // size of the file when it was opened
	start int64 // of the frame last read

	skipBlobs, skipBodies bool // blobs, bodies are passed over unread

	dec *zstd.Decoder // of packed frames; nil until one comes
}

// newScanner reads f from off; ahead is how many bytes to read at a time.
func newScanner(name string, f file, off int64, ahead int) (*scanner, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	left := max(0, size-off)
	r := bufio.NewReaderSize(io.NewSectionReader(f, off, left), int(min(int64(ahead), left)))
	return &scanner{name: name, r: r, off: off, end: size, start: off}, nil
}

func (s *scanner) broken(format string, args ...any) error {
	return &BrokenError{s.name, s.start, fmt.Sprintf(format, args...)}
}

// head reads the first bytes of a frame and returns the size of its payload.
func (s *scanner) head() (head [frameHead]byte, size int64, err error) {
	s.start = s.off
	if s.off >= s.end {
		return head, 0, io.EOF
	}
	if s.end-s.off < frameHead {
		return head, 0, s.broken("%d bytes are too few for a frame", s.end-s.off)
	}
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return head, 0, s.readError(err)
	}
	size = int64(binary.BigEndian.Uint32(head[1:5]))
	if size > MaxBlob || size > s.end-s.off-frameHead {
		return head, 0, s.broken("a frame of %d bytes, but %d follow and the most is %d", size, s.end-s.off-frameHead, MaxBlob)
	}
	return head, size, nil
}

// skip passes over the next frame, of which it looks only at the kind; gone is that what it held was removed.
func (s *scanner) skip(want byte) (gone bool, err error) {
	head, size, err := s.head()
	if err != nil {
		return false, err
	}
	if head[0] != want && head[0] != kindGone {
		return false, s.broken("a frame of kind %q where one of kind %q should be", head[0], want)
	}
	if _, err := s.r.Discard(int(size)); err != nil {
		return false, s.readError(err)
	}
	s.off += frameHead + size
	return head[0] == kindGone, nil
}

// frame returns the next frame, io.EOF behind the last one, and a *BrokenError if the bytes are no frame.
func (s *scanner) frame() (kind byte, payload []byte, err error) {
	head, size, err := s.head()
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(s.r, payload); err != nil {
		return 0, nil, s.readError(err)
	}
	if head[0] == kindGone { // the checksum is still that of what was removed
		s.off += frameHead + size
		return kindGone, nil, nil
	}
	crc := crc32.Update(crc32.Checksum(head[:5], castagnoli), castagnoli, payload)
	if crc != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, s.broken("the checksum of the frame is wrong")
	}
	s.off += frameHead + size
	return head[0], payload, nil
}

func (s *scanner) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.broken("the file became shorter while it was read")
	}
	return fmt.Errorf("%s: offset %d: %w", s.name, s.start, err)
}

// header reads the first frame.
func (s *scanner) header() ([]byte, error) {
	kind, payload, err := s.frame()
	switch {
	case errors.Is(err, io.EOF):
		return nil, s.broken("the segment is empty")
	case err != nil:
		return nil, err
	case kind != kindHeader || len(payload) > maxHeader:
		return nil, s.broken("the segment does not begin with a header")
	}
	return payload, nil
}

// A record is what next finds: an entry, or the commit of the entries before it.
type record struct {
	Entry
	offset int64 // of the leaf's frame
	packed bool
	blobAt int64 // of the blob's frame, where it has one of its own
	bodyAt int64 // of the body's frame
	commit bool
	tree   tlog.Tree // of a commit
}

// next returns the next entry or commit, io.EOF behind the last frame. Blob and body are compared with the leaf.
func (s *scanner) next() (record, error) {
	kind, payload, err := s.frame()
	if err != nil {
		return record{}, err
	}
	r := record{offset: s.start}
	switch kind {
	case kindCommit:
		if len(payload) != commitSize {
			return record{}, s.broken("a commit of %d bytes", len(payload))
		}
		r.commit = true
		r.tree.N = int64(binary.BigEndian.Uint64(payload))
		copy(r.tree.Hash[:], payload[8:])
		return r, nil
	case kindPacked:
		return s.unpack(r, payload)
	case kindLeaf:
	default:
		return record{}, s.broken("a frame of kind %q where a leaf or a commit should be", kind)
	}
	if r.Leaf, err = parseLeaf(payload); err != nil {
		return record{}, s.broken("the leaf cannot be read: %v", err)
	}
	r.blobAt = s.off
	if r.Blob, r.blobGone, err = s.attached(kindBlob, r.Leaf.blob, s.skipBlobs); err != nil {
		return record{}, err
	}
	r.bodyAt = s.off
	if r.Body, r.bodyGone, err = s.attached(kindBody, r.Leaf.body, s.skipBodies); err != nil {
		return record{}, err
	}
	return r, nil
}

// unpack reads the entry whose leaf and blob stand in a packed frame.
func (s *scanner) unpack(r record, payload []byte) (record, error) {
	var err error
	if s.dec == nil {
		if s.dec, err = newUnpacker(); err != nil {
			return record{}, err
		}
	}
	text, blob, err := unpack(s.dec, payload)
	if err != nil {
		return record{}, s.broken("the packed frame cannot be read: %v", err)
	}
	r.packed = true
	if r.Leaf, err = parseLeaf(text); err != nil {
		return record{}, s.broken("the leaf cannot be read: %v", err)
	}
	if !s.skipBlobs {
		r.Blob = blob
	}
	r.bodyAt = s.off
	if r.Body, r.bodyGone, err = s.attached(kindBody, r.Leaf.body, s.skipBodies); err != nil {
		return record{}, err
	}
	return r, nil
}

// attached reads the frame that a leaf refers to, or passes over it; gone is that what it held was removed.
func (s *scanner) attached(want byte, ref *Ref, skip bool) (data []byte, gone bool, err error) {
	if ref == nil {
		return nil, false, nil
	}
	var kind byte
	var payload []byte
	if skip {
		gone, err = s.skip(want)
	} else {
		kind, payload, err = s.frame()
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, false, s.broken("the file ends where a frame of kind %q should be", want)
	case skip || err != nil:
		return nil, gone, err
	case kind == kindGone:
		return nil, true, nil
	case kind != want:
		return nil, false, s.broken("a frame of kind %q where one of kind %q should be", kind, want)
	case RefTo(payload) != *ref:
		return nil, false, s.broken("the bytes are not those that the leaf names (%s)", ref)
	}
	return payload, false, nil
}
