package series

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serveTest serves the API over two raw series and a roll-up.
func serveTest(t *testing.T, o Options) *httptest.Server {
	t.Helper()
	o.Metadata = []Metadata{{Name: Success, Type: "gauge", Help: "Whether it works.", Unit: ""}, {Name: Duration, Type: "gauge", Help: "How long.", Unit: "seconds"}}
	db := openTest(t, o)
	var samples []Sample
	for i := range 5 {
		at := noon.Add(time.Duration(i-5) * time.Minute)
		samples = append(samples, gauge(Success, at, 1, "check", "a"), gauge(Success, at, float64(i%2), "check", "b"))
	}
	if ok, refused, err := db.Append(t.Context(), samples); ok != 10 || err != nil {
		t.Fatal(ok, refused, err)
	}
	if ok, refused, err := db.AppendRollup(t.Context(), []Sample{gauge("egovmon_service_coverage_ratio", noon, 0.5, "service", "cong_h")}); ok != 1 || err != nil {
		t.Fatal(ok, refused, err)
	}
	srv := httptest.NewServer(db.Handler())
	t.Cleanup(srv.Close)
	return srv
}

func do(t *testing.T, method, u string, form url.Values) (int, string) {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else if len(form) > 0 {
		u += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, u, body)
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestEndpoints asks every path that Grafana's Prometheus data source uses, as it asks.
func TestEndpoints(t *testing.T) {
	srv := serveTest(t, Options{Version: "1.2.3"})
	at, from, to := "1795410000", "1795409700", "1795410000" // noon; five minutes before; noon
	if got := noon.Unix(); got != 1795410000 {
		t.Fatalf("noon is %d", got)
	}
	const a = `{"__name__":"egovmon_check_success","check":"a"}`
	for _, tt := range []struct {
		path string
		form url.Values
		want string // JSON of data
	}{
		{"query", url.Values{"query": {`egovmon_check_success{check="a"}`}, "time": {at}},
			`{"resultType":"vector","result":[{"metric":` + a + `,"value":[1795410000,"1"]}]}`},
		{"query", url.Values{"query": {`egovmon_service_coverage_ratio * 2`}, "time": {at}},
			`{"resultType":"vector","result":[{"metric":{"service":"cong_h"},"value":[1795410000,"1"]}]}`},
		{"query_range", url.Values{"query": {`sum(egovmon_check_success)`}, "start": {from}, "end": {to}, "step": {"60"}},
			`{"resultType":"matrix","result":[{"metric":{},"values":[[1795409700,"1"],[1795409760,"2"],[1795409820,"1"],[1795409880,"2"],[1795409940,"1"],[1795410000,"1"]]}]}`},
		{"labels", url.Values{"start": {from}, "end": {to}}, `["__name__","check","service"]`},
		{"labels", url.Values{"match[]": {"egovmon_check_success"}}, `["__name__","check"]`},
		{"series", url.Values{"match[]": {`{check="a"}`}, "start": {from}, "end": {to}}, `[` + a + `]`},
		{"format_query", url.Values{"query": {`sum  by(check)(egovmon_check_success )`}}, `"sum by (check) (egovmon_check_success)"`},
		{"parse_query", url.Values{"query": {`1`}}, `{"type":"numberLiteral","val":"1"}`},
		{"label/check/values", url.Values{"start": {from}, "end": {to}}, `["a","b"]`},
		{"label/__name__/values", nil, `["egovmon_check_success","egovmon_service_coverage_ratio"]`},
		{"metadata", nil, `{"egovmon_check_success":[{"type":"gauge","help":"Whether it works.","unit":""}],"egovmon_check_duration_seconds":[{"type":"gauge","help":"How long.","unit":"seconds"}]}`},
		{"metadata", url.Values{"metric": {Duration}, "limit": {"1"}}, `{"egovmon_check_duration_seconds":[{"type":"gauge","help":"How long.","unit":"seconds"}]}`},
		{"metadata", url.Values{"limit": {"1"}}, `{"egovmon_check_success":[{"type":"gauge","help":"Whether it works.","unit":""}]}`},
		{"rules", nil, `{"groups":[]}`},
		{"alerts", nil, `{"alerts":[]}`},
	} {
		methods := []string{http.MethodGet, http.MethodPost}
		if strings.Contains(tt.path, "/") || tt.path == "metadata" || tt.path == "rules" || tt.path == "alerts" {
			methods = methods[:1]
		}
		for _, method := range methods {
			t.Run(method+" "+tt.path, func(t *testing.T) {
				code, body := do(t, method, srv.URL+"/api/v1/"+tt.path, tt.form)
				var got struct {
					Status string
					Data   any
				}
				var want any
				if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got.Status != "success" {
					t.Fatalf("%d %s (%v)", code, body, err)
				}
				if diff := cmp.Diff(want, got.Data); diff != "" {
					t.Errorf("data -want +got:\n%s", diff)
				}
			})
		}
	}
	t.Run("buildinfo", func(t *testing.T) {
		code, body := do(t, http.MethodGet, srv.URL+"/api/v1/status/buildinfo", nil)
		if code != 200 || !strings.Contains(body, `"version":"3.16.0"`) || !strings.Contains(body, `"revision":"1.2.3"`) {
			t.Errorf("%d %s", code, body)
		}
	})
}

// TestNotServed asks for what changes things, shows the inside, or does not exist.
func TestNotServed(t *testing.T) {
	srv := serveTest(t, Options{})
	for _, p := range []string{
		"POST /api/v1/admin/tsdb/delete_series?match[]=egovmon_check_success", "PUT /api/v1/admin/tsdb/snapshot", "POST /api/v1/admin/tsdb/clean_tombstones",
		"POST /api/v1/write", "POST /api/v1/otlp/v1/metrics", "POST /api/v1/read", "POST /-/quit", "POST /-/reload",
		"GET /api/v1/status/config", "GET /api/v1/status/flags", "GET /api/v1/targets", "GET /api/v1/notifications/live", "GET /metrics", "GET /",
		"DELETE /api/v1/series", "POST /api/v1/rules",
	} {
		method, path, _ := strings.Cut(p, " ")
		code, body := do(t, method, srv.URL+path, nil)
		if code != http.StatusNotFound || !strings.Contains(body, `"status":"error"`) {
			t.Errorf("%s: %d %s, want 404 in the API's form", p, code, body)
		}
	}
}

func TestQueryBounds(t *testing.T) {
	srv := serveTest(t, Options{MaxSamples: 5})
	at := "1795410000"
	for _, tt := range []struct {
		name, query string
		code        int
		want        string
	}{
		{"broken", "sum(", 400, "bad_data"},
		{"too many samples", `egovmon_check_success[10m]`, 422, "too many samples"},
		{"too long", `sum(` + strings.Repeat("1+", maxForm/2) + `1)`, 413, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body := do(t, http.MethodPost, srv.URL+"/api/v1/query", url.Values{"query": {tt.query}, "time": {at}})
			if code != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("%d %.200s, want %d and %q", code, body, tt.code, tt.want)
			}
		})
	}
	t.Run("points", func(t *testing.T) {
		code, body := do(t, http.MethodGet, srv.URL+"/api/v1/query_range", url.Values{"query": {"1"}, "start": {"0"}, "end": {at}, "step": {"1"}})
		if code != 400 || !strings.Contains(body, "11,000 points") {
			t.Errorf("%d %.200s", code, body)
		}
	})
}

// TestQueriesWaitForTheirTurn holds the only place and asks once more.
func TestQueriesWaitForTheirTurn(t *testing.T) {
	db := openTest(t, Options{})
	turns := make(chan struct{}, 1)
	h := db.limited(turns, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	ask := func(ctx context.Context) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
		return w.Code
	}
	turns <- struct{}{}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if code := ask(impatient); code != http.StatusServiceUnavailable {
		t.Errorf("with every place taken: %d, want 503", code)
	}
	<-turns
	for range 3 { // a place must be given back
		if code := ask(t.Context()); code != http.StatusOK {
			t.Errorf("with a free place: %d, want 200", code)
		}
	}
}

// TestPromtool asks as an administrator does.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing: apt-get install prometheus")
	}
	srv := serveTest(t, Options{})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"instant", "--time=1795410000", srv.URL, "sum(egovmon_check_success)"}, "{} => 1 @[1795410000]"},
		{[]string{"range", "--start=1795409700", "--end=1795409760", "--step=60s", srv.URL, "sum(egovmon_check_success)"}, "1 @[1795409700]\n2 @[1795409760]"},
		{[]string{"series", "--match=egovmon_service_coverage_ratio", "--start=1795409700", "--end=1795410000", srv.URL}, `{__name__="egovmon_service_coverage_ratio", service="cong_h"}`},
		{[]string{"labels", srv.URL, "check"}, "a\nb"},
	} {
		t.Run(tt.args[0], func(t *testing.T) {
			var out, problem bytes.Buffer
			cmd := exec.CommandContext(t.Context(), tool, append([]string{"query"}, tt.args...)...)
			cmd.Stdout, cmd.Stderr = &out, &problem
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, problem.String())
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("got\n%s\nwant it to have\n%s", out.String(), tt.want)
			}
		})
	}
}
