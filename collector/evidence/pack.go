package evidence

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// The receipt of a batch and its header note say much in the same words: the names of their lines, the machine, the
// journal, the hash of the body. Since version 2 of a segment they stand compressed in one frame of kind P:
//
//	zstd(uvarint(len) leaf without its last line | blob)
//
// The last line of the leaf names the blob, and is made again from it. A reader gives back the bytes that were appended
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

// A packer writes and reads frames of kind P. Its words belong to the format: they are never changed.
type packer struct {
	enc *zstd.Encoder // of the one writer
	dec *zstd.Decoder // may be used by several readers
}

func newPacker() (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(maxPacked), zstd.WithEncoderDictRaw(0, []byte(packedWords)))
	if err != nil {
		return nil, err
	}
	dec, err := newUnpacker()
	return &packer{enc, dec}, err
}

func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(2*maxPacked), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderDictRaw(0, []byte(packedWords)))
}

// appendEntry is the function appendEntry with receipts packed.
func (p *packer) appendEntry(dst []byte, e Entry) []byte {
	if e.Leaf.typ != Batch || e.Leaf.blob == nil {
		return appendEntry(dst, e)
	}
	stripped := e.Leaf.text[:len(e.Leaf.text)-len(blobLine(*e.Leaf.blob))]
	raw := binary.AppendUvarint(make([]byte, 0, len(stripped)+len(e.Blob)+4), uint64(len(stripped)))
	raw = append(append(raw, stripped...), e.Blob...)
	if len(raw) > maxPacked {
		return appendEntry(dst, e)
	}
	dst = appendFrame(dst, kindPacked, p.enc.EncodeAll(raw, make([]byte, 0, len(raw))))
	if e.Leaf.body != nil {
		dst = appendFrame(dst, kindBody, e.Body)
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
	n, used := binary.Uvarint(raw)
	if used <= 0 || n > uint64(len(raw)-used) || n > MaxLeaf {
		return nil, nil, errors.New("the leaf is longer than what is there")
	}
	stripped, blob := raw[used:used+int(n)], raw[used+int(n):]
	if len(blob) == 0 {
		return nil, nil, errors.New("there is no blob in it")
	}
	return append(append(make([]byte, 0, len(stripped)+90), stripped...), blobLine(RefTo(blob))...), blob, nil
}
