package mail

import (
	"crypto/sha256"
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// pauseOption is the option of every kind that logs in.
func pauseOption() check.Option {
	return check.Option{Name: "login_pause", Type: check.TypeDuration, Default: "6h", Min: 1, Max: 7 * 86400,
		Help: "How long a password that was refused is not tried again, so that nobody locks the account; another password is tried at once, and so is any after a start of the agent or a change of the plan, which remember no refusal."}
}

// A lockout keeps a check from trying a password again that was refused: many servers lock an account after a few. The
// zero value has seen no refusal. It is for one account.
type lockout struct {
	pause   time.Duration
	refused [sha256.Size]byte // the password, hashed
	since   time.Time         // the zero Time while none is refused
	said    string            // what the server answered, without its words
}

// holds is the fault of a password that may not be tried now, and nil when it may.
func (l *lockout) holds(password string, now time.Time) *reach.Fault {
	if l.since.IsZero() || sha256.Sum256([]byte(password)) != l.refused {
		return nil
	}
	again := l.since.Add(l.pause)
	if !now.Before(again) || now.Before(l.since) { // a clock that went back must not hold for years
		return nil
	}
	return reach.Failf(check.Auth, "the monitoring account was refused%s; the same password is not tried before %s, so that the account is not locked",
		l.said, again.UTC().Format(time.RFC3339))
}

// refuse keeps in mind that a password was refused, and is the fault that says so.
func (l *lockout) refuse(password, said string, now time.Time) *reach.Fault {
	if said != "" {
		said = ": " + said
	}
	l.refused, l.since, l.said = sha256.Sum256([]byte(password)), now, said
	return reach.Failf(check.Auth, "%s", fmt.Sprintf("the monitoring account was refused%s", said))
}
