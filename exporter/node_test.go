package exporter

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// One part that hangs, one that fails and one that panics are left out and named; the scrape ends in time and answers
// with the rest, and what hangs is not asked twice.
func TestNodeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		n := &node{limit: nodeTime, parts: []*nodePart{
			{name: "hangs", read: func(context.Context) (func(*set), error) {
				asked.Add(1)
				<-release
				return func(s *set) { s.add("node_load1", 9) }, nil
			}},
			{name: "fails", read: func(context.Context) (func(*set), error) { return nil, errors.New("no") }},
			{name: "panics", read: func(context.Context) (func(*set), error) { panic("odd hardware") }},
			{name: "works", read: func(context.Context) (func(*set), error) {
				return func(s *set) { s.add("node_load5", 5) }, nil
			}},
		}}
		gather := func() []*dto.MetricFamily {
			mfs, err := n.Gather()
			if err != nil {
				t.Fatal(err)
			}
			return mfs
		}
		for range 3 {
			begin := time.Now()
			mfs := gather()
			if took := time.Since(begin); took > nodeTime {
				t.Errorf("took %s", took)
			}
			for part, want := range map[string]float64{"hangs": 0, "fails": 0, "panics": 0, "works": 1} {
				if v, ok := value(mfs, "node_scrape_collector_success", "collector", part); v != want || !ok {
					t.Errorf("%s: %v %v", part, v, ok)
				}
			}
			if v, _ := value(mfs, "node_load5"); v != 5 {
				t.Error("what works is not shown")
			}
			if _, ok := value(mfs, "node_load1"); ok {
				t.Error("what hangs is shown")
			}
		}
		if got := asked.Load(); got != 1 {
			t.Errorf("what hangs was asked %d times", got)
		}
		close(release)
		synctest.Wait()
		if v, _ := value(gather(), "node_load1"); v != 9 {
			t.Error("what hung is not asked again")
		}
	})
}

func TestNode(t *testing.T) {
	mfs, err := NodeGatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, mf := range mfs {
		f, ok := find(mf.GetName())
		if !ok || mf.GetHelp() != f.Help || !strings.EqualFold(mf.GetType().String(), string(f.Type)) {
			t.Errorf("%s is another than in the table", mf.GetName())
		}
		for _, m := range mf.Metric {
			var names []string
			for _, l := range m.Label {
				names = append(names, l.GetName())
			}
			if !slices.Equal(names, f.Labels) {
				t.Errorf("%s: labels %v, the table has %v", mf.GetName(), names, f.Labels)
			}
		}
	}
	for _, name := range []string{"node_time_seconds", "node_boot_time_seconds", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_uname_info"} {
		if v, ok := value(mfs, name); !ok || v <= 0 {
			t.Errorf("%s: %v %v", name, v, ok)
		}
	}
	if _, ok := value(mfs, "node_load1"); ok == (runtime.GOOS == "windows") {
		t.Errorf("node_load1: %v", ok)
	}
	if got := len(first(make([]int, 5000))); got != maxDevices {
		t.Errorf("%d devices", got)
	}
}

// Every family and series that we show under a name of node_exporter is there in the real one, with near numbers.
func TestLikeNodeExporter(t *testing.T) {
	program, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		t.Skip("prometheus-node-exporter is missing: apt-get install prometheus-node-exporter")
	}
	theirs := nodeExporter(t, program)
	mfs, err := NodeGatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	near := regexp.MustCompile(`^node_(memory_(MemTotal|Swap(Total|Free)|Cached|Buffers)_bytes|filesystem_.*|boot_time_seconds|time_seconds|uname_info|cpu_seconds_total)$`)
	compared := 0
	for _, mf := range mfs {
		name := mf.GetName()
		if strings.HasPrefix(name, "node_scrape_") {
			continue // theirs has its own parts
		}
		their, ok := theirs[name]
		if !ok || their.GetType() != mf.GetType() {
			t.Errorf("%s is not there as a %s", name, mf.GetType())
			continue
		}
		for _, m := range mf.Metric {
			var labels []string
			skip := false
			for _, l := range m.Label {
				labels = append(labels, l.GetName(), l.GetValue())
				skip = skip || l.GetValue() == "lo" // Debian leaves it out
			}
			got := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			want, ok := value([]*dto.MetricFamily{their}, name, labels...)
			switch {
			case skip:
			case !ok:
				t.Errorf("%s%v is not there", name, labels)
			case near.MatchString(name) && max(got, want)-min(got, want) > 0.05*max(got, want)+5:
				t.Errorf("%s%v is %v, there %v", name, labels, got, want)
			default:
				compared++
			}
		}
	}
	if compared < 30 {
		t.Errorf("compared only %d series", compared)
	}
}

// nodeExporter runs the real one for one scrape.
func nodeExporter(t *testing.T, program string) map[string]*dto.MetricFamily {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.CommandContext(t.Context(), program, "--web.listen-address="+addr, "--log.format=logfmt")
	cmd.Env = append(os.Environ(), "ARGS=")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	up := false
	for !up && lines.Scan() {
		up = strings.Contains(lines.Text(), addr)
	}
	if !up {
		t.Fatal("node_exporter ended without listening")
	}
	go func() { // so that it never waits for us to read
		for lines.Scan() {
			continue
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	mfs, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return mfs
}
