package board

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// wordUnits is up to how many measured units every cell of the table has room for its words; with more it has a sign,
// whose words are in the legend and, for those who do not see it, in the cell.
const wordUnits = 4

// in returns a name in a language, or in the other one when it has only that.
func (n Name) in(l words.Lang) string {
	if l == words.EN && n.EN != "" || n.VI == "" {
		return n.EN
	}
	return n.VI
}

func or(s, id string) string {
	if s == "" {
		return id
	}
	return s
}

// A frontPage is the first page as its template reads it.
type frontPage struct {
	District  string
	Notices   []string
	Suspended []string // what does not work as announced, now or soon
	Tally     []tally  // of the measured services, in the order people read states
	Measured  int
	Counters  []counterRow
	Apart     []counterRow // of these, those that have a row
	Ready     []string     // and the names of those that are ready, where they are too many for that
	Unknown   int          // of these, the services whose state is not known
	Missing   int          // services that nobody measures
	Open      []incidentItem
	Closed    []incidentItem // within the last day
	Trouble   []trouble      // what no open incident is about
	More      int            // troubles that are not shown
	Held      bool           // some cell shows the last known state
	Compact   bool           // cells have no room for words
	Units     []Unit
	UnitName  []string
	Rows      []row

	Unconfigured []unconfigured // services that are not measured for it
	Partly       []unconfigured // services of which some check is measured
	Unwatched    []string       // services that could be measured, but no machine does
	Attested     []string       // services that no check can measure
	Agents       []agentRow
	Silent       []string // units without an agent
	SilentCount  int
	Received     string
	LogSize      string
	LogRoot      string
	LogRootFull  string
	Layers       layersPart
}

type tally struct {
	State check.State
	Word  string
	N     string
	Any   bool
}

// A trouble is one thing that is not as it should be, for people who must do something about it: a service as a whole,
// or in some units, or some services in one unit.
type trouble struct {
	Sign
	Key   string
	Name  string     // of the service, or of the unit
	Link  string     // "" for a unit
	Where []nameLink // the units or services meant; none when it is the whole district's
	More  string     // how many of those are left out, in words
	Text  words.Text
	Since string
}

type nameLink struct{ Name, Link string }

// A Sign is a state with its word.
type Sign struct {
	State check.State
	Word  string
}

// Class is the state's word for the style sheet and the sign's id.
func (s Sign) Class() string { return s.State.String() }

func signOf(l words.Lang, s check.State) Sign { return Sign{s, stateWord(l, s)} }

// stateWord is the word for a state as it stands alone.
func stateWord(l words.Lang, s check.State) string {
	w := words.State(l, s)
	_, n := utf8.DecodeRuneInString(w)
	return strings.ToUpper(w[:n]) + w[n:]
}

// A row is one service in the table.
type row struct {
	ID, Name, Owner string
	Whole           cell
	Cells           []cell // one for each unit of the page
	Counts          []tally
}

// A cell is one service in one unit, or as a whole.
type cell struct {
	Sign
	ID       string // of its element
	Unit     string
	Empty    bool   // not measured here
	Since    string // in words
	Reason   string // "" when all is well
	Held     bool
	Link     string
	Sentence string // all of it, for the title and for those who hear the page
}

type unconfigured struct {
	Name, Owner        string
	Checks, Parameters []string
}

type agentRow struct {
	Machine, Unit string
	Contact       string
	Received      string
	Plan          string
	Checks        string
	Build         string
	Notice        string
}

type cellKey struct{ service, unit string }

// A grid finds cells.
type grid struct {
	l      words.Lang
	now    time.Time
	cells  map[cellKey]Cell
	unit   map[string]string // names
	inUse  map[string]bool   // units with a measured cell
	inView map[string]bool   // services with one
}

func newGrid(l words.Lang, v View) grid {
	g := grid{l, v.Now, map[cellKey]Cell{}, map[string]string{}, map[string]bool{}, map[string]bool{}}
	for _, u := range v.Units {
		g.unit[u.ID] = or(u.Name.in(l), u.ID)
	}
	for _, c := range v.Cells {
		g.cells[cellKey{c.Service, c.Unit}] = c
		if c.Unit != "" && c.measured() {
			g.inUse[c.Unit], g.inView[c.Service] = true, true
		}
	}
	return g
}

// cell words one cell.
func (g grid) cell(service Service, unit string) cell {
	c, ok := g.cells[cellKey{service.ID, unit}]
	out := cell{ID: "c-" + service.ID + "-" + or(unit, "all"), Unit: g.unit[unit], Sign: signOf(g.l, check.Unknown)}
	if !ok || unit != "" && !c.measured() {
		out.Empty, out.Word = true, words.Say(g.l, "board.notmeasured")
		out.Sentence = out.Word
		return out
	}
	out.Sign, out.Held, out.Link = signOf(g.l, c.State), c.Held, linkOf(c)
	out.Since = g.since(c)
	if c.State != check.Up {
		out.Reason = g.text(c).Title
	}
	parts := []string{or(out.Unit, words.Say(g.l, "board.whole")) + ": " + out.Word}
	for _, s := range []string{out.Since, out.Reason} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if out.Held {
		parts = append(parts, words.Say(g.l, "board.held"))
	}
	out.Sentence = strings.Join(parts, ", ")
	return out
}

// text says why a cell has its state. Too few votes are no reason of their own: accounts hold what the missing ones lack.
func (g grid) text(c Cell) words.Text {
	t := words.Reason(g.l, c.Reason)
	if c.Short == nil || c.State != check.Unknown {
		return t
	}
	few := words.Say(g.l, "board.few", c.Short.Voting, c.Short.Units)
	if c.Short.Voting >= c.Short.Units {
		few = words.Say(g.l, "board.few.carriers", c.Short.Carriers)
	}
	if c.Reason != check.NotPlanned {
		few += " (" + t.Title + ")"
	}
	return words.Text{Title: few, Action: words.Say(g.l, "board.few.action")}
}

// since says from when on a cell has had its state.
func (g grid) since(c Cell) string {
	switch {
	case c.Since.IsZero():
		return ""
	case c.Open:
		return words.Say(g.l, "board.before", words.At(g.l, c.Since, g.now))
	default:
		return words.Say(g.l, "board.since", words.At(g.l, c.Since, g.now))
	}
}

// linkOf leads to the only check under a cell, or to all of them.
func linkOf(c Cell) string {
	if len(c.Checks) == 1 && c.Unit != "" {
		return checkLink(c.Checks[0])
	}
	return serviceLink(c.Service)
}

func serviceLink(id string) string { return "/service/" + url.PathEscape(id) }

func checkLink(c CheckRef) string {
	return "/check/" + url.PathEscape(c.Machine) + "/" + url.PathEscape(c.ID)
}

func newFront(l words.Lang, v View, mayAck bool) frontPage {
	g := newGrid(l, v)
	p := frontPage{District: v.District.in(l)}
	for _, n := range v.Notices {
		p.Notices = append(p.Notices, n.in(l))
	}
	p.Suspended = g.suspended(v)
	for _, u := range v.Units {
		if g.inUse[u.ID] {
			p.Units = append(p.Units, u)
			p.UnitName = append(p.UnitName, g.unit[u.ID])
		}
	}
	p.Compact = len(p.Units) > wordUnits
	count := map[check.State]int{}
	lacks := p.unconfigured(l, v, g)
	for _, s := range v.Services {
		name := s.title(l)
		switch {
		case g.inView[s.ID]:
			r := g.row(s, p.Units)
			p.Rows = append(p.Rows, r)
			p.Held = p.Held || r.Whole.Held || slices.ContainsFunc(r.Cells, func(c cell) bool { return c.Held })
			count[r.Whole.State]++
		case lacks[s.ID]:
		case s.Attested:
			p.Attested = append(p.Attested, name)
		default:
			p.Unwatched = append(p.Unwatched, name)
		}
	}
	p.Measured, p.Missing = len(p.Rows), len(v.Services)-len(p.Rows)
	p.Tally, p.Unknown = tallies(l, count), count[check.Unknown]
	p.Counters = counterRows(l, v)
	p.Apart, p.Ready = gather(p.Counters)
	p.Open, p.Closed = g.incidents(v, mayAck)
	p.Trouble = g.troubles(v)
	if n := len(p.Trouble); n > mostTroubles {
		p.Trouble, p.More = p.Trouble[:mostTroubles], n-mostTroubles
	}
	p.Layers = newLayers(g, v.Layers)
	p.agents(l, v, g)
	if !v.Received.IsZero() {
		p.Received = words.DateTime(l, v.Received)
	}
	p.LogSize, p.LogRoot, p.LogRootFull = words.Number(l, v.Log.Size), short(v.Log.Root), v.Log.Root
	return p
}

// unconfigured lists what lacks a parameter, and returns which services those are.
func (p *frontPage) unconfigured(l words.Lang, v View, g grid) map[string]bool {
	lacks := map[string]bool{}
	byID := map[string]Service{}
	for _, s := range v.Services {
		byID[s.ID] = s
	}
	for _, n := range v.NotConfigured {
		s := byID[n.Service]
		lacks[n.Service] = true
		u := unconfigured{or(s.Name.in(l), n.Service), s.Owner.in(l), n.Checks, n.Parameters}
		if g.inView[n.Service] {
			p.Partly = append(p.Partly, u)
		} else {
			p.Unconfigured = append(p.Unconfigured, u)
		}
	}
	return lacks
}

func tallies(l words.Lang, count map[check.State]int) []tally {
	var out []tally
	for _, s := range check.States() {
		out = append(out, tally{s, stateWord(l, s), words.Number(l, int64(count[s])), count[s] > 0})
	}
	return out
}

// Class is the state's word for the style sheet and the sign's id.
func (t tally) Class() string { return t.State.String() }

func (g grid) row(s Service, units []Unit) row {
	r := row{ID: s.ID, Name: s.title(g.l), Owner: s.Owner.in(g.l), Whole: g.cell(s, "")}
	count := map[check.State]int{}
	for _, u := range units {
		c := g.cell(s, u.ID)
		r.Cells = append(r.Cells, c)
		if !c.Empty {
			count[c.State]++
		}
	}
	for _, t := range tallies(g.l, count) {
		if t.Any {
			r.Counts = append(r.Counts, t)
		}
	}
	return r
}

func (p *frontPage) agents(l words.Lang, v View, g grid) {
	has := map[string]bool{}
	never := words.Say(l, "board.never")
	at := func(t time.Time) string {
		if t.IsZero() {
			return never
		}
		return words.At(l, t, v.Now)
	}
	for _, a := range v.Agents {
		has[a.Unit] = true
		r := agentRow{Machine: a.Machine, Unit: or(g.unit[a.Unit], a.Unit), Contact: at(a.Contact), Received: at(a.Received), Build: a.Build, Notice: a.Notice.in(l)}
		if a.PlanVersion > 0 {
			r.Plan = words.Number(l, a.PlanVersion)
		}
		if a.Checks > 0 {
			r.Checks = words.Number(l, int64(a.Checks))
		}
		p.Agents = append(p.Agents, r)
	}
	for _, u := range v.Units {
		if !has[u.ID] {
			p.Silent = append(p.Silent, g.unit[u.ID])
		}
	}
	p.SilentCount = len(p.Silent)
}

// short is the beginning of a hash, enough to compare by eye.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12] + "…"
	}
	return hash
}
