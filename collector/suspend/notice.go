package suspend

import (
	"slices"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
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
	maxNote   = filing.MaxNote
	longest   = 92 * 24 * time.Hour  // a longer suspension is a change of the catalogue
	farthest  = 400 * 24 * time.Hour // ahead
	backwards = 400 * 24 * time.Hour // before now
)

// New checks a form and makes a notice of it, not yet in the log. The error lists all that is wrong, each with the field's
// name and what to write.
func New(f Form, s Setting) (Notice, error) {
	e := &filing.Faults{}
	n := Notice{
		Ground: Ground(f.Ground), Service: f.Service, Unit: f.Unit, Leaf: -1, EnteredBy: e.Text("entered by", s.By, filing.MaxShort, true),
		EnteredAt: s.Now.UTC().Truncate(time.Millisecond), Number: e.Text("number", f.Number, filing.MaxShort, true),
		Place: e.Text("place", f.Place, filing.MaxLong, true), Note: e.Text("note", f.Note, maxNote, false),
		From: e.Time("from", f.From), To: e.Time("to", f.To),
	}
	if n.Ground == "" {
		n.Ground = Announced
	}
	if !slices.Contains(Grounds(), n.Ground) {
		e.Add("ground: %.40q is none of %v", n.Ground, Grounds())
	}
	n.Announced = e.Date("announced", f.Announced, "the day of the announcement")
	e.Past("announced", n.Announced, s.Now)
	scope(e, &n, s)
	times(e, &n, s.Now)
	if n.Ground == ForceMajeure && !s.Document {
		e.Add("document: force majeure is believed with its document only: give the file")
	}
	if err := e.Err("the notice cannot be entered"); err != nil {
		return Notice{}, err
	}
	return n, nil
}

// ParseTime reads an instant as people write it; see [filing.ParseTime].
func ParseTime(s string) (time.Time, error) { return filing.ParseTime(s) }

func scope(e *filing.Faults, n *Notice, s Setting) {
	if n.Service != "" {
		if !slices.ContainsFunc(s.Profile.Services, func(x profile.Service) bool { return x.ID == n.Service }) {
			e.Add("service: the profile has no %.40q; services.yaml lists them", n.Service)
		}
	}
	e.Unit(s.Profile, n.Unit)
	switch {
	case n.Ground == PowerCut && n.Unit == "":
		e.Add("unit: a power cut excuses a unit, never a system: name the unit")
	case n.Ground == Announced && n.Service == "":
		e.Add("service: name what is suspended")
	case n.Service == "" && n.Unit == "":
		e.Add("service, unit: name at least one")
	}
}

func times(e *filing.Faults, n *Notice, now time.Time) {
	if n.From.IsZero() || n.To.IsZero() {
		return
	}
	switch {
	case !n.From.Before(n.To):
		e.Add("to: it must lie after from")
	case n.To.Sub(n.From) > longest:
		e.Add("to: %d days at the most; what is longer is a change of the catalogue", int(longest.Hours()/24))
	case n.From.Sub(now) > farthest || now.Sub(n.From) > backwards:
		e.Add("from: more than %d days from now", int(farthest.Hours()/24))
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
var ErrWithdrawn = filing.ErrWithdrawn

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
