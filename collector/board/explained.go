package board

import (
	"slices"

	"egovmon/agent/check"
)

// explained says which cells the open incidents are about, so that one cause stands on the page once.
type explained struct {
	services map[string]bool
	lines    map[string]Incident // by unit
	sites    map[cellKey]bool
	fleet    []Incident
}

func newExplained(list []Incident) explained {
	e := explained{map[string]bool{}, map[string]Incident{}, map[cellKey]bool{}, nil}
	for _, i := range list {
		switch {
		case !i.Closed.IsZero():
		case i.Kind == KindService:
			e.services[i.Service] = true
		case i.Kind == KindLine:
			e.lines[i.Unit] = i
		case i.Kind == KindSite:
			e.sites[cellKey{i.Service, i.Unit}] = true
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
	if c.State == check.Down && (e.services[c.Service] || e.sites[cellKey{c.Service, c.Unit}]) {
		return true
	}
	if i, ok := e.lines[c.Unit]; ok {
		if cut || c.State == check.Down && (c.Service == i.Through || slices.Contains(i.Services, c.Service)) {
			return true
		}
	}
	return cut && slices.ContainsFunc(e.fleet, func(i Incident) bool { return len(i.Units) == 0 || slices.Contains(i.Units, c.Unit) })
}

// everywhere reports whether incidents of lines or of the fleet are about every unit in which a service is as it is as a
// whole.
func (e explained) everywhere(g grid, whole Cell, units []Unit) bool {
	n := 0
	for _, u := range units {
		c, ok := g.cells[cellKey{whole.Service, u.ID}]
		if !ok || c.State != whole.State {
			continue
		}
		if !e.cell(c) {
			return false
		}
		n++
	}
	return n > 0
}
