package schedule

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

const machine = "pc-an-thanh-01"

// A memory is a Sink that keeps everything.
type memory struct {
	mu      sync.Mutex
	results []check.Result
	ranges  []check.Range
	begun   []time.Time
	applied []time.Time
	stepped []time.Time
	written []written
	synced  int // results
	syncs   []time.Time

	syncFails error
}

// A written is a result and when it came to the sink.
type written struct {
	result check.Result
	at     time.Time
}

func (m *memory) Write(rs []check.Result, gs []check.Range) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results, m.ranges = append(m.results, rs...), append(m.ranges, gs...)
	for _, r := range rs {
		m.written = append(m.written, written{r, time.Now()})
	}
	return nil
}

func (m *memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = len(m.results)
	m.syncs = append(m.syncs, time.Now())
	return m.syncFails
}

func (m *memory) Begin(at time.Time) error { m.begun = append(m.begun, at); return nil }

func (m *memory) Applied(_ *plan.Plan, at time.Time) error {
	m.applied = append(m.applied, at)
	return nil
}
func (m *memory) Stepped(at time.Time) error { m.stepped = append(m.stepped, at); return nil }

func (m *memory) of(id string) []check.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.results), func(r check.Result) bool { return r.Check != id })
}

// fakes are kinds whose functions the test gives; "host" and "path" as in real ones.
func fakes(fn check.Func) check.Table {
	hosts := func(o check.Options) []string { return []string{o.String("host")} }
	opts := []check.Option{{Name: "host", Type: check.TypeHost, Default: "203.0.113.9"}}
	return check.Table{
		{Name: "fake", Options: opts, Target: hosts, New: func(check.Options, check.Env) (check.Func, error) { return fn, nil }},
		{Name: "line", Options: opts, Target: hosts, Line: true, New: func(check.Options, check.Env) (check.Func, error) { return fn, nil }},
		{Name: "uplink", Line: true, Options: []check.Option{{Name: "anchors", Type: check.TypeAddrs}},
			New: func(check.Options, check.Env) (check.Func, error) { return always(check.OK), nil }},
	}
}

func always(r check.Reason) check.Func {
	return func(context.Context) check.Result { return check.Because(r, "as told") }
}

func parse(t *testing.T, kinds check.Table, text string) *plan.Plan {
	t.Helper()
	p, err := plan.Parse([]byte("plan: test\nchecks:\n"+text), kinds)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs a scheduler inside a bubble until the returned function is called.
func start(t *testing.T, o Options, p *plan.Plan) (*Scheduler, func()) {
	t.Helper()
	o.Machine = machine
	s := New(o)
	s.Apply(p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	return s, func() { cancel(); <-done }
}

func TestEverySlotOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, kinds := &memory{}, fakes(always(check.OK))
		p := parse(t, kinds, `
  - {id: a.x, kind: fake, every: 10s}
  - {id: a.y, kind: fake, every: 60s}
  - {id: a.z, kind: fake, every: 1h}`)
		begin := time.Now()
		_, stop := start(t, Options{Kinds: kinds, Sink: m}, p)
		time.Sleep(2*time.Hour + 500*time.Millisecond)
		stop()
		for _, c := range p.Checks {
			var want, got []time.Time
			for s := range plan.Slots(machine, c, plan.SlotAt(machine, c, begin), time.Now()) {
				want = append(want, s)
			}
			for _, r := range m.of(c.ID) {
				got = append(got, r.Slot)
				if r.Start.Before(r.Slot) || r.Attempts != 1 || r.State != check.Up {
					t.Errorf("%s: result %+v begins before its slot, or is not one try up", c.ID, r)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d slots run, want %d: each once", c.ID, len(got), len(want))
			}
		}
		if len(m.ranges) > 0 {
			t.Errorf("ranges %v, want none", m.ranges)
		}
	})
}

func TestFirstResultAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		all        time.Duration
	}{
		{"this machine: all within a second", "127.0.0.1", time.Second},
		{"elsewhere: spread over half a minute", "203.0.113.9", 31 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, kinds := &memory{}, fakes(always(check.OK))
				var b strings.Builder
				for i := range 40 {
					fmt.Fprintf(&b, "  - {id: a.x%d, kind: fake, every: 5m, with: {host: %s}}\n", i, tt.host)
				}
				_, stop := start(t, Options{Kinds: kinds, Sink: m}, parse(t, kinds, b.String()))
				defer stop()
				synctest.Wait()
				if m.mu.Lock(); m.synced == 0 {
					t.Error("no result is recorded at the instant of the start")
				}
				m.mu.Unlock()
				time.Sleep(tt.all)
				synctest.Wait()
				m.mu.Lock()
				defer m.mu.Unlock()
				if n := m.synced; n < 40 {
					t.Errorf("%d of 40 checks recorded after %s", n, tt.all)
				}
				if tt.host != "127.0.0.1" {
					first, last := m.results[0].Start, m.results[len(m.results)-1].Start
					if last.Sub(first) < 20*time.Second {
						t.Errorf("the first round took %s: not spread", last.Sub(first))
					}
				}
			})
		})
	}
}

// What finishes is written at that instant, so that a kill loses nothing of it, and synced at the next tick, once for all.
func TestWrittenAtOnceSyncedOnceATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		kinds := fakes(func(context.Context) check.Result {
			time.Sleep(1234 * time.Millisecond)
			return check.Because(check.OK, "")
		})
		var b strings.Builder
		for i := range 20 {
			fmt.Fprintf(&b, "  - {id: a.x%d, kind: fake, every: 10s, timeout: 2s, with: {host: 203.0.113.9}}\n", i)
		}
		_, stop := start(t, Options{Kinds: kinds, Sink: m}, parse(t, kinds, b.String()))
		time.Sleep(10 * time.Minute)
		stop()
		for _, w := range m.written {
			if late := w.at.Sub(w.result.Start.Add(w.result.Took)); late > time.Millisecond {
				t.Fatalf("%s of %s was written %s after it had finished, want at once", w.result.Check, w.result.Slot, late)
			}
			if !slices.ContainsFunc(m.syncs, func(at time.Time) bool { return !at.Before(w.at) && at.Sub(w.at) <= tick }) {
				t.Fatalf("%s of %s was not synced within a second", w.result.Check, w.result.Slot)
			}
		}
		if n, most := len(m.syncs), 10*60+50; n > most {
			t.Errorf("%d syncs in 10 minutes, want at most one a second (%d)", n, most)
		}
	})
}

// A sync that fails is tried again at every tick, whether there is more to write or not.
func TestSyncIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, kinds := &memory{syncFails: errors.New("no space left on device")}, fakes(always(check.OK))
		_, stop := start(t, Options{Kinds: kinds, Sink: m}, parse(t, kinds, "  - {id: a.x, kind: fake, every: 1h}\n"))
		defer stop()
		time.Sleep(time.Minute)
		m.mu.Lock()
		m.syncFails = nil
		m.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if n := len(m.syncs); n < 60 || n > 63 {
			t.Errorf("%d syncs, want one a second while it fails and one after", n)
		}
	})
}

func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answers  []check.Reason
		confirm  int
		want     check.Reason
		attempts int
	}{
		{"a failure that passes is not recorded", []check.Reason{check.Timeout, check.OK}, 1, check.OK, 2},
		{"a failure that stays is", []check.Reason{check.Timeout, check.ConnectRefused}, 1, check.ConnectRefused, 2},
		{"no confirmation asked for", []check.Reason{check.Timeout}, 0, check.Timeout, 1},
		{"three", []check.Reason{check.Timeout, check.Timeout, check.Timeout, check.Slow}, 3, check.Slow, 4},
		{"degraded needs none", []check.Reason{check.Slow}, 1, check.Slow, 1},
		{"unknown needs none", []check.Reason{check.NoPermission}, 1, check.NoPermission, 1},
		{"a reason off the list", []check.Reason{"bogus"}, 1, check.Internal, 1},
		{"a reason of accounts", []check.Reason{check.Silent}, 1, check.Internal, 1},
		{"a panic", []check.Reason{"panic"}, 1, check.Internal, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				kinds := fakes(func(context.Context) check.Result {
					n++
					if tt.answers[n-1] == "panic" {
						panic("on purpose")
					}
					return check.Because(tt.answers[n-1], "answer %d", n)
				})
				p := parse(t, kinds, fmt.Sprintf("  - {id: a.x, kind: fake, every: 1m, confirm: %d}", tt.confirm))
				r := Once(t.Context(), Options{Machine: machine, Kinds: kinds}, p, nil)[0]
				if r.Reason != tt.want || r.Attempts != tt.attempts || r.State != tt.want.State() {
					t.Errorf("got %s after %d tries (%s), want %s after %d", r.Reason, r.Attempts, r.Detail, tt.want, tt.attempts)
				}
				if want := time.Duration(tt.attempts-1) * plan.ConfirmPause; r.Took != want {
					t.Errorf("took %s, want the pauses alone: %s", r.Took, want)
				}
			})
		})
	}
}

func TestGate(t *testing.T) {
	const anchors = "  - {id: l.up, kind: uplink, every: 1m, with: {anchors: ['192.0.2.1:53', '192.0.2.2:53', '192.0.2.3:53']}}\n"
	for _, tt := range []struct {
		name, check, uplink string
		answered            int
		want                check.Reason
		asked               int
	}{
		{"the line is out", "kind: fake", anchors, 0, check.NoUplink, 1},
		{"the line works", "kind: fake", anchors, 1, check.ConnectTimeout, 1},
		{"the path has no anchors", "kind: fake", "", 0, check.ConnectTimeout, 0},
		{"another path has anchors", "kind: fake, path: tslcd", anchors, 0, check.ConnectTimeout, 0},
		{"the own network is never gated", "kind: fake, path: lan", anchors, 0, check.ConnectTimeout, 0},
		{"a kind that judges the line", "kind: line", anchors, 0, check.ConnectTimeout, 0},
		{"a target on this machine", "kind: fake, with: {host: 127.0.0.1}", anchors, 0, check.ConnectTimeout, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				asked := 0
				kinds := fakes(func(context.Context) check.Result {
					r := check.Because(check.ConnectTimeout, "203.0.113.9:443 does not answer")
					r.Facts.Add("x_count", 3)
					return r
				})
				o := Options{Machine: machine, Kinds: kinds, Anchors: func(_ context.Context, a []string, _ netip.Addr) int {
					mu.Lock()
					defer mu.Unlock()
					if asked++; len(a) != 3 {
						t.Errorf("anchors %v, want the three of the plan", a)
					}
					return tt.answered
				}}
				// Two checks that fail together ask the anchors once.
				p := parse(t, kinds, tt.uplink+"  - {id: a.x, every: 1m, "+tt.check+"}\n  - {id: a.y, every: 1m, "+tt.check+"}\n")
				for _, r := range Once(t.Context(), o, p, func(id string) bool { return id != "l.up" }) {
					if r.Reason != tt.want {
						t.Errorf("%s: %s (%s), want %s", r.Check, r.Reason, r.Detail, tt.want)
					}
					if _, ok := r.Facts.Get("x_count"); !ok || !strings.Contains(r.Detail, "does not answer") {
						t.Errorf("what was seen is lost: %+v", r)
					}
				}
				if asked != tt.asked {
					t.Errorf("anchors asked %d times, want %d", asked, tt.asked)
				}
			})
		})
	}
}

// covered fails the test unless every slot of every check in [from, to) has one result or lies in a range.
func (m *memory) covered(t *testing.T, p *plan.Plan, from, to time.Time) {
	t.Helper()
	inRanges := 0
	for _, c := range p.Checks {
		for s := range plan.Slots(machine, c, from, to) {
			n := 0
			for _, r := range m.results {
				if r.Check == c.ID && r.Slot.Equal(s) {
					n++
				}
			}
			in := slices.ContainsFunc(m.ranges, func(g check.Range) bool {
				return (g.Check == "*" || g.Check == c.ID) && !s.Before(g.From) && s.Before(g.To)
			})
			if n > 1 || n == 0 && !in {
				t.Errorf("%s at %s: %d results and no range", c.ID, s.Format(time.TimeOnly), n)
			}
			if n == 0 && in {
				inRanges++
			}
		}
	}
	said := 0
	for _, g := range m.ranges {
		if !g.From.Before(g.To) || !g.Reason.Missed() {
			t.Errorf("range %+v makes no sense", g)
		}
		if g.Check == "*" {
			said += g.Slots
			continue
		}
		c, _ := p.Check(g.Check)
		if n := len(slices.Collect(plan.Slots(machine, c, g.From, g.To))); n != g.Slots {
			t.Errorf("range %+v holds %d slots", g, n)
		}
		for s := range plan.Slots(machine, c, g.From, g.To) {
			if !s.Before(from) && s.Before(to) {
				said++
			}
		}
	}
	if said != inRanges {
		t.Errorf("the ranges speak of %d slots, %d were not run", said, inRanges)
	}
}

func TestOverloadIsRecorded(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		takes      time.Duration
	}{
		{"a check slower than its interval", "", 35 * time.Second},
		{"more checks than places", "", 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{}
				kinds := fakes(func(ctx context.Context) check.Result {
					time.Sleep(tt.takes) // does not heed its ctx
					return check.Because(check.OK, "")
				})
				var b strings.Builder
				for i := range 10 {
					fmt.Fprintf(&b, "  - {id: a.x%d, kind: fake, every: 10s, timeout: 1s, with: {host: localhost}}\n", i)
				}
				p := parse(t, kinds, b.String())
				if tt.takes < 10*time.Second {
					p.Concurrency = 1
				}
				begin := time.Now()
				s, stop := start(t, Options{Kinds: kinds, Sink: m}, p)
				time.Sleep(time.Hour)
				runs := s.Stats().Runs
				end := time.Now().Add(-2 * time.Minute)
				stop()
				// The last two minutes may still be under way or gathered; before that all is said.
				m.covered(t, p, begin.Add(11*time.Second), end)
				places := 10.0
				if tt.takes < 10*time.Second {
					places = 1
				}
				if most := places * float64(time.Hour) / float64(tt.takes); float64(runs) < 0.75*most {
					t.Errorf("%d runs in an hour, where %g were possible: overload must not cost more than the overload", runs, most)
				}
			})
		})
	}
}

func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name          string
		wall, slept   time.Duration
		reason        check.Reason
		stepped       int
		atLeast, most int // slots in the range
	}{
		{"an hour forward", time.Hour, 0, check.MissedClockJump, 0, 58, 61},
		{"asleep for an hour, monotonic clock stands", time.Hour, time.Hour, check.MissedSuspended, 0, 58, 61},
		{"an hour back", -time.Hour, 0, "", 1, 0, 0},
		{"two seconds are no step", 1900 * time.Millisecond, 0, "", 0, 0, 0},
		{"nor two back", -1900 * time.Millisecond, 0, "", 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, kinds := &memory{}, fakes(always(check.OK))
				var mu sync.Mutex
				var shift, slept time.Duration
				o := Options{Kinds: kinds, Sink: m,
					Now:       func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(shift) },
					Suspended: func() time.Duration { mu.Lock(); defer mu.Unlock(); return slept }}
				p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1m}")
				begin := time.Now()
				_, stop := start(t, o, p)
				time.Sleep(10 * time.Minute)
				mu.Lock()
				shift, slept = tt.wall, tt.slept
				mu.Unlock()
				time.Sleep(10 * time.Minute)
				stop()
				if len(m.stepped) != tt.stepped {
					t.Errorf("journal stepped %d times, want %d", len(m.stepped), tt.stepped)
				}
				if tt.reason == "" {
					if len(m.ranges) > 0 {
						t.Errorf("ranges %+v, want none", m.ranges)
					}
					if n := len(m.results); n < 19 || n > 22 {
						t.Errorf("%d results in 20 minutes", n)
					}
					return
				}
				if len(m.ranges) != 1 || m.ranges[0].Reason != tt.reason || m.ranges[0].Check != "*" {
					t.Fatalf("ranges %+v, want one of %s for *", m.ranges, tt.reason)
				}
				if n := m.ranges[0].Slots; n < tt.atLeast || n > tt.most {
					t.Errorf("%d slots missed, want about 60", n)
				}
				m.covered(t, p, begin.Add(time.Minute), time.Now().Add(shift-time.Minute))
			})
		})
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name              string
		wall, mono, slept time.Duration
		want              step
	}{
		{"a tick", time.Second, time.Second, 0, step{}},
		{"a slow machine", time.Minute, time.Minute, 0, step{}},
		{"forward", time.Hour, time.Second, 0, step{reason: check.MissedClockJump, by: time.Hour - time.Second}},
		{"back", -time.Hour, time.Second, 0, step{back: true, by: -time.Hour - time.Second}},
		{"asleep, monotonic clock stands (Linux)", time.Hour, time.Second, time.Hour, step{reason: check.MissedSuspended}},
		{"asleep, monotonic clock goes on (Windows)", time.Hour, time.Hour, time.Hour, step{reason: check.MissedSuspended}},
		{"asleep, and an hour forward", 2 * time.Hour, time.Second, time.Hour, step{reason: check.MissedSuspended, by: time.Hour - time.Second}},
		{"asleep, and an hour forward (Windows)", 2 * time.Hour, time.Hour, time.Hour, step{reason: check.MissedSuspended, by: time.Hour}},
		{"asleep, and a minute back", time.Hour - time.Minute, 0, time.Hour, step{reason: check.MissedSuspended, by: -time.Minute}},
		{"asleep, and back beyond that", -6 * time.Hour, time.Second, time.Hour, step{back: true, by: -7*time.Hour - time.Second}},
	} {
		if got := judge(tt.wall, tt.mono, tt.slept); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestImplausibleClock(t *testing.T) {
	start0 := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest's clock begins
	for _, tt := range []struct {
		name      string
		built     time.Time
		last      time.Time
		collector time.Duration // the collector's clock ahead of ours
		asks      bool
		runs      bool
		stepped   int
	}{
		{"good", start0, start0, 0, false, true, 0},
		{"before the program was built", start0.AddDate(1, 0, 0), time.Time{}, 0, false, false, 0},
		{"before the last record", time.Time{}, start0.Add(2 * time.Hour), 0, false, false, 0},
		{"before the last record, and the collector says it is right", time.Time{}, start0.Add(2 * time.Hour), 0, true, true, 1},
		{"the collector says it is wrong", time.Time{}, start0.Add(2 * time.Hour), 2 * time.Hour, true, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, kinds := &memory{}, fakes(always(check.OK))
				o := Options{Kinds: kinds, Sink: m, Built: tt.built, Before: Before{Last: tt.last, Reason: check.MissedStopped}}
				if tt.asks {
					o.CollectorTime = func(context.Context) (time.Time, error) { return time.Now().Add(tt.collector), nil }
				}
				p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1m}")
				_, stop := start(t, o, p)
				time.Sleep(time.Hour)
				stop()
				if ran := len(m.results) > 0; ran != tt.runs {
					t.Errorf("%d results, want some: %v", len(m.results), tt.runs)
				}
				if len(m.stepped) != tt.stepped {
					t.Errorf("stepped %d times, want %d", len(m.stepped), tt.stepped)
				}
			})
		})
	}
}

func TestClockSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, kinds := &memory{}, fakes(always(check.OK))
		var mu sync.Mutex
		shift := -24 * 365 * time.Hour // a flat battery: a year back
		last := time.Now().Add(-time.Hour)
		o := Options{Kinds: kinds, Sink: m, Before: Before{Last: last, Reason: check.MissedStopped},
			Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(shift) }}
		p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1m}")
		_, stop := start(t, o, p)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		shift = 0
		mu.Unlock()
		time.Sleep(10 * time.Minute)
		stop()
		if len(m.ranges) != 1 || m.ranges[0].Reason != check.ClockUnset {
			t.Fatalf("ranges %+v, want one clock_unset", m.ranges)
		}
		if n := m.ranges[0].Slots; n < 68 || n > 71 {
			t.Errorf("%d slots, want the 70 from the last record to the first plausible time", n)
		}
	})
}

func TestStopped(t *testing.T) {
	kinds := fakes(always(check.OK))
	p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1m}\n  - {id: a.y, kind: fake, every: 5m}\n")
	x, y := p.Checks[0], p.Checks[1]
	day := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	sx := plan.NextSlot(machine, x, day)
	sy := plan.NextSlot(machine, y, day)
	begin := sx.Add(30*time.Minute + 20*time.Second)
	b := Before{Applied: sx, Last: sx.Add(10 * time.Second), Reason: check.MissedShutdown, Slots: map[string]time.Time{x.ID: sx, y.ID: sy}}
	rs := stopped(machine, p, b, begin)
	want := len(slices.Collect(plan.Slots(machine, x, sx.Add(time.Minute), plan.SlotAt(machine, x, begin)))) +
		len(slices.Collect(plan.Slots(machine, y, sy.Add(5*time.Minute), plan.SlotAt(machine, y, begin))))
	if len(rs) != 1 {
		t.Fatalf("got %+v, want one range", rs)
	}
	if r := rs[0]; r.Slots != want || r.Reason != check.MissedShutdown || !r.From.Equal(sx.Add(time.Minute)) || !r.To.Equal(begin) {
		t.Errorf("got %+v, want %d slots from %s to %s", rs, want, sx.Add(time.Minute), begin)
	}
	if rs := stopped(machine, p, b, sx.Add(15*time.Second)); len(rs) > 0 {
		t.Errorf("a restart within the slot misses nothing, got %+v", rs)
	}

	// A part of the journal is lost: until it was last written, slots were run.
	for _, tt := range []struct {
		name         string
		until        time.Duration // since the last record
		lost, missed bool
	}{
		{"the last second", 900 * time.Millisecond, false, true},
		{"ten minutes", 10 * time.Minute, true, true},
		{"up to the start", 24 * time.Hour, true, false},
		{"before the last record", -time.Hour, false, true},
	} {
		b.LostUntil = b.Last.Add(tt.until)
		rs, n := stopped(machine, p, b, begin), 0
		for i, r := range rs {
			n += r.Slots
			if r.Reason == check.DataLost && r.To.After(later(b.LostUntil, b.Last).Add(time.Second)) || i > 0 && r.From.Before(rs[i-1].To.Add(-time.Second)) || !r.From.Before(r.To) {
				t.Errorf("%s: ranges %+v", tt.name, rs)
			}
		}
		has := func(reason check.Reason) bool {
			return slices.ContainsFunc(rs, func(r check.Range) bool { return r.Reason == reason })
		}
		if n != want || has(check.DataLost) != tt.lost || has(check.MissedShutdown) != tt.missed {
			t.Errorf("%s: %+v, want %d slots in all", tt.name, rs, want)
		}
	}
}

func TestRestartDoesNotRepeatASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, kinds := &memory{}, fakes(always(check.OK))
		p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1h}\n  - {id: a.y, kind: fake, every: 1h}\n")
		now := time.Now()
		done := plan.SlotAt(machine, p.Checks[0], now)
		o := Options{Kinds: kinds, Sink: m, Before: Before{Last: now, Reason: check.MissedStopped, Slots: map[string]time.Time{"a.x": done}}}
		_, stop := start(t, o, p)
		time.Sleep(40 * time.Second)
		stop()
		if n := len(m.of("a.x")); n > 1 || n == 1 && m.of("a.x")[0].Slot.Equal(done) {
			t.Errorf("a.x was run again in the slot that has a record")
		}
		if n := len(m.of("a.y")); n == 0 {
			t.Errorf("a.y was not run in the slot under way")
		}
	})
}

func TestPlanChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		kinds := fakes(func(ctx context.Context) check.Result {
			select {
			case <-ctx.Done():
				return check.Because(check.Timeout, "cut short")
			case <-time.After(8 * time.Second):
				return check.Because(check.OK, "")
			}
		})
		one := parse(t, kinds, "  - {id: a.keep, kind: fake, every: 60s, timeout: 9s}\n  - {id: a.drop, kind: fake, every: 20s, timeout: 9s}\n")
		two := parse(t, kinds, "  - {id: a.keep, kind: fake, every: 60s, timeout: 9s}\n  - {id: a.new, kind: fake, every: 20s, timeout: 9s}\n")
		s, stop := start(t, Options{Kinds: kinds, Sink: m}, one)
		for len(m.of("a.drop")) < 3 || !s.busyNow("a.drop") {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		n := len(m.of("a.drop"))
		s.Apply(two)
		time.Sleep(10 * time.Minute)
		stop()
		if got := len(m.of("a.drop")); got != n {
			t.Errorf("a check that left the plan gave %d more results", got-n)
		}
		if !slices.ContainsFunc(m.ranges, func(g check.Range) bool {
			return g.Check == "a.drop" && g.Reason == check.MissedStopped && g.Slots == 1
		}) {
			t.Errorf("the slot cut short by the change is not named: %+v", m.ranges)
		}
		if got := len(m.of("a.keep")); got < 10 {
			t.Errorf("a.keep has %d results", got)
		}
		if got := len(m.of("a.new")); got < 28 {
			t.Errorf("a.new has %d results in 10 minutes", got)
		}
		if len(m.applied) != 2 {
			t.Errorf("%d plans noted, want 2", len(m.applied))
		}
	})
}

func (s *Scheduler) busyNow(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[id].started
}

func TestOwnStopIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		kinds := fakes(func(ctx context.Context) check.Result {
			<-ctx.Done()
			return check.Because(check.Timeout, "cut short")
		})
		p := parse(t, kinds, "  - {id: a.x, kind: fake, every: 1m, timeout: 10s}\n")
		_, stop := start(t, Options{Kinds: kinds, Sink: m}, p)
		time.Sleep(time.Second)
		stop()
		if len(m.results) > 0 {
			t.Errorf("our own stop was recorded as %+v", m.results)
		}
	})
}
