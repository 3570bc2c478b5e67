package dashboards

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"egovmon/agent/words"
)

const (
	gridWidth = 24
	zone      = "Asia/Ho_Chi_Minh"
	tag       = "egovmon"
)

// source is the data source that the variable ds names.
func source() *common.DataSourceRef {
	return &common.DataSourceRef{Type: new("prometheus"), Uid: new("${ds}")}
}

// localUID is the UID of a dashboard in a language.
func localUID(uid string, l words.Lang) string {
	if l == words.EN {
		return uid + English
	}
	return uid
}

// render makes Grafana's model of the board in a language.
func (b board) render(l words.Lang) classic {
	d := dashboard.NewDashboard()
	d.Uid = new(localUID(b.uid, l))
	d.Title = new(b.title.in(l))
	d.Description = new(b.about.in(l))
	d.Tags = []string{tag, tag + "-" + string(l)}
	d.Timezone = new(zone)
	d.Editable = new(false)
	d.GraphTooltip = new(dashboard.DashboardCursorSyncCrosshair)
	d.Time = &dashboard.DashboardDashboardTime{From: b.from, To: "now"}
	d.Refresh = new("1m")
	d.WeekStart = new("monday")
	d.Version = new(uint32(1))
	others := text{"Các bảng theo dõi", "Dashboards"}
	d.Links = []dashboard.DashboardLink{{Title: others.in(l), Type: dashboard.DashboardLinkTypeDashboards, Icon: "external link",
		Tags: []string{tag + "-" + string(l)}, IncludeVars: true, KeepTime: true}}
	d.Templating.List = append(d.Templating.List, dataSource(l))
	for _, v := range b.vars {
		d.Templating.List = append(d.Templating.List, v.render(l))
	}
	if b.outages != "" {
		d.Annotations.List = append(d.Annotations.List, outages(b.outages, l))
	}
	d.Panels = layOut(b.rows, l)
	return *d
}

// dataSource is the variable that every panel asks.
func dataSource(l words.Lang) dashboard.VariableModel {
	name := text{"Nguồn số liệu", "Data source"}
	return dashboard.VariableModel{Type: dashboard.VariableTypeDatasource, Name: "ds", Label: new(name.in(l)),
		Query: &dashboard.StringOrMap{String: new("prometheus")}, Refresh: new(dashboard.VariableRefreshOnDashboardLoad)}
}

func (v variable) render(l words.Lang) dashboard.VariableModel {
	m := dashboard.VariableModel{Type: dashboard.VariableTypeQuery, Name: v.name, Label: new(v.label.in(l)), Datasource: source(),
		Query:      &dashboard.StringOrMap{Map: map[string]any{"query": v.query, "refId": "labels"}},
		Definition: new(v.query), Refresh: new(dashboard.VariableRefreshOnTimeRangeChanged), Sort: new(dashboard.VariableSortNaturalAsc)}
	switch {
	case v.multi:
		m.Multi, m.IncludeAll, m.AllValue = new(true), new(true), new(".+")
		m.Current = &dashboard.VariableOption{Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}}
	case v.first != "":
		m.Current = &dashboard.VariableOption{Text: dashboard.StringOrArrayOfString{String: new(v.first)},
			Value: dashboard.StringOrArrayOfString{String: new(v.first)}}
	}
	return m
}

// outages marks the times at which an expression has series.
func outages(expr string, l words.Lang) dashboard.AnnotationQuery {
	name := text{"Gián đoạn", "Outages"}
	return dashboard.AnnotationQuery{Name: name.in(l), Datasource: source(), Enable: true, IconColor: red, Expr: new(expr),
		Step: new("1m"), TitleFormat: new("{{service}}"), TagKeys: new("service")}
}

// layOut places rows one below the other and the panels of each from left to right.
func layOut(rows []row, l words.Lang) []dashboard.PanelOrRowPanel {
	var out []dashboard.PanelOrRowPanel
	var id, y uint32
	for _, r := range rows {
		var head *dashboard.RowPanel
		if r.title != (text{}) {
			id++
			head = &dashboard.RowPanel{Type: "row", Title: new(r.title.in(l)), Id: id, Collapsed: r.collapsed,
				GridPos: &dashboard.GridPos{W: gridWidth, H: 1, Y: y}, Panels: []dashboard.Panel{}}
			out = append(out, dashboard.PanelOrRowPanel{RowPanel: head})
			y++
		}
		var x, tallest uint32
		for _, p := range r.panels {
			if x+p.w > gridWidth {
				x, y, tallest = 0, y+tallest, 0
			}
			id++
			drawn := p.render(l)
			drawn.Id = new(id)
			drawn.GridPos = &dashboard.GridPos{X: x, Y: y, W: p.w, H: p.h}
			x, tallest = x+p.w, max(tallest, p.h)
			if head != nil && r.collapsed {
				head.Panels = append(head.Panels, drawn)
				continue
			}
			out = append(out, dashboard.PanelOrRowPanel{Panel: &drawn})
		}
		y += tallest
	}
	return out
}

func (p panel) render(l words.Lang) dashboard.Panel {
	d := dashboard.NewPanel()
	d.Type = string(p.look)
	d.Title, d.Description = new(p.title.in(l)), new(p.about.in(l))
	d.Datasource = source()
	for i, q := range p.queries {
		d.Targets = append(d.Targets, q.render(p.look, i))
	}
	if p.every != "" {
		d.Interval = new(p.every)
	}
	none := p.none
	if none == (text{}) {
		none = nothing
	}
	d.FieldConfig = dashboard.NewFieldConfigSource()
	f := &d.FieldConfig.Defaults
	f.NoValue, f.Decimals, f.Min, f.Max = new(none.in(l)), p.decimals, p.min, p.max
	if p.unit != "" {
		f.Unit = new(localUnit(p.unit, l))
	}
	if len(p.steps) > 0 {
		f.Thresholds = thresholds(p.steps)
	}
	if p.mappings != nil {
		f.Mappings = p.mappings(l)
	}
	if p.link != "" {
		f.Links = []dashboard.DashboardLink{drill(p.link, l)}
	}
	d.FieldConfig.Overrides = []dashboard.DashboardFieldConfigSourceOverrides{}
	p.dress(d, l)
	return *d
}

func (q query) render(k look, i int) variants.Dataquery {
	r := &prometheus.Dataquery{Datasource: source(), Expr: q.expr, RefId: new(string(rune('A' + i))), EditorMode: new(prometheus.QueryEditorModeCode)}
	switch k {
	case lookStat:
		r.Instant, r.Range = new(true), new(false)
	case lookTable:
		r.Instant, r.Range, r.Format = new(true), new(false), new(prometheus.PromQueryFormatTable)
	default:
		r.Instant, r.Range = new(false), new(true)
	}
	if q.legend != "" {
		r.LegendFormat = new(q.legend)
	}
	return r
}

func thresholds(steps []step) *dashboard.ThresholdsConfig {
	t := &dashboard.ThresholdsConfig{Mode: dashboard.ThresholdsModeAbsolute}
	for i, s := range steps {
		d := dashboard.Threshold{Color: s.color}
		if i > 0 {
			d.Value = new(s.from)
		}
		t.Steps = append(t.Steps, d)
	}
	return t
}

// drill links a value to a dashboard of ours, with data source and time. To is the UID and what else the query holds.
func drill(to string, l words.Lang) dashboard.DashboardLink {
	uid, query, _ := strings.Cut(to, "?")
	if query != "" {
		query += "&"
	}
	more := text{"Xem chi tiết", "Details"}
	return dashboard.DashboardLink{Title: more.in(l), Type: dashboard.DashboardLinkTypeLink, Tags: []string{},
		Url: new("/d/" + localUID(uid, l) + "?" + query + "${ds:queryparam}&${__url_time_range}")}
}
