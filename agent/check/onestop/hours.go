package onestop

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A shift is a stretch of the day on some days of the week.
type shift struct {
	days     [7]bool // by time.Weekday
	from, to time.Duration
}

// parseHours reads "mon-fri 07:30-11:30", "T2-T6 13:30-17:00", "sat 08:00-11:00", "CN 00:00-24:00".
func parseHours(list []string) ([]shift, error) {
	var shifts []shift
	for _, text := range list {
		s, ok := parseShift(strings.Fields(strings.ToLower(text)))
		if !ok {
			return nil, fmt.Errorf("option \"hours\": %q is not understood: write e.g. mon-fri 07:30-11:30 or T2-T6 13:30-17:00", text)
		}
		shifts = append(shifts, s)
	}
	return shifts, nil
}

func parseShift(words []string) (s shift, ok bool) {
	if len(words) != 2 {
		return s, false
	}
	first, last, several := strings.Cut(words[0], "-")
	from, ok := weekday(first)
	if !ok {
		return s, false
	}
	to := from
	if several {
		if to, ok = weekday(last); !ok {
			return s, false
		}
	}
	for d := from; ; d = (d + 1) % 7 {
		s.days[d] = true
		if d == to {
			break
		}
	}
	begin, end, ok := strings.Cut(words[1], "-")
	if !ok {
		return s, false
	}
	var ok2 bool
	s.from, ok = clockTime(begin)
	s.to, ok2 = clockTime(end)
	return s, ok && ok2 && s.from < s.to
}

// weekday reads mon to sun, T2 to T7 and CN.
func weekday(s string) (int, bool) {
	for _, names := range [][]string{{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, {"cn", "t2", "t3", "t4", "t5", "t6", "t7"}} {
		if i := slices.Index(names, s); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

// clockTime reads 07:30, and 24:00 as the end of the day.
func clockTime(s string) (time.Duration, bool) {
	if s == "24:00" {
		return 24 * time.Hour, true
	}
	t, err := time.Parse("15:04", s)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err == nil
}

// working is how much of [from, to) lies within the shifts, of which none overlap. Both are of the zone that the shifts are of. What
// is longer ago than maxAge is not looked at.
func working(shifts []shift, from, to time.Time) time.Duration {
	if limit := to.Add(-maxAge); from.Before(limit) {
		from = limit
	}
	var sum time.Duration
	for day := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, from.Location()); day.Before(to); day = day.AddDate(0, 0, 1) {
		for _, s := range shifts {
			if !s.days[day.Weekday()] {
				continue
			}
			begin, end := day.Add(s.from), day.Add(s.to)
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			sum += max(0, end.Sub(begin))
		}
	}
	return sum
}
