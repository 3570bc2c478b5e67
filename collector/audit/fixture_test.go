package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/check"
	"egovmon/agent/journal"
	"egovmon/agent/plan"
	"egovmon/collector/confirm"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
	"egovmon/collector/history"
	"egovmon/collector/history/index"
	"egovmon/collector/intake"
	"egovmon/collector/profile"
	"egovmon/collector/report"
	"egovmon/collector/suspend"
)

// start is 15:00 of a Monday in Vietnam; the period is that day.
var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func thatDay() (from, to time.Time) { d := profile.DateOf(start); return d.Start(), (d + 1).Start() }

const machine = "m-a-1"

// kinds is a table with one kind.
var kinds = check.Table{{
	Name: "tcp",
	New: func(check.Options, check.Env) (check.Func, error) {
		return func(context.Context) check.Result { return check.Because(check.OK, "") }, nil
	},
}}

const record = "valid_from: 2023-01-01, source: s, verified: true"

// files is a district of one commune and one service.
func files() map[string]string {
	return map[string]string{
		"units.yaml":      "district: d\nunits:\n  - {id: d, kind: huyen, names: [{vi: Huyện D, en: D District}], " + record + "}\n  - {id: xa-a, kind: xa, names: [{vi: Xã A, en: A Commune}], parents: [{unit: d}], " + record + "}\n",
		"services.yaml":   "services:\n  - {id: web, name: {vi: Trang, en: Site}, operator: tinh, owner: VP, hours: hanh-chinh, severity: major, quorum: {units: 1, carriers: 1}, watch: one_per_unit, checks: [{id: tcp, kind: tcp, every: 60s, path: lan, decides: true}], " + record + "}\n",
		"machines.yaml":   "machines:\n  - {id: m-a-1, unit: xa-a, role: probe, " + record + "}\n  - {id: m-d, unit: d, role: collector, " + record + "}\n",
		"lines.yaml":      "lines: []\n",
		"offices.yaml":    "operators:\n  - {id: tinh, name: {vi: Tỉnh, en: Province}, " + record + "}\noffices:\n  - {id: VP, name: {vi: Văn phòng, en: Office}, unit: d, contacts: [], " + record + "}\n",
		"roster.yaml":     "roster: []\n",
		"targets.yaml":    "targets:\n  - {id: t, service: web, objective: 0.995, calendar: 24x7, basis: mục tiêu nội bộ, " + record + "}\n",
		"law.yaml":        "law_sets: []\nnotices: [{id: n, working_days: 7, basis: b, " + record + "}]\n",
		"parameters.yaml": "parameters: []\n",
		"calendars/2026.yaml": "year: 2026\nweek: [mon, tue, wed, thu, fri]\nhours:\n  - {id: h1, name: hanh-chinh, weekdays: [mon, tue, wed, thu, fri], times: [\"07:30-12:00\", \"13:00-16:30\"], valid_from: 2026-01-01, valid_to: 2026-12-31, source: s, verified: true}\n" +
			"days: []\n",
	}
}

// seed is a source of keys that are the same in every run.
type seed byte

// Read implements io.Reader.
func (s seed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s) + byte(i)
	}
	return len(p), nil
}

// keyPair makes a key of a name.
func keyPair(t testing.TB, s seed, name string) (note.Signer, string) {
	t.Helper()
	private, public, err := note.GenerateKey(s, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

// A world is a log of one machine: two hours of a check every minute, of which ten minutes were down, ten were not run
// and said so, and five are absent; and what an operator who holds the collector's key may do to it.
type world struct {
	t     testing.TB
	store *evidence.Store
	key   string

	skip     func(seq uint64) bool                      // batches that are not put into the log
	plan     func(text []byte) []byte                   // what the log has as the plan, instead
	planLate bool                                       // the plan is logged after its first use
	signer   note.Signer                                // of the batches; default the machine's
	result   func(i int, r *check.Result)               // what the machine measured
	receipt  func(fields map[string]string, seq uint64) // what the receipt says
	seen     func(tree tlog.Tree) tlog.Tree             // the checkpoint that the machine saw
	fork     bool                                       // batch 6 is another one that the machine signed, too
	late     bool                                       // the absent results come days later
	before   func(w *world)                             // what enters the log before the batches
	past     int                                        // days before, on which the same journal was written
	services string                                     // more entries of services.yaml
	dropped  int                                        // from this result on, a second plan without the check is followed
	swapped  uint64                                     // this batch and the next stand in the log the other way round
}

// files are those of the profile, with the world's own services.
func (w *world) files() map[string]string {
	all := files()
	all["services.yaml"] += w.services
	return all
}

func (w *world) append(t evidence.Type, fields map[string]string, blob, body []byte) {
	w.t.Helper()
	e, err := evidence.NewEntry(t, fields, blob, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Append(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) appendPlan(text []byte) {
	stored, sum := text, sha256.Sum256(text)
	if w.plan != nil {
		stored = w.plan(text)
	}
	w.append(evidence.Plan, map[string]string{"machine": machine, "sha256": hex.EncodeToString(sum[:]), "version": "1"}, stored, nil)
}

func planText() []byte {
	return fmt.Appendf(nil, "plan: p\nfor: %s\nversion: 1\nissued: 2026-11-23T01:00:00Z\nchecks:\n- {id: web.tcp, service: web, kind: tcp, every: 60s, path: lan}\n", machine)
}

// otherPlan is the next one, in which the check of the service does not stand.
func otherPlan() []byte {
	return fmt.Appendf(nil, "plan: p\nfor: %s\nversion: 2\nissued: 2026-11-23T01:00:00Z\nchecks:\n- {id: other.tcp, service: other, kind: tcp, every: 60s, path: lan}\n", machine)
}

// build writes the log.
func (w *world) build(t testing.TB) *world {
	t.Helper()
	w.t = t
	var signer note.Signer
	signer, w.key = keyPair(t, 1, "egovmon/d/log/1")
	v, err := note.NewVerifier(w.key)
	if err != nil {
		t.Fatal(err)
	}
	if w.store, err = evidence.Open(evidence.Options{Dir: t.TempDir(), Origin: v.Name(), Signer: signer, Verifier: v}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.append(evidence.Rule, map[string]string{"name": "votes/1"}, nil, nil)
	for name, text := range w.files() {
		kind := evidence.Profile
		if name == "targets.yaml" {
			kind = evidence.Target
		}
		w.append(kind, map[string]string{"file": name, "district": "d"}, []byte(text), nil)
	}
	journalSigner, journalKey := keyPair(t, 2, "egovmon/d/journal/"+machine)
	if w.signer != nil {
		journalSigner = w.signer
	}
	w.append(evidence.AgentKey, map[string]string{"machine": machine, "unit": "xa-a", "use": "journal", "key": journalKey, "at": start.AddDate(0, 0, -w.past).Add(-time.Hour).Format(time.RFC3339), "token": "t"}, []byte("statement"), nil)
	text := planText()
	if !w.planLate {
		w.appendPlan(text)
	}
	if w.dropped > 0 {
		sum := sha256.Sum256(otherPlan())
		w.append(evidence.Plan, map[string]string{"machine": machine, "sha256": hex.EncodeToString(sum[:]), "version": "2"}, otherPlan(), nil)
	}
	var held func()
	if w.before != nil {
		w.before(w)
	}
	h := journal.Header{Machine: machine, Journal: "00112233445566778899aabbccddeeff", Previous: journal.NoPrevious}
	h.Sealed = start.AddDate(0, 0, -w.past)
	before := h.Previous
	for _, records := range w.records(text) {
		h.Seq++
		for _, r := range records {
			if r.Result != nil {
				h.Sealed = r.Result.Start.Add(time.Second).Truncate(time.Second)
			}
		}
		seen := w.store.Tree()
		if w.seen != nil {
			seen = w.seen(seen)
		}
		h.Checkpoint = &journal.Checkpoint{Origin: v.Name(), Size: seen.N, Hash: seen.Hash}
		b, err := journal.Seal(h, records, journalSigner)
		if err != nil {
			t.Fatal(err)
		}
		h.Previous = b.Hash()
		if w.fork && h.Seq == 6 {
			other := h
			other.Sealed, other.Previous = h.Sealed.Add(-time.Second), before
			if b, err = journal.Seal(other, records, journalSigner); err != nil {
				t.Fatal(err)
			}
		}
		before = h.Previous
		if w.skip != nil && w.skip(h.Seq) {
			continue
		}
		fields := map[string]string{"journal": h.Journal, "machine": machine, "received": h.Sealed.Add(time.Second).Format("2006-01-02T15:04:05.000Z"), "seq": strconv.FormatUint(h.Seq, 10)}
		if w.receipt != nil {
			w.receipt(fields, h.Seq)
		}
		if w.swapped > 0 && h.Seq == w.swapped {
			held = func() { w.append(evidence.Batch, fields, b.Note, b.Body) }
			continue
		}
		w.append(evidence.Batch, fields, b.Note, b.Body)
		if held != nil {
			held()
			held = nil
		}
		if w.planLate && h.Seq == 3 {
			w.appendPlan(text)
		}
	}
	return w
}

// records are what the machine recorded, batch by batch.
func (w *world) records(text []byte) [][]journal.Record {
	p, err := plan.Parse(text, kinds)
	if err != nil {
		w.t.Fatal(err)
	}
	begin := start.AddDate(0, 0, -w.past)
	out := [][]journal.Record{{
		{Begin: &journal.Begin{At: begin, Build: "test", Cause: "first"}},
		{Plan: &journal.PlanApplied{Version: 1, SHA256: p.Hash(), At: begin}},
	}}
	first := plan.SlotAt(machine, p.Checks[0], start)
	for day := range w.past {
		var rs []journal.Record
		for i := range 3 {
			at := first.AddDate(0, 0, day-w.past).Add(time.Duration(i+1) * time.Minute)
			rs = append(rs, w.measured(at))
		}
		out = append(out, rs)
	}
	batch := []journal.Record{}
	for i := range 120 {
		at := first.Add(time.Duration(i) * time.Minute)
		if w.dropped > 0 && i >= w.dropped {
			if i == w.dropped {
				sum := sha256.Sum256(otherPlan())
				batch = append(batch, journal.Record{Plan: &journal.PlanApplied{Version: 2, SHA256: hex.EncodeToString(sum[:]), At: at}})
			}
			other := w.measured(at)
			if other.Result.Check = "other.tcp"; i > w.dropped+2 {
				batch = append(batch, other)
			}
			if i%5 == 4 {
				out, batch = append(out, batch), []journal.Record{}
			}
			continue
		}
		r := check.Because(check.OK, "")
		switch {
		case i >= 30 && i < 40:
			r = check.Because(check.ConnectRefused, "")
		case i >= 60 && i < 70, i >= 90 && i < 95:
			r.Attempts = -1
		}
		if i == 70 {
			batch = append(batch, journal.Record{Range: &check.Range{Reason: check.MissedOverrun, Check: "web.tcp", From: first.Add(time.Hour), To: first.Add(70 * time.Minute), Slots: 10}})
		}
		if r.Attempts == 0 {
			r.Check, r.Slot, r.Start, r.Took, r.Attempts = "web.tcp", at, at.Add(time.Second/4), time.Millisecond, 1
			if i == 0 && w.past == 0 {
				r.Start = start // the slot was under way
			}
			if w.result != nil {
				w.result(i, &r)
			}
			batch = append(batch, journal.Record{Result: &r})
		}
		if i%5 == 4 {
			out, batch = append(out, batch), []journal.Record{}
		}
	}
	if w.late {
		three := first.AddDate(0, 0, 3)
		late := []journal.Record{w.measured(three.Add(10 * time.Minute))}
		for i := range 5 {
			at := first.Add(time.Duration(90+i) * time.Minute)
			late = append(late, w.measured(at))
		}
		late = append(late, w.measured(three.Add(20*time.Minute)))
		out = append(out, []journal.Record{w.measured(three)}, late)
	}
	return slices.DeleteFunc(out, func(rs []journal.Record) bool { return len(rs) == 0 })
}

// measured is a result of one slot.
func (w *world) measured(slot time.Time) journal.Record {
	r := check.Because(check.OK, "")
	r.Check, r.Slot, r.Start, r.Took, r.Attempts = "web.tcp", slot, slot.Add(time.Second/4), time.Millisecond, 1
	return journal.Record{Result: &r}
}

// export writes the export into a file.
func (w *world) export() string {
	w.t.Helper()
	return keep(w.t, w.bytes())
}

func (w *world) bytes() []byte {
	w.t.Helper()
	from, to := thatDay()
	var buf bytes.Buffer
	if err := Export(w.t.Context(), w.store, ExportOptions{From: from, To: to, Key: w.key, Kinds: kinds}, &buf); err != nil {
		w.t.Fatal(err)
	}
	return buf.Bytes()
}

func keep(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "export.zip")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) options() Options {
	return Options{Key: w.key, Kinds: kinds, Scratch: w.t.TempDir(), Batch: batchOf, Terms: termsOf}
}

// verify verifies an export with the world's key.
func (w *world) verify(path string, figures []byte) (Result, error) {
	o := w.options()
	o.Figures = figures
	return Verify(w.t.Context(), path, o)
}

// batchOf is what the accounts need of a batch.
func batchOf(a intake.Accepted) history.Batch {
	b := history.Batch{Leaf: a.Leaf, Machine: a.Machine, Unit: a.Unit, Journal: a.Header.Journal}
	for _, e := range a.Events {
		switch {
		case e.Observation != nil:
			o := e.Observation
			b.Events = append(b.Events, history.Event{Observation: &history.Observation{Check: o.Check, Start: o.Start, From: o.From, To: o.To, Reason: o.Reason}})
		case e.Range != nil:
			b.Events = append(b.Events, history.Event{Range: e.Range})
		case e.Plan != nil:
			p := history.Plan{At: e.Plan.At, SHA256: e.Plan.Plan.Hash(), Version: e.Plan.Plan.Version}
			for _, ch := range e.Plan.Plan.Checks {
				p.Checks = append(p.Checks, history.Check{ID: ch.ID, Service: ch.Service, Kind: ch.Kind, Path: ch.Path, Every: int64(ch.Every / time.Second)})
			}
			b.Events = append(b.Events, history.Event{Plan: &p})
		case e.Begin != nil:
			b.Events = append(b.Events, history.Event{Begin: &history.Begin{At: e.Begin.At}})
		}
	}
	return b
}

// termsOf is what the accounts need of a profile that stays the same all the time.
func termsOf(p *profile.Profile, _ []enrol.Machine, from, to, _ time.Time) history.Catalogue {
	var cat history.Catalogue
	for _, svc := range p.ServicesAt(from) {
		q := p.Quorum(svc.ID, from)
		s := history.Service{ID: svc.ID, Valid: history.Span{From: from.Unix(), To: to.Unix()}, Deciding: svc.Deciding(), Quorum: history.Quorum{Units: q.Units, Carriers: q.Carriers}, Hours: []history.Span{}}
		if s.Attested = svc.Attested(); svc.Rule() != nil {
			s.Derived = &history.Expr{Need: svc.Rule().Need}
			for _, x := range svc.Rule().Of {
				s.Derived.Of = append(s.Derived.Of, history.Operand{Service: x.Service})
			}
		}
		for _, m := range p.Watchers(svc.ID, from) {
			s.Watchers = append(s.Watchers, history.Watcher{Machine: m.Machine, Unit: m.Unit, Carrier: m.Carrier})
		}
		for _, i := range p.Calendar(svc.ID, history.ServiceHours, "", from, to) {
			s.Hours = append(s.Hours, history.Span{From: i.Start.Unix(), To: i.End.Unix()})
		}
		cat.Services = append(cat.Services, s)
	}
	return cat
}

// report is what the collector reports of the day.
func (w *world) report() report.Model { return w.reportOf("", "") }

// reportOf is the report of a service or a unit alone.
func (w *world) reportOf(service, unit string) report.Model {
	t := w.t
	t.Helper()
	from, to := thatDay()
	idx, err := index.Open(filepath.Join(t.TempDir(), "history"))
	if err != nil {
		t.Fatal(err)
	}
	defer idx.Close()
	fold, err := intake.NewFold(kinds, w.store.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := intake.Replay(t.Context(), w.store, fold, 0, func(a intake.Accepted) error { return idx.Add(t.Context(), batchOf(a)) }); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "calendars"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range maps.All(w.files()) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := profile.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var book suspend.Book
	if err := book.Update(w.store); err != nil {
		t.Fatal(err)
	}
	var said confirm.Book
	if err := said.Update(w.store); err != nil {
		t.Fatal(err)
	}
	rows, err := idx.Availability(t.Context(), confirm.Apply(suspend.Apply(termsOf(p, nil, from, to, to), p, book.All()), said.All()), history.Query{From: from, To: to, Now: to, Service: service, Unit: unit})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := report.Changes(w.store.Entries(0), from, to)
	if err != nil {
		t.Fatal(err)
	}
	m, err := report.Build(report.Input{Profile: p, Service: service, Unit: unit, From: from, To: to, Generated: to, Rows: rows, Changes: changes, Checkpoint: w.store.Checkpoint(), LogKey: w.key})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m report.Model) []byte {
	t.Helper()
	b, err := report.JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
