package portal

import (
	"fmt"
	"maps"
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
	json             []jsonRule
	elements         []elementRule
	gone             []*web.Selector // elements that must not be there
	signs            bool            // pages of maintenance, firewalls and vandals are told from the site's own
}

type jsonRule struct {
	path  *web.JSONPath
	value *regexp.Regexp
}

type elementRule struct {
	selector *web.Selector
	text     *regexp.Regexp
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
	if err := a.structure(o); err != nil {
		return a, err
	}
	check.Order(a.headers, func(x, y headerRule) int { return strings.Compare(x.name, y.name) })
	return a, nil
}

// structure reads what must stand where in a page or a JSON answer.
func (a *assertions) structure(o check.Options) error {
	a.signs = o.Bool("signs")
	for _, text := range slices.Sorted(maps.Keys(o.Map("json"))) {
		p, err := web.ParseJSONPath(text)
		if err != nil {
			return fmt.Errorf("option \"json\": %w", err)
		}
		r, err := regexps("json", []string{o.Map("json")[text]})
		if err != nil {
			return err
		}
		a.json = append(a.json, jsonRule{p, r[0]})
	}
	for _, text := range slices.Sorted(maps.Keys(o.Map("select"))) {
		sel, err := web.ParseSelector(text)
		if err != nil {
			return fmt.Errorf("option \"select\": %w", err)
		}
		r, err := regexps("select", []string{o.Map("select")[text]})
		if err != nil {
			return err
		}
		a.elements = append(a.elements, elementRule{sel, r[0]})
	}
	for _, text := range o.Strings("select_absent") {
		sel, err := web.ParseSelector(text)
		if err != nil {
			return fmt.Errorf("option \"select_absent\": %w", err)
		}
		a.gone = append(a.gone, sel)
	}
	return nil
}

// content reports whether the whole page must be looked at.
func (a *assertions) content() bool {
	return len(a.contains)+len(a.absent)+len(a.matches)+len(a.json)+len(a.elements)+len(a.gone) > 0
}

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
	if !a.content() && !a.signs {
		return nil
	}
	if a.signs && len(body) <= maxRefusal {
		if mark := refusal(body); mark != "" {
			return &fault{check.Blocked, "a page of " + mark + " in place of the site's own"}
		}
	}
	text := web.NewText(body, contentType)
	for _, s := range a.absent {
		if text.Has(s) {
			return &fault{check.ContentForbidden, fmt.Sprintf("the page holds %q", s)}
		}
	}
	if a.signs {
		if bad := closed(text.Page); bad != nil {
			return bad
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
	return a.parts(text.Page)
}

// most is how many elements or values are looked at for one assertion.
const most = 256

// parts looks at the elements of a page and at the values of a JSON answer.
func (a *assertions) parts(page []byte) *fault {
	for _, s := range a.gone {
		if len(s.Find(page, 1)) > 0 {
			return &fault{check.ContentForbidden, fmt.Sprintf("the page has an element %q", s)}
		}
	}
	for _, rule := range a.elements {
		found := rule.selector.Find(page, most)
		if len(found) == 0 {
			return &fault{check.ContentMissing, fmt.Sprintf("the page has no element %q", rule.selector)}
		}
		if !slices.ContainsFunc(found, rule.text.MatchString) {
			return &fault{check.ContentMissing, fmt.Sprintf("no element %q matches %q", rule.selector, rule.text)}
		}
	}
	for _, rule := range a.json {
		found, err := rule.path.Find(page, most)
		switch {
		case err != nil:
			return &fault{check.Protocol, err.Error()}
		case len(found) == 0:
			return &fault{check.ContentMissing, fmt.Sprintf("the answer has no value at %s", rule.path)}
		case !slices.ContainsFunc(found, rule.value.MatchString):
			return &fault{check.ContentMissing, fmt.Sprintf("no value at %s matches %q", rule.path, rule.value)}
		}
	}
	return nil
}
