package audit

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/report"
)

// notice enters a stretch of ten minutes, from the quarter of an hour after the batches' beginning on.
func (w *world) notice(entered time.Time, edit func(fields map[string]string)) {
	f := map[string]string{"ground": "announced", "service": "web", "from": start.Add(15 * time.Minute).Format(time.RFC3339), "to": start.Add(25 * time.Minute).Format(time.RFC3339),
		"number": "1/TB", "announced": "2026-11-10", "place": "p", "entered_by": "an", "entered_at": entered.Format("2006-01-02T15:04:05.000Z")}
	if edit != nil {
		edit(f)
	}
	w.append(evidence.Exclusion, f, nil, nil)
}

// countedOf is the row of the service, or of its unit, in the calendar 24x7.
func countedOf(t *testing.T, m *report.Model, unit string) *history.Counted {
	t.Helper()
	for i := range m.Rows {
		if m.Rows[i].Unit == unit {
			return &m.Rows[i].Calendars[0]
		}
	}
	t.Fatalf("no row of unit %q", unit)
	return nil
}

// TestSuspensions: the auditor finds what was announced in the log, judges it and works the figures out with it.
func TestSuspensions(t *testing.T) {
	early := start.AddDate(0, 0, -12)
	for _, c := range []struct {
		name     string
		before   func(*world)
		after    func(*world)
		excluded int64 // seconds of the service
		unit     int64 // seconds of its unit
		late     bool  // both figures are given
	}{
		{"announced in time", func(w *world) { w.notice(early, nil) }, nil, 600, 600, false},
		{"announced too late", func(w *world) {
			w.notice(start.Add(-time.Hour), func(f map[string]string) { f["announced"] = "2026-11-13" })
		}, nil, 0, 0, true},
		{"entered afterwards", nil, func(w *world) { w.notice(start.AddDate(0, 0, 1), nil) }, 0, 0, true},
		{"force majeure", nil, func(w *world) {
			w.notice(start.AddDate(0, 0, 1), func(f map[string]string) { f["ground"] = "force_majeure" })
		}, 0, 0, true},
		{"a power cut", func(w *world) {
			w.notice(start.Add(-time.Minute), func(f map[string]string) { f["ground"], f["unit"] = "power_cut", "xa-a"; delete(f, "service") })
		}, nil, 0, 600, false},
		{"taken back", func(w *world) {
			leaf := w.store.Size()
			w.notice(early, nil)
			w.append(evidence.Exclusion, map[string]string{"withdraws": strconv.FormatInt(leaf, 10), "entered_by": "an", "entered_at": early.Format("2006-01-02T15:04:05.000Z"), "note": "n"}, nil, nil)
		}, nil, 0, 0, false},
		{"cut short", func(w *world) {
			leaf := w.store.Size()
			w.notice(early, nil)
			w.append(evidence.Exclusion, map[string]string{"withdraws": strconv.FormatInt(leaf, 10), "from": start.Add(20 * time.Minute).Format(time.RFC3339), "entered_by": "an",
				"entered_at": early.Format("2006-01-02T15:04:05.000Z"), "note": "n"}, nil, nil)
		}, nil, 300, 300, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := (&world{before: c.before}).build(t)
			if c.after != nil {
				c.after(w)
			}
			m := w.report()
			got := countedOf(t, &m, "")
			if got.Account.Excluded != c.excluded || (got.Afterwards != nil) != c.late {
				t.Errorf("the service: %d s excluded, both figures %t; want %d and %t", got.Account.Excluded, got.Afterwards != nil, c.excluded, c.late)
			}
			if u := countedOf(t, &m, "xa-a"); u.Account.Excluded != c.unit {
				t.Errorf("the unit: %d s excluded, want %d", u.Account.Excluded, c.unit)
			}
			path := w.export()
			if r, err := w.verify(path, encode(t, m)); err != nil || !r.OK() {
				t.Fatalf("%v, %+.500v", err, r.Findings)
			}
			// Figures that say something else of it are not those of the log.
			lie := got.Account
			got.Account.Excluded += 60
			if r, err := w.verify(path, encode(t, m)); err != nil || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == BadFigures }) {
				t.Errorf("a minute more excluded: %v, %+.500v", err, r.Findings)
			}
			if got.Account = lie; c.late {
				got.Afterwards = nil
				if r, err := w.verify(path, encode(t, m)); err != nil || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.What, "afterwards") }) {
					t.Errorf("the second figure left out: %v, %+.500v", err, r.Findings)
				}
			}
		})
	}
}

// TestBackdated: a notice that says it was entered before what stands before it in the log.
func TestBackdated(t *testing.T) {
	w := (&world{}).build(t)
	leaf := w.store.Size()
	w.notice(start.AddDate(0, 0, -12), nil)
	r, err := w.verify(w.export(), nil)
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Code != Backdated || r.Findings[0].Leaf != leaf {
		b, _ := json.Marshal(r.Findings)
		t.Errorf("%v, %.600s", err, b)
	}
}
