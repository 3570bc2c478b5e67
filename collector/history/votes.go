package history

import (
	"slices"
	"sync"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A vote is what a machine or a unit says of a service in a stretch.
type vote struct {
	Span
	reason  code // of the vote, or why there is none
	carrier carrier
	planned bool // a plan asks for a deciding check
	votes   bool
}

// A Judgement is the state of a service over a stretch: as a whole, and as each unit that watches it has it.
type Judgement struct {
	Runs  []Run // cover the whole stretch
	Units []Unit
}

// A Unit is how one unit has a service.
type Unit struct {
	ID   string
	Runs []Run // cover the whole stretch
}

// A Bench judges services by rule votes/1 over what machines measured. Its methods may be called at the same time, once With
// was. What it returns is shared, and not to be written to.
type Bench struct {
	machines map[string]*Machine
	span     Span

	catalogue Catalogue // what derived services rest on; see With

	mu     sync.Mutex
	proofs map[proof][]Run
	judged map[operand]Judgement
}

type proof struct {
	machine string
	path    plan.Path
}

// An operand is one entry of the catalogue, or one check of it, as a derived service rests on it.
type operand struct {
	entry int // in the catalogue
	check string
	span  Span
	depth int
}

// NewBench returns a bench for a stretch that the machines' runs are known for. Machines that are not there have
// measured nothing and had no plan.
func NewBench(machines map[string]*Machine, s Span) *Bench {
	return &Bench{machines: machines, proofs: map[proof][]Run{}, judged: map[operand]Judgement{}, span: s}
}

// With gives the bench the services that derived ones rest on; without them those are not known.
func (b *Bench) With(cat Catalogue) *Bench {
	b.catalogue = cat
	return b
}

// Judge returns the state of the service in s, which lies within the bench's stretch. Units stand in the order of the
// service's watchers. A service that is derived or attested is judged by what it rests on; no machine votes on it.
func (b *Bench) Judge(svc Service, s Span) Judgement { return b.judge(svc, s, 0) }

func (b *Bench) judge(svc Service, s Span, depth int) Judgement {
	s = s.Meet(b.span)
	switch {
	case s.Seconds() == 0:
		return Judgement{}
	case svc.Derived != nil:
		return b.judgeDerived(svc, s, depth)
	case svc.Attested:
		return judgeWords(svc, s)
	}
	p := newPanel()
	names := make([]string, 0, len(svc.Watchers))
	place := make(map[string]int, len(svc.Watchers))
	machines := make([][][]vote, 0, len(svc.Watchers)) // by unit
	for _, w := range svc.Watchers {
		i, ok := place[w.Unit]
		if !ok {
			i = len(names)
			place[w.Unit] = i
			names, machines = append(names, w.Unit), append(machines, nil)
		}
		machines[i] = append(machines[i], b.watch(p, svc, w, s))
	}
	units := make([][]vote, len(names))
	j := Judgement{Units: make([]Unit, len(names))}
	for i, name := range names {
		units[i] = p.unite(machines[i], s)
		j.Units[i] = Unit{name, p.runs(units[i])}
	}
	j.Runs = p.decide(units, svc.Quorum, s)
	return j
}

// watch returns the votes of one machine over all of s.
func (b *Bench) watch(p *panel, svc Service, w Watcher, s Span) []vote {
	begin := len(p.room)
	at, on := s.From, p.carrier(w.Carrier)
	idle := func(to int64) {
		if at < to {
			p.cast(vote{Span: Span{at, to}, reason: notPlanned, carrier: on}, begin)
		}
	}
	m := b.machines[w.Machine]
	if m != nil {
		for _, e := range m.Epochs {
			in := e.Span.Meet(open(w.Valid)).Meet(s)
			if in.Seconds() == 0 {
				continue
			}
			idle(in.From)
			b.epoch(p, svc, w, m, e, in, begin)
			at = in.To
		}
	}
	idle(s.To)
	return p.room[begin:len(p.room):len(p.room)]
}

// epoch casts the votes of a machine while one plan was in force.
func (b *Bench) epoch(p *panel, svc Service, w Watcher, m *Machine, e Epoch, s Span, begin int) {
	lists := p.lists[:0] // those of the deciding checks, then the proofs
	paths := p.paths[:0]
	planned := false
	for _, id := range svc.Deciding {
		c, ok := e.check(id)
		if !ok {
			lists = append(lists, cursor{gap: p.of(w.lacking(id))})
			continue
		}
		planned = true
		lists = append(lists, from(m.Runs[id], s.From, silent))
		if c.Path != plan.LAN && !lineKind(c.Kind) && !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	deciding := len(lists)
	for _, path := range paths {
		lists = append(lists, from(b.proven(m, path), s.From, noUplink))
	}
	p.lists, p.paths = lists, paths
	on := p.carrier(w.Carrier)
	for at := s.From; at < s.To; {
		v := vote{Span: Span{at, s.To}, reason: notPlanned, carrier: on, planned: planned}
		line := true
		for i := range lists {
			var r code
			r, v.To = lists[i].at(p, at, v.To)
			switch {
			case r == noUplink:
				line = false
			case i >= deciding:
				continue
			}
			if i < deciding && (i == 0 || p.worse(r, v.reason)) {
				v.reason = r
			}
		}
		known := p.states[v.reason] != check.Unknown
		v.votes = line && known
		if !line && known {
			v.reason = noUplink
		}
		p.cast(v, begin)
		at = v.To
	}
}

// proven returns when the line of a machine's path is proven, over the bench's stretch.
func (b *Bench) proven(m *Machine, path plan.Path) []Run {
	key := proof{m.Name, path}
	b.mu.Lock()
	runs, ok := b.proofs[key]
	b.mu.Unlock()
	if !ok {
		runs = m.proven(path, b.span)
		b.mu.Lock()
		b.proofs[key] = runs
		b.mu.Unlock()
	}
	return runs
}

// lacking says why no plan has a deciding check.
func (w Watcher) lacking(id string) check.Reason {
	if slices.Contains(w.NotConfigured, id) {
		return check.NotConfigured
	}
	return check.NotPlanned
}
