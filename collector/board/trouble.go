package board

import (
	"cmp"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

const (
	mostTroubles = 12 // on the first page; the table has them all
	mostNames    = 4  // that one trouble lists
)

// weight orders states by how urgent they are.
func weight(s check.State) int {
	switch s {
	case check.Down:
		return 0
	case check.Degraded:
		return 1
	case check.Unknown:
		return 2
	default:
		return 3
	}
}

// A group is cells that have one state for one reason, in one unit or of one service.
type group struct {
	state  check.State
	reason check.Reason
	unit   string // of all of them; "" when they are of one service
	id     string // of that service
}

// troubles lists what is down, degraded or cannot be told, the worst first. A service that is so as a whole stands there
// once. What is left is gathered by unit or by service, whichever says more in one line: a unit whose line is cut is one
// trouble, and so is a service that fails in some of the units. What an open incident is about is left out.
func (g grid) troubles(v View) []trouble {
	var out []trouble
	var left []Cell
	service := map[string]Service{}
	known := newExplained(v.Incidents)
	for _, s := range v.Services {
		service[s.ID] = s
		if !g.inView[s.ID] {
			continue
		}
		if c, ok := g.cells[cellKey{s.ID, ""}]; ok && (c.State == check.Down || c.State == check.Degraded) {
			if known.services[s.ID] {
				continue
			}
			if !known.everywhere(g, c, v.Units) {
				out = append(out, g.trouble(group{c.State, c.Reason, "", s.ID}, []Cell{c}, service))
				continue
			}
		}
		for _, u := range v.Units {
			if c, ok := g.cells[cellKey{s.ID, u.ID}]; ok && c.measured() && c.State != check.Up && !known.cell(c) {
				left = append(left, c)
			}
		}
	}
	size := map[group]int{}
	for _, c := range left {
		size[group{c.State, c.Reason, c.Unit, ""}]++
		size[group{c.State, c.Reason, "", c.Service}]++
	}
	var order []group
	members := map[group][]Cell{}
	for _, c := range left {
		k := group{c.State, c.Reason, "", c.Service}
		if byUnit := (group{c.State, c.Reason, c.Unit, ""}); size[byUnit] > size[k] {
			k = byUnit
		}
		if members[k] == nil {
			order = append(order, k)
		}
		members[k] = append(members[k], c)
	}
	for _, k := range order {
		out = append(out, g.trouble(k, members[k], service))
	}
	slices.SortStableFunc(out, func(a, b trouble) int { return cmp.Compare(weight(a.State), weight(b.State)) })
	return out
}

func (g grid) trouble(k group, cells []Cell, service map[string]Service) trouble {
	first := cells[0]
	t := trouble{Sign: signOf(g.l, k.state), Key: "t-" + k.id + "-" + k.unit + "-" + string(k.reason), Text: words.Reason(g.l, k.reason)}
	var names []nameLink
	for _, c := range cells {
		if c.Since.Before(first.Since) {
			first = c
		}
		if k.unit != "" {
			s := service[c.Service]
			names = append(names, nameLink{or(s.Name.in(g.l), s.ID), linkOf(c)})
		} else if c.Unit != "" {
			names = append(names, nameLink{g.unit[c.Unit], linkOf(c)})
		}
	}
	if len(names) > mostNames+1 {
		t.More = words.Say(g.l, "board.more", len(names)-mostNames)
		names = names[:mostNames]
	}
	t.Where = names
	if k.unit != "" {
		t.Name = g.unit[k.unit]
	} else {
		s := service[k.id]
		t.Name, t.Link = or(s.Name.in(g.l), s.ID), serviceLink(k.id)
	}
	if t.Since = g.since(first); t.Since != "" && g.now.Sub(first.Since) >= time.Minute {
		t.Since += " (" + words.Duration(g.l, g.now.Sub(first.Since).Truncate(time.Minute)) + ")"
	}
	return t
}
