package audit

import (
	"bytes"
	"testing"

	"egovmon/collector/report"
)

// mail is a second service, so that a report of one is not of all.
const mail = "  - {id: mail, name: {vi: Thư, en: Mail}, operator: tinh, owner: VP, hours: hanh-chinh, severity: major, quorum: {units: 1, carriers: 1}, watch: one_per_unit, checks: [{id: tcp, kind: tcp, every: 60s, path: lan, decides: true}], " + record + "}\n"

// TestReportsOfAPart verifies the figures of an issued report of one service, and of one unit; those that say so
// themselves, and those of a time when the leaf alone said it.
func TestReportsOfAPart(t *testing.T) {
	for _, c := range []struct{ name, service, unit string }{
		{"a service", "web", ""}, {"a unit", "", "xa-a"}, {"a service of a unit", "web", "xa-a"},
	} {
		for _, old := range []bool{false, true} {
			w := (&world{services: mail}).build(t)
			m := w.reportOf(c.service, c.unit)
			if m.Period = "2026-11"; old {
				m.Service, m.Unit = "", ""
			}
			text, _ := w.issue(1, -1, m, func(i *report.Issued) { i.Service, i.Unit = c.service, c.unit })
			path := w.export()
			r, err := w.verify(path, text)
			if err != nil || !r.OK() || r.Figures.Compared != len(m.Rows) || len(m.Rows) == 0 {
				t.Errorf("%s, old %t: %v, %.400v", c.name, old, err, r.Findings)
			}
			if old {
				continue
			}
			short := m
			short.Rows = m.Rows[:len(m.Rows)-1]
			r, err = w.verify(path, encode(t, short))
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, BadFigures, -1, "left out")
		}
	}
}

// TestAReportThatClaimsLess has a report of everything pass for one of a part, and the other way round.
func TestAReportThatClaimsLess(t *testing.T) {
	for _, c := range []struct {
		name                  string
		service, unit, issued string
	}{
		{"a service's as the whole", "web", "", ""},
		{"a unit's as the whole", "", "xa-a", ""},
		{"a unit's as another's", "", "xa-a", "d"},
	} {
		w := (&world{services: mail}).build(t)
		m := w.reportOf(c.service, c.unit)
		m.Period = "2026-11"
		_, leaf := w.issue(1, -1, m, func(i *report.Issued) { i.Unit = c.issued })
		r, err := w.verify(w.export(), nil)
		if err != nil {
			t.Fatal(err)
		}
		found(t, r, BadReport, leaf, "the report itself is of")
	}
	w := (&world{services: mail}).build(t)
	m := w.report()
	m.Unit = "xa-a"
	r, err := w.verify(w.export(), encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	found(t, r, BadFigures, -1, "the profile in the log has it not")
}

// TestSameStateSameBytes makes a report twice from one state of the log.
func TestSameStateSameBytes(t *testing.T) {
	w := (&world{services: mail}).build(t)
	if !bytes.Equal(encode(t, w.reportOf("", "xa-a")), encode(t, w.reportOf("", "xa-a"))) {
		t.Error("two reports of one state of the log differ")
	}
}
