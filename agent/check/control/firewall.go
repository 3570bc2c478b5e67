package control

import (
	"egovmon/agent/check"
)

// A firewall is how far this machine is closed to what it did not ask for.
type firewall struct {
	rules  bool // the rules in force were read, not only what is configured
	scopes int  // what must be closed: IPv4, and IPv6 where the machine has an address; on Windows the profiles
	closed int  // of them closed
}

// judgeFirewall asks that every scope is closed.
func judgeFirewall(f firewall) *check.Result {
	var r *check.Result
	seen := "by its configuration"
	if f.rules {
		seen = "by the rules in force"
	}
	switch {
	case f.scopes > 0 && f.closed == f.scopes:
		r = because(check.OK, "on, %s", seen)
	case f.closed > 0:
		r = because(check.ControlPartial, "on for %d of %d (%s)", f.closed, f.scopes, seen)
	default:
		r = because(check.ControlFail, "off, %s", seen)
	}
	r.Facts.Add("firewall_scopes_count", float64(f.scopes))
	r.Facts.Add("firewall_closed_count", float64(f.closed))
	r.Facts.Add("firewall_rules_code", yes01(f.rules))
	return r
}
