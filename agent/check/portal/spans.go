package portal

import (
	"context"
	"errors"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// The phases of a run, in the order in which they pass.
const (
	phaseDNS = iota
	phaseConnect
	phaseTLS
	phaseSend
	phaseFirstByte
	phaseTransfer
	phases
)

// phaseNames are the words for the phases; "total" comes after them.
func phaseNames() [phases]string {
	return [phases]string{"dns", "connect", "tls", "send", "first_byte", "transfer"}
}

// spans sums the time of each phase over the redirections of one run.
type spans struct {
	took [phases]time.Duration
	seen [phases]bool
}

func (s *spans) add(phase int, took time.Duration) {
	s.took[phase] += took
	s.seen[phase] = true
}

// dialed adds the steps of a connection.
func (s *spans) dialed(t reach.Dialed) {
	if t.Resolved {
		s.add(phaseDNS, t.DNS)
	}
	if t.Tried {
		s.add(phaseConnect, t.Connect)
	}
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

// A fault is why a run did not end well: the reason, and what a person should know.
type fault struct {
	reason check.Reason
	detail string
}

// faultOf takes over what reach has judged; nil stays nil.
func faultOf(f *reach.Fault) *fault {
	if f == nil {
		return nil
	}
	return &fault{f.Reason, f.Detail}
}

// unlessCalledOff returns f, or says that the run was called off, which is nobody's fault.
func (f *fault) unlessCalledOff(ctx context.Context) *fault {
	if f != nil && errors.Is(ctx.Err(), context.Canceled) {
		return &fault{check.Classify(check.StepExchange, ctx.Err()), "called off: " + f.detail}
	}
	return f
}

// result makes the Result of a run that ended with f, or well when f is nil.
func (f *fault) result() check.Result {
	if f == nil {
		return check.Result{State: check.Up, Reason: check.OK}
	}
	return check.Result{State: f.reason.State(), Reason: f.reason, Detail: check.CleanDetail(f.detail)}
}
