package talk

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	var wire bytes.Buffer
	l := NewLine(&wire, &wire)
	want := Next{Proceed: &Proceed{PIN: strings.Repeat("1", 70_000)}} // longer than the reader's buffer
	if err := l.Write(want); err != nil {
		t.Fatal(err)
	}
	var got Next
	if err := l.Read(&got); err != nil || got.Proceed == nil || got.Proceed.PIN != want.Proceed.PIN {
		t.Errorf("%v", err)
	}
	if err := l.Read(&got); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v", err)
	}
	for text, want := range map[string]string{
		`{"proceed":`:             "unexpected EOF",
		"hello\n":                 "cannot be read",
		`{"proceed":{}}{}` + "\n": "more than one value",
		`{"pin":"1"}` + "\n":      "unknown field",
	} {
		if err := NewLine(strings.NewReader(text), io.Discard).Read(&got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	short := NewLine(strings.NewReader(strings.Repeat("x", 200)), io.Discard)
	short.max = 100
	if err := short.Read(&got); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long to read: %v", err)
	}
	if err := short.Write(want); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long to write: %v", err)
	}
}

// A line without end is given up at its bound, and not read into memory.
func TestLineEndless(t *testing.T) {
	n := &counter{}
	if err := NewLine(n, io.Discard).Read(&Next{}); !errors.Is(err, ErrTooLong) || n.read > MaxLine+64<<10 {
		t.Errorf("%v after %d bytes", err, n.read)
	}
}

type counter struct{ read int }

func (c *counter) Read(b []byte) (int, error) {
	c.read += len(b)
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"v":1,"done":{"cms":"MAA=","digest":"AA==","whole":true}}` + "\n"))
	f.Add([]byte(`{"v":1,"error":{"reason":"x","detail":"y"}}` + "\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var a Answer
		_ = NewLine(bytes.NewReader(text), io.Discard).Read(&a)
	})
}
