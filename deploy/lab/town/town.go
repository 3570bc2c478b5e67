package town

import (
	"fmt"
	"net/netip"
	"slices"
)

// Most is how many communes a town can have.
const Most = 24

// Prefix begins the name of every network namespace of a lab.
const Prefix = "egl-"

// DefaultRange is where a town's addresses come from. They exist in its own namespaces only.
var DefaultRange = netip.MustParsePrefix("10.213.0.0/16")

// The sites that every town has. Each is a network namespace, named by Prefix and this word.
const (
	National   = "qg" // the national service zone
	Province   = "ti" // the provincial service zone
	Carrier1   = "c1"
	Carrier2   = "c2"
	Dedicated  = "ts" // the dedicated government data network (TSLCD)
	District   = "h"  // the district's server room, where the collector is
	DistrictGW = "hg" // and its gateway
)

// The names of a gateway's interfaces. Elsewhere an interface is named after the site at the other end.
const (
	LAN      = "lan"
	Internet = "inet"
	TSLCD    = "tslcd"
)

// A Commune is one commune of the town.
type Commune struct {
	PC      string     // site of its machine, e.g. x01
	Gateway string     // site of its gateway, e.g. g01
	Carrier string     // Carrier1 or Carrier2: who runs its Internet line
	Addr    netip.Addr // of the PC
	Router  netip.Addr // of the gateway within the LAN
	Printer netip.Addr // of the printer, which the gateway's switch stands for
}

// A Town is the plan. It is made by New and never edited.
type Town struct {
	Range    netip.Prefix // a /16
	Communes []Commune
	Sites    []string // every site, in the order in which they are made
	Links    []Link

	routes map[string][]route
	addrs  map[string][]local // besides those of the links
}

// A Link is a cable between two interfaces.
type Link struct{ A, B End }

// An End is one end of a link.
type End struct {
	Site, Iface string
	Addr        netip.Prefix
}

// Other returns the end that is not at the site, and whether the link touches the site at all.
func (l Link) Other(site string) (End, bool) {
	switch site {
	case l.A.Site:
		return l.B, true
	case l.B.Site:
		return l.A, true
	}
	return End{}, false
}

type route struct {
	to     netip.Prefix
	via    netip.Addr
	metric int
}

type local struct {
	iface string
	addr  netip.Prefix
}

// Netns is the name of a site's network namespace.
func Netns(site string) string { return Prefix + site }

// New plans a town of n communes in a range of addresses, which must be a private /16.
func New(n int, from netip.Prefix) (*Town, error) {
	if n < 1 || n > Most {
		return nil, fmt.Errorf("%d communes: a lab has from 1 to %d", n, Most)
	}
	if !from.IsValid() || !from.Addr().Is4() || from.Bits() != 16 || !from.Addr().IsPrivate() || from != from.Masked() {
		return nil, fmt.Errorf("range %s: want a private IPv4 network of 16 bits such as %s", from, DefaultRange)
	}
	t := &Town{Range: from, routes: map[string][]route{}, addrs: map[string][]local{},
		Sites: []string{Carrier1, Carrier2, Dedicated, National, Province, DistrictGW, District}}
	for _, l := range [][2]string{{Carrier1, Carrier2}, {Carrier1, National}, {Carrier2, National}, {Carrier1, Province}, {Carrier2, Province}, {Carrier1, Dedicated}, {Carrier2, Dedicated}, {Dedicated, Province}} {
		t.join(End{Site: l[0], Iface: l[1]}, End{Site: l[1], Iface: l[0]})
	}
	t.site(DistrictGW, District, Carrier1, t.net(240))
	t.addrs[DistrictGW] = append(t.addrs[DistrictGW], local{LAN, netip.PrefixFrom(t.DistrictPrinter(), 24)})
	for i := range n {
		c := Commune{PC: fmt.Sprintf("x%02d", i+1), Gateway: fmt.Sprintf("g%02d", i+1), Carrier: Carrier1}
		if i%2 == 1 {
			c.Carrier = Carrier2
		}
		lan := t.net(i + 1)
		c.Router, c.Addr, c.Printer = host(lan, 1), host(lan, 10), host(lan, 20)
		t.Sites = append(t.Sites, c.Gateway, c.PC)
		t.site(c.Gateway, c.PC, c.Carrier, lan)
		t.addrs[c.Gateway] = append(t.addrs[c.Gateway], local{LAN, netip.PrefixFrom(c.Printer, 24)})
		t.Communes = append(t.Communes, c)
	}
	for _, z := range []string{National, Province} {
		for i := range 30 {
			t.addrs[z] = append(t.addrs[z], local{"lo", netip.PrefixFrom(t.zone(z, i+1), 32)})
		}
	}
	for i := range 3 {
		t.addrs[Province] = append(t.addrs[Province], local{"lo", netip.PrefixFrom(t.DedicatedAddr(i+1), 32)})
	}
	t.core()
	return t, nil
}

// net is one of the range's networks of 24 bits.
func (t *Town) net(third int) netip.Prefix {
	a := t.Range.Addr().As4()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a[0], a[1], byte(third), 0}), 24)
}

func host(n netip.Prefix, last int) netip.Addr {
	a := n.Addr().As4()
	a[3] = byte(last)
	return netip.AddrFrom4(a)
}

func (t *Town) zone(site string, n int) netip.Addr {
	third := 250
	if site == Province {
		third = 251
	}
	return host(t.net(third), n)
}

// NationalAddr is the n-th address of the national zone, from 1 to 30.
func (t *Town) NationalAddr(n int) netip.Addr { return t.zone(National, n) }

// ProvinceAddr is the n-th address of the provincial zone, from 1 to 30.
func (t *Town) ProvinceAddr(n int) netip.Addr { return t.zone(Province, n) }

// DedicatedAddr is the n-th address that only the dedicated network reaches, from 1 to 3.
func (t *Town) DedicatedAddr(n int) netip.Addr { return host(t.net(248), n) }

// CollectorAddr is the collector's address in the district's server room.
func (t *Town) CollectorAddr() netip.Addr { return host(t.net(240), 10) }

// DistrictPrinter is the address of the printer there.
func (t *Town) DistrictPrinter() netip.Addr { return host(t.net(240), 20) }

// DistrictRouter is the gateway's address there.
func (t *Town) DistrictRouter() netip.Addr { return host(t.net(240), 1) }

// join lays a cable and gives both ends an address out of the links' network.
func (t *Town) join(a, b End) {
	n := 2 * len(t.Links)
	base := t.net(252 + n/256)
	if !a.Addr.IsValid() {
		a.Addr, b.Addr = netip.PrefixFrom(host(base, n%256), 31), netip.PrefixFrom(host(base, n%256+1), 31)
	}
	t.Links = append(t.Links, Link{a, b})
}

// site plans an office: a gateway with a machine behind it, an Internet line and one of the dedicated network.
func (t *Town) site(gw, pc, carrier string, lan netip.Prefix) {
	t.join(End{gw, LAN, netip.PrefixFrom(host(lan, 1), 24)}, End{pc, LAN, netip.PrefixFrom(host(lan, 10), 24)})
	t.join(End{Site: gw, Iface: Internet}, End{Site: carrier, Iface: gw})
	t.join(End{Site: gw, Iface: TSLCD}, End{Site: Dedicated, Iface: gw})
	all := netip.MustParsePrefix("0.0.0.0/0")
	t.route(pc, all, host(lan, 1), 0)
	t.route(gw, all, t.At(carrier, gw), 20)
	for _, to := range []int{240, 248} {
		if t.net(to) == lan {
			continue
		}
		t.route(gw, t.net(to), t.At(Dedicated, gw), 10)
	}
	if gw == DistrictGW {
		for i := range Most {
			t.route(gw, t.net(i+1), t.At(Dedicated, gw), 10)
		}
	}
	t.route(carrier, lan, t.At(gw, Internet), 10)
	t.route(other(carrier), lan, t.At(carrier, other(carrier)), 10)
	t.route(Dedicated, lan, t.At(gw, TSLCD), 10)
	t.route(Dedicated, lan, t.At(carrier, Dedicated), 20) // while its line is cut
}

func other(carrier string) string {
	if carrier == Carrier1 {
		return Carrier2
	}
	return Carrier1
}

// core plans the routes between the carriers and the zones.
func (t *Town) core() {
	all := netip.MustParsePrefix("0.0.0.0/0")
	for _, c := range []string{Carrier1, Carrier2} {
		t.route(c, t.net(250), t.At(National, c), 10)
		t.route(c, t.net(251), t.At(Province, c), 10)
		t.route(c, t.net(250), t.At(other(c), c), 20)
		t.route(c, t.net(251), t.At(other(c), c), 20)
	}
	for _, z := range []string{National, Province} {
		t.route(z, all, t.At(Carrier1, z), 10)
		t.route(z, all, t.At(Carrier2, z), 20)
	}
	t.route(Dedicated, t.net(248), t.At(Province, Dedicated), 10)
	// What comes over the dedicated network goes back over it.
	t.rules(Province, t.net(248), t.At(Dedicated, Province))
}

// rules is a policy of a site: what leaves with a source in from goes by via.
func (t *Town) rules(site string, from netip.Prefix, via netip.Addr) {
	t.routes[site] = append(t.routes[site], route{to: from, via: via, metric: -1})
}

func (t *Town) route(site string, to netip.Prefix, via netip.Addr, metric int) {
	t.routes[site] = append(t.routes[site], route{to, via, metric})
}

// OverDedicated lists the networks that a gateway reaches over the dedicated network.
func (t *Town) OverDedicated(gw string) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range t.routes[gw] {
		if r.metric == 10 {
			out = append(out, r.to)
		}
	}
	return out
}

// At is the address of a site's interface, the zero Addr without one.
func (t *Town) At(site, iface string) netip.Addr {
	for _, l := range t.Links {
		for _, e := range []End{l.A, l.B} {
			if e.Site == site && e.Iface == iface {
				return e.Addr.Addr()
			}
		}
	}
	return netip.Addr{}
}

// Uses lists the ends of the links that a site has.
func (t *Town) Uses(site string) []End {
	var out []End
	for _, l := range t.Links {
		for _, e := range []End{l.A, l.B} {
			if e.Site == site {
				out = append(out, e)
			}
		}
	}
	return out
}

// Routers lists the sites that pass on what is for others.
func (t *Town) Routers() []string {
	out := []string{Carrier1, Carrier2, Dedicated, Province, DistrictGW}
	for _, c := range t.Communes {
		out = append(out, c.Gateway)
	}
	return slices.Clip(out)
}

// Clash names the first address in taken that lies in the range, the zero Prefix when there is none.
func (t *Town) Clash(taken []netip.Prefix) netip.Prefix {
	for _, p := range taken {
		if p.Bits() > 0 && p.Overlaps(t.Range) && (p.Bits() >= 9) {
			return p
		}
	}
	return netip.Prefix{}
}
