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
	for _, name := range slices.Concat(slices.Collect(maps.Keys(s.inputs)), slices.Collect(maps.Keys(s.extract))) {
		if !variable.MatchString("${" + name + "}") {
			return fmt.Errorf("%q is no name of a variable: use letters, digits and _", name)
		}
		known[name] = true
	}
	return nil
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
	if len(s.contains)+len(s.absent)+len(s.inputs)+len(s.extract) == 0 {
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
		if bad := keep(vars, name, string(m[1])); bad != nil {
			return bad
		}
	}
	return nil
}

func keep(vars map[string]string, name, value string) *reach.Fault {
	if len(value) > maxValue {
		return reach.Failf(check.TooLarge, "${%s} would have %d bytes, at most %d", name, len(value), maxValue)
	}
	vars[name] = value
	return nil
}
