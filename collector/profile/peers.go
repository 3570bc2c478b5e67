package profile

import (
	"cmp"
	"slices"
	"time"
)

// loopPeers stands for the mailboxes of other machines to which a machine's test letters go. It is the whole of an
// option's value, in a check whose option mailbox names the machine's own.
const loopPeers = "loop.peers"

// loopEach is how many peers a machine has in one week, and of how many machines it is the peer: with n machines there
// are loopEach × n ways to watch, not n².
const loopEach = 4

// loopMailbox is the option that names a machine's own mailbox.
const loopMailbox = "mailbox"

// A loop is one check of a service, whose machines send one another letters.
type loop struct {
	service *Service
	check   *ServiceCheck
	chooser chooser
}

// peers lists the mailboxes of this week's peers. The machines that run the check stand in a ring, by id; each has the
// peers that stand so many places behind it as the week says. Within as many weeks as it takes all machines send to all
// others. A machine whose mailbox is not known yet is passed over.
func (e *expander) peers() []any {
	ring := e.ring()
	self := slices.IndexFunc(ring, func(m *Machine) bool { return m.ID == e.machine.ID })
	others := len(ring) - 1
	out := []any{}
	if self < 0 || others < 1 {
		return out
	}
	used := []string{e.mailboxOf(e.machine)}
	first := week(e.at) * loopEach % others
	for i := range others {
		m := ring[(self+1+(first+i)%others)%len(ring)]
		box := e.mailboxOf(m)
		if box == "" || slices.Contains(used, box) {
			continue
		}
		used = append(used, box)
		if out = append(out, box); len(out) == loopEach {
			break
		}
	}
	return out
}

// ring lists the machines that run the check, by id.
func (e *expander) ring() []*Machine {
	var ring []*Machine
	day := DateOf(e.at)
	for i := range e.p.Machines {
		m := &e.p.Machines[i]
		if !m.Valid.Covers(day) {
			continue
		}
		if ok, _ := e.loop.chooser.watches(e.loop.service, m); ok && e.p.hasPath(m, e.loop.check.Path, e.at) {
			ring = append(ring, m)
		}
	}
	slices.SortFunc(ring, func(a, b *Machine) int { return cmp.Compare(a.ID, b.ID) })
	return ring
}

// mailboxOf is the mailbox of a machine in this check; "" when it is not known.
func (e *expander) mailboxOf(m *Machine) string {
	i := slices.IndexFunc(e.loop.check.With, func(o Option) bool { return o.Name == loopMailbox })
	if i < 0 {
		return ""
	}
	other := &expander{p: e.p, machine: m, at: e.at, given: e.given, loop: e.loop}
	box, _ := other.value(e.loop.check.With[i].Value, e.loop.check.Path).(string)
	if len(other.missing) > 0 {
		return ""
	}
	return box
}

// week counts the weeks, which begin on Mondays in Vietnam.
func week(t time.Time) int { return (int(DateOf(t)) + 2) / 7 }

// NextPlan returns the first instant after t at which plans are to be derived anew: when something in the profile
// changes, and on Mondays while there are checks whose peers change by the week. The zero Time is never.
func (p *Profile) NextPlan(t time.Time) time.Time {
	next := p.NextChange(t)
	if !p.hasLoops(t) {
		return next
	}
	monday := Date((week(t)+1)*7 - 2).Start()
	if next.IsZero() || monday.Before(next) {
		return monday
	}
	return next
}

// hasLoops reports whether any check of the day has peers.
func (p *Profile) hasLoops(t time.Time) bool {
	return slices.ContainsFunc(p.ServicesAt(t), func(s Service) bool {
		return slices.ContainsFunc(s.Checks, func(c ServiceCheck) bool {
			return slices.ContainsFunc(c.With, func(o Option) bool { return slices.Contains(placeholders(o.Value), loopPeers) })
		})
	})
}

// standsAlone reports whether a placeholder is the whole of a value and not filled in by a parameter.
func standsAlone(name string) bool { return name == lineAnchors || name == loopPeers }
