package daemon

import (
	"context"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/journal"
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

// Why nothing was measured before a start follows from how the journal ends, and from what the system says of that time.
func TestBefore(t *testing.T) {
	end := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	at := func(end time.Time) func(time.Time) bool { return end.Equal }
	for _, tt := range []struct {
		name     string
		clean    bool
		cause    string
		shutDown func(time.Time) bool
		want     check.Reason
	}{
		{"the agent was stopped", true, "stop", at(end.Add(time.Hour)), check.MissedStopped},
		{"the agent was told that the machine goes down", true, "shutdown", nil, check.MissedShutdown},
		{"only the system knew", true, "stop", at(end), check.MissedShutdown},
		{"the agent was killed as the machine went down", false, "", at(end), check.MissedShutdown},
		{"the agent was killed", false, "", nil, check.MissedStopped},
	} {
		r := journal.Recovered{LastTime: end, Clean: tt.clean, EndCause: tt.cause, Plan: &journal.PlanApplied{At: end.Add(-time.Hour)}}
		if got := before(r, tt.shutDown); got.Reason != tt.want || !got.Last.Equal(end) {
			t.Errorf("%s: %s since %s, want %s", tt.name, got.Reason, got.Last, tt.want)
		}
	}
	torn := journal.Recovered{LastTime: end, TornAt: end.Add(time.Minute), Ended: []string{"a.x"}}
	if got := before(torn, nil); !got.LostUntil.Equal(torn.TornAt) || len(got.Ended) != 1 {
		t.Errorf("after a journal whose end is lost: %+v", got)
	}
	if got := before(journal.Recovered{}, nil); got.Reason != "" {
		t.Errorf("a first start: %s", got.Reason)
	}
}
