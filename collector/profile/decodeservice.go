package profile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/plan"
)

func (r *reader) services(top *fields, p *Profile) {
	for _, n := range top.items("services") {
		f, rec := r.record(n, "service", formService, hintService)
		if f == nil {
			continue
		}
		s := Service{Record: rec, Name: f.name("name")}
		if f.keys["available"] != nil {
			s.Available = f.name("available")
		}
		s.Operator = f.matching(f.need("operator", "tinh"), "operator", formWord, hintWord)
		s.Owner = f.matching(f.need("owner", "VHTT"), "owner", formWord, hintWord)
		s.Season = f.seasons()
		s.Hours = f.hours()
		if f.need("severity", "major") != nil {
			s.Severity = Severity(f.oneOf("severity", []string{string(Critical), string(Major), string(Minor), string(Info)}, string(Major)))
		}
		s.Depends = f.words("depends", formService, hintService)
		s.Quorum = f.quorum()
		s.Watch = f.watch()
		seen := map[string]int{}
		for i, item := range f.items("checks") {
			c, ok := f.check(item, i)
			if !ok {
				continue
			}
			if at, twice := seen[c.ID]; twice && c.ID != "" {
				f.wrong(item, "give each check its own id", "%s: check %q stands on line %d already", f.where, c.ID, at)
			}
			seen[c.ID] = item.Line
			s.Checks = append(s.Checks, c)
		}
		f.done()
		p.Services = append(p.Services, s)
	}
}

var formSeason = regexp.MustCompile(`^(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)$`)

// seasons reads a list such as [05-01..08-31], or one of its items alone.
func (f *fields) seasons() []Season {
	var nodes []*yaml.Node
	if n := f.keys["season"]; n != nil && n.Kind == yaml.ScalarNode {
		if n := f.take("season"); n != nil {
			nodes = append(nodes, n)
		}
	} else {
		nodes = f.items("season")
	}
	var ss []Season
	for _, n := range nodes {
		m := formSeason.FindStringSubmatch(f.scalar(n, "season"))
		if m == nil {
			f.wrong(n, "write the first and the last day as MM-DD..MM-DD, e.g. 05-01..08-31", "%s: season %q", f.where, n.Value)
			continue
		}
		var v [4]int
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1])
		}
		s := Season{time.Month(v[0]), v[1], time.Month(v[2]), v[3]}
		if !dayExists(s.FromMonth, s.FromDay) || !dayExists(s.ToMonth, s.ToDay) {
			f.wrong(n, "write two days of the year", "%s: season %q names a day that no year has", f.where, n.Value)
			continue
		}
		ss = append(ss, s)
	}
	return ss
}

func dayExists(m time.Month, d int) bool {
	t := time.Date(2024, m, d, 0, 0, 0, 0, time.UTC)
	return m >= 1 && m <= 12 && t.Month() == m && t.Day() == d
}

func (f *fields) quorum() Quorum {
	n := f.take("quorum")
	if n == nil {
		return Quorum{}
	}
	g := f.mapping(n, f.where+": quorum")
	if g == nil {
		return Quorum{}
	}
	q := Quorum{g.whole("units", 1, 10000, 0), g.whole("carriers", 1, 100, 0)}
	g.done()
	return q
}

func (f *fields) watch() Watch {
	n := f.need("watch", "one_per_unit")
	if n == nil {
		return Watch{}
	}
	s := f.scalar(n, "watch")
	role, isRole := strings.CutPrefix(s, "role:")
	switch {
	case s == "one_per_unit":
		return Watch{OnePerUnit: true}
	case s == "district":
		return Watch{District: true}
	case isRole && formWord.MatchString(role):
		return Watch{Role: role}
	}
	f.wrong(n, "write one_per_unit, district or role:NAME", "%s: watch: %q is not known", f.where, s)
	return Watch{}
}

func (f *fields) check(n *yaml.Node, i int) (ServiceCheck, bool) {
	g := f.mapping(n, fmt.Sprintf("%s: checks[%d]", f.where, i))
	if g == nil {
		return ServiceCheck{}, false
	}
	c := ServiceCheck{Line: n.Line, ID: g.matching(g.need("id", "http"), "id", formCheck, hintCheck)}
	g.where = fmt.Sprintf("%s: check %q", f.where, c.ID)
	c.Kind = g.matching(g.need("kind", "http"), "kind", formWord, hintWord)
	if g.need("every", "60s") != nil {
		c.Every = g.duration("every", plan.MinEvery, plan.MaxEvery)
		if c.Every%time.Second != 0 {
			g.wrong(g.keys["every"], "write whole seconds, e.g. 60s", "%s: every: %s", g.where, c.Every)
		}
	}
	c.Timeout = g.duration("timeout", plan.MinTimeout, plan.MaxEvery)
	c.Confirm = g.whole("confirm", 0, plan.MaxConfirm, -1)
	c.Path = g.path(plan.Internet)
	c.Decides = g.boolean("decides", false)
	if with := g.take("with"); with != nil {
		c.With = g.options(with, 0)
	}
	g.done()
	return c, true
}

// options keeps the mapping under `with:` as it stands; the kinds know what it means.
func (f *fields) options(n *yaml.Node, depth int) []Option {
	g := f.mapping(n, f.where+": with")
	if g == nil {
		return nil
	}
	form, hint := formOption, "use a-z, 0-9 and _"
	if depth > 0 {
		form, hint = formFree, "use a plain word"
	}
	os := []Option{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := f.matching(k, "with", form, hint)
		if g.keys[k.Value] != v || name == "" {
			continue
		}
		if o := (Option{Name: name, Value: f.option(v, name, depth+1), Line: v.Line}); o.Value != nil {
			os = append(os, o)
		}
	}
	return os
}

// maxOption is how deep an option's value nests: the steps of a journey are a list of mappings, their form is a mapping,
// and a secret in it is one more.
const maxOption = 4

// option returns the value of an option, or of a part of one; nil after having said what is wrong.
func (f *fields) option(v *yaml.Node, name string, depth int) any {
	if v.Kind == yaml.ScalarNode {
		return f.optionScalar(v, name)
	}
	if depth > maxOption {
		f.wrong(v, "write plain values", "%s: option %q is nested too deeply", f.where, name)
		return nil
	}
	if v.Kind == yaml.MappingNode {
		return f.options(v, depth)
	}
	list := []any{}
	for _, item := range v.Content {
		if value := f.option(item, name, depth+1); value != nil {
			list = append(list, value)
		}
	}
	return list
}

// optionScalar returns a string, int64, float64 or bool, or nil after having said what is wrong.
func (f *fields) optionScalar(n *yaml.Node, name string) any {
	switch n.Tag {
	case "!!null":
		f.wrong(n, "write a value, or remove the option", "%s: option %q is empty", f.where, name)
		return nil
	case "!!int":
		if v, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return v
		}
	case "!!float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && v == v && v-v == 0 {
			return v
		}
	case "!!bool":
		if n.Value == "true" || n.Value == "false" {
			return n.Value == "true"
		}
	}
	s := f.scalar(n, name)
	if s == "" && n.Value != "" {
		return nil
	}
	return norm.NFC.String(s)
}
