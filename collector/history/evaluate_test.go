package history

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
)

func figures(lower, upper, coverage float64) Figures {
	return Figures{Lower: &lower, Upper: &upper, Coverage: &coverage}
}

// one is a catalogue of a service that the machine "a" of unit "A" watches.
func one(change func(s *Service)) Catalogue {
	s := Service{ID: "s", Deciding: []string{"s.web"}, Watchers: []Watcher{{Machine: "a", Unit: "A"}}}
	if change != nil {
		change(&s)
	}
	return Catalogue{Services: []Service{s}}
}

func machinesOf(m ...*Machine) map[string]*Machine {
	out := map[string]*Machine{}
	for _, m := range m {
		out[m.Name] = m
	}
	return out
}

func query(from, to int64) Query { return Query{From: unix(from), To: unix(to), Gap: -1} }

func TestEvaluateValidity(t *testing.T) {
	machines := machinesOf(desk("a", "uuuuuuuuuu", map[string]string{"s.web": "uuuudddd.."}))
	tests := []struct {
		name  string
		valid Span
		q     Query
		want  *Account // nil: no row
	}{
		{"the whole of it", Span{}, query(0, 10), &Account{Up: 4, Down: 4, Unknown: 2}},
		{"from valid_from to valid_to", Span{2, 6}, query(0, 10), &Account{Up: 2, Down: 2}},
		{"before the service began", Span{50, 0}, query(0, 10), nil},
		{"what is still to come is in no account", Span{}, Query{From: unix(0), To: unix(1000), Now: unix(6)}, &Account{Up: 4, Down: 2}},
		{"nothing was planned before the first plan", Span{From: -9}, query(-5, 2), &Account{Up: 2, Unknown: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := Evaluate(one(func(s *Service) { s.Valid = tt.valid }), machines, tt.q)
			if tt.want == nil {
				if len(rows) != 0 {
					t.Errorf("rows %+v, want none", rows)
				}
				return
			}
			if len(rows) != 2 || rows[0].Unit != "" || rows[1].Unit != "A" {
				t.Fatalf("rows %+v, want the service and A", rows)
			}
			for _, r := range rows {
				got := r.Calendars[0].Account
				got.Causes = nil
				if d := cmp.Diff(*tt.want, got); d != "" {
					t.Errorf("%q: -want +got\n%s", r.Unit, d)
				}
				if _, ok := r.Calendar(ServiceHours); ok {
					t.Error("service hours without any")
				}
			}
		})
	}
}

func TestNotPlannedAndSilent(t *testing.T) {
	m := desk("a", "uuuuuuuuuu", map[string]string{"s.web": "..u......."})
	m.Epochs[0].Span = Span{1, 8}
	m.Epochs = append(m.Epochs, Epoch{Span{8, 10}, &Plan{}})
	want := "-?u?????--"
	if got := drawing(m.Observed("s.web", Span{0, 10}), 10); got != want {
		t.Errorf("observed %q, want %q", got, want)
	}
	if got := drawing(NewBench(machinesOf(m), Span{0, 10}).Judge(one(nil).Services[0], Span{0, 10}).Runs, 10); got != want {
		t.Errorf("judged %q, want %q", got, want)
	}
}

// TestExclusions: what was announced in time is left out; for what was excluded afterwards both figures are given.
func TestExclusions(t *testing.T) {
	machines := machinesOf(desk("a", "uuuuuuuuuu", map[string]string{"s.web": "uuuuuudddd"}))
	cat := one(func(s *Service) {
		s.Excluded = []Exclusion{{Span: Span{6, 8}, InTime: true}, {Span: Span{7, 9}}, {Span: Span{0, 1}, InTime: true, Unit: "A"}}
		s.Hours = []Span{{4, 8}}
	})
	rows := Evaluate(cat, machines, query(0, 10))
	timeout := func(n int64) map[check.Reason]int64 { return map[check.Reason]int64{check.Timeout: n} }
	want := []Counted{
		{Calendar: Hours24x7, Account: Account{Up: 6, Down: 2, Excluded: 2, Causes: timeout(2)}, Figures: figures(0.75, 0.75, 1),
			Afterwards: &Recount{Account{Up: 6, Down: 1, Excluded: 3, Causes: timeout(1)}, figures(6./7, 6./7, 1)}},
		{Calendar: ServiceHours, Account: Account{Up: 2, Excluded: 2}, Figures: figures(1, 1, 1),
			Afterwards: &Recount{Account{Up: 2, Excluded: 2}, figures(1, 1, 1)}},
	}
	if d := cmp.Diff(want, rows[0].Calendars); d != "" {
		t.Errorf("the service: -want +got\n%s", d)
	}
	if got := rows[1].Calendars[0].Account; got.Up != 5 || got.Excluded != 3 {
		t.Errorf("unit A: %+v, want 5 up and 3 excluded", got)
	}
	cat.Services[0].Excluded = cat.Services[0].Excluded[:1]
	if c := Evaluate(cat, machines, query(0, 10))[0].Calendars[0]; c.Afterwards != nil {
		t.Errorf("all was announced in time: %+v", c.Afterwards)
	}
	cat.Services[0].Excluded = []Exclusion{{Span: Span{50, 60}}}
	if c := Evaluate(cat, machines, query(0, 10))[0].Calendars[0]; c.Afterwards != nil {
		t.Errorf("excluded afterwards, but not in these seconds: %+v", c.Afterwards)
	}
}

// TestTermsChange: a service whose terms change stands once for each stretch, and its rows go on.
func TestTermsChange(t *testing.T) {
	machines := machinesOf(desk("a", "uuuuuuuuuu", map[string]string{"s.web": "uuudddd...", "s.new": "......dduu"}))
	cat := one(func(s *Service) { s.Valid = Span{0, 6} })
	later := cat.Services[0]
	later.Valid, later.Deciding = Span{From: 6}, []string{"s.new"}
	other := cat.Services[0]
	other.ID = "t"
	cat.Services = append(cat.Services, other, later)
	rows := Evaluate(cat, machines, Query{From: unix(0), To: unix(10), Machines: true})
	var names []string
	for _, r := range rows {
		names = append(names, fmt.Sprint(r.Service, "/", r.Unit, "/", r.Check))
	}
	if d := cmp.Diff([]string{"s//", "s/A/", "s/A/s.web", "s/A/s.new", "t//", "t/A/", "t/A/s.web"}, names); d != "" {
		t.Fatalf("-want +got\n%s", d)
	}
	if a := rows[0].Calendars[0].Account; a.Up != 5 || a.Down != 5 {
		t.Errorf("account %+v, want 5 up and 5 down", a)
	}
	want := []Outage{{From: unix(3), To: unix(8), Down: 5, Reason: check.Timeout}}
	if d := cmp.Diff(want, rows[0].Outages); d != "" {
		t.Errorf("one outage over the change: -want +got\n%s", d)
	}
}

func TestUnitHours(t *testing.T) {
	machines := machinesOf(desk("a", "uuuu", map[string]string{"s.web": "uudd"}))
	rows := Evaluate(one(func(s *Service) {
		s.Hours, s.UnitHours = []Span{{2, 3}, {0, 1}}, map[string][]Span{"A": {{3, 4}}}
	}), machines, query(0, 4))
	all, _ := rows[0].Calendar(ServiceHours)
	unit, _ := rows[1].Calendar(ServiceHours)
	if all.Account.Up != 1 || all.Account.Down != 1 || unit.Account.Up != 0 || unit.Account.Down != 1 {
		t.Errorf("the service %+v, the unit %+v", all.Account, unit.Account)
	}
}

func TestRollup(t *testing.T) {
	machines := machinesOf(desk("a", "uuuu", map[string]string{"s.web": "ud.u"}))
	rows := Evaluate(one(func(s *Service) { s.Hours = []Span{} }), machines, query(0, 4))
	want := []Value{{"availability_lower", Hours24x7, 0.5}, {"availability_upper", Hours24x7, 0.75}, {"coverage", Hours24x7, 0.75}, {"down_seconds", Hours24x7, 1}}
	if d := cmp.Diff(want, rows[0].Rollup()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestEverySecondOnce: whatever was measured, the accounts of every row hold each second of the validity exactly once, and
// availability is an interval.
func TestEverySecondOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(21, 2))
	for range 500 {
		n := 1 + rnd.IntN(60)
		svc, machines := randomDistrict(rnd, n)
		svc.Valid = Span{int64(rnd.IntN(n)), int64(rnd.IntN(n + 1))}
		svc.Excluded = []Exclusion{{Span: Span{int64(rnd.IntN(n)), int64(rnd.IntN(n))}, InTime: rnd.IntN(2) == 0}}
		want := Span{0, int64(n)}.Meet(open(svc.Valid)).Seconds()
		q := query(0, int64(n))
		q.Machines = true
		for _, r := range Evaluate(Catalogue{[]Service{svc}}, machines, q) {
			c := r.Calendars[0]
			if c.Account.Total() != want || c.Afterwards != nil && c.Afterwards.Account.Total() != want {
				t.Fatalf("%+v: %d seconds, want %d", r, c.Account.Total(), want)
			}
			if f := c.Figures; f.Lower != nil && (*f.Lower > *f.Upper || *f.Upper-*f.Lower+*f.Coverage < 1-1e-9 || *f.Upper-*f.Lower+*f.Coverage > 1+1e-9) {
				t.Fatalf("%+v: figures do not fit together", c)
			}
		}
	}
}
