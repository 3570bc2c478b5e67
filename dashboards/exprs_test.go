package dashboards

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v4"

	"egovmon/collector/series"
	"egovmon/exporter"
)

func fieldsOf(t *testing.T, v any) (map[string]json.RawMessage, []byte) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	return fields, text
}

// known is every name that there is, with its labels: what the exporter lists, what the store and the libraries
// register, and what this machine shows under node_*.
type known map[string]map[string]bool

func names(t *testing.T) known {
	t.Helper()
	k := known{}
	for _, f := range exporter.Families() {
		k.add(f.Name, f.Type == exporter.HistogramType, f.Labels...)
	}
	// The roll-ups that the collector keeps for long views are of units too.
	for _, name := range []string{exporter.ServiceAvail, exporter.ServiceCoverage, exporter.ServiceSeconds} {
		k.add(name, false, exporter.LabelUnit)
	}
	k.add("up", false)
	for _, g := range gatherers(t) {
		families, err := g.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			var ls []string
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					ls = append(ls, l.GetName())
				}
			}
			k.add(f.GetName(), f.GetType() == dto.MetricType_HISTOGRAM, ls...)
		}
	}
	return k
}

// gatherers are what the collector shows beside the exporter's own families.
func gatherers(t *testing.T) []prometheus.Gatherer {
	t.Helper()
	reg := prometheus.NewRegistry()
	db, err := series.Open(series.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Registry: reg,
		RemoteWrite: []series.RemoteWrite{{Name: "bigger", URL: "http://127.0.0.1:1/"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return []prometheus.Gatherer{exporter.CollectorGatherer(func() exporter.CollectorState { return exporter.CollectorState{} }, reg, exporter.NodeGatherer())}
}

func (k known) add(name string, histogram bool, ls ...string) {
	all := []string{name}
	if histogram {
		all = []string{name + "_bucket", name + "_sum", name + "_count"}
		k.add(name+"_bucket", false, "le")
	}
	for _, n := range all {
		if k[n] == nil {
			// What a Prometheus adds to whatever it scrapes.
			k[n] = map[string]bool{"job": true, "instance": true}
		}
		for _, l := range ls {
			k[n][l] = true
		}
	}
}

// check parses an expression and looks up every name and label in it.
func (k known) check(expr string) error {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return err
	}
	var errs []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		var grouping []string
		switch n := n.(type) {
		case *parser.VectorSelector:
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel && !k[n.Name][m.Name] {
					errs = append(errs, fmt.Sprintf("%s has no label %s", n.Name, m.Name))
				}
			}
			if k[n.Name] == nil {
				errs = append(errs, fmt.Sprintf("there is no metric %q", n.Name))
			}
			return nil
		case *parser.AggregateExpr:
			grouping = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				grouping = append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...)
			}
		default:
			return nil
		}
		for _, l := range grouping {
			if !k.under(n, l) {
				errs = append(errs, fmt.Sprintf("nothing in %s has the label %s", n, l))
			}
		}
		return nil
	})
	if len(errs) > 0 {
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	}
	return nil
}

// under says whether a metric below a node has a label.
func (k known) under(n parser.Node, label string) bool {
	found := false
	parser.Inspect(n, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && k[v.Name][label] {
			found = true
		}
		return nil
	})
	return found
}

// filled replaces Grafana's variables as a browser would.
func filled(expr string) string {
	return strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$__interval", "1m",
		"$service", ".+", "$machine", ".+", "$unit", "xa-an-thanh", "$calendar", "24x7").Replace(expr)
}

var labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z_]+)\)$`)

// TestExpressions parses every expression of the dashboards and of the rules and looks up every name.
func TestExpressions(t *testing.T) {
	k := names(t)
	n := 0
	for name, d := range decoded(t) {
		panels, _ := panelsOf(d)
		for _, p := range panels {
			for _, expr := range exprsOf(t, p) {
				n++
				if err := k.check(filled(expr)); err != nil {
					t.Errorf("%s: panel %q: %s\n%v", name, *p.Title, expr, err)
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Name == "ds" {
				continue
			}
			m := labelValues.FindStringSubmatch(*v.Definition)
			if m == nil {
				t.Errorf("%s: variable %s asks %q", name, v.Name, *v.Definition)
				continue
			}
			if err := k.check(fmt.Sprintf("count by (%s) (%s)", m[2], filled(m[1]))); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
		for _, a := range d.Annotations.List {
			if err := k.check(filled(*a.Expr)); err != nil {
				t.Errorf("%s: annotation %s: %v", name, a.Name, err)
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d expressions", n)
	}
	for _, bad := range []string{`egovmon_service_stat`, `egovmon_service_state{units="a"}`, `sum by (machine) (egovmon_service_state)`, `up ==`} {
		if k.check(bad) == nil {
			t.Errorf("%s is let through", bad)
		}
	}
}

// A ruleFile is what is looked at of a file of rules.
type ruleFile struct {
	Groups []struct {
		Rules []struct{ Record, Alert, Expr string }
	}
}

func TestRules(t *testing.T) {
	k := names(t)
	files, err := filepath.Glob("../deploy/prometheus/rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no rules", err)
	}
	n := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := ruleFile{}
		if err := yaml.Unmarshal(text, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					k.add(r.Record, false)
				}
			}
		}
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				n++
				if err := k.check(r.Expr); err != nil {
					t.Errorf("%s: %s%s: %v", name, r.Alert, r.Record, err)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d rules", n)
	}
}
