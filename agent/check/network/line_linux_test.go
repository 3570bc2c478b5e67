package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
)

// twoLines is a desk with two routers: Internet, which the system uses, and the dedicated network. The anchors stand
// behind both.
func twoLines(t *testing.T) *checktest.World {
	t.Helper()
	w := checktest.NewWorld(t)
	for site, router := range map[string]bool{"pc": false, "inet": true, "tslcd": true, "web": false} {
		w.Site(site, router)
	}
	w.Join("pc", []string{"10.0.1.2/24"}, "inet", []string{"10.0.1.1/24"})
	w.Join("pc", []string{"10.0.2.2/24"}, "tslcd", []string{"10.0.2.1/24"})
	w.Join("inet", []string{"10.0.3.2/24"}, "web", []string{"10.0.3.1/24"})
	w.Join("tslcd", []string{"10.0.4.2/24"}, "web", []string{"10.0.4.1/24"})
	w.IP("pc", "route add default via 10.0.1.1 metric 100", "route add default via 10.0.2.1 metric 200",
		"route add default via 10.0.2.1 table 7", "rule add from 10.0.2.2 table 7")
	w.IP("inet", "route add 10.9.0.0/24 via 10.0.3.1")
	w.IP("tslcd", "route add 10.9.0.0/24 via 10.0.4.1")
	w.IP("web", "addr add 10.9.0.1/32 dev lo", "route add 10.0.1.0/24 via 10.0.3.2", "route add 10.0.2.0/24 via 10.0.4.2")
	for _, port := range []string{"443", "444", "445"} {
		w.Do("web", func() error {
			l, err := net.Listen("tcp", "10.9.0.1:"+port)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
	}
	return w
}

// A line is asked over itself, whichever the system would take, root or not.
func TestLineIsAskedOverItself(t *testing.T) {
	t.Parallel()
	w := twoLines(t)
	count := "table inet t {\ncounter seen { }\nchain c {\ntype filter hook prerouting priority 0\niifname pc tcp dport 443 counter name seen\n}\n}"
	for _, tc := range []struct {
		name, head, with string
		user             int
		over             string
		used, bound      float64
	}{
		{"the system's choice", "", "", 0, "inet", 1, boundNot},
		{"by the interface in use", "", "interface: inet", 0, "inet", 1, boundDevice},
		{"by the other interface", "", "interface: tslcd", 0, "tslcd", 0, boundDevice},
		{"by the other interface, without rights", "", "interface: tslcd", 65534, "tslcd", 0, boundDevice},
		{"by the address of the path", "path: tslcd, ", "", 65534, "tslcd", 0, boundSource},
	} {
		w.Nft("inet", count)
		w.Nft("tslcd", count)
		r := w.Check("pc", checktest.Run{User: tc.user, Lines: "[{path: tslcd, source: 10.0.2.2}]",
			Plan: fmt.Sprintf(`{id: a.line, kind: line, every: 60s, %swith: {anchors: ["10.9.0.1:443", "10.9.0.1:81"], %s}}`, tc.head, tc.with)})[0]
		declared(t, lineKind(), r)
		if want(t, r, check.OK); r.Reason != check.OK {
			t.Error(tc.name)
		}
		wantFact(t, r, "used_code", tc.used)
		wantFact(t, r, "bound_code", tc.bound)
		other := map[string]string{"inet": "tslcd", "tslcd": "inet"}[tc.over]
		if n, wrong := w.Counted(tc.over, "seen"), w.Counted(other, "seen"); n == 0 || wrong != 0 {
			t.Errorf("%s: %d packets over %s, %d over %s", tc.name, n, tc.over, wrong, other)
		}
	}
}

// What a line is when it does not work.
func TestLineThatDoesNotWork(t *testing.T) {
	t.Parallel()
	w := twoLines(t)
	line := func(with string) string {
		return `{id: a.line, kind: line, every: 60s, with: {` + with + `}}`
	}
	const anchors = `anchors: ["10.9.0.1:443", "10.9.0.1:444", "10.9.0.1:445"]`
	for _, tc := range []struct {
		name, rules, with string
		want              check.Reason
	}{
		{"works", "", `interface: tslcd, ` + anchors, check.OK},
		{"nothing answers", drop("drop"), `interface: tslcd, ` + anchors, check.Timeout},
		{"one anchor, which does not answer", drop("drop"), `interface: tslcd, anchors: ["10.9.0.1:443"]`, check.Timeout},
		{"the other line works", drop("drop"), `interface: inet, ` + anchors, check.OK},
		{"some answer", drop("tcp dport 443 accept\ntcp sport 443 accept\ndrop"), `interface: tslcd, ` + anchors, check.Partial},
		{"enough answer", drop("tcp dport 443 accept\ntcp sport 443 accept\ndrop"), `interface: tslcd, need: 1, ` + anchors, check.OK},
		{"there is no such interface", "", `interface: wlan7, ` + anchors, check.Misconfigured},
		{"an interface without address", "", `interface: bare0, ` + anchors, check.ConnectUnreachable},
		{"an interface without link", "", `interface: off0, ` + anchors, check.ConnectUnreachable},
	} {
		if tc.name == "an interface without address" {
			w.IP("pc", "link add bare0 type veth peer name bare1", "link set bare0 up", "link set bare1 up", "link add off0 type veth peer name off1")
		}
		w.Nft("tslcd", tc.rules)
		r := w.Check("pc", checktest.Run{Plan: line(tc.with), Limit: 1500 * time.Millisecond})[0]
		declared(t, lineKind(), r)
		if r.Reason != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.name, r.Reason, r.Detail, tc.want)
		}
	}
}

// The counters of a line, and the rule of the 95th percentile over a week of runs.
func TestLineIsFull(t *testing.T) {
	c := &lineCheck{anchors: []string{listen(t)}, need: 1, capacity: [2]float64{1e6, 1e6}, limit: 0.9, days: 7, named: net.InterfaceByName, notes: check.Env{}.Kept()}
	at, bytes, full := monday, traffic{}, uint64(0.95e6/8*300)
	c.now = func() time.Time { return at }
	c.counters = func(string) (traffic, error) { return bytes, nil }
	var r check.Result
	run := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r = c.check(ctx)
	}
	week := func(days int) {
		for range days * 288 {
			at, bytes.down = at.Add(5*time.Minute), bytes.down+full
			c.used.observe(at, bytes)
		}
	}
	c.used.observe(at, bytes)
	week(6)
	at, bytes.down = at.Add(5*time.Minute), bytes.down+full
	run()
	declared(t, lineKind(), r)
	want(t, r, check.OK)
	wantFact(t, r, "over_days_count", 6)
	wantFact(t, r, "p95_down_ratio", 0.95)
	wantFact(t, r, "down_ratio", 0.95)
	wantFact(t, r, "down_bytes", float64(full))
	wantFact(t, r, "up_bytes", 0)
	week(1)
	run()
	declared(t, lineKind(), r)
	want(t, r, check.LowResource)
	wantFact(t, r, "over_days_count", 7)
	if !strings.Contains(r.Detail, "7 days") {
		t.Errorf("detail %q", r.Detail)
	}
	// A line that is out is out, however full it was.
	c.anchors = []string{refused(t)}
	run()
	want(t, r, check.Timeout)
	// Where nothing is counted, nothing is said of the use.
	c.anchors, c.used = []string{listen(t)}, usage{}
	c.counters = func(string) (traffic, error) { return traffic{}, errors.New("none") }
	run()
	want(t, r, check.OK)
	if _, ok := r.Facts.Get("down_bytes"); ok {
		t.Error("use without counters")
	}
}

// The row of full days outlives the agent, for the line that it was counted on.
func TestLineRemembers(t *testing.T) {
	at, bytes, full := monday, traffic{}, uint64(0.95e6/8*300)
	kept := notes.New(filepath.Join(t.TempDir(), notes.Folder), time.Now, slog.New(slog.DiscardHandler)).Of("a.line", "line")
	begin := func() *lineCheck {
		return &lineCheck{days: 7, limit: 0.9, capacity: [2]float64{1e6, 1e6}, iface: "eth7", notes: kept,
			now: func() time.Time { return at }, counters: func(string) (traffic, error) { return bytes, nil }}
	}
	c := begin()
	judged := func() check.Result {
		r := check.Because(check.OK, "")
		c.measure("eth7", &r)
		return r
	}
	judged()
	for i := range 7*288 + 1 {
		if at, bytes.down = at.Add(5*time.Minute), bytes.down+full; i%288 == 150 {
			c = begin() // once a day the machine is started anew, its counters too
			bytes = traffic{}
			judged()
		}
		judged()
	}
	c = begin()
	r := judged()
	want(t, r, check.LowResource)
	wantFact(t, r, "over_days_count", 7)
	if share, _ := r.Facts.Get("p95_down_ratio"); math.Abs(share-0.95) > 1e-6 {
		t.Errorf("95th percentile of %v", share)
	}
	if n := len(kept.Note(usageNote)); n == 0 || n > 8<<10 {
		t.Errorf("%d bytes are kept", n)
	}
	c = begin()
	c.limit = 0.96 // which another plan may say of the same days
	want(t, judged(), check.OK)
	c = begin()
	c.source = netip.MustParseAddr("192.0.2.7")
	wantFact(t, judged(), "over_days_count", 0)
}

// Capacity and limits as a plan writes them, judged by the day before, and the use of loopback as the kernel counts it.
func TestLineCapacity(t *testing.T) {
	at := monday.Add(10 * time.Hour)
	kept := notes.New(filepath.Join(t.TempDir(), notes.Folder), time.Now, slog.New(slog.DiscardHandler)).Of("a.line", "line")
	before := func(day int, down, up float64) usedDay {
		return usedDay{date: monday.AddDate(0, 0, day), count: 288, p95: [2]float64{down, up}}
	}
	run := func(o check.Options) check.Result {
		t.Helper()
		kept.Keep(usageNote, keepUsage([]usedDay{before(-2, 0.95e6, 0), before(-1, 0.95e6, 0.5e6)}, ""))
		all := check.Options{"anchors": []string{listen(t)}}
		maps.Copy(all, o)
		begin := at
		f := checktest.NewFunc(t, lineKind(), all, check.Env{Now: func() time.Time { return at }, Notes: kept})
		f(t.Context())
		at = at.Add(5 * time.Minute)
		r := f(t.Context())
		at = begin
		return r
	}
	for _, tc := range []struct {
		name string
		o    check.Options
		want check.Reason
		days float64
	}{
		{"full", check.Options{"down_mbps": 1.0, "days": int64(2)}, check.LowResource, 2},
		{"not for so long", check.Options{"down_mbps": 1.0, "days": int64(3)}, check.OK, 2},
		{"a week by the law", check.Options{"down_mbps": 1.0}, check.OK, 2},
		{"within the limit of the plan", check.Options{"down_mbps": 1.0, "days": int64(1), "limit": 0.96}, check.OK, 0},
		{"a larger line", check.Options{"down_mbps": 2.0, "days": int64(1)}, check.OK, 0},
		{"upwards there is room", check.Options{"up_mbps": 1.0, "days": int64(1)}, check.OK, 0},
		{"upwards there is none", check.Options{"up_mbps": 0.5, "days": int64(1)}, check.LowResource, 1},
	} {
		r := run(tc.o)
		if r.Reason != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.name, r.Reason, r.Detail, tc.want)
		}
		wantFact(t, r, "over_days_count", tc.days)
		for option, dir := range map[string]string{"down_mbps": "down", "up_mbps": "up"} {
			bytes, _ := r.Facts.Get(dir + "_bytes")
			share, ok := r.Facts.Get(dir + "_ratio")
			if ok != tc.o.Has(option) || ok && math.Abs(share-bytes*8/300/(tc.o.Float(option)*1e6)) > 1e-9+1e-4*share /* facts are rounded */ || bytes <= 0 {
				t.Errorf("%s: %v bytes %s in five minutes are a share of %v, %v", tc.name, bytes, dir, share, ok)
			}
		}
	}
}

// What another interface has counted is no use of this one.
func TestLineThatChangesItsInterface(t *testing.T) {
	at, counted := monday, map[string]traffic{"eth0": {1000, 1000}, "wlan0": {1 << 40, 1 << 40}}
	c := &lineCheck{days: 7, limit: 0.9, notes: check.Env{}.Kept(), now: func() time.Time { return at }, counters: func(name string) (traffic, error) { return counted[name], nil }}
	for _, iface := range []string{"eth0", "eth0", "wlan0", "wlan0"} {
		r := check.Because(check.OK, "")
		c.measure(iface, &r)
		if n, _ := r.Facts.Get("down_bytes"); n != 0 {
			t.Errorf("%s: %v bytes in five minutes", iface, n)
		}
		at = at.Add(5 * time.Minute)
	}
	if c.used.samples != 2 {
		t.Errorf("%d samples, want one of each", c.used.samples)
	}
}

// An interface that was there and is not any more is a line that is out, not a mistake of the plan.
func TestLineThatIsPulledOut(t *testing.T) {
	here := true
	c := &lineCheck{anchors: []string{listen(t)}, need: 1, days: 7, iface: "lo", now: time.Now, counters: readCounters, notes: check.Env{}.Kept(), named: func(name string) (*net.Interface, error) {
		if !here {
			return nil, errors.New("gone")
		}
		return net.InterfaceByName(name)
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	want(t, c.check(ctx), check.OK)
	c.slow = time.Nanosecond
	want(t, c.check(ctx), check.Slow)
	here = false
	want(t, c.check(ctx), check.ConnectUnreachable)
	c.iface, c.source = "", netip.MustParseAddr("192.0.2.7")
	want(t, c.check(ctx), check.ConnectUnreachable)
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	c.source = netip.Addr{}
	c.anchors = []string{silent(t)}
	want(t, c.check(stop), check.Internal)
}

func TestCountersOfTheKernel(t *testing.T) {
	before, err := readCounters("lo")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := net.Dial("tcp", listen(t))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if after, err := readCounters("lo"); err != nil || after.down <= before.down || after.up <= before.up {
		t.Errorf("%v, then %v, %v", before, after, err)
	}
	for _, name := range []string{"", "..", "../../etc", "khong-co"} {
		if _, err := readCounters(name); err == nil {
			t.Errorf("%q has counters", name)
		}
	}
}
