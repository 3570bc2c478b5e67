package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
	"egovmon/collector/intake"
)

const (
	chunk       = time.Hour // of slots are listed at a time
	maxExpected = 1 << 32   // slots of one export
)

// A row of slots, each step after the one before, in Unix seconds.
type row struct{ from, to, step int64 }

func (r row) has(slot int64) bool {
	return r.from <= slot && slot <= r.to && (slot-r.from)%r.step == 0
}

// slots are what is known of one machine's slots.
type slots struct {
	from, to time.Time // results outside are not kept
	unit     string
	sealed   time.Time // of its last batch
	epochs   []plan.Epoch
	results  map[string][]row         // by check, by from
	ranges   map[string][]check.Range // by check, or *
	rejected map[string]int64
}

// apply takes in a plan. One that a stepped clock applied before its predecessors replaces those from there on.
func (s *slots) apply(c intake.PlanChange) {
	if n := len(s.epochs); n > 0 && s.epochs[n-1].Plan.Hash() == c.Plan.Hash() && !c.At.Before(s.epochs[n-1].From) {
		return
	}
	for n := len(s.epochs); n > 0 && !s.epochs[n-1].From.Before(c.At); n-- {
		s.epochs = s.epochs[:n-1]
	}
	if n := len(s.epochs); n > 0 {
		s.epochs[n-1].To = c.At
	}
	s.epochs = append(s.epochs, plan.Epoch{From: c.At, Plan: c.Plan})
}

// result takes in a slot that has a result.
func (s *slots) result(id string, at time.Time, every time.Duration) {
	if at.Before(s.from) || !at.Before(s.to) {
		return
	}
	slot, step := at.Unix(), max(1, int64(every/time.Second))
	if s.results == nil {
		s.results = map[string][]row{}
	}
	rows := s.results[id]
	if n := len(rows); n > 0 && rows[n-1].step == step && rows[n-1].to+step == slot {
		rows[n-1].to = slot
		return
	}
	i, _ := slices.BinarySearchFunc(rows, slot, func(r row, slot int64) int { return cmp.Compare(r.from, slot) })
	s.results[id] = slices.Insert(rows, i, row{slot, slot, step})
}

func (s *slots) missed(r check.Range) {
	if !r.From.Before(s.to) || !r.To.After(s.from) {
		return
	}
	if s.ranges == nil {
		s.ranges = map[string][]check.Range{}
	}
	s.ranges[r.Check] = append(s.ranges[r.Check], r)
}

// has reports whether a slot has a result.
func (s *slots) has(id string, slot int64) bool {
	rows := s.results[id]
	i, _ := slices.BinarySearchFunc(rows, slot+1, func(r row, slot int64) int { return cmp.Compare(r.from, slot) })
	for _, r := range slices.Backward(rows[:i]) {
		if r.has(slot) {
			return true
		}
		if slot > r.to+r.step {
			return false
		}
	}
	return false
}

// within returns the range that a slot is in.
func (s *slots) within(id string, at time.Time) (check.Reason, bool) {
	for _, key := range []string{id, "*"} {
		rs := s.ranges[key]
		for _, r := range slices.Backward(rs) {
			if !at.Before(r.From) && at.Before(r.To) {
				return r.Reason, true
			}
		}
	}
	return "", false
}

// during returns the plans of [from, to), cut to it.
func (s *slots) during(from, to time.Time) []plan.Epoch {
	var out []plan.Epoch
	for _, e := range s.epochs {
		if !e.From.Before(to) || !e.To.IsZero() && !e.To.After(from) {
			continue
		}
		if e.From.Before(from) {
			e.From = from
		}
		out = append(out, e)
	}
	return out
}

// slots lists every expected slot of every machine.
func (v *verifier) slots(ctx context.Context) error {
	s := v.story
	if s.broken {
		return nil
	}
	end := v.To
	if s.last.Before(end) {
		end = s.last
	}
	all := int64(0)
	for _, id := range slices.Sorted(maps.Keys(s.slots)) {
		m := s.slots[id]
		r := Machine{Machine: id, Unit: m.unit, Rejected: m.rejected}
		counted := map[string]time.Time{} // the last slot of each check
		for from := v.From; from.Before(end) && all < maxExpected; from = from.Add(chunk) {
			if err := ctx.Err(); err != nil {
				return err
			}
			to := from.Add(chunk)
			if to.After(end) {
				to = end
			}
			for _, d := range plan.Expected(id, m.during(from, to), from, to) {
				if last, ok := counted[d.Check]; ok && !d.Slot.After(last) {
					continue
				}
				counted[d.Check] = d.Slot
				r.slot(m, d, s.last)
				all++
			}
		}
		v.Machines = append(v.Machines, r)
	}
	if all >= maxExpected {
		v.found(BadExport, -1, "more than %d slots were expected: verify a shorter period", int64(maxExpected))
	}
	return nil
}

// slot counts what became of one expected slot.
func (r *Machine) slot(m *slots, d plan.Due, last time.Time) {
	r.Expected++
	if m.has(d.Check, d.Slot.Unix()) {
		r.Results++
		return
	}
	if why, ok := m.within(d.Check, d.Slot); ok {
		r.InRanges++
		if r.Ranges == nil {
			r.Ranges = map[check.Reason]int64{}
		}
		r.Ranges[why]++
		return
	}
	if d.Until.After(m.sealed) && d.Slot.After(last.Add(-plan.MaxSeal)) {
		r.Pending++
		return
	}
	r.Absent++
	if r.FirstAbsent == "" {
		r.FirstAbsent = fmt.Sprintf("%s %s", d.Check, d.Slot.Format(time.RFC3339))
	}
}
