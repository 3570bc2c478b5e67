package retention

import (
	"strings"
	"testing"
	"time"

	"egovmon/collector/profile"
)

func TestDue(t *testing.T) {
	p, err := Config{Hold: []Hold{{"2023-02-01", "2023-02-28", "an inspection"}}}.Policy(profile.ParseDays)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for received, want := range map[string]bool{
		"2023-01-31T16:59:59Z": true, // the day before the hold, in Vietnam
		"2023-01-31T17:00:00Z": false,
		"2023-02-28T16:59:59Z": false,
		"2023-02-28T17:00:00Z": true,
		"2023-12-01T00:00:00Z": true,
		"2023-12-01T00:00:01Z": false, // 25 months are not over
		"2025-12-31T00:00:00Z": false,
	} {
		at, err := time.Parse(time.RFC3339, received)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Due(at, now); got != want {
			t.Errorf("%s: due %t, want %t", received, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	for want, c := range map[string]Config{
		"at least 25": {Months: 24},
		"say why":     {Hold: []Hold{{From: "2023-02-01", To: "2023-02-28"}}},
		"hold[0]":     {Hold: []Hold{{"2023-02-01", "yesterday", "w"}}},
	} {
		if _, err := c.Policy(profile.ParseDays); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
