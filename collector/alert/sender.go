package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"egovmon/collector/incident"
	"egovmon/collector/profile"
	"egovmon/collector/suspend"
)

const (
	// lookEvery is how often the sender looks for what has become due, besides being woken.
	lookEvery = time.Second
	// retryFirst and retryMost bound the wait after a failed attempt, which doubles each time.
	retryFirst = 15 * time.Second
	retryMost  = 15 * time.Minute
	pruneEvery = time.Hour
	maxError   = 300 // bytes of an error that are kept
)

// A sender of one channel. It returns nil once the other side has the message.
type transport interface {
	send(ctx context.Context, to string, c Content) error
}

// Options are what a Sender is made from. Dir, Incidents and Profile must be set.
type Options struct {
	Dir    string // of the outbox
	Config Config
	// Incidents lists the open incidents and those that closed lately.
	Incidents func() []incident.Incident
	Profile   func() *profile.Profile
	// Escalated is told, before it is done, that an incident is taken a step of the roster further; it may be told of the
	// same step more than once. nil for nobody.
	Escalated func(ctx context.Context, incident string, step profile.Name)
	Held      func() []suspend.Notice // announced stretches; nil for none
	Now       func() time.Time        // default time.Now
	Logger    *slog.Logger            // default slog.Default()
}

// The results that attempts are counted by.
const (
	ResultOK    = "ok"
	ResultError = "error"
)

// A Count is how many attempts by a channel came to a result since the start: egovmon_notifications_total.
type Count struct {
	Channel, Result string
	N               uint64
}

// A Sender tells people of incidents while its Run is under way. Its methods may be called at the same time.
type Sender struct {
	opts       Options
	transports map[string]transport
	outbox     *outbox
	wakes      map[string]chan struct{}

	mu      sync.Mutex
	counts  map[Count]uint64 // N is 0 in the key
	waiting []Decision
	said    map[Decision]bool // decisions that were logged
}

// New opens the outbox and the channels. The error tells what of the configuration cannot work.
func New(o Options) (*Sender, error) {
	if o.Dir == "" || o.Incidents == nil || o.Profile == nil {
		return nil, errors.New("alert: Options need a Dir, Incidents and a Profile")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.Config.Check(); err != nil {
		return nil, err
	}
	s := &Sender{opts: o, transports: map[string]transport{}, wakes: map[string]chan struct{}{}, counts: map[Count]uint64{}, said: map[Decision]bool{}}
	var err error
	if s.transports, err = channels(o); err != nil {
		return nil, err
	}
	for channel := range s.transports {
		s.wakes[channel] = make(chan struct{}, 1)
		s.counts[Count{channel, ResultOK, 0}], s.counts[Count{channel, ResultError, 0}] = 0, 0
	}
	s.outbox, err = openOutbox(o.Dir, o.Logger)
	return s, err
}

// channels opens what is configured.
func channels(o Options) (map[string]transport, error) {
	c, out := o.Config, map[string]transport{}
	var errs []error
	put := func(name string, on bool, open func() (transport, error)) {
		if !on {
			return
		}
		t, err := open()
		errs = append(errs, err)
		out[name] = t
	}
	put(ByMail, c.Mail != nil, func() (transport, error) { return newMailer(*c.Mail) })
	put(ByWebhook, c.Webhook != nil, func() (transport, error) { return newCaller(*c.Webhook, o.Now) })
	put(BySMS, c.SMS != nil, func() (transport, error) { return newGateway(BySMS, *c.SMS) })
	put(ByModem, c.Modem != nil, func() (transport, error) { return newModem(*c.Modem) })
	put(ByZalo, c.Zalo != nil, func() (transport, error) { return newZalo(*c.Zalo, filepath.Clean(o.Dir)+zaloSuffix, o.Now) })
	put(ByTelegram, c.Telegram != nil, func() (transport, error) { return newGateway(ByTelegram, *c.Telegram) })
	put(ByAlertmanager, c.Alertmanager != nil, func() (transport, error) { return newAlertmanager(*c.Alertmanager, o.Now) })
	put(BySiren, c.Siren != nil, func() (transport, error) { return newSiren(*c.Siren) })
	return out, errors.Join(errs...)
}

// zaloSuffix makes the name of the file of Zalo's tokens from that of the outbox, which holds nothing but records.
const zaloSuffix = "-zalo.json"

// Wake makes the sender look at once. It never blocks.
func (s *Sender) Wake() {
	for _, c := range s.wakes {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Run sends what becomes due until ctx ends; then it lets what is under way come to its end, which is bounded. Channels
// do not wait for one another.
func (s *Sender) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for channel := range s.transports {
		g.Go(func() error { return s.serve(ctx, channel) })
	}
	if len(s.transports) == 0 { // nothing can be sent, and that is told of
		g.Go(func() error { return s.serve(ctx, "") })
	}
	g.Go(func() error { return s.prune(ctx) })
	return g.Wait()
}

func (s *Sender) prune(ctx context.Context) error {
	t := time.NewTicker(pruneEvery)
	defer t.Stop()
	for {
		open := map[string]bool{}
		for _, i := range s.opts.Incidents() {
			open[i.ID] = open[i.ID] || i.IsOpen()
		}
		if err := s.outbox.prune(s.opts.Now(), open); err != nil {
			s.opts.Logger.Warn("alert: old records of the outbox cannot be removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// serve sends what is due by one channel.
func (s *Sender) serve(ctx context.Context, channel string) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		s.send(ctx, channel)
		select {
		case <-ctx.Done():
			return nil
		case <-s.wakes[channel]:
		case <-t.C:
		}
	}
}

// send tries every message that is due by the channel, one after the other. The plan is made anew after each, so that
// what is over meanwhile is not told.
func (s *Sender) send(ctx context.Context, channel string) {
	for ctx.Err() == nil {
		view := s.opts.Config.View()
		view.Profile = s.opts.Profile()
		if s.opts.Held != nil {
			view.Held = s.opts.Held()
		}
		messages, waiting := Plan(s.opts.Now(), s.opts.Incidents(), s.outbox.all(), view)
		s.explain(waiting)
		i := slices.IndexFunc(messages, func(m Message) bool { return m.Channel == channel })
		if i < 0 || !s.try(ctx, &messages[i], view.Profile) {
			return
		}
	}
}

// try makes one attempt. It reports whether the next message may be tried: not when the outbox cannot be written.
func (s *Sender) try(ctx context.Context, m *Message, p *profile.Profile) bool {
	now := s.opts.Now().UTC()
	r := s.outbox.all()[m.Key]
	if r.First.IsZero() {
		r.Key, r.Address, r.First = m.Key, m.Address, now
	}
	r.Covers, r.Attempts, r.Next = m.Covers(), r.Attempts+1, now.Add(backOff(r.Attempts))
	if err := s.outbox.put(r); err != nil { // before the attempt: what cannot be remembered is not sent
		s.opts.Logger.Error("alert: nothing is sent", "err", err)
		return false
	}
	s.escalated(ctx, m)
	// The end of the program does not cut an attempt off: its result would not be known.
	err := s.transports[m.Channel].send(context.WithoutCancel(ctx), m.To, Render(m, p, now))
	r.Error = ""
	if err == nil {
		r.Sent, r.Next = s.opts.Now().UTC(), time.Time{}
	} else {
		r.Error = clip(err.Error(), maxError)
		r.Next = s.opts.Now().UTC().Add(backOff(r.Attempts - 1))
	}
	result := ResultOK
	if err != nil {
		result = ResultError
	}
	s.mu.Lock()
	s.counts[Count{m.Channel, result, 0}]++
	s.mu.Unlock()
	if e := s.outbox.put(r); e != nil {
		s.outbox.remember(r)
		s.opts.Logger.Error("alert: the result of an attempt cannot be kept; after a restart it may be made again", "message", m.Key, "err", e)
	}
	if err != nil {
		s.opts.Logger.Warn("alert: not delivered", "message", m.Key, "channel", m.Channel, "attempts", r.Attempts, "next", r.Next, "err", err)
	} else {
		s.opts.Logger.Info("alert: delivered", "message", m.Key, "channel", m.Channel, "reason", m.Why)
	}
	return true
}

// escalated tells which incidents a message takes a step further.
func (s *Sender) escalated(ctx context.Context, m *Message) {
	for _, i := range m.Items {
		if s.opts.Escalated != nil && strings.HasPrefix(i.Event, Escalated) {
			s.opts.Escalated(ctx, i.Incident, i.Step)
		}
	}
}

// backOff is how long to wait after so many failed attempts and one more.
func backOff(failed int) time.Duration { return min(retryFirst<<min(failed, 10), retryMost) }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// explain keeps the decisions, and logs the new ones that a person should know of.
func (s *Sender) explain(waiting []Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = waiting
	said := map[Decision]bool{}
	for _, d := range waiting {
		said[d] = true
		switch {
		case s.said[d]:
		case d.Why == NoChannel:
			s.opts.Logger.Error("alert: nobody can be told: enter contacts for the office and set their channel up", "incident", d.Incident, "event", d.Event)
		case d.Why == OneChannel:
			s.opts.Logger.Error("alert: critical, and told by one channel alone: set up a second one that depends on nothing of the first, such as a modem", "incident", d.Incident)
		case d.Why != Repeat && d.Why != WaitRetry:
			s.opts.Logger.Info("alert: not sent", "incident", d.Incident, "event", d.Event, "channel", d.Channel, "reason", d.Why)
		}
	}
	s.said = said
}

// Waiting says why events were not told to somebody when the sender looked last.
func (s *Sender) Waiting() []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.waiting)
}

// Counts returns the attempts since the start, by channel and result.
func (s *Sender) Counts() []Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Count
	for c := range maps.Keys(s.counts) {
		c.N = s.counts[Count{c.Channel, c.Result, 0}]
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Channel, b.Channel), strings.Compare(a.Result, b.Result))
	})
	return out
}

// A Told says what became of one message of an incident, for people: without the address itself.
type Told struct {
	Channel  string
	Event    string
	At       time.Time // delivered; zero while it is not
	Attempts int
	Error    string // of the last attempt
}

// Told lists what was sent or tried for an incident, in the order of the first attempts.
func (s *Sender) Told(id string) []Told {
	var rs []Record
	for _, r := range s.outbox.all() {
		if slices.ContainsFunc(r.Covers, func(c Cover) bool { return c.Incident == id }) {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b Record) int { return cmp.Or(a.First.Compare(b.First), strings.Compare(a.Key, b.Key)) })
	var out []Told
	for _, r := range rs {
		for _, c := range r.Covers {
			if c.Incident == id {
				out = append(out, Told{r.Address.Channel, c.Event, r.Sent, r.Attempts, r.Error})
			}
		}
	}
	return out
}

// String describes a message for a log.
func (m *Message) String() string { return fmt.Sprintf("%s by %s: %s", m.Key, m.Channel, m.Why) }
