package report

import (
	"strings"
	"testing"

	"egovmon/agent/words"
	"egovmon/collector/attest"
)

// A state of a control that a report passes over makes its layers add up to too little.
func TestTallySaysEveryState(t *testing.T) {
	for _, s := range attest.States() {
		for _, l := range []words.Lang{words.VI, words.EN} {
			if got, word := tally(l, map[string]int{string(s): 3}), words.Say(l, "control."+string(s)); got != word+": 3" || strings.Contains(got, "<") {
				t.Errorf("three controls of state %s read %q", s, got)
			}
		}
	}
}
