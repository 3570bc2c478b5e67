package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// randomSpans returns up to four stretches of n seconds as somebody may have written them: in no order, some of them empty.
func randomSpans(rnd *rand.Rand, n int) []Span {
	out := make([]Span, rnd.IntN(5))
	for i := range out {
		out[i] = Span{int64(rnd.IntN(n)), int64(rnd.IntN(n + 1))}
	}
	return out
}

// randomCatalogue has a service whose terms change once, one that rests on it and on one check of it, and one of words.
func randomCatalogue(rnd *rand.Rand, n int) (Catalogue, map[string]*Machine) {
	svc, machines := randomDistrict(rnd, n)
	terms := func(s *Service) {
		if rnd.IntN(3) > 0 {
			s.Hours = randomSpans(rnd, n)
		}
		if rnd.IntN(3) == 0 {
			s.UnitHours = map[string][]Span{"u1": randomSpans(rnd, n)}
		}
		for _, e := range randomSpans(rnd, n) {
			s.Excluded = append(s.Excluded, Exclusion{e, rnd.IntN(2) == 0, []string{"", "", "u0", "u2"}[rnd.IntN(4)]})
		}
	}
	later := svc
	svc.Valid.To = int64(1 + rnd.IntN(n))
	later.Valid.From = svc.Valid.To
	later.Deciding = []string{"o.web"}
	derived := Service{ID: "d", Watchers: svc.Watchers, Derived: &Expr{Need: 1 + rnd.IntN(2), Of: []Operand{
		{Service: "s"}, {Expr: &Expr{Need: 1, Of: []Operand{{Service: "s", Check: "s.tls"}, {Service: "w"}}}}}}}
	words := Service{ID: "w", Watchers: svc.Watchers, Attested: true, Shared: rnd.IntN(2) == 0}
	for _, s := range randomSpans(rnd, n) {
		words.Words = append(words.Words, Word{s, []string{"", "u1"}[rnd.IntN(2)], letters["ugd"[rnd.IntN(3)]]})
	}
	all := []Service{svc, derived, words, later}
	for i := range all {
		terms(&all[i])
	}
	if rnd.IntN(3) == 0 {
		slices.Reverse(all) // the later terms stand first
	}
	return Catalogue{all}, machines
}

// TestQuickIsPlain: whatever was measured and asked for, the quick way gives the rows that the plain one does, to the bit.
func TestQuickIsPlain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 4))
	late, outages, several := 0, 0, 0
	for round := range 1500 {
		n := 1 + rnd.IntN(80)
		cat, machines := randomCatalogue(rnd, n)
		from := int64(rnd.IntN(n))
		q := Query{From: unix(from), To: unix(from + int64(rnd.IntN(n))), Machines: rnd.IntN(2) == 0, Gap: int64(rnd.IntN(8) - 1)}
		if rnd.IntN(4) == 0 {
			q.Service = []string{"s", "d", "w"}[rnd.IntN(3)]
		}
		if rnd.IntN(4) == 0 {
			q.Unit = fmt.Sprint("u", rnd.IntN(4))
		}
		want, got := plainEvaluate(cat, machines, q), Evaluate(cat, machines, q)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("round %d: -plain +quick\n%.1500s", round, d)
		}
		for _, r := range got {
			outages += len(r.Outages)
			for _, c := range r.Calendars {
				if c.Afterwards != nil && c.Afterwards.Figures != c.Figures {
					late++
				}
				if len(c.Account.Causes) > 2 {
					several++
				}
			}
		}
	}
	if late < 100 || outages < 1000 || several < 1000 {
		t.Errorf("it hardly says anything: %d late rows, %d outages, %d accounts of several causes", late, outages, several)
	}
}

// TestMeasure: long runs over many stretches, as a year over its days, and short ones within a stretch.
func TestMeasure(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		var spans []Span
		for at := int64(0); at < 400; at += int64(2 + rnd.IntN(20)) {
			spans = append(spans, Span{at, at + int64(rnd.IntN(9))})
		}
		hours := Join(spans...)
		gone := Join(randomSpans(rnd, 400)...)
		var runs []Run
		for at := int64(rnd.IntN(30)); at < 420; {
			to := at + 1 + int64(rnd.IntN(1+rnd.IntN(200)))
			runs = Append(runs, Run{Span{at, to}, letters["ugdcn?"[rnd.IntN(6)]]})
			at = to + int64(rnd.IntN(2)*rnd.IntN(30))
		}
		for _, h := range [][]Span{hours, nil, {}} {
			if d := cmp.Diff(plainCount(runs, h, gone), Count(runs, h, gone)); d != "" {
				t.Fatalf("hours %v, excluded %v: -plain +quick\n%s", h, gone, d)
			}
		}
		if d := cmp.Diff(plainOutages(slices.Clone(runs), 7), Outages(runs, 7)); d != "" {
			t.Fatalf("-plain +quick\n%s", d)
		}
	}
}
