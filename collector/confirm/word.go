package confirm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
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
	maxShort  = 128
	maxLong   = 320
	maxNote   = 640
	longest   = 366                 // days from the entry on: who still knows it then says so anew
	backwards = 31 * 24 * time.Hour // before the entry
)

// New checks a form and makes a confirmation of it, not yet in the log. The error lists all that is wrong, each with the
// field's name and what to write.
func New(f Form, s Setting) (Word, error) {
	e := &faults{}
	w := Word{Service: f.Service, Unit: f.Unit, Leaf: -1, Number: e.text("number", f.Number, maxShort, true), Issuer: e.text("issuer", f.Issuer, maxLong, true),
		Note: e.text("note", f.Note, maxNote, false), EnteredBy: e.text("entered by", s.By, maxShort, true), EnteredAt: s.Now.UTC().Truncate(time.Millisecond)}
	e.scope(&w, s)
	var ok bool
	if w.State, ok = stateOf(f.State); !ok {
		e.add("state: %.40q: write up, degraded or down", f.State)
	}
	today := profile.DateOf(s.Now)
	w.Issued, w.ValidTo = e.date("issued", f.Issued), e.date("valid_to", f.ValidTo)
	if w.Issued > today {
		e.add("issued: %s lies in the future", w.Issued)
	}
	if w.ValidTo != 0 && (w.ValidTo < today || w.ValidTo > today+longest) {
		e.add("valid_to: %s: write a day from today on, at most %d days ahead", w.ValidTo, longest)
	}
	w.From = s.Now.UTC().Truncate(time.Second)
	if f.From != "" {
		var err error
		if w.From, err = parseTime(f.From); err != nil {
			e.add("from: %v", err)
		}
	}
	if w.From.After(s.Now) || s.Now.Sub(w.From) > backwards {
		e.add("from: write a time within the last %d days", int(backwards.Hours()/24))
	}
	if len(e.list) > 0 {
		return Word{}, fmt.Errorf("it cannot be entered: %s", strings.Join(e.list, "; "))
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

// faults gathers what is wrong with a form.
type faults struct{ list []string }

func (e *faults) add(format string, args ...any) {
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

func (e *faults) text(name, s string, most int, needed bool) string {
	s = norm.NFC.String(strings.TrimSpace(s))
	switch {
	case s == "" && needed:
		e.add("%s: it is missing", name)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		e.add("%s: it has line breaks or control characters", name)
		return ""
	case len(s) > most:
		e.add("%s: %d bytes, at most %d", name, len(s), most)
		return ""
	}
	return s
}

func (e *faults) date(name, s string) profile.Date {
	d, err := profile.ParseDate(s)
	if err != nil {
		e.add("%s: %v: write a day as YYYY-MM-DD", name, err)
	}
	return d
}

func (e *faults) scope(w *Word, s Setting) {
	svc, ok := s.Profile.Service(w.Service, s.Now)
	switch {
	case !ok:
		e.add("service: the profile has no %.40q today; services.yaml lists them", w.Service)
	case !svc.Attested():
		var names []string
		for _, x := range s.Profile.ServicesAt(s.Now) {
			if x.Attested() {
				names = append(names, x.ID)
			}
		}
		e.add("service: %s is measured, or follows from others; no document can stand in for that: write one of %s", w.Service, strings.Join(names, ", "))
	}
	if w.Unit == "" {
		return
	}
	if _, ok := s.Profile.Unit(w.Unit); !ok {
		e.add("unit: the profile has no %.40q; units.yaml lists them", w.Unit)
	}
}

// parseTime reads an instant as people write it.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, profile.Zone()); err == nil {
			return t.UTC(), nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is no time: write YYYY-MM-DD HH:MM, the time in Vietnam", s)
	}
	return t.UTC().Truncate(time.Second), nil
}

// ErrWithdrawn is the error of taking back what was taken back.
var ErrWithdrawn = errors.New("it was taken back already")

// counting returns the words that count, in the order in which they were entered.
func counting(list []Word) []Word {
	return slices.DeleteFunc(slices.Clone(list), func(w Word) bool { return w.Withdrawn })
}
