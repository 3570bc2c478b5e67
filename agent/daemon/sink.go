package daemon

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
)

// A sink carries what the scheduler says into the journal, and keeps the plan in force beside it.
type sink struct {
	dir     string
	journal *journal.Journal
	log     *slog.Logger

	mu      sync.Mutex
	applied time.Time
	plan    *plan.Plan
	hash    string // of the plan that was received last
	signed  []byte // that one, as it was signed; nil when it was kept without its signature
}

// received notes a plan that is about to be followed.
func (s *sink) received(hash string, signed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hash, s.signed = hash, signed
}

// followed returns the signed notes of the plans that were followed of late, in the order of their versions; the one in
// force is the last, and without it there are none.
func (s *sink) followed() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil || s.plan.Hash() != s.hash || s.signed == nil {
		return nil
	}
	former, err := formerPlans(s.dir, s.plan.Version)
	if err != nil {
		s.log.Warn("a plan that was followed before cannot be read", "err", err)
	}
	return append(former, s.signed)
}

// Begin records the start.
func (s *sink) Begin(at time.Time) error { return s.journal.Begin(at) }

// Write hands what has finished to the operating system.
func (s *sink) Write(results []check.Result, ranges []check.Range) error {
	return s.journal.Write(results, ranges)
}

// Sync makes it durable; only now it is recorded.
func (s *sink) Sync() error { return s.journal.Sync() }

// Applied keeps the signed plan for the next start, then records that it is followed.
func (s *sink) Applied(p *plan.Plan, at time.Time) error {
	s.mu.Lock()
	hash, signed := s.hash, s.signed
	s.mu.Unlock()
	if hash == p.Hash() && signed != nil {
		if err := keepPlan(s.dir, signed, p.Version, at); err != nil {
			s.log.Error("the plan cannot be kept; a start without the collector will not know it", "err", err)
		}
	}
	s.journal.SetSeal(p.Seal)
	s.mu.Lock()
	s.plan, s.applied = p, at
	s.mu.Unlock()
	if err := s.journal.PlanApplied(journal.PlanApplied{Version: p.Version, SHA256: p.Hash(), At: at}); err != nil {
		return fmt.Errorf("plan %s version %d: %w", p.Name, p.Version, err)
	}
	return nil
}

// Stepped ends the journal after the clock went back. The new one follows the same plan.
func (s *sink) Stepped(at time.Time) error {
	return s.begin("clock_stepped", at)
}

// Fork ends the journal because the collector holds another continuation of it.
func (s *sink) Fork(at time.Time) error {
	return s.begin("fork", at)
}

func (s *sink) begin(cause string, at time.Time) error {
	if err := s.journal.Rotate(cause, at); err != nil {
		return err
	}
	s.mu.Lock()
	p := s.plan
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	return s.journal.PlanApplied(journal.PlanApplied{Version: p.Version, SHA256: p.Hash(), At: at})
}

func (s *sink) current() (*plan.Plan, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan, s.applied
}
