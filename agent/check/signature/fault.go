package signature

import (
	"context"
	"errors"
	"fmt"
	"time"

	"egovmon/agent/check"
)

// A fault is why a run did not end well: the reason, and what a person should know.
type fault struct {
	reason check.Reason
	detail string
}

func because(r check.Reason, format string, args ...any) *fault {
	return &fault{r, fmt.Sprintf(format, args...)}
}

// unlessCalledOff returns f, or says that the run was called off, which is nobody's fault.
func (f *fault) unlessCalledOff(ctx context.Context) *fault {
	if f != nil && errors.Is(ctx.Err(), context.Canceled) {
		return &fault{check.Classify(check.StepExchange, ctx.Err()), "called off: " + f.detail}
	}
	return f
}

// of returns f, of one of several things that a run looked at.
func (f *fault) of(what string) *fault { return &fault{f.reason, what + ": " + f.detail} }

// result makes the Result of a run that ended with f, or well and with this detail when f is nil.
func (f *fault) result(detail string) check.Result {
	if f == nil {
		return check.Because(check.OK, "%s", detail)
	}
	return check.Because(f.reason, "%s", f.detail)
}

// The phases of a run, in the order in which they pass.
const (
	phaseProcess = iota
	phaseDNS
	phaseConnect
	phaseTLS
	phaseSend
	phaseFirstByte
	phaseTransfer
	phaseVerify
	phases
)

// phaseNames are the words for the phases; "total" comes after them.
func phaseNames() [phases]string {
	return [phases]string{"process", "dns", "connect", "tls", "send", "first_byte", "transfer", "verify"}
}

// spans holds the time of each phase of one run, summed over redirections.
type spans struct {
	took [phases]time.Duration
	seen [phases]bool
}

func (s *spans) add(phase int, took time.Duration) {
	s.took[phase] += took
	s.seen[phase] = true
}

// phases lists what was seen, and the total.
func (s *spans) phases(total time.Duration) check.Phases {
	ps := make(check.Phases, 0, phases+1)
	for i, name := range phaseNames() {
		if s.seen[i] {
			ps.Add(name, s.took[i])
		}
	}
	ps.Add("total", total)
	return ps
}

// fetchPhases are the phases of the kinds that ask a server over HTTP.
func fetchPhases() []string {
	names := phaseNames()
	return append(names[phaseDNS:], "total")
}

const (
	maxUnix = 253402300799 // 9999-12-31T23:59:59Z, the last instant of RFC 5280, section 4.1.2.5
	maxCode = 1 << 53      // the largest whole number that a fact holds exactly
)

func unixFact(name, help string) check.FactDef {
	return check.FactDef{Name: name, Help: help, Max: maxUnix}
}

// addUnix adds an instant, unless it lies before 1970 or after 9999, which no honest answer has.
func addUnix(fs *check.Facts, name string, t time.Time) {
	if u := t.Unix(); !t.IsZero() && u >= 0 && u <= maxUnix {
		fs.Add(name, float64(u))
	}
}

// timed makes the Result of one run of ask, which adds the numbers of the exchange to facts, and what it read of the
// answer to seen.
func timed(ctx context.Context, slow time.Duration, ask func(ctx context.Context, sp *spans, facts, seen *check.Facts) (string, *fault)) check.Result {
	begin := time.Now()
	var sp spans
	var facts, seen check.Facts
	detail, bad := ask(ctx, &sp, &facts, &seen)
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		bad = tooSlow(total, slow)
	}
	r := bad.result(detail)
	r.Phases, r.Facts = sp.phases(total), append(facts, seen...)
	return r
}

// slowOption is the limit for a good answer.
func slowOption() check.Option {
	return check.Option{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A run that takes longer than this is slow; without it none is."}
}

// tooSlow says so when a run took longer than its limit; a limit of 0 is none.
func tooSlow(total, limit time.Duration) *fault {
	if limit <= 0 || total <= limit {
		return nil
	}
	return because(check.Slow, "%s, the limit is %s", total.Round(time.Millisecond), limit)
}

// A clock is the time that answers are judged by.
type clock struct {
	now    func() time.Time
	proven func() bool
}

func newClock(env check.Env) clock {
	c := clock{now: env.Now, proven: env.ClockProven}
	if c.now == nil {
		c.now = time.Now
	}
	if c.proven == nil {
		c.proven = func() bool { return true }
	}
	return c
}

// judged returns f, or says that the fault may be our own clock's while that is not proven. Only what depends on the
// clock alone may be judged so.
func (c clock) judged(f *fault) *fault {
	if f == nil || c.proven() {
		return f
	}
	return &fault{check.ClockUnproven, f.detail + "; this machine's clock is not proven"}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
