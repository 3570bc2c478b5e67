package verdict

import (
	"slices"
	"time"

	"egovmon/collector/profile"
)

// A Service is what a verdict has to know of one service.
type Service struct {
	Every   time.Duration // from slot to slot of its slowest deciding check
	Depends []string      // ids of services without which it cannot work
	Line    bool          // its deciding checks judge a unit's own line or network: `lan`, `inet`, `tslcd`
}

// A Unit is what a verdict has to know of one unit.
type Unit struct {
	// Expected: something of this unit is to be heard now: it has a machine that is always on, or its office is open. Of
	// a unit whose desktops are off for the night, silence says nothing.
	Expected bool
}

// A Model says through what the votes pass. The zero Model knows no lines and explains nothing.
type Model struct {
	Home     string // the unit that the collector stands in
	Services map[string]Service
	Units    map[string]Unit
}

// officeHours is the name of the hours in which desktops are on.
const officeHours = "hanh-chinh"

// FromProfile returns the model of a district as it is at now.
func FromProfile(p *profile.Profile, now time.Time) Model {
	m := Model{Services: map[string]Service{}, Units: map[string]Unit{}}
	if c, ok := p.CollectorMachine(now); ok {
		m.Home = c.Unit
	}
	for _, s := range p.ServicesAt(now) {
		m.Services[s.ID] = serviceOf(&s)
	}
	machines := p.MachinesAt(now)
	for _, u := range p.UnitsAt(now) {
		always := slices.ContainsFunc(machines, func(c profile.Machine) bool { return c.Unit == u.ID && c.Role != profile.RoleWorkstation })
		open := len(p.ServiceHours(officeHours, u.ID, now, now.Add(time.Second))) > 0
		m.Units[u.ID] = Unit{Expected: always || open}
	}
	return m
}

func serviceOf(s *profile.Service) Service {
	out := Service{Depends: s.Depends}
	for i, c := range s.Checks {
		if !c.Decides && (i > 0 || slices.ContainsFunc(s.Checks, func(c profile.ServiceCheck) bool { return c.Decides })) {
			continue
		}
		out.Every = max(out.Every, c.Every)
		switch c.Kind {
		case "gateway", "uplink", "path", "line", "captive", "neighbours", "throughput":
			out.Line = true
		}
	}
	return out
}

// dependsOn reports whether a service needs another one, be it over several steps.
func (m Model) dependsOn(service, on string) bool {
	seen := map[string]bool{service: true}
	for next := []string{service}; len(next) > 0; {
		var deeper []string
		for _, id := range next {
			for _, d := range m.Services[id].Depends {
				if d == on {
					return true
				}
				if !seen[d] {
					seen[d] = true
					deeper = append(deeper, d)
				}
			}
		}
		next = deeper
	}
	return false
}
