package profile

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds that the collector judges by itself.
const (
	KindDerived  = "derived"  // from the states of other services
	KindAttested = "attested" // by what a person confirms with a document
	KindCounter  = "counter"  // a one-stop-shop counter, from the services that it depends on
)

// A Rule says how a derived service follows from others: at least Need of them must work.
type Rule struct {
	Need int
	Of   []RuleItem
}

// A RuleItem is a service, one check of it, or a rule in a rule. Exactly one of Service and Rule is set.
type RuleItem struct {
	Service string
	Check   string // "" is the service itself
	Rule    *Rule
}

// maxRule is how many items a rule has at most, and how deep rules stand in one another.
const (
	maxRule      = 32
	maxRuleDepth = 3
)

// ReadRule reads the options of a derived check: `all: [a, b]`, `any: [a, b.http]`, or `at_least: 2` with `of: [a, b, c]`; an item is the
// id of a service, SERVICE.CHECK, or such a rule again. Without options there is none, and the service's state is not known.
func ReadRule(with []Option) (*Rule, error) {
	if len(with) == 0 {
		return nil, nil
	}
	return readRule(with, 1)
}

func readRule(with []Option, depth int) (*Rule, error) {
	if depth > maxRuleDepth {
		return nil, fmt.Errorf("more than %d rules in one another", maxRuleDepth)
	}
	var list []any
	var need int64
	words := map[string]bool{}
	for _, o := range with {
		words[o.Name] = true
		ok := true
		switch o.Name {
		case "all", "any", "of":
			list, ok = o.Value.([]any)
		case "at_least":
			need, ok = o.Value.(int64)
		default:
			return nil, fmt.Errorf("%q is none of all, any, at_least, of", o.Name)
		}
		if !ok {
			return nil, fmt.Errorf("%s: write a list of services, and at_least as a number", o.Name)
		}
	}
	switch {
	case len(words) == 1 && words["all"]:
		need = int64(len(list))
	case len(words) == 1 && words["any"]:
		need = 1
	case len(words) == 2 && words["at_least"] && words["of"]:
	default:
		return nil, fmt.Errorf("write one of all, any, or at_least with of")
	}
	if len(list) == 0 || len(list) > maxRule || need < 1 || need > int64(len(list)) {
		return nil, fmt.Errorf("at least %d of %d: write from 1 to %d services, and no more than there are", need, len(list), maxRule)
	}
	r := &Rule{Need: int(need)}
	for _, item := range list {
		switch x := item.(type) {
		case string:
			service, check, _ := strings.Cut(x, ".")
			r.Of = append(r.Of, RuleItem{Service: service, Check: check})
		case []Option:
			inner, err := readRule(x, depth+1)
			if err != nil {
				return nil, err
			}
			r.Of = append(r.Of, RuleItem{Rule: inner})
		default:
			return nil, fmt.Errorf("%v is no service: write its id, or SERVICE.CHECK", x)
		}
	}
	return r, nil
}

// Items lists the services, and checks of services, that a rule rests on, each once.
func (r *Rule) Items() []RuleItem {
	var all []RuleItem
	for _, x := range r.Of {
		inner := []RuleItem{x}
		if x.Rule != nil {
			inner = x.Rule.Items()
		}
		for _, y := range inner {
			if !slices.Contains(all, y) {
				all = append(all, y)
			}
		}
	}
	return all
}

// AtCollector returns the check of a service that the collector judges by itself, when it is the one that decides; nil when
// machines measure the service.
func (s *Service) AtCollector() *ServiceCheck {
	ids := s.Deciding()
	for i := range s.Checks {
		c := &s.Checks[i]
		if len(ids) == 1 && ids[0] == s.ID+"."+c.ID && slices.Contains(atCollector, c.Kind) {
			return c
		}
	}
	return nil
}

// Rule returns how a derived service follows from others; nil for one that is measured, attested, or has no rule yet.
func (s *Service) Rule() *Rule {
	c := s.AtCollector()
	if c == nil || c.Kind != KindDerived {
		return nil
	}
	r, err := ReadRule(c.With)
	if err != nil {
		return nil // Load has refused it
	}
	return r
}

// Attested reports whether only documents say how the service is.
func (s *Service) Attested() bool {
	c := s.AtCollector()
	return c != nil && c.Kind == KindAttested
}

// rules finds rules that cannot be followed.
func (v *validator) rules() {
	services := ids(v.p.Services, func(s Service) string { return s.ID })
	follows := map[string][]Dated{}
	for _, s := range v.p.Services {
		for _, c := range s.Checks {
			if slices.Contains(atCollector, c.Kind) && c.Decides && len(s.Deciding()) > 1 {
				v.wrong(s.Record, c.Line, "let it decide alone, or not at all", "service %q: check %q: what the collector judges by itself cannot decide beside others", s.ID, c.ID)
			}
			if c.Kind != KindDerived {
				continue
			}
			r, err := ReadRule(c.With)
			if err != nil {
				v.wrong(s.Record, c.Line, "e.g. with: {all: [tthc, dvc_q]}", "service %q: check %q: %v", s.ID, c.ID, err)
				continue
			}
			if r == nil {
				continue
			}
			for _, x := range r.Items() {
				place := fmt.Sprintf("service %q: check %q", s.ID, c.ID)
				if !v.known(s.Record, c.Line, place, x.Service, services) {
					continue
				}
				if x.Check != "" && !slices.ContainsFunc(v.p.Services, func(o Service) bool {
					return o.ID == x.Service && slices.ContainsFunc(o.Checks, func(k ServiceCheck) bool { return k.ID == x.Check && !slices.Contains(atCollector, k.Kind) })
				}) {
					v.wrong(s.Record, c.Line, "name a check that machines run", "%s: service %q has no check %q", place, x.Service, x.Check)
				}
				follows[s.ID] = append(follows[s.ID], Dated{Value: x.Service, Valid: s.Valid})
			}
		}
	}
	for _, s := range v.p.Services {
		if c := circleFrom(s.ID, follows, Span{From: 1}, nil); c != nil && slices.Min(c) == s.ID {
			v.wrong(s.Record, 0, "mend one rule", "service %q: derived services go in a circle: %s", s.ID, strings.Join(c, " → "))
		}
	}
}
