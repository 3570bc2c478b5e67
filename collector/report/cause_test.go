package report

import (
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/history"
)

func TestCauseOfTooFewVotes(t *testing.T) {
	whole, unit := Row{Row: history.Row{Service: "s"}}, Row{Row: history.Row{Service: "s", Unit: "xa-a"}}
	if got := cause(words.EN, whole, check.NotPlanned); got != "Too few votes, or no plan covered it" {
		t.Errorf("of a service as a whole: %q", got)
	}
	if got := cause(words.EN, unit, check.NotPlanned); got != "No plan covered it" {
		t.Errorf("of a unit: %q", got)
	}
	if got := cause(words.VI, whole, check.Timeout); got != words.Reason(words.VI, check.Timeout).Title {
		t.Errorf("of another reason: %q", got)
	}
}
