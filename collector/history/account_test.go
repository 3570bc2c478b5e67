package history

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
)

// marked returns the stretches that a drawing shows with any sign but a dot.
func marked(s string) []Span {
	var out []Span
	for i := range len(s) {
		if s[i] != '.' {
			out = append(out, Span{int64(i), int64(i) + 1})
		}
	}
	return Join(out...)
}

func TestCount(t *testing.T) {
	tests := []struct {
		name, runs      string
		hours, excluded string // "" is none
		want            Account
		figures         string
	}{
		{"one second in each account", "ugd?", "", "...", Account{Up: 1, Degraded: 1, Down: 1, Unknown: 1,
			Causes: map[check.Reason]int64{check.Slow: 1, check.Timeout: 1, check.Silent: 1}}, `{"lower":0.5,"upper":0.75,"coverage":0.75}`},
		{"excluded is in neither", "uudd??", "", ".x.x.x", Account{Up: 1, Down: 1, Unknown: 1, Excluded: 3,
			Causes: map[check.Reason]int64{check.Timeout: 1, check.Silent: 1}}, `{"lower":0.3333333333333333,"upper":0.6666666666666666,"coverage":0.6666666666666666}`},
		{"only the calendar's seconds count, excluded ones too", "uuuuddddu", "xx..xx..x", "...xxx...", Account{Up: 3, Excluded: 2}, `{"lower":1,"upper":1,"coverage":1}`},
		{"unknown is neither up nor down", "????", "", "", Account{Unknown: 4, Causes: map[check.Reason]int64{check.Silent: 4}}, `{"lower":0,"upper":1,"coverage":0}`},
		{"no second in the calendar: no data", "uudd", "....", "", Account{}, `{"lower":null,"upper":null,"coverage":null}`},
		{"all of it excluded: no data", "uudd", "", "xxxx", Account{Excluded: 4}, `{"lower":null,"upper":null,"coverage":null}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var hours []Span
			if tt.hours != "" {
				hours = marked(tt.hours)
			}
			got := Count(drawn(tt.runs), hours, marked(tt.excluded))
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if b, err := json.Marshal(got.Figures()); err != nil || string(b) != tt.figures {
				t.Errorf("figures %s, %v; want %s", b, err, tt.figures)
			}
		})
	}
}

// TestCountProperty counts second by second, and sees that no second is counted twice or not at all.
func TestCountProperty(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 3000 {
		n := 1 + rnd.IntN(30)
		runs, hours, gone := scribble(rnd, n, "ugd?n-"), scribble(rnd, n, "x."), scribble(rnd, n, "..x")
		var want Account
		for i := range n {
			switch {
			case hours[i] == '.':
			case gone[i] == 'x':
				want.Excluded++
			default:
				want.put(letters[runs[i]], 1)
			}
		}
		got := Count(drawn(runs), marked(hours), marked(gone))
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q in %q without %q: -want +got\n%s", runs, hours, gone, d)
		}
		if all := Count(drawn(runs), nil, marked(gone)); all.Total() != int64(n) {
			t.Fatalf("%q: %d seconds, want %d", runs, all.Total(), n)
		}
	}
}

func TestOutages(t *testing.T) {
	tests := []struct {
		name, runs string
		gap        int64
		want       []Outage
	}{
		{"none", "uu??gg", 9, nil},
		{"two with something up between", "uddudu", 9, []Outage{
			{From: unix(1), To: unix(3), Down: 2, Reason: check.Timeout}, {From: unix(4), To: unix(5), Down: 1, Reason: check.Timeout}}},
		{"the reason of most seconds", "dcccdu", 0, []Outage{{From: unix(0), To: unix(5), Down: 5, Reason: check.ConnectRefused}}},
		{"of equal ones the earlier", "ccddu", 0, []Outage{{From: unix(0), To: unix(4), Down: 4, Reason: check.ConnectRefused}}},
		{"a short gap of unknown joins, and is not down", "d??du", 2, []Outage{{From: unix(0), To: unix(4), Down: 2, Reason: check.Timeout}}},
		{"a long one does not", "d?nndu", 2, []Outage{
			{From: unix(0), To: unix(1), Down: 1, Reason: check.Timeout}, {From: unix(4), To: unix(5), Down: 1, Reason: check.Timeout}}},
		{"up within a short gap ends it", "d?u?du", 9, []Outage{
			{From: unix(0), To: unix(1), Down: 1, Reason: check.Timeout}, {From: unix(4), To: unix(5), Down: 1, Reason: check.Timeout}}},
		{"it goes on", "udd", 0, []Outage{{From: unix(1), To: unix(3), Down: 2, Reason: check.Timeout, Ongoing: true}}},
		{"it goes on as far as is known", "ud?", 1, []Outage{{From: unix(1), To: unix(2), Down: 1, Reason: check.Timeout, Ongoing: true}}},
		{"nothing was heard for too long", "ud??", 1, []Outage{{From: unix(1), To: unix(2), Down: 1, Reason: check.Timeout}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Outages(drawn(tt.runs), tt.gap), equate); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}
