package push

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/wire"
)

const (
	// CosignedFile is the last checkpoint that was cosigned here, with the log's signature and our own. It is on disk
	// before the cosignature leaves the machine, so that no restart lets this machine sign two histories.
	CosignedFile = "cosigned"
	cosignAgain  = 10 * time.Minute // until one that could not be cosigned is tried again
)

// cosign does what the collector asks of a machine that is named for it: it signs that a checkpoint is the largest that
// was signed here so far, and that it goes with every one that was seen. What contradicts them is refused and kept, like
// any other checkpoint. Only the end of ctx is an error.
func (p *Pusher) cosign(ctx context.Context, msg string) error {
	if msg == "" || p.o.CosignKey == "" || msg == p.askedSign && p.now().Before(p.signAgain) {
		return nil
	}
	err := p.cosignOne(ctx, []byte(msg))
	if ctx.Err() != nil {
		return err
	}
	if err == nil {
		p.askedSign = ""
		return nil
	}
	p.askedSign, p.signAgain = msg, p.now().Add(cosignAgain)
	if errors.Is(err, ErrLog) || errors.Is(err, ErrRewound) {
		p.keepRefused([]byte(msg))
		p.contradicts(ctx, err)
		return nil
	}
	p.log.Warn("a checkpoint is not cosigned; it is tried again", "err", err)
	return nil
}

func (p *Pusher) cosignOne(ctx context.Context, msg []byte) error {
	t, err := openCheckpoint(msg, p.logKey)
	if err != nil {
		return err
	}
	if t.N < p.cosigned.N {
		return fmt.Errorf("cosign: the checkpoint of %d leaves is older than the one of %d that was cosigned before", t.N, p.cosigned.N)
	}
	for _, seen := range []tlog.Tree{p.cosigned, p.tree, p.latest} {
		if err := p.agrees(ctx, t, seen); err != nil {
			return err
		}
	}
	text := wire.FormatCheckpoint(p.logKey.Name(), t)
	c, err := wire.Cosign(text, p.o.CosignKey, p.now())
	if err != nil {
		return err
	}
	if err := p.keep(CosignedFile, append(append([]byte(nil), msg...), c.Line...)); err != nil {
		return fmt.Errorf("the checkpoint of %d leaves that is cosigned cannot be kept: %w", t.N, err)
	}
	p.cosigned = t
	p.mu.Lock()
	p.stats.Cosigned = t.N
	p.mu.Unlock()
	status, _, data, err := p.exchange(ctx, http.MethodPost, wire.PathCosign, "text/plain; charset=utf-8", wire.Cosigned(text, c), wire.MaxAnswer)
	if err != nil {
		return err
	}
	p.count(class(status), status == http.StatusOK)
	if status != http.StatusOK {
		return fmt.Errorf("POST %s: the collector answers %d: %w", wire.PathCosign, status, refusal(status, data))
	}
	return nil
}

// agrees reports why a tree and one that was seen cannot be of one history. Either may be the larger one.
func (p *Pusher) agrees(ctx context.Context, t, seen tlog.Tree) error {
	old, now := seen, t
	if now.N < old.N {
		old, now = now, old
	}
	switch {
	case old.N == 0 || old == now:
		return nil
	case old.N == now.N:
		return fmt.Errorf("two checkpoints of %d leaves with different hashes: %w", t.N, ErrLog)
	}
	re, err := p.proof(ctx, old.N, now.N)
	if err != nil {
		return err
	}
	if re.status != http.StatusOK || re.proof == "" {
		return fmt.Errorf("cosign: the collector does not prove that its %d leaves begin with those %d", now.N, old.N)
	}
	if err := checkTree(re.proof, now, old); err != nil {
		return fmt.Errorf("checkpoints of %d and %d leaves: %w: %w", old.N, now.N, err, ErrLog)
	}
	return nil
}

// loadCosigned reads what an earlier run cosigned. One of a log that has ended since says nothing about the present one.
func (p *Pusher) loadCosigned() error {
	path := filepath.Join(p.o.Dir, CosignedFile)
	msg, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if originOf(msg) != p.logKey.Name() && wire.DistrictOf(originOf(msg)) != "" {
		return nil
	}
	t, err := openCheckpoint(msg, p.logKey)
	if err != nil {
		return fmt.Errorf("%s: %w; if the district has a new log on purpose, remove the file", path, err)
	}
	p.cosigned, p.stats.Cosigned = t, t.N
	return nil
}
