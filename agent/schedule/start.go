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
	if b.Last.IsZero() || b.Reason == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := stopped(s.o.Machine, p, b, begin); ok {
		s.stats.Missed[r.Reason] += int64(r.Slots)
		s.ranges = append(s.ranges, r)
	}
}

// stopped returns the range of the slots that nobody ran between the last record and begin. The slot running at begin
// is not among them: it is run now, unless it has a record or is about to end.
func stopped(machine string, p *plan.Plan, b Before, begin time.Time) (check.Range, bool) {
	from, n := begin, 0
	for _, c := range p.Checks {
		t := plan.SlotAt(machine, c, b.Last)
		if last, ok := b.Slots[c.ID]; ok {
			t = last.Add(c.Every)
		}
		for first := firstSlot(machine, c, b.Slots, begin); t.Before(first) && t.Before(begin); t = t.Add(c.Every) {
			if t.Before(from) {
				from = t
			}
			n++
		}
	}
	if n == 0 {
		return check.Range{}, false
	}
	return check.Range{Reason: b.Reason, Check: "*", From: from, To: begin.Truncate(time.Second), Slots: n}, true
}

// firstSlot is the slot that a check begins with: the one running at now, or the next one if that has a record or is
// nearly over.
func firstSlot(machine string, c plan.Check, recorded map[string]time.Time, now time.Time) time.Time {
	slot := plan.SlotAt(machine, c, now)
	if last, ok := recorded[c.ID]; ok && !last.Before(slot) || slot.Add(c.Every).Sub(now) < 2*tick {
		return slot.Add(c.Every)
	}
	return slot
}

// spread gives the checks of a first round their places: over 30 s, or their interval or what is left of their slot if
// that is shorter, and over 1 s for targets on this machine. The first of them is due at once.
func spread(machine string, items []*item, recorded map[string]time.Time, now time.Time) {
	var local, remote []*item
	for _, it := range items {
		it.next = firstSlot(machine, it.c, recorded, now)
		if it.next.After(now) {
			continue
		}
		if onThisMachine(it.c) {
			local = append(local, it)
		} else {
			remote = append(remote, it)
		}
	}
	place := func(list []*item, over time.Duration) {
		for i, it := range list {
			room := min(over, it.c.Every, it.next.Add(it.c.Every).Sub(now)-tick)
			at := time.Duration(i) * room / time.Duration(len(list))
			it.notBefore = now.Add(at.Truncate(batchStep))
		}
	}
	place(local, spreadLocal-batchStep)
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
