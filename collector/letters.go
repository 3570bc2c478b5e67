package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/collector/board"
	"egovmon/collector/history"
	"egovmon/collector/intake"
)

// Bounds of the letters kept in mind.
const (
	lettersFor  = 24 * time.Hour // a letter is shown for so long after it could be lost
	maxLetters  = 50_000         // sent, of all machines
	maxArrivals = 5_000          // of one machine
	lettersTold = 8              // a result tells of so many letters; of more nobody knows which
	lettersLost = 10             // lost letters that are shown one by one
)

// letters joins what machines tell of their test letters (kind mailloop): the sender that its server took one, the
// receiver that it found it, or did not. The zero value is ready.
type letters struct {
	mu        sync.Mutex
	loops     map[loopKey]loopTerms // as last told by a plan
	sent      []sentLetter          // oldest first
	receivers map[string]*history.Receiver
}

// A loopKey is one check on one machine.
type loopKey struct{ machine, check string }

// loopTerms are what a plan says of a loop.
type loopTerms struct {
	mailbox    string
	peers      []string
	each       int
	late, lost time.Duration
}

// A sentLetter is as its sender tells: the peers by their place in the plan.
type sentLetter struct {
	key     loopKey
	service string
	serial  uint64
	at      time.Time
	first   int        // of the peers, from 0; -1 for none
	sure    bool       // the server took it for all of them
	terms   *loopTerms // of the plan at that time; nil while that is not known
}

// Add takes what a batch says of letters.
func (l *letters) Add(a intake.Accepted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.receivers == nil {
		l.loops, l.receivers = map[loopKey]loopTerms{}, map[string]*history.Receiver{}
	}
	for _, e := range a.Events {
		switch {
		case e.Plan != nil:
			l.plannedLocked(a.Machine, e.Plan.Plan)
			l.brokenLocked(a.Machine) // a run may have been cut short between finding a letter and telling of it
		case e.Begin != nil, e.Cloned != nil:
			l.brokenLocked(a.Machine)
		case e.Observation != nil && e.Observation.Kind == "mailloop" && !e.Observation.ClockUnproven:
			l.observeLocked(a.Machine, e.Observation)
		}
	}
	if n := len(l.sent) - maxLetters; n > 0 {
		l.sent = slices.Delete(l.sent, 0, n)
	}
}

// plannedLocked keeps the terms of a machine's loops.
func (l *letters) plannedLocked(machine string, p *plan.Plan) {
	for _, c := range p.Checks {
		if c.Kind == "mailloop" {
			l.loops[loopKey{machine, c.ID}] = loopTerms{c.Options.String("mailbox"), c.Options.Strings("peers"), int(c.Options.Int("each")),
				c.Options.Duration("late"), c.Options.Duration("lost")}
		}
	}
}

// brokenLocked says that from before now on nothing is proven by what a machine did not find.
func (l *letters) brokenLocked(machine string) {
	if r := l.receivers[machine]; r != nil {
		r.Since = time.Time{}
	}
}

// observeLocked takes one result.
func (l *letters) observeLocked(machine string, o *intake.Observation) {
	fact := func(name string) (float64, bool) { return o.Facts.Get(name) }
	k := loopKey{machine, o.Check}
	if serial, ok := fact("sent_serial"); ok {
		s := sentLetter{key: k, service: o.Service, serial: uint64(serial), at: o.Start, first: -1}
		if unix, ok := fact("sent_unix"); ok {
			s.at = time.Unix(int64(unix), 0).UTC()
		}
		if first, ok := fact("first_peer_code"); ok {
			s.first = int(first) - 1
		}
		refused, _ := fact("refused_count")
		s.sure = refused == 0
		if t, ok := l.loops[k]; ok {
			s.terms = &t
		}
		l.sent = append(l.sent, s)
	}
	r := l.receivers[machine]
	if r == nil {
		r = &history.Receiver{Found: map[uint64]history.Arrival{}}
		l.receivers[machine] = r
	}
	for i := range lettersTold {
		serial, ok := fact(fmt.Sprintf("letter%d_serial", i+1))
		if !ok || len(r.Found) >= maxArrivals {
			break
		}
		transit, _ := fact(fmt.Sprintf("letter%d_transit_s", i+1))
		altered, _ := fact(fmt.Sprintf("letter%d_altered_code", i+1))
		r.Found[uint64(serial)] = history.Arrival{Transit: time.Duration(transit * float64(time.Second)), Altered: altered == 1}
	}
	searched, _ := fact("searched_code")
	found, _ := fact("letters_count")
	end := o.Start.Add(o.Took)
	switch {
	case found > lettersTold:
		r.Since, r.Last = end, end // of some of them nobody knows which
	case searched == 1:
		if r.Since.IsZero() {
			r.Since = o.Start
		}
		r.Last = o.Start // what came while it ran may have been missed
	}
}

// Fates says what became of the letters of the last day, by service. planOf returns the plan of a machine, for terms
// that no batch has told of since the start.
func (l *letters) Fates(now time.Time, planOf func(machine string) *plan.Plan) map[string][]history.Fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(now)
	machines := l.mailboxesLocked(planOf)
	var sent []history.SentLetter
	for i := range l.sent {
		s := &l.sent[i]
		if s.terms == nil {
			if t, ok := l.loops[s.key]; ok {
				s.terms = &t
			}
		}
		if s.terms == nil || s.first < 0 || !s.sure || len(s.terms.peers) == 0 {
			continue
		}
		out := history.SentLetter{Service: s.service, Serial: s.serial, From: s.key.machine, At: s.at, Late: s.terms.late, Lost: s.terms.lost}
		for j := range min(s.terms.each, len(s.terms.peers)) {
			if to := machines[s.terms.peers[(s.first+j)%len(s.terms.peers)]]; to != "" {
				out.To = append(out.To, to)
			}
		}
		sent = append(sent, out)
	}
	receivers := map[string]history.Receiver{}
	for machine, r := range l.receivers {
		receivers[machine] = *r
	}
	all := map[string][]history.Fate{}
	for _, f := range history.Fates(sent, receivers, now) {
		all[f.Service] = append(all[f.Service], f)
	}
	return all
}

// forgetLocked drops what is too old to be shown.
func (l *letters) forgetLocked(now time.Time) {
	old := func(s sentLetter) bool {
		kept := lettersFor
		if s.terms != nil {
			kept += s.terms.lost
		}
		return now.Sub(s.at) > kept
	}
	l.sent = slices.DeleteFunc(l.sent, old)
	known := map[uint64]bool{}
	for _, s := range l.sent {
		known[s.serial] = true
	}
	for _, r := range l.receivers {
		if len(r.Found) > maxArrivals/2 { // letters whose sender is heard of later are kept while there is room
			maps.DeleteFunc(r.Found, func(serial uint64, _ history.Arrival) bool { return !known[serial] })
		}
	}
}

// mailboxesLocked says whose each mailbox is.
func (l *letters) mailboxesLocked(planOf func(string) *plan.Plan) map[string]string {
	for _, machine := range slices.Sorted(maps.Keys(l.receivers)) {
		if !l.hasLoopLocked(machine) {
			if p := planOf(machine); p != nil {
				l.plannedLocked(machine, p)
			}
		}
	}
	machines := map[string]string{}
	for k, t := range l.loops {
		machines[t.mailbox] = k.machine
	}
	return machines
}

func (l *letters) hasLoopLocked(machine string) bool {
	for k := range l.loops {
		if k.machine == machine {
			return true
		}
	}
	return false
}

// planOf returns the plan that is in force for a machine; nil when there is none that can be read.
func (c *center) planOf(machine string) *plan.Plan {
	text, _, ok, err := c.intake.Plan(machine)
	if err != nil || !ok {
		return nil
	}
	p, err := plan.Parse(text, kinds.Table())
	if err != nil {
		return nil
	}
	return p
}

// lettersOf are the letters as the board shows them, by service.
func (c *center) lettersOf(now time.Time) []board.Letters {
	var out []board.Letters
	all := c.letters.Fates(now, c.planOf)
	for _, service := range slices.Sorted(maps.Keys(all)) {
		b := board.Letters{Service: service, Counts: map[string]int{}}
		for _, f := range slices.Backward(all[service]) {
			b.Counts[string(f.Outcome)]++
			if f.Outcome == history.LetterLost && len(b.Lost) < lettersLost {
				b.Lost = append(b.Lost, board.LostLetter{From: f.From, To: f.To, At: f.At, Proof: f.Proof})
			}
		}
		out = append(out, b)
	}
	return out
}
