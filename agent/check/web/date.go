package web

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Vietnam is the zone of dates that name none.
func Vietnam() *time.Location { return time.FixedZone("+07", 7*60*60) }

// A DateReader finds dates in texts as machines and Vietnamese pages write them: RFC 3339 and its parts, RFC 5322 and its kin,
// Unix seconds or milliseconds, 23/11/2026 with or without the hour on either side, "ngày 23 tháng 11 năm 2026", 8h30, 8 giờ 30,
// SA and CH, "hôm nay", "hôm qua", "5 phút trước". In 03/04/2026 the day stands first.
type DateReader struct {
	zone                               *time.Location
	iso, dayFirst, words, clock, since *regexp.Regexp
}

// NewDateReader makes a reader for texts whose dates are of this zone when they name none; nil is [Vietnam].
func NewDateReader(zone *time.Location) *DateReader {
	if zone == nil {
		zone = Vietnam()
	}
	return &DateReader{
		zone:     zone,
		iso:      regexp.MustCompile(`(?i)\b(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]\s?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?`),
		dayFirst: regexp.MustCompile(`(?:^|[^\d/.-])(\d{1,2})\s?[/.-]\s?(\d{1,2})\s?[/.-]\s?(\d{4})(?:[^\d]|$)`),
		words:    regexp.MustCompile(`(?i)ngày\s+(\d{1,2})\s+tháng\s+(\d{1,2})\s+năm\s+(\d{4})`),
		clock:    regexp.MustCompile(`(?i)(?:^|[^\d:])(\d{1,2})\s?(?::|h|giờ)\s?(\d{2})(?::(\d{2}))?(?:\s?(?:phút|p))?\s?(SA|CH|AM|PM)?(?:[^\d:\p{L}]|$)`),
		since:    regexp.MustCompile(`(?i)(\d{1,4})\s+(giây|phút|giờ|tiếng|ngày|tuần|tháng)\s+trước`),
	}
}

// A Moment is a date that was found. Day says that it names no hour: it may be any of that day, which ends a day after At.
type Moment struct {
	At  time.Time
	Day bool
}

// Latest is the last instant that the moment may be, but not after now when it may be before: "today" is never in the future.
func (m Moment) Latest(now time.Time) time.Time {
	if !m.Day {
		return m.At
	}
	end := m.At.AddDate(0, 0, 1).Add(-time.Second)
	if end.After(now) && !m.At.After(now) {
		return now
	}
	return end
}

// Read returns the first date of a text, and false when it has none.
func (d *DateReader) Read(text string, now time.Time) (Moment, bool) {
	if len(text) > maxFound {
		text = text[:maxFound]
	}
	text = strings.TrimSpace(norm.NFC.String(text))
	for _, read := range []func(string, time.Time) (Moment, bool){d.machine, d.calendar, d.relative} {
		if m, ok := read(text, now); ok {
			return m, true
		}
	}
	return Moment{}, false
}

// machine reads what programs write.
func (d *DateReader) machine(text string, _ time.Time) (Moment, bool) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && len(text) < len("20060102150405") {
		if n > 1e11 {
			n /= 1000
		}
		return Moment{At: time.Unix(int64(n), 0).UTC()}, n > 1e8 && n < 1e11
	}
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 -0700",
		time.ANSIC, time.UnixDate, time.RFC850, "20060102T150405Z07:00", "20060102150405", "2-Jan-2006 15:04:05 -0700", "Jan 2, 2006"} {
		at, err := time.ParseInLocation(layout, text, d.zone)
		if err != nil {
			continue
		}
		// A zone's letters that nobody knows are read as hour 0; only GMT and UTC are sure.
		if name, off := at.Zone(); off == 0 && name != "" && name != "GMT" && name != "UTC" && name != "UT" && name != "Z" {
			return Moment{}, false
		}
		return Moment{At: at, Day: layout == "Jan 2, 2006"}, true
	}
	return Moment{}, false
}

// calendar reads dates with numbers.
func (d *DateReader) calendar(text string, _ time.Time) (Moment, bool) {
	if m := d.iso.FindStringSubmatch(text); m != nil {
		zone := d.zone
		if m[7] != "" {
			zone = offset(m[7])
		}
		return moment(m[1], m[2], m[3], m[4:7], zone)
	}
	for _, r := range []*regexp.Regexp{d.words, d.dayFirst} {
		at := r.FindStringSubmatchIndex(text)
		if at == nil {
			continue
		}
		part := func(i int) string { return text[at[2*i]:at[2*i+1]] }
		// The hour stands on either side of the date, and nothing of the date is part of it.
		rest := text[:at[2]] + " | " + text[at[7]:]
		return moment(part(3), part(2), part(1), d.hour(rest), d.zone)
	}
	return Moment{}, false
}

// hour returns hour, minute and second of a text, each "" when there is none.
func (d *DateReader) hour(text string) []string {
	m := d.clock.FindStringSubmatch(text)
	if m == nil {
		return []string{"", "", ""}
	}
	h, _ := strconv.Atoi(m[1])
	switch strings.ToUpper(m[4]) {
	case "CH", "PM":
		if h < 12 {
			h += 12
		}
	case "SA", "AM":
		if h == 12 {
			h = 0
		}
	}
	return []string{strconv.Itoa(h), m[2], m[3]}
}

// relative reads dates that are told from now.
func (d *DateReader) relative(text string, now time.Time) (Moment, bool) {
	lower := strings.ToLower(text)
	today := now.In(d.zone)
	day := time.Date(today.Year(), today.Month(), today.Day(), 0, 0, 0, 0, d.zone)
	for i, word := range []string{"hôm nay", "hôm qua", "hôm kia"} {
		if !strings.Contains(lower, word) {
			continue
		}
		on := day.AddDate(0, 0, -i)
		return moment(strconv.Itoa(on.Year()), strconv.Itoa(int(on.Month())), strconv.Itoa(on.Day()), d.hour(strings.Replace(lower, word, " | ", 1)), d.zone)
	}
	if strings.Contains(lower, "vừa xong") {
		return Moment{At: now}, true
	}
	m := d.since.FindStringSubmatch(lower)
	if m == nil {
		return Moment{}, false
	}
	n, _ := strconv.Atoi(m[1])
	unit := map[string]time.Duration{"giây": time.Second, "phút": time.Minute, "giờ": time.Hour, "tiếng": time.Hour, "ngày": 24 * time.Hour,
		"tuần": 7 * 24 * time.Hour, "tháng": 30 * 24 * time.Hour}[m[2]]
	return Moment{At: now.Add(-time.Duration(n) * unit)}, true
}

// moment makes a date of its parts; clock is hour, minute and second, "" each when unsaid.
func moment(year, month, day string, clock []string, zone *time.Location) (Moment, bool) {
	var n [6]int
	for i, s := range slices.Concat([]string{year, month, day}, clock) {
		n[i], _ = strconv.Atoi(s)
	}
	at := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, zone)
	// What the calendar does not have, such as 31/02 or 25:00, is no date.
	ok := at.Year() == n[0] && int(at.Month()) == n[1] && at.Day() == n[2] && at.Hour() == n[3] && at.Minute() == n[4] && n[5] < 61
	return Moment{At: at, Day: clock[0] == ""}, ok
}

// offset reads Z, +07:00 or +0700.
func offset(s string) *time.Location {
	if strings.EqualFold(s, "z") {
		return time.UTC
	}
	h, _ := strconv.Atoi(s[1:3])
	m, _ := strconv.Atoi(s[len(s)-2:])
	seconds := h*3600 + m*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone(fmt.Sprintf("%s%s:%s", s[:1], s[1:3], s[len(s)-2:]), seconds)
}
