package web

import (
	"bytes"
	"mime"
	"regexp"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// A charset is how the bytes of a page are read; nil stands for UTF-8.
type charset encoding.Encoding

// named returns the charset of a label (WHATWG Encoding Standard, section 4.2), of those that pages in Vietnamese have had.
// The charsets of East Asia, whose tables are half a megabyte, are not among them.
func named(label string) (charset, bool) {
	switch strings.ToLower(strings.TrimSpace(label)) {
	case "utf-8", "utf8", "unicode-1-1-utf-8":
		return nil, true
	case "windows-1258", "cp1258", "x-cp1258":
		return charmap.Windows1258, true
	case "windows-1252", "cp1252", "x-cp1252", "iso-8859-1", "iso8859-1", "latin1", "l1", "us-ascii", "ascii":
		return charmap.Windows1252, true
	case "iso-8859-15", "latin-9", "l9":
		return charmap.ISO8859_15, true
	case "windows-1250", "cp1250":
		return charmap.Windows1250, true
	case "windows-1251", "cp1251":
		return charmap.Windows1251, true
	case "utf-16", "utf-16le":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), true
	case "utf-16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), true
	}
	return nil, false
}

// sent returns the charset that a byte order mark or the header of an answer names.
func sent(body []byte, contentType string) (charset, bool) {
	for mark, label := range map[string]string{"\xfe\xff": "utf-16be", "\xff\xfe": "utf-16le", "\xef\xbb\xbf": "utf-8"} {
		if bytes.HasPrefix(body, []byte(mark)) {
			return named(label)
		}
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, false
	}
	return named(params["charset"])
}

// prescanned is how much of a page is looked through for a charset that it names itself.
const prescanned = 1024

var meta = regexp.MustCompile(`(?is)<meta[\s/][^>]*?charset\s*=\s*["']?\s*(?:utf-?8|utf-16(?:le|be)?)\b`)

// saysUTF8 finds an element meta that says UTF-8, or UTF-16, which the same bytes cannot be in (WHATWG HTML, section 13.2.3.2).
func saysUTF8(body []byte) bool {
	return meta.Match(body[:min(len(body), prescanned)])
}
