package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

const (
	pathReports = "/api/local/reports"
	reportsDir  = "reports"
	// A draft makes itself so long after the period, when what was on its way has come, and no later than that.
	draftAfter, draftUntil = time.Hour, 45 * 24 * time.Hour
	draftEvery             = 10 * time.Minute
	sendWithin             = 2 // working days after the cut-off by which a report is to be issued
)

// A reportsRequest is what people do with reports on their way; Do is draft, review, issue or list.
type reportsRequest struct {
	Do     string        `json:"do"`
	Scope  report.Scope  `json:"scope"`
	SHA256 string        `json:"sha256,omitempty"` // of the draft that was reviewed
	Why    string        `json:"why,omitempty"`    // of a new version
	Issuer report.Issuer `json:"issuer"`
}

// A reportsAnswer is how reports stand.
type reportsAnswer struct {
	Drafts []report.Draft  `json:"drafts"`
	Issued []report.Issued `json:"issued"`
}

// reportModel makes the report of a scope from what the log holds now.
func (c *center) reportModel(ctx context.Context, s report.Scope, issuer report.Issuer) (report.Model, error) {
	return c.reportSteps(ctx, s, issuer, func(int) {})
}

// reportSteps is reportModel, which says before each of its steps which one it is, from 1 to the constant of its name.
func (c *center) reportSteps(ctx context.Context, s report.Scope, issuer report.Issuer, step func(int)) (report.Model, error) {
	step(1)
	from, to, err := profile.ParsePeriod(s.Period, s.Calendar)
	if err != nil {
		return report.Model{}, err
	}
	// Not while the log is to stay as it is: who holds the layers may be about to add to it.
	at := c.now()
	layers, err := c.reportLayers(s, at)
	if err != nil {
		return report.Model{}, err
	}
	var m report.Model
	step(2)
	err = c.still(ctx, func() error {
		step(3)
		a, err := c.figures(ctx, figuresRequest{From: from, To: to, Service: s.Service, Unit: s.Unit})
		if err != nil {
			return err
		}
		if len(a.Rows) == 0 {
			return fmt.Errorf("there is nothing to report of %s", s.ID())
		}
		changes, err := report.Changes(c.store.Leaves(0), from, to)
		if err != nil {
			return err
		}
		in := report.Input{Profile: c.district(), Period: s.Period, Service: s.Service, Unit: s.Unit, From: from, To: to, Counted: a.Counted, Generated: c.now(),
			Rule: a.Rule, Rows: a.Rows, Missing: a.Missing, Changes: changes, Checkpoint: c.store.Checkpoint(), LogKey: c.keys.LogKey, Issuer: c.issuer(issuer), Layers: layers}
		if len(layers) > 0 {
			in.LayersAt = at
		}
		step(4)
		if err := c.beside(ctx, s, &in); err != nil {
			return err
		}
		step(5)
		m, err = report.Build(in)
		return err
	})
	return m, err
}

// caughtUpWithin is how long the history may take for what is in the log while nothing is appended.
const caughtUpWithin = 20 * time.Second

// still runs f while the log stays as it is and the history has all that is in it: figures and checkpoint are of one state.
func (c *center) still(ctx context.Context, f func() error) error {
	if err := c.flushed(ctx); err != nil { // most of it before anybody has to wait
		return err
	}
	return c.store.Still(ctx, func() error {
		if err := c.flushed(ctx); err != nil {
			return err
		}
		return f()
	})
}

func (c *center) flushed(ctx context.Context) error {
	ctx, stop := context.WithTimeoutCause(ctx, caughtUpWithin, errors.New("the history does not catch up with the log: try again"))
	defer stop()
	if err := c.intake.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (c *center) reports(ctx context.Context, req reportsRequest, by string) (a reportsAnswer, err error) {
	switch req.Do {
	case "draft":
		var m report.Model
		if m, err = c.reportModel(ctx, req.Scope, req.Issuer); err == nil {
			_, err = c.desk.Put(req.Scope, m, by)
		}
	case "review":
		_, err = c.desk.Review(req.Scope, req.SHA256, by)
	case "issue":
		if _, err = c.desk.Issue(ctx, req.Scope, by, req.Why); err == nil {
			err = c.keepExport(ctx, req.Scope)
		}
	case "list":
	default:
		err = fmt.Errorf("%q is none of draft, review, issue, list", req.Do)
	}
	if err != nil {
		return a, err
	}
	drafts, err := c.desk.Drafts()
	issued, err2 := c.desk.Issued()
	return reportsAnswer{append([]report.Draft{}, drafts...), append([]report.Issued{}, issued...)}, errors.Join(err, err2)
}

func (c *center) reportsHandler(w http.ResponseWriter, r *http.Request) {
	var req reportsRequest
	if !readRequest(w, r, 64<<10, &req) {
		return
	}
	if err := c.intake.Flush(r.Context()); err != nil {
		answer(w, nil, err)
		return
	}
	if req.Do != "list" && !mayReport(access.Of(r.Context())) {
		answer(w, nil, errNotInCharge)
		return
	}
	a, err := c.reports(r.Context(), req, access.User(r.Context()))
	answer(w, a, err)
}

var errNotInCharge = errors.New("reports are made, reviewed and issued by people of the office in charge (role operator or admin)")

// mayReport reports whether somebody may change reports on their way: a person who enters documents and sees all figures,
// or who sits at the collector itself.
func mayReport(w access.Who) bool {
	return w.May(access.ScopeFigures) && w.May(access.ScopeAttest) && (w.Person || w.Name == access.Operator || w.Name == access.Program)
}

// draftReports makes the drafts that are due, until ctx ends.
func (c *center) draftReports(ctx context.Context) error {
	t := time.NewTicker(draftEvery)
	defer t.Stop()
	for {
		if err := c.draftDue(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("drafts of reports cannot be made", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-c.workshop.wakes():
		}
		c.makeAsked(ctx)
	}
}

// draftDue makes a draft of every period of Decree 09/2019 that has ended of late and has none. A period of which nothing
// was measured has no report.
func (c *center) draftDue(ctx context.Context) error {
	issued, err := c.desk.Issued()
	if err != nil {
		return err
	}
	for _, period := range duePeriods(c.now()) {
		s := report.Scope{Period: period}
		if slices.ContainsFunc(issued, func(i report.Issued) bool { return i.Scope == s }) {
			continue
		}
		if _, ok, err := c.desk.Draft(s); err != nil || ok {
			if err != nil {
				c.log.Error("a draft cannot be read", "err", err)
			}
			continue
		}
		m, err := c.reportModel(ctx, s, report.Issuer{})
		if err != nil {
			return err
		}
		if !m.Measured() {
			continue
		}
		if _, err := c.desk.Put(s, m, report.Program); err != nil {
			return err
		}
		c.log.Warn("the draft of a report waits for its review", "period", period)
	}
	return nil
}

// duePeriods lists the quarters, half-years, nine months and years that ended of late, the earliest end first.
func duePeriods(now time.Time) []string {
	var due []string
	year := now.In(profile.Zone()).Year()
	for _, y := range []int{year - 1, year} {
		for _, form := range []string{"%d-Q1", "%d-Q2", "%d-H1", "%d-Q3", "%d-9M", "%d-Q4", "%d"} {
			p := fmt.Sprintf(form, y)
			_, end, err := profile.ParsePeriod(p, false)
			if err == nil && !now.Before(end.Add(draftAfter)) && now.Before(end.Add(draftUntil)) {
				due = append(due, p)
			}
		}
	}
	return due
}

// deadline is the instant by which the report of a period is to be issued: the end of the second working day after it.
func deadline(p *profile.Profile, end time.Time) time.Time {
	d, err := p.AddWorkingDays(profile.DateOf(end.Add(-time.Second)), sendWithin)
	if err != nil {
		return end.AddDate(0, 0, 2*sendWithin)
	}
	return (d + 1).Start()
}

// reportNotices remind of drafts that wait for people, and say which are overdue.
func (c *center) reportNotices(now time.Time) []board.Name {
	drafts, err := c.desk.Drafts()
	if err != nil {
		c.log.Error("drafts of reports cannot be listed", "err", err)
	}
	var out []board.Name
	for _, d := range drafts {
		_, end, err := profile.ParsePeriod(d.Scope.Period, d.Scope.Calendar)
		if err != nil || now.Before(end) {
			continue
		}
		last, key := deadline(c.district(), end), "notice.report"
		if d.Reviewed() {
			key = "notice.reviewed"
		}
		if !now.Before(last) {
			key = "notice.overdue"
		}
		say := func(l words.Lang) string { return words.Say(l, key, d.Scope.ID(), words.Date(last.Add(-time.Second))) }
		out = append(out, board.Name{VI: say(words.VI), EN: say(words.EN)})
	}
	return out
}

func runReports(ctx context.Context, do string, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("report "+do, "Reports on their way: draft makes one of what the log holds now (at each cut-off they make themselves), review notes that you have gone\n"+
		"through it, issue puts it into the log for ever; list shows all. What was issued is written by `collector report --issued`; it changes only by\n"+
		"a new version, for which issue wants --why.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	asJSON := fs.Bool("json", false, "write one JSON object")
	lang := fs.String("lang", "vi", "language: vi or en")
	req := reportsRequest{Do: do}
	scopeFlags(fs.StringVar, fs.BoolVar, &req.Scope)
	fs.StringVar(&req.SHA256, "sha256", "", "review: the draft's SHA-256, as list shows it, or its first 8 digits or more")
	fs.StringVar(&req.Why, "why", "", "issue: why there is a new version, `TEXT`")
	issuerFlags(fs.StringVar, &req.Issuer)
	if ok, code := parse(fs, args); !ok {
		return code
	}
	if _, _, err := profile.ParsePeriod(req.Scope.Period, req.Scope.Calendar); err != nil && do != "list" {
		fmt.Fprintf(stderr, "collector report %s: --period: %v\n", do, err)
		return exitUsage
	}
	a, err := atCenter(ctx, *data, stderr, pathReports, req, func(c *center) (reportsAnswer, error) { return c.reports(ctx, req, access.Operator) })
	if err != nil {
		fmt.Fprintf(stderr, "collector report %s: %v\n", do, err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	return a.write(stdout, stderr, words.ParseLang(*lang))
}

// write shows how reports stand.
func (a reportsAnswer) write(stdout, stderr io.Writer, l words.Lang) int {
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, d := range a.Drafts {
		state := words.Say(l, "reports.draft")
		if d.Reviewed() {
			state = words.Say(l, "reports.reviewed", d.ReviewedBy)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.16s\n", d.Scope.ID(), state, words.DateTime(l, d.Made), d.SHA256)
	}
	for _, i := range a.Issued {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.16s\n", i.ID(), words.Say(l, "reports.issued", i.Number, words.Number(l, i.Leaf), i.By), words.DateTime(l, i.At), i.SHA256)
	}
	if err := t.Flush(); err != nil {
		fmt.Fprintf(stderr, "collector report: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// scopeFlags are those that say what a report is of.
func scopeFlags(text func(p *string, name, value, usage string), yes func(p *bool, name string, value bool, usage string), s *report.Scope) {
	text(&s.Period, "period", "", "`PERIOD`: 2026, 2026-H1, 2026-9M, 2026-Q3, 2026-09 (NĐ 09/2019: the year begins on 15 December), or days: 2026-01-10..2026-02-20")
	yes(&s.Calendar, "calendar-period", false, "take --period by the calendar")
	text(&s.Service, "service", "", "only this service, by its `ID` in services.yaml")
	text(&s.Unit, "unit", "", "only this unit, by its `ID` in units.yaml")
}

const defaultSymbol = "BC-VHTT"

// issuer fills what nobody said of the issuing body: by the configuration, or else by the name of the district.
func (c *center) issuer(i report.Issuer) report.Issuer {
	set := c.config.Report
	if i.Parent == "" && i.Body == "" {
		i.Parent, i.Body = set.Parent, set.Body
	}
	if i.Body == "" {
		p := c.district()
		i.Body = words.Say(words.VI, "reports.committee", report.Within(unitName(p, p.District, c.now()).VI))
	}
	i.Symbol = cmp.Or(i.Symbol, set.Symbol, defaultSymbol)
	i.Signer = cmp.Or(i.Signer, set.Signer)
	if len(i.Recipients) == 0 {
		i.Recipients = set.Recipients
	}
	return i
}

// issuerFlags are those that name the issuing body.
func issuerFlags(text func(p *string, name, value, usage string), i *report.Issuer) {
	text(&i.Parent, "parent", "", "the body above the issuing one, `NAME`")
	text(&i.Body, "body", "", "the issuing body, `NAME`")
	text(&i.Symbol, "symbol", "", "behind the number, `TEXT`; default BC-VHTT")
	text(&i.Signer, "signer", "", "the signer's title, `TEXT`")
}
