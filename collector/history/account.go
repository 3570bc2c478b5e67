package history

import (
	"time"

	"egovmon/agent/check"
)

// The calendars: every second, and those of the service's own hours.
const (
	Hours24x7    = "24x7"
	ServiceHours = "service_hours"
)

// An Account holds the seconds of a calendar, each of them in one of the five.
type Account struct {
	Up       int64 `json:"up"`
	Degraded int64 `json:"degraded"`
	Down     int64 `json:"down"`
	Unknown  int64 `json:"unknown"`
	Excluded int64 `json:"excluded"`
	// Causes are the seconds of degraded, down and unknown by reason; nil where there are none.
	Causes map[check.Reason]int64 `json:"causes,omitempty"`
}

// Figures are the shares that an account comes to. Each is nil where its denominator is zero: there are no data.
type Figures struct {
	Lower    *float64 `json:"lower"`    // availability, taking every unknown second as down
	Upper    *float64 `json:"upper"`    // availability, taking every unknown second as up
	Coverage *float64 `json:"coverage"` // the share of seconds, without excluded ones, of which the state is known
}

// put adds n seconds with one reason.
func (a *Account) put(r check.Reason, n int64) {
	switch r.State() {
	case check.Up:
		a.Up += n
		return
	case check.Degraded:
		a.Degraded += n
	case check.Down:
		a.Down += n
	default:
		a.Unknown += n
	}
	if a.Causes == nil {
		a.Causes = map[check.Reason]int64{}
	}
	a.Causes[r] += n
}

// Add adds the seconds of another account.
func (a *Account) Add(o Account) {
	a.Up += o.Up
	a.Degraded += o.Degraded
	a.Down += o.Down
	a.Unknown += o.Unknown
	a.Excluded += o.Excluded
	for r, n := range o.Causes {
		if a.Causes == nil {
			a.Causes = map[check.Reason]int64{}
		}
		a.Causes[r] += n
	}
}

// Total returns all seconds of the account.
func (a Account) Total() int64 { return a.Up + a.Degraded + a.Down + a.Unknown + a.Excluded }

// Figures returns the shares: availability = [up/(up+down+unknown), (up+unknown)/(up+down+unknown)] and coverage =
// (up+down)/(up+down+unknown), where up includes degraded.
func (a Account) Figures() Figures {
	up, all := a.Up+a.Degraded, a.Up+a.Degraded+a.Down+a.Unknown
	if all == 0 {
		return Figures{}
	}
	share := func(n int64) *float64 { return new(float64(n) / float64(all)) }
	return Figures{Lower: share(up), Upper: share(up + a.Unknown), Coverage: share(up + a.Down)}
}

// A window is a list of sorted, separate stretches that is asked for ever later seconds.
type window struct {
	spans []Span
	next  int
}

// at reports whether the second t lies in a stretch, and until when that stays so.
func (w *window) at(t, until int64) (in bool, end int64) {
	for w.next < len(w.spans) && w.spans[w.next].To <= t {
		w.next++
	}
	if w.next == len(w.spans) {
		return false, until
	}
	s := w.spans[w.next]
	if s.From > t {
		return false, min(until, s.From)
	}
	return true, min(until, s.To)
}

// Count returns the account of sorted runs. Only seconds of the calendar's hours count; nil hours are every second.
// Seconds in an excluded stretch are excluded, whatever was measured then. Hours and excluded are as [Join] returns them.
func Count(runs []Run, hours, excluded []Span) Account {
	var a Account
	cal, out := window{spans: hours}, window{spans: excluded}
	for _, r := range runs {
		for t := r.From; t < r.To; {
			counts, end := true, r.To
			if hours != nil {
				counts, end = cal.at(t, end)
			}
			gone, end := out.at(t, end)
			switch {
			case !counts:
			case gone:
				a.Excluded += end - t
			default:
				a.put(r.Reason, end-t)
			}
			t = end
		}
	}
	return a
}

// An Outage is a stretch in which something was down.
type Outage struct {
	From    time.Time    `json:"from"`
	To      time.Time    `json:"to"`      // the first second after it; of one that goes on, the end of what was asked for
	Down    int64        `json:"down"`    // seconds known to be down; the rest of the stretch is unknown
	Reason  check.Reason `json:"reason"`  // that of most of these seconds, of equal ones the earlier
	Ongoing bool         `json:"ongoing"` // it was down, or not known to be anything else, at the end of what was asked for
}

// Outages lists the outages of sorted runs. An outage begins and ends with a second known to be down. Stretches of down
// between which nothing else is known for at most gap seconds are one outage; what lies between stays unknown in every
// account. A single second of up or degraded ends an outage.
func Outages(runs []Run, gap int64) []Outage {
	var out []Outage
	var spans map[check.Reason]int64
	var order []check.Reason
	joins := false // nothing but unknown since the last second of down
	finish := func() {
		if len(out) == 0 {
			return
		}
		o := &out[len(out)-1]
		for _, r := range order {
			if spans[r] > spans[o.Reason] {
				o.Reason = r
			}
		}
	}
	for _, r := range runs {
		switch {
		case serves(r.State()):
			joins = false
			continue
		case r.State() == check.Unknown:
			continue
		}
		if n := len(out); !joins || n == 0 || r.From-out[n-1].To.Unix() > gap {
			finish()
			out = append(out, Outage{From: time.Unix(r.From, 0).UTC(), Reason: r.Reason})
			spans, order = map[check.Reason]int64{}, nil
		}
		o := &out[len(out)-1]
		o.To = time.Unix(r.To, 0).UTC()
		o.Down += r.Seconds()
		if _, ok := spans[r.Reason]; !ok {
			order = append(order, r.Reason)
		}
		spans[r.Reason] += r.Seconds()
		joins = true
	}
	finish()
	if n := len(out); n > 0 && joins {
		end := runs[len(runs)-1].To
		out[n-1].Ongoing = end-out[n-1].To.Unix() <= gap
	}
	return out
}
