package main

import (
	"context"

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
func historyBatch(a intake.Accepted) history.Batch { return a.History() }

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

// toLive feeds the board's latest results, and what is learned from them.
func (c *center) toLive(_ context.Context, a intake.Accepted) error {
	c.live.Add(a)
	c.letters.Add(a)
	c.learned.Add(a)
	return nil
}
