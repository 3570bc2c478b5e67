package portal

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
)

// assertions are what must be true of an answer that came.
type assertions struct {
	contains, absent []string
	matches          []*regexp.Regexp
	headers          []headerRule
}

type headerRule struct {
	name  string
	value *regexp.Regexp
}

func newAssertions(o check.Options) (assertions, error) {
	var a assertions
	for _, list := range []struct {
		option string
		into   *[]string
	}{{"contains", &a.contains}, {"absent", &a.absent}} {
		for _, s := range o.Strings(list.option) {
			if s == "" {
				return a, fmt.Errorf("option %q: an empty text: write what must be found, or leave the option out", list.option)
			}
			*list.into = append(*list.into, norm.NFC.String(s))
		}
	}
	var err error
	if a.matches, err = regexps("matches", o.Strings("matches")); err != nil {
		return a, err
	}
	for name, value := range o.Map("answer_headers") {
		r, err := regexps("answer_headers", []string{value})
		if err != nil {
			return a, err
		}
		a.headers = append(a.headers, headerRule{http.CanonicalHeaderKey(name), r[0]})
	}
	slices.SortFunc(a.headers, func(x, y headerRule) int { return strings.Compare(x.name, y.name) })
	return a, nil
}

// content reports whether the page itself must be looked at.
func (a *assertions) content() bool { return len(a.contains)+len(a.absent)+len(a.matches) > 0 }

// head judges the headers.
func (a *assertions) head(h http.Header) *fault {
	for _, rule := range a.headers {
		values := h.Values(rule.name)
		if !slices.ContainsFunc(values, rule.value.MatchString) {
			return &fault{check.ContentMissing, fmt.Sprintf("header %s: no value matches %q", rule.name, rule.value)}
		}
	}
	return nil
}

// judge looks at the page.
func (a *assertions) judge(body []byte, contentType string) *fault {
	if !a.content() {
		return nil
	}
	page := decode(body, contentType)
	plain := page // with character references resolved, as a reader sees it
	if bytes.IndexByte(page, '&') >= 0 {
		plain = norm.NFC.Bytes([]byte(html.UnescapeString(string(page))))
	}
	for _, s := range a.absent {
		if has(page, plain, s) {
			return &fault{check.ContentForbidden, fmt.Sprintf("the page holds %q", s)}
		}
	}
	for _, s := range a.contains {
		if !has(page, plain, s) {
			return &fault{check.ContentMissing, fmt.Sprintf("the page does not hold %q", s)}
		}
	}
	for _, r := range a.matches {
		if !r.Match(page) && !r.Match(plain) {
			return &fault{check.ContentMissing, fmt.Sprintf("nothing on the page matches %q", r)}
		}
	}
	return nil
}

func has(page, plain []byte, s string) bool {
	return bytes.Contains(page, []byte(s)) || bytes.Contains(plain, []byte(s))
}

// decode returns a page in UTF-8 and NFC. What the page says of its charset goes first (byte order mark, Content-Type,
// meta); when it says nothing and is no UTF-8, it is read as a browser set to Vietnamese does, as windows-1258.
func decode(body []byte, contentType string) []byte {
	enc, name, certain := charset.DetermineEncoding(body, contentType)
	switch {
	case name == "utf-8", !certain && utf8.Valid(body):
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
