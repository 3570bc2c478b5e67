package network

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

const (
	// packetEvery is the least time from one packet of the kind path to the next, over all checks of a program: 25 packets
	// a second, so that what a delay bunches together stays below 30.
	packetEvery = 40 * time.Millisecond
	// gapHops are how many hops may be silent one after the other before the way counts as broken.
	gapHops = 5
	// smallPacket passes everywhere; it is the size of what looks for the hops.
	smallPacket = 60
	// maxProbes are sent in one run.
	maxProbes = 250
)

// A probe is one packet: how many hops it may pass, and its size with the IP header.
type probe struct{ ttl, size int }

// What came back for a probe.
type answerKind int

const (
	fromHop    answerKind = iota + 1 // a router on the way, where the hop limit ended
	fromTarget                       // the target itself
	tooBig                           // a router that cannot pass on a packet of this size
	noWay                            // a router, or this machine, that knows no way or does not want to
)

// An answer is what came back for the probe number n.
type answer struct {
	n    int
	kind answerKind
	from netip.Addr
	mtu  int // of tooBig: the size that fits, 0 when it was not said
	at   time.Time
}

// A prober sends the probes of one protocol to one target and hands what comes back to the channel that it was opened
// with. It matches every message with the packet that it quotes, so that what strangers send does not count.
type prober interface {
	// send sends probe number n. errTooLarge says that this machine's own line takes no packet of the size.
	send(n int, p probe) error
	// cost is how many packets a probe may cost that is answered by the target.
	cost() int
	close()
}

// Errors of a prober.
var (
	errTooLarge = errors.New("the packet is larger than this machine's own line takes")
	errNoTrace  = errors.New("this system lets the agent look for the hops of no way by this protocol")
)

// A pacer spreads packets over time, for all that use it.
type pacer struct {
	turn  chan struct{} // holds one while somebody sends
	every time.Duration
	next  time.Time // of the one who has the turn
}

func newPacer(every time.Duration) *pacer {
	return &pacer{turn: make(chan struct{}, 1), every: every}
}

// do calls send when it is time for the next packet; cost is how many packets it stands for.
func (p *pacer) do(ctx context.Context, cost int, send func() error) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	if !pause(ctx, time.Until(p.next)) {
		return ctx.Err()
	}
	err := send()
	p.next = time.Now().Add(time.Duration(cost) * p.every)
	return err
}

// A tracer is one run: the probes sent and what came back for each.
type tracer struct {
	pace    *pacer
	wait    time.Duration // how long an answer may take
	prober  prober
	answers chan answer
	sent    []sentProbe
}

type sentProbe struct {
	probe
	at  time.Time
	ans answer // the zero answer while there is none
}

func newTracer(pace *pacer, wait time.Duration) *tracer {
	// There is room for whatever a run can cause, so that a prober never waits.
	return &tracer{pace: pace, wait: wait, answers: make(chan answer, 4*maxProbes)}
}

// send sends a probe when its turn comes and returns its number.
func (t *tracer) send(ctx context.Context, p probe) (int, error) {
	n := len(t.sent)
	if n >= maxProbes {
		return n, context.DeadlineExceeded
	}
	t.sent = append(t.sent, sentProbe{probe: p})
	err := t.pace.do(ctx, t.prober.cost(), func() error {
		t.sent[n].at = time.Now()
		return t.prober.send(n, p)
	})
	t.take()
	return n, err
}

// take notes what has come.
func (t *tracer) take() {
	for {
		select {
		case a := <-t.answers:
			t.note(a)
		default:
			return
		}
	}
}

// note keeps the first answer for each probe.
func (t *tracer) note(a answer) {
	if a.n < len(t.sent) && t.sent[a.n].ans.kind == 0 {
		t.sent[a.n].ans = a
	}
}

// await takes what comes until done says that it is enough, the time of the last probe is up, or ctx ends.
func (t *tracer) await(ctx context.Context, done func() bool) {
	t.take()
	if len(t.sent) == 0 {
		return
	}
	timer := time.NewTimer(time.Until(t.sent[len(t.sent)-1].at.Add(t.wait)))
	defer timer.Stop()
	for !done() {
		select {
		case a := <-t.answers:
			t.note(a)
		case <-timer.C:
			t.take()
			return
		case <-ctx.Done():
			return
		}
	}
}

// A hop is one router on the way, or the silence in its place.
type hop struct {
	from netip.Addr // the zero Addr for silence
	rtt  time.Duration
}

// A trace is what is known of a way. Hop k stands at index k-1.
type trace struct {
	hops    []hop // up to the last one that answered
	target  int   // how many hops away the target is; 0 when it did not answer
	rtt     time.Duration
	refused answer // of kind noWay: the nearest one that says there is no way
	at      int    // the hop limit of the probe that was refused
	asked   int    // the largest hop limit tried
	sent    int
	failed  error // why this machine could not send; nil for most
}

// last is the farthest hop that answered, 0 for none.
func (w trace) last() int { return len(w.hops) }

// hops looks for the way, hop by hop, and asks the silent ones a second time. It goes on past silence for [gapHops] hops.
func (t *tracer) hops(ctx context.Context, most int) trace {
	for ttl := 1; ttl <= most; ttl++ {
		if _, err := t.send(ctx, probe{ttl, smallPacket}); err != nil {
			return t.way(err)
		}
		if t.settled(ttl) {
			break
		}
		if far := t.way(nil).last(); ttl-far >= gapHops {
			t.await(ctx, func() bool { return t.settled(ttl) || ttl-t.way(nil).last() < gapHops })
			if t.settled(ttl) || ttl-t.way(nil).last() >= gapHops {
				break
			}
		}
	}
	t.await(ctx, func() bool { return t.complete(t.end()) })
	// Routers limit how often they answer, and lines lose packets.
	for ttl := range t.end() {
		if t.answered(ttl + 1) {
			continue
		}
		if _, err := t.send(ctx, probe{ttl + 1, smallPacket}); err != nil {
			break
		}
	}
	t.await(ctx, func() bool { return t.complete(t.end()) })
	return t.way(nil)
}

// settled tells whether the target or a refusal was seen for a probe of at most this hop limit.
func (t *tracer) settled(ttl int) bool {
	t.take()
	for _, s := range t.sent {
		if s.ttl <= ttl && (s.ans.kind == fromTarget || s.ans.kind == noWay) {
			return true
		}
	}
	return false
}

// end is the largest hop limit that matters: the target's, or the one that was refused, else the largest tried.
func (t *tracer) end() int {
	end, most := 0, 0
	for _, s := range t.sent {
		most = max(most, s.ttl)
		if (s.ans.kind == fromTarget || s.ans.kind == noWay) && (end == 0 || s.ttl < end) {
			end = s.ttl
		}
	}
	if end == 0 {
		return most
	}
	return end
}

func (t *tracer) answered(ttl int) bool {
	for _, s := range t.sent {
		if s.ttl == ttl && s.ans.kind != 0 {
			return true
		}
	}
	return false
}

func (t *tracer) complete(end int) bool {
	for ttl := range end {
		if !t.answered(ttl + 1) {
			return false
		}
	}
	return true
}

// way sums up what was seen so far.
func (t *tracer) way(failed error) trace {
	w := trace{sent: len(t.sent), failed: failed}
	for _, s := range t.sent {
		w.asked = max(w.asked, s.ttl)
		rtt := max(1, s.ans.at.Sub(s.at))
		switch s.ans.kind {
		case fromTarget:
			if w.target == 0 || s.ttl < w.target {
				w.target, w.rtt = s.ttl, rtt
			}
		case noWay:
			if w.at == 0 || s.ttl < w.at {
				w.refused, w.at = s.ans, s.ttl
			}
		}
	}
	for _, s := range t.sent {
		if s.ans.kind != fromHop || w.target > 0 && s.ttl >= w.target {
			continue
		}
		for len(w.hops) < s.ttl {
			w.hops = append(w.hops, hop{})
		}
		if !w.hops[s.ttl-1].from.IsValid() {
			w.hops[s.ttl-1] = hop{s.ans.from, max(1, s.ans.at.Sub(s.at))}
		}
	}
	return w
}
