package profile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var formPeriod = regexp.MustCompile(`^(\d{4})(?:-(?:(Q)([1-4])|(H)([12])|(9M)|(0[1-9]|1[0-2])))?$`)

// The periods of Decree 09/2019/NĐ-CP, article 12, run from the cutoff day of one month to the day before it in another;
// the first month of a year's periods is December of the year before.
const cutoffDay = 15

// ParsePeriod returns the instants [from, to) of a reporting period: a year (2026), half a year (2026-H1), nine months
// (2026-9M), a quarter (2026-Q3) or a month (2026-09). Its days are those of Decree 09/2019/NĐ-CP, article 12: a month
// runs from the 15th of the month before to the 14th, a year from 15 December of the year before to 14 December. With
// calendar true they are those of the calendar instead. Days begin at midnight in Vietnam; the instants are UTC.
//
// The decree has no second half-year: 2026-H2 is a period of the calendar only. Any days are written as
// 2026-01-10..2026-02-20, both inclusive and at most [MaxRangeYears] years; they are of no calendar.
func ParsePeriod(s string, calendar bool) (from, to time.Time, err error) {
	if a, b, ok := strings.Cut(s, RangeSign); ok {
		return parseRange(s, a, b, calendar)
	}
	m := formPeriod.FindStringSubmatch(s)
	if m == nil {
		return from, to, fmt.Errorf("period %q: write a year, half-year, nine months, quarter, month or range of days: 2026, 2026-H1, 2026-9M, 2026-Q3, 2026-09 or 2026-01-10..2026-02-20", s)
	}
	year, _ := strconv.Atoi(m[1])
	if year <= minYear || year > maxYear {
		return from, to, fmt.Errorf("period %q: the year lies outside %d to %d", s, minYear+1, maxYear)
	}
	first, months := 1, 12
	switch {
	case m[2] != "":
		n, _ := strconv.Atoi(m[3])
		first, months = 3*n-2, 3
	case m[4] != "":
		n, _ := strconv.Atoi(m[5])
		if n == 2 && !calendar {
			return from, to, fmt.Errorf("period %q: Decree 09/2019 has no second half-year: write %d, %d-Q3 or %d-Q4, or ask for calendar periods", s, year, year, year)
		}
		first, months = 6*n-5, 6
	case m[6] != "":
		months = 9
	case m[7] != "":
		first, _ = strconv.Atoi(m[7])
		months = 1
	}
	begin := NewDate(year, time.Month(first), 1)
	end := NewDate(year, time.Month(first+months), 1)
	if !calendar {
		begin = NewDate(year, time.Month(first-1), cutoffDay)
		end = NewDate(year, time.Month(first+months-1), cutoffDay)
	}
	return begin.Start(), end.Start(), nil
}

// PreviousPeriod returns the period that one is compared with: the quarter or month before it; of half a year, nine months
// and a year the same of the year before; of days as many days right before them.
func PreviousPeriod(s string, calendar bool) (string, error) {
	from, to, err := ParsePeriod(s, calendar)
	if err != nil {
		return "", err
	}
	if IsRange(s) {
		first := DateOf(from)
		return fmt.Sprintf("%s%s%s", first-(DateOf(to)-first), RangeSign, first-1), nil
	}
	m := formPeriod.FindStringSubmatch(s)
	year, _ := strconv.Atoi(m[1])
	switch n, _ := strconv.Atoi(m[3] + m[7]); {
	case m[2] == "" && m[7] == "":
		return fmt.Sprintf("%d%s", year-1, s[4:]), nil
	case m[2] != "" && n == 1:
		return fmt.Sprintf("%d-Q4", year-1), nil
	case m[2] != "":
		return fmt.Sprintf("%d-Q%d", year, n-1), nil
	case n == 1:
		return fmt.Sprintf("%d-12", year-1), nil
	default:
		return fmt.Sprintf("%d-%02d", year, n-1), nil
	}
}

// RangeSign stands between the two days of a period that is any range.
const RangeSign = ".."

// MaxRangeYears is the most years of such a range.
const MaxRangeYears = 5

// IsRange reports whether a period is written as a range of days.
func IsRange(period string) bool { return strings.Contains(period, RangeSign) }

func parseRange(s, first, last string, calendar bool) (from, to time.Time, err error) {
	switch from, to, err = ParseDays(first, last); {
	case err != nil:
		return time.Time{}, time.Time{}, fmt.Errorf("period %.60q: %w", s, err)
	case calendar:
		return time.Time{}, time.Time{}, fmt.Errorf("period %q: days are of no calendar: leave the calendar out", s)
	case to.After(from.AddDate(MaxRangeYears, 0, 1)):
		return time.Time{}, time.Time{}, fmt.Errorf("period %q: at most %d years", s, MaxRangeYears)
	}
	return from, to, nil
}

// ParseDays returns the instants [from, to) of two days as people write them, both inclusive.
func ParseDays(from, to string) (start, end time.Time, err error) {
	a, err := ParseDate(from)
	if err != nil {
		return start, end, fmt.Errorf("from: %w", err)
	}
	b, err := ParseDate(to)
	if err != nil {
		return start, end, fmt.Errorf("to: %w", err)
	}
	if b < a {
		return start, end, fmt.Errorf("to: %s lies before from: %s", b, a)
	}
	return a.Start(), (b + 1).Start(), nil
}
