package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"egovmon/collector/history"
)

// Version names the form of a Model as JSON.
const Version = "egovmon-report/1"

// maxJSON is the most bytes that [Read] takes.
const maxJSON = 256 << 20

// A Model is everything that a report says. Its figures stand under the same names as in the answer of
// `collector availability --json`.
type Model struct {
	Version   string    `json:"version"`
	Period    string    `json:"period,omitempty"`  // as profile.ParsePeriod reads it; "" for a range of days
	Service   string    `json:"service,omitempty"` // the only one it is of
	Unit      string    `json:"unit,omitempty"`    // likewise
	Rule      string    `json:"rule"`              // of accounting: votes/1
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`         // [From, To)
	Counted   time.Time `json:"counted_to"` // later seconds had not yet passed
	Generated time.Time `json:"generated_at"`
	Leaves    int64     `json:"log_leaves"` // size of the log that the figures follow from
	Root      string    `json:"log_root"`   // its root hash, hex
	Missing   []int     `json:"calendar_years_missing,omitempty"`
	District  string    `json:"district"` // its name at the end of the period
	Issuer    Issuer    `json:"issuer"`
	Rows      []Row     `json:"rows"`    // by service: the service as a whole, then its units
	Changes   []Change  `json:"changes"` // of plans, profile, targets, calendars and rules in the period
	Log       Log       `json:"log"`

	// Edition says how much the report says, so that an issued one is made again as it was: 0 has figures, outages and
	// changes; 1 all that stands below, too.
	Edition  int       `json:"edition,omitempty"`
	Of       Subject   `json:"of,omitzero"`
	Before   *Stretch  `json:"previous,omitempty"` // with what Previous of the rows is compared
	Counters []Counter `json:"counters,omitempty"`
	Layers   []Layers  `json:"layers,omitempty"`
	LayersAt time.Time `json:"layers_at,omitzero"` // when the four layers stood so
	Reform   []Joined  `json:"reform,omitempty"`   // the rows of former units under those that go on with their work today
}

// ThisEdition is that of reports that are made now.
const ThisEdition = 1

// A Subject is what that alone is called which a report is about; the zero Subject is the whole district.
type Subject struct {
	ServiceName string `json:"service_name,omitempty"`
	UnitName    string `json:"unit_name,omitempty"`
}

// A Stretch is another period.
type Stretch struct {
	Period string    `json:"period"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
}

// A Counter is how long a one-stop-shop counter was ready in the hours in which it is to be.
type Counter struct {
	Unit     string             `json:"unit"`
	UnitName string             `json:"unit_name"`
	Calendar string             `json:"calendar"`
	Seconds  history.CounterSum `json:"seconds"`
}

// Layers are how many controls of one of the four layers stood how, over all units.
type Layers struct {
	Layer    int            `json:"layer"` // from 1
	Measured map[string]int `json:"measured"`
	Attested map[string]int `json:"attested"`
}

// Seen is the state of the log as `collector audit verify --checkpoint` reads it: name, leaves, root.
func (m Model) Seen() string { return fmt.Sprintf("%s %d %s", m.Log.Origin, m.Leaves, m.Root) }

// An Issuer is the body whose report it is.
type Issuer struct {
	Parent     string   `json:"parent"`     // the body above, e.g. "Ủy ban nhân dân huyện Tứ Kỳ"
	Body       string   `json:"body"`       // e.g. "Phòng Văn hóa và Thông tin"
	Symbol     string   `json:"symbol"`     // behind the number: "BC-VHTT"
	Recipients []string `json:"recipients"` // lines of Nơi nhận, before "Lưu"
	Signer     string   `json:"signer"`     // the signer's title, e.g. "Trưởng phòng"; "" leaves it to the clerk
}

// A Row is one row of figures, with what it is called and what was asked of it.
type Row struct {
	history.Row
	Name     string   `json:"name"`                // of the service, in Vietnamese
	UnitName string   `json:"unit_name,omitempty"` // "" for the service as a whole
	Targets  []Target `json:"targets,omitempty"`   // at most one a calendar

	Owner    string   `json:"owner,omitempty"`    // the office in charge
	Counter  bool     `json:"counter,omitempty"`  // a one-stop-shop counter, which no machine measures
	Previous []Before `json:"previous,omitempty"` // the period before
}

// Before is what a row was in the period before.
type Before struct {
	Calendar string          `json:"calendar"`
	Figures  history.Figures `json:"figures"`
}

// A Trend says how an availability compares with that of the period before.
type Trend string

// The trends. Intervals that overlap allow no word.
const (
	Better   Trend = "better"
	Worse    Trend = "worse"
	Alike    Trend = "alike"
	NoTrend  Trend = "cannot_be_said"
	NoBefore Trend = "no_data"
)

// Compare says how the availability of a row in a calendar compares with the period before.
func (r Row) Compare(c history.Counted) (Trend, history.Figures) {
	for _, b := range r.Previous {
		if b.Calendar == c.Calendar {
			return compare(b.Figures, c.Figures), b.Figures
		}
	}
	return NoBefore, history.Figures{}
}

func compare(before, now history.Figures) Trend {
	switch {
	case before.Lower == nil || now.Lower == nil || before.Coverage == nil || *before.Coverage == 0:
		return NoBefore
	case *now.Lower > *before.Upper:
		return Better
	case *now.Upper < *before.Lower:
		return Worse
	case *now.Lower == *before.Lower && *now.Upper == *before.Upper && *now.Lower == *now.Upper:
		return Alike
	}
	return NoTrend
}

// Target returns what was asked of the row in a calendar.
func (r Row) Target(calendar string) (Target, bool) {
	for _, t := range r.Targets {
		if t.Calendar == calendar {
			return t, true
		}
	}
	return Target{}, false
}

// measured reports whether any second of the row is known.
func (r Row) measured() bool {
	for _, c := range r.Calendars {
		if known(c.Account) > 0 {
			return true
		}
	}
	return false
}

// Measured reports whether any second of any row is known.
func (m Model) Measured() bool { return slices.ContainsFunc(m.Rows, Row.measured) }

// known returns the seconds of which the state is known.
func known(a history.Account) int64 { return a.Up + a.Degraded + a.Down }

// A Target is the objective of a service in one calendar.
type Target struct {
	Calendar  string  `json:"calendar"`
	Objective float64 `json:"objective"` // least share of seconds up
	Basis     string  `json:"basis"`
	Verdict   Verdict `json:"verdict"`
}

// A Verdict says whether a target was met.
type Verdict string

// The verdicts. An interval that has the objective inside it allows no other word than Unsaid.
const (
	Met    Verdict = "met"
	NotMet Verdict = "not_met"
	Unsaid Verdict = "cannot_be_said"
)

// Judge compares an availability with an objective: met when even its lower end reaches it, not met when not even its
// upper end does.
func Judge(f history.Figures, objective float64) Verdict {
	switch {
	case f.Lower == nil || f.Upper == nil:
		return Unsaid
	case *f.Lower >= objective:
		return Met
	case *f.Upper < objective:
		return NotMet
	}
	return Unsaid
}

// A Change is a leaf of the log that changed what was measured, or how it counts.
type Change struct {
	Leaf int64  `json:"leaf"`
	Type string `json:"type"` // of the leaf
	What string `json:"what"` // file, machine or name
	// The leaf itself names no time. It was recorded between these two, the times of its neighbours in the log; zero where
	// there is none.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
}

// A Log is the state of the transparency log that the figures follow from.
type Log struct {
	Origin     string `json:"origin"`
	Key        string `json:"key"`        // the log's verifier key
	Checkpoint string `json:"checkpoint"` // the signed note
}

// JSON writes the Model for programs.
func JSON(m Model) ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(b, '\n'), nil
}

// Read reads what [JSON] wrote.
func Read(r io.Reader) (Model, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	if err != nil {
		return Model{}, fmt.Errorf("report: %w", err)
	}
	if len(b) > maxJSON {
		return Model{}, fmt.Errorf("report: more than %d bytes: this is no report of this program", maxJSON)
	}
	var m Model
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&m); err != nil {
		return Model{}, fmt.Errorf("report: this is no report in JSON: %w", err)
	}
	if m.Version != Version {
		return Model{}, fmt.Errorf("report: version %.40q, this program reads %q: use the program that wrote it, or a newer one", m.Version, Version)
	}
	return m, nil
}
