package series

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// A Value is one series at the time of a query.
type Value struct {
	Labels map[string]string // __name__ among them, if the expression keeps it
	At     time.Time         // of the evaluation
	Value  float64
}

// Query evaluates a PromQL expression at one time over raw samples and roll-ups. The expression must give a scalar or
// an instant vector, whose series come in no order unless it sorts them.
func (db *DB) Query(ctx context.Context, expr string, at time.Time) (_ []Value, err error) {
	q, err := db.engine.NewInstantQuery(ctx, db.both(), promql.NewPrometheusQueryOpts(false, 0, nil), expr, at)
	if err != nil {
		return nil, fmt.Errorf("query %q: %w", expr, err)
	}
	defer q.Close()
	r := q.Exec(ctx)
	if r.Err != nil {
		return nil, fmt.Errorf("query %q: %w", expr, r.Err)
	}
	switch v := r.Value.(type) {
	case promql.Scalar:
		return []Value{{Labels: map[string]string{}, At: time.UnixMilli(v.T).UTC(), Value: v.V}}, nil
	case promql.Vector:
		out := make([]Value, 0, len(v))
		for _, s := range v {
			out = append(out, Value{Labels: s.Metric.Map(), At: time.UnixMilli(s.T).UTC(), Value: s.F})
		}
		return out, nil
	default:
		return nil, fmt.Errorf("query %q gives a %s: ask for an instant vector or a scalar", expr, v.Type())
	}
}

func (db *DB) both() both { return both{db.raw, db.rollup} }

// both answers from the raw samples and the roll-ups as if they were one database.
type both struct{ raw, rollup *tsdb.DB }

// Querier implements storage.Queryable.
func (b both) Querier(from, to int64) (storage.Querier, error) {
	raw, err := b.raw.Querier(from, to)
	if err != nil {
		return nil, err
	}
	rollup, err := b.rollup.Querier(from, to)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return storage.NewMergeQuerier([]storage.Querier{raw, rollup}, nil, storage.ChainedSeriesMerge), nil
}

// ChunkQuerier implements storage.ChunkQueryable.
func (b both) ChunkQuerier(from, to int64) (storage.ChunkQuerier, error) {
	raw, err := b.raw.ChunkQuerier(from, to)
	if err != nil {
		return nil, err
	}
	rollup, err := b.rollup.ChunkQuerier(from, to)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	merge := storage.NewCompactingChunkSeriesMerger(storage.ChainedSeriesMerge)
	return storage.NewMergeChunkQuerier([]storage.ChunkQuerier{raw, rollup}, nil, merge), nil
}

// ExemplarQuerier implements storage.ExemplarQueryable; there are no exemplars.
func (b both) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return b.raw.ExemplarQuerier(ctx)
}

// noStats stands where the API wants an administrator's view; none of the paths that use it are served.
type noStats struct{}

var errNotServed = errors.New("not served")

func (noStats) CleanTombstones() error                                         { return errNotServed }
func (noStats) Delete(context.Context, int64, int64, ...*labels.Matcher) error { return errNotServed }
func (noStats) Snapshot(string, bool) error                                    { return errNotServed }
func (noStats) Stats(string, int) (*tsdb.Stats, error)                         { return nil, errNotServed }
func (noStats) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, errNotServed
}
func (noStats) BlockMetas() ([]tsdb.BlockMeta, error) { return nil, errNotServed }
