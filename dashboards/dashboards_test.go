package dashboards

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// TestFiles makes the JSON again and compares it with what is committed.
func TestFiles(t *testing.T) {
	want, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	here := os.DirFS(".")
	found, err := fs.Glob(here, "*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), found); diff != "" {
		t.Errorf("the files that there are and those that are to be (-want +got), run go generate ./dashboards:\n%s", diff)
	}
	for name, text := range want {
		got, err := fs.ReadFile(here, name)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(text), string(got)); diff != "" {
			t.Errorf("%s is not what the code makes (-want +got), run go generate ./dashboards:\n%.2000s", name, diff)
		}
	}
}

// decoded reads the committed files strictly: an unknown or missing field of a panel is an error.
func decoded(t *testing.T) map[string]classic {
	t.Helper()
	plugins.RegisterDefaultPlugins()
	all := map[string]classic{}
	found, err := fs.Glob(os.DirFS("."), "*/*.json")
	if err != nil || len(found) == 0 {
		t.Fatal("no dashboards", err)
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Strict decoding returns an empty error for success, and then leaves out what it has decoded.
		if err := new(classic).UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
			t.Errorf("%s: %v", name, err)
		}
		d := classic{}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = d
	}
	return all
}

// panelsOf lists the panels of a dashboard, those in folded rows too, with the rows apart.
func panelsOf(d classic) (panels []dashboard.Panel, rows []dashboard.RowPanel) {
	for _, p := range d.Panels {
		if p.Panel != nil {
			panels = append(panels, *p.Panel)
			continue
		}
		rows = append(rows, *p.RowPanel)
		panels = append(panels, p.RowPanel.Panels...)
	}
	return panels, rows
}

// exprsOf lists the expressions of a panel.
func exprsOf(t *testing.T, p dashboard.Panel) []string {
	t.Helper()
	var out []string
	for _, q := range p.Targets {
		switch q := q.(type) {
		case *prometheus.Dataquery:
			out = append(out, q.Expr)
		case prometheus.Dataquery:
			out = append(out, q.Expr)
		default:
			t.Errorf("panel %q has a query of type %T", *p.Title, q)
		}
	}
	return out
}

// TestForm holds the dashboards to what Grafana shows rightly and people can read.
func TestForm(t *testing.T) {
	all := decoded(t)
	uids := map[string]classic{}
	for name, d := range all {
		if other, ok := uids[*d.Uid]; ok {
			t.Errorf("%s and %q have one uid", name, *other.Title)
		}
		uids[*d.Uid] = d
	}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			if *d.Editable || d.SchemaVersion < 39 || d.SchemaVersion > 42 || *d.Title == "" || *d.Description == "" {
				t.Errorf("editable %v, schema %d, title %q, description %q", *d.Editable, d.SchemaVersion, *d.Title, *d.Description)
			}
			panels, rows := panelsOf(d)
			ids := map[uint32]bool{}
			for _, r := range rows {
				if ids[r.Id] || *r.Title == "" {
					t.Errorf("row %q: id %d is not its own, or no title", *r.Title, r.Id)
				}
				ids[r.Id] = true
			}
			for i := range panels {
				if p := &panels[i]; ids[*p.Id] {
					t.Errorf("panel %q: id %d is not its own", *p.Title, *p.Id)
				} else {
					ids[*p.Id] = true
					form(t, d, p, uids)
				}
			}
			overlaps(t, d)
			for _, v := range d.Templating.List {
				if v.Label == nil || *v.Label == "" || v.Name != "ds" && *v.Datasource.Uid != "${ds}" {
					t.Errorf("variable %q: label or data source", v.Name)
				}
			}
		})
	}
}

// form checks one panel.
func form(t *testing.T, d classic, p *dashboard.Panel, uids map[string]classic) {
	t.Helper()
	f := p.FieldConfig.Defaults
	if *p.Title == "" || len(*p.Description) < 10 || f.NoValue == nil || f.Color == nil || len(p.Targets) == 0 {
		t.Errorf("panel %q lacks a title, a description, a text for no data, a colour or a query", *p.Title)
	}
	if *p.Datasource.Uid != "${ds}" {
		t.Errorf("panel %q asks %q", *p.Title, *p.Datasource.Uid)
	}
	for _, q := range p.Targets {
		if q, ok := q.(*prometheus.Dataquery); ok && *q.Datasource.Uid != "${ds}" {
			t.Errorf("a query of panel %q asks %q", *p.Title, *q.Datasource.Uid)
		}
	}
	if f.Unit == nil && len(f.Mappings) == 0 && len(p.FieldConfig.Overrides) == 0 && p.Type != "table" {
		t.Errorf("panel %q has neither unit nor words for its values", *p.Title)
	}
	if (p.Type == "stat" || p.Type == "status-history") && (f.Thresholds == nil || len(f.Thresholds.Steps) < 1) {
		t.Errorf("panel %q has no thresholds", *p.Title)
	}
	var links []dashboard.DashboardLink
	links = append(links, f.Links...)
	for _, o := range p.FieldConfig.Overrides {
		for _, prop := range o.Properties {
			if ls, ok := prop.Value.([]any); ok && prop.Id == "links" {
				for _, l := range ls {
					u, _ := l.(map[string]any)["url"].(string)
					links = append(links, dashboard.DashboardLink{Url: &u})
				}
			}
		}
	}
	for _, l := range links {
		leads(t, d, *p.Title, *l.Url, uids)
	}
}

// leads checks that a link opens a dashboard of the same language, keeps data source and time, and sets variables that
// are there.
func leads(t *testing.T, from classic, panel, to string, uids map[string]classic) {
	t.Helper()
	path, query, _ := strings.Cut(to, "?")
	target, ok := uids[strings.TrimPrefix(path, "/d/")]
	if !ok || strings.HasSuffix(*target.Uid, English) != strings.HasSuffix(*from.Uid, English) {
		t.Errorf("panel %q links to %q, which is not there in this language", panel, to)
		return
	}
	if !strings.Contains(query, "${ds:queryparam}") || !strings.Contains(query, "${__url_time_range}") {
		t.Errorf("panel %q links to %q without data source or time", panel, to)
	}
	has := func(d classic, name string) bool {
		return slices.ContainsFunc(d.Templating.List, func(v dashboard.VariableModel) bool { return v.Name == name })
	}
	for part := range strings.SplitSeq(query, "&") {
		if name, _, ok := strings.Cut(part, "="); ok {
			if name, err := url.QueryUnescape(strings.TrimPrefix(name, "var-")); err != nil || !has(target, name) {
				t.Errorf("panel %q sets %q, which %s has not", panel, name, *target.Uid)
			}
		}
		if m := regexp.MustCompile(`^\$\{(\w+):queryparam\}$`).FindStringSubmatch(part); m != nil && (!has(from, m[1]) || !has(target, m[1])) {
			t.Errorf("panel %q hands on %q, which one of the two has not", panel, m[1])
		}
	}
}

// overlaps checks that nothing lies over anything or stands out of the grid.
func overlaps(t *testing.T, d classic) {
	t.Helper()
	taken := map[[2]uint32]string{}
	place := func(title string, g *dashboard.GridPos, taken map[[2]uint32]string) {
		if g.W == 0 || g.H == 0 || g.X+g.W > gridWidth {
			t.Errorf("%q stands at %+v", title, *g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]uint32{x, y}]; ok {
					t.Errorf("%q lies over %q", title, other)
					return
				}
				taken[[2]uint32{x, y}] = title
			}
		}
	}
	for _, p := range d.Panels {
		if p.Panel != nil {
			place(*p.Panel.Title, p.Panel.GridPos, taken)
			continue
		}
		place(*p.RowPanel.Title, p.RowPanel.GridPos, taken)
		folded := map[[2]uint32]string{}
		for _, q := range p.RowPanel.Panels {
			place(*q.Title, q.GridPos, folded)
		}
	}
}

// TestGapsStayGaps checks what makes Grafana paint over missing data, which it does with spanNulls or insertNulls set,
// and the colours of states, which it ignores when thresholds colour the panel.
func TestGapsStayGaps(t *testing.T) {
	n := 0
	for name, d := range decoded(t) {
		panels, _ := panelsOf(d)
		for _, p := range panels {
			text := strings.Join(exprsOf(t, p), " ")
			if regexp.MustCompile(`or (on \(\) )?vector\(`).MatchString(text) || strings.Contains(text, "absent") {
				t.Errorf("%s: panel %q invents a number where there is none: %s", name, *p.Title, text)
			}
			if p.Type != "state-timeline" {
				continue
			}
			n++
			raw, _ := fieldsOf(t, p.FieldConfig.Defaults.Custom)
			for _, k := range []string{"spanNulls", "insertNulls"} {
				if _, ok := raw[k]; ok {
					t.Errorf("%s: panel %q sets %s", name, *p.Title, k)
				}
			}
			f := p.FieldConfig.Defaults
			if f.Color.Mode != dashboard.FieldColorModeIdFixed || strings.Contains(text, "_over_time") {
				t.Errorf("%s: panel %q has colour %s and asks %s", name, *p.Title, f.Color.Mode, text)
			}
			if !slices.ContainsFunc(f.Mappings, func(m dashboard.ValueMapping) bool {
				return m.SpecialValueMap != nil && m.SpecialValueMap.Options.Match == dashboard.SpecialValueMatchNullAndNan
			}) {
				t.Errorf("%s: panel %q has no words for no data", name, *p.Title)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d panels of states", n)
	}
}
