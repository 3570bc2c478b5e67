package suspend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

// A Ground is why something is not to work.
type Ground string

// The grounds.
const (
	Announced    Ground = "announced"     // its operator suspends it and said so: maintenance
	ForceMajeure Ground = "force_majeure" // bất khả kháng: entered afterwards, with its document
	PowerCut     Ground = "power_cut"     // announced by the power company; excuses a unit, never a system
)

// Grounds lists them in the order of the constants.
func Grounds() []Ground { return []Ground{Announced, ForceMajeure, PowerCut} }

// A Notice is one stretch in which something was not to work. It is made by [New] or [Parse] and never edited.
type Notice struct {
	Ground  Ground
	Service string    // "" is everything in the unit; only of a power cut or force majeure
	Unit    string    // "" is everywhere
	From    time.Time // UTC, whole seconds
	To      time.Time // exclusive; the expected recovery

	Number    string       // số, ký hiệu of the announcement, as its publisher has it
	Announced profile.Date // ngày thông báo
	Place     string       // where it was announced
	Note      string

	Document  evidence.Ref // of the announcement; zero when it was not handed in
	EnteredBy string
	EnteredAt time.Time // UTC, whole milliseconds
	Leaf      int64     // its place in the log; -1 before it is there

	// Withdrawn is from when on it counts no more, zero when it was not taken back. At or before From it never counted.
	Withdrawn   time.Time
	WithdrawnBy string
}

// End is where the stretch ends, after what was taken back of it; not after From when nothing is left.
func (n *Notice) End() time.Time {
	if !n.Withdrawn.IsZero() && n.Withdrawn.Before(n.To) {
		return n.Withdrawn
	}
	return n.To
}

// Covers reports whether the stretch has an instant in it.
func (n *Notice) Covers(t time.Time) bool { return !t.Before(n.From) && t.Before(n.End()) }

// Hits reports whether the notice is about a service at a unit; "" for the unit asks about the service as a whole.
func (n *Notice) Hits(service, unit string) bool {
	return (n.Service == "" || n.Service == service) && (n.Unit == "" || n.Unit == unit)
}

// A Form is what a person fills in: on the command line, on the board, in a file.
type Form struct {
	Ground    string `json:"ground,omitempty" yaml:"ground"` // default announced
	Service   string `json:"service,omitempty" yaml:"service"`
	Unit      string `json:"unit,omitempty" yaml:"unit"`
	From      string `json:"from" yaml:"from"` // YYYY-MM-DD HH:MM in Vietnam, or RFC 3339
	To        string `json:"to" yaml:"to"`
	Number    string `json:"number" yaml:"number"`
	Announced string `json:"announced" yaml:"announced"` // YYYY-MM-DD
	Place     string `json:"place" yaml:"place"`
	Note      string `json:"note,omitempty" yaml:"note"`
}

// A Setting is what a form is judged by.
type Setting struct {
	Profile  *profile.Profile
	By       string // who enters it
	Now      time.Time
	Document bool // whether the announcement itself is handed in
}

// Bounds of a notice.
const (
	maxShort  = 128
	maxLong   = 320
	maxNote   = 640
	longest   = 92 * 24 * time.Hour  // a longer suspension is a change of the catalogue
	farthest  = 400 * 24 * time.Hour // ahead
	backwards = 400 * 24 * time.Hour // before now
)

// New checks a form and makes a notice of it, not yet in the log. The error lists all that is wrong, each with the field's
// name and what to write.
func New(f Form, s Setting) (Notice, error) {
	e := &faults{}
	n := Notice{
		Ground: Ground(f.Ground), Service: f.Service, Unit: f.Unit, Leaf: -1, EnteredBy: e.text("entered by", s.By, maxShort, true),
		EnteredAt: s.Now.UTC().Truncate(time.Millisecond), Number: e.text("number", f.Number, maxShort, true),
		Place: e.text("place", f.Place, maxLong, true), Note: e.text("note", f.Note, maxNote, false),
		From: e.instant("from", f.From), To: e.instant("to", f.To),
	}
	if n.Ground == "" {
		n.Ground = Announced
	}
	if !slices.Contains(Grounds(), n.Ground) {
		e.add("ground: %.40q is none of %v", n.Ground, Grounds())
	}
	var err error
	if n.Announced, err = profile.ParseDate(f.Announced); err != nil {
		e.add("announced: %v: write the day of the announcement as YYYY-MM-DD", err)
	} else if n.Announced > profile.DateOf(s.Now) {
		e.add("announced: %s lies in the future", n.Announced)
	}
	e.scope(&n, s)
	e.times(&n, s.Now)
	if n.Ground == ForceMajeure && !s.Document {
		e.add("document: force majeure is believed with its document only: give the file")
	}
	if len(e.list) > 0 {
		return Notice{}, fmt.Errorf("the notice cannot be entered: %s", strings.Join(e.list, "; "))
	}
	return n, nil
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

func (e *faults) instant(name, s string) time.Time {
	t, err := ParseTime(s)
	if err != nil {
		e.add("%s: %v", name, err)
	}
	return t
}

// ParseTime reads an instant as people write it: YYYY-MM-DD HH:MM in Vietnam, or RFC 3339.
func ParseTime(s string) (time.Time, error) {
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

func (e *faults) scope(n *Notice, s Setting) {
	if n.Service != "" {
		if !slices.ContainsFunc(s.Profile.Services, func(x profile.Service) bool { return x.ID == n.Service }) {
			e.add("service: the profile has no %.40q; services.yaml lists them", n.Service)
		}
	}
	if n.Unit != "" {
		if _, ok := s.Profile.Unit(n.Unit); !ok {
			e.add("unit: the profile has no %.40q; units.yaml lists them", n.Unit)
		}
	}
	switch {
	case n.Ground == PowerCut && n.Unit == "":
		e.add("unit: a power cut excuses a unit, never a system: name the unit")
	case n.Ground == Announced && n.Service == "":
		e.add("service: name what is suspended")
	case n.Service == "" && n.Unit == "":
		e.add("service, unit: name at least one")
	}
}

func (e *faults) times(n *Notice, now time.Time) {
	if n.From.IsZero() || n.To.IsZero() {
		return
	}
	switch {
	case !n.From.Before(n.To):
		e.add("to: it must lie after from")
	case n.To.Sub(n.From) > longest:
		e.add("to: %d days at the most; what is longer is a change of the catalogue", int(longest.Hours()/24))
	case n.From.Sub(now) > farthest || now.Sub(n.From) > backwards:
		e.add("from: more than %d days from now", int(farthest.Hours()/24))
	}
}

// A Standing says how a notice enters the figures.
type Standing string

// The standings.
const (
	InTime      Standing = "in_time"      // left out of the figures
	TooLate     Standing = "too_late"     // announced later than the rule asks: counted, shown with both figures
	EnteredLate Standing = "entered_late" // entered into the log after its beginning: likewise
	Unproven    Standing = "unproven"     // entered after the last day for announcing, without the announcement itself: likewise
	NoRule      Standing = "no_rule"      // the profile has no rule for that day: likewise
	Afterwards  Standing = "afterwards"   // force majeure: likewise
	NothingLeft Standing = "nothing_left" // taken back before it began
	NoCalendar  Standing = "no_calendar"  // the working days cannot be counted: like TooLate
)

// ErrWithdrawn is the error of taking back what was taken back.
var ErrWithdrawn = errors.New("it was taken back already")

// Judge says how a notice enters the figures, and for an announced one the last day on which it would have been in time.
func Judge(n *Notice, p *profile.Profile) (s Standing, last profile.Date) {
	if !n.From.Before(n.End()) {
		return NothingLeft, 0
	}
	before := n.EnteredAt.Before(n.From)
	switch {
	case n.Ground == ForceMajeure:
		return Afterwards, 0
	case n.Ground == PowerCut && before:
		return InTime, 0
	case n.Ground == PowerCut:
		return EnteredLate, 0
	}
	rule, ok := p.NoticeAt(n.From)
	if !ok {
		return NoRule, 0
	}
	last, err := p.AddWorkingDays(profile.DateOf(n.From), -rule.WorkingDays)
	switch {
	case err != nil:
		return NoCalendar, 0
	case n.Announced > last:
		return TooLate, last
	case !before:
		return EnteredLate, last
	case profile.DateOf(n.EnteredAt) > last && n.Document.Size == 0:
		return Unproven, last
	}
	return InTime, last
}
