package journal

import (
	"context"
	"time"
)

// Run seals batches that become due while nothing is recorded, until ctx ends. It sleeps in between.
func (j *Journal) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.wake:
		case <-timer.C:
		}
		if wait := j.sealDue(); wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// sealDue seals the open batch if it is due, and returns the time until the next look; 0 for none.
func (j *Journal) sealDue() time.Duration {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.armed = time.Time{}
	if j.closed {
		return 0
	}
	now := j.o.Now()
	if j.seal.due(now) {
		if err := j.sealNow(now); err != nil {
			j.complain("batch cannot be sealed", err)
			j.armed = now.Add(pause)
			return pause
		}
		j.publish()
	}
	at, ok := j.seal.next()
	if !ok {
		return 0
	}
	j.armed = at
	return max(at.Sub(now), time.Millisecond)
}
