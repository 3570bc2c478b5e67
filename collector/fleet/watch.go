package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Paces of a watcher.
const (
	askEvery   = 30 * time.Second
	longestGap = time.Minute // between two attempts while Nomad is away; less than StaleAfter, so that one answer is enough
	firstGap   = time.Second
)

// A source is where an inventory comes from.
type source interface {
	// Read returns what Nomad says now, or an [*Error].
	Read(ctx context.Context) (Inventory, error)
}

// A Watcher asks Nomad again and again and keeps the last good answer.
type Watcher struct {
	source source
	log    *slog.Logger

	mu  sync.Mutex // guards what follows
	inv Inventory
}

// NewWatcher makes a watcher. It knows nothing until Run has asked.
func NewWatcher(s source, log *slog.Logger) *Watcher {
	return &Watcher{source: s, log: log, inv: Inventory{Used: true, Problem: TooEarly}}
}

// Inventory returns the last good answer, with the problem that there has been since.
func (w *Watcher) Inventory() Inventory {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inv
}

// Run asks every 30 s until ctx ends; while Nomad is away after 1 s, then ever later up to 1 min, at random times.
func (w *Watcher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	gap := firstGap
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if w.ask(ctx) {
			gap = firstGap
			timer.Reset(askEvery)
			continue
		}
		timer.Reset(gap/2 + rand.N(gap/2))
		gap = min(2*gap, longestGap)
	}
}

func (w *Watcher) ask(ctx context.Context) bool {
	v, err := w.source.Read(ctx)
	if err != nil && ctx.Err() != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		p := Unreadable
		if e, ok := errors.AsType[*Error](err); ok {
			p = e.Problem
		}
		if p != w.inv.Problem {
			w.log.Warn("nomad cannot be asked; agents go on without it", "problem", p, "err", err)
		}
		w.inv.Problem = p
		return false
	}
	if w.inv.Problem != "" {
		w.log.Info("nomad answers", "nodes", len(v.Nodes))
	}
	v.follows(w.inv)
	w.inv = v
	return true
}
