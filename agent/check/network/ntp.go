package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/beevik/ntp"

	"egovmon/agent/check"
)

const (
	maxTimeServers = 16
	// maxOffset bounds what is recorded of a clock that is wrong: the 136 years of an era of NTP, twice.
	maxOffset = 272 * 366 * 86400
)

func ntpKind() check.Kind {
	count := func(name, help string) check.FactDef {
		return check.FactDef{Name: name, Help: help, Max: maxTimeServers}
	}
	return check.Kind{
		Name:    "ntp",
		Family:  "network",
		Summary: "Asks several servers for the time (NTP); says which of them can be used, whether they agree, and how far this machine's clock is off.",
		Options: []check.Option{
			{Name: "servers", Type: check.TypeAddrs, Required: true, Min: 1, Max: maxTimeServers,
				Help: "Servers of time, as a rule on port 123. It takes three to find the one that is wrong."},
			{Name: "need", Type: check.TypeInt, Min: 1, Max: maxTimeServers, Unit: "servers",
				Help: "How many must give the same time, synchronised; with fewer the state is degraded. Without it all of them."},
			{Name: "max_offset", Type: check.TypeDuration, Default: "5s", Min: 0.001, Max: 86400,
				Help: "The state is degraded when this machine's clock differs more from what the servers agree on."},
			{Name: "max_root_distance", Type: check.TypeDuration, Default: "1s", Min: 0.001, Max: 16,
				Help: "A server whose time may be wrong by more, by its own account and the way to it, is not used (RFC 5905, MAXDIST)."},
			{Name: "max_stratum", Type: check.TypeInt, Default: "15", Min: 1, Max: 15, Unit: "hops",
				Help: "A server further than this from a reference clock is not used."},
			familyOption(),
		},
		Facts: []check.FactDef{
			count("asked_count", "servers in the plan"),
			count("answered_count", "servers that answered our request"),
			count("synchronised_count", "of them synchronised, near enough to a reference clock, and of our days"),
			count("agreeing_count", "of them in the majority that agrees on the time"),
			count("falsetickers_count", "of them outside that majority"),
			count("resting_count", "servers that have refused us or asked for fewer requests, and are left alone for a while"),
			{Name: "offset_s", Help: "how far this machine's clock is ahead of what the majority agrees on", Min: -maxOffset, Max: maxOffset},
			{Name: "stratum_code", Help: "hops from a reference clock, of the best server of the majority", Min: 1, Max: 15},
			{Name: "leap_code", Help: "its leap indicator: 0 none, 1 the day's last minute has 61 seconds, 2 it has 59", Min: 0, Max: 2},
			{Name: "root_distance_s", Help: "the most that its time may be wrong", Min: 0, Max: 3600},
			{Name: "rtt_min_s", Help: "shortest way to a server of the majority and back", Min: 0, Max: 3600},
		},
		Phases: []string{"total"},
		Target: func(o check.Options) []string {
			var hosts []string
			for _, a := range o.Strings("servers") {
				if host, _, err := splitAddress("servers", a); err == nil {
					hosts = append(hosts, host)
				}
			}
			return hosts
		},
		New: newNTP,
	}
}

func newNTP(o check.Options, env check.Env) (check.Func, error) {
	servers := o.Strings("servers")
	if len(servers) == 0 || len(servers) > maxTimeServers {
		return nil, fmt.Errorf("option %q: %d servers: name 1 to %d, three or more to find the one that is wrong", "servers", len(servers), maxTimeServers)
	}
	l := line{family: o.String("family"), source: env.Source}
	for i, s := range servers {
		host, _, err := splitAddress("servers", s)
		if err != nil {
			return nil, err
		}
		if err := checkFamily("servers", host, l); err != nil {
			return nil, err
		}
		if slices.Contains(servers[:i], s) {
			return nil, fmt.Errorf("option %q: %s stands twice: name different servers", "servers", s)
		}
	}
	need := int(o.Int("need"))
	if need == 0 {
		need = len(servers)
	}
	if need > len(servers) {
		return nil, fmt.Errorf("option %q: %d of %d servers can never agree: write at most %d", "need", need, len(servers), len(servers))
	}
	t := &timekeeper{line: l, servers: servers, rests: make([]rest, len(servers)), now: time.Now, limits: timeLimits{
		need: need, offset: o.Duration("max_offset"), distance: o.Duration("max_root_distance"), stratum: int(o.Int("max_stratum"))}}
	return t.check, nil
}

// A timekeeper is a check of kind ntp.
type timekeeper struct {
	line    line
	servers []string
	limits  timeLimits
	rests   []rest           // by server; only its own goroutine of a run touches one
	now     func() time.Time // of rests: it need not be right
	clock   func() time.Time // the clock that is compared; nil is this machine's, as exact as the system has it
}

// A rest is how long a server is not asked because it said so. The zero value is none.
type rest struct {
	until time.Time
	last  time.Duration // doubled when it says so again
	why   string
}

// How long a server is left alone: RFC 5905, section 7.4, asks clients to come more slowly after RATE and not at all
// after DENY and RSTR; an agent runs for months, so that it looks again the day after.
const (
	firstRest = 15 * time.Minute
	dayOfRest = 24 * time.Hour
)

func (t *timekeeper) check(ctx context.Context) check.Result {
	begin := time.Now()
	samples := make([]timeSample, len(t.servers))
	var asked sync.WaitGroup
	for i := range t.servers {
		asked.Go(func() { samples[i] = t.ask(ctx, i) })
	}
	asked.Wait()
	r := judgeTime(samples, t.limits)
	if r.State != check.Up && errors.Is(ctx.Err(), context.Canceled) {
		r = check.Because(check.Internal, "the run was cut short")
	}
	r.Phases.Add("total", time.Since(begin))
	return r
}

// ask gets the time of one server, unless it is to be left alone.
func (t *timekeeper) ask(ctx context.Context, i int) timeSample {
	name, pause := t.servers[i], &t.rests[i]
	if now := t.now(); now.Before(pause.until) {
		return timeSample{server: name, resting: true, fault: new(check.Because(check.Blocked,
			"%s says %s: it is not asked again for %s", name, pause.why, pause.until.Sub(now).Round(time.Second)))}
	}
	s := t.query(ctx, name)
	switch s.kiss {
	case "RATE":
		pause.last = min(max(firstRest, 2*pause.last), dayOfRest)
	case "DENY", "RSTR":
		pause.last = dayOfRest
	default:
		if s.fault == nil {
			*pause = rest{}
		}
		return s
	}
	pause.until, pause.why = t.now().Add(pause.last), s.kiss
	s.resting = true
	s.fault = new(check.Because(check.Blocked, "%s says %s: it is not asked again for %s", name, s.kiss, pause.last))
	return s
}

// query asks one server, a second time if nothing came in the first half of the time that is left.
func (t *timekeeper) query(ctx context.Context, name string) timeSample {
	bad := func(r check.Result) timeSample {
		r.Detail = check.CleanDetail(name + ": " + r.Detail)
		return timeSample{server: name, fault: &r}
	}
	host, port, err := splitAddress("servers", name)
	if err != nil {
		return bad(check.Because(check.Misconfigured, "%s", err))
	}
	addrs, missing := t.line.lookup(ctx, host)
	if missing != nil {
		return bad(*missing)
	}
	var answer *ntp.Response
	for tries := 2; tries > 0; tries-- {
		sub, cancel := share(ctx, tries)
		answer, err = t.exchange(sub, netip.AddrPortFrom(addrs[0], port))
		cancel()
		if err == nil || ctx.Err() != nil || check.Classify(check.StepExchange, err) != check.Timeout {
			break
		}
	}
	if err != nil {
		return bad(failed(ctx, check.StepExchange, err))
	}
	return sampleOf(name, answer, t.limits)
}

// exchange sends one request and waits for its answer until ctx ends.
func (t *timekeeper) exchange(ctx context.Context, to netip.AddrPort) (*ntp.Response, error) {
	var from *net.UDPAddr
	if t.line.source.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(t.line.source, 0))
	}
	c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	own := &ownAnswers{UDPConn: c}
	timeout := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(end), time.Millisecond)
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	answer, err := ntp.QueryWithOptions(to.String(), ntp.QueryOptions{
		Timeout: timeout, GetSystemTime: t.clock, Dialer: func(string, string) (net.Conn, error) { return own, nil }})
	if err == nil || own.strange == 0 || check.Classify(check.StepExchange, err) != check.Timeout {
		return answer, err
	}
	return nil, fmt.Errorf("%d answers came, none to our request", own.strange)
}

// ownAnswers hands on only what answers the request that was sent through it, by the origin timestamp (RFC 5905, section
// 8, TEST2): anybody can send a packet that seems to come from the server, but only who saw the request can know it.
type ownAnswers struct {
	*net.UDPConn
	origin  [8]byte
	strange int
}

const (
	ntpBytes   = 48 // of a message without extensions
	ntpOrigin  = 24 // where the server repeats what the client sent as
	ntpOwnTime = 40 // transmit timestamp
	maxStrange = 64 // more than that is a flood
)

// Write notes what the answer will have to repeat.
func (c *ownAnswers) Write(b []byte) (int, error) {
	if len(b) >= ntpBytes {
		copy(c.origin[:], b[ntpOwnTime:])
	}
	return c.UDPConn.Write(b)
}

// Read skips what is no answer to the request.
func (c *ownAnswers) Read(b []byte) (int, error) {
	for {
		n, err := c.UDPConn.Read(b)
		if err != nil || n >= ntpBytes && [8]byte(b[ntpOrigin:]) == c.origin {
			return n, err
		}
		if c.strange++; c.strange == maxStrange {
			return 0, fmt.Errorf("a flood of answers, none to our request")
		}
	}
}

// A timeSample is what came of asking one server.
type timeSample struct {
	server   string
	fault    *check.Result // why its time cannot be used; nil when it can
	answered bool          // it answered our request, with whatever
	resting  bool          // it is, or now will be, left alone
	kiss     string        // what it says in place of the time, RFC 5905 section 7.4; "" when it gives the time

	ahead    time.Duration // this machine's clock against the server's
	rtt      time.Duration
	distance time.Duration // the most that ahead may be wrong
	stratum  int
	leap     int
}

// earliestUnix is a time that a right clock cannot show any more: 1 January 2023.
const earliestUnix = 1672531200

// kissOf returns the word of a server that gives no time, "" when it says none.
func kissOf(a *ntp.Response) string {
	if a.Stratum != 0 || len(a.KissCode) != 4 || strings.Trim(a.KissCode, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return ""
	}
	return a.KissCode
}

// sampleOf reads the answer of a server and says whether its time can be used.
func sampleOf(server string, a *ntp.Response, l timeLimits) timeSample {
	s := timeSample{server: server, answered: true, ahead: -a.ClockOffset, rtt: a.RTT, distance: a.RootDistance, stratum: int(a.Stratum), leap: int(a.Leap)}
	unfit := func(format string, args ...any) timeSample {
		s.fault = new(check.Because(check.Protocol, "%s "+format, append([]any{server}, args...)...))
		return s
	}
	if s.kiss = kissOf(a); s.kiss != "" {
		return unfit("gives no time, but says %s", s.kiss)
	}
	switch err := a.Validate(); {
	case a.Stratum == 0:
		return unfit("is not synchronised (leap indicator %d, stratum 0)", s.leap)
	case errors.Is(err, ntp.ErrInvalidLeapSecond), errors.Is(err, ntp.ErrInvalidStratum):
		return unfit("is not synchronised (leap indicator %d, stratum %d)", s.leap, s.stratum)
	case errors.Is(err, ntp.ErrServerClockFreshness):
		return unfit("has lost its own source, last heard %s", a.ReferenceTime.Format(time.DateOnly))
	case errors.Is(err, ntp.ErrInvalidDispersion):
		return unfit("may be wrong by %s by its own account", (a.RootDelay/2 + a.RootDispersion).Round(time.Millisecond))
	case err != nil:
		return unfit("gives an answer that contradicts itself: %v", err)
	case a.Time.Unix() < earliestUnix:
		return unfit("shows the year %d", a.Time.Year())
	case s.stratum > l.stratum:
		return unfit("has stratum %d, at most %d is used", s.stratum, l.stratum)
	case s.distance > l.distance:
		return unfit("may be wrong by %s, at most %s is used", s.distance.Round(time.Millisecond), l.distance)
	}
	return s
}
