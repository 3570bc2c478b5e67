package intake

import "slices"

// maxRuns is how many runs of slots are remembered of one check in one journal. A run ends where a slot was missed.
const maxRuns = 64

// A run is the slots from From to To, each Step after the one before, in Unix seconds.
type run struct{ From, To, Step int64 }

func (r run) has(slot int64) bool {
	return slot >= r.From && slot <= r.To && (slot-r.From)%r.Step == 0
}

// slots are the slots of one check that a journal has results for, as runs ordered by From. Results come nearly in the
// order of slots, so that one run holds most; the runs of the far past are forgotten.
type slots []run

// add notes a slot and reports whether it is new. One before all that is remembered, when runs were forgotten, cannot
// be told from one that was there, and is not new.
func (s *slots) add(slot, step int64) bool {
	if slices.ContainsFunc(*s, func(r run) bool { return r.has(slot) }) {
		return false
	}
	if len(*s) == maxRuns && slot < (*s)[0].From {
		return false
	}
	for i := range *s {
		r := &(*s)[i]
		switch {
		case r.Step != step:
		case slot == r.To+step:
			r.To = slot
			s.join(i)
			return true
		case slot == r.From-step:
			r.From = slot
			if i > 0 {
				s.join(i - 1)
			}
			return true
		}
	}
	i, _ := slices.BinarySearchFunc(*s, slot, func(r run, slot int64) int { return int(r.From - slot) })
	*s = slices.Insert(*s, i, run{slot, slot, step})
	if len(*s) > maxRuns {
		*s = slices.Delete(*s, 0, 1)
	}
	return true
}

// join makes one run of run i and the next, if no slot is missing between them.
func (s *slots) join(i int) {
	if i+1 >= len(*s) {
		return
	}
	a, b := (*s)[i], (*s)[i+1]
	if a.Step == b.Step && a.To+a.Step == b.From {
		(*s)[i].To = b.To
		*s = slices.Delete(*s, i+1, i+2)
	}
}
