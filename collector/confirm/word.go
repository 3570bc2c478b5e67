package confirm

import (
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/filing"
	"egovmon/collector/profile"
)

// A Word is one confirmation. It is made by [New] or [Parse] and never edited.
type Word struct {
	Service string
	Unit    string // the only unit that it is about; "" is every one
	State   check.State
	From    time.Time    // UTC, whole seconds: since when it is so
	ValidTo profile.Date // the last day on which it counts

	Number   string       // số, ký hiệu of the document
	Issued   profile.Date // ngày ban hành
	Issuer   string       // cơ quan ban hành
	Note     string
	Document evidence.Ref // of the document itself; zero where it was not handed in

	EnteredBy string
	EnteredAt time.Time // UTC, whole milliseconds
	Leaf      int64     // its place in the log; -1 before it is there

	Withdrawn   bool // taken back: it never counted
	WithdrawnBy string
}

// Reason is the word of the closed list for the state: what a person says is wrong has no closer one.
func (w *Word) Reason() check.Reason {
	switch w.State {
	case check.Up:
		return check.OK
	case check.Degraded:
		return check.Partial
	case check.Down:
		return check.Timeout
	}
	return check.EvidenceMissing
}

// End is the instant after the last one on which it counts.
func (w *Word) End() time.Time { return (w.ValidTo + 1).Start() }

// A Form is what a person fills in.
type Form struct {
	Service string `json:"service"`
	Unit    string `json:"unit,omitempty"`
	State   string `json:"state"`          // up, degraded or down
	From    string `json:"from,omitempty"` // YYYY-MM-DD HH:MM in Vietnam, or RFC 3339; "" is now
	ValidTo string `json:"valid_to"`       // YYYY-MM-DD
	Number  string `json:"number"`
	Issued  string `json:"issued"` // YYYY-MM-DD
	Issuer  string `json:"issuer"`
	Note    string `json:"note,omitempty"`
}

// A Setting is what a form is judged by.
type Setting struct {
	Profile *profile.Profile
	By      string // who enters it
	Now     time.Time
}

// Bounds of a confirmation.
const (
	longest   = 366                 // days from the entry on: who still knows it then says so anew
	backwards = 31 * 24 * time.Hour // before the entry
)

// New checks a form and makes a confirmation of it, not yet in the log. The error lists all that is wrong, each with the
// field's name and what to write.
func New(f Form, s Setting) (Word, error) {
	e := &filing.Faults{}
	w := Word{Service: f.Service, Unit: f.Unit, Leaf: -1, Number: e.Text("number", f.Number, filing.MaxShort, true), Issuer: e.Text("issuer", f.Issuer, filing.MaxLong, true),
		Note: e.Text("note", f.Note, filing.MaxNote, false), EnteredBy: e.Text("entered by", s.By, filing.MaxShort, true), EnteredAt: s.Now.UTC().Truncate(time.Millisecond)}
	scope(e, &w, s)
	var ok bool
	if w.State, ok = stateOf(f.State); !ok {
		e.Add("state: %.40q: write up, degraded or down", f.State)
	}
	today := profile.DateOf(s.Now)
	w.Issued, w.ValidTo = e.Date("issued", f.Issued, "a day"), e.Date("valid_to", f.ValidTo, "a day")
	e.Past("issued", w.Issued, s.Now)
	if w.ValidTo != 0 && (w.ValidTo < today || w.ValidTo > today+longest) {
		e.Add("valid_to: %s: write a day from today on, at most %d days ahead", w.ValidTo, longest)
	}
	w.From = s.Now.UTC().Truncate(time.Second)
	if f.From != "" {
		w.From = e.Time("from", f.From)
	}
	if w.From.After(s.Now) || s.Now.Sub(w.From) > backwards {
		e.Add("from: write a time within the last %d days", int(backwards.Hours()/24))
	}
	if err := e.Err("it cannot be entered"); err != nil {
		return Word{}, err
	}
	return w, nil
}

func stateOf(s string) (check.State, bool) {
	for _, known := range []check.State{check.Up, check.Degraded, check.Down} {
		if known.String() == s {
			return known, true
		}
	}
	return check.Unknown, false
}

func scope(e *filing.Faults, w *Word, s Setting) {
	svc, ok := s.Profile.Service(w.Service, s.Now)
	switch {
	case !ok:
		e.Add("service: the profile has no %.40q today; services.yaml lists them", w.Service)
	case !svc.Attested():
		var names []string
		for _, x := range s.Profile.ServicesAt(s.Now) {
			if x.Attested() {
				names = append(names, x.ID)
			}
		}
		e.Add("service: %s is measured, or follows from others; no document can stand in for that: write one of %s", w.Service, strings.Join(names, ", "))
	}
	e.Unit(s.Profile, w.Unit)
}

// counting returns the words that count, in the order in which they were entered.
func counting(list []Word) []Word {
	return slices.DeleteFunc(slices.Clone(list), func(w Word) bool { return w.Withdrawn })
}
