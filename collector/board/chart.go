package board

import (
	"slices"
	"time"

	"egovmon/agent/words"
)

// The picture's own units: it is stretched to the width of the page, so it holds no text.
const (
	chartHeight  = 100 // of the bars
	stripTop     = 108
	stripHeight  = 16
	columnWidth  = 10
	leastColumns = 40
	gapColumns   = 2 // a stretch without results is as wide as this many
)

// A chart draws how long each run took, by phases, and the strip of states below, oldest first. A stretch without
// results is a hole in both.
type chart struct {
	Width, Height  int
	Short          bool // the results do not fill the width
	Bars           []rect
	Strip          []rect
	Holes          []rect
	Marks          []int // x of each change of plan, start or stop
	Legend         []legendOf
	Top, Half      string // what the upper and the middle line stand for
	First, Last    string // times at both ends
	Label          string // for those who hear the page
	StripY, StripH int
}

type rect struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

type legendOf struct{ Class, Name string }

// The classes of the style sheet for phases, by name.
const (
	classRest  = "p-rest"
	classOther = "p-other"
)

func newChart(l words.Lang, newestFirst []Entry) chart {
	entries := slices.Clone(newestFirst)
	slices.Reverse(entries)
	c := chart{Height: stripTop + stripHeight, StripY: stripTop, StripH: stripHeight}
	var longest time.Duration
	var first, last time.Time
	results := 0
	for _, e := range entries {
		if e.Result != nil {
			if longest = max(longest, e.Result.Took); results == 0 {
				first = e.Result.Slot
			}
			last = e.Result.Slot
			results++
		}
	}
	if results == 0 {
		return chart{}
	}
	longest = max(longest, 10*time.Microsecond)
	x := 0
	for _, e := range entries {
		switch {
		case e.Result != nil:
			c.bar(l, e.Result, x, longest)
			x += columnWidth
		case e.Gap != nil:
			c.Holes = append(c.Holes, rect{X: float64(x), Y: 0, W: gapColumns * columnWidth, H: stripTop + stripHeight})
			x += gapColumns * columnWidth
		case e.Mark != nil:
			if n := len(c.Marks); n == 0 || c.Marks[n-1] != x {
				c.Marks = append(c.Marks, x)
			}
		}
	}
	if c.Width = x; x < leastColumns*columnWidth {
		c.Width, c.Short = leastColumns*columnWidth, true
	}
	c.Top, c.Half = words.Milliseconds(l, longest), words.Milliseconds(l, longest/2)
	c.First, c.Last = words.Clock(first), words.Clock(last)
	if words.Date(first) != words.Date(last) {
		c.First, c.Last = words.DateTime(l, first), words.DateTime(l, last)
	}
	c.Label = words.Say(l, "check.chart", words.Number(l, int64(results)), c.First, c.Last, c.Top)
	return c
}

// bar draws one result: its phases from the bottom up, what they leave of its whole time on top, and its state.
func (c *chart) bar(l words.Lang, r *Result, x int, longest time.Duration) {
	title := words.Clock(made(r)) + " · " + words.State(l, shown(r).State()) + " · " + words.Milliseconds(l, r.Took)
	y, left := float64(chartHeight), r.Took
	draw := func(name, class string, took time.Duration) {
		took = min(max(0, took), left)
		h := chartHeight * float64(took) / float64(longest)
		if h < 0.05 {
			return
		}
		left -= took
		y -= h
		c.Bars = append(c.Bars, rect{float64(x) + 1, y, columnWidth - 2, h, class, title})
		if !slices.ContainsFunc(c.Legend, func(k legendOf) bool { return k.Name == name }) {
			c.Legend = append(c.Legend, legendOf{class, name})
		}
	}
	for _, p := range r.Phases {
		if p.Name == "total" {
			continue
		}
		class := classOther
		if slices.Contains(phaseKeys(), p.Name) {
			class = "p-" + p.Name
		}
		draw(phaseName(l, p.Name), class, p.Took)
	}
	switch {
	case left == r.Took:
		draw(words.Say(l, "phase.total"), classOther, left)
	case left*50 > longest:
		draw(words.Say(l, "phase.rest"), classRest, left)
	}
	state := shown(r).State()
	h := map[string]float64{"up": 0.5, "degraded": 0.75, "down": 1, "unknown": 0.5}[state.String()] * stripHeight
	c.Strip = append(c.Strip, rect{float64(x) + 1, stripTop + stripHeight - h, columnWidth - 2, h, "s-" + state.String(), title})
}
