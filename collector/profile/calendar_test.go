package profile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func day(t testing.TB, s string) Date {
	t.Helper()
	d, err := ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDate(t *testing.T) {
	tests := []struct {
		at, date string
	}{
		{"2023-06-30T16:59:59Z", "2023-06-30"},
		{"2023-06-30T17:00:00Z", "2023-07-01"},
		{"1970-01-01T00:00:00Z", "1970-01-01"},
		{"2024-02-28T17:00:00Z", "2024-02-29"},
	}
	for _, tt := range tests {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		d := DateOf(at)
		if d.String() != tt.date || d != day(t, tt.date) {
			t.Errorf("DateOf(%s) = %s, want %s", tt.at, d, tt.date)
		}
		if d.Start().After(at) || !(d + 1).Start().After(at) {
			t.Errorf("%s does not lie in %s: %s to %s", tt.at, d, d.Start(), (d + 1).Start())
		}
	}
	if s := Date(0).String(); s != "" {
		t.Errorf("no date is %q", s)
	}
}

func TestIsWorkingDay(t *testing.T) {
	p := sample(t)
	tests := []struct {
		date string
		want bool
		why  string
	}{
		{"2023-09-04", false, "substitute day for Quốc khánh on a Saturday"},
		{"2023-09-05", true, "a Tuesday"},
		{"2023-01-26", false, "the last substitute day of Tết"},
		{"2023-01-27", true, "the first day after Tết"},
		{"2024-04-29", false, "swapped"},
		{"2024-05-04", true, "the Saturday that it was swapped with"},
		{"2024-05-11", false, "any other Saturday"},
		{"2026-02-16", false, "Tết"},
		{"2026-02-23", true, "after Tết"},
		{"2026-04-27", false, "substitute day for Giỗ Tổ on a Sunday"},
		{"2025-11-24", true, "Vietnamese Culture Day is a holiday from 2026 only"},
		{"2026-11-24", false, "Vietnamese Culture Day"},
		{"2027-05-03", false, "substitute day for 1 May on a Saturday"},
		{"2028-05-01", false, "no calendar, but the date is fixed"},
		{"2028-11-24", false, "no calendar, but the date is fixed"},
		{"2028-05-03", true, "a substitute day is no fixed date"},
		{"2022-11-24", true, "no calendar; made from 2023, when it was no holiday"},
		{"2022-01-03", true, "the substitute day of 2023 is not carried over"},
	}
	for _, tt := range tests {
		if got := p.IsWorkingDay(day(t, tt.date)); got != tt.want {
			t.Errorf("%s: got %v, want %v: %s", tt.date, got, tt.want, tt.why)
		}
	}
}

func TestAddWorkingDays(t *testing.T) {
	p := sample(t)
	tests := []struct {
		from string
		n    int
		want string
	}{
		{"2026-12-01", -7, "2026-11-19"}, // over 24 November and two weekends
		{"2026-11-19", 7, "2026-12-01"},
		{"2026-12-01", 0, "2026-12-01"},
		{"2024-05-03", 1, "2024-05-04"}, // the make-up Saturday
		{"2024-05-03", 2, "2024-05-06"},
		{"2026-02-13", 1, "2026-02-23"}, // over Tết
		{"2023-12-29", 1, "2024-01-02"}, // over the year's end
	}
	for _, tt := range tests {
		got, err := p.AddWorkingDays(day(t, tt.from), tt.n)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s %+d: got %s, %v, want %s", tt.from, tt.n, got, err, tt.want)
		}
	}
	empty := &Profile{}
	if d, err := empty.AddWorkingDays(day(t, "2026-12-01"), -7); err == nil || !strings.Contains(err.Error(), "calendars/2026.yaml") {
		t.Errorf("without calendars: %s, %v", d, err)
	}
}

// format writes intervals in local time, without their date where it is that of the first.
func format(list []Interval) []string {
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprintf("%s-%s", i.Start.In(Zone()).Format("01-02 15:04"), i.End.In(Zone()).Format("01-02 15:04")))
	}
	return out
}

func TestServiceHours(t *testing.T) {
	p, small := sample(t), loaded(t)
	local := func(s string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04", s, Zone())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	tests := []struct {
		name     string
		p        *Profile
		hours    string
		unit     string
		from, to string
		want     []string
	}{
		{"winter", p, "hanh-chinh", "", "2026-11-23 00:00", "2026-11-24 00:00", []string{"11-23 07:30-11-23 12:00", "11-23 13:00-11-23 16:30"}},
		{"summer", p, "hanh-chinh", "", "2026-06-01 00:00", "2026-06-02 00:00", []string{"06-01 07:00-06-01 11:30", "06-01 13:30-06-01 17:00"}},
		{"change of season", p, "hanh-chinh", "", "2026-10-15 15:00", "2026-10-16 09:00", []string{"10-15 15:00-10-15 17:00", "10-16 07:30-10-16 09:00"}},
		{"holiday", p, "hanh-chinh", "", "2026-11-24 00:00", "2026-11-25 00:00", nil},
		{"make-up Saturday", p, "hanh-chinh", "", "2024-05-04 00:00", "2024-05-05 00:00", []string{"05-04 07:00-05-04 11:30", "05-04 13:30-05-04 17:00"}},
		{"year without calendar", p, "hanh-chinh", "", "2030-06-03 00:00", "2030-06-04 00:00", []string{"06-03 07:00-06-03 11:30", "06-03 13:30-06-03 17:00"}},
		{"every second", p, Hours24x7, "", "2026-11-24 00:00", "2026-11-25 06:00", []string{"11-24 00:00-11-25 06:00"}},
		{"nothing between", p, Hours24x7, "", "2026-11-24 00:00", "2026-11-24 00:00", nil},
		{"nobody's hours", p, "khac", "", "2026-11-23 00:00", "2026-11-24 00:00", nil},
		{"a unit's own hours replace the others", small, "hanh-chinh", "xa-b", "2024-06-07 00:00", "2024-06-09 00:00", []string{"06-08 08:00-06-08 10:00"}},
		{"another unit", small, "hanh-chinh", "xa-a", "2024-06-07 00:00", "2024-06-09 00:00", []string{"06-07 07:30-06-07 12:00", "06-07 13:00-06-07 16:30"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.p.ServiceHours(tt.hours, tt.unit, local(tt.from), local(tt.to))
			if diff := cmp.Diff(tt.want, format(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, i := range got {
				if i.Start.Location() != time.UTC || i.End.Location() != time.UTC {
					t.Errorf("%v is not in UTC", i)
				}
			}
		})
	}
}

func TestCalendar(t *testing.T) {
	p := loaded(t, edit{"services.yaml", "    valid_to:\n", "    valid_to: 2024-06-07\n"})
	from, to := on(t, "2024-06-07").Add(-12*time.Hour), on(t, "2024-06-10")
	tests := []struct {
		service, calendar string
		want              []string
	}{
		{"web", ServiceHours, []string{"06-07 07:30-06-07 12:00", "06-07 13:00-06-07 16:30"}},
		{"web", Hours24x7, []string{"06-07 00:00-06-08 00:00"}}, // its last day is inclusive
		{"lan", ServiceHours, []string{"06-07 00:00-06-10 12:00"}},
		{"nothing", Hours24x7, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, format(p.Calendar(tt.service, tt.calendar, "xa-a", from, to))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.service, tt.calendar, diff)
		}
	}
	year := p.Calendar("summer", Hours24x7, "", on(t, "2024-01-01").Add(-12*time.Hour), on(t, "2024-12-31").Add(12*time.Hour))
	want := []string{"01-01 00:00-01-11 00:00", "05-01 00:00-09-01 00:00", "12-20 00:00-01-01 00:00"}
	if diff := cmp.Diff(want, format(year)); diff != "" {
		t.Errorf("seasons (-want +got):\n%s", diff)
	}
}

// A service that got a second entry counts under both, without a gap or a second twice.
func TestCalendarOverEntries(t *testing.T) {
	p := loaded(t)
	s, _ := p.Service("lan", on(t, "2024-06-01"))
	first, second := *s, *s
	first.Valid.To = day(t, "2024-06-01")
	second.Valid.From = first.Valid.To + 1
	p.Services = []Service{second, first}
	got := p.Calendar("lan", Hours24x7, "", on(t, "2024-06-01"), on(t, "2024-06-03"))
	if diff := cmp.Diff([]string{"06-01 12:00-06-03 12:00"}, format(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMissingYears(t *testing.T) {
	p := sample(t)
	if diff := cmp.Diff([]int{2022, 2026, 2027, 2028}, p.MissingYears(day(t, "2022-12-31"), day(t, "2028-01-01"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if y := p.YearOf(2029); !y.Fallback || len(y.Days) != 5 || len(y.Hours) != 3 {
		t.Errorf("2029: fallback %v, %d days, %d hours", y.Fallback, len(y.Days), len(y.Hours))
	}
}

func TestSameDay(t *testing.T) {
	for from, want := range map[string]string{"2024-02-29": "2023-02-28", "2023-02-28": "2024-02-29", "2024-02-28": "2023-02-28", "2024-12-31": "2023-12-31"} {
		year := day(t, want).Year()
		if got := sameDay(day(t, from), year).String(); got != want {
			t.Errorf("%s in %d: got %s, want %s", from, year, got, want)
		}
	}
}

func TestParsePeriod(t *testing.T) {
	tests := []struct {
		period      string
		calendar    bool
		first, last string // days, both inclusive
	}{
		{"2026", false, "2025-12-15", "2026-12-14"},
		{"2026-H1", false, "2025-12-15", "2026-06-14"},
		{"2026-9M", false, "2025-12-15", "2026-09-14"},
		{"2026-Q1", false, "2025-12-15", "2026-03-14"},
		{"2026-Q2", false, "2026-03-15", "2026-06-14"},
		{"2026-Q3", false, "2026-06-15", "2026-09-14"},
		{"2026-Q4", false, "2026-09-15", "2026-12-14"},
		{"2026-01", false, "2025-12-15", "2026-01-14"},
		{"2026-09", false, "2026-08-15", "2026-09-14"},
		{"2026-12", false, "2026-11-15", "2026-12-14"},
		{"2026", true, "2026-01-01", "2026-12-31"},
		{"2026-H1", true, "2026-01-01", "2026-06-30"},
		{"2026-H2", true, "2026-07-01", "2026-12-31"},
		{"2026-9M", true, "2026-01-01", "2026-09-30"},
		{"2026-Q3", true, "2026-07-01", "2026-09-30"},
		{"2024-02", true, "2024-02-01", "2024-02-29"},
		{"2026-01-10..2026-02-20", false, "2026-01-10", "2026-02-20"},
		{"2026-01-10..2026-01-10", false, "2026-01-10", "2026-01-10"},
		{"2021-07-01..2026-07-01", false, "2021-07-01", "2026-07-01"},
	}
	for _, tt := range tests {
		from, to, err := ParsePeriod(tt.period, tt.calendar)
		if err != nil {
			t.Errorf("%s: %v", tt.period, err)
			continue
		}
		wantFrom, wantTo, err := ParseDays(tt.first, tt.last)
		if err != nil {
			t.Fatal(err)
		}
		if !from.Equal(wantFrom) || !to.Equal(wantTo) {
			t.Errorf("%s, calendar %v: got %s to %s, want %s to %s", tt.period, tt.calendar, from, to, wantFrom, wantTo)
		}
	}
	// Midnight in Vietnam is 17:00 UTC of the day before.
	if from, _, _ := ParsePeriod("2026", false); from.Format(time.RFC3339) != "2025-12-14T17:00:00Z" {
		t.Errorf("2026 begins at %s", from.Format(time.RFC3339))
	}
	for _, bad := range []string{"", "26", "2026-H2", "2026-H3", "2026-Q5", "2026-Q0", "2026-00", "2026-13", "2026-9", "2026-6M", "2026-q1", "9999", "2026-Q1 ", "2026-Q1x", "2026-01-02..2026-01-01", "2026-01-02..", "2026-01-02..x", "2020-01-01..2026-01-01"} {
		if from, to, err := ParsePeriod(bad, false); err == nil {
			t.Errorf("%q: got %s to %s, want an error", bad, from, to)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: the error does not name it: %v", bad, err)
		}
	}
}

func TestParseDaysErrors(t *testing.T) {
	for _, tt := range [][2]string{{"x", "2026-01-01"}, {"2026-01-01", "x"}, {"2026-01-02", "2026-01-01"}} {
		if _, _, err := ParseDays(tt[0], tt[1]); err == nil {
			t.Errorf("%v: no error", tt)
		}
	}
	from, to, err := ParseDays("2026-01-01", "2026-01-01")
	if err != nil || to.Sub(from) != 24*time.Hour {
		t.Errorf("one day: %s to %s, %v", from, to, err)
	}
}

func TestPreviousPeriod(t *testing.T) {
	for _, tt := range []struct {
		period   string
		calendar bool
		want     string
	}{
		{"2026", false, "2025"}, {"2026-H1", false, "2025-H1"}, {"2026-H2", true, "2025-H2"}, {"2026-9M", false, "2025-9M"},
		{"2026-Q1", false, "2025-Q4"}, {"2026-Q3", true, "2026-Q2"}, {"2026-01", false, "2025-12"}, {"2026-10", false, "2026-09"},
		{"2026-01-10..2026-01-19", false, "2025-12-31..2026-01-09"}, {"2026-03-01..2026-03-01", false, "2026-02-28..2026-02-28"},
	} {
		got, err := PreviousPeriod(tt.period, tt.calendar)
		if err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.period, got, err, tt.want)
		}
		a, _, _ := ParsePeriod(tt.period, tt.calendar)
		if _, end, err := ParsePeriod(got, tt.calendar); err != nil || end.After(a) {
			t.Errorf("%s: %s ends at %s, within it (%v)", tt.period, got, end, err)
		}
	}
	if got, err := PreviousPeriod("2026-H2", false); err == nil {
		t.Errorf("a period that there is not has %s before it", got)
	}
}
