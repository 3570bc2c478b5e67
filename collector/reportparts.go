package main

import (
	"context"
	"slices"
	"time"

	"egovmon/collector/history"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// beside adds to a report what stands beside its figures: the period before, and the one-stop-shop counters.
func (c *center) beside(ctx context.Context, s report.Scope, in *report.Input) (err error) {
	if before, err := profile.PreviousPeriod(s.Period, s.Calendar); err == nil {
		x := &report.Stretch{Period: before}
		if x.From, x.To, err = profile.ParsePeriod(before, s.Calendar); err != nil {
			return err
		}
		a, err := c.figures(ctx, figuresRequest{From: x.From, To: x.To, Service: s.Service, Unit: s.Unit})
		// A service or unit that there was not then has no figures of then.
		if err != nil && ctx.Err() != nil {
			return err
		}
		in.Before, in.BeforeRows = x, a.Rows
	}
	in.Counters, err = c.reportCounters(ctx, s, in)
	return err
}

// reportLayers is how the four layers stand now; only a report of the whole district says it.
func (c *center) reportLayers(s report.Scope, now time.Time) ([]report.Layers, error) {
	if s.Service != "" || s.Unit != "" {
		return nil, nil
	}
	m, err := c.matrix(c.district(), now)
	return layerSums(m.Units), err
}

// reportCounters is how long the one-stop-shop counters of the units were ready: of every unit that watches something in
// the period.
func (c *center) reportCounters(ctx context.Context, s report.Scope, in *report.Input) ([]report.Counter, error) {
	p, last := in.Profile, in.To.Add(-1)
	cat, err := c.catalogue(p, in.From, in.To)
	if err != nil {
		return nil, err
	}
	var out []report.Counter
	for _, svc := range p.ServicesAt(last) {
		if at := svc.AtCollector(); at == nil || at.Kind != profile.KindCounter || s.Service != "" && s.Service != svc.ID {
			continue
		}
		q := history.CounterQuery{Query: history.Query{From: in.From, To: in.To, Now: in.Generated}, Needs: counterNeeds(p, &svc, last), Hours: map[string][]history.Span{}}
		calendar := history.ServiceHours
		if svc.Hours == "" {
			calendar = history.Hours24x7
		}
		for _, u := range watching(cat) {
			if u == p.District || s.Unit != "" && u != s.Unit {
				continue
			}
			q.Units = append(q.Units, u)
			q.Hours[u] = spans(p.Calendar(svc.ID, calendar, u, in.From, in.To))
		}
		sums, err := c.index.Counters(ctx, cat, q)
		if err != nil {
			return nil, err
		}
		for i, u := range q.Units {
			if sums[i].Total() > 0 {
				out = append(out, report.Counter{Unit: u, UnitName: unitName(p, u, last).VI, Calendar: calendar, Seconds: sums[i]})
			}
		}
	}
	return out, nil
}

// watching lists the units that watch something, in the order of the catalogue.
func watching(cat history.Catalogue) []string {
	var units []string
	for _, s := range cat.Services {
		for _, w := range s.Watchers {
			if !slices.Contains(units, w.Unit) {
				units = append(units, w.Unit)
			}
		}
	}
	slices.Sort(units)
	return units
}
