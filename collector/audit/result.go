package audit

import (
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// maxFindings is how many findings are kept; more are only counted.
const maxFindings = 100

// A Code says what kind of thing a Finding is.
type Code string

// The codes.
const (
	BadExport     Code = "export"         // the zip is not as an export is
	BadKey        Code = "key"            // the export names another key than the one given
	BadCheckpoint Code = "checkpoint"     // the checkpoint is not signed by the key, or not of this log
	BadLeaf       Code = "leaf"           // a leaf is not the one that the tree has
	BadTree       Code = "tree"           // the leaves do not give the root that was signed
	BadBlob       Code = "blob"           // attached bytes are not those that the leaf names
	BadBody       Code = "body"           // the body of a batch is not the one that was signed
	MissingBody   Code = "body_missing"   // a body that belongs to the period is not there
	BadBatch      Code = "batch"          // a batch is not signed by a key that the log has of the machine
	BadChain      Code = "chain"          // batches of a journal are missing, or another one was put in
	BadReceipt    Code = "receipt"        // the receipt of a batch says something else than the batch
	SplitView     Code = "split_view"     // a machine saw another log than this one
	UnknownPlan   Code = "plan"           // a plan was followed that was not in the log before
	BadCosigned   Code = "cosigned"       // a checkpoint is not signed by those who are said to have signed it
	BadStamp      Code = "stamp"          // a time stamp does not hold, or leads to none of the roots that were given
	BadTombstone  Code = "tombstone"      // something was removed without the right to, or before its time
	BadReport     Code = "report"         // an issued report is not in order, or the given one is not as it was issued
	BadTime       Code = "time"           // the collector's clock went back
	BadFigures    Code = "figures"        // given figures are not those that follow from the log
	NoFigures     Code = "figures_no"     // the figures cannot be worked out
	Rejected      Code = "records_unread" // records of a batch cannot be read
	Backdated     Code = "backdated"      // a notice says that it was entered before what stands before it in the log
)

// A Finding is one thing that is wrong.
type Finding struct {
	Code Code   `json:"code"`
	Leaf int64  `json:"leaf"` // index; -1 where no leaf is meant
	What string `json:"what"`
}

// A Result is what Verify proved, and what it found wrong.
type Result struct {
	Origin   string    `json:"origin"`
	Size     int64     `json:"size"` // leaves
	Root     string    `json:"root"` // hex
	KeyGiven bool      `json:"key_given"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Signed, Tree: the checkpoint is signed by the key, the leaves give its root.
	Signed bool             `json:"signed"`
	Tree   bool             `json:"tree"`
	Leaves map[string]int64 `json:"leaves"` // by type

	Blobs          int64 `json:"blobs"`           // compared with their leaves
	Batches        int64 `json:"batches"`         // signature and chain proved
	Bodies         int64 `json:"bodies"`          // compared with what was signed
	BodiesLeftOut  int64 `json:"bodies_left_out"` // not of the period
	Bracketed      int64 `json:"bracketed"`       // batches that name a state of this log
	SawLost        int64 `json:"saw_lost"`        // batches that name a state of a former log whose end was lost, as its succession says
	LateBatches    int64 `json:"late_batches"`    // received more than an hour after they were sealed
	PlansBeforeUse int64 `json:"plans_before_use"`
	// ProvenLate are batches of which it is proved only to more than an hour when they were sealed: between the time that the
	// log had come to at the checkpoint that they name and their receipt, or with none that they name.
	ProvenLate int64 `json:"proven_late"`

	Witnessing Witnessing `json:"witnessing"`
	Stamping   Stamping   `json:"stamping"`
	Removed    Removed    `json:"removed"`
	// Issued are the reports that the log says were issued.
	Issued []IssuedReport `json:"issued"`

	Machines []Machine `json:"machines"`
	Figures  *Figures  `json:"figures,omitempty"` // nil where they could not be worked out

	Findings []Finding `json:"findings"`
	More     int64     `json:"findings_more"` // that were not kept
}

// A Machine is what of a machine's slots was expected in the period, and what became of them.
type Machine struct {
	Machine  string `json:"machine"`
	Unit     string `json:"unit"`
	Expected int64  `json:"expected"`
	Results  int64  `json:"results"`
	InRanges int64  `json:"in_ranges"` // the machine said that it did not run them
	Absent   int64  `json:"absent"`    // nothing is said of them
	Pending  int64  `json:"pending"`   // absent, but at the log's end, where results are still under way
	// Ranges are the slots in ranges by reason; Rejected the records that entered no figure, by reason.
	Ranges   map[check.Reason]int64 `json:"ranges,omitempty"`
	Rejected map[string]int64       `json:"rejected,omitempty"`
	// FirstAbsent is the first absent slot, by check and time; "" where none is.
	FirstAbsent string `json:"first_absent,omitempty"`
}

// Figures are those that follow from the log, and what came of comparing given ones with them.
type Figures struct {
	Rows int `json:"rows"` // worked out: services, and their units
	// Counted is up to when seconds were counted; later ones of the period had not yet passed.
	Counted time.Time `json:"counted_to"`
	// Services are the rows of services as a whole, with their outages.
	Services    []history.Row `json:"services"`
	Given       bool          `json:"given"` // figures were given to compare; else the next two are empty
	Compared    int           `json:"compared"`
	Differences []string      `json:"differences"`
}

// OK reports whether nothing is wrong.
func (r *Result) OK() bool { return len(r.Findings) == 0 && r.Signed && r.Tree }

func (r *Result) found(c Code, leaf int64, format string, args ...any) {
	if len(r.Findings) == maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, Finding{c, leaf, fmt.Sprintf(format, args...)})
}
