package intake

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"egovmon/agent/journal"
	"egovmon/agent/wire"
	"egovmon/collector/enrol"
	"egovmon/collector/evidence"
)

// A refusedBatch says why a request was not taken in from one batch on. Those before it are.
type refusedBatch struct {
	status int
	why    string // a word of Status.Refused
	text   string
	want   *wire.Head
}

// batches takes in what is the machine's next, in order, up to the first batch that is not.
func (s *Server) batches(w http.ResponseWriter, r *http.Request, id enrol.Machine) {
	w.Header().Del("Cache-Control") // nothing keeps the answer of a POST that does not ask for it (RFC 9111, section 3)
	if t := r.Header.Get("Content-Type"); t != wire.TypeBatches || r.Header.Get("Content-Encoding") != "" {
		s.fail(w, r, &enrol.Refusal{Code: wire.CodeBadRequest, Text: fmt.Sprintf("send batches as %s, without a further encoding", wire.TypeBatches)})
		return
	}
	if s.ahead(w, r, id.ID) {
		return
	}
	if r.ContentLength < 0 {
		s.reply(w, http.StatusLengthRequired, wire.Refusal{Code: wire.CodeBadRequest, Error: "say with Content-Length how long the request is"})
		return
	}
	// Real time, since it is about how fast this machine works.
	after, ok := s.gate.enter(r.ContentLength, time.Now())
	if !ok {
		s.busy(w, id.ID, "the collector is taking in as many machines as it can", after)
		return
	}
	defer func() { s.gate.leave(r.ContentLength, time.Now()) }()
	m := s.lookup(id.ID)
	if !m.busy.TryLock() {
		s.busy(w, id.ID, "another request of this machine is under way", 0)
		return
	}
	defer m.busy.Unlock()
	now := s.opts.Now()
	if !m.bytes.AllowN(now, min(int(min(r.ContentLength, wire.MaxRequest)), m.bytes.Burst())) {
		s.busy(w, id.ID, "this machine has sent more bytes than its share", wait(m.bytes, now, int(r.ContentLength)))
		return
	}
	frames, bad := readFrames(r)
	a := admission{now: now, id: id, m: m, verifiers: id.Verifiers(now), knows: s.knows}
	s.with(id.ID, func(m *machine) { a.heads = m.heads.clone() })
	for _, f := range frames {
		if b := a.take(f); b != nil {
			bad = b
			break
		}
	}
	if err := s.archive(r, &a); err != nil {
		s.unarchived(w, r, err)
		return
	}
	answer := s.answer(id.ID, a.journal, "")
	s.offer(w.Header(), id.ID, a.used)
	if _, err := s.consistency(w.Header(), r, &answer); err != nil {
		// The batches are archived, and saying so matters more than a proof that can be asked for again.
		s.opts.Logger.Warn("intake: no proof of consistency", "machine", id.ID, "err", err)
	}
	if bad == nil {
		s.reply(w, http.StatusOK, answer)
		return
	}
	s.refused(id.ID, bad.why)
	if bad.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(jitter(a.wait)))
	}
	answer.Error, answer.Want = bad.text, bad.want
	s.reply(w, bad.status, answer)
}

// readFrames reads the batches of a request; what comes before something unreadable counts.
func readFrames(r *http.Request) (frames []wire.Frame, bad *refusedBatch) {
	for f, err := range wire.ReadBatches(r.Body) {
		switch {
		case errors.Is(err, wire.ErrLimit):
			return frames, &refusedBatch{http.StatusRequestEntityTooLarge, RefusedSize, err.Error(), nil}
		case err != nil:
			return frames, &refusedBatch{http.StatusBadRequest, RefusedFrame, err.Error(), nil}
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// An admission goes through the batches of one request.
type admission struct {
	now       time.Time
	id        enrol.Machine
	m         *machine
	knows     func(dictionary string) bool
	verifiers note.Verifiers
	heads     *heads // as they are once what was taken is archived

	journal string // of the request
	used    string // dictionary of the last batch that was read
	entries []evidence.Entry
	headers []journal.Header
	wait    time.Duration // after which a refused quota is free again
}

// take judges one batch, and keeps it for the archive if it is the machine's next.
func (a *admission) take(f wire.Frame) *refusedBatch {
	// The keys are those of the certificate's machine alone, and a key signs for the machine in its name alone.
	h, err := journal.ParseNote(f.Header, a.verifiers)
	if err != nil {
		return a.bad(http.StatusForbidden, RefusedSignature, "this is no batch of machine %s, which the certificate is for: %v", a.id.ID, err)
	}
	if a.journal != "" && a.journal != h.Journal {
		return a.bad(http.StatusBadRequest, RefusedFrame, "batches of two journals in one request: send one journal at a time")
	}
	a.journal, a.used = h.Journal, h.Dictionary
	if err := h.CheckBody(f.Body); err != nil {
		return a.bad(http.StatusConflict, RefusedBody, "%v: close this journal and begin a new one", err)
	}
	sum := hash(sha256.Sum256(f.Header))
	verdict, want := a.heads.judge(h, sum)
	switch verdict {
	case duplicate:
		return nil
	case fork:
		return a.bad(http.StatusConflict, RefusedFork, "journal %s: another batch %d is archived, or one after it: close this journal and begin a new one", h.Journal, h.Seq)
	case old:
		b := a.bad(http.StatusConflict, RefusedOld, "journal %s: batch %d is older than any that is remembered: send from %d", h.Journal, h.Seq, want.Seq)
		b.want = want
		return b
	case gap:
		b := a.bad(http.StatusConflict, RefusedGap, "journal %s: batches before %d are missing: send again from %d", h.Journal, h.Seq, want.Seq)
		b.want = want
		return b
	}
	if h.Dictionary != "" && !a.knows(h.Dictionary) {
		return a.bad(http.StatusConflict, RefusedDictionary, "journal %s: batch %d is compressed with dictionary %s, which the log does not have: close this journal and begin a new one without",
			h.Journal, h.Seq, h.Dictionary)
	}
	if b := a.quota(h); b != nil {
		return b
	}
	e, err := evidence.BatchEntry(h.Machine, h.Journal, h.Seq, a.now, f.Header, f.Body)
	if err != nil {
		return a.bad(http.StatusBadRequest, RefusedFrame, "%v", err)
	}
	a.heads.push(h.Journal, sum)
	a.entries, a.headers = append(a.entries, e), append(a.headers, h)
	return nil
}

func (a *admission) bad(status int, why, format string, args ...any) *refusedBatch {
	return &refusedBatch{status: status, why: why, text: fmt.Sprintf(format, args...)}
}

// quota refuses what a machine has to send later.
func (a *admission) quota(h journal.Header) *refusedBatch {
	if h.Seq == 1 && !a.m.journals.AllowN(a.now, 1) {
		a.wait = wait(a.m.journals, a.now, 1)
		return a.bad(http.StatusTooManyRequests, RefusedQuota, "this machine begins too many journals")
	}
	n := min(h.Records, a.m.results.Burst())
	if !a.m.results.AllowN(a.now, n) {
		a.wait = wait(a.m.results, a.now, n)
		return a.bad(http.StatusTooManyRequests, RefusedQuota, "this machine has sent more results than its share")
	}
	return nil
}

// archive makes durable what was taken, and advances the heads.
func (s *Server) archive(r *http.Request, a *admission) error {
	if len(a.entries) == 0 {
		return nil
	}
	_, err := s.opts.Evidence.Append(r.Context(), a.entries...)
	if r.Context().Err() == nil {
		s.archived(err)
	}
	if err != nil {
		return err
	}
	s.with(a.id.ID, func(m *machine) {
		m.heads = *a.heads
		m.status.Received, m.status.Goodbye, m.status.GoodbyeCause = a.now.UTC(), time.Time{}, ""
	})
	s.wake()
	return nil
}

// An Archive says whether what machines send can be archived.
type Archive struct {
	Failing time.Time // since when not; zero while it can
	Why     string    // for a person; "" while it can
}

// Archive returns how archiving stands. While it fails nothing is acknowledged, so that machines keep what they measure
// and send it again; everything that is read is served as before.
func (s *Server) Archive() Archive {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.archiving
}

// archived notes the outcome of an attempt, and tells the log of the first of a row of failures and of their end.
func (s *Server) archived(err error) {
	s.mu.Lock()
	before := s.archiving
	if err == nil {
		s.archiving = Archive{}
	} else if s.archiving.Why = err.Error(); before.Failing.IsZero() {
		s.archiving.Failing = s.opts.Now().UTC()
	}
	s.mu.Unlock()
	switch {
	case err != nil && before.Failing.IsZero():
		s.opts.Logger.Error("intake: batches cannot be archived; machines keep them and send them again", "err", err)
	case err == nil && !before.Failing.IsZero():
		s.opts.Logger.Info("intake: batches are archived again")
	}
}

// How long a machine is asked to wait when nothing can be archived.
const (
	waitForRoom   = time.Minute
	waitForPerson = 5 * time.Minute
)

// unarchived answers for a request that could not be archived. Nothing of it is acknowledged.
func (s *Server) unarchived(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil || asRefusal(err) != nil || errors.Is(err, evidence.ErrOvertaken) {
		s.fail(w, r, err)
		return
	}
	status, after, text := http.StatusServiceUnavailable, waitForPerson, "the collector cannot write to its archive: its log says why"
	switch {
	case noRoom(err):
		status, after, text = http.StatusInsufficientStorage, waitForRoom, "the collector's disk is full"
	case !errors.Is(err, evidence.ErrStopped):
		after = waitForRoom
	}
	w.Header().Set("Retry-After", strconv.Itoa(jitter(after)))
	s.reply(w, status, wire.Refusal{Code: wire.CodeInternal, Error: text + "; keep what was measured and send it again later"})
}

// busy says 429 to a machine that may come back soon.
func (s *Server) busy(w http.ResponseWriter, id, text string, after time.Duration) {
	s.refused(id, RefusedQuota)
	w.Header().Set("Retry-After", strconv.Itoa(jitter(after)))
	s.reply(w, http.StatusTooManyRequests, s.answer(id, "", text+": try again later"))
}

// wait is how long until n tokens are there.
func wait(l *rate.Limiter, now time.Time, n int) time.Duration {
	missing := float64(min(n, l.Burst())) - l.TokensAt(now)
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

// jitter spreads those who wait: whole seconds from after+1 to after+10.
func jitter(after time.Duration) int {
	return int(after/time.Second) + 1 + rand.IntN(10)
}
