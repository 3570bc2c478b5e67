package suspend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// at is a time in Vietnam in November and December 2026: 2026-11-24 is a holiday, 2026-12-01 a Tuesday.
func at(month time.Month, day, hour, minute int) time.Time {
	return time.Date(2026, month, day, hour, minute, 0, 0, profile.Zone())
}

func district() *profile.Profile {
	rec := func(id string) profile.Record { return profile.Record{ID: id} }
	holiday := profile.NewDate(2026, time.November, 24)
	return &profile.Profile{
		Units:    []profile.Unit{{Record: rec("d")}, {Record: rec("xa-a")}},
		Services: []profile.Service{{Record: rec("mail")}, {Record: rec("cong")}},
		Notices: []profile.NoticeRule{{Record: profile.Record{ID: "old", Valid: profile.Span{To: profile.NewDate(2026, time.June, 30)}}, WorkingDays: 1},
			{Record: profile.Record{ID: "new", Valid: profile.Span{From: profile.NewDate(2026, time.July, 1), To: profile.NewDate(2027, time.June, 30)}}, WorkingDays: 7}},
		Years: []profile.Year{{Year: 2026, Week: []time.Weekday{1, 2, 3, 4, 5}, Days: []profile.Day{{Record: rec("2026-11-24"), Date: holiday, Kind: profile.DayHoliday}}}},
	}
}

func form() Form {
	return Form{Service: "mail", From: "2026-12-01 22:00", To: "2026-12-02 02:00", Number: "15/TB-STTTT", Announced: "2026-11-19", Place: "Cổng TTĐT tỉnh"}
}

func TestNew(t *testing.T) {
	now := at(11, 19, 9, 0)
	n, err := New(form(), Setting{Profile: district(), By: "an@tuky", Now: now})
	want := Notice{Ground: Announced, Service: "mail", From: at(12, 1, 22, 0).UTC(), To: at(12, 2, 2, 0).UTC(), Number: "15/TB-STTTT", Place: "Cổng TTĐT tỉnh",
		Announced: profile.NewDate(2026, time.November, 19), EnteredBy: "an@tuky", EnteredAt: now.UTC(), Leaf: -1}
	if diff := cmp.Diff(want, n); err != nil || diff != "" {
		t.Fatalf("%v, (-want +got):\n%s", err, diff)
	}
	for _, c := range []struct {
		name string
		edit func(*Form)
		want string
	}{
		{"no service of the profile", func(f *Form) { f.Service = "thu" }, "service: the profile has no \"thu\""},
		{"no unit of the profile", func(f *Form) { f.Unit = "xa-z" }, "unit: the profile has no"},
		{"announced, of nothing", func(f *Form) { f.Service, f.Unit = "", "xa-a" }, "name what is suspended"},
		{"a power cut of a system", func(f *Form) { f.Ground = string(PowerCut) }, "never a system"},
		{"force majeure of nothing", func(f *Form) { f.Ground, f.Service = string(ForceMajeure), "" }, "name at least one"},
		{"force majeure without its document", func(f *Form) { f.Ground = string(ForceMajeure) }, "with its document only"},
		{"an unknown ground", func(f *Form) { f.Ground = "tet" }, "none of"},
		{"backwards", func(f *Form) { f.To = "2026-12-01 21:00" }, "must lie after"},
		{"empty", func(f *Form) { f.To = f.From }, "must lie after"},
		{"too long", func(f *Form) { f.To = "2027-12-02 02:00" }, "92 days at the most"},
		{"too far", func(f *Form) { f.From, f.To = "2029-01-01 00:00", "2029-01-02 00:00" }, "more than 400 days"},
		{"too long ago", func(f *Form) { f.From, f.To = "2020-01-01 00:00", "2020-01-02 00:00" }, "more than 400 days"},
		{"no time", func(f *Form) { f.From = "mai" }, "write YYYY-MM-DD HH:MM"},
		{"no day", func(f *Form) { f.Announced = "19/11/2026" }, "announced:"},
		{"announced tomorrow", func(f *Form) { f.Announced = "2026-11-20" }, "in the future"},
		{"no number", func(f *Form) { f.Number = " " }, "number: it is missing"},
		{"no place", func(f *Form) { f.Place = "" }, "place: it is missing"},
		{"line breaks", func(f *Form) { f.Note = "a\nb" }, "line breaks"},
		{"no text", func(f *Form) { f.Note = "a\xffb" }, "line breaks or control"},
		{"a long remark", func(f *Form) { f.Note = strings.Repeat("a", maxNote+1) }, "at most 640"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := form()
			c.edit(&f)
			if _, err := New(f, Setting{Profile: district(), By: "an", Now: now}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := New(Form{}, Setting{Profile: district(), Now: now}); err == nil || strings.Count(err.Error(), ";") < 5 {
		t.Errorf("an empty form: %v, want all that is wrong at once", err)
	}
}

// TestJudge: seven working days before 2026-12-01 is 2026-11-19, over a holiday and a weekend.
func TestJudge(t *testing.T) {
	p := district()
	last := profile.NewDate(2026, time.November, 19)
	day := func(d int) profile.Date { return profile.NewDate(2026, time.November, d) }
	begin := at(12, 1, 22, 0)
	for _, c := range []struct {
		name string
		n    Notice
		want Standing
	}{
		{"on the last day", Notice{Ground: Announced, Announced: day(19), EnteredAt: at(11, 19, 23, 59)}, InTime},
		{"a day late", Notice{Ground: Announced, Announced: day(20), EnteredAt: at(11, 20, 0, 0)}, TooLate},
		{"entered later, with the announcement", Notice{Ground: Announced, Announced: day(19), EnteredAt: at(11, 30, 8, 0), Document: evidence.RefTo([]byte("x"))}, InTime},
		{"entered later, without it", Notice{Ground: Announced, Announced: day(19), EnteredAt: at(11, 20, 0, 0)}, Unproven},
		{"entered as it began", Notice{Ground: Announced, Announced: day(1), EnteredAt: begin, Document: evidence.RefTo([]byte("x"))}, EnteredLate},
		{"taken back before", Notice{Ground: Announced, Announced: day(1), EnteredAt: at(11, 1, 8, 0), Withdrawn: begin}, NothingLeft},
		{"cut short", Notice{Ground: Announced, Announced: day(1), EnteredAt: at(11, 1, 8, 0), Withdrawn: begin.Add(time.Hour)}, InTime},
		{"force majeure, before", Notice{Ground: ForceMajeure, Announced: day(1), EnteredAt: at(11, 1, 8, 0)}, Afterwards},
		{"a power cut", Notice{Ground: PowerCut, Announced: day(30), EnteredAt: begin.Add(-time.Second)}, InTime},
		{"a power cut, afterwards", Notice{Ground: PowerCut, Announced: day(1), EnteredAt: begin}, EnteredLate},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.n.From, c.n.To = begin, begin.Add(4*time.Hour)
			got, by := Judge(&c.n, p)
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if c.n.Ground == Announced && got != NothingLeft && by != last {
				t.Errorf("last day %s, want %s", by, last)
			}
		})
	}
	early := Notice{Ground: Announced, From: at(6, 30, 22, 0), To: at(6, 30, 23, 0), Announced: profile.NewDate(2026, time.June, 29), EnteredAt: at(6, 29, 8, 0)}
	if got, _ := Judge(&early, p); got != InTime {
		t.Errorf("under the older rule of one day: %s", got)
	}
	none := Notice{Ground: Announced, From: at(12, 1, 0, 0).AddDate(1, 0, 0), To: at(12, 2, 0, 0).AddDate(1, 0, 0), Announced: 1, EnteredAt: at(1, 1, 0, 0)}
	if got, _ := Judge(&none, p); got != NoRule {
		t.Errorf("without a rule: %s", got)
	}
	bare := *p
	bare.Years = []profile.Year{{Year: 2026}}
	n := Notice{Ground: Announced, From: begin, To: begin.Add(time.Hour), Announced: day(1), EnteredAt: at(11, 1, 0, 0)}
	if got, _ := Judge(&n, &bare); got != NoCalendar {
		t.Errorf("without working days: %s", got)
	}
}

// A log keeps entries in memory.
type log struct{ entries []evidence.Entry }

func (l *log) Append(_ context.Context, e ...evidence.Entry) (int64, error) {
	first := int64(len(l.entries))
	l.entries = append(l.entries, e...)
	return first, nil
}

func (l *log) Leaves(from int64) iter.Seq2[evidence.Stored, error] {
	return func(yield func(evidence.Stored, error) bool) {
		for i := from; i < int64(len(l.entries)); i++ {
			if !yield(evidence.Stored{Index: i, Entry: l.entries[i]}, nil) {
				return
			}
		}
	}
}

func TestBook(t *testing.T) {
	l, p := &log{}, district()
	add := func(edit func(*Form), now time.Time, document []byte) Notice {
		t.Helper()
		f := form()
		edit(&f)
		n, err := New(f, Setting{Profile: p, By: "an", Now: now, Document: document != nil})
		if err == nil {
			n, err = Add(t.Context(), l, n, document)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a := add(func(*Form) {}, at(11, 19, 9, 0), []byte("thông báo"))
	b := add(func(f *Form) {
		f.Ground, f.Service, f.Unit, f.From, f.To = string(PowerCut), "", "xa-a", "2026-11-29 06:00", "2026-11-29 18:00"
	}, at(11, 19, 9, 0), nil)
	var book Book
	if err := book.Update(l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Notice{b, a}, book.All()); diff != "" {
		t.Fatalf("read back (-want +got):\n%s", diff)
	}
	if err := Withdraw(t.Context(), l, a, a.To, "binh", "xong", at(12, 1, 8, 0)); err == nil {
		t.Error("cut after its end")
	}
	if err := Withdraw(t.Context(), l, a, a.From, "binh", "xong", at(12, 1, 8, 0)); err == nil {
		t.Error("cut at its beginning")
	}
	if err := Withdraw(t.Context(), l, a, time.Time{}, "binh", "", at(12, 1, 8, 0)); err == nil {
		t.Error("taken back without a reason")
	}
	cut := a.From.Add(time.Hour)
	if err := Withdraw(t.Context(), l, a, cut, "binh", "xong sớm", at(12, 1, 23, 1)); err != nil {
		t.Fatal(err)
	}
	if err := Withdraw(t.Context(), l, b, time.Time{}, "binh", "hoãn", at(11, 28, 8, 0)); err != nil {
		t.Fatal(err)
	}
	if err := book.Update(l); err != nil {
		t.Fatal(err)
	}
	list := book.All()
	if got := list[1]; !got.End().Equal(cut) || got.Covers(cut) || !got.Covers(cut.Add(-time.Second)) || got.WithdrawnBy != "binh" {
		t.Errorf("cut short: %+v", got)
	}
	if got := list[0]; got.Covers(got.From) || !got.End().Equal(got.From) {
		t.Errorf("taken back: %+v", got)
	}
	if err := Withdraw(t.Context(), l, list[1], time.Time{}, "binh", "x", at(12, 1, 8, 0)); !errors.Is(err, ErrWithdrawn) {
		t.Errorf("twice: %v", err)
	}
	cat := Apply(history.Catalogue{Services: []history.Service{{ID: "mail"}, {ID: "cong"}}}, p, list)
	want := []history.Exclusion{{Span: history.Span{From: a.From.Unix(), To: cut.Unix()}, InTime: true}}
	if diff := cmp.Diff(want, cat.Services[0].Excluded); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	if len(cat.Services[1].Excluded) != 0 {
		t.Errorf("cong: %+v, want nothing: the power cut was taken back", cat.Services[1].Excluded)
	}
}

// TestApply: a power cut is about its unit, of every service; what lies outside a service's terms is left out; and the given
// catalogue stays as it was.
func TestApply(t *testing.T) {
	p := district()
	given := history.Catalogue{Services: []history.Service{{ID: "mail", Valid: history.Span{From: 0, To: at(11, 29, 7, 0).Unix()}}, {ID: "mail", Valid: history.Span{From: at(11, 29, 7, 0).Unix()}}, {ID: "cong"}}}
	n := Notice{Ground: PowerCut, Unit: "xa-a", From: at(11, 29, 8, 0), To: at(11, 29, 9, 0), EnteredAt: at(11, 29, 8, 30)}
	cat := Apply(given, p, []Notice{n})
	want := []history.Exclusion{{Span: history.Span{From: n.From.Unix(), To: n.To.Unix()}, Unit: "xa-a"}}
	for i, w := range [][]history.Exclusion{nil, want, want} {
		if diff := cmp.Diff(w, cat.Services[i].Excluded); diff != "" {
			t.Errorf("service %d (-want +got):\n%s", i, diff)
		}
		if given.Services[i].Excluded != nil {
			t.Errorf("service %d: the given catalogue was changed", i)
		}
	}
}

// TestHostileLeaves: what cannot be read is kept apart and enters nothing.
func TestHostileLeaves(t *testing.T) {
	good := map[string]string{"ground": "announced", "service": "mail", "from": "2026-12-01T15:00:00Z", "to": "2026-12-01T19:00:00Z", "number": "1", "announced": "2026-11-19",
		"place": "x", "entered_by": "an", "entered_at": "2026-11-19T02:00:00.000Z"}
	var book Book
	take := func(fields map[string]string) {
		l, err := evidence.NewLeaf(evidence.Exclusion, fields, nil)
		if err != nil {
			t.Fatal(err)
		}
		book.Take(l, book.next)
		book.next++
	}
	with := func(key, value string) map[string]string {
		m := map[string]string{}
		maps.Copy(m, good)
		if m[key] = value; value == "" {
			delete(m, key)
		}
		return m
	}
	bad := 0
	for _, kv := range [][2]string{{"ground", "tet"}, {"ground", ""}, {"from", "x"}, {"to", "2026-12-01T15:00:00Z"}, {"to", "2036-12-01T15:00:00Z"}, {"to", ""}, {"announced", "x"}, {"entered_at", "x"},
		{"service", ""}, {"ground", "power_cut"}} {
		take(with(kv[0], kv[1]))
		if bad++; len(book.Unreadable()) != bad {
			t.Fatalf("%s=%q is believed", kv[0], kv[1])
		}
	}
	for _, f := range []map[string]string{{"withdraws": "x"}, {"withdraws": "77"}, {"withdraws": "0", "from": "x"}} {
		take(f)
		if bad++; len(book.Unreadable()) != bad {
			t.Fatalf("%v is believed", f)
		}
	}
	take(good)
	if got := book.All(); len(got) != 1 || len(book.Unreadable()) != bad {
		t.Errorf("%d notices, %d unreadable", len(got), len(book.Unreadable()))
	}
	if err := book.Feed(evidence.Stored{Index: 99}); err == nil {
		t.Error("leaves out of order are taken")
	}
}

func ExampleParseTime() {
	t, err := ParseTime("2026-12-01 22:00")
	fmt.Println(t, err)
	// Output: 2026-12-01 15:00:00 +0000 UTC <nil>
}
