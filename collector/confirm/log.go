package confirm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/filing"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// fields are the values of the leaf, by key. Empty ones are left out.
func (w *Word) fields() map[string]string {
	return filing.Said(map[string]string{"service": w.Service, "unit": w.Unit, "state": w.State.String(), "from": filing.FormatTime(w.From), "valid_to": w.ValidTo.String(),
		"number": w.Number, "issued": w.Issued.String(), "issuer": w.Issuer, "note": w.Note, "entered_by": w.EnteredBy, "entered_at": filing.Stamp(w.EnteredAt)})
}

// Is reports whether a leaf is one of this package's: a confirmation of a service, or the withdrawal of one.
func Is(l evidence.Leaf) bool {
	return l.Type() == evidence.Attestation && l.Field("control") == "" && (l.Field("service") != "" || filing.Withdraws(l))
}

// Parse reads a confirmation back from its leaf. A leaf that says what this version does not know is an error.
func Parse(l evidence.Leaf, index int64) (Word, error) {
	v := filing.NewValues(l, index, kind().Name)
	w := Word{Service: l.Field("service"), Unit: l.Field("unit"), Number: l.Field("number"), Issuer: l.Field("issuer"), Note: l.Field("note"), EnteredBy: l.Field("entered_by"), Leaf: index}
	var ok bool
	if w.State, ok = stateOf(l.Field("state")); !ok {
		v.Bad("state", fmt.Errorf("none of %s, %s, %s", check.Up, check.Degraded, check.Down))
	}
	w.From, w.Issued, w.ValidTo, w.EnteredAt = v.Time("from"), v.Date("issued"), v.Date("valid_to"), v.Stamp("entered_at")
	// What New refuses does not count either when somebody has written it by other means.
	switch {
	case w.From.After(w.EnteredAt) || w.EnteredAt.Sub(w.From) > backwards:
		v.Bad("from", fmt.Errorf("not within the %d days before its entry", int(backwards.Hours()/24)))
	case w.ValidTo > profile.DateOf(w.EnteredAt)+longest:
		v.Bad("valid_to", fmt.Errorf("more than %d days after its entry", longest))
	case w.Number == "" || w.EnteredBy == "":
		v.Bad("number", errors.New("neither number nor who entered it may be empty"))
	}
	if err := v.Err(); err != nil {
		return Word{}, err
	}
	w.Document, _ = l.Blob()
	return w, nil
}

// kind is the sort of documents that confirmations are.
func kind() filing.Kind[Word] {
	return filing.Kind[Word]{Name: "confirmation", Type: evidence.Attestation, Parse: Parse, Leaf: func(w *Word) int64 { return w.Leaf },
		TakeBack: func(w *Word, l evidence.Leaf) error {
			if !w.Withdrawn {
				w.Withdrawn, w.WithdrawnBy = true, l.Field("entered_by")
			}
			return nil
		}}
}

// Add writes a confirmation into the log, with the document when it was handed in, and returns it with its place there.
func Add(ctx context.Context, log filing.Appender, w Word, document []byte) (Word, error) {
	return kind().Enter(ctx, log, w.fields(), document)
}

// Withdraw takes a confirmation back in the log, as if it had not been entered.
func Withdraw(ctx context.Context, log filing.Appender, w Word, by, note string, now time.Time) error {
	if w.Withdrawn {
		return fmt.Errorf("the confirmation in leaf %d: %w", w.Leaf, filing.ErrWithdrawn)
	}
	return kind().Withdraw(ctx, log, filing.Withdrawal{Leaf: w.Leaf, By: by, Note: note, At: now})
}

// A Book holds the confirmations of a log. It serves one goroutine; the zero value has been fed nothing.
type Book struct {
	next int64
	book filing.Book[Word]
}

// Take takes in a leaf of the log, in the log's order; one of another kind is passed over.
func (b *Book) Take(l evidence.Leaf, index int64) {
	if Is(l) {
		b.book.Take(kind(), l, index)
	}
}

// Update takes in the leaves that are new in the log.
func (b *Book) Update(log filing.Reader) error {
	if err := filing.Follow(log, &b.next, b.Take); err != nil {
		return fmt.Errorf("confirmations: %w", err)
	}
	return nil
}

// All returns every confirmation, those taken back too, in the order of the log.
func (b *Book) All() []Word { return b.book.All() }

// Unreadable returns why leaves could not be read, one error each.
func (b *Book) Unreadable() []error { return b.book.Unreadable() }

// Apply adds the confirmations to what the accounts are worked out from: to the services that are attested, and to no other.
func Apply(cat history.Catalogue, list []Word) history.Catalogue {
	cat.Services = slices.Clone(cat.Services)
	list = counting(list)
	for i := range cat.Services {
		svc := &cat.Services[i]
		if !svc.Attested {
			continue
		}
		svc.Words = nil
		for _, w := range list {
			if w.Service == svc.ID {
				svc.Words = append(svc.Words, history.Word{Span: history.Span{From: w.From.Unix(), To: w.End().Unix()}, Unit: w.Unit, Reason: w.Reason()})
			}
		}
	}
	return cat
}
