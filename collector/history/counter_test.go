package history_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

func TestCounter(t *testing.T) {
	needs := []history.Need{{Service: "lan"}, {Service: "tthc", Vital: true}, {Service: "kyso"}}
	state := func(lan, tthc, kyso check.State) map[string]check.State {
		return map[string]check.State{"lan": lan, "tthc": tthc, "kyso": kyso}
	}
	for _, tt := range []struct {
		name   string
		needs  []history.Need
		states map[string]check.State
		want   history.CounterState
	}{
		{"all works", needs, state(check.Up, check.Up, check.Up), history.CounterState{Readiness: history.Ready}},
		{"degraded works", needs, state(check.Degraded, check.Degraded, check.Up), history.CounterState{Readiness: history.Ready}},
		{"something is lost", needs, state(check.Up, check.Up, check.Down), history.CounterState{Readiness: history.Limited, Lost: []string{"kyso"}}},
		{"something vital is lost", needs, state(check.Up, check.Down, check.Down), history.CounterState{Readiness: history.Stopped, Lost: []string{"tthc", "kyso"}}},
		{"unknown is not working", needs, state(check.Up, check.Unknown, check.Up), history.CounterState{Readiness: history.Unclear, Unknown: []string{"tthc"}}},
		{"what nobody measures is unknown", needs, map[string]check.State{"lan": check.Up, "tthc": check.Up}, history.CounterState{Readiness: history.Unclear, Unknown: []string{"kyso"}}},
		{"lost beside unknown", needs, state(check.Down, check.Unknown, check.Up), history.CounterState{Readiness: history.Limited, Lost: []string{"lan"}, Unknown: []string{"tthc"}}},
		{"no needs", nil, nil, history.CounterState{Readiness: history.Unclear}},
	} {
		if d := cmp.Diff(tt.want, history.Counter(tt.needs, tt.states)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}
