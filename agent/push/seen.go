package push

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/durable"
	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

// Files in which a Pusher keeps what it saw of the collector's log.
const (
	// CheckpointFile is the last checkpoint that verified, as the collector signed it. Where the log was succeeded,
	// the last one of log N stays beside it as checkpoint.N.
	CheckpointFile = "checkpoint"
	// RefusedFile has checkpoints that are signed and do not go with the one in CheckpointFile, one after the other:
	// both together are proof against the collector.
	RefusedFile = "checkpoint.refused"
	maxRefused  = 64 << 10
)

// What a signed checkpoint can be that does not continue the one seen last.
var (
	// ErrLog says that entries were removed or changed: the collector has signed two histories.
	ErrLog = errors.New("the collector's log does not continue the one that was seen before; show this to the district's auditor")
	// ErrRewound says that the collector has fewer leaves than it has signed: an older copy of it was put back.
	ErrRewound = errors.New("the collector's log is shorter than what was seen before: it was set back to an earlier state, or restored")
	// ErrReplayed says that the collector has all that was seen before: an old answer was given again on the way.
	ErrReplayed = errors.New("an old answer of the collector was given again on the way")
)

// see verifies a checkpoint against the one before, and keeps it. The proof is the consistency proof that came with it,
// if any.
func (p *Pusher) see(ctx context.Context, msg []byte, proof string) (tlog.Tree, error) {
	if origin := originOf(msg); origin != p.logKey.Name() && wire.DistrictOf(origin) != "" {
		if err := p.succeed(ctx, origin); err != nil {
			return tlog.Tree{}, err
		}
	}
	t, err := openCheckpoint(msg, p.logKey)
	if err != nil {
		return t, err
	}
	if t == p.tree {
		return t, nil
	}
	err = p.extends(ctx, t, proof)
	if err == nil {
		err = p.continuesLatest(ctx, t)
	}
	if err != nil {
		if errors.Is(err, ErrLog) || errors.Is(err, ErrRewound) {
			p.keepRefused(msg)
		}
		return t, err
	}
	if err := p.keep(CheckpointFile, msg); err != nil {
		return t, fmt.Errorf("checkpoint of %d leaves cannot be kept: %w", t.N, err)
	}
	p.remember(t, msg)
	p.adopt(t, msg)
	p.mu.Lock()
	p.stats.Seen = p.now()
	p.mu.Unlock()
	return t, nil
}

// adopt takes a checkpoint that is kept for the one seen last.
func (p *Pusher) adopt(t tlog.Tree, msg []byte) {
	p.tree, p.signed = t, msg
	p.mu.Lock()
	p.stats.Leaves = t.N
	p.mu.Unlock()
	p.o.Journal.SetCheckpoint(journal.Checkpoint{Origin: p.logKey.Name(), Size: t.N, Hash: t.Hash})
}

// originOf returns the first line of a note, of which nothing is verified.
func originOf(msg []byte) string {
	line, _, _ := strings.Cut(string(msg[:min(len(msg), 256)]), "\n")
	return line
}

func openCheckpoint(msg []byte, key note.Verifier) (tlog.Tree, error) {
	if len(msg) > wire.MaxAnswer {
		return tlog.Tree{}, fmt.Errorf("checkpoint of %d bytes: %w", len(msg), wire.ErrLimit)
	}
	n, err := note.Open(msg, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w: want a signature by %s", err, key.Name())
	}
	origin, t, err := wire.ParseCheckpoint(n.Text)
	if err != nil {
		return tlog.Tree{}, err
	}
	if origin != key.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint of log %.200q, want %s", origin, key.Name())
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
		return p.older(ctx, t, p.tree)
	case t.N == old.N:
		return fmt.Errorf("two checkpoints of %d leaves with different hashes: %w", t.N, ErrLog)
	}
	if proof != "" && checkTree(proof, t, old) == nil {
		return nil
	}
	re, err := p.proof(ctx, old.N, t.N)
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

// older tells what a checkpoint with fewer leaves than one that was seen is. It always returns an error.
func (p *Pusher) older(ctx context.Context, t, seen tlog.Tree) error {
	re, err := p.proof(ctx, t.N, seen.N)
	if err != nil {
		return fmt.Errorf("checkpoint of %d leaves after one of %d: %w", t.N, seen.N, err)
	}
	switch {
	case re.status != http.StatusOK || re.proof == "" && t.N > 0:
		err = ErrRewound
	case t.N > 0 && checkTree(re.proof, seen, t) != nil:
		err = ErrLog
	default:
		err = ErrReplayed
	}
	return fmt.Errorf("checkpoint of %d leaves after one of %d: %w", t.N, seen.N, err)
}

// continuesLatest reports why a tree is not a continuation of the checkpoint that was kept last without a proof.
func (p *Pusher) continuesLatest(ctx context.Context, t tlog.Tree) error {
	latest := p.latest
	switch {
	case latest.N <= p.tree.N || t == latest:
		return nil
	case t.N < latest.N:
		return p.older(ctx, t, latest)
	case t.N == latest.N:
		return fmt.Errorf("two checkpoints of %d leaves with different hashes: %w", t.N, ErrLog)
	}
	re, err := p.proof(ctx, latest.N, t.N)
	if err != nil {
		return err
	}
	if err := checkTree(re.proof, t, latest); err != nil {
		return fmt.Errorf("checkpoint of %d leaves after one of %d: %w: %w", t.N, latest.N, err, ErrLog)
	}
	return nil
}

// proof asks for the consistency proof between two sizes.
func (p *Pusher) proof(ctx context.Context, from, to int64) (reply, error) {
	return p.call(ctx, http.MethodGet, fmt.Sprintf("%s?%s=%d&%s=%d", wire.PathCheckpoint, wire.ParamFrom, from, wire.ParamSize, to), "", nil)
}

func checkTree(proof string, t, old tlog.Tree) error {
	hashes, err := wire.DecodeProof(proof)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, t.N, t.Hash, old.N, old.Hash)
}

// show gives the collector back the checkpoint that it signed and does not continue: its own signature tells it that an
// older copy of it was put back, which it cannot know by itself. What it answers changes nothing here.
func (p *Pusher) show(ctx context.Context) {
	t, signed := p.tree, p.signed
	if p.latest.N > t.N {
		t, signed = p.latest, p.latestSigned
	}
	if now := p.now(); p.shown == t && now.Before(p.showAgain) {
		return
	}
	if _, _, _, err := p.exchange(ctx, http.MethodPost, wire.PathCheckpoint, "text/plain; charset=utf-8", signed, wire.MaxAnswer); err != nil {
		p.log.Warn("the collector cannot be shown the checkpoint that it does not continue", "leaves", t.N, "err", err)
		return
	}
	p.shown, p.showAgain = t, p.now().Add(showGap)
}

// loadCheckpoint reads what an earlier run kept.
func (p *Pusher) loadCheckpoint() error {
	path := filepath.Join(p.o.Dir, CheckpointFile)
	msg, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.isOver(originOf(msg)) { // a kill came between the succession and this
		return p.archive(originOf(msg))
	}
	t, err := openCheckpoint(msg, p.logKey)
	if err != nil {
		return fmt.Errorf("%s: %w; if the district has a new log on purpose, remove the file", path, err)
	}
	p.adopt(t, msg)
	return nil
}

// keepRefused adds a checkpoint to those that speak against the collector, unless it is there.
func (p *Pusher) keepRefused(msg []byte) {
	had, err := os.ReadFile(filepath.Join(p.o.Dir, RefusedFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Error("a checkpoint that was refused cannot be kept", "err", err)
		return
	}
	if strings.Contains(string(had), string(msg)) || len(had)+len(msg) > maxRefused {
		return
	}
	if err := p.keep(RefusedFile, append(had, msg...)); err != nil {
		p.log.Error("a checkpoint that was refused cannot be kept", "err", err)
	}
}

// keep replaces a file in the folder, durably.
func (p *Pusher) keep(name string, data []byte) error {
	return durable.Replace(filepath.Join(p.o.Dir, name), data)
}

// inLog verifies that a leaf is in the log whose checkpoint comes with it.
func inLog(t tlog.Tree, proof string, index int64, leaf []byte) error {
	hashes, err := wire.DecodeProof(proof)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(hashes, t.N, t.Hash, index, tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("leaf %d is not shown to be in the log of %d leaves: %w", index, t.N, err)
	}
	return nil
}

// signature returns the base64 of a note's only signature.
func signature(msg []byte) string {
	_, line, _ := strings.Cut(string(msg), "\n\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return "-"
	}
	if _, err := base64.StdEncoding.DecodeString(fields[len(fields)-1]); err != nil {
		return "-"
	}
	return fields[len(fields)-1]
}
