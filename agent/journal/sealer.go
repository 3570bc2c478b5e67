package journal

import (
	"time"

	"egovmon/agent/check"
)

// When a batch is sealed.
const (
	maxResults = 500             // results of one batch
	maxOpen    = 768 << 10       // bytes of lines: sealed well below wire.MaxBody, even if nothing can be compressed
	pause      = 2 * time.Second // shortest time between two seals that a change of state calls for
	followed   = 2               // results after a change that are sent at once too
)

// A sealer decides when the open batch is sealed. It is told what is recorded and asked with the time.
type sealer struct {
	seal time.Duration // longest time from a batch's first record to its seal

	checks  map[string]follow
	since   time.Time // the open batch's first record; zero while it is empty
	last    time.Time // the last seal
	results int
	bytes   int
	urgent  bool
}

// A follow is what the sealer remembers of a check.
type follow struct {
	reason check.Reason
	left   int // results still to be sent at once
}

// begin forgets the checks, so that the first result of each is sent at once.
func (s *sealer) begin() { s.checks = make(map[string]follow) }

// result counts a result. It is urgent when it is the first of its check since begin, when its reason (and with it
// perhaps its state) differs from the check's last, and for the two results after that.
func (s *sealer) result(id string, reason check.Reason) {
	f, known := s.checks[id]
	switch {
	case !known:
		f = follow{reason: reason}
		s.urgent = true
	case f.reason != reason:
		f = follow{reason, followed}
		s.urgent = true
	case f.left > 0:
		f.left--
		s.urgent = true
	default:
		s.results++
		return
	}
	s.results++
	s.checks[id] = f
}

// wrote counts bytes of lines.
func (s *sealer) wrote(n int, now time.Time) {
	if s.bytes += n; s.since.IsZero() {
		s.since = now
	}
}

// due reports whether the open batch is to be sealed now.
func (s *sealer) due(now time.Time) bool {
	at, ok := s.next()
	// A clock that went back must not hold a batch open.
	return ok && (!now.Before(at) || now.Before(s.since) || s.urgent && now.Before(s.last))
}

// next returns when the open batch is due, which may be past; ok is false while it is empty.
func (s *sealer) next() (at time.Time, ok bool) {
	switch {
	case s.bytes == 0:
		return time.Time{}, false
	case s.results >= maxResults || s.bytes >= maxOpen:
		return s.since, true
	}
	at = s.since.Add(s.seal)
	if urgent := s.last.Add(pause); s.urgent && urgent.Before(at) {
		at = urgent
	}
	return at, true
}

// sealed starts the next batch.
func (s *sealer) sealed(now time.Time) {
	s.last, s.since, s.results, s.bytes, s.urgent = now, time.Time{}, 0, 0, false
}
