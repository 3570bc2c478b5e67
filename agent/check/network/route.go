package network

import (
	"cmp"
	"net/netip"
	"slices"

	"egovmon/agent/check"
)

// A route is a default route of this machine.
type route struct {
	gateway netip.Addr // the zero Addr when the route names none, as on a point-to-point line
	iface   string
	metric  uint64 // the lower one wins
}

// maxRoutes are read; a router's full table is not a desk's.
const maxRoutes = 4096

// choose returns the default route that a check of the line uses: of the interface that holds the line's address if it
// has one, there the one whose gateway stands in the same network, then IPv4 before IPv6, then by metric.
func choose(routes []route, l line, on map[string][]netip.Prefix) (route, bool) {
	var fit []route
	for _, r := range routes {
		v6 := r.gateway.IsValid() && !r.gateway.Is4()
		if l.family == ip4 && v6 || l.family == ip6 && !v6 {
			continue
		}
		if l.source.IsValid() && (r.gateway.IsValid() && v6 == l.source.Is4() || !holds(on[r.iface], l.source)) {
			continue
		}
		fit = append(fit, r)
	}
	rank := func(r route) int {
		switch {
		case l.source.IsValid() && sameNetwork(on[r.iface], l.source, r.gateway):
			return 0
		case r.gateway.Is4() || !r.gateway.IsValid():
			return 1
		default:
			return 2
		}
	}
	check.Order(fit, func(a, b route) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.metric, b.metric))
	})
	if len(fit) == 0 {
		return route{}, false
	}
	return fit[0], true
}

func holds(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
}

func sameNetwork(prefixes []netip.Prefix, source, gateway netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool {
		return p.Addr() == source && p.Contains(gateway.WithZone(""))
	})
}
