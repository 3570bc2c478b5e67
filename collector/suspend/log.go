package suspend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/filing"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// fields are the values of the leaf, by key. Empty ones are left out.
func (n *Notice) fields() map[string]string {
	return filing.Said(map[string]string{
		"ground": string(n.Ground), "service": n.Service, "unit": n.Unit, "from": filing.FormatTime(n.From),
		"to": filing.FormatTime(n.To), "number": n.Number, "announced": n.Announced.String(), "place": n.Place, "note": n.Note,
		"entered_by": n.EnteredBy, "entered_at": filing.Stamp(n.EnteredAt),
	})
}

// Parse reads a notice back from its leaf. A leaf that says what this version does not know is an error.
func Parse(l evidence.Leaf, index int64) (Notice, error) {
	v := filing.NewValues(l, index, kind().Name)
	n := Notice{Ground: Ground(l.Field("ground")), Service: l.Field("service"), Unit: l.Field("unit"), Number: l.Field("number"),
		Place: l.Field("place"), Note: l.Field("note"), EnteredBy: l.Field("entered_by"), Leaf: index}
	if !slices.Contains(Grounds(), n.Ground) {
		v.Bad("ground", fmt.Errorf("none of %v", Grounds()))
	}
	n.From, n.To, n.Announced, n.EnteredAt = v.Time("from"), v.Time("to"), v.Date("announced"), v.Stamp("entered_at")
	switch {
	case !n.From.Before(n.To) || n.To.Sub(n.From) > longest:
		v.Bad("to", fmt.Errorf("no stretch of at most %v", longest))
	case n.Service == "" && n.Unit == "" || n.Service == "" && n.Ground == Announced || n.Unit == "" && n.Ground == PowerCut:
		v.Bad("service", fmt.Errorf("a notice of ground %s names another scope", n.Ground))
	}
	if err := v.Err(); err != nil {
		return Notice{}, err
	}
	n.Document, _ = l.Blob()
	return n, nil
}

// kind is the sort of documents that notices are.
func kind() filing.Kind[Notice] {
	return filing.Kind[Notice]{Name: "notice", Type: evidence.Exclusion, Parse: Parse, Leaf: func(n *Notice) int64 { return n.Leaf }, TakeBack: takeBack}
}

// takeBack marks a notice as taken back by a leaf: as a whole, or from an instant on.
func takeBack(n *Notice, l evidence.Leaf) error {
	from := n.From
	if s := l.Field("from"); s != "" {
		var err error
		if from, err = time.Parse(time.RFC3339, s); err != nil {
			return fmt.Errorf("from: %w", err)
		}
	}
	if n.Withdrawn.IsZero() {
		n.Withdrawn, n.WithdrawnBy = from, l.Field("entered_by")
	}
	return nil
}

// Add writes a notice into the log, with the announcement when it was handed in, and returns it with its place there.
func Add(ctx context.Context, log filing.Appender, n Notice, document []byte) (Notice, error) {
	return kind().Enter(ctx, log, n.fields(), document)
}

// Withdraw takes a notice back in the log: as a whole with a zero time, else from that instant on.
func Withdraw(ctx context.Context, log filing.Appender, n Notice, from time.Time, by, note string, now time.Time) error {
	switch {
	case !n.Withdrawn.IsZero():
		return fmt.Errorf("the notice in leaf %d: %w", n.Leaf, ErrWithdrawn)
	case !from.IsZero() && (!from.After(n.From) || !from.Before(n.To)):
		return fmt.Errorf("the notice in leaf %d: it can be cut between %s and %s", n.Leaf, n.From.Format(time.RFC3339), n.To.Format(time.RFC3339))
	}
	return kind().Withdraw(ctx, log, filing.Withdrawal{Leaf: n.Leaf, By: by, Note: note, At: now, From: from})
}

// A Book holds the notices of a log. It serves one goroutine; the zero value has been fed nothing.
type Book struct {
	next int64
	book filing.Book[Notice]
}

// Feed takes in the next leaf; those of other types only count. One that this version cannot read is kept apart, see
// [Book.Unreadable].
func (b *Book) Feed(s evidence.Stored) error {
	if err := filing.Step(s, &b.next); err != nil {
		return fmt.Errorf("notices: %w", err)
	}
	b.Take(s.Leaf, s.Index)
	return nil
}

// Take takes in a leaf of the log, in the log's order; one of another type is passed over.
func (b *Book) Take(l evidence.Leaf, index int64) {
	if l.Type() == evidence.Exclusion {
		b.book.Take(kind(), l, index)
	}
}

// Update takes in the leaves that are new in the log.
func (b *Book) Update(log filing.Reader) error {
	if err := filing.Follow(log, &b.next, b.Take); err != nil {
		return fmt.Errorf("notices: %w", err)
	}
	return nil
}

// All returns every notice, those taken back too, in the order of their beginning.
func (b *Book) All() []Notice {
	list := b.book.All()
	slices.SortStableFunc(list, func(x, y Notice) int { return cmp.Or(x.From.Compare(y.From), cmp.Compare(x.Leaf, y.Leaf)) })
	return list
}

// Unreadable returns why leaves could not be read, one error each.
func (b *Book) Unreadable() []error { return b.book.Unreadable() }

// Apply adds the notices to what the accounts are worked out from.
func Apply(cat history.Catalogue, p *profile.Profile, list []Notice) history.Catalogue {
	cat.Services = slices.Clone(cat.Services)
	for _, n := range list {
		s, _ := Judge(&n, p)
		if s == NothingLeft {
			continue
		}
		x := history.Exclusion{Span: history.Span{From: n.From.Unix(), To: n.End().Unix()}, InTime: s == InTime, Unit: n.Unit}
		for i := range cat.Services {
			svc := &cat.Services[i]
			if n.Service != "" && n.Service != svc.ID || svc.Valid.To != 0 && x.From >= svc.Valid.To || x.To <= svc.Valid.From {
				continue
			}
			svc.Excluded = append(slices.Clone(svc.Excluded), x)
		}
	}
	return cat
}
