package profile

import (
	"fmt"
	"time"
)

// Zone is the time of Vietnam: UTC+7 the whole year, without daylight saving. It needs no time zone database.
func Zone() *time.Location { return time.FixedZone("+07", 7*60*60) }

// zoneSeconds is the offset of Zone.
const zoneSeconds = 7 * 60 * 60

const daySeconds = 24 * 60 * 60

// A Date is a calendar day in Vietnam, counted from 1969-12-31. The zero Date is no date; as the end of an interval it
// means that the end is open.
type Date int

// Years that a profile may speak of; what lies outside is a slip of the pen.
const (
	minYear = 1970
	maxYear = 2199
)

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is no date: write it as YYYY-MM-DD, e.g. 2023-09-04", s)
	}
	if t.Year() < minYear || t.Year() > maxYear {
		return 0, fmt.Errorf("%q lies outside the years %d to %d", s, minYear, maxYear)
	}
	return Date(t.Unix()/daySeconds) + 1, nil
}

// NewDate returns the day; a day beyond the month's end runs over as in [time.Date].
func NewDate(year int, month time.Month, day int) Date {
	return Date(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/daySeconds) + 1
}

// DateOf returns the day that it was in Vietnam at t.
func DateOf(t time.Time) Date {
	s := t.Unix() + zoneSeconds
	d := s / daySeconds
	if s%daySeconds < 0 {
		d--
	}
	return Date(d) + 1
}

// civil returns midnight UTC of the day, for reckoning with years and weekdays.
func (d Date) civil() time.Time { return time.Unix((int64(d)-1)*daySeconds, 0).UTC() }

// Start returns the instant at which the day begins in Vietnam, in UTC.
func (d Date) Start() time.Time { return time.Unix((int64(d)-1)*daySeconds-zoneSeconds, 0).UTC() }

// Weekday returns the day of the week.
func (d Date) Weekday() time.Weekday { return d.civil().Weekday() }

// Year returns the year.
func (d Date) Year() int { return d.civil().Year() }

// String returns YYYY-MM-DD, or "" for no date.
func (d Date) String() string {
	if d == 0 {
		return ""
	}
	return d.civil().Format(time.DateOnly)
}

// Span is a stretch of days, both ends inclusive. A zero To is open.
type Span struct {
	From, To Date
}

// Covers reports whether the day lies in the stretch.
func (s Span) Covers(d Date) bool { return d >= s.From && (s.To == 0 || d <= s.To) }

// CoversTime reports whether it was a day of the stretch at t.
func (s Span) CoversTime(t time.Time) bool { return s.Covers(DateOf(t)) }

// Interval returns the instants of the stretch; the End of an open one is the zero Time.
func (s Span) Interval() Interval {
	i := Interval{Start: s.From.Start()}
	if s.To != 0 {
		i.End = (s.To + 1).Start()
	}
	return i
}

func (s Span) overlaps(o Span) bool {
	return (o.To == 0 || s.From <= o.To) && (s.To == 0 || o.From <= s.To)
}

func (s Span) within(o Span) bool {
	return s.From >= o.From && (o.To == 0 || s.To != 0 && s.To <= o.To)
}

// String returns the stretch as people write it, e.g. "2023-01-01 to 2025-06-30" or "2023-01-01 on".
func (s Span) String() string {
	if s.To == 0 {
		return s.From.String() + " on"
	}
	return s.From.String() + " to " + s.To.String()
}

// An Interval is a stretch of instants [Start, End) in UTC.
type Interval struct {
	Start, End time.Time
}
