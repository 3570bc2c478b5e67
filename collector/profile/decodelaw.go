package profile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

func (r *reader) law(top *fields, p *Profile) {
	for _, n := range top.items("law_sets") {
		f, rec := r.record(n, "law set", formUnit, hintUnit)
		if f == nil {
			continue
		}
		l := LawSet{Record: rec, Name: f.name("name")}
		seen := map[string]int{}
		for _, item := range f.items("controls") {
			c, ok := f.control(item, rec)
			if !ok {
				continue
			}
			if at, twice := seen[c.ID]; twice && c.ID != "" {
				f.wrong(item, "give each control its own id", "%s: control %q stands on line %d already", f.where, c.ID, at)
			}
			seen[c.ID] = item.Line
			l.Controls = append(l.Controls, c)
		}
		for _, item := range f.items("duties") {
			if d, ok := f.duty(item); ok {
				l.Duties = append(l.Duties, d)
			}
		}
		f.done()
		p.LawSets = append(p.LawSets, l)
	}
	for _, n := range top.items("notices") {
		f, rec := r.record(n, "notice rule", formUnit, hintUnit)
		if f == nil {
			continue
		}
		rule := NoticeRule{Record: rec}
		if f.need("working_days", "7") != nil {
			rule.WorkingDays = f.whole("working_days", 0, 60, 0)
		}
		rule.Basis = f.needText("basis", "NĐ 224/2026/NĐ-CP Đ13.1.a")
		f.done()
		p.Notices = append(p.Notices, rule)
	}
}

// What a duty may say.
var (
	dutyClasses = []string{"security", "serious", "at_once", "personal_data"}
	dutyReports = []string{"first_notice", "first_report", "detail", "data_notice", "closing_report"}
)

func (f *fields) duty(n *yaml.Node) (d LawDuty, ok bool) {
	g := f.mapping(n, f.where+": duty")
	if g == nil {
		return d, false
	}
	if g.need("class", "serious") != nil {
		d.Class = g.oneOf("class", dutyClasses, dutyClasses[0])
	}
	if g.need("report", "first_notice") != nil {
		d.Report = g.oneOf("report", dutyReports, dutyReports[0])
	}
	d.Closed = g.oneOf("from", []string{"found", "closed"}, "found") == "closed"
	if g.need("within", "24h") != nil {
		d.Within = g.duration("within", 0, 365*24*time.Hour)
	}
	d.Basis = g.needText("basis", "NĐ 331/2026 Đ31")
	g.done()
	return d, true
}

var (
	formControl = regexp.MustCompile(`^[ma][0-9]{2}$`)
	formLayer   = regexp.MustCompile(`^[1-4]$`)
)

func (f *fields) control(n *yaml.Node, set Record) (Control, bool) {
	g := f.mapping(n, f.where+": control")
	if g == nil {
		return Control{}, false
	}
	c := Control{Record: Record{File: f.file, Line: n.Line}}
	c.ID = g.matching(g.need("id", "m01"), "id", formControl, "use m and two digits for a measured control, a and two digits for an attested one")
	g.where = fmt.Sprintf("%s: control %q", f.where, c.ID)
	c.Kind = "measured"
	if strings.HasPrefix(c.ID, "a") {
		c.Kind = "attested"
	}
	c.Name = g.name("name")
	for _, w := range g.words("layers", formLayer, "the layers are 1 to 4") {
		layer, _ := strconv.Atoi(w)
		c.Layers = append(c.Layers, layer)
	}
	if len(c.Layers) == 0 {
		g.wrong(n, "write `layers: [1]`", "%s belongs to no layer", g.where)
	}
	for _, role := range g.words("roles", formWord, hintWord) {
		if !slices.Contains(Roles(), role) {
			g.wrong(n, "write some of "+strings.Join(Roles(), ", "), "%s: roles: %q is not known", g.where, role)
		}
		c.Roles = append(c.Roles, role)
	}
	c.FromLevel = g.whole("from_level", 1, 5, 0)
	if c.Kind == "attested" && (len(c.Roles) > 0 || c.FromLevel > 0) {
		g.wrong(n, "take them out", "%s: roles and from_level are of measured controls", g.where)
	}
	c.Threshold, c.Cycle = g.text("threshold"), g.text("cycle")
	if limits := g.take("limits"); limits != nil {
		c.Limits = g.limits(limits)
	}
	c.Basis = g.needText("basis", "đề xuất nội bộ")
	c.Valid, c.Source, c.Verified = g.provenance(set)
	g.done()
	return c, true
}

func (f *fields) limits(n *yaml.Node) []Limit {
	g := f.mapping(n, f.where+": limits")
	if g == nil {
		return nil
	}
	var ls []Limit
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i].Value
		if !formOption.MatchString(k) {
			f.wrong(n.Content[i], "use a-z, 0-9 and _, ending in the unit", "%s: limit %q cannot be used", f.where, k)
		}
		ls = append(ls, Limit{k, g.number(k, -1e12, 1e12)})
	}
	g.done()
	return ls
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (f *fields) weekdays(key string) []time.Weekday {
	var ds []time.Weekday
	for _, n := range f.items(key) {
		i := slices.Index(weekdays, n.Value)
		if i < 0 {
			f.wrong(n, "write "+strings.Join(weekdays, ", "), "%s: %s: %q is no day of the week", f.where, key, n.Value)
			continue
		}
		ds = append(ds, time.Weekday(i))
	}
	if len(ds) == 0 {
		f.wrong(f.node, "write `"+key+": [mon, tue, wed, thu, fri]`", "%s: %s names no day", f.where, key)
	}
	return ds
}

// calendar reads one file calendars/YYYY.yaml; year is the one of its name.
func (r *reader) calendar(top *fields, p *Profile, year int) {
	y := Year{Year: year, File: r.file, Line: top.node.Line}
	top.where = "calendar"
	if n := top.need("year", strconv.Itoa(year)); n != nil && n.Value != strconv.Itoa(year) {
		r.wrong(n, "rename the file or mend the year", "year %s stands in the file of %d", n.Value, year)
	}
	y.Week = top.weekdays("week")
	y.Missing = top.words("missing", formAny, "")
	for _, n := range top.items("hours") {
		f, rec := r.record(n, "hours", formUnit, hintUnit)
		if f == nil {
			continue
		}
		h := Hours{Record: rec, Name: f.matching(f.need("name", "hanh-chinh"), "name", formWord, hintWord)}
		if h.Name == Hours24x7 || h.Name == ServiceHours {
			f.wrong(f.keys["name"], "choose another name", "%s: %s has a meaning of its own", f.where, h.Name)
		}
		h.Unit = f.matching(f.take("unit"), "unit", formUnit, hintUnit)
		h.Weekdays = f.weekdays("weekdays")
		h.Times = f.clocks()
		if !rec.Valid.within(yearSpan(year)) {
			f.wrong(n, "write the rest into the calendars of the other years", "%s: %s reaches beyond %d", f.where, rec.Valid, year)
		}
		f.done()
		y.Hours = append(y.Hours, h)
	}
	for _, n := range top.items("days") {
		if d, ok := r.day(n, year); ok {
			y.Days = append(y.Days, d)
		}
	}
	p.Years = append(p.Years, y)
}

func yearSpan(year int) Span {
	return Span{NewDate(year, time.January, 1), NewDate(year, time.December, 31)}
}

var formClock = regexp.MustCompile(`^([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$`)

func (f *fields) clocks() []Clock {
	var cs []Clock
	last := 0
	for _, n := range f.items("times") {
		m := formClock.FindStringSubmatch(f.scalar(n, "times"))
		if m == nil {
			f.wrong(n, `write "07:30-12:00"`, "%s: times: %q", f.where, n.Value)
			continue
		}
		var v [4]int
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1])
		}
		c := Clock{v[0]*60 + v[1], v[2]*60 + v[3]}
		if c.From < last || c.To <= c.From || c.To > 24*60 {
			f.wrong(n, "write them in the order of the day, none over another, none over midnight", "%s: times: %q", f.where, n.Value)
			continue
		}
		last = c.To
		cs = append(cs, c)
	}
	if len(cs) == 0 {
		f.wrong(f.node, `write times: ["07:30-12:00", "13:00-16:30"]`, "%s has no hours", f.where)
	}
	return cs
}

func (r *reader) day(n *yaml.Node, year int) (Day, bool) {
	f := r.mapping(n, "day")
	if f == nil {
		return Day{}, false
	}
	d := Day{Record: Record{File: r.file, Line: n.Line}, As: time.Monday}
	if f.need("date", fmt.Sprintf("%d-09-02", year)) != nil {
		d.Date = f.date("date")
	}
	d.ID, d.Valid = d.Date.String(), Span{d.Date, d.Date}
	f.where = fmt.Sprintf("day %q", d.ID)
	if d.Date != 0 && d.Date.Year() != year {
		f.wrong(n, "write it into the calendar of its year", "%s lies outside %d", f.where, year)
	}
	d.Name = f.needText("name", "Quốc khánh")
	if f.need("kind", DayHoliday) != nil {
		d.Kind = f.oneOf("kind", []string{DayHoliday, DayTet, DaySubstitute, DaySwapOff, DayMakeUp}, DayHoliday)
	}
	d.Yearly = f.boolean("yearly", false)
	if as := f.oneOf("as", weekdays, "mon"); as != "mon" {
		d.As = time.Weekday(slices.Index(weekdays, as))
	}
	d.Source = f.needText("source", `"the decision"`)
	if f.need("verified", "false") != nil {
		d.Verified = f.boolean("verified", false)
	}
	f.done()
	return d, true
}
