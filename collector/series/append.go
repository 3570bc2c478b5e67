package series

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Bounds of a series. They are far above what the closed lists hold.
const (
	maxLabels     = 16
	maxNameBytes  = 128
	maxValueBytes = 256
)

// Why a sample was not taken: the keys of the counts that Append returns.
const (
	TooOld      = "too_old"      // before the out-of-order window
	Future      = "future"       // more than ten minutes ahead of the clock
	Duplicate   = "duplicate"    // another value stands at that time already; the first one stays
	BadLabel    = "bad_label"    // a name or value that is not allowed, or too long
	SeriesLimit = "series_limit" // a new series above MaxSeries
)

// refusals lists the reasons above.
func refusals() []string { return []string{TooOld, Future, Duplicate, BadLabel, SeriesLimit} }

// A Label is one name and value of a series. Values come from closed lists: no address, no person, no error text.
type Label struct{ Name, Value string }

// A Sample is one value of one series at one time.
type Sample struct {
	Name   string    // of the metric
	Labels []Label   // in any order, without the name; those with empty values are left out
	At     time.Time // millisecond resolution
	Value  float64   // any number, also NaN and the infinities
	Stale  bool      // the series ends here; Value counts for nothing
}

func (s Sample) float() float64 {
	switch {
	case s.Stale:
		return math.Float64frombits(value.StaleNaN)
	case math.IsNaN(s.Value): // whatever its bits say: only Stale ends a series
		return math.Float64frombits(value.NormalNaN)
	}
	return s.Value
}

// Append takes raw samples at their own times, in any order, and hands those it took onwards to the receivers. Samples
// that cannot be taken are counted by reason and do not hinder the others; sending the same sample again counts as
// accepted. The error is for a database that cannot write: then nothing of samples was taken.
func (db *DB) Append(ctx context.Context, samples []Sample) (accepted int, refused map[string]int, err error) {
	return db.appendRaw(ctx, samples, false)
}

// AppendRollup takes samples for the long views, kept for five years and not sent onwards. Late ones may be 100 days
// old. A figure that changed after it was written stays as it was until the roll-ups are wiped and written again.
func (db *DB) AppendRollup(ctx context.Context, samples []Sample) (accepted int, refused map[string]int, err error) {
	a, err := db.append(ctx, db.rollup, samples, false)
	if err != nil {
		return 0, nil, err
	}
	db.metrics.count("rollup", a.accepted(), a.refused)
	return a.accepted(), a.refused, nil
}

// appendRaw appends to the raw database and to the queues. Fresh says that no sample has a time that is stored.
func (db *DB) appendRaw(ctx context.Context, samples []Sample, fresh bool) (int, map[string]int, error) {
	a, err := db.append(ctx, db.raw, samples, fresh)
	if err != nil {
		return 0, nil, err
	}
	db.metrics.count("raw", a.accepted(), a.refused)
	for _, f := range db.forwards {
		f.push(a.taken)
	}
	return a.accepted(), a.refused, nil
}

// append is one transaction.
func (db *DB) append(ctx context.Context, to *tsdb.DB, samples []Sample, fresh bool) (a *appending, err error) {
	a = &appending{db: db, to: to, app: to.AppenderV2(ctx), latest: db.o.Now().Add(ahead), refused: map[string]int{}, taken: make([]stamped, 0, len(samples))}
	for _, s := range samples {
		if err = a.add(s, fresh); err != nil {
			break
		}
	}
	if err == nil {
		err = a.addLate(ctx)
	}
	if err != nil {
		err = errors.Join(err, a.app.Rollback())
	} else {
		err = a.app.Commit() // rolls back by itself
	}
	if err != nil {
		return nil, fmt.Errorf("series %s: %w", to.Dir(), err)
	}
	return a, nil
}

// appending is the state of one transaction.
type appending struct {
	db      *DB
	to      *tsdb.DB
	app     storage.AppenderV2
	builder labels.ScratchBuilder
	latest  time.Time
	taken   []stamped
	same    int // samples that were stored already
	refused map[string]int
	late    []lateSample // behind the newest of their series: they may be there already
}

func (a *appending) accepted() int { return len(a.taken) + a.same }

type lateSample struct {
	Sample
	ls labels.Labels
}

func (a *appending) add(s Sample, fresh bool) error {
	if s.At.After(a.latest) {
		a.refused[Future]++
		return nil
	}
	ls, ok := a.labels(s)
	if !ok {
		a.refused[BadLabel]++
		return nil
	}
	if a.to.Head().NumSeries() >= uint64(a.db.o.MaxSeries) {
		if ref, _ := a.app.(storage.GetRef).GetRef(ls, ls.Hash()); ref == 0 {
			a.refused[SeriesLimit]++
			return nil
		}
	}
	return a.put(s, ls, fresh)
}

// put appends one sample; unless fresh, one that is out of order waits for [appending.addLate].
func (a *appending) put(s Sample, ls labels.Labels, fresh bool) error {
	_, err := a.app.Append(0, ls, 0, s.At.UnixMilli(), s.float(), nil, nil, storage.AOptions{RejectOutOfOrder: !fresh})
	switch {
	case err == nil:
		a.taken = append(a.taken, stamped{ls, s.At.UnixMilli(), s.float()})
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		a.refused[TooOld]++
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		a.refused[Duplicate]++
	case errors.Is(err, storage.ErrOutOfOrderSample) && !fresh:
		a.late = append(a.late, lateSample{s, ls})
	case errors.Is(err, storage.ErrOutOfOrderSample):
		a.refused[TooOld]++
	case errors.Is(err, tsdb.ErrInvalidSample):
		a.refused[BadLabel]++
	default:
		return err
	}
	return nil
}

// addLate appends the samples that are behind the newest of their series and not stored yet. The database would take a
// second value at the same time and answer with either.
func (a *appending) addLate(ctx context.Context) error {
	slices.SortStableFunc(a.late, func(x, y lateSample) int {
		if c := labels.Compare(x.ls, y.ls); c != 0 {
			return c
		}
		return x.At.Compare(y.At)
	})
	for rest := a.late; len(rest) > 0; {
		n := 1
		for n < len(rest) && labels.Equal(rest[n].ls, rest[0].ls) {
			n++
		}
		group := rest[:n]
		rest = rest[n:]
		there, err := stored(ctx, a.to, group[0].ls, group[0].At, group[n-1].At)
		if err != nil {
			return err
		}
		for _, s := range group {
			t, v := s.At.UnixMilli(), math.Float64bits(s.float())
			switch old, ok := there[t]; {
			case ok && old == v:
				a.same++
			case ok:
				a.refused[Duplicate]++
			default:
				there[t] = v
				if err := a.put(s.Sample, s.ls, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stored returns the values of one series from one time to another, both included, by millisecond.
func stored(ctx context.Context, db *tsdb.DB, ls labels.Labels, from, to time.Time) (map[int64]uint64, error) {
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) { ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
	there := map[int64]uint64{}
	err := each(ctx, db, from, to, ms, func(found labels.Labels, it chunkenc.Iterator) {
		if !labels.Equal(found, ls) {
			return
		}
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			there[t] = math.Float64bits(v)
		}
	})
	return there, err
}

// each calls f for every series that matches and has samples from one time to another, both included.
func each(ctx context.Context, db *tsdb.DB, from, to time.Time, ms []*labels.Matcher, f func(labels.Labels, chunkenc.Iterator)) (err error) {
	q, err := db.Querier(from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	set := q.Select(ctx, false, nil, ms...)
	var it chunkenc.Iterator
	for set.Next() {
		it = set.At().Iterator(it)
		f(set.At().Labels(), it)
		if err := it.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}

// labels returns the series of s, and whether it is allowed.
func (a *appending) labels(s Sample) (labels.Labels, bool) {
	if len(s.Labels) > maxLabels || !validName(s.Name, true) {
		return labels.EmptyLabels(), false
	}
	a.builder.Reset()
	a.builder.Add(model.MetricNameLabel, s.Name)
	for i, l := range s.Labels {
		if !validName(l.Name, false) || l.Name == model.MetricNameLabel || len(l.Value) > maxValueBytes || !utf8.ValidString(l.Value) {
			return labels.EmptyLabels(), false
		}
		for _, other := range s.Labels[:i] {
			if other.Name == l.Name {
				return labels.EmptyLabels(), false
			}
		}
		if l.Value != "" {
			a.builder.Add(l.Name, l.Value)
		}
	}
	a.builder.Sort()
	return a.builder.Labels(), true
}

// validName reports whether n is a name of the classic Prometheus data model; a metric's may have colons.
func validName(n string, metric bool) bool {
	if n == "" || len(n) > maxNameBytes || n[0] >= '0' && n[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(n, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || metric && r == ':')
	})
}
