package daemon

import (
	"context"
	"time"

	"egovmon/agent/push"
)

const (
	renewFirst = time.Minute      // after the start: many machines are on for a few hours a day only
	renewEvery = 6 * time.Hour    // looks at the certificate
	renewAgain = 10 * time.Minute // after one that failed
)

// renewals keeps the certificate fresh.
func (d *Daemon) renewals(ctx context.Context) error {
	timer := time.NewTimer(renewFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(d.renew(ctx))
	}
}

// renew renews the certificate if it is time to, and returns when to look again. The new identity is on disk before it
// is used; the one before stays good until then.
func (d *Daemon) renew(ctx context.Context) time.Duration {
	d.mu.Lock()
	id := d.id
	d.mu.Unlock()
	if !id.RenewDue(d.o.Now()) {
		return renewEvery
	}
	fresh, err := push.Renew(ctx, id, push.RenewOptions{Dial: d.o.Dial}, d.o.Now)
	if err == nil {
		err = fresh.Save(d.o.Dir)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.log.Error("the machine's certificate cannot be renewed", "until", id.TLS.Leaf.NotAfter, "err", err)
		}
		return renewAgain
	}
	d.mu.Lock()
	d.id = fresh
	d.mu.Unlock()
	d.client.CloseIdleConnections()
	d.log.Info("certificate renewed", "until", fresh.TLS.Leaf.NotAfter)
	return renewEvery
}
