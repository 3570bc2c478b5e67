//go:build linux

package stage

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"egovmon/deploy/lab/servers"
	"egovmon/deploy/lab/town"
)

const (
	// alertsPath is where at the office Alertmanager calls.
	alertsPath = "/alertmanager/"
	// noMail is where nobody listens: on loopback, Alertmanager would find this machine's own mail server otherwise.
	noMail = "127.0.0.1:1"
	// scrapeEvery is from one scrape to the next: what the board shows is in Prometheus soon.
	scrapeEvery = 5 * time.Second
)

// A series is what keeps the collector's series beside it, and passes on the alerts of the shipped rules.
type series struct {
	write []string // URLs for the collector's remote write
	pages []Link
}

// openSeries starts VictoriaMetrics, Alertmanager and Prometheus where the collector is. Prometheus reads the collector's
// token once that is there.
func (s *Stage) openSeries() error {
	places := map[string]servers.Place{}
	for _, name := range []string{"victoria-metrics", "alertmanager", "prometheus"} {
		p, err := s.place(town.District, name, loopback)
		if err != nil {
			return err
		}
		places[name] = p
	}
	board := fmt.Sprintf("127.0.0.1:%d", portBoard)
	if s.cfg.Loopback {
		board = s.cfg.Listen
	}
	var alerts string
	out := &series{write: []string{servers.VictoriaWrite(places["victoria-metrics"]), servers.PrometheusWrite(places["prometheus"])}}
	for _, w := range []struct {
		name, title, page string
		start             func(p servers.Place) (*servers.Metrics, error)
	}{
		{"victoria-metrics", "VictoriaMetrics", "/vmui", func(p servers.Place) (*servers.Metrics, error) { return servers.StartVictoria(s.ctx, p) }},
		{"alertmanager", "Alertmanager", "/", func(p servers.Place) (m *servers.Metrics, err error) {
			m, err = servers.StartAlertmanager(s.ctx, p, servers.AlertmanagerConfig{Hook: strings.TrimSuffix(s.ends.Webhook, "/") + strings.TrimSuffix(alertsPath, "/"),
				SMTP: noMail, Wait: time.Second})
			if err == nil {
				alerts = m.Addr()
			}
			return m, err
		}},
		{"prometheus", "Prometheus", "/alerts", func(p servers.Place) (*servers.Metrics, error) {
			return servers.StartPrometheus(s.ctx, p, servers.PrometheusConfig{Collector: board, TokenFile: filepath.Join(s.cfg.Dir, "collector", "local.token"),
				Alertmanager: alerts, Every: scrapeEvery})
		}},
	} {
		p := places[w.name]
		m, err := w.start(p)
		if err != nil {
			return err
		}
		s.stops = append(s.stops, m.Stop)
		at := m.Addr()
		if !s.cfg.Loopback {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			s.forward(p, l, at)
			at = l.Addr().String()
		}
		out.pages = append(out.pages, Link{w.title, "http://" + at + w.page})
	}
	s.series = out
	return nil
}

// links are the pages that a person may open.
func (s *series) links() []Link {
	if s == nil {
		return nil
	}
	return s.pages
}

// remoteWrite is the part of collector.yaml that sends samples on.
func (s *series) remoteWrite() string {
	if s == nil {
		return ""
	}
	var text strings.Builder
	text.WriteString("remote_write:\n")
	for i, u := range s.write {
		fmt.Fprintf(&text, "  - {name: lab-%d, url: %q}\n", i+1, u)
	}
	return text.String()
}

// alerts writes down what Alertmanager tells; the watchdog, which it tells of all the time, is left out.
func (o *office) alerts(w http.ResponseWriter, body []byte) {
	var call struct {
		Alerts []struct {
			Status string            `json:"status"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	if json.Unmarshal(body, &call) != nil {
		http.Error(w, "this is no call of Alertmanager", http.StatusBadRequest)
		return
	}
	for _, a := range call.Alerts {
		if a.Labels["role"] != "watchdog" {
			o.script.write(Line{What: "alert", Detail: a.Labels["alertname"], State: a.Status, Service: a.Labels["service"], Unit: a.Labels["unit"]})
		}
	}
}
