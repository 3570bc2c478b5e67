package series

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql"
)

func point(id string, slot time.Time, every time.Duration, r check.Reason) Point {
	return Point{
		Unit: "xa-an-thanh", Machine: "pc-1", Service: "cong_h", Check: id, Kind: "http", Slot: slot, Every: every,
		Start: slot.Add(250 * time.Millisecond), Took: 40 * time.Millisecond, State: r.State(), Reason: r,
	}
}

// A chart is what a person sees: for every second, the value of every series.
type chart map[int64]map[string]float64

// drawn asks the database for the chart of [from, to).
func drawn(t *testing.T, db *DB, from, to time.Time) chart {
	t.Helper()
	q, err := db.engine.NewRangeQuery(t.Context(), db.both(), promql.NewPrometheusQueryOpts(false, 0, nil),
		`{__name__=~"egovmon_check_.*"}`, from, to.Add(-time.Second), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	c := chart{}
	for _, s := range m {
		for _, f := range s.Floats {
			c.set(f.T/1000, s.Metric.String(), f.F)
		}
	}
	return c
}

func (c chart) set(second int64, series string, v float64) {
	if c[second] == nil {
		c[second] = map[string]float64{}
	}
	c[second][series] = v
}

// meant is the chart that points ask for, by the rule itself: a result speaks for [slot, slot + every); where two
// overlap the later slot wins.
func meant(points []Point, from, to time.Time) chart {
	c := chart{}
	now := map[checkKey]Point{}
	at := map[int64][]Point{}
	for _, p := range points {
		at[p.Slot.Unix()] = append(at[p.Slot.Unix()], p)
	}
	for s := from.Unix(); s < to.Unix(); s++ {
		for _, p := range at[s] {
			now[p.key()] = p
		}
		for k, p := range now {
			if !time.Unix(s, 0).Before(p.end()) {
				delete(now, k)
				continue
			}
			base := fmt.Sprintf(`check="%s", kind="%s", machine="%s", `, p.Check, p.Kind, p.Machine)
			rest := fmt.Sprintf(`service="%s", unit="%s"}`, p.Service, p.Unit)
			switch p.State {
			case check.Up, check.Degraded:
				c.set(s, `{__name__="egovmon_check_success", `+base+rest, 1)
			case check.Down:
				c.set(s, `{__name__="egovmon_check_success", `+base+rest, 0)
			}
			c.set(s, `{__name__="egovmon_check_reason", `+base+`reason="`+string(p.Reason)+`", `+rest, 1)
			c.set(s, `{__name__="egovmon_check_duration_seconds", `+base+rest, p.Took.Seconds())
			c.set(s, `{__name__="egovmon_check_last_run_timestamp_seconds", `+base+rest, float64(p.Slot.Unix())+0.25)
		}
	}
	return c
}

// compare reports the first second at which two charts differ.
func compare(t *testing.T, want, got chart, from, to time.Time) {
	t.Helper()
	for s := from.Unix(); s < to.Unix(); s++ {
		if diff := cmp.Diff(want[s], got[s]); diff != "" {
			t.Fatalf("at %s -want +got:\n%s", time.Unix(s, 0).UTC().Format(time.TimeOnly), diff)
		}
	}
}

func add(t *testing.T, db *DB, points ...Point) {
	t.Helper()
	if _, refused, err := db.AddPoints(t.Context(), points); err != nil || len(refused) > 0 {
		t.Fatalf("AddPoints: refused %v, %v", refused, err)
	}
}

func sweepNow(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSamples(t *testing.T) {
	ls := []Label{{"unit", "xa-an-thanh"}, {"machine", "pc-1"}, {"service", "cong_h"}, {"check", "a"}, {"kind", "http"}}
	for _, tt := range []struct {
		r       check.Reason
		success []Sample
	}{
		{check.OK, []Sample{{Name: Success, Labels: ls, At: noon, Value: 1}}},
		{check.Slow, []Sample{{Name: Success, Labels: ls, At: noon, Value: 1}}},
		{check.Timeout, []Sample{{Name: Success, Labels: ls, At: noon, Value: 0}}},
		{check.NoUplink, nil},
	} {
		t.Run(string(tt.r), func(t *testing.T) {
			want := append(tt.success,
				Sample{Name: Reason, Labels: append(slices.Clip(ls), Label{"reason", string(tt.r)}), At: noon, Value: 1},
				Sample{Name: Duration, Labels: ls, At: noon, Value: 0.04},
				Sample{Name: LastRun, Labels: ls, At: noon, Value: float64(noon.Unix()) + 0.25})
			p := point("a", noon, time.Minute, tt.r)
			got := Samples(p)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if n := count([]Point{p}); n != len(got) {
				t.Errorf("count says %d samples, there are %d", n, len(got))
			}
		})
	}
}

// TestNoMarkerWhileAResultFollows shows that a check that runs as planned costs no markers, however its results are
// batched, and that a change of reason ends the old reason only.
func TestNoMarkerWhileAResultFollows(t *testing.T) {
	f := feed{last: map[checkKey]*latest{}}
	var all []Sample
	for i := range 10 {
		r := check.OK
		if i >= 5 {
			r = check.Slow
		}
		all = f.add(all, []Point{point("a", noon.Add(time.Duration(i)*time.Minute), time.Minute, r)})
	}
	var markers []string
	for _, s := range all {
		if s.Stale {
			markers = append(markers, fmt.Sprint(s.Name, " ", s.Labels[len(s.Labels)-1].Value, " ", s.At.Sub(noon)))
		}
	}
	if diff := cmp.Diff([]string{"egovmon_check_reason ok 4m59.999s"}, markers); diff != "" {
		t.Errorf("markers -want +got:\n%s", diff)
	}
}

func TestGaps(t *testing.T) {
	m := func(n int) time.Time { return noon.Add(-time.Hour + time.Duration(n)*time.Minute) }
	ok := func(n int) Point { return point("a", m(n), time.Minute, check.OK) }
	moved := ok(3)
	moved.Unit = "xa-binh-lang"
	for _, tt := range []struct {
		name   string
		points []Point
	}{
		{"one result", []Point{ok(0)}},
		{"missed slots", []Point{ok(0), ok(1), ok(4), ok(5)}},
		{"turns unknown and back", []Point{ok(0), point("a", m(1), time.Minute, check.NoUplink), ok(2)}},
		{"goes down for another reason each time", []Point{ok(0), point("a", m(1), time.Minute, check.Timeout), point("a", m(2), time.Minute, check.HTTPStatus), point("a", m(3), time.Minute, check.Timeout)}},
		{"machine moves to another unit", []Point{ok(1), ok(2), moved}},
		{"interval grows", []Point{ok(0), point("a", m(0).Add(20*time.Second), 5*time.Minute, check.OK)}},
		{"interval shrinks", []Point{point("a", m(0), 5*time.Minute, check.OK), point("a", m(1).Add(10*time.Second), 30*time.Second, check.Timeout), point("a", m(1).Add(40*time.Second), 30*time.Second, check.OK)}},
		{"daily", []Point{point("a", m(0).Add(-day), day, check.OK), point("a", m(0), time.Minute, check.OK)}},
	} {
		for _, batched := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " ", batched), func(t *testing.T) {
				db := openTest(t, Options{})
				if batched {
					add(t, db, tt.points...)
				} else {
					for _, p := range tt.points {
						add(t, db, p)
					}
				}
				sweepNow(t, db)
				from, to := m(-3), m(10)
				compare(t, meant(tt.points, from.Add(-day), to), drawn(t, db, from, to), from, to)
			})
		}
	}
}

// TestLateIsTheSame delivers the same results in order and in many other ways; the charts must be those of the rule.
func TestLateIsTheSame(t *testing.T) {
	reasons := []check.Reason{check.OK, check.OK, check.OK, check.Slow, check.Timeout, check.HTTPStatus, check.NoUplink}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			// An age of 0 is live, of 3 hours behind what the database's head takes in order.
			age := []time.Duration{0, 3 * time.Hour, 9 * day}[seed%3]
			from := noon.Add(-age - 30*time.Minute)
			var points []Point
			for _, c := range []struct {
				id    string
				every time.Duration
			}{{"a", time.Minute}, {"b", 20 * time.Second}, {"c", 10 * time.Minute}} {
				for at := from; at.Before(noon.Add(-age)); at = at.Add(c.every) {
					if rnd.IntN(5) > 0 {
						points = append(points, point(c.id, at, c.every, reasons[rnd.IntN(len(reasons))]))
					}
				}
			}
			now := noon
			db := openTest(t, Options{Settle: time.Second, Now: func() time.Time { return now }})
			add(t, db, point("now", noon.Add(-time.Minute), time.Minute, check.OK)) // moves the head to now
			want := slices.Clone(points)
			rnd.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
			for len(points) > 0 {
				n := 1 + rnd.IntN(min(20, len(points)))
				add(t, db, points[:n]...)
				if rnd.IntN(2) == 0 { // the same batch again
					if _, refused, err := db.AddPoints(t.Context(), points[:n]); err != nil || refused[Duplicate] != count(points[:n]) {
						t.Fatalf("the batch again: refused %v, %v; want %d duplicates", refused, err, count(points[:n]))
					}
				}
				if rnd.IntN(3) == 0 {
					sweepNow(t, db)
				}
				if age > 0 && rnd.IntN(6) == 0 { // what came late goes into blocks
					if err := db.raw.CompactOOOHead(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				points = points[n:]
			}
			now = noon.Add(time.Hour)
			sweepNow(t, db)
			to := noon.Add(-age + 20*time.Minute)
			want = append(want, point("now", noon.Add(-time.Minute), time.Minute, check.OK))
			compare(t, meant(want, from, to), drawn(t, db, from, to), from, to)
		})
	}
}

// TestFirstResultOfASlotStays feeds another result for a stored slot: figures decide between them, charts keep one.
func TestFirstResultOfASlotStays(t *testing.T) {
	db := openTest(t, Options{})
	a := point("a", noon.Add(-10*time.Minute), time.Minute, check.OK)
	b := point("a", noon.Add(-9*time.Minute), time.Minute, check.OK)
	other := a
	other.State, other.Reason = check.Down, check.Timeout
	if n, refused, err := db.AddPoints(t.Context(), []Point{a, b, other}); n != 8 || refused[Duplicate] != 4 || err != nil {
		t.Errorf("two results for one slot in a batch: accepted %d, refused %v, %v", n, refused, err)
	}
	for _, p := range []Point{a, b} {
		p.State, p.Reason = check.Down, check.Timeout
		ok, refused, err := db.AddPoints(t.Context(), []Point{p})
		if diff := cmp.Diff(map[string]int{Duplicate: 4}, refused); ok != 0 || err != nil || diff != "" {
			t.Errorf("accepted %d, %v; refused -want +got:\n%s", ok, err, diff)
		}
	}
	sweepNow(t, db)
	from, to := noon.Add(-15*time.Minute), noon
	compare(t, meant([]Point{a, b}, from, to), drawn(t, db, from, to), from, to)
}

func TestUnusablePoints(t *testing.T) {
	db := openTest(t, Options{})
	good := point("a", noon, time.Minute, check.OK)
	for _, tt := range []struct {
		name string
		edit func(*Point)
		want string
	}{
		{"future", func(p *Point) { p.Slot = noon.Add(time.Hour) }, Future},
		{"no interval", func(p *Point) { p.Every = 0 }, BadLabel},
		{"no machine", func(p *Point) { p.Machine = "" }, BadLabel},
		{"a reason of its own", func(p *Point) { p.Reason = "192.0.2.1 refused" }, BadLabel},
		{"too old", func(p *Point) { p.Slot = noon.Add(-16 * day) }, TooOld},
	} {
		t.Run(tt.name, func(t *testing.T) {
			add(t, db, good)
			good.Slot = good.Slot.Add(time.Minute)
			bad := point("b", noon, time.Minute, check.OK)
			tt.edit(&bad)
			_, refused, err := db.AddPoints(t.Context(), []Point{bad})
			if refused[tt.want] != 4 || err != nil {
				t.Errorf("refused %v, %v; want 4 as %s", refused, err, tt.want)
			}
		})
	}
	// The check that sent nonsense goes on.
	add(t, db, point("b", noon, time.Minute, check.OK))
}

// TestSilenceAfterARestart kills the program while results are open and opens the copy: what does not come again must
// end at its own time, what does come must go on.
func TestSilenceAfterARestart(t *testing.T) {
	dir := t.TempDir()
	from, to := noon.Add(-30*time.Minute), noon.Add(30*time.Minute)
	m := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	var points []Point
	for n := -20; n < 0; n += 2 {
		points = append(points, point("ended", m(n-10), 2*time.Minute, check.OK), point("on", m(n), 2*time.Minute, check.NoUplink))
	}
	for _, n := range []int{-20, -18, -16, -14, -6} { // the last distance is not the interval
		points = append(points, point("silent", m(n), 2*time.Minute, check.Slow))
	}
	points = append(points, point("silent", m(-4), 2*time.Minute, check.Slow), point("gap", m(-9), 2*time.Minute, check.OK), point("gap", m(-7), 2*time.Minute, check.OK), point("gap", m(-1), 2*time.Minute, check.OK))
	points = append(points, point("once", m(-1), time.Minute, check.Timeout))
	now := noon
	clock := func() time.Time { return now }
	db := openTest(t, Options{Dir: filepath.Join(dir, "a"), Now: clock})
	add(t, db, points...)
	sweepNow(t, db)
	killed := filepath.Join(dir, "b")
	if err := os.CopyFS(killed, os.DirFS(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	for _, lock := range []string{"raw/lock", "rollup/lock"} {
		if err := os.Remove(filepath.Join(killed, lock)); err != nil {
			t.Fatal(err)
		}
	}
	now = m(60)
	db = openTest(t, Options{Dir: killed, Now: clock})
	on := point("on", m(0), 2*time.Minute, check.OK)
	add(t, db, on)
	sweepNow(t, db)
	points = append(points, on)
	compare(t, meant(points, from.Add(-time.Hour), to), drawn(t, db, from, to), from, to)
}

// FuzzAddPoints feeds results whose words come from outside.
func FuzzAddPoints(f *testing.F) {
	f.Add("xa-an-thanh", "pc-1", "cong_h", "a", "http", "ok", int64(0), int64(60), int64(1))
	f.Add("", "\xff", "x\x00y", "a\nb", "…", "ok", int64(-1<<40), int64(-1), int64(-5))
	f.Add("u", "m", "s", "c", "k", "no such reason", int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, unit, machine, service, id, kind, reason string, slot, every, took int64) {
		db, err := Open(Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r := check.Reason(reason)
		p := Point{Unit: unit, Machine: machine, Service: service, Check: id, Kind: kind, Slot: noon.Add(time.Duration(slot)),
			Every: time.Duration(every), Took: time.Duration(took), State: r.State(), Reason: r}
		good := point("good", noon, time.Minute, check.OK)
		ok, refused, err := db.AddPoints(t.Context(), []Point{p, good})
		if err != nil {
			t.Fatal(err)
		}
		n := ok
		for _, k := range refused {
			n += k
		}
		if ok < count([]Point{good}) || n < count([]Point{p, good}) {
			t.Errorf("accepted %d, refused %v: samples are missing", ok, refused)
		}
		sweepNow(t, db)
	})
}

func TestPointsAtTheLimit(t *testing.T) {
	db := openTest(t, Options{MaxSeries: 2})
	var points []Point
	for i := range 5 {
		points = append(points, point(fmt.Sprint("c", i), noon, time.Minute, check.OK))
	}
	n, refused, err := db.AddPoints(t.Context(), points)
	if n != 2 || refused[SeriesLimit] != 18 || err != nil || len(db.feed.last) != 2 {
		t.Errorf("accepted %d, refused %v, %v, %d checks in memory; want 2, 18 and 2", n, refused, err, len(db.feed.last))
	}
}
