package schedule

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/plan"
)

const (
	tick = time.Second
	// stepLimit is how far wall clock and monotonic clock may part between two ticks before it counts as a step.
	stepLimit = 2 * time.Second
	// missFlush bounds how long a run of missed slots is gathered before it is recorded.
	missFlush = time.Minute
	// spreadRemote and spreadLocal bound the first round after a start.
	spreadRemote = 30 * time.Second
	spreadLocal  = time.Second
	// batchStep is the grid on which the first round starts checks, so that they wake the process in small batches.
	batchStep = 100 * time.Millisecond
)

// A Sink keeps what the scheduler says. Its methods are called from one goroutine.
type Sink interface {
	// Begin notes that the agent has started, once its clock is plausible. It comes first, unless Stepped does.
	Begin(at time.Time) error
	// Write hands results and ranges to the operating system as soon as they are there, so that a kill loses nothing of
	// them, or keeps them for the next try.
	Write(results []check.Result, ranges []check.Range) error
	// Sync makes what was written durable, all in one, and only then counts it as recorded. After an error it is called
	// again at the next tick.
	Sync() error
	// Applied notes that p is followed from at on.
	Applied(p *plan.Plan, at time.Time) error
	// Stepped ends the journal, because the clock went back, and begins a new one at the time that it shows now.
	Stepped(at time.Time) error
}

// Options are what a Scheduler needs.
type Options struct {
	Machine string      // the id in the plan
	Kinds   check.Table // what `kind:` may name
	Sink    Sink
	Log     *slog.Logger
	// Now is the wall clock. Default time.Now.
	Now func() time.Time
	// Suspended is how long the machine has slept since it was started. Nil means that this cannot be told.
	Suspended func() time.Duration
	// Built is the date of the program: an earlier clock is not plausible.
	Built time.Time
	// CollectorTime asks the collector for the time, over its pinned key. Nil when there is no collector.
	CollectorTime func(ctx context.Context) (time.Time, error)
	// Anchors tries the anchors of a path and returns how many answered. Nil means that no path can be gated.
	Anchors func(ctx context.Context, anchors []string, source netip.Addr) int
	// Secret reads a secret by its name in the plan.
	Secret func(name string) (string, error)
	// Notes are what a check of a kind keeps over a restart. Nil means that nothing is kept.
	Notes func(id, kind string) check.Notes
	// Shared are notes that all checks share. Nil means that nothing is kept.
	Shared func(name string) check.SharedNotes
	// ClockProven tells whether the clock was confirmed by the collector. Nil means that it counts as right.
	ClockProven func() bool
	// ClockMoved is told by how much the wall clock was set while the scheduler ran, and nothing of the time that the machine
	// slept. Nil when nobody asks.
	ClockMoved func(by time.Duration)
	// Before is what the journal knew when it was opened.
	Before Before
	// RecordedBefore returns the latest time of the journal that is not after now; zero where there is none. It is asked when
	// the clock is right and was ahead in the run before. Nil means that this cannot be told.
	RecordedBefore func(now time.Time) time.Time
}

// Before is what was recorded before this start. The zero value is a machine's first start.
type Before struct {
	Last   time.Time    // the last time in the journal; zero when there is none
	Reason check.Reason // MissedStopped or MissedShutdown: how the last run ended
	// LostUntil is when the journal was last written, when a part of it is lost: slots without a record up to then were
	// run, and are data_lost. Zero when nothing is lost.
	LostUntil time.Time
	// Applied is when the plan was last put in force: a check without a result was not to be run before. Default Last.
	Applied time.Time
	Slots   map[string]time.Time // by check: the last slot that has a result
	Ended   []string             // checks whose last result is in a journal that cannot go on, and speaks for no second after it
	Ranges  []check.Range        // recorded since then; their slots need no other record
}

// A Scheduler runs one machine's plan.
type Scheduler struct {
	o     Options
	log   *slog.Logger
	apply chan *plan.Plan

	mu      sync.Mutex
	plan    *plan.Plan         // in force; nil before the first
	items   map[string]*item   // the plan's checks
	order   []*item            // as in the plan
	ready   []*item            // due, waiting for a free place
	running int                // goroutines under way
	results []check.Result     // finished, and not yet written
	ranges  []check.Range      // missed, and not yet written
	done    map[string][]*done // by check: which slots have a result in this journal
	stats   Stats
	left    int // checks on this machine whose first run is not through; -1 when that has been acted on

	early    chan struct{} // wakes the loop when the first result of a start is there, and when all on this machine are
	finished chan struct{} // wakes the loop to write what is in results
	rerun    chan struct{} // wakes the loop to run the slots under way again

	// Of the loop alone.
	unsynced bool      // something was written since the last sync
	failing  bool      // the last sync failed, which was logged
	unset    time.Time // since when the clock was wrong at this start; zero for not at all

	gate gate
	wg   sync.WaitGroup
}

// New makes a scheduler without a plan; see [Scheduler.Apply] and [Scheduler.Run].
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{
		o: o, log: o.Log, apply: make(chan *plan.Plan, 1), early: make(chan struct{}, 1), finished: make(chan struct{}, 1), rerun: make(chan struct{}, 1),
		items: map[string]*item{}, done: map[string][]*done{},
		stats: Stats{Missed: map[check.Reason]int64{}},
	}
}

// Apply hands over a plan that was parsed with the same kinds. It takes effect at the next tick, at once if none was in
// force. A plan that comes before the last one was taken up replaces it.
func (s *Scheduler) Apply(p *plan.Plan) {
	for {
		select {
		case s.apply <- p:
			return
		default:
		}
		select {
		case <-s.apply:
		default:
		}
	}
}

// Rerun has the slots that are under way run again, as their results are in a journal that ended: these speak for no second
// after its end.
func (s *Scheduler) Rerun() { nudge(s.rerun) }

// Plan returns the plan in force; nil before the first.
func (s *Scheduler) Plan() *plan.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// Run follows the plans it is given until ctx ends. Nothing is scheduled while the clock is not plausible; see
// [Plausible]. When ctx ends, runs under way are cut short and give no result: their slots are named in the range that
// the next start records. Run returns when all of them have ended and what had finished is recorded.
func (s *Scheduler) Run(ctx context.Context) {
	begin, ok := s.waitForClock(ctx)
	if !ok {
		return
	}
	clock := newWatch(s.o, begin)
	var p *plan.Plan
	select {
	case <-ctx.Done():
		return
	case p = <-s.apply:
	}
	begin = s.now()
	if st := clock.observe(begin); st.back {
		s.stepped(st, begin)
		s.o.Before = Before{}
	}
	s.recordStop(p, begin)
	s.switchTo(p, begin)
	s.loop(ctx, clock)
	s.stop()
}

func (s *Scheduler) now() time.Time { return s.o.Now().Round(0).UTC() }

// loop is the heart: once a second it starts what is due and has the sink sync what it wrote. What finishes in between
// is written at once.
func (s *Scheduler) loop(ctx context.Context, clock *watch) {
	phase := plan.Phase(s.o.Machine)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.finished:
			s.write()
			continue
		case <-timer.C:
		case <-s.early:
		case <-s.rerun:
			s.again(s.now())
		case p := <-s.apply:
			now := s.now()
			s.clockStep(clock.observe(now), now)
			s.switchTo(p, now)
		}
		now := s.now()
		s.clockStep(clock.observe(now), now)
		s.mu.Lock()
		s.startDueLocked(ctx, now)
		wake := s.wakeLocked(now, phase)
		s.mu.Unlock()
		s.flush()
		timer.Reset(wake)
	}
}

// wakeLocked returns how long to sleep: until the next tick, or the next batch of a first round if that is earlier.
func (s *Scheduler) wakeLocked(now time.Time, phase time.Duration) time.Duration {
	at := now.Truncate(tick).Add(phase)
	if !at.After(now) {
		at = at.Add(tick)
	}
	for _, it := range s.order {
		if !it.busy && it.notBefore.After(now) && it.notBefore.Before(at) {
			at = it.notBefore
		}
	}
	return at.Sub(now)
}

// write hands what has finished to the sink.
func (s *Scheduler) write() {
	s.mu.Lock()
	results, ranges := s.results, s.ranges
	s.results, s.ranges = nil, nil
	s.mu.Unlock()
	if len(results) == 0 && len(ranges) == 0 {
		return
	}
	s.unsynced = true
	if err := s.o.Sink.Write(results, ranges); err != nil {
		s.log.Error("cannot write results", "results", len(results), "ranges", len(ranges), "err", err)
	}
}

// flush writes what has finished, and syncs what was written since the last time.
func (s *Scheduler) flush() {
	if s.write(); !s.unsynced {
		return
	}
	err := s.o.Sink.Sync()
	if err != nil && !s.failing {
		s.log.Error("cannot record results: they are tried again every second", "err", err)
	}
	s.unsynced, s.failing = err != nil, err != nil
}

// stop waits for the runs that ctx has cut short and records what had finished before.
func (s *Scheduler) stop() {
	s.mu.Lock()
	s.ready = nil
	for _, it := range s.order {
		s.missedLocked(it)
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.flush()
}
