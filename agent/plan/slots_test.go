package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"egovmon/agent/plan"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func every(d time.Duration) plan.Check { return plan.Check{ID: "cong_h.http", Every: d} }

// The offsets are SHA-256 of "pc-an-thanh-01\ncong_h.http" and of "pc-an-thanh-01", reckoned with another program.
func TestOffset(t *testing.T) {
	const machine, id = "pc-an-thanh-01", "cong_h.http"
	for _, tt := range []struct {
		every time.Duration
		want  time.Duration
	}{{10 * time.Second, 8 * time.Second}, {60 * time.Second, 8 * time.Second}, {300 * time.Second, 68 * time.Second}, {86400 * time.Second, 35768 * time.Second}} {
		if got := plan.Offset(machine, id, tt.every); got != tt.want {
			t.Errorf("every %s: offset %s, want %s", tt.every, got, tt.want)
		}
	}
	if got := plan.Phase(machine); got != 927*time.Millisecond {
		t.Errorf("phase %s, want 927 ms", got)
	}
}

func TestOffsetsSpread(t *testing.T) {
	var quarters [4]int
	for i := range 1000 {
		quarters[plan.Offset(fmt.Sprintf("pc-%03d", i), "cong_h.http", time.Minute)/(15*time.Second)]++
	}
	for q, n := range quarters {
		if n < 200 || n > 300 {
			t.Errorf("quarter %d of the minute has %d of 1000 machines", q, n)
		}
	}
}

func TestSlots(t *testing.T) {
	const m = "pc-an-thanh-01"
	off := plan.Offset(m, "cong_h.http", time.Minute)
	hour := at("2026-11-23T01:00:00Z")
	for _, tt := range []struct {
		name     string
		from, to time.Time
		every    time.Duration
		want     int
	}{
		{"an hour", hour, hour.Add(time.Hour), time.Minute, 60},
		{"nothing", hour, hour, time.Minute, 0},
		{"backwards", hour, hour.Add(-time.Hour), time.Minute, 0},
		{"the first instant counts", hour.Add(off), hour.Add(off + time.Second), time.Minute, 1},
		{"the last does not", hour.Add(off - time.Second), hour.Add(off), time.Minute, 0},
		{"a fraction of a second after the slot", hour.Add(off + time.Millisecond), hour.Add(off + time.Second), time.Minute, 0},
		{"a day of 10 s", hour, hour.Add(24 * time.Hour), 10 * time.Second, 8640},
		// UTC had 61 seconds in this minute; Unix time, which the slots follow, has 60.
		{"a leap second at the end of 2016", at("2016-12-31T23:00:00Z"), at("2017-01-01T01:00:00Z"), time.Minute, 120},
		{"before the epoch", at("1969-12-31T23:00:00Z"), at("1970-01-01T01:00:00Z"), time.Minute, 120},
		{"a day in a far year", at("2100-02-28T00:00:00Z"), at("2100-03-01T00:00:00Z"), time.Minute, 1440},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.Collect(plan.Slots(m, every(tt.every), tt.from, tt.to))
			if len(got) != tt.want {
				t.Errorf("%d slots, want %d", len(got), tt.want)
			}
			o := int64(plan.Offset(m, "cong_h.http", tt.every) / time.Second)
			for i, s := range got {
				if (s.Unix()-o)%int64(tt.every/time.Second) != 0 || s.Location() != time.UTC {
					t.Errorf("slot %s is not epoch + offset + k × every, or not UTC", s)
				}
				if i > 0 && s.Sub(got[i-1]) != tt.every {
					t.Errorf("slot %s comes %s after the one before", s, s.Sub(got[i-1]))
				}
			}
		})
	}
}

func TestSlotAt(t *testing.T) {
	c := every(time.Minute)
	for i := range 200 {
		now := at("2026-11-23T01:00:00Z").Add(time.Duration(i) * 777 * time.Millisecond)
		s := plan.SlotAt("pc-1", c, now)
		if s.After(now) || !s.Add(c.Every).After(now) {
			t.Errorf("the slot running at %s is %s", now, s)
		}
		if n := plan.NextSlot("pc-1", c, now); n.Before(now) || n.Sub(now) >= c.Every {
			t.Errorf("the slot after %s is %s", now, n)
		}
	}
}

func TestExpected(t *testing.T) {
	const m = "pc-an-thanh-01"
	minute, five := every(time.Minute), every(5*time.Minute)
	p1, p2 := &plan.Plan{Checks: []plan.Check{minute}}, &plan.Plan{Checks: []plan.Check{five}}
	t0 := plan.NextSlot(m, five, at("2026-11-23T01:00:00Z"))
	change := t0.Add(12*time.Minute + 30*time.Second)
	minutesTo := func(end time.Time) int { return len(slices.Collect(plan.Slots(m, minute, t0, end))) }
	for _, tt := range []struct {
		name   string
		epochs []plan.Epoch
		from   time.Time
		to     time.Time
		want   int
		cut    int // how many are cut short of their interval
	}{
		{"one plan", []plan.Epoch{{From: t0.Add(-time.Hour), Plan: p1}}, t0, t0.Add(10 * time.Minute), 10 + boolInt(!plan.SlotAt(m, minute, t0).Equal(t0)), 0},
		{"no plan", nil, t0, t0.Add(time.Hour), 0, 0},
		// The change cuts the running slot of the old plan; the new plan begins with the slot under way.
		{"a change of plan", []plan.Epoch{{From: plan.NextSlot(m, minute, t0), To: change, Plan: p1}, {From: change, Plan: p2}},
			plan.NextSlot(m, minute, t0), t0.Add(30 * time.Minute), minutesTo(change) + 4, 1},
		// The clock went back ten minutes: the journal ended and the same slots are expected again in the new one.
		{"a step back of the clock", []plan.Epoch{{From: t0, To: t0.Add(20 * time.Minute), Plan: p2}, {From: t0.Add(10 * time.Minute), Plan: p2}},
			t0, t0.Add(30 * time.Minute), 4 + 4, 0},
		{"a plan that ended before", []plan.Epoch{{From: t0.Add(-time.Hour), To: t0.Add(-30 * time.Minute), Plan: p1}}, t0, t0.Add(time.Hour), 0, 0},
		{"an empty plan", []plan.Epoch{{From: t0, Plan: &plan.Plan{}}}, t0, t0.Add(time.Hour), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			due := plan.Expected(m, tt.epochs, tt.from, tt.to)
			if len(due) != tt.want {
				t.Errorf("%d slots expected, want %d: %v", len(due), tt.want, due)
			}
			cut := 0
			for _, d := range due {
				if l := d.Until.Sub(d.Slot); l != time.Minute && l != 5*time.Minute {
					cut++
				}
			}
			if cut != tt.cut {
				t.Errorf("%d slots cut short, want %d", cut, tt.cut)
			}
		})
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
