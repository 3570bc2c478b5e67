package main

import (
	"testing"
	"time"

	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

// A PC that is switched off after work leaves its controls as they were until it should have been on again.
func TestSpeaksUntil(t *testing.T) {
	files, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, profile.Zone())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	to := at("2023-10-13 17:20") // a Friday, after work
	for now, want := range map[string]bool{
		"2023-10-13 17:10": true,  // it has not ended
		"2023-10-13 22:00": true,  // off after work
		"2023-10-15 12:00": true,  // on Sunday
		"2023-10-16 07:45": true,  // Monday: within the hour that a run may take to come
		"2023-10-16 10:00": false, // it should have been on for long
		"2023-11-20 22:00": false, // longer than any holiday
	} {
		if got := at(now).Before(speaksUntil(p, "huyen-tu-ky", to, time.Hour, at(now))); got != want {
			t.Errorf("at %s the result of Friday speaks: %v, want %v", now, got, want)
		}
	}
}
