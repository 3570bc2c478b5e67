package main

import (
	"context"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
	"egovmon/collector/intake"
	"egovmon/collector/series"
)

// toHistory feeds the index.
func (c *center) toHistory(ctx context.Context, a intake.Accepted) error {
	return c.index.Add(ctx, historyBatch(a))
}

// historyBatch is what the accounts need of a batch.
func historyBatch(a intake.Accepted) history.Batch {
	b := history.Batch{Leaf: a.Leaf, Machine: a.Machine, Unit: a.Unit, Journal: a.Header.Journal}
	for _, e := range a.Events {
		switch {
		case e.Observation != nil:
			o := e.Observation
			r := o.Reason
			if o.ClockUnproven {
				r = check.ClockUnproven
			}
			b.Events = append(b.Events, history.Event{Observation: &history.Observation{Check: o.Check, Start: o.Start, From: o.From, To: o.To, Reason: r}})
		case e.Range != nil:
			b.Events = append(b.Events, history.Event{Range: e.Range})
		case e.Plan != nil:
			p := history.Plan{At: e.Plan.At, SHA256: e.Plan.Plan.Hash(), Version: e.Plan.Plan.Version}
			for _, ch := range e.Plan.Plan.Checks {
				p.Checks = append(p.Checks, history.Check{ID: ch.ID, Service: ch.Service, Kind: ch.Kind, Path: ch.Path, Every: int64(ch.Every / time.Second)})
			}
			b.Events = append(b.Events, history.Event{Plan: &p})
		case e.Begin != nil:
			b.Events = append(b.Events, history.Event{Begin: &history.Begin{At: e.Begin.At, Previous: e.Begin.PreviousJournal}})
		case e.Cloned != nil:
			b.Events = append(b.Events, history.Event{Cloned: &history.Cloned{From: e.Cloned.From, To: e.Cloned.To}})
		case e.End != nil:
			b.Events = append(b.Events, history.Event{End: &history.End{At: e.End.At}})
		}
	}
	return b
}

// toSeries feeds the charts.
func (c *center) toSeries(ctx context.Context, a intake.Accepted) error {
	if points := seriesPoints(a); len(points) > 0 {
		if _, _, err := c.series.AddPoints(ctx, points); err != nil {
			return err
		}
	}
	c.cursor.set(a.Leaf + 1)
	return nil
}

func seriesPoints(a intake.Accepted) []series.Point {
	var points []series.Point
	for _, e := range a.Events {
		o := e.Observation
		if o == nil {
			continue
		}
		p := series.Point{Unit: a.UnitAt(o.Slot), Machine: a.Machine, Service: o.Service, Check: o.Check, Kind: o.Kind,
			Slot: o.Slot, Start: o.Start, Every: o.Every, Took: o.Took, State: o.State, Reason: o.Reason}
		if o.ClockUnproven {
			p.State, p.Reason = check.Unknown, check.ClockUnproven
		}
		points = append(points, p)
	}
	return points
}

// toLive feeds the board's latest results.
func (c *center) toLive(_ context.Context, a intake.Accepted) error {
	c.live.Add(a)
	return nil
}
