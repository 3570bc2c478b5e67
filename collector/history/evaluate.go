package history

import (
	"cmp"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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
	of := make([][]*line, len(cat.Services))
	each(len(of), func(i int) {
		if svc := cat.Services[i]; q.Service == "" || svc.ID == q.Service {
			of[i] = bench.lines(svc, q)
			countLines(svc, of[i])
		}
	})
	var all []*line
	at := map[key]*line{}
	place := map[string]int{} // of a service in the catalogue
	for i, svc := range cat.Services {
		if q.Service != "" && svc.ID != q.Service {
			continue
		}
		if _, ok := place[svc.ID]; !ok {
			place[svc.ID] = len(place)
		}
		for _, l := range of[i] {
			if known, ok := at[l.key]; ok {
				known.add(l)
				continue
			}
			at[l.key] = l
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b *line) int { return cmp.Compare(place[a.service], place[b.service]) })
	rows := make([]Row, len(all))
	const bundle = 64
	each((len(all)+bundle-1)/bundle, func(i int) {
		for k := i * bundle; k < min(len(all), (i+1)*bundle); k++ {
			rows[k] = all[k].row(q)
		}
	})
	return rows
}

// each calls f for every number below n, several at a time.
func each(n int, f func(int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// A key names a row.
type key struct{ service, unit, machine, check string }

// A line is a row in the making.
type line struct {
	key
	runs  []Run
	told  [2]*told // of the calendars; nil of one that there is not
	late  bool     // something was excluded afterwards
	mixed bool     // its runs are of several stretches
}

// told is what a calendar comes to, without what was announced in time, and without all that was excluded.
type told struct{ inTime, afterwards Account }

// calendars names those of told.
var calendars = [2]string{Hours24x7, ServiceHours}

// add adds another stretch of the same row.
func (l *line) add(o *line) {
	l.runs, l.mixed = append(slices.Clip(l.runs), o.runs...), true
	l.late = l.late || o.late
	for i, t := range o.told {
		switch {
		case t == nil:
		case l.told[i] == nil:
			l.told[i] = t
		default:
			l.told[i].inTime.Add(t.inTime)
			l.told[i].afterwards.Add(t.afterwards)
		}
	}
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

// countLines counts what the lines of one service come to.
func countLines(svc Service, lines []*line) {
	common := svc.terms("") // of units that have neither hours nor exclusions of their own
	for _, l := range lines {
		t := common
		if _, own := svc.UnitHours[l.unit]; own || len(svc.Excluded) > 0 {
			t = svc.terms(l.unit)
		}
		l.count(t)
	}
}

// terms are the calendars that a unit is counted in, and what was excluded.
type terms struct {
	inTime, afterwards [2]calendar
	has                [2]bool
	same               bool // all that was excluded was announced in time
	every              []Span
}

func (s Service) terms(unit string) terms {
	inTime, every := s.excluded(unit)
	t := terms{same: slices.Equal(inTime, every), every: every}
	tell := func(i int, hours []Span) {
		t.has[i], t.inTime[i] = true, countIn(hours, inTime)
		if !t.same {
			t.afterwards[i] = countIn(hours, every)
		}
	}
	tell(0, nil)
	if hours, ok := s.hours(unit); ok {
		tell(1, Join(hours...))
	}
	return t
}

// count counts the line's runs.
func (l *line) count(t terms) {
	l.late = !t.same && slices.ContainsFunc(t.every, func(e Span) bool { return len(Clip(l.runs, e)) > 0 })
	for i, has := range t.has {
		if !has {
			continue
		}
		in := t.inTime[i].count(l.runs)
		after := in
		if t.same {
			after.Causes = maps.Clone(in.Causes)
		} else {
			after = t.afterwards[i].count(l.runs)
		}
		l.told[i] = &told{in, after}
	}
}

// row returns the finished row.
func (l *line) row(q Query) Row {
	r := Row{Service: l.service, Unit: l.unit, Machine: l.machine, Check: l.check, From: q.From.UTC(), To: q.To.UTC()}
	for i, calendar := range calendars {
		t := l.told[i]
		if t == nil {
			continue
		}
		c := Counted{Calendar: calendar, Account: t.inTime, Figures: t.inTime.Figures()}
		if l.late {
			c.Afterwards = &Recount{t.afterwards, t.afterwards.Figures()}
		}
		r.Calendars = append(r.Calendars, c)
	}
	if l.mixed {
		slices.SortStableFunc(l.runs, func(a, b Run) int { return cmp.Compare(a.From, b.From) })
	}
	r.Outages = append([]Outage{}, Outages(l.runs, q.gap())...) // a list in JSON, also of none
	return r
}
