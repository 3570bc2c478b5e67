package network

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"net/netip"
	"syscall"
	"time"

	"egovmon/agent/check"
)

// How echoes were measured: the values of the fact icmp_mode_code.
const (
	modeDatagram = 0 // ICMP datagram socket, without privileges
	modeRaw      = 1 // ICMP raw socket
	modeTCP      = 2 // TCP connections instead of echoes
	modeWindows  = 3 // IcmpSendEcho of Windows
)

// errNoEcho says that the system lets this program send no echo requests at all.
var errNoEcho = errors.New("this system lets the agent send no ICMP: give it CAP_NET_RAW or widen net.ipv4.ping_group_range")

// An echoRun is a series of echo requests to one address.
type echoRun struct {
	to       netip.Addr
	source   netip.Addr    // the zero Addr leaves it to the system
	count    int           // requests
	interval time.Duration // from request to request
	size     int           // bytes after the ICMP header, at least minEcho
	linger   time.Duration // longest wait after the last request; 0 waits until the context ends
}

// echoes are what came back.
type echoes struct {
	mode    int
	sent    int
	rtts    []time.Duration // of the answered requests, in the order they were sent
	refused error           // the last message that the target cannot be reached; nil for none
	denial  time.Duration   // from a request to the target's own message that it refuses it; 0 for none
	hops    int             // hop limit left in the last reply; 0 when not seen
	flooded bool            // it ended early, under more messages of strangers than one run reads: what is missing is not lost
}

// lost is the share of requests without a reply; 1 when none was sent.
func (e echoes) lost() float64 {
	if e.sent == 0 {
		return 1
	}
	return float64(e.sent-len(e.rtts)) / float64(e.sent)
}

// spread returns the least, mean and largest round trip and the mean difference between neighbours.
func (e echoes) spread() (least, mean, most, jitter time.Duration) {
	if len(e.rtts) == 0 {
		return
	}
	least = math.MaxInt64
	var sum, diff time.Duration
	for i, r := range e.rtts {
		least, most, sum = min(least, r), max(most, r), sum+r
		if i > 0 {
			diff += (r - e.rtts[i-1]).Abs()
		}
	}
	if n := len(e.rtts); n > 1 {
		jitter = diff / time.Duration(n-1)
	}
	return least, sum / time.Duration(len(e.rtts)), most, jitter
}

// judge turns the echoes into a result with its facts.
func (e echoes) judge(ctx context.Context, lossWarn float64, slow time.Duration) check.Result {
	_, mean, _, _ := e.spread()
	var r check.Result
	switch {
	case len(e.rtts) == 0 && errors.Is(ctx.Err(), context.Canceled):
		r = check.Because(check.Internal, "the run was cut short")
	case e.flooded && len(e.rtts) == 0:
		r = check.Because(check.Internal, "the run ended early, under more than %d ICMP messages that are not for it: somebody floods this machine", maxForeign)
	case len(e.rtts) == 0 && e.refused != nil:
		r = check.Because(check.Classify(check.StepConnect, e.refused), "%s", cause(e.refused))
	case len(e.rtts) == 0:
		r = check.Because(check.Timeout, "none of %d requests was answered", e.sent)
	case e.lost() > lossWarn && !e.flooded:
		r = check.Because(check.PacketLoss, "%d of %d requests were lost", e.sent-len(e.rtts), e.sent)
	case slow > 0 && mean > slow:
		r = check.Because(check.Slow, "answered in %s on average, limit %s", mean.Round(time.Microsecond), slow)
	default:
		r = check.Because(check.OK, "")
	}
	e.report(&r)
	return r
}

// report adds the facts.
func (e echoes) report(r *check.Result) {
	r.Facts.Add("icmp_mode_code", float64(e.mode))
	r.Facts.Add("sent_count", float64(e.sent))
	r.Facts.Add("received_count", float64(len(e.rtts)))
	if e.sent > 0 && !e.flooded {
		r.Facts.Add("loss_ratio", e.lost())
	}
	if len(e.rtts) > 0 {
		least, mean, most, jitter := e.spread()
		r.Facts.Add("rtt_min_s", least.Seconds())
		r.Facts.Add("rtt_avg_s", mean.Seconds())
		r.Facts.Add("rtt_max_s", most.Seconds())
		if len(e.rtts) > 1 {
			r.Facts.Add("jitter_s", jitter.Seconds())
		}
	}
	if e.hops > 0 {
		r.Facts.Add("reply_hop_limit_count", float64(e.hops))
	}
}

// echoFacts declares what report adds.
func echoFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "icmp_mode_code", Help: "how it was measured: 0 ICMP datagram socket, 1 ICMP raw socket, 2 TCP connection instead of an echo, 3 IcmpSendEcho of Windows", Min: 0, Max: 3},
		{Name: "sent_count", Help: "requests sent", Min: 0, Max: maxEchoes},
		{Name: "received_count", Help: "requests answered", Min: 0, Max: maxEchoes},
		{Name: "loss_ratio", Help: "share of requests without an answer", Min: 0, Max: 1},
		{Name: "rtt_min_s", Help: "shortest round trip", Min: 0, Max: 3600},
		{Name: "rtt_avg_s", Help: "mean round trip", Min: 0, Max: 3600},
		{Name: "rtt_max_s", Help: "longest round trip", Min: 0, Max: 3600},
		{Name: "jitter_s", Help: "mean difference between one round trip and the next", Min: 0, Max: 3600},
		{Name: "reply_hop_limit_count", Help: "hop limit (TTL) left in the last reply", Min: 1, Max: 255},
		ipVersionFact(),
	}
}

// connects measures with TCP connections what echoes would: whoever accepts or refuses a connection has answered.
func (run echoRun) connects(ctx context.Context, port uint16) echoes {
	l, e := line{source: run.source}, echoes{mode: modeTCP}
	for i := range run.count {
		if i > 0 && !pause(ctx, run.interval) {
			break
		}
		sub, cancel := share(ctx, run.count-i)
		took, err := l.connect(sub, netip.AddrPortFrom(run.to, port))
		cancel()
		e.sent++
		switch {
		case err == nil, errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
			e.rtts = append(e.rtts, took)
		case check.Classify(check.StepConnect, err) != check.ConnectTimeout:
			e.refused = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return e
}

// pause waits and reports whether the context is still alive afterwards.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Bounds of echo requests.
const (
	// maxForeign messages that were not asked for end a run: with them a stranger can make a run say nothing, never something
	// false, nor take this machine's time. It is less than a tenth of a second of one processor.
	maxForeign = 10_000
	// maxTrusted such messages are nobody's chance. When there are more, somebody guesses, and what quotes too little of our
	// packet to prove that it was seen counts no longer.
	maxTrusted = 256
	minEcho    = 8 // bytes of the token that marks a run's own packets
	maxEchoes  = 100
)

// newPayload makes the bytes that a run sends: a random token, then a pattern.
func newPayload(size int) []byte {
	p := make([]byte, max(size, minEcho))
	for i := range p {
		p[i] = byte(i)
	}
	rand.Read(p[:minEcho])
	return p
}
