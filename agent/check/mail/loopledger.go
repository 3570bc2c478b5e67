package mail

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// Bounds of a ledger.
const (
	maxPending = 512  // letters kept in mind that are not back
	maxSeen    = 1024 // letters kept in mind that were found
)

// echoWithin is how soon after a run another one of the same slot may follow, which confirms what the first has found
// (a plan's pause is 2 s): what happened once, such as a letter that became lost, must not be gone then.
const echoWithin = 4 * time.Second

// A posted letter is one of ours that the server took.
type posted struct {
	serial uint64
	at     time.Time // when it was taken
	absent time.Time // when the mailbox was last searched to the end without it; the zero Time before the first search
	lost   bool      // it was reported so
	proof  proof
}

// A ledger is what a machine keeps in mind of the loop from run to run. It judges: late and lost are the options.
type ledger struct {
	late, lost time.Duration

	out    []posted  // taken and not found, oldest first
	seen   []uint64  // found, oldest first
	proved time.Time // when the last of our letters that was found had been handed in
	echo   echo
}

// An echo is the last finding that happened once.
type echo struct {
	fault *reach.Fault
	until time.Time
}

// post enters a letter that the server took.
func (l *ledger) post(serial uint64, at time.Time, p proof) {
	l.out = append(l.out, posted{serial: serial, at: at, proof: p})
	if len(l.out) > maxPending {
		l.out = slices.Delete(l.out, 0, len(l.out)-maxPending)
	}
}

// handedIn tells whether a letter says what one of ours that is under way said when the server took it.
func (l *ledger) handedIn(t token) bool {
	return slices.ContainsFunc(l.out, func(p posted) bool { return p.serial == t.serial && p.proof != proof{} && p.proof == t.proof() })
}

// loopKeys remember the key before the present one as long as letters of then may be under way. The zero value knows none.
type loopKeys struct {
	now, older []byte
	until      time.Time // older counts so long
}

// use takes the present key; a letter is under way for at most lost.
func (k *loopKeys) use(key []byte, now time.Time, lost time.Duration) {
	if k.now != nil && !bytes.Equal(k.now, key) {
		k.older, k.until = k.now, now.Add(lost)
	}
	k.now = key
}

// before is the key before, nil when there is none or it counts no longer.
func (k *loopKeys) before(now time.Time) []byte {
	if now.After(k.until) {
		k.older = nil
	}
	return k.older
}

// find enters a letter that was found. again says that it was found before; was is how it stood in the ledger, nil for
// one that is not ours, or of which nothing was kept.
func (l *ledger) find(t token, mine bool) (again bool, was *posted) {
	if slices.Contains(l.seen, t.serial) {
		return true, nil
	}
	l.seen = append(l.seen, t.serial)
	if len(l.seen) > maxSeen {
		l.seen = slices.Delete(l.seen, 0, len(l.seen)-maxSeen)
	}
	if !mine {
		return false, nil
	}
	if i := slices.IndexFunc(l.out, func(p posted) bool { return p.serial == t.serial }); i >= 0 {
		p := l.out[i]
		l.out = slices.Delete(l.out, i, i+1)
		was = &p
	}
	if t.sent.After(l.proved) {
		l.proved = t.sent
	}
	return false, was
}

// overdue judges the letters that are not back after the mailbox was searched to the end. newly is how many became lost.
// A letter that is lost is told of once; while no later one has come it is told of by every run.
func (l *ledger) overdue(now time.Time) (newly int, bad *reach.Fault) {
	var oldest time.Duration
	var stuck *posted
	waiting := 0
	for i := range l.out {
		p := &l.out[i]
		age := now.Sub(p.at)
		p.absent = now
		if age >= l.lost && !p.lost {
			p.lost = true
			newly++
		}
		switch {
		case p.lost && p.at.After(l.proved):
			stuck = p
			oldest = max(oldest, age)
		case !p.lost && age >= l.late:
			waiting++
			oldest = max(oldest, age)
		}
	}
	// Letters that were lost a week ago and told of do not come any more.
	l.out = slices.DeleteFunc(l.out, func(p posted) bool { return p.lost && now.Sub(p.at) > l.lost+7*24*time.Hour })
	switch {
	case newly > 0 || stuck != nil:
		return newly, reach.Failf(check.MailLost, "the server took our letter and it is not in the mailbox after %s%s", l.lost, more(newly, "letters became lost now"))
	case waiting > 0:
		return 0, reach.Failf(check.MailLate, "a letter of ours has been under way for %s, the limit is %s", oldest.Round(time.Second), l.late)
	}
	return 0, nil
}

func more(n int, what string) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%d %s)", n, what)
}

// repeat returns the finding of the run before, when this one confirms it.
func (l *ledger) repeat(now time.Time) *reach.Fault {
	if l.echo.fault == nil || now.After(l.echo.until) {
		return nil
	}
	return l.echo.fault
}

// keep keeps a finding that happens once for the run that confirms it.
func (l *ledger) keep(f *reach.Fault, now time.Time) {
	l.echo = echo{f, now.Add(echoWithin)}
}

// worse returns the graver of two faults: what is down, then what is degraded, then what is unknown; the first of two
// equals. Nil is none.
func worse(a, b *reach.Fault) *reach.Fault {
	grave := func(f *reach.Fault) int {
		if f == nil {
			return 0
		}
		return map[check.State]int{check.Down: 3, check.Degraded: 2, check.Unknown: 1}[f.Reason.State()]
	}
	if grave(b) > grave(a) {
		return b
	}
	return a
}
