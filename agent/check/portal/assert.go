package portal

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/web"
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
	slices.SortStableFunc(a.headers, func(x, y headerRule) int { return strings.Compare(x.name, y.name) })
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
	text := web.NewText(body, contentType)
	for _, s := range a.absent {
		if text.Has(s) {
			return &fault{check.ContentForbidden, fmt.Sprintf("the page holds %q", s)}
		}
	}
	for _, s := range a.contains {
		if !text.Has(s) {
			return &fault{check.ContentMissing, fmt.Sprintf("the page does not hold %q", s)}
		}
	}
	for _, r := range a.matches {
		if !text.Match(r) {
			return &fault{check.ContentMissing, fmt.Sprintf("nothing on the page matches %q", r)}
		}
	}
	return nil
}
