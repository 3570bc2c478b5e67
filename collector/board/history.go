package board

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/words"
	"egovmon/collector/history"
	"egovmon/collector/profile"
)

// ErrForbidden is the error of who asks for what it may not see.
var ErrForbidden = errors.New("not for this account")

// A HistoryQuery asks for the figures of a stretch of time.
type HistoryQuery struct {
	From, To time.Time // [From, To)
	Service  string    // "" is every service
	Unit     string    // "" is every unit and the services as a whole
	Today    bool      // old history in the units of today, not of the period
}

// A History is what the log says of a stretch.
type History struct {
	Rows    []history.Row
	Counted time.Time // later seconds had not yet passed
	Leaves  int64     // size of the log that the figures follow from
	Root    string    // beginning of its root hash
	Missing []int     // years of which the calendar is missing
	// Former are the names of the units of the period that make up a unit of today; only where they are others.
	Former map[string][]string
}

// longestHistory is the most that one page is about.
const longestHistory = 5 * 366 * 24 * time.Hour

// A historyPage is the accounts of a period.
type historyPage struct {
	Presets  []nameLink
	From, To string // YYYY-MM-DD, both inclusive
	Services []option
	Units    []option
	Eras     []option // in whose units: those of the period, or of today
	Wrong    string
	Title    string
	Notes    []string
	Rows     []historyRow
	Silent   string // services of which no second is known
	Outages  []outageItem
	More     string // outages that are not shown
	Proof    string
	JSON     string // address of the same for programs
}

type historyRow struct {
	Name, Link string
	Whole      bool // the service itself, not one unit
	Former     string
	Calendars  []historyCell
	Outages    int
}

type historyCell struct {
	Calendar, Interval, Coverage, Down, Unknown, Excluded, Also string
}

type outageItem struct{ What, From, To, Long, Cause string }

// mostOutages is how many outages a page lists.
const mostOutages = 200

// historyPage answers the figures of a period: of every service, or of one with its units and outages.
func (h *handler) historyPage(w http.ResponseWriter, r *http.Request) {
	l := language(w, r)
	v, err := h.current(r.Context())
	if err != nil {
		h.failed(w, r, http.StatusServiceUnavailable, err)
		return
	}
	get := r.URL.Query().Get
	q := HistoryQuery{Service: get("service"), Unit: get("unit"), Today: get("units") == "today"}
	p := historyPage{Presets: presets(l, v.Now), From: get("from"), To: get("to")}
	if p.From == "" && p.To == "" { // the month so far
		from, _, _ := profile.ParsePeriod(v.Now.In(profile.Zone()).Format("2006-01"), true)
		p.From, p.To = profile.DateOf(from).String(), profile.DateOf(v.Now).String()
	}
	p.Services = []option{{"", words.Say(l, "history.all"), q.Service == ""}}
	for _, s := range v.Services {
		p.Services = append(p.Services, option{s.ID, s.Name.in(l), s.ID == q.Service})
	}
	p.Units = []option{{"", words.Say(l, "users.everywhere"), q.Unit == ""}}
	for _, u := range v.Units {
		p.Units = append(p.Units, option{u.ID, u.Name.in(l), u.ID == q.Unit})
	}
	p.Eras = []option{{"", words.Say(l, "history.era.period"), !q.Today}, {"today", words.Say(l, "history.era.today"), q.Today}}
	status := http.StatusOK
	q.From, q.To, err = profile.ParseDays(p.From, p.To)
	if err == nil && q.To.Sub(q.From) > longestHistory {
		err = errors.New(words.Say(l, "history.long"))
	}
	var a History
	if err == nil {
		a, err = h.history(r.Context(), q)
	}
	switch {
	case errors.Is(err, ErrForbidden):
		h.say(w, r, http.StatusForbidden, false, "history.forbidden")
		return
	case err != nil:
		status, p.Wrong = http.StatusUnprocessableEntity, words.Say(l, "history.wrong", err.Error())
	default:
		p.JSON = "/api/history?" + r.URL.RawQuery
		p.fill(newGrid(l, v), v, q, a)
	}
	h.write(w, r, status, frame{Title: words.Say(l, "history.title"), Name: "history", District: v.District.in(l), Lang: l, Still: true, Body: p})
}

// presets are the periods that people ask for: months and quarters as reports have them (NĐ 09/2019), and the year.
func presets(l words.Lang, now time.Time) []nameLink {
	day := now.In(profile.Zone())
	var out []nameLink
	add := func(key, period string, args ...any) {
		from, to, err := profile.ParsePeriod(period, false)
		if err != nil || !from.Before(now) {
			return
		}
		out = append(out, nameLink{words.Say(l, key, args...), "/history?" + url.Values{"from": {profile.DateOf(from).String()}, "to": {(profile.DateOf(to) - 1).String()}}.Encode()})
	}
	month := day.AddDate(0, 0, 1-day.Day())
	if day.Day() >= 15 {
		month = month.AddDate(0, 1, 0)
	}
	add("history.month", month.Format("2006-01"), int(month.Month()), month.Year())
	before := month.AddDate(0, -1, 0)
	add("history.month", before.Format("2006-01"), int(before.Month()), before.Year())
	quarter, year := (int(month.Month())+2)/3, month.Year()
	for range 2 {
		add("history.quarter", fmt.Sprintf("%d-Q%d", year, quarter), quarter, year)
		if quarter--; quarter == 0 {
			quarter, year = 4, year-1
		}
	}
	add("history.year", fmt.Sprint(month.Year()), month.Year())
	add("history.year", fmt.Sprint(month.Year()-1), month.Year()-1)
	return out
}

// fill words the answer.
func (p *historyPage) fill(g grid, v View, q HistoryQuery, a History) {
	p.Title = words.Say(g.l, "figures.title", words.DateTime(g.l, q.From), words.DateTime(g.l, q.To))
	if a.Counted.Before(q.To) {
		p.Notes = append(p.Notes, words.Say(g.l, "figures.counted", words.DateTime(g.l, a.Counted)))
	}
	if len(a.Missing) > 0 {
		p.Notes = append(p.Notes, words.Say(g.l, "figures.calendar", strings.Trim(fmt.Sprint(a.Missing), "[]")))
	}
	p.Proof = words.Say(g.l, "figures.log", "votes/1", a.Leaves, a.Root)
	names := map[string]string{}
	for _, s := range v.Services {
		names[s.ID] = s.Name.in(g.l)
	}
	var silent []string
	var gone []history.Outage
	from := map[int]string{} // of gone: what was down
	for _, r := range a.Rows {
		if q.Service == "" && r.Unit != q.Unit {
			continue
		}
		name := or(names[r.Service], r.Service)
		if !known(r) {
			if r.Unit == q.Unit {
				silent = append(silent, name)
			}
			continue
		}
		row := historyRow{Name: name, Whole: r.Unit == "", Outages: len(r.Outages)}
		if q.Service == "" {
			row.Link = "/history?" + url.Values{"from": {p.From}, "to": {p.To}, "service": {r.Service}, "unit": {q.Unit}, "units": {era(q)}}.Encode()
		} else if r.Unit != "" {
			row.Name = or(g.unit[r.Unit], r.Unit)
		}
		if former := a.Former[r.Unit]; r.Unit != "" && len(former) > 0 {
			row.Former = words.Say(g.l, "history.former", strings.Join(former, ", "))
		}
		for _, c := range r.Calendars {
			row.Calendars = append(row.Calendars, counted(g.l, c))
		}
		p.Rows = append(p.Rows, row)
		if r.Unit == q.Unit {
			for _, o := range r.Outages {
				from[len(gone)] = name
				gone = append(gone, o)
			}
		}
	}
	p.Silent = strings.Join(silent, ", ")
	p.outages(g, gone, from)
}

// era is how an address says in whose units the figures are.
func era(q HistoryQuery) string {
	if q.Today {
		return "today"
	}
	return ""
}

// outages lists what was down, the latest first.
func (p *historyPage) outages(g grid, gone []history.Outage, of map[int]string) {
	order := make([]int, len(gone))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(gone[j].From.Compare(gone[i].From), strings.Compare(of[i], of[j]))
	})
	for n, i := range order {
		if n == mostOutages {
			p.More = words.Say(g.l, "history.more", len(order)-n)
			break
		}
		o := gone[i]
		item := outageItem{What: of[i], From: words.DateTime(g.l, o.From), To: words.DateTime(g.l, o.To), Long: words.Duration(g.l, o.To.Sub(o.From)), Cause: words.Reason(g.l, o.Reason).Title}
		if o.Ongoing {
			item.To = words.Say(g.l, "history.ongoing")
		}
		p.Outages = append(p.Outages, item)
	}
}

// known reports whether any second of a row is.
func known(r history.Row) bool {
	return slices.ContainsFunc(r.Calendars, func(c history.Counted) bool {
		return c.Account.Up+c.Account.Degraded+c.Account.Down+c.Account.Excluded > 0
	})
}

func counted(l words.Lang, c history.Counted) historyCell {
	out := historyCell{Calendar: words.Say(l, "history.calendar."+c.Calendar), Interval: words.Interval(l, c.Figures.Lower, c.Figures.Upper), Coverage: words.Share(l, c.Figures.Coverage),
		Down: words.Clocked(c.Account.Down), Unknown: words.Clocked(c.Account.Unknown)}
	if c.Account.Excluded > 0 {
		out.Excluded = words.Clocked(c.Account.Excluded)
	}
	if x := c.Afterwards; x != nil {
		out.Also = words.Say(l, "history.afterwards", words.Interval(l, x.Figures.Lower, x.Figures.Upper), words.Clocked(x.Account.Excluded))
	}
	return out
}

// apiHistory answers the same for programs.
func (h *handler) apiHistory(w http.ResponseWriter, r *http.Request) {
	get := r.URL.Query().Get
	from, to, err := profile.ParseDays(get("from"), get("to"))
	if err == nil && to.Sub(from) > longestHistory {
		err = errors.New(words.Say(words.EN, "history.long"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := h.history(r.Context(), HistoryQuery{From: from, To: to, Service: get("service"), Unit: get("unit"), Today: get("units") == "today"})
	switch {
	case errors.Is(err, ErrForbidden):
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		h.json(w, map[string]any{"rule": "votes/1", "from": from, "to": to, "counted_to": a.Counted, "log_leaves": a.Leaves, "log_root": a.Root, "calendar_years_missing": a.Missing, "rows": a.Rows})
	}
}
