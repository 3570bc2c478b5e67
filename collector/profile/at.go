package profile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"egovmon/agent/plan"
)

// at returns the entry of this id that holds at the time.
func at[T any](list []T, id string, t time.Time, record func(*T) Record) (*T, bool) {
	for i := range list {
		r := record(&list[i])
		if r.ID == id && r.Valid.CoversTime(t) {
			return &list[i], true
		}
	}
	return nil, false
}

// in returns the entries that hold at the time, in the order of the file.
func in[T any](list []T, t time.Time, record func(*T) Record) []T {
	var out []T
	d := DateOf(t)
	for i := range list {
		if record(&list[i]).Valid.Covers(d) {
			out = append(out, list[i])
		}
	}
	return out
}

func value(ds []Dated, t time.Time) (Dated, bool) {
	for _, d := range ds {
		if d.Valid.CoversTime(t) {
			return d, true
		}
	}
	return Dated{}, false
}

// Unit returns the unit of this id, whether it still exists or not.
func (p *Profile) Unit(id string) (*Unit, bool) {
	i := slices.IndexFunc(p.Units, func(u Unit) bool { return u.ID == id })
	if i < 0 {
		return nil, false
	}
	return &p.Units[i], true
}

// UnitsAt returns the units that exist at t, in the order of the file.
func (p *Profile) UnitsAt(t time.Time) []Unit {
	return in(p.Units, t, func(u *Unit) Record { return u.Record })
}

// NameAt returns what the unit is called at t. Before its first name it is called by that, after the last one by the
// last; a unit is never without a name.
func (u *Unit) NameAt(t time.Time) Name {
	if d, ok := value(u.Names, t); ok {
		return d.Name
	}
	best, day := Dated{Name: Name{u.ID, u.ID}}, DateOf(t)
	for _, d := range slices.SortedFunc(slices.Values(u.Names), byFrom) {
		if best.Valid.From == 0 || d.Valid.From <= day {
			best = d
		}
	}
	return best.Name
}

func byFrom(a, b Dated) int { return cmp.Compare(a.Valid.From, b.Valid.From) }

// CodeAt returns the official code of the unit at t; "" when it has none then.
func (u *Unit) CodeAt(t time.Time) string {
	d, _ := value(u.Codes, t)
	return d.Value
}

// ParentAt returns the id of the unit above at t; "" when there is none.
func (u *Unit) ParentAt(t time.Time) string {
	d, _ := value(u.Parents, t)
	return d.Value
}

// UnderDistrict reports whether the unit is the district, or stands below it at t.
func (p *Profile) UnderDistrict(unit string, t time.Time) bool {
	for range 32 {
		if unit == p.District {
			return true
		}
		u, ok := p.Unit(unit)
		if !ok {
			return false
		}
		unit = u.ParentAt(t)
	}
	return false
}

// SuccessorsAt returns the units that carry on the work of a unit at t, by id: the unit itself while it exists, else
// those that it was merged or split into, followed over every change since.
func (p *Profile) SuccessorsAt(unit string, t time.Time) []string {
	found := map[string]bool{}
	day := DateOf(t)
	var follow func(id string, depth int)
	follow = func(id string, depth int) {
		u, ok := p.Unit(id)
		if !ok || depth > 32 {
			return
		}
		if u.Valid.Covers(day) {
			found[id] = true
			return
		}
		for _, s := range p.Succeeds {
			if s.From == id && s.Valid.From <= day {
				follow(s.To, depth+1)
			}
		}
	}
	follow(unit, 0)
	return slices.Sorted(maps.Keys(found))
}

// Service returns the service of this id as it is at t.
func (p *Profile) Service(id string, t time.Time) (*Service, bool) {
	return at(p.Services, id, t, func(s *Service) Record { return s.Record })
}

// ServicesAt returns the services that exist at t, in the order of the file. A service out of its season exists.
func (p *Profile) ServicesAt(t time.Time) []Service {
	return in(p.Services, t, func(s *Service) Record { return s.Record })
}

// InSeason reports whether the service matters on the day of t.
func (s *Service) InSeason(t time.Time) bool {
	d := DateOf(t)
	return len(s.Season) == 0 || slices.ContainsFunc(s.Season, func(x Season) bool { return x.Covers(d) })
}

// Machine returns the machine of this id as it is at t.
func (p *Profile) Machine(id string, t time.Time) (*Machine, bool) {
	return at(p.Machines, id, t, func(m *Machine) Record { return m.Record })
}

// MachinesAt returns the machines that stand anywhere at t, by id.
func (p *Profile) MachinesAt(t time.Time) []Machine {
	ms := in(p.Machines, t, func(m *Machine) Record { return m.Record })
	slices.SortFunc(ms, func(a, b Machine) int { return strings.Compare(a.ID, b.ID) })
	return ms
}

// MachinesOf returns the machines of a unit at t, by id.
func (p *Profile) MachinesOf(unit string, t time.Time) []Machine {
	return slices.DeleteFunc(p.MachinesAt(t), func(m Machine) bool { return m.Unit != unit })
}

// WitnessesAt lists the machines that cosign the log's checkpoints at t, in the order of the profile.
func (p *Profile) WitnessesAt(t time.Time) []Machine {
	return slices.DeleteFunc(p.MachinesAt(t), func(m Machine) bool { return !slices.Contains(m.Duties, DutyWitness) })
}

// CollectorMachine returns the machine that the collector itself runs on at t: the first of that role, by id.
func (p *Profile) CollectorMachine(t time.Time) (Machine, bool) {
	for _, m := range p.MachinesAt(t) {
		if m.Role == RoleCollector {
			return m, true
		}
	}
	return Machine{}, false
}

func (m *Machine) has(role string) bool {
	return role == RoleAny || m.Role == role || slices.Contains(m.Duties, role)
}

// LineOf returns the line of the path that the machine uses at t: the one it names, else its unit's first.
func (p *Profile) LineOf(m *Machine, path plan.Path, t time.Time) (*Line, bool) {
	for _, i := range p.linesOf[m.Unit] {
		l := &p.Lines[i]
		if l.Path != path || !l.Valid.CoversTime(t) {
			continue
		}
		if len(m.Lines) == 0 || slices.ContainsFunc(m.Lines, func(ml MachineLine) bool { return ml.Line == l.ID }) {
			return l, true
		}
	}
	return nil, false
}

// Office returns the office of this id as it is at t.
func (p *Profile) Office(id string, t time.Time) (*Office, bool) {
	return at(p.Offices, id, t, func(o *Office) Record { return o.Record })
}

// Operator returns the operator of this id as it is at t.
func (p *Profile) Operator(id string, t time.Time) (*Operator, bool) {
	return at(p.Operators, id, t, func(o *Operator) Record { return o.Record })
}

// RosterAt returns who is told at t, by step.
func (p *Profile) RosterAt(t time.Time) []Duty {
	ds := in(p.Roster, t, func(d *Duty) Record { return d.Record })
	slices.SortStableFunc(ds, func(a, b Duty) int { return cmp.Compare(a.Step, b.Step) })
	return ds
}

// Target returns the objective of a service for a calendar (Hours24x7 or ServiceHours) at t.
func (p *Profile) Target(service, calendar string, t time.Time) (*Target, bool) {
	for i := range p.Targets {
		x := &p.Targets[i]
		if x.Service == service && x.Calendar == calendar && x.Valid.CoversTime(t) {
			return x, true
		}
	}
	return nil, false
}

// LawAt returns the law sets in force at t, in the order of the file.
func (p *Profile) LawAt(t time.Time) []LawSet {
	return in(p.LawSets, t, func(l *LawSet) Record { return l.Record })
}

// NoticeAt returns the rule by which a suspension that begins at t must have been announced; false when there is none.
func (p *Profile) NoticeAt(t time.Time) (NoticeRule, bool) {
	if list := in(p.Notices, t, func(r *NoticeRule) Record { return r.Record }); len(list) > 0 {
		return list[0], true
	}
	return NoticeRule{}, false
}

// Parameter returns the value of a parameter for a unit at t: the unit's own before the one for every unit. It is false
// when nobody has filled it in.
func (p *Profile) Parameter(id, unit string, t time.Time) (Dated, bool) {
	i := slices.IndexFunc(p.Parameters, func(q Parameter) bool { return q.ID == id })
	if i < 0 {
		return Dated{}, false
	}
	var general Dated
	for _, d := range p.Parameters[i].Values {
		switch {
		case !d.Valid.CoversTime(t):
		case d.Unit == unit && unit != "":
			return d, true
		case d.Unit == "":
			general = d
		}
	}
	return general, general.Value != ""
}

// WithMachine returns the profile with one more machine, which was enrolled without standing in machines.yaml. An entry
// of the same id that holds on the same days is left in place and wins.
func WithMachine(p *Profile, m Machine) *Profile {
	if slices.ContainsFunc(p.Machines, func(o Machine) bool { return o.ID == m.ID && o.Valid.overlaps(m.Valid) }) {
		return p
	}
	q := *p
	q.Machines = append(slices.Clone(p.Machines), m)
	return &q
}

// NextChange returns the first instant after t at which something in the profile begins, ends, or enters or leaves its
// season, so that plans are to be derived anew; the zero Time when nothing more is known to change.
func (p *Profile) NextChange(t time.Time) time.Time {
	today := DateOf(t)
	next := Date(0)
	offer := func(d Date) {
		if d > today && (next == 0 || d < next) {
			next = d
		}
	}
	span := func(s Span) {
		offer(s.From)
		if s.To != 0 {
			offer(s.To + 1)
		}
	}
	for _, s := range p.Services {
		span(s.Valid)
		for _, x := range s.Season {
			for year := today.Year() - 1; year <= today.Year()+1; year++ {
				offer(NewDate(year, x.FromMonth, x.FromDay))
				offer(NewDate(year, x.ToMonth, x.ToDay) + 1)
			}
		}
	}
	for _, m := range p.Machines {
		span(m.Valid)
	}
	for _, l := range p.Lines {
		span(l.Valid)
	}
	for _, u := range p.Units {
		span(u.Valid)
	}
	for _, q := range p.Parameters {
		for _, d := range q.Values {
			span(d.Valid)
		}
	}
	if next == 0 {
		return time.Time{}
	}
	return next.Start()
}
