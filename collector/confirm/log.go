package confirm

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

const leafTime = "2006-01-02T15:04:05.000Z"

// MaxDocument is the most bytes of a document.
const MaxDocument = 16 << 20

// fields are the values of the leaf, by key. Empty ones are left out.
func (w *Word) fields() map[string]string {
	all := map[string]string{"service": w.Service, "unit": w.Unit, "state": w.State.String(), "from": w.From.UTC().Format(time.RFC3339), "valid_to": w.ValidTo.String(),
		"number": w.Number, "issued": w.Issued.String(), "issuer": w.Issuer, "note": w.Note, "entered_by": w.EnteredBy, "entered_at": w.EnteredAt.UTC().Format(leafTime)}
	for k, v := range all {
		if v == "" {
			delete(all, k)
		}
	}
	return all
}

// Is reports whether a leaf is one of this package's: a confirmation of a service, or the withdrawal of one.
func Is(l evidence.Leaf) bool {
	return l.Type() == evidence.Attestation && l.Field("control") == "" && (l.Field("service") != "" || l.Field("withdraws") != "")
}

// Parse reads a confirmation back from its leaf. A leaf that says what this version does not know is an error.
func Parse(l evidence.Leaf, index int64) (Word, error) {
	w := Word{Service: l.Field("service"), Unit: l.Field("unit"), Number: l.Field("number"), Issuer: l.Field("issuer"), Note: l.Field("note"), EnteredBy: l.Field("entered_by"), Leaf: index}
	bad := func(key string, err error) (Word, error) {
		return Word{}, fmt.Errorf("confirmation in leaf %d: %s %q: %w; a newer version may have written it", index, key, l.Field(key), err)
	}
	var ok bool
	if w.State, ok = stateOf(l.Field("state")); !ok {
		return bad("state", fmt.Errorf("none of %s, %s, %s", check.Up, check.Degraded, check.Down))
	}
	var err error
	if w.From, err = time.Parse(time.RFC3339, l.Field("from")); err != nil {
		return bad("from", err)
	}
	for key, d := range map[string]*profile.Date{"issued": &w.Issued, "valid_to": &w.ValidTo} {
		if *d, err = profile.ParseDate(l.Field(key)); err != nil {
			return bad(key, err)
		}
	}
	if w.EnteredAt, err = time.Parse(leafTime, l.Field("entered_at")); err != nil {
		return bad("entered_at", err)
	}
	// What New refuses does not count either when somebody has written it by other means.
	switch {
	case w.From.After(w.EnteredAt) || w.EnteredAt.Sub(w.From) > backwards:
		return bad("from", fmt.Errorf("not within the %d days before its entry", int(backwards.Hours()/24)))
	case w.ValidTo > profile.DateOf(w.EnteredAt)+longest:
		return bad("valid_to", fmt.Errorf("more than %d days after its entry", longest))
	case w.Number == "" || w.EnteredBy == "":
		return bad("number", fmt.Errorf("neither number nor who entered it may be empty"))
	}
	w.Document, _ = l.Blob()
	return w, nil
}

// An Appender is what Add needs of the log.
type Appender interface {
	// Append adds entries, in order and all or none, and returns the index of the first.
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
}

// Add writes a confirmation into the log, with the document when it was handed in, and returns it with its place there.
func Add(ctx context.Context, log Appender, w Word, document []byte) (Word, error) {
	if len(document) > MaxDocument {
		return Word{}, fmt.Errorf("the document has %d bytes, at most %d: give the page that says it", len(document), MaxDocument)
	}
	entry, err := evidence.NewEntry(evidence.Attestation, w.fields(), document, nil)
	if err != nil {
		return Word{}, fmt.Errorf("confirmation: %w", err)
	}
	back, err := Parse(entry.Leaf, -1)
	if err != nil {
		return Word{}, fmt.Errorf("the confirmation cannot be read back: %w", err)
	}
	if back.Leaf, err = log.Append(ctx, entry); err != nil {
		return Word{}, fmt.Errorf("confirmation: %w", err)
	}
	return back, nil
}

// Withdraw takes a confirmation back in the log, as if it had not been entered.
func Withdraw(ctx context.Context, log Appender, w Word, by, note string, now time.Time) error {
	if w.Withdrawn {
		return fmt.Errorf("the confirmation in leaf %d: %w", w.Leaf, ErrWithdrawn)
	}
	e := &faults{}
	all := map[string]string{"withdraws": strconv.FormatInt(w.Leaf, 10), "entered_by": e.text("entered by", by, maxShort, true),
		"entered_at": now.UTC().Format(leafTime), "note": e.text("note", note, maxNote, true)}
	if len(e.list) > 0 {
		return fmt.Errorf("the confirmation in leaf %d cannot be taken back: %s", w.Leaf, e.list[0])
	}
	entry, err := evidence.NewEntry(evidence.Attestation, all, nil, nil)
	if err == nil {
		_, err = log.Append(ctx, entry)
	}
	if err != nil {
		return fmt.Errorf("the confirmation in leaf %d cannot be taken back: %w", w.Leaf, err)
	}
	return nil
}

// A Reader is what a Book needs of the log.
type Reader interface {
	// Leaves yields the leaves from an index on, without their blobs.
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
}

// A Book holds the confirmations of a log. It serves one goroutine; the zero value has been fed nothing.
type Book struct {
	next       int64
	list       []Word
	unreadable []error
}

// Take takes in a leaf of the log, in the log's order; one of another kind is passed over.
func (b *Book) Take(l evidence.Leaf, index int64) {
	switch {
	case !Is(l):
	case l.Field("withdraws") != "":
		leaf, err := strconv.ParseInt(l.Field("withdraws"), 10, 64)
		i := slices.IndexFunc(b.list, func(w Word) bool { return w.Leaf == leaf })
		if err == nil && i < 0 {
			err = fmt.Errorf("leaf %d is no confirmation", leaf)
		}
		if err != nil {
			b.unreadable = append(b.unreadable, fmt.Errorf("confirmation in leaf %d: withdraws: %w", index, err))
			return
		}
		if !b.list[i].Withdrawn {
			b.list[i].Withdrawn, b.list[i].WithdrawnBy = true, l.Field("entered_by")
		}
	default:
		w, err := Parse(l, index)
		if err != nil {
			b.unreadable = append(b.unreadable, err)
			return
		}
		b.list = append(b.list, w)
	}
}

// Update takes in the leaves that are new in the log.
func (b *Book) Update(log Reader) error {
	for s, err := range log.Leaves(b.next) {
		switch {
		case err != nil:
			return fmt.Errorf("confirmations: %w", err)
		case s.Index != b.next:
			return fmt.Errorf("confirmations: leaf %d, but %d comes next", s.Index, b.next)
		}
		b.next++
		b.Take(s.Leaf, s.Index)
	}
	return nil
}

// All returns every confirmation, those taken back too, in the order of the log.
func (b *Book) All() []Word { return slices.Clone(b.list) }

// Unreadable returns why leaves could not be read, one error each.
func (b *Book) Unreadable() []error { return slices.Clone(b.unreadable) }

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
