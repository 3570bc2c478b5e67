package report

import (
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
	"egovmon/deploy/profiles"
)

func embedded(t testing.TB) *profile.Profile {
	t.Helper()
	fsys, err := profiles.Embedded(profiles.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBuild(t *testing.T) {
	s, key := logKey(t)
	from, to := day(2024, 6, 15), day(2024, 9, 15)
	a := history.Account{Up: 995, Down: 5}
	in := Input{Profile: embedded(t), Period: "2024-Q3", From: from, To: to, Generated: to.Add(time.Hour + time.Millisecond), Checkpoint: checkpoint(t, s), LogKey: key,
		Rows: []history.Row{
			{Service: "cong_h", Calendars: []history.Counted{counted(history.Hours24x7, a), counted(history.ServiceHours, a)}},
			{Service: "cong_h", Unit: "xa-an-thanh", Calendars: []history.Counted{counted(history.Hours24x7, a)}},
			{Service: "cong_h", Unit: "xa-an-thanh", Machine: "pc-an-thanh-01", Check: "cong_h.http"},
		}}
	m, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if m.Leaves != 1234 || m.Rule != "votes/1" || m.District != "Huyện Tứ Kỳ" || len(m.Rows) != 2 || m.Rows[1].UnitName != "Xã An Thanh" || !m.Counted.Equal(to) {
		t.Errorf("%+v", m)
	}
	want := []Target{{"24x7", 0.99, "mục tiêu nội bộ", Met}, {"service_hours", 0.995, "mục tiêu nội bộ", Met}}
	if diff := cmp.Diff(want, m.Rows[0].Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	in.Checkpoint = []byte(strings.Replace(string(in.Checkpoint), "1234", "1235", 1))
	if _, err := Build(in); err == nil {
		t.Error("a checkpoint that the key does not verify was taken")
	}
	in.Checkpoint, in.To = checkpoint(t, s), in.From
	if _, err := Build(in); err == nil {
		t.Error("an empty period was taken")
	}
}

// TestChanges has leaves without a time of their own between receipts that have one.
func TestChanges(t *testing.T) {
	var leaves []evidence.Stored
	add := func(kind evidence.Type, fields map[string]string) {
		l, err := evidence.NewLeaf(kind, fields, nil)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, evidence.Stored{Entry: evidence.Entry{Leaf: l}, Index: int64(len(leaves))})
	}
	receipt := func(d int) {
		add(evidence.Batch, map[string]string{"received": day(2026, 7, d).Format(time.RFC3339), "machine": "m"})
	}
	add(evidence.Rule, map[string]string{"name": "votes/1"})
	receipt(1)
	add(evidence.Plan, map[string]string{"machine": "m", "version": "1"})
	receipt(3)
	add(evidence.Plan, map[string]string{"machine": "m", "version": "2"})
	receipt(6)
	add(evidence.Calendar, map[string]string{"file": "calendars/2027.yaml"})
	add(evidence.Incident, map[string]string{"at": day(2026, 7, 7).Format(time.RFC3339)})
	add(evidence.Target, map[string]string{"file": "targets.yaml"})
	receipt(9)
	add(evidence.Profile, map[string]string{"file": "units.yaml"})
	entries := func(yield func(evidence.Stored, error) bool) {
		for _, l := range leaves {
			if !yield(l, nil) {
				return
			}
		}
	}
	for _, c := range []struct {
		name     string
		from, to int
		want     []Change
	}{
		{"a change may lie on both sides of the beginning", 4, 7, []Change{{4, "plan", "m v2", day(2026, 7, 3), day(2026, 7, 6)}, {6, "calendar", "calendars/2027.yaml", day(2026, 7, 6), day(2026, 7, 7)}}},
		{"before the first time", 1, 2, []Change{{0, "rule", "votes/1", time.Time{}, day(2026, 7, 1)}, {2, "plan", "m v1", day(2026, 7, 1), day(2026, 7, 3)}}},
		{"behind the last time", 10, 20, []Change{{Leaf: 10, Type: "profile", What: "units.yaml", After: day(2026, 7, 9)}}},
	} {
		got, err := Changes(iter.Seq2[evidence.Stored, error](entries), day(2026, 7, c.from), day(2026, 7, c.to))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	broken := func(yield func(evidence.Stored, error) bool) { yield(evidence.Stored{}, os.ErrInvalid) }
	if _, err := Changes(broken, day(2026, 7, 1), day(2026, 7, 2)); err == nil {
		t.Error("a log that cannot be read has changes")
	}
}
