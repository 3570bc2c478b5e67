package talk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrTooLong is a message longer than [MaxLine].
var ErrTooLong = fmt.Errorf("a message has more than %d bytes", MaxLine)

// A Line reads and writes messages.
type Line struct {
	in  *bufio.Reader
	out io.Writer
	max int
}

// NewLine makes a line of a reader and a writer.
func NewLine(in io.Reader, out io.Writer) *Line {
	return &Line{in: bufio.NewReaderSize(in, 16<<10), out: out, max: MaxLine}
}

// Read reads the next message into v. A message that is cut short is io.ErrUnexpectedEOF, none at all is io.EOF.
func (l *Line) Read(v any) error {
	var text []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if len(text)+len(part) > l.max {
			return ErrTooLong
		}
		text = append(text, part...)
		if err == nil {
			break
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(text) > 0:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("a message that cannot be read: %w", err)
	}
	if d.More() {
		return errors.New("a message with more than one value")
	}
	return nil
}

// Write writes one message.
func (l *Line) Write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) >= l.max {
		return ErrTooLong
	}
	_, err = l.out.Write(append(text, '\n'))
	return err
}
