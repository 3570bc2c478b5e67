package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/access"
	"egovmon/collector/board"
	"egovmon/collector/history"
	"egovmon/collector/profile"
	"egovmon/collector/report"
)

// A figuresRequest asks for the figures of [From, To).
type figuresRequest struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Service string    `json:"service,omitempty"`
	Unit    string    `json:"unit,omitempty"`
}

// A figuresAnswer holds them, with the log that they follow from.
type figuresAnswer struct {
	Rule    string        `json:"rule"`
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	Counted time.Time     `json:"counted_to"` // later seconds had not yet passed
	Leaves  int64         `json:"log_leaves"` // size of the log
	Root    string        `json:"log_root"`   // beginning of its root hash
	Missing []int         `json:"calendar_years_missing,omitempty"`
	Rows    []history.Row `json:"rows"`
}

// figures works out the figures of a request.
func (c *center) figures(ctx context.Context, req figuresRequest) (figuresAnswer, error) {
	p := c.district()
	if !req.From.Before(req.To) {
		return figuresAnswer{}, errors.New("the period is empty: --from must lie before --to")
	}
	if req.Unit != "" {
		if _, ok := p.Unit(req.Unit); !ok {
			return figuresAnswer{}, fmt.Errorf("the profile has no unit %q; units.yaml lists them", req.Unit)
		}
	}
	cat, err := c.catalogue(p, req.From, req.To)
	if err != nil {
		return figuresAnswer{}, err
	}
	if req.Service != "" && !hasService(cat, req.Service) {
		return figuresAnswer{}, fmt.Errorf("the profile has no service %q in this period; services.yaml lists them", req.Service)
	}
	now := c.now()
	rows, err := c.index.Availability(ctx, cat, history.Query{From: req.From, To: req.To, Now: now, Service: req.Service, Unit: req.Unit})
	if err != nil {
		return figuresAnswer{}, err
	}
	a := figuresAnswer{Rule: "votes/1", From: req.From, To: req.To, Counted: req.To, Rows: rows,
		Missing: p.MissingYears(profile.DateOf(req.From), profile.DateOf(req.To.Add(-time.Second)))}
	if now.Before(req.To) {
		a.Counted = now.Truncate(time.Second)
	}
	a.Leaves, a.Root = c.root()
	return a, nil
}

func hasService(cat history.Catalogue, id string) bool {
	for _, s := range cat.Services {
		if s.ID == id {
			return true
		}
	}
	return false
}

func runAvailability(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlags("availability", "Shows how available services were, as an interval: unknown seconds count as down for its lower end and as up for its\n"+
		"upper one. Days are those of Vietnam, both inclusive.", stderr)
	data := fs.String("data", "", "folder `DIR` of the state")
	from := fs.String("from", "", "first day, `YYYY-MM-DD`")
	to := fs.String("to", "", "last day, `YYYY-MM-DD`")
	period := fs.String("period", "", "a reporting `PERIOD` instead: 2026, 2026-H1, 2026-9M, 2026-Q3, 2026-09 (NĐ 09/2019: the year begins on 15 December)")
	calendar := fs.Bool("calendar-period", false, "take --period by the calendar")
	service := fs.String("service", "", "only this service, by `ID`")
	unit := fs.String("unit", "", "only this unit, by `ID`")
	asJSON := fs.Bool("json", false, "write one JSON object with seconds, figures and outages")
	lang := fs.String("lang", "vi", "language: vi or en")
	all := fs.Bool("all", false, "also the rows of which nothing is known")
	if ok, code := parse(fs, args); !ok {
		return code
	}
	req := figuresRequest{Service: *service, Unit: *unit}
	var err error
	switch {
	case *period != "" && *from == "" && *to == "":
		req.From, req.To, err = profile.ParsePeriod(*period, *calendar)
	case *period == "" && *from != "" && *to != "":
		req.From, req.To, err = profile.ParseDays(*from, *to)
	default:
		err = errors.New("name the time: --from D --to D, or --period P")
	}
	if err != nil {
		fmt.Fprintf(stderr, "collector availability: %v\n", err)
		return exitUsage
	}
	a, err := atCenter(ctx, *data, stderr, pathAvailability, req, func(c *center) (figuresAnswer, error) { return c.figures(ctx, req) })
	if err != nil {
		fmt.Fprintf(stderr, "collector availability: %v\n", err)
		return exitFailed
	}
	if *asJSON {
		return printJSON(stdout, stderr, a)
	}
	writeFigures(stdout, words.ParseLang(*lang), a, *all)
	return exitDone
}

// writeFigures writes the figures as a table for people. Rows of which no second is known are named below it, unless all
// are wanted.
func writeFigures(w io.Writer, l words.Lang, a figuresAnswer, all bool) {
	day := func(t time.Time) string { return t.In(profile.Zone()).Format("15:04 02/01/2006") }
	fmt.Fprintf(w, "%s\n", words.Say(l, "figures.title", day(a.From), day(a.To)))
	if a.Counted.Before(a.To) {
		fmt.Fprintf(w, "%s\n", words.Say(l, "figures.counted", day(a.Counted)))
	}
	if len(a.Missing) > 0 {
		fmt.Fprintf(w, "%s\n", words.Say(l, "figures.calendar", strings.Trim(fmt.Sprint(a.Missing), "[]")))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "%s\n", words.Say(l, "figures.head"))
	var silent []string
	heard := map[string]bool{} // services of which at least one row is known
	for _, r := range a.Rows {
		heard[r.Service] = heard[r.Service] || measured(r)
	}
	for _, r := range a.Rows {
		if !all && !measured(r) {
			if r.Unit == "" && !heard[r.Service] {
				silent = append(silent, r.Service)
			}
			continue
		}
		unit := r.Unit
		if unit == "" {
			unit = "*"
		}
		for _, c := range r.Calendars {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", r.Service, unit, c.Calendar, words.Interval(l, c.Figures.Lower, c.Figures.Upper), words.Share(l, c.Figures.Coverage),
				words.Clocked(c.Account.Up+c.Account.Degraded), words.Clocked(c.Account.Degraded), words.Clocked(c.Account.Down), words.Clocked(c.Account.Unknown), len(r.Outages))
		}
	}
	_ = t.Flush()
	if len(silent) > 0 {
		fmt.Fprintf(w, "\n%s\n", words.Say(l, "figures.silent", len(silent), strings.Join(silent, ", ")))
	}
	fmt.Fprintf(w, "\n%s\n", words.Say(l, "figures.log", a.Rule, a.Leaves, a.Root))
}

// measured reports whether any second of a row is known.
func measured(r history.Row) bool {
	for _, c := range r.Calendars {
		if c.Account.Up+c.Account.Degraded+c.Account.Down+c.Account.Excluded > 0 {
			return true
		}
	}
	return false
}

// latestFigures are those of pageOfFigures once the history has all that is in the log.
func (c *center) latestFigures(ctx context.Context, q board.HistoryQuery) (board.History, error) {
	if err := c.intake.Flush(ctx); err != nil {
		return board.History{}, err
	}
	return c.pageOfFigures(ctx, q)
}

// pageOfFigures works out what the board's page of figures shows: to who is bound to a unit, those of that unit.
func (c *center) pageOfFigures(ctx context.Context, q board.HistoryQuery) (board.History, error) {
	switch w := access.Of(ctx); {
	case w.Unit != "" && (q.Unit == "" || q.Unit == w.Unit) && w.May(access.ScopeBoard):
		q.Unit = w.Unit
	case w.Unit != "" || !w.May(access.ScopeFigures):
		return board.History{}, board.ErrForbidden
	}
	w := access.Of(ctx)
	today := q.Today && w.Unit == "" // who is bound to a unit sees no others, former ones neither
	req := figuresRequest{From: q.From, To: q.To, Service: q.Service, Unit: q.Unit}
	if today {
		req.Unit = "" // those that went into it
	}
	a, err := c.figures(ctx, req)
	out := board.History{Rows: a.Rows, Counted: a.Counted, Leaves: a.Leaves, Root: a.Root, Missing: a.Missing}
	if today && err == nil {
		out.Rows, out.Former = inUnitsOf(c.district(), a.Rows, q, c.now())
	}
	return out, err
}

// inUnitsOf puts rows of a period into the units of another day: the services as a whole stay as they are. Former are the
// names of the units that a unit stands for, where they are others.
func inUnitsOf(p *profile.Profile, rows []history.Row, q board.HistoryQuery, day time.Time) (out []history.Row, former map[string][]string) {
	type key struct{ service, unit string }
	named := make([]report.Row, len(rows))
	outages := map[key][]history.Outage{}
	for i, r := range rows {
		named[i] = report.Row{Row: r}
		if r.Unit == "" && q.Unit == "" {
			out = append(out, r)
		} else if r.Unit != "" {
			named[i].UnitName = unitName(p, r.Unit, q.To.Add(-time.Second)).VI
			outages[key{r.Service, r.Unit}] = r.Outages
		}
	}
	at := map[key]int{}
	former = map[string][]string{}
	for _, j := range report.Join(p, named, day) {
		if q.Unit != "" && j.Unit != q.Unit {
			continue
		}
		k := key{j.Service, j.Unit}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, history.Row{Service: j.Service, Unit: j.Unit, From: q.From, To: q.To})
			for _, u := range j.From {
				out[i].Outages = append(out[i].Outages, outages[key{j.Service, u}]...)
			}
		}
		out[i].Calendars = append(out[i].Calendars, history.Counted{Calendar: j.Calendar, Account: j.Account, Figures: j.Account.Figures()})
		for n, u := range j.From {
			if (u != j.Unit || len(j.From) > 1) && !slices.Contains(former[j.Unit], j.FromNames[n]) {
				former[j.Unit] = append(former[j.Unit], j.FromNames[n])
			}
		}
	}
	return out, former
}
