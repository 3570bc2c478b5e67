package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Plans that were followed while the journal reaches back are kept, in their order, and no more than so many.
func TestFormerPlans(t *testing.T) {
	dir, at := t.TempDir(), time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	if got, err := formerPlans(dir, 9); len(got) != 0 || err != nil {
		t.Errorf("nothing was kept: %q, %v", got, err)
	}
	keep := func(version int64, at time.Time) {
		t.Helper()
		if err := keepPlan(dir, fmt.Appendf(nil, "plan %d", version), version, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(formerName(dir, version), at, at); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, below int64, versions ...int64) {
		t.Helper()
		var texts []string
		for _, v := range versions {
			texts = append(texts, fmt.Sprint("plan ", v))
		}
		plans, err := formerPlans(dir, below)
		var got []string
		for _, p := range plans {
			got = append(got, string(p))
		}
		if d := cmp.Diff(texts, got); d != "" || err != nil {
			t.Errorf("%s: %v -want +got\n%s", what, err, d)
		}
	}
	for _, v := range []int64{9, 10, 11} {
		keep(v, at.Add(time.Duration(v)*time.Hour))
	}
	want("before the one in force", 11, 9, 10)
	if err := os.WriteFile(filepath.Join(dir, formerFolder, "x.signed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keep(12, at.Add(formerFor+10*time.Hour+time.Minute)) // 9 ended when 10 began
	want("what ended long ago is dropped", 12, 10, 11)
	later := at.Add(formerFor + 11*time.Hour)
	for v := int64(13); v < 50; v++ {
		later = later.Add(time.Second)
		keep(v, later)
	}
	if kept, err := formerVersions(dir); len(kept) != mostFormer || kept[0] != 50-mostFormer || err != nil {
		t.Errorf("kept are %v, %v; want the last %d", kept, err, mostFormer)
	}
	if err := os.WriteFile(formerName(dir, 40), make([]byte, maxPlanNote+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if plans, err := formerPlans(dir, 42); err == nil || string(plans[len(plans)-1]) != "plan 41" {
		t.Errorf("one cannot be read: %v; the last of %d is %.20q", err, len(plans), plans[len(plans)-1])
	}
}
