package history

import (
	"slices"

	"egovmon/agent/check"
)

// An Expr says how a state follows from others: at least Need of them must work. All of n is n of n, any is 1 of n. The zero
// value is about nothing, and never known.
type Expr struct {
	Need int
	Of   []Operand
}

// An Operand is one of the states that an [Expr] rests on. Exactly one of Service and Expr is set.
type Operand struct {
	Service string
	Check   string // of the service's deciding or explaining checks alone, as plans have its id; "" is the service itself
	Expr    *Expr
}

// Services lists the services that an expression rests on, each once.
func (e *Expr) Services() []string {
	var all []string
	for _, o := range e.Of {
		names := []string{o.Service}
		if o.Expr != nil {
			names = o.Expr.Services()
		}
		for _, n := range names {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// reason returns what follows from the reasons of the operands. What is not known is counted as neither working nor down: only
// where it makes no difference does the state not become unknown. The reason is that of the first operand with the state.
func (e *Expr) reason(of []check.Reason) check.Reason {
	first, n := map[check.State]check.Reason{}, map[check.State]int{}
	for _, r := range of {
		s := r.State()
		if n[s]++; n[s] == 1 {
			first[s] = r
		}
	}
	works := 0
	for _, s := range []check.State{check.Up, check.Degraded, check.Unknown} {
		if works += n[s]; works >= e.Need && len(of) > 0 {
			if s == check.Up {
				return check.OK
			}
			return first[s]
		}
	}
	if len(of) == 0 || n[check.Down] == 0 {
		return check.NotPlanned
	}
	return first[check.Down]
}

// A Word is what a person has confirmed of a service with a document: how it is, from a time on, and for how long that counts.
type Word struct {
	Span
	Unit   string // the only unit that it is about; "" is every one
	Reason check.Reason
}

// judgeWords judges a service by what people have confirmed of it, as votes of its units.
func judgeWords(svc Service, s Span) Judgement {
	var j Judgement
	var votes [][]vote
	p := newPanel()
	nowhere := p.carrier("")
	units := svc.units()
	for _, u := range units {
		runs := confirmed(svc.Words, u, s)
		j.Units = append(j.Units, Unit{ID: u, Runs: runs})
		list := make([]vote, len(runs))
		for i, r := range runs {
			list[i] = vote{Span: r.Span, reason: p.of(r.Reason), carrier: nowhere, planned: true, votes: r.State().Known()}
		}
		votes = append(votes, list)
	}
	if len(units) == 0 {
		j.Runs = confirmed(svc.Words, "", s)
		return j
	}
	j.Runs = p.decide(votes, Quorum{Units: svc.Quorum.Units}, s)
	return j
}

// confirmed returns what the words say of a unit over all of s. A later word takes the place of an earlier one from its own
// beginning on; where none counts any more the evidence has expired, and where none has begun it is missing.
func confirmed(words []Word, unit string, s Span) []Run {
	var runs []Run
	for _, w := range words {
		if w.Unit != "" && w.Unit != unit || w.To <= w.From {
			continue
		}
		end := max(s.To, w.To)
		runs = slices.DeleteFunc(runs, func(r Run) bool { return r.From >= w.From })
		if n := len(runs); n > 0 {
			runs[n-1].To = min(runs[n-1].To, w.From)
		}
		runs = Append(runs, Run{w.Span, w.Reason})
		runs = Append(runs, Run{Span{w.To, end}, check.EvidenceExpired})
	}
	return Fill(runs, s, check.EvidenceMissing)
}

// units lists the units that watch a service, in order, each once.
func (s *Service) units() []string {
	var all []string
	for _, w := range s.Watchers {
		if !slices.Contains(all, w.Unit) {
			all = append(all, w.Unit)
		}
	}
	return all
}

// maxDepth is how many derived services may rest on one another; a catalogue in which they go round in a circle ends there.
const maxDepth = 8

// judgeDerived judges a service by the states of others: in each unit by what that unit has of them, and as a whole by the wholes. Of one
// that is shared, or that no unit watches, each unit has the whole; what other units alone watch is not known.
func (b *Bench) judgeDerived(svc Service, s Span, depth int) Judgement {
	var j Judgement
	for _, u := range svc.units() {
		j.Units = append(j.Units, Unit{ID: u, Runs: b.derive(svc.Derived, u, s, depth)})
	}
	j.Runs = b.derive(svc.Derived, "", s, depth)
	return j
}

func (b *Bench) derive(e *Expr, unit string, s Span, depth int) []Run {
	lists := make([][]Run, len(e.Of))
	for i, o := range e.Of {
		switch {
		case depth >= maxDepth:
			lists[i] = []Run{{s, check.NotPlanned}}
		case o.Expr != nil:
			lists[i] = b.derive(o.Expr, unit, s, depth+1)
		default:
			lists[i] = b.state(o, unit, s, depth+1)
		}
	}
	var out []Run
	reasons := make([]check.Reason, len(lists))
	sweep(s, lists, func(r Run) Span { return r.Span }, func(in Span, at []Run) {
		for i, r := range at {
			reasons[i] = r.Reason
		}
		out = Append(out, Run{in, e.reason(reasons)})
	})
	return Fill(out, s, check.NotPlanned)
}

// state returns how an operand is over all of s, for a unit or as a whole. What the catalogue does not have is not known.
func (b *Bench) state(o Operand, unit string, s Span, depth int) []Run {
	var runs []Run
	for i, svc := range b.catalogue.Services {
		in := s.Meet(open(svc.Valid))
		if svc.ID != o.Service || in.Seconds() == 0 {
			continue
		}
		j := b.under(operand{i, o.Check, in, depth})
		of := j.Runs
		if i := slices.IndexFunc(j.Units, func(u Unit) bool { return u.ID == unit }); unit != "" && i >= 0 {
			of = j.Units[i].Runs
		} else if unit != "" && !svc.Shared && len(j.Units) > 0 {
			of = nil // others have it; how this unit does, nobody says
		}
		runs = append(runs, of...)
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return int(a.From - b.From) })
	return Fill(runs, s, check.NotPlanned)
}

// under judges what a derived service rests on, once for all units and all services that rest on it.
func (b *Bench) under(o operand) Judgement {
	b.mu.Lock()
	j, ok := b.judged[o]
	b.mu.Unlock()
	if ok {
		return j
	}
	svc := b.catalogue.Services[o.entry]
	if o.check != "" {
		svc.Deciding, svc.Derived, svc.Words, svc.Attested = []string{o.check}, nil, nil, false
	}
	j = b.judge(svc, o.span, o.depth)
	b.mu.Lock()
	b.judged[o] = j
	b.mu.Unlock()
	return j
}
