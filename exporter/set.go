package exporter

import (
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// A set collects the samples of one scrape by family. It builds the wire structures of client_model directly: a
// description, a collector and a registration per sample, which client_golang asks for, would cost more than all else
// in a scrape of 1,000 checks.
type set struct {
	byName map[string]*dto.MetricFamily
	slab   slab[sample]
	pairs  slab[pair]
}

// A sample keeps what one gauge points to in one piece of memory.
type sample struct {
	metric dto.Metric
	gauge  dto.Gauge
	value  float64
}

// A pair keeps a label and its texts in one piece of memory.
type pair struct {
	label       dto.LabelPair
	name, value string
}

// A slab hands out values that were allocated many at once, twice as many each time.
type slab[T any] struct {
	free []T
	size int
}

// Sizes of slabs, in values.
const (
	firstSlab = 32
	maxSlab   = 1024
)

func (s *slab[T]) next() *T {
	if len(s.free) == 0 {
		s.size = min(max(firstSlab, 2*s.size), maxSlab)
		s.free = make([]T, s.size)
	}
	x := &s.free[0]
	s.free = s.free[1:]
	return x
}

func newSet() *set { return &set{byName: map[string]*dto.MetricFamily{}} }

// family returns the family of this name, which must stand in a table of families.
func (s *set) family(name string) *dto.MetricFamily {
	if mf, ok := s.byName[name]; ok {
		return mf
	}
	f, ok := find(name)
	if !ok {
		panic("exporter: " + name + " is in no table of families")
	}
	mf := &dto.MetricFamily{Name: new(f.Name), Help: new(f.Help), Type: f.Type.wire()}
	s.byName[name] = mf
	return mf
}

// add appends a sample. Labels are in the order of their names.
func (s *set) add(name string, value float64, labels ...*dto.LabelPair) {
	mf := s.family(name)
	if mf.GetType() == dto.MetricType_COUNTER {
		mf.Metric = append(mf.Metric, &dto.Metric{Label: labels, Counter: &dto.Counter{Value: new(value)}})
		return
	}
	x := s.slab.next()
	x.value, x.gauge.Value = value, &x.value
	x.metric.Label, x.metric.Gauge = labels, &x.gauge
	mf.Metric = append(mf.Metric, &x.metric)
}

// instant appends a time in Unix seconds, unless it is the zero time.
func (s *set) instant(name string, t time.Time, labels ...*dto.LabelPair) {
	if !t.IsZero() {
		s.add(name, unix(t), labels...)
	}
}

// histogram appends counts by upper bound, unless nothing was counted in them.
func (s *set) histogram(name string, h Histogram, labels ...*dto.LabelPair) {
	if len(h.Counts) != len(h.Bounds)+1 {
		return
	}
	var total uint64
	buckets := make([]*dto.Bucket, 0, len(h.Bounds))
	for i, bound := range h.Bounds {
		total += h.Counts[i]
		buckets = append(buckets, &dto.Bucket{UpperBound: new(bound), CumulativeCount: new(total)})
	}
	total += h.Counts[len(h.Bounds)]
	mf := s.family(name)
	mf.Metric = append(mf.Metric, &dto.Metric{Label: labels,
		Histogram: &dto.Histogram{SampleCount: new(total), SampleSum: new(h.Sum), Bucket: buckets}})
}

// label makes a label. Bytes that are no UTF-8, as a folder's name may have, are replaced: one of them would make
// Prometheus refuse the whole scrape.
func (s *set) label(name, value string) *dto.LabelPair {
	p := s.pairs.next()
	p.name, p.value = name, strings.ToValidUTF8(value, "\uFFFD")
	p.label.Name, p.label.Value = &p.name, &p.value
	return &p.label
}

// families returns what was added in the order of names.
func (s *set) families() []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(s.byName))
	for _, mf := range s.byName {
		out = append(out, mf)
	}
	sortFamilies(out)
	return out
}

func sortFamilies(mfs []*dto.MetricFamily) {
	slices.SortStableFunc(mfs, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// unix returns a time as Prometheus writes it, in seconds with fraction.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
