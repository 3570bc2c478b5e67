package board

import (
	"slices"

	"egovmon/agent/check"
)

// explained says which cells the open incidents are about, so that one cause stands on the page once.
type explained struct {
	services map[string]bool
	lines    map[string]Incident // by unit
	fleet    []Incident
}

func newExplained(list []Incident) explained {
	e := explained{map[string]bool{}, map[string]Incident{}, nil}
	for _, i := range list {
		switch {
		case !i.Closed.IsZero():
		case i.Kind == KindService:
			e.services[i.Service] = true
		case i.Kind == KindLine:
			e.lines[i.Unit] = i
		case i.Kind == KindFleet:
			e.fleet = append(e.fleet, i)
		}
	}
	return e
}

// cell reports whether an incident is about what one unit has of a service. An unknown is only of a line or the fleet,
// and only when nothing is heard for want of a line: what else cannot be told has a cause of its own.
func (e explained) cell(c Cell) bool {
	cut := c.State == check.Unknown && (c.Reason == check.Silent || c.Reason == check.NoUplink)
	if c.State == check.Down && e.services[c.Service] {
		return true
	}
	if i, ok := e.lines[c.Unit]; ok {
		if cut || c.State == check.Down && (c.Service == i.Through || slices.Contains(i.Services, c.Service)) {
			return true
		}
	}
	return cut && slices.ContainsFunc(e.fleet, func(i Incident) bool { return len(i.Units) == 0 || slices.Contains(i.Units, c.Unit) })
}

// whole reports whether incidents are about a service that is down or degraded as a whole: its own, or those of every
// unit that has it down.
func (e explained) whole(g grid, c Cell, units []Unit) bool {
	if e.services[c.Service] {
		return true
	}
	down := 0
	for _, u := range units {
		if of, ok := g.cells[cellKey{c.Service, u.ID}]; ok && of.State == c.State {
			if !e.cell(of) {
				return false
			}
			down++
		}
	}
	return down > 0
}
