package profile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/plan"
)

// A validator finds what single entries cannot show: ids that nobody has, circles, intervals that overlap.
type validator struct {
	p        *Profile
	problems *Problems
}

func (v *validator) wrong(r Record, line int, hint, format string, args ...any) {
	if line == 0 {
		line = r.Line
	}
	*v.problems = append(*v.problems, Problem{File: r.File, Line: line, What: fmt.Sprintf(format, args...), Hint: hint})
}

func (v *validator) all() {
	p := v.p
	v.twice("unit", records(p.Units, func(u Unit) Record { return u.Record }), true)
	v.twice("succession", records(p.Succeeds, func(s Succession) Record { return s.Record }), true)
	v.twice("service", records(p.Services, func(s Service) Record { return s.Record }), false)
	v.twice("machine", records(p.Machines, func(m Machine) Record { return m.Record }), false)
	v.twice("line", records(p.Lines, func(l Line) Record { return l.Record }), false)
	v.twice("operator", records(p.Operators, func(o Operator) Record { return o.Record }), false)
	v.twice("office", records(p.Offices, func(o Office) Record { return o.Record }), false)
	v.twice("duty", records(p.Roster, func(d Duty) Record { return d.Record }), false)
	v.twice("target", records(p.Targets, func(t Target) Record { return t.Record }), false)
	v.twice("law set", records(p.LawSets, func(l LawSet) Record { return l.Record }), true)
	v.twice("notice rule", records(p.Notices, func(n NoticeRule) Record { return n.Record }), true)
	v.overlapping(p.Notices)
	v.twice("parameter", records(p.Parameters, func(q Parameter) Record { return q.Record }), true)
	v.units()
	v.services()
	v.rules()
	v.machines()
	v.witnesses()
	v.people()
	v.targets()
	v.parameters()
	v.years()
}

// witnesses reports when more machines cosign on one day than may, and the collector's own, whose word adds nothing.
func (v *validator) witnesses() {
	for _, m := range v.p.Machines {
		if !slices.Contains(m.Duties, DutyWitness) {
			continue
		}
		if m.Role == RoleCollector {
			v.wrong(m.Record, 0, "name machines that are not in the hands of who runs the collector", "machine %q: the duty %q on the collector's own machine proves nothing", m.ID, DutyWitness)
		}
		if n := len(v.p.WitnessesAt(m.Valid.From.Start())); n > MostWitnesses {
			v.wrong(m.Record, 0, "leave the duty to 3 to 7 of them", "machine %q: on %s %d machines have the duty %q, at most %d can", m.ID, m.Valid.From, n, DutyWitness, MostWitnesses)
		}
	}
}

// overlapping reports rules of notice that hold on the same day: only one can.
func (v *validator) overlapping(rules []NoticeRule) {
	for i, a := range rules {
		for _, b := range rules[:i] {
			if a.Valid.overlaps(b.Valid) {
				v.wrong(a.Record, 0, "end the older one with valid_to", "notice rules %q and %q hold on the same days", b.ID, a.ID)
			}
		}
	}
}

func records[T any](list []T, record func(T) Record) []Record {
	rs := make([]Record, len(list))
	for i, x := range list {
		rs[i] = record(x)
	}
	return rs
}

// twice reports ids that stand twice: at all, where an id has one entry for ever, or on the same days, where an entry
// may follow another.
func (v *validator) twice(what string, rs []Record, once bool) {
	seen := map[string][]Record{}
	for _, r := range rs {
		if r.ID == "" {
			continue
		}
		for _, o := range seen[r.ID] {
			if once {
				v.wrong(r, 0, "ids are for ever; choose another one", "%s %q stands on line %d already", what, r.ID, o.Line)
				break
			}
			if r.Valid.overlaps(o.Valid) {
				v.wrong(r, 0, "end the older entry the day before the newer one begins, or choose another id",
					"%s %q (%s) stands on line %d already (%s)", what, r.ID, r.Valid, o.Line, o.Valid)
				break
			}
		}
		seen[r.ID] = append(seen[r.ID], r)
	}
}

// known reports an id that no entry has.
func (v *validator) known(r Record, line int, place, id string, ids []string) bool {
	if id == "" || slices.Contains(ids, id) {
		return id != ""
	}
	hint := "add it, or mend the id"
	if near := plan.Nearest(id, ids); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	v.wrong(r, line, hint, "%s: there is no %q", place, id)
	return false
}

func ids[T any](list []T, id func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = id(x)
	}
	return out
}

func (p *Profile) unitIDs() []string { return ids(p.Units, func(u Unit) string { return u.ID }) }

// overlap reports attributes of one kind that hold on the same days.
func (v *validator) overlap(r Record, place string, ds []Dated) {
	for i, d := range ds {
		for _, o := range ds[:i] {
			if d.Unit == o.Unit && d.Valid.overlaps(o.Valid) {
				v.wrong(r, d.Line, "end the older one the day before the newer one begins", "%s: %s overlaps %s of line %d", place, d.Valid, o.Valid, o.Line)
				break
			}
		}
	}
}

func (v *validator) units() {
	all := v.p.unitIDs()
	parents := map[string][]Dated{}
	for _, u := range v.p.Units {
		place := fmt.Sprintf("unit %q", u.ID)
		v.overlap(u.Record, place+": names", u.Names)
		v.overlap(u.Record, place+": codes", u.Codes)
		v.overlap(u.Record, place+": parents", u.Parents)
		for _, d := range u.Parents {
			v.known(u.Record, d.Line, place+": parents", d.Value, all)
		}
		parents[u.ID] = u.Parents
	}
	if v.p.District != "" && !slices.Contains(all, v.p.District) {
		*v.problems = append(*v.problems, Problem{File: "units.yaml", Line: 1,
			What: fmt.Sprintf("district: there is no unit %q", v.p.District), Hint: "name the unit that the collector stands in"})
	}
	for _, u := range v.p.Units {
		if circle := circleFrom(u.ID, parents, Span{From: 1}, nil); circle != nil && slices.Min(circle) == u.ID {
			v.wrong(u.Record, 0, "a unit cannot stand above itself; mend one parent", "unit %q: parents go in a circle: %s", u.ID, strings.Join(circle, " → "))
		}
	}
	for _, s := range v.p.Succeeds {
		place := fmt.Sprintf("succession %q", s.ID)
		v.known(s.Record, 0, place+": from", s.From, all)
		v.known(s.Record, 0, place+": to", s.To, all)
		if s.From == s.To && s.From != "" {
			v.wrong(s.Record, 0, "a new name or code of the same unit is a dated attribute of it", "%s: a unit cannot follow itself", place)
		}
	}
}

// circleFrom follows parents that hold on common days until it meets the start again; nil when it does not.
func circleFrom(id string, parents map[string][]Dated, days Span, path []string) []string {
	if len(path) > 0 && id == path[0] {
		return append(path, id)
	}
	if slices.Contains(path, id) || len(path) > 32 {
		return nil
	}
	path = append(slices.Clone(path), id)
	for _, d := range parents[id] {
		if !d.Valid.overlaps(days) {
			continue
		}
		both := Span{max(days.From, d.Valid.From), days.To}
		if both.To == 0 || d.Valid.To != 0 && d.Valid.To < both.To {
			both.To = d.Valid.To
		}
		if c := circleFrom(d.Value, parents, both, path); c != nil {
			return c
		}
	}
	return nil
}

func (v *validator) services() {
	p := v.p
	operators := ids(p.Operators, func(o Operator) string { return o.ID })
	offices := ids(p.Offices, func(o Office) string { return o.ID })
	services := ids(p.Services, func(s Service) string { return s.ID })
	parameters := ids(p.Parameters, func(q Parameter) string { return q.ID })
	hours := p.hoursNames()
	depends := map[string][]Dated{}
	for _, s := range p.Services {
		place := fmt.Sprintf("service %q", s.ID)
		v.known(s.Record, 0, place+": operator", s.Operator, operators)
		v.known(s.Record, 0, place+": owner", s.Owner, offices)
		v.known(s.Record, 0, place+": hours", s.Hours, hours)
		for _, d := range s.Depends {
			v.known(s.Record, 0, place+": depends", d, services)
			depends[s.ID] = append(depends[s.ID], Dated{Value: d, Valid: s.Valid})
		}
		if s.Watch.Role != "" && s.Watch.Role != RoleAny && !slices.ContainsFunc(p.Machines, func(m Machine) bool { return m.has(s.Watch.Role) }) &&
			!slices.Contains(Roles(), s.Watch.Role) {
			v.wrong(s.Record, 0, "give a machine this duty, or mend the word", "%s: watch: no machine has the role or duty %q", place, s.Watch.Role)
		}
		for _, c := range s.Checks {
			for _, o := range c.With {
				if broken(o.Value) {
					v.wrong(s.Record, o.Line, "write ${NAME}; ${line.anchors} and ${loop.peers} stand alone", "%s: check %q: %s: a ${ that cannot be filled in", place, c.ID, o.Name)
				}
				for _, name := range placeholders(o.Value) {
					if name == loopPeers && (o.Name == loopMailbox || !slices.ContainsFunc(c.With, func(x Option) bool { return x.Name == loopMailbox })) {
						v.wrong(s.Record, o.Line, "name each machine's own mailbox in the option mailbox", "%s: check %q: %s: ${loop.peers} without mailbox", place, c.ID, o.Name)
					}
					if !standsAlone(name) {
						v.known(s.Record, o.Line, fmt.Sprintf("%s: check %q: %s: parameter", place, c.ID, o.Name), name, parameters)
					}
				}
			}
		}
	}
	for _, s := range p.Services {
		if c := circleFrom(s.ID, depends, Span{From: 1}, nil); c != nil && slices.Min(c) == s.ID {
			v.wrong(s.Record, 0, "mend one `depends`", "service %q: depends go in a circle: %s", s.ID, strings.Join(c, " → "))
		}
	}
}

// hoursNames lists the schedules that the calendars define, and the one that needs no definition.
func (p *Profile) hoursNames() []string {
	names := []string{Hours24x7}
	for _, y := range p.Years {
		for _, h := range y.Hours {
			if !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

func (v *validator) machines() {
	p := v.p
	units := p.unitIDs()
	lines := ids(p.Lines, func(l Line) string { return l.ID })
	parameters := ids(p.Parameters, func(q Parameter) string { return q.ID })
	for _, l := range p.Lines {
		place := fmt.Sprintf("line %q", l.ID)
		v.known(l.Record, 0, place+": unit", l.Unit, units)
		for _, a := range l.Anchors {
			if broken(a) || a == "${"+lineAnchors+"}" || a == "${"+loopPeers+"}" {
				v.wrong(l.Record, 0, "write ${NAME}", "%s: anchor %q cannot be filled in", place, a)
				continue
			}
			for _, name := range placeholders(a) {
				v.known(l.Record, 0, place+": anchors: parameter", name, parameters)
			}
		}
	}
	for _, m := range p.Machines {
		place := fmt.Sprintf("machine %q", m.ID)
		v.known(m.Record, 0, place+": unit", m.Unit, units)
		paths := map[plan.Path]string{}
		for _, ml := range m.Lines {
			if !v.known(m.Record, 0, place+": lines", ml.Line, lines) {
				continue
			}
			for _, l := range p.Lines {
				if l.ID != ml.Line || !l.Valid.overlaps(m.Valid) {
					continue
				}
				if l.Unit != m.Unit {
					v.wrong(m.Record, 0, "name a line of the machine's own unit", "%s: line %q belongs to unit %q", place, l.ID, l.Unit)
				}
				if o := paths[l.Path]; o != "" && o != l.ID {
					v.wrong(m.Record, 0, "a machine has one line a path; keep one", "%s: lines %q and %q are both of path %s", place, o, l.ID, l.Path)
				}
				paths[l.Path] = l.ID
			}
		}
	}
}

func (v *validator) people() {
	p := v.p
	units := p.unitIDs()
	offices := ids(p.Offices, func(o Office) string { return o.ID })
	for _, o := range p.Offices {
		v.known(o.Record, 0, fmt.Sprintf("office %q: unit", o.ID), o.Unit, units)
	}
	for _, d := range p.Roster {
		place := fmt.Sprintf("duty %q", d.ID)
		v.known(d.Record, 0, place+": office", d.Office, offices)
		v.known(d.Record, 0, place+": hours", d.Hours, p.hoursNames())
	}
}

func (v *validator) targets() {
	services := ids(v.p.Services, func(s Service) string { return s.ID })
	for i, t := range v.p.Targets {
		v.known(t.Record, 0, fmt.Sprintf("target %q: service", t.ID), t.Service, services)
		for _, o := range v.p.Targets[:i] {
			if t.ID != o.ID && t.Service == o.Service && t.Calendar == o.Calendar && t.Valid.overlaps(o.Valid) {
				v.wrong(t.Record, 0, "end the older one the day before the newer one begins",
					"target %q: service %q has a target for %s on line %d already (%s)", t.ID, t.Service, t.Calendar, o.Line, o.Valid)
			}
		}
	}
}

func (v *validator) parameters() {
	units := v.p.unitIDs()
	for _, q := range v.p.Parameters {
		place := fmt.Sprintf("parameter %q", q.ID)
		v.overlap(q.Record, place, q.Values)
		for _, d := range q.Values {
			v.known(q.Record, d.Line, place+": unit", d.Unit, units)
		}
		if q.ID == lineAnchors || strings.HasPrefix(q.ID, "line.") {
			v.wrong(q.Record, 0, "choose another name", "%s: names that begin with line. come from lines.yaml", place)
		}
		if q.ID == loopPeers {
			v.wrong(q.Record, 0, "choose another name", "%s: the collector fills it in", place)
		}
	}
}

func (v *validator) years() {
	units := v.p.unitIDs()
	for _, y := range v.p.Years {
		v.twice("hours", records(y.Hours, func(h Hours) Record { return h.Record }), true)
		for i, h := range y.Hours {
			v.known(h.Record, 0, fmt.Sprintf("hours %q: unit", h.ID), h.Unit, units)
			for _, o := range y.Hours[:i] {
				if h.Name == o.Name && h.Unit == o.Unit && h.Valid.overlaps(o.Valid) && slices.ContainsFunc(h.Weekdays, func(d time.Weekday) bool { return slices.Contains(o.Weekdays, d) }) {
					v.wrong(h.Record, 0, "end the older one the day before the newer one begins", "hours %q: %s has hours for these days on line %d already", h.ID, h.Name, o.Line)
				}
			}
		}
		v.days(y)
	}
}

func (v *validator) days(y Year) {
	seen := map[Date]Day{}
	for _, d := range y.Days {
		if d.Date == 0 {
			continue
		}
		if o, twice := seen[d.Date]; twice {
			v.wrong(d.Record, 0, "keep one", "day %s stands on line %d already", d.Date, o.Line)
		}
		seen[d.Date] = d
		if d.Kind == DayMakeUp && slices.Contains(y.Week, d.Date.Weekday()) {
			v.wrong(d.Record, 0, "a make-up day is one on which offices would not work", "day %s (%s) is a working day already", d.Date, d.Date.Weekday())
		}
		if d.Kind == DayMakeUp && d.Yearly {
			v.wrong(d.Record, 0, "remove `yearly`", "day %s: a make-up day belongs to one year", d.Date)
		}
	}
}
