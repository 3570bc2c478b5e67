package suspend

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

const leafTime = "2006-01-02T15:04:05.000Z"

// MaxDocument is the most bytes of an announcement.
const MaxDocument = 16 << 20

// fields are the values of the leaf, by key. Empty ones are left out.
func (n *Notice) fields() map[string]string {
	all := map[string]string{
		"ground": string(n.Ground), "service": n.Service, "unit": n.Unit, "from": n.From.UTC().Format(time.RFC3339),
		"to": n.To.UTC().Format(time.RFC3339), "number": n.Number, "announced": n.Announced.String(), "place": n.Place, "note": n.Note,
		"entered_by": n.EnteredBy, "entered_at": n.EnteredAt.UTC().Format(leafTime),
	}
	for k, v := range all {
		if v == "" {
			delete(all, k)
		}
	}
	return all
}

// A withdrawal takes a notice back, or the rest of it.
type withdrawal struct {
	leaf int64     // of the notice
	from time.Time // zero is the whole
	by   string
}

// Parse reads a notice back from its leaf. A leaf that says what this version does not know is an error.
func Parse(l evidence.Leaf, index int64) (Notice, error) {
	n := Notice{Ground: Ground(l.Field("ground")), Service: l.Field("service"), Unit: l.Field("unit"), Number: l.Field("number"),
		Place: l.Field("place"), Note: l.Field("note"), EnteredBy: l.Field("entered_by"), Leaf: index}
	bad := func(key string, err error) (Notice, error) {
		return Notice{}, fmt.Errorf("notice in leaf %d: %s %q: %w; a newer version may have written it", index, key, l.Field(key), err)
	}
	if !slices.Contains(Grounds(), n.Ground) {
		return bad("ground", fmt.Errorf("none of %v", Grounds()))
	}
	var err error
	if n.From, err = time.Parse(time.RFC3339, l.Field("from")); err != nil {
		return bad("from", err)
	}
	if n.To, err = time.Parse(time.RFC3339, l.Field("to")); err != nil {
		return bad("to", err)
	}
	if n.Announced, err = profile.ParseDate(l.Field("announced")); err != nil {
		return bad("announced", err)
	}
	if n.EnteredAt, err = time.Parse(leafTime, l.Field("entered_at")); err != nil {
		return bad("entered_at", err)
	}
	switch {
	case !n.From.Before(n.To) || n.To.Sub(n.From) > longest:
		return bad("to", fmt.Errorf("no stretch of at most %v", longest))
	case n.Service == "" && n.Unit == "" || n.Service == "" && n.Ground == Announced || n.Unit == "" && n.Ground == PowerCut:
		return bad("service", fmt.Errorf("a notice of ground %s names another scope", n.Ground))
	}
	n.Document, _ = l.Blob()
	return n, nil
}

func parseWithdrawal(l evidence.Leaf, index int64) (w withdrawal, err error) {
	if w.leaf, err = strconv.ParseInt(l.Field("withdraws"), 10, 64); err != nil {
		return w, fmt.Errorf("notice in leaf %d: withdraws: %w", index, err)
	}
	if s := l.Field("from"); s != "" {
		if w.from, err = time.Parse(time.RFC3339, s); err != nil {
			return w, fmt.Errorf("notice in leaf %d: from: %w", index, err)
		}
	}
	w.by = l.Field("entered_by")
	return w, nil
}

// An Appender is what Add needs of the log.
type Appender interface {
	// Append adds entries, in order and all or none, and returns the index of the first.
	Append(ctx context.Context, entries ...evidence.Entry) (first int64, err error)
}

// Add writes a notice into the log, with the announcement when it was handed in, and returns it with its place there.
func Add(ctx context.Context, log Appender, n Notice, document []byte) (Notice, error) {
	if len(document) > MaxDocument {
		return Notice{}, fmt.Errorf("the document has %d bytes, at most %d: give the page that says it", len(document), MaxDocument)
	}
	entry, err := evidence.NewEntry(evidence.Exclusion, n.fields(), document, nil)
	if err != nil {
		return Notice{}, fmt.Errorf("notice: %w", err)
	}
	back, err := Parse(entry.Leaf, -1)
	if err != nil {
		return Notice{}, fmt.Errorf("the notice cannot be read back: %w", err)
	}
	if back.Leaf, err = log.Append(ctx, entry); err != nil {
		return Notice{}, fmt.Errorf("notice: %w", err)
	}
	return back, nil
}

// Withdraw takes a notice back in the log: as a whole with a zero time, else from that instant on.
func Withdraw(ctx context.Context, log Appender, n Notice, from time.Time, by, note string, now time.Time) error {
	switch {
	case !n.Withdrawn.IsZero():
		return fmt.Errorf("the notice in leaf %d: %w", n.Leaf, ErrWithdrawn)
	case !from.IsZero() && (!from.After(n.From) || !from.Before(n.To)):
		return fmt.Errorf("the notice in leaf %d: it can be cut between %s and %s", n.Leaf, n.From.Format(time.RFC3339), n.To.Format(time.RFC3339))
	}
	e := &faults{}
	all := map[string]string{"withdraws": strconv.FormatInt(n.Leaf, 10), "entered_by": e.text("entered by", by, maxShort, true),
		"entered_at": now.UTC().Format(leafTime), "note": e.text("note", note, maxNote, true)}
	if len(e.list) > 0 {
		return fmt.Errorf("the notice in leaf %d cannot be taken back: %s", n.Leaf, e.list[0])
	}
	if !from.IsZero() {
		all["from"] = from.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	entry, err := evidence.NewEntry(evidence.Exclusion, all, nil, nil)
	if err == nil {
		_, err = log.Append(ctx, entry)
	}
	if err != nil {
		return fmt.Errorf("the notice in leaf %d cannot be taken back: %w", n.Leaf, err)
	}
	return nil
}

// A Reader is what Load needs of the log.
type Reader interface {
	// Leaves yields the leaves from an index on, without their blobs.
	Leaves(from int64) iter.Seq2[evidence.Stored, error]
}

// A Book holds the notices of a log. It serves one goroutine; the zero value has been fed nothing.
type Book struct {
	next       int64
	list       []Notice
	unreadable []error
}

// Next is the index of the leaf that comes next.
func (b *Book) Next() int64 { return b.next }

// Feed takes in the next leaf; those of other types only count. One that this version cannot read is kept apart, see
// [Book.Unreadable].
func (b *Book) Feed(s evidence.Stored) error {
	if s.Index != b.next {
		return fmt.Errorf("notices: leaf %d, but %d comes next", s.Index, b.next)
	}
	b.next++
	b.Take(s.Leaf, s.Index)
	return nil
}

// Take takes in a leaf of the log, in the log's order; one of another type is passed over.
func (b *Book) Take(l evidence.Leaf, index int64) {
	switch {
	case l.Type() != evidence.Exclusion:
	case l.Field("withdraws") != "":
		w, err := parseWithdrawal(l, index)
		i := slices.IndexFunc(b.list, func(n Notice) bool { return n.Leaf == w.leaf })
		if err == nil && i < 0 {
			err = fmt.Errorf("notice in leaf %d: it takes back leaf %d, which is no notice", index, w.leaf)
		}
		if err != nil {
			b.unreadable = append(b.unreadable, err)
			return
		}
		if n := &b.list[i]; n.Withdrawn.IsZero() {
			n.WithdrawnBy = w.by
			if n.Withdrawn = w.from; w.from.IsZero() {
				n.Withdrawn = n.From
			}
		}
	default:
		n, err := Parse(l, index)
		if err != nil {
			b.unreadable = append(b.unreadable, err)
			return
		}
		b.list = append(b.list, n)
	}
}

// Update takes in the leaves that are new in the log.
func (b *Book) Update(log Reader) error {
	for s, err := range log.Leaves(b.next) {
		if err == nil {
			err = b.Feed(s)
		}
		if err != nil {
			return fmt.Errorf("notices: %w", err)
		}
	}
	return nil
}

// All returns every notice, those taken back too, in the order of their beginning.
func (b *Book) All() []Notice {
	list := slices.Clone(b.list)
	slices.SortStableFunc(list, func(x, y Notice) int { return cmp.Or(x.From.Compare(y.From), cmp.Compare(x.Leaf, y.Leaf)) })
	return list
}

// Unreadable returns why leaves could not be read, one error each.
func (b *Book) Unreadable() []error { return slices.Clone(b.unreadable) }

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
