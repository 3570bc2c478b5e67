package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A value is one of raw, name, ref, array, dict, or *stream for an object.
type value any

type (
	raw   string // a number, string, boolean or null, as it stands in the document
	name  string // decoded, without the slash
	array []value
)

// A ref names an object.
type ref struct{ num, gen uint32 }

// A dict is a dictionary in the order of the document.
type dict []pair

type pair struct {
	key name
	val value
}

// A stream is a dictionary with the bytes that follow it, as they stand in the document.
type stream struct {
	dict dict
	data []byte
}

func (d dict) get(key name) value {
	for _, p := range d {
		if p.key == key {
			return p.val
		}
	}
	return nil
}

// with returns a copy in which key has this value.
func (d dict) with(key name, v value) dict {
	out := make(dict, 0, len(d)+1)
	for _, p := range d {
		if p.key != key {
			out = append(out, p)
		}
	}
	return append(out, pair{key, v})
}

// whole returns v as a whole number.
func whole(v value) (int64, bool) {
	r, ok := v.(raw)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(r), 10, 64)
	return n, err == nil
}

const (
	maxNesting = 64
	maxValues  = 2 << 20 // in all that is read of a document
)

var (
	errNesting = fmt.Errorf("values are nested more than %d deep", maxNesting)
	errValues  = fmt.Errorf("more than %d values", maxValues)
	errEnd     = errors.New("the document ends within a value")
)

// A parser reads values out of bytes.
type parser struct {
	data []byte
	at   int
	left *int // of maxValues
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

// space skips white space and comments.
func (p *parser) space() {
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case isSpace(c):
			p.at++
		case c == '%':
			for p.at < len(p.data) && p.data[p.at] != '\n' && p.data[p.at] != '\r' {
				p.at++
			}
		default:
			return
		}
	}
}

// word reads up to white space or a delimiter.
func (p *parser) word() string {
	begin := p.at
	for p.at < len(p.data) && !isSpace(p.data[p.at]) && !isDelimiter(p.data[p.at]) {
		p.at++
	}
	return string(p.data[begin:p.at])
}

// keyword reads this word, if it is what follows.
func (p *parser) keyword(w string) bool {
	p.space()
	begin := p.at
	if p.word() == w {
		return true
	}
	p.at = begin
	return false
}

// number reads a whole number that is not negative, if one follows.
func (p *parser) number() (uint64, bool) {
	p.space()
	begin := p.at
	n, err := strconv.ParseUint(p.word(), 10, 53)
	if err != nil {
		p.at = begin
	}
	return n, err == nil
}

func (p *parser) value(deep int) (value, error) {
	if deep > maxNesting {
		return nil, errNesting
	}
	if *p.left--; *p.left < 0 {
		return nil, errValues
	}
	p.space()
	if p.at >= len(p.data) {
		return nil, errEnd
	}
	switch c := p.data[p.at]; c {
	case '/':
		return p.name()
	case '(':
		return p.literal()
	case '[':
		return p.array(deep)
	case '<':
		if p.at+1 < len(p.data) && p.data[p.at+1] == '<' {
			return p.dict(deep)
		}
		end := bytes.IndexByte(p.data[p.at:], '>')
		if end < 0 {
			return nil, errEnd
		}
		p.at += end + 1
		return raw(p.data[p.at-end-1 : p.at]), nil
	}
	begin := p.at
	if num, ok := p.number(); ok {
		end := p.at
		if gen, ok := p.number(); ok && num <= maxObject && gen <= 65535 && p.keyword("R") {
			return ref{uint32(num), uint32(gen)}, nil
		}
		p.at = end
		return raw(p.data[begin:end]), nil
	}
	w := p.word()
	if _, err := strconv.ParseFloat(w, 64); err != nil && w != "true" && w != "false" && w != "null" {
		p.at = begin
		return nil, fmt.Errorf("byte %d: %q is no value", begin, w[:min(len(w), 20)])
	}
	return raw(w), nil
}

func (p *parser) name() (value, error) {
	p.at++
	w := p.word()
	if !bytes.ContainsRune([]byte(w), '#') {
		return name(w), nil
	}
	var out []byte
	for i := 0; i < len(w); i++ {
		if w[i] == '#' && i+2 < len(w) {
			if b, err := strconv.ParseUint(w[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, w[i])
	}
	return name(out), nil
}

// literal reads a string in parentheses.
func (p *parser) literal() (value, error) {
	begin, open := p.at, 0
	for ; p.at < len(p.data); p.at++ {
		switch p.data[p.at] {
		case '\\':
			p.at++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				p.at++
				return raw(p.data[begin:p.at]), nil
			}
		}
	}
	return nil, errEnd
}

func (p *parser) array(deep int) (value, error) {
	p.at++
	out := array{}
	for {
		p.space()
		if p.at < len(p.data) && p.data[p.at] == ']' {
			p.at++
			return out, nil
		}
		v, err := p.value(deep + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (p *parser) dict(deep int) (value, error) {
	p.at += 2
	out := dict{}
	for {
		p.space()
		if bytes.HasPrefix(p.data[p.at:], []byte(">>")) {
			p.at += 2
			return out, nil
		}
		if p.at >= len(p.data) {
			return nil, errEnd
		}
		if p.data[p.at] != '/' {
			return nil, fmt.Errorf("byte %d: a dictionary with a key that is no name", p.at)
		}
		k, err := p.name()
		if err != nil {
			return nil, err
		}
		key, _ := k.(name)
		v, err := p.value(deep + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, pair{key, v})
	}
}

// appendValue writes a value.
func appendValue(b []byte, v value) []byte {
	switch v := v.(type) {
	case raw:
		return append(b, v...)
	case name:
		return appendName(b, v)
	case ref:
		return fmt.Appendf(b, "%d %d R", v.num, v.gen)
	case array:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendValue(b, e)
		}
		return append(b, ']')
	case dict:
		b = append(b, "<<"...)
		for _, p := range v {
			b = append(appendValue(append(appendName(b, p.key), ' '), p.val), '\n')
		}
		return append(b, ">>"...)
	default:
		return append(b, "null"...)
	}
}

func appendName(b []byte, n name) []byte {
	b = append(b, '/')
	for i := range len(n) {
		if c := n[i]; c <= ' ' || c > '~' || c == '#' || isDelimiter(c) {
			b = fmt.Appendf(b, "#%02x", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}
