package signature

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxXMLDeep     = 32
	maxXMLElements = 2000
)

// An xmlNode is an element without its prefix: what it is, in which name space, is told by where it stands.
type xmlNode struct {
	name  string
	attrs map[string]string // by name without prefix
	text  string            // of the element itself, without white space at its ends
	nodes []*xmlNode
}

var errXML = errors.New("no XML as SOAP has it")

// parseXML reads a document as SOAP 1.1 allows it: elements, attributes, character data, comments; no document type and no
// processing instruction but the declaration, and no entity but the five of XML itself. Its depth and the number of its
// elements are bounded.
func parseXML(body []byte) (*xmlNode, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: not in UTF-8", errXML)
	}
	p := &xmlReader{s: strings.TrimSpace(string(body))}
	if strings.HasPrefix(p.s, "<?xml") {
		end := strings.Index(p.s, "?>")
		if end < 0 {
			return nil, errXML
		}
		p.s = p.s[end+2:]
	}
	if err := p.comments(); err != nil {
		return nil, err
	}
	root, err := p.element(0)
	if err != nil {
		return nil, err
	}
	if err := p.comments(); err != nil {
		return nil, err
	}
	if p.s != "" {
		return nil, fmt.Errorf("%w: something follows the document", errXML)
	}
	return root, nil
}

type xmlReader struct {
	s string
	n int
}

// comments skips white space and comments.
func (p *xmlReader) comments() error {
	for {
		p.s = strings.TrimLeft(p.s, " \t\r\n")
		if !strings.HasPrefix(p.s, "<!--") {
			return nil
		}
		end := strings.Index(p.s, "-->")
		if end < 0 {
			return errXML
		}
		p.s = p.s[end+3:]
	}
}

func (p *xmlReader) element(deep int) (*xmlNode, error) {
	if p.n++; deep > maxXMLDeep || p.n > maxXMLElements {
		return nil, fmt.Errorf("%w: more than %d levels or %d elements", errXML, maxXMLDeep, maxXMLElements)
	}
	if !strings.HasPrefix(p.s, "<") || strings.HasPrefix(p.s, "<!") || strings.HasPrefix(p.s, "<?") {
		return nil, fmt.Errorf("%w: a document type or an instruction", errXML)
	}
	p.s = p.s[1:]
	full := p.word()
	if full == "" {
		return nil, errXML
	}
	n := &xmlNode{name: local(full), attrs: map[string]string{}}
	for {
		p.s = strings.TrimLeft(p.s, " \t\r\n")
		switch {
		case strings.HasPrefix(p.s, "/>"):
			p.s = p.s[2:]
			return n, nil
		case strings.HasPrefix(p.s, ">"):
			p.s = p.s[1:]
			return n, p.content(n, full, deep)
		}
		if err := p.attribute(n); err != nil {
			return nil, err
		}
	}
}

func (p *xmlReader) attribute(n *xmlNode) error {
	name := p.word()
	p.s = strings.TrimLeft(p.s, " \t\r\n")
	rest, ok := strings.CutPrefix(p.s, "=")
	rest = strings.TrimLeft(rest, " \t\r\n")
	if name == "" || !ok || rest == "" || rest[0] != '"' && rest[0] != '\'' || len(n.attrs) >= 64 {
		return errXML
	}
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 0 || strings.Contains(rest[1:end+1], "<") {
		return errXML
	}
	value, err := unescape(rest[1 : end+1])
	if !strings.HasPrefix(name, "xmlns") {
		n.attrs[local(name)] = value
	}
	p.s = rest[end+2:]
	return err
}

// content reads up to the end of an element.
func (p *xmlReader) content(n *xmlNode, full string, deep int) error {
	var text strings.Builder
	for {
		at := strings.IndexByte(p.s, '<')
		if at < 0 {
			return fmt.Errorf("%w: it stops short", errXML)
		}
		part, err := unescape(p.s[:at])
		if err != nil {
			return err
		}
		text.WriteString(part)
		p.s = p.s[at:]
		switch {
		case strings.HasPrefix(p.s, "</"):
			p.s = p.s[2:]
			if p.word() != full {
				return fmt.Errorf("%w: an element that ends as another", errXML)
			}
			p.s = strings.TrimLeft(p.s, " \t\r\n")
			if !strings.HasPrefix(p.s, ">") {
				return errXML
			}
			p.s = p.s[1:]
			n.text = strings.TrimSpace(text.String())
			return nil
		case strings.HasPrefix(p.s, "<!--"):
			if err := p.comments(); err != nil {
				return err
			}
		case strings.HasPrefix(p.s, "<![CDATA["):
			raw, rest, ok := strings.Cut(p.s[len("<![CDATA["):], "]]>")
			if !ok {
				return errXML
			}
			text.WriteString(raw)
			p.s = rest
		default:
			child, err := p.element(deep + 1)
			if err != nil {
				return err
			}
			n.nodes = append(n.nodes, child)
		}
	}
}

// word reads a name.
func (p *xmlReader) word() string {
	end := strings.IndexAny(p.s, " \t\r\n=<>/\"'")
	if end < 0 {
		end = len(p.s)
	}
	w := p.s[:end]
	p.s = p.s[end:]
	return w
}

func local(name string) string {
	if _, after, ok := strings.Cut(name, ":"); ok {
		return after
	}
	return name
}

// unescape resolves the five entities and the characters by number; any other is one that a document type would define.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "&") {
		return s, nil
	}
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(s, "&")
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		name, rest, ok := strings.Cut(after, ";")
		if !ok {
			return "", errXML
		}
		r, ok := map[string]rune{"lt": '<', "gt": '>', "amp": '&', "quot": '"', "apos": '\''}[name]
		if !ok {
			digits, base := strings.TrimPrefix(name, "#"), 10
			if hex, ok := strings.CutPrefix(digits, "x"); ok {
				digits, base = hex, 16
			}
			n, err := strconv.ParseUint(digits, base, 21)
			if err != nil || !strings.HasPrefix(name, "#") || n == 0 || !utf8.ValidRune(rune(n)) {
				return "", fmt.Errorf("%w: an entity that XML does not know", errXML)
			}
			r = rune(n)
		}
		out.WriteRune(r)
		s = rest
	}
}

// escape writes text so that it can stand in an attribute or an element.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;", "\n", "&#10;", "\r", "&#13;", "\t", "&#9;").Replace(s)
}

// find returns the first element of this name at or below n, in the order of the document; nil for none.
func (n *xmlNode) find(name string) *xmlNode {
	if n.name == name {
		return n
	}
	for _, c := range n.nodes {
		if f := c.find(name); f != nil {
			return f
		}
	}
	return nil
}
