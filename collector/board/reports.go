package board

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// Reports shows reports on their way, and moves them on. Its errors wrap ErrForbidden for who may not.
type Reports interface {
	// Acts names who may make, review and issue reports; "" for who may only read them.
	Acts(ctx context.Context) (name string, err error)
	List(ctx context.Context) (ReportList, error)
	// Make asks for a draft, which is made while the page shows how far it is.
	Make(ctx context.Context, s report.Scope, issuer report.Issuer) error
	Review(ctx context.Context, s report.Scope, sha256 string) error
	Issue(ctx context.Context, s report.Scope, why string) error
	// Verify holds an issued version against the log.
	Verify(ctx context.Context, s report.Scope, version int) error
	// File writes a draft, version 0, or an issued version in a format.
	File(ctx context.Context, s report.Scope, version int, format string, l words.Lang) ([]byte, error)
}

// A ReportList is how reports stand.
type ReportList struct {
	Making []Making
	Drafts []report.Draft
	Issued []report.Issued
	Issuer report.Issuer // who issues, if nothing else is said
	// Deadline is the end of the last day on which the report of a scope is to be issued; zero for days of one's own choice.
	Deadline func(report.Scope) time.Time
}

// A Making is a draft in the making, or one that could not be made.
type Making struct {
	Scope  report.Scope
	Step   int // of Steps; 0 waits for others
	Steps  int
	Failed string // why it could not be made
}

// ReportFormats lists the formats of a report, the one that most people want first.
func ReportFormats() []string { return []string{"docx", "pdf", "xlsx", "csv", "json"} }

// reportTypes are what browsers call the formats.
var reportTypes = map[string]string{
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pdf": "application/pdf", "csv": "text/csv; charset=utf-8", "json": "application/json",
}

func (h *handler) reportPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /reports", func(w http.ResponseWriter, r *http.Request) { h.writeReports(w, r, http.StatusOK, reportsPage{}) })
	mux.HandleFunc("POST /reports", h.changeReports)
	mux.HandleFunc("GET /reports/file", h.reportFile)
}

// A reportsPage is reports on their way and those that were issued.
type reportsPage struct {
	Wrong, Done string
	Making      []makingItem
	Drafts      []draftItem
	Issued      []issuedItem
	Form        bool
	Periods     []string
	Services    []option
	Units       []option
	Issuer      report.Issuer
}

type makingItem struct {
	Name, Step, Failed string
	Value, Max         int
}

type reportKey struct {
	Period, Service, Unit string
	Calendar              bool
	Version               int
}

type draftItem struct {
	reportKey
	Name, Made, State, Due, SHA256, Short string
	Late, Review, Issue, Again            bool
	Own                                   bool // who asks may not issue what they made or reviewed
	Files                                 []nameLink
}

type issuedItem struct {
	reportKey
	Name, By, Leaf, SHA256, Why string
	Files                       []nameLink
}

// fileLinks are the addresses of a report in every format.
func (k reportKey) fileLinks() []nameLink {
	var out []nameLink
	for _, f := range ReportFormats() {
		q := fmt.Sprintf("/reports/file?period=%s&calendar=%t&service=%s&unit=%s&version=%d&format=%s", k.Period, k.Calendar, k.Service, k.Unit, k.Version, f)
		out = append(out, nameLink{f, q})
	}
	return out
}

// scopeName is what a scope is called on the page.
func scopeName(l words.Lang, g map[string]string, s report.Scope) string {
	name := report.PeriodName(l, s.Period)
	if s.Calendar {
		name += " " + words.Say(l, "reports.bycalendar")
	}
	parts := []string{name}
	for _, id := range []string{s.Service, s.Unit} {
		if id != "" {
			parts = append(parts, or(g[id], id))
		}
	}
	return strings.Join(parts, " – ")
}

func (h *handler) writeReports(w http.ResponseWriter, r *http.Request, status int, p reportsPage) {
	l := language(w, r)
	by, err := h.reports.Acts(r.Context())
	if errors.Is(err, ErrForbidden) {
		h.say(w, r, http.StatusForbidden, false, "reports.forbidden")
		return
	}
	v, err2 := h.current(r.Context())
	list, err3 := h.reports.List(r.Context())
	if err := errors.Join(err, err2, err3); err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	names := map[string]string{}
	for _, s := range v.Services {
		names[s.ID] = s.Name.in(l)
	}
	for _, u := range v.Units {
		names[u.ID] = u.Name.in(l)
	}
	running := p.making(l, names, list)
	p.list(l, names, list, by, v.Now)
	p.Form, p.Issuer = by != "" && !running, list.Issuer
	p.Services = append([]option{{"", words.Say(l, "history.all"), true}}, serviceOptions(l, v.Services, "")...)
	p.Units = unitOptions(l, v, "", "")
	p.Periods = recent(v.Now)
	h.write(w, r, status, frame{Title: words.Say(l, "reports.title"), Name: "reports", District: v.District.in(l), Lang: l, Still: !running, Form: p.Form, Body: p})
}

// making lists the drafts in the making, and reports whether there is one that is not ready.
func (p *reportsPage) making(l words.Lang, names map[string]string, list ReportList) (running bool) {
	for _, m := range list.Making {
		item := makingItem{Name: scopeName(l, names, m.Scope), Failed: m.Failed, Value: m.Step, Max: max(1, m.Steps), Step: words.Say(l, "reports.step", m.Step, m.Steps)}
		if m.Step == 0 {
			item.Step = words.Say(l, "reports.waits")
		}
		running = running || m.Failed == ""
		p.Making = append(p.Making, item)
	}
	return running
}

// list words drafts and issued reports, the latest first.
func (p *reportsPage) list(l words.Lang, names map[string]string, list ReportList, by string, now time.Time) {
	last := map[report.Scope]bool{}
	for i := len(list.Issued) - 1; i >= 0; i-- {
		x := list.Issued[i]
		last[x.Scope] = true
		item := issuedItem{reportKey: reportKey{x.Period, x.Service, x.Unit, x.Calendar, x.Number}, Name: scopeName(l, names, x.Scope), Why: x.Why, SHA256: x.SHA256,
			By: words.Say(l, "reports.by", x.Number, x.By, words.DateTime(l, x.At), x.ReviewedBy), Leaf: words.Number(l, x.Leaf)}
		item.Files = item.fileLinks()
		p.Issued = append(p.Issued, item)
	}
	for _, d := range list.Drafts {
		s := d.Scope
		item := draftItem{reportKey: reportKey{s.Period, s.Service, s.Unit, s.Calendar, 0}, Name: scopeName(l, names, s), SHA256: d.SHA256, Short: d.SHA256[:min(16, len(d.SHA256))],
			Made: words.Say(l, "reports.made", d.By, words.DateTime(l, d.Made)), State: words.Say(l, "reports.draft"), Again: last[s]}
		if d.By == report.Program {
			item.Made = words.Say(l, "reports.itself", words.DateTime(l, d.Made))
		}
		if d.Reviewed() {
			item.State = words.Say(l, "reports.reviewed", d.ReviewedBy)
		}
		if due := list.Deadline(s); !due.IsZero() {
			item.Late = !now.Before(due)
			item.Due = words.Say(l, "reports.due", words.Date(due.Add(-time.Second)))
			if item.Late {
				item.Due = words.Say(l, "reports.late", words.Date(due.Add(-time.Second)))
			}
		}
		item.Review = by != "" && !d.Reviewed()
		item.Issue = by != "" && d.Reviewed()
		item.Own = item.Issue && report.SamePerson(by, d.By, d.ReviewedBy)
		item.Issue = item.Issue && !item.Own
		item.Files = item.fileLinks()
		p.Drafts = append(p.Drafts, item)
	}
}

// recent are the periods that a report may be wanted of, the latest first: those of Decree 09/2019 that have begun.
func recent(now time.Time) []string {
	var out []string
	year := now.In(profile.Zone()).Year()
	for y := year + 1; y >= year-1; y-- {
		for _, form := range []string{"%d", "%d-Q4", "%d-9M", "%d-Q3", "%d-H1", "%d-Q2", "%d-Q1"} {
			s := fmt.Sprintf(form, y)
			if from, _, err := profile.ParsePeriod(s, false); err == nil && from.Before(now) {
				out = append(out, s)
			}
		}
	}
	return out
}

// scopeOf reads what a form or an address says of a report.
func scopeOf(get func(string) string) report.Scope {
	s := report.Scope{Period: get("period"), Calendar: get("calendar") == "true", Service: get("service"), Unit: get("unit")}
	if from, to := get("from"), get("to"); from != "" || to != "" {
		s.Period, s.Calendar = from+profile.RangeSign+to, false
	}
	return s
}

// changeReports takes one of the page's forms.
func (h *handler) changeReports(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	r.Body = http.MaxBytesReader(w, r.Body, formRest)
	if err := r.ParseForm(); err != nil {
		h.say(w, r, http.StatusBadRequest, true, "users.form")
		return
	}
	get := func(name string) string { return oneLine(r.PostForm.Get(name)) }
	by, err := h.reports.Acts(r.Context())
	version, _ := strconv.Atoi(get("version"))
	do, s := get("do"), scopeOf(get)
	if err == nil && by == "" && do != "verify" {
		err = ErrForbidden
	}
	if err == nil {
		switch do {
		case "make":
			err = h.reports.Make(r.Context(), s, report.Issuer{Parent: get("parent"), Body: get("body"), Symbol: get("symbol"), Signer: get("signer")})
		case "review":
			err = h.reports.Review(r.Context(), s, get("sha256"))
		case "issue":
			err = h.reports.Issue(r.Context(), s, get("why"))
		case "verify":
			if err = h.reports.Verify(r.Context(), s, version); err == nil {
				h.writeReports(w, r, http.StatusOK, reportsPage{Done: words.Say(l, "reports.verified", s.ID(), version)})
				return
			}
		default:
			h.say(w, r, http.StatusBadRequest, true, "users.form")
			return
		}
	}
	switch {
	case errors.Is(err, ErrForbidden):
		h.say(w, r, http.StatusForbidden, true, "reports.forbidden")
	case err != nil:
		h.log.Warn("board: reports not changed", "do", do, "by", by, "err", err)
		h.writeReports(w, r, http.StatusUnprocessableEntity, reportsPage{Wrong: words.Say(l, "reports.wrong", err.Error())})
	default:
		h.forget()
		http.Redirect(w, r, "/reports"+language2(r), http.StatusSeeOther)
	}
}

// reportFile answers a report as a file.
func (h *handler) reportFile(w http.ResponseWriter, r *http.Request) {
	get := r.URL.Query().Get
	s, format := scopeOf(get), get("format")
	kind, ok := reportTypes[format]
	version, err := strconv.Atoi(get("version"))
	if !ok || err != nil || version < 0 {
		h.say(w, r, http.StatusBadRequest, false, "users.form")
		return
	}
	if _, _, err := profile.ParsePeriod(s.Period, s.Calendar); err != nil {
		h.say(w, r, http.StatusBadRequest, false, "users.form")
		return
	}
	_, err = h.reports.Acts(r.Context())
	var data []byte
	if err == nil {
		data, err = h.reports.File(r.Context(), s, version, format, language(w, r))
	}
	switch {
	case errors.Is(err, ErrForbidden):
		h.say(w, r, http.StatusForbidden, false, "reports.forbidden")
		return
	case err != nil:
		h.log.Warn("board: no report", "scope", s.ID(), "err", err)
		h.failed(w, r, http.StatusNotFound, nil)
		return
	}
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Set("Content-Disposition", `attachment; filename="`+report.FileName(s, version, format)+`"`)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", policy)
	head.Set("Cache-Control", "private, no-store")
	_, _ = w.Write(data)
}
