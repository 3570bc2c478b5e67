package journal

import (
	"time"

	"egovmon/agent/check"
)

// A Record is one line of a journal: exactly one of its fields is set.
type Record struct {
	Result *check.Result
	Range  *check.Range
	Plan   *PlanApplied
	Begin  *Begin
	End    *End
}

// PlanApplied says which plan the machine follows from At on, until the next one or the end of the journal.
type PlanApplied struct {
	Version int64
	SHA256  string // of the plan's text, lower-case hex
	At      time.Time
}

// Begin is the first record of a journal, and of each start of the agent.
type Begin struct {
	At              time.Time
	Build           string // version of the program
	PreviousJournal string // "" for a machine's first journal and for a start within one journal
	PreviousHead    string // "seq:SHA-256 of the header note" of the journal before, as far as it is known
	Cause           string // start, first, clock_stepped, fork, unreadable, …
}

// End is the last record of a stop in order, or of a journal that is given up.
type End struct {
	At    time.Time
	Cause string // stop, shutdown, clock_stepped, fork, …
}
