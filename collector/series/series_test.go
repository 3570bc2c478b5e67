package series

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// noon is the time of the tests.
var noon = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

func openTest(t testing.TB, o Options) *DB {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	db, err := Open(withLogger(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func withLogger(o Options) Options {
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

func gauge(name string, at time.Time, v float64, kv ...string) Sample {
	s := Sample{Name: name, At: at, Value: v}
	for i := 0; i < len(kv); i += 2 {
		s.Labels = append(s.Labels, Label{kv[i], kv[i+1]})
	}
	return s
}

// value1 returns the only value of an expression.
func value1(t *testing.T, db *DB, expr string, at time.Time) float64 {
	t.Helper()
	vs, err := db.Query(t.Context(), expr, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(vs) != 1 {
		t.Fatalf("%s at %s gave %d series, want 1: %v", expr, at, len(vs), vs)
	}
	return vs[0].Value
}

func TestAppendCountsWhatItRefuses(t *testing.T) {
	db := openTest(t, Options{MaxSeries: 20})
	ok, refused, err := db.Append(t.Context(), []Sample{gauge("m", noon, 1, "a", "x")})
	if err != nil || ok != 1 || len(refused) != 0 {
		t.Fatalf("Append = %d, %v, %v", ok, refused, err)
	}
	long := strings.Repeat("x", 100_000)
	many := gauge("m", noon, 1)
	for i := range 17 {
		many.Labels = append(many.Labels, Label{fmt.Sprintf("l%d", i), "v"})
	}
	for _, tt := range []struct {
		name    string
		s       Sample
		refused string // empty: accepted
	}{
		{"the same again", gauge("m", noon, 1, "a", "x"), ""},
		{"another value at that time", gauge("m", noon, 2, "a", "x"), Duplicate},
		{"late", gauge("m", noon.Add(-14*day), 1, "a", "x"), ""},
		{"the same late one again", gauge("m", noon.Add(-14*day), 1, "a", "x"), ""},
		{"another value for the late one", gauge("m", noon.Add(-14*day), 2, "a", "x"), Duplicate},
		{"too late", gauge("m", noon.Add(-16*day), 1, "a", "x"), TooOld},
		{"a little ahead", gauge("m", noon.Add(9*time.Minute), 1, "a", "x"), ""},
		{"far ahead", gauge("m", noon.Add(11*time.Minute), 1, "a", "x"), Future},
		{"NaN", gauge("m", noon.Add(time.Second), math.NaN(), "a", "nan"), ""},
		{"the bits of a marker", gauge("m", noon.Add(2*time.Second), math.Float64frombits(0x7ff0000000000002), "a", "nan"), ""},
		{"infinity", gauge("m", noon, math.Inf(1), "a", "inf"), ""},
		{"empty value", gauge("m", noon, 1, "a", "y", "b", ""), ""},
		{"no name", gauge("", noon, 1), BadLabel},
		{"name of the metric twice", gauge("m", noon, 1, "__name__", "n"), BadLabel},
		{"label twice", gauge("m", noon, 1, "a", "x", "a", "x"), BadLabel},
		{"bad label name", gauge("m", noon, 1, "a-b", "x"), BadLabel},
		{"long label name", gauge("m", noon, 1, long, "x"), BadLabel},
		{"long value", gauge("m", noon, 1, "a", long), BadLabel},
		{"longest value", gauge("m", noon, 1, "a", long[:maxValueBytes]), ""},
		{"not UTF-8", gauge("m", noon, 1, "a", "\xff"), BadLabel},
		{"too many labels", many, BadLabel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := gauge("other", noon, 1)
			ok, refused, err := db.Append(t.Context(), []Sample{tt.s, other})
			if err != nil {
				t.Fatal(err)
			}
			want, wantOK := map[string]int{}, 2
			if tt.refused != "" {
				want, wantOK = map[string]int{tt.refused: 1}, 1
			}
			if diff := cmp.Diff(want, refused); ok != wantOK || diff != "" {
				t.Errorf("accepted %d, want %d; refused -want +got:\n%s", ok, wantOK, diff)
			}
		})
	}
	twice := []Sample{gauge("m", noon.Add(-13*day), 1, "a", "x"), gauge("m", noon.Add(-13*day), 2, "a", "x")}
	if ok, refused, err := db.Append(t.Context(), twice); ok != 1 || refused[Duplicate] != 1 || err != nil {
		t.Errorf("two late values at one time: accepted %d, refused %v, %v", ok, refused, err)
	}
	if v := value1(t, db, `m{a="nan"}`, noon.Add(3*time.Second)); !math.IsNaN(v) {
		t.Errorf("NaN came back as %v: a value must not end a series", v)
	}
	if v := value1(t, db, `m{a="x"}`, noon.Add(time.Minute)); v != 1 {
		t.Errorf("the first value at a time must stay, got %v", v)
	}
	if v := value1(t, db, `m{a="y",b=""}`, noon); v != 1 {
		t.Errorf("a label without value must be left out, got %v", v)
	}
}

func TestSeriesLimit(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := openTest(t, Options{MaxSeries: 3, Registry: reg})
	var all []Sample
	for i := range 5 {
		all = append(all, gauge("m", noon, 1, "i", fmt.Sprint(i)))
	}
	ok, refused, err := db.Append(t.Context(), all)
	if err != nil || ok != 3 || refused[SeriesLimit] != 2 {
		t.Fatalf("Append = %d, %v, %v; want 3 accepted and 2 above the limit", ok, refused, err)
	}
	if ok, refused, err = db.Append(t.Context(), []Sample{gauge("m", noon.Add(time.Second), 2, "i", "1")}); ok != 1 || err != nil {
		t.Errorf("a known series at the limit: %d, %v, %v", ok, refused, err)
	}
	if ok, _, err = db.AppendRollup(t.Context(), all); ok != 3 || err != nil {
		t.Errorf("roll-ups have a limit of their own: accepted %d, %v", ok, err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	want := `
# HELP egovmon_series_active Series in memory.
# TYPE egovmon_series_active gauge
egovmon_series_active{store="raw"} 3
egovmon_series_active{store="rollup"} 3
# HELP egovmon_series_failures_total Failures of a store's own housekeeping.
# TYPE egovmon_series_failures_total counter
egovmon_series_failures_total{store="raw",what="compact"} 0
egovmon_series_failures_total{store="raw",what="corrupt"} 0
egovmon_series_failures_total{store="raw",what="reload"} 0
egovmon_series_failures_total{store="raw",what="truncate"} 0
egovmon_series_failures_total{store="raw",what="write"} 0
egovmon_series_failures_total{store="rollup",what="compact"} 0
egovmon_series_failures_total{store="rollup",what="corrupt"} 0
egovmon_series_failures_total{store="rollup",what="reload"} 0
egovmon_series_failures_total{store="rollup",what="truncate"} 0
egovmon_series_failures_total{store="rollup",what="write"} 0
# HELP egovmon_series_samples_total Samples offered to a store, by what became of them.
# TYPE egovmon_series_samples_total counter
egovmon_series_samples_total{outcome="accepted",store="raw"} 4
egovmon_series_samples_total{outcome="accepted",store="rollup"} 3
egovmon_series_samples_total{outcome="bad_label",store="raw"} 0
egovmon_series_samples_total{outcome="bad_label",store="rollup"} 0
egovmon_series_samples_total{outcome="duplicate",store="raw"} 0
egovmon_series_samples_total{outcome="duplicate",store="rollup"} 0
egovmon_series_samples_total{outcome="future",store="raw"} 0
egovmon_series_samples_total{outcome="future",store="rollup"} 0
egovmon_series_samples_total{outcome="series_limit",store="raw"} 2
egovmon_series_samples_total{outcome="series_limit",store="rollup"} 2
egovmon_series_samples_total{outcome="too_old",store="raw"} 0
egovmon_series_samples_total{outcome="too_old",store="rollup"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "egovmon_series_active", "egovmon_series_samples_total", "egovmon_series_failures_total"); err != nil {
		t.Error(err)
	}
}

func TestRollupsAndRawAnswerTogether(t *testing.T) {
	db := openTest(t, Options{})
	old := noon.Add(-90 * day)
	if ok, refused, err := db.AppendRollup(t.Context(), []Sample{gauge("hours", noon, 2, "service", "cong_h"), gauge("hours", old, 1, "service", "cong_h")}); ok != 2 || err != nil {
		t.Fatalf("AppendRollup = %d, %v, %v", ok, refused, err)
	}
	if ok, _, err := db.Append(t.Context(), []Sample{gauge("now", noon, 40, "service", "cong_h")}); ok != 1 || err != nil {
		t.Fatal(ok, err)
	}
	if v := value1(t, db, `hours + on(service) now`, noon); v != 42 {
		t.Errorf("raw and roll-up together = %v, want 42", v)
	}
	if v := value1(t, db, `hours`, old.Add(time.Hour)); v != 1 {
		t.Errorf("old roll-up = %v, want 1", v)
	}
	if _, err := db.Query(t.Context(), `hours[1h]`, noon); err == nil || !strings.Contains(err.Error(), "instant vector") {
		t.Errorf("a range gave %v, want an error that says what to ask for", err)
	}
	if _, err := db.Query(t.Context(), `hours +`, noon); err == nil {
		t.Error("a broken expression gave no error")
	}
}

// TestUncleanStop copies the folder of an open database, which is what a killed program leaves, and opens the copy.
func TestUncleanStop(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, Options{Dir: filepath.Join(dir, "a")})
	var samples []Sample
	for i := range 500 {
		samples = append(samples, gauge("m", noon.Add(time.Duration(i-500)*time.Second), float64(i), "a", "x"))
	}
	late := gauge("m", noon.Add(-10*day), 7, "a", "x")
	if ok, _, err := db.Append(t.Context(), append(samples, late)); ok != 501 || err != nil {
		t.Fatal(ok, err)
	}
	killed := filepath.Join(dir, "b")
	if err := os.CopyFS(killed, os.DirFS(filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	for _, lock := range []string{"raw/lock", "rollup/lock"} {
		if err := os.Remove(filepath.Join(killed, lock)); err != nil {
			t.Fatal(err)
		}
	}
	again := openTest(t, Options{Dir: killed})
	if n := value1(t, again, `count_over_time(m[1h])`, noon); n != 500 {
		t.Errorf("after the kill %v samples are there, want 500", n)
	}
	if v := value1(t, again, `m`, late.At); v != 7 {
		t.Errorf("after the kill the late sample is %v, want 7", v)
	}
}

func TestOpenTwice(t *testing.T) {
	db := openTest(t, Options{})
	_, err := Open(Options{Dir: db.o.Dir, Logger: db.o.Logger})
	if err == nil || !strings.Contains(err.Error(), db.o.Dir) {
		t.Errorf("a second Open gave %v, want an error that names the folder", err)
	}
}

func TestWipe(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Append(t.Context(), []Sample{gauge("m", noon, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Wipe(dir); err != nil {
		t.Fatal(err)
	}
	vs, err := openTest(t, Options{Dir: dir}).Query(t.Context(), "m", noon)
	if err != nil || len(vs) != 0 {
		t.Errorf("after Wipe: %v, %v", vs, err)
	}
}

func TestBounds(t *testing.T) {
	o := Options{}.withDefaults()
	raw, rollup := rawOptions(o), rollupOptions()
	got := []int64{raw.RetentionDuration, raw.MaxBytes, raw.OutOfOrderTimeWindow, rollup.RetentionDuration, rollup.MaxBytes, int64(o.MaxSeries)}
	const dayMS = 24 * 60 * 60 * 1000
	if diff := cmp.Diff([]int64{45 * dayMS, 20e9, 15 * dayMS, 5 * 365 * dayMS, 0, 300_000}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRetention fills two months and lets the database do its housekeeping.
func TestRetention(t *testing.T) {
	db := openTest(t, Options{})
	for at := noon.Add(-60 * day); at.Before(noon); at = at.Add(2 * day) {
		if n, refused, err := db.Append(t.Context(), []Sample{gauge("m", at, 1)}); n != 1 || err != nil {
			t.Fatal(n, refused, err)
		}
	}
	if err := db.raw.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	oldest, err := db.raw.StartTime()
	if err != nil {
		t.Fatal(err)
	}
	if age := noon.Sub(time.UnixMilli(oldest)); age < 45*day || age > 52*day {
		t.Errorf("the oldest sample is %v old, want 45 days and at most a block more", age)
	}
	if n := value1(t, db, `count_over_time(m[40d])`, noon); n != 19 {
		t.Errorf("%v samples of the last 40 days, want 19", n)
	}
}
