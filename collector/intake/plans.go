package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/evidence"
)

// A planInForce is the newest plan of one machine that is in the log.
type planInForce struct {
	SHA256  string `json:"sha256"` // of the text: its ETag
	Version int64  `json:"version"`
	Leaf    int64  `json:"leaf"`
}

// replayPlan takes in a plan's leaf.
func (s *Server) replayPlan(index int64, l evidence.Leaf) error {
	version, err := strconv.ParseInt(l.Field("version"), 10, 64)
	if err != nil {
		return fmt.Errorf("version of the plan: %w", err)
	}
	m := s.machine(l.Field("machine"))
	if index > m.plan.Leaf || m.plan.SHA256 == "" {
		m.plan = planInForce{l.Field("sha256"), version, index}
	}
	return nil
}

// SetPlan puts a plan in force for the machine that it names with `for:`. It is in the log before any agent is given
// it. The text that is in force already changes nothing; another one must have a higher version.
func (s *Server) SetPlan(ctx context.Context, text []byte) error {
	p, err := plan.Parse(text, s.opts.Kinds)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if p.For == "" {
		return fmt.Errorf("plan %s names no machine: write `for: MACHINE`", p.Name)
	}
	if _, err := s.sign(text); err != nil {
		return fmt.Errorf("plan for %s: %w", p.For, err)
	}
	s.planning.Lock()
	defer s.planning.Unlock()
	now := s.planOf(p.For)
	switch {
	case now.SHA256 == p.Hash():
		return nil
	case now.SHA256 != "" && p.Version <= now.Version:
		return fmt.Errorf("plan for %s: version %d is not above %d, which is in force: raise it", p.For, p.Version, now.Version)
	}
	return s.inForce(ctx, p, text)
}

// inForce records a plan, and gives it to its machine from then on. The caller holds s.planning.
func (s *Server) inForce(ctx context.Context, p *plan.Plan, text []byte) error {
	e, err := evidence.NewEntry(evidence.Plan, map[string]string{
		"at": wire.FormatTime(s.opts.Now()), "machine": p.For, "sha256": p.Hash(), "version": strconv.FormatInt(p.Version, 10),
	}, text, nil)
	if err != nil {
		return fmt.Errorf("plan for %s: %w", p.For, err)
	}
	leaf, err := s.opts.Evidence.Append(ctx, e)
	if err != nil {
		return fmt.Errorf("plan for %s: %w", p.For, err)
	}
	s.mu.Lock()
	s.machine(p.For).plan = planInForce{p.Hash(), p.Version, leaf}
	s.mu.Unlock()
	s.opts.Logger.Info("plan in force", "machine", p.For, "version", p.Version, "leaf", leaf)
	s.wake()
	return nil
}

// Plan returns the text and version of the plan that is in force for a machine; ok is false while there is none.
func (s *Server) Plan(machine string) (text []byte, version int64, ok bool, err error) {
	p := s.planOf(machine)
	if p.SHA256 == "" {
		return nil, 0, false, nil
	}
	text, err = s.planText(p)
	return text, p.Version, err == nil, err
}

func (s *Server) planOf(machine string) planInForce {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.machines[machine]; m != nil {
		return m.plan
	}
	return planInForce{}
}

func (s *Server) planText(p planInForce) ([]byte, error) {
	text, err := s.opts.Evidence.Blob(p.Leaf)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, fmt.Errorf("leaf %d does not hold plan %s", p.Leaf, p.SHA256)
	}
	return text, nil
}

// sign returns a plan as it travels. Ed25519 gives the same note for the same text each time.
func (s *Server) sign(text []byte) ([]byte, error) {
	return note.Sign(&note.Note{Text: string(text)}, s.opts.PlanSigner)
}
