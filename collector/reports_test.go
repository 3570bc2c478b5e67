package main

import (
	"slices"
	"testing"
	"time"

	"egovmon/collector/profile"
)

func TestDuePeriods(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for now, want := range map[string][]string{
		"2026-09-14T23:59:00+07:00": nil, // the third quarter still runs; the second is older than 45 days
		"2026-09-15T00:59:00+07:00": nil, // what is on its way has not come yet
		"2026-09-15T01:00:00+07:00": {"2026-Q3", "2026-9M"},
		"2026-07-01T08:00:00+07:00": {"2026-Q2", "2026-H1"},
		"2026-03-20T08:00:00+07:00": {"2026-Q1"},
		"2026-12-15T08:00:00+07:00": {"2026-Q4", "2026"},
		"2027-01-10T08:00:00+07:00": {"2026-Q4", "2026"}, // across the year
		"2027-02-20T08:00:00+07:00": nil,
	} {
		if got := duePeriods(at(now)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", now, got, want)
		}
	}
}

func TestDeadline(t *testing.T) {
	p, err := openProfile("")
	if err != nil {
		t.Fatal(err)
	}
	for period, want := range map[string]string{
		"2026-Q3": "2026-09-17", // Monday the 14th, then Tuesday and Wednesday
		"2026-Q2": "2026-06-17", // Sunday the 14th, then Monday and Tuesday
	} {
		_, end, err := profile.ParsePeriod(period, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := deadline(p, end).In(profile.Zone()).Format("2006-01-02"); got != want {
			t.Errorf("%s: due before %s, want %s", period, got, want)
		}
	}
}
