package intake

import (
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
)

// An Accepted is one archived batch after judgement: what history, series, verdict and board are fed with, in the order
// of the log, whether it has just arrived or is read again from the evidence.
type Accepted struct {
	Leaf     int64     // index of its receipt in the log
	Received time.Time // as in the receipt
	Machine  string
	Unit     string // of the machine at Received
	Header   journal.Header
	Events   []Event        // in the order of the journal
	Rejected map[string]int // results that make no sense, by reason; they enter no figure
	Late     bool           // received too late to fire an alert

	places []place
}

// An Event is one thing a batch says, with what the plan in force there says of it: exactly one field is set.
type Event struct {
	Observation *Observation
	Range       *check.Range
	Plan        *PlanChange // from At on another plan is in force; it cuts what spoke for later seconds
	Begin       *journal.Begin
	End         *journal.End // it cuts what spoke for later seconds
	Cloned      *Cloned      // two machines use the identity, or do so no more; it comes before all that the batch says
}

// A PlanChange is a plan applied on the machine.
type PlanChange struct {
	At   time.Time
	Plan *plan.Plan
}

// An Observation is a Result with the stretch that it speaks for. Where the machine's clock was known to be wrong, Slot and
// Start are when the collector's clock showed them, and what Ahead and StartAhead say was taken off those in the Result.
type Observation struct {
	check.Result
	Service string // of the check in the plan
	Kind    string
	Path    plan.Path
	Every   time.Duration
	// From and To are the stretch [max(slot, begin), slot + every), before a later plan or end cuts it.
	From, To time.Time
	// ClockUnproven: the agent's clock differed by more than every/2, so that in every account this counts as unknown.
	ClockUnproven bool
	// Ahead is by how much Slot was moved, a whole number of Every: to the slot at which it ran, which for half an Every to
	// either side is the one that the plan calls for. StartAhead is the same of Start. 0 where the clock was right.
	Ahead, StartAhead time.Duration
}
