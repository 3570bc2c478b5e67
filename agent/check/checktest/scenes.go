package checktest

import (
	"maps"
	"slices"
	"testing"

	"egovmon/agent/check"
)

// A Scene is what one run of a kind meets, and what it is to say.
type Scene struct {
	Name string
	Want check.Reason
	Run  func(t *testing.T) check.Result
}

// PlayScenes plays the scenes one after the other and sees that they are all that the kind can say of a target that is down, and that
// it can be up, degraded and unknown too.
func PlayScenes(t *testing.T, down []check.Reason, scenes []Scene) {
	t.Helper()
	states, reasons := map[check.State]bool{}, map[check.Reason]bool{}
	for _, s := range scenes {
		t.Run(s.Name, func(t *testing.T) {
			r := s.Run(t)
			if r.Reason != s.Want {
				t.Errorf("got %s %q, want %s", r.Reason, r.Detail, s.Want)
			}
			if states[r.State] = true; r.State == check.Down {
				reasons[r.Reason] = true
			}
		})
	}
	if got, all := slices.Sorted(maps.Keys(reasons)), slices.Sorted(slices.Values(down)); !slices.Equal(got, all) {
		t.Errorf("played %v, and the kind can give %v", got, all)
	}
	for _, s := range []check.State{check.Up, check.Degraded, check.Unknown} {
		if !states[s] {
			t.Errorf("no scene is %s", s)
		}
	}
}
