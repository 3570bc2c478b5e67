package main

import (
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/board"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
	"egovmon/collector/verdict"
)

// way is a batch with one result that tells of the way to a service.
func way(unit, id, kind string, path plan.Path, at time.Time, state check.State, facts ...check.Fact) intake.Accepted {
	return intake.Accepted{Machine: "pc-" + unit, Unit: unit, Events: []intake.Event{{Observation: &intake.Observation{Kind: kind, Service: "portal", Path: path,
		Result: check.Result{Check: id, Slot: at, Start: at, State: state, Facts: facts}}}}}
}

func TestLearned(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	p := &profile.Profile{Services: []profile.Service{{Record: profile.Record{ID: "portal"}, Checks: []profile.ServiceCheck{
		{ID: "page", Kind: "http", Decides: true}, {ID: "names", Kind: "dns", Decides: true}, {ID: "other", Kind: "http"}}}}}
	address := func(v float64) check.Fact { return check.Fact{Name: "address_code", Value: v} }
	issuer := func(v float64) check.Fact { return check.Fact{Name: "issuer_code", Value: v} }
	page := func(unit string, before time.Duration, state check.State, facts ...check.Fact) intake.Accepted {
		return way(unit, "portal.page", "http", plan.Internet, now.Add(-before), state, facts...)
	}
	unproven := page("a", 0, check.Up, address(9))
	unproven.Events[0].Observation.ClockUnproven = true
	for _, tc := range []struct {
		name    string
		batches []intake.Accepted
		want    []verdict.Learned
	}{
		{"both", []intake.Accepted{page("a", 0, check.Up, address(0xabc), issuer(0xdef)), page("b", 0, check.Degraded, address(0xabd))},
			[]verdict.Learned{{Service: "portal", Unit: "a", Address: "000000000abc", Issuer: "000000000def"}, {Service: "portal", Unit: "b", Address: "000000000abd"}}},
		{"the latest slot, in whatever order they come", []intake.Accepted{page("a", time.Minute, check.Up, address(2)), page("a", time.Hour, check.Up, address(1))},
			[]verdict.Learned{{Service: "portal", Unit: "a", Address: "000000000002"}}},
		{"a failure tells nothing, and takes nothing back", []intake.Accepted{page("a", time.Hour, check.Up, address(1)), page("a", 0, check.Down, address(2)), page("b", 0, check.Unknown, address(2))},
			[]verdict.Learned{{Service: "portal", Unit: "a", Address: "000000000001"}}},
		{"too long ago", []intake.Accepted{page("a", learnedFor+time.Second, check.Up, address(1))}, nil},
		{"the clock was wrong", []intake.Accepted{unproven}, nil},
		{"a unit's own network", []intake.Accepted{way("a", "portal.page", "http", plan.LAN, now, check.Up, address(1))}, nil},
		{"a DNS server's certificate", []intake.Accepted{way("a", "portal.names", "dns", plan.Internet, now, check.Up, issuer(1))}, nil},
		{"a check that does not decide", []intake.Accepted{way("a", "portal.other", "http", plan.Internet, now, check.Up, address(1))}, nil},
		{"no facts", []intake.Accepted{page("a", 0, check.Up)}, nil},
	} {
		var l learned
		for _, b := range tc.batches {
			l.Add(b)
		}
		if got := l.list(p, now); !slices.EqualFunc(got, tc.want, func(a, b verdict.Learned) bool {
			return a.Service == b.Service && a.Unit == b.Unit && a.Address == b.Address && a.Issuer == b.Issuer
		}) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestLearnedIsBounded(t *testing.T) {
	var l learned
	l.last = make(map[learnedKey]learnedWay, maxLearned)
	for i := range maxLearned {
		l.last[learnedKey{unit: codeName(uint64(i + 1))}] = learnedWay{}
	}
	fact := check.Fact{Name: "address_code", Value: 1}
	l.Add(way("new", "portal.page", "http", plan.Internet, time.Unix(1, 0), check.Up, fact))
	l.Add(way(codeName(1), "", "http", plan.Internet, time.Unix(1, 0), check.Up, fact))
	if len(l.last) != maxLearned {
		t.Errorf("%d are kept, want %d at the most", len(l.last), maxLearned)
	}
}

func TestTheModelLearns(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	p := embedded(t)
	s, ok := p.Service("cong_h", now)
	if !ok {
		now = time.Date(2024, 3, 4, 3, 0, 0, 0, time.UTC)
		if s, ok = p.Service("cong_h", now); !ok {
			t.Fatal("the sample profile has no district portal")
		}
	}
	c := &center{live: new(board.Live), profile: p}
	told := way("xa-an-thanh", s.Deciding()[0], "http", plan.Internet, now, check.Up, check.Fact{Name: "address_code", Value: 0xabc})
	told.Events[0].Observation.Service = s.ID
	if err := c.toLive(t.Context(), told); err != nil {
		t.Fatal(err)
	}
	if got := c.model()(now).Services[s.ID].Address; got != "000000000abc" {
		t.Errorf("the model has the address %q", got)
	}
}
