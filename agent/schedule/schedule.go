package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
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
	// Record returns once results and ranges are durable, or kept for the next try.
	Record(results []check.Result, ranges []check.Range) error
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
	// ClockProven tells whether the clock was confirmed by the collector. Nil means that it counts as right.
	ClockProven func() bool
	// Before is what the journal knew when it was opened.
	Before Before
}

// Before is what was recorded before this start. The zero value is a machine's first start.
type Before struct {
	Last   time.Time    // the last time in the journal; zero when there is none
	Reason check.Reason // MissedStopped or MissedShutdown: how the last run ended
	// Applied is when the plan was last put in force: a check without a result was not to be run before. Default Last.
	Applied time.Time
	Slots   map[string]time.Time // by check: the last slot that has a result
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
	results []check.Result     // finished since the last tick
	ranges  []check.Range      // missed since the last tick
	done    map[string][]*done // by check: which slots have a result in this journal
	stats   Stats
	left    int           // checks on this machine whose first run is not through; -1 when that has been acted on
	early   chan struct{} // wakes the loop when the first result of a start is there, and when all on this machine are

	gate gate
	wg   sync.WaitGroup
}

// An item is a check with its state. Its fields are guarded by Scheduler.mu.
type item struct {
	c         plan.Check
	offset    int64 // of its slots, in seconds
	fn        check.Func
	err       error     // why fn could not be made
	next      time.Time // the slot that comes next, or is due
	notBefore time.Time // of the first round's spread; zero later
	first     bool      // counted in Scheduler.left
	busy      bool      // queued or running
	started   bool      // running
	slot      time.Time // while busy: the slot being run
	gone      bool      // no longer in the plan, or of a time that comes again: what it finds is dropped
	cancel    context.CancelFunc
	done      *done // which of its slots have a result; nil before the first

	missFrom, missTo time.Time // slots missed because the run before took too long
	missed           int
	missSince        time.Time
}

// Stats are counts since the start, for the exporter.
type Stats struct {
	Runs    int64                  // finished runs
	Missed  map[check.Reason]int64 // slots, by reason
	Running int                    // under way
	Delays  [len(delayBounds) + 1]int64
	// DelaySum is the sum of all start delays: how long after its slot, or its place in the first round, a run began.
	DelaySum time.Duration
}

// delayBounds are the upper bounds of Stats.Delays; the last bucket is unbounded.
var delayBounds = [...]time.Duration{
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second,
	15 * time.Second, time.Minute,
}

// DelayBounds returns the upper bounds of the buckets of [Stats.Delays] but the last, which has none.
func DelayBounds() []time.Duration { return delayBounds[:] }

// New makes a scheduler without a plan; see [Scheduler.Apply] and [Scheduler.Run].
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{
		o: o, log: o.Log, apply: make(chan *plan.Plan, 1), early: make(chan struct{}, 1),
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

// Plan returns the plan in force; nil before the first.
func (s *Scheduler) Plan() *plan.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan
}

// Stats returns the counts so far.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Missed = maps.Clone(st.Missed)
	st.Running = s.running
	return st
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

// loop is the heart: once a second it starts what is due and records what has finished.
func (s *Scheduler) loop(ctx context.Context, clock *watch) {
	phase := plan.Phase(s.o.Machine)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.early:
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

// clockStep acts on what the watch saw since the last tick.
func (s *Scheduler) clockStep(st step, now time.Time) {
	switch {
	case st.back:
		s.mu.Lock()
		s.rewindLocked(now)
		s.mu.Unlock()
		s.flush()
		s.stepped(st, now)
	case st.reason != "":
		s.mu.Lock()
		s.missAllLocked(st.reason, st.from, now)
		s.mu.Unlock()
	}
}

func (s *Scheduler) stepped(st step, now time.Time) {
	s.log.Warn("the clock went back: a new journal begins", "from", st.from, "to", now)
	if err := s.o.Sink.Stepped(now); err != nil {
		s.log.Error("cannot begin a new journal", "err", err)
	}
}

// rewindLocked puts all checks back to the slot that runs at now, for a new journal. What is under way is given up: its
// slot comes again, or, where it does not, is named as missed.
func (s *Scheduler) rewindLocked(now time.Time) {
	for i, it := range s.order {
		s.missedLocked(it)
		first, current := it.pending(), it.slotAt(now)
		s.nameLocked(check.MissedClockJump, it, first, current, now)
		if it.busy {
			s.cutLocked(it)
			it = s.newItem(s.plan, it.c)
			s.items[it.c.ID], s.order[i] = it, it
		}
		it.next, it.notBefore, it.done = current, time.Time{}, nil
	}
	clear(s.done)
}

// missAllLocked records one range for all checks, whose slots from now on go on as if nothing had been due before.
func (s *Scheduler) missAllLocked(r check.Reason, from, now time.Time) {
	n, first := 0, now
	for _, it := range s.order {
		current, waits := it.slotAt(now), it.busy && !it.started
		at := it.next
		if waits {
			at = it.slot
		}
		if !at.Before(current) {
			continue
		}
		if at.Before(first) {
			first = at
		}
		n += int(current.Sub(at) / it.c.Every)
		it.next = current
		if waits {
			it.slot, it.next = current, current.Add(it.c.Every)
		}
	}
	if n == 0 {
		return
	}
	if from.Before(first) {
		first = from
	}
	s.stats.Missed[r] += int64(n)
	s.ranges = append(s.ranges, check.Range{Reason: r, Check: "*", From: first.Truncate(time.Second), To: now.Truncate(time.Second), Slots: n})
	s.log.Info("slots were not run", "reason", r, "slots", n, "from", first, "to", now)
}

// startDueLocked queues every check whose slot has come and starts as many as there are places. A check that is still
// running is left alone: it misses the slots that end meanwhile, and begins the one under way when it is through.
func (s *Scheduler) startDueLocked(ctx context.Context, now time.Time) {
	for _, it := range s.order {
		if it.next.After(now) || it.notBefore.After(now) || it.busy && !it.started {
			continue // what waits for a place finds out then which slot is left
		}
		current := it.slotAt(now)
		s.missLocked(it, current, now)
		if it.started {
			continue
		}
		it.busy, it.slot, it.next = true, current, current.Add(it.c.Every)
		s.ready = append(s.ready, it)
	}
	for len(s.ready) > 0 && s.running < s.limitLocked() {
		it := s.ready[0]
		s.ready = s.ready[1:]
		s.running++
		s.wg.Go(func() { s.work(ctx, it) })
	}
	for _, it := range s.order {
		if it.missed > 0 && now.Sub(it.missSince) >= missFlush {
			s.missedLocked(it)
		}
	}
}

func (s *Scheduler) limitLocked() int {
	if s.plan == nil {
		return 1
	}
	return s.plan.Concurrency
}

// missLocked notes that the slots of it from it.next up to, not including, until were not run because it was busy.
func (s *Scheduler) missLocked(it *item, until, now time.Time) {
	if !it.next.Before(until) {
		return
	}
	if it.missed == 0 {
		it.missFrom, it.missSince = it.next, now
	}
	n := int(until.Sub(it.next) / it.c.Every)
	it.missed += n
	s.stats.Missed[check.MissedOverrun] += int64(n)
	it.next, it.missTo = until, until
}

// missedLocked turns the slots an item missed into one range.
func (s *Scheduler) missedLocked(it *item) {
	if it.missed == 0 {
		return
	}
	s.ranges = append(s.ranges, check.Range{Reason: check.MissedOverrun, Check: it.c.ID, From: it.missFrom, To: it.missTo, Slots: it.missed})
	it.missed = 0
}

// work runs an item and then whatever waits for a place.
func (s *Scheduler) work(ctx context.Context, it *item) {
	for it != nil {
		s.mu.Lock()
		now := s.now()
		if it.slot.Sub(now) > stepLimit {
			// The clock went back, which the next tick deals with.
			s.ready = slices.Insert(s.ready, 0, it)
			s.running--
			s.mu.Unlock()
			return
		}
		if end := it.slot.Add(it.c.Every); !now.Before(end) && !it.gone {
			// No place was free while its slot lasted: that slot was missed, and the running one is taken.
			current := it.slotAt(now)
			it.next = it.slot
			s.missLocked(it, current, now)
			it.slot, it.next = current, current.Add(it.c.Every)
		}
		s.missedLocked(it)
		s.delayLocked(it, now)
		run, cancel := context.WithCancel(ctx)
		it.started, it.cancel = true, cancel
		slot := it.slot
		s.mu.Unlock()

		r, ok := s.runOnce(run, it, slot)
		cancel()

		s.mu.Lock()
		it.busy, it.started, it.cancel = false, false, nil
		s.stats.Runs++
		if ok && !it.gone {
			s.results = append(s.results, r)
			s.doneLocked(it, slot)
			if it.first {
				it.first = false
				s.left--
			}
			if s.stats.Runs == 1 || s.left == 0 {
				s.wakeEarly()
			}
			if s.left == 0 {
				s.left = -1
			}
		}
		it = s.nextLocked()
		s.mu.Unlock()
	}
}

// nextLocked takes the next item that waits, or gives the place back.
func (s *Scheduler) nextLocked() *item {
	if len(s.ready) == 0 || s.running > s.limitLocked() {
		s.running--
		return nil
	}
	it := s.ready[0]
	s.ready = s.ready[1:]
	return it
}

func (s *Scheduler) wakeEarly() {
	select {
	case s.early <- struct{}{}:
	default:
	}
}

func (s *Scheduler) delayLocked(it *item, now time.Time) {
	from := it.slot
	if it.notBefore.After(from) {
		from = it.notBefore
	}
	it.notBefore = time.Time{}
	d := max(0, now.Sub(from))
	i := slices.IndexFunc(delayBounds[:], func(b time.Duration) bool { return d <= b })
	if i < 0 {
		i = len(delayBounds)
	}
	s.stats.Delays[i]++
	s.stats.DelaySum += d
}

// flush hands what has finished to the sink.
func (s *Scheduler) flush() {
	s.mu.Lock()
	results, ranges := s.results, s.ranges
	s.results, s.ranges = nil, nil
	s.mu.Unlock()
	if len(results) == 0 && len(ranges) == 0 {
		return
	}
	if err := s.o.Sink.Record(results, ranges); err != nil {
		s.log.Error("cannot record results", "results", len(results), "ranges", len(ranges), "err", err)
	}
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

// switchTo puts p in force. Checks that p leaves as they were go on; what it changes or leaves out is cut short.
func (s *Scheduler) switchTo(p *plan.Plan, now time.Time) {
	s.mu.Lock()
	kept := map[string]*item{}
	for _, c := range p.Checks {
		if it, ok := s.items[c.ID]; ok && same(it.c, c) && s.plan.Source(c.Path) == p.Source(c.Path) {
			kept[c.ID] = it
		}
	}
	for _, it := range s.order {
		if kept[it.c.ID] == nil {
			s.dropLocked(it, p, now)
		}
	}
	s.mu.Unlock()
	s.flush()
	if err := s.o.Sink.Applied(p, now); err != nil {
		s.log.Error("cannot record the plan", "version", p.Version, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.items, s.order = p, map[string]*item{}, nil
	var fresh []*item
	for _, c := range p.Checks {
		it := kept[c.ID]
		if it == nil {
			it = s.newItem(p, c)
			fresh = append(fresh, it)
		}
		s.items[c.ID] = it
		s.order = append(s.order, it)
	}
	s.gate.reset(p)
	s.spreadLocked(fresh, now)
	s.log.Info("plan in force", "plan", p.Name, "version", p.Version, "checks", len(p.Checks), "new_or_changed", len(fresh))
}

// dropLocked takes an item out of the plan. Its slots that have come and have no result are named as missed, except the
// one that the next plan runs under the same id.
func (s *Scheduler) dropLocked(it *item, next *plan.Plan, now time.Time) {
	s.missedLocked(it)
	until := it.slotAt(now).Add(it.c.Every)
	if c, ok := next.Check(it.c.ID); ok && plan.SlotAt(s.o.Machine, c, now).Equal(it.slotAt(now)) {
		until = it.slotAt(now)
	}
	s.nameLocked(check.MissedStopped, it, it.pending(), until, now)
	if it.busy {
		s.cutLocked(it)
	}
}

// pending is the first slot that has neither been run nor named.
func (it *item) pending() time.Time {
	if it.busy {
		return it.slot
	}
	return it.next
}

// nameLocked records the slots of an item in [from, until) as missed. The range ends at now if the last slot is not over
// yet: no record speaks of a time to come.
func (s *Scheduler) nameLocked(r check.Reason, it *item, from, until, now time.Time) {
	n := int(until.Sub(from) / it.c.Every)
	if n <= 0 {
		return
	}
	if end := now.Truncate(time.Second).Add(time.Second); end.Before(until) {
		until = end
	}
	s.stats.Missed[r] += int64(n)
	s.ranges = append(s.ranges, check.Range{Reason: r, Check: it.c.ID, From: from, To: until, Slots: n})
}

// cutLocked ends the run of an item, whose result is dropped.
func (s *Scheduler) cutLocked(it *item) {
	it.gone = true
	if it.cancel != nil {
		it.cancel()
	}
	s.ready = slices.DeleteFunc(s.ready, func(o *item) bool { return o == it })
}

// same reports whether two checks are run alike.
func same(a, b plan.Check) bool {
	return a.Kind == b.Kind && a.Every == b.Every && a.Timeout == b.Timeout && a.Confirm == b.Confirm && a.Path == b.Path &&
		a.Service == b.Service && fmt.Sprint(a.Options) == fmt.Sprint(b.Options)
}

func (s *Scheduler) newItem(p *plan.Plan, c plan.Check) *item {
	it := &item{c: c, offset: int64(plan.Offset(s.o.Machine, c.ID, c.Every) / time.Second)}
	k, ok := s.o.Kinds.Lookup(c.Kind)
	if !ok {
		it.err = fmt.Errorf("this program has no kind %q", c.Kind)
		return it
	}
	it.fn, it.err = k.New(c.Options, check.Env{
		Check: c.ID, Timeout: c.Timeout, Now: s.o.Now, Source: p.Source(c.Path), Secret: s.o.Secret, ClockProven: s.o.ClockProven,
	})
	return it
}

// slotAt is plan.SlotAt without the hash.
func (it *item) slotAt(t time.Time) time.Time {
	every := int64(it.c.Every / time.Second)
	into := (t.Unix() - it.offset) % every
	if into < 0 {
		into += every
	}
	return time.Unix(t.Unix()-into, 0).UTC()
}
