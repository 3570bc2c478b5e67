package mail

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// pauseOption is the option of every kind that logs in.
func pauseOption() check.Option {
	return check.Option{Name: "login_pause", Type: check.TypeDuration, Default: "6h", Min: 1, Max: 7 * 86400,
		Help: "How long a password that was refused is not tried again, so that nobody locks the account; another password is tried at once. A refusal is remembered over a start of the agent and a change of the plan that leaves server and user as they are."}
}

// A lockout keeps a check from trying a password again that was refused: many servers lock an account after a few. The
// zero value has seen no refusal. It is for one account.
type lockout struct {
	pause   time.Duration
	account string            // server and user
	notes   check.Notes       // nil for none
	refused refusal           // since the zero Time while none is refused
	sum     [sha256.Size]byte // of the refused password; zero when it was refused before this start
}

// A refusal is what is kept of a password that was refused.
type refusal struct {
	Since time.Time `json:"since"`
	Said  string    `json:"said"` // what the server answered, without its words
	// Salt and Mark recognise the password after a restart. Mark is so short that it tells nothing of it: one in 65,536
	// others is taken for it, and then waits.
	Salt []byte `json:"salt"`
	Mark []byte `json:"mark"`
}

const (
	refusedNote = "refused"
	markBytes   = 2
	maxSaid     = 64
)

// mark is a few bits of what account and password are together.
func (l *lockout) mark(salt []byte, password string) []byte {
	h := sha256.New()
	for _, part := range []string{string(salt), l.account, password} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)[:markBytes]
}

// recall reads what was refused before this start.
func (l *lockout) recall() {
	if l.notes == nil || !l.refused.Since.IsZero() {
		return
	}
	var r refusal
	if json.Unmarshal(l.notes.Note(refusedNote), &r) == nil && len(r.Said) <= maxSaid {
		l.refused = r
	}
}

// is reports whether this is the password that was refused.
func (l *lockout) is(password string) bool {
	if l.sum != [sha256.Size]byte{} {
		return sha256.Sum256([]byte(password)) == l.sum
	}
	return bytes.Equal(l.mark(l.refused.Salt, password), l.refused.Mark)
}

// holds is the fault of a password that may not be tried now, and nil when it may.
func (l *lockout) holds(password string, now time.Time) *reach.Fault {
	l.recall()
	if l.refused.Since.IsZero() || !l.is(password) {
		return nil
	}
	again := l.refused.Since.Add(l.pause)
	if !now.Before(again) || now.Before(l.refused.Since) { // a clock that went back must not hold for years
		return nil
	}
	return reach.Failf(check.Auth, "the monitoring account was refused%s; the same password is not tried before %s, so that the account is not locked",
		l.refused.Said, again.UTC().Format(time.RFC3339))
}

// refuse keeps in mind that a password was refused, and is the fault that says so.
func (l *lockout) refuse(password, said string, now time.Time) *reach.Fault {
	if said != "" {
		said = ": " + said
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	l.sum = sha256.Sum256([]byte(password))
	l.refused = refusal{Since: now, Said: said[:min(len(said), maxSaid)], Salt: salt, Mark: l.mark(salt, password)}
	if l.notes != nil {
		if note, err := json.Marshal(l.refused); err == nil {
			l.notes.Keep(refusedNote, note)
		}
	}
	return reach.Failf(check.Auth, "%s", fmt.Sprintf("the monitoring account was refused%s", said))
}
