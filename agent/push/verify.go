package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// CheckpointFile keeps the last checkpoint that verified, as the collector signed it; RefusedFile the last one that is
// signed and does not go with it, which is proof against the collector.
const (
	CheckpointFile = "checkpoint"
	RefusedFile    = "checkpoint.refused"
)

const (
	maxNote    = wire.MaxPlan + 4<<10 // a signed plan
	maxLeaf    = 4 << 10
	planAgain  = time.Hour // until a plan that was refused is fetched again
	leafHeader = "egovmon-leaf/1 plan\n"
)

// ErrLog says that the collector's log is not the one that was seen before: entries were removed or changed.
var ErrLog = errors.New("the collector's log does not continue the one that was seen before; show this to the district's auditor")

// follow takes from an answer what goes beside the batches: checkpoint and plan. What does not verify is logged and
// counted, and does not keep results from being sent.
func (p *Pusher) follow(ctx context.Context, re reply) error {
	if c := re.answer.Checkpoint; c != "" {
		if _, err := p.see(ctx, []byte(c), re.proof); err != nil {
			if ctx.Err() != nil {
				return err
			}
			p.refuse("checkpoint", err)
		}
	}
	etag := strings.Trim(re.answer.Plan, `"`)
	hash, version := p.o.Plans.InForce()
	if etag == "" || etag == hash || etag == p.refused && p.now().Before(p.retry) {
		return nil
	}
	if err := p.fetchPlan(ctx, version); err != nil {
		if ctx.Err() != nil {
			return err
		}
		p.refused, p.retry = etag, p.now().Add(planAgain)
		if busy, ok := errors.AsType[*temporaryError](err); ok {
			p.refused, err = "", busy.error
		}
		p.refuse("plan", err)
	}
	return nil
}

// A temporaryError says nothing about what was asked for: it can be asked for again soon.
type temporaryError struct{ error }

func (p *Pusher) refuse(what string, err error) {
	p.mu.Lock()
	p.stats.Refused++
	p.mu.Unlock()
	p.log.Error(what+" of the collector is not followed", "err", err)
}

// see verifies a checkpoint against the one before, and keeps it. The proof is the consistency proof that came with it,
// if any.
func (p *Pusher) see(ctx context.Context, msg []byte, proof string) (tlog.Tree, error) {
	t, err := p.openCheckpoint(msg)
	if err != nil {
		return t, err
	}
	if t == p.tree {
		return t, nil
	}
	if err := p.extends(ctx, t, proof); err != nil {
		if errors.Is(err, ErrLog) {
			_ = durable.Replace(filepath.Join(p.o.Dir, RefusedFile), msg)
		}
		return t, err
	}
	if err := durable.Replace(filepath.Join(p.o.Dir, CheckpointFile), msg); err != nil {
		return t, fmt.Errorf("checkpoint of %d leaves cannot be kept: %w", t.N, err)
	}
	p.tree = t
	p.mu.Lock()
	p.stats.Leaves, p.stats.Seen = t.N, p.now()
	p.mu.Unlock()
	p.o.Journal.SetCheckpoint(journal.Checkpoint{Origin: p.o.LogKey.Name(), Size: t.N, Hash: t.Hash})
	return t, nil
}

func (p *Pusher) openCheckpoint(msg []byte) (tlog.Tree, error) {
	if len(msg) > wire.MaxAnswer {
		return tlog.Tree{}, fmt.Errorf("checkpoint of %d bytes: %w", len(msg), wire.ErrLimit)
	}
	n, err := note.Open(msg, note.VerifierList(p.o.LogKey))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w: want a signature by %s", err, p.o.LogKey.Name())
	}
	origin, t, err := wire.ParseCheckpoint(n.Text)
	if err != nil {
		return tlog.Tree{}, err
	}
	if origin != p.o.LogKey.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint of log %.200q, want %s", origin, p.o.LogKey.Name())
	}
	return t, nil
}

// extends reports why a tree is not a continuation of the one seen last. A proof that is wrong or missing is asked for
// once more, for exactly these two trees.
func (p *Pusher) extends(ctx context.Context, t tlog.Tree, proof string) error {
	old := p.tree
	switch {
	case old.N == 0:
		return nil
	case t.N < old.N:
		return fmt.Errorf("checkpoint of %d leaves after one of %d: %w", t.N, old.N, ErrLog)
	case t.N == old.N:
		return fmt.Errorf("two checkpoints of %d leaves with different hashes: %w", t.N, ErrLog)
	}
	if proof != "" && checkTree(proof, t, old) == nil {
		return nil
	}
	path := fmt.Sprintf("%s?%s=%d&%s=%d", wire.PathCheckpoint, wire.ParamFrom, old.N, wire.ParamSize, t.N)
	re, err := p.call(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if re.proof == "" || re.status != http.StatusOK {
		return fmt.Errorf("checkpoint of %d leaves: the collector does not prove that it continues the one of %d", t.N, old.N)
	}
	if err := checkTree(re.proof, t, old); err != nil {
		return fmt.Errorf("checkpoint of %d leaves after one of %d: %w: %w", t.N, old.N, err, ErrLog)
	}
	return nil
}

func checkTree(proof string, t, old tlog.Tree) error {
	hashes, err := wire.DecodeProof(proof)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, t.N, t.Hash, old.N, old.Hash)
}

func (p *Pusher) loadCheckpoint() error {
	path := filepath.Join(p.o.Dir, CheckpointFile)
	msg, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t, err := p.openCheckpoint(msg)
	if err != nil {
		return fmt.Errorf("%s: %w; if the district has a new log on purpose, remove the file", path, err)
	}
	p.tree, p.stats.Leaves = t, t.N
	p.o.Journal.SetCheckpoint(journal.Checkpoint{Origin: p.o.LogKey.Name(), Size: t.N, Hash: t.Hash})
	return nil
}

// fetchPlan fetches the plan, verifies its signature, its leaf and the leaf's place in the log, and applies it.
func (p *Pusher) fetchPlan(ctx context.Context, version int64) error {
	status, header, msg, err := p.exchange(ctx, http.MethodGet, wire.PathPlan, "", nil, maxNote)
	if err != nil {
		return &temporaryError{err}
	}
	p.count(class(status), status == http.StatusOK)
	if status != http.StatusOK {
		return &temporaryError{fmt.Errorf("GET %s: the collector answers %d: %.200q", wire.PathPlan, status, msg)}
	}
	n, err := note.Open(msg, note.VerifierList(p.o.PlanKey))
	if err != nil {
		return fmt.Errorf("plan: %w: want a signature by %s", err, p.o.PlanKey.Name())
	}
	text := []byte(n.Text)
	if len(text) > wire.MaxPlan {
		return fmt.Errorf("plan of %d bytes, at most %d: %w", len(text), wire.MaxPlan, wire.ErrLimit)
	}
	leaf, err := base64.StdEncoding.DecodeString(header.Get(wire.HeaderLeafText))
	if err != nil || len(leaf) > maxLeaf {
		return errors.New("plan: the collector does not show its leaf")
	}
	if err := checkLeaf(leaf, p.o.Machine, text, version); err != nil {
		return err
	}
	if err := p.included(ctx, header, leaf); err != nil {
		return err
	}
	return p.o.Plans.Apply(text, msg)
}

// included verifies that a leaf is in the log.
func (p *Pusher) included(ctx context.Context, header http.Header, leaf []byte) error {
	index, err := strconv.ParseInt(header.Get(wire.HeaderLeaf), 10, 64)
	if err != nil || index < 0 {
		return fmt.Errorf("plan: leaf index %.40q is not a number", header.Get(wire.HeaderLeaf))
	}
	msg, err := base64.StdEncoding.DecodeString(header.Get(wire.HeaderCheckpoint))
	if err != nil {
		return errors.New("plan: the checkpoint beside it is not base64")
	}
	t, err := p.see(ctx, msg, "")
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	proof, err := wire.DecodeProof(header.Get(wire.HeaderProof))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if err := tlog.CheckRecord(proof, t.N, t.Hash, index, tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("plan: leaf %d is not shown to be in the log of %d leaves: %w", index, t.N, err)
	}
	return nil
}

// checkLeaf reports whether a leaf is that of this plan for this machine, newer than the version in force.
func checkLeaf(leaf []byte, machine string, text []byte, version int64) error {
	sum := sha256.Sum256(text)
	blob := fmt.Sprintf("blob %s %d\n", hex.EncodeToString(sum[:]), len(text))
	if !bytes.HasPrefix(leaf, []byte(leafHeader)) || !bytes.HasSuffix(leaf, []byte("\n"+blob)) {
		return errors.New("plan: its leaf in the log is that of another plan")
	}
	for line := range strings.Lines(string(leaf)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "machine":
			if value != machine {
				return fmt.Errorf("plan: it is for machine %.80q, not for %s", value, machine)
			}
		case "version":
			if v, err := strconv.ParseInt(value, 10, 64); err != nil || v <= version {
				return fmt.Errorf("plan: version %.20q after version %d: a version only grows", value, version)
			}
		}
	}
	return nil
}
