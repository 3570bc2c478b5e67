package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// Check returns everything to mend in the profile, by file and line: what Load refuses; plans of its machines that an
// agent with these kinds would refuse; and as warnings facts that nobody has confirmed, parameters that are empty,
// services that nobody can measure, services without a target, and years whose calendar is missing or not complete, up to the year after now.
// Without kinds no plans are tried.
func Check(fsys fs.FS, kinds check.Table, now time.Time) []Problem {
	p, problems := load(fsys)
	if len(problems) > 0 {
		return problems.sorted()
	}
	c := &checker{p: p, kinds: kinds, now: now}
	c.unverified()
	c.parameters()
	c.services()
	c.targets()
	c.calendars()
	if len(kinds) > 0 {
		c.plans()
	}
	return c.problems.sorted()
}

type checker struct {
	p        *Profile
	kinds    check.Table
	now      time.Time
	problems Problems
}

func (c *checker) warn(file string, line int, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{file, line, fmt.Sprintf(format, args...), hint, true})
}

// unverified counts, file by file, the entries that no operator has confirmed.
func (c *checker) unverified() {
	all, open := map[string]int{}, map[string]int{}
	count := func(r Record) {
		all[r.File]++
		if !r.Verified {
			open[r.File]++
		}
	}
	c.p.eachRecord(count)
	for _, file := range slices.Sorted(maps.Keys(open)) {
		c.warn(file, 0, "compare each with its source, then write `verified: true`", "%d of %d entries are not verified (chưa xác minh)", open[file], all[file])
	}
}

func (p *Profile) eachRecord(f func(Record)) {
	for _, x := range p.Units {
		f(x.Record)
	}
	for _, x := range p.Succeeds {
		f(x.Record)
	}
	for _, x := range p.Services {
		f(x.Record)
	}
	for _, x := range p.Machines {
		f(x.Record)
	}
	for _, x := range p.Lines {
		f(x.Record)
	}
	for _, x := range p.Operators {
		f(x.Record)
	}
	for _, x := range p.Offices {
		f(x.Record)
	}
	for _, x := range p.Roster {
		f(x.Record)
	}
	for _, x := range p.Targets {
		f(x.Record)
	}
	for _, x := range p.LawSets {
		f(x.Record)
		for _, y := range x.Controls {
			f(y.Record)
		}
	}
	for _, x := range p.Parameters {
		f(x.Record)
	}
	for _, x := range p.Years {
		for _, y := range x.Hours {
			f(y.Record)
		}
		for _, y := range x.Days {
			f(y.Record)
		}
	}
}

// parameters names those that are empty while a check of today needs them, and what is not measured for it.
func (c *checker) parameters() {
	checks, services := map[string][]string{}, map[string][]string{} // by parameter: what is not run, and what it decides
	add := func(list map[string][]string, name, id string) {
		if !slices.Contains(list[name], id) {
			list[name] = append(list[name], id)
		}
	}
	for _, s := range c.p.ServicesAt(c.now) {
		deciding := s.Deciding()
		for _, x := range s.Checks {
			id := s.ID + "." + x.ID
			for _, name := range c.needs(x) {
				add(checks, name, id)
				if slices.Contains(deciding, id) {
					add(services, name, s.ID)
				}
			}
		}
	}
	day := DateOf(c.now)
	for _, q := range c.p.Parameters {
		filled := slices.ContainsFunc(q.Values, func(d Dated) bool { return d.Valid.Covers(day) })
		if len(checks[q.ID]) == 0 || q.Builtin || filled {
			continue
		}
		lost := strings.Join(checks[q.ID], ", ") + " not run (chưa cấu hình)"
		if list := services[q.ID]; len(list) > 0 {
			lost += ", and " + strings.Join(list, ", ") + " not measured"
		}
		c.warn(q.File, q.Line, "fill in its value ("+q.Note+")", "parameter %q is empty: %s", q.ID, lost)
	}
}

// needs lists the parameters that a check's options name, by way of the anchors of lines too.
func (c *checker) needs(x ServiceCheck) []string {
	var names []string
	for _, o := range x.With {
		names = append(names, placeholders(o.Value)...)
		if !slices.Contains(placeholders(o.Value), lineAnchors) {
			continue
		}
		for _, l := range c.p.Lines {
			if l.Path == x.Path && l.Valid.CoversTime(c.now) {
				for _, a := range l.Anchors {
					names = append(names, placeholders(a)...)
				}
			}
		}
	}
	return names
}

// services names those that no machine of today could ever be told to check.
func (c *checker) services() {
	chooser := c.p.chooserAt(c.now)
	for _, s := range c.p.ServicesAt(c.now) {
		chosen := slices.ContainsFunc(c.p.MachinesAt(c.now), func(m Machine) bool {
			ok, _ := chooser.watches(&s, &m)
			return ok
		})
		switch {
		case len(s.Checks) == 0:
			c.warn(s.File, s.Line, "add a check once there is one", "service %q has no check: it counts as not measured", s.ID)
		case !chosen:
			c.warn(s.File, s.Line, "add such a machine to machines.yaml, or change `watch`", "service %q: no machine of today is chosen by watch: %s", s.ID, s.Watch)
		}
		if _, ok := c.p.Office(s.Owner, c.now); !ok {
			c.warn(s.File, s.Line, "add an entry for today to offices.yaml", "service %q: office %q does not exist today", s.ID, s.Owner)
		}
	}
}

// targets names the services of today of which nobody has said how available they are to be.
func (c *checker) targets() {
	var open []string
	for _, s := range c.p.ServicesAt(c.now) {
		if !slices.ContainsFunc(c.p.Targets, func(t Target) bool { return t.Service == s.ID && t.Valid.CoversTime(c.now) }) {
			open = append(open, s.ID)
		}
	}
	if len(open) > 0 {
		c.warn("targets.yaml", 0, "agree one with the operator and name the document under `basis`", "%d services have no target (chưa đặt mục tiêu), as their pages and the reports will say: %s", len(open), strings.Join(open, ", "))
	}
}

func (c *checker) calendars() {
	this := DateOf(c.now).Year()
	first := this
	if len(c.p.Years) > 0 {
		first = min(first, c.p.Years[0].Year)
	}
	for year := first; year <= this+1; year++ {
		y := c.p.YearOf(year)
		file := fmt.Sprintf("calendars/%d.yaml", year)
		switch {
		case y.Fallback:
			c.warn(file, 0, "write it from the decision on the year's holidays; until then only days with a fixed date are known", "the calendar of %d IS MISSING: working days and service hours of that year will be wrong", year)
		case len(y.Missing) > 0:
			c.warn(file, y.Line, "enter them from the decision, then empty `missing`", "the calendar of %d is not complete: %s", year, strings.Join(y.Missing, "; "))
		}
	}
}

// plans tries the plan of every machine on its first day, and today, with every parameter that has a value.
func (c *checker) plans() {
	given := map[string]string{}
	for _, q := range c.p.Parameters {
		if q.Builtin {
			given[q.ID] = "127.0.0.1:1"
		}
	}
	seen := map[Problem]bool{}
	for _, m := range c.p.Machines {
		for _, at := range []time.Time{m.Valid.From.Start(), c.now} {
			if !m.Valid.CoversTime(at) {
				continue
			}
			for _, problem := range c.tryPlan(m.ID, at, given) {
				if !seen[problem] {
					seen[problem] = true
					c.problems = append(c.problems, problem)
				}
			}
		}
	}
}

// tryPlan lays what an agent would refuse at the service or machine that it comes from.
func (c *checker) tryPlan(machine string, at time.Time, given map[string]string) []Problem {
	m, _ := c.p.Machine(machine, at)
	text, _, err := c.p.PlanFor(machine, at, given, 1)
	if err != nil {
		return []Problem{{File: m.File, Line: m.Line, What: err.Error()}}
	}
	_, err = plan.Parse(text, c.kinds)
	mistakes, ok := errors.AsType[plan.Mistakes](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return []Problem{{File: m.File, Line: m.Line, What: fmt.Sprintf("the plan of machine %q: %v", machine, err)}}
	}
	var ps []Problem
	for _, x := range mistakes {
		file, line, id := c.origin(text, x.Line, at)
		if id == "" {
			file, line, id = m.File, m.Line, "the plan of machine "+machine
		}
		ps = append(ps, Problem{File: file, Line: line, What: id + ": " + x.What, Hint: x.Hint})
	}
	return ps
}

// origin finds the check that a line of a derived plan comes from.
func (c *checker) origin(text []byte, line int, at time.Time) (file string, declared int, id string) {
	lines := strings.Split(string(text), "\n")
	for i := min(line, len(lines)) - 1; i >= 0; i-- {
		rest, ok := strings.CutPrefix(lines[i], "  - id: ")
		if !ok {
			continue
		}
		id = strings.Trim(rest, `"`)
		service, name, _ := strings.Cut(id, ".")
		s, ok := c.p.Service(service, at)
		if !ok {
			return "", 0, ""
		}
		for _, x := range s.Checks {
			if x.ID == name {
				return s.File, x.Line, id
			}
		}
		return s.File, s.Line, id
	}
	return "", 0, ""
}
