package board

import (
	"slices"
	"testing"

	"egovmon/collector/attest"
)

func TestEveryStateOfControlsIsShown(t *testing.T) {
	for _, s := range attest.States() {
		if !slices.Contains(controlStates(), string(s)) {
			t.Errorf("the board counts controls that are %q as unknown", s)
		}
	}
}
