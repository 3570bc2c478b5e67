package web

import (
	"bytes"
	"regexp"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// A Text is what stands on a page, in UTF-8 and NFC.
type Text struct {
	Page  []byte // as sent
	Plain []byte // with character references resolved, as a reader sees it
}

// NewText reads a body.
func NewText(body []byte, contentType string) Text {
	t := Text{Page: Decode(body, contentType)}
	t.Plain = t.Page
	if bytes.IndexByte(t.Page, '&') >= 0 {
		t.Plain = norm.NFC.Bytes([]byte(html.UnescapeString(string(t.Page))))
	}
	return t
}

// Has reports whether s, which is in NFC, stands on the page.
func (t Text) Has(s string) bool {
	return bytes.Contains(t.Page, []byte(s)) || bytes.Contains(t.Plain, []byte(s))
}

// Match reports whether r matches somewhere on the page.
func (t Text) Match(r *regexp.Regexp) bool { return r.Match(t.Page) || r.Match(t.Plain) }

// Decode returns a page in UTF-8 and NFC. What the page says of its charset goes first (byte order mark, Content-Type,
// meta); when it says nothing and is no UTF-8, it is read as a browser set to Vietnamese does, as windows-1258.
func Decode(body []byte, contentType string) []byte {
	enc, certain := sent(body, contentType)
	switch {
	case certain && enc == nil, !certain && (saysUTF8(body) || utf8.Valid(body)):
		body = bytes.TrimPrefix(body, []byte("\ufeff"))
	default:
		if !certain {
			enc = charmap.Windows1258
		}
		if text, err := enc.NewDecoder().Bytes(body); err == nil {
			body = text
		}
	}
	if norm.NFC.IsNormal(body) {
		return body
	}
	return norm.NFC.Bytes(body)
}
