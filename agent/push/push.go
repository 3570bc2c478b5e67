package push

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
)

const (
	backoffMin = time.Second
	backoffMax = 5 * time.Minute
	// maxSend is how many bytes of batches one request carries: an agent has 20 MiB in all.
	maxSend = 512 << 10
	// maxTrip is the longest call that says anything about the clock.
	maxTrip    = 5 * time.Second
	shortGap   = 75 * time.Second // the longest silence towards the collector, at least
	longGap    = 2 * time.Minute  // and at most
	maxRetry   = time.Hour        // longest Retry-After that is obeyed
	goodbyeFor = 2 * time.Second
	// measureAfter is how long the clock was not measured when it is, before anything that waits is sent.
	measureAfter = 10 * time.Minute
	planGap      = time.Second / 2 // until the second call of a machine that has no plan yet, then doubled: it has just enrolled
	proveEvery   = 10 * time.Minute
	forkGap      = 10 * time.Minute // least time between two journals that the collector could not take
)

// Plans is where a Pusher's plans go.
type Plans interface {
	// InForce returns the SHA-256 (lower-case hex) and the version of the plan that is followed; "" and 0 for none.
	InForce() (hash string, version int64)
	// Apply reads a plan's text, whose signature and place in the log were verified, and follows it; signed is the note
	// that it stood in, to be kept. It refuses a plan that is not for this machine, or whose version is not greater than
	// the one in force.
	Apply(text, signed []byte) error
}

// Options are what a Pusher needs.
type Options struct {
	Collector string       // base URL, https://host:port
	Client    *http.Client // with the machine's certificate, and the district's CA as its only root
	Machine   string
	Journal   *journal.Journal
	LogKey    note.Verifier // signs checkpoints; its name is the log's origin
	PlanKey   note.Verifier // signs plans
	Plans     Plans
	// JournalKey is that of the batches which are sealed now. What another key has signed and the collector refuses, as
	// after a machine has enrolled again, is recorded anew and signed with this one. Optional.
	JournalKey note.Verifier
	// CosignKey cosigns checkpoints, when the collector asks for it and they continue what was seen; a private key as
	// wire.SignerKey writes it. Optional.
	CosignKey string
	// Fork ends the journal, which the collector holds another continuation of, and begins a new one.
	Fork func(now time.Time) error
	// Redated is told that the present journal was ended, and goes on in another one, as records of a wrong clock were
	// recorded anew. Optional.
	Redated func()
	// SignedPlans returns the plans that were followed of late as the collector signed them, the one in force at the end.
	// They are given back to a collector that was restored and does not know them. Optional.
	SignedPlans func() [][]byte

	Dir string // keeps what was seen of the log, and the keys that it is followed by
	Now func() time.Time
	Log *slog.Logger
	// Prove is how often a proof is asked for that the collector's log continues; between, a checkpoint that is larger
	// than the one seen last is not looked at. Default 10 minutes: a proof is larger than all else in an answer.
	// Negative: with each answer.
	Prove time.Duration
	Gap   time.Duration // longest silence towards the collector; default that of the function Gap
}

// Stats are a Pusher's figures.
type Stats struct {
	Requests    map[string]uint64 // calls by outcome: 2xx, 409, 429, 3xx, 4xx, 5xx, error (no answer, or not the collector's)
	Batches     uint64            // acknowledged
	LastSuccess time.Time         // of a call; zero for none
	Failures    int               // calls in a row without success
	LastError   string            // of the last failure, for a person; "" after a success
	Problem     Problem           // why the last call did not reach the collector; "" when it did
	Offset      time.Duration     // our clock against the collector's, positive when ours is ahead
	Measured    time.Time         // when Offset was measured; zero for never
	Refused     uint64            // checkpoints and plans that do not verify
	Replayed    uint64            // old checkpoints that were given again, of a log that lacks nothing
	Leaves      int64             // of the log, as the last checkpoint that verified says; 0 for none
	Seen        time.Time         // when that one came; zero for one that an earlier run kept
	Cosigned    int64             // leaves of the last checkpoint that was cosigned here; 0 for none
}

// A Pusher sends the batches of one journal and fetches the plans of one machine. Make it with New.
type Pusher struct {
	o     Options
	now   func() time.Time
	log   *slog.Logger
	buf   []byte
	roll  func() float64 // in [0, 1)
	after wire.Head      // sent up to here, or where the collector wants it from
	asked string         // what the collector was granted last, against going in circles
	ended time.Time      // when a journal was ended because the collector could not take it

	logKey       note.Verifier // of the log that is followed: Options.LogKey, or its successor's
	recovery     note.Verifier // nil while it is not known
	askRecovery  time.Time     // not before
	successions  []string      // that were followed
	owing        bool          // the plans that were followed are to be given back before anything measured by them is sent
	tree         tlog.Tree     // of the last checkpoint that verified
	signed       []byte        // that one
	latest       tlog.Tree     // of the last signed checkpoint whose proof has not been asked for
	latestSigned []byte

	cosigned  tlog.Tree // of the last checkpoint that was cosigned, of the log that is followed
	askedSign string    // the checkpoint that was asked for last and could not be cosigned or brought
	signAgain time.Time // before which that one is not tried again

	shown     tlog.Tree // what the collector was shown that does not continue it
	showAgain time.Time

	proved          time.Time // when a proof verified last
	dictionary      []byte    // that the collector offered last; nil for none
	dictionaryRetry time.Time // before which one that could not be had is not fetched again

	measured time.Time // when the clock was measured last, by the monotonic clock; zero for not since the start

	refused string // ETag of a plan that was refused, which is not fetched again before retryPlan
	retry   time.Time

	mu    sync.Mutex
	stats Stats
	said  string // the last complaint in the log
}

// New returns a Pusher that knows the checkpoint kept in Dir. One that cannot be read is an error: without it, nobody
// would see that the collector's log was replaced.
func New(o Options) (*Pusher, error) {
	p := &Pusher{o: o, now: o.Now, log: o.Log, roll: rand.Float64, after: o.Journal.Acked()}
	p.stats.Requests = make(map[string]uint64)
	if err := p.loadKeys(); err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	if err := p.loadCheckpoint(); err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	if err := p.loadCosigned(); err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	p.owing = len(p.successions) > 0 // perhaps: those that the collector knows change nothing
	p.loadDictionary()
	return p, nil
}

// Stats returns the figures of now.
func (p *Pusher) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Requests = maps.Clone(s.Requests)
	return s
}

// Run sends whenever the journal has sealed something, asks for news when nothing was sent for Options.Gap, and
// returns when ctx ends.
func (p *Pusher) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	sealed := p.o.Journal.Sealed()
	unplanned := 0 // calls without a plan in force
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-sealed:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		err := p.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait := cmp.Or(p.o.Gap, Gap(p.o.Journal.SealEvery()))
		sealed = p.o.Journal.Sealed()
		if err != nil {
			p.complain(err)
			wait = backoff(tries, p.roll())
			if b, ok := errors.AsType[*busyError](err); ok {
				wait = max(wait, b.after)
			}
			tries++
			sealed = nil // only time helps
		} else {
			p.recovered()
			if hash, _ := p.o.Plans.InForce(); hash == "" {
				wait = min(wait, planGap<<min(unplanned, 8))
				unplanned++
			}
			tries = 0
		}
		timer.Reset(wait)
	}
}

// Gap is the longest silence towards the collector of an agent that seals a batch every so often: a little more, so that
// it asks for news only when no batch does, from 75 seconds to 2 minutes.
func Gap(seal time.Duration) time.Duration { return min(max(seal+seal/4, shortGap), longGap) }

// backoff is how long to wait after tries failures and one more: full jitter below a limit that doubles from 1 s to
// 5 min. roll is in [0, 1).
func backoff(tries int, roll float64) time.Duration {
	limit := backoffMax
	if tries < 9 {
		limit = min(backoffMax, backoffMin<<tries)
	}
	return max(100*time.Millisecond, time.Duration(roll*float64(limit)))
}

// Round sends all that is sealed, or asks for news when there is nothing, and follows what the answers say.
func (p *Pusher) Round(ctx context.Context) error {
	sent, damaged := false, ""
	if p.owing {
		if err := p.giveBack(ctx); err != nil {
			return cmp.Or(p.ask(ctx), err) // its log may have been succeeded once more
		}
		p.owing = false
	}
	if err := p.learn(ctx); err != nil {
		return err
	}
	for {
		bs, err := p.o.Journal.Batches(p.after, wire.MaxBatches, maxSend)
		if errors.Is(err, journal.ErrUnknownHead) {
			p.after = wire.Head{} // it was removed: go on with what is there
			bs, err = p.o.Journal.Batches(p.after, wire.MaxBatches, maxSend)
		}
		if damage, ok := errors.AsType[*journal.DamagedError](err); ok {
			p.log.Error("journal is damaged: what lies behind the damage goes into a new one", "err", err)
			if err := p.fork(damage.Journal); err != nil {
				return err
			}
			if damaged == damage.Journal {
				return damage
			}
			damaged = damage.Journal
			continue
		}
		if err != nil {
			return err
		}
		if len(bs) == 0 {
			break
		}
		sent = true
		before := p.after
		if err := p.send(ctx, bs); err != nil {
			return err
		}
		if p.after == before { // whatever the reason, it must not be done over and over without a pause
			return fmt.Errorf("push: the collector answered batches %d to %d of journal %s, and is to be sent the same again", bs[0].Head.Seq, bs[len(bs)-1].Head.Seq, bs[0].Head.Journal)
		}
	}
	if !sent {
		return p.ask(ctx)
	}
	return nil
}

// learn measures the clock before what waits is sent, if that has not been done for long: what was recorded meanwhile by a
// clock that is known to have been wrong is recorded anew, with the state of the clock. What the collector holds already,
// as its answer was lost, is not: it is sent first, up to there.
func (p *Pusher) learn(ctx context.Context) error {
	if !p.o.Journal.CanRedate() || !p.measured.IsZero() && time.Since(p.measured) < measureAfter {
		return nil
	}
	if bs, err := p.o.Journal.Batches(p.after, 1, 0); err == nil && len(bs) == 0 {
		return nil // the round asks for news
	}
	re, err := p.call(ctx, http.MethodGet, wire.PathCheckpoint, "", nil)
	switch {
	case err != nil:
		return err
	case re.status == http.StatusTooManyRequests:
		return &busyError{re.after}
	case p.measured.IsZero() || time.Since(p.measured) >= measureAfter:
		return nil // the answer took too long to say anything about the clock
	}
	for head := re.answer.Head; ; {
		bs, err := p.o.Journal.Batches(p.after, wire.MaxBatches, maxSend)
		if err != nil {
			return nil // which the round deals with
		}
		bs = slices.DeleteFunc(bs, func(b journal.Sealed) bool { return b.Head.Journal != head.Journal || b.Head.Seq > head.Seq })
		if len(bs) == 0 {
			break
		}
		before := p.after
		if err := p.send(ctx, bs); err != nil {
			return err
		}
		if p.after == before {
			return nil
		}
	}
	n, err := p.o.Journal.Redate()
	if _, damaged := errors.AsType[*journal.DamagedError](err); damaged || errors.Is(err, journal.ErrUnknownHead) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("push: what a wrong clock has recorded: %w", err)
	}
	if n > 0 {
		p.after = p.o.Journal.Acked()
		if p.o.Redated != nil {
			p.o.Redated()
		}
		p.log.Warn("the clock of this machine was wrong while the collector was away: what was recorded then is recorded anew, with the state of the clock",
			"records", n, "offset", p.Stats().Offset)
	}
	return nil
}

// send posts batches and follows the answer.
func (p *Pusher) send(ctx context.Context, bs []journal.Sealed) error {
	p.buf = p.buf[:0]
	for _, b := range bs {
		p.buf = wire.AppendBatch(p.buf, b.Batch.Note, b.Batch.Body)
	}
	path, proved := p.proving(wire.PathBatches)
	re, err := p.call(ctx, http.MethodPost, path, wire.TypeBatches, p.buf)
	if p.formerKey(err, bs[0]) {
		p.log.Warn("the collector does not take what an earlier identity has signed; it is recorded anew", "journal", bs[0].Head.Journal, "err", err)
		return p.fork(bs[0].Head.Journal)
	}
	if err != nil {
		return err
	}
	p.compress(ctx, re)
	last := bs[len(bs)-1].Head
	if re.status == http.StatusOK { // else the head may be that of another continuation
		p.acknowledge(re.answer.Head, last)
	}
	log := p.logKey
	if err := p.follow(ctx, re, proved); err != nil {
		return err
	}
	if p.logKey != log {
		re.after = 0 // what was in the way was the log that ended
	}
	switch re.status {
	case http.StatusConflict:
		if re.dictionary == wire.DictionaryNone {
			return p.unread(re.answer, bs[0].Head)
		}
		return p.conflict(re.answer, bs)
	case http.StatusTooManyRequests:
		// A part may have been taken. Whether that is so shows when what follows is taken too.
		if h := re.answer.Head; h.Journal == last.Journal && h.Seq >= bs[0].Head.Seq && h.Seq <= last.Seq {
			p.after = h
		}
		return &busyError{re.after}
	}
	if w := re.answer.Want; w != nil {
		return p.want(*w)
	}
	if h := re.answer.Head; h.Journal != last.Journal || h.Seq < bs[0].Head.Seq {
		return fmt.Errorf("push: the collector took batches %d to %d of journal %s, and says that its head is %d of %.40q", bs[0].Head.Seq, last.Seq, last.Journal, h.Seq, h.Journal)
	}
	p.asked = ""
	return nil
}

// formerKey reports whether a batch was refused because a key has signed it that is ours no more.
func (p *Pusher) formerKey(err error, b journal.Sealed) bool {
	r, ok := errors.AsType[*RefusedError](err)
	if !ok || r.Status != http.StatusForbidden || r.Code != "" || p.o.JournalKey == nil {
		return false
	}
	_, err = note.Open(b.Batch.Note, note.VerifierList(p.o.JournalKey))
	return err != nil
}

// acknowledge moves on to the head that the collector says, and no further than what it was sent: it may hold batches that
// are lost here.
func (p *Pusher) acknowledge(head, last wire.Head) {
	if head.Journal != last.Journal || head.Seq == 0 {
		return
	}
	head.Seq = min(head.Seq, last.Seq)
	before := p.o.Journal.Stats().Batches
	if err := p.o.Journal.Ack(head); err != nil {
		if !errors.Is(err, journal.ErrUnknownHead) {
			p.log.Warn("acknowledgement cannot be kept; the batches will be sent again", "err", err)
		}
		return
	}
	p.after = head
	p.mu.Lock()
	p.stats.Batches += before - min(before, p.o.Journal.Stats().Batches)
	p.mu.Unlock()
}

// want goes back to where the collector wants to have it from. A want that was granted, and comes again without
// anything archived since, is an error, which waits.
func (p *Pusher) want(w wire.Head) error {
	from := wire.Head{Journal: w.Journal, Seq: max(w.Seq, 1) - 1}
	name := fmt.Sprintf("%s/%d", w.Journal, w.Seq)
	if p.asked == name {
		return fmt.Errorf("push: the collector asks again for batch %d of journal %.40q, which it was sent", w.Seq, w.Journal)
	}
	if bs, err := p.o.Journal.Batches(from, 1, 0); err != nil || len(bs) == 0 || bs[0].Head.Journal != w.Journal {
		p.log.Error("collector wants a batch that is not kept here any more", "journal", w.Journal, "seq", w.Seq)
		return p.fork(w.Journal)
	}
	p.asked, p.after = name, from
	return nil
}

// conflict follows a 409: the collector wants other batches, knows these already, or holds another continuation of the
// journal. In that case the journal is ended, and what the collector did not take is recorded again in a new one.
func (p *Pusher) conflict(a wire.Answer, bs []journal.Sealed) error {
	first := bs[0].Head
	p.log.Warn("collector refuses batches", "journal", first.Journal, "seq", first.Seq, "head_journal", a.Head.Journal, "head_seq", a.Head.Seq, "err", a.Error)
	switch {
	case a.Want != nil:
		return p.want(*a.Want)
	case a.Head.Journal == first.Journal && a.Head.Seq >= first.Seq && p.asked != first.Journal:
		// Perhaps these are so old that the collector knows them by their head only.
		if _, err := p.o.Journal.Batches(a.Head, 1, 0); err == nil {
			p.asked, p.after = first.Journal, a.Head
			return nil
		}
	}
	return p.fork(first.Journal)
}

// unread follows a 409 because of a dictionary that the collector does not have, or not any more: its log was restored
// to a state before the dictionary. Everything behind the head that it holds is recorded again, acknowledged or not.
func (p *Pusher) unread(a wire.Answer, first wire.Head) error {
	p.log.Warn("collector has lost the dictionary of batches", "journal", first.Journal, "head_journal", a.Head.Journal, "head_seq", a.Head.Seq, "err", a.Error)
	if a.Want != nil {
		return p.want(*a.Want)
	}
	from := wire.Head{Journal: first.Journal}
	if a.Head.Journal == first.Journal {
		from = a.Head
	}
	return p.forkAfter(first.Journal, &from)
}

// fork begins a new journal, if that has not been done, and carries over what the old one holds beyond what was
// acknowledged.
func (p *Pusher) fork(old string) error { return p.forkAfter(old, nil) }

// forkAfter is fork that carries over what the old journal holds beyond from, if that is given.
func (p *Pusher) forkAfter(old string, from *wire.Head) error {
	now := p.now()
	if p.o.Journal.ID() == old {
		if since := now.Sub(p.ended); since >= 0 && since < forkGap {
			return fmt.Errorf("push: the collector refuses the new journal %s too, after %s", old, since.Round(time.Second))
		}
		p.ended = now
		if err := p.o.Fork(now); err != nil {
			return fmt.Errorf("push: new journal after a fork: %w", err)
		}
	}
	carry := func() (int, error) { return p.o.Journal.Carry(old) }
	if from != nil {
		carry = func() (int, error) { return p.o.Journal.CarryAfter(*from) }
	}
	n, err := carry()
	if err != nil {
		return fmt.Errorf("push: records of the forked journal %s: %w", old, err)
	}
	p.after, p.asked = p.o.Journal.Acked(), ""
	p.log.Error("journal cannot go on: a new one has the records that the collector did not take", "journal", old, "records", n)
	return nil
}

// ask asks for news: head, plan, checkpoint and time.
func (p *Pusher) ask(ctx context.Context) error {
	path, proved := p.proving(wire.PathCheckpoint)
	re, err := p.call(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if re.status == http.StatusTooManyRequests {
		return &busyError{re.after}
	}
	p.compress(ctx, re)
	if err := p.follow(ctx, re, proved); err != nil {
		return err
	}
	if w := re.answer.Want; w != nil {
		return p.want(*w)
	}
	return nil
}

// Goodbye sends what is left and tells the collector that the machine stops in order. It takes 2 s at most; that it
// does not succeed does no harm.
func (p *Pusher) Goodbye(ctx context.Context, cause string) error {
	ctx, cancel := context.WithTimeout(ctx, goodbyeFor)
	defer cancel()
	bs, err := p.o.Journal.Batches(p.after, wire.MaxBatches, maxSend)
	if err == nil && len(bs) > 0 {
		err = p.send(ctx, bs)
	}
	body := fmt.Appendf(nil, "{\"cause\":%q}\n", cause)
	req, e := http.NewRequestWithContext(ctx, http.MethodPost, p.o.Collector+wire.PathGoodbye, bytes.NewReader(body))
	if e != nil {
		return e
	}
	req.Header.Set("Content-Type", "application/json")
	res, e := p.o.Client.Do(req)
	if e != nil {
		return errors.Join(err, fmt.Errorf("goodbye: %w", explain(e)))
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return errors.Join(err, fmt.Errorf("goodbye: the collector answers %s", res.Status))
	}
	return err
}

// complain logs a failure, once as long as it stays the same.
func (p *Pusher) complain(err error) {
	p.mu.Lock()
	p.stats.LastError = err.Error()
	again := p.said == err.Error()
	p.said = err.Error()
	p.mu.Unlock()
	if !again {
		p.log.Warn("collector does not take what was measured; it is kept and tried again", "collector", p.o.Collector, "err", err)
	}
}

func (p *Pusher) recovered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said != "" {
		p.log.Info("collector takes what was measured", "collector", p.o.Collector)
	}
	p.said, p.stats.LastError = "", ""
}
