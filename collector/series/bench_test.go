package series

import (
	"context"
	"fmt"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// round is the results of 1,000 checks at one minute.
func round(minute int) []Point {
	points := make([]Point, 0, 1000)
	for i := range 1000 {
		p := point(fmt.Sprintf("c%02d.http", i%20), noon.Add(time.Duration(minute)*time.Minute), time.Minute, check.OK)
		p.Machine = fmt.Sprintf("pc-%03d", i/20)
		points = append(points, p)
	}
	return points
}

// benchDB opens a database whose clock is always right.
func benchDB(b *testing.B) *DB {
	return openTest(b, Options{Now: func() time.Time { return noon.Add(100 * 365 * day) }})
}

// BenchmarkAppend feeds rounds of 1,000 results, four samples each, and the same samples to the bare database by series
// reference, which is the most it can do. "x" is how many times longer ours takes.
func BenchmarkAppend(b *testing.B) {
	ours, bare := benchDB(b), benchDB(b)
	var took, bareTook time.Duration
	refs := map[int]storage.SeriesRef{}
	for minute := 0; b.Loop(); minute++ {
		points := round(minute)
		begin := time.Now()
		if n, refused, err := ours.AddPoints(context.Background(), points); n != 4000 || err != nil {
			b.Fatal(n, refused, err)
		}
		took += time.Since(begin)
		var series []labels.Labels
		if minute == 0 {
			for _, p := range points {
				for _, s := range Samples(p) {
					a := appending{}
					ls, _ := a.labels(s)
					series = append(series, ls)
				}
			}
		}
		begin = time.Now()
		app := bare.raw.AppenderV2(context.Background())
		for i := range 4000 {
			var ls labels.Labels
			if minute == 0 {
				ls = series[i]
			}
			ref, err := app.Append(refs[i], ls, 0, points[0].Slot.UnixMilli(), 1, nil, nil, storage.AOptions{})
			if err != nil {
				b.Fatal(err)
			}
			refs[i] = ref
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
		bareTook += time.Since(begin)
	}
	b.ReportMetric(float64(b.N)*4000/took.Seconds(), "samples/s")
	b.ReportMetric(took.Seconds()/bareTook.Seconds(), "x")
}

// BenchmarkQueryRange draws six hours of 1,000 checks as a board does: the share of services that work, by unit.
func BenchmarkQueryRange(b *testing.B) {
	db := benchDB(b)
	for minute := range 360 {
		if _, _, err := db.AddPoints(context.Background(), round(minute)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		q, err := db.engine.NewRangeQuery(context.Background(), db.both(), promql.NewPrometheusQueryOpts(false, 0, nil),
			`avg by (unit) (egovmon_check_success)`, noon, noon.Add(6*time.Hour), time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		m, err := q.Exec(context.Background()).Matrix()
		if err != nil || len(m) != 1 || len(m[0].Floats) != 361 {
			b.Fatal(err, len(m))
		}
		q.Close()
	}
}
