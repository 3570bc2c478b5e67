package intake

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// maxSources is how many addresses are told apart that have tried to enrol of late. It takes about 200 bytes each.
const maxSources = 4096

// An enrolling bounds how often machines may try to enrol: all together, and those of one address, so that one which
// guesses tokens, or is out of order, keeps nobody else from it. Its fields are guarded by Server.mu.
type enrolling struct {
	all     *rate.Limiter
	ofOne   int // each minute
	sources map[netip.Prefix]*rate.Limiter
	// others are all addresses that there was no room for: those of an attack that has very many.
	others *rate.Limiter
}

func newEnrolling(l Limits) enrolling {
	return enrolling{
		all: perMinute(l.Enrolments, l.Enrolments), ofOne: l.EnrolmentsOfOne,
		sources: map[netip.Prefix]*rate.Limiter{}, others: perMinute(l.EnrolmentsOfOne, l.EnrolmentsOfOne),
	}
}

// allow reports whether a machine at the address may try to enrol now. What an address tries beyond its share is not
// taken from that of all.
func (e *enrolling) allow(addr string, now time.Time) bool {
	return e.of(sourceOf(addr), now).AllowN(now, 1) && e.all.AllowN(now, 1)
}

// of returns the share of a source. When there are too many, those that have all of theirs again are forgotten.
func (e *enrolling) of(source netip.Prefix, now time.Time) *rate.Limiter {
	l := e.sources[source]
	if l != nil {
		return l
	}
	if len(e.sources) >= maxSources {
		for p, l := range e.sources {
			if l.TokensAt(now) >= float64(l.Burst()) {
				delete(e.sources, p)
			}
		}
	}
	if len(e.sources) >= maxSources {
		return e.others
	}
	l = perMinute(e.ofOne, e.ofOne)
	e.sources[source] = l
	return l
}

// sourceOf is what an address counts as: an IPv4 address, or the /64 of an IPv6 one, in which a machine chooses its
// addresses itself (RFC 8981). What is no address counts as one source.
func sourceOf(addr string) netip.Prefix {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := a.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(ip, bits).Masked()
}
