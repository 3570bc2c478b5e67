package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/plan"

	"github.com/google/go-cmp/cmp"
)

// desk makes a machine whose plan asks, from second 0 to 100, for an uplink check of the Internet and for the checks
// given as "id", "id@tslcd" or "id@lan"; timelines are drawings.
func desk(name, uplink string, checks map[string]string) *Machine {
	m := &Machine{Name: name, Runs: map[string][]Run{"line.uplink": drawn(uplink)}}
	p := &Plan{Checks: []Check{{ID: "line.uplink", Kind: "uplink", Path: plan.Internet, Every: 60}}}
	for id, drawing := range checks {
		id, path, ok := strings.Cut(id, "@")
		if !ok {
			path = string(plan.Internet)
		}
		kind := "http"
		if id == "line.gateway" {
			kind = "gateway"
		}
		p.Checks = append(p.Checks, Check{ID: id, Kind: kind, Path: plan.Path(path), Every: 60})
		m.Runs[id] = drawn(drawing)
	}
	m.Epochs = []Epoch{{Span{0, 100}, p}}
	return m
}

func TestVotes(t *testing.T) {
	one := []Watcher{{Machine: "a", Unit: "A"}}
	two := []Watcher{{Machine: "a", Unit: "A"}, {Machine: "b", Unit: "B"}}
	three := append(slices.Clone(two), Watcher{Machine: "c", Unit: "C"})
	web := []string{"s.web"}
	tests := []struct {
		name     string
		svc      Service
		machines []*Machine
		want     string
		units    []string
	}{
		{"the worst of the deciding checks: down > unknown > degraded > up",
			Service{Deciding: []string{"s.web", "s.tls"}, Watchers: one},
			[]*Machine{desk("a", "uuuuuuuuu", map[string]string{"s.web": "uuuuggi.d", "s.tls": "ugduu.uuu"})},
			"ugdug?i?d", nil},
		{"a check that does not decide only explains",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "uudd", "s.tls": "dduu"})}, "uudd", nil},
		{"a deciding check that is not configured leaves no vote but down",
			Service{Deciding: []string{"s.web", "s.tls"}, Watchers: []Watcher{{Machine: "a", Unit: "A", NotConfigured: []string{"s.tls"}}}},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "ugd."})}, "zzd?", nil},
		{"a deciding check that no plan has leaves no vote but down",
			Service{Deciding: []string{"s.web", "s.tls"}, Watchers: one},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "ugd."})}, "--d?", nil},
		{"down without a proven line is no vote",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "ugd?", map[string]string{"s.web": "dddd"})}, "ddnn", nil},
		{"any check over the same path proves the line, another path's does not",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "dddd", map[string]string{"s.web": "dddd", "o.web": "u.g.", "p.web@tslcd": "uuuu"})}, "dndn", nil},
		{"a result of no_uplink is never proven",
			Service{Deciding: []string{"s.web", "s.tls"}, Watchers: one},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "nnud", "s.tls": "ddnn"})}, "nnnn", nil},
		{"the unit's own network needs no proof",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "dddd", map[string]string{"s.web@lan": "udu?"})}, "udu?", nil},
		{"a path without anchors counts as proven",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "dddd", map[string]string{"s.web@tslcd": "udu?"})}, "udu?", nil},
		{"what judges the line needs no proof: a cut line is down for the line",
			Service{Deciding: []string{"line.uplink"}, Watchers: one},
			[]*Machine{desk("a", "uddu", map[string]string{"s.web": "nnnn"})}, "uddu", nil},
		{"clock_unproven is unknown",
			Service{Deciding: web, Watchers: one},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "ukku"})}, "ukku", nil},
		{"a unit has the best of its machines; unknown does not vote",
			Service{Deciding: web, Watchers: []Watcher{{Machine: "a", Unit: "A"}, {Machine: "b", Unit: "A"}}},
			[]*Machine{desk("a", "uuuuuuu", map[string]string{"s.web": "ddgu.i."}), desk("b", "uuuuddu", map[string]string{"s.web": "ugdd..d"})},
			"uggu?id", []string{"uggu?id"}},
		{"a machine whose line is cut does not outvote its neighbour",
			Service{Deciding: web, Watchers: []Watcher{{Machine: "a", Unit: "A"}, {Machine: "b", Unit: "A"}}},
			[]*Machine{desk("a", "dddd", map[string]string{"s.web": "dddd"}), desk("b", "uuuu", map[string]string{"s.web": "uduu"})},
			"uduu", []string{"uduu"}},
		{"the quorum is two units where two are planned; unknown is not down",
			Service{Deciding: web, Watchers: two},
			[]*Machine{desk("a", "uuuuuu", map[string]string{"s.web": "uudd.g"}), desk("b", "uuuudu", map[string]string{"s.web": "ududdg"})},
			"uuudng", []string{"uudd?g", "ududng"}},
		{"at least half of the votes up is up; at least half of those degraded is degraded",
			Service{Deciding: web, Watchers: three},
			[]*Machine{desk("a", "uuuuuu", map[string]string{"s.web": "ugudgg"}), desk("b", "uuuuuu", map[string]string{"s.web": "uudddg"}),
				desk("c", "uuuuuu", map[string]string{"s.web": "guddc."})},
			"uuddcg", []string{"ugudgg", "uudddg", "guddc?"}},
		{"one of two degraded is half",
			Service{Deciding: web, Watchers: two},
			[]*Machine{desk("a", "uuu", map[string]string{"s.web": "gud"}), desk("b", "uuu", map[string]string{"s.web": "ugg"})},
			"ggg", nil},
		{"a quorum of three units is not met by two",
			Service{Deciding: web, Watchers: three, Quorum: Quorum{Units: 3}},
			[]*Machine{desk("a", "uu", map[string]string{"s.web": "ud"}), desk("b", "uu", map[string]string{"s.web": "ud"}),
				desk("c", "uu", map[string]string{"s.web": ".d"})},
			"?d", nil},
		{"a quorum of two carriers: unknown carriers count as one",
			Service{Deciding: web, Quorum: Quorum{Units: 2, Carriers: 2}, Watchers: []Watcher{
				{Machine: "a", Unit: "A", Carrier: "x"}, {Machine: "b", Unit: "B", Carrier: "x"}, {Machine: "c", Unit: "C"}}},
			[]*Machine{desk("a", "uuu", map[string]string{"s.web": "uud"}), desk("b", "uuu", map[string]string{"s.web": "ud."}),
				desk("c", "uuu", map[string]string{"s.web": ".ud"})},
			"?ud", nil},
		{"one unit alone decides where only one is planned",
			Service{Deciding: web, Watchers: two},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "ud.u"}), desk("b", "uuuu", map[string]string{"o.web": "uuuu"})},
			"ud-u", []string{"ud?u", "----"}},
		{"no machine, no plan",
			Service{Deciding: web, Watchers: one}, nil, "----", []string{"----"}},
		{"a watcher counts while it is one",
			Service{Deciding: web, Watchers: []Watcher{{Machine: "a", Unit: "A", Valid: Span{1, 3}}}},
			[]*Machine{desk("a", "uuuu", map[string]string{"s.web": "dddd"})}, "-dd-", []string{"-dd-"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			machines := map[string]*Machine{}
			for _, m := range tt.machines {
				machines[m.Name] = m
			}
			n := len(tt.want)
			j := NewBench(machines, Span{0, int64(n)}).Judge(tt.svc, Span{0, int64(n)})
			if got := drawing(j.Runs, n); got != tt.want {
				t.Errorf("service %q, want %q", got, tt.want)
			}
			for i, want := range tt.units {
				if got := drawing(j.Units[i].Runs, n); got != want {
					t.Errorf("unit %s %q, want %q", j.Units[i].ID, got, want)
				}
			}
		})
	}
}

// judgeSecond says the state of a service at one second in the words of rule votes/1, one sentence after the other.
func judgeSecond(svc Service, machines map[string]*Machine, t int64) (state check.State, units map[string]check.State) {
	at := func(m *Machine, id string) check.Reason {
		for _, r := range m.Runs[id] {
			if r.From <= t && t < r.To {
				return r.Reason
			}
		}
		return check.Silent
	}
	units = map[string]check.State{}
	carrier := map[string]string{}
	planned := map[string]bool{}
	for _, w := range svc.Watchers {
		if _, ok := units[w.Unit]; !ok {
			units[w.Unit] = check.Unknown
		}
		m := machines[w.Machine]
		if m == nil || t < w.Valid.From || w.Valid.To != 0 && t >= w.Valid.To {
			continue
		}
		var inForce *Plan
		for _, e := range m.Epochs {
			if e.From <= t && t < e.To {
				inForce = e.Plan
			}
		}
		if inForce == nil {
			continue
		}
		var saw []check.State
		proven := true
		for _, id := range svc.Deciding {
			k := slices.IndexFunc(inForce.Checks, func(c Check) bool { return c.ID == id })
			if k < 0 {
				saw = append(saw, check.Unknown)
				continue
			}
			planned[w.Unit] = true
			saw = append(saw, at(m, id).State())
			if at(m, id) == check.NoUplink {
				proven = false
			}
			c := inForce.Checks[k]
			if c.Path == plan.LAN || c.Kind == "uplink" || c.Kind == "gateway" {
				continue
			}
			anchors, good := false, false
			for _, o := range inForce.Checks {
				if o.Path == c.Path {
					anchors = anchors || o.Kind == "uplink"
					s := at(m, o.ID).State()
					good = good || s == check.Up || s == check.Degraded
				}
			}
			proven = proven && (good || !anchors)
		}
		vote := check.Up
		for _, s := range []check.State{check.Degraded, check.Unknown, check.Down} {
			if slices.Contains(saw, s) {
				vote = s
			}
		}
		if !proven || vote == check.Unknown {
			continue
		}
		had := units[w.Unit]
		if had == check.Unknown || had == check.Down && vote != check.Down || had == check.Degraded && vote == check.Up {
			units[w.Unit], carrier[w.Unit] = vote, w.Carrier
		}
	}
	var voting, good, degraded int
	carriers := map[string]bool{}
	for u, s := range units {
		if s == check.Unknown {
			continue
		}
		voting++
		carriers[carrier[u]] = true
		if s != check.Down {
			good++
		}
		if s == check.Degraded {
			degraded++
		}
	}
	need := svc.Quorum.Units
	if need == 0 {
		need = min(2, len(planned))
	}
	switch {
	case voting == 0 || voting < need || len(carriers) < svc.Quorum.Carriers:
		return check.Unknown, units
	case good*2 < voting:
		return check.Down, units
	case degraded*2 >= good:
		return check.Degraded, units
	}
	return check.Up, units
}

// randomDistrict makes machines with random plans and timelines, and a service that they watch.
func randomDistrict(rnd *rand.Rand, n int) (Service, map[string]*Machine) {
	ids := []string{"s.web", "s.tls", "o.web", "line.uplink", "line.t"}
	svc := Service{ID: "s", Deciding: ids[:1+rnd.IntN(2)], Quorum: Quorum{Units: rnd.IntN(4), Carriers: rnd.IntN(3)}}
	machines := map[string]*Machine{}
	for i := range 1 + rnd.IntN(6) {
		m := &Machine{Name: fmt.Sprint("m", i), Runs: map[string][]Run{}}
		for _, id := range ids {
			m.Runs[id] = drawn(scribble(rnd, n, "uuugddn.i"))
		}
		var applied []Plan
		for at := rnd.IntN(n); at < n; at += 1 + rnd.IntN(n) {
			p := Plan{At: unix(int64(at))}
			for _, id := range ids {
				c := Check{ID: id, Kind: "http", Path: []plan.Path{plan.Internet, plan.TSLCD, plan.LAN}[rnd.IntN(3)]}
				if strings.HasPrefix(id, "line.") {
					c.Kind = "uplink"
				}
				if rnd.IntN(6) > 0 {
					p.Checks = append(p.Checks, c)
				}
			}
			applied = append(applied, p)
		}
		m.Epochs = Epochs(applied, int64(n))
		if rnd.IntN(10) > 0 {
			machines[m.Name] = m
		}
		w := Watcher{Machine: m.Name, Unit: fmt.Sprint("u", rnd.IntN(4)), Carrier: []string{"", "x", "y"}[rnd.IntN(3)]}
		if rnd.IntN(4) == 0 {
			w.Valid = Span{int64(rnd.IntN(n)), int64(rnd.IntN(n + 1))}
		}
		svc.Watchers = append(svc.Watchers, w)
	}
	return svc, machines
}

// TestVotesProperty compares the sweep with the rule told second by second.
func TestVotesProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 11))
	for round := range 4000 {
		n := 1 + rnd.IntN(40)
		svc, machines := randomDistrict(rnd, n)
		j := NewBench(machines, Span{0, int64(n)}).Judge(svc, Span{0, int64(n)})
		for s := range int64(n) {
			want, units := judgeSecond(svc, machines, s)
			if got := stateAt(t, j.Runs, s); got != want {
				t.Fatalf("round %d second %d: %v, want %v\n%s", round, s, got, want, cmp.Diff(svc, Service{}))
			}
			for _, u := range j.Units {
				if got := stateAt(t, u.Runs, s); got != units[u.ID] {
					t.Fatalf("round %d second %d unit %s: %v, want %v", round, s, u.ID, got, units[u.ID])
				}
			}
		}
	}
}

// stateAt returns the state at a second, which exactly one run must cover.
func stateAt(t *testing.T, runs []Run, s int64) check.State {
	t.Helper()
	var found []Run
	for _, r := range runs {
		if r.Holds(s) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("second %d is in %d runs, want 1: %v", s, len(found), runs)
	}
	return found[0].State()
}
