package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"egovmon/agent/check"
	"egovmon/agent/check/network"
	"egovmon/agent/durable"
	"egovmon/agent/host"
	"egovmon/agent/journal"
	"egovmon/agent/notes"
	"egovmon/agent/plan"
	"egovmon/agent/push"
	"egovmon/agent/schedule"
	"egovmon/exporter"
)

// GCPercent is what a program that is nothing but an agent passes to debug.SetGCPercent: it trades processor time, of
// which an agent uses little, for memory.
const GCPercent = 60

const (
	journalDir  = "journal"
	formerFile  = "journal.head"  // beside it: which journal that is
	idleTimeout = 2 * time.Minute // of the agent's own port

	// The first look for notes of checks that have left the plan, and the time to the next: a computer that is switched off
	// every evening has its look too.
	notesFirst, notesEvery = time.Minute, 12 * time.Hour
)

// ErrShutdown is the cause (see [context.WithCancelCause]) to end Run with when the machine is being switched off.
var ErrShutdown = errors.New("the machine is being switched off")

// endCause is what the journal's end and the goodbye say of a context that ended.
func endCause(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), ErrShutdown) {
		return "shutdown"
	}
	return "stop"
}

// Options are what an agent is made of.
type Options struct {
	Dir      string // data folder; made with mode 0700
	Identity *host.Identity
	Kinds    check.Table
	Config   Config // Listen "-" opens no port
	Build    exporter.Build
	Log      *slog.Logger
	Now      func() time.Time // default time.Now
	// Suspended says how long the machine has been suspended in all. Default schedule.SystemSuspended.
	Suspended func() time.Duration
	// Boot tells which start of the machine this is, and how long ago it was, the time that it slept included. Default
	// schedule.SystemBoot.
	Boot func() (id string, up time.Duration)
	// ShutDownAt tells whether the machine was switched off in order about then, when the agent itself was not told so.
	// Nil when that cannot be told.
	ShutDownAt func(end time.Time) bool
	// Dial opens connections to the collector. Default the operating system's, through the proxy of Config if there is one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Daemon is one agent. Open has made everything that can fail; Run lets it work.
type Daemon struct {
	o       Options
	log     *slog.Logger
	journal *journal.Journal
	sched   *schedule.Scheduler
	pusher  *push.Pusher
	sink    *sink
	notes   *notes.Store
	client  *http.Client
	listen  net.Listener // nil when no port is opened
	server  *http.Server

	unlock func()

	mu   sync.Mutex     // guards what follows
	id   *host.Identity // renewal replaces it
	told *plan.Plan     // the last plan handed to the scheduler
}

// Open opens the journal and everything else that an agent needs. After an error nothing is left open.
func Open(o Options) (_ *Daemon, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Suspended == nil {
		o.Suspended = schedule.SystemSuspended
	}
	if o.Boot == nil {
		o.Boot = schedule.SystemBoot()
	}
	if o.Dial == nil {
		o.Dial = o.Config.Dial(o.Dir)
	}
	d := &Daemon{o: o, log: o.Log, id: o.Identity}
	if err := durable.CheckOwner(o.Dir); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := durable.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("agent: data folder: %w", err)
	}
	if d.unlock, err = lock(o.Dir); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := durable.Sweep(o.Dir, o.Now()); err != nil {
		o.Log.Warn("what a write that was cut short has left cannot be removed", "err", err)
	}
	defer func() {
		if err != nil {
			if d.journal != nil {
				_ = d.journal.Close("stop", o.Now())
			}
			d.unlock()
		}
	}()
	signer, err := o.Identity.JournalSigner()
	if err != nil {
		return nil, fmt.Errorf("agent: journal key: %w", err)
	}
	j, found, err := journal.OpenJournal(journal.Options{
		Dir: filepath.Join(o.Dir, journalDir), Machine: o.Identity.Machine, Signer: signer, Now: o.Now, Build: o.Build.Version, Log: o.Log,
		Former: filepath.Join(o.Dir, formerFile), Boot: o.Boot,
	})
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	d.journal = j
	d.sink = &sink{dir: o.Dir, journal: j, log: o.Log}
	d.notes = notes.New(filepath.Join(o.Dir, notes.Folder), o.Now, o.Log)
	d.client = d.newClient()
	d.sched = schedule.New(schedule.Options{
		Machine: o.Identity.Machine, Kinds: o.Kinds, Sink: d.sink, Log: o.Log, Now: o.Now, Suspended: o.Suspended,
		Built: o.Build.Date, CollectorTime: d.collectorTime, Anchors: network.ProbeAnchors,
		Secret:      func(name string) (string, error) { return host.Secret(o.Dir, name) },
		Notes:       d.notes.Of,
		Shared:      d.notes.Shared,
		ClockProven: d.clockProven,
		ClockMoved:  func(by time.Duration) { d.journal.MoveClock(by, o.Now()) },
		Before:      before(found, o.ShutDownAt), RecordedBefore: j.LastBefore,
	})
	if d.pusher, err = d.newPusher(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if p, signed, e := StoredPlan(o.Dir, o.Identity, o.Kinds, found.Plan); e == nil {
		d.follow(p, signed)
	} else if !errors.Is(e, os.ErrNotExist) {
		o.Log.Warn("the plan of the last run cannot be used; waiting for the collector", "err", e)
	}
	if err := d.openPort(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return d, nil
}

// before is what the scheduler needs to know of what the journal holds.
func before(r journal.Recovered, shutDownAt func(time.Time) bool) schedule.Before {
	b := schedule.Before{Last: r.LastTime, Slots: r.LastSlot, Ended: r.Ended, Ranges: r.Ranges, LostUntil: r.TornAt}
	if r.Plan != nil {
		b.Applied, b.Reason = r.Plan.At, check.MissedStopped
		if r.Clean && r.EndCause == "shutdown" || shutDownAt != nil && shutDownAt(r.LastTime) {
			b.Reason = check.MissedShutdown
		}
	}
	return b
}

func (d *Daemon) newPusher() (*push.Pusher, error) {
	logKey, err := d.id.LogVerifier()
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	planKey, err := d.id.PlanVerifier()
	if err != nil {
		return nil, fmt.Errorf("plan key: %w", err)
	}
	journalKey, err := d.id.JournalVerifier()
	if err != nil {
		return nil, fmt.Errorf("journal key: %w", err)
	}
	return push.New(push.Options{
		JournalKey: journalKey, CosignKey: d.id.CosignKey,
		Collector: d.id.Collector, Client: d.client, Machine: d.id.Machine, Journal: d.journal, LogKey: logKey, PlanKey: planKey,
		Plans: d, SignedPlans: d.sink.followed, Fork: d.sink.Fork, Redated: d.sched.Rerun, Dir: d.o.Dir, Now: d.o.Now, Log: d.log,
	})
}

// newClient makes the client for the agent API. It always shows the newest certificate.
func (d *Daemon) newClient() *http.Client {
	conf := d.id.TLSConfig(d.o.Now)
	conf.Certificates = nil
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return &d.id.TLS, nil
	}
	return &http.Client{Transport: push.NewTransport(conf, d.o.Dial)}
}

// InForce returns hash and version of the plan that is followed, or about to be.
func (d *Daemon) InForce() (string, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told == nil {
		return "", 0
	}
	return d.told.Hash(), d.told.Version
}

// follow hands a plan to the scheduler. signed is nil for one that was kept without its signature.
func (d *Daemon) follow(p *plan.Plan, signed []byte) {
	d.mu.Lock()
	d.told = p
	d.mu.Unlock()
	d.sink.received(p.Hash(), signed)
	d.sched.Apply(p)
}

// Apply follows a plan that the collector signed.
func (d *Daemon) Apply(text, signed []byte) error {
	p, err := plan.Parse(text, d.o.Kinds)
	if err != nil {
		return fmt.Errorf("the plan cannot be used by version %s: %w", d.o.Build.Version, err)
	}
	if p.For != d.id.Machine {
		return fmt.Errorf("the plan is for %s, and this is %s", p.For, d.id.Machine)
	}
	if _, v := d.InForce(); p.Version <= v {
		return fmt.Errorf("the plan has version %d, and version %d is in force", p.Version, v)
	}
	d.follow(p, signed)
	return nil
}

// Run works until ctx ends; then it records the end, sends what it can and says goodbye.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.unlock()
	d.log.Info("agent is running", "machine", d.id.Machine, "unit", d.id.Unit, "collector", d.id.Collector, "build", d.o.Build.Version)
	g, gctx := errgroup.WithContext(ctx)
	schedDone := make(chan struct{})
	g.Go(func() error { defer close(schedDone); d.sched.Run(gctx); return nil })
	g.Go(func() error { return d.journal.Run(gctx) })
	g.Go(func() error { return d.pusher.Run(gctx) })
	g.Go(func() error { return d.renewals(gctx) })
	g.Go(func() error { return d.sweepNotes(gctx) })
	if d.o.Config.Alarm.After > 0 { // not in the agent that the collector carries
		g.Go(func() error { return d.watchCollector(gctx) })
	}
	if d.listen != nil {
		g.Go(func() error { return serve(gctx, d.server, d.listen) })
	}
	err := g.Wait()
	cause := endCause(ctx)
	if e := d.journal.Close(cause, d.o.Now()); e != nil && err == nil {
		err = e
	}
	d.goodbye(ctx, cause)
	d.client.CloseIdleConnections()
	return err
}

// sweepNotes removes now and then what checks have kept that are no longer in the plan. Without a plan nothing is known of
// that.
func (d *Daemon) sweepNotes(ctx context.Context) error {
	for wait := notesFirst; ; wait = notesEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		d.sweepNotesOnce()
	}
}

func (d *Daemon) sweepNotesOnce() {
	d.mu.Lock()
	p := d.told
	d.mu.Unlock()
	if p == nil {
		return
	}
	planned := func(id string) bool { _, ok := p.Check(id); return ok }
	if err := d.notes.Sweep(planned); err != nil {
		d.log.Warn("what checks kept that have left the plan cannot be removed", "err", err)
	}
}

// goodbye sends the last batches and tells the collector that this stop is meant.
func (d *Daemon) goodbye(ctx context.Context, cause string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := d.pusher.Round(ctx); err != nil {
		d.log.Info("what was recorded last is sent at the next start", "err", err)
		return
	}
	if err := d.pusher.Goodbye(ctx, cause); err != nil {
		d.log.Info("the collector was not told of the stop", "err", err)
	}
}

// serve answers on a listener until ctx ends.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
