package control

import (
	"fmt"
	"strings"
	"time"

	"egovmon/agent/check"
)

// A release is which version of its operating system a machine runs.
type release struct {
	names []string  // what the plan may call it, the narrowest first: "windows 19045 professional", "windows 19045"
	end   time.Time // the last day of support as the system itself says it; zero when it does not
}

// judgeRelease asks that the system still gets patches. The days stand in the plan, since makers change them.
func judgeRelease(v release, l *limits, now time.Time) *check.Result {
	end := v.end
	for _, name := range v.names {
		if e, ok := l.ends[name]; ok {
			end = e
			break
		}
	}
	name := v.names[len(v.names)-1]
	if end.IsZero() {
		return because(check.NotConfigured, "option \"os_ends\": it does not say until when %s is supported: add \"%s=YYYY-MM-DD\"", name, name)
	}
	left := end.AddDate(0, 0, 1).Sub(now)
	var r *check.Result
	switch {
	case left <= 0:
		r = because(check.ControlFail, "%s has had no support since %s", name, end.Format(time.DateOnly))
	case left <= l.warn:
		r = because(check.ControlPartial, "support of %s ends on %s", name, end.Format(time.DateOnly))
	default:
		r = because(check.OK, "%s is supported until %s", name, end.Format(time.DateOnly))
	}
	r.Facts.Add("support_end_unix", float64(end.Unix()))
	return r
}

// readEnds reads until when which system is supported.
func (l *limits) readEnds(o check.Options) error {
	l.warn = time.Duration(o.Int("warn_days")) * day
	if !o.Has("warn_days") {
		l.warn = supportWarn
	}
	l.ends = map[string]time.Time{}
	for _, s := range o.Strings("os_ends") {
		name, date, _ := strings.Cut(s, "=")
		end, err := time.Parse(time.DateOnly, strings.TrimSpace(date))
		if name = releaseName(name); err != nil || name == "" {
			return fmt.Errorf("option \"os_ends\": %q: write a system and its last day, such as debian 12=2028-06-30", s)
		}
		l.ends[name] = end
	}
	return nil
}

// releaseName is a name as names are compared.
func releaseName(s string) string { return strings.Join(strings.Fields(strings.ToLower(s)), " ") }
