package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

// Format is the format of plans that this program reads, and the one of a text that names none with `format:`.
const Format = 1

// Bounds of a plan.
const (
	MaxBytes    = 512 << 10        // the text
	MaxChecks   = 5000             // checks of one machine
	MinEvery    = 10 * time.Second // spares a commune's line
	MaxEvery    = 24 * time.Hour
	MinTimeout  = 100 * time.Millisecond
	MaxConfirm  = 3
	MinSeal     = 5 * time.Second
	MaxSeal     = 15 * time.Minute
	MaxParallel = 512 // default and maximum of Plan.Concurrency

	// ConfirmPause is the wait before a failure is confirmed.
	ConfirmPause = 2 * time.Second
	// DefaultTimeout is used unless every/3 is shorter.
	DefaultTimeout = 10 * time.Second
	// DefaultSeal is how long results are gathered before a batch is sealed, unless a state changes.
	DefaultSeal = time.Minute
)

// A Path is the line that a check uses.
type Path string

// The three lines of a unit.
const (
	Internet Path = "internet" // the provider's line
	TSLCD    Path = "tslcd"    // the dedicated government data network
	LAN      Path = "lan"      // the unit's own network; never gated
)

// A Plan is everything one machine is told. It is made by [Parse] and never edited.
type Plan struct {
	Name        string        // `plan:`, for people
	For         string        // the machine; "" in a plan for `agent check`
	Version     int64         // only ever grows
	Issued      time.Time     // UTC
	Seal        time.Duration // how long results are gathered; default DefaultSeal
	Concurrency int           // most checks under way at once; default MaxParallel
	Lines       []Line        // where the machine's lines begin; none leaves it to the system's routes
	Checks      []Check       // in the order of the text

	text []byte
}

// A Line ties a path to a local address, for machines with several lines.
type Line struct {
	Path   Path
	Source netip.Addr
}

// A Check is one line of a plan.
type Check struct {
	ID      string        // SERVICE.CHECK, [a-z0-9_.-]{1,64}
	Service string        // id in the catalogue; "" when the plan says none
	Kind    string        // a name of the table of kinds
	Every   time.Duration // from slot to slot, whole seconds
	Timeout time.Duration // of one attempt
	Confirm int           // how often a failure is tried again before it is recorded; default 1
	Path    Path          // default Internet
	Options check.Options // `with:`
	Line    int           // in the text, for messages
}

// Text returns the bytes that were parsed.
func (p *Plan) Text() []byte { return p.text }

// Hash returns the SHA-256 of the text in lower-case hex: the plan's ETag and its name in journal and log.
func (p *Plan) Hash() string {
	h := sha256.Sum256(p.text)
	return hex.EncodeToString(h[:])
}

// Check returns the check of this id.
func (p *Plan) Check(id string) (Check, bool) {
	for _, c := range p.Checks {
		if c.ID == id {
			return c, true
		}
	}
	return Check{}, false
}

// Source returns the local address that checks of this path send from; the zero Addr when the plan names none.
func (p *Plan) Source(path Path) netip.Addr {
	for _, l := range p.Lines {
		if l.Path == path {
			return l.Source
		}
	}
	return netip.Addr{}
}

// Worst is how long one slot of the check can take: every attempt times out, and each confirmation waits before.
func (c Check) Worst() time.Duration {
	return time.Duration(1+c.Confirm)*c.Timeout + time.Duration(c.Confirm)*ConfirmPause
}
