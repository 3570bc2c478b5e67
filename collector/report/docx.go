package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/words"
	"egovmon/collector/history"
)

// Bounds of what a draft shows; the workbook has the rest.
const (
	maxOutages = 200
	maxChanges = 100
	maxLines   = 40 // of Nơi nhận
)

// DOCX writes the draft of the report in the layout of Decree 30/2020/NĐ-CP, Appendix I. Number, place, date, signature
// and the signer's name are left for the clerk and the signer.
func DOCX(m Model, l words.Lang) ([]byte, error) {
	w := &word{}
	newDraft(m, l, w).write()
	return document(w.body(), w.pictures)
}

// A paper takes what a report says, in the order of the pages. Widths are in twips and sum up to the width of the text.
type paper interface {
	letterhead(parent, body, number, place string)
	title(kind, subject string)
	text(s string)
	section(s string)
	table(heads []string, widths []int, rows [][]string)
	// charts shows how the seconds of services fell, and when they were down; a paper without pictures leaves them out.
	charts(c charts)
	// code shows a text as a QR code, with the same text beside it.
	code(caption, text string)
	sign(recipients string, lines []string, signer string)
}

// A draft is a report in the making, on whatever paper.
type draft struct {
	paper
	l    words.Lang
	m    Model
	part int // of the numbered ones, the last
}

func newDraft(m Model, l words.Lang, p paper) *draft { return &draft{paper: p, l: l, m: m} }

// write puts the whole report on paper.
func (d *draft) write() {
	d.heading()
	d.subject()
	d.method()
	d.results()
	d.trend()
	d.outages()
	d.counters()
	d.layers()
	d.reform()
	d.unmeasured()
	d.changes()
	d.basis()
	d.signature()
}

func (d *draft) say(key string, args ...any) string { return words.Say(d.l, key, args...) }

// head begins the next numbered part. What the first edition has stands under the numbers of its texts.
func (d *draft) head(key string) {
	s := d.say(key)
	if d.m.Edition > 0 {
		d.part++
		if _, after, ok := strings.Cut(s, ". "); ok {
			s = after
		}
		s = roman(d.part) + ". " + s
	}
	d.section(s)
}

// roman writes a small number as parts of official papers are numbered.
func roman(n int) string {
	return strings.Repeat("X", n/10) + [...]string{"", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"}[n%10]
}

// heading writes the names of state and body, number and date.
func (d *draft) heading() {
	d.letterhead(clean(d.m.Issuer.Parent), clean(d.m.Issuer.Body), d.say("report.number", clean(d.m.Issuer.Symbol)),
		d.say("report.place", d.m.To.Add(-time.Second).In(words.Zone()).Year()))
}

func (d *draft) subject() {
	d.title(d.say("report.kind"), subject(d.l, d.m))
	place := clean(d.m.District)
	if d.m.Edition > 0 {
		place = Within(place)
	}
	d.text(d.say("report.intro", clean(d.m.Issuer.Body), place, periodName(d.l, d.m), days(d.l, d.m.From, d.m.To)))
}

// Within writes the name of a unit in the middle of a sentence: "huyện Tứ Kỳ".
func Within(name string) string {
	for _, kind := range []string{"Huyện ", "Xã ", "Phường ", "Thị trấn ", "Thị xã ", "Thành phố ", "Tỉnh ", "Quận "} {
		if rest, ok := strings.CutPrefix(name, kind); ok {
			return strings.ToLower(kind) + rest
		}
	}
	return name
}

// subject is what the report is about (trích yếu).
func subject(l words.Lang, m Model) string {
	switch s := words.Say(l, "report.subject", periodName(l, m)); {
	case m.Of.ServiceName != "" && m.Of.UnitName != "":
		return words.Say(l, "report.subject.both", clean(m.Of.ServiceName), clean(m.Of.UnitName), periodName(l, m))
	case m.Of.ServiceName != "":
		return words.Say(l, "report.subject.of", clean(m.Of.ServiceName), periodName(l, m))
	case m.Of.UnitName != "":
		return words.Say(l, "report.subject.at", clean(m.Of.UnitName), periodName(l, m))
	default:
		return s
	}
}

// services returns the rows of services as a whole; of a report of one unit, that unit's. What is judged from other
// services stands in a part of its own.
func (d *draft) services() []Row {
	unit := ""
	if d.m.Edition > 0 {
		unit = d.m.Unit
	}
	return slices.DeleteFunc(slices.Clone(d.m.Rows), func(r Row) bool { return r.Unit != unit || r.Counter })
}

func (d *draft) method() {
	d.head("report.part.method")
	d.text(d.say("report.method", clean(d.m.Rule)))
	var all history.Account
	measured, services := 0, d.services()
	for _, r := range services {
		if r.measured() {
			measured++
		}
		if c, ok := r.Calendar(history.Hours24x7); ok {
			all.Add(c.Account)
		}
	}
	f := all.Figures()
	if f.Coverage == nil {
		d.text(d.say("report.nocoverage", len(services)))
	} else {
		d.text(d.say("report.coverage", len(services), measured, len(services)-measured, words.Share(d.l, f.Coverage), whole(d.l, known(all)), whole(d.l, all.Total()-all.Excluded)))
	}
	if all.Excluded > 0 {
		d.text(d.say("report.excluded", whole(d.l, all.Excluded)))
	}
	if d.m.Counted.Before(d.m.To) {
		d.text(d.say("report.untilnow", words.DateTime(d.l, d.m.Counted)))
	}
	if len(d.m.Missing) > 0 {
		d.text(d.say("report.nocalendar", years(d.m.Missing)))
	}
}

func (d *draft) results() {
	d.head("report.part.results")
	verdicts := map[Verdict]int{}
	rows := slices.DeleteFunc(d.services(), func(r Row) bool { return !r.measured() })
	if len(rows) == 0 {
		d.text(d.say("report.nodata"))
		return
	}
	for _, r := range d.services() {
		for _, t := range r.Targets {
			verdicts[t.Verdict]++
		}
	}
	if sum := verdicts[Met] + verdicts[NotMet] + verdicts[Unsaid]; sum > 0 {
		d.text(d.say("report.verdicts", sum, verdicts[Met], verdicts[NotMet], verdicts[Unsaid]))
	} else {
		d.text(d.say("report.notargets"))
	}
	var lines [][]string
	for _, r := range rows {
		for _, c := range r.Calendars {
			lines = append(lines, d.figureRow(r, c))
		}
	}
	d.table(d.heads("report.head.draft"), []int{2655, 1200, 1900, 1250, 1150, 1200}, lines)
	for _, r := range rows {
		for _, c := range r.Calendars {
			if c.Afterwards != nil {
				d.text(d.say("report.afterwards", clean(r.Name), calendarName(d.l, c.Calendar), words.Interval(d.l, c.Figures.Lower, c.Figures.Upper), words.Interval(d.l, c.Afterwards.Figures.Lower, c.Afterwards.Figures.Upper)))
			}
		}
	}
}

func (d *draft) figureRow(r Row, c history.Counted) []string {
	objective, verdict := "-", d.say("report.notarget")
	if t, ok := r.Target(c.Calendar); ok {
		objective, verdict = words.Percent(d.l, t.Objective, 2), verdictName(d.l, t.Verdict)
	}
	return []string{r.Name, calendarName(d.l, c.Calendar), words.Interval(d.l, c.Figures.Lower, c.Figures.Upper), words.Share(d.l, c.Figures.Coverage), objective, verdict}
}

func (d *draft) heads(key string) []string { return strings.Split(d.say(key), "\t") }

func (d *draft) outages() {
	d.head("report.part.outages")
	n := 0
	for _, r := range d.services() {
		n += len(r.Outages)
	}
	if n == 0 {
		d.text(d.say("report.nooutage"))
		return
	}
	d.text(d.say("report.outagecount", n))
	var lines [][]string
	heads, widths := "report.head.draftoutages", []int{2755, 1750, 1750, 1200, 1900}
	if d.m.Edition > 0 {
		heads, widths = "report.head.owned", []int{2155, 1400, 1400, 1200, 1700, 1500}
	}
	for _, r := range d.services() {
		for _, o := range r.Outages[:min(maxOutages-len(lines), len(r.Outages))] {
			end := instant(o.To)
			if o.Ongoing {
				end = d.say("report.ongoing")
			}
			line := []string{r.Name, instant(o.From), end, words.Clocked(o.Down), words.Reason(d.l, o.Reason).Title}
			if d.m.Edition > 0 {
				line = append(line, r.Owner)
			}
			lines = append(lines, line)
		}
	}
	d.table(d.heads(heads), widths, lines)
	d.pictures()
	if n > maxOutages {
		d.text(d.say("report.leftout", n-maxOutages))
	}
}

// instant writes a time of Vietnam as tables do.
func instant(t time.Time) string { return words.Clock(t) + " " + words.Date(t) }

func (d *draft) unmeasured() {
	d.head("report.part.unmeasured")
	none := true
	for _, r := range d.services() {
		if r.measured() {
			continue
		}
		none = false
		why := d.say("figures.none")
		if c, ok := r.Calendar(history.Hours24x7); ok {
			if list := longest(c.Account); len(list) > 0 {
				why = cause(d.l, r, list[0])
			}
		}
		d.text(d.say("report.unmeasured", clean(r.Name), why))
	}
	if none {
		d.text(d.say("report.allmeasured"))
	}
}

// longest lists the reasons of an account, those of most seconds first.
func longest(a history.Account) []check.Reason {
	return slices.SortedFunc(maps.Keys(a.Causes), func(x, y check.Reason) int {
		return cmp.Or(cmp.Compare(a.Causes[y], a.Causes[x]), cmp.Compare(x, y))
	})
}

func (d *draft) changes() {
	d.head("report.part.changes")
	if len(d.m.Changes) == 0 {
		d.text(d.say("report.nochange"))
		return
	}
	for i, c := range d.m.Changes {
		if i == maxChanges {
			d.text(d.say("report.leftout", len(d.m.Changes)-maxChanges))
			break
		}
		d.text("- " + d.say("report.changed", typeName(d.l, c.Type), clean(c.What), changeTime(d.l, c), words.Number(d.l, c.Leaf)))
	}
}

func (d *draft) basis() {
	d.head("report.part.basis")
	m := d.m
	root := clean(m.Root)
	if m.Edition > 0 && len(root) > 16 { // the whole of it stands with the code
		root = root[:16] + "…"
	}
	d.text(d.say("report.basis", clean(m.Log.Origin), words.Number(d.l, m.Leaves), root, words.DateTime(d.l, m.Generated)))
	if m.Edition > 0 {
		d.text(d.say("report.earlier"))
		d.code(d.say("report.qr"), m.Seen())
	}
	d.text(d.say("report.verify") + "./.")
}

// signature writes recipients and the empty place of the signature.
func (d *draft) signature() {
	var lines []string
	for _, to := range d.m.Issuer.Recipients[:min(maxLines, len(d.m.Issuer.Recipients))] {
		lines = append(lines, "- "+clean(to)+";")
	}
	d.sign(d.say("report.recipients"), append(lines, d.say("report.filed")), strings.ToUpper(clean(d.m.Issuer.Signer)))
}
