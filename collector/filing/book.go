package filing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"egovmon/collector/evidence"
)

// MaxDocument is the most bytes of a document that is handed in.
const MaxDocument = 16 << 20

// The value of a leaf that takes another one back.
const withdraws = "withdraws"

// ErrWithdrawn is the error of taking back what was taken back.
var ErrWithdrawn = errors.New("it was taken back already")

// An Appender is what entering a document needs of the log.
type Appender interface {
	// Append adds entries, in order and all or none, and returns the index of the first.
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
}

// A Reader is what following a log needs of it.
type Reader interface {
	// Leaves yields the leaves from an index on, without their blobs.
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
}

// Follow hands over the leaves of a log that are new since next, in its order, and moves next on.
func Follow(log Reader, next *int64, take func(l evidence.Leaf, index int64)) error {
	for s, err := range log.Leaves(*next) {
		if err == nil {
			err = Step(s, next)
		}
		if err != nil {
			return err
		}
		take(s.Leaf, s.Index)
	}
	return nil
}

// Step makes sure that a leaf is the one that comes next, and moves next on.
func Step(s evidence.Stored, next *int64) error {
	if s.Index != *next {
		return fmt.Errorf("leaf %d, but %d comes next", s.Index, *next)
	}
	*next++
	return nil
}

// A Kind is one sort of documents, D being one of them.
type Kind[D any] struct {
	Name  string // what an error calls one
	Type  evidence.Type
	Parse func(l evidence.Leaf, index int64) (D, error)

	Leaf     func(d *D) int64
	TakeBack func(d *D, l evidence.Leaf) error // marks a document as taken back by a leaf, unless one did before
}

// Enter writes a document into the log, as the values of its leaf and, where it was handed in, the document itself. It
// returns the document as it is read back, with its place.
func (k Kind[D]) Enter(ctx context.Context, log Appender, values map[string]string, document []byte) (back D, err error) {
	if len(document) > MaxDocument {
		return back, fmt.Errorf("the document has %d bytes, at most %d: give the page that says it", len(document), MaxDocument)
	}
	entry, err := evidence.NewEntry(k.Type, values, document, nil)
	if err != nil {
		return back, fmt.Errorf("%s: %w", k.Name, err)
	}
	if _, err := k.Parse(entry.Leaf, -1); err != nil {
		return back, fmt.Errorf("the %s cannot be read back: %w", k.Name, err)
	}
	index, err := log.Append(ctx, entry)
	if err != nil {
		return back, fmt.Errorf("%s: %w", k.Name, err)
	}
	return k.Parse(entry.Leaf, index)
}

// A Withdrawal takes a document back.
type Withdrawal struct {
	Leaf     int64 // of the document
	By, Note string
	At       time.Time
	From     time.Time // from when on; zero is the whole
}

// Withdraw takes a document back in the log.
func (k Kind[D]) Withdraw(ctx context.Context, log Appender, w Withdrawal) error {
	e := &Faults{}
	values := map[string]string{withdraws: strconv.FormatInt(w.Leaf, 10), "entered_by": e.Text("entered by", w.By, MaxShort, true),
		"entered_at": Stamp(w.At), "note": e.Text("note", w.Note, MaxNote, true)}
	what := fmt.Sprintf("the %s in leaf %d cannot be taken back", k.Name, w.Leaf)
	if len(e.list) > 0 {
		return fmt.Errorf("%s: %s", what, e.list[0])
	}
	if !w.From.IsZero() {
		values["from"] = FormatTime(w.From)
	}
	entry, err := evidence.NewEntry(k.Type, values, nil, nil)
	if err == nil {
		_, err = log.Append(ctx, entry)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Withdraws reports whether a leaf takes a document back.
func Withdraws(l evidence.Leaf) bool { return l.Field(withdraws) != "" }

// A Book holds the documents of a log. It serves one goroutine; the zero value has been fed nothing.
type Book[D any] struct {
	list       []D
	unreadable []error
}

// Take takes in a leaf about a document of the kind, in the log's order. One that this version cannot read is kept apart.
func (b *Book[D]) Take(k Kind[D], l evidence.Leaf, index int64) {
	if err := b.take(k, l, index); err != nil {
		b.unreadable = append(b.unreadable, err)
	}
}

func (b *Book[D]) take(k Kind[D], l evidence.Leaf, index int64) error {
	if !Withdraws(l) {
		d, err := k.Parse(l, index)
		if err == nil {
			b.list = append(b.list, d)
		}
		return err
	}
	leaf, err := strconv.ParseInt(l.Field(withdraws), 10, 64)
	if err != nil {
		return fmt.Errorf("%s in leaf %d: %s: %w", k.Name, index, withdraws, err)
	}
	i := slices.IndexFunc(b.list, func(d D) bool { return k.Leaf(&d) == leaf })
	if i < 0 {
		return fmt.Errorf("%s in leaf %d: it takes back leaf %d, which is no %s", k.Name, index, leaf, k.Name)
	}
	if err := k.TakeBack(&b.list[i], l); err != nil {
		return fmt.Errorf("%s in leaf %d: %w", k.Name, index, err)
	}
	return nil
}

// All returns every document, those taken back too, in the order of the log.
func (b *Book[D]) All() []D { return slices.Clone(b.list) }

// Unreadable returns why leaves could not be read, one error each.
func (b *Book[D]) Unreadable() []error { return slices.Clone(b.unreadable) }
