package history

import (
	"cmp"
	"slices"
	"time"
)

// DefaultGap is how many unknown seconds may lie within one outage where a query does not say.
const DefaultGap = 300

// A Query asks for figures.
type Query struct {
	From, To time.Time // [From, To)
	Now      time.Time // later seconds are not counted; the zero Time counts all of them
	Service  string    // only this one; "" is every service
	Unit     string    // only this one, beside no row of the service as a whole; "" is every unit and the whole
	Machines bool      // also a row for each deciding check on each machine
	Gap      int64     // see [Outages]; 0 is DefaultGap, a negative one joins nothing
}

// Span returns the seconds that the query is about.
func (q Query) Span() Span {
	s := Span{q.From.Unix(), q.To.Unix()}
	if !q.Now.IsZero() {
		s.To = min(s.To, q.Now.Unix())
	}
	s.To = max(s.To, s.From)
	return s
}

// gap returns how many unknown seconds an outage may span.
func (q Query) gap() int64 {
	if q.Gap == 0 {
		return DefaultGap
	}
	return max(0, q.Gap)
}

// A Row holds the figures of a service, of a service as one unit has it, or of one check on one machine.
type Row struct {
	Service   string    `json:"service"`
	Unit      string    `json:"unit,omitempty"` // "" is the service as a whole
	Machine   string    `json:"machine,omitempty"`
	Check     string    `json:"check,omitempty"`
	From      time.Time `json:"from"` // as asked for; what the service's validity leaves of it is what accounts sum up to
	To        time.Time `json:"to"`
	Calendars []Counted `json:"calendars"` // 24x7, and service_hours where the service has any
	Outages   []Outage  `json:"outages"`   // around the clock, by time
}

// A Counted is an account in one calendar. What was announced in time is excluded from it.
type Counted struct {
	Calendar string  `json:"calendar"`
	Account  Account `json:"account"`
	Figures  Figures `json:"figures"`
	// Afterwards is how it would be with what was excluded only afterwards left out, too. Nil where nothing was.
	Afterwards *Recount `json:"afterwards,omitempty"`
}

// A Recount is an account and its figures under other exclusions.
type Recount struct {
	Account Account `json:"account"`
	Figures Figures `json:"figures"`
}

// Calendar returns the row's account in a calendar.
func (r Row) Calendar(name string) (Counted, bool) {
	i := slices.IndexFunc(r.Calendars, func(c Counted) bool { return c.Calendar == name })
	if i < 0 {
		return Counted{}, false
	}
	return r.Calendars[i], true
}

// Evaluate returns the rows of a query over what machines measured: by service in the order of the catalogue; first the
// service as a whole, then its units, then its checks by machine. A service that is not valid in the stretch has none.
func Evaluate(cat Catalogue, machines map[string]*Machine, q Query) []Row {
	bench := NewBench(machines, q.Span()).With(cat)
	var all []*line
	at := map[key]*line{}
	place := map[string]int{} // of a service in the catalogue
	for _, svc := range cat.Services {
		if q.Service != "" && svc.ID != q.Service {
			continue
		}
		if _, ok := place[svc.ID]; !ok {
			place[svc.ID] = len(place)
		}
		for _, l := range bench.lines(svc, q) {
			known, ok := at[l.key]
			if !ok {
				at[l.key], known = l, l
				all = append(all, l)
			} else {
				known.runs = append(known.runs, l.runs...)
			}
			known.count(svc)
			known.counted = len(known.runs)
		}
	}
	slices.SortStableFunc(all, func(a, b *line) int { return cmp.Compare(place[a.service], place[b.service]) })
	rows := make([]Row, len(all))
	for i, l := range all {
		rows[i] = l.row(q)
	}
	return rows
}

// A key names a row.
type key struct{ service, unit, machine, check string }

// A line is a row in the making.
type line struct {
	key
	runs       []Run
	counted    int // of runs
	inTime     map[string]*Account
	afterwards map[string]*Account
	late       bool // something was excluded afterwards
}

// lines returns what the rows of one service are counted from, each over the same seconds.
func (b *Bench) lines(svc Service, q Query) []*line {
	s := q.Span().Meet(open(svc.Valid))
	if s.Seconds() == 0 {
		return nil
	}
	j := b.Judge(svc, s)
	var out []*line
	if q.Unit == "" {
		out = append(out, &line{key: key{service: svc.ID}, runs: j.Runs})
	}
	for _, u := range j.Units {
		if q.Unit == "" || q.Unit == u.ID {
			out = append(out, &line{key: key{service: svc.ID, unit: u.ID}, runs: u.Runs})
		}
	}
	if !q.Machines || svc.Derived != nil || svc.Attested {
		return out
	}
	seen := map[key]bool{}
	for _, w := range svc.Watchers {
		for _, id := range svc.Deciding {
			k := key{svc.ID, w.Unit, w.Machine, id}
			if seen[k] || q.Unit != "" && q.Unit != w.Unit {
				continue
			}
			seen[k] = true
			m := b.machines[w.Machine]
			if m == nil {
				m = &Machine{Name: w.Machine}
			}
			out = append(out, &line{key: k, runs: m.Observed(id, s)})
		}
	}
	return out
}

// count adds the runs that were not counted yet to the accounts.
func (l *line) count(svc Service) {
	if l.inTime == nil {
		l.inTime, l.afterwards = map[string]*Account{}, map[string]*Account{}
	}
	runs := l.runs[l.counted:]
	inTime, every := svc.excluded(l.unit)
	if !slices.Equal(inTime, every) {
		l.late = l.late || slices.ContainsFunc(every, func(e Span) bool {
			return len(Clip(runs, e)) > 0
		})
	}
	tell := func(calendar string, hours []Span) {
		if l.inTime[calendar] == nil {
			l.inTime[calendar], l.afterwards[calendar] = &Account{}, &Account{}
		}
		l.inTime[calendar].Add(Count(runs, hours, inTime))
		l.afterwards[calendar].Add(Count(runs, hours, every))
	}
	tell(Hours24x7, nil)
	if hours, ok := svc.hours(l.unit); ok {
		tell(ServiceHours, Join(hours...))
	}
}

// row returns the finished row.
func (l *line) row(q Query) Row {
	r := Row{Service: l.service, Unit: l.unit, Machine: l.machine, Check: l.check, From: q.From.UTC(), To: q.To.UTC()}
	for _, calendar := range []string{Hours24x7, ServiceHours} {
		a, ok := l.inTime[calendar]
		if !ok {
			continue
		}
		c := Counted{Calendar: calendar, Account: *a, Figures: a.Figures()}
		if l.late {
			after := *l.afterwards[calendar]
			c.Afterwards = &Recount{after, after.Figures()}
		}
		r.Calendars = append(r.Calendars, c)
	}
	slices.SortStableFunc(l.runs, func(a, b Run) int { return cmp.Compare(a.From, b.From) })
	r.Outages = append([]Outage{}, Outages(l.runs, q.gap())...) // a list in JSON, also of none
	return r
}
