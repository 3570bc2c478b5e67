package filing

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"egovmon/collector/profile"
)

// The most bytes of a field, so that a leaf never passes its 4 KiB.
const (
	MaxShort = 128
	MaxLong  = 320
	MaxNote  = 640
)

// Faults gathers all that is wrong with a form, each with the field's name and what to write. The zero value has none.
type Faults struct{ list []string }

// Add adds one.
func (e *Faults) Add(format string, args ...any) {
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

// Err is all that is wrong in one error, behind the words of what cannot be done; nil when nothing is.
func (e *Faults) Err(what string) error {
	if len(e.list) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", what, strings.Join(e.list, "; "))
}

// Clean is a text as it is kept: composed letters (NFC), and no spaces around it.
func Clean(s string) string { return norm.NFC.String(strings.TrimSpace(s)) }

// HasControl reports whether a text has line breaks or other control characters.
func HasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// Text is a text of a form as it is kept.
func (e *Faults) Text(name, s string, most int, needed bool) string {
	s = Clean(s)
	switch {
	case s == "" && needed:
		e.Add("%s: it is missing", name)
	case !utf8.ValidString(s) || HasControl(s):
		e.Add("%s: it has line breaks or control characters", name)
		return ""
	case len(s) > most:
		e.Add("%s: %d bytes, at most %d", name, len(s), most)
		return ""
	}
	return s
}

// Date reads a day; what says which one a person is to write.
func (e *Faults) Date(name, s, what string) profile.Date {
	d, err := profile.ParseDate(s)
	if err != nil {
		e.Add("%s: %v: write %s as YYYY-MM-DD", name, err, what)
	}
	return d
}

// Past checks that a day has begun.
func (e *Faults) Past(name string, d profile.Date, now time.Time) {
	if d > profile.DateOf(now) {
		e.Add("%s: %s lies in the future", name, d)
	}
}

// Time reads an instant; see [ParseTime].
func (e *Faults) Time(name, s string) time.Time {
	t, err := ParseTime(s)
	if err != nil {
		e.Add("%s: %v", name, err)
	}
	return t
}

// Unit checks that the profile has a unit; "" is none in particular.
func (e *Faults) Unit(p *profile.Profile, id string) {
	if id == "" {
		return
	}
	if _, ok := p.Unit(id); !ok {
		e.Add("unit: the profile has no %.40q; units.yaml lists them", id)
	}
}

// ParseTime reads an instant as people write it: YYYY-MM-DD HH:MM in Vietnam, or RFC 3339.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, profile.Zone()); err == nil {
			return t.UTC(), nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is no time: write YYYY-MM-DD HH:MM, the time in Vietnam", s)
	}
	return t.UTC().Truncate(time.Second), nil
}
