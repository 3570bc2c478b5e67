package network

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"egovmon/agent/check"
)

const (
	maxHops = 64
	// protocolUDP and the others are values of the option protocol, besides those of the kind ping.
	protocolUDP = "udp"
)

func pathKind() check.Kind {
	pace := newPacer(packetEvery)
	return check.Kind{
		Name:    "path",
		Family:  "network",
		Summary: "Follows the way to a host hop by hop, sees where it breaks and when it changes, and finds the largest packet that passes.",
		Options: []check.Option{
			{Name: "host", Type: check.TypeHost, Required: true, Help: "Name or address at the end of the way."},
			{Name: "protocol", Type: check.TypeString, Default: modeAuto, Enum: []string{modeAuto, modeICMPOnly, protocolUDP, modeTCPOnly},
				Help: "What the probes are: auto takes ICMP, or UDP where the system does not allow that, and asks a target that stays silent by TCP."},
			{Name: "port", Type: check.TypeInt, Default: "443", Min: 1, Max: 65535, Help: "Port of the target for TCP; one that is closed answers as well."},
			{Name: "max_hops", Type: check.TypeInt, Default: "30", Min: 1, Max: maxHops, Unit: "hops", Help: "The most hops looked at."},
			{Name: "wait", Type: check.TypeDuration, Default: "1s", Min: 0.05, Max: 5, Help: "How long an answer may take."},
			{Name: "mtu", Type: check.TypeBool, Default: "true", Help: "Whether the largest packet that passes is looked for, by packets that may not be cut to pieces."},
			{Name: "mtu_max", Type: check.TypeBytes, Default: "1500", Min: minMTU4 + 1, Max: maxMTU, Unit: "bytes", Help: "The largest packet tried, with its IP header; less where this machine's own line takes less."},
			{Name: "mtu_warn", Type: check.TypeBytes, Min: minMTU4, Max: maxMTU, Unit: "bytes",
				Help: "The state is degraded when smaller packets than this are the largest that pass; without it only when larger ones vanish without a word."},
			slowOption("the round trip to the target"),
			familyOption(),
		},
		Facts: []check.FactDef{
			{Name: "protocol_code", Help: "what the probes were: 0 ICMP, 1 UDP, 2 TCP", Max: byTCPProbe},
			{Name: "hops_count", Help: "how many hops away the target is", Min: 1, Max: maxHops},
			{Name: "answered_hops_count", Help: "hops on the way that answered", Max: maxHops},
			{Name: "broken_after_count", Help: "of a broken way: the last hop that answered; 0 when none did", Max: maxHops},
			{Name: "changed_hops_count", Help: "hops that are another router than in the last run", Max: maxHops},
			{Name: "path_changes_count", Help: "runs since the start of the agent in which the way had changed", Max: 1 << 53},
			{Name: "path_code", Help: "first 48 bits of the SHA-256 of the routers on the way: another number is another way", Max: 1 << 48},
			{Name: "rtt_s", Help: "round trip to the target", Max: 3600},
			{Name: "path_mtu_bytes", Help: "the largest packet, with its IP header, that was proven to pass", Min: minMTU4, Max: maxMTU},
			{Name: "mtu_failed_bytes", Help: "the smallest packet that was seen not to pass", Min: minMTU4, Max: maxMTU},
			{Name: "black_hole_code", Help: "1 when larger packets vanish without a word, else 0", Max: 1},
			{Name: "black_hole_after_count", Help: "of a black hole: the last hop that large packets reach; 0 for none", Max: maxHops},
			{Name: "sent_count", Help: "probes sent", Max: maxProbes + 2},
			ipVersionFact(),
		},
		Phases: []string{"dns", "trace", "mtu", "total"},
		Line:   true,
		Target: func(o check.Options) []string { return []string{o.String("host")} },
		New:    func(o check.Options, env check.Env) (check.Func, error) { return newPath(o, env, pace) },
	}
}

func newPath(o check.Options, env check.Env, pace *pacer) (check.Func, error) {
	p := &path{
		line: line{family: o.String("family"), source: env.Source}, host: o.String("host"), protocol: o.String("protocol"), port: int(o.Int("port")),
		hops: int(o.Int("max_hops")), wait: o.Duration("wait"), slow: o.Duration("slow"),
		sizes: o.Bool("mtu"), most: int(o.Int("mtu_max")), warn: int(o.Int("mtu_warn")), pace: pace, open: openProber,
	}
	if err := checkFamily("host", p.host, p.line); err != nil {
		return nil, err
	}
	if env.Timeout > 0 && env.Timeout < 3*p.wait {
		return nil, fmt.Errorf("option %q: a way is asked for three times %s at least, and the timeout is %s: raise the timeout or lower wait", "wait", p.wait, env.Timeout)
	}
	if p.warn > p.most {
		return nil, fmt.Errorf("option %q: packets of %d bytes are never tried, as mtu_max is %d: raise mtu_max or lower mtu_warn", "mtu_warn", p.warn, p.most)
	}
	return p.check, nil
}

// A path is a check of kind path. It remembers the way of its last run.
type path struct {
	line        line
	host        string
	protocol    string
	port        int
	hops        int
	wait, slow  time.Duration
	sizes       bool
	most, warn  int
	pace        *pacer
	open        func(proberOptions, chan<- answer) (prober, error)
	to          netip.Addr // of the last run
	before      []netip.Addr
	changes     int
	sourcePorts [2]int // by IP version: the local port of the last run over UDP
}

// A way is what one run has found.
type way struct {
	trace
	protocol int
	tcp      bool // the target answered by TCP alone
	flooded  bool // strangers sent more messages than a run reads: what did not answer is not silent
	mtu      *mtuFound
	measured bool // the mtu was measured to the target, not to the last hop that answers
	changed  int
}

func (p *path) check(ctx context.Context) check.Result {
	begin := time.Now()
	var phases check.Phases
	addrs, bad := p.line.lookup(ctx, p.host)
	if _, err := netip.ParseAddr(p.host); err != nil {
		phases.Add("dns", time.Since(begin))
	}
	var r check.Result
	if bad != nil {
		r = *bad
	} else {
		r = p.follow(ctx, addrs[0], &phases)
		r.Facts.Add("ip_version_code", ipVersion(addrs[0]))
	}
	phases.Add("total", time.Since(begin))
	r.Phases = phases
	return r
}

// follow looks at the way to one address.
func (p *path) follow(ctx context.Context, to netip.Addr, phases *check.Phases) check.Result {
	begin := time.Now()
	t := newTracer(p.pace, p.wait)
	protocol, err := p.openFirst(t, to)
	switch {
	case errors.Is(err, errNoEcho):
		return check.Because(check.NoPermission, "%s", err)
	case errors.Is(err, errNoTrace):
		return check.Because(check.NotSupported, "%s", err)
	case err != nil:
		return failed(ctx, check.StepConnect, err)
	}
	defer t.prober.close()
	w := way{trace: t.hops(ctx, p.hops), protocol: protocol}
	if w.target == 0 && w.at == 0 && p.protocol == modeAuto && protocol != byTCPProbe && ctx.Err() == nil {
		w.tcp = p.knock(ctx, to)
	}
	phases.Add("trace", time.Since(begin))
	if p.sizes && protocol != byTCPProbe && (w.target > 0 || w.last() > 0) && ctx.Err() == nil {
		begin = time.Now()
		w.mtu, w.measured = p.measure(ctx, t, w, to), w.target > 0
		phases.Add("mtu", time.Since(begin))
	}
	if f, ok := t.prober.(interface{ flooded() bool }); ok && f.flooded() {
		w.flooded, w.mtu = true, nil
	}
	w.sent = len(t.sent)
	w.changed = p.compare(to, w.trace)
	r := judgePath(ctx, w, p.slow, p.warn)
	w.report(&r, p.changes)
	return r
}

// openFirst opens the prober of the first protocol that the system allows.
func (p *path) openFirst(t *tracer, to netip.Addr) (protocol int, err error) {
	all := map[string][]int{modeAuto: {byICMPProbe, byUDPProbe, byTCPProbe}, modeICMPOnly: {byICMPProbe}, protocolUDP: {byUDPProbe}, modeTCPOnly: {byTCPProbe}}
	for _, protocol = range all[p.protocol] {
		o := proberOptions{protocol: protocol, to: to, source: p.line.source, port: p.port, wait: int(p.wait.Milliseconds())}
		port := &p.sourcePorts[0]
		if to.Is6() {
			port = &p.sourcePorts[1]
		}
		if protocol == byUDPProbe {
			o.port = *port
		}
		if t.prober, err = p.open(o, t.answers); err == nil {
			if u, ok := t.prober.(interface{ port() int }); ok && protocol == byUDPProbe {
				*port = u.port()
			}
			return protocol, nil
		}
		if !errors.Is(err, errNoEcho) && !errors.Is(err, errNoTrace) {
			return protocol, err
		}
	}
	return protocol, err
}

// knock asks by TCP, which firewalls let through that drop everything else.
func (p *path) knock(ctx context.Context, to netip.Addr) bool {
	t := newTracer(p.pace, p.wait)
	var err error
	if t.prober, err = p.open(proberOptions{protocol: byTCPProbe, to: to, source: p.line.source, port: p.port}, t.answers); err != nil {
		return false
	}
	defer t.prober.close()
	for range 2 {
		if _, err := t.send(ctx, probe{maxHops, smallPacket}); err != nil {
			return false
		}
		t.await(ctx, func() bool { return t.way(nil).target > 0 })
		if t.way(nil).target > 0 {
			return true
		}
	}
	return false
}

// measure finds the largest packet that comes to the target, or to the last hop that answers.
func (p *path) measure(ctx context.Context, t *tracer, w way, to netip.Addr) *mtuFound {
	s := mtuSearch{low: minMTU4, high: p.most, ttl: maxHops, rounds: 3, tries: 12}
	if to.Is6() {
		s.low = minMTU6
	}
	if w.target == 0 {
		s.ttl = w.last()
	}
	if w.protocol == byUDPProbe || w.target == 0 {
		s.rounds, s.tries = 2, 2 // systems limit how often they say that a port is closed or a hop limit has ended
	}
	if from, err := localAddr(to, p.line.source); err == nil {
		if i, ok := interfaceOf(from); ok && i.MTU > 0 {
			s.high = min(s.high, i.MTU)
		}
	}
	if s.high <= s.low {
		return nil
	}
	return new(t.mtu(ctx, s))
}

// compare notes the way and returns how many hops have become another router since the last run. Silence is no router.
func (p *path) compare(to netip.Addr, w trace) int {
	now := make([]netip.Addr, 0, len(w.hops))
	for _, h := range w.hops {
		now = append(now, h.from)
	}
	changed := 0
	if p.to == to {
		changed = changedHops(p.before, now)
	}
	if changed > 0 {
		p.changes++
	}
	if p.to != to || w.target > 0 || len(now) >= len(p.before) { // what is left of a broken way is no way to compare with
		p.to, p.before = to, now
	}
	return changed
}

// changedHops counts the hops known in both that differ.
func changedHops(before, now []netip.Addr) int {
	changed := 0
	for i := range min(len(before), len(now)) {
		if before[i].IsValid() && now[i].IsValid() && before[i] != now[i] {
			changed++
		}
	}
	return changed
}

// judgePath turns what was found into a result: a broken way first, then what large packets meet, then how long it takes.
func judgePath(ctx context.Context, w way, slow time.Duration, warn int) check.Result {
	switch last := w.last(); {
	case w.target == 0 && !w.tcp && errors.Is(ctx.Err(), context.Canceled):
		return check.Because(check.Internal, "the run was cut short")
	case w.target == 0 && !w.tcp && w.flooded:
		return check.Because(check.Internal, "the run ended early, under more than %d ICMP messages that are not for it: somebody floods this machine", maxForeign)
	case w.target == 0 && !w.tcp && w.failed != nil && !isDeadline(w.failed):
		return check.Because(check.Classify(check.StepConnect, w.failed), "%s", cause(w.failed))
	case w.target == 0 && !w.tcp && w.at > 0 && last == 0:
		return check.Because(check.ConnectUnreachable, "%s says that there is no way, before any hop", w.refused.from)
	case w.target == 0 && !w.tcp && w.at > 0:
		return check.Because(check.ConnectUnreachable, "%s says that there is no way on, after hop %d (%s)", w.refused.from, last, w.hops[last-1].from)
	case w.target == 0 && !w.tcp && w.loop() > 0:
		return check.Because(check.ConnectUnreachable, "packets go round in a loop: hop %d is %s again", w.loop(), w.hops[w.loop()-1].from)
	case w.target == 0 && !w.tcp && last > 0 && last == w.asked:
		return check.Because(check.Misconfigured, "the target is more than %d hops away: raise max_hops", last)
	case w.target == 0 && !w.tcp && last == 0:
		return check.Because(check.Timeout, "not even the first hop answers; %d were asked", w.asked)
	case w.target == 0 && !w.tcp:
		return check.Because(check.Timeout, "nothing answers after hop %d (%s); %d hops were asked", last, w.hops[last-1].from, w.asked)
	}
	switch m := w.mtu; {
	case m == nil || m.passes == 0:
	case m.hole:
		return check.Because(check.PathMTU, "packets of %d bytes vanish without a word after hop %d; the largest that passes has %d", m.fails, m.after, m.passes)
	case m.passes < warn:
		return check.Because(check.PathMTU, "the largest packet that passes has %d bytes, limit %d", m.passes, warn)
	}
	if slow > 0 && w.rtt > slow {
		return check.Because(check.Slow, "answered in %s, limit %s", w.rtt.Round(time.Microsecond), slow)
	}
	switch {
	case w.changed > 0:
		return check.Because(check.OK, "the way has changed at %d hops", w.changed)
	case w.tcp:
		return check.Because(check.OK, "the target answers by TCP alone; hop %d is the last one seen", w.last())
	}
	return check.Because(check.OK, "")
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// loop returns the hop at which a router is seen again that was passed before, 0 for none. Two in a row are no loop:
// some routers answer for the next hop as well.
func (w trace) loop() int {
	for i, h := range w.hops {
		if !h.from.IsValid() {
			continue
		}
		for _, b := range w.hops[:max(0, i-1)] {
			if b.from == h.from {
				return i + 1
			}
		}
	}
	return 0
}

// report adds the facts.
func (w way) report(r *check.Result, changes int) {
	r.Facts.Add("protocol_code", float64(w.protocol))
	answered, text := 0, []byte{}
	for _, h := range w.hops {
		if h.from.IsValid() {
			answered++
		}
		b := h.from.As16()
		text = append(text, b[:]...)
	}
	r.Facts.Add("answered_hops_count", float64(answered))
	switch {
	case w.target > 0:
		r.Facts.Add("hops_count", float64(w.target))
		r.Facts.Add("rtt_s", w.rtt.Seconds())
	case !w.tcp && !w.flooded:
		r.Facts.Add("broken_after_count", float64(w.last()))
	}
	r.Facts.Add("changed_hops_count", float64(w.changed))
	r.Facts.Add("path_changes_count", float64(changes))
	if !slices.ContainsFunc(w.hops, func(h hop) bool { return !h.from.IsValid() }) && w.target > 0 {
		sum := sha256.Sum256(text)
		r.Facts.Add("path_code", float64(binary.BigEndian.Uint64(sum[:8])>>16))
	}
	if m := w.mtu; m != nil && m.passes > 0 {
		r.Facts.Add("path_mtu_bytes", float64(m.passes))
		if m.fails > 0 {
			r.Facts.Add("mtu_failed_bytes", float64(m.fails))
		}
		r.Facts.Add("black_hole_code", code(m.hole))
		if m.hole {
			r.Facts.Add("black_hole_after_count", float64(m.after))
		}
	}
	r.Facts.Add("sent_count", float64(w.sent))
}
