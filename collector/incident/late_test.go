package incident

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/verdict"
)

var lateResults = flag.Int("late", 30_000, "how many late results TestLateDataByTheMillion sends; 1000000 takes minutes")

// TestLateDataByTheMillion: fourteen of twenty-four units were cut off for weeks and send all at once what they measured, a
// service that was down all the time. The figures of those weeks change by it, and nothing opens, however much comes. What the
// same units see down now opens an incident, as it would have without them.
func TestLateDataByTheMillion(t *testing.T) {
	const units, away, slot, bundle = 24, 14, 60, 500
	slots := int64(*lateResults / away)
	now := start.Truncate(time.Minute)
	begun := now.Add(-time.Duration(slots) * slot * time.Second)
	live := now.Add(-10 * time.Minute) // since when the others measure
	x, err := index.Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	service := history.Service{ID: "s", Valid: history.Span{From: begun.Unix()}, Deciding: []string{"s.web"}}
	model := verdict.Model{Services: map[string]verdict.Service{"s": {Every: slot * time.Second, Path: plan.Internet}}, Units: map[string]verdict.Unit{}}
	for i := range units {
		u := fmt.Sprintf("xa-%02d", i)
		service.Watchers = append(service.Watchers, history.Watcher{Machine: "pc-" + u, Unit: u})
		model.Units[u] = verdict.Unit{Expected: true, Machines: []string{"pc-" + u}}
	}
	cat := history.Catalogue{Services: []history.Service{service}}
	leaf := int64(0)
	feed := func(unit int, events ...history.Event) {
		t.Helper()
		u := service.Watchers[unit]
		if err := x.Add(t.Context(), history.Batch{Leaf: leaf, Machine: u.Machine, Unit: u.Unit, Journal: "j", Events: events}); err != nil {
			t.Fatal(err)
		}
		leaf++
	}
	first := func(at time.Time) []history.Event {
		return []history.Event{{Begin: &history.Begin{At: at}}, {Plan: &history.Plan{At: at, SHA256: "p", Checks: []history.Check{{ID: "s.web", Kind: "http", Path: plan.LAN, Every: slot}}}}}
	}
	seen := func(from time.Time, n int64, r check.Reason) (out []history.Event) {
		for k := range n {
			at := from.Add(time.Duration(k) * slot * time.Second)
			out = append(out, history.Event{Observation: &history.Observation{Check: "s.web", Start: at, From: at, To: at.Add(slot * time.Second), Reason: r}})
		}
		return out
	}
	down := func() float64 {
		t.Helper()
		rows, err := x.Availability(t.Context(), cat, history.Query{From: begun, To: live, Now: now})
		if err != nil || len(rows) == 0 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		c, _ := rows[0].Calendar(history.Hours24x7)
		return float64(c.Account.Down)
	}
	var book Book
	m := NewMachine(Policy{}, now)
	step := func() {
		t.Helper()
		standings, err := x.Now(t.Context(), cat, index.Moment{At: now, Back: 24 * time.Hour, Hold: 90 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var all []verdict.Standing
		for _, s := range standings {
			all = append(all, verdict.Standing{Service: s.Service, Unit: s.Unit, State: s.State, Reason: s.Reason, Since: s.Since, Last: s.Last})
		}
		events, _ := m.Step(&book, verdict.Judge(all, model, verdict.Moment{Now: now, Lateness: 90 * time.Second}).Findings, now)
		for _, e := range events {
			if err := book.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := away; i < units; i++ {
		feed(i, append(first(live), seen(live, 10, check.OK)...)...)
	}
	step()
	if d := down(); d != 0 {
		t.Fatalf("%.0f s down before anything late came", d)
	}
	for k := int64(0); k < slots-12; k += bundle {
		for i := range away {
			events := seen(begun.Add(time.Duration(k)*slot*time.Second), min(bundle, slots-12-k), check.Timeout)
			if k == 0 {
				events = append(first(begun), events...)
			}
			feed(i, events...)
		}
		step()
		if open := book.Open(); len(open) > 0 {
			t.Fatalf("after %d late results each, %d incidents are open: %s", k, len(open), open[0].ID)
		}
	}
	if got, want := down(), float64((slots-12)*slot); got != want {
		t.Errorf("%.0f s down once all has come, want %.0f", got, want)
	}
	for range 3 { // what is down now is told, late data or not
		for i := range units {
			feed(i, seen(now, 1, check.Timeout)...)
		}
		now = now.Add(slot * time.Second)
		step()
	}
	if open := book.Open(); len(open) != 1 || open[0].Kind != verdict.OfService {
		t.Errorf("%d incidents are open of what is down now, want one", len(open))
	}
}
