package main

import (
	"reflect"
	"slices"
	"time"

	"egovmon/collector/enrol"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// catalogue says what the accounts need of the profile for [from, to): a service stands once for each stretch in which
// its terms stay the same.
func catalogue(p *profile.Profile, from, to time.Time) history.Catalogue {
	terms := map[string][]history.Service{}
	var order []string
	for at := from; at.Before(to); {
		end := p.NextChange(at)
		if end.IsZero() || end.After(to) {
			end = to
		}
		for _, svc := range p.ServicesAt(at) {
			s := serviceTerms(p, &svc, at, end)
			list := terms[svc.ID]
			if len(list) == 0 {
				order = append(order, svc.ID)
			}
			if n := len(list); n > 0 && sameTerms(list[n-1], s) {
				list[n-1].Valid.To = s.Valid.To
			} else {
				list = append(list, s)
			}
			terms[svc.ID] = list
		}
		at = end
	}
	var cat history.Catalogue
	for _, id := range order {
		for _, s := range terms[id] {
			addHours(p, &s)
			cat.Services = append(cat.Services, s)
		}
	}
	return cat
}

// termsAt is catalogue for the profile with the machines that had an identity at an instant.
func termsAt(p *profile.Profile, machines []enrol.Machine, from, to, at time.Time) history.Catalogue {
	return catalogue(withEnrolled(p, machines, at), from, to)
}

// serviceTerms are the terms of a service at an instant, as if they held from at to end.
func serviceTerms(p *profile.Profile, svc *profile.Service, at, end time.Time) history.Service {
	q := p.Quorum(svc.ID, at)
	s := history.Service{
		ID: svc.ID, Valid: history.Span{From: at.Unix(), To: end.Unix()}, Deciding: svc.Deciding(),
		Quorum: history.Quorum{Units: q.Units, Carriers: q.Carriers},
	}
	s.Derived, s.Attested, s.Shared = exprOf(svc.Rule()), svc.Attested(), svc.Watch.District
	for _, w := range p.Watchers(svc.ID, at) {
		s.Watchers = append(s.Watchers, history.Watcher{Machine: w.Machine, Unit: w.Unit, Carrier: w.Carrier, NotConfigured: w.NotConfigured})
	}
	return s
}

// exprOf is a rule of the profile as accounts follow it.
func exprOf(r *profile.Rule) *history.Expr {
	if r == nil {
		return nil
	}
	e := &history.Expr{Need: r.Need}
	for _, x := range r.Of {
		o := history.Operand{Service: x.Service, Expr: exprOf(x.Rule)}
		if x.Check != "" {
			o.Check = x.Service + "." + x.Check
		}
		e.Of = append(e.Of, o)
	}
	return e
}

func sameTerms(a, b history.Service) bool {
	return a.Valid.To == b.Valid.From && a.Quorum == b.Quorum && slices.Equal(a.Deciding, b.Deciding) && a.Attested == b.Attested && a.Shared == b.Shared && reflect.DeepEqual(a.Derived, b.Derived) &&
		reflect.DeepEqual(a.Watchers, b.Watchers)
}

// addHours gives a service its service hours, and those of units that have their own.
func addHours(p *profile.Profile, s *history.Service) {
	from, to := time.Unix(s.Valid.From, 0).UTC(), time.Unix(s.Valid.To, 0).UTC()
	svc, ok := p.Service(s.ID, from)
	if !ok || svc.Hours == "" {
		return
	}
	s.Hours = spans(p.Calendar(s.ID, history.ServiceHours, "", from, to))
	units := map[string]bool{}
	for _, w := range s.Watchers {
		units[w.Unit] = true
	}
	for u := range units {
		if own := spans(p.Calendar(s.ID, history.ServiceHours, u, from, to)); !slices.Equal(own, s.Hours) {
			if s.UnitHours == nil {
				s.UnitHours = map[string][]history.Span{}
			}
			s.UnitHours[u] = own
		}
	}
}

func spans(in []profile.Interval) []history.Span {
	out := make([]history.Span, 0, len(in))
	for _, i := range in {
		out = append(out, history.Span{From: i.Start.Unix(), To: i.End.Unix()})
	}
	return history.Join(out...)
}
