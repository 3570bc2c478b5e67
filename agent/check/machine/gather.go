package machine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// A source reads one part of the system. What it returns is applied to the snapshot, so that a read that ends too late
// touches nothing.
type source struct {
	name string
	read func(ctx context.Context) (apply func(*snapshot), err error)
	busy atomic.Bool // a read is under way, perhaps from a run before
}

// grace is how long before the end of the run slow sources are given up, so that the others still count.
const grace = 100 * time.Millisecond

// gather reads all sources side by side. One that fails or does not answer in time (a dead network disk, a hung WMI)
// is named in failed, and not asked again until it has returned.
func gather(ctx context.Context, from []*source) *snapshot {
	if end, ok := ctx.Deadline(); ok {
		if left := time.Until(end); left > 2*grace {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, end.Add(-grace))
			defer cancel()
		}
	}
	type answer struct {
		source int
		apply  func(*snapshot)
		err    error
	}
	answers := make(chan answer, len(from)) // never blocks a late one
	waiting := map[int]bool{}
	s := &snapshot{}
	for i, src := range from {
		if !src.busy.CompareAndSwap(false, true) {
			s.failed = append(s.failed, src.name+": still reading since an earlier run")
			continue
		}
		waiting[i] = true
		go func() {
			apply, err := src.try(ctx)
			src.busy.Store(false)
			answers <- answer{i, apply, err}
		}()
	}
	for len(waiting) > 0 {
		select {
		case a := <-answers:
			delete(waiting, a.source)
			if a.err != nil {
				s.failed = append(s.failed, from[a.source].name+": "+a.err.Error())
			}
			if a.apply != nil {
				a.apply(s)
			}
		case <-ctx.Done():
			for i, src := range from {
				if waiting[i] {
					s.failed = append(s.failed, src.name+": no answer in time")
				}
			}
			return s
		}
	}
	return s
}

// try turns a panic of a library into an error: a machine's odd hardware must not end the agent.
func (s *source) try(ctx context.Context) (apply func(*snapshot), err error) {
	defer func() {
		if p := recover(); p != nil {
			apply, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return s.read(ctx)
}
