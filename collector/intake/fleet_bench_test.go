package intake

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"egovmon/agent/journal"
)

// BenchmarkFleet measures results a second of a fleet: machines that send at the same time, over TLS on kept connections,
// what twenty checks a minute brought, as real batches with a dictionary. "acknowledged" is verified and durable, "judged"
// is also read and judged by the fold. A request has as many batches as an agent sends after it was away (60) or one.
// The machines' end of TLS is done by the same processors.
//
//	go test ./collector/intake -run - -bench Fleet -benchtime 3s
func BenchmarkFleet(b *testing.B) {
	for _, way := range []string{"acknowledged", "judged"} {
		for _, shape := range []struct{ machines, batches int }{{8, 1}, {128, 1}, {8, 60}} {
			machines, batches := shape.machines, shape.batches
			b.Run(fmt.Sprintf("%s/%d-machines/%d-batches", way, machines, batches), func(b *testing.B) {
				c := newBusyCentre(b, Limits{Results: 1 << 40, Bytes: 1 << 40, Enrolments: 1 << 20})
				var ms []*busy
				for i := range machines {
					m := c.busy(b, fmt.Sprintf("xa-%d", i), true)
					if i == 0 {
						m.takes(b, m.offered(b))
					}
					m.dict = ms0(ms, m).dict
					ms = append(ms, m)
				}
				from := c.now()
				c.set(from.Add(80 * 24 * time.Hour))
				if way == "acknowledged" {
					c.stop()
					c.Server.feed.consumers, c.stop = nil, func() {}
					c.serve(b)
				}
				requests := make([][][]journal.Batch, machines)
				for i, m := range ms {
					at := from
					for range b.N {
						var bs []journal.Batch
						for range batches {
							bs = append(bs, m.measured(b, at, time.Minute))
							at = at.Add(time.Minute)
						}
						requests[i] = append(requests[i], bs)
					}
				}
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, m := range ms {
					wg.Go(func() {
						for _, bs := range requests[i] {
							if code, ans := m.push(b, bs...); code != http.StatusOK {
								b.Error(code, ans.Error)
								return
							}
						}
					})
				}
				wg.Wait()
				if way == "judged" {
					ms[0].flush(b)
				}
				b.ReportMetric(float64(b.N*machines*batches*20)/b.Elapsed().Seconds(), "results/s")
			})
		}
	}
}

// ms0 is the first of the machines, or m.
func ms0(ms []*busy, m *busy) *busy {
	if len(ms) > 0 {
		return ms[0]
	}
	return m
}
