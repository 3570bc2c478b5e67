package verdict

import (
	"maps"
	"slices"
	"strings"

	"egovmon/agent/plan"
)

// risks says through what each vote passes: parts of the unit, and parts of the service.
type risks struct {
	list    []Component
	ids     map[Component]int32
	units   map[string]*unitRisks
	service map[string]*serviceRisks
}

// ways is how many ways there are from a unit: by path, to the web or to something else, and staying on the machine.
const (
	lanWay = iota
	lanWebWay
	internetWay
	internetWebWay
	tslcdWay
	tslcdWebWay
	ownWay
	ways
)

type unitRisks struct {
	way       [ways][]int32
	machine   int32
	resolvers map[string]int32 // by the service that judges them
}

type serviceRisks struct {
	way      int
	core     []int32 // a success contradicts these
	explains []int32 // the services that it depends on: they may explain a failure, and a success says nothing of them
	perUnit  bool
	backends map[*unitRisks]int32 // where each unit has a target of its own: the address of it, if several share that
	resolver string
	names    bool // its targets are names, for somebody to resolve
}

// newRisks works the model out for the units and services that vote.
func newRisks(m Model) *risks {
	r := &risks{ids: map[Component]int32{}, units: map[string]*unitRisks{}, service: map[string]*serviceRisks{}}
	judges := m.lineServices()
	shared := m.sharedParts()
	services, units := slices.Sorted(maps.Keys(m.Services)), slices.Sorted(maps.Keys(m.Units)) // equal costs are decided alike
	for _, id := range services {
		r.addService(m, id, m.Services[id], shared)
	}
	lines := map[Component]int{} // carriers, by how many units they serve
	for _, u := range m.Units {
		for path, c := range u.Carriers {
			lines[Component{Kind: OfCarrier, Service: judges[path], Name: c}]++
		}
	}
	for _, id := range units {
		r.addUnit(id, m.Units[id], judges, lines)
	}
	for _, id := range services {
		r.addBackends(id, m.Services[id], shared)
	}
	return r
}

func (r *risks) id(c Component) int32 {
	if i, ok := r.ids[c]; ok {
		return i
	}
	i := int32(len(r.list))
	r.list, r.ids[c] = append(r.list, c), i
	return i
}

// lineServices lists the services that judge a unit's own lines, by path: of several, the one that needs no other.
func (m Model) lineServices() map[plan.Path]string {
	out := map[plan.Path]string{}
	for id, s := range m.Services {
		if old, ok := out[s.Path]; s.Line && s.Path != "" && (!ok || id < old) {
			out[s.Path] = id
		}
	}
	return out
}

// sharedParts counts the services that share a host, an address, an issuer or a network.
func (m Model) sharedParts() map[Component]int {
	out := map[Component]int{}
	for _, s := range m.Services {
		for _, c := range s.parts() {
			out[c]++
		}
		for _, a := range s.Addresses {
			out[Component{Kind: OfBackend, Name: a}]++
		}
	}
	return out
}

// parts lists what other services may share with this one.
func (s *Service) parts() (out []Component) {
	put := func(k Kind, name string) {
		if name != "" {
			out = append(out, Component{Kind: k, Name: name})
		}
	}
	put(OfPlatform, s.Host)
	put(OfBackend, s.Address)
	put(OfAuthority, s.Issuer)
	for _, n := range s.Networks {
		put(OfNetwork, n)
	}
	return out
}

func (r *risks) addService(m Model, id string, s Service, shared map[Component]int) {
	out := &serviceRisks{perUnit: s.PerUnit, resolver: s.Resolver, names: s.Zone != "" || s.Host != ""}
	out.core = append(out.core, r.id(Component{Kind: OfService, Service: id}))
	if s.TLS {
		out.core = append(out.core, r.id(Component{Kind: OfCertificate, Service: id}))
	}
	if s.Zone != "" {
		out.core = append(out.core, r.id(Component{Kind: OfZone, Name: s.Zone}))
	}
	for _, c := range s.parts() {
		if shared[c] > 1 {
			out.core = append(out.core, r.id(c))
		}
	}
	for _, d := range m.needs(id) {
		if !m.Services[d].Line {
			out.explains = append(out.explains, r.id(Component{Kind: OfService, Service: d}))
		}
	}
	switch web := s.Web && !s.Line; {
	case s.Local:
		out.way = ownWay
	case s.Path == plan.TSLCD && web:
		out.way = tslcdWebWay
	case s.Path == plan.TSLCD:
		out.way = tslcdWay
	case s.Path == plan.LAN && web:
		out.way = lanWebWay
	case s.Path == plan.LAN:
		out.way = lanWay
	case web:
		out.way = internetWebWay
	default:
		out.way = internetWay
	}
	r.service[id] = out
}

// addBackends adds the addresses behind the targets that units have for themselves. The units must be there.
func (r *risks) addBackends(id string, s Service, shared map[Component]int) {
	for _, unit := range slices.Sorted(maps.Keys(s.Addresses)) {
		a := s.Addresses[unit]
		c, u := Component{Kind: OfBackend, Name: a}, r.units[unit]
		if u == nil || shared[c] < 2 {
			continue
		}
		out := r.service[id]
		if out.backends == nil {
			out.backends = map[*unitRisks]int32{}
		}
		out.backends[u] = r.id(c)
	}
}

// needs lists the services without which one cannot work, over several steps, but not itself.
func (m Model) needs(id string) []string {
	seen := map[string]bool{id: true}
	var out []string
	for next := []string{id}; len(next) > 0; {
		s := next[0]
		next = next[1:]
		for _, d := range m.Services[s].Depends {
			if !seen[d] {
				seen[d] = true
				out, next = append(out, d), append(next, d)
			}
		}
	}
	return out
}

func (r *risks) addUnit(id string, u Unit, judges map[plan.Path]string, lines map[Component]int) {
	out := &unitRisks{machine: r.id(Component{Kind: OfMachine, Unit: id, Name: strings.Join(u.Machines, " ")}), resolvers: map[string]int32{}}
	lan := r.id(Component{Kind: OfLAN, Service: judges[plan.LAN], Unit: id})
	access := r.id(Component{Kind: OfAccess, Unit: id})
	way := func(path plan.Path) []int32 {
		list := []int32{out.machine, lan, r.id(Component{Kind: OfLine, Service: judges[path], Unit: id})}
		if c := (Component{Kind: OfCarrier, Service: judges[path], Name: u.Carriers[path]}); c.Name != "" && lines[c] > 1 {
			list = append(list, r.id(c))
		}
		return list
	}
	out.way[ownWay] = []int32{out.machine}
	out.way[lanWay] = []int32{out.machine, lan}
	out.way[lanWebWay] = out.way[lanWay]
	out.way[internetWay] = way(plan.Internet)
	out.way[tslcdWay] = way(plan.TSLCD)
	out.way[internetWebWay] = append(slices.Clone(out.way[internetWay]), access)
	out.way[tslcdWebWay] = append(slices.Clone(out.way[tslcdWay]), access)
	for _, service := range slices.Sorted(maps.Keys(u.Resolvers)) {
		out.resolvers[service] = r.id(Component{Kind: OfResolver, Service: service, Name: u.Resolvers[service]})
	}
	r.units[id] = out
}

// each calls f for every component that the vote of a unit on a service passes through, first those that a success
// contradicts.
func (r *risks) each(u *unitRisks, s *serviceRisks, site int32, f func(c int32, core bool)) {
	for _, c := range u.way[s.way] {
		f(c, true)
	}
	for _, c := range s.core {
		f(c, true)
	}
	if site >= 0 {
		f(site, true)
	}
	if c, ok := s.backends[u]; ok {
		f(c, true)
	}
	if s.resolver != "" {
		if c, ok := u.resolvers[s.resolver]; ok {
			f(c, true)
		}
	}
	for _, c := range s.explains {
		f(c, false)
	}
}
