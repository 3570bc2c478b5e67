package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

// A book is one journal as an auditor reads it.
type book struct {
	begun   time.Time
	ended   time.Time // stepped; zero for the last one
	epochs  []plan.Epoch
	results []check.Result
	ranges  []check.Range
}

// A shelf is a Sink that keeps journal after journal, as the agent's sink does.
type shelf struct {
	t     *testing.T
	high  func() time.Time // the latest time that the clock has shown
	books []*book
	plan  *plan.Plan
}

func (s *shelf) last() *book { return s.books[len(s.books)-1] }

func (s *shelf) Begin(at time.Time) error {
	if len(s.books) == 0 {
		s.books = append(s.books, &book{begun: at})
	}
	return nil
}

func (s *shelf) Write(rs []check.Result, gs []check.Range) error {
	b := s.last()
	for _, r := range rs {
		if r.Slot.After(r.Start.Add(2*time.Second)) || r.Start.Before(b.begun.Add(-2*time.Second)) {
			s.t.Errorf("%s: a result for %s begins at %s, in a journal that began at %s", r.Check, r.Slot, r.Start, b.begun)
		}
		if slices.ContainsFunc(b.results, func(o check.Result) bool { return o.Check == r.Check && o.Slot.Equal(r.Slot) }) {
			s.t.Errorf("%s: two results for %s in one journal", r.Check, r.Slot)
		}
		b.results = append(b.results, r)
	}
	for _, g := range gs {
		if g.To.After(s.high().Add(time.Second)) {
			s.t.Errorf("range %+v speaks of a time to come: it is %s", g, s.high())
		}
		if !g.From.Before(g.To) || g.Slots < 1 || !g.Reason.Missed() {
			s.t.Errorf("range %+v makes no sense", g)
		}
		if c, ok := s.plan.Check(g.Check); ok {
			if n := len(slices.Collect(plan.Slots(machine, c, g.From, g.To))); n != g.Slots {
				s.t.Errorf("range %+v holds %d slots", g, n)
			}
		}
	}
	b.ranges = append(b.ranges, gs...)
	return nil
}

func (s *shelf) Sync() error { return nil }

func (s *shelf) Applied(p *plan.Plan, at time.Time) error {
	b := s.last()
	if n := len(b.epochs); n > 0 {
		b.epochs[n-1].To = at
	}
	b.epochs = append(b.epochs, plan.Epoch{From: at, Plan: p})
	s.plan = p
	return nil
}

func (s *shelf) Stepped(at time.Time) error {
	b := s.last()
	// What the clock showed before it went back is the end of the old journal.
	b.ended = at
	s.books = append(s.books, &book{begun: at})
	if s.plan != nil {
		s.last().epochs = []plan.Epoch{{From: at, Plan: s.plan}}
	}
	return nil
}

// before is what a journal knows when it is opened again.
func (s *shelf) before(reason check.Reason) Before {
	b := Before{Reason: reason, Slots: map[string]time.Time{}}
	if len(s.books) == 0 {
		return Before{}
	}
	k := s.last()
	b.Last = k.begun
	for _, e := range k.epochs {
		b.Last, b.Applied = latest(b.Last, e.From), e.From
	}
	for _, r := range k.results {
		b.Slots[r.Check] = latest(b.Slots[r.Check], r.Slot)
		b.Last = latest(b.Last, r.Start.Add(r.Took))
	}
	for _, g := range k.ranges {
		b.Ranges = append(b.Ranges, g)
		b.Last = latest(b.Last, g.To.Add(-time.Second))
	}
	if len(k.epochs) == 0 {
		b.Reason = ""
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// audit fails the test unless every slot that the machine says it was told to run is accounted for.
func (s *shelf) audit(until time.Time) (slots int) {
	for i, b := range s.books {
		end := until
		if !b.ended.IsZero() {
			end = b.ended // later slots of the old clock come again
		}
		for _, d := range plan.Expected(machine, b.epochs, b.begun, end) {
			slots++
			has := slices.ContainsFunc(b.results, func(r check.Result) bool { return r.Check == d.Check && r.Slot.Equal(d.Slot) })
			in := slices.ContainsFunc(b.ranges, func(g check.Range) bool {
				return (g.Check == "*" || g.Check == d.Check) && !d.Slot.Before(g.From) && d.Slot.Before(g.To)
			})
			again := !b.ended.IsZero() && slices.ContainsFunc(s.books[i+1:], func(o *book) bool {
				return slices.ContainsFunc(o.results, func(r check.Result) bool { return r.Check == d.Check && r.Slot.Equal(d.Slot) }) ||
					slices.ContainsFunc(o.ranges, func(g check.Range) bool {
						return (g.Check == "*" || g.Check == d.Check) && !d.Slot.Before(g.From) && d.Slot.Before(g.To)
					})
			})
			if !has && !in && !again {
				for _, e := range b.epochs {
					c, _ := e.Plan.Check(d.Check)
					s.t.Logf("from %s: version %d, every %s", e.From.Format(time.TimeOnly), e.Plan.Version, c.Every)
				}
				for _, x := range b.results {
					if x.Check == d.Check && x.Slot.Sub(d.Slot).Abs() < time.Hour {
						s.t.Logf("result %s begun %s took %s", x.Slot.Format(time.TimeOnly), x.Start.Format(time.TimeOnly), x.Took)
					}
				}
				for _, g := range b.ranges {
					if (g.Check == d.Check || g.Check == "*") && g.From.Sub(d.Slot).Abs() < time.Hour {
						s.t.Logf("range %s %s %s %s %d", g.Reason, g.Check, g.From.Format(time.TimeOnly), g.To.Format(time.TimeOnly), g.Slots)
					}
				}
				s.t.Errorf("journal %d of %d: %s at %s (until %s) has neither result nor range", i+1, len(s.books), d.Check,
					d.Slot.Format(time.TimeOnly), d.Until.Format(time.TimeOnly))
			}
		}
	}
	return slots
}

// randomPlan draws a plan of a few checks, whose ids come back from plan to plan with other intervals and targets.
func randomPlan(t *testing.T, r *rand.Rand, kinds check.Table, version int) *plan.Plan {
	var b strings.Builder
	fmt.Fprintf(&b, "plan: test\nversion: %d\nconcurrency: %d\nchecks:\n", version, 2+r.IntN(8))
	for _, i := range r.Perm(6)[:1+r.IntN(5)] {
		every := []int{10, 15, 20, 30, 45, 60, 90, 300}[r.IntN(8)]
		fmt.Fprintf(&b, "  - {id: a.x%d, kind: fake, every: %ds, timeout: %dms, confirm: %d, with: {host: %s}}\n",
			i, every, 100+r.IntN(2500), r.IntN(2), []string{"127.0.0.1", "203.0.113.9"}[r.IntN(2)])
	}
	p, err := plan.Parse([]byte(b.String()), kinds)
	if err != nil {
		t.Skip(err) // the sum does not hold
	}
	return p
}

func TestEverySlotIsAccountedFor(t *testing.T) {
	total := 0
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { total += wildDay(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
	if total < 5000 {
		t.Errorf("%d slots looked at in all: the days are too quiet to prove anything", total)
	}
}

// wildDay runs schedulers through stops, kills, changes of plan, clock steps and sleeps, and audits what they recorded.
func wildDay(t *testing.T, r *rand.Rand) int {
	var mu sync.Mutex // guards r, which the checks draw from too, and the clock
	var shift, slept time.Duration
	var high time.Time
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		high = latest(high, time.Now().Add(shift))
		return time.Now().Add(shift)
	}
	kinds := fakes(func(ctx context.Context) check.Result {
		mu.Lock()
		takes := time.Duration(r.IntN(3000)) * time.Millisecond
		if r.IntN(40) == 0 {
			takes = time.Duration(r.IntN(90)) * time.Second // does not heed its ctx
		}
		reason := []check.Reason{check.OK, check.OK, check.OK, check.Timeout}[r.IntN(4)]
		mu.Unlock()
		time.Sleep(takes)
		return check.Because(reason, "as drawn")
	})
	draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
	version := 1
	p := randomPlan(t, r, kinds, version)
	s := &shelf{t: t, high: func() time.Time { mu.Lock(); defer mu.Unlock(); return high }}
	o := Options{Machine: machine, Kinds: kinds, Sink: s, Now: now, Log: slog.New(slog.DiscardHandler),
		Suspended: func() time.Duration { mu.Lock(); defer mu.Unlock(); return slept }}
	for range 6 {
		o.Before = s.before([]check.Reason{check.MissedStopped, check.MissedShutdown}[draw(2)])
		sched := New(o)
		sched.Apply(p)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { sched.Run(ctx); close(done) }()
		for range 1 + draw(8) {
			time.Sleep(time.Duration(draw(400_000)) * time.Millisecond)
			switch draw(6) {
			case 0, 1:
				version++
				p = randomPlan(t, r, kinds, version)
				sched.Apply(p)
			case 2:
				mu.Lock()
				shift += time.Duration(r.IntN(3600)) * time.Second
				mu.Unlock()
			case 3:
				mu.Lock()
				shift -= time.Duration(r.IntN(900_000)) * time.Millisecond
				mu.Unlock()
			case 4:
				mu.Lock()
				d := time.Duration(3+r.IntN(3600)) * time.Second
				shift, slept = shift+d, slept+d
				mu.Unlock()
			case 5:
				mu.Lock()
				shift += time.Duration(r.IntN(3000)-1500) * time.Millisecond
				mu.Unlock()
			}
		}
		time.Sleep(3 * time.Second)
		cancel()
		<-done
		synctest.Wait()
		time.Sleep(time.Duration(draw(1_000_000)) * time.Millisecond)
	}
	// One more start names what was left open.
	o.Before = s.before(check.MissedStopped)
	sched := New(o)
	sched.Apply(p)
	begin := now()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { sched.Run(ctx); close(done) }()
	time.Sleep(40 * time.Second)
	cancel()
	<-done
	// Slots under way at the last start may still be waiting for their place in the first round.
	return s.audit(begin.Add(-5 * time.Minute))
}
