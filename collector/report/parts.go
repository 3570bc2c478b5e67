package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/history"
)

// trend compares with the period before.
func (d *draft) trend() {
	if d.m.Before == nil {
		return
	}
	d.head("report.part.trend")
	d.text(d.say("report.trend", days(d.l, d.m.Before.From, d.m.Before.To)))
	var lines [][]string
	for _, r := range d.services() {
		for _, c := range r.Calendars {
			way, before := r.Compare(c)
			if way == NoBefore || !r.measured() {
				continue
			}
			lines = append(lines, []string{r.Name, calendarName(d.l, c.Calendar), words.Interval(d.l, before.Lower, before.Upper), words.Interval(d.l, c.Figures.Lower, c.Figures.Upper), trendName(d.l, way)})
		}
	}
	if len(lines) == 0 {
		d.text(d.say("report.notrend"))
		return
	}
	d.table(d.heads("report.head.trend"), []int{2655, 1200, 2000, 2000, 1500}, lines)
}

func trendName(l words.Lang, t Trend) string {
	switch t {
	case Better:
		return words.Say(l, "report.better")
	case Worse:
		return words.Say(l, "report.worse")
	case Alike:
		return words.Say(l, "report.alike")
	case NoTrend:
		return words.Say(l, "report.unsaid")
	}
	return words.Say(l, "figures.none")
}

// counters says how long the one-stop-shop counters were ready.
func (d *draft) counters() {
	if d.m.Edition == 0 || d.m.Service != "" && len(d.m.Counters) == 0 {
		return
	}
	d.head("report.part.counters")
	var lines [][]string
	for _, c := range d.m.Counters {
		lines = append(lines, d.counterRow(c))
	}
	if len(lines) == 0 {
		d.text(d.say("report.nocounter"))
		return
	}
	d.text(d.say("report.counters"))
	d.table(d.heads("report.head.counters"), []int{2355, 1500, 1400, 1400, 1400, 1300}, lines)
}

func (d *draft) counterRow(c Counter) []string {
	s := c.Seconds
	line := []string{clean(c.UnitName), d.say("figures.none")}
	if f := counterFigures(s); f.Coverage != nil && *f.Coverage > 0 {
		line[1] = words.Interval(d.l, f.Lower, f.Upper)
	}
	return append(line, words.Clocked(s.Ready), words.Clocked(s.Limited), words.Clocked(s.Stopped), words.Clocked(s.Unclear))
}

// counterFigures is the share of time in which a counter was ready, an interval like any other.
func counterFigures(s history.CounterSum) history.Figures {
	return history.Account{Up: s.Ready, Down: s.Limited + s.Stopped, Unknown: s.Unclear}.Figures()
}

// layers says how the controls of the four layers stand.
func (d *draft) layers() {
	if d.m.Edition == 0 || d.m.Service != "" || d.m.Unit != "" {
		return
	}
	d.head("report.part.layers")
	if len(d.m.Layers) == 0 {
		d.text(d.say("report.nolayers"))
		return
	}
	d.text(d.say("report.layers", words.DateTime(d.l, d.m.LayersAt)))
	var lines [][]string
	for _, x := range d.m.Layers {
		lines = append(lines, []string{layerName(d.l, x.Layer), tally(d.l, x.Measured), tally(d.l, x.Attested)})
	}
	d.table(d.heads("report.head.layers"), []int{3355, 3000, 3000}, lines)
}

func layerName(l words.Lang, n int) string {
	if n < 1 || n > 4 {
		return words.Number(l, int64(n))
	}
	return words.Say(l, "control.layer"+string(rune('0'+n)))
}

// tally writes how many controls stand how, what asks for a person first.
func tally(l words.Lang, states map[string]int) string {
	var said []string
	for _, s := range []string{"fail", "expired", "missing", "waiting", "partial", "unknown", "exception", "pass", "na"} {
		if n := states[s]; n > 0 {
			said = append(said, words.Say(l, "control."+s)+": "+words.Number(l, int64(n)))
		}
	}
	if len(said) == 0 {
		return words.Say(l, "layer.none")
	}
	return strings.Join(said, "; ")
}

// reform puts the figures of former units under those that go on with their work.
func (d *draft) reform() {
	if len(d.m.Reform) == 0 {
		return
	}
	d.head("report.part.reform")
	d.text(d.say("report.reform", words.Date(d.m.Generated)))
	var lines [][]string
	left := 0
	for _, j := range d.m.Reform {
		if len(lines) == maxOutages {
			left++
			continue
		}
		from := strings.Join(cleaned(j.FromNames), ", ")
		if j.Parts {
			from += " " + d.say("report.reform.part")
		}
		f := j.Account.Figures()
		lines = append(lines, []string{clean(j.Name), clean(j.UnitName), from, words.Interval(d.l, f.Lower, f.Upper), words.Share(d.l, f.Coverage)})
	}
	d.table(d.heads("report.head.reform"), []int{2155, 1700, 2500, 1800, 1200}, lines)
	if left > 0 {
		d.text(d.say("report.leftout", left))
	}
}

func cleaned(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s)
	}
	return out
}

// charts are pictures of how the seconds of services fell.
type charts struct {
	caption, timeline string
	legend            [5]string // up, degraded, down, unknown, excluded
	bars              []bar
	from, to          time.Time
}

// A bar is one service around the clock.
type bar struct {
	name, figure string
	seconds      [5]int64 // as in the legend
	outages      []history.Outage
}

// mostBars is how many services a chart shows; the tables have all.
const mostBars = 40

// pictures draws the services of which something is known.
func (d *draft) pictures() {
	if d.m.Edition == 0 {
		return
	}
	c := charts{caption: d.say("report.chart.shares"), timeline: d.say("report.chart.outages"), from: d.m.From, to: d.m.To,
		legend: [5]string{d.say("report.chart.up"), d.say("report.chart.degraded"), d.say("report.chart.down"), d.say("report.chart.unknown"), d.say("report.chart.excluded")}}
	for _, r := range d.services() {
		x, ok := r.Calendar(history.Hours24x7)
		if !ok || !r.measured() || len(c.bars) == mostBars {
			continue
		}
		a := x.Account
		c.bars = append(c.bars, bar{clean(r.Name), words.Interval(d.l, x.Figures.Lower, x.Figures.Upper), [5]int64{a.Up, a.Degraded, a.Down, a.Unknown, a.Excluded}, r.Outages})
	}
	slices.SortStableFunc(c.bars, func(a, b bar) int { return cmp.Compare(b.seconds[2], a.seconds[2]) })
	if len(c.bars) > 0 {
		d.charts(c)
	}
}
