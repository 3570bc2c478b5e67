package intake

import (
	"net/http"
	"testing"
	"time"

	"egovmon/agent/journal"
	"egovmon/collector/evidence"
)

// BenchmarkIntake measures results a second: archived alone, as far as the acknowledgement (TLS, signature, chain,
// quota, archive), and as far as the judged values of the fold. A request has 16 batches of 50 results.
func BenchmarkIntake(b *testing.B) {
	const batches, results = 16, 50
	request := func(b *testing.B, a *agent) []journal.Batch {
		var bs []journal.Batch
		for range batches {
			recs := make([]journal.Record, 0, results)
			for i := range results {
				recs = append(recs, result(slot(a.id.Machine, start.Add(time.Duration(int(a.seq)*results+i)*time.Minute))))
			}
			bs = append(bs, a.seal(b, recs...))
		}
		return bs
	}
	for _, way := range []string{"archive", "acknowledge", "judge"} {
		b.Run(way, func(b *testing.B) {
			c := newCentre(b, Limits{Results: 1 << 40, Bytes: 1 << 40})
			a := c.agent(b, "an-thanh")
			if code, ans := a.push(b, a.seal(b, a.opening(b)...)); code != http.StatusOK {
				b.Fatal(code, ans)
			}
			c.set(start.Add(80 * 24 * time.Hour)) // so that few slots lie in the future
			var rest [][]journal.Batch
			for range b.N {
				rest = append(rest, request(b, a))
			}
			if way != "judge" {
				c.stop()
				c.Server.feed.consumers = nil
				c.stop = func() {}
				if way == "acknowledge" {
					c.serve(b)
				}
			}
			b.ResetTimer()
			for _, bs := range rest {
				if way == "archive" {
					var es []evidence.Entry
					for _, x := range bs {
						e, err := evidence.BatchEntry(a.id.Machine, a.journal, 1, start, x.Note, x.Body)
						if err != nil {
							b.Fatal(err)
						}
						es = append(es, e)
					}
					if _, err := c.log.Append(b.Context(), es...); err != nil {
						b.Fatal(err)
					}
					continue
				}
				if code, ans := a.push(b, bs...); code != http.StatusOK {
					b.Fatal(code, ans)
				}
			}
			if way == "judge" {
				a.flush(b)
			}
			b.ReportMetric(float64(b.N*batches*results)/b.Elapsed().Seconds(), "results/s")
		})
	}
}
