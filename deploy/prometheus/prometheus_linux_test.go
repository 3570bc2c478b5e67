package prometheus_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"egovmon/agent/check"
	"egovmon/dashboards"
	"egovmon/deploy/lab/servers"
	"egovmon/exporter"
)

const token = "AAAAAAAAAAAAAAAAAAAAAAAAAA"

// installed copies the configuration as an installation has it, and returns the file.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "rules"), os.DirFS("rules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	for name, text := range map[string]string{file: string(text), filepath.Join(dir, "egovmon.token"): token} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// TestPromtool checks configuration and rules, and what each rule fires on, with Debian's promtool.
func TestPromtool(t *testing.T) {
	program := need(t, "promtool", "prometheus")
	tests, err := filepath.Glob("rules-tests/*.yml")
	if err != nil || len(tests) == 0 {
		t.Fatal("no tests of rules", err)
	}
	for _, args := range [][]string{
		{"check", "config", installed(t)},
		{"check", "rules", "rules/egovmon.yml"},
		append([]string{"test", "rules"}, tests...),
	} {
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// A rule is what is looked at of an alert.
type rule struct {
	Alert       string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("rules/egovmon.yml")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	var out []rule
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				out = append(out, r)
			}
		}
	}
	return out
}

// TestAlerts holds every alert to a text, a person, a dashboard and a page of the runbook that exist, and to a test of
// what it fires on and what not.
func TestAlerts(t *testing.T) {
	runbook, err := os.ReadFile("runbook.vi.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(runbook), -1) {
		headings[strings.ToLower(m[1])] = true
	}
	uids := []string{dashboards.Overview, dashboards.Unit, dashboards.System}
	fires, quiet := tested(t)
	for _, r := range rules(t) {
		if !slices.Contains([]string{"page", "ticket", "none"}, r.Labels["severity"]) || !slices.Contains([]string{"it", "vhtt", "unit", "watchdog", "calendar"}, r.Labels["role"]) {
			t.Errorf("%s has the labels %v", r.Alert, r.Labels)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no text", r.Alert)
		}
		path, _, _ := strings.Cut(r.Annotations["dashboard"], "?")
		if uid, ok := strings.CutPrefix(path, "/d/"); !ok || !slices.Contains(uids, uid) {
			t.Errorf("%s: dashboard %q is not there", r.Alert, r.Annotations["dashboard"])
		}
		if anchor, ok := strings.CutPrefix(r.Annotations["runbook"], "runbook.vi.md#"); !ok || !headings[anchor] {
			t.Errorf("%s: runbook %q is not there", r.Alert, r.Annotations["runbook"])
		}
		if !fires[r.Alert] {
			t.Errorf("%s: no test sees it fire", r.Alert)
		}
		if !quiet[r.Alert] && r.Alert != "EgovWatchdog" {
			t.Errorf("%s: no test sees it silent", r.Alert)
		}
	}
}

// tested reads from the tests of rules which alerts are seen to fire, and to keep silent.
func tested(t *testing.T) (fires, quiet map[string]bool) {
	t.Helper()
	fires, quiet = map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("rules-tests/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Tests []struct {
				Promql []struct {
					Expr string
					Want []struct{ Labels string } `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		if err := yaml.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Tests {
			for _, p := range c.Promql {
				seen := map[string]bool{}
				for _, w := range p.Want {
					for _, r := range rules(t) {
						if strings.Contains(w.Labels, `"`+r.Alert+`"`) {
							seen[r.Alert], fires[r.Alert] = true, true
						}
					}
				}
				m := regexp.MustCompile(`alertname(=~?)"([^"]+)"`).FindStringSubmatch(p.Expr)
				for _, r := range rules(t) {
					if regexp.MustCompile(`^(?:`+m[2]+`)$`).MatchString(r.Alert) && !seen[r.Alert] {
						quiet[r.Alert] = true
					}
				}
			}
		}
	}
	return fires, quiet
}

// checks are what a collector has to show at /probe.
func checks(now time.Time) []exporter.CheckState {
	up := check.Because(check.OK, "")
	up.Check, up.Slot, up.Start, up.Took = "cong_h.http", now, now, time.Second
	down := check.Because(check.ConnectRefused, "")
	down.Check, down.Slot, down.Start = "mail.gui", now, now
	unknown := check.Because(check.NoUplink, "")
	unknown.Check, unknown.Slot, unknown.Start = "lgsp.tcp", now, now
	return []exporter.CheckState{
		{ID: "cong_h.http", Service: "cong_h", Kind: "http", Target: "https://portal.test/?a=1&b=é", Every: time.Minute, Last: &up},
		{ID: "mail.gui", Service: "mail", Kind: "tcp", Target: "mail.test:587", Every: time.Minute, Last: &down},
		{ID: "lgsp.tcp", Service: "lgsp", Kind: "tcp", Target: "lgsp.test:443", Every: time.Minute, Last: &unknown},
	}
}

// collector answers what prometheus.yml asks of one: /metrics, /probe and /api/sd as README.md has it, to the bearer of
// the token alone.
func collector(t *testing.T) string {
	t.Helper()
	now := time.Now()
	state := func() exporter.CollectorState {
		return exporter.CollectorState{
			Agents: []exporter.FleetAgent{{Machine: "pc-an-thanh-01", Unit: "xa-an-thanh", LastContact: time.Now()}},
			Services: []exporter.ServiceFacts{{ID: "cong_h", State: check.Down, Units: map[string]check.State{"xa-an-thanh": check.Down},
				View: map[string]int{"total": 1, "fresh": 1, "failing": 1}}},
			WorkingTime: map[string]bool{"hanh-chinh": true},
			BuiltIn:     &exporter.BuiltIn{Machine: "huyen-tt", Unit: "huyen", State: exporter.AgentState{Checks: checks(now)}},
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", exporter.MetricsHandler(exporter.CollectorGatherer(state), nil))
	mux.Handle("/probe", exporter.ProbeHandler(func() []exporter.CheckState { return checks(now) }, nil))
	mux.HandleFunc("/api/sd", func(w http.ResponseWriter, r *http.Request) {
		type group struct {
			Targets []string          `json:"targets"`
			Labels  map[string]string `json:"labels"`
		}
		var all []group
		for _, c := range checks(now) {
			all = append(all, group{[]string{r.Host}, map[string]string{"__metrics_path__": "/probe", "__param_module": c.Kind,
				"__param_target": c.Target, "instance": c.Target, "service": c.Service}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all)
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestScrape starts Debian's Prometheus with the configuration as shipped, but for addresses and times, and asks it what
// it has.
func TestScrape(t *testing.T) {
	p := place(t, "prometheus")
	file := filepath.Join(t.TempDir(), "local.token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := servers.StartPrometheus(t.Context(), p, servers.PrometheusConfig{Collector: collector(t), TokenFile: file, Alertmanager: "127.0.0.1:1", Every: time.Second})
	base := stopped(t, m, err).URL()
	for _, tt := range []struct {
		expr string
		want []string
	}{
		{`up{job=~"egovmon.*"}`, []string{
			"__name__=up instance=egovmon job=egovmon-collector 1",
			"__name__=up instance=https://portal.test/?a=1&b=é job=egovmon-probe service=cong_h 1",
			"__name__=up instance=lgsp.test:443 job=egovmon-probe service=lgsp 1",
			"__name__=up instance=mail.test:587 job=egovmon-probe service=mail 1"}},
		{`probe_success`, []string{ // none of lgsp: what could not be measured is not down
			"__name__=probe_success instance=https://portal.test/?a=1&b=é job=egovmon-probe service=cong_h 1",
			"__name__=probe_success instance=mail.test:587 job=egovmon-probe service=mail 0"}},
		{`egovmon_collector_agent_last_contact_timestamp_seconds > bool 0`, []string{"instance=egovmon job=egovmon-collector machine=pc-an-thanh-01 unit=xa-an-thanh 1"}},
		{`egovmon_check_success{check="mail.gui"}`, []string{
			"__name__=egovmon_check_success check=mail.gui instance=egovmon job=egovmon-collector machine=huyen-tt service=mail unit=huyen 0"}},
		{`ALERTS{alertname="EgovServiceDown"}`, []string{"__name__=ALERTS alertname=EgovServiceDown service=cong_h 1"}},
		{`ALERTS{alertname="EgovWatchdog",alertstate="firing"}`, []string{"__name__=ALERTS alertname=EgovWatchdog 1"}},
	} {
		var got []string
		until(t, func() string {
			fs, err := ask(t, base, "/api/v1/query", url.Values{"query": {tt.expr}})
			if err != nil {
				return err.Error()
			}
			got = got[:0]
			for _, f := range fs {
				got = append(got, line(f))
			}
			slices.Sort(got)
			if len(got) < len(tt.want) {
				return tt.expr + ": " + strings.Join(got, "\n")
			}
			return ""
		})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.expr, diff)
		}
	}
}
