package series

import (
	"context"
	"time"

	"egovmon/agent/check"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// loneEvery is taken for the interval of a check that has one result only when the program starts again.
const loneEvery = time.Minute

// restore finds the checks whose newest point has no end yet, so that [DB.Sweep] ends them if nothing follows. The
// interval of a check is not stored: it is the distance of its last two results between which nothing ended.
func (db *DB) restore(ctx context.Context) error {
	if db.raw.Head().NumSeries() == 0 {
		return nil
	}
	to := time.UnixMilli(db.raw.Head().MaxTime()).UTC()
	name := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, LastRun)
	err := each(ctx, db.raw, to.Add(-2*lookBack-time.Minute), to, []*labels.Matcher{name}, func(ls labels.Labels, it chunkenc.Iterator) {
		p := Point{
			Unit: ls.Get("unit"), Machine: ls.Get("machine"), Service: ls.Get("service"), Check: ls.Get("check"),
			Kind: ls.Get("kind"), Every: loneEvery,
		}
		open := false
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			if value.IsStaleNaN(v) {
				open = false
				continue
			}
			at := time.UnixMilli(t).UTC()
			if open {
				p.Every = at.Sub(p.Slot)
			}
			p.Slot, open = at, true
		}
		if other := db.feed.last[p.key()]; open && (other == nil || other.Slot.Before(p.Slot)) {
			db.feed.last[p.key()] = &latest{Point: p}
		}
	})
	if err != nil {
		return err
	}
	for k, l := range db.feed.last {
		ms := []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, Success+"|"+Reason),
			labels.MustNewMatcher(labels.MatchEqual, "machine", k.machine),
			labels.MustNewMatcher(labels.MatchEqual, "check", k.check),
		}
		err := each(ctx, db.raw, l.Slot, l.Slot, ms, func(ls labels.Labels, it chunkenc.Iterator) {
			if it.Next() != chunkenc.ValFloat {
				return
			}
			switch ls.Get(model.MetricNameLabel) {
			case Reason:
				l.Reason = check.Reason(ls.Get("reason"))
			case Success:
				l.State = check.Up // or another known state: only that there is a series matters here
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
