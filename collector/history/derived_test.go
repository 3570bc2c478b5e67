package history_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// runsOf writes what was confirmed of a service as one word a second, so that tests need no machines.
func said(id string, reasons ...check.Reason) history.Service {
	s := history.Service{ID: id, Attested: true}
	for i, r := range reasons {
		s.Words = append(s.Words, history.Word{Span: history.Span{From: int64(i), To: int64(i + 1)}, Reason: r})
	}
	return s
}

func TestDerived(t *testing.T) {
	item := func(names ...string) (of []history.Operand) {
		for _, n := range names {
			of = append(of, history.Operand{Service: n})
		}
		return of
	}
	all := func(of ...history.Operand) *history.Expr { return &history.Expr{Need: len(of), Of: of} }
	anyOf := func(of ...history.Operand) *history.Expr { return &history.Expr{Need: 1, Of: of} }
	const ok, slow, lost, dead = check.OK, check.Slow, check.DataLost, check.Timeout
	for _, tt := range []struct {
		name    string
		expr    *history.Expr
		a, b, c check.Reason
		want    check.Reason
	}{
		{"all work", all(item("a", "b", "c")...), ok, ok, ok, ok},
		{"all: one is degraded", all(item("a", "b", "c")...), ok, slow, ok, slow},
		{"all: one is not known", all(item("a", "b", "c")...), ok, slow, lost, lost},
		{"all: one is down, another not known", all(item("a", "b", "c")...), lost, dead, ok, dead},
		{"any: one works, the rest is not known", anyOf(item("a", "b", "c")...), lost, dead, ok, ok},
		{"any: one is degraded", anyOf(item("a", "b", "c")...), dead, slow, lost, slow},
		{"any: one is not known, the rest is down", anyOf(item("a", "b", "c")...), dead, lost, dead, lost},
		{"any: all are down", anyOf(item("a", "b", "c")...), dead, dead, dead, dead},
		{"two of three work", &history.Expr{Need: 2, Of: item("a", "b", "c")}, ok, dead, ok, ok},
		{"two of three, one of them degraded", &history.Expr{Need: 2, Of: item("a", "b", "c")}, ok, dead, slow, slow},
		{"two of three, if the unknown one works", &history.Expr{Need: 2, Of: item("a", "b", "c")}, ok, dead, lost, lost},
		{"two of three cannot work any more", &history.Expr{Need: 2, Of: item("a", "b", "c")}, dead, lost, dead, dead},
		{"a rule in a rule", all(history.Operand{Service: "a"}, history.Operand{Expr: anyOf(item("b", "c")...)}), ok, dead, ok, ok},
		{"a rule in a rule that fails", all(history.Operand{Service: "a"}, history.Operand{Expr: anyOf(item("b", "c")...)}), ok, dead, dead, dead},
		{"nothing", &history.Expr{}, ok, ok, ok, check.NotPlanned},
		{"a service that nobody has", all(item("a", "x")...), ok, ok, ok, check.NotPlanned},
	} {
		cat := history.Catalogue{Services: []history.Service{said("a", tt.a), said("b", tt.b), said("c", tt.c), {ID: "d", Derived: tt.expr}}}
		j := history.NewBench(nil, history.Span{From: 0, To: 1}).With(cat).Judge(cat.Services[3], history.Span{From: 0, To: 1})
		if d := cmp.Diff([]history.Run{{Span: history.Span{From: 0, To: 1}, Reason: tt.want}}, j.Runs); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// A derived service follows second by second, also over a change of what it rests on, in each unit by what that unit has.
func TestDerivedByUnit(t *testing.T) {
	a := said("a", check.OK, check.Timeout, check.OK)
	a.Watchers = []history.Watcher{{Machine: "m1", Unit: "u1"}, {Machine: "m2", Unit: "u2"}}
	a.Words = append(a.Words, history.Word{Span: history.Span{From: 2, To: 3}, Unit: "u2", Reason: check.Slow})
	before := history.Service{ID: "b", Attested: true, Valid: history.Span{From: 0, To: 2}, Words: said("", check.OK, check.OK).Words}
	after := history.Service{ID: "b", Attested: true, Valid: history.Span{From: 2}}
	d := history.Service{ID: "d", Watchers: a.Watchers, Derived: &history.Expr{Need: 1, Of: []history.Operand{{Service: "a"}}}}
	e := history.Service{ID: "e", Derived: &history.Expr{Need: 2, Of: []history.Operand{{Service: "d"}, {Service: "b"}}}}
	cat := history.Catalogue{Services: []history.Service{a, before, after, d, e}}
	s := history.Span{From: 0, To: 4}
	bench := history.NewBench(nil, s).With(cat)
	run := func(from, to int64, r check.Reason) history.Run {
		return history.Run{Span: history.Span{From: from, To: to}, Reason: r}
	}
	j := bench.Judge(d, s)
	if diff := cmp.Diff([]history.Unit{
		{ID: "u1", Runs: []history.Run{run(0, 1, check.OK), run(1, 2, check.Timeout), run(2, 3, check.OK), run(3, 4, check.EvidenceExpired)}},
		{ID: "u2", Runs: []history.Run{run(0, 1, check.OK), run(1, 2, check.Timeout), run(2, 3, check.Slow), run(3, 4, check.EvidenceExpired)}},
	}, j.Units); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]history.Run{run(0, 1, check.OK), run(1, 2, check.Timeout), run(2, 4, check.EvidenceMissing)}[:2], bench.Judge(e, s).Runs[:2]); diff != "" {
		t.Errorf("the whole (-want +got):\n%s", diff)
	}
	if last := bench.Judge(e, s).Runs; last[len(last)-1].Reason.State() != check.Unknown {
		t.Errorf("after the change: %v", last)
	}
	// Another unit's line says nothing of one's own; what the district watches for all is everybody's.
	line := said("line", check.OK)
	line.Watchers = []history.Watcher{{Machine: "m1", Unit: "u1"}}
	way := history.Service{ID: "way", Watchers: a.Watchers, Derived: &history.Expr{Need: 1, Of: []history.Operand{{Service: "line"}}}}
	for _, shared := range []bool{false, true} {
		line.Shared = shared
		one := history.Span{From: 0, To: 1}
		got := history.NewBench(nil, one).With(history.Catalogue{Services: []history.Service{line, way}}).Judge(way, one)
		want := map[bool]check.Reason{false: check.NotPlanned, true: check.OK}[shared]
		if got.Units[0].Runs[0].Reason != check.OK || got.Units[1].Runs[0].Reason != want {
			t.Errorf("shared %v: %v", shared, got.Units)
		}
	}
	circle := history.Catalogue{Services: []history.Service{{ID: "x", Derived: &history.Expr{Need: 1, Of: []history.Operand{{Service: "x"}}}}}}
	if got := history.NewBench(nil, s).With(circle).Judge(circle.Services[0], s).Runs; got[0].Reason != check.NotPlanned {
		t.Errorf("a circle: %v", got)
	}
}

func TestAttestedByWords(t *testing.T) {
	run := func(from, to int64, r check.Reason) history.Run {
		return history.Run{Span: history.Span{From: from, To: to}, Reason: r}
	}
	word := func(from, to int64, unit string, r check.Reason) history.Word {
		return history.Word{Span: history.Span{From: from, To: to}, Unit: unit, Reason: r}
	}
	s := history.Span{From: 0, To: 10}
	for _, tt := range []struct {
		name  string
		words []history.Word
		want  []history.Run
	}{
		{"nothing", nil, []history.Run{run(0, 10, check.EvidenceMissing)}},
		{"expires", []history.Word{word(2, 5, "", check.OK)}, []history.Run{run(0, 2, check.EvidenceMissing), run(2, 5, check.OK), run(5, 10, check.EvidenceExpired)}},
		{"renewed after it had expired", []history.Word{word(2, 4, "", check.OK), word(6, 12, "", check.Timeout)}, []history.Run{run(0, 2, check.EvidenceMissing), run(2, 4, check.OK), run(4, 6, check.EvidenceExpired), run(6, 10, check.Timeout)}},
		{"another word in its time", []history.Word{word(0, 8, "", check.OK), word(3, 5, "", check.Partial)}, []history.Run{run(0, 3, check.OK), run(3, 5, check.Partial), run(5, 10, check.EvidenceExpired)}},
		{"a later one that begins earlier", []history.Word{word(4, 8, "", check.OK), word(2, 6, "", check.Timeout)}, []history.Run{run(0, 2, check.EvidenceMissing), run(2, 6, check.Timeout), run(6, 10, check.EvidenceExpired)}},
		{"of another unit", []history.Word{word(0, 10, "u2", check.OK)}, []history.Run{run(0, 10, check.EvidenceMissing)}},
		{"empty", []history.Word{word(5, 5, "", check.OK)}, []history.Run{run(0, 10, check.EvidenceMissing)}},
	} {
		svc := history.Service{ID: "a", Attested: true, Words: tt.words, Watchers: []history.Watcher{{Machine: "m", Unit: "u1"}}}
		j := history.NewBench(nil, s).Judge(svc, s)
		if d := cmp.Diff(tt.want, j.Units[0].Runs); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		if d := cmp.Diff(tt.want, j.Runs); d != "" {
			t.Errorf("%s, the whole (-want +got):\n%s", tt.name, d)
		}
	}
}
