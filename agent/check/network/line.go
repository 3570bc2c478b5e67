package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"egovmon/agent/check"
)

// How a probe is tied to its line: the values of the fact bound_code.
const (
	boundNot    = iota // the system's routes choose
	boundSource        // by the local address
	boundDevice        // by the interface
)

func lineKind() check.Kind {
	return check.Kind{
		Name:    "line",
		Family:  "network",
		Summary: "Asks well-known hosts over one of the machine's lines, tied to it by address or interface; tells which line is in use, and how full this one is.",
		Options: []check.Option{
			{Name: "anchors", Type: check.TypeAddrs, Required: true, Min: 1, Max: maxAnchors, Help: "Hosts and ports that are up whenever the line is; addresses rather than names."},
			{Name: "need", Type: check.TypeInt, Min: 1, Max: maxAnchors, Unit: "anchors", Help: "How many must answer for the line to be up; without it half of them, rounded up."},
			{Name: "interface", Type: check.TypeString, Help: "The interface of the line; without it the one that holds the address of the check's path, else the one that the system would take."},
			{Name: "down_mbps", Type: check.TypeFloat, Min: 0.001, Max: 1e6, Unit: "Mbit/s", Help: "Capacity of the line towards this machine; without it the use is not judged."},
			{Name: "up_mbps", Type: check.TypeFloat, Min: 0.001, Max: 1e6, Unit: "Mbit/s", Help: "Capacity of the line from this machine on."},
			{Name: "limit", Type: check.TypeFloat, Default: "0.9", Min: 0.01, Max: 1, Unit: "ratio", Help: "The share of the capacity that the 95th percentile of a day's 5-minute samples may have (TT 06/2026)."},
			{Name: "days", Type: check.TypeInt, Default: "7", Min: 1, Max: keepDays - 1, Unit: "days", Help: "After so many days in a row above the limit the state is degraded (TT 06/2026)."},
			slowOption("the fastest anchor"),
		},
		Facts: []check.FactDef{
			{Name: "answered_count", Help: "anchors that answered", Max: maxAnchors},
			{Name: "asked_count", Help: "anchors that were asked", Min: 1, Max: maxAnchors},
			{Name: "rtt_min_s", Help: "connection time of the fastest anchor", Max: 3600},
			{Name: "used_code", Help: "1 when the system by itself sends to the first anchor over this line, 0 when over another one", Max: 1},
			{Name: "bound_code", Help: "how the connections were tied to the line: 0 not at all, 1 by address, 2 by interface", Max: boundDevice},
			{Name: "down_ratio", Help: "share of the capacity used in the last five minutes, towards this machine", Max: 1000},
			{Name: "up_ratio", Help: "share of the capacity used in the last five minutes, from this machine on", Max: 1000},
			{Name: "down_bytes", Help: "bytes of the last five minutes, towards this machine", Max: 1 << 53},
			{Name: "up_bytes", Help: "bytes of the last five minutes, from this machine on", Max: 1 << 53},
			{Name: "p95_down_ratio", Help: "95th percentile of yesterday's 5-minute samples as a share of the capacity, towards this machine", Max: 1000},
			{Name: "p95_up_ratio", Help: "the same, from this machine on", Max: 1000},
			{Name: "over_days_count", Help: "days in a row up to yesterday with a 95th percentile above the limit, as far as this agent has seen them", Max: keepDays},
		},
		Phases: []string{"connect", "total"},
		Line:   true,
		Target: func(o check.Options) []string {
			var hosts []string
			for _, a := range o.Strings("anchors") {
				if host, _, err := splitAddress("anchors", a); err == nil {
					hosts = append(hosts, host)
				}
			}
			return hosts
		},
		New: newLine,
	}
}

// A lineCheck is a check of kind line. It remembers the use of the line.
type lineCheck struct {
	anchors  []string
	need     int
	iface    string
	source   netip.Addr
	capacity [2]float64 // bits a second, 0 for not known
	limit    float64
	days     int
	slow     time.Duration

	now      func() time.Time
	counters func(iface string) (traffic, error)
	named    func(name string) (*net.Interface, error)
	seen     bool // the interface was there in an earlier run
	used     usage
	counted  string // the interface whose counters were read last
	notes    check.Notes
	recalled bool // what was kept before this start has been read
}

func newLine(o check.Options, env check.Env) (check.Func, error) {
	c := &lineCheck{
		anchors: o.Strings("anchors"), need: int(o.Int("need")), iface: o.String("interface"), source: env.Source,
		capacity: [2]float64{o.Float("down_mbps") * 1e6, o.Float("up_mbps") * 1e6}, limit: o.Float("limit"), days: int(o.Int("days")),
		slow: o.Duration("slow"), now: env.Now, notes: env.Kept(), counters: readCounters, named: net.InterfaceByName,
	}
	for _, a := range c.anchors {
		if _, _, err := splitAddress("anchors", a); err != nil {
			return nil, err
		}
	}
	if c.need == 0 {
		c.need = (len(c.anchors) + 1) / 2
	}
	if c.need > len(c.anchors) {
		return nil, fmt.Errorf("option %q: %d of %d anchors can never answer: write at most %d", "need", c.need, len(c.anchors), len(c.anchors))
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c.check, nil
}

// A tie says which line a run goes over.
type tie struct {
	iface  string     // "" when it is not known
	device bool       // connections are tied to the interface where the system allows that
	source netip.Addr // the zero Addr for none
	used   bool       // the system by itself would take this line
	known  bool       // whether it would
}

func (c *lineCheck) check(ctx context.Context) check.Result {
	begin := time.Now()
	t, bad := c.tie(ctx)
	r := bad
	if bad == nil {
		r = new(c.ask(ctx, t))
		if t.known {
			r.Facts.Add("used_code", code(t.used))
		}
	}
	c.measure(t.iface, r)
	r.Phases.Add("total", time.Since(begin))
	return *r
}

// tie finds the line, or the result that says why there is none.
func (c *lineCheck) tie(ctx context.Context) (tie, *check.Result) {
	t := tie{iface: c.iface, device: c.iface != "", source: c.source}
	if c.iface != "" {
		i, err := c.named(c.iface)
		switch {
		case err != nil && c.seen:
			return t, new(check.Because(check.ConnectUnreachable, "the interface %s is gone", c.iface))
		case err != nil:
			return t, new(check.Because(check.Misconfigured, "there is no interface %s on this machine: see their names with `ip link` or ipconfig", c.iface))
		}
		c.seen = true
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			return t, new(check.Because(check.ConnectUnreachable, "the interface %s has no link: cable or radio", c.iface))
		}
		if !t.source.IsValid() {
			if t.source = sourceOn(i, c.anchors[0]); !t.source.IsValid() {
				return t, new(check.Because(check.ConnectUnreachable, "the interface %s has no address for %s", c.iface, c.anchors[0]))
			}
		}
	}
	if t.iface == "" && t.source.IsValid() {
		i, ok := interfaceOf(t.source)
		if !ok {
			return t, new(check.Because(check.ConnectUnreachable, "no interface of this machine has the address %s", t.source))
		}
		t.iface = i.Name
	}
	chosen := c.chosen(ctx)
	if i, ok := interfaceOf(chosen); ok && chosen.IsValid() {
		t.known = true
		if t.iface == "" {
			t.iface = i.Name
		}
		t.used = i.Name == t.iface
	}
	return t, nil
}

// chosen returns the local address that the system by itself takes for the first anchor; the zero Addr when it knows no
// way or the anchor is a name.
func (c *lineCheck) chosen(ctx context.Context) netip.Addr {
	host, _, err := splitAddress("anchors", c.anchors[0])
	if err != nil {
		return netip.Addr{}
	}
	addrs, bad := line{family: anyFamily}.lookup(ctx, host)
	if bad != nil {
		return netip.Addr{}
	}
	a, err := localAddr(addrs[0], netip.Addr{})
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// sourceOn returns an address of an interface from which an anchor can be asked.
func sourceOn(i *net.Interface, anchor string) netip.Addr {
	host, _, err := splitAddress("anchors", anchor)
	to, parseErr := netip.ParseAddr(host)
	addrs, addrErr := i.Addrs()
	if err != nil || addrErr != nil {
		return netip.Addr{}
	}
	for _, x := range addrs {
		p, err := netip.ParsePrefix(x.String())
		if err != nil {
			continue
		}
		a := p.Addr().Unmap()
		if a.IsLinkLocalUnicast() || parseErr == nil && a.Is4() != to.Unmap().Is4() {
			continue
		}
		return a
	}
	return netip.Addr{}
}

// ask connects to the anchors over the line.
func (c *lineCheck) ask(ctx context.Context, t tie) check.Result {
	l := line{family: anyFamily, source: t.source}
	bound := boundNot
	if t.source.IsValid() {
		bound = boundSource
	}
	var tied atomic.Bool
	if t.device {
		l.control = bindTo(t.iface, func() { tied.Store(true) })
	}
	a := askAnchors(ctx, l, c.anchors, c.need)
	if tied.Load() {
		bound = boundDevice
	}
	r := judgeLine(ctx, a, len(c.anchors), c.need, c.slow)
	r.Facts.Add("answered_count", float64(a.answered))
	r.Facts.Add("asked_count", float64(len(c.anchors)))
	r.Facts.Add("bound_code", float64(bound))
	if a.answered > 0 {
		r.Facts.Add("rtt_min_s", a.fastest.Seconds())
		r.Phases.Add("connect", a.fastest)
	}
	return r
}

// which names the line as the plan does: the use of another one is another's.
func (c *lineCheck) which() string {
	if c.source.IsValid() {
		return c.iface + " " + c.source.String()
	}
	return c.iface
}

// judgeLine says whether the line works: by as many anchors as are needed, as for the kind uplink.
func judgeLine(ctx context.Context, a anchorAnswers, asked, need int, slow time.Duration) check.Result {
	if a.answered == 0 && asked == 1 && !errors.Is(ctx.Err(), context.Canceled) {
		return check.Because(check.Timeout, "the anchor does not answer; %s", a.failure)
	}
	return judgeUplink(ctx, a, asked, need, slow)
}

// measure reads the counters and judges the use, where the capacity is known. A line that works as it should and is full
// by the rule is degraded.
func (c *lineCheck) measure(iface string, r *check.Result) {
	if iface == "" {
		return
	}
	now, err := c.counters(iface)
	if err != nil {
		return // the counters are beside the point where a system has none
	}
	at := c.now()
	if !c.recalled {
		c.recalled = true
		c.used.days = append(recallUsage(c.notes.Note(usageNote), c.which(), at), c.used.days...)
	}
	if c.counted != "" && iface != c.counted { // the system has gone over to another line, of whose counters nothing is known
		c.used.at = time.Time{}
	}
	c.counted = iface
	samples := c.used.samples
	if c.used.observe(at, now); c.used.samples != samples {
		c.notes.Keep(usageNote, keepUsage(c.used.days, c.which()))
	}
	if c.used.whole {
		s := sampleEvery.Seconds()
		for i, dir := range [2]string{"down", "up"} {
			r.Facts.Add(dir+"_bytes", c.used.sample[i]/8*s)
			if c.capacity[i] > 0 {
				r.Facts.Add(dir+"_ratio", c.used.sample[i]/c.capacity[i])
			}
		}
	}
	l := loaded(c.used.days, at, c.capacity, c.limit)
	for i, name := range [2]string{"p95_down_ratio", "p95_up_ratio"} {
		if l.p95[i] >= 0 {
			r.Facts.Add(name, l.p95[i])
		}
	}
	if c.capacity != [2]float64{} {
		r.Facts.Add("over_days_count", float64(l.days))
	}
	if l.days >= c.days && r.Reason == check.OK {
		full := check.Because(check.LowResource, "the line is full: %s above %.0f %% of the capacity for %d days in a row (95th percentile of 5-minute samples)",
			[2]string{"downloads", "uploads"}[l.worst], 100*c.limit, l.days)
		full.Facts, full.Phases = r.Facts, r.Phases
		*r = full
	}
}
