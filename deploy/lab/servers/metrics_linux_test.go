package servers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// askSeries asks a Prometheus HTTP API for one number.
func askSeries(t *testing.T, m *Metrics, expr string) (string, error) {
	t.Helper()
	resp, err := http.Get(m.URL() + "/api/v1/query?" + url.Values{"query": {expr}, "nocache": {"1"}}.Encode())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var a struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&a); err != nil || len(a.Data.Result) == 0 {
		return "", fmt.Errorf("%s has no value: %s %w", expr, resp.Status, err)
	}
	return fmt.Sprint(a.Data.Result[0].Value[1]), nil
}

// valued waits until a number is there.
func valued(t *testing.T, m *Metrics, expr, want string) {
	t.Helper()
	err := until(t.Context(), nil, expr, func() error {
		got, err := askSeries(t, m, expr)
		if err == nil && got != want {
			err = fmt.Errorf("%s, want %s", got, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Prometheus scrapes what holds the collector's token, judges the rules and lets Alertmanager tell; both keep what they have.
func TestPrometheusAndAlertmanager(t *testing.T) {
	need(t, MetricsPrograms()...)
	const token = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/api/sd" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "[]")
			return
		}
		_, _ = io.WriteString(w, "# TYPE egovmon_lab gauge\negovmon_lab 7\n")
	}))
	t.Cleanup(collector.Close)
	told := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		select {
		case told <- r.URL.Path + " " + string(body):
		default:
		}
	}))
	t.Cleanup(hook.Close)
	a := must[*Metrics](t)(StartAlertmanager(t.Context(), localhost(t), AlertmanagerConfig{Hook: hook.URL, SMTP: "127.0.0.1:1", Wait: time.Second}))
	place := localhost(t)
	file := filepath.Join(place.Dir, "local.token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := must[*Metrics](t)(StartPrometheus(t.Context(), place, PrometheusConfig{Collector: strings.TrimPrefix(collector.URL, "http://"),
		TokenFile: file, Alertmanager: a.Addr(), Every: time.Second}))
	valued(t, p, "egovmon_lab", "7")
	select {
	case got := <-told:
		if !strings.HasPrefix(got, "/watchdog ") || !strings.Contains(got, `"EgovWatchdog"`) {
			t.Errorf("told %.300s", got)
		}
	case <-time.After(readyWithin):
		t.Error("nobody was told of the watchdog")
	}
	if err := p.Halt(true); err != nil {
		t.Error(err)
	}
	if _, err := askSeries(t, p, "egovmon_lab"); err == nil {
		t.Error("it answers while it is halted")
	}
	collector.Close() // what is answered from here on was stored
	if err := p.Halt(false); err != nil {
		t.Error(err)
	}
	valued(t, p, "last_over_time(egovmon_lab[1h])", "7")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if err := p.Halt(false); err == nil {
		t.Error("came back after Stop")
	}
}

func TestVictoria(t *testing.T) {
	need(t, MetricsPrograms()...)
	place := localhost(t)
	v := must[*Metrics](t)(StartVictoria(t.Context(), place))
	if VictoriaWrite(place) != v.URL()+"/api/v1/write" {
		t.Errorf("%s is not where %s takes remote write", VictoriaWrite(place), v.URL())
	}
	resp := must[*http.Response](t)(http.Post(v.URL()+"/api/v1/import/prometheus", "text/plain", strings.NewReader("egovmon_lab 7\n")))
	_ = resp.Body.Close()
	resp = must[*http.Response](t)(http.Get(v.URL() + "/internal/force_flush")) // else it shows within 10 s
	_ = resp.Body.Close()
	valued(t, v, "egovmon_lab", "7")
}

// A shipped file that has changed is told, not started without what the lab wants.
func TestChanged(t *testing.T) {
	if _, err := changed("x.yml", "a: 1", "b: 1", "b: 2"); err == nil || !strings.Contains(err.Error(), `x.yml as it is shipped has no "b: 1"`) {
		t.Error(err)
	}
	if text, err := changed("x.yml", "a: 1", "a: 1", "a: 2"); err != nil || string(text) != "a: 2" {
		t.Errorf("%s, %v", text, err)
	}
}
