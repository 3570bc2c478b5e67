package board

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"egovmon/collector/intake"
)

// Bounds of what is kept in memory.
const (
	keepEntries  = 60      // of one check
	leastEntries = 10      // … when there are very many checks
	maxEntries   = 120_000 // of all checks together: some 80 MB at the most
)

// A Live keeps the latest results of every check in memory, with the gaps between them. The zero value is ready. Its
// methods may be called from several goroutines.
type Live struct {
	limit int // of entries; 0 means maxEntries

	mu       sync.Mutex
	machines map[string]map[string]*trail // by machine and check
	trails   int
	entries  int
	clock    int64 // counts batches, to find the trail that was quiet longest
}

// A trail is the end of what one check said, by time.
type trail struct {
	detail  Detail // without Entries
	entries []Entry
	touched int64
}

// Add takes what a batch says. Batches of one machine come in the order of the log.
func (l *Live) Add(a intake.Accepted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.machines == nil {
		l.machines = map[string]map[string]*trail{}
	}
	l.clock++
	for _, e := range a.Events {
		switch {
		case e.Observation != nil:
			l.resultLocked(a, e.Observation)
		case e.Range != nil:
			g := &Gap{Reason: e.Range.Reason, From: e.Range.From, To: e.Range.To, Slots: e.Range.Slots}
			if e.Range.Check != "*" {
				l.addLocked(l.machines[a.Machine][e.Range.Check], Entry{Gap: g})
				continue
			}
			// The slots of a stretch that is about every check are all checks' together.
			g.Slots = 0
			l.allLocked(a.Machine, func(*trail) Entry { return Entry{Gap: g} })
		case e.Plan != nil:
			has := map[string]bool{}
			for _, c := range e.Plan.Plan.Checks {
				has[c.ID] = true
			}
			l.allLocked(a.Machine, func(t *trail) Entry {
				what := MarkPlan
				if !has[t.detail.Check] {
					what = MarkRemoved
				}
				return Entry{Mark: &Mark{At: e.Plan.At, What: what, Plan: e.Plan.Plan.Version}}
			})
		case e.Begin != nil:
			l.allLocked(a.Machine, func(*trail) Entry { return Entry{Mark: &Mark{At: e.Begin.At, What: MarkBegin}} })
		case e.End != nil:
			l.allLocked(a.Machine, func(*trail) Entry { return Entry{Mark: &Mark{At: e.End.At, What: MarkEnd}} })
		}
	}
}

func (l *Live) resultLocked(a intake.Accepted, o *intake.Observation) {
	checks := l.machines[a.Machine]
	if checks == nil {
		checks = map[string]*trail{}
		l.machines[a.Machine] = checks
	}
	t := checks[o.Check]
	if t == nil {
		t = &trail{}
		checks[o.Check] = t
		l.trails++
	}
	t.detail = Detail{Machine: a.Machine, Unit: a.Unit, Check: o.Check, Service: o.Service, Kind: o.Kind, Every: o.Every}
	l.addLocked(t, Entry{Result: &Result{o.Result, o.Every, o.ClockUnproven}})
}

func (l *Live) allLocked(machine string, entry func(*trail) Entry) {
	for _, t := range l.machines[machine] {
		l.addLocked(t, entry(t))
	}
}

// addLocked puts an entry in its place by time, which is nearly always the end, and lets the oldest go.
func (l *Live) addLocked(t *trail, e Entry) {
	if t == nil { // a stretch of a check that has no result yet
		return
	}
	t.touched = l.clock
	i := len(t.entries)
	for i > 0 && t.entries[i-1].at().After(e.at()) {
		i--
	}
	t.entries = slices.Insert(t.entries, i, e)
	l.entries++
	most := cmp.Or(l.limit, maxEntries)
	keep := min(keepEntries, max(leastEntries, most/l.trails))
	if n := len(t.entries) - keep; n > 0 {
		t.entries = slices.Delete(t.entries, 0, n)
		l.entries -= n
	}
	for l.entries > most {
		l.forgetLocked()
	}
}

// forgetLocked drops the trail that was quiet longest.
func (l *Live) forgetLocked() {
	var machine, id string
	oldest := l.clock + 1
	for m, checks := range l.machines {
		for c, t := range checks {
			if t.touched < oldest {
				machine, id, oldest = m, c, t.touched
			}
		}
	}
	t := l.machines[machine][id]
	if t == nil {
		l.entries = 0
		return
	}
	l.entries -= len(t.entries)
	l.trails--
	delete(l.machines[machine], id)
	if len(l.machines[machine]) == 0 {
		delete(l.machines, machine)
	}
}

// Detail returns what one check of one machine said, newest first, and false when nothing of it is kept.
func (l *Live) Detail(machine, check string) (Detail, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.machines[machine][check]
	if t == nil {
		return Detail{}, false
	}
	d := t.detail
	d.Entries = slices.Clone(t.entries)
	slices.Reverse(d.Entries)
	return d, true
}

// Last returns the latest result of one check of one machine, and false when there is none.
func (l *Live) Last(machine, check string) (Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.machines[machine][check]
	if t == nil {
		return Result{}, false
	}
	for _, e := range slices.Backward(t.entries) {
		if e.Result != nil {
			return *e.Result, true
		}
	}
	return Result{}, false
}

// Checks lists the checks of a machine of which something is kept, sorted.
func (l *Live) Checks(machine string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for id := range l.machines[machine] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// withGaps returns entries, newest first, with a Gap of no reason wherever a run is missing and nothing says why.
func withGaps(entries []Entry) []Entry {
	out := make([]Entry, 0, len(entries))
	var next time.Time // where the entry after (in time) begins
	for _, e := range entries {
		if r := e.Result; r != nil && !next.IsZero() && r.Every > 0 {
			// Slots lie on a grid; half an interval more than one is no rounding.
			if end := r.Slot.Add(r.Every); next.Sub(end) > r.Every/2 {
				out = append(out, Entry{Gap: &Gap{From: end, To: next, Slots: int(next.Sub(end) / r.Every)}})
			}
		}
		out = append(out, e)
		if e.Mark == nil {
			next = e.at()
		}
	}
	return out
}
