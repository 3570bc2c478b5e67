package index

import (
	"context"
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/collector/history"
)

// Availability returns the figures that a query asks for, as [history.Evaluate] gives them.
func (x *Index) Availability(ctx context.Context, cat history.Catalogue, q history.Query) ([]history.Row, error) {
	machines, err := x.Machines(ctx, watchers(cat, q), q.Span())
	if err != nil {
		return nil, err
	}
	return history.Evaluate(cat, machines, q), nil
}

// Counters returns how long the counters of the query's units stood how, in its order.
func (x *Index) Counters(ctx context.Context, cat history.Catalogue, q history.CounterQuery) ([]history.CounterSum, error) {
	q.Query.Service, q.Query.Unit = "", ""
	machines, err := x.Machines(ctx, watchers(cat, q.Query), q.Span())
	if err != nil {
		return nil, err
	}
	return history.Counters(cat, machines, q), nil
}

// watchers lists the machines that a query needs: those of the services that it asks for, and all of those that these follow from.
func watchers(cat history.Catalogue, q history.Query) []string {
	var names []string
	seen, under := map[string]bool{}, map[string]bool{}
	for range cat.Services { // one may follow from another that follows from a third
		before := len(under)
		for _, svc := range cat.Services {
			if svc.Derived != nil && (q.Service == "" || q.Service == svc.ID || under[svc.ID]) {
				for _, id := range svc.Derived.Services() {
					under[id] = true
				}
			}
		}
		if len(under) == before {
			break
		}
	}
	for _, svc := range cat.Services {
		if q.Service != "" && q.Service != svc.ID && !under[svc.ID] {
			continue
		}
		for _, w := range svc.Watchers {
			if (q.Unit == "" || q.Unit == w.Unit || under[svc.ID]) && !seen[w.Machine] {
				seen[w.Machine] = true
				names = append(names, w.Machine)
			}
		}
	}
	return names
}

// A Moment asks for the states at one instant.
type Moment struct {
	At time.Time
	// Back is how far the beginning of a state is looked for.
	Back time.Duration
	// Hold is how long a check's last result is shown for after the stretch that it speaks for, as long as nothing else
	// came: results are on their way for as long as an agent gathers them before it sends (its seal). It changes no figure;
	// with 0, the states are those of the accounts.
	Hold time.Duration
	// Bridge is how long a machine may not have measured, as when its agent or the machine starts anew, for a known state
	// to be the same one before and after: it then has lasted since before. It changes nothing but Since and Open; with 0,
	// a state begins after every such stretch.
	Bridge time.Duration
}

// before returns where the run before run i of one state is: the one next to it, or the one behind a stretch in which
// nobody measured for a short while; -1 when there is none of that state.
func (m Moment) before(runs []history.Run, i int) int {
	var gap int64
	for k := i - 1; k >= 0; k-- {
		switch r := runs[k]; {
		case r.State() == runs[i].State():
			return k
		case !runs[i].State().Known() || !r.Reason.Missed() && r.Reason != check.Silent:
			return -1
		default:
			if gap += r.Seconds(); gap > int64(m.Bridge/time.Second) {
				return -1
			}
		}
	}
	return -1
}

// A Standing is how a service is, as a whole or as one unit has it.
type Standing struct {
	Service string       `json:"service"`
	Unit    string       `json:"unit,omitempty"` // "" is the service as a whole
	State   check.State  `json:"-"`
	Reason  check.Reason `json:"reason"`
	Since   time.Time    `json:"since"` // it has had this state, whatever the reasons, since then
	Open    bool         `json:"open"`  // it had it before Since, too; the look back ended there
	Last    time.Time    `json:"last"`  // from when on the latest result of a deciding check speaks; zero without any
	Held    bool         `json:"held"`  // shown by Hold: no result speaks for At itself yet
}

// Now returns how the services of the catalogue stand: in its order, each first as a whole, then by unit. A service that
// is not valid at the moment is left out.
func (x *Index) Now(ctx context.Context, cat history.Catalogue, m Moment) ([]Standing, error) {
	at := m.At.Unix()
	s := history.Span{From: at - int64(m.Back/time.Second), To: at + 1}
	machines := map[string]*history.Machine{}
	strict := map[string]*history.Machine{}
	last := map[subject]int64{}
	err := x.view(ctx, func(tx *snapshot) error {
		for _, name := range watchers(cat, history.Query{}) {
			d, err := loadMachine(ctx, tx, name, s)
			if err != nil {
				return fmt.Errorf("machine %s: %w", name, err)
			}
			if len(d.journals) == 0 {
				continue
			}
			machines[name] = d.machine(s, int64(m.Hold/time.Second))
			strict[name] = machines[name]
			if m.Hold > 0 {
				strict[name] = d.machine(history.Span{From: at, To: at + 1}, 0)
			}
			for _, f := range d.journals {
				for id, t := range f.state.Tails {
					k := subject{name, id}
					last[k] = max(last[k], t.Last.From)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	bench, now := history.NewBench(machines, s).With(cat), history.NewBench(strict, history.Span{From: at, To: at + 1}).With(cat)
	var out []Standing
	for _, svc := range cat.Services {
		if svc.Valid.From > at || svc.Valid.To != 0 && svc.Valid.To <= at {
			continue
		}
		in := s
		in.From = max(in.From, svc.Valid.From)
		j, exact := bench.Judge(svc, in), now.Judge(svc, history.Span{From: at, To: at + 1})
		all := m.stand(svc.ID, "", j.Runs, exact.Runs)
		all.Open = all.Open && in.From > svc.Valid.From
		place := len(out)
		out = append(out, all)
		for i, u := range j.Units {
			one := m.stand(svc.ID, u.ID, u.Runs, exact.Units[i].Runs)
			one.Open = one.Open && in.From > svc.Valid.From
			one.Last = newest(svc, u.ID, last)
			if one.Last.After(out[place].Last) {
				out[place].Last = one.Last
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// stand describes the end of runs, and compares it with what holds without anything held.
func (m Moment) stand(service, unit string, runs, exact []history.Run) Standing {
	i := len(runs) - 1
	st := Standing{Service: service, Unit: unit, State: runs[i].State(), Reason: runs[i].Reason}
	for k := i; k >= 0; k = m.before(runs, k) {
		i = k
	}
	st.Since, st.Open = time.Unix(runs[i].From, 0).UTC(), i == 0
	st.Held = exact[len(exact)-1].Reason != st.Reason
	return st
}

// A subject is one check of one machine.
type subject struct{ machine, check string }

// newest returns from when on the latest result of a deciding check speaks, of all watchers of a unit.
func newest(svc history.Service, unit string, last map[subject]int64) (t time.Time) {
	for _, w := range svc.Watchers {
		for _, id := range svc.Deciding {
			if from, ok := last[subject{w.Machine, id}]; ok && w.Unit == unit && from > t.Unix() {
				t = time.Unix(from, 0).UTC()
			}
		}
	}
	return t
}
