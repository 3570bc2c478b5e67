package filing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/profile"
)

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// A paper is a document of which only its number matters.
type paper struct {
	number    string
	entered   time.Time
	leaf      int64
	withdrawn string // by whom
}

func papers() Kind[paper] {
	return Kind[paper]{Name: "paper", Type: evidence.Exclusion, Leaf: func(p *paper) int64 { return p.leaf },
		Parse: func(l evidence.Leaf, index int64) (paper, error) {
			v := NewValues(l, index, "paper")
			p := paper{number: l.Field("number"), entered: v.Stamp("entered_at"), leaf: index}
			if p.number == "" {
				v.Bad("number", errors.New("it is missing"))
			}
			return p, v.Err()
		},
		TakeBack: func(p *paper, l evidence.Leaf) error {
			if l.Field("from") == "x" {
				return errors.New("from: no time")
			}
			p.withdrawn = l.Field("entered_by")
			return nil
		}}
}

// A log keeps entries in memory, each at its index and one more for every leaf that is lost.
type log struct {
	entries []evidence.Entry
	lost    int64
	err     error
}

func (l *log) Append(_ context.Context, e ...evidence.Entry) (int64, error) {
	if l.err != nil {
		return 0, l.err
	}
	first := int64(len(l.entries))
	l.entries = append(l.entries, e...)
	return first, nil
}

func (l *log) Leaves(from int64) iter.Seq2[evidence.Stored, error] {
	return func(yield func(evidence.Stored, error) bool) {
		for i := from; i < int64(len(l.entries)); i++ {
			if !yield(evidence.Stored{Index: i + l.lost, Entry: l.entries[i]}, l.err) {
				return
			}
		}
	}
}

func values(number string) map[string]string {
	return Said(map[string]string{"number": number, "note": "", "entered_at": Stamp(now)})
}

// TestBook enters papers, takes one back and follows the log.
func TestBook(t *testing.T) {
	l, k := &log{}, papers()
	var b Book[paper]
	var next int64
	follow := func() {
		t.Helper()
		if err := Follow(l, &next, func(leaf evidence.Leaf, i int64) { b.Take(k, leaf, i) }); err != nil {
			t.Fatal(err)
		}
	}
	for i, number := range []string{"1/TB", "2/TB"} {
		p, err := k.Enter(t.Context(), l, values(number), []byte("văn bản"))
		if err != nil || p != (paper{number, now, int64(i), ""}) {
			t.Fatalf("%+v, %v", p, err)
		}
		follow()
	}
	if err := k.Withdraw(t.Context(), l, Withdrawal{Leaf: 1, By: "an", Note: "nhầm", At: now, From: now.Add(time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	if got := l.entries[2].Leaf.Field("from"); got != "2026-11-23T08:00:00Z" {
		t.Errorf("taken back from %s, want whole seconds", got)
	}
	follow()
	if all := b.All(); len(all) != 2 || all[0].withdrawn != "" || all[1].withdrawn != "an" || len(b.Unreadable()) != 0 || next != 3 {
		t.Errorf("%+v, %v", all, b.Unreadable())
	}
	for _, f := range []map[string]string{{"number": "3"}, {"entered_at": Stamp(now)}, {"withdraws": "x"}, {"withdraws": "99"}, {"withdraws": "0", "from": "x", "entered_by": "an"}} {
		leaf, err := evidence.NewLeaf(evidence.Exclusion, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := len(b.Unreadable())
		if b.Take(k, leaf, next); len(b.Unreadable()) != before+1 || !strings.HasPrefix(b.Unreadable()[before].Error(), "paper in leaf 3: ") {
			t.Errorf("%v is believed: %v", f, b.Unreadable())
		}
	}
	if b.All()[0].withdrawn != "" {
		t.Error("a withdrawal that cannot be read takes back")
	}
	l.lost = 1
	l.entries = append(l.entries, l.entries[0])
	if err := Follow(l, &next, func(evidence.Leaf, int64) { t.Error("a leaf out of order is taken") }); err == nil || next != 3 {
		t.Errorf("a gap in the log: %v, next %d", err, next)
	}
}

// TestRefused: what cannot be entered or taken back leaves nothing in the log.
func TestRefused(t *testing.T) {
	l, k := &log{}, papers()
	enter := func(number string, size int) error {
		_, err := k.Enter(t.Context(), l, values(number), make([]byte, size))
		return err
	}
	back := func(by, note string) error {
		return k.Withdraw(t.Context(), l, Withdrawal{Leaf: 4, By: by, Note: note, At: now})
	}
	for want, err := range map[string]error{"at most 16777216": enter("1", MaxDocument+1), "cannot be read back": enter("", 1), "paper: ": enter(strings.Repeat("x", 5000), 1),
		"the paper in leaf 4 cannot be taken back: entered by: it is missing": back(" ", "x"), "note: it is missing": back("an", ""), "note: it has line breaks": back("an", "a\nb")} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if len(l.entries) != 0 {
		t.Errorf("%d leaves", len(l.entries))
	}
	l.err = errors.New("disk full")
	if err := errors.Join(enter("1", 1), back("an", "x")); !errors.Is(err, l.err) || strings.Count(err.Error(), "disk full") != 2 {
		t.Errorf("%v", err)
	}
}

func TestFaults(t *testing.T) {
	e := &Faults{}
	if e.Err("x") != nil {
		t.Error("nothing is wrong, and yet there is an error")
	}
	p := &profile.Profile{Units: []profile.Unit{{Record: profile.Record{ID: "d"}}}}
	if got := e.Text("note", " Cu\u0323c ", MaxNote, true); got != "Cục" {
		t.Errorf("%q is not composed", got)
	}
	e.Unit(p, "")
	e.Unit(p, "d")
	e.Past("issued", e.Date("issued", "2026-11-23", "a day"), now)
	e.Time("from", "2026-11-23 15:00")
	if err := e.Err("x"); err != nil {
		t.Error(err)
	}
	e.Text("a", "", 1, true)
	e.Text("b", "x\ty", 9, false)
	e.Text("c", "\xff", 9, false)
	e.Text("d", "xx", 1, false)
	e.Unit(p, "e")
	e.Past("f", e.Date("f", "2026-11-24", "a day"), now)
	e.Date("g", "24/11/2026", "the day")
	e.Time("h", "mai")
	err := e.Err("no")
	if err == nil || strings.Count(err.Error(), "; ") != 8 || !strings.HasPrefix(err.Error(), "no: a: it is missing; b: it has line breaks") {
		t.Errorf("%v", err)
	}
}

func ExampleParseTime() {
	for _, s := range []string{"2026-12-01 22:00", "2026-12-01T22:00", "2026-12-01T15:00:00.5Z"} {
		t, err := ParseTime(s)
		fmt.Println(t, err)
	}
	// Output:
	// 2026-12-01 15:00:00 +0000 UTC <nil>
	// 2026-12-01 15:00:00 +0000 UTC <nil>
	// 2026-12-01 15:00:00 +0000 UTC <nil>
}
