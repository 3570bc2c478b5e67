package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/statushistory"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"egovmon/agent/words"
)

// rowsPerPage is how many lines a panel of states shows before it turns pages: more than a district has systems or
// units.
const rowsPerPage = 60

// dress sets what belongs to one look alone.
func (p panel) dress(d *dashboard.Panel, l words.Lang) {
	f := &d.FieldConfig.Defaults
	switch p.look {
	case lookStat:
		o := stat.NewOptions()
		o.GraphMode, o.ColorMode = common.BigValueGraphModeNone, common.BigValueColorModeBackground
		o.ReduceOptions.Calcs, o.Orientation = []string{"lastNotNull"}, common.VizOrientationAuto
		d.Options = o
		f.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdThresholds}
	case lookStates:
		dressStates(d)
	case lookHistory:
		o := statushistory.NewOptions()
		o.ShowValue, o.PerPage = common.VisibilityModeNever, new(float64(rowsPerPage))
		o.Tooltip.Mode, o.Tooltip.Sort = common.TooltipDisplayModeSingle, common.SortOrderNone
		d.Options = o
		f.Custom = statushistory.NewFieldConfig()
		f.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdThresholds}
	case lookLines:
		o := timeseries.NewOptions()
		o.Legend.ShowLegend = true
		o.Tooltip.Mode, o.Tooltip.Sort = common.TooltipDisplayModeMulti, common.SortOrderDescending
		d.Options = o
		c := timeseries.NewFieldConfig()
		c.LineWidth, c.FillOpacity = new(1.0), new(0.0)
		c.SpanNulls = &common.BoolOrFloat64{Bool: new(false)}
		f.Custom = c
		f.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdPaletteClassicByName}
	case lookTable:
		p.dressTable(d, l)
	}
}

// dressStates leaves spanNulls and insertNulls unset: with either of them Grafana paints the time before a gap over
// the gap. The colour is fixed, because colours by threshold would go before the mappings.
func dressStates(d *dashboard.Panel) {
	o := statetimeline.NewOptions()
	o.ShowValue, o.MergeValues, o.PerPage = common.VisibilityModeNever, new(true), new(float64(rowsPerPage))
	o.Legend.ShowLegend = true
	o.Tooltip.Mode, o.Tooltip.Sort = common.TooltipDisplayModeSingle, common.SortOrderNone
	d.Options = o
	c := statetimeline.NewFieldConfig()
	c.FillOpacity = new(uint32(90))
	d.FieldConfig.Defaults.Custom = c
	d.FieldConfig.Defaults.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdFixed, FixedColor: new(grey)}
}

// dressTable brings the queries' results together, names the columns that are wanted and leaves out the rest.
func (p panel) dressTable(d *dashboard.Panel, l words.Lang) {
	o := table.NewOptions()
	o.Footer = nil
	d.Options = o
	d.FieldConfig.Defaults.Custom = table.NewFieldConfig()
	d.FieldConfig.Defaults.Color = &dashboard.FieldColor{Mode: dashboard.FieldColorModeIdThresholds}
	if p.join != "" {
		d.Transformations = append(d.Transformations, dashboard.DataTransformerConfig{Id: "joinByField",
			Options: map[string]any{"byField": p.join, "mode": "outer"}})
	}
	var names []string
	rename, order := map[string]string{}, map[string]int{}
	for i, c := range p.columns {
		names = append(names, c.field)
		rename[c.field], order[c.field] = c.title.in(l), i
		if o := c.override(l); len(o.Properties) > 0 {
			d.FieldConfig.Overrides = append(d.FieldConfig.Overrides, o)
		}
	}
	d.Transformations = append(d.Transformations,
		dashboard.DataTransformerConfig{Id: "filterFieldsByName", Options: map[string]any{"include": map[string]any{"names": names}}},
		dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"renameByName": rename, "indexByName": order, "excludeByName": map[string]any{}}})
}

// override is what a column has for itself.
func (c column) override(l words.Lang) dashboard.DashboardFieldConfigSourceOverrides {
	o := dashboard.DashboardFieldConfigSourceOverrides{Matcher: dashboard.MatcherConfig{Id: "byName", Options: c.title.in(l)}}
	set := func(id string, v any) {
		o.Properties = append(o.Properties, dashboard.DynamicConfigValue{Id: id, Value: v})
	}
	if c.unit != "" {
		set("unit", localUnit(c.unit, l))
	}
	if c.decimals != nil {
		set("decimals", *c.decimals)
	}
	if c.mappings != nil {
		set("mappings", c.mappings(l))
	}
	if len(c.steps) > 0 {
		set("thresholds", thresholds(c.steps))
	}
	if len(c.steps) > 0 || c.mappings != nil {
		set("custom.cellOptions", map[string]any{"type": "color-text"})
	}
	if c.link != "" {
		set("links", []dashboard.DashboardLink{drill(c.link, l)})
	}
	return o
}
