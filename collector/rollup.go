package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/durable"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/series"
	"egovmon/exporter"
)

const (
	rollWindow = time.Hour
	// rollSettle is how long after its end an hour is rolled up: agents gather results for up to 15 minutes.
	rollSettle = 20 * time.Minute
	rollBack   = 90 * 24 * time.Hour // furthest back; the store takes samples up to 100 days late
	rollLook   = time.Minute
)

// rollUp keeps the hourly figures of services and units for the long views.
func (c *center) rollUp(ctx context.Context) error {
	t := time.NewTicker(rollLook)
	defer t.Stop()
	for {
		if err := c.rollDue(ctx, c.now()); err != nil && ctx.Err() == nil {
			c.log.Error("hourly figures cannot be rolled up", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// rollDue rolls up every hour that is over and settled and was not yet.
func (c *center) rollDue(ctx context.Context, now time.Time) error {
	path := filepath.Join(c.dir, seriesDir, "rolled")
	next, ok := c.rolledTo(path, now)
	if !ok {
		return nil
	}
	for end := next.Add(rollWindow); !end.After(now.Add(-rollSettle)); end = end.Add(rollWindow) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		samples, err := c.rollSamples(ctx, end.Add(-rollWindow), end)
		if err != nil {
			return err
		}
		if _, _, err := c.series.AppendRollup(ctx, samples); err != nil {
			return err
		}
		if err := durable.Replace(path, []byte(strconv.FormatInt(end.Unix(), 10)+"\n")); err != nil {
			return err
		}
	}
	return nil
}

// rolledTo is the hour up to which figures are rolled up: as kept, else the hour of the first batch in the log.
func (c *center) rolledTo(path string, now time.Time) (time.Time, bool) {
	oldest := now.Add(-rollBack).Truncate(rollWindow)
	if b, err := os.ReadFile(path); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			if t := time.Unix(n, 0).UTC(); t.After(oldest) {
				return t, true
			}
			return oldest, true
		}
	}
	for s, err := range c.store.Leaves(0) {
		if err != nil {
			return time.Time{}, false
		}
		if s.Leaf.Type() != evidence.Batch {
			continue
		}
		if t, err := time.Parse(time.RFC3339, s.Leaf.Field("received")); err == nil {
			if t = t.Truncate(rollWindow); t.Before(oldest) {
				t = oldest
			}
			return t, true
		}
	}
	return time.Time{}, false
}

// rollSamples are the figures of one hour, at its end.
func (c *center) rollSamples(ctx context.Context, from, to time.Time) ([]series.Sample, error) {
	cat, err := c.catalogue(c.district(), from, to)
	if err != nil {
		return nil, err
	}
	rows, err := c.index.Availability(ctx, cat, history.Query{From: from, To: to})
	if err != nil {
		return nil, err
	}
	var out []series.Sample
	for _, r := range rows {
		for _, v := range r.Rollup() {
			name, bound, account := exporter.ServiceCoverage, "", ""
			switch v.Name {
			case "availability_lower":
				name, bound = exporter.ServiceAvail, "lower"
			case "availability_upper":
				name, bound = exporter.ServiceAvail, "upper"
			case "down_seconds":
				name, account = exporter.ServiceSeconds, check.Down.String()
			}
			out = append(out, series.Sample{Name: name, At: to, Value: v.Number, Labels: []series.Label{
				{Name: exporter.LabelService, Value: r.Service}, {Name: exporter.LabelUnit, Value: r.Unit},
				{Name: exporter.LabelCalendar, Value: v.Calendar}, {Name: exporter.LabelBound, Value: bound},
				{Name: exporter.LabelAccount, Value: account},
				{Name: exporter.LabelWindow, Value: "1h"}}})
		}
	}
	return out, nil
}
