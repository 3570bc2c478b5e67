package enrol

import "egovmon/collector/evidence"

// A Roll knows which keys machines had, from the leaves of a log alone: for those who read it without being its
// collector.
type Roll struct {
	known registry
}

// NewRoll returns a roll without machines.
func NewRoll() *Roll { return &Roll{registry{}} }

// Apply takes in the next leaf of the log. Leaves of other things say nothing here.
func (r *Roll) Apply(s evidence.Stored) error { return r.known.apply(s) }

// Machine returns an identity as it is after the leaves that were applied.
func (r *Roll) Machine(id string) (Machine, bool) {
	m := r.known[id]
	if m == nil {
		return Machine{}, false
	}
	return m.clone(), true
}

// Machines lists every identity that was ever given, by id.
func (r *Roll) Machines() []Machine { return r.known.machines() }
