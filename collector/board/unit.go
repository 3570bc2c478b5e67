package board

import "slices"

// of is what somebody may see who belongs to one unit: that unit, and services as a whole.
func (v View) of(unit string) View {
	out := View{District: v.District, Now: v.Now, Received: v.Received, Services: v.Services, Log: v.Log}
	machines := map[string]bool{}
	for _, a := range v.Agents {
		if a.Unit == unit {
			machines[a.Machine] = true
			out.Agents = append(out.Agents, a)
		}
	}
	out.Units = only(v.Units, func(u Unit) bool { return u.ID == unit })
	out.Counters = only(v.Counters, func(c Counter) bool { return c.Unit == unit })
	out.Suspensions = only(v.Suspensions, func(s Suspension) bool { return s.Unit == "" || s.Unit == unit })
	out.Layers = only(v.Layers, func(l UnitLayers) bool { return l.Unit == unit })
	for _, c := range v.Cells {
		if c.Unit != "" && c.Unit != unit {
			continue
		}
		c.Checks = only(c.Checks, func(r CheckRef) bool { return machines[r.Machine] })
		out.Cells = append(out.Cells, c)
	}
	for _, i := range v.Incidents {
		if i.Kind == KindLine && i.Unit != unit || len(i.Units) > 0 && !slices.Contains(i.Units, unit) {
			continue
		}
		i.Units = only(i.Units, func(u string) bool { return u == unit })
		out.Incidents = append(out.Incidents, i)
	}
	return out
}

// only returns the elements that a rule keeps, in a slice of their own.
func only[T any](list []T, keep func(T) bool) []T {
	var out []T
	for _, x := range list {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}
