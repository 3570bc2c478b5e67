package board

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
)

// A servicePage shows one service in every unit that measures it.
type servicePage struct {
	Name, Owner, Operator string
	Available, Rule       string   // "" where nothing is said
	Targets               []string // none where nothing was set
	Whole                 cell
	WholeText             words.Text
	Units                 []unitRow
	NotMeasured           []string
	Lacking, Parameters   []string
	Letters               []letterCount // those that there are any of
	Lost                  []string      // one sentence each
}

type letterCount struct{ Name, Count string }

type unitRow struct {
	cell
	Text   words.Text
	Last   string
	Checks []checkLinkText
}

type checkLinkText struct{ Text, Link string }

func newServicePage(l words.Lang, v View, id string) (servicePage, bool) {
	i := slices.IndexFunc(v.Services, func(s Service) bool { return s.ID == id })
	if i < 0 {
		return servicePage{}, false
	}
	s, g := v.Services[i], newGrid(l, v)
	p := servicePage{Name: s.title(l), Owner: s.Owner.in(l), Operator: s.Operator.in(l), Available: s.Available.in(l), Rule: s.Rule.in(l), Whole: g.cell(s, "")}
	for _, t := range s.Targets {
		p.Targets = append(p.Targets, t.in(l))
	}
	if p.Whole.Reason != "" {
		p.WholeText = g.text(g.cells[cellKey{id, ""}])
	}
	for _, u := range v.Units {
		c := g.cell(s, u.ID)
		if c.Empty {
			p.NotMeasured = append(p.NotMeasured, g.unit[u.ID])
			continue
		}
		raw := g.cells[cellKey{id, u.ID}]
		r := unitRow{cell: c}
		if c.Reason != "" {
			// What is to be done stands above the table when it is the same everywhere.
			if r.Text = words.Reason(l, raw.Reason); r.Text == p.WholeText {
				r.Text = words.Text{Title: r.Text.Title}
			}
		}
		if !raw.Last.IsZero() {
			r.Last = words.At(l, raw.Last, v.Now)
		}
		for _, ref := range raw.Checks {
			r.Checks = append(r.Checks, checkLinkText{ref.Machine + " · " + ref.ID, checkLink(ref)})
		}
		p.Units = append(p.Units, r)
	}
	slices.SortStableFunc(p.Units, func(a, b unitRow) int { return weight(a.State) - weight(b.State) })
	p.letters(l, v, id)
	for _, n := range v.NotConfigured {
		if n.Service == id {
			p.Lacking, p.Parameters = n.Checks, n.Parameters
		}
	}
	return p, true
}

// letterOutcomes are what may become of a letter, the good ones first.
func letterOutcomes() []string {
	return []string{"on_time", "late", "altered", "lost", "waiting", "unproven"}
}

// letters fills in what became of the service's test letters.
func (p *servicePage) letters(l words.Lang, v View, id string) {
	i := slices.IndexFunc(v.Letters, func(x Letters) bool { return x.Service == id })
	if i < 0 {
		return
	}
	for _, o := range letterOutcomes() {
		if n := v.Letters[i].Counts[o]; n > 0 {
			p.Letters = append(p.Letters, letterCount{words.Say(l, "letters."+o), words.Number(l, int64(n))})
		}
	}
	for _, x := range v.Letters[i].Lost {
		p.Lost = append(p.Lost, words.Say(l, "letters.proof", x.From, words.At(l, x.At, v.Now), x.To, words.At(l, x.Proof, v.Now)))
	}
}

// A checkPage shows what one check of one machine saw last.
type checkPage struct {
	ServiceName, ServiceLink, UnitName string
	Machine, Check, Kind, Every        string
	Latest                             *lineOf
	Stale                              bool // the latest result says nothing of now; Latest is its time, without its state
	Text                               words.Text
	Entries                            []lineOf
	Facts                              []factOf
	Chart                              chart
	Results                            int
}

// A lineOf is one line of the table: a result, or a stretch without one, or a change.
type lineOf struct {
	Sign
	Class          string // result, gap or mark
	Time           string
	Reason, Detail string
	Took           string
	Attempts       string
	Phases         []phaseOf
	Text           string // of a gap or a mark
}

type phaseOf struct{ Name, Took string }

type factOf struct{ Name, Value string }

func newCheckPage(l words.Lang, v View, d Detail) checkPage {
	p := checkPage{Machine: d.Machine, Check: d.Check, Kind: d.Kind, ServiceName: d.Service, UnitName: d.Unit}
	for _, s := range v.Services {
		if s.ID == d.Service {
			p.ServiceName, p.ServiceLink = or(s.Name.in(l), s.ID), serviceLink(s.ID)
		}
	}
	for _, u := range v.Units {
		if u.ID == d.Unit {
			p.UnitName = or(u.Name.in(l), u.ID)
		}
	}
	if d.Every > 0 {
		p.Every = words.Duration(l, d.Every)
	}
	entries := withGaps(d.Entries)
	for _, e := range entries {
		line := lineFor(l, v.Now, e)
		p.Entries = append(p.Entries, line)
		if e.Result == nil {
			continue
		}
		p.Results++
		if p.Latest == nil {
			p.Latest, p.Text = &line, words.Reason(l, shown(e.Result))
			if stale(v, d, e.Result) {
				p.Stale, p.Text = true, words.Reason(l, check.Silent)
				p.Latest = &lineOf{Sign: signOf(l, check.Unknown), Time: line.Time, Reason: p.Text.Title}
			}
			for _, f := range e.Result.Facts.Sorted() {
				p.Facts = append(p.Facts, factOf{f.Name, factText(l, f)})
			}
		}
	}
	p.Chart = newChart(l, entries)
	return p
}

// lateAfter is how long after its stretch a result may still be the latest, however short its interval is: results are
// sent in batches.
const lateAfter = 2 * time.Minute

// stale reports whether the latest result of a check no longer says how things are.
func stale(v View, d Detail, r *Result) bool {
	for _, c := range v.Cells {
		if c.Service == d.Service && c.Unit == d.Unit && c.Held {
			return false
		}
	}
	return v.Now.Sub(r.Slot.Add(r.Every)) > max(lateAfter, r.Every)
}

// shown is the reason under which a result counts.
func shown(r *Result) check.Reason {
	if r.ClockUnproven {
		return check.ClockUnproven
	}
	return r.Reason
}

// made is when a result was measured, which may be long after the slot began that it speaks for.
func made(r *Result) time.Time {
	if r.Start.IsZero() {
		return r.Slot
	}
	return r.Start
}

func lineFor(l words.Lang, now time.Time, e Entry) lineOf {
	span := func(from, to time.Time) string {
		if words.Date(from) != words.Date(to) {
			return words.DateTime(l, from) + " – " + words.DateTime(l, to)
		}
		return clockAt(l, from, now) + " – " + words.Clock(to)
	}
	switch {
	case e.Result != nil:
		r := e.Result
		why := shown(r)
		line := lineOf{Class: "result", Sign: signOf(l, why.State()), Time: clockAt(l, made(r), now), Detail: r.Detail,
			Took: words.Milliseconds(l, r.Took), Attempts: words.Number(l, int64(r.Attempts))}
		if why != check.OK {
			line.Reason = words.Reason(l, why).Title
		}
		for _, ph := range r.Phases {
			if ph.Name == "total" && len(r.Phases) > 1 { // the line has it already
				continue
			}
			line.Phases = append(line.Phases, phaseOf{phaseName(l, ph.Name), words.Milliseconds(l, ph.Took)})
		}
		return line
	case e.Gap != nil:
		line := lineOf{Class: "gap", Sign: signOf(l, check.Unknown), Time: span(e.Gap.From, e.Gap.To)}
		if line.Text = words.Say(l, "check.nodata"); e.Gap.Reason != "" {
			line.Text = words.Reason(l, e.Gap.Reason).Title
		}
		if e.Gap.Slots > 0 {
			line.Text += " (" + words.Say(l, "check.missing", words.Number(l, int64(e.Gap.Slots))) + ")"
		}
		return line
	default:
		line := lineOf{Class: "mark", Time: clockAt(l, e.at(), now)}
		if e.Mark != nil {
			line.Text = words.Say(l, "check.mark."+e.Mark.What)
			if e.Mark.Plan > 0 && e.Mark.What == MarkPlan {
				line.Text = words.Say(l, "check.mark.plan.version", words.Number(l, e.Mark.Plan))
			}
		}
		return line
	}
}

// clockAt is the time to the second, with the day when it is not today.
func clockAt(l words.Lang, t, now time.Time) string {
	if words.Date(t) == words.Date(now) {
		return words.Clock(t)
	}
	return words.DateTime(l, t)
}

// phaseName is the word for a step of a run, or its own name when it is one that few people need.
func phaseName(l words.Lang, name string) string {
	if slices.Contains(phaseKeys(), name) {
		return words.Say(l, "phase."+name)
	}
	return name
}

// phaseKeys are the steps that the catalogue has words for.
func phaseKeys() []string {
	return []string{"dns", "connect", "tls", "send", "first_byte", "transfer", "echo", "total"}
}

// factText writes a number by the unit at the end of its name.
func factText(l words.Lang, f check.Fact) string {
	v := f.Value
	// What does not fit a time or a size is written as the number it is.
	fits := v > -1e15 && v < 1e15
	switch {
	case f.Name == "os_ended_code" && v == 1:
		return words.Say(l, "check.osended")
	case fits && strings.HasSuffix(f.Name, "_unix"):
		return words.DateTime(l, time.Unix(int64(v), 0))
	case fits && strings.HasSuffix(f.Name, "_bytes"):
		return words.Bytes(l, int64(v))
	case strings.HasSuffix(f.Name, "_ratio"):
		return words.Percent(l, v, 2)
	case v >= 0 && v < 1e9 && strings.HasSuffix(f.Name, "_s"):
		d := time.Duration(v * float64(time.Second))
		if d >= time.Minute {
			return words.Duration(l, d)
		}
		return words.Milliseconds(l, d)
	case fits && v == float64(int64(v)):
		if strings.HasSuffix(f.Name, "_code") || strings.HasSuffix(f.Name, "_serial") {
			return strconv.FormatInt(int64(v), 10)
		}
		return words.Number(l, int64(v))
	default:
		return words.Decimal(l, v, 2)
	}
}
