package schedule

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// recordStop names the slots that went by since the last record, of the checks of the plan that is applied at begin.
func (s *Scheduler) recordStop(p *plan.Plan, begin time.Time) {
	b := s.o.Before
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range p.Checks {
		if last, ok := b.Slots[c.ID]; ok {
			if slices.Contains(b.Ended, c.ID) {
				last = last.Add(-c.Every) // the slot is run again, if it still is under way
			}
			s.done[c.ID] = []*done{{c.Every, plan.SlotAt(s.o.Machine, c, time.Unix(0, 0)), plan.SlotAt(s.o.Machine, c, last)}}
		}
	}
	if r := waited(p, s.unset, begin); r.Slots > 0 {
		s.stats.Missed[r.Reason] += int64(r.Slots)
		s.ranges = append(s.ranges, r)
	}
	if b.Last.IsZero() || b.Reason == "" {
		return
	}
	for _, r := range stopped(s.o.Machine, p, b, begin) {
		s.stats.Missed[r.Reason] += int64(r.Slots)
		s.ranges = append(s.ranges, r)
	}
}

// stopped returns the ranges of the slots without a record between the last record and begin: those that ran while what
// was recorded is lost, and those that nobody ran. The slot running at begin is not among them: it is run now, unless it
// has a record.
func stopped(machine string, p *plan.Plan, b Before, begin time.Time) (ranges []check.Range) {
	if b.Applied.IsZero() {
		b.Applied = b.Last
	}
	cut := b.LostUntil
	if !cut.After(b.Last) {
		cut = time.Time{}
	} else if cut.After(begin) {
		cut = begin
	}
	for _, part := range []struct {
		reason   check.Reason
		from, to time.Time
	}{{check.DataLost, time.Time{}, cut}, {b.Reason, cut, begin}} {
		from, to, n := begin, begin.Truncate(time.Second), 0
		for _, c := range p.Checks {
			t, until := due(machine, c, b, begin)
			if !part.from.IsZero() {
				t = later(t, plan.NextSlot(machine, c, part.from))
			}
			if part.to.Before(begin) {
				to = part.to.Truncate(time.Second).Add(time.Second)
				until = earlier(until, plan.NextSlot(machine, c, part.to))
			}
			first, k := unnamed(machine, c, b.Ranges, t, until)
			if k > 0 && first.Before(from) {
				from = first
			}
			n += k
		}
		if n > 0 {
			ranges = append(ranges, check.Range{Reason: part.reason, Check: "*", From: from, To: to, Slots: n})
		}
	}
	return ranges
}

// waited returns the range of a time in which the clock was wrong. Either it was behind, and waited for until it was past the
// last record: all of it lies at a time of which something is recorded already, and it is placed right when it is known how
// far the clock is behind. Or it was ahead in the run before, which recorded times that are still to come; what that run
// has recorded of this time all the same speaks before the range.
func waited(p *plan.Plan, since, begin time.Time) check.Range {
	if since.IsZero() {
		return check.Range{}
	}
	r := check.Range{Reason: check.ClockUnset, Check: "*", From: since.Truncate(time.Second), To: begin.Truncate(time.Second)}
	for _, c := range p.Checks {
		r.Slots += int(begin.Sub(since) / c.Every)
	}
	return r
}

// due returns the slots of a check, from and up to, not including, that may have no record at begin.
func due(machine string, c plan.Check, b Before, begin time.Time) (from, until time.Time) {
	from, until = plan.SlotAt(machine, c, b.Applied), plan.SlotAt(machine, c, begin)
	switch last, ok := b.Slots[c.ID]; {
	case !ok:
	case plan.SlotAt(machine, c, last).Equal(last):
		from = last.Add(c.Every)
	case last.After(until):
		// It had another interval. Whether that one had this slot too cannot be told, so it is not run, and named.
		until = until.Add(c.Every)
	}
	return from, until
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// unnamed counts the slots of a check in [from, until) that no range names, and returns the first one. Both ends are slots.
func unnamed(machine string, c plan.Check, ranges []check.Range, from, until time.Time) (first time.Time, n int) {
	for t := from; t.Before(until); {
		next, end := t, until
		for _, g := range ranges {
			switch {
			case g.Check != c.ID && g.Check != "*":
			case !t.Before(g.From) && t.Before(g.To):
				next = plan.NextSlot(machine, c, g.To)
			case g.From.After(t) && g.From.Before(end):
				end = g.From
			}
		}
		if next.After(t) {
			t = next
			continue
		}
		k := int((end.Sub(t)-1)/c.Every) + 1
		if n == 0 {
			first = t
		}
		n, t = n+k, t.Add(time.Duration(k)*c.Every)
	}
	return first, n
}

// A done is a run of slots of one check, first to last, each of which has a record. They are every apart.
type done struct {
	every       time.Duration
	first, last time.Time
}

// doneLocked notes that a slot of an item has a result.
func (s *Scheduler) doneLocked(it *item, slot time.Time) {
	if it.done != nil {
		it.done.last = slot
		return
	}
	it.done = &done{it.c.Every, slot, slot}
	// What lies further back than the longest interval is never under way.
	ds := slices.DeleteFunc(s.done[it.c.ID], func(d *done) bool { return slot.Sub(d.last) > 2*plan.MaxEvery })
	s.done[it.c.ID] = append(ds, it.done)
}

// isDone reports whether a slot has a record, whatever the check's interval was then.
func isDone(ds []*done, slot time.Time) bool {
	return slices.ContainsFunc(ds, func(d *done) bool {
		return !slot.Before(d.first) && !slot.After(d.last) && slot.Sub(d.first)%d.every == 0
	})
}

// spreadLocked gives the checks of a first round their places: over 30 s, or their interval or what is left of their
// slot if that is shorter, and over 1 s for targets on this machine. The first of them is due at once. A check whose
// slot has a result already waits for the next one.
func (s *Scheduler) spreadLocked(items []*item, now time.Time) {
	var local, remote []*item
	for _, it := range items {
		it.next = it.slotAt(now)
		if isDone(s.done[it.c.ID], it.next) {
			it.next = it.next.Add(it.c.Every)
			continue
		}
		if onThisMachine(it.c) {
			local = append(local, it)
		} else {
			remote = append(remote, it)
		}
	}
	s.left = -1
	for _, it := range local {
		it.first, s.left = true, max(0, s.left)+1
	}
	place := func(list []*item, over time.Duration) {
		for i, it := range list {
			room := max(0, min(over, it.c.Every, it.next.Add(it.c.Every).Sub(now)-tick))
			at := time.Duration(i) * room / time.Duration(len(list))
			it.notBefore = now.Add(at.Truncate(batchStep))
		}
	}
	place(local, spreadLocal-2*batchStep) // which leaves time to record the last ones
	place(remote, spreadRemote)
}

// onThisMachine reports whether a check leaves the machine at all, as far as its options tell without asking anybody.
func onThisMachine(c plan.Check) bool {
	hosts := targets(c)
	return !slices.ContainsFunc(hosts, func(h string) bool { return !isLoopback(h) })
}

// targets lists the hosts in the options of a check that every kind names alike.
func targets(c plan.Check) []string {
	var hosts []string
	add := func(s string) {
		if h, _, err := net.SplitHostPort(s); err == nil {
			s = h
		}
		if s != "" {
			hosts = append(hosts, s)
		}
	}
	add(c.Options.String("host"))
	add(c.Options.String("address"))
	add(c.Options.String("server"))
	add(hostOfURL(c.Options.String("url")))
	for _, a := range c.Options.Strings("anchors") {
		add(a)
	}
	for _, a := range c.Options.Strings("servers") {
		add(a)
	}
	return hosts
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
