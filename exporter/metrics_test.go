package exporter

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"egovmon/agent/check"
)

var update = flag.Bool("update", false, "write the golden files anew")

func text(t *testing.T, mfs []*dto.MetricFamily) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, mf := range mfs {
		if _, err := expfmt.MetricFamilyToText(&b, mf); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// everything is each view that there is of the samples.
func everything() map[string][]*dto.MetricFamily {
	all := collect{phases: true, tls: true, info: true, facts: true}
	checks := sampleChecks()
	views := map[string][]*dto.MetricFamily{
		"agent": gatherAgent(sampleAgent(), collect{}), "agent-all": gatherAgent(sampleAgent(), all), "agent-empty": gatherAgent(AgentState{}, all),
		"collector": gatherCollector(sampleCollector(), collect{}), "collector-all": gatherCollector(sampleCollector(), all),
		"collector-empty": gatherCollector(CollectorState{}, all),
	}
	for i := range checks {
		views["probe-"+checks[i].ID] = gatherProbe(&checks[i])
	}
	return views
}

func TestGolden(t *testing.T) {
	for name, mfs := range everything() {
		t.Run(name, func(t *testing.T) {
			got := text(t, mfs)
			// The one thing that depends on where the test runs.
			for _, f := range mfs {
				if f.GetName() == BuildInfo {
					for _, l := range f.Metric[0].Label[:2] {
						got = bytes.ReplaceAll(got, []byte(l.GetName()+`="`+l.GetValue()+`"`), []byte(l.GetName()+`="…"`))
					}
				}
			}
			file := filepath.Join("testdata", name+".prom")
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("another text than %s (go test -update writes it anew):\n%s", file, d)
			}
		})
	}
}

// Promlint has rules that others' names break: their authors found the rules later.
func lintable(mfs []*dto.MetricFamily) []*dto.MetricFamily {
	return slices.DeleteFunc(slices.Clone(mfs), func(mf *dto.MetricFamily) bool {
		return strings.HasPrefix(mf.GetName(), "node_") || strings.HasPrefix(mf.GetName(), "probe_")
	})
}

func TestLint(t *testing.T) {
	promtool, noTool := exec.LookPath("promtool")
	for name, mfs := range everything() {
		mfs = lintable(mfs)
		problems, err := promlint.NewWithMetricFamilies(mfs).Lint()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
		if noTool != nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(text(t, mfs))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: promtool check metrics: %v\n%s", name, err, out)
		}
	}
	if noTool != nil {
		t.Skip("promtool is missing: apt-get install prometheus")
	}
}

// Every name is in the table with a sentence, comes from the table's type, bears its labels only, and no series twice.
func TestTable(t *testing.T) {
	emitted := map[string]bool{}
	for name, mfs := range everything() {
		if !slices.IsSortedFunc(mfs, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }) {
			t.Errorf("%s: families are not in the order of names", name)
		}
		seen := map[string]bool{}
		for _, mf := range mfs {
			emitted[mf.GetName()] = true
			f, ok := find(mf.GetName())
			if !ok || mf.GetHelp() != f.Help || !strings.EqualFold(mf.GetType().String(), string(f.Type)) {
				t.Errorf("%s: %s is another than in the table: %v", name, mf.GetName(), mf)
			}
			for _, m := range mf.Metric {
				var id strings.Builder
				id.WriteString(mf.GetName())
				for i, l := range m.Label {
					id.WriteString("," + l.GetName() + "=" + l.GetValue())
					if !slices.Contains(f.Labels, l.GetName()) {
						t.Errorf("%s: %s has the label %s, the table has %v", name, mf.GetName(), l.GetName(), f.Labels)
					}
					if i > 0 && m.Label[i-1].GetName() >= l.GetName() {
						t.Errorf("%s: labels of %s are not in order", name, id.String())
					}
				}
				if seen[id.String()] {
					t.Errorf("%s: %s stands twice", name, id.String())
				}
				seen[id.String()] = true
			}
		}
	}
	for _, table := range [][]Family{families, probeFamilies} {
		for i, f := range table {
			if !emitted[f.Name] {
				t.Errorf("%s is never shown", f.Name)
			}
			if i > 0 && table[i-1].Name >= f.Name {
				t.Errorf("%s is not in its place in the order of names", f.Name)
			}
			if !strings.HasSuffix(f.Help, ".") || !slices.IsSorted(f.Labels) {
				t.Errorf("%s: help %q wants a sentence, labels %v order", f.Name, f.Help, f.Labels)
			}
			if f.Unit != "" && !strings.Contains(f.Name, f.Unit) {
				t.Errorf("%s has the unit %s", f.Name, f.Unit)
			}
		}
	}
	if !slices.IsSortedFunc(nodeFamilies, func(a, b Family) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("node_* families are not in the order of names")
	}
	if Help(CheckSuccess) == "" || Help("other") != "" || Help("probe_success") != "" {
		t.Error("Help answers for its own names only")
	}
	fs := Families()
	fs[0].Labels = append(fs[0].Labels, "x")
	fs[0].Name = "x"
	if Families()[0].Name == "x" {
		t.Error("the table can be changed from outside")
	}
}

// Every constant of names.go is a family, but for the one that the series' store shows itself, and every label of the
// tables is a constant.
func TestNames(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]bool{"goarch": true, "goos": true, "goversion": true, "revision": true, "version": true}
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		switch {
		case err != nil:
			t.Error(err)
		case strings.HasPrefix(spec.Names[0].Name, "Label"):
			labels[value] = true
		case value != SeriesActive:
			names[value] = true
			if Help(value) == "" {
				t.Errorf("%s is not in the table of families", value)
			}
		}
		return true
	})
	for _, f := range families {
		if !names[f.Name] {
			t.Errorf("%s is no constant", f.Name)
		}
		for _, l := range f.Labels {
			if !labels[l] {
				t.Errorf("%s: label %s is no constant", f.Name, l)
			}
		}
	}
	if len(names) < 35 {
		t.Errorf("read only %d names", len(names))
	}
}

// What a server says never becomes a label or a value.
func TestNoForeignText(t *testing.T) {
	for name, mfs := range everything() {
		out := string(text(t, mfs))
		for _, bad := range []string{"Nguyễn", "<b>", "tuky.example.vn", "192.0.2.1", "mail.example.vn"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s shows %q", name, bad)
			}
		}
	}
}

func value(mfs []*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, mf := range mfs {
		if mf.GetName() != name {
			continue
		}
	metrics:
		for _, m := range mf.Metric {
			for i := 0; i < len(labels); i += 2 {
				if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == labels[i] && l.GetValue() == labels[i+1] }) {
					continue metrics
				}
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

// Unknown is neither 0 nor 1, and at most four series a check are shown unasked.
func TestSuccess(t *testing.T) {
	for _, r := range check.Reasons() {
		if r.AccountOnly() {
			continue
		}
		st := AgentState{Checks: []CheckState{{ID: "a", Last: &check.Result{State: r.State(), Reason: r, Start: at(0)}}}}
		mfs := gatherAgent(st, collect{})
		got, shown := value(mfs, CheckSuccess, LabelCheck, "a")
		want := map[check.State]float64{check.Up: 1, check.Degraded: 1, check.Down: 0}[r.State()]
		if shown != r.State().Known() || got != want {
			t.Errorf("%s: success %v, shown %v", r, got, shown)
		}
		if v, ok := value(mfs, CheckReason, LabelReason, string(r)); v != 1 || !ok {
			t.Errorf("%s: reason %v %v", r, v, ok)
		}
		series := 0
		for _, mf := range mfs {
			for _, m := range mf.Metric {
				if len(m.Label) > 0 && m.Label[0].GetName() == LabelCheck {
					series++
				}
			}
		}
		if series > 4 || series < 3 {
			t.Errorf("%s: %d series", r, series)
		}
	}
}

// fetch asks a handler as a client at an address would.
// The clock is compared with servers of time by the latest check of kind ntp that could tell.
func TestClockByNTP(t *testing.T) {
	ntp := func(minute int, facts ...check.Fact) CheckState {
		return CheckState{Kind: "ntp", Last: &check.Result{Start: at(60 * minute), Facts: facts}}
	}
	offset := func(v float64) check.Fact { return check.Fact{Name: "offset_s", Value: v} }
	other := CheckState{Kind: "tsa", Last: &check.Result{Start: at(600), Facts: []check.Fact{offset(99)}}}
	for _, tc := range []struct {
		name   string
		checks []CheckState
		want   float64
		told   bool
	}{
		{"none", []CheckState{other, {Kind: "ntp"}}, 0, false},
		{"one", []CheckState{other, ntp(1, offset(-0.25))}, -0.25, true},
		{"the later of two", []CheckState{ntp(2, offset(2)), ntp(1, offset(1))}, 2, true},
		{"the later could not tell", []CheckState{ntp(1, offset(1)), ntp(2)}, 1, true},
	} {
		got, told := value(gatherAgent(AgentState{Checks: tc.checks}, collect{}), ClockOffset, LabelSource, "ntp")
		if got != tc.want || told != tc.told {
			t.Errorf("%s: %v, %v; want %v, %v", tc.name, got, told, tc.want, tc.told)
		}
	}
}

func fetch(t *testing.T, h http.Handler, target string, header ...string) (int, http.Header, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "remote" {
			req.RemoteAddr = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Result().Header, string(body)
}

func agentHandler(t *testing.T, node bool) http.Handler {
	t.Helper()
	h, err := AgentHandler(sampleAgent, HandlerOptions{Node: node, Build: Build{Version: "1.2.3", Go: "go1.26"}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAgentHandler(t *testing.T) {
	h := agentHandler(t, true)
	code, header, body := fetch(t, h, "/metrics")
	if code != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %v", code, header)
	}
	for _, want := range []string{"\negovmon_check_success{check=\"cong_h.http\"} 1\n", "\nnode_boot_time_seconds ", "\ngo_goroutines ", "\nprocess_cpu_seconds_total ", "\npromhttp_metric_handler_requests_total"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	mfs, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err == nil && len(mfs) < 50 {
		t.Errorf("%d families", len(mfs))
	} else if err != nil {
		t.Error(err)
	}
	if _, header, body = fetch(t, h, "/metrics", "Accept", "application/openmetrics-text; version=1.0.0"); !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") ||
		!strings.HasSuffix(body, "# EOF\n") || !strings.Contains(body, "# TYPE egovmon_check_missed counter") {
		t.Errorf("OpenMetrics: %v", header)
	}
	if _, header, _ = fetch(t, h, "/metrics", "Accept-Encoding", "gzip", "remote", "192.0.2.9:1234"); header.Get("Content-Encoding") != "gzip" {
		t.Errorf("from afar: %v", header)
	}
	if _, header, _ = fetch(t, h, "/metrics", "Accept-Encoding", "gzip", "remote", "127.0.0.1:1234"); header.Get("Content-Encoding") != "" {
		t.Errorf("within the machine: %v", header)
	}
	if _, _, body = fetch(t, agentHandler(t, false), "/metrics"); strings.Contains(body, "node_") {
		t.Error("node_* though it is switched off")
	}
	for target, want := range map[string]int{"/": 200, "/x": 404, "/metrics/": 404, "/debug/pprof/": 404, "/probe": 400} {
		if code, _, body := fetch(t, h, target); code != want || strings.Contains(body, "<") {
			t.Errorf("%s: %d %s", target, code, body)
		}
	}
	if _, err := AgentHandler(nil, HandlerOptions{}); err == nil {
		t.Error("a handler of nothing")
	}
}

func TestCollect(t *testing.T) {
	h := agentHandler(t, false)
	marks := map[string]string{"phases": CheckPhase + "{", "tls": CertNotAfter + "{", "info": CheckInfo + "{", "facts": CheckFact + "{"}
	for query, want := range map[string][]string{"": nil, "?collect=phases": {"phases"}, "?collect=tls,info": {"tls", "info"}, "?collect=facts&collect=phases": {"facts", "phases"}} {
		code, _, body := fetch(t, h, "/metrics"+query)
		for word, mark := range marks {
			if code != 200 || strings.Contains(body, mark) != slices.Contains(want, word) {
				t.Errorf("%q: %d, %s", query, code, word)
			}
		}
	}
	for _, bad := range []string{"?collect=", "?collect=all", "?collect=phases,", "?collect=tls&collect=PHASES", "?collect=" + strings.Repeat("x", 10000)} {
		if code, _, body := fetch(t, h, "/metrics"+bad); code != 400 || !strings.Contains(body, "phases, tls, info, facts") || len(body) > 300 {
			t.Errorf("%.40s: %d %s", bad, code, body)
		}
	}
}

func TestCollectorHandler(t *testing.T) {
	extra := prometheus.NewRegistry()
	extra.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: SeriesActive, Help: "Series in memory."}, func() float64 { return 3 }))
	h := MetricsHandler(CollectorGatherer(sampleCollector, extra), nil)
	code, _, body := fetch(t, h, "/metrics")
	for _, want := range []string{SeriesActive + " 3\n", "go_goroutines ", CheckSuccess + `{check="cong_h.http",kind="http",machine="center",service="cong_h",unit="huyen"} 1`} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d: no %q", code, want)
		}
	}
	if strings.Contains(body, CheckPhase) {
		t.Error("phases unasked")
	}
	if _, _, body = fetch(t, h, "/metrics?collect=phases"); !strings.Contains(body, CheckPhase) {
		t.Error("no phases though they are asked for")
	}
	wrong := prometheus.NewRegistry()
	wrong.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: LogLeaves, Help: "x"}, func() float64 { return 3 }))
	if mfs, err := CollectorGatherer(sampleCollector, wrong).Gather(); err == nil || len(mfs) < 40 {
		t.Errorf("two types of one family: %v, %d families", err, len(mfs))
	}
}

func TestTooManyScrapes(t *testing.T) {
	enter, leave := make(chan struct{}, maxScrapes), make(chan struct{})
	h := MetricsHandler(gathererOf(func() []*dto.MetricFamily { enter <- struct{}{}; <-leave; return nil }), nil)
	done := make(chan int, maxScrapes)
	for range maxScrapes {
		go func() { code, _, _ := fetch(t, h, "/metrics"); done <- code }()
	}
	for range maxScrapes {
		<-enter
	}
	if code, header, _ := fetch(t, h, "/metrics"); code != 503 || header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", code)
	}
	close(leave)
	for range maxScrapes {
		if code := <-done; code != 200 {
			t.Errorf("%d", code)
		}
	}
}

func TestProbe(t *testing.T) {
	h := agentHandler(t, false)
	for query, want := range map[string]string{
		"module=http&target=https://tuky.example.vn/":    "\nprobe_success 1\n",
		"module=tls&target=tuky.example.vn:443":          "probe_ssl_earliest_cert_expiry 1.790000001e+09\n",
		"module=dns&target=tuky.example.vn":              "\nprobe_dns_query_succeeded 1\n",
		"module=ping&target=192.0.2.1":                   "probe_icmp_duration_seconds{phase=\"rtt\"} 0.0125\n",
		"module=tcp&target=mail.example.vn:25":           "probe_duration_seconds 10\n",
		"module=tcp&target=mail.example.vn:587":          "",
		"module=tcp&target=mail.example.vn:587&debug=on": "",
	} {
		code, _, body := fetch(t, h, "/probe?"+query)
		if code != 200 || !strings.Contains("\n"+body, want) || want == "" && body != "" {
			t.Errorf("%s: %d\n%s", query, code, body)
		}
	}
	if _, _, body := fetch(t, h, "/probe?module=tcp&target=mail.example.vn:25"); strings.Contains(body, "probe_success") {
		t.Error("an unknown state is shown as a number")
	}
	for _, q := range []string{"module=http&target=https://evil.example/", "module=tcp&target=tuky.example.vn:443", "module=http_2xx&target=https://tuky.example.vn/",
		"module=http&target=https://tuky.example.vn", "module=ping&target=192.0.2.1%00", "module=tcp&target=127.0.0.1:22"} {
		if code, _, body := fetch(t, h, "/probe?"+q); code != 404 || strings.Contains(body, "evil") {
			t.Errorf("%s: %d %s", q, code, body)
		}
	}
	old, young := &check.Result{Start: at(1), Took: 1}, &check.Result{Start: at(2), Took: 2}
	for _, list := range [][]*check.Result{{old, young, nil}, {nil, young, old}, {young, nil, old}} {
		var checks []CheckState
		for _, r := range list {
			checks = append(checks, CheckState{Kind: "tcp", Target: "a:1", Last: r})
		}
		if got := newest(checks, "tcp", "a:1"); got.Last != young {
			t.Errorf("not the newest of several: %v", got.Last)
		}
	}
}

// A name that is no UTF-8, and one with every character that needs escaping, come through the text format.
func TestHostileLabels(t *testing.T) {
	names := map[string]string{"a\xff\xfeb": "a\uFFFDb", "q\"\\\n": "q\"\\\n", "": ""}
	for name, want := range names {
		s := newSet()
		s.add("node_filesystem_readonly", 1, s.with(nil, "device", name, "fstype", "x", "mountpoint", "/")...)
		p := expfmt.NewTextParser(model.UTF8Validation)
		mfs, err := p.TextToMetricFamilies(bytes.NewReader(text(t, s.families())))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if _, ok := value(slices.Collect(maps.Values(mfs)), "node_filesystem_readonly", "device", want); !ok {
			t.Errorf("%q: %v", name, mfs)
		}
	}
}
