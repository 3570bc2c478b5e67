package onestop

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

// variable is how a plan names what a step before has found.
var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}`)

// A step is one request and what must come of it.
type step struct {
	name             string
	post             bool
	address          string // as in the plan
	form             map[string]check.Value
	inputs           map[string]string
	extract          map[string]*regexp.Regexp
	status           []int64
	contains, absent []string
	matches          []*regexp.Regexp
	elements         []rule
	values           []rule
	selects          map[string]*web.Selector
	paths            map[string]*web.JSONPath
}

// A finder finds texts in a page or an answer.
type finder interface {
	// find returns the first most of them; what it cannot read is an error.
	find(page []byte, most int) ([]string, error)
	String() string
}

type onPage struct{ *web.Selector }

func (s onPage) find(page []byte, most int) ([]string, error) { return s.Find(page, most), nil }

type inJSON struct{ *web.JSONPath }

func (p inJSON) find(page []byte, most int) ([]string, error) { return p.Find(page, most) }

// A rule is what one of the texts that are found must match.
type rule struct {
	what  finder
	match *regexp.Regexp
}

// mostFound is how many elements or values are looked at for one rule.
const mostFound = 256

func (r rule) judge(page []byte) *reach.Fault {
	found, err := r.what.find(page, mostFound)
	switch {
	case err != nil:
		return reach.Failf(check.Protocol, "%v", err)
	case len(found) == 0:
		return reach.Failf(check.ContentMissing, "nothing is found by %q", r.what)
	case !slices.ContainsFunc(found, r.match.MatchString):
		return reach.Failf(check.ContentMissing, "nothing that is found by %q matches %q", r.what, r.match)
	}
	return nil
}

// newStep reads one step. known are the variables of the steps before, to which its own are added.
func newStep(j *journey, o check.Options, known map[string]bool) (step, error) {
	s := step{name: o.String("name"), post: o.Has("post"), address: o.String("get"), form: o.Values("form"), inputs: o.Map("inputs"), status: o.Ints("status")}
	if s.post == o.Has("get") {
		return s, errors.New("write either get or post")
	}
	if s.post {
		s.address = o.String("post")
		if variable.MatchString(s.address) {
			return s, errors.New("post: a variable in the address: a form goes only to where the plan says, so write the address out")
		}
	}
	u, err := j.address(blank(s.address))
	if err != nil {
		return s, err
	}
	if !j.mayGo(u) {
		return s, fmt.Errorf("host %s is of another site: list it under hosts", u.Hostname())
	}
	if len(s.status) == 0 {
		return s, errors.New("status: an empty list: write at least one status, e.g. [200]")
	}
	for _, v := range s.form {
		if v.Secret != "" && !s.post {
			return s, errors.New("form: a secret would stand in the address: use post")
		}
	}
	for _, text := range append(texts(s.form), s.address) {
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				return s, fmt.Errorf("${%s}: no step before finds it: write it under inputs or extract there", m[1])
			}
		}
	}
	return s, s.expectations(o, known)
}

// expectations reads what must come of the step.
func (s *step) expectations(o check.Options, known map[string]bool) error {
	for _, list := range []struct {
		option string
		into   *[]string
	}{{"contains", &s.contains}, {"absent", &s.absent}} {
		for _, text := range o.Strings(list.option) {
			if text == "" {
				return fmt.Errorf("%s: an empty text: write what to look for, or leave it out", list.option)
			}
			*list.into = append(*list.into, norm.NFC.String(text))
		}
	}
	s.extract = map[string]*regexp.Regexp{}
	for name, text := range o.Map("extract") {
		r, err := regexp.Compile(norm.NFC.String(text))
		if err != nil || r.NumSubexp() != 1 {
			return fmt.Errorf("extract: %s: %q must be a regular expression with one group, e.g. 'Mã: ([0-9]+)'", name, text)
		}
		s.extract[name] = r
	}
	if err := s.structure(o); err != nil {
		return err
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(s.inputs)), slices.Collect(maps.Keys(s.extract)), slices.Collect(maps.Keys(s.selects)), slices.Collect(maps.Keys(s.paths))) {
		if !variable.MatchString("${" + name + "}") {
			return fmt.Errorf("%q is no name of a variable: use letters, digits and _", name)
		}
		known[name] = true
	}
	return nil
}

// structure reads what must stand where, and what is taken from there.
func (s *step) structure(o check.Options) error {
	for _, text := range o.Strings("matches") {
		r, err := regexp.Compile(norm.NFC.String(text))
		if err != nil {
			return fmt.Errorf("matches: %w", err)
		}
		s.matches = append(s.matches, r)
	}
	s.selects, s.paths = map[string]*web.Selector{}, map[string]*web.JSONPath{}
	for _, key := range []string{"select", "json", "extract_select", "extract_json"} {
		given := o.Map(key)
		for _, k := range slices.Sorted(maps.Keys(given)) {
			if err := s.part(key, k, given[k]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

// part reads one entry of one of the options of structure.
func (s *step) part(option, key, value string) (err error) {
	switch option {
	case "extract_select":
		s.selects[key], err = web.ParseSelector(value)
		return err
	case "extract_json":
		s.paths[key], err = web.ParseJSONPath(value)
		return err
	}
	match, err := regexp.Compile(norm.NFC.String(value))
	if err != nil {
		return err
	}
	if option == "select" {
		sel, err := web.ParseSelector(key)
		s.elements = append(s.elements, rule{onPage{sel}, match})
		return err
	}
	path, err := web.ParseJSONPath(key)
	s.values = append(s.values, rule{inJSON{path}, match})
	return err
}

func texts(form map[string]check.Value) []string {
	var ts []string
	for _, v := range form {
		ts = append(ts, v.Text)
	}
	return ts
}

// blank replaces variables by a letter, so that an address can be read before they are known.
func blank(s string) string { return variable.ReplaceAllString(s, "x") }

// fill puts the values of variables in, each passed through escape.
func fill(s string, vars map[string]string, escape func(string) string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string { return escape(vars[m[2:len(m)-1]]) })
}

// fillAddress puts variables into an address, so that none can change what is path, query or host.
func fillAddress(s string, vars map[string]string) string {
	path, query, has := strings.Cut(s, "?")
	path = fill(path, vars, url.PathEscape)
	if !has {
		return path
	}
	return path + "?" + fill(query, vars, url.QueryEscape)
}

// judge looks at the page of a step and takes from it what later steps need.
func (s *step) judge(body []byte, contentType string, vars map[string]string) *reach.Fault {
	if len(s.contains)+len(s.absent)+len(s.inputs)+len(s.extract)+len(s.matches)+len(s.elements)+len(s.values)+len(s.selects)+len(s.paths) == 0 {
		return nil
	}
	text := web.NewText(body, contentType)
	for _, t := range s.absent {
		if text.Has(t) {
			return reach.Failf(check.ContentForbidden, "the page holds %q", t)
		}
	}
	for _, t := range s.contains {
		if !text.Has(t) {
			return reach.Failf(check.ContentMissing, "the page does not hold %q", t)
		}
	}
	for _, r := range s.matches {
		if !text.Match(r) {
			return reach.Failf(check.ContentMissing, "nothing on the page matches %q", r)
		}
	}
	for _, r := range slices.Concat(s.elements, s.values) {
		if bad := r.judge(text.Page); bad != nil {
			return bad
		}
	}
	return s.take(text, vars)
}

// take takes from a page what later steps need.
func (s *step) take(text web.Text, vars map[string]string) *reach.Fault {
	if len(s.inputs) > 0 {
		found := web.Parse(text.Page)
		for _, name := range slices.Sorted(maps.Keys(s.inputs)) {
			v, ok := found.Value(s.inputs[name])
			if !ok {
				return reach.Failf(check.ContentMissing, "${%s}: the page has no input %q", name, s.inputs[name])
			}
			if bad := keep(vars, name, v); bad != nil {
				return bad
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.extract)) {
		m := s.extract[name].FindSubmatch(text.Plain)
		if m == nil {
			return reach.Failf(check.ContentMissing, "${%s}: nothing on the page matches %q", name, s.extract[name])
		}
		if len(m[1]) == 0 {
			return reach.Failf(check.ContentMissing, "${%s}: what %q finds is empty", name, s.extract[name])
		}
		if bad := keep(vars, name, string(m[1])); bad != nil {
			return bad
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.selects)) {
		if bad := first(vars, name, onPage{s.selects[name]}, text.Page); bad != nil {
			return bad
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.paths)) {
		if bad := first(vars, name, inJSON{s.paths[name]}, text.Page); bad != nil {
			return bad
		}
	}
	return nil
}

// first keeps the first text that is found.
func first(vars map[string]string, name string, what finder, page []byte) *reach.Fault {
	found, err := what.find(page, 1)
	if err != nil {
		return reach.Failf(check.Protocol, "${%s}: %v", name, err)
	}
	if len(found) == 0 {
		return reach.Failf(check.ContentMissing, "${%s}: nothing is found by %q", name, what)
	}
	if found[0] == "" {
		return reach.Failf(check.ContentMissing, "${%s}: what %q finds is empty", name, what)
	}
	return keep(vars, name, found[0])
}

func keep(vars map[string]string, name, value string) *reach.Fault {
	if len(value) > maxValue {
		return reach.Failf(check.TooLarge, "${%s} would have %d bytes, at most %d", name, len(value), maxValue)
	}
	vars[name] = value
	return nil
}
