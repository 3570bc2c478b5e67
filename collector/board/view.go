package board

import (
	"context"
	"encoding/json"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// A Source says what there is to show. It may be asked from several goroutines, and must not keep what it returned.
type Source interface {
	// View returns the whole first page.
	View(ctx context.Context) (View, error)
	// Check returns what one check of one machine saw last, and false when it was never heard of.
	Check(ctx context.Context, machine, check string) (Detail, bool, error)
}

// A Name is what people read, in both languages. An empty one is shown by its id.
type Name struct {
	VI string `json:"vi"`
	EN string `json:"en"`
}

// A View is all that the first page shows.
type View struct {
	District      Name            `json:"district"`
	Now           time.Time       `json:"now"`
	Received      time.Time       `json:"received,omitzero"` // when a machine last sent results; zero for never
	Services      []Service       `json:"services"`          // in the order in which they are shown
	Units         []Unit          `json:"units"`             // likewise
	Cells         []Cell          `json:"cells"`             // in any order; what has none is not measured
	NotConfigured []NotConfigured `json:"not_configured"`
	Incidents     []Incident      `json:"incidents,omitempty"` // open ones and lately closed ones, in any order
	Counters      []Counter       `json:"counters,omitempty"`  // one-stop-shop counters, in the order in which they are shown
	Layers        []UnitLayers    `json:"layers,omitempty"`    // in the order in which units are shown; empty hides them
	Letters       []Letters       `json:"letters,omitempty"`   // test letters between machines, by service
	Suspensions   []Suspension    `json:"-"`                   // that are not over, in any order
	Agents        []Agent         `json:"agents"`
	Log           Log             `json:"log"`
	Notices       []Name          `json:"notices,omitempty"` // what the operator must know, in whole sentences
}

// Readiness of a counter.
const (
	CounterReady   = "ready"   // Sẵn sàng
	CounterLimited = "limited" // Hạn chế
	CounterStopped = "stopped" // Ngừng tiếp nhận
	CounterUnclear = "unclear" // Không xác định
)

// A Counter is the one-stop-shop counter (quầy một cửa) of one unit.
type Counter struct {
	Unit    string   `json:"unit"`
	Name    Name     `json:"name"`
	State   string   `json:"state"`             // one of the words above; another one counts as unclear
	Lost    []string `json:"lost,omitempty"`    // services that are down
	Unknown []string `json:"unknown,omitempty"` // services whose state is not known
}

// Letters are the copies of test letters that machines have sent one another within a day, joined from what both ends
// tell.
type Letters struct {
	Service string         `json:"service"`
	Counts  map[string]int `json:"counts"`         // on_time, late, altered, lost, waiting, unproven
	Lost    []LostLetter   `json:"lost,omitempty"` // the last ones, newest first
}

// A LostLetter is a copy that the sender's server took and that the receiver searched for in vain.
type LostLetter struct {
	From  string    `json:"from"` // machines
	To    string    `json:"to"`
	At    time.Time `json:"at"`
	Proof time.Time `json:"proof"` // when the receiver searched last
}

// A Service is one thing that people work with.
type Service struct {
	ID       string `json:"id"`
	Name     Name   `json:"name"`
	Owner    Name   `json:"owner"`    // the office that answers for it
	Operator Name   `json:"operator"` // who runs it
	// Available is what people mean by "it works"; the zero Name says nothing.
	Available Name `json:"available,omitzero"`
	// Targets are the objectives of today; none is said, as that nothing has been set.
	Targets []Target `json:"targets,omitempty"`
	// How its state is known where machines do not measure it: derived (from others) or attested (by documents); else "".
	How string `json:"how,omitempty"`
	// Rule says in words from what a derived one follows.
	Rule Name `json:"rule,omitzero"`
	// Attested: no check can tell whether it works (không đo được); a document must.
	Attested bool `json:"attested,omitempty"`
}

// A Target is what was agreed for a service's availability in one calendar.
type Target struct {
	Calendar  string  `json:"calendar"`  // 24x7 or service_hours
	Objective float64 `json:"objective"` // share of the calendar's seconds
	Basis     string  `json:"basis"`     // the document, or that there is none
	Verified  bool    `json:"verified"`
}

// in words a target.
func (t Target) in(l words.Lang) string {
	calendar := words.Say(l, "report.calendar.hours")
	if t.Calendar == "24x7" {
		calendar = words.Say(l, "report.calendar.always")
	}
	basis := t.Basis
	if basis == words.Say(words.VI, "service.basis.own") { // what profiles write where no document is cited
		basis = words.Say(l, "service.basis.own")
	}
	s := words.Say(l, "service.target", calendar, words.Percent(l, t.Objective, 2), basis)
	if !t.Verified {
		s += ", " + words.Say(l, "service.unverified")
	}
	return s
}

// title is the service's name, with the word for how its state is known where nobody measures it.
func (s Service) title(l words.Lang) string {
	name := or(s.Name.in(l), s.ID)
	switch s.How {
	case HowDerived, HowAttested:
		return words.Say(l, "service.how", name, words.Say(l, "service.how."+s.How))
	}
	return name
}

// How the state of a service is known that machines do not measure.
const (
	HowDerived  = "derived"  // suy ra
	HowAttested = "attested" // xác nhận
)

// A Unit is one office, commune or town.
type Unit struct {
	ID   string `json:"id"`
	Name Name   `json:"name"`
}

// A Cell is how one service is, as a whole or as one unit has it.
type Cell struct {
	Service string       `json:"service"`
	Unit    string       `json:"unit,omitempty"` // "" is the service as a whole
	State   check.State  `json:"-"`              // in JSON its word
	Reason  check.Reason `json:"reason"`
	Since   time.Time    `json:"since,omitzero"` // it has had this state since then
	Open    bool         `json:"open,omitempty"` // it had it before Since, too
	Last    time.Time    `json:"last,omitzero"`  // of the latest result that decided; zero while there is none
	Held    bool         `json:"held,omitempty"` // the last known state; no result speaks for this moment yet
	Checks  []CheckRef   `json:"checks,omitempty"`
	// Short says why a service as a whole has no state though some units can tell theirs; nil where that is not so.
	Short *Shortage `json:"short,omitempty"`
}

// A Shortage is too few votes for a quorum.
type Shortage struct {
	Voting   int `json:"voting"`   // units that have results
	Units    int `json:"units"`    // as many are needed
	Carriers int `json:"carriers"` // over so many carriers
}

// MarshalJSON adds the word of the state.
func (c Cell) MarshalJSON() ([]byte, error) {
	type plain Cell
	return json.Marshal(struct {
		plain
		State string `json:"state"`
	}{plain(c), c.State.String()})
}

// measured reports whether somebody measures it, or did.
func (c Cell) measured() bool {
	return c.State.Known() || !c.Last.IsZero() || c.Reason == check.EvidenceExpired || len(c.Checks) > 0 && c.Reason != check.NotConfigured
}

// A CheckRef names one check of one machine.
type CheckRef struct {
	Machine string `json:"machine"`
	ID      string `json:"id"`
}

// Kinds of incident, in the words of the verdict.
const (
	KindService = "service" // a service as a whole
	KindLine    = "line"    // a unit's own line, or all that is heard of the unit
	KindFleet   = "fleet"   // most units at once
	KindSite    = "site"    // what a service is for one unit alone
)

// An Incident is one fault from its opening on.
type Incident struct {
	ID      string       `json:"id"`
	Kind    string       `json:"kind"`              // one of the words above
	Service string       `json:"service,omitempty"` // of KindService and KindSite
	Unit    string       `json:"unit,omitempty"`    // of KindLine and KindSite
	Through string       `json:"through,omitempty"` // of KindLine: the service that shows it; "" when nothing is heard
	Carrier string       `json:"carrier,omitempty"` // of KindLine: who runs the line; "" is not known
	State   check.State  `json:"-"`                 // Down, or Unknown for what fell silent; in JSON its word
	Reason  check.Reason `json:"reason"`
	Since   time.Time    `json:"since"` // the fault was first seen
	Opened  time.Time    `json:"opened"`
	Closed  time.Time    `json:"closed,omitzero"` // zero while it is open
	// Restored is since when a closed one's component serves again.
	Restored time.Time `json:"restored,omitzero"`
	// Withdrawn: it was closed because nobody is to measure the component any more.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Owner answers for it. The zero Owner of a KindService is the service's.
	Owner    Name     `json:"owner,omitzero"`
	Services []string `json:"services,omitempty"` // what it hurts
	Units    []string `json:"units,omitempty"`    // where
	Votes    Votes    `json:"votes,omitzero"`
	Action   Name     `json:"action,omitzero"` // what to do and whom to call; the zero Name leaves it to the reason
	Ack      Ack      `json:"ack,omitzero"`
	Suspect  Name     `json:"suspect,omitzero"` // what is broken, in words; the zero Name leaves it to the reason
	Cause    Cause    `json:"cause,omitzero"`   // likewise, for programs
	Joined   int      `json:"joined,omitempty"` // how many other faults the same cause explains
	Life     Life     `json:"life,omitzero"`    // what people made of it
}

// A Life is what people made of an incident; its zero value is one that nobody has touched.
type Life struct {
	Class     string      `json:"class,omitempty"` // what sort of incident a person says it is
	Assignee  string      `json:"assignee,omitempty"`
	Concluded bool        `json:"concluded,omitempty"`
	Entries   []LifeEntry `json:"entries,omitempty"` // in order
}

// A LifeEntry is one thing that somebody did.
type LifeEntry struct {
	What string    `json:"what"` // in the words of the incident
	At   time.Time `json:"at"`
	User string    `json:"user"`
	To   string    `json:"to,omitempty"`
	Note string    `json:"note,omitempty"`
}

// A Cause is what the votes name as broken.
type Cause struct {
	Kind       string  `json:"kind"` // in the words of the verdict
	Service    string  `json:"service,omitempty"`
	Unit       string  `json:"unit,omitempty"`
	Name       string  `json:"name,omitempty"`
	Owner      string  `json:"owner,omitempty"` // the operator who can mend it
	Confidence float64 `json:"confidence"`
}

// MarshalJSON adds the word of the state.
func (i Incident) MarshalJSON() ([]byte, error) {
	type plain Incident
	return json.Marshal(struct {
		plain
		State string `json:"state"`
	}{plain(i), i.State.String()})
}

// Votes counts units by what they have of a component.
type Votes struct {
	Up      int `json:"up"` // degraded ones among them
	Down    int `json:"down"`
	Unknown int `json:"unknown"`
}

// An Ack is a person's word that an incident was noticed. The zero Ack is none.
type Ack struct {
	User string    `json:"user"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// Layers is how many layers the model "4 lớp" has.
const Layers = 4

// UnitLayers is how the controls of the four layers stand at one unit.
type UnitLayers struct {
	Unit   string        `json:"unit"`
	Name   Name          `json:"name,omitzero"` // the zero Name is that of the View's unit
	Layers [Layers]Layer `json:"layers"`        // layer 1 first
}

// A Layer counts the controls of one layer at one unit. What was measured and what a document attests are never added up.
type Layer struct {
	Measured Controls `json:"measured"`
	Attested Controls `json:"attested"`
}

// Controls counts controls by state, one of the words below. What stands under another word counts as unknown.
type Controls map[string]int

// States of a control.
const (
	ControlPass    = "pass"    // Đạt
	ControlNA      = "na"      // Không áp dụng
	ControlPartial = "partial" // Đạt một phần
	ControlFail    = "fail"    // Không đạt
	ControlUnknown = "unknown" // Không đo được
	ControlExpired = "expired" // Hết hạn
	ControlMissing = "missing" // Chưa có minh chứng
	ControlWaiting = "waiting" // Chờ duyệt: entered by one person, approved by none
	// ControlExcepted is not met, but permitted for a time: Ngoại lệ.
	ControlExcepted = "exception"
)

// A NotConfigured is a service of which some check lacks parameters of the profile. The other checks are run.
type NotConfigured struct {
	Service    string   `json:"service"`
	Checks     []string `json:"checks,omitempty"` // that cannot be run
	Parameters []string `json:"parameters"`       // that they lack
}

// An Agent is one machine that measures.
type Agent struct {
	Machine     string    `json:"machine"`
	Unit        string    `json:"unit"`
	Contact     time.Time `json:"contact,omitzero"`  // its last call; zero for never
	Received    time.Time `json:"received,omitzero"` // when its last results came
	PlanVersion int64     `json:"plan_version,omitempty"`
	Build       string    `json:"build,omitempty"`  // the program's version
	Checks      int       `json:"checks,omitempty"` // in the plan that it follows
	Rejected    int64     `json:"rejected,omitempty"`
	Notice      Name      `json:"notice,omitzero"` // what is wrong with it, in a few words
}

// A Log is the state of the transparency log.
type Log struct {
	Size int64  `json:"size"` // leaves
	Root string `json:"root"` // of the tree, base64 or hexadecimal
}

// A Detail is what one check of one machine saw last.
type Detail struct {
	Machine string        `json:"machine"`
	Unit    string        `json:"unit"`
	Check   string        `json:"check"`
	Service string        `json:"service"`
	Kind    string        `json:"kind"`
	Every   time.Duration `json:"-"` // in JSON every_s
	Entries []Entry       `json:"entries"`
}

// MarshalJSON adds the interval in seconds.
func (d Detail) MarshalJSON() ([]byte, error) {
	type plain Detail
	return json.Marshal(struct {
		plain
		Every float64 `json:"every_s"`
	}{plain(d), d.Every.Seconds()})
}

// An Entry is one line of a Detail: exactly one field is set.
type Entry struct {
	Result *Result `json:"result,omitempty"`
	Gap    *Gap    `json:"gap,omitempty"`
	Mark   *Mark   `json:"mark,omitempty"`
}

// A Result is one observation.
type Result struct {
	check.Result
	Every         time.Duration // it speaks for this long from its slot on, at the most
	ClockUnproven bool          // the machine's clock was too far off, so that this counts as unknown
}

// MarshalJSON writes it with the names that a Result has on the wire, durations in seconds.
func (r Result) MarshalJSON() ([]byte, error) {
	phases, facts := map[string]float64{}, map[string]float64{}
	for _, p := range r.Phases {
		phases[p.Name] = p.Took.Seconds()
	}
	for _, f := range r.Facts {
		facts[f.Name] = f.Value
	}
	return json.Marshal(struct {
		Slot          time.Time          `json:"slot"`
		Start         time.Time          `json:"start"`
		Took          float64            `json:"took_s"`
		State         string             `json:"state"`
		Reason        check.Reason       `json:"reason"`
		Detail        string             `json:"detail,omitempty"`
		Attempts      int                `json:"attempts"`
		Phases        map[string]float64 `json:"phases,omitempty"`
		Facts         map[string]float64 `json:"facts,omitempty"`
		ClockUnproven bool               `json:"clock_unproven,omitempty"`
	}{r.Slot, r.Start, r.Took.Seconds(), r.State.String(), r.Reason, r.Detail, r.Attempts, phases, facts, r.ClockUnproven})
}

// A Gap is a stretch in which nothing was measured.
type Gap struct {
	Reason check.Reason `json:"reason"`
	From   time.Time    `json:"from"`
	To     time.Time    `json:"to"`
	Slots  int          `json:"slots"` // how many runs are missing; 0 is not known
}

// A Mark is an instant at which something about the measuring changed.
type Mark struct {
	At   time.Time `json:"at"`
	What string    `json:"what"` // one of the words below
	Plan int64     `json:"plan,omitempty"`
}

// What a Mark says.
const (
	MarkPlan    = "plan"    // another plan is in force
	MarkRemoved = "removed" // … which no longer has this check
	MarkBegin   = "begin"   // the agent started
	MarkEnd     = "end"     // the agent stopped in order
)

// at is when an entry is, for sorting: the beginning of what it speaks for.
func (e Entry) at() time.Time {
	switch {
	case e.Result != nil:
		return e.Result.Slot
	case e.Gap != nil:
		return e.Gap.From
	case e.Mark != nil:
		return e.Mark.At
	}
	return time.Time{}
}
