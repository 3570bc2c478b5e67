package prometheus_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egovmon/deploy/lab/servers"
)

// need finds a program of a Debian package, or skips.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is missing: apt-get install %s", program, pkg)
	}
	return path
}

// place is where a server of the lab's runs until the end of the test, on loopback; without its program the test is skipped.
func place(t *testing.T, program string) servers.Place {
	t.Helper()
	if err := servers.Require(program); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s said: %.2000s", program, text)
		}
	})
	return servers.Loopback(dir, netip.MustParseAddr("127.0.0.1"), log)
}

// stopped ends a server at the end of the test.
func stopped(t *testing.T, m *servers.Metrics, err error) *servers.Metrics {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// until asks again and again until nothing is missing any more; it gives up after two minutes, which is far more than
// any of this takes.
func until(t *testing.T, missing func() string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		what := missing()
		if what == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still missing: %s", what)
		case <-tick.C:
		}
	}
}

// A found is one series of an answer.
type found struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	Values [][2]any          `json:"values"`
}

// ask asks a Prometheus HTTP API.
func ask(t *testing.T, base, path string, q url.Values) ([]found, error) {
	t.Helper()
	resp, err := http.Get(base + path + "?" + q.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var a struct {
		Status, Error string
		Data          struct{ Result []found }
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Status != "success" {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return a.Data.Result, nil
}

// line writes a series in one line, without what tells where it was scraped from.
func line(f found) string {
	var parts []string
	for _, k := range []string{"__name__", "alertname", "check", "instance", "job", "machine", "service", "state", "unit"} {
		if v, ok := f.Metric[k]; ok {
			parts = append(parts, k+"="+v)
		}
	}
	return fmt.Sprintf("%s %v", strings.Join(parts, " "), f.Value[1])
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
