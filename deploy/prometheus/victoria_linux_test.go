package prometheus_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/collector/series"
	"egovmon/deploy/lab/servers"
)

// TestVictoriaMetrics sends results to Debian's VictoriaMetrics by the collector's remote write, live ones and some of
// nine days ago, and reads them back: values, their own times, and the gap.
func TestVictoriaMetrics(t *testing.T) {
	p := place(t, "victoria-metrics")
	m, err := servers.StartVictoria(t.Context(), p)
	base := stopped(t, m, err).URL()

	db, err := series.Open(series.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), RemoteWrite: []series.RemoteWrite{
		{Name: "victoria", URL: servers.VictoriaWrite(p), MinBackoff: 10 * time.Millisecond, MaxBackoff: time.Second}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- db.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})

	end := time.Now().UTC().Truncate(time.Minute).Add(-10 * time.Minute)
	old := end.Add(-9 * 24 * time.Hour)
	want := map[int64]string{}
	var points []series.Point
	for _, from := range []time.Time{old, end} {
		for i := range 30 {
			reason, value := check.OK, "1"
			switch {
			case i >= 10 && i < 15: // not measured
				continue
			case i >= 20:
				reason, value = check.ConnectRefused, "0"
			}
			r := check.Because(reason, "")
			slot := from.Add(time.Duration(i-30) * time.Minute)
			want[slot.Unix()] = value
			points = append(points, series.Point{Unit: "xa-an-thanh", Machine: "pc-1", Service: "cong_h", Check: "cong_h.http", Kind: "http",
				Slot: slot, Every: time.Minute, Took: time.Second, State: r.State, Reason: r.Reason})
		}
	}
	if n, refused, err := db.AddPoints(t.Context(), points); err != nil || len(refused) > 0 {
		t.Fatal(n, refused, err)
	}

	var got map[int64]string
	until(t, func() string {
		got = map[int64]string{}
		for _, to := range []time.Time{old, end} {
			fs, err := ask(t, base, "/api/v1/query", url.Values{"nocache": {"1"},
				"query": {`egovmon_check_success{unit="xa-an-thanh",machine="pc-1",service="cong_h",check="cong_h.http",kind="http"}[45m]`}, "time": {strconv.FormatInt(to.Unix(), 10)}})
			if err != nil {
				return err.Error()
			}
			for _, f := range fs {
				for _, v := range f.Values {
					if at, ok := v[0].(float64); ok && fmt.Sprint(v[1]) != "NaN" {
						got[int64(at)] = fmt.Sprint(v[1])
					}
				}
			}
		}
		if len(got) < len(want) {
			return fmt.Sprintf("%d of %d results", len(want)-len(got), len(want))
		}
		return ""
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-sent +read back):\n%s", diff)
	}
}
