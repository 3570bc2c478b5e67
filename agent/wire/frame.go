package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// ErrLimit is in the error of a message that is larger than this API allows: an answer of 413.
var ErrLimit = errors.New("larger than the agent API allows")

// A Frame is one batch as it travels: the signed header note and the stored body.
type Frame struct {
	Header []byte
	Body   []byte
}

// AppendBatch appends one batch to the body of a POST batches: uvarint(len) header uvarint(len) body.
func AppendBatch(dst, header, body []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(header)))
	dst = append(dst, header...)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

// FrameSize is how many bytes AppendBatch appends for a header and a body of these sizes.
func FrameSize(header, body int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], uint64(header)) + header + binary.PutUvarint(b[:], uint64(body)) + body
}

// ReadBatches yields the batches of a request, one at a time, until its end or the first error: a frame that is cut
// short, or more than MaxBatches, MaxRequest, MaxHeader or MaxBody, which is an [ErrLimit]. Memory grows with what has
// come, not with what a length promises. The slices are the caller's.
func ReadBatches(r io.Reader) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		in := &counted{r: bufio.NewReader(r)}
		for n := 0; ; n++ {
			f, err := readFrame(in)
			if err == io.EOF {
				return
			}
			if err == nil && n == MaxBatches {
				err = fmt.Errorf("more than %d batches in a request: %w", MaxBatches, ErrLimit)
			}
			if err != nil {
				yield(Frame{}, fmt.Errorf("batch %d of the request: %w", n+1, err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

// A counted reader refuses to read beyond MaxRequest.
type counted struct {
	r *bufio.Reader
	n int
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if c.n++; c.n > MaxRequest {
		return 0, fmt.Errorf("more than %d bytes in a request: %w", MaxRequest, ErrLimit)
	}
	return b, nil
}

// readFrame returns io.EOF when the request ends where a frame could begin, and only then.
func readFrame(in *counted) (f Frame, err error) {
	if _, err := in.r.Peek(1); err == io.EOF {
		return f, io.EOF
	}
	if f.Header, err = readPart(in, "header", MaxHeader); err != nil {
		return f, err
	}
	f.Body, err = readPart(in, "body", MaxBody)
	return f, err
}

func readPart(in *counted, what string, most uint64) ([]byte, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, fmt.Errorf("length of the %s: %w", what, cutShort(err))
	}
	if size > most {
		return nil, fmt.Errorf("%s of %d bytes, at most %d: %w", what, size, most, ErrLimit)
	}
	if in.n += int(size); in.n > MaxRequest {
		return nil, fmt.Errorf("more than %d bytes in a request: %w", MaxRequest, ErrLimit)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, in.r, int64(size)); err != nil {
		return nil, fmt.Errorf("%s of %d bytes: %w", what, size, cutShort(err))
	}
	return b.Bytes(), nil
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
