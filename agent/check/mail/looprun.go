package mail

import (
	"context"
	"fmt"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// The pauses between two looks at the mailbox while our letter is awaited.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
)

// reserve is what a run keeps of its time to say goodbye and to report.
const reserve = 500 * time.Millisecond

// A loopRun is one run.
type loopRun struct {
	*loopCheck
	ctx    context.Context
	secret []byte // the loop's key

	facts  check.Facts
	phases check.Phases

	bad       *reach.Fault // the gravest finding about letters
	found     []letter     // by this run, without those found before
	newest    *letter      // the one that hops and results are told of: ours before others'
	own       *letter      // the last of ours that was found
	sent      uint64       // the letter of this run; 0 for none
	sentAt    time.Time
	firstPeer int
	refused   int
	accepted  int
	left      int
	again     int
	foreign   int
	after     int  // came after all
	newly     int  // lost
	opened    bool // the mailbox was searched
	searched  bool // and nothing was left in it
	loggedIn  *float64
	view      []*reach.Fault // what is not as it should be of the servers' certificates
}

// around goes once around the loop: it looks for letters, hands one in when it is time, and waits for it.
func (r *loopRun) around() *reach.Fault {
	key, err := r.key()
	if err != nil {
		return reach.Failf(check.NotConfigured, "%s", err)
	}
	r.secret = []byte(key)
	r.keys.use(r.secret, r.now(), r.ledger.lost)
	r.recallLedger(r.now())
	ses := &session{server: r.imap.server}
	begin := time.Now()
	bad := r.imap.server.meet(r.ctx, ses, "z LOGOUT\r\n", func(s *session) *reach.Fault { return r.withMailbox(s, begin) })
	r.heardOf(ses)
	if bad != nil {
		return worse(bad, r.bad)
	}
	if r.searched {
		r.overdue()
		r.keepLedger()
	}
	return r.verdict()
}

// heardOf takes over what a conversation showed.
func (r *loopRun) heardOf(s *session) {
	if v, ok := s.facts.Get("login_code"); ok && (r.loggedIn == nil || v == 0) {
		r.loggedIn = &v
	}
	r.view = append(r.view, s.server.policy.Degraded(&s.view))
}

// withMailbox is the conversation with the IMAP server.
func (r *loopRun) withMailbox(s *session, begin time.Time) *reach.Fault {
	box, bad := r.openMailbox(s)
	if bad == nil {
		bad = box.look(true)
	}
	r.phases.Add(phaseLook, time.Since(begin))
	if bad != nil {
		return bad
	}
	if r.due(r.now()) {
		begin = time.Now()
		bad = r.submit()
		r.phases.Add(phaseSubmit, time.Since(begin))
		if bad != nil {
			return bad
		}
	}
	begin = time.Now()
	defer func() { r.phases.Add(phaseWait, time.Since(begin)) }()
	return r.await(box)
}

// await looks again and again until this run's letter is there, or the time is nearly over.
func (r *loopRun) await(box *mailboxView) *reach.Fault {
	pause, begin := firstLook, time.Now()
	for r.sent != 0 && (r.own == nil || r.own.serial != r.sent) {
		if end, ok := r.ctx.Deadline(); ok && time.Until(end) < pause+reserve+2*box.took { // the next look may take longer
			return nil
		}
		if r.wait >= 0 && time.Since(begin)+pause > r.wait {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-r.ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		pause = min(2*pause, lastLook)
		if bad := box.look(false); bad != nil {
			return bad
		}
	}
	return nil
}

// genuine tells whether a letter is of the loop: signed with its key, or with the one before while letters of then may be under
// way, or exactly as we ourselves have handed it in, whatever the key was.
func (r *loopRun) genuine(t token, mac []byte) bool {
	return signedWith(r.secret)(t, mac) || r.keys.before(r.now()) != nil && signedWith(r.keys.older)(t, mac) ||
		t.from == r.mailbox && r.ledger.handedIn(t)
}

// meetLetter judges one letter that was found.
func (r *loopRun) meetLetter(text []byte, whole bool, placed time.Time) {
	now := r.now()
	l, err := readLetter(text, whole, r.genuine, r.authserv)
	if err != nil {
		r.foreign++
		return
	}
	l.placed, l.found = placed, now
	mine := l.from == r.mailbox
	again, was := r.ledger.find(l.token, mine)
	if again {
		r.again++
		return
	}
	r.found = append(r.found, l)
	got := &r.found[len(r.found)-1]
	if mine && (r.own == nil || l.sent.After(r.own.sent)) {
		own := l
		r.own = &own
	}
	if r.newest == nil || mine && (r.newest.from != r.mailbox || l.sent.After(r.newest.sent)) {
		told := l
		r.newest = &told
	}
	if was != nil && was.lost {
		r.after++
	}
	r.bad = worse(r.bad, r.judge(got, was))
}

// judge says what is wrong with a letter.
func (r *loopRun) judge(l *letter, was *posted) *reach.Fault {
	whose := "our letter"
	if l.from != r.mailbox {
		whose = "a letter of " + told(l.from)
	}
	took := l.transit(wayOf(l.stamps, l.found))
	if was != nil { // between the last look without it and this one, whatever the servers' clocks say
		took = max(min(took, l.found.Sub(was.at)), was.absent.Sub(was.at))
	}
	var bad *reach.Fault
	if l.altered != "" {
		bad = reach.Failf(check.MailAltered, "%s came altered: %s", whose, l.altered)
	}
	if took > r.ledger.late {
		bad = worse(bad, reach.Failf(check.MailLate, "%s took %s, the limit is %s", whose, took.Round(time.Second), r.ledger.late))
	}
	for _, m := range r.pass {
		code, ok := l.results[m]
		if !ok || code != authPass {
			bad = worse(bad, reach.Failf(check.MailAuth, "%s: the receiver found %s: %s", whose, m, authWord(code, ok)))
			break
		}
	}
	return bad
}

// authWord is the word of a result.
func authWord(code int, ok bool) string {
	if !ok {
		return "nothing"
	}
	for w, c := range authWords {
		if c == code && w != "hardfail" {
			return w
		}
	}
	return "a word that nobody knows"
}

// overdue judges what is not there.
func (r *loopRun) overdue() {
	newly, bad := r.ledger.overdue(r.now())
	r.newly = newly
	r.bad = worse(r.bad, bad)
}

// verdict is the result of a run that went all the way around.
func (r *loopRun) verdict() *reach.Fault {
	now := r.now()
	bad := r.bad
	if bad == nil {
		bad = r.ledger.repeat(now)
	} else {
		r.ledger.keep(bad, now)
	}
	if bad == nil && r.ledger.proved.IsZero() && len(r.ledger.out) > 0 {
		bad = reach.Failf(check.Slow, "the server took our first letter, and it was not in the mailbox within this run; it is late only after %s", r.ledger.late)
	}
	if bad == nil && !r.searched {
		bad = reach.Failf(check.Partial, "%d more letters with the loop's header are in the mailbox than one run reads", r.left)
	}
	for _, v := range r.view {
		bad = worse(bad, v)
	}
	return bad
}

// tell writes the facts.
func (r *loopRun) tell() {
	f := &r.facts
	if r.loggedIn != nil {
		f.Add("login_code", *r.loggedIn)
	}
	if r.sent != 0 {
		f.Add("sent_serial", float64(r.sent))
		f.Add("sent_unix", float64(r.sentAt.Unix()))
		if len(r.peers) > 0 {
			f.Add("first_peer_code", float64(r.firstPeer%len(r.peers)+1))
		}
	}
	if r.accepted+r.refused > 0 {
		f.Add("accepted_count", float64(r.accepted))
		f.Add("refused_count", float64(r.refused))
	}
	f.Add("searched_code", truth(r.searched))
	if !r.opened {
		return
	}
	altered, slowest := 0, time.Duration(0)
	for i := range r.found {
		l := &r.found[i]
		took := l.transit(wayOf(l.stamps, l.found))
		slowest = max(slowest, took)
		if l.altered != "" {
			altered++
		}
		if i < lettersTold {
			f.Add(fmt.Sprintf("letter%d_serial", i+1), float64(l.serial))
			f.Add(fmt.Sprintf("letter%d_transit_s", i+1), bounded(took))
			f.Add(fmt.Sprintf("letter%d_altered_code", i+1), truth(l.altered != ""))
		}
	}
	for _, n := range []struct {
		name  string
		count int
	}{{"letters_count", len(r.found)}, {"left_count", r.left}, {"duplicates_count", r.again}, {"altered_count", altered},
		{"foreign_count", r.foreign}, {"lost_count", r.newly}, {"came_after_all_count", r.after}} {
		f.Add(n.name, float64(n.count))
	}
	if len(r.found) > 0 {
		f.Add("transit_max_s", bounded(slowest))
	}
	if r.own != nil {
		f.Add("own_transit_s", bounded(r.own.transit(wayOf(r.own.stamps, r.own.found))))
	}
	r.tellPending()
	r.tellWay()
}

// tellPending tells of our letters that are not back.
func (r *loopRun) tellPending() {
	waiting, oldest := 0, time.Duration(0)
	for _, p := range r.ledger.out {
		if !p.lost {
			waiting++
			oldest = max(oldest, r.now().Sub(p.at))
		}
	}
	r.facts.Add("pending_count", float64(waiting))
	if waiting > 0 {
		r.facts.Add("pending_oldest_s", bounded(oldest))
	}
}

// tellWay tells of the way of the newest letter, and what the receiver thought of it.
func (r *loopRun) tellWay() {
	l := r.newest
	if l == nil {
		return
	}
	w := wayOf(l.stamps, l.found)
	r.facts.Add("hops_count", float64(l.hops))
	r.facts.Add("future_hops_count", float64(w.future))
	for i, h := range w.hops[:min(len(w.hops), hopsTold)] {
		r.facts.Add(fmt.Sprintf("hop%d_s", i+1), bounded(h))
	}
	for _, m := range authMethods {
		if code, ok := l.results[m]; ok {
			r.facts.Add(m+"_code", float64(code))
		}
	}
}

// bounded keeps a time within what facts may say.
func bounded(d time.Duration) float64 { return min(max(0, d), 30*24*time.Hour).Seconds() }
