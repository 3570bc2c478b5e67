package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
)

// A counter's time is told by what it needs, within its hours alone: one vital need down stops it, another limits it, and
// what is not known is neither.
func TestCounterSums(t *testing.T) {
	spans := []readySpan{{Span{0, 10}, Ready}, {Span{10, 20}, Limited}, {Span{20, 30}, Stopped}, {Span{30, 40}, Unclear}}
	for _, c := range []struct {
		name  string
		hours []Span
		want  CounterSum
	}{
		{"all of it", []Span{{0, 40}}, CounterSum{10, 10, 10, 10}},
		{"over two", []Span{{5, 15}}, CounterSum{Ready: 5, Limited: 5}},
		{"twice in one stretch", []Span{{2, 4}, {6, 12}}, CounterSum{Ready: 6, Limited: 2}},
		{"beyond what is known", []Span{{35, 60}}, CounterSum{Unclear: 25}},
		{"none", nil, CounterSum{}},
	} {
		if diff := cmp.Diff(c.want, sum(spans, c.hours, Span{0, 60})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCountersOfUnits(t *testing.T) {
	word := func(unit string, from, to int64, r check.Reason) Word {
		return Word{Span: Span{from, to}, Unit: unit, Reason: r}
	}
	service := func(id string, words ...Word) Service {
		return Service{ID: id, Valid: Span{0, 100}, Attested: true, Words: words, Watchers: []Watcher{{Machine: "m1", Unit: "a"}, {Machine: "m2", Unit: "b"}}, Quorum: Quorum{Units: 1, Carriers: 1}}
	}
	whole := service("portal", word("", 0, 60, check.OK), word("", 60, 100, check.Timeout))
	whole.Watchers, whole.Shared = nil, true
	cat := Catalogue{Services: []Service{whole, service("power", word("a", 0, 80, check.OK), word("a", 80, 100, check.Timeout), word("b", 0, 100, check.OK))}}
	q := CounterQuery{Query: Query{From: time.Unix(0, 0), To: time.Unix(100, 0)}, Needs: []Need{{Service: "portal"}, {Service: "power", Vital: true}}, Units: []string{"a", "b", "c"},
		Hours: map[string][]Span{"a": {{0, 100}}, "b": {{50, 100}}, "c": {{0, 100}}}}
	want := []CounterSum{{Ready: 60, Limited: 20, Stopped: 20}, {Ready: 10, Limited: 40}, {Unclear: 60, Limited: 40}}
	if diff := cmp.Diff(want, Counters(cat, nil, q)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
