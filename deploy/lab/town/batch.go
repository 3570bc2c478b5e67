package town

import (
	"fmt"
	"strings"
)

// Make returns the batch that makes all namespaces and cables, for `ip -batch -`.
func (t *Town) Make() string {
	var b strings.Builder
	for _, s := range t.Sites {
		fmt.Fprintf(&b, "netns add %s\n", Netns(s))
	}
	for _, l := range t.Links {
		fmt.Fprintf(&b, "link add %s netns %s type veth peer name %s netns %s\n", l.A.Iface, Netns(l.A.Site), l.B.Iface, Netns(l.B.Site))
	}
	return b.String()
}

// Furnish returns the batch that gives a site its addresses and routes, for `ip -n NETNS -batch -`.
func (t *Town) Furnish(site string) string {
	var b strings.Builder
	b.WriteString("link set lo up\n")
	for _, e := range t.Uses(site) {
		fmt.Fprintf(&b, "addr add %s dev %s\nlink set %s up\n", e.Addr, e.Iface, e.Iface)
	}
	for _, a := range t.addrs[site] {
		fmt.Fprintf(&b, "addr add %s dev %s\n", a.addr, a.iface)
	}
	b.WriteString(t.Routes(site))
	return b.String()
}

// table is the routing table of a site's policy.
const table = 100

// Routes returns the batch of a site's routes alone; it may be run again, after an interface was down.
func (t *Town) Routes(site string) string {
	var b strings.Builder
	for _, r := range t.routes[site] {
		switch {
		case r.metric < 0:
			fmt.Fprintf(&b, "route replace default via %s table %d\n", r.via, table)
			fmt.Fprintf(&b, "rule add from %s table %d\n", r.to, table)
		case r.metric == 0:
			fmt.Fprintf(&b, "route replace %s via %s\n", r.to, r.via)
		default:
			fmt.Fprintf(&b, "route replace %s via %s metric %d\n", r.to, r.via, r.metric)
		}
	}
	return b.String()
}

// Sysctls lists what a site's kernel is told, as paths below /proc/sys/net with their values.
func (t *Town) Sysctls(site string) [][2]string {
	out := [][2]string{
		{"ipv6/conf/all/disable_ipv6", "1"},
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/ignore_routes_with_linkdown", "1"},
		{"ipv4/ip_unprivileged_port_start", "0"},
	}
	for _, r := range t.Routers() {
		if r == site {
			out = append(out, [2]string{"ipv4/ip_forward", "1"})
		}
	}
	return out
}

// Unmake returns the batch that takes the namespaces away, and with them all that is in them.
func Unmake(netns []string) string {
	var b strings.Builder
	for _, n := range netns {
		fmt.Fprintf(&b, "netns del %s\n", n)
	}
	return b.String()
}
