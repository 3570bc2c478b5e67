package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"egovmon/agent/host"
	"egovmon/agent/push"
	"egovmon/agent/wire"
)

// clockFresh is how long a measurement of our clock proves it.
const clockFresh = 24 * time.Hour

// AskTime asks the collector for the time. Its chain is checked by key only, since our own clock may be the one that is
// wrong. dial opens the connection; see [Config.Dial].
func AskTime(ctx context.Context, id *host.Identity, dial push.Dial) (time.Time, error) {
	t := &http.Transport{TLSClientConfig: id.TLSConfigByKey(), DisableKeepAlives: true, DialContext: dial}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, id.Collector+wire.PathTime, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	var a wire.Answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, wire.MaxAnswer)).Decode(&a); err != nil {
		return time.Time{}, fmt.Errorf("%s: %s: %w", id.Collector, resp.Status, err)
	}
	return time.Parse(time.RFC3339, a.Time)
}

func (d *Daemon) collectorTime(ctx context.Context) (time.Time, error) {
	d.mu.Lock()
	id := d.id
	d.mu.Unlock()
	return AskTime(ctx, id, d.o.Dial)
}

// clockProven reports whether the collector has lately agreed with our clock, or has never been asked: a clock that was
// never measured is shown as unproven and makes no result unknown.
func (d *Daemon) clockProven() bool {
	s := d.pusher.Stats()
	return s.Measured.IsZero() || d.o.Now().Sub(s.Measured) > clockFresh || s.Offset.Abs() < time.Minute
}
