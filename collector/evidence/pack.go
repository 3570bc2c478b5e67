package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The receipt of a batch and its header note say much in the same words: the names of their lines, the machine, the
// journal, the hash of the body. Since version 2 of a segment they stand compressed in one frame of kind P:
//
//	zstd(uvarint(len) leaf without its last line | blob)
//
// There, 64 hex digits on end stand as one byte 0x01 and the 32 bytes that they say, 32 as 0x02 and 16 bytes, and 44 and
// 92 characters of base64 at the end of a line as 0x03 and 0x04 and what they say, and an instant as 0x05 and 6 bytes of Unix milliseconds. The last line of the leaf names the blob, and is made again from it. A reader gives back the bytes that were appended
// and compares the leaf with the tree, so that packing proves nothing and hides nothing.

const (
	maxPacked   = 16 << 10 // bytes of leaf and blob; larger ones stand in frames of their own
	packedWords = "egovmon-leaf/1 batch\n" +
		"body 0000000000000000000000000000000000000000000000000000000000000000 701\n" +
		"journal 00000000000000000000000000000000\n" +
		"machine pc-xa-01\n" +
		"received 2026-11-23T01:00:07.412Z\n" +
		"seq 42\n" +
		"egovmon-batch/1\n" +
		"machine pc-xa-01\n" +
		"journal 00000000000000000000000000000000\n" +
		"seq 42\n" +
		"previous 0000000000000000000000000000000000000000000000000000000000000000\n" +
		"body 0000000000000000000000000000000000000000000000000000000000000000 701 10201 20\n" +
		"sealed 2026-11-23T01:00:07.412Z\n" +
		"clock -0.012 2026-11-23T01:00:07.412Z\n" +
		"checkpoint egovmon/d/log/1 123456 AAAA=\n" +
		"dictionary 0000000000000000000000000000000000000000000000000000000000000000\n" +
		"\n" +
		"— egovmon/d/journal/pc-xa-01 AAAA=\n"
)

// A sign stands for text of a certain length that says bytes.
type sign struct {
	text, bytes int
	encoding    interface {
		Decode(dst, src []byte) (int, error)
		Encode(dst, src []byte)
	}
	last bool // only where a line ends
}

// signOf returns what stands for the byte c, or false.
func signOf(c byte) (s sign, ok bool) {
	switch c {
	case 1:
		return sign{64, 32, hexadecimal{}, false}, true
	case 2:
		return sign{32, 16, hexadecimal{}, false}, true
	case 3:
		return sign{44, 32, base64.StdEncoding.Strict(), true}, true
	case 4:
		return sign{92, 68, base64.StdEncoding.Strict(), true}, true
	case 5:
		return sign{len(receivedFormat), 6, instant{}, false}, true
	}
	return sign{}, false
}

type hexadecimal struct{}

func (hexadecimal) Decode(dst, src []byte) (int, error) {
	if bytes.ContainsAny(src, "ABCDEF") {
		return 0, errors.New("not in lower case")
	}
	return hex.Decode(dst, src)
}

func (hexadecimal) Encode(dst, src []byte) { hex.Encode(dst, src) }

// An instant is written as receivedFormat has it, and said by its Unix milliseconds.
type instant struct{}

func (instant) Decode(dst, src []byte) (int, error) {
	t, err := time.Parse(receivedFormat, string(src))
	if err != nil || t.UnixMilli() < 0 || t.UnixMilli() >= 1<<48 || t.Format(receivedFormat) != string(src) {
		return 0, errors.New("no instant of this form")
	}
	ms := binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli()))
	return copy(dst, ms[2:]), nil
}

func (instant) Encode(dst, src []byte) {
	ms := binary.BigEndian.Uint64(append([]byte{0, 0}, src...))
	copy(dst, time.UnixMilli(int64(ms)).UTC().Format(receivedFormat))
}

// squeeze appends raw with signs in the place of hashes and signatures.
func squeeze(out, raw []byte) []byte {
	var said [68]byte
	for len(raw) > 0 {
		end := bytes.IndexAny(raw, " \n") // words end there
		if end < 0 {
			end = len(raw)
		}
		done := false
		for c := byte(1); c <= 5 && !done; c++ {
			s, _ := signOf(c)
			if end != s.text || s.last && (end == len(raw) || raw[end] != '\n') {
				continue
			}
			if n, err := s.encoding.Decode(said[:], raw[:end]); err == nil && n == s.bytes {
				out, done = append(append(out, c), said[:n]...), true
			}
		}
		if !done {
			out = append(out, raw[:end]...)
		}
		if end < len(raw) {
			out = append(out, raw[end])
			end++
		}
		raw = raw[end:]
	}
	return out
}

// unsqueeze gives back what squeeze was given, if that held no signs.
func unsqueeze(b []byte) ([]byte, error) {
	out := make([]byte, 0, 2*len(b))
	for len(b) > 0 {
		s, ok := signOf(b[0])
		if !ok {
			out, b = append(out, b[0]), b[1:]
			continue
		}
		if len(b) < 1+s.bytes {
			return nil, errors.New("it ends in the middle of a hash")
		}
		n := len(out)
		out = append(out, make([]byte, s.text)...)
		s.encoding.Encode(out[n:], b[1:1+s.bytes])
		b = b[1+s.bytes:]
	}
	return out, nil
}

// A packer writes and reads frames of kind P. Its words belong to the format: they are never changed.
type packer struct {
	enc *zstd.Encoder // of the one writer
	dec *zstd.Decoder // may be used by several readers
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(maxPacked), zstd.WithEncoderDictRaw(0, squeeze(nil, []byte(packedWords))))
	if err != nil {
		return nil, err
	}
	dec, err := newUnpacker()
	return &packer{enc, dec}, err
}

func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(2*maxPacked), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderDictRaw(0, squeeze(nil, []byte(packedWords))))
}

// appendEntry is the function appendEntry with receipts packed.
func (p *packer) appendEntry(dst []byte, e Entry) []byte {
	if e.Leaf.typ != Batch || e.Leaf.blob == nil {
		return appendEntry(dst, e)
	}
	stripped := e.Leaf.text[:len(e.Leaf.text)-len(blobLine(*e.Leaf.blob))]
	if len(stripped)+len(e.Blob) > maxPacked-binary.MaxVarintLen64 {
		return appendEntry(dst, e)
	}
	raw := binary.AppendUvarint(make([]byte, 0, len(stripped)+len(e.Blob)), uint64(len(stripped)))
	raw = squeeze(raw, slices.Concat(stripped, e.Blob))
	if text, blob, err := split(raw); err != nil || !bytes.Equal(text, e.Leaf.text) || !bytes.Equal(blob, e.Blob) {
		return appendEntry(dst, e) // it holds what is a sign here
	}
	dst = appendFrame(dst, kindPacked, p.enc.EncodeAll(raw, make([]byte, 0, len(raw))))
	if e.Leaf.body != nil {
		dst = appendPiece(dst, kindBody, e.Body, e.bodyGone)
	}
	return dst
}

func blobLine(r Ref) string { return blobKey + " " + r.String() + "\n" }

// unpack returns the leaf's text and the blob that a frame of kind P holds.
func unpack(dec *zstd.Decoder, payload []byte) (text, blob []byte, err error) {
	var h zstd.Header
	if err := h.Decode(payload); err != nil {
		return nil, nil, err
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize > maxPacked || h.DictionaryID != 0 {
		return nil, nil, fmt.Errorf("it is not one of at most %d bytes", maxPacked)
	}
	raw, err := dec.DecodeAll(payload, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, nil, err
	}
	return split(raw)
}

// split takes leaf and blob out of what was compressed.
func split(raw []byte) (text, blob []byte, err error) {
	n, used := binary.Uvarint(raw)
	if used <= 0 {
		return nil, nil, errors.New("it does not say how long the leaf is")
	}
	if raw, err = unsqueeze(raw[used:]); err != nil {
		return nil, nil, err
	}
	if n > uint64(len(raw)) || n > MaxLeaf {
		return nil, nil, errors.New("the leaf is longer than what is there")
	}
	stripped, blob := raw[:n], raw[n:]
	if len(blob) == 0 {
		return nil, nil, errors.New("there is no blob in it")
	}
	return append(append(make([]byte, 0, len(stripped)+90), stripped...), blobLine(RefTo(blob))...), blob, nil
}
