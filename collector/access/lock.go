package access

import (
	"container/list"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of guessing.
const (
	lockAfter   = 5                // wrong tries of one user …
	lockWithin  = 15 * time.Minute // … within this time …
	LockLife    = 15 * time.Minute // … end its tries for this time
	sourceTries = 10               // tries of one address at once, …
	sourceEvery = 6 * time.Second  // … and how fast they come back
	maxSources  = 4096
	maxHashing  = 2 // passwords that are checked at the same time: each takes 19 MiB
)

// locks count wrong tries: of users, so that nobody guesses one's password from many addresses, and of addresses.
type locks struct {
	mu      sync.Mutex
	users   map[string]*tries // of known users alone
	sources map[string]*list.Element
	recent  list.List // *source, the latest first
}

type tries struct {
	wrong  []time.Time
	locked time.Time
}

type source struct {
	addr  string
	limit *rate.Limiter
}

// admit reports whether an address may try again. The port of addr is left out, and of IPv6 all but the network.
func (l *locks) admit(addr string, now time.Time) bool {
	key := network(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources == nil {
		l.sources = map[string]*list.Element{}
	}
	e := l.sources[key]
	if e == nil {
		if len(l.sources) >= maxSources {
			last := l.recent.Back()
			delete(l.sources, last.Value.(*source).addr)
			l.recent.Remove(last)
		}
		e = l.recent.PushFront(&source{key, rate.NewLimiter(rate.Every(sourceEvery), sourceTries)})
		l.sources[key] = e
	}
	l.recent.MoveToFront(e)
	return e.Value.(*source).limit.AllowN(now, 1)
}

func network(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

// until returns until when a user is locked, the zero time for no lock.
func (l *locks) until(user string, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.users[user]; t != nil && now.Before(t.locked) {
		return t.locked
	}
	return time.Time{}
}

// wrong counts a wrong try of a known user, and reports whether it locked the user.
func (l *locks) wrong(user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[string]*tries{}
	}
	t := l.users[user]
	if t == nil {
		t = &tries{}
		l.users[user] = t
	}
	kept := t.wrong[:0]
	for _, at := range t.wrong {
		if now.Sub(at) < lockWithin && !at.After(now) {
			kept = append(kept, at)
		}
	}
	if t.wrong = append(kept, now); len(t.wrong) < lockAfter {
		return false
	}
	t.wrong, t.locked = nil, now.Add(LockLife)
	return true
}

// forget clears what was counted of a user.
func (l *locks) forget(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.users, user)
}
