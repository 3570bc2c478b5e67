package schedule

import (
	"context"
	"fmt"
	"net/url"
	"runtime/debug"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// runOnce runs a check for one slot: the attempt, the gate after a first failure, the confirmations. The second result
// is false when our own stop cut it short, so that there is nothing to say.
func (s *Scheduler) runOnce(ctx context.Context, it *item, slot time.Time) (check.Result, bool) {
	wall, start := s.now(), time.Now()
	var r check.Result
	attempts := 0
	for {
		attempts++
		r = attempt(ctx, it)
		if ctx.Err() != nil {
			return check.Result{}, false
		}
		if r.State != check.Down {
			break
		}
		if attempts == 1 && s.noUplink(ctx, it.c) {
			kept := check.Because(check.NoUplink, "%s: %s", r.Reason, r.Detail)
			kept.Phases, kept.Facts = r.Phases, r.Facts
			r = kept
			break
		}
		if attempts > it.c.Confirm || !pause(ctx, plan.ConfirmPause) {
			break
		}
	}
	if ctx.Err() != nil {
		return check.Result{}, false
	}
	r.Check, r.Slot, r.Start, r.Attempts = it.c.ID, slot, wall.Truncate(time.Millisecond), attempts
	r.Took = time.Since(start).Round(10 * time.Microsecond)
	return r, true
}

// attempt calls the check's function once. Whatever it does, a valid result comes back.
func attempt(ctx context.Context, it *item) (r check.Result) {
	if it.err != nil {
		return check.Because(check.Misconfigured, "%v", it.err)
	}
	defer func() {
		if p := recover(); p != nil {
			r = check.Because(check.Internal, "the check panicked: %v at %s", p, lastFrame(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, it.c.Timeout)
	defer cancel()
	r = it.fn(ctx)
	if !r.Reason.Valid() || r.Reason.Missed() || r.Reason.AccountOnly() {
		return check.Because(check.Internal, "the kind %s gave the reason %q", it.c.Kind, r.Reason)
	}
	r.State = r.Reason.State()
	return r
}

// lastFrame returns the place of a panic from a stack, short enough for a detail.
func lastFrame(stack []byte) string {
	const want = 160
	if len(stack) > want {
		stack = stack[len(stack)-want:]
	}
	return fmt.Sprintf("%q", stack)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func hostOfURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Once runs every check of a plan once, at most limit at a time, and returns the results in the order of the plan: what
// `agent check` shows. Nothing is recorded, and no slot is spoken for: Slot is the start in whole seconds.
func Once(ctx context.Context, o Options, p *plan.Plan, ids func(id string) bool) []check.Result {
	s := New(o)
	s.gate.reset(p)
	var items []*item
	for _, c := range p.Checks {
		if ids == nil || ids(c.ID) {
			items = append(items, s.newItem(p, c))
		}
	}
	out := make([]check.Result, len(items))
	places := make(chan struct{}, min(p.Concurrency, 25))
	for i, it := range items {
		places <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-places }()
			r, ok := s.runOnce(ctx, it, s.now().Truncate(time.Second))
			if !ok {
				r = check.Because(check.Internal, "interrupted before it could finish")
				r.Check = it.c.ID
			}
			out[i] = r
		})
	}
	s.wg.Wait()
	return out
}
