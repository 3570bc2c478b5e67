package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

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

const (
	rule           = "votes/1" // the rule of accounting that this program knows
	atOnce         = 200       // batches that go into the index in one transaction
	maxDifferences = 200
)

// given are figures to compare: the JSON of a report, or of `collector availability --json`, which has the same names.
type given struct {
	Version string          `json:"version"`
	Service string          `json:"service"` // of a report: the only one it is of
	Unit    string          `json:"unit"`    // likewise
	Rule    string          `json:"rule"`
	From    time.Time       `json:"from"`
	To      time.Time       `json:"to"`
	Counted time.Time       `json:"counted_to"`
	Leaves  int64           `json:"log_leaves"`
	Root    string          `json:"log_root"`
	Rows    []report.Row    `json:"rows"`
	Changes []report.Change `json:"changes"`
}

// A refigure works figures out again.
type refigure struct {
	v     *verifier
	given given
	dir   string
	idx   *index.Index
	held  []history.Batch
	files map[string][]byte // of the profile, by name
	book  suspend.Book      // of what was announced
	said  confirm.Book      // of what people confirmed
}

func newRefigure(ctx context.Context, v *verifier) (*refigure, error) {
	if v.o.Batch == nil || v.o.Terms == nil {
		return nil, errors.New("figures cannot be compared without the collector's terms")
	}
	f := &refigure{v: v, files: map[string][]byte{}}
	switch {
	case v.o.Figures == nil:
		f.given.Leaves = math.MaxInt64
	case blank(v.o.Figures):
		return nil, errors.New("the given figures are empty")
	default:
		if err := json.Unmarshal(v.o.Figures, &f.given); err != nil {
			return nil, fmt.Errorf("the given figures are no JSON of `collector report` or `collector availability`: %w", err)
		}
	}
	dir, err := os.MkdirTemp(v.o.Scratch, "egovmon-audit-")
	if err != nil {
		return nil, err
	}
	f.dir = dir
	if f.idx, err = index.Open(filepath.Join(dir, "history")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return f, ctx.Err()
}

func (f *refigure) close() {
	_ = f.idx.Close() // the folder goes, whatever was in it
	_ = os.RemoveAll(f.dir)
}

var profileFile = regexp.MustCompile(`^(?:[a-z]{1,32}|calendars/[0-9]{4})\.yaml$`)

// add takes in a batch.
func (f *refigure) add(ctx context.Context, a intake.Accepted) error {
	if a.Leaf >= f.given.Leaves {
		return nil
	}
	if f.held = append(f.held, f.v.o.Batch(a)); len(f.held) < atOnce {
		return nil
	}
	return f.flush(ctx)
}

func (f *refigure) flush(ctx context.Context) error {
	err := f.idx.Add(ctx, f.held...)
	f.held = f.held[:0]
	return err
}

// profile loads the profile that the log holds.
func (f *refigure) profile() (*profile.Profile, error) {
	dir := filepath.Join(f.dir, "profile")
	if err := os.MkdirAll(filepath.Join(dir, "calendars"), 0o700); err != nil {
		return nil, err
	}
	for name, data := range f.files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o600); err != nil {
			return nil, err
		}
	}
	return profile.Load(os.DirFS(dir))
}

// compare works the figures out and compares the given ones. Without given ones they are those of the whole period, as
// far as it had passed at the last receipt.
func (f *refigure) compare(ctx context.Context, machines []enrol.Machine, last time.Time) error {
	v, g := f.v, f.given
	v.Figures = &Figures{Given: v.o.Figures != nil, Services: []history.Row{}, Differences: []string{}}
	if !v.Figures.Given {
		g.From, g.To, g.Counted = v.From, v.To, v.To
		if last.Before(g.To) {
			g.Counted = last
		}
		if !g.From.Before(g.Counted) {
			return nil
		}
	} else if why := f.comparable(); why != "" {
		v.found(NoFigures, -1, "%s", why)
		return nil
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	p, err := f.profile()
	if err != nil {
		v.found(NoFigures, -1, "the profile in the log cannot be used: %v", err)
		return nil
	}
	cat := suspend.Apply(v.o.Terms(p, machines, g.From, g.To, g.Counted), p, f.book.All())
	cat = confirm.Apply(cat, f.said.All())
	rows, err := f.idx.Availability(ctx, cat, history.Query{From: g.From, To: g.To, Now: g.Counted, Service: g.Service, Unit: g.Unit})
	if err != nil {
		return err
	}
	v.Figures.Rows, v.Figures.Counted = len(rows), g.Counted
	for _, r := range rows {
		if r.Unit == "" && r.Machine == "" {
			v.Figures.Services = append(v.Figures.Services, r)
		}
	}
	if !v.Figures.Given {
		return nil
	}
	f.rows(p, rows)
	if err := f.changes(); err != nil {
		return err
	}
	if n := len(v.Figures.Differences); n > 0 {
		v.found(BadFigures, -1, "%d of the given figures are not those that follow from the log; the first: %s", n, v.Figures.Differences[0])
	}
	return nil
}

// changes compares what a report says was changed in its period, of plans, profile, targets, calendars and rules, with
// the log. A report that hides a change is not that of the log.
func (f *refigure) changes() error {
	if f.given.Version != report.Version {
		return nil
	}
	type key struct {
		leaf int64
		kind string
		what string
	}
	want, err := report.Changes(f.leaves(), f.given.From, f.given.To)
	if err != nil {
		return err
	}
	told := map[key]bool{}
	for _, c := range f.given.Changes {
		told[key{c.Leaf, c.Type, c.What}] = true
	}
	for _, c := range want {
		if k := (key{c.Leaf, c.Type, c.What}); told[k] {
			delete(told, k)
		} else {
			f.differ("the change in leaf %d (%s %s) is left out", c.Leaf, c.Type, c.What)
		}
	}
	for k := range told {
		f.differ("a change in leaf %d (%.40s %.80s) is given, the log has none there", k.leaf, k.kind, k.what)
	}
	return nil
}

// leaves yields the leaves that the given figures rest on, without blobs and bodies.
func (f *refigure) leaves() iter.Seq2[evidence.Stored, error] {
	return func(yield func(evidence.Stored, error) bool) {
		size := min(f.given.Leaves, f.v.Size)
		for n := int64(0); n*width < size; n++ {
			texts, err := f.v.a.leaves(n, f.v.Size)
			if err != nil {
				yield(evidence.Stored{}, err)
				return
			}
			for i, text := range texts {
				index := n*width + int64(i)
				if index >= size {
					return
				}
				l, err := evidence.ParseLeaf(text)
				if !yield(evidence.Stored{Entry: evidence.Entry{Leaf: l}, Index: index}, err) || err != nil {
					return
				}
			}
		}
	}
}

// comparable says why the figures cannot be compared; "" when they can.
func (f *refigure) comparable() string {
	v, g := f.v, f.given
	root, err := v.tree.root(min(max(g.Leaves, 0), v.Size))
	switch {
	case g.Version != "" && g.Version != report.Version:
		return fmt.Sprintf("the given figures have the version %.40q, this program reads %q", g.Version, report.Version)
	case g.Rule != rule:
		return fmt.Sprintf("the given figures follow the rule %.40q, this program knows %q", g.Rule, rule)
	case !g.From.Before(g.To) || g.Counted.Before(g.From):
		return "the given figures are of no period"
	case g.From.Before(v.From) || g.To.After(v.To):
		return fmt.Sprintf("the given figures are of %s to %s, the export of %s to %s: export that period", g.From.Format(time.RFC3339), g.To.Format(time.RFC3339),
			v.From.Format(time.RFC3339), v.To.Format(time.RFC3339))
	case g.Leaves < 1 || g.Leaves > v.Size:
		return fmt.Sprintf("the given figures rest on %d leaves, the export has %d", g.Leaves, v.Size)
	case err != nil:
		return err.Error()
	}
	if full := hex.EncodeToString(root[:]); len(g.Root) < 16 || !strings.HasPrefix(full, g.Root) {
		return fmt.Sprintf("the given figures rest on a log with the root %.64q at %d leaves, in this one it is %s", g.Root, g.Leaves, full)
	}
	return ""
}

// rows compares row by row. A report has every service and unit; other figures may be a part.
func (f *refigure) rows(p *profile.Profile, rows []history.Row) {
	v := f.v
	type key struct{ service, unit string }
	want := map[key]history.Row{}
	for _, r := range rows {
		want[key{r.Service, r.Unit}] = r
	}
	for _, g := range f.given.Rows {
		if g.Machine != "" {
			continue
		}
		k := key{g.Service, g.Unit}
		w, ok := want[k]
		if !ok {
			f.differ("%s: it is given, and the profile in the log has it not, or twice", name(g.Row))
			continue
		}
		delete(want, k)
		v.Figures.Compared++
		f.row(g.Row, w)
		if f.given.Version == report.Version {
			f.targets(p, g, w)
		}
	}
	if f.given.Version != report.Version {
		return
	}
	for _, r := range rows {
		if _, left := want[key{r.Service, r.Unit}]; left {
			f.differ("%s: it is left out", name(r))
		}
	}
}

func (f *refigure) differ(format string, args ...any) {
	if d := &f.v.Figures.Differences; len(*d) < maxDifferences {
		*d = append(*d, fmt.Sprintf(format, args...))
	}
}

func name(r history.Row) string {
	if r.Unit == "" {
		return r.Service
	}
	return r.Service + " (" + r.Unit + ")"
}

// row compares one row.
func (f *refigure) row(g, w history.Row) {
	for _, wc := range w.Calendars {
		gc, ok := g.Calendar(wc.Calendar)
		if !ok {
			f.differ("%s: the calendar %s is left out", name(w), wc.Calendar)
			continue
		}
		f.account(name(w)+", "+wc.Calendar, gc.Account, gc.Figures, wc.Account, wc.Figures)
		switch {
		case (gc.Afterwards == nil) != (wc.Afterwards == nil):
			f.differ("%s, %s: what was excluded afterwards is not shown, or is not in the log", name(w), wc.Calendar)
		case gc.Afterwards != nil:
			f.account(name(w)+", "+wc.Calendar+", with late exclusions", gc.Afterwards.Account, gc.Afterwards.Figures, wc.Afterwards.Account, wc.Afterwards.Figures)
		}
	}
	if len(g.Calendars) > len(w.Calendars) {
		f.differ("%s: there are %d calendars, the profile has %d", name(w), len(g.Calendars), len(w.Calendars))
	}
	same := func(a, b history.Outage) bool {
		return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Down == b.Down && a.Reason == b.Reason && a.Ongoing == b.Ongoing
	}
	if !slices.EqualFunc(g.Outages, w.Outages, same) {
		f.differ("%s: %s given, %s follow", name(w), list(g.Outages), list(w.Outages))
	}
}

// list writes outages in short.
func list(os []history.Outage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d outages", len(os))
	for i, o := range os {
		if i == 3 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " [%s, %s) %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339), o.Reason)
	}
	return b.String()
}

func (f *refigure) account(where string, ga history.Account, gf history.Figures, wa history.Account, wf history.Figures) {
	for _, x := range []struct {
		name string
		g, w int64
	}{{"up", ga.Up, wa.Up}, {"degraded", ga.Degraded, wa.Degraded}, {"down", ga.Down, wa.Down}, {"unknown", ga.Unknown, wa.Unknown}, {"excluded", ga.Excluded, wa.Excluded}} {
		if x.g != x.w {
			f.differ("%s: %s for %d s given, %d s follow from the log", where, x.name, x.g, x.w)
		}
	}
	if !maps.Equal(ga.Causes, wa.Causes) {
		f.differ("%s: other causes are given than follow", where)
	}
	for _, x := range []struct {
		name string
		g, w *float64
	}{{"lower end", gf.Lower, wf.Lower}, {"upper end", gf.Upper, wf.Upper}, {"coverage", gf.Coverage, wf.Coverage}} {
		if (x.g == nil) != (x.w == nil) || x.g != nil && math.Abs(*x.g-*x.w) > 1e-12 {
			f.differ("%s: %s %s given, %s follows", where, x.name, number(x.g), number(x.w))
		}
	}
}

func number(v *float64) string {
	if v == nil {
		return "no data"
	}
	return fmt.Sprintf("%.6f", *v)
}

// targets compares what a report says was asked for, and whether it was met.
func (f *refigure) targets(p *profile.Profile, g report.Row, w history.Row) {
	want := report.Targets(p, w, f.given.From, f.given.To)
	if !slices.Equal(g.Targets, want) {
		f.differ("%s: the targets %v are given, %v follow", name(w), g.Targets, want)
	}
}
