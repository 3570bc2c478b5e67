package mail

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
)

// A restarted loop looks into one mailbox, as the scripts of its server go, and makes its check anew for each run.
type restarted struct {
	t       *testing.T
	dir     string
	now     time.Time
	options check.Options
	scripts chan string // one for each connection
	kept    check.Notes
	sends   bool   // the next check hands in a letter
	key     string // of the loop; "" is the password
	cert    tls.Certificate
}

func newRestarted(t *testing.T) *restarted {
	t.Helper()
	a := checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	r := &restarted{t: t, cert: good, dir: filepath.Join(t.TempDir(), notes.Folder), now: checktest.Epoch(), scripts: make(chan string, 1)}
	imap := checktest.Serve(t, func(conn net.Conn) {
		if err := follow(conn, good, <-r.scripts); err != nil {
			t.Error(err)
		}
	})
	r.options = check.Options{"address": checktest.ClosedPort(t), "imap": imap, "roots": a.Roots(), "mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox", "wait": time.Duration(0)}
	return r
}

// begin makes the check as a start of the agent does.
func (r *restarted) begin() *loopCheck {
	r.t.Helper()
	clock := func() time.Time { return r.now }
	r.kept = notes.New(r.dir, clock, slog.New(slog.DiscardHandler)).Of("mail.loop", "mailloop")
	c, err := newLoopCheck(checktest.WithDefaults(r.t, mailloopKind(), r.options), check.Env{Now: clock, Notes: r.kept, Secret: func(name string) (string, error) {
		if name == "key" && r.key != "" {
			return r.key, nil
		}
		return password, nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	if !r.sends {
		c.last = r.now // it only looks
	}
	return c
}

// posted is a first run's ledger with one letter under way.
func (r *restarted) posted(serial uint64) {
	c := r.begin()
	c.ledger.post(serial, r.now, proof{})
	c.keepLedger()
}

// run starts anew and makes one run.
func (r *restarted) run(script string) check.Result {
	r.t.Helper()
	r.scripts <- script
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Second)
	defer cancel()
	result := r.begin().run(ctx)
	checktest.Sound(r.t, mailloopKind(), result)
	return result
}

// The agent ends before a letter is read, between that and deleting it, and right after: in the next run the letter is found,
// known, or gone, and not lost.
func TestLoopKilled(t *testing.T) {
	const serial = 7
	for _, tt := range []struct {
		name        string
		read, again bool   // the letter was read before the end, and is there after it
		end         string // how the first conversation goes on
		facts       map[string]float64
	}{
		{name: "before it is read", again: true, facts: map[string]float64{"letters_count": 1, "duplicates_count": 0}},
		{name: "before it is deleted", read: true, again: true, facts: map[string]float64{"letters_count": 0, "duplicates_count": 1}},
		{name: "after it is deleted", read: true, end: "C:L7 UID STORE\nS:L7 OK\nC:L8 UID EXPUNGE\n", facts: map[string]float64{"letters_count": 0, "duplicates_count": 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRestarted(t)
			r.posted(serial)
			attachment := content(serial, []byte(password), 4096)
			text := string(compose(token{serial: serial, sent: r.now, from: userName, sum: sha256.Sum256(attachment)}, []byte(password), attachment, []string{userName}))
			letter := fmt.Sprintf("S:* 1 FETCH (UID 3 RFC822.SIZE %d BODY[]<0> {%d}\nRAW:%s\nS:)|L6 OK\n", len(text), len(text), strings.ReplaceAll(text, "\r\n", "|"))
			first := loopIMAP + oneMoved
			if tt.read {
				first += letter + tt.end
			}
			want(t, r.run(first), check.ConnectReset, "")
			r.now = r.now.Add(2 * time.Hour)
			next, reason := loopIMAP+noLetter+"HANG", check.OK
			if tt.again {
				next = loopIMAP + oneMoved + letter + "C:L7 UID STORE\nS:L7 OK\nC:L8 UID EXPUNGE\nS:L8 OK\nHANG"
			}
			if tt.again && !tt.read {
				reason = check.MailLate
			}
			got := r.run(next)
			want(t, got, reason, "")
			wantFacts(t, got, tt.facts)
			wantFacts(t, got, map[string]float64{"pending_count": 0, "lost_count": 0})
		})
	}
}

// The agent ends right after the server has taken a letter: the next run knows of it, and a later one that it is lost.
func TestLoopKilledAfterHandingIn(t *testing.T) {
	r := newRestarted(t)
	r.options["wait"] = time.Minute
	r.options["address"] = play(t, r.cert, loopSMTP+"S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\nS:250\nHANG")
	r.sends = true
	want(t, r.run(loopIMAP+noLetter+"C:L4 SELECT INBOX\n"), check.ConnectReset, "")
	r.sends = false
	if !strings.Contains(string(r.kept.Note(ledgerNote)), `"p":"`) {
		t.Error("a letter that was handed in is not known again by what it says")
	}
	r.now = r.now.Add(10 * time.Minute)
	got := r.run(loopIMAP + noLetter + "HANG")
	want(t, got, check.MailLate, "under way for 10m0s")
	wantFacts(t, got, map[string]float64{"pending_count": 1})
	r.now = r.now.Add(time.Hour)
	want(t, r.run(loopIMAP+noLetter+"HANG"), check.MailLost, "")
}

// The key is changed, and the agent starts anew, while a letter is under way: it is found all the same, if it is the one that was
// handed in.
func TestLoopWithANewKey(t *testing.T) {
	t.Parallel()
	attachment := content(7, []byte("old"), 4096)
	ours := token{serial: 7, sent: checktest.Epoch(), from: userName, sum: sha256.Sum256(attachment)}
	for _, tt := range []struct {
		name  string
		proof proof
		alter func(t *token)
		found bool
	}{
		{"ours", ours.proof(), func(*token) {}, true},
		{"of an older program's notes", proof{}, func(*token) {}, false},
		{"another attachment", ours.proof(), func(t *token) { t.sum[0]++ }, false},
		{"another time", ours.proof(), func(t *token) { t.sent = t.sent.Add(time.Millisecond) }, false},
		{"another serial", ours.proof(), func(t *token) { t.serial++ }, false},
		{"another's", ours.proof(), func(t *token) { t.from = peerAddress }, false},
	} {
		r := newRestarted(t)
		r.options["key"], r.key = "key", "old"
		c := r.begin()
		c.ledger.post(7, r.now, tt.proof)
		c.keepLedger()
		r.key = "new"
		letter := ours
		tt.alter(&letter)
		text := string(compose(letter, []byte("old"), attachment, []string{userName}))
		script := loopIMAP + oneMoved + fmt.Sprintf("S:* 1 FETCH (UID 3 RFC822.SIZE %d BODY[]<0> {%d}\nRAW:%s\nS:)|L6 OK\nC:L7 UID STORE\nS:L7 OK\nC:L8 UID EXPUNGE\nS:L8 OK\nHANG", len(text), len(text), strings.ReplaceAll(text, "\r\n", "|"))
		r.now = r.now.Add(time.Minute)
		got := r.run(script)
		count := map[string]float64{"letters_count": 0, "foreign_count": 1, "pending_count": 1}
		if tt.found {
			count = map[string]float64{"letters_count": 1, "foreign_count": 0, "pending_count": 0, "altered_count": 0}
		}
		wantFacts(t, got, count)
		if t.Failed() {
			t.Fatal(tt.name, got.Reason, got.Detail)
		}
	}
}

// Letters of other machines that were signed before the key changed are of the loop as long as a letter may be under way.
func TestLoopKeyBefore(t *testing.T) {
	r := newRestarted(t)
	c := r.begin()
	r.scripts <- loopIMAP + noLetter + "HANG"
	if want(t, c.run(t.Context()), check.OK, ""); string(c.keys.now) != password {
		t.Errorf("a run notes the key %q", c.keys.now)
	}
	c.keys = loopKeys{}
	run := &loopRun{loopCheck: c}
	theirs := token{serial: 3, sent: r.now, from: peerAddress}
	is := func(key string) bool { return run.genuine(theirs, theirs.mac([]byte(key))) }
	for i, step := range []struct {
		after      time.Duration
		key        string
		a, b, none bool
	}{
		{0, "a", true, false, false}, {time.Hour, "a", true, false, false}, {2 * time.Hour, "b", true, true, false}, {3 * time.Hour, "b", true, true, false},
		{3*time.Hour + 1, "b", false, true, false}, {4 * time.Hour, "b", false, true, false},
	} {
		r.now = checktest.Epoch().Add(step.after)
		run.secret = []byte(step.key)
		c.keys.use(run.secret, r.now, time.Hour)
		if is("a") != step.a || is("b") != step.b || is("") != step.none {
			t.Errorf("step %d: %v, %v, %v", i, is("a"), is("b"), is(""))
		}
	}
}

// The plan says what is late, what is lost, and how long a password that was refused rests.
func TestLoopLimits(t *testing.T) {
	r := newRestarted(t)
	r.options["late"], r.options["lost"], r.options["login_pause"] = 2*time.Minute, 20*time.Minute, time.Hour
	r.posted(7)
	for _, step := range []struct {
		after time.Duration
		want  check.Reason
	}{{3 * time.Minute, check.MailLate}, {21 * time.Minute, check.MailLost}} {
		r.now = checktest.Epoch().Add(step.after)
		want(t, r.run(loopIMAP+noLetter+"HANG"), step.want, "")
	}
	unlocked, _, _ := strings.Cut(loopIMAP, "C:d ")
	want(t, r.run(unlocked+"C:d AUTHENTICATE PLAIN\nS:d NO [AUTHENTICATIONFAILED] no\nHANG"), check.Auth, "")
	r.now = r.now.Add(59 * time.Minute)
	want(t, r.run(unlocked+"C:z LOGOUT\nHANG"), check.Auth, "")
	r.now = r.now.Add(2 * time.Minute)
	want(t, r.run(loopIMAP+noLetter+"HANG"), check.MailLost, "")
}

// A plan that names another mailbox does not look for the letters of the one before.
func TestLoopOfAnotherMailbox(t *testing.T) {
	for _, other := range []string{"", "mailbox", "user"} {
		r := newRestarted(t)
		r.posted(7)
		if other != "" {
			r.options[other] = "probe9@xa.test"
		}
		c := r.begin()
		if c.recallLedger(r.now); (len(c.ledger.out) == 1) != (other == "") {
			t.Errorf("another %q: %d letters are under way", other, len(c.ledger.out))
		}
	}
}

// The fullest ledger fits into a check's notes and comes back whole; what nobody wrote so is left out.
func TestLedgerKept(t *testing.T) {
	r := newRestarted(t)
	c := r.begin()
	for i := range uint64(2 * maxPending) {
		c.ledger.post(maxSerial-1-i, r.now.Add(-59*time.Minute), token{serial: maxSerial - 1 - i}.proof())
		c.ledger.find(token{serial: i + 1}, false)
	}
	c.ledger.proved = r.now
	c.ledger.overdue(r.now)
	c.keep()
	c.keepLedger()
	again := r.begin()
	again.recallLedger(r.now)
	l := again.ledger
	if len(l.out) != maxPending || len(l.seen) != maxSeenKept || l.seen[0] != 2*maxPending-maxSeenKept+1 || !l.proved.Equal(r.now) {
		t.Errorf("%d and %d are known", len(l.out), len(l.seen))
	}
	for _, p := range l.out {
		if p.lost || p.proof != (token{serial: p.serial}).proof() || !p.at.Equal(r.now.Add(-59*time.Minute)) || !p.absent.Equal(r.now) {
			t.Fatalf("a letter came back as %+v", p)
		}
	}
	if n := len(r.kept.Note(ledgerNote)); n == 0 || n > check.MaxNotes*3/4 {
		t.Errorf("%d bytes are kept", n)
	}
	at := r.now.UnixMilli()
	whole := keptPosted{Serial: 5, At: at - 600_000, Absent: 3}
	for name, bad := range map[string]keptPosted{
		"a serial that is none":       {Serial: maxSerial, At: at},
		"a clock that was ahead":      {Serial: 6, At: at + 86400_000},
		"a search before it was sent": {Serial: 6, At: at, Absent: -1},
		"a search yet to come":        {Serial: 6, At: at - 600_000, Absent: 11},
		"a search at the end of time": {Serial: 6, At: -1 << 62, Absent: 1 << 62},
		"the same again":              {Serial: 5, At: at},
	} {
		note, err := json.Marshal(keptLedger{Of: c.whose(), Out: []keptPosted{whole, bad}, Seen: []uint64{1}, Proved: at + 86400_000})
		if err != nil {
			t.Fatal(err)
		}
		r.kept.Keep(ledgerNote, note)
		c := r.begin()
		c.recallLedger(r.now)
		if len(c.ledger.out) != 1 || c.ledger.out[0].serial != 5 || len(c.ledger.seen) != 1 || !c.ledger.proved.IsZero() {
			t.Errorf("%s: %+v", name, c.ledger)
		}
	}
	for _, text := range []string{"{", `{"of":"` + c.whose() + `","out":[` + strings.Repeat(`{"serial":1},`, maxPending) + `{"serial":1}]}`, `{"of":"` + c.whose() + `","seen":[` + strings.Repeat("1,", maxSeenKept) + `1]}`, `{"of":"x","seen":[1]}`} {
		r.kept.Keep(ledgerNote, []byte(text))
		c := r.begin()
		if c.recallLedger(r.now); len(c.ledger.out)+len(c.ledger.seen) != 0 {
			t.Errorf("%.60s: %d and %d are known", text, len(c.ledger.out), len(c.ledger.seen))
		}
	}
}
