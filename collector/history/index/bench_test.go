package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// steady returns what n machines with 20 checks each say in one minute: one batch a machine, as sealed.
func steady(n int, minute int64, r check.Reason) []history.Batch {
	out := make([]history.Batch, n)
	for i := range out {
		events := make([]history.Event, 20)
		for k := range events {
			events[k] = obs(fmt.Sprint("service", k, ".http"), 60*minute, 60, r)
		}
		out[i] = batch(fmt.Sprint("machine-", i), "j", events...)
		out[i].Leaf = minute*int64(n) + int64(i)
	}
	return out
}

// BenchmarkAdd adds 10,000 observations of 500 machines, a batch a transaction (as they arrive) or 100 (as a rebuild
// does), in which nothing changes or everything.
func BenchmarkAdd(b *testing.B) {
	for _, bundle := range []int{1, 100} {
		for _, changing := range []bool{false, true} {
			b.Run(fmt.Sprintf("batches=%d/changing=%v", bundle, changing), func(b *testing.B) {
				x := opened(b)
				minute := int64(0)
				for b.Loop() {
					r := check.OK
					if changing && minute%2 == 0 {
						r = check.Timeout
					}
					all := steady(500, minute, r)
					for i := 0; i < len(all); i += bundle {
						if err := x.Add(context.Background(), all[i:i+bundle]...); err != nil {
							b.Fatal(err)
						}
					}
					minute++
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/10_000, "µs/observation")
			})
		}
	}
}

// quarter fills an index with 92 days of 24 units that watch 30 services, each check with about 550 runs, and returns the
// catalogue.
func quarter(b *testing.B) (*Index, history.Catalogue) {
	b.Helper()
	x := opened(b)
	rnd := rand.New(rand.NewPCG(1, 1))
	const days, units, services = 92, 24, 30
	var cat history.Catalogue
	var hours []history.Span
	for d := range int64(days) {
		hours = append(hours, history.Span{From: at(d*86400 + 7*3600).Unix(), To: at(d*86400 + 12*3600).Unix()},
			history.Span{From: at(d*86400 + 13*3600).Unix(), To: at(d*86400 + 17*3600).Unix()})
	}
	checks := []string{"line.uplink 300"}
	for s := range services {
		svc := history.Service{ID: fmt.Sprint("s", s), Deciding: []string{fmt.Sprint("s", s, ".http")}, Hours: hours}
		checks = append(checks, svc.Deciding[0]+" 300")
		for u := range units {
			svc.Watchers = append(svc.Watchers, history.Watcher{Machine: fmt.Sprint("m", u), Unit: fmt.Sprint("u", u)})
		}
		cat.Services = append(cat.Services, svc)
	}
	reasons := []check.Reason{check.OK, check.OK, check.OK, check.OK, check.Slow, check.Timeout, check.NoUplink}
	for u := range units {
		events := []history.Event{begin(0, ""), told(0, fmt.Sprint("p", u), checks...)}
		for _, c := range append([]string{"line.uplink"}, ids(cat)...) {
			for slot := int64(0); slot < days*86400; {
				n := 300 * (1 + rnd.Int64N(95))
				events = append(events, obs(c, slot, n, reasons[rnd.IntN(len(reasons))]))
				slot += n
			}
		}
		if err := x.Add(context.Background(), history.Batch{Leaf: int64(u), Machine: fmt.Sprint("m", u), Unit: fmt.Sprint("u", u), Journal: "j", Events: events}); err != nil {
			b.Fatal(err)
		}
	}
	return x, cat
}

func ids(cat history.Catalogue) (out []string) {
	for _, s := range cat.Services {
		out = append(out, s.Deciding...)
	}
	return out
}

// BenchmarkQuarter asks for a quarter's availability of 30 services as a whole and for each of 24 units.
func BenchmarkQuarter(b *testing.B) {
	x, cat := quarter(b)
	for b.Loop() {
		rows, err := x.Availability(context.Background(), cat, history.Query{From: at(0), To: at(92 * 86400)})
		if err != nil || len(rows) != 30*25 {
			b.Fatal(len(rows), err)
		}
	}
}

// BenchmarkNow asks how 30 services stand at 24 units, as the board does again and again.
func BenchmarkNow(b *testing.B) {
	x, cat := quarter(b)
	for _, back := range []time.Duration{24 * time.Hour, 31 * 24 * time.Hour} {
		b.Run(fmt.Sprint("back=", back), func(b *testing.B) {
			for b.Loop() {
				got, err := x.Now(context.Background(), cat, Moment{At: at(80*86400 + 999), Back: back, Hold: 2 * time.Minute})
				if err != nil || len(got) != 30*25 {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}
