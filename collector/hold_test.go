package main

import (
	"testing"
	"time"

	"egovmon/agent/plan"
	"egovmon/collector/profile"
)

func TestHold(t *testing.T) {
	machine, line := profile.Machine{Unit: "a"}, func(unit string, seal time.Duration) profile.Line { return profile.Line{Unit: unit, Seal: seal} }
	for _, tt := range []struct {
		name     string
		machines []profile.Machine
		lines    []profile.Line
		want     time.Duration
	}{
		{"nothing is known", nil, nil, plan.DefaultSeal},
		{"every line says it", []profile.Machine{machine}, []profile.Line{line("a", 5*time.Second), line("b", 7*time.Second)}, 7 * time.Second},
		{"one line does not", []profile.Machine{machine}, []profile.Line{line("a", 5*time.Second), line("b", 0)}, plan.DefaultSeal},
		{"a machine without a line", []profile.Machine{machine, {Unit: "c"}}, []profile.Line{line("a", 5*time.Second)}, plan.DefaultSeal},
		{"a line that gathers for long", []profile.Machine{machine}, []profile.Line{line("a", 5*time.Minute)}, 5 * time.Minute},
	} {
		if got := hold(&profile.Profile{Machines: tt.machines, Lines: tt.lines}); got != tt.want+pushGrace {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want+pushGrace)
		}
	}
}
