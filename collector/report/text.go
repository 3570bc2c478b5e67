package report

import (
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"egovmon/agent/words"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// maxText is the most letters that one value from outside takes in a document.
const maxText = 500

// clean makes a value fit for any document: valid UTF-8, without control characters, bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == 0xFFFE || r == 0xFFFF:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ") // keeps spaces that do not break
	if utf8.RuneCountInString(s) > maxText {
		s = string([]rune(s)[:maxText-1]) + "…"
	}
	return s
}

// whole writes seconds as hours with one decimal, for sentences.
func whole(l words.Lang, s int64) string { return words.Decimal(l, math.Floor(float64(s)/360)/10, 1) }

func calendarName(l words.Lang, c string) string {
	if c == history.ServiceHours {
		return words.Say(l, "report.calendar.hours")
	}
	return words.Say(l, "report.calendar.always")
}

func verdictName(l words.Lang, v Verdict) string {
	switch v {
	case Met:
		return words.Say(l, "report.met")
	case NotMet:
		return words.Say(l, "report.notmet")
	}
	return words.Say(l, "report.unsaid")
}

// typeName is what a leaf's type is called.
func typeName(l words.Lang, t string) string {
	switch t {
	case "plan", "profile", "target", "calendar", "rule", "exclusion", "correction":
		return words.Say(l, "report.type."+t)
	}
	return clean(t)
}

// scope names what a row is about.
func scope(l words.Lang, r Row) string {
	if r.Unit == "" {
		return words.Say(l, "report.whole")
	}
	return clean(r.UnitName)
}

// days writes a period by its first and its last day.
func days(l words.Lang, from, to time.Time) string {
	return words.Say(l, "report.days", words.Date(from), words.Date(to.Add(-time.Second)))
}

var formPeriod = regexp.MustCompile(`^(\d{4})(?:-(?:Q([1-4])|H([12])|(9M)|(\d\d)))?$`)

// periodName writes a period as reports call it: "quý III năm 2026".
func periodName(l words.Lang, m Model) string {
	p := formPeriod.FindStringSubmatch(m.Period)
	switch {
	case p == nil:
		return days(l, m.From, m.To)
	case p[2] != "":
		n := int(p[2][0] - '0')
		if l == words.EN {
			return words.Say(l, "report.quarter", p[2], p[1])
		}
		return words.Say(l, "report.quarter", [...]string{"I", "II", "III", "IV"}[n-1], p[1])
	case p[3] != "":
		return words.Say(l, "report.half"+p[3], p[1])
	case p[4] != "":
		return words.Say(l, "report.nine", p[1])
	case p[5] != "":
		n := p[5]
		if n > "02" { // Decree 30/2020: of months only 1 and 2 are led by a nought
			n = strings.TrimPrefix(n, "0")
		}
		return words.Say(l, "report.month", n, p[1])
	}
	return words.Say(l, "report.year", p[1])
}

// PeriodName writes a period as reports call it; days that one has chosen as those days.
func PeriodName(l words.Lang, period string) string {
	if profile.IsRange(period) {
		if from, to, err := profile.ParsePeriod(period, false); err == nil {
			return days(l, from, to)
		}
	}
	if formPeriod.MatchString(period) {
		return periodName(l, Model{Period: period})
	}
	return clean(period)
}

// changeTime brackets when a change was recorded.
func changeTime(l words.Lang, c Change) string {
	at := func(t time.Time) string { return words.Clock(t)[:5] + " " + words.Date(t) }
	switch {
	case c.After.IsZero() && c.Before.IsZero():
		return words.Say(l, "report.change.unknown")
	case c.After.IsZero():
		return words.Say(l, "report.change.before", at(c.Before))
	case c.Before.IsZero():
		return words.Say(l, "report.change.after", at(c.After))
	case at(c.After) == at(c.Before):
		return at(c.After)
	}
	return at(c.After) + " – " + at(c.Before)
}
