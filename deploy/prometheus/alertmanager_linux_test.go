package prometheus_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/deploy/lab/servers"
)

const routes = "../alertmanager/alertmanager.yml"

// TestAmtool checks the example with Debian's amtool, and to whom each kind of alert goes.
func TestAmtool(t *testing.T) {
	program := need(t, "amtool", "prometheus-alertmanager")
	if out, err := exec.Command(program, "check-config", routes).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	to := func(labels ...string) string {
		cmd := exec.Command(program, append([]string{"config", "routes", "test", "--config.file=" + routes}, labels...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", labels, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, tt := range []struct{ role, severity, more, want string }{
		{"it", "page", "service=cong_h", "it-and-vhtt"},
		{"it", "page", "service=mail", "not-by-mail"},
		{"it", "page", "", "it"},
		{"it", "ticket", "service=cong_h", "it"},
		{"vhtt", "ticket", "service=cong_h", "vhtt"},
		{"unit", "page", "unit=xa-an-thanh", "unit"},
		{"calendar", "none", "", "nobody"},
		{"watchdog", "none", "", "watchdog"},
	} {
		labels := []string{"role=" + tt.role, "severity=" + tt.severity}
		if tt.more != "" {
			labels = append(labels, tt.more)
		}
		if got := to(labels...); got != tt.want {
			t.Errorf("%v go to %q, want %q", labels, got, tt.want)
		}
	}
	// No rule's labels end at the default route by chance: each role has a receiver that is meant for it.
	want := map[string]string{"it": "it", "vhtt": "vhtt", "unit": "unit", "watchdog": "watchdog", "calendar": "nobody"}
	for _, r := range rules(t) {
		if got := to("alertname="+r.Alert, "role="+r.Labels["role"], "severity="+r.Labels["severity"]); got != want[r.Labels["role"]] {
			t.Errorf("%s goes to %q, want %q", r.Alert, got, want[r.Labels["role"]])
		}
	}
}

// TestAlertmanager starts Debian's Alertmanager with the example, but for addresses and waiting times, and sends it what
// Prometheus would.
func TestAlertmanager(t *testing.T) {
	p := place(t, "prometheus-alertmanager")
	type message struct {
		Path   string
		Status string
		Alerts []struct{ Labels map[string]string }
	}
	came := make(chan message, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		m := message{Path: r.URL.Path}
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&m); err != nil {
			t.Error(err)
		}
		select {
		case came <- m:
		default:
		}
	}))
	t.Cleanup(s.Close)
	m, err := servers.StartAlertmanager(t.Context(), p, servers.AlertmanagerConfig{Hook: s.URL, SMTP: "127.0.0.1:1", Wait: time.Second})
	base := stopped(t, m, err).URL()

	type alert struct {
		Labels map[string]string `json:"labels"`
	}
	var all []alert
	add := func(name, role, severity string, more ...string) {
		a := alert{map[string]string{"alertname": name, "role": role, "severity": severity}}
		for i := 0; i < len(more); i += 2 {
			a.Labels[more[i]] = more[i+1]
		}
		all = append(all, a)
	}
	add("EgovWatchdog", "watchdog", "none")
	add("EgovOutOfHours", "calendar", "none")
	add("EgovServiceDown", "it", "page", "service", "cong_h")
	add("EgovServiceDown", "it", "page", "service", "mail")
	add("EgovErrorBudgetFastBurn", "it", "page", "service", "cong_h") // explained by the first
	add("EgovErrorBudgetFastBurn", "it", "page", "service", "dns")    // not explained
	add("EgovSpoolOld", "it", "ticket", "machine", "pc-1")            // waits for working time
	add("EgovUnitOffline", "unit", "page", "unit", "xa-an-thanh")
	add("EgovAgentSilent", "unit", "ticket", "unit", "xa-an-thanh", "machine", "pc-1")
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(base+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}

	got := map[string]bool{}
	want := map[string]bool{"/watchdog EgovWatchdog ": true, "/it EgovServiceDown cong_h": true, "/it EgovServiceDown mail": true, "/it EgovErrorBudgetFastBurn dns": true}
	until(t, func() string {
		for {
			select {
			case m := <-came:
				for _, a := range m.Alerts {
					got[m.Path+" "+a.Labels["alertname"]+" "+a.Labels["service"]] = true
				}
				continue
			default:
			}
			if len(got) < len(want) {
				return "a message"
			}
			return ""
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"EgovAgentSilent ", "EgovErrorBudgetFastBurn cong_h", "EgovSpoolOld "}, muted(t, base)); diff != "" {
		t.Errorf("muted (-want +got):\n%s", diff)
	}
}

// muted lists the alerts that another one inhibits.
func muted(t *testing.T, base string) []string {
	t.Helper()
	resp, err := http.Get(base + "/api/v2/alerts?inhibited=true&active=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var alerts []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, a := range alerts {
		if len(a.Status.InhibitedBy) > 0 {
			names[a.Labels["alertname"]+" "+a.Labels["service"]] = true
		}
	}
	return sorted(names)
}
