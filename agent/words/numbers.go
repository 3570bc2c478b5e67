package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// zone is the time of Vietnam, which has no summer time.
var zone = time.FixedZone("+07:00", 7*60*60)

// Zone returns the time that people are shown, UTC+7.
func Zone() *time.Location { return zone }

// Number writes a whole number in groups of three digits: 1.234.567, in English 1,234,567.
func Number(l Lang, n int64) string {
	return group(l, strconv.FormatInt(n, 10))
}

// Decimal writes v with that many digits behind the decimal sign: 1.234,50, in English 1,234.50.
func Decimal(l Lang, v float64, digits int) string {
	whole, rest, ok := strings.Cut(strconv.FormatFloat(v, 'f', digits, 64), ".")
	if !ok {
		return group(l, whole)
	}
	if l == EN {
		return group(l, whole) + "." + rest
	}
	return group(l, whole) + "," + rest
}

// Percent writes a share with that many digits: 0.9952 is "99,52 %", in English "99.52%".
func Percent(l Lang, share float64, digits int) string {
	if l == EN {
		return Decimal(l, 100*share, digits) + "%"
	}
	return Decimal(l, 100*share, digits) + "\u00a0%"
}

// ShareDown rounds a share down to the hundredth of a per cent, so that nothing below 100 % reads as 100 %.
func ShareDown(share float64) float64 { return math.Floor(share*1e4+1e-7) / 1e4 }

// Share writes a share of time in per cent with two digits, rounded down; nil is that there are no data.
func Share(l Lang, share *float64) string {
	if share == nil {
		return Say(l, "figures.none")
	}
	return Percent(l, ShareDown(*share), 2)
}

// Interval writes the two ends of an availability, once where they read alike.
func Interval(l Lang, lower, upper *float64) string {
	lo, hi := Share(l, lower), Share(l, upper)
	if lo == hi {
		return lo
	}
	return lo + " – " + hi
}

// Clocked writes seconds as h:mm:ss, as tables add them up; hours are not cut into days.
func Clocked(seconds int64) string {
	return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

// group puts a sign between groups of three digits; what is no row of digits stays as it is.
func group(l Lang, s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	if len(s) <= 3 || strings.Trim(s, "0123456789") != "" {
		return sign + s
	}
	sep := "."
	if l == EN {
		sep = ","
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, d := range []byte(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(d)
	}
	return b.String()
}

// Bytes writes a size in the largest fitting unit of 1024: 12,5 GiB.
func Bytes(l Lang, n int64) string {
	if n < 1024 && n > -1024 {
		return Number(l, n) + "\u00a0B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v /= 1024; v < 1023.95 && v > -1023.95 {
			break
		}
	}
	return Decimal(l, v, 1) + "\u00a0" + unit
}

// Date writes a day in Vietnam: 23/11/2026, in both languages.
func Date(t time.Time) string { return t.In(zone).Format("02/01/2006") }

// Clock writes the time of day in Vietnam to the second: 08:30:05.
func Clock(t time.Time) string { return t.In(zone).Format("15:04:05") }

// DateTime writes an instant to the second: "08:30:05 ngày 23/11/2026", in English "23/11/2026 08:30:05".
func DateTime(l Lang, t time.Time) string {
	if l == EN {
		return Date(t) + " " + Clock(t)
	}
	return Clock(t) + " ngày " + Date(t)
}

// HourMinute writes the time of day as official papers do: "08 giờ 30 phút", in English "08:30".
func HourMinute(l Lang, t time.Time) string {
	t = t.In(zone)
	if l == EN {
		return t.Format("15:04")
	}
	return t.Format("15 giờ 04 phút")
}

// At writes an instant as somebody at now would name it, to the minute: the time alone for the same day in Vietnam,
// else with the day.
func At(l Lang, t, now time.Time) string {
	t, now = t.In(zone), now.In(zone)
	hm := t.Format("15:04")
	switch {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return hm
	case l == EN:
		return Date(t) + " " + hm
	default:
		return hm + " ngày " + Date(t)
	}
}

// Duration writes a stretch of time in its two largest units: "2 ngày 4 giờ", "3 phút", "12 giây"; below a second in
// milliseconds, "8,5 ms". A negative one is written as 0.
func Duration(l Lang, d time.Duration) string {
	if d = max(0, d); d < time.Second {
		return Milliseconds(l, d)
	}
	s := int64(d.Round(time.Second) / time.Second)
	units := []struct {
		seconds  int64
		vi       string
		one, any string
	}{{86400, "ngày", "day", "days"}, {3600, "giờ", "hour", "hours"}, {60, "phút", "minute", "minutes"}, {1, "giây", "second", "seconds"}}
	for i, u := range units {
		n := s / u.seconds
		if n == 0 {
			continue
		}
		text := count(l, n, u.vi, u.one, u.any)
		if i+1 < len(units) {
			next := units[i+1]
			if m := s % u.seconds / next.seconds; m > 0 {
				text += " " + count(l, m, next.vi, next.one, next.any)
			}
		}
		return text
	}
	return count(l, 0, "giây", "second", "seconds")
}

func count(l Lang, n int64, vi, one, more string) string {
	switch {
	case l != EN:
		return Number(l, n) + " " + vi
	case n == 1:
		return "1 " + one
	default:
		return Number(l, n) + " " + more
	}
}

// Milliseconds writes how long an answer took: "0,42 ms", "8,5 ms", "120 ms", and from a second on "1,25 s".
func Milliseconds(l Lang, d time.Duration) string {
	ms := float64(max(0, d)) / float64(time.Millisecond)
	switch {
	case ms == 0:
		return "0\u00a0ms"
	case ms < 0.995:
		return Decimal(l, ms, 2) + "\u00a0ms"
	case ms < 9.95:
		return Decimal(l, ms, 1) + "\u00a0ms"
	case ms < 999.5:
		return Decimal(l, ms, 0) + "\u00a0ms"
	default:
		return Decimal(l, ms/1000, 2) + "\u00a0s"
	}
}
