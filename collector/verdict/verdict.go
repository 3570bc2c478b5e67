package verdict

import (
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A Standing is how a service is by rule votes/1, as a whole or as one unit has it.
type Standing struct {
	Service string
	Unit    string // "" is the service as a whole
	State   check.State
	Reason  check.Reason
	Since   time.Time     // it has had this state, whatever the reasons, since then
	Last    time.Time     // the slot of the latest result of a deciding check; zero without any
	Every   time.Duration // from slot to slot of the deciding checks; 0 takes the model's
}

// Votes counts the units that watch a service, by what they have of it.
type Votes struct {
	Up, Down, Unknown int // Up includes degraded
}

// Why a fault opens nothing. Suppressed is only the opening: what is open closes by its own findings.
const (
	MutedByLine       = "muted_by_line"       // every unit that has it so has its own line down
	MutedByService    = "muted_by_service"    // the line's own service is down in several units: one fault, not one a unit
	MutedByDependency = "muted_by_dependency" // a service that it needs is down
	MutedByFleet      = "muted_by_fleet"      // most units are silent at once
	NotExpected       = "not_expected"        // the unit's machines are off outside office hours
)

// A Finding is how one component is now. Findings come for what works too, so that what is open can close.
type Finding struct {
	Component
	Through  string      // of a line: the service that shows it
	State    check.State // Down only by votes that say so
	Silent   bool        // State is Unknown because nothing comes from there
	Reason   check.Reason
	Since    time.Time
	Last     time.Time // as of a Standing
	Every    time.Duration
	Votes    Votes
	Services []string  // what it hurts
	Units    []string  // where
	Muted    string    // why it opens no incident; "" when it may
	By       Component // what mutes it

	// Unsettled: other services fail there, too, and have not done so for two slots: what they share is not known yet.
	Unsettled bool
	// Cause is what is broken, as far as the votes tell; nil where no cause explains the fault. Several findings of one
	// cause are one incident.
	Cause *Cause
}

// Good reports whether the component serves its users.
func (f *Finding) Good() bool { return f.State == check.Up || f.State == check.Degraded }

// Fault reports whether the component is down, or silent.
func (f *Finding) Fault() bool { return f.State == check.Down || f.Silent }

// shortest is taken for Every where neither a standing nor the model says it.
const shortest = 10 * time.Second

// A Verdict is how everything is, and what is broken.
type Verdict struct {
	Findings []Finding
	Location
}

// Judge returns how the components that the standings speak of are: the fleet, the lines by unit, the services, each in
// the order in which they first come, and what services are for single units; and what is broken.
func Judge(standings []Standing, m Model, at Moment) Verdict {
	j := judge{m: m, whole: map[string]Standing{}, byUnit: map[string][]Standing{}, byService: map[string][]Standing{}, lines: map[string]*Finding{}}
	for _, s := range standings {
		j.add(s)
	}
	v := Verdict{Location: Locate(standings, m, at)}
	for _, u := range j.units {
		f := j.line(u)
		j.lines[u] = &f
	}
	j.access(v.Causes)
	services := make([]Finding, len(j.services))
	for i, id := range j.services {
		services[i] = j.service(id)
	}
	fleet := j.fleet()
	j.muteServices(services)
	j.muteLines(services, &fleet)
	v.Findings = make([]Finding, 0, 1+len(j.units)+len(services))
	v.Findings = append(v.Findings, fleet)
	for _, u := range j.units {
		v.Findings = append(v.Findings, *j.lines[u])
	}
	v.Findings = append(v.Findings, services...)
	v.Findings = append(v.Findings, j.sites(services)...)
	blame(v.Findings, v.Causes)
	return v
}

// sites judges what services are for single units, where each unit has a target of its own.
func (j *judge) sites(services []Finding) (out []Finding) {
	for k, id := range j.services {
		if !j.m.Services[id].PerUnit {
			continue
		}
		for _, s := range j.byService[id] {
			f := Finding{Component: Component{Kind: OfSite, Service: id, Unit: s.Unit}, Services: []string{id}, Units: []string{s.Unit}}
			f.take(s)
			f.count(s)
			f.Unsettled = j.unsettled(&s, services)
			switch l := j.lines[s.Unit]; {
			case s.State != check.Down:
			case services[k].State == check.Down:
				f.mute(MutedByService, services[k].Component)
			case l.Fault():
				f.mute(MutedByLine, l.Component)
			default:
				for i := range services {
					if d := &services[i]; d.State == check.Down && j.m.dependsOn(id, d.Service) {
						f.mute(MutedByDependency, d.Component)
						break
					}
				}
			}
			out = append(out, f)
		}
	}
	return out
}

// unsettled reports whether other services that work elsewhere have just begun to fail for the unit.
func (j *judge) unsettled(s *Standing, services []Finding) bool {
	return s.State == check.Down && slices.ContainsFunc(j.byUnit[s.Unit], func(o Standing) bool {
		if o.State != check.Down || o.Service == s.Service || o.Last.Sub(o.Since) >= o.Every {
			return false
		}
		k := slices.Index(j.services, o.Service)
		return k >= 0 && services[k].State != check.Down
	})
}

// access takes a unit's line as down when what its services share there is to blame, though the line itself carries: what
// stands between it and the web, or large packets that vanish on it.
func (j *judge) access(causes []Cause) {
	through := j.m.lineServices()[plan.Internet]
	for _, c := range causes {
		f := j.lines[c.Unit]
		near := c.Kind == OfAccess || c.Kind == OfLine || c.Kind == OfLAN
		if !near || f == nil || f.Fault() || len(c.Services) < leastAccess {
			continue
		}
		f.State, f.Reason, f.Through, f.Services = check.Down, c.Reason, through, c.Services
		f.Since, f.Every = time.Time{}, 0
		first := true
		for _, s := range j.byUnit[c.Unit] {
			if s.State != check.Down || !slices.Contains(c.Services, s.Service) {
				continue
			}
			if s.Since.After(f.Since) {
				f.Since = s.Since
			}
			if first || s.Last.Before(f.Last) {
				f.Last = s.Last
			}
			first, f.Every = false, max(f.Every, s.Every)
		}
	}
}

// leastAccess is how many services must fail for one unit before what stands between is a finding.
const leastAccess = 3

// blame tells every fault its cause: the one that explains the unit's own line, or most of the units in which a service
// is down.
func blame(findings []Finding, causes []Cause) {
	services, units := map[string][]*Cause{}, map[string][]*Cause{}
	for i := range causes {
		c := &causes[i]
		for _, s := range c.Services {
			services[s] = append(services[s], c)
		}
		for _, u := range c.Units {
			units[u] = append(units[u], c)
		}
	}
	for i := range findings {
		f := &findings[i]
		switch {
		case f.State != check.Down:
		case f.Kind == OfLine:
			for _, c := range units[f.Unit] {
				if (c.Unit == f.Unit || slices.Contains(c.Services, f.Through)) && (f.Cause == nil || len(c.Units) > len(f.Cause.Units)) {
					f.Cause = c
				}
			}
		case f.Kind == OfSite:
			for _, c := range units[f.Unit] {
				if slices.Contains(c.Services, f.Service) {
					f.Cause = c
				}
			}
		case f.Kind == OfService:
			most := 0
			for _, c := range services[f.Service] {
				if n := common(c.Units, f.Units); n > most {
					f.Cause, most = c, n
				}
			}
			if 2*most < len(f.Units) {
				f.Cause = nil
			}
		}
	}
}

// common counts what two sorted or unsorted lists share.
func common(a, b []string) (n int) {
	in := make(map[string]bool, len(a))
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if in[s] {
			n++
		}
	}
	return n
}

type judge struct {
	m               Model
	whole           map[string]Standing
	byUnit          map[string][]Standing
	byService       map[string][]Standing // as the units have it
	units, services []string
	lines           map[string]*Finding
}

func (j *judge) add(s Standing) {
	if s.Every <= 0 {
		s.Every = max(j.m.Services[s.Service].Every, shortest)
	}
	if s.Unit == "" {
		if _, ok := j.whole[s.Service]; !ok {
			j.services = append(j.services, s.Service)
		}
		j.whole[s.Service] = s
		return
	}
	if _, ok := j.byUnit[s.Unit]; !ok {
		j.units = append(j.units, s.Unit)
	}
	j.byUnit[s.Unit] = append(j.byUnit[s.Unit], s)
	j.byService[s.Service] = append(j.byService[s.Service], s)
}

// measured reports whether somebody was to measure it then: what was not planned, or switched off in order, tells nothing.
func measured(s Standing) bool {
	switch s.Reason {
	case check.NotPlanned, check.NotConfigured, check.NotSupported, check.MissedShutdown, check.MissedSuspended:
		return false
	}
	return true
}

func cutOff(s Standing) bool { return s.Reason == check.Silent || s.Reason == check.NoUplink }

func good(s Standing) bool { return s.State == check.Up || s.State == check.Degraded }

// line judges a unit's own line: by the services that judge it, else by whether anything comes from the unit at all.
func (j *judge) line(unit string) Finding {
	f := Finding{Component: Component{Kind: OfLine, Unit: unit}, Reason: check.NotPlanned, Units: []string{unit}}
	var all, lines, down []Standing
	for _, s := range j.byUnit[unit] {
		if !measured(s) {
			continue
		}
		all = append(all, s)
		if !good(s) {
			f.Services = append(f.Services, s.Service)
		}
		if j.m.Services[s.Service].Line {
			lines = append(lines, s)
			if s.State == check.Down {
				down = append(down, s)
			}
		}
	}
	for _, s := range all {
		f.count(s)
	}
	switch {
	case len(down) > 0:
		f.take(j.lowest(down))
	case len(all) > 0 && !slices.ContainsFunc(all, func(s Standing) bool { return !cutOff(s) }):
		f.take(latest(all))
		f.Silent, f.State = true, check.Unknown
		for _, s := range all {
			if s.Since.After(f.Since) {
				f.Since = s.Since
			}
		}
	case len(lines) > 0:
		f.takeWorst(lines)
	default:
		if known := slices.DeleteFunc(all, func(s Standing) bool { return !s.State.Known() }); len(known) > 0 {
			f.take(latest(known))
			f.State, f.Reason = check.Up, check.OK // whatever it says of others: the unit is heard
		}
	}
	return f
}

func (f *Finding) count(s Standing) {
	switch {
	case good(s):
		f.Votes.Up++
	case s.State == check.Down:
		f.Votes.Down++
	default:
		f.Votes.Unknown++
	}
}

func (f *Finding) take(s Standing) {
	f.State, f.Reason, f.Since, f.Last, f.Every = s.State, s.Reason, s.Since, s.Last, s.Every
	if f.Kind == OfLine {
		f.Through = s.Service
	}
}

// takeWorst takes lines of which none is down: all of them must serve for the unit's line to serve.
func (f *Finding) takeWorst(lines []Standing) {
	f.take(lines[0])
	for _, s := range lines {
		if !good(s) {
			f.take(s)
			return
		}
		if s.Since.After(f.Since) {
			f.Since = s.Since
		}
		if s.Last.Before(f.Last) {
			f.Last = s.Last
		}
		f.Every = max(f.Every, s.Every)
	}
}

func latest(list []Standing) Standing {
	return slices.MaxFunc(list, func(a, b Standing) int { return a.Last.Compare(b.Last) })
}

// lowest returns the one that needs no other of them.
func (j *judge) lowest(down []Standing) Standing {
	for _, s := range down {
		if !slices.ContainsFunc(down, func(o Standing) bool { return o.Service != s.Service && j.m.dependsOn(s.Service, o.Service) }) {
			return s
		}
	}
	return down[0]
}

func (j *judge) service(id string) Finding {
	f := Finding{Component: Component{Kind: OfService, Service: id}, Services: []string{id}}
	f.take(j.whole[id])
	for _, s := range j.byService[id] {
		f.count(s)
		if s.State == check.Down {
			f.Units = append(f.Units, s.Unit)
		}
	}
	return f
}

// fleet judges whether most of the units that should be heard are silent. More than half must be, and two at least; it is
// over when at most a third is.
func (j *judge) fleet() Finding {
	f := Finding{Component: Component{Kind: OfFleet}, State: check.Unknown, Reason: check.Silent}
	var heard time.Time // the latest of the silent ones
	for _, u := range j.units {
		l := j.lines[u]
		if l.Reason == check.NotPlanned || !j.m.Units[u].Expected {
			continue
		}
		if f.Every == 0 || l.Every < f.Every {
			f.Every = l.Every
		}
		switch {
		case l.Silent:
			f.Votes.Unknown++
			f.Units = append(f.Units, u)
			if l.Since.After(f.Since) {
				f.Since = l.Since
			}
			if l.Last.After(heard) {
				heard = l.Last
			}
		case l.State == check.Down:
			f.Votes.Down++
		default:
			f.Votes.Up++
		}
		if l.Last.After(f.Last) {
			f.Last = l.Last
		}
	}
	silent, all := f.Votes.Unknown, f.Votes.Unknown+f.Votes.Down+f.Votes.Up
	switch {
	case silent >= 2 && 2*silent > all:
		f.Silent, f.Last = true, heard
	case all > 0 && 3*silent <= all:
		f.State, f.Reason, f.Since = check.Up, check.OK, f.Last
	}
	return f
}

func (j *judge) muteServices(services []Finding) {
	at := map[string]int{}
	for i := range services {
		f := &services[i]
		at[f.Service] = i
		if f.State != check.Down {
			continue
		}
		if j.m.Services[f.Service].Line {
			if len(f.Units) == 1 {
				f.mute(MutedByLine, lineOf(f.Units))
			}
			continue
		}
		cut := 0
		for _, u := range f.Units {
			if j.lines[u].Fault() {
				cut++
			}
		}
		if cut > 0 && cut == len(f.Units) {
			f.mute(MutedByLine, lineOf(f.Units))
		}
	}
	for i := range services {
		f := &services[i]
		if f.State != check.Down || f.Muted != "" {
			continue
		}
		for _, id := range j.services {
			d := &services[at[id]]
			if d.State == check.Down && id != f.Service && j.m.dependsOn(f.Service, id) && !j.m.dependsOn(id, f.Service) {
				f.mute(MutedByDependency, d.Component)
				break
			}
		}
	}
}

func lineOf(units []string) Component {
	if len(units) == 0 {
		return Component{Kind: OfLine}
	}
	return Component{Kind: OfLine, Unit: units[0]}
}

func (f *Finding) mute(why string, by Component) { f.Muted, f.By = why, by }

func (j *judge) muteLines(services []Finding, fleet *Finding) {
	var shared *Finding // a line's service that is down in several units
	for i := range services {
		s := &services[i]
		if !j.m.Services[s.Service].Line || s.State != check.Down || len(s.Units) < 2 {
			continue
		}
		if shared == nil {
			shared = s
		}
		for _, u := range s.Units {
			if l := j.lines[u]; l.State == check.Down && l.Through == s.Service {
				l.mute(MutedByService, s.Component)
			}
		}
	}
	home := j.lines[j.m.Home]
	ours := home != nil && home.State == check.Down
	for _, u := range j.units {
		l := j.lines[u]
		switch {
		case !l.Silent:
		case !j.m.Units[u].Expected:
			l.mute(NotExpected, Component{})
		case ours && l != home:
			l.mute(MutedByLine, home.Component)
		case shared != nil:
			l.mute(MutedByService, shared.Component)
		case fleet.Silent:
			l.mute(MutedByFleet, fleet.Component)
		}
	}
	if fleet.Silent && ours {
		fleet.mute(MutedByLine, home.Component)
	} else if fleet.Silent && shared != nil {
		fleet.mute(MutedByService, shared.Component)
	}
}
