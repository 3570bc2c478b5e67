package audit

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"egovmon/collector/evidence"
	"egovmon/collector/report"
)

const confirmed = `  - {id: nen, name: {vi: Nền tảng, en: Platform}, operator: tinh, owner: VP, hours: 24x7, severity: major, watch: one_per_unit, checks: [{id: x, kind: attested, every: 24h, decides: true}], ` + record + `}
  - {id: suy, name: {vi: Suy ra, en: Derived}, operator: tinh, owner: VP, hours: 24x7, severity: major, watch: one_per_unit, checks: [{id: x, kind: derived, every: 60s, decides: true, with: {all: [web, nen]}}], ` + record + `}
`

// word enters what a document says of the platform: from the quarter of an hour after the batches' beginning on.
func (w *world) word(entered time.Time, edit func(fields map[string]string)) int64 {
	f := map[string]string{"service": "nen", "state": "up", "from": start.Add(15 * time.Minute).Format(time.RFC3339), "valid_to": "2026-11-30", "number": "7/BC", "issued": "2026-11-23",
		"issuer": "Cục", "entered_by": "an", "entered_at": entered.Format("2006-01-02T15:04:05.000Z")}
	if edit != nil {
		edit(f)
	}
	leaf := w.store.Size()
	w.append(evidence.Attestation, f, []byte("document"), nil)
	return leaf
}

// seconds are the known ones of a service in the calendar 24x7: working and down.
func seconds(t *testing.T, m *report.Model, service string) (up, down int64) {
	t.Helper()
	i := slices.IndexFunc(m.Rows, func(r report.Row) bool { return r.Service == service && r.Unit == "" })
	if i < 0 {
		t.Fatalf("no row of %s", service)
	}
	f := m.Rows[i].Calendars[0].Account
	return f.Up + f.Degraded, f.Down
}

// TestConfirmed: the auditor finds in the log what people confirmed, and works out what follows from it and from what machines
// measured; figures that say something else are told.
func TestConfirmed(t *testing.T) {
	after := start.Add(3 * time.Hour)
	_, midnight := thatDay()
	tail := int64(midnight.Sub(start.Add(15*time.Minute)) / time.Second)
	for _, c := range []struct {
		name     string
		enter    func(w *world)
		up, down int64 // of the platform
	}{
		{"nothing", func(*world) {}, 0, 0},
		{"it works", func(w *world) { w.word(after, nil) }, tail, 0},
		{"it is down", func(w *world) { w.word(after, func(f map[string]string) { f["state"] = "down" }) }, 0, tail},
		{"down for an hour", func(w *world) {
			w.word(after, func(f map[string]string) { f["state"] = "down" })
			w.word(after, func(f map[string]string) { f["from"] = start.Add(75 * time.Minute).Format(time.RFC3339) })
		}, tail - 3600, 3600},
		{"taken back", func(w *world) {
			leaf := w.word(after, nil)
			w.append(evidence.Attestation, map[string]string{"withdraws": strconv.FormatInt(leaf, 10), "entered_by": "an", "entered_at": after.Format("2006-01-02T15:04:05.000Z"), "note": "n"}, nil, nil)
		}, 0, 0},
		{"from long before its entry", func(w *world) {
			w.word(after, func(f map[string]string) { f["from"] = start.AddDate(0, -2, 0).Format(time.RFC3339) })
		}, 0, 0},
		{"for ever", func(w *world) { w.word(after, func(f map[string]string) { f["valid_to"] = "2029-01-01" }) }, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := (&world{services: confirmed}).build(t)
			c.enter(w)
			m := w.report()
			if up, down := seconds(t, &m, "nen"); up != c.up || down != c.down {
				t.Errorf("the platform: %d s up, %d s down; want %d and %d", up, down, c.up, c.down)
			}
			web, _ := seconds(t, &m, "web")
			up, down := seconds(t, &m, "suy")
			if up > web || up > c.up || down < c.down || c.up > 0 && up == 0 {
				t.Errorf("what follows: %d s up, %d s down, from %d s and %d s up, %d s down", up, down, web, c.up, c.down)
			}
			path := w.export()
			if r, err := w.verify(path, encode(t, m)); err != nil || !r.OK() {
				t.Fatalf("%v, %+.500v", err, r.Findings)
			}
			for _, service := range []string{"nen", "suy"} {
				i := slices.IndexFunc(m.Rows, func(r report.Row) bool { return r.Service == service && r.Unit == "" })
				was := m.Rows[i].Calendars[0].Account
				m.Rows[i].Calendars[0].Account.Up += 60
				if r, err := w.verify(path, encode(t, m)); err != nil || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == BadFigures }) {
					t.Errorf("a minute more of %s: %v, %+.500v", service, err, r.Findings)
				}
				m.Rows[i].Calendars[0].Account = was
			}
		})
	}
}

// TestBackdatedConfirmation: one that says it was entered before what stands before it in the log.
func TestBackdatedConfirmation(t *testing.T) {
	w := (&world{services: confirmed}).build(t)
	leaf := w.word(start.Add(16*time.Minute), nil)
	r, err := w.verify(w.export(), nil)
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Code != Backdated || r.Findings[0].Leaf != leaf {
		t.Errorf("%v, %+.500v", err, r.Findings)
	}
}
