package dns

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// judge says what is wrong with the zone, the worst first; nil for nothing.
func (c *zoneCheck) judge(v *view) *reach.Fault {
	if v.fault != nil {
		return v.fault
	}
	c.remember(v)
	for _, f := range []*reach.Fault{c.dead(v), c.strangers(v), c.unproven(v), c.lame(v), c.inconsistent(v), c.incomplete(v),
		c.prover.shortcomings(v.proof), c.changedOf(), c.tooSlow(v)} {
		if f != nil {
			return f
		}
	}
	return nil
}

// dead says why nobody speaks for the zone.
func (c *zoneCheck) dead(v *view) *reach.Fault {
	if len(v.speakers()) > 0 {
		return nil
	}
	if len(v.asked) == 0 && v.unsure {
		return reach.Failf(check.DNSTimeout, "the resolver does not say where the zone's servers are: %s", listed(v.hosts))
	}
	if len(v.asked) == 0 {
		return reach.Failf(check.DNSEmpty, "none of the %d name servers has an address to ask: %s", len(v.hosts), listed(v.hosts))
	}
	lame, silent, noWay := v.sorted()
	if len(lame) > 0 {
		o := lame[0].outcome
		switch o.Reason {
		case check.OK, check.DNSNXDomain: // what it was told by others, or of another zone
			return reach.Failf(check.DNSEmpty, "no server speaks for the zone: %s", lame[0].said())
		}
		return reach.Failf(o.Reason, "no server speaks for the zone: %s", lame[0].said())
	}
	first := slices.Concat(silent, noWay)[0]
	return reach.Failf(first.outcome.Reason, "no server answers: %s", first.said())
}

// said is what was heard at an address, for a person.
func (w witness) said() string {
	what := w.outcome.Detail
	if what == "" {
		what = "the answer is not its own data"
	}
	return fmt.Sprintf("%s (%s): %s", strings.TrimSuffix(w.host, "."), w.address, what)
}

// strangers says that the zone is led elsewhere than the plan has it.
func (c *zoneCheck) strangers(v *view) *reach.Fault {
	if len(c.ns) == 0 {
		return nil
	}
	for _, names := range [][]string{v.above, v.own} {
		if names == nil || slices.Equal(names, c.ns) {
			continue
		}
		if more := without(names, c.ns); len(more) > 0 {
			return reach.Failf(check.DNSMismatch, "the zone is led to %s, which the plan does not name", listed(more))
		}
		return reach.Failf(check.DNSMismatch, "the zone is not led to %s", listed(without(c.ns, names)))
	}
	return nil
}

// without returns what is in a and not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// unproven says what DNSSEC takes from the zone: all of it, or some servers.
func (c *zoneCheck) unproven(v *view) *reach.Fault {
	speakers := v.speakers()
	first, bad := -1, 0
	for i, f := range v.proven {
		if f == nil {
			continue
		}
		if bad++; first < 0 {
			first = i
		}
	}
	switch {
	case first < 0:
		return nil
	case bad < len(v.proven):
		return reach.Failf(check.DNSInconsistent, "%d of %d servers have data that do not verify: %s (%s): %s", bad, len(speakers),
			strings.TrimSuffix(speakers[first].host, "."), speakers[first].address, v.proven[first].Detail)
	}
	return v.proven[first]
}

func (c *zoneCheck) lame(v *view) *reach.Fault {
	lame, _, _ := v.sorted()
	switch {
	case len(lame) > 0:
		return reach.Failf(check.DNSLame, "%d of %d servers do not speak for the zone: %s", len(lame), len(v.asked), lame[0].said())
	case len(v.unknown) > 0 && c.family == familyAny && !v.unsure:
		return reach.Failf(check.DNSLame, "%d of %d name servers have no address: %s", len(v.unknown), len(v.hosts), listed(v.unknown))
	}
	return nil
}

// inconsistent says what the servers and the zone above do not agree in.
func (c *zoneCheck) inconsistent(v *view) *reach.Fault {
	if v.above != nil && !slices.Equal(v.above, v.own) {
		if more := without(v.above, v.own); len(more) > 0 {
			return reach.Failf(check.DNSInconsistent, "the zone above names %s, which the zone does not", listed(more))
		}
		return reach.Failf(check.DNSInconsistent, "the zone names %s, which the zone above does not", listed(without(v.own, v.above)))
	}
	if c.apart.IsZero() {
		return nil
	}
	if now := c.prover.now(); now.Sub(c.apart) >= c.grace {
		newest, spread := serials(v.speakers())
		return reach.Failf(check.DNSInconsistent, "serials from %d to %d since %s", newest-spread, newest, c.apart.UTC().Format(time.RFC3339))
	}
	return nil
}

// incomplete says which servers do not answer, or were too many to be asked.
func (c *zoneCheck) incomplete(v *view) *reach.Fault {
	_, silent, _ := v.sorted()
	switch {
	case len(silent) > 0:
		return reach.Failf(check.Partial, "%d of %d servers do not answer: %s", len(silent), len(v.asked), silent[0].said())
	case v.named() > len(v.hosts):
		return reach.Failf(check.Partial, "the zone has %d name servers, of which %d were asked", v.named(), len(v.hosts))
	}
	return nil
}

// named is how many name servers there are.
func (v *view) named() int {
	return len(v.own) + len(without(v.above, v.own))
}

// remember compares the run with the one before.
func (c *zoneCheck) remember(v *view) {
	now := c.prover.now()
	if _, spread := serials(v.speakers()); spread == 0 {
		c.apart = time.Time{}
	} else if c.apart.IsZero() {
		c.apart = now
	}
	d := delegation{v.code(), v.ttl, v.aboveTTL}
	if v.unsure && c.before.code != 0 {
		d.code = c.before.code // not seen is not changed
	}
	if v.ttl == 0 {
		d.ttl = c.before.ttl
	}
	if v.above == nil {
		d.above = c.before.above
	}
	if len(v.speakers()) == 0 {
		return
	}
	was := c.before
	c.before = d
	switch {
	case was == delegation{} || was == d:
	case was.code != d.code:
		c.change = fluctuation{now, "the zone's servers or their addresses are others than before: " + listed(v.own)}
	case was.above != d.above && was.above != 0:
		c.change = fluctuation{now, fmt.Sprintf("the delegation's TTL was %d s and is %d s", was.above, d.above)}
	case was.ttl != d.ttl && was.ttl != 0:
		c.change = fluctuation{now, fmt.Sprintf("the TTL of the zone's servers was %d s and is %d s", was.ttl, d.ttl)}
	}
}

func (c *zoneCheck) changedOf() *reach.Fault {
	if c.change.at.IsZero() || c.prover.now().Sub(c.change.at) >= c.changed {
		return nil
	}
	return reach.Failf(check.ContentChanged, "%s (seen %s)", c.change.what, c.change.at.UTC().Format(time.RFC3339))
}

func (c *zoneCheck) tooSlow(v *view) *reach.Fault {
	if c.slow == 0 {
		return nil
	}
	for _, w := range v.speakers() {
		if w.outcome.Took > c.slow {
			return reach.Failf(check.Slow, "%s (%s) answered in %s, limit %s", strings.TrimSuffix(w.host, "."), w.address, w.outcome.Took.Round(time.Microsecond), c.slow)
		}
	}
	return nil
}

func (v *view) facts(fs *check.Facts) {
	fs.Add("questions_count", float64(v.questions))
	if v.fault != nil {
		return
	}
	lame, silent, noWay := v.sorted()
	speakers := v.speakers()
	fs.Add("ns_count", float64(min(v.named(), 1000)))
	fs.Add("ns_unknown_count", float64(len(v.unknown)))
	fs.Add("addresses_count", float64(len(v.asked)))
	fs.Add("addresses_ok_count", float64(len(speakers)))
	fs.Add("lame_count", float64(len(lame)))
	fs.Add("silent_count", float64(len(silent)))
	fs.Add("no_way_count", float64(len(noWay)))
	if !v.unsure {
		fs.Add("delegation_code", float64(v.code()))
	}
	if v.aboveTTL != 0 {
		fs.Add("delegation_ttl_s", float64(v.aboveTTL))
	}
	if len(speakers) == 0 {
		return
	}
	newest, spread := serials(speakers)
	fs.Add("soa_serial", float64(newest))
	fs.Add("serial_spread_count", float64(spread))
	if v.ttl != 0 {
		fs.Add("ns_ttl_s", float64(v.ttl))
	}
	slowest := time.Duration(0)
	for _, w := range speakers {
		slowest = max(slowest, w.outcome.Took)
	}
	fs.Add("rtt_max_s", slowest.Seconds())
}
