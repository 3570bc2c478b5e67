package index

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

var measure = flag.Bool("figures", false, "measure availability over a year and over the whole country, for some minutes, and print figures")

// town fills an index with so many days of units that watch 20 services, each at one check a minute whose state changes about
// twice a week, and returns the catalogue.
func town(t *testing.T, units, days int) (*Index, history.Catalogue) {
	t.Helper()
	const services = 20
	x, rnd := opened(t), rand.New(rand.NewPCG(1, 1))
	var hours []history.Span
	for d := range int64(days) {
		hours = append(hours, history.Span{From: at(d*86400 + 7*3600).Unix(), To: at(d*86400 + 12*3600).Unix()},
			history.Span{From: at(d*86400 + 13*3600).Unix(), To: at(d*86400 + 17*3600).Unix()})
	}
	var cat history.Catalogue
	checks := []string{"line.uplink 60"}
	for s := range services {
		svc := history.Service{ID: fmt.Sprint("s", s), Deciding: []string{fmt.Sprint("s", s, ".http")}, Hours: hours}
		checks = append(checks, svc.Deciding[0]+" 60")
		for u := range units {
			svc.Watchers = append(svc.Watchers, history.Watcher{Machine: fmt.Sprint("m", u), Unit: fmt.Sprint("u", u)})
		}
		cat.Services = append(cat.Services, svc)
	}
	reasons := []check.Reason{check.Timeout, check.Slow, check.ConnectRefused, check.NoUplink}
	for u := range units {
		events := []history.Event{begin(0, ""), told(0, fmt.Sprint("p", u), checks...), obs("line.uplink", 0, int64(days)*86400, check.OK)}
		for _, c := range ids(cat) {
			for slot, end := int64(0), int64(days)*86400; slot < end; {
				good, bad := 60*(1+rnd.Int64N(2*7*1440)), 60*(1+rnd.Int64N(60))
				events = append(events, obs(c, slot, min(good, end-slot), check.OK))
				if slot += good; slot < end {
					events = append(events, obs(c, slot, min(bad, end-slot), reasons[rnd.IntN(len(reasons))]))
					slot += bad
				}
			}
		}
		if err := x.Add(t.Context(), history.Batch{Leaf: int64(u), Machine: fmt.Sprint("m", u), Unit: fmt.Sprint("u", u), Journal: "j", Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	return x, cat
}

// best is the shortest of five queries.
func best(t *testing.T, x *Index, cat history.Catalogue, q history.Query, rows int) time.Duration {
	t.Helper()
	least := time.Duration(0)
	for range 5 {
		begin := time.Now()
		got, err := x.Availability(t.Context(), cat, q)
		if took := time.Since(begin); least == 0 || took < least {
			least = took
		}
		if err != nil || len(got) != rows {
			t.Fatalf("%d rows, want %d; %v", len(got), rows, err)
		}
	}
	return least
}

// resident is the most memory that this process had, as the kernel says it; "" where it does not.
func resident() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// TestFigures measures. It judges nothing: figures of a busy machine are no reason to fail.
func TestFigures(t *testing.T) {
	if !*measure {
		t.Skip("measured with -figures")
	}
	x, cat := town(t, 24, 365)
	year := history.Query{From: at(0), To: at(365 * 86400)}
	t.Logf("a year, 24 units x 20 checks at 1 min (252 M slots), all rows, both calendars: %s", best(t, x, cat, year, 20*25))
	cut := history.Query{From: at(12345), To: at(364*86400 - 7)}
	t.Logf("between two instants: %s", best(t, x, cat, cut, 20*25))
	one := year
	one.Service = "s3"
	t.Logf("one system of it: %s", best(t, x, cat, one, 25))
	one = year
	one.Unit = "u3"
	t.Logf("one unit of it: %s", best(t, x, cat, one, 20))
	t.Logf("most memory so far: %s", resident())
	x, cat = town(t, 3321, 92)
	t.Logf("a quarter, 3,321 communes x 20 checks: %s", best(t, x, cat, history.Query{From: at(0), To: at(92 * 86400)}, 20*3322))
	t.Logf("most memory, with its making: %s", resident())
}
