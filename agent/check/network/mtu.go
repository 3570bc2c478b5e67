package network

import (
	"context"
	"errors"
)

// The sizes of packets, IP header and all, between which a path's largest one is looked for.
const (
	minMTU4 = 576  // every host takes this much (RFC 791, section 3.1)
	minMTU6 = 1280 // every line passes this much (RFC 8200, section 5)
	maxMTU  = 9000
)

// An mtuFound is what is known of the largest packet that passes.
type mtuFound struct {
	passes int  // the largest size that was proven to pass; 0 when nothing could be said
	fails  int  // the smallest size that was seen not to pass; 0 when the largest tried passed
	told   bool // a router, or this machine's own line, said that a packet is too large
	hole   bool // large packets vanish without a word: a black hole
	after  int  // of a black hole: the last hop that large packets reach
}

// An mtuSearch is how the largest packet is looked for.
type mtuSearch struct {
	low, high     int // bytes
	ttl           int // hop limit of what must be answered
	rounds, tries int // of a black hole: how often, and how many sizes at once, the gap is narrowed
}

// mtu finds the largest packet that is answered. What routers say is a hint for the next size to try and no more, so
// that a forged message can make the search longer, never its result another: only a size that was answered passes.
func (t *tracer) mtu(ctx context.Context, s mtuSearch) mtuFound {
	if a := t.ask(ctx, s.low, s.ttl); !a.echoed {
		return mtuFound{}
	}
	f := mtuFound{passes: s.low}
	size := s.high
	for range 8 { // no honest way has more routers each with a smaller line than the one before
		a := t.ask(ctx, size, s.ttl)
		if a.echoed {
			f.passes = size
			return f
		}
		if ctx.Err() != nil {
			return f
		}
		f.fails, f.told = size, a.told
		if !a.told || a.fits <= s.low || a.fits >= size {
			break
		}
		size = a.fits
	}
	f = t.sweep(ctx, s, f)
	if f.hole = !f.told && ctx.Err() == nil; f.hole {
		f.after = t.reach(ctx, s.high)
	}
	return f
}

// sweep narrows the gap between what passes and what does not by many sizes at once: answers take their time, and
// silence takes the longest.
func (t *tracer) sweep(ctx context.Context, s mtuSearch, f mtuFound) mtuFound {
	for range s.rounds {
		gap := f.fails - f.passes
		if gap <= 1 || ctx.Err() != nil {
			break
		}
		first, tries := len(t.sent), min(s.tries, gap-1)
		for i := range tries {
			if _, err := t.send(ctx, probe{s.ttl, f.passes + gap*(i+1)/(tries+1)}); err != nil && !errors.Is(err, errTooLarge) {
				return f
			}
		}
		t.await(ctx, func() bool { return t.sent[len(t.sent)-1].reached(s.ttl) })
		for _, p := range t.sent[first:] {
			if p.reached(s.ttl) {
				f.passes = max(f.passes, p.size)
			}
			f.told = f.told || p.ans.kind == tooBig
		}
		for _, p := range t.sent[first:] {
			if p.size > f.passes {
				f.fails = min(f.fails, p.size)
			}
		}
	}
	return f
}

// reached tells whether a probe came to where it was to go: the target, or the hop at this limit.
func (p sentProbe) reached(ttl int) bool {
	return p.ans.kind == fromTarget || p.ttl == ttl && p.ans.kind == fromHop
}

// A sizeAnswer is what came back for packets of one size.
type sizeAnswer struct {
	echoed bool
	told   bool // it is too large
	fits   int  // of told: the size that fits, 0 when that was not said
}

// ask sends a packet of a size, and again when nothing comes back.
func (t *tracer) ask(ctx context.Context, size, ttl int) sizeAnswer {
	for range 2 {
		n, err := t.send(ctx, probe{ttl, size})
		if errors.Is(err, errTooLarge) {
			return sizeAnswer{told: true}
		}
		if err != nil {
			return sizeAnswer{}
		}
		t.await(ctx, func() bool { return t.sent[n].ans.kind != 0 })
		switch p := t.sent[n]; {
		case p.reached(ttl):
			return sizeAnswer{echoed: true}
		case p.ans.kind == tooBig:
			return sizeAnswer{told: true, fits: p.ans.mtu}
		}
	}
	return sizeAnswer{}
}

// reach sends large packets to every hop that has answered a small one and returns the farthest that answers again.
func (t *tracer) reach(ctx context.Context, size int) int {
	first := len(t.sent)
	for i, h := range t.way(nil).hops {
		if !h.from.IsValid() {
			continue
		}
		if _, err := t.send(ctx, probe{i + 1, size}); err != nil {
			break
		}
	}
	if first == len(t.sent) {
		return 0
	}
	t.await(ctx, func() bool { return false })
	far := 0
	for _, p := range t.sent[first:] {
		if p.ans.kind == fromHop {
			far = max(far, p.ttl)
		}
	}
	return far
}
