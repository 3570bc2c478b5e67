package mail

import (
	"strings"
	"time"
)

// futureBy is how far a server's clock may be ahead of ours before what it stamped is taken for wrong.
const futureBy = 5 * time.Minute

// receivedStamps reads when each server on the way took a letter, in the order of the way: the first server's header
// stands last. A date that cannot be read is the zero Time. RFC 5322, section 3.6.7.
func receivedStamps(received []string) []time.Time {
	stamps := make([]time.Time, 0, len(received))
	for i := len(received) - 1; i >= 0; i-- {
		at := strings.LastIndexByte(received[i], ';')
		stamps = append(stamps, mailDate(received[i][at+1:]))
	}
	return stamps
}

// mailDate reads a date of RFC 5322, section 3.3, without its comments; the zero Time when it is none.
func mailDate(s string) time.Time {
	for {
		open := strings.IndexByte(s, '(')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], ')')
		if end < 0 {
			s = s[:open]
			break
		}
		s = s[:open] + " " + s[open+end+1:]
	}
	if day, rest, ok := strings.Cut(s, ","); ok && len(strings.TrimSpace(day)) == 3 {
		s = rest
	}
	s = strings.Join(strings.Fields(s), " ")
	for _, layout := range []string{"2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04 -0700", "2 Jan 2006 15:04:05 MST"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if _, off := t.Zone(); off == 0 && strings.HasSuffix(layout, "MST") && !strings.HasSuffix(s, " GMT") && !strings.HasSuffix(s, " UT") && !strings.HasSuffix(s, " UTC") {
			continue // a zone that we do not know
		}
		return t.UTC()
	}
	return time.Time{}
}

// A way is how long a letter took from server to server.
type way struct {
	hops   []time.Duration // between one stamp and the next; a clock that is behind gives 0
	future int             // stamps later than the letter was found, which tell nothing
	first  time.Time       // when the first server took it; the zero Time when that is not known
}

// wayOf judges the stamps of a letter that was found at this time.
func wayOf(stamps []time.Time, found time.Time) way {
	var w way
	var last time.Time
	for i, t := range stamps {
		switch {
		case t.IsZero():
			continue
		case t.After(found.Add(futureBy)):
			w.future++
			continue
		case i == 0:
			w.first = t
		}
		if !last.IsZero() {
			w.hops = append(w.hops, max(0, t.Sub(last)))
		}
		if t.After(last) {
			last = t
		}
	}
	return w
}

// transit is how long a letter took from when it was taken until it lay in the mailbox. The servers' own clocks tell it
// best, when they do: when we found it lies later by up to the time between two looks. What they say is never longer
// than that.
func (l *letter) transit(w way) time.Duration {
	most := max(0, l.found.Sub(l.sent))
	if w.first.IsZero() || l.placed.IsZero() || most < 2*time.Second { // their clocks tell whole seconds
		return most
	}
	took := l.placed.Sub(w.first)
	if took < -time.Second || took > most+futureBy {
		return most
	}
	return min(max(0, took), most)
}
