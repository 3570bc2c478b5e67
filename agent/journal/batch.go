package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/wire"
)

// A Batch is a run of records as it is signed, sent and archived: byte for byte the same for ever.
type Batch struct {
	Note []byte // the whole signed note whose text is the header
	Body []byte // the stored body: one zstd frame of lines
}

// Hash returns the SHA-256 of the note in lower-case hex: what the next batch names as its previous one.
func (b Batch) Hash() string { return hashOf(b.Note) }

func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// A ContentError says that a batch is what its machine signed, and that lines in it cannot be read. The readable ones
// are handed over beside it.
type ContentError struct {
	Lines int   // how many could not be read; all of them when the body does not decompress
	First error // what was wrong with the first one, and which it is
}

// Error names the first unreadable line and how many there are.
func (e *ContentError) Error() string {
	return fmt.Sprintf("batch is signed, but %d of its lines cannot be read; the first: %v", e.Lines, e.First)
}

// Unwrap returns the first mistake.
func (e *ContentError) Unwrap() error { return e.First }

// newCompressor makes the encoder of bodies: small windows, one goroutine, little memory. Without bytes there is no
// dictionary.
func newCompressor(dictionary []byte) (*zstd.Encoder, error) {
	o := []zstd.EOption{
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(32 << 10), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
	}
	if len(dictionary) > 0 {
		o = append(o, zstd.WithEncoderDictRaw(0, dictionary))
	}
	return zstd.NewWriter(nil, o...)
}

// Seal makes a batch of records. It fills Body, Stored, Raw and Records of the header; the rest is the caller's. The
// signer's name is egovmon/D/journal/MACHINE.
func Seal(h Header, recs []Record, signer note.Signer) (Batch, error) {
	return SealWith(h, recs, nil, signer)
}

// SealWith is Seal with a dictionary, which the header then names. No bytes are none.
func SealWith(h Header, recs []Record, dictionary []byte, signer note.Signer) (Batch, error) {
	var e encoder
	var lines []byte
	var err error
	for i := range recs {
		if lines, err = e.record(lines, &recs[i]); err != nil {
			return Batch{}, err
		}
	}
	z, err := newCompressor(dictionary)
	if err != nil {
		return Batch{}, fmt.Errorf("journal: compressor: %w", err)
	}
	if len(dictionary) > 0 {
		h.Dictionary = hashOf(dictionary)
	}
	return sealLines(h, lines, len(recs), z, signer)
}

// sealLines is Seal for lines that were written before.
func sealLines(h Header, lines []byte, records int, z *zstd.Encoder, signer note.Signer) (Batch, error) {
	body := z.EncodeAll(lines, make([]byte, 0, len(lines)/4+64))
	h.Body, h.Stored, h.Raw, h.Records = hashOf(body), len(body), len(lines), records
	if err := h.Validate(); err != nil {
		return Batch{}, fmt.Errorf("journal %s: batch %d: %w", h.Journal, h.Seq, err)
	}
	if err := signs(signer.Name(), h.Machine); err != nil {
		return Batch{}, err
	}
	n, err := note.Sign(&note.Note{Text: h.Text()}, signer)
	if err != nil {
		return Batch{}, fmt.Errorf("journal %s: sign batch %d: %w", h.Journal, h.Seq, err)
	}
	return Batch{Note: n, Body: body}, nil
}

// signs reports whether a key of this name speaks for the machine.
func signs(name, machine string) error {
	district, ok := strings.CutPrefix(name, "egovmon/")
	district, key, cut := strings.Cut(district, "/")
	if !ok || !cut || district == "" || key != "journal/"+machine {
		return fmt.Errorf("key %.200q does not sign for machine %.80q: want egovmon/D/journal/%.80s", name, machine, machine)
	}
	return nil
}

// ParseNote verifies a batch's signed note and reads its header. The note carries exactly one signature, by a known
// key whose name is that of the machine in the header: other signatures would let one header have many hashes.
func ParseNote(b []byte, verifiers note.Verifiers) (Header, error) {
	if len(b) > wire.MaxHeader {
		return Header{}, fmt.Errorf("header note of %d bytes: at most %d are allowed", len(b), wire.MaxHeader)
	}
	n, err := note.Open(b, verifiers)
	if err != nil {
		return Header{}, fmt.Errorf("header note: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return Header{}, fmt.Errorf("header note carries %d signatures: want the machine's alone", len(n.Sigs)+len(n.UnverifiedSigs))
	}
	h, err := ParseHeader(n.Text)
	if err != nil {
		return Header{}, err
	}
	if err := signs(n.Sigs[0].Name, h.Machine); err != nil {
		return Header{}, err
	}
	return h, nil
}

// Open verifies a batch and reads its records. A batch that is not what its machine signed gives an error and nothing
// else. One that is, but holds lines that cannot be read, gives its header, the other records and a [*ContentError].
func Open(b Batch, verifiers note.Verifiers) (Header, []Record, error) {
	r, err := NewReader()
	if err != nil {
		return Header{}, nil, err
	}
	return r.Open(b, verifiers)
}

// A Reader opens many batches with one decompressor for each dictionary. It serves one goroutine at a time.
type Reader struct {
	zstd *zstd.Decoder
	dec  decoder

	find  func(sha256 string) ([]byte, error) // nil knows none
	known map[string]*zstd.Decoder            // by dictionary
	order []string                            // keys of known, the one used last at the end
}

// NewReader returns a Reader that knows no dictionary.
func NewReader() (*Reader, error) {
	z, err := newDecompressor(nil)
	if err != nil {
		return nil, err
	}
	return &Reader{zstd: z}, nil
}

func newDecompressor(dictionary []byte) (*zstd.Decoder, error) {
	o := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(wire.MaxRaw), zstd.WithDecoderLowmem(true)}
	if len(dictionary) > 0 {
		o = append(o, zstd.WithDecoderDictRaw(0, dictionary))
	}
	z, err := zstd.NewReader(nil, o...)
	if err != nil {
		return nil, fmt.Errorf("journal: decompressor: %w", err)
	}
	return z, nil
}

// Open is the function [Open] with this reader's decompressor.
func (r *Reader) Open(b Batch, verifiers note.Verifiers) (Header, []Record, error) {
	h, err := ParseNote(b.Note, verifiers)
	if err != nil {
		return Header{}, nil, err
	}
	if err := h.CheckBody(b.Body); err != nil {
		return Header{}, nil, err
	}
	recs, err := r.Records(h, b.Body)
	return h, recs, err
}

// CheckBody reports whether body is the one that the header names.
func (h Header) CheckBody(body []byte) error {
	if len(body) != h.Stored {
		return fmt.Errorf("body of batch %d has %d bytes, the header says %d", h.Seq, len(body), h.Stored)
	}
	if got := hashOf(body); got != h.Body {
		return fmt.Errorf("body of batch %d has SHA-256 %s, the header says %s", h.Seq, got, h.Body)
	}
	return nil
}

// Records reads the lines of a body that its header is known to name. Its error is a [*ContentError], or says why the
// dictionary cannot be had: one that wraps [ErrDictionary] when it is not known here.
func (r *Reader) Records(h Header, body []byte) ([]Record, error) {
	z, err := r.decompressor(h.Dictionary)
	if err != nil {
		return nil, fmt.Errorf("batch %d of journal %s: %w", h.Seq, h.Journal, err)
	}
	lines, err := decompress(z, h, body)
	if err != nil {
		return nil, &ContentError{Lines: h.Records, First: err}
	}
	recs, err := r.lines(lines)
	if n := bytes.Count(lines, []byte("\n")); n != h.Records && err == nil {
		err = &ContentError{Lines: max(h.Records-n, 0), First: fmt.Errorf("body has %d lines, the header says %d", n, h.Records)}
	}
	return recs, err
}

// lines reads records; its error is a [*ContentError].
func (r *Reader) lines(lines []byte) ([]Record, error) {
	var bad ContentError
	recs := make([]Record, 0, min(bytes.Count(lines, []byte("\n")), len(lines)/minLine))
	n := 0
	for line := range bytes.Lines(lines) {
		n++
		rec, err := r.line(line)
		if err == nil {
			recs = append(recs, rec)
			continue
		}
		if bad.Lines++; bad.First == nil {
			bad.First = fmt.Errorf("line %d: %w", n, err)
		}
	}
	if bad.First != nil {
		return recs, &bad
	}
	return recs, nil
}

func (r *Reader) line(line []byte) (Record, error) {
	text, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok {
		return Record{}, fmt.Errorf("no newline at the end")
	}
	return r.dec.record(text)
}

// decompress returns the lines. A frame says how large its content is, so that one which promises more than the header
// is refused before a byte of it is written. Which dictionary it is says the header: a raw one has no number.
func decompress(z *zstd.Decoder, h Header, body []byte) ([]byte, error) {
	var frame zstd.Header
	if err := frame.Decode(body); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if frame.Skippable || !frame.HasFCS || frame.FrameContentSize != uint64(h.Raw) || frame.DictionaryID != 0 {
		return nil, fmt.Errorf("body is not one frame of %d bytes without a dictionary's number", h.Raw)
	}
	lines, err := z.DecodeAll(body, make([]byte, 0, h.Raw))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if len(lines) != h.Raw {
		return nil, fmt.Errorf("body has %d bytes, the header says %d", len(lines), h.Raw)
	}
	return lines, nil
}
