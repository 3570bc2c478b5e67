package score

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"egovmon/deploy/lab/fault"
)

// A View is what the collector shows at one moment.
type View struct {
	Open []Incident
	// Down lists "SERVICE UNIT" for each service of each unit that is seen down, and "SERVICE " for one that is so as a whole.
	Down []string
	Well bool // every service works in every unit
}

// An Incident is one that is open.
type Incident struct {
	ID, Component, Unit, Reason string
	Through                     string // of a line: the service that shows it
	Cause, Name, Owner          string // what the verdict names as broken: its kind, its name, and the operator who can mend it
	Of                          string // the service of that, if it has one
	Silent                      bool   // nothing is heard of a unit: nobody can tell why
	Opened                      time.Time
}

// A Lab brings faults about and shows what the collector makes of them.
type Lab interface {
	Fault(ctx context.Context, name, unit string, on bool) error
	View(ctx context.Context) (View, error)
	// Told returns how many messages about openings people have got so far.
	Told(ctx context.Context) (int, error)
}

// Options say what is played.
type Options struct {
	Offered []string // faults that the lab has
	Units   []string // communes
	Only    []string // faults to play; none is all
	Doubles int      // how many random pairs
	Pairs   bool     // the pairs alone
	Seed    uint64   // of the pairs and the units
	Hold    time.Duration
	Settle  time.Duration // the longest that is waited until all is well again
	Said    func(Case)
}

// Cases makes the cases of a run: every single fault, and random pairs of different causes. The same seed makes the same ones.
func Cases(o Options) []Case {
	r := rand.New(rand.NewPCG(o.Seed, 5))
	var pool []fault.Fault
	for _, f := range fault.All() {
		if slices.Contains(o.Offered, f.Name) && (len(o.Only) == 0 || slices.Contains(o.Only, f.Name)) {
			pool = append(pool, f)
		}
	}
	play := func(f fault.Fault) Played {
		p := Played{Fault: f, Name: f.Name}
		if f.Scope == fault.OneUnit {
			p.Unit = o.Units[r.IntN(len(o.Units))]
		}
		return p
	}
	var out []Case
	for _, f := range pool {
		if !o.Pairs {
			out = append(out, Case{Faults: []Played{play(f)}})
		}
	}
	for n := 0; n < o.Doubles && len(pool) > 1; n++ {
		a := r.IntN(len(pool))
		b := (a + 1 + r.IntN(len(pool)-1)) % len(pool)
		out = append(out, Case{Faults: []Played{play(pool[a]), play(pool[b])}})
	}
	return out
}

// Play plays every case and returns them with what came of them.
func Play(ctx context.Context, lab Lab, o Options) []Case {
	cases := Cases(o)
	for i := range cases {
		if ctx.Err() != nil {
			return cases[:i]
		}
		if err := playOne(ctx, lab, o, &cases[i]); err != nil {
			cases[i].Err = err.Error()
		}
		if o.Said != nil {
			o.Said(cases[i])
		}
	}
	return cases
}

// ask is how often the collector is asked.
const ask = time.Second

// grace is how long a case goes on once something fitting is stated for each fault: for messages, and for statements too
// many.
const grace = 15 * time.Second

// playOne waits until all is well, brings the faults about, holds them until something fitting is stated for each and a
// while longer, at most for Hold, and takes them away.
func playOne(ctx context.Context, lab Lab, o Options, c *Case) error {
	if err := settle(ctx, lab, o.Settle); err != nil {
		return err
	}
	before, err := lab.View(ctx)
	if err != nil {
		return err
	}
	told, err := lab.Told(ctx)
	if err != nil {
		return err
	}
	c.Bad, c.NaiveBad = map[string]time.Duration{}, map[string]time.Duration{}
	known := map[string]bool{}
	for _, i := range before.Open {
		known[i.ID] = true
	}
	begin := time.Now()
	defer func() {
		for _, p := range c.Faults {
			if e := lab.Fault(context.WithoutCancel(ctx), p.Name, p.Unit, false); e != nil && c.Err == "" {
				c.Err = e.Error()
			}
		}
	}()
	for _, p := range c.Faults {
		if err := lab.Fault(ctx, p.Name, p.Unit, true); err != nil {
			return err
		}
	}
	var done time.Time
	for last := begin; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ask):
		}
		now := time.Now()
		// A collector that does not answer states nothing.
		if v, err := lab.View(ctx); err == nil {
			c.see(v, known, begin, now, now.Sub(last))
		}
		last, c.Lasted = now, now.Sub(begin)
		if c.Lasted >= o.Hold || !done.IsZero() && now.Sub(done) >= grace {
			break
		}
		if done.IsZero() && c.stated() {
			done = now
		}
	}
	if n, err := lab.Told(ctx); err == nil {
		c.Told = n - told
	}
	return nil
}

// see adds what is shown now.
func (c *Case) see(v View, known map[string]bool, begin, now time.Time, step time.Duration) {
	for _, i := range v.Open {
		if !known[i.ID] {
			known[i.ID] = true
			c.Stated = append(c.Stated, Stated{Component: i.Component, Unit: i.Unit, Reason: i.Reason, After: max(0, i.Opened.Sub(begin)), incident: i.ID})
		}
		// What is named may turn out to be a wider cause while the first votes come in: the last word counts.
		if k := slices.IndexFunc(c.Stated, func(s Stated) bool { return s.incident == i.ID }); k >= 0 {
			s := &c.Stated[k]
			s.Reason, s.Through, s.Cause, s.Name, s.Of, s.Owner, s.Silent = i.Reason, i.Through, i.Cause, i.Name, i.Of, i.Owner, i.Silent
		}
	}
	c.QuorumLast = quorumSays(v.Down)
	for _, said := range c.QuorumLast {
		if !slices.Contains(c.Quorum, said) {
			c.Quorum = append(c.Quorum, said)
		}
	}
	naive := map[string]bool{}
	for _, d := range v.Down {
		if service, unit, _ := strings.Cut(d, " "); unit != "" && !naive[service] {
			naive[service] = true
			c.NaiveBad[service] += step
		}
	}
	for _, d := range v.Down {
		if service := d[:max(0, len(d)-1)]; d != "" && d[len(d)-1] == ' ' {
			c.Bad[service] += step
			continue
		}
		if !slices.Contains(c.Naive, d) {
			c.Naive = append(c.Naive, d)
			if c.NaiveAfter == 0 {
				c.NaiveAfter = now.Sub(begin)
			}
		}
	}
}

// stated reports whether something fitting is stated for each fault. Of faults of which nobody need be told, it is never
// over before the time.
func (c *Case) stated() bool {
	for i, r := range Judge(*c) {
		if c.Faults[i].Component == "" || !r.Right {
			return false
		}
	}
	return true
}

// settle waits until all is well and nothing is open.
func settle(ctx context.Context, lab Lab, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		v, err := lab.View(ctx)
		if err == nil && v.Well && len(v.Open) == 0 {
			return nil
		}
		if time.Now().After(end) {
			if err == nil {
				err = fmt.Errorf("%d incidents are open and %d services down", len(v.Open), len(v.Down))
			}
			return fmt.Errorf("not all is well again after %s: %w", limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ask):
		}
	}
}
