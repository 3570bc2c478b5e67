package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"egovmon/agent/wire"
)

// A frame on disk is u32le(length) u32le(CRC-32C) kind payload; length and CRC cover kind and payload. The CRC begins
// with a seed, so that a frame left over from an earlier use of the same place does not pass for a new one.
const (
	frameHead = 8
	maxFrame  = wire.MaxHeader + wire.MaxBody + 32
)

// Kinds of frame.
const (
	kindSegment = 'S' // first frame of a segment: what was known when it began
	kindBatch   = 'B' // uvarint(len) note, uvarint(len) body
	// kindDictionary is the second frame of a segment that has one: uvarint(len) magic, uvarint(len) bytes
	kindDictionary = 'D'
	kindOpen       = 'O' // first frame of the open batch's file: which batch it will be
	kindLines      = 'L' // lines of the open batch that were synced together
)

// errTorn says that a file ends, or stops making sense, where a frame should be.
var errTorn = errors.New("torn frame")

// castagnoli is CRC-32C's table; the package crc32 makes it once and picks the processor's instruction by it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame and returns its CRC beside it.
func appendFrame(dst []byte, seed uint32, kind byte, payload ...[]byte) ([]byte, uint32) {
	at := len(dst)
	dst = append(dst, make([]byte, frameHead)...)
	dst = append(dst, kind)
	for _, p := range payload {
		dst = append(dst, p...)
	}
	sum := crc32.Update(seed, castagnoli, dst[at+frameHead:])
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-frameHead))
	binary.LittleEndian.PutUint32(dst[at+4:], sum)
	return dst, sum
}

// A frame is one that was read back.
type frame struct {
	kind    byte
	payload []byte
	sum     uint32
	end     int64 // offset after it
}

// readFrame reads the frame at off. It returns io.EOF when size is reached there, and errTorn (wrapped) for anything
// that is not a whole frame. The payload is fresh memory.
func readFrame(r io.ReaderAt, off, size int64, seed uint32) (frame, error) {
	if off == size {
		return frame{}, io.EOF
	}
	var head [frameHead]byte
	if size-off < frameHead {
		return frame{}, fmt.Errorf("%w at byte %d: %d bytes are left", errTorn, off, size-off)
	}
	if _, err := r.ReadAt(head[:], off); err != nil {
		return frame{}, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n < 1 || n > maxFrame || n > size-off-frameHead {
		return frame{}, fmt.Errorf("%w at byte %d: length %d does not fit", errTorn, off, n)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, off+frameHead); err != nil {
		return frame{}, err
	}
	sum := crc32.Update(seed, castagnoli, b)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return frame{}, fmt.Errorf("%w at byte %d: checksum differs", errTorn, off)
	}
	return frame{b[0], b[1:], sum, off + frameHead + n}, nil
}

// appendBatch is the payload of a batch's frame.
func appendBatch(dst []byte, b Batch) []byte { return wire.AppendBatch(dst, b.Note, b.Body) }

// splitBatch reads the payload of a batch's frame. The slices are parts of p.
func splitBatch(p []byte) (Batch, error) {
	note, rest, err := splitPart(p)
	if err != nil {
		return Batch{}, err
	}
	body, rest, err := splitPart(rest)
	if err != nil || len(rest) > 0 {
		return Batch{}, fmt.Errorf("%w: not a note and a body", errTorn)
	}
	return Batch{Note: note, Body: body}, nil
}

func splitPart(p []byte) (part, rest []byte, err error) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > uint64(len(p)-used) {
		return nil, nil, fmt.Errorf("%w: not a note and a body", errTorn)
	}
	return p[used : used+int(n) : used+int(n)], p[used+int(n):], nil
}
