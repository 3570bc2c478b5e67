package daemon

import (
	"context"
	"testing"
)

// A machine that is switched off says so, at the end of its journal and to the collector.
func TestShutdown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.c.SetPlan(machine, 1, r.plan(1, ""))
	d, err := Open(r.options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	r.until("a result at the collector", func() bool { return len(r.c.Results()) > 0 })
	below, stop := context.WithCancel(ctx) // as the program has it
	defer stop()
	cancel(ErrShutdown)
	if err := <-done; err != nil {
		t.Errorf("the agent ends with %v", err)
	}
	recs := r.c.Records()
	if last := recs[len(recs)-1]; last.End == nil || last.End.Cause != "shutdown" {
		t.Errorf("the journal ends with %+v, want the cause shutdown", last)
	}
	if got := endCause(below); got != "shutdown" {
		t.Errorf("the cause is %q below, want shutdown", got)
	}
}
