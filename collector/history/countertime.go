package history

import (
	"slices"

	"egovmon/agent/check"
)

// A CounterSum is how long a counter stood how, in seconds.
type CounterSum struct {
	Ready   int64 `json:"ready"`
	Limited int64 `json:"limited"`
	Stopped int64 `json:"stopped"`
	Unclear int64 `json:"unclear"`
}

// Total is all of it.
func (s CounterSum) Total() int64 { return s.Ready + s.Limited + s.Stopped + s.Unclear }

// Known is what of it is not unclear.
func (s CounterSum) Known() int64 { return s.Total() - s.Unclear }

// A CounterQuery asks how long counters stood how. The services that they need are judged over one stretch, in which their
// terms may change.
type CounterQuery struct {
	Query
	Needs []Need
	Units []string          // whose counters
	Hours map[string][]Span // of each unit in which its counter is to be ready, in order
}

// Counters returns the sums of each unit, in the order of the query.
func Counters(cat Catalogue, machines map[string]*Machine, q CounterQuery) []CounterSum {
	s := q.Span()
	b := NewBench(machines, s).With(cat)
	known := make([]judged, len(q.Needs))
	for i, n := range q.Needs {
		known[i] = b.wholly(n.Service, s)
	}
	out := make([]CounterSum, len(q.Units))
	for i, u := range q.Units {
		lists := make([][]Run, len(q.Needs))
		for k, n := range known {
			lists[k] = n.of(u, s)
		}
		var spans []readySpan
		sweep(s, lists, func(r Run) Span { return r.Span }, func(in Span, at []Run) {
			states := make(map[string]check.State, len(at))
			for k, r := range at {
				states[q.Needs[k].Service] = r.State()
			}
			spans = append(spans, readySpan{in, Counter(q.Needs, states).Readiness})
		})
		out[i] = sum(spans, q.Hours[u], s)
	}
	return out
}

type readySpan struct {
	Span
	readiness Readiness
}

// sum adds up what of the spans lies within the hours; both stand in order.
func sum(spans []readySpan, hours []Span, s Span) (c CounterSum) {
	i := 0
	for _, h := range hours {
		h = h.Meet(s)
		for i > 0 && spans[i-1].To > h.From {
			i--
		}
		rest := h.Seconds()
		for ; i < len(spans) && spans[i].From < h.To; i++ {
			n := spans[i].Meet(h).Seconds()
			rest -= n
			switch spans[i].readiness {
			case Ready:
				c.Ready += n
			case Limited:
				c.Limited += n
			case Stopped:
				c.Stopped += n
			default:
				c.Unclear += n
			}
		}
		c.Unclear += rest
	}
	return c
}

// judged is one service over a whole stretch: as a whole, and in its units.
type judged struct {
	whole  []Run
	units  map[string][]Run
	shared bool // every unit has the whole
}

// wholly judges a service over a stretch in which its terms may change. What the catalogue does not have is not known.
func (b *Bench) wholly(service string, s Span) judged {
	j := judged{units: map[string][]Run{}}
	for _, svc := range b.catalogue.Services {
		in := s.Meet(open(svc.Valid))
		if svc.ID != service || in.Seconds() == 0 {
			continue
		}
		x := b.Judge(svc, in)
		j.whole = append(j.whole, x.Runs...)
		j.shared = j.shared || svc.Shared || len(x.Units) == 0
		for _, u := range x.Units {
			j.units[u.ID] = append(j.units[u.ID], u.Runs...)
		}
	}
	return j
}

// of returns how it is in a unit, over all of s: what others alone watch is not known.
func (j judged) of(unit string, s Span) []Run {
	runs, ok := j.units[unit]
	if !ok && j.shared {
		runs = j.whole
	}
	return Fill(slices.Clone(runs), s, check.NotPlanned)
}
