package verdict

import (
	"maps"
	"slices"
	"time"

	"egovmon/agent/plan"
	"egovmon/collector/profile"
)

// A Service is what a verdict has to know of one service.
type Service struct {
	Every   time.Duration // from slot to slot of its slowest deciding check
	Depends []string      // ids of services without which it cannot work
	Line    bool          // its deciding checks judge a unit's own line or network: `lan`, `inet`, `tslcd`

	// What its votes pass through. All of it may be empty: then less can be told apart.
	Path     plan.Path // the line that they go over
	Local    bool      // they stay on the machine
	Web      bool      // they speak HTTP
	TLS      bool      // the other side shows a certificate
	PerUnit  bool      // each unit has a target of its own
	Operator string    // who runs it
	Resolver string    // the service that judges what resolves its names
	Host     string    // the host that is asked
	Zone     string    // the zone of that host

	// Learned from the facts of results, see Learn.
	Address   string
	Addresses map[string]string // by unit, where each has a target of its own
	Issuer    string
	Networks  []string
}

// A Unit is what a verdict has to know of one unit.
type Unit struct {
	// Expected: something of this unit is to be heard now: it has a machine that is always on, or its office is open. Of
	// a unit whose desktops are off for the night, silence says nothing.
	Expected bool

	Machines  []string             // those that measure
	Carriers  map[plan.Path]string // who runs its lines
	Resolvers map[string]string    // its resolvers, by the service that judges them
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
	machines := p.MachinesAt(now)
	f := filler{p: p, now: now}
	for _, u := range p.UnitsAt(now) {
		f.units = append(f.units, u.ID)
	}
	for _, s := range p.ServicesAt(now) {
		m.Services[s.ID] = f.service(&s)
	}
	resolver := f.resolver()
	for id, s := range m.Services {
		if s.Resolver = ""; s.Host != "" || s.Zone != "" {
			s.Resolver = resolver
		}
		m.Services[id] = s
	}
	for _, id := range f.units {
		always := slices.ContainsFunc(machines, func(c profile.Machine) bool { return c.Unit == id && !c.OnAtWork() })
		open := len(p.ServiceHours(officeHours, id, now, now.Add(time.Second))) > 0
		u := Unit{Expected: always || open, Carriers: map[plan.Path]string{}, Resolvers: map[string]string{}}
		for _, c := range machines {
			if c.Unit == id {
				u.Machines = append(u.Machines, c.ID)
			}
		}
		for _, l := range p.Lines {
			if l.Unit == id && l.Carrier != "" && l.Valid.CoversTime(now) && u.Carriers[l.Path] == "" {
				u.Carriers[l.Path] = l.Carrier
			}
		}
		if resolver != "" {
			u.Resolvers[resolver] = f.server(resolver, id)
		}
		m.Units[id] = u
	}
	return m
}

// A Learned is what a result told of the way to a service, beyond what the profile says.
type Learned struct {
	Service, Unit string
	Address       string   // that answered; "" when it is not known
	Issuer        string   // of the certificate that it showed; likewise
	Networks      []string // on the way, from the unit on; nil when they are not known
}

// Learn adds to the model what results told: what more than half of those that know it agree on, and of a service that is
// another one for each unit the address of each. It changes nothing of m, and is the same for any order of the list.
func (m Model) Learn(list []Learned) Model {
	type told struct {
		address, issuer, networks map[string]int
		ways                      int
		units                     map[string]map[string]int // addresses, by unit
	}
	by := map[string]*told{}
	for _, l := range list {
		t := by[l.Service]
		if t == nil {
			t = &told{address: map[string]int{}, issuer: map[string]int{}, networks: map[string]int{}, units: map[string]map[string]int{}}
			by[l.Service] = t
		}
		if l.Address != "" {
			t.address[l.Address]++
			if t.units[l.Unit] == nil {
				t.units[l.Unit] = map[string]int{}
			}
			t.units[l.Unit][l.Address]++
		}
		if l.Issuer != "" {
			t.issuer[l.Issuer]++
		}
		if len(l.Networks) > 0 {
			t.ways++
		}
		for i, n := range l.Networks {
			if !slices.Contains(l.Networks[:i], n) {
				t.networks[n]++
			}
		}
	}
	services := maps.Clone(m.Services)
	for id, t := range by {
		s, ok := services[id]
		if !ok {
			continue
		}
		s.Address, s.Addresses, s.Issuer, s.Networks = agreed(t.address), nil, agreed(t.issuer), nil
		if s.PerUnit {
			s.Address, s.Addresses = "", map[string]string{}
			for unit, counts := range t.units {
				if a := agreed(counts); a != "" {
					s.Addresses[unit] = a
				}
			}
		}
		for _, n := range slices.Sorted(maps.Keys(t.networks)) {
			if 2*t.networks[n] > t.ways {
				s.Networks = append(s.Networks, n)
			}
		}
		services[id] = s
	}
	m.Services = services
	return m
}

// agreed returns what more than half of all name; "" when nothing is.
func agreed(counts map[string]int) string {
	all := 0
	for _, n := range counts {
		all += n
	}
	for v, n := range counts {
		if 2*n > all {
			return v
		}
	}
	return ""
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
