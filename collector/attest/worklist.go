package attest

import (
	"cmp"
	"slices"

	"egovmon/collector/profile"
)

// A Share is how many of the applicable controls are in each state, as parts of one. The sum over all states is one, but
// for rounding, and zero where nothing applies.
type Share map[State]float64

// Share divides a tally by what applies.
func (t Tally) Share() Share {
	out := Share{}
	if all := t.Applicable(); all > 0 {
		for s, n := range t {
			if s != NotApplicable && n > 0 {
				out[s] = float64(n) / float64(all)
			}
		}
	}
	return out
}

// A Task is something to do so that a control is met.
type Task struct {
	Unit     string
	Control  profile.Control
	State    State // how it stands
	Machines int   // on which it is not met; 0 for an attested control
	// Score is impact × ease: how much of the layers the control makes up, by how little it takes. The list is sorted by it.
	Score float64
}

// ease is how little it takes to meet a control, from 1 (a project) to 5 (minutes by a clerk). It is an estimate of ours:
// none of the texts gives one.
func ease(control string, s State) float64 {
	switch control {
	case "m04", "m08", "m10", "m11", "m13", "m14", "m16", "m21":
		return 5 // a setting
	case "m01", "m02", "m05", "m07", "m09", "m12", "m22", "m23", "m24", "m25":
		return 4
	case "m17", "m18", "m19", "m20", "m26", "m27", "m28":
		return 3
	case "m03", "m06", "m15":
		return 2 // something is bought, or a machine set up again
	}
	switch {
	case s == Waiting:
		return 5 // a second person reads it and approves
	case s == Expired:
		return 4 // the document is there to be made again
	case control == "a01", control == "a13", control == "a14":
		return 4
	case control == "a09", control == "a10", control == "a11":
		return 1 // somebody outside does it
	}
	return 3
}

// impact is how bad the state is, times how many layers the control is of.
func impact(c profile.Control, s State) float64 {
	weight := map[State]float64{Fail: 1, Expired: 0.9, Missing: 0.9, Waiting: 0.9, Partial: 0.5, Unknown: 0.4}[s]
	return weight * float64(max(1, len(c.Layers)))
}

// Worklist is what to do first, of all units or of one: the highest product of impact and ease goes first. Each control of
// a unit is in it once; what is met, does not apply or is excepted is not.
func (m Matrix) Worklist(unit string) []Task {
	var list []Task
	for _, row := range m.Units {
		if unit != "" && row.Unit != unit {
			continue
		}
		seen := map[string]bool{}
		for _, layer := range row.Layers {
			for _, c := range slices.Concat(layer.Measured.Cells, layer.Attested.Cells) {
				if seen[c.Control.ID] || !c.State.unmet() {
					continue
				}
				seen[c.Control.ID] = true
				t := Task{Unit: row.Unit, Control: c.Control, State: c.State}
				for s, n := range c.Machines {
					if s.unmet() {
						t.Machines += n
					}
				}
				t.Score = impact(c.Control, c.State) * ease(c.Control.ID, c.State)
				list = append(list, t)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Task) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Machines, a.Machines), cmp.Compare(a.Control.ID, b.Control.ID), cmp.Compare(a.Unit, b.Unit))
	})
	return list
}
