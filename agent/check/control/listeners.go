package control

import (
	"net/netip"
	"slices"

	"egovmon/agent/check"
)

// A listener is one port that waits for others.
type listener struct {
	address netip.Addr
	port    uint16
	udp     bool
}

// listeners are the ports that listen, and from which port on the system hands out ports to programs that ask for any.
type listeners struct {
	all       []listener
	ephemeral uint16
}

// judgeListeners asks that what listens on addresses other than loopback is allowed. A UDP port of the stretch that the
// system hands out is the sending end of a question, not an offer, and does not count.
func judgeListeners(v listeners, l *limits) *check.Result {
	type open struct {
		port uint16
		udp  bool
	}
	seen := map[open]bool{}
	var unexpected []uint16
	for _, a := range v.all {
		p := open{a.port, a.udp}
		if a.address.Unmap().IsLoopback() || seen[p] || a.udp && v.ephemeral > 0 && a.port >= v.ephemeral && !l.allows(a) {
			continue
		}
		seen[p] = true
		if !l.allows(a) {
			unexpected = append(unexpected, a.port)
		}
	}
	r := because(check.OK, "%d ports listen, all allowed", len(seen))
	if len(unexpected) > 0 {
		r = because(check.ControlFail, "%d of %d listening ports are not allowed", len(unexpected), len(seen))
	}
	r.Facts.Add("listening_count", float64(len(seen)))
	r.Facts.Add("unexpected_count", float64(len(unexpected)))
	if len(unexpected) > 0 {
		r.Facts.Add("unexpected_port_code", float64(slices.Min(unexpected)))
	}
	return r
}

func (l *limits) allows(a listener) bool {
	return slices.ContainsFunc(l.ports, func(p ports) bool {
		return p.from <= a.port && a.port <= p.to && (a.udp && p.udp || !a.udp && p.tcp)
	})
}
