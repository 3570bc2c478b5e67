package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A script answers one reading after the other, and for ever the last one.
type script struct {
	mu      sync.Mutex // guards what follows
	answers []func(at time.Time) (Inventory, error)
	at      []time.Time
}

func (s *script) Read(context.Context) (Inventory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.at = append(s.at, now)
	return s.answers[min(len(s.at), len(s.answers))-1](now)
}

func node(status, alloc string) func(time.Time) (Inventory, error) {
	return func(at time.Time) (Inventory, error) {
		return Inventory{Used: true, Read: at, Nodes: []Node{{ID: "1", Name: "pc-01", Status: status, Alloc: alloc, Eligible: true}}}, nil
	}
}

func away(p Problem) func(time.Time) (Inventory, error) {
	return func(time.Time) (Inventory, error) {
		return Inventory{}, &Error{p, "http://127.0.0.1", errors.New("away")}
	}
}

func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &script{answers: []func(time.Time) (Inventory, error){
			node("ready", "running"), node("disconnected", "unknown"), node("disconnected", "unknown"), away(Forbidden)}}
		w := NewWatcher(s, slog.New(slog.DiscardHandler))
		if v := w.Inventory(); !v.Used || v.Problem != TooEarly || !v.Read.IsZero() {
			t.Errorf("before the first answer: %+v", v)
		}
		start := time.Now()
		go func() { _ = w.Run(ctx) }()
		synctest.Wait()
		if v := w.Inventory(); v.Problem != "" || len(v.Nodes) != 1 || !v.Nodes[0].Since.IsZero() {
			t.Errorf("first answer: %+v", v)
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if v := w.Inventory(); v.Nodes[0].Status != "disconnected" || !v.Nodes[0].Since.Equal(start.Add(askEvery)) {
			t.Errorf("the outage began at the second answer, 30 s after %s: %+v", start, v)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		v := w.Inventory()
		if v.Problem != Forbidden || len(v.Nodes) != 1 || !v.Read.Equal(start.Add(time.Minute)) {
			t.Errorf("an hour after the last answer: %+v", v)
		}
		s.mu.Lock()
		at := slices.Clone(s.at)
		s.mu.Unlock()
		if n := len(at); n < 60 || n > 140 {
			t.Errorf("%d readings in an hour without an answer, want about one in 45 s", n)
		}
		last := at[len(at)-1].Sub(at[len(at)-2])
		if last < longestGap/2 || last > longestGap {
			t.Errorf("the last attempts stand %s apart, want 30 s to 1 min", last)
		}
		s.mu.Lock()
		s.answers = []func(time.Time) (Inventory, error){node("ready", "running")}
		s.mu.Unlock()
		time.Sleep(longestGap)
		synctest.Wait()
		if v := w.Inventory(); v.Problem != "" || v.Nodes[0].Status != "ready" || v.Nodes[0].Since.IsZero() {
			t.Errorf("after its return: %+v", v)
		}
	})
}
