package history

import (
	"cmp"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// What follows is rule votes/1 and the accounts written as plainly as can be: one list after the other, maps where something is
// counted, everything judged as often as it is asked for. It is what the quick way is held against, and nothing of it is shared
// with that but the types, [Run] and what puts runs together.

type plainVote struct {
	Span
	reason  check.Reason // of the plainVote, or why there is none
	carrier string
	planned bool // a plan asks for a deciding check
	votes   bool
}

type plainBench struct {
	machines map[string]*Machine
	proofs   map[plainProof][]Run
	span     Span

	catalogue Catalogue // what derived services rest on; see With
}

type plainProof struct {
	machine string
	path    plan.Path
}

func newPlainBench(machines map[string]*Machine, s Span) *plainBench {
	return &plainBench{machines: machines, proofs: map[plainProof][]Run{}, span: s}
}

func (b *plainBench) With(cat Catalogue) *plainBench {
	b.catalogue = cat
	return b
}

func (b *plainBench) judge(svc Service, s Span, depth int) Judgement {
	s = s.Meet(b.span)
	switch {
	case s.Seconds() == 0:
		return Judgement{}
	case svc.Derived != nil:
		return b.judgeDerived(svc, s, depth)
	case svc.Attested:
		return plainWords(svc, s)
	}
	var names []string
	byUnit := map[string][][]plainVote{}
	for _, w := range svc.Watchers {
		if _, ok := byUnit[w.Unit]; !ok {
			names = append(names, w.Unit)
		}
		byUnit[w.Unit] = append(byUnit[w.Unit], b.watch(svc, w, s))
	}
	units := make([][]plainVote, len(names))
	j := Judgement{Units: make([]Unit, len(names))}
	for i, name := range names {
		units[i] = plainUnite(byUnit[name], s)
		j.Units[i] = Unit{ID: name}
		for _, v := range units[i] {
			j.Units[i].Runs = Append(j.Units[i].Runs, Run{v.Span, v.reason})
		}
	}
	j.Runs = plainDecide(units, svc.Quorum, s)
	return j
}

func (b *plainBench) watch(svc Service, w Watcher, s Span) []plainVote {
	var out []plainVote
	at := s.From
	idle := func(to int64) {
		if at < to {
			out = append(out, plainVote{Span: Span{at, to}, reason: check.NotPlanned, carrier: w.Carrier})
		}
	}
	m := b.machines[w.Machine]
	if m != nil {
		for _, e := range m.Epochs {
			in := e.Span.Meet(open(w.Valid)).Meet(s)
			if in.Seconds() == 0 {
				continue
			}
			idle(in.From)
			out = b.epoch(out, svc, w, m, e, in)
			at = in.To
		}
	}
	idle(s.To)
	return out
}

func (b *plainBench) epoch(out []plainVote, svc Service, w Watcher, m *Machine, e Epoch, s Span) []plainVote {
	var lists [][]Run // those of the deciding checks, then the proofs
	var paths []plan.Path
	planned := false
	for _, id := range svc.Deciding {
		c, ok := e.check(id)
		if !ok {
			lists = append(lists, []Run{{s, w.lacking(id)}})
			continue
		}
		planned = true
		lists = append(lists, Fill(m.Runs[id], s, check.Silent))
		if c.Path != plan.LAN && !lineKind(c.Kind) && !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	deciding := len(lists)
	for _, p := range paths {
		key := plainProof{m.Name, p}
		if _, ok := b.proofs[key]; !ok {
			b.proofs[key] = plainProven(m, p, b.span)
		}
		lists = append(lists, Clip(b.proofs[key], s))
	}
	plainSweep(s, lists, func(r Run) Span { return r.Span }, func(in Span, at []Run) {
		v := plainVote{Span: in, reason: check.NotPlanned, carrier: w.Carrier, planned: planned}
		line := true
		for i, r := range at {
			switch {
			case r.Reason == check.NoUplink:
				line = false
			case i >= deciding:
				continue
			}
			if i < deciding && (i == 0 || plainWorse(r.State(), v.reason.State())) {
				v.reason = r.Reason
			}
		}
		v.votes = line && v.reason.State() != check.Unknown
		if !line && v.reason.State() != check.Unknown {
			v.reason = check.NoUplink
		}
		out = append(out, v)
	})
	return out
}

func plainGravity(s check.State) int {
	switch s {
	case check.Up:
		return 0
	case check.Degraded:
		return 1
	case check.Unknown:
		return 2
	default:
		return 3
	}
}

func plainWorse(a, b check.State) bool { return plainGravity(a) > plainGravity(b) }

func plainTelling(r check.Reason) int {
	switch r {
	case check.NotPlanned:
		return 0
	case check.Silent:
		return 1
	default:
		return 2
	}
}

func plainUnite(machines [][]plainVote, s Span) []plainVote {
	if len(machines) == 1 {
		return machines[0]
	}
	var out []plainVote
	plainSweep(s, machines, func(v plainVote) Span { return v.Span }, func(in Span, at []plainVote) {
		u := at[0]
		planned := u.planned
		for _, v := range at[1:] {
			planned = planned || v.planned
			switch {
			case v.votes != u.votes:
				if v.votes {
					u = v
				}
			case v.votes && plainWorse(u.reason.State(), v.reason.State()),
				!v.votes && plainTelling(v.reason) > plainTelling(u.reason):
				u = v
			}
		}
		u.Span, u.planned = in, planned
		out = append(out, u)
	})
	return out
}

func plainSweep[T any](s Span, lists [][]T, span func(T) Span, f func(Span, []T)) {
	if len(lists) == 0 {
		return
	}
	next := make([]int, len(lists))
	now := make([]T, len(lists))
	for at := s.From; at < s.To; {
		end := s.To
		for i, l := range lists {
			for span(l[next[i]]).To <= at {
				next[i]++
			}
			now[i] = l[next[i]]
			end = min(end, span(now[i]).To)
		}
		f(Span{at, end}, now)
		at = end
	}
}

type plainTally struct {
	units    map[check.State]int
	reasons  map[check.Reason]int // of votes, and of units without one
	carriers map[string]int
	planned  int
}

func (t *plainTally) count(v plainVote, n int) {
	if v.planned {
		t.planned += n
	}
	plainBump(t.reasons, v.reason, n)
	if v.votes {
		t.units[v.reason.State()] += n
		plainBump(t.carriers, v.carrier, n)
	}
}

func plainBump[K comparable](m map[K]int, k K, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

func (t *plainTally) result(q Quorum) check.Reason {
	need, carriers := q.Units, q.Carriers
	if need <= 0 {
		need = max(1, min(2, t.planned))
	}
	good := t.units[check.Up] + t.units[check.Degraded]
	voting := good + t.units[check.Down]
	switch {
	case voting < need || len(t.carriers) < max(1, carriers):
		return t.most(check.Unknown)
	case 2*good < voting:
		return t.most(check.Down)
	case 2*t.units[check.Degraded] >= good:
		return t.most(check.Degraded)
	default:
		return check.OK
	}
}

func (t *plainTally) most(s check.State) check.Reason {
	best, n := check.NotPlanned, 0
	for r, k := range t.reasons {
		if r.State() == s && (k > n || k == n && r < best) {
			best, n = r, k
		}
	}
	return best
}

func plainDecide(units [][]plainVote, q Quorum, s Span) []Run {
	type change struct {
		at      int64
		unit, k int
	}
	var changes []change
	for u, votes := range units {
		for k, v := range votes {
			changes = append(changes, change{v.From, u, k})
		}
	}
	if len(changes) == 0 {
		return []Run{{s, check.NotPlanned}}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	t := plainTally{map[check.State]int{}, map[check.Reason]int{}, map[string]int{}, 0}
	var out []Run
	for i := 0; i < len(changes); {
		at := changes[i].at
		for ; i < len(changes) && changes[i].at == at; i++ {
			c := changes[i]
			if c.k > 0 {
				t.count(units[c.unit][c.k-1], -1)
			}
			t.count(units[c.unit][c.k], 1)
		}
		end := s.To
		if i < len(changes) {
			end = changes[i].at
		}
		out = Append(out, Run{Span{at, end}, t.result(q)})
	}
	return out
}

func plainWords(svc Service, s Span) Judgement {
	var j Judgement
	var votes [][]plainVote
	units := svc.units()
	for _, u := range units {
		runs := confirmed(svc.Words, u, s)
		j.Units = append(j.Units, Unit{ID: u, Runs: runs})
		list := make([]plainVote, len(runs))
		for i, r := range runs {
			list[i] = plainVote{Span: r.Span, reason: r.Reason, planned: true, votes: r.State().Known()}
		}
		votes = append(votes, list)
	}
	if len(units) == 0 {
		j.Runs = confirmed(svc.Words, "", s)
		return j
	}
	j.Runs = plainDecide(votes, Quorum{Units: svc.Quorum.Units}, s)
	return j
}

func (b *plainBench) judgeDerived(svc Service, s Span, depth int) Judgement {
	var j Judgement
	for _, u := range svc.units() {
		j.Units = append(j.Units, Unit{ID: u, Runs: b.derive(svc.Derived, u, s, depth)})
	}
	j.Runs = b.derive(svc.Derived, "", s, depth)
	return j
}

func (b *plainBench) derive(e *Expr, unit string, s Span, depth int) []Run {
	lists := make([][]Run, len(e.Of))
	for i, o := range e.Of {
		switch {
		case depth >= maxDepth:
			lists[i] = []Run{{s, check.NotPlanned}}
		case o.Expr != nil:
			lists[i] = b.derive(o.Expr, unit, s, depth+1)
		default:
			lists[i] = b.state(o, unit, s, depth+1)
		}
	}
	var out []Run
	reasons := make([]check.Reason, len(lists))
	plainSweep(s, lists, func(r Run) Span { return r.Span }, func(in Span, at []Run) {
		for i, r := range at {
			reasons[i] = r.Reason
		}
		out = Append(out, Run{in, e.reason(reasons)})
	})
	return Fill(out, s, check.NotPlanned)
}

func (b *plainBench) state(o Operand, unit string, s Span, depth int) []Run {
	var runs []Run
	for _, svc := range b.catalogue.Services {
		in := s.Meet(open(svc.Valid))
		if svc.ID != o.Service || in.Seconds() == 0 {
			continue
		}
		if o.Check != "" {
			svc.Deciding, svc.Derived, svc.Words, svc.Attested = []string{o.Check}, nil, nil, false
		}
		j := b.judge(svc, in, depth)
		of := j.Runs
		if i := slices.IndexFunc(j.Units, func(u Unit) bool { return u.ID == unit }); unit != "" && i >= 0 {
			of = j.Units[i].Runs
		} else if unit != "" && !svc.Shared && len(j.Units) > 0 {
			of = nil // others have it; how this unit does, nobody says
		}
		runs = append(runs, of...)
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return int(a.From - b.From) })
	return Fill(runs, s, check.NotPlanned)
}

type plainWindow struct {
	spans []Span
	next  int
}

func (w *plainWindow) at(t, until int64) (in bool, end int64) {
	for w.next < len(w.spans) && w.spans[w.next].To <= t {
		w.next++
	}
	if w.next == len(w.spans) {
		return false, until
	}
	s := w.spans[w.next]
	if s.From > t {
		return false, min(until, s.From)
	}
	return true, min(until, s.To)
}

func plainCount(runs []Run, hours, excluded []Span) Account {
	var a Account
	cal, out := plainWindow{spans: hours}, plainWindow{spans: excluded}
	for _, r := range runs {
		for t := r.From; t < r.To; {
			counts, end := true, r.To
			if hours != nil {
				counts, end = cal.at(t, end)
			}
			gone, end := out.at(t, end)
			switch {
			case !counts:
			case gone:
				a.Excluded += end - t
			default:
				a.put(r.Reason, end-t)
			}
			t = end
		}
	}
	return a
}

func plainOutages(runs []Run, gap int64) []Outage {
	var out []Outage
	var spans map[check.Reason]int64
	var order []check.Reason
	joins := false // nothing but unknown since the last second of down
	finish := func() {
		if len(out) == 0 {
			return
		}
		o := &out[len(out)-1]
		for _, r := range order {
			if spans[r] > spans[o.Reason] {
				o.Reason = r
			}
		}
	}
	for _, r := range runs {
		switch {
		case serves(r.State()):
			joins = false
			continue
		case r.State() == check.Unknown:
			continue
		}
		if n := len(out); !joins || n == 0 || r.From-out[n-1].To.Unix() > gap {
			finish()
			out = append(out, Outage{From: time.Unix(r.From, 0).UTC(), Reason: r.Reason})
			spans, order = map[check.Reason]int64{}, nil
		}
		o := &out[len(out)-1]
		o.To = time.Unix(r.To, 0).UTC()
		o.Down += r.Seconds()
		if _, ok := spans[r.Reason]; !ok {
			order = append(order, r.Reason)
		}
		spans[r.Reason] += r.Seconds()
		joins = true
	}
	finish()
	if n := len(out); n > 0 && joins {
		end := runs[len(runs)-1].To
		out[n-1].Ongoing = end-out[n-1].To.Unix() <= gap
	}
	return out
}

func plainEvaluate(cat Catalogue, machines map[string]*Machine, q Query) []Row {
	bench := newPlainBench(machines, q.Span()).With(cat)
	var all []*plainLine
	at := map[key]*plainLine{}
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
	slices.SortStableFunc(all, func(a, b *plainLine) int { return cmp.Compare(place[a.service], place[b.service]) })
	rows := make([]Row, len(all))
	for i, l := range all {
		rows[i] = l.row(q)
	}
	return rows
}

type plainLine struct {
	key
	runs       []Run
	counted    int // of runs
	inTime     map[string]*Account
	afterwards map[string]*Account
	late       bool // something was excluded afterwards
}

func (b *plainBench) lines(svc Service, q Query) []*plainLine {
	s := q.Span().Meet(open(svc.Valid))
	if s.Seconds() == 0 {
		return nil
	}
	j := b.judge(svc, s, 0)
	var out []*plainLine
	if q.Unit == "" {
		out = append(out, &plainLine{key: key{service: svc.ID}, runs: j.Runs})
	}
	for _, u := range j.Units {
		if q.Unit == "" || q.Unit == u.ID {
			out = append(out, &plainLine{key: key{service: svc.ID, unit: u.ID}, runs: u.Runs})
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
			out = append(out, &plainLine{key: k, runs: m.Observed(id, s)})
		}
	}
	return out
}

func (l *plainLine) count(svc Service) {
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
		l.inTime[calendar].Add(plainCount(runs, hours, inTime))
		l.afterwards[calendar].Add(plainCount(runs, hours, every))
	}
	tell(Hours24x7, nil)
	if hours, ok := svc.hours(l.unit); ok {
		tell(ServiceHours, Join(hours...))
	}
}

func (l *plainLine) row(q Query) Row {
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
	r.Outages = append([]Outage{}, plainOutages(l.runs, q.gap())...) // a list in JSON, also of none
	return r
}

func plainProven(m *Machine, path plan.Path, s Span) []Run {
	if path == plan.LAN {
		return []Run{{s, check.OK}}
	}
	var good []Span
	for _, e := range m.Epochs {
		in := e.Span.Meet(s)
		if in.Seconds() == 0 {
			continue
		}
		if !e.anchored(path) {
			good = append(good, in)
			continue
		}
		for _, c := range e.Plan.Checks {
			if c.Path != path {
				continue
			}
			for _, r := range Clip(m.Runs[c.ID], in) {
				if serves(r.State()) {
					good = append(good, r.Span)
				}
			}
		}
	}
	var out []Run
	for _, g := range Join(good...) {
		out = Append(out, Run{g, check.OK})
	}
	return Fill(out, s, check.NoUplink)
}
