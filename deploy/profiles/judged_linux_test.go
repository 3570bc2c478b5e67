package profiles_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// judgeRows works out how each row stands, as a whole, from what its checks came to: up while all works, down while nothing does. Rows that
// the collector judges follow from the others, from what is confirmed, or are the counter.
func judgeRows(t *testing.T, name string, p *profile.Profile, at time.Time, takes map[string]take) {
	t.Helper()
	span := history.Span{From: at.Unix(), To: at.Unix() + 1}
	state := func(works bool, word check.Reason) map[string]check.Reason {
		var cat history.Catalogue
		for _, s := range p.ServicesAt(at) {
			svc := history.Service{ID: s.ID, Derived: expr(s.Rule()), Attested: true}
			reason, measured := worstOf(&s, takes, works)
			switch {
			case s.Attested():
				if word != "" {
					svc.Words = []history.Word{{Span: span, Reason: word}}
				}
			case measured:
				svc.Words = []history.Word{{Span: span, Reason: reason}}
			}
			cat.Services = append(cat.Services, svc)
		}
		bench, all := history.NewBench(nil, span).With(cat), map[string]check.Reason{}
		for _, svc := range cat.Services {
			all[svc.ID] = bench.Judge(svc, span).Runs[0].Reason
		}
		return all
	}
	good, bad, silent := state(true, check.OK), state(false, check.Timeout), state(true, "")
	told := takes
	takes = nil
	mute := state(true, "") // nothing is told
	takes = told
	for _, s := range p.ServicesAt(at) {
		c := s.AtCollector()
		if st := mute[s.ID].State(); st != check.Unknown {
			t.Errorf("%s: %s, of which nothing is told, is %s", name, s.ID, st)
		}
		switch {
		case c != nil && c.Kind == profile.KindCounter:
			judgeCounter(t, name, p, &s, at, good, bad)
		case s.Attested():
			if got := silent[s.ID]; got != check.EvidenceMissing {
				t.Errorf("%s: %s without a document is %s", name, s.ID, got)
			}
			expired := history.Service{ID: s.ID, Attested: true, Words: []history.Word{{Span: history.Span{From: span.From - 9, To: span.From}, Reason: check.OK}}}
			if got := history.NewBench(nil, span).Judge(expired, span).Runs[0].Reason; got != check.EvidenceExpired {
				t.Errorf("%s: %s after the last day of its document is %s", name, s.ID, got)
			}
			fallthrough
		default:
			if st := good[s.ID].State(); st != check.Up && st != check.Degraded && (s.InSeason(at) || c != nil) {
				t.Errorf("%s on %s: row %s is %s (%s) while all works", name, profile.DateOf(at), s.ID, st, good[s.ID])
			}
			if st := bad[s.ID].State(); machineItself(&s, p, at) {
				if st == check.Up || s.Rule() == nil && (st != check.Degraded || mute[s.ID].State() != check.Unknown) {
					t.Errorf("%s on %s: row %s is %s (%s) of a machine that is not well, and %s of one that is silent", name, profile.DateOf(at), s.ID, st, bad[s.ID], mute[s.ID])
				}
			} else if st != check.Down && s.InSeason(at) {
				t.Errorf("%s on %s: row %s is %s (%s) while nothing does", name, profile.DateOf(at), s.ID, st, bad[s.ID])
			}
		}
	}
}

// machineItself reports whether a row is about the measuring machine, which cannot say that it is down: it falls silent.
func machineItself(s *profile.Service, p *profile.Profile, at time.Time) bool {
	if r := s.Rule(); r != nil {
		return slices.ContainsFunc(r.Items(), func(x profile.RuleItem) bool {
			o, ok := p.Service(x.Service, at)
			return ok && machineItself(o, p, at)
		})
	}
	return slices.ContainsFunc(s.Checks, func(c profile.ServiceCheck) bool { return c.Kind == "host" && c.Decides })
}

// worstOf is the vote that a machine has from a row's deciding checks, and whether there are any that were played.
func worstOf(s *profile.Service, takes map[string]take, works bool) (check.Reason, bool) {
	gravity := map[check.State]int{check.Up: 0, check.Degraded: 1, check.Unknown: 2, check.Down: 3}
	worst, any := check.OK, false
	for _, id := range s.Deciding() {
		x, ok := takes[id]
		if !ok {
			continue
		}
		r := x.works
		if !works {
			r = x.fails
		}
		if any = true; gravity[r.State] > gravity[worst.State()] {
			worst = r.Reason
		}
	}
	return worst, any
}

func expr(r *profile.Rule) *history.Expr {
	if r == nil {
		return nil
	}
	e := &history.Expr{Need: r.Need}
	for _, x := range r.Of {
		e.Of = append(e.Of, history.Operand{Service: x.Service, Expr: expr(x.Rule)})
	}
	return e
}

// judgeCounter sees that the counter is ready, that it is limited or stopped by the loss of each thing that it needs, and stopped without all.
func judgeCounter(t *testing.T, name string, p *profile.Profile, s *profile.Service, at time.Time, good, bad map[string]check.Reason) {
	t.Helper()
	var needs []history.Need
	states := func(of map[string]check.Reason) map[string]check.State {
		all := map[string]check.State{}
		for id, r := range of {
			all[id] = r.State()
		}
		return all
	}
	for _, id := range s.Depends {
		dep, ok := p.Service(id, at)
		needs = append(needs, history.Need{Service: id, Vital: ok && dep.Severity == profile.Critical})
	}
	if c := history.Counter(needs, states(good)); c.Readiness != history.Ready {
		t.Errorf("%s: the counter is %s while all works: lost %v, unknown %v", name, c.Readiness, c.Lost, c.Unknown)
	}
	if c := history.Counter(needs, states(bad)); c.Readiness != history.Stopped {
		t.Errorf("%s: the counter is %s while nothing does", name, c.Readiness)
	}
	for _, n := range needs {
		one := maps.Clone(states(good))
		one[n.Service] = check.Down
		want := history.Limited
		if n.Vital {
			want = history.Stopped
		}
		if c := history.Counter(needs, one); c.Readiness != want || !slices.Equal(c.Lost, []string{n.Service}) {
			t.Errorf("%s: without %s the counter is %s, want %s", name, n.Service, c.Readiness, want)
		}
	}
}
