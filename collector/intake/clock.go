package intake

import (
	"time"

	"egovmon/agent/journal"
)

const (
	clockFresh = 24 * time.Hour // an older measurement of a clock proves nothing
	clockAgree = time.Minute    // a clock that is off by no more counts as right
)

// clockOffset is how far the machine was ahead when it sealed, 0 when nobody has measured it of late.
func clockOffset(h journal.Header) time.Duration {
	if h.Clock == nil || h.Sealed.Sub(h.Clock.Measured).Abs() > clockFresh {
		return 0
	}
	return h.Clock.Offset
}

// ahead is what is taken off every instant that a batch names: the offset of a clock that was wrong, 0 for one that was
// right. A result that was run by a wrong clock is no less a result, and belongs where it was run.
func ahead(h journal.Header) time.Duration {
	if off := clockOffset(h); off.Abs() > clockAgree {
		return off
	}
	return 0
}

// sealedAt is when a batch was sealed, by the collector's clock as far as the difference is known.
func sealedAt(h journal.Header) time.Time { return h.Sealed.Add(-clockOffset(h)) }

// at is when the collector's clock showed an instant that the batch names.
func (g *judge) at(t time.Time) time.Time { return t.Add(-g.ahead) }

// slot is the slot that lies nearest to when a result was run that names another, as the clock was wrong.
func (g *judge) slot(t time.Time, every time.Duration) time.Time {
	if !g.unproven(every) {
		return t
	}
	return t.Add(-g.ahead.Round(every))
}

// unproven reports whether a result of a check that runs so often is no figure.
func (g *judge) unproven(every time.Duration) bool { return g.clock.Abs() > every/2 }
