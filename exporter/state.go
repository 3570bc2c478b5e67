package exporter

import (
	"time"

	"egovmon/agent/check"
)

// An AgentState is what an agent shows of itself, read anew at each scrape. The zero value of a time or pointer means
// that there is nothing to show, and its metric is absent.
type AgentState struct {
	Build  Build
	Checks []CheckState // in the order of the plan

	Runs    int64                  // finished runs
	Missed  map[check.Reason]int64 // slots not run, by missed_* reason
	Running int                    // runs under way
	Delay   Histogram              // how long after its slot a run began, seconds

	SpoolBatches int64 // sealed, not yet acknowledged
	SpoolBytes   int64
	SpoolOldest  time.Time
	SpoolDropped map[check.Reason]int64
	SpoolSpared  int64 // recorded without detail or phases, as the disk was full

	PushRequests    map[string]int64 // by class of the answer: 2xx, 4xx, 409, 429, 5xx, error
	PushLastSuccess time.Time
	PushProblem     string // why the last call did not reach the collector, a word of push.Problems; "" when it did

	CertNotAfter time.Time // of the certificate for the agent API
	PlanApplied  time.Time
	PlanVersion  int64
	ClockOffset  *time.Duration // ours ahead of the collector's

	LogLeaves     int64
	LogCheckpoint time.Time // when the last one was seen
	LogFailures   int64
}

// A CheckState is one check of the plan with its last recorded result.
type CheckState struct {
	ID      string
	Service string
	Kind    string
	Target  string // as in the plan: a URL, host:port, host or name; for /probe, never a label
	Every   time.Duration
	Last    *check.Result // nil before the first
}

// A Histogram is counts of observations by upper bound.
type Histogram struct {
	Bounds []float64 // ascending
	Counts []uint64  // one more than Bounds; not cumulative
	Sum    float64
}
