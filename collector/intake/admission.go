package intake

import (
	"sync"
	"time"

	"egovmon/agent/wire"
)

// What is assumed of the collector before it was crowded once, and how long a machine is told to wait at most.
const (
	firstRate = 100 // requests a second
	longQueue = 5 * time.Minute
)

// A gate lets in so many requests with batches at a time, of so many bytes together: their bodies are in memory until
// they are durable. Whoever finds no room is told when to come again. So that a fleet which comes back at once does not
// come over and over, each of them is told a later time than the one before, by as much as a request takes of late.
type gate struct {
	requests, bytes int // the most that may be under way

	mu          sync.Mutex
	under, size int     // under way
	rate        float64 // requests done in a second, when it was crowded last
	served      int     // requests done since
	since       time.Time
	crowded     bool      // somebody was turned away since
	tail        time.Time // when the last of those who wait was told to come
}

func newGate(l Limits) *gate { return &gate{requests: l.Requests, bytes: l.Room, rate: firstRate} }

// enter lets a request in that says to have so many bytes; the caller leaves with the same number. If there is no room,
// after says how long to wait.
func (g *gate) enter(bytes int64, now time.Time) (after time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := weight(bytes)
	if g.under < g.requests && (g.under == 0 || g.size+n <= g.bytes) {
		g.under, g.size = g.under+1, g.size+n
		return 0, true
	}
	g.crowded = true
	if g.tail.Before(now) {
		g.tail = now
	}
	g.tail = g.tail.Add(time.Duration(float64(time.Second) / g.rate))
	if end := now.Add(longQueue); g.tail.After(end) {
		g.tail = end
	}
	return g.tail.Sub(now), false
}

// leave makes room.
func (g *gate) leave(bytes int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under, g.size, g.served = g.under-1, g.size-weight(bytes), g.served+1
	took := now.Sub(g.since)
	if took < time.Second {
		return
	}
	if g.crowded && took < 10*time.Second {
		g.rate = max(1, (g.rate+float64(g.served)/took.Seconds())/2)
	}
	g.since, g.served, g.crowded = now, 0, false
}

// weight is what a request counts as: no more of it is read than may be sent.
func weight(bytes int64) int { return int(min(bytes, wire.MaxRequest)) }
