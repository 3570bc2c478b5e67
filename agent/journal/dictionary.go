package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"egovmon/agent/wire"
)

// A dictionary is up to wire.MaxDictionary bytes that stand before the lines while these are compressed (RFC 8878,
// section 5: a raw content dictionary). It is named by its SHA-256, which is the only thing that a header says of it.
// A machine's collector makes it; the machine's journal holds it in each segment that needs it, so that a segment can
// be read by itself.

// ErrDictionary says that a batch is compressed with a dictionary that is not known here.
var ErrDictionary = errors.New("the dictionary it is compressed with is not known here")

// maxKnown is how many dictionaries a Reader has ready at a time.
const maxKnown = 16

// dictionaryMagic is the first part of a dictionary's frame in a segment.
const dictionaryMagic = "egovmon-dictionary/1\n"

// CheckDictionary reports whether bytes are a dictionary that this program takes, under that name.
func CheckDictionary(b []byte, sha256 string) error {
	switch {
	case len(b) == 0 || len(b) > wire.MaxDictionary:
		return fmt.Errorf("dictionary of %d bytes: from 1 to %d are allowed", len(b), wire.MaxDictionary)
	case hashOf(b) != sha256:
		return fmt.Errorf("dictionary has SHA-256 %s, want %.80s", hashOf(b), sha256)
	}
	return nil
}

// Dictionaries lets the reader read batches that are compressed with a dictionary. find is asked by SHA-256 in
// lower-case hex, and its error wraps [ErrDictionary] for one that it does not know. It replaces the one before.
func (r *Reader) Dictionaries(find func(sha256 string) ([]byte, error)) { r.find = find }

// decompressor returns the decoder for a dictionary; "" is none.
func (r *Reader) decompressor(sha256 string) (*zstd.Decoder, error) {
	if sha256 == "" {
		return r.zstd, nil
	}
	if z := r.known[sha256]; z != nil {
		if n := len(r.order) - 1; r.order[n] != sha256 {
			i := slices.Index(r.order, sha256)
			r.order = append(slices.Delete(r.order, i, i+1), sha256)
		}
		return z, nil
	}
	if r.find == nil {
		return nil, fmt.Errorf("dictionary %s: %w", sha256, ErrDictionary)
	}
	b, err := r.find(sha256)
	if err == nil {
		err = CheckDictionary(b, sha256)
	}
	if err != nil {
		return nil, fmt.Errorf("dictionary %s: %w", sha256, err)
	}
	z, err := newDecompressor(b)
	if err != nil {
		return nil, err
	}
	if r.known == nil {
		r.known = make(map[string]*zstd.Decoder)
	}
	if len(r.order) == maxKnown {
		r.known[r.order[0]].Close()
		delete(r.known, r.order[0])
		r.order = slices.Delete(r.order, 0, 1)
	}
	r.known[sha256], r.order = z, append(r.order, sha256)
	return z, nil
}

// A packer is the encoder for one dictionary.
type packer struct {
	sha256 string
	bytes  []byte
	zstd   *zstd.Encoder
}

// SetDictionary compresses the batches to come with a dictionary; without bytes, with none.
func (j *Journal) SetDictionary(b []byte) error {
	if len(b) == 0 {
		j.writing.Lock()
		defer j.writing.Unlock()
		j.packer = nil
		return nil
	}
	p := &packer{sha256: hashOf(b), bytes: bytes.Clone(b)}
	if err := CheckDictionary(b, p.sha256); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.packer != nil && j.packer.sha256 == p.sha256 {
		return nil
	}
	var err error
	if p.zstd, err = newCompressor(p.bytes); err != nil {
		return fmt.Errorf("journal: compressor: %w", err)
	}
	j.packer, j.zstd = p, nil
	return nil
}

// Dictionary returns the SHA-256 of the dictionary that batches are compressed with; "" for none.
func (j *Journal) Dictionary() string {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.packer == nil {
		return ""
	}
	return j.packer.sha256
}

// inSegment finds the dictionary that a segment of this folder holds.
func inSegment(dir, name string) func(sha256 string) ([]byte, error) {
	return func(sha256 string) ([]byte, error) {
		b, err := segmentDictionary(filepath.Join(dir, name))
		if err == nil && hashOf(b) != sha256 {
			err = fmt.Errorf("segment %s: %w", name, ErrDictionary)
		}
		return b, err
	}
}

// segmentDictionary reads the dictionary of a segment, which is its second frame; nil when it has none.
func segmentDictionary(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var at int64
	for range 2 {
		fr, err := readFrame(f, at, st.Size(), 0)
		switch {
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, err
		case fr.kind == kindDictionary:
			magic, b, err := splitPart(fr.payload)
			if err != nil || string(magic) != dictionaryMagic {
				return nil, fmt.Errorf("%w: not a dictionary", errTorn)
			}
			b, _, err = splitPart(b)
			return b, err
		}
		at = fr.end
	}
	return nil, nil
}
