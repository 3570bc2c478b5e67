package history

import (
	"maps"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A Batch is what one batch of a machine says, in the order of its journal.
type Batch struct {
	Leaf    int64 // index of its receipt in the log
	Machine string
	Unit    string // of the machine when the batch was received
	Journal string
	Events  []Event
}

// An Event is one thing that a batch says: exactly one field is set.
type Event struct {
	Observation *Observation
	Range       *check.Range
	Plan        *Plan
	Begin       *Begin
	End         *End
	Cloned      *Cloned
}

// An Observation is one result with the stretch that it speaks for.
type Observation struct {
	Check  string       // id in the plan
	Start  time.Time    // when it really ran; tells which of two plans asked for it
	From   time.Time    // max(slot, begin)
	To     time.Time    // slot + every
	Reason check.Reason // ClockUnproven, whatever was seen, where the agent's clock is not to be trusted
}

// A Plan is a plan applied on the machine at At.
type Plan struct {
	At      time.Time `json:"-"`
	SHA256  string    `json:"sha256"`
	Version int64     `json:"version"`
	Checks  []Check   `json:"checks"`
}

// A Check is what the accounts need to know of one check of a plan.
type Check struct {
	ID      string    `json:"id"`
	Service string    `json:"service,omitempty"`
	Kind    string    `json:"kind"`
	Path    plan.Path `json:"path"`
	Every   int64     `json:"every"` // seconds
}

// Begin says that the agent started, with a new journal or in the one it had.
type Begin struct {
	At       time.Time
	Previous string // the journal before this one; "" where there is none, or for a start within one journal
}

// End says that the agent stopped, or gave its journal up.
type End struct {
	At time.Time
	// Reason is that of what is not measured until the agent is back; "" where it goes on at once, in another journal.
	Reason check.Reason
}

// A Rest is a stretch of a slot of which no result speaks, and no range record either, since slots beside it were run.
type Rest struct {
	Check string
	Run
}

// Cloned says that from From on two machines have measured under one identity: none of it is known to be of either. To
// is when that ended; zero while it goes on.
type Cloned struct {
	From, To time.Time
}

// Park lays what is said of a check, sorted, under the stretches in which two machines were one.
func Park(runs []Run, cloned []Span, s Span) []Run {
	var over []Run
	for _, c := range Join(cloned...) {
		over = Append(over, Run{c.Meet(s), check.IdentityCloned})
	}
	return Over(runs, over)
}

// A Journal is what must be known of a journal to go on reading it. The zero value is one of which nothing was read.
type Journal struct {
	Begun bool  // a begin was read
	Begin int64 // the first begin
	Plan  string
	// Cut is the latest change of plan or end. A result that ran before it and is recorded after it ends there.
	Cut   int64
	Off   int64           // since when its machine is switched off in order, as its end says; 0 while it is not
	Tails map[string]Tail // by check
}

// A Tail is where the runs of one check end: the run that the next result may prolong.
type Tail struct {
	Open Run  // not yet among the closed runs
	Last Span // the stretch of the last result, within Open
}

// Observe takes the next result. It returns the runs that are now closed, all of them after every run that was closed
// before, and those that come late: they speak only where no closed run does.
func (j *Journal) Observe(o Observation) (closed, late []Run) {
	r := Run{Span{o.From.Unix(), o.To.Unix()}, o.Reason}
	if r.From < j.Cut {
		if o.Start.Unix() >= j.Cut {
			r.From = j.Cut
		} else {
			r.To = min(r.To, j.Cut)
		}
	}
	if r.To <= r.From {
		return nil, nil
	}
	if j.Tails == nil {
		j.Tails = map[string]Tail{}
	}
	t, known := j.Tails[o.Check]
	if known && r.From < t.Last.From {
		r.To = min(r.To, t.Open.From)
		return nil, Append(nil, r)
	}
	if known && t.Open.To > r.From {
		t.Open.To = r.From
	}
	if known && t.Open.To == r.From && t.Open.Reason == r.Reason {
		t.Open.To = r.To
	} else {
		closed = Append(nil, t.Open)
		t.Open = r
	}
	t.Last = r.Span
	j.Tails[o.Check] = t
	return closed, nil
}

// Start takes a begin. A start within the journal cuts nothing: the slot that is running may have its result already. Where
// it has none, its result speaks from the begin on, and what of the slot was before that is returned.
func (j *Journal) Start(at time.Time) []Rest {
	j.Off = 0
	if !j.Begun {
		j.Begun, j.Begin = true, at.Unix()
		return nil
	}
	return j.rest(func(t Tail) Run { // a whole slot that was missed has a range record
		r := Run{Span{t.Open.To, at.Unix()}, check.MissedStopped}
		if r.Seconds() > t.Last.Seconds() {
			r.To = r.From
		}
		return r
	})
}

// Apply takes a plan, and reports whether it is another one than before.
func (j *Journal) Apply(p Plan) bool {
	if p.SHA256 == j.Plan {
		return false
	}
	if j.Plan != "" {
		j.cut(p.At.Unix())
	}
	j.Plan = p.SHA256
	return true
}

// Stop takes an end. It returns what is left of the slots under way, and the slots after them: the agent may be back in the
// middle of these, and its results speak from then on. A result or a range record that speaks of these seconds holds. A
// machine that was switched off in order stays so until it is heard of again; an agent that was stopped is to be back soon.
func (j *Journal) Stop(e End) []Rest {
	at := e.At.Unix()
	var rest []Rest
	if e.Reason == check.MissedShutdown {
		j.Off = at
	}
	if e.Reason != "" {
		rest = j.rest(func(t Tail) Run {
			if t.Last.From >= at || at >= t.Last.To {
				return Run{}
			}
			return Run{Span{at, t.Last.To + t.Last.Seconds()}, e.Reason}
		})
	}
	j.cut(at)
	return rest
}

// rest returns what of gives for each check, in order of the checks, without empty stretches.
func (j *Journal) rest(of func(Tail) Run) []Rest {
	var out []Rest
	for _, id := range slices.Sorted(maps.Keys(j.Tails)) {
		if r := of(j.Tails[id]); r.Seconds() > 0 {
			out = append(out, Rest{id, r})
		}
	}
	return out
}

// cut ends what the last result of each check says at the second at, unless it began later: then the clock stepped.
func (j *Journal) cut(at int64) {
	j.Cut = at
	for id, t := range j.Tails {
		if t.Last.From < at && at < t.Last.To {
			t.Open.To, t.Last.To = at, at
			j.Tails[id] = t
		}
	}
}

// A Layer is what one journal of a machine says of one check.
type Layer struct {
	Begun  bool
	Begin  int64
	Off    int64 // as in the Journal
	Closed []Run // results
	Tail   Tail  // the results' open end; zero where there are none
	All    []Run // ranges for all checks
	Ranges []Run // ranges for this check
}

// Settle lays the journals of a machine over one another, from the first to the latest, and returns what is said of one
// check in s. Seconds of which nothing is said are left out.
func Settle(layers []Layer, s Span) []Run {
	var out []Run
	for i, l := range layers {
		out = Over(out, Clip(Append(nil, l.off(layers[i+1:], s.To)), s))
	}
	for _, l := range layers {
		out = Over(Over(out, Clip(l.All, s)), Clip(l.Ranges, s))
	}
	for i, l := range layers {
		open := l.Tail.Open
		for _, later := range layers[i+1:] {
			if at := later.Begin; later.Begun && l.Tail.Last.From < at && at < l.Tail.Last.To {
				open.To = min(open.To, at)
			}
		}
		out = Over(out, Clip(Append(Clip(l.Closed, s), open), s))
	}
	return out
}

// off returns the stretch in which the machine was switched off in order, of a check whose slot was under way then: up to the
// second end, or to the begin of a later journal.
func (l Layer) off(later []Layer, end int64) Run {
	if l.Off == 0 || l.Tail.Last.To != l.Off {
		return Run{}
	}
	for _, n := range later {
		if n.Begun && n.Begin > l.Off {
			end = min(end, n.Begin)
		}
	}
	return Run{Span{l.Off, end}, check.MissedShutdown}
}
