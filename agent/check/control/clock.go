package control

import (
	"math"
	"strings"
	"time"

	"egovmon/agent/check"
)

// A clock is how this machine keeps its time.
type clock struct {
	synchronised bool      // the clock follows a source
	known        bool      // synchronised could be told
	services     []string  // services that set the clock and run
	hidden       bool      // which services run could not be told
	off          bool      // the service is switched off, or told to follow nobody
	offset       *float64  // seconds that the clock is ahead of its source; nil when unknown
	maxError     *float64  // the most seconds that it may be wrong; nil when unknown
	last         time.Time // when it was last set by its source; zero when unknown
}

// A kernelClock is what the kernel says of the clock (adjtimex(2)).
type kernelClock struct {
	synchronised     bool
	offset, maxError float64 // seconds
}

// judgeClock asks that the clock follows a source and is near it.
func judgeClock(c clock, l *limits, now time.Time) *check.Result {
	limit := l.maxOffset.Seconds()
	by := "by " + strings.Join(c.services, ", ")
	if len(c.services) == 0 {
		by = "by another service than those known here"
	}
	var r *check.Result
	switch {
	case c.off:
		r = because(check.ControlFail, "the time service is switched off")
	case !c.known:
		r = because(check.NotSupported, "whether the clock is synchronised is not told by this system")
	case c.synchronised && c.offset != nil && math.Abs(*c.offset) > limit:
		r = because(check.ControlPartial, "synchronised %s, but %.3g s off; at most %.3g are allowed", by, *c.offset, limit)
	case c.synchronised && !c.last.IsZero() && now.Sub(c.last) > l.maxAge:
		r = because(check.ControlPartial, "last set %d days ago %s; at most %d are allowed", days(now.Sub(c.last)), by, days(l.maxAge))
	case c.synchronised:
		r = because(check.OK, "synchronised %s", by)
	case len(c.services) > 0:
		r = because(check.ControlPartial, "not synchronised, although a service for it runs (%s)", by)
	default:
		r = because(check.ControlFail, "not synchronised, and no service for it is seen running")
	}
	if c.known {
		r.Facts.Add("synchronised_code", yes01(c.synchronised))
	}
	if c.offset != nil {
		r.Facts.Add("offset_s", max(-1e9, min(1e9, *c.offset)))
	}
	if c.maxError != nil {
		r.Facts.Add("max_error_s", max(0, min(1e9, *c.maxError)))
	}
	if !c.hidden {
		r.Facts.Add("time_services_count", float64(len(c.services)))
	}
	addAge(&r.Facts, "age_s", c.last, now)
	return r
}
