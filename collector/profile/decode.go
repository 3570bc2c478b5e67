package profile

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"go.yaml.in/yaml/v4"

	"egovmon/agent/plan"
)

// The forms of ids and words.
var (
	formUnit      = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	formService   = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)
	formCheck     = regexp.MustCompile(`^[a-z0-9_-]{1,23}$`)
	formWord      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)
	formParameter = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)
	formOption    = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	formFree      = regexp.MustCompile(`^[^{}]+$`)
	formAny       = regexp.MustCompile(`^.+$`)
)

const (
	hintUnit      = "use 1 to 63 of a-z, 0-9 and -"
	hintService   = "use 1 to 40 of a-z, 0-9, _ and -"
	hintCheck     = "use 1 to 23 of a-z, 0-9, _ and -"
	hintWord      = "use 1 to 40 letters, digits, _ and -"
	hintParameter = "use a-z, 0-9, _ and -, with dots between, e.g. cong_h.url"
)

// record reads what every entry carries.
func (r *reader) record(n *yaml.Node, what string, form *regexp.Regexp, hint string) (*fields, Record) {
	f := r.mapping(n, what)
	if f == nil {
		return nil, Record{}
	}
	rec := Record{File: r.file, Line: n.Line}
	rec.ID = f.matching(f.need("id", "…"), "id", form, hint)
	f.where = fmt.Sprintf("%s %q", what, rec.ID)
	rec.Valid = f.span(Span{})
	rec.Source = f.needText("source", `"where the fact was found"`)
	if f.need("verified", "false") != nil {
		rec.Verified = f.boolean("verified", false)
	}
	return f, rec
}

// span reads valid_from and valid_to. What is absent is taken from outer; a record has no outer and must say valid_from.
func (f *fields) span(outer Span) Span {
	n := f.take("valid_from")
	s := Span{From: f.date("valid_from"), To: f.date("valid_to")}
	switch {
	case n == nil && outer.From == 0:
		f.wrong(f.node, "write `valid_from: 2023-01-01`", "%s: `valid_from:` is missing", f.where)
	case n == nil:
		s.From = outer.From
	}
	if f.keys["valid_to"] == nil {
		s.To = outer.To
	}
	if s.To != 0 && s.To < s.From {
		f.wrong(f.keys["valid_to"], "both days are inclusive; write the later one last", "%s: it ends on %s, before it begins on %s", f.where, s.To, s.From)
		s.To = s.From
	}
	return s
}

func (f *fields) name(key string) Name {
	n := f.need(key, "{vi: …, en: …}")
	if n == nil {
		return Name{}
	}
	g := f.mapping(n, f.where+": "+key)
	if g == nil {
		return Name{}
	}
	name := Name{VI: g.needText("vi", "…"), EN: g.needText("en", "…")}
	g.done()
	return name
}

// dated reads a list of dated attributes, each with its value under the given key.
func (f *fields) dated(list, key string, outer Record) []Dated {
	var ds []Dated
	for _, n := range f.items(list) {
		g := f.mapping(n, f.where+": "+list)
		if g == nil {
			continue
		}
		d := Dated{Line: n.Line}
		switch key {
		case "vi":
			d.Name = Name{VI: g.needText("vi", "…"), EN: g.needText("en", "…")}
		case "value":
			d.Value = g.text("value")
			d.Unit = g.matching(g.take("unit"), "unit", formUnit, hintUnit)
		default:
			d.Value = g.needText(key, "…")
		}
		d.Valid, d.Source, d.Verified = g.provenance(outer)
		g.done()
		if !d.Valid.within(outer.Valid) {
			f.wrong(n, "an attribute holds only while its record does", "%s: %s: %s reaches beyond %s", f.where, list, d.Valid, outer.Valid)
		}
		ds = append(ds, d)
	}
	return ds
}

// provenance reads interval, source and flag of an attribute, which default to those of its record.
func (f *fields) provenance(outer Record) (Span, string, bool) {
	source := f.text("source")
	if source == "" {
		source = outer.Source
	}
	return f.span(outer.Valid), source, f.boolean("verified", outer.Verified)
}

func (f *fields) contacts(outer Record) []Contact {
	var cs []Contact
	for _, n := range f.items("contacts") {
		g := f.mapping(n, f.where+": contacts")
		if g == nil {
			continue
		}
		c := Contact{Line: n.Line, Kind: g.oneOf("kind", []string{"phone", "mail", "zalo", "sms", "telegram", "webhook"}, ""), Value: g.text("value")}
		if c.Kind == "" && f.keys["kind"] == nil {
			g.need("kind", "phone")
		}
		c.Valid, c.Source, c.Verified = g.provenance(outer)
		g.done()
		cs = append(cs, c)
	}
	return cs
}

func (r *reader) units(top *fields, p *Profile) {
	p.District = top.matching(top.need("district", "huyen-tu-ky"), "district", formUnit, hintUnit)
	for _, n := range top.items("units") {
		f, rec := r.record(n, "unit", formUnit, hintUnit)
		if f == nil {
			continue
		}
		u := Unit{Record: rec, Kind: f.matching(f.need("kind", "xa"), "kind", formWord, hintWord)}
		u.Names = f.dated("names", "vi", rec)
		u.Codes = f.dated("codes", "code", rec)
		u.Parents = f.dated("parents", "unit", rec)
		if len(u.Names) == 0 {
			f.wrong(n, "write `names: [{vi: …, en: …}]`", "%s has no name", f.where)
		}
		f.done()
		p.Units = append(p.Units, u)
	}
	for _, n := range top.items("succeeds") {
		f, rec := r.succession(n)
		if f == nil {
			continue
		}
		p.Succeeds = append(p.Succeeds, rec)
		f.done()
	}
}

func (r *reader) succession(n *yaml.Node) (*fields, Succession) {
	f := r.mapping(n, "succession")
	if f == nil {
		return nil, Succession{}
	}
	s := Succession{Record: Record{File: r.file, Line: n.Line}}
	s.ID = f.matching(f.need("id", "…"), "id", formUnit, hintUnit)
	f.where = fmt.Sprintf("succession %q", s.ID)
	s.From = f.matching(f.need("from", "xa-an-thanh"), "from", formUnit, hintUnit)
	s.To = f.matching(f.need("to", "xa-chi-minh-2025"), "to", formUnit, hintUnit)
	if f.need("date", "2025-07-01") != nil {
		s.Valid.From = f.date("date")
	}
	s.Kind = f.oneOf("kind", []string{"merge", "split", "rename", "transfer"}, "")
	s.Note = f.text("note")
	s.Source = f.needText("source", `"where the fact was found"`)
	if f.need("verified", "false") != nil {
		s.Verified = f.boolean("verified", false)
	}
	return f, s
}

func (r *reader) machines(top *fields, p *Profile) {
	roles := Roles()
	for _, n := range top.items("machines") {
		f, rec := r.record(n, "machine", formUnit, hintUnit)
		if f == nil {
			continue
		}
		m := Machine{Record: rec, Unit: f.matching(f.need("unit", "xa-an-thanh"), "unit", formUnit, hintUnit)}
		if f.need("role", "probe") != nil {
			m.Role = f.oneOf("role", roles, RoleProbe)
		}
		m.Duties = f.words("duties", formWord, hintWord)
		m.Level = f.whole("level", 1, 5, DefaultLevel)
		for _, item := range f.items("lines") {
			if l, ok := f.machineLine(item); ok {
				m.Lines = append(m.Lines, l)
			}
		}
		f.done()
		p.Machines = append(p.Machines, m)
	}
}

// machineLine reads a line of a machine: its id alone, or with the machine's address on it.
func (f *fields) machineLine(n *yaml.Node) (MachineLine, bool) {
	if n.Kind == yaml.ScalarNode {
		id := f.matching(n, "lines", formUnit, hintUnit)
		return MachineLine{Line: id}, id != ""
	}
	g := f.mapping(n, f.where+": lines")
	if g == nil {
		return MachineLine{}, false
	}
	l := MachineLine{Line: g.matching(g.need("line", "an-thanh-tslcd"), "line", formUnit, hintUnit)}
	if s := g.text("source"); s != "" {
		a, err := netip.ParseAddr(s)
		if err != nil {
			f.wrong(n, "write this machine's address on that line, e.g. 10.20.1.15", "%s: source %q is no IP address", f.where, s)
		}
		l.Source = a
	}
	g.done()
	return l, l.Line != ""
}

func (f *fields) path(fallback plan.Path) plan.Path {
	return plan.Path(f.oneOf("path", []string{string(plan.Internet), string(plan.TSLCD), string(plan.LAN)}, string(fallback)))
}

func (r *reader) lines(top *fields, p *Profile) {
	for _, n := range top.items("lines") {
		f, rec := r.record(n, "line", formUnit, hintUnit)
		if f == nil {
			continue
		}
		l := Line{Record: rec, Unit: f.matching(f.need("unit", "xa-an-thanh"), "unit", formUnit, hintUnit)}
		f.need("path", "internet")
		l.Path = f.path(plan.Internet)
		if l.Path == plan.LAN {
			f.wrong(f.keys["path"], "write internet or tslcd", "%s: path lan is no line", f.where)
		}
		l.Carrier = f.text("carrier")
		l.Anchors = f.words("anchors", formAny, "")
		if n := f.keys["anchors"]; len(l.Anchors) > 0 && len(l.Anchors) < 3 {
			f.wrong(n, "name at least three that do not depend on each other, or none", "%s: %d anchors cannot prove a line", f.where, len(l.Anchors))
		}
		l.DownMbps, l.UpMbps = f.number("down_mbps", 0, 1e6), f.number("up_mbps", 0, 1e6)
		l.Seal = f.duration("seal", plan.MinSeal, plan.MaxSeal)
		f.done()
		p.Lines = append(p.Lines, l)
	}
}

func (r *reader) offices(top *fields, p *Profile) {
	for _, n := range top.items("operators") {
		f, rec := r.record(n, "operator", formWord, hintWord)
		if f == nil {
			continue
		}
		p.Operators = append(p.Operators, Operator{rec, f.name("name")})
		f.done()
	}
	for _, n := range top.items("offices") {
		f, rec := r.record(n, "office", formWord, hintWord)
		if f == nil {
			continue
		}
		o := Office{Record: rec, Name: f.name("name"), AnswersFor: f.text("answers_for")}
		o.Unit = f.matching(f.take("unit"), "unit", formUnit, hintUnit)
		o.UnitKinds = f.words("unit_kinds", formWord, hintWord)
		if (o.Unit == "") == (len(o.UnitKinds) == 0) {
			f.wrong(n, "write `unit: ID` for one office, or `unit_kinds: [xa]` when every such unit has one", "%s needs exactly one of unit and unit_kinds", f.where)
		}
		o.Contacts = f.contacts(rec)
		f.done()
		p.Offices = append(p.Offices, o)
	}
}

func (r *reader) roster(top *fields, p *Profile) {
	for _, n := range top.items("roster") {
		f, rec := r.record(n, "duty", formUnit, hintUnit)
		if f == nil {
			continue
		}
		d := Duty{Record: rec, Office: f.matching(f.need("office", "VHTT"), "office", formWord, hintWord), Title: f.name("title")}
		d.Step = f.whole("step", 1, 20, 0)
		if d.Step == 0 && f.keys["step"] == nil {
			f.wrong(n, "number the steps from 1", "%s: `step:` is missing", f.where)
		}
		d.After = f.duration("after", 0, 7*24*time.Hour)
		d.Hours = f.hours()
		d.Contacts = f.contacts(rec)
		f.done()
		p.Roster = append(p.Roster, d)
	}
}

func (f *fields) hours() string {
	if h := f.matching(f.take("hours"), "hours", formWord, hintWord); h != "" {
		return h
	}
	return Hours24x7
}

func (r *reader) targets(top *fields, p *Profile) {
	for _, n := range top.items("targets") {
		f, rec := r.record(n, "target", formUnit, hintUnit)
		if f == nil {
			continue
		}
		t := Target{Record: rec, Service: f.matching(f.need("service", "cong_h"), "service", formService, hintService)}
		if n := f.need("objective", "0.995"); n != nil {
			t.Objective = f.number("objective", 0, 1)
			if t.Objective == 0 {
				f.wrong(n, "write a share such as 0.995", "%s: objective %q asks for nothing", f.where, n.Value)
			}
		}
		f.need("calendar", ServiceHours)
		t.Calendar = f.oneOf("calendar", []string{Hours24x7, ServiceHours}, ServiceHours)
		t.Basis = f.needText("basis", "mục tiêu nội bộ")
		f.done()
		p.Targets = append(p.Targets, t)
	}
}

func (r *reader) parameters(top *fields, p *Profile) {
	for _, n := range top.items("parameters") {
		f, rec := r.record(n, "parameter", formParameter, hintParameter)
		if f == nil {
			continue
		}
		q := Parameter{Record: rec, Note: f.text("note"), Builtin: f.boolean("builtin", false)}
		if v := f.text("value"); v != "" {
			q.Values = append(q.Values, Dated{Value: v, Valid: rec.Valid, Source: rec.Source, Verified: rec.Verified, Line: n.Line})
		}
		for _, d := range f.dated("values", "value", rec) {
			if d.Value != "" {
				q.Values = append(q.Values, d)
			}
		}
		if q.Builtin && len(q.Values) > 0 {
			f.wrong(n, "remove the value, or `builtin`", "%s: the program fills this in", f.where)
		}
		f.done()
		p.Parameters = append(p.Parameters, q)
	}
}
