package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

const (
	aheadAgain    = time.Minute // until a machine that is ahead of the log may come again
	maxSuccession = 64          // logs of a district that a machine may have slept through
)

// ahead answers a machine that says it has seen more leaves than the log has: nothing is archived for it, for what this
// log signed next would contradict what the machine holds. It shows its checkpoint then, and that decides.
func (s *Server) ahead(w http.ResponseWriter, r *http.Request, id string) bool {
	size := s.opts.Evidence.Size()
	from, err := strconv.ParseInt(r.URL.Query().Get(wire.ParamFrom), 10, 64)
	if err != nil || from <= size {
		return false
	}
	s.mu.Lock()
	s.claimed = time.Now()
	s.mu.Unlock()
	s.opts.Logger.Error("intake: a machine has seen more of the log than there is; nothing is taken from it", "machine", id, "seen", from, "leaves", size)
	s.busy(w, id, fmt.Sprintf("the log has %d leaves and was set back behind the %d that this machine has seen", size, from), aheadAgain)
	return true
}

// Claimed is when a machine said last that it has seen more of the log than there is, by the clock of the process; zero
// for never.
func (s *Server) Claimed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed
}

// compare holds the checkpoint that a machine has seen against the log: one that is not its beginning was shown to that
// machine alone, or the log was set back since. It does not matter to what the batch says.
func (s *Server) compare(leaf int64, h journal.Header) {
	seen := h.Checkpoint
	if seen == nil || seen.Origin != s.opts.Evidence.Origin() {
		return
	}
	tree := tlog.Tree{N: seen.Size, Hash: seen.Hash}
	if tree == s.agreed {
		return
	}
	have, err := s.opts.Evidence.TreeAt(seen.Size)
	if err == nil && have == tree {
		s.agreed = tree
		return
	}
	s.contradictions.Add(1)
	s.opts.Logger.Error("intake: a machine has seen another log than this one", "machine", h.Machine, "leaf", leaf, "seen", seen.Size, "root", seen.Hash, "err", err)
}

// Contradictions counts the batches since the start whose header names a checkpoint that is no beginning of the log: the
// log was shown differently to different machines, or set back.
func (s *Server) Contradictions() int64 { return s.contradictions.Load() }

// shown takes a checkpoint that a machine holds and this log does not continue.
func (s *Server) shown(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	msg, err := wire.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxAnswer+1), wire.MaxAnswer)
	if err != nil {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeTooLarge, Text: fmt.Sprintf("a checkpoint has at most %d bytes", wire.MaxAnswer)})
		return
	}
	switch err := s.opts.Evidence.Show(msg); {
	case err == nil:
		s.reply(w, http.StatusOK, s.answer(m.ID, "", ""))
	case errors.Is(err, evidence.ErrOvertaken):
		s.opts.Logger.Error("intake: a machine holds a checkpoint of this log that it does not continue", "machine", m.ID, "err", err)
		s.reply(w, http.StatusConflict, s.answer(m.ID, "", err.Error()))
	default:
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadRequest, Text: err.Error()})
	}
}

// returned takes back a plan that this collector signed, and does not know any more since it was restored. Its leaf
// lets what was measured by it be judged again.
func (s *Server) returned(w http.ResponseWriter, r *http.Request, m enrol.Machine) {
	msg, err := wire.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxPlan+8<<10), wire.MaxPlan+4<<10)
	if err != nil {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeTooLarge, Text: "the plan is larger than any that this collector signs"})
		return
	}
	if err := s.takeBack(r, m.ID, msg); err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, http.StatusOK, s.answer(m.ID, "", ""))
}

func (s *Server) takeBack(r *http.Request, machine string, msg []byte) error {
	text, err := s.openPlan(msg)
	if err != nil {
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: err.Error()}
	}
	p, err := plan.Parse(text, s.opts.Kinds)
	switch {
	case err != nil:
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: err.Error()}
	case p.For != machine:
		return &enrol.Refusal{Code: wire.CodeBadRequest, Text: fmt.Sprintf("the plan is for %.80q, not for %s", p.For, machine)}
	}
	s.planning.Lock()
	defer s.planning.Unlock()
	if now := s.planOf(machine); p.Version <= now.Version {
		return nil // it is known, or a newer one is
	}
	s.opts.Logger.Warn("intake: a machine gives back a plan that the log has lost", "machine", machine, "version", p.Version)
	return s.inForce(r.Context(), p, text)
}

// openPlan reads a plan as sign writes it: Ed25519 gives the same note for the same text each time.
func (s *Server) openPlan(msg []byte) ([]byte, error) {
	bad := fmt.Errorf("the plan is not signed by %s+%08x", s.opts.PlanSigner.Name(), s.opts.PlanSigner.KeyHash())
	_, err := note.Open(msg, note.VerifierList()) // believes nobody
	unverified, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if !ok {
		return nil, bad
	}
	text := []byte(unverified.Note.Text)
	if again, err := s.sign(text); err != nil || string(again) != string(msg) {
		return nil, bad
	}
	return text, nil
}

// recovery answers with the recovery key that the log names, and proves it.
func (s *Server) recovery(w http.ResponseWriter, r *http.Request, _ enrol.Machine) {
	s.mu.Lock()
	known := s.recoveryKey
	s.mu.Unlock()
	if known.Key == "" {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeNotFound, Text: "this district has no recovery key yet: run `collector recovery-key` at the collector"})
		return
	}
	p, err := s.proven(known.Leaf)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, http.StatusOK, wire.RecoveryAnswer{Key: known.Key, Leaf: p.leaf, Index: known.Leaf, Proof: p.proof, Checkpoint: p.checkpoint})
}

// successor answers how the log with the number in the question came to be followed by this one.
func (s *Server) successor(w http.ResponseWriter, r *http.Request, _ enrol.Machine) {
	from, err := strconv.Atoi(r.URL.Query().Get(wire.ParamFrom))
	if err != nil || from < 1 {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadRequest, Text: fmt.Sprintf("%s=%.40q is no number of a log", wire.ParamFrom, r.URL.Query().Get(wire.ParamFrom))})
		return
	}
	notes, err := evidence.Successions(s.opts.Evidence)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// The last note leads to this log, the one before it to the log before, and so on.
	now, _ := wire.LogNumber(wire.DistrictOf(s.opts.Evidence.Origin()), s.opts.Evidence.Origin())
	n := now - from
	if n < 1 || n > len(notes) || n > maxSuccession {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeNotFound, Text: fmt.Sprintf("log %d is not one that %s came after", from, s.opts.Evidence.Origin())})
		return
	}
	p, err := s.proven(0)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	a := wire.SuccessorAnswer{Leaf: p.leaf, Proof: p.proof, Checkpoint: p.checkpoint}
	for _, msg := range notes[len(notes)-n:] {
		a.Notes = append(a.Notes, string(msg))
	}
	if b, err := json.Marshal(a); err != nil || len(b) >= wire.MaxAnswer {
		s.fail(w, r, fmt.Errorf("%d successions are larger than an answer may be: %w", n, err))
		return
	}
	s.reply(w, http.StatusOK, a)
}

// A provenLeaf is a leaf with what shows that it is in the log.
type provenLeaf struct {
	leaf              []byte
	proof, checkpoint string
}

func (s *Server) proven(leaf int64) (p provenLeaf, err error) {
	checkpoint := s.opts.Evidence.Checkpoint()
	size, err := checkpointSize(checkpoint)
	if err != nil {
		return p, err
	}
	proof, err := s.opts.Evidence.ProveLeaf(leaf, size)
	if err != nil {
		return p, err
	}
	l, err := s.opts.Evidence.Leaf(leaf)
	if err != nil {
		return p, err
	}
	return provenLeaf{leaf: l.Bytes(), proof: wire.EncodeProof(proof), checkpoint: string(checkpoint)}, nil
}

// RecoveryKey is the verifier key of the recovery key that the log names; "" while it names none.
func (s *Server) RecoveryKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recoveryKey.Key
}

// A knownKey is the recovery key that the log names; the first one is it, for ever.
type knownKey struct {
	Key  string `json:"key"`
	Leaf int64  `json:"leaf"`
}

// replayKey takes in a leaf that records a key of the district.
func (s *Server) replayKey(index int64, l evidence.Leaf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := l.Field("recovery"); key != "" && s.recoveryKey.Key == "" {
		s.recoveryKey = knownKey{key, index}
	}
}
