package attest

import (
	"cmp"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/profile"
)

// Layers is how many layers the model has.
const Layers = 4

// A Measured is the last that is known of a measured control on one machine.
type Measured struct {
	Unit, Machine, Control string
	Role                   string // of the machine; "" when unknown
	Level                  int    // of the system that it belongs to; 0 when unknown
	State                  check.State
	Reason                 check.Reason
	Facts                  check.Facts   // what was measured, by which law sets judge
	Options                check.Options // of the plan, by which the agent judged
	Slot                   time.Time     // of the result
	To                     time.Time     // until when it speaks; what is later is unknown. Zero for no end
}

// state is the result in the words of controls. What could not be measured, or is too old, is Unknown.
func (m Measured) state(now time.Time) State {
	if !m.To.IsZero() && !now.Before(m.To) {
		return Unknown
	}
	switch m.State {
	case check.Up:
		return Pass
	case check.Degraded:
		return Partial
	case check.Down:
		return Fail
	}
	return Unknown
}

// A Tally is how many controls, or machines, are in each state.
type Tally map[State]int

// Applicable is how many there are without those that do not apply.
func (t Tally) Applicable() (n int) {
	for s, k := range t {
		if s != NotApplicable {
			n += k
		}
	}
	return n
}

// Worst is the state to show for all of them together: the one that most needs a person. What is known to be wrong goes
// before what is not known, and nothing but passes is a pass. An empty tally is Unknown.
func (t Tally) Worst() State {
	for _, s := range []State{Fail, Expired, Missing, Waiting, Partial, Unknown, Excepted, Pass, NotApplicable} {
		if t[s] > 0 {
			return s
		}
	}
	return Unknown
}

// A Cell is one control at one unit.
type Cell struct {
	Control profile.Control
	State   State
	// Beneath is what an exception covers: how the control would stand without it; "" without an exception.
	Beneath State
	// Exceptions are those in force that cover the control at the unit or on one of its machines.
	Exceptions []Exception
	// Machines are the machines of a measured control by state; empty when none measures it, and then the state is Unknown.
	Machines Tally
	// Results are the results behind Machines, by machine.
	Results []Measured
	// Status is how an attested control stands.
	Status Status
}

// A Part is one kind of controls of a layer at a unit: the measured or the attested ones, which are never added up.
type Part struct {
	Cells []Cell // in the order of the catalogue
	Tally Tally
}

// A Layer is one layer of the model at a unit.
type Layer struct {
	Measured, Attested Part
}

// A Row is one unit.
type Row struct {
	Unit   string
	Layers [Layers]Layer // layer 1 first
}

// A Matrix is units by layers.
type Matrix struct {
	At    time.Time
	Units []Row
}

// Controls puts the controls of law sets into one list, each once: the last set that has one decides. Pass it what
// [profile.Profile.LawAt] returns.
func Controls(sets []profile.LawSet, now time.Time) []profile.Control {
	var list []profile.Control
	for _, set := range sets {
		for _, c := range set.Controls {
			if !c.Valid.CoversTime(now) {
				continue
			}
			if i := slices.IndexFunc(list, func(o profile.Control) bool { return o.ID == c.ID }); i >= 0 {
				list[i] = c
				continue
			}
			list = append(list, c)
		}
	}
	return list
}

// NewMatrix judges every control at every unit. Results and documents of other units are passed over. A control that
// belongs to several layers stands in each of them. What is not met, but permitted by an exception in force, is Excepted.
func NewMatrix(units []string, controls []profile.Control, results []Measured, documents []Attestation, now time.Time, exceptions ...Exception) Matrix {
	m := Matrix{At: now}
	measured := map[string][]Measured{}
	for _, r := range results {
		measured[r.Unit] = append(measured[r.Unit], r)
	}
	filed := map[string][]Attestation{}
	for _, a := range documents {
		filed[a.Unit] = append(filed[a.Unit], a)
	}
	for _, unit := range units {
		row := Row{Unit: unit}
		for i := range row.Layers {
			row.Layers[i] = Layer{Part{Tally: Tally{}}, Part{Tally: Tally{}}}
		}
		for _, c := range controls {
			cell := newCell(c, unit, measured[unit], filed[unit], exceptions, now)
			for _, layer := range c.Layers {
				if layer < 1 || layer > Layers {
					continue
				}
				part := &row.Layers[layer-1].Measured
				if c.Kind == kindAttested {
					part = &row.Layers[layer-1].Attested
				}
				part.Cells = append(part.Cells, cell)
				part.Tally[cell.State]++
			}
		}
		m.Units = append(m.Units, row)
	}
	return m
}

func newCell(c profile.Control, unit string, results []Measured, documents []Attestation, exceptions []Exception, now time.Time) Cell {
	cell := Cell{Control: c}
	for _, x := range exceptions {
		if x.Control == c.ID && x.Unit == unit && x.InForce(now) {
			cell.Exceptions = append(cell.Exceptions, x)
		}
	}
	if c.Kind == kindAttested {
		cell.Status = StateOf(c, documents, now)
		cell.State = cell.Status.State
		if slices.ContainsFunc(cell.Exceptions, func(x Exception) bool { return x.Machine == "" }) {
			cell.except()
		}
		return cell
	}
	cell.Machines = Tally{}
	by := map[string]Tally{} // machine → its results: a control may be measured twice, two backups for example
	for _, r := range results {
		if r.Control != c.ID {
			continue
		}
		cell.Results = append(cell.Results, r)
		if by[r.Machine] == nil {
			by[r.Machine] = Tally{}
		}
		by[r.Machine][ByLaw(c, r, now)]++
	}
	beneath := Tally{}
	for machine, t := range by {
		state := t.Worst()
		beneath[state]++
		if state.unmet() && slices.ContainsFunc(cell.Exceptions, func(x Exception) bool { return x.covers(c.ID, unit, machine, now) }) {
			state = Excepted
		}
		cell.Machines[state]++
	}
	slices.SortStableFunc(cell.Results, func(a, b Measured) int {
		return cmp.Or(cmp.Compare(a.Machine, b.Machine), b.Slot.Compare(a.Slot))
	})
	if cell.State = cell.Machines.Worst(); cell.Machines[Excepted] > 0 {
		cell.Beneath = beneath.Worst()
	}
	if len(by) == 0 && slices.ContainsFunc(cell.Exceptions, func(x Exception) bool { return x.Machine == "" }) {
		cell.except()
	}
	return cell
}

// except shows an exception in the place of what it permits.
func (c *Cell) except() {
	if c.State.unmet() {
		c.Beneath, c.State = c.State, Excepted
	}
}

// unmet reports whether there is something for an exception to permit.
func (s State) unmet() bool { return s != Pass && s != NotApplicable && s != Excepted }
