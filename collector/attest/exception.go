package attest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
	"egovmon/collector/profile"
)

// maxException is the longest that an exception may last: then somebody looks at it again.
const maxException = 366

// An Exception permits that a control is not met at a unit, or on one of its machines, until a day. It never makes the
// control met: what it covers is shown as an exception. It counts once a second person has approved it.
type Exception struct {
	Control, Unit string
	Machine       string // "" for all of the unit
	Reason        string
	Measure       string // what is done instead
	ValidTo       profile.Date
	EnteredBy     string
	EnteredAt     time.Time // UTC, whole milliseconds
	ApprovedBy    string    // "" while nobody has
	Leaf          int64     // that entered it: its name
}

// An ExceptionForm is what a person fills in.
type ExceptionForm struct {
	Control string `json:"control"`
	Unit    string `json:"unit"`
	Machine string `json:"machine,omitempty"`
	Reason  string `json:"reason"`
	Measure string `json:"measure"`
	ValidTo string `json:"valid_to"` // YYYY-MM-DD
}

// NewException checks a form. The error lists all that is wrong.
func NewException(f ExceptionForm, s Setting) (Exception, error) {
	e := &faults{}
	x := Exception{
		Control: f.Control, Unit: f.Unit, Machine: e.text("machine", f.Machine, maxShort), Reason: e.text("reason", f.Reason, maxNote),
		Measure: e.text("measure", f.Measure, maxNote), ValidTo: e.date("valid_to", f.ValidTo), EnteredBy: e.text("entered by", s.By, maxShort),
		EnteredAt: s.Now.UTC().Truncate(time.Millisecond), Leaf: -1,
	}
	if !slices.ContainsFunc(s.Controls, func(c profile.Control) bool { return c.ID == x.Control }) {
		e.add("control: %q is not in the law set in force: write one such as m04", x.Control)
	}
	if x.Unit == "" || s.Unit != nil && !s.Unit(x.Unit) {
		e.add("unit: %q is not in the profile: write an id of units.yaml", x.Unit)
	}
	if x.Reason == "" {
		e.add("reason: missing: say why the control cannot be met")
	}
	if x.Measure == "" {
		e.add("measure: missing: say what is done instead to keep the risk small")
	}
	today := profile.DateOf(s.Now)
	switch {
	case x.ValidTo == 0:
		e.add("valid_to: missing: write the last day of the exception as YYYY-MM-DD")
	case x.ValidTo < today:
		e.add("valid_to: %s is past, today is %s: check the day", x.ValidTo, today)
	case x.ValidTo > today+maxException:
		e.add("valid_to: %s is more than %d days ahead: an exception is looked at again each year", x.ValidTo, maxException)
	}
	if x.EnteredBy == "" {
		e.add("entered by: nobody: enter exceptions as a user")
	}
	return x, errors.Join(e.list...)
}

// InForce reports whether the exception counts at a time.
func (x Exception) InForce(now time.Time) bool {
	return x.ApprovedBy != "" && profile.DateOf(now) <= x.ValidTo
}

// covers reports whether it is about a control of a unit; machine is "" for the unit as a whole.
func (x Exception) covers(control, unit, machine string, now time.Time) bool {
	return x.Control == control && x.Unit == unit && (x.Machine == "" || x.Machine == machine) && x.InForce(now)
}

// Acts of a leaf about an exception.
const (
	actEnter    = "enter"
	actApprove  = "approve"
	actWithdraw = "withdraw"
)

// AddException writes an exception into the log and returns it with its place there.
func AddException(ctx context.Context, log filing.Appender, x Exception) (Exception, error) {
	fields := map[string]string{
		"act": actEnter, "control": x.Control, "unit": x.Unit, "reason": x.Reason, "measure": x.Measure, "valid_to": x.ValidTo.String(),
		"by": x.EnteredBy, "at": filing.Stamp(x.EnteredAt),
	}
	if x.Machine != "" {
		fields["machine"] = x.Machine
	}
	entry, err := evidence.NewEntry(evidence.Exception, fields, nil, nil)
	if err == nil {
		x.Leaf, err = log.Append(ctx, entry)
	}
	if err != nil {
		return Exception{}, fmt.Errorf("exception from %s: %w", x.Control, err)
	}
	return x, nil
}

// ApproveException records that a second person stands behind an exception.
func ApproveException(ctx context.Context, log filing.Appender, x Exception, by string, now time.Time) error {
	switch {
	case by == "" || fold(by) == fold(x.EnteredBy):
		return fmt.Errorf("exception %d: %q entered it: a second person approves", x.Leaf, x.EnteredBy)
	case x.ApprovedBy != "":
		return fmt.Errorf("exception %d: %q has approved it already", x.Leaf, x.ApprovedBy)
	case profile.DateOf(now) > x.ValidTo:
		return fmt.Errorf("exception %d ended on %s: enter a new one", x.Leaf, x.ValidTo)
	}
	return actOn(ctx, log, x, actApprove, by, now)
}

// WithdrawException ends an exception before its day.
func WithdrawException(ctx context.Context, log filing.Appender, x Exception, by string, now time.Time) error {
	if by == "" {
		return fmt.Errorf("exception %d: nobody: withdraw it as a user", x.Leaf)
	}
	return actOn(ctx, log, x, actWithdraw, by, now)
}

func actOn(ctx context.Context, log filing.Appender, x Exception, act, by string, now time.Time) error {
	entry, err := evidence.NewEntry(evidence.Exception, map[string]string{
		"act": act, "of": strconv.FormatInt(x.Leaf, 10), "by": by, "at": filing.Stamp(now)}, nil, nil)
	if err == nil {
		_, err = log.Append(ctx, entry)
	}
	if err != nil {
		return fmt.Errorf("exception %d: %w", x.Leaf, err)
	}
	return nil
}

// feedException takes in a leaf about exceptions. An act on one that is not there changes nothing.
func (f *Fold) feedException(s evidence.Stored) (bool, error) {
	l := s.Leaf
	at, err := time.Parse(filing.LeafTime, l.Field("at"))
	if err != nil {
		return false, fmt.Errorf("exception in leaf %d: at %q: %w", s.Index, l.Field("at"), err)
	}
	if l.Field("act") == actEnter {
		x := Exception{Control: l.Field("control"), Unit: l.Field("unit"), Machine: l.Field("machine"), Reason: l.Field("reason"),
			Measure: l.Field("measure"), EnteredBy: l.Field("by"), EnteredAt: at, Leaf: s.Index}
		if x.ValidTo, err = profile.ParseDate(l.Field("valid_to")); err != nil {
			return false, fmt.Errorf("exception in leaf %d: valid_to: %w", s.Index, err)
		}
		f.exceptions = append(f.exceptions, x)
		return true, nil
	}
	of, err := strconv.ParseInt(l.Field("of"), 10, 64)
	i := slices.IndexFunc(f.exceptions, func(x Exception) bool { return x.Leaf == of })
	if err != nil || i < 0 {
		return false, fmt.Errorf("leaf %d is about an exception %q that is not there", s.Index, l.Field("of"))
	}
	switch x := f.exceptions[i]; l.Field("act") {
	case actWithdraw:
		f.exceptions = slices.Delete(f.exceptions, i, i+1)
	case actApprove:
		// Who entered it cannot approve it, whatever the leaf says.
		if fold(l.Field("by")) == fold(x.EnteredBy) || l.Field("by") == "" {
			return false, fmt.Errorf("leaf %d approves exception %d by who entered it", s.Index, of)
		}
		f.exceptions[i].ApprovedBy = l.Field("by")
	default:
		return false, fmt.Errorf("leaf %d does %q with an exception; a newer version may have written it", s.Index, l.Field("act"))
	}
	return true, nil
}

// Exceptions returns those that were not withdrawn, ended and unapproved ones too, in the order of the log.
func (f *Fold) Exceptions() []Exception { return slices.Clone(f.exceptions) }
