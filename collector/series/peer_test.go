package series

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"

	"github.com/google/go-cmp/cmp"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/storage/remote"
)

// resultsAt are the results of a check with a gap, an outage and an unknown, ending before end.
func resultsAt(end time.Time) []Point {
	var points []Point
	for i := range 60 {
		r := check.OK
		switch {
		case i >= 10 && i < 15:
			continue
		case i >= 20 && i < 30:
			r = check.ConnectRefused
		case i >= 40 && i < 45:
			r = check.NoUplink
		}
		points = append(points, point("a", end.Add(time.Duration(i-60)*time.Minute), time.Minute, r))
	}
	return points
}

// TestForwardToPrometheus sends to Prometheus's own receiver of the version this module has, by both protocols, live
// and ten days late, and compares the charts.
func TestForwardToPrometheus(t *testing.T) {
	for _, proto := range []remoteapi.WriteMessageType{remoteapi.WriteV2MessageType, remoteapi.WriteV1MessageType} {
		for _, age := range []time.Duration{0, 10 * day} {
			t.Run(fmt.Sprint(proto, " ", age), func(t *testing.T) {
				there := openTest(t, Options{})
				srv := httptest.NewServer(remote.NewWriteHandler(slog.New(slog.DiscardHandler), nil, there.raw, remoteapi.MessageTypes{proto}, false, false))
				t.Cleanup(srv.Close)
				end := noon.Add(-age)
				if _, _, err := there.Append(t.Context(), []Sample{gauge("now", noon, 1)}); err != nil {
					t.Fatal(err)
				}
				here := openTest(t, Options{RemoteWrite: []RemoteWrite{fast(srv.URL)}})
				add(t, here, resultsAt(end)...)
				sweepNow(t, here)
				drain(t, here)
				from := end.Add(-70 * time.Minute)
				want := drawn(t, here, from, end)
				if len(want) < 3000 {
					t.Fatalf("only %d seconds to compare", len(want))
				}
				compare(t, want, drawn(t, there, from, end), from, end)
			})
		}
	}
}

// TestForwardToDebian sends to the Prometheus of Debian, which knows remote write 1.0 only and takes 2.0 for an empty
// request.
func TestForwardToDebian(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is missing: apt-get install prometheus")
	}
	base := startPrometheus(t, program)
	end := time.Now().UTC().Truncate(time.Minute)
	rw := fast(base + "/api/v1/write")
	here := openTest(t, Options{RemoteWrite: []RemoteWrite{rw}, Now: time.Now})
	add(t, here, resultsAt(end)...)              // live
	add(t, here, resultsAt(end.Add(-9*day))...)  // late
	add(t, here, resultsAt(end.Add(-14*day))...) // beyond the receiver's window
	drain(t, here)
	for _, tt := range []struct {
		name string
		at   time.Time
		want string
	}{
		{"live", end, `"55"`},
		{"late", end.Add(-9 * day), `"55"`},
	} {
		_, body := do(t, http.MethodGet, base+"/api/v1/query", url.Values{
			"query": {`count_over_time(egovmon_check_last_run_timestamp_seconds[61m])`}, "time": {fmt.Sprint(tt.at.Unix())},
		})
		if !strings.Contains(body, tt.want) {
			t.Errorf("%s: %s, want %s results", tt.name, body, tt.want)
		}
	}
	_, body := do(t, http.MethodGet, base+"/api/v1/query", url.Values{"query": {`egovmon_check_success`}, "time": {fmt.Sprint(end.Add(-48 * time.Minute).Unix())}})
	if !strings.Contains(body, `"result":[]`) {
		t.Errorf("in the gap: %s, want nothing", body)
	}
	if diff := cmp.Diff(0, here.forwards[0].queue.waiting()); diff != "" {
		t.Error(diff)
	}
}

// startPrometheus runs a Prometheus that scrapes nothing and returns its address once it is ready.
func startPrometheus(t *testing.T, program string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 10d}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--query.lookback-delta=24h")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	ready := make(chan bool, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "ready to receive web requests") {
				ready <- true
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	select {
	case <-ready:
	case <-done:
		t.Fatalf("prometheus did not start:\n%s", log.String())
	}
	return "http://" + addr
}
