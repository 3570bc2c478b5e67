package attest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
)

// Approve records that a second person stands behind an attestation: its leaf says all that the first one said, and by
// whom it was approved. The document stays in the first leaf.
func Approve(ctx context.Context, log filing.Appender, a Attestation, by string, now time.Time) (Attestation, error) {
	switch {
	case a.Leaf < 0:
		return Attestation{}, fmt.Errorf("attestation of %s: not in the log yet: add it first", a.Control)
	case by == "" || fold(by) == fold(a.EnteredBy):
		return Attestation{}, fmt.Errorf("attestation %d: %q entered it: a second person approves", a.Leaf, a.EnteredBy)
	case a.Acted:
		return Attestation{}, fmt.Errorf("attestation %d: %q has approved it already", a.Leaf, a.ApprovedBy)
	}
	first := a.Leaf
	a.ApprovedBy, a.Acted = by, true
	fields := a.fields()
	delete(fields, "document")
	if a.Document != (evidence.Ref{}) {
		fields["document"] = a.Document.String()
	}
	if a.Stored {
		fields["kept_in"] = strconv.FormatInt(a.Blob, 10)
	}
	fields["approves"], fields["approved_at"] = strconv.FormatInt(first, 10), filing.Stamp(now)
	entry, err := evidence.NewEntry(evidence.Attestation, fields, nil, nil)
	if err == nil {
		a.Leaf, err = log.Append(ctx, entry)
	}
	if err != nil {
		return Attestation{}, fmt.Errorf("attestation %d: %w", first, err)
	}
	return a, nil
}

// approval reads what an approving leaf adds, and refuses one that changes what it approves: of the attestation that it
// names only who approved it may be another.
func (f *Fold) approval(l evidence.Leaf, a Attestation) error {
	if l.Field("approves") == "" {
		return nil
	}
	of, err := strconv.ParseInt(l.Field("approves"), 10, 64)
	if err != nil {
		return fmt.Errorf("attestation in leaf %d: approves %q", a.Leaf, l.Field("approves"))
	}
	for _, old := range f.list {
		if old.Leaf != of {
			continue
		}
		same := old
		same.Leaf, same.ApprovedBy, same.Acted, same.Stored, same.Blob = a.Leaf, a.ApprovedBy, a.Acted, a.Stored, a.Blob
		if same != a || fold(a.ApprovedBy) == fold(a.EnteredBy) || a.ApprovedBy == "" {
			return fmt.Errorf("attestation in leaf %d approves leaf %d, but says something else or is by the same person", a.Leaf, of)
		}
		return nil
	}
	return fmt.Errorf("attestation in leaf %d approves leaf %d, which does not count", a.Leaf, of)
}
