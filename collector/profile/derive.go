package profile

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/plan"
)

// A Because is why a check is in a machine's plan, or is not.
type Because string

// The reasons, in the order in which they are looked at.
const (
	BecausePlanned       Because = "planned"        // the machine checks it
	BecauseNotWatching   Because = "not_watching"   // `watch` chooses other machines
	BecauseNoCheck       Because = "no_check"       // the service names no check: không đo được
	BecauseOutOfSeason   Because = "out_of_season"  // it does not matter at this time of year
	BecauseNotConfigured Because = "not_configured" // a parameter that it needs is empty: chưa cấu hình
	BecauseAtCollector   Because = "at_collector"   // no agent can measure it; the collector answers
	BecauseNoLine        Because = "no_line"        // the machine has no line of the check's path
)

// A Why is one check of one service, and why a machine is told to run it or is not.
type Why struct {
	Service string
	Check   string // SERVICE.CHECK; "" where the service names no check
	Because Because
	Detail  string // English: the rule, the season, the empty parameters
}

// Planned reports whether the check is in the plan.
func (w Why) Planned() bool { return w.Because == BecausePlanned }

// The kinds that the collector answers by itself; they are in no agent's plan.
var atCollector = []string{KindAttested, KindCounter, KindDerived}

// PlanFor derives the plan of a machine at an instant: its text, equal byte for byte for equal input, and for every
// service of that day why its checks are in it or not. Params are what the program itself fills in, such as
// collector.agents; they go before the profile's own. The error is for a machine that the profile does not have then,
// and for a text longer than a plan may be.
func (p *Profile) PlanFor(machine string, at time.Time, params map[string]string, version int64) ([]byte, []Why, error) {
	m, ok := p.Machine(machine, at)
	if !ok {
		return nil, nil, fmt.Errorf("plan: there is no machine %q on %s: add it to machines.yaml, or enrol it with a token of its unit", machine, DateOf(at))
	}
	var why []Why
	var checks bytes.Buffer
	c := p.chooserAt(at)
	for _, s := range p.ServicesAt(at) {
		for _, d := range p.decide(&s, m, c, params) {
			why = append(why, d.Why)
			if d.Planned() {
				writeCheck(&checks, d)
			}
		}
	}
	text := p.header(m, at, version)
	if checks.Len() == 0 {
		text = append(text, "checks: []\n"...)
	} else {
		text = append(append(text, "checks:\n"...), checks.Bytes()...)
	}
	if len(text) > plan.MaxBytes {
		return nil, why, fmt.Errorf("plan of %s: %d bytes, more than %d: let fewer services be watched by this machine", machine, len(text), plan.MaxBytes)
	}
	return text, why, nil
}

// SamePlan reports whether two plan texts tell a machine the same, whatever their version and time of issue.
func SamePlan(a, b []byte) bool { return bytes.Equal(essence(a), essence(b)) }

func essence(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("version:")) && !bytes.HasPrefix(line, []byte("issued:")) {
			out = append(out, line...)
		}
	}
	return out
}

// A decision is a Why with what the plan needs of the check.
type decision struct {
	Why
	service string
	check   ServiceCheck
	with    []Option // filled in
	missing []string // names of parameters that are empty
}

// decide goes over the checks of one service for one machine.
func (p *Profile) decide(s *Service, m *Machine, chooser chooser, params map[string]string) []decision {
	at := chooser.at
	all := func(b Because, detail string) []decision {
		ds := []decision{{Why: Why{s.ID, "", b, detail}}}
		if len(s.Checks) > 0 {
			ds = ds[:0]
		}
		for _, c := range s.Checks {
			ds = append(ds, decision{Why: Why{s.ID, s.ID + "." + c.ID, b, detail}})
		}
		return ds
	}
	if ok, detail := chooser.watches(s, m); !ok {
		return all(BecauseNotWatching, detail)
	}
	if len(s.Checks) == 0 {
		return all(BecauseNoCheck, "the service names no check")
	}
	if !s.InSeason(at) {
		return all(BecauseOutOfSeason, "it is checked only in its season")
	}
	var ds []decision
	for _, c := range s.Checks {
		e := &expander{p: p, machine: m, at: at, given: params, loop: loop{s, &c, chooser}}
		d := decision{Why: Why{s.ID, s.ID + "." + c.ID, BecausePlanned, "watch: " + s.Watch.String()}, service: s.ID, check: c}
		switch {
		case slices.Contains(atCollector, c.Kind):
			d.Because, d.Detail = BecauseAtCollector, "kind "+c.Kind+" is answered by the collector"
		case !p.hasPath(m, c.Path, at):
			d.Because, d.Detail = BecauseNoLine, fmt.Sprintf("unit %s has no line of path %s for this machine", m.Unit, c.Path)
		default:
			d.with, _ = e.value(c.With, c.Path).([]Option)
			if len(e.missing) > 0 {
				d.Because, d.Detail, d.missing = BecauseNotConfigured, "empty in parameters.yaml: "+strings.Join(e.missing, ", "), e.missing
			}
		}
		ds = append(ds, d)
	}
	return ds
}

// A chooser knows which machine `watch` chooses in each unit at one time.
type chooser struct {
	at       time.Time
	probes   map[string]string // unit → its first probe
	district string            // the district's first probe, or else its first collector
}

func (p *Profile) chooserAt(at time.Time) chooser {
	c := chooser{at: at, probes: map[string]string{}}
	day, collector := DateOf(at), ""
	for i := range p.Machines {
		m := &p.Machines[i]
		switch {
		case !m.Valid.Covers(day):
		case m.Role == RoleProbe && (c.probes[m.Unit] == "" || m.ID < c.probes[m.Unit]):
			c.probes[m.Unit] = m.ID
		case m.Role == RoleCollector && m.Unit == p.District && (collector == "" || m.ID < collector):
			collector = m.ID
		}
	}
	c.district = cmp.Or(c.probes[p.District], collector)
	return c
}

// watches reports whether the service's rule chooses the machine, and how it chooses.
func (c chooser) watches(s *Service, m *Machine) (bool, string) {
	switch {
	case s.Watch.OnePerUnit:
		chosen := c.probes[m.Unit]
		if chosen == "" {
			return false, "watch: one_per_unit, and the unit has no machine of role probe"
		}
		return chosen == m.ID, "watch: one_per_unit chooses " + chosen
	case s.Watch.District:
		if c.district == "" {
			return false, "watch: district, and the district has no machine of role probe or collector"
		}
		return c.district == m.ID, "watch: district chooses " + c.district
	}
	return m.has(s.Watch.Role), "watch: " + s.Watch.String() + ", and the machine has role " + strings.Join(append([]string{m.Role}, m.Duties...), ", ")
}

// hasPath reports whether the machine can send over the path. A unit without any line in lines.yaml is taken to have
// Internet, and nothing else.
func (p *Profile) hasPath(m *Machine, path plan.Path, at time.Time) bool {
	if path == plan.LAN {
		return true
	}
	if _, ok := p.LineOf(m, path, at); ok {
		return true
	}
	described := len(m.Lines) > 0 || slices.ContainsFunc(p.linesOf[m.Unit], func(i int) bool { return p.Lines[i].Valid.CoversTime(at) })
	return path == plan.Internet && !described
}

// Deciding returns the ids (SERVICE.CHECK) of the checks that make a machine's vote: those that say so, else the first.
func (s *Service) Deciding() []string {
	var out []string
	for _, c := range s.Checks {
		if c.Decides {
			out = append(out, s.ID+"."+c.ID)
		}
	}
	if len(out) == 0 && len(s.Checks) > 0 {
		out = append(out, s.ID+"."+s.Checks[0].ID)
	}
	return out
}

// A Watcher is a machine that is planned to check a service.
type Watcher struct {
	Unit    string
	Machine string
	Path    plan.Path // of the first deciding check
	Carrier string    // of the machine's line on that path; "" is unknown, or no line
	// NotConfigured are the deciding checks that it would run too, were no parameter of theirs empty. While there are
	// any, the machine cannot say that the service works.
	NotConfigured []string
}

// Watchers returns the machines that are told at t to run at least one deciding check of the service, by machine id; of a
// service that is derived or attested, those that would. A service that is out of season, or of which every deciding check is chưa cấu hình, is watched by nobody.
func (p *Profile) Watchers(service string, t time.Time) []Watcher {
	s, ok := p.Service(service, t)
	if !ok {
		return nil
	}
	deciding := s.Deciding()
	builtin, c := p.builtin(), p.chooserAt(t)
	var out []Watcher
	for _, m := range p.MachinesAt(t) {
		w := Watcher{Unit: m.Unit, Machine: m.ID}
		planned := false
		for _, d := range p.decide(s, &m, c, builtin) {
			switch {
			case !slices.Contains(deciding, d.Check):
			case d.Because == BecauseNotConfigured:
				w.NotConfigured = append(w.NotConfigured, d.Check)
			case d.Because == BecauseAtCollector && d.check.Kind != KindCounter:
				planned = true // its unit is one that the service is derived or attested for
			case d.Planned() && !planned:
				planned, w.Path = true, d.check.Path
				if l, ok := p.LineOf(&m, d.check.Path, t); ok {
					w.Carrier = l.Carrier
				}
			}
		}
		if planned {
			out = append(out, w)
		}
	}
	return out
}

// builtin stands in for what the program fills in, so that nothing of it counts as missing.
func (p *Profile) builtin() map[string]string {
	given := map[string]string{}
	for _, q := range p.Parameters {
		if q.Builtin {
			given[q.ID] = "given"
		}
	}
	return given
}

// Quorum returns how many units and carriers must vote at t before the service has a state. Where the profile says
// nothing these are min(2, units that watch it) and 1; never less than 1.
func (p *Profile) Quorum(service string, t time.Time) Quorum {
	q := Quorum{}
	if s, ok := p.Service(service, t); ok {
		q = s.Quorum
	}
	if q.Units == 0 {
		units := map[string]bool{}
		for _, w := range p.Watchers(service, t) {
			units[w.Unit] = true
		}
		q.Units = max(1, min(2, len(units)))
	}
	q.Carriers = max(1, q.Carriers)
	return q
}

// A Lack is a check that is chưa cấu hình.
type Lack struct {
	Check      string   // SERVICE.CHECK
	Decides    bool     // it is one of those that make the vote
	Parameters []string // the empty ones that it needs, in order
}

// NotConfigured returns the checks of a service that a unit's machines would run at t, were their parameters not empty,
// in the order of the service; none when nothing is missing.
func (p *Profile) NotConfigured(service, unit string, t time.Time) []Lack {
	s, ok := p.Service(service, t)
	if !ok {
		return nil
	}
	builtin, c, deciding := p.builtin(), p.chooserAt(t), s.Deciding()
	missing := map[string][]string{}
	for _, m := range p.MachinesOf(unit, t) {
		if ok, _ := c.watches(s, &m); !ok {
			continue
		}
		for _, x := range s.Checks {
			if slices.Contains(atCollector, x.Kind) || !p.hasPath(&m, x.Path, t) {
				continue
			}
			e := &expander{p: p, machine: &m, at: t, given: builtin, loop: loop{s, &x, c}}
			e.value(x.With, x.Path)
			id := s.ID + "." + x.ID
			missing[id] = append(missing[id], e.missing...)
		}
	}
	var out []Lack
	for _, x := range s.Checks {
		id := s.ID + "." + x.ID
		if names := missing[id]; len(names) > 0 {
			slices.Sort(names)
			out = append(out, Lack{id, slices.Contains(deciding, id), slices.Compact(names)})
		}
	}
	return out
}
