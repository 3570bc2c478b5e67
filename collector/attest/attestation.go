package attest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
	"egovmon/collector/profile"
)

// A Finding is what a document says of its control.
type Finding string

// The findings.
const (
	Met       Finding = "met"            // the control is met
	InPart    Finding = "in_part"        // met in part
	NotMet    Finding = "not_met"        // an assessment found that it is not
	NotNeeded Finding = "not_applicable" // the control does not apply to the unit; the note says why
	Withdrawn Finding = "withdrawn"      // the document of this number counts no more, as if it had not been entered
)

// Findings lists them in the order of the constants.
func Findings() []Finding { return []Finding{Met, InPart, NotMet, NotNeeded, Withdrawn} }

// An Attestation says that a document proves a control for a unit. It is made by [New] or [Parse] and never edited: a
// later one with the same control, unit and number takes its place.
type Attestation struct {
	Control string // a01 to a16, as in the catalogue of a law set
	Unit    string // id
	Finding Finding

	Number string       // số, ký hiệu: what the document is called by, e.g. 12/QĐ-UBND
	Issued profile.Date // ngày ban hành
	Issuer string       // cơ quan ban hành
	Signer string       // người ký
	// ValidTo is the last day on which it counts. Zero leaves it to the control's cycle, and for ever without one.
	ValidTo profile.Date
	// Organisation is who does the work that the document is about: who watches (a07), who assessed (a09). "" for
	// other controls where it does not matter.
	Organisation   string
	OrganisationID string // mã số thuế or another number of the organisation; "" when not known
	Note           string

	Document evidence.Ref // hash and size of the document; zero when there is none (not applicable, withdrawn)
	Stored   bool         // the document itself is in the log
	Blob     int64        // the leaf that holds it, when Stored

	EnteredBy  string
	EnteredAt  time.Time // UTC, whole milliseconds
	ApprovedBy string    // another person than EnteredBy; "" while nobody has
	// Acted is true when ApprovedBy did it as a user of their own; else who entered it only named them.
	Acted bool

	Leaf int64 // its place in the log; -1 before it is there
}

// Approved reports whether a second person stands behind it.
func (a Attestation) Approved() bool { return a.ApprovedBy != "" }

// A Form is what a person fills in: on the command line, on the board, in a request.
type Form struct {
	Control        string `json:"control"`
	Unit           string `json:"unit"`
	Finding        string `json:"finding,omitempty"` // default met
	Number         string `json:"number"`
	Issued         string `json:"issued"` // YYYY-MM-DD
	Issuer         string `json:"issuer"`
	Signer         string `json:"signer"`
	ValidTo        string `json:"valid_to,omitempty"` // YYYY-MM-DD
	Organisation   string `json:"organisation,omitempty"`
	OrganisationID string `json:"organisation_id,omitempty"`
	Note           string `json:"note,omitempty"`
	ApprovedBy     string `json:"approved_by,omitempty"`
	SHA256         string `json:"sha256,omitempty"` // of the document: compared with it, or in its place
	Size           int64  `json:"size,omitempty"`   // of the document in bytes, when only its hash is given
}

// A Setting is what a form is judged by.
type Setting struct {
	Controls []profile.Control    // of the law sets in force, see [Controls]
	Unit     func(id string) bool // whether the profile has the unit
	By       string               // who enters it
	Now      time.Time
}

// The most bytes of each field.
const (
	maxShort = filing.MaxShort
	maxLong  = filing.MaxLong
	maxNote  = filing.MaxNote
)

// noNumber stands for the number where there is no document: a control that does not apply.
const noNumber = "-"

// New checks a form and makes an attestation of it, not yet in the log and without the document. The error lists all
// that is wrong, each with the field's name and what to write.
func New(f Form, s Setting) (Attestation, error) {
	e := &faults{}
	a := Attestation{
		Control: f.Control, Unit: f.Unit, Finding: Finding(f.Finding), Leaf: -1, EnteredAt: s.Now.UTC().Truncate(time.Millisecond),
		Number: e.text("number", f.Number, maxShort), Issuer: e.text("issuer", f.Issuer, maxLong),
		Signer: e.text("signer", f.Signer, maxLong), Organisation: e.text("organisation", f.Organisation, maxLong),
		OrganisationID: e.text("organisation_id", f.OrganisationID, maxShort), Note: e.text("note", f.Note, maxNote),
		EnteredBy: e.text("entered by", s.By, maxShort), ApprovedBy: e.text("approved_by", f.ApprovedBy, maxShort),
		Issued: e.date("issued", f.Issued), ValidTo: e.date("valid_to", f.ValidTo),
	}
	if a.Finding == "" {
		a.Finding = Met
	}
	if a.Finding == NotNeeded && a.Number == "" {
		a.Number = noNumber
	}
	e.scope(a, s)
	e.content(a, s.Now)
	a.Document = e.ref(f, a.Finding)
	return a, errors.Join(e.list...)
}

// faults are what is wrong with a form.
type faults struct{ list []error }

func (e *faults) add(format string, args ...any) {
	e.list = append(e.list, fmt.Errorf(format, args...))
}

// text brings a field into the form in which it is kept.
func (e *faults) text(name, s string, limit int) string {
	s = filing.Clean(s)
	switch {
	case !utf8.ValidString(s):
		e.add("%s: not UTF-8: write it again", name)
	case filing.HasControl(s):
		e.add("%s: %q holds a control character: write it on one line", name, s)
	case len(s) > limit:
		e.add("%s: %d bytes, at most %d are kept: shorten it", name, len(s), limit)
	default:
		return s
	}
	return ""
}

func (e *faults) date(name, s string) profile.Date {
	if s == "" {
		return 0
	}
	d, err := profile.ParseDate(s)
	if err != nil {
		e.add("%s: %w", name, err)
	}
	return d
}

// scope checks control, unit and persons.
func (e *faults) scope(a Attestation, s Setting) {
	i := slices.IndexFunc(s.Controls, func(c profile.Control) bool { return c.ID == a.Control })
	switch {
	case a.Control == "":
		e.add("control: missing: write one of %s", attested(s.Controls))
	case i < 0:
		e.add("control: %q is not in the law set in force: write one of %s", a.Control, attested(s.Controls))
	case s.Controls[i].Kind != kindAttested:
		e.add("control: %s is measured by an agent, no document can stand in for it: write one of %s", a.Control, attested(s.Controls))
	}
	switch {
	case a.Unit == "":
		e.add("unit: missing: write the unit's id, as in units.yaml")
	case s.Unit != nil && !s.Unit(a.Unit):
		e.add("unit: %q is not in the profile: write an id of units.yaml", a.Unit)
	}
	if !slices.Contains(Findings(), a.Finding) {
		e.add("finding: %q: write one of %v", a.Finding, Findings())
	}
	if a.EnteredBy == "" {
		e.add("entered by: nobody: enter attestations as a user")
	}
	if a.ApprovedBy != "" && fold(a.ApprovedBy) == fold(a.EnteredBy) {
		e.add("approved_by: %q entered it: a second person approves", a.ApprovedBy)
	}
}

// kindAttested is what the profile calls a control that documents prove.
const kindAttested = "attested"

func attested(controls []profile.Control) string {
	var ids []string
	for _, c := range controls {
		if c.Kind == kindAttested {
			ids = append(ids, c.ID)
		}
	}
	return strings.Join(ids, ", ")
}

// content checks what is said of the document.
func (e *faults) content(a Attestation, now time.Time) {
	if a.Number == "" {
		e.add("number: missing: write the number and symbol on the document, e.g. 12/QĐ-UBND")
	}
	if a.Finding == NotNeeded || a.Finding == Withdrawn {
		if a.Note == "" {
			e.add("note: missing: say why the finding is %s", a.Finding)
		}
		return
	}
	if a.Issued == 0 {
		e.add("issued: missing: write the day on the document as YYYY-MM-DD")
	}
	if today := profile.DateOf(now); a.Issued > today {
		e.add("issued: %s is in the future, today is %s: check the day", a.Issued, today)
	}
	if a.ValidTo != 0 && a.ValidTo < a.Issued {
		e.add("valid_to: %s is before the day of issue %s: check both", a.ValidTo, a.Issued)
	}
	if a.Issuer == "" {
		e.add("issuer: missing: write the office or company that issued the document")
	}
	if a.Signer == "" {
		e.add("signer: missing: write who signed the document")
	}
	if a.Organisation == "" && (a.Control == monitoring || a.Control == assessment) {
		e.add("organisation: missing: %s needs to say who did the work, to show that layer 3 is independent of layer 2", a.Control)
	}
}

// ref reads the hash that a form may give.
func (e *faults) ref(f Form, finding Finding) (r evidence.Ref) {
	if f.SHA256 == "" {
		if f.Size != 0 {
			e.add("size: given without sha256: give both, or the document")
		}
		return r
	}
	b, err := hex.DecodeString(strings.ToLower(strings.TrimSpace(f.SHA256)))
	if err != nil || len(b) != len(r.SHA256) {
		e.add("sha256: %q is not 64 hex digits: write what sha256sum prints", f.SHA256)
		return r
	}
	if f.Size < 0 || f.Size > maxDocument {
		e.add("size: %d: write the size of the document in bytes, at most %d", f.Size, int64(maxDocument))
	}
	if finding == NotNeeded || finding == Withdrawn {
		e.add("sha256: a finding of %s has no document: leave it out", finding)
	}
	copy(r.SHA256[:], b)
	r.Size = f.Size
	return r
}

// fold is a name as names are compared: without regard to case, spaces and the way that letters are composed.
func fold(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(norm.NFC.String(s))), " ")
}
