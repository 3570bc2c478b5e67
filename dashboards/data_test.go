package dashboards

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"egovmon/agent/check"
	"egovmon/collector/series"
	"egovmon/exporter"
)

// The recording: six hours, in the third of which neither collector nor agents ran. The portal is down in the fifth.
var (
	end     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	begin   = end.Add(-6 * time.Hour)
	gapFrom = begin.Add(2 * time.Hour)
	gapTo   = begin.Add(3 * time.Hour)
	badFrom = begin.Add(4 * time.Hour)
	badTo   = begin.Add(5 * time.Hour)
)

func running(at time.Time) bool { return at.Before(gapFrom) || !at.Before(gapTo) }

// stateOf is the portal's state at a time.
func stateOf(at time.Time) check.State {
	if !at.Before(badFrom) && at.Before(badTo) {
		return check.Down
	}
	return check.Up
}

// collectorAt is what the collector shows at a time: a portal that is well but for an hour, mail that nobody can judge,
// one machine that is heard of and one that is not.
func collectorAt(at time.Time) exporter.CollectorState {
	windows := func(calendar string) []exporter.Window {
		var ws []exporter.Window
		for _, name := range []string{"1h", "1d", "30d"} {
			ws = append(ws, exporter.Window{Calendar: calendar, Name: name, Lower: new(0.9), Upper: new(0.95), Coverage: new(0.97), Objective: new(0.995),
				Seconds: map[string]float64{"up": 3000, "down": 600}})
		}
		return ws
	}
	n := int64(at.Sub(begin) / time.Minute)
	result := func(r check.Reason, facts check.Facts) *check.Result {
		return &check.Result{Slot: at, Start: at, Took: time.Second, State: r.State(), Reason: r, Attempts: 1, Facts: facts,
			Phases: check.Phases{{Name: "dns", Took: time.Millisecond}, {Name: "connect", Took: time.Second}}}
	}
	return exporter.CollectorState{
		Watcher:       &exporter.Watcher{Confirmed: true, Last: at, Calls: map[string]uint64{"ok": uint64(n / 30)}},
		Controls:      []exporter.ControlFacts{{Control: "m04", Units: map[string]int{"pass": 1, "fail": 1}}},
		Layers:        []exporter.LayerFacts{{Unit: "xa-an-thanh", Layer: "1", Part: "measured", Controls: map[string]int{"fail": 1}}},
		UserCerts:     []exporter.UserCerts{{Unit: "xa-an-thanh", Within: map[string]int{"30d": 2}, Revocation: map[string]int{"revoked": 1}}},
		Notifications: []exporter.Notification{{Channel: "webhook", Result: "ok", N: uint64(n / 30)}},
		Build:         exporter.Build{Version: "1.2.3", Revision: "abc", Go: "go1.26.7"},
		Agents: []exporter.FleetAgent{
			{Machine: "pc-1", Unit: "xa-an-thanh", LastContact: at, Refused: map[string]int64{"gap": n / 60}, Rejected: map[string]int64{"slot": n / 30}},
			{Machine: "pc-2", Unit: "xa-chi-minh", LastContact: begin, Cloned: begin, Refused: map[string]int64{"gap": 0}, Rejected: map[string]int64{"slot": 0}},
		},
		Services: []exporter.ServiceFacts{
			{ID: "cong_h", State: stateOf(at), Units: map[string]check.State{"xa-an-thanh": stateOf(at), "xa-chi-minh": check.Unknown},
				View: map[string]int{"total": 2, "fresh": 1, "failing": 0}, Windows: append(windows("24x7"), windows("service_hours")...)},
			{ID: "mail", State: check.Unknown, Units: map[string]check.State{"xa-an-thanh": check.Degraded, "xa-chi-minh": check.Unknown},
				View: map[string]int{"total": 2, "fresh": 1, "failing": 0}, Windows: windows("24x7")},
		},
		WorkingTime: map[string]bool{"hanh-chinh": true}, NotConfigured: 3, ArchiveFailing: at, LogLeaves: n, LogCheckpoint: at,
		BuiltIn: &exporter.BuiltIn{Machine: "pc-1", Unit: "xa-an-thanh", State: exporter.AgentState{
			Runs: n, Missed: map[check.Reason]int64{check.MissedOverrun: n / 10}, Delay: exporter.Histogram{Bounds: []float64{0.1, 1}, Counts: []uint64{uint64(n), 0, 0}, Sum: 1},
			SpoolBatches: 1, SpoolBytes: 1000, SpoolOldest: at.Add(-time.Minute), SpoolDropped: map[check.Reason]int64{check.DataLost: 0}, SpoolSpared: n / 20,
			PushRequests: map[string]int64{"2xx": n}, PushLastSuccess: at, PushProblem: "proxy_auth", CertNotAfter: end.AddDate(0, 1, 0), PlanApplied: begin, PlanVersion: 17, ClockOffset: new(time.Second),
			Checks: []exporter.CheckState{
				{ID: "cong_h.tls", Service: "cong_h", Kind: "tls", Target: "portal.test:443", Every: time.Minute, Last: result(check.CertExpiring, check.Facts{
					{Name: "cert_not_after_unix", Value: float64(end.AddDate(0, 0, 10).Unix())}, {Name: "chain_valid_code", Value: 1}})},
				{ID: "dns_local.dns", Service: "dns_local", Kind: "dns", Target: "portal.test", Every: time.Minute, Last: result(check.OK, check.Facts{{Name: "rrsig_not_after_unix", Value: float64(end.AddDate(0, 0, 9).Unix())}})},
				{ID: "inet.ping", Service: "inet", Kind: "ping", Target: "192.0.2.1", Every: time.Minute, Last: result(check.PacketLoss, check.Facts{{Name: "loss_ratio", Value: 0.2}})},
			}}},
	}
}

// scraped is all that the collector shows at a time, with everything that can be asked for.
func scraped(t *testing.T, at time.Time) []series.Sample {
	t.Helper()
	w := httptest.NewRecorder()
	h := exporter.MetricsHandler(exporter.CollectorGatherer(func() exporter.CollectorState { return collectorAt(at) }), nil)
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics?collect=phases,tls,info,facts", nil))
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out []series.Sample
	for _, f := range families {
		out = append(out, samples(f, at)...)
	}
	return out
}

// samples are those of a family at a time.
func samples(f *dto.MetricFamily, at time.Time) []series.Sample {
	var out []series.Sample
	for _, m := range f.GetMetric() {
		var ls []series.Label
		for _, l := range m.GetLabel() {
			ls = append(ls, series.Label{Name: l.GetName(), Value: l.GetValue()})
		}
		add := func(name string, v float64, more ...series.Label) {
			out = append(out, series.Sample{Name: name, Labels: append(more, ls...), At: at, Value: v})
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			add(f.GetName(), m.GetCounter().GetValue())
		case dto.MetricType_GAUGE:
			add(f.GetName(), m.GetGauge().GetValue())
		case dto.MetricType_UNTYPED:
			add(f.GetName(), m.GetUntyped().GetValue())
		case dto.MetricType_HISTOGRAM:
			for _, b := range m.GetHistogram().GetBucket() {
				bound := "+Inf"
				if !math.IsInf(b.GetUpperBound(), 1) {
					bound = strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)
				}
				add(f.GetName()+"_bucket", float64(b.GetCumulativeCount()), series.Label{Name: "le", Value: bound})
			}
		}
	}
	return out
}

// recording makes a store with the six hours in it.
func recording(t *testing.T) *series.DB {
	t.Helper()
	db, err := series.Open(series.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return end.Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var rest []series.Sample // what the machine and the store show, the same all the time
	for _, g := range gatherers(t) {
		families, err := g.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "egovmon_") || strings.HasPrefix(f.GetName(), "egovmon_series") || strings.HasPrefix(f.GetName(), "egovmon_remote") {
				rest = append(rest, samples(f, end)...)
			}
		}
	}
	var points []series.Point
	for at := begin; !at.After(end); at = at.Add(time.Minute) {
		if !running(at) {
			if at.Equal(gapFrom) {
				gone := scraped(t, at)
				for i := range gone {
					gone[i].Stale = true
				}
				put(t, db, gone)
			}
			continue
		}
		now := scraped(t, at)
		if end.Sub(at) <= 10*time.Minute {
			for _, s := range rest {
				s.At = at
				now = append(now, s)
			}
		}
		put(t, db, now)
		r := check.OK
		if stateOf(at) == check.Down {
			r = check.ConnectRefused
		}
		points = append(points, series.Point{Unit: "xa-an-thanh", Machine: "pc-1", Service: "cong_h", Check: "cong_h.http", Kind: "http",
			Slot: at, Every: time.Minute, Took: time.Second, State: r.State(), Reason: r})
	}
	if _, refused, err := db.AddPoints(t.Context(), points); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
	put(t, db, rollups())
	return db
}

// rollups are hourly figures of the portal as a whole and from a unit.
func rollups() []series.Sample {
	var out []series.Sample
	for at := begin.Add(time.Hour); !at.After(end); at = at.Add(time.Hour) {
		coverage := 1.0
		if at.Equal(gapTo) {
			coverage = 0
		}
		for _, u := range []string{"", "xa-an-thanh"} {
			ls := []series.Label{{Name: "service", Value: "cong_h"}, {Name: "unit", Value: u}, {Name: "calendar", Value: "24x7"}, {Name: "window", Value: "1h"}}
			out = append(out, series.Sample{Name: exporter.ServiceCoverage, Labels: ls, At: at, Value: coverage},
				series.Sample{Name: exporter.ServiceAvail, Labels: append([]series.Label{{Name: "bound", Value: "upper"}}, ls...), At: at, Value: 1})
		}
	}
	return out
}

func put(t *testing.T, db *series.DB, ss []series.Sample) {
	t.Helper()
	for why, n := range refused(t, db, ss) {
		if why != series.Duplicate { // the hour's figure, which the collector shows and the roll-ups hold
			t.Fatalf("%d samples refused: %s", n, why)
		}
	}
}

func refused(t *testing.T, db *series.DB, ss []series.Sample) map[string]int {
	t.Helper()
	_, why, err := db.Append(t.Context(), ss)
	if err != nil {
		t.Fatal(err)
	}
	return why
}

// TestData asks every expression of the recording. Only what is marked as such may find nothing, and of that only what
// the recording cannot have does.
func TestData(t *testing.T) {
	db := recording(t)
	cannot := "egovmon_series_failures_total"
	for name, b := range boards() {
		for _, r := range b.rows {
			for _, p := range r.panels {
				for _, q := range p.queries {
					got, err := db.Query(t.Context(), filled(q.expr), end)
					if err != nil {
						t.Errorf("%s: panel %q: %s: %v", name, p.title.en, q.expr, err)
						continue
					}
					if len(got) == 0 && !(q.empty && strings.Contains(q.expr, cannot)) {
						t.Errorf("%s: panel %q finds nothing: %s", name, p.title.en, q.expr)
					}
					if len(got) > 100 {
						t.Errorf("%s: panel %q draws %d series", name, p.title.en, len(got))
					}
				}
			}
		}
	}
}

// TestFigures checks what the first panels say of the recording's last minute and of the outage.
func TestFigures(t *testing.T) {
	db := recording(t)
	for _, tt := range []struct {
		name, expr string
		at         time.Time
		want       map[string]float64
	}{
		{"down now", howMany("service", check.Down, whole), end, map[string]float64{"": 0}},
		{"down then", howMany("service", check.Down, whole), badFrom.Add(time.Minute), map[string]float64{"": 1}},
		{"unknown now", howMany("service", check.Unknown, whole), end, map[string]float64{"": 1}},
		{"nothing is known while nobody runs", howMany("service", check.Down, whole), gapFrom.Add(time.Minute), map[string]float64{}},
		{"systems", stateCode("service", whole), end, map[string]float64{"cong_h": codeUp, "mail": codeUnknown}},
		{"systems then", stateCode("service", whole), badFrom.Add(time.Minute), map[string]float64{"cong_h": codeDown, "mail": codeUnknown}},
		{"units", stateCode("unit", seenAny), end, map[string]float64{"xa-an-thanh": codeDegraded, "xa-chi-minh": codeUnknown}},
		{"units then", stateCode("unit", seenAny), badFrom.Add(time.Minute), map[string]float64{"xa-an-thanh": codeDown, "xa-chi-minh": codeUnknown}},
		{"silent", overviewStats()[4].queries[0].expr, end, map[string]float64{"": 1}},
		{"an hour with nothing known has no figure", hourly("service", `unit="xa-an-thanh",service=~"$service"`), gapTo, map[string]float64{}},
		{"an hour with", hourly("service", `unit="xa-an-thanh",service=~"$service"`), gapFrom, map[string]float64{"cong_h": 1}},
	} {
		vs, err := db.Query(t.Context(), filled(tt.expr), tt.at)
		if err != nil {
			t.Error(tt.name, err)
			continue
		}
		got := map[string]float64{}
		for _, v := range vs {
			got[v.Labels["service"]+v.Labels["unit"]] = v.Value
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		for k, w := range tt.want {
			if g, ok := got[k]; !ok || g != w {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

// TestGapInRecording draws every panel of states over the recording: nothing stands in the hour in which nothing ran,
// and something before and after it.
func TestGapInRecording(t *testing.T) {
	h := recording(t).Handler()
	n := 0
	for name, b := range boards() {
		for _, r := range b.rows {
			for _, p := range r.panels {
				if p.look != lookStates {
					continue
				}
				for _, q := range p.queries {
					before, within, after := drawn(t, h.ServeHTTP, filled(q.expr))
					if n++; before == 0 || after == 0 || within > 0 {
						t.Errorf("%s: panel %q draws %d points before the gap, %d within and %d after it: %s", name, p.title.en, before, within, after, q.expr)
					}
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d panels", n)
	}
}

// drawn counts the points of an expression before, within and after the gap. Points within the first minute of the gap
// are left out: the last results still speak for it.
func drawn(t *testing.T, serve http.HandlerFunc, expr string) (before, within, after int) {
	t.Helper()
	q := url.Values{"query": {expr}, "start": {strconv.FormatInt(begin.Unix(), 10)}, "end": {strconv.FormatInt(end.Unix(), 10)}, "step": {"60"}}
	w := httptest.NewRecorder()
	serve(w, httptest.NewRequest("GET", "/api/v1/query_range?"+q.Encode(), nil))
	var a struct {
		Status string
		Data   struct{ Result []struct{ Values [][2]any } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Status != "success" {
		t.Fatalf("%s: %s", expr, w.Body)
	}
	for _, s := range a.Data.Result {
		for _, v := range s.Values {
			f, _ := v[0].(float64)
			switch at := time.Unix(int64(f), 0); {
			case at.Before(gapFrom):
				before++
			case at.After(gapFrom.Add(time.Minute)) && at.Before(gapTo):
				within++
			case !at.Before(gapTo):
				after++
			}
		}
	}
	return before, within, after
}
