package main

import (
	"path/filepath"
	"testing"

	"egovmon/collector/evidence"
)

// What a plan is derived from is in the log before the plan is, and the plan before the first result by it.
func TestTheLogSaysFirstByWhatIsMeasured(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c := start(t, dir)
	m := newCommune(t, c, "pc-thu-01")
	m.work("the first batches", drained(c))
	c.stop()
	store := openLog(t, dir)
	defer store.Close()
	first := map[evidence.Type]int64{}
	var lastOfProfile int64
	for e, err := range store.Entries(0) {
		if err != nil {
			t.Fatal(err)
		}
		kind := e.Leaf.Type()
		if _, seen := first[kind]; !seen {
			first[kind] = e.Index
		}
		switch kind {
		case evidence.Profile, evidence.Calendar, evidence.Target, evidence.Rule:
			lastOfProfile = e.Index
		}
	}
	for _, kind := range []evidence.Type{evidence.Profile, evidence.Calendar, evidence.Target, evidence.Rule, evidence.Plan, evidence.Batch} {
		if _, seen := first[kind]; !seen {
			t.Fatalf("the log has no leaf of type %s", kind)
		}
	}
	if lastOfProfile > first[evidence.Plan] || first[evidence.Plan] > first[evidence.Batch] {
		t.Errorf("the profile ends with leaf %d, the first plan is leaf %d, the first batch leaf %d", lastOfProfile, first[evidence.Plan], first[evidence.Batch])
	}
}
