package series

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// metrics are what this package tells about itself. Labels come from closed lists and the receivers' names.
type metrics struct {
	samples   *prometheus.CounterVec // store, outcome
	forwarded *prometheus.CounterVec // receiver, outcome
	waiting   *prometheus.GaugeVec   // receiver
	success   *prometheus.GaugeVec   // receiver
}

func newMetrics(reg prometheus.Registerer, db *DB) *metrics {
	m := &metrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "egovmon_series_samples_total", Help: "Samples offered to a store, by what became of them.",
		}, []string{"store", "outcome"}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "egovmon_remote_write_samples_total", Help: "Samples for a receiver, by what became of them.",
		}, []string{"receiver", "outcome"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "egovmon_remote_write_waiting_samples", Help: "Samples on disk that a receiver has not had yet.",
		}, []string{"receiver"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "egovmon_remote_write_last_success_timestamp_seconds", Help: "When a receiver last took samples; absent before the first time.",
		}, []string{"receiver"}),
	}
	for _, store := range []string{"raw", "rollup"} {
		m.samples.WithLabelValues(store, "accepted")
		for _, why := range refusals() {
			m.samples.WithLabelValues(store, why)
		}
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.samples, m.forwarded, m.waiting, m.success, failures{db.inner})
	for store, t := range map[string]*tsdb.DB{"raw": db.raw, "rollup": db.rollup} {
		gauge := func(name, help string, f func() float64) {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: name, Help: help, ConstLabels: prometheus.Labels{"store": store},
			}, f))
		}
		gauge("egovmon_series_active", "Series in memory.", func() float64 { return float64(t.Head().NumSeries()) })
		gauge("egovmon_series_limit", "Most series that may be in memory.", func() float64 { return float64(db.o.MaxSeries) })
		gauge("egovmon_series_disk_bytes", "Size of a store on disk.", func() float64 { return float64(size(t)) })
	}
	return m
}

// receiver makes the metrics of a receiver, so that they are there before anything happens.
func (m *metrics) receiver(name string, waiting int) {
	for _, outcome := range []string{"sent", "refused", "dropped", "retried"} {
		m.forwarded.WithLabelValues(name, outcome)
	}
	m.waiting.WithLabelValues(name).Set(float64(waiting))
}

func (m *metrics) count(store string, accepted int, refused map[string]int) {
	m.samples.WithLabelValues(store, "accepted").Add(float64(accepted))
	for why, n := range refused {
		m.samples.WithLabelValues(store, why).Add(float64(n))
	}
}

// size returns the bytes of a database on disk.
func size(t *tsdb.DB) int64 {
	n := t.Head().Size()
	for _, b := range t.Blocks() {
		n += b.Size()
	}
	return n
}

// failures collects what went wrong inside the databases: work they do by themselves and tell nobody else about.
type failures struct {
	inner map[string]*prometheus.Registry
}

// failing names the databases' own counters, each with the value of the label what.
func failing() map[string]string {
	return map[string]string{
		"prometheus_tsdb_compactions_failed_total":      "compact",
		"prometheus_tsdb_reloads_failures_total":        "reload",
		"prometheus_tsdb_head_truncations_failed_total": "truncate",
		"prometheus_tsdb_wal_writes_failed_total":       "write",
		"prometheus_tsdb_wal_corruptions_total":         "corrupt",
	}
}

var failuresDesc = prometheus.NewDesc("egovmon_series_failures_total", "Failures of a store's own housekeeping.", []string{"store", "what"}, nil)

// Describe implements prometheus.Collector.
func (f failures) Describe(ch chan<- *prometheus.Desc) { ch <- failuresDesc }

// Collect implements prometheus.Collector.
func (f failures) Collect(ch chan<- prometheus.Metric) {
	for store, reg := range f.inner {
		families, err := reg.Gather()
		if err != nil {
			ch <- prometheus.NewInvalidMetric(failuresDesc, err)
			continue
		}
		for _, family := range families {
			if what, ok := failing()[family.GetName()]; ok {
				v := family.GetMetric()[0].GetCounter().GetValue()
				ch <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, v, store, what)
			}
		}
	}
}
