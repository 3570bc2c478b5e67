package push

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

const (
	maxNote    = wire.MaxPlan + 4<<10 // a signed plan
	maxLeaf    = 4 << 10
	planAgain  = time.Hour // until a plan that was refused is fetched again
	leafHeader = "egovmon-leaf/1 plan\n"
)

// follow takes from an answer what goes beside the batches: checkpoint and plan. What does not verify is logged and
// counted, and does not keep results from being sent.
//
// proved tells whether a proof was asked for, or comes too late to be asked for with the next call.
func (p *Pusher) follow(ctx context.Context, re reply, proved bool) error {
	if c := re.answer.Checkpoint; c != "" && !proved && p.grown([]byte(c)) {
		if err := p.note(ctx, []byte(c)); err != nil {
			if ctx.Err() != nil {
				return err
			}
			p.contradicts(ctx, err)
		}
	} else if c != "" {
		if _, err := p.see(ctx, []byte(c), re.proof); err != nil {
			if ctx.Err() != nil {
				return err
			}
			p.contradicts(ctx, err)
		} else {
			p.proved = p.now()
			p.learnRecovery(ctx)
		}
	}
	if err := p.cosign(ctx, re.answer.Cosign); err != nil {
		return err
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

// contradicts does what is to be done about a checkpoint that does not continue the one seen last. The agent goes on
// measuring and keeps what it measured, whatever the collector's log says.
func (p *Pusher) contradicts(ctx context.Context, err error) {
	if errors.Is(err, ErrReplayed) {
		p.mu.Lock()
		p.stats.Replayed++
		p.mu.Unlock()
		p.log.Warn("checkpoint is not followed: nothing of the log is missing", "err", err)
		return
	}
	p.refuse("checkpoint", err)
	if errors.Is(err, ErrLog) || errors.Is(err, ErrRewound) {
		p.show(ctx)
	}
}

// proving returns the path of a call, and asks with it for a proof if one is due: with each call until one verifies.
func (p *Pusher) proving(path string) (withProof string, asked bool) {
	if p.tree.N == 0 {
		return path, true // there is nothing to prove a continuation of
	}
	since := p.now().Sub(p.proved)
	if since >= 0 && since < cmp.Or(p.o.Prove, proveEvery) {
		return path, false
	}
	return path + "?" + wire.ParamFrom + "=" + strconv.FormatInt(p.tree.N, 10), true
}

// note keeps a signed checkpoint whose proof is not asked for yet, and holds it against the one that was kept so before:
// a log that has become shorter, or another of the same size, is told of at once.
func (p *Pusher) note(ctx context.Context, msg []byte) error {
	t, err := openCheckpoint(msg, p.logKey)
	if err != nil || t == p.latest {
		return err
	}
	if p.latest.N > p.tree.N && t.N <= p.latest.N {
		err := fmt.Errorf("two checkpoints of %d leaves with different hashes: %w", t.N, ErrLog)
		if t.N < p.latest.N {
			err = p.older(ctx, t, p.latest)
		}
		if !errors.Is(err, ErrReplayed) {
			p.keepRefused(msg)
		}
		return err
	}
	p.latest, p.latestSigned = t, msg
	p.remember(t, msg)
	p.o.Journal.SetCheckpoint(journal.Checkpoint{Origin: p.logKey.Name(), Size: t.N, Hash: t.Hash})
	return nil
}

// grown reports whether a checkpoint is of the log that is followed, and larger than the one seen last. Every other one
// is looked at whenever it comes.
func (p *Pusher) grown(msg []byte) bool {
	t, err := openCheckpoint(msg, p.logKey)
	return err == nil && t.N > p.tree.N
}

// A temporaryError says nothing about what was asked for: it can be asked for again soon.
type temporaryError struct{ error }

func (p *Pusher) refuse(what string, err error) {
	// Said before it is counted: who sees the count finds the reason in the log.
	p.log.Error(what+" of the collector is not followed", "err", err)
	p.mu.Lock()
	p.stats.Refused++
	p.mu.Unlock()
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
		if errors.Is(err, errOlder) {
			if e := p.giveBack(ctx); e != nil {
				p.log.Warn("the plans that were followed here are not given back yet", "err", e)
			}
		}
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
	if err := inLog(t, header.Get(wire.HeaderProof), index, leaf); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}

// errOlder says that a plan is no newer than the one that is followed.
var errOlder = errors.New("a version only grows")

// giveBack gives the collector the plans that were followed here, as it signed them: one that was restored does not know
// them any more, and could judge nothing that was measured by them. It takes them in order only, and those that it knows
// change nothing.
func (p *Pusher) giveBack(ctx context.Context) error {
	if p.o.SignedPlans == nil {
		return nil
	}
	for _, signed := range p.o.SignedPlans() {
		status, header, data, err := p.exchange(ctx, http.MethodPost, wire.PathPlan, "text/plain; charset=utf-8", signed, wire.MaxAnswer)
		if err != nil {
			return err
		}
		switch status {
		case http.StatusOK:
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed: // it never will
			p.log.Warn("the collector does not take back a plan that was followed here", "status", status, "says", fmt.Sprintf("%.200q", data))
		case http.StatusTooManyRequests:
			return &busyError{retryAfter(header.Get("Retry-After"), p.now())}
		default: // later: the next one must not come before it
			return fmt.Errorf("push: POST %s: the collector answers %d: %.200q", wire.PathPlan, status, data)
		}
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
				return fmt.Errorf("plan: version %.20q after version %d: %w", value, version, errOlder)
			}
		}
	}
	return nil
}
