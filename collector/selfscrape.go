package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"egovmon/agent/durable"
	"egovmon/collector/series"
	"egovmon/exporter"
)

const (
	scrapeEvery = 30 * time.Second
	scrapeFile  = "scraped" // when the collector last looked at itself, beside the series
)

// A selfScrape keeps what the collector shows of itself, and of the district, in its own series, so that a Grafana that
// asks it alone sees services, agents and the log as one that asks a Prometheus does.
type selfScrape struct {
	c      *center
	gather prometheus.Gatherer
	last   map[string]series.Sample // of the scrape before, by series
}

// run looks every half minute until ctx ends; then it ends the series, so that a stop is a gap.
func (s *selfScrape) run(ctx context.Context) error {
	path := filepath.Join(s.c.dir, seriesDir, scrapeFile)
	before := lastScrape(path)
	t := time.NewTicker(scrapeEvery)
	defer t.Stop()
	for {
		now := s.c.now().Truncate(time.Millisecond)
		if err := s.look(ctx, now, before); err != nil && ctx.Err() == nil {
			s.c.log.Error("the collector cannot look at itself", "err", err)
		}
		before = time.Time{}
		if err := durable.Replace(path, []byte(strconv.FormatInt(now.UnixMilli(), 10)+"\n")); err != nil {
			s.c.log.Error("the time of a look cannot be kept", "err", err)
		}
		select {
		case <-ctx.Done():
			return s.end(context.WithoutCancel(ctx), s.c.now())
		case <-t.C:
		}
	}
}

// look appends one scrape. before is when a run that was killed last looked: what it left open ends there.
func (s *selfScrape) look(ctx context.Context, now, before time.Time) error {
	families, err := s.gather.Gather()
	if err != nil {
		return err
	}
	var out []series.Sample
	current := map[string]series.Sample{}
	for _, f := range families {
		if ofCheck(f.GetName()) {
			continue // the results themselves stand there, at their own times
		}
		for _, sample := range samplesOf(f, now) {
			key := fmt.Sprint(sample.Name, sample.Labels)
			current[key] = sample
			out = append(out, sample)
			if !before.IsZero() {
				out = append(out, stale(sample, before.Add(scrapeEvery)))
			}
		}
	}
	for key, sample := range s.last {
		if _, ok := current[key]; !ok {
			out = append(out, stale(sample, now))
		}
	}
	s.last = current
	_, _, err = s.c.series.Append(ctx, out)
	return err
}

// end ends every series.
func (s *selfScrape) end(ctx context.Context, now time.Time) error {
	var out []series.Sample
	for _, key := range slices.Sorted(maps.Keys(s.last)) {
		out = append(out, stale(s.last[key], now))
	}
	_, _, err := s.c.series.Append(ctx, out)
	return err
}

func stale(s series.Sample, at time.Time) series.Sample {
	s.At, s.Stale, s.Value = at, true, 0
	return s
}

func ofCheck(name string) bool {
	return name == exporter.CheckSuccess || name == exporter.CheckReason || name == exporter.CheckDuration || name == exporter.CheckLastRun ||
		strings.HasPrefix(name, "go_")
}

// lastScrape reads when a run before looked last; the zero Time when there was none.
func lastScrape(path string) time.Time {
	b, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// samplesOf turns a family into samples. Of a histogram its buckets are kept.
func samplesOf(f *dto.MetricFamily, at time.Time) []series.Sample {
	var out []series.Sample
	for _, m := range f.GetMetric() {
		var labels []series.Label
		for _, l := range m.GetLabel() {
			labels = append(labels, series.Label{Name: l.GetName(), Value: l.GetValue()})
		}
		add := func(name string, v float64, more ...series.Label) {
			out = append(out, series.Sample{Name: name, Labels: append(more, labels...), At: at, Value: v})
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			add(f.GetName(), m.GetCounter().GetValue())
		case dto.MetricType_GAUGE:
			add(f.GetName(), m.GetGauge().GetValue())
		case dto.MetricType_UNTYPED:
			add(f.GetName(), m.GetUntyped().GetValue())
		case dto.MetricType_HISTOGRAM:
			h := m.GetHistogram()
			for _, b := range h.GetBucket() {
				bound := "+Inf"
				if !math.IsInf(b.GetUpperBound(), 1) {
					bound = strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)
				}
				add(f.GetName()+"_bucket", float64(b.GetCumulativeCount()), series.Label{Name: "le", Value: bound})
			}
			add(f.GetName()+"_sum", h.GetSampleSum())
			add(f.GetName()+"_count", float64(h.GetSampleCount()))
		}
	}
	return out
}
