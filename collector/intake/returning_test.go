package intake

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/wire"
)

var (
	returning = flag.Int("returning", 10, "how many machines come back at once in TestReturningFleet; 10000 is the national case")
	spread    = flag.Duration("spread", 0, "over which their first tries lie: agents back off up to 5m")
)

// TestReturningFleet lets a fleet come back after an hour away: each machine has an hour of twenty checks a minute to
// send. Who finds no place is told to come later and does. It takes
//
//	go test ./collector/intake -run TestReturningFleet -returning 10000 -spread 5m -timeout 30m -v
//
// to see the national case; the machines' own work (making and signing the batches, TLS) is done by the same processors.
func TestReturningFleet(t *testing.T) {
	c := newBusyCentre(t, Limits{Requests: 4, Enrolments: 1 << 20})
	c.close()
	var events, rejected atomic.Int64
	c.opts.Consumers = []Consumer{{Name: "count", Accept: func(_ context.Context, a Accepted) error {
		events.Add(int64(len(a.Events)))
		rejected.Add(int64(len(a.Rejected)))
		return nil
	}}}
	c.open(t)
	first := c.busy(t, "xa-0", true)
	first.takes(t, first.offered(t))
	fleet := make([]*busy, *returning)
	for i := range fleet {
		fleet[i] = c.busy(t, fmt.Sprintf("xa-%d", i+1), false)
		fleet[i].dict = first.dict
	}
	from := c.now()
	c.set(from.Add(time.Hour))
	var baseline runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&baseline)
	var refused, peak atomic.Int64
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), int64(m.HeapInuse)))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	start := time.Now()
	work := make(chan struct{}, runtime.NumCPU()) // each machine has a processor of its own; here they share a few
	var wg sync.WaitGroup
	for _, m := range fleet {
		wg.Go(func() {
			if *spread > 0 {
				time.Sleep(time.Duration(rand.Int64N(int64(*spread))))
			}
			if err := m.returns(t, from, work, &refused); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	drained := time.Since(start)
	close(stop)
	watching.Wait()
	first.flush(t)
	judged := time.Since(start)
	results := len(fleet) * 60 * 20
	t.Logf("%d machines, %d results: all acknowledged after %s, judged after %s; %.0f results/s; %d asked to come later; heap %d MiB above %d MiB",
		len(fleet), results, drained.Round(time.Second), judged.Round(time.Second), float64(results)/drained.Seconds(), refused.Load(),
		(peak.Load()-int64(baseline.HeapInuse))>>20, baseline.HeapInuse>>20)
	if n, opening := int(events.Load()), 2*(len(fleet)+1); n < results+opening || rejected.Load() > 0 {
		t.Errorf("%d events, want %d results and %d that begin; %d reasons to reject", n, results, opening, rejected.Load())
	}
}

// returns sends an hour in one request, and comes again when it is told to.
func (b *busy) returns(t *testing.T, from time.Time, work chan struct{}, refused *atomic.Int64) error {
	defer b.client.CloseIdleConnections()
	work <- struct{}{}
	body := frames(b.opens(t))
	for i := range 60 {
		x := b.measured(t, from.Add(time.Duration(i)*time.Minute), time.Minute)
		body = wire.AppendBatch(body, x.Note, x.Body)
	}
	<-work
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+wire.PathBatches, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", wire.TypeBatches)
		res, err := b.client.Do(req)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK:
			return nil
		case res.StatusCode != http.StatusTooManyRequests:
			return fmt.Errorf("%s: %s", res.Status, data)
		}
		refused.Add(1)
		after, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || after < 1 || after > 11 {
			return fmt.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
		}
		unit := time.Millisecond // the collector's clock stands
		if *spread > 0 {
			unit = time.Second
		}
		time.Sleep(time.Duration(after) * unit)
	}
}
