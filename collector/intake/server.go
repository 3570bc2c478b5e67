package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"egovmon/agent/check"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

// A Consumer is a store that is derived from the log. It is given every Accepted value in the order of the log, one
// after the other, once the batch is durable and acknowledged.
type Consumer struct {
	Name string
	// Next is the first leaf that the store has not taken in; what lies before it is not given to it.
	Next int64
	// Accept takes one value in. After an error it is given the same value again, later; nothing is left out.
	Accept func(ctx context.Context, a Accepted) error
}

// Limits bound what agents may ask of the collector. A zero field has its default.
type Limits struct {
	Requests int // batches requests at once, of all machines; default 256
	Room     int // bytes of the bodies of these requests; default 256 MiB
	// Of one machine, each minute: bytes of batches (default 32 MiB), results (120,000) and new journals (6). A machine
	// that was idle may send twice as much, and 30 journals, at once.
	Bytes, Results, Journals int
	// Enrolments of all together each minute, with and without a good token; default 120. EnrolmentsOfOne are those from
	// one address; default a quarter of them.
	Enrolments, EnrolmentsOfOne int
}

func (l Limits) complete() Limits {
	enrolments := cmp.Or(l.Enrolments, 120)
	return Limits{
		Requests: cmp.Or(l.Requests, 256), Room: cmp.Or(l.Room, 256<<20), Bytes: cmp.Or(l.Bytes, 32<<20), Results: cmp.Or(l.Results, 120_000),
		Journals: cmp.Or(l.Journals, 6), Enrolments: enrolments, EnrolmentsOfOne: cmp.Or(l.EnrolmentsOfOne, max(1, enrolments/4)),
	}
}

// Options say what a Server works with. All but Consumers, Limits, Cosigning and Logger is needed.
type Options struct {
	Dir        string // its folder, for what saves reading the whole log at a start
	Evidence   *evidence.Store
	Registrar  *enrol.Registrar
	Kinds      check.Table
	PlanSigner note.Signer
	Now        func() time.Time
	Consumers  []Consumer
	Limits     Limits
	Cosigning  Cosigning // nil where nothing is cosigned
	Logger     *slog.Logger
}

// A Server takes in what agents send. Its methods may be called at the same time.
type Server struct {
	opts     Options
	limits   Limits
	gate     *gate
	planning sync.Mutex // one SetPlan at a time

	mu          sync.Mutex
	enrolling   enrolling
	machines    map[string]*machine
	recoveryKey knownKey
	claimed     time.Time // see Claimed

	contradictions atomic.Int64 // see Contradictions
	agreed         tlog.Tree    // the last checkpoint of a machine that is of this log; it belongs to Run

	dict dictionaries

	archiving Archive // guarded by mu

	waking chan struct{} // holds one token when the log may have grown
	feed   feed
}

// A machine is what the server knows of one machine. Its fields are guarded by Server.mu; the heads change only in the
// hands of who has busy.
type machine struct {
	busy     sync.Mutex // held by the one batches request under way
	heads    heads
	plan     planInForce
	status   Status
	shape    string // of the plan it follows; "" until a batch of it was judged
	bytes    *rate.Limiter
	results  *rate.Limiter
	journals *rate.Limiter
}

// Open reads from the evidence how far each machine is archived and which plan it is to follow. Run must be called for
// the consumers to be fed.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	limits := o.Limits.complete()
	s := &Server{
		opts: o, limits: limits, machines: map[string]*machine{}, waking: make(chan struct{}, 1),
		gate:      newGate(limits),
		enrolling: newEnrolling(limits),
	}
	if err := s.openFeed(); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	for e, err := range o.Evidence.Entries(s.feed.fold.Next()) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = s.replay(e)
		}
		if err != nil {
			return nil, fmt.Errorf("intake: leaf %d: %w", e.Index, err)
		}
	}
	return s, nil
}

func perMinute(n, burst int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n)/60, burst) }

// replay takes in one archived leaf, as far as heads and plans go.
func (s *Server) replay(e evidence.Stored) error {
	switch e.Leaf.Type() {
	case evidence.Plan:
		return s.replayPlan(e.Index, e.Leaf)
	case evidence.Dictionary:
		return s.replayDictionary(e)
	case evidence.LogKey:
		s.replayKey(e.Index, e.Leaf)
	case evidence.Batch:
		m := s.machine(e.Leaf.Field("machine"))
		received, err := time.Parse(time.RFC3339, e.Leaf.Field("received"))
		if err != nil {
			return err
		}
		m.status.Received = received
		return m.heads.replay(e.Leaf)
	}
	return nil
}

// machine returns what is known of a machine. The caller holds s.mu, or is Open.
func (s *Server) machine(id string) *machine {
	m := s.machines[id]
	if m == nil {
		l := s.limits
		m = &machine{
			bytes: perMinute(l.Bytes, 2*l.Bytes), results: perMinute(l.Results, 2*l.Results),
			journals: perMinute(l.Journals, 30), status: Status{Machine: id},
		}
		s.machines[id] = m
	}
	return m
}

func (s *Server) lookup(id string) *machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine(id)
}

// with runs f with the machine's state.
func (s *Server) with(id string, f func(m *machine)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.machine(id))
}

// wake tells Run that the log may have grown.
func (s *Server) wake() {
	select {
	case s.waking <- struct{}{}:
	default:
	}
}

// answer is what every call about batches is told.
func (s *Server) answer(id, journal, problem string) wire.Answer {
	a := wire.Answer{Checkpoint: string(s.opts.Evidence.Checkpoint()), Time: wire.FormatTime(s.opts.Now()), Error: problem}
	s.with(id, func(m *machine) { a.Head, a.Plan = m.heads.held(journal), m.plan.SHA256 })
	if s.opts.Cosigning != nil {
		a.Cosign = s.opts.Cosigning.Asked(id)
	}
	return a
}

// asRefusal returns what a caller may be told of err.
func asRefusal(err error) *enrol.Refusal {
	if r, ok := errors.AsType[*enrol.Refusal](err); ok {
		return r
	}
	return nil
}
