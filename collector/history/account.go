package history

import (
	"slices"
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

// Count returns the account of sorted runs. Only seconds of the calendar's hours count; nil hours are every second.
// Seconds in an excluded stretch are excluded, whatever was measured then. Hours and excluded are as [Join] returns them.
func Count(runs []Run, hours, excluded []Span) Account { return countIn(hours, excluded).count(runs) }

// A calendar is what runs are counted in, made once for all of them.
type calendar struct {
	hours *measure // nil is every second
	gone  *measure // of the hours; nil is nothing
}

// countIn returns the calendar of these hours without what is excluded.
func countIn(hours, excluded []Span) calendar {
	var c calendar
	if hours != nil {
		c.hours = newMeasure(hours)
	}
	switch {
	case len(excluded) == 0:
	case hours == nil:
		c.gone = newMeasure(excluded)
	default:
		c.gone = newMeasure(common(hours, excluded))
	}
	return c
}

// common returns the seconds that are in both lists, each as [Join] returns it.
func common(a, b []Span) (out []Span) {
	for len(a) > 0 && len(b) > 0 {
		if s := a[0].Meet(b[0]); s.Seconds() > 0 {
			out = append(out, s)
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// count returns the account of sorted runs.
func (c calendar) count(runs []Run) Account {
	var a Account
	var reasons []check.Reason // those that there are, few, and the seconds of each
	var seconds []int64
	hours, gone := c.hours.reader(), c.gone.reader()
	for _, r := range runs {
		n, out := r.Seconds(), gone.within(r.Span)
		if c.hours != nil {
			n = hours.within(r.Span)
		}
		a.Excluded += out
		if n -= out; n <= 0 {
			continue
		}
		i := slices.Index(reasons, r.Reason)
		if i < 0 {
			i = len(reasons)
			reasons, seconds = append(reasons, r.Reason), append(seconds, 0)
		}
		seconds[i] += n
	}
	for i, r := range reasons {
		a.put(r, seconds[i])
	}
	return a
}

// A measure tells how many seconds of separate, sorted stretches lie in others.
type measure struct {
	spans  []Span
	before []int64 // seconds of all stretches before this one
}

func newMeasure(spans []Span) *measure {
	m := &measure{spans, make([]int64, len(spans))}
	n := int64(0)
	for i, s := range spans {
		m.before[i] = n
		n += s.Seconds()
	}
	return m
}

// A measureReader is asked for ever later stretches.
type measureReader struct {
	*measure
	last  int64 // the second up to which was counted
	count int64 // seconds up to there
	next  int   // the first stretch that ends after last
	begun bool
}

func (m *measure) reader() measureReader { return measureReader{measure: m} }

// within returns how many seconds lie in s. A nil measure has none.
func (r *measureReader) within(s Span) int64 {
	if r.measure == nil || s.To <= s.From {
		return 0
	}
	if !r.begun || r.last != s.From {
		r.upTo(s.From)
	}
	n := r.count
	r.upTo(s.To)
	return r.count - n
}

// upTo counts the seconds before t.
func (r *measureReader) upTo(t int64) {
	step := 1
	for r.next+step < len(r.spans) && r.spans[r.next+step].To <= t { // in ever longer steps, for there may be many stretches in a run
		r.next += step
		step *= 2
	}
	end := min(len(r.spans), r.next+step+1)
	i, _ := slices.BinarySearchFunc(r.spans[r.next:end], t, func(s Span, t int64) int {
		if s.To <= t {
			return -1
		}
		return 1
	})
	r.next += i
	r.last, r.begun = t, true
	switch {
	case len(r.spans) == 0:
		r.count = 0
	case r.next == len(r.spans):
		n := len(r.spans) - 1
		r.count = r.before[n] + r.spans[n].Seconds()
	default:
		r.count = r.before[r.next] + max(0, t-r.spans[r.next].From)
	}
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
	var reasons []check.Reason // of the outage, as they came, and the seconds of each
	var seconds []int64
	joins := false // nothing but unknown since the last second of down
	finish := func() {
		most := int64(0)
		for i, n := range seconds {
			if n > most {
				out[len(out)-1].Reason, most = reasons[i], n
			}
		}
	}
	for _, r := range runs {
		switch s := r.State(); {
		case serves(s):
			joins = false
			continue
		case s == check.Unknown:
			continue
		}
		if n := len(out); !joins || n == 0 || r.From-out[n-1].To.Unix() > gap {
			finish()
			out = append(out, Outage{From: time.Unix(r.From, 0).UTC(), Reason: r.Reason})
			reasons, seconds = reasons[:0], seconds[:0]
		}
		o := &out[len(out)-1]
		o.To = time.Unix(r.To, 0).UTC()
		o.Down += r.Seconds()
		i := slices.Index(reasons, r.Reason)
		if i < 0 {
			i = len(reasons)
			reasons, seconds = append(reasons, r.Reason), append(seconds, 0)
		}
		seconds[i] += r.Seconds()
		joins = true
	}
	finish()
	if n := len(out); n > 0 && joins {
		end := runs[len(runs)-1].To
		out[n-1].Ongoing = end-out[n-1].To.Unix() <= gap
	}
	return out
}
