package control

import (
	"fmt"
	"strings"

	"egovmon/agent/check"
)

// accounts are who may administer this machine, in numbers.
type accounts struct {
	administrators int
	uid0           int // -1 where accounts have no such number
	passwordless   int // rules that let someone do everything by sudo without a password
	sudoRead       bool
	autologon      int
	unread         []string // what could not be read, and would only add to the numbers
	denied         bool     // for lack of rights
}

// judgeAccounts asks for few administrators, one account with user number 0, no sudo without a password and no log-on
// without asking. What could not be read can only make it worse: a fault that is seen stands, a pass does not.
func judgeAccounts(a accounts, l *limits) *check.Result {
	var bad []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	add(a.administrators > l.maxCount, "%d accounts may administer, at most %d are allowed", a.administrators, l.maxCount)
	add(a.uid0 > 1, "%d accounts have user number 0", a.uid0)
	add(a.passwordless > 0 && !l.passwordless, "%d rules of sudo ask no password", a.passwordless)
	add(a.autologon > 0, "someone is logged on without being asked")
	var r *check.Result
	switch {
	case len(bad) > 0:
		r = because(check.ControlFail, "%s", strings.Join(bad, "; "))
	case len(a.unread) > 0 && a.denied:
		r = because(check.NoPermission, "not readable: %s", strings.Join(a.unread, ", "))
	case len(a.unread) > 0:
		r = because(check.NotSupported, "not readable: %s", strings.Join(a.unread, ", "))
	default:
		r = because(check.OK, "%d accounts may administer", a.administrators)
	}
	r.Facts.Add("administrators_count", float64(a.administrators))
	if a.uid0 >= 0 {
		r.Facts.Add("uid0_count", float64(a.uid0))
	}
	if a.sudoRead {
		r.Facts.Add("passwordless_count", float64(a.passwordless))
	}
	r.Facts.Add("autologon_count", float64(a.autologon))
	return r
}
