package control

import (
	"time"

	"egovmon/agent/check"
)

// patches are what the system tells of its updates.
type patches struct {
	last   time.Time // when packages were last upgraded; zero when no upgrade is recorded
	begins time.Time // since when upgrades would be recorded; zero when unknown
	lists  time.Time // when the lists of available packages were last fetched; zero when unknown
	reboot bool      // a restart is needed to put patches into force
}

// slack is how far in the future a time may lie before it is not believed.
const slack = 10 * time.Minute

// judgePatches asks that the last upgrade is young enough and in force.
func judgePatches(p patches, l *limits, now time.Time) *check.Result {
	var r *check.Result
	age := now.Sub(p.last)
	switch {
	case p.last.IsZero() && p.begins.IsZero():
		return because(check.NotSupported, "this system keeps no record of its updates that can be read")
	case p.last.IsZero() && now.Sub(p.begins) > l.maxAge:
		r = because(check.ControlFail, "no update is recorded, and the record begins %d days ago; at most %d are allowed", days(now.Sub(p.begins)), days(l.maxAge))
	case p.last.IsZero():
		r = because(check.ControlPartial, "no update is recorded yet; the record begins %d days ago", days(now.Sub(p.begins)))
	case age < -slack:
		r = because(check.ControlPartial, "the last update is dated in the future")
	case age > l.failAge:
		r = because(check.ControlFail, "last updated %d days ago; at most %d are allowed", days(age), days(l.maxAge))
	case age > l.maxAge:
		r = because(check.ControlPartial, "last updated %d days ago; at most %d are allowed", days(age), days(l.maxAge))
	case p.reboot:
		r = because(check.ControlPartial, "last updated %d days ago; a restart is needed to put it into force", days(age))
	default:
		r = because(check.OK, "last updated %d days ago", days(age))
	}
	addAge(&r.Facts, "age_s", p.last, now)
	addAge(&r.Facts, "lists_age_s", p.lists, now)
	r.Facts.Add("reboot_pending_code", yes01(p.reboot))
	return r
}

func days(d time.Duration) int { return int(max(0, d) / day) }

// addAge adds how long ago t was, unless that is not known or cannot be.
func addAge(f *check.Facts, name string, t, now time.Time) {
	if age := now.Sub(t); !t.IsZero() && age >= -slack && age < 100*365*day {
		f.Add(name, max(0, age).Seconds())
	}
}
