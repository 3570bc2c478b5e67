package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"egovmon/agent/words"
)

// A text is what a person reads, in both languages.
type text struct{ vi, en string }

func (t text) in(l words.Lang) string {
	if l == words.EN {
		return t.en
	}
	return t.vi
}

// A board is one dashboard: one question, answered from the general to the particular.
type board struct {
	uid          string
	title, about text
	from         string // how far back it opens, e.g. now-24h
	vars         []variable
	outages      string // an expression whose series are marked over all panels; "" for none
	rows         []row
}

// A row is a stretch of panels under a heading.
type row struct {
	title     text // no heading when empty
	collapsed bool
	panels    []panel
}

// A variable narrows what every panel shows.
type variable struct {
	name  string
	label text
	query string // label_values(…); the data source's when empty
	multi bool   // several at once, and all
	first string // chosen at first; "" takes the first there is
}

// A look is how a panel draws.
type look string

const (
	lookStat    look = "stat"
	lookStates  look = "state-timeline"
	lookHistory look = "status-history"
	lookTable   look = "table"
	lookLines   look = "timeseries"
)

// A panel is one figure with what it means: title, source, window and what to do stand in title and about.
type panel struct {
	look         look
	title, about text
	w, h         uint32 // in Grafana's grid, 24 wide
	queries      []query
	unit         string // Grafana's, or days or minutes
	decimals     *float64
	min, max     *float64
	steps        []step
	mappings     func(words.Lang) []dashboard.ValueMapping
	link         string // of a series or value, to a dashboard of ours: its UID and the query
	join         string // tables of several queries: the column they have in common
	columns      []column
	none         text   // instead of "no data"
	every        string // shortest interval of points; "" for the data source's
}

// A query is one expression.
type query struct {
	expr   string
	legend string
	// empty says that on a good day, or without an optional part, there is nothing to show.
	empty bool
}

// A step colours values from a number upwards.
type step struct {
	from  float64 // the first step has no beginning
	color string
}

// A column is one of a table's, in order. Columns that are not listed are not shown.
type column struct {
	field    string // a label, Value, or Value #A for the first of several queries
	title    text
	unit     string
	decimals *float64
	steps    []step
	mappings func(words.Lang) []dashboard.ValueMapping
	link     string
}

// Units whose names Grafana has in English only.
const (
	days    = "days"
	minutes = "minutes"
)

// localUnit is a unit as Grafana takes it, with ours in a language.
func localUnit(u string, l words.Lang) string {
	switch u {
	case days:
		return "suffix:" + text{"ngày", "d"}.in(l)
	case minutes:
		return "suffix:" + text{"phút", "min"}.in(l)
	default:
		return u
	}
}

// Colours that people with red-green blindness tell apart, also in print.
const (
	blue   = "#2F6FB7" // up
	amber  = "#E69F00" // degraded
	red    = "#C4162A" // down
	grey   = "#8C8C8C" // unknown
	purple = "#7B4FA3" // more than expected, not a fault of a service
	faint  = "#D9D9D9" // no data
)
