package audit

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/evidence"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// issue puts a report into the log as its operator can.
func (w *world) issue(number int, supersedes int64, m report.Model, change func(i *report.Issued)) (text []byte, leaf int64) {
	w.t.Helper()
	text = encode(w.t, m)
	i := report.Issued{Scope: report.Scope{Period: m.Period, Calendar: true}, Number: number, Supersedes: supersedes, At: start.Add(30 * time.Hour), By: "an", ReviewedBy: "binh", ReviewedAt: start.Add(29 * time.Hour)}
	if change != nil {
		change(&i)
	}
	e, err := i.Entry(text)
	if err == nil {
		leaf, err = w.store.Append(w.t.Context(), e)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return text, leaf
}

func TestIssuedReports(t *testing.T) {
	w := new(world).build(t)
	m := w.report()
	m.Period = "2026-11"
	first, leaf := w.issue(1, -1, m, nil)
	m.Generated = m.Generated.Add(time.Hour)
	second, _ := w.issue(2, leaf, m, func(i *report.Issued) { i.Why = "w" })
	path := w.export()
	for n, text := range [][]byte{first, second} {
		r, err := w.verify(path, text)
		if err != nil || !r.OK() {
			t.Fatalf("version %d: %v %+v", n+1, err, r.Findings)
		}
		if len(r.Issued) != 2 || r.Issued[n].Given != true || r.Issued[1-n].Given {
			t.Errorf("version %d: %+v", n+1, r.Issued)
		}
		var b strings.Builder
		if err := r.Write(&b, words.EN); err != nil || !strings.Contains(b.String(), "Issued report: 2026-11+calendar, version 2") || !strings.Contains(b.String(), "byte for byte") {
			t.Errorf("%v: %s", err, b.String())
		}
	}
}

// TestIssuedReportAttacks is what an operator may try with reports that were issued.
func TestIssuedReportAttacks(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world, m report.Model)
		code Code
		what string
	}{
		{"a second first version", func(w *world, m report.Model) { w.issue(1, -1, m, nil); w.issue(1, -1, m, nil) }, BadReport, "the next one is version 2"},
		{"a version is left out", func(w *world, m report.Model) { _, l := w.issue(1, -1, m, nil); w.issue(3, l, m, nil) }, BadReport, "the next one is version 2"},
		{"it rests on a log that never was", func(w *world, m report.Model) { m.Root = strings.Repeat("ab", 32); w.issue(1, -1, m, nil) }, SplitView, "rests on another log"},
		{"it rests on more than there was", func(w *world, m report.Model) { m.Leaves += 99; w.issue(1, -1, m, nil) }, SplitView, "longer before"},
		{"it names no root", func(w *world, m report.Model) { m.Root = ""; w.issue(1, -1, m, nil) }, BadReport, "no root hash"},
		{"it is filed under another period", func(w *world, m report.Model) { w.issue(1, -1, m, func(i *report.Issued) { i.Period = "2026-10" }) }, BadReport, "the report itself is of"},
		{"it is no report", func(w *world, _ report.Model) {
			w.append(evidence.Report, map[string]string{"at": start.Format(time.RFC3339), "by": "an", "period": "2026-11", "reviewed_at": start.Format(time.RFC3339), "reviewed_by": "b", "version": strconv.Itoa(1)}, []byte("{}"), nil)
		}, BadReport, "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := new(world).build(t)
			m := w.report()
			m.Period = "2026-11"
			c.do(w, m)
			r, err := w.verify(w.export(), nil)
			if err != nil {
				t.Fatal(err)
			}
			found(t, r, c.code, -2, c.what)
		})
	}
}

// TestAlteredIssuedReport is a report that was changed after it was issued, in a word that no figure hangs on.
func TestAlteredIssuedReport(t *testing.T) {
	from, to, err := profile.ParsePeriod("2026-11", true)
	if err != nil {
		t.Fatal(err)
	}
	of := func(period, unit string) IssuedReport {
		return IssuedReport{Issued: report.Issued{Scope: report.Scope{Period: period, Calendar: true, Unit: unit}, Number: 1, Leaf: 7, SHA256: "ab"}}
	}
	for _, c := range []struct {
		name   string
		issued []IssuedReport
		want   int
		unit   string // of the given one
	}{
		{"nothing was issued", nil, 0, ""},
		{"it was issued otherwise", []IssuedReport{of("2026-11", "")}, 1, ""},
		{"another period was issued", []IssuedReport{of("2026-10", "")}, 0, ""},
		{"that of a unit was issued", []IssuedReport{of("2026-11", "xa-a")}, 0, ""},
		{"it is the first of two", []IssuedReport{{Issued: of("2026-11", "").Issued, Given: true}, of("2026-11", "")}, 0, ""},
		{"that of the unit was issued otherwise", []IssuedReport{of("2026-11", "xa-a")}, 1, "xa-a"},
		{"that of another unit was issued", []IssuedReport{of("2026-11", "xa-b")}, 0, "xa-a"},
	} {
		v := &verifier{Result: &Result{Issued: c.issued}, o: Options{Figures: []byte("x")}}
		s := &story{v: v, refig: &refigure{given: given{Version: report.Version, From: from, To: to, Unit: c.unit}}}
		if s.given(); len(v.Findings) != c.want {
			t.Errorf("%s: found %+v", c.name, v.Findings)
		}
	}
}
