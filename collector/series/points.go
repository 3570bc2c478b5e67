package series

import (
	"cmp"
	"context"
	"slices"
	"time"

	"egovmon/agent/check"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// The metrics of a check at the collector, each with the labels unit, machine, service, check and kind.
const (
	Success  = "egovmon_check_success"                    // 1 up or degraded, 0 down, absent when unknown
	Reason   = "egovmon_check_reason"                     // 1 for the current reason, in the label reason
	Duration = "egovmon_check_duration_seconds"           // of the whole run
	LastRun  = "egovmon_check_last_run_timestamp_seconds" // when it really ran, seconds since 1970
)

// A Point is one result of one check on one machine, as far as charts need it.
type Point struct {
	Unit, Machine, Service, Check, Kind string

	Slot   time.Time     // the instant the plan called for; whole seconds
	Start  time.Time     // when it really ran; zero means at Slot
	Every  time.Duration // the result speaks for [Slot, Slot + Every); more than 0
	Took   time.Duration
	State  check.State
	Reason check.Reason
}

// end is the first instant that p says nothing about.
func (p Point) end() time.Time { return p.Slot.Add(p.Every) }

func (p Point) key() checkKey { return checkKey{p.Machine, p.Check} }

// Samples returns what p puts into the series: three or four samples at its slot, without the markers that end a
// series. It holds nothing back: whoever appends these alone carries a result forward for 24 hours.
func Samples(p Point) []Sample {
	return appendSamples(nil, p, p.Slot, false)
}

// appendSamples appends the samples of p, or a marker for each of its series, at one time.
func appendSamples(out []Sample, p Point, at time.Time, stale bool) []Sample {
	ls := []Label{{"unit", p.Unit}, {"machine", p.Machine}, {"service", p.Service}, {"check", p.Check}, {"kind", p.Kind}}
	add := func(name string, ls []Label, v float64) {
		out = append(out, Sample{Name: name, Labels: ls, At: at, Value: v, Stale: stale})
	}
	switch p.State {
	case check.Up, check.Degraded:
		add(Success, ls, 1)
	case check.Down:
		add(Success, ls, 0)
	}
	add(Reason, append(slices.Clip(ls), Label{"reason", string(p.Reason)}), 1)
	add(Duration, ls, p.Took.Seconds())
	start := p.Start
	if start.IsZero() {
		start = p.Slot
	}
	add(LastRun, ls, float64(start.UnixMilli())/1000)
	return out
}

// appendEnds appends the markers that end the series of p where next, the following point of its check, does not go
// on with them: 1 ms before next begins, or before p's own end if that comes first.
func appendEnds(out []Sample, p, next Point) []Sample {
	if next.Slot.After(p.end()) {
		return appendSamples(out, p, p.end().Add(-time.Millisecond), true)
	}
	n := len(out)
	out = appendSamples(out, p, next.Slot.Add(-time.Millisecond), true)
	if p.Unit != next.Unit || p.Service != next.Service || p.Kind != next.Kind {
		return out
	}
	ended := slices.DeleteFunc(out[n:], func(s Sample) bool {
		switch s.Name {
		case Success:
			return next.State.Known()
		case Reason:
			return p.Reason == next.Reason
		}
		return true
	})
	return out[:n+len(ended)]
}

// checkKey names a check on a machine.
type checkKey struct{ machine, check string }

// latest is the newest point of a check.
type latest struct {
	Point
	ended bool // the markers at its end are written
}

// feed turns points into samples. A marker at the end of every point would be right but cost more than the points
// themselves, so the end of the newest one waits until its successor is here or [Options.Settle] has passed. A marker
// that turns out to have been early is harmless: the successor's sample follows it 1 ms later. So late points lead to
// the same charts as points in order.
type feed struct {
	last map[checkKey]*latest
}

// add returns the samples of points, which are distinct, sorted by slot, and of one check. Those behind the newest
// point so far must be distinct from the stored ones.
func (f *feed) add(out []Sample, points []Point) []Sample {
	k := points[0].key()
	last := f.last[k]
	for i, p := range points {
		behind := last != nil && p.Slot.Before(last.Slot)
		switch {
		case behind && i+1 < len(points) && points[i+1].Slot.Before(last.Slot):
			out = appendEnds(appendSamples(out, p, p.Slot, false), p, points[i+1])
		case behind:
			out = appendEnds(appendSamples(out, p, p.Slot, false), p, last.Point)
		default:
			if last != nil && !last.ended {
				out = appendEnds(out, last.Point, p)
			}
			out = appendSamples(out, p, p.Slot, false)
			last = &latest{Point: p}
		}
	}
	f.last[k] = last
	return out
}

// ends returns the points that ended before a time and have no successor, and their markers.
func (f *feed) ends(before time.Time) (silent []*latest, out []Sample) {
	for _, l := range f.last {
		if !l.ended && l.end().Before(before) {
			silent = append(silent, l)
			out = appendSamples(out, l.Point, l.end().Add(-time.Millisecond), true)
		}
	}
	return silent, out
}

// AddPoints appends the samples of results, which may be late and in any order. A result whose slot is stored already
// is counted as duplicate, whether it is the same or not: the first one stays. For the rest see [DB.Append]; counts
// are of samples, markers included.
func (db *DB) AddPoints(ctx context.Context, points []Point) (accepted int, refused map[string]int, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	points, early := db.usable(points)
	var samples []Sample
	var keys []checkKey
	same := 0
	for rest := points; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].key() == rest[0].key() {
			n++
		}
		fresh, err := db.unstored(ctx, rest[:n])
		if err != nil {
			return 0, nil, err
		}
		same += count(rest[:n]) - count(fresh)
		if k := rest[0].key(); db.feed.last[k] == nil && len(db.feed.last) >= db.o.MaxSeries {
			early[SeriesLimit] += count(fresh)
			fresh = nil
		}
		if len(fresh) > 0 {
			keys = append(keys, fresh[0].key())
			samples = db.feed.add(samples, fresh)
		}
		rest = rest[n:]
	}
	accepted, refused, err = db.appendRaw(ctx, samples, true)
	if err != nil {
		for _, k := range keys { // what is in memory no longer says what is stored
			delete(db.feed.last, k)
		}
		return 0, nil, err
	}
	if same > 0 {
		early[Duplicate] = same
	}
	db.metrics.count("raw", 0, early)
	for why, n := range early {
		refused[why] += n
	}
	return accepted, refused, nil
}

// count returns how many samples points have.
func count(points []Point) int {
	n := 0
	for _, p := range points {
		n += 3
		if p.State.Known() {
			n++
		}
	}
	return n
}

// usable returns the points that can be appended, sorted by check and slot, and the number of samples of the others.
func (db *DB) usable(points []Point) ([]Point, map[string]int) {
	early := map[string]int{}
	horizon := db.o.Now().Add(ahead)
	window := time.UnixMilli(db.raw.Head().MaxTime() - db.o.OutOfOrder.Milliseconds())
	started := db.raw.Head().NumSeries() > 0
	good := make([]Point, 0, len(points))
	for _, p := range points {
		p.Slot = p.Slot.UTC()
		switch {
		case p.Slot.After(horizon):
			early[Future] += count([]Point{p})
		case p.Every <= 0 || p.Machine == "" || p.Check == "" || !p.Reason.Valid():
			early[BadLabel] += count([]Point{p})
		case started && p.Slot.Before(window): // it must not become the newest point of its check
			early[TooOld] += count([]Point{p})
		default:
			good = append(good, p)
		}
	}
	slices.SortStableFunc(good, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Check, b.Check), a.Slot.Compare(b.Slot))
	})
	return good, early
}

// unstored returns those of one check's points, sorted by slot, whose slot is not stored. Points after the newest one
// known need no look at the database.
func (db *DB) unstored(ctx context.Context, points []Point) ([]Point, error) {
	last := db.feed.last[points[0].key()]
	behind := points
	if last != nil {
		i := 0
		for i < len(points) && !points[i].Slot.After(last.Slot) {
			i++
		}
		behind = points[:i]
	}
	there := map[int64]bool{}
	if last != nil {
		there[last.Slot.UnixMilli()] = true
	}
	if len(behind) > 0 {
		ms := []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, LastRun),
			labels.MustNewMatcher(labels.MatchEqual, "machine", behind[0].Machine),
			labels.MustNewMatcher(labels.MatchEqual, "check", behind[0].Check),
		}
		err := each(ctx, db.raw, behind[0].Slot, behind[len(behind)-1].Slot, ms, func(_ labels.Labels, it chunkenc.Iterator) {
			for it.Next() == chunkenc.ValFloat {
				if t, v := it.At(); !value.IsStaleNaN(v) {
					there[t] = true
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	fresh := make([]Point, 0, len(points))
	for _, p := range points {
		if t := p.Slot.UnixMilli(); !there[t] {
			there[t] = true
			fresh = append(fresh, p)
		}
	}
	return fresh, nil
}

// Sweep ends the series of the checks whose newest result ended more than [Options.Settle] ago. [DB.Run] calls it.
func (db *DB) Sweep(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	silent, markers := db.feed.ends(db.o.Now().Add(-db.o.Settle))
	if len(markers) == 0 {
		return nil
	}
	if _, _, err := db.appendRaw(ctx, markers, true); err != nil {
		return err
	}
	for _, l := range silent {
		l.ended = true
	}
	return nil
}
