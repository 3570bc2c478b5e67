package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of one path, and of what it finds.
const (
	maxSegments  = 32
	maxPath      = 512      // bytes
	maxJSONValue = 4 << 10  // bytes of one value
	maxJSONDepth = 10 << 10 // how deep a document may nest
)

// ErrJSON says that a document is no JSON, or nests deeper than it may.
var ErrJSON = errors.New("not JSON")

// A JSONPath names values of a JSON document: $, then .name, ['name'], [number from 0] or [*] for each (a subset of RFC 9535).
type JSONPath struct {
	text string
	way  []segment
}

// A segment is one step of a path.
type segment struct {
	name  string // of a member
	index int    // of an element; -1 for a member
	all   bool   // every member or element
}

// String returns the path as it was written.
func (p *JSONPath) String() string { return p.text }

// ParseJSONPath reads a path.
func ParseJSONPath(text string) (*JSONPath, error) {
	p := &JSONPath{text: text}
	wrong := fmt.Errorf("path %q is not understood: write e.g. $.data[0].updated", text)
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "$")
	if !ok || len(text) > maxPath {
		return nil, wrong
	}
	for rest != "" {
		if len(p.way) == maxSegments {
			return nil, fmt.Errorf("path %q has more than %d parts", text, maxSegments)
		}
		var s segment
		if s, rest, ok = nextSegment(rest); !ok {
			return nil, wrong
		}
		p.way = append(p.way, s)
	}
	return p, nil
}

func nextSegment(s string) (seg segment, rest string, ok bool) {
	if s, ok := strings.CutPrefix(s, "."); ok {
		n := strings.IndexAny(s, ".[")
		if n < 0 {
			n = len(s)
		}
		return segment{name: s[:n], index: -1, all: s[:n] == "*"}, s[n:], n > 0 && !strings.ContainsAny(s[:n], "]'\" ")
	}
	s, ok = strings.CutPrefix(s, "[")
	if !ok {
		return seg, s, false
	}
	for _, quote := range []string{"'", `"`} {
		if in, ok := strings.CutPrefix(s, quote); ok {
			name, rest, ok := strings.Cut(in, quote+"]")
			return segment{name: name, index: -1}, rest, ok
		}
	}
	in, rest, ok := strings.Cut(s, "]")
	if in == "*" {
		return segment{index: -1, all: true}, rest, ok
	}
	n, err := strconv.Atoi(in)
	return segment{index: n}, rest, ok && err == nil && n >= 0 && in[0] != '+'
}

// Find returns the first most values that the path names, as text: strings without quotes, numbers as they are written, objects
// and arrays as they stand, cut to 4 KiB. The document is read once and never kept. The error is ErrJSON.
func (p *JSONPath) Find(doc []byte, most int) ([]string, error) {
	f := finder{doc: doc, dec: json.NewDecoder(bytes.NewReader(doc)), most: most}
	f.dec.UseNumber()
	if err := f.value(p.way, true); err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("%w: %s", ErrJSON, plainJSON(err))
	}
	return f.found, nil
}

var errEnough = errors.New("enough was found")

// A finder goes over one document. It goes down only where the path leads.
type finder struct {
	doc   []byte
	dec   *json.Decoder
	most  int
	found []string
}

// value reads one value. on tells whether the path leads here; way is what is left of it.
func (f *finder) value(way []segment, on bool) error {
	if on && len(way) == 0 {
		return f.take()
	}
	if !on {
		_, err := f.skip()
		return err
	}
	t, err := f.dec.Token()
	if err != nil {
		return err
	}
	d, nested := t.(json.Delim)
	if !nested {
		return nil
	}
	for i := 0; f.dec.More(); i++ {
		next := way[0].all || way[0].index == i
		if d == '{' {
			key, err := f.dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			next = way[0].all || way[0].index < 0 && way[0].name == name
		} else if !way[0].all && way[0].index < 0 {
			next = false
		}
		if err := f.value(way[1:], next); err != nil {
			return err
		}
	}
	_, err = f.dec.Token()
	return err
}

// take keeps the value that comes.
func (f *finder) take() error {
	t, err := f.skip()
	if err != nil {
		return err
	}
	var text string
	switch t := t.(type) {
	case string:
		text = t
	case nil:
		text = "null"
	default:
		text = fmt.Sprint(t)
	case []byte:
		text = string(t)
	}
	f.found = append(f.found, text[:min(len(text), maxJSONValue)])
	if len(f.found) >= f.most {
		return errEnough
	}
	return nil
}

// skip reads one value to its end. It returns the value of a plain one and the bytes, at most maxJSONValue, of a nested one.
func (f *finder) skip() (json.Token, error) {
	t, err := f.dec.Token()
	if err != nil {
		return nil, err
	}
	if _, nested := t.(json.Delim); !nested {
		return t, nil
	}
	begin := f.dec.InputOffset() - 1
	for depth := 1; depth > 0; {
		t, err := f.dec.Token()
		if err != nil {
			return nil, err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxJSONDepth {
				return nil, fmt.Errorf("nested deeper than %d", maxJSONDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return f.doc[begin:min(f.dec.InputOffset(), begin+maxJSONValue)], nil
}

// plainJSON words what the decoder says without the page's own text.
func plainJSON(err error) string {
	switch bad, is := errors.AsType[*json.SyntaxError](err); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case is:
		return fmt.Sprintf("wrong at byte %d", bad.Offset)
	}
	return err.Error()
}
