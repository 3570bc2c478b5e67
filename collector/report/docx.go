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
	return document(body(m, l))
}

// body returns word/document.xml.
func body(m Model, l words.Lang) []byte {
	d := &draft{l: l, m: m}
	d.WriteString(documentHead)
	d.heading()
	d.title()
	d.method()
	d.results()
	d.outages()
	d.unmeasured()
	d.changes()
	d.basis()
	d.signature()
	d.WriteString(documentTail)
	return d.Bytes()
}

// A draft is a document in the making.
type draft struct {
	writer
	l words.Lang
	m Model
}

// firstLine is the indent of a paragraph's first line, 1 cm.
const firstLine = 567

func (d *draft) say(key string, args ...any) string { return words.Say(d.l, key, args...) }

// text writes a paragraph of the body.
func (d *draft) text(s string) {
	d.p(para{align: "both", indent: firstLine, before: 6}, style{size: 14}, s)
}

// section writes a heading within the body.
func (d *draft) section(key string) {
	d.p(para{align: "both", indent: firstLine, before: 6, keep: true}, style{size: 14, bold: true}, d.say(key))
}

// heading writes the names of state and body, number and date.
func (d *draft) heading() {
	widths := []int{4180, 5175}
	d.open(false, widths...)
	center, issuer := para{align: "center"}, d.m.Issuer
	d.row(false, widths, func() {
		d.p(center, style{size: 12}, strings.ToUpper(issuer.Parent))
		d.p(center, style{size: 12, bold: true}, strings.ToUpper(issuer.Body))
		d.p(para{rule: true, margins: 1400, before: 2}, style{size: 2}, "")
	}, func() {
		// The name of the state and its motto are the same in every language of the product.
		d.p(center, style{size: 12, bold: true}, words.Say(words.VI, "report.state"))
		d.p(center, style{bold: true}, words.Say(words.VI, "report.motto"))
		d.p(para{rule: true, margins: 900, before: 2}, style{size: 2}, "")
	})
	d.row(false, widths, func() {
		d.p(center, style{}, d.say("report.number", issuer.Symbol))
	}, func() {
		d.p(center, style{italic: true}, d.say("report.place", d.m.To.Add(-time.Second).In(words.Zone()).Year()))
	})
	d.close()
}

func (d *draft) title() {
	d.p(para{align: "center", before: 18}, style{size: 14, bold: true}, d.say("report.kind"))
	d.p(para{align: "center"}, style{size: 14, bold: true}, d.say("report.subject", periodName(d.l, d.m)))
	d.p(para{rule: true, margins: 3600, before: 3}, style{size: 2}, "")
	d.text(d.say("report.intro", clean(d.m.Issuer.Body), clean(d.m.District), periodName(d.l, d.m), days(d.l, d.m.From, d.m.To)))
}

// services returns the rows of services as a whole.
func (d *draft) services() []Row {
	return slices.DeleteFunc(slices.Clone(d.m.Rows), func(r Row) bool { return r.Unit != "" })
}

func (d *draft) method() {
	d.section("report.part.method")
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
	d.section("report.part.results")
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
	widths := []int{2655, 1200, 1900, 1250, 1150, 1200}
	d.table("report.head.draft", widths, func(put func(...string)) {
		for _, r := range rows {
			for _, c := range r.Calendars {
				put(d.figureRow(r, c)...)
			}
		}
	})
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

// table writes a table with a heading row; fill puts its rows.
func (d *draft) table(heads string, widths []int, fill func(put func(cells ...string))) {
	d.p(para{before: 6}, style{size: 2}, "")
	d.open(true, widths...)
	line := func(heading bool, cells []string) {
		var write []func()
		for i, c := range cells {
			align := "center"
			if i == 0 && !heading {
				align = "left"
			}
			write = append(write, func() { d.p(para{align: align}, style{size: 12, bold: heading}, c) })
		}
		d.row(heading, widths, write...)
	}
	line(true, strings.Split(d.say(heads), "\t"))
	fill(func(cells ...string) { line(false, cells) })
	d.close()
}

func (d *draft) outages() {
	d.section("report.part.outages")
	n := 0
	for _, r := range d.services() {
		n += len(r.Outages)
	}
	if n == 0 {
		d.text(d.say("report.nooutage"))
		return
	}
	d.text(d.say("report.outagecount", n))
	left := maxOutages
	d.table("report.head.draftoutages", []int{2755, 1750, 1750, 1200, 1900}, func(put func(...string)) {
		for _, r := range d.services() {
			for _, o := range r.Outages[:min(left, len(r.Outages))] {
				left--
				end := instant(o.To)
				if o.Ongoing {
					end = d.say("report.ongoing")
				}
				put(r.Name, instant(o.From), end, words.Clocked(o.Down), words.Reason(d.l, o.Reason).Title)
			}
		}
	})
	if n > maxOutages {
		d.text(d.say("report.leftout", n-maxOutages))
	}
}

// instant writes a time of Vietnam as tables do.
func instant(t time.Time) string { return words.Clock(t) + " " + words.Date(t) }

func (d *draft) unmeasured() {
	d.section("report.part.unmeasured")
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
	d.section("report.part.changes")
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
	d.section("report.part.basis")
	m := d.m
	d.text(d.say("report.basis", clean(m.Log.Origin), words.Number(d.l, m.Leaves), clean(m.Root), words.DateTime(d.l, m.Generated)))
	d.text(d.say("report.verify") + "./.")
}

// signature writes recipients and the empty place of the signature.
func (d *draft) signature() {
	widths := []int{4677, 4678}
	d.p(para{before: 6}, style{size: 2}, "")
	d.open(false, widths...)
	d.row(false, widths, func() {
		d.p(para{}, style{size: 12, bold: true, italic: true}, d.say("report.recipients"))
		for i, to := range d.m.Issuer.Recipients {
			if i == maxLines {
				break
			}
			d.p(para{}, style{size: 11}, "- "+clean(to)+";")
		}
		d.p(para{}, style{size: 11}, d.say("report.filed"))
	}, func() {
		d.p(para{align: "center"}, style{bold: true}, strings.ToUpper(d.m.Issuer.Signer))
		for range 5 { // room for the signature and the name
			d.p(para{align: "center"}, style{}, "")
		}
	})
	d.close()
	d.p(para{}, style{size: 2}, "")
}
