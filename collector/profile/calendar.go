package profile

import (
	"fmt"
	"slices"
	"time"
)

// YearOf returns the calendar of a year. A year without a file is made from the nearest earlier one, or else the nearest
// later one: its hours on the same days of the year, and those special days that the law fixes for every year. Such a
// year says so (Fallback); without any calendar it has neither hours nor working days.
func (p *Profile) YearOf(year int) Year {
	var nearest *Year
	for i := range p.Years {
		y := &p.Years[i]
		switch {
		case y.Year == year:
			return *y
		case y.Year < year, nearest == nil:
			nearest = y
		}
	}
	out := Year{Year: year, Fallback: true}
	if nearest == nil {
		return out
	}
	out.Week, out.File = nearest.Week, nearest.File
	for _, h := range nearest.Hours {
		h.Valid = Span{sameDay(h.Valid.From, year), sameDay(h.Valid.To, year)}
		out.Hours = append(out.Hours, h)
	}
	for _, d := range nearest.Days {
		if d.Yearly {
			d.Date = sameDay(d.Date, year)
			d.ID, d.Valid = d.Date.String(), Span{d.Date, d.Date}
			out.Days = append(out.Days, d)
		}
	}
	return out
}

// sameDay returns the day of another year; the end of February stays the end of February.
func sameDay(d Date, year int) Date {
	c := d.civil()
	day := NewDate(year, c.Month(), c.Day())
	if c.Month() == time.February && (c.Day() == 29 || (d+1).civil().Month() == time.March) {
		day = NewDate(year, time.March, 1) - 1
	}
	return day
}

// MissingYears returns the years between two days that have no calendar of their own, or one that is not complete.
// Figures that rest on them are to say so.
func (p *Profile) MissingYears(from, to Date) []int {
	var years []int
	for year := from.Year(); year <= to.Year(); year++ {
		if y := p.YearOf(year); y.Fallback || len(y.Missing) > 0 {
			years = append(years, year)
		}
	}
	return years
}

// special returns the special day, if d is one.
func (y *Year) special(d Date) (Day, bool) {
	i := slices.IndexFunc(y.Days, func(x Day) bool { return x.Date == d })
	if i < 0 {
		return Day{}, false
	}
	return y.Days[i], true
}

// weekday returns the day of the week whose hours apply on d, and whether any do.
func (y *Year) weekday(d Date) (time.Weekday, bool) {
	day, special := y.special(d)
	switch {
	case !special:
		return d.Weekday(), true
	case day.Kind == DayMakeUp:
		return day.As, true
	}
	return d.Weekday(), false
}

// IsWorkingDay reports whether offices work on the day: a day of the working week that is not off, or a make-up day.
func (p *Profile) IsWorkingDay(d Date) bool {
	y := p.YearOf(d.Year())
	wd, open := y.weekday(d)
	return open && slices.Contains(y.Week, wd)
}

// maxFree is more days than any run of days off has; a longer one means that the calendars are empty.
const maxFree = 60

// AddWorkingDays returns the n-th working day after d, or before it when n is negative; d itself for 0. Notices that are
// due "7 working days before" a day are due on AddWorkingDays(day, -7) at the latest. The error is for calendars without
// working days.
func (p *Profile) AddWorkingDays(d Date, n int) (Date, error) {
	step := Date(1)
	if n < 0 {
		step, n = -1, -n
	}
	for free := 0; n > 0; {
		d += step
		if d < NewDate(minYear, time.January, 2) || d.Year() > maxYear {
			return 0, fmt.Errorf("calendar: the days run out at %s", d)
		}
		if p.IsWorkingDay(d) {
			n, free = n-1, 0
		} else if free++; free > maxFree {
			return 0, fmt.Errorf("calendar: no working day in %d days before %s: write calendars/%d.yaml with its `week`", maxFree, d, d.Year())
		}
	}
	return d, nil
}

// clocks returns the stretches of a day in which the named hours of a unit run.
func (y *Year) clocks(name, unit string, d Date) []Clock {
	wd, open := y.weekday(d)
	if !open {
		return nil
	}
	if !slices.ContainsFunc(y.Hours, func(h Hours) bool { return h.Name == name && h.Unit == unit && h.Valid.Covers(d) }) {
		unit = ""
	}
	var cs []Clock
	for _, h := range y.Hours {
		if h.Name == name && h.Unit == unit && h.Valid.Covers(d) && slices.Contains(h.Weekdays, wd) {
			cs = append(cs, h.Times...)
		}
	}
	slices.SortFunc(cs, func(a, b Clock) int { return a.From - b.From })
	return cs
}

// ServiceHours returns the instants within [from, to) at which the named hours run for a unit, in order and merged. The
// name is one that the calendars define, or Hours24x7, in which every second counts. Hours of the unit itself replace
// those for every unit.
func (p *Profile) ServiceHours(hours, unit string, from, to time.Time) []Interval {
	from, to = from.UTC(), to.UTC()
	if !from.Before(to) {
		return nil
	}
	if hours == Hours24x7 || hours == "" {
		return []Interval{{from, to}}
	}
	var out []Interval
	var y Year
	for d := DateOf(from); d.Start().Before(to); d++ {
		if y.Year != d.Year() {
			y = p.YearOf(d.Year())
		}
		start := d.Start()
		for _, c := range y.clocks(hours, unit, d) {
			out = appendInterval(out, Interval{start.Add(time.Duration(c.From) * time.Minute), start.Add(time.Duration(c.To) * time.Minute)}, from, to)
		}
	}
	return out
}

// appendInterval cuts i to [from, to) and joins it to the last one where they touch.
func appendInterval(list []Interval, i Interval, from, to time.Time) []Interval {
	if i.Start.Before(from) {
		i.Start = from
	}
	if i.End.IsZero() || i.End.After(to) {
		i.End = to
	}
	if !i.Start.Before(i.End) {
		return list
	}
	if n := len(list); n > 0 && !list[n-1].End.Before(i.Start) {
		if i.End.After(list[n-1].End) {
			list[n-1].End = i.End
		}
		return list
	}
	return append(list, i)
}

// Calendar returns the instants within [from, to) that count for a service: from its first day to its last, in its
// seasons, and within its hours when calendar is ServiceHours; Hours24x7 counts every second of them. It is the
// denominator of the service's availability.
func (p *Profile) Calendar(service, calendar, unit string, from, to time.Time) []Interval {
	from, to = from.UTC(), to.UTC()
	var out []Interval
	for _, s := range p.servicesNamed(service) {
		for _, days := range s.stretches(from, to) {
			hours := Hours24x7
			if calendar == ServiceHours {
				hours = s.Hours
			}
			for _, i := range p.ServiceHours(hours, unit, days.Start, days.End) {
				out = appendInterval(out, i, from, to)
			}
		}
	}
	return out
}

// servicesNamed returns the entries of one id, by their first day.
func (p *Profile) servicesNamed(id string) []Service {
	var ss []Service
	for _, s := range p.Services {
		if s.ID == id {
			ss = append(ss, s)
		}
	}
	slices.SortFunc(ss, func(a, b Service) int { return int(a.Valid.From - b.Valid.From) })
	return ss
}

// stretches returns the days within [from, to) on which the service exists and is in season.
func (s *Service) stretches(from, to time.Time) []Interval {
	var out []Interval
	whole := appendInterval(nil, s.Valid.Interval(), from, to)
	if len(s.Season) == 0 || len(whole) == 0 {
		return whole
	}
	for d := DateOf(whole[0].Start); d.Start().Before(whole[0].End); d++ {
		if slices.ContainsFunc(s.Season, func(x Season) bool { return x.Covers(d) }) {
			out = appendInterval(out, Interval{d.Start(), (d + 1).Start()}, whole[0].Start, whole[0].End)
		}
	}
	return out
}
