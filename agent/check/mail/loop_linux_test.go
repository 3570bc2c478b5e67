package mail

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
	"egovmon/deploy/lab/servers"
)

const (
	peerName = "probe2@xa.test" // the mailbox of the other machine of the loop
	loopKey  = "khóa chung"
)

// A vantage is one machine of a loop, with a clock that goes as far ahead as a test says.
type vantage struct {
	t     *testing.T
	c     *loopCheck
	begin func() *loopCheck // makes the check as a start of the agent does
	ahead atomic.Int64
}

// newVantage makes the check of one machine. Nobody waits for a letter unless with says so.
func newVantage(t *testing.T, m *servers.Mail, pki *servers.PKI, mailbox string, with check.Options) *vantage {
	t.Helper()
	v := &vantage{t: t}
	o := check.Options{"address": m.Submission(), "imap": m.IMAPS(), "roots": pki.Roots, "mailbox": mailbox, "user": mailbox, "password": "mailbox", "key": "loop",
		"wait": time.Duration(0), "pace": time.Second}
	maps.Copy(o, with)
	dir := filepath.Join(t.TempDir(), notes.Folder)
	v.begin = func() *loopCheck {
		kept := notes.New(dir, v.now, slog.New(slog.DiscardHandler)).Of("mail.loop", "mailloop")
		c, err := newLoopCheck(checktest.WithDefaults(t, mailloopKind(), o), check.Env{Now: v.now, Notes: kept, Secret: func(name string) (string, error) {
			secret, ok := map[string]string{"mailbox": password, "loop": loopKey, "wrong": "wrong"}[name]
			if !ok {
				return "", errors.New("there is none")
			}
			return secret + "\n", nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	v.c = v.begin()
	return v
}

func (v *vantage) now() time.Time { return time.Now().Add(time.Duration(v.ahead.Load())) }

// look runs the check once, this much later than before.
func (v *vantage) look(later time.Duration) check.Result {
	v.t.Helper()
	v.ahead.Add(int64(later))
	ctx, cancel := context.WithTimeout(v.t.Context(), 60*time.Second)
	defer cancel()
	r := v.c.run(ctx)
	checktest.Sound(v.t, mailloopKind(), r)
	return r
}

// until runs the check again and again until a fact is there, without going on in time.
func (v *vantage) until(fact string) check.Result {
	v.t.Helper()
	for range 300 {
		r := v.look(0)
		if n, _ := r.Facts.Get(fact); n > 0 {
			return r
		}
		time.Sleep(20 * time.Millisecond)
	}
	v.t.Fatal("the letter does not come")
	return check.Result{}
}

// letters counts what lies in a mailbox, in all of its folders.
func letters(t *testing.T, m *servers.Mail, box string) (n int) {
	t.Helper()
	err := filepath.WalkDir(m.Folder(box), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (filepath.Base(filepath.Dir(path)) == "cur" || filepath.Base(filepath.Dir(path)) == "new") {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLoop(t *testing.T) {
	m, pki := startMailServer(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *servers.Mail, *servers.PKI)
	}{{"goes around", goesAround}, {"reasons", loopReasons}, {"letters of all kinds", hostileLetters}, {"stuck and late", stuckLoop(false)}, {"stuck and late, over restarts", stuckLoop(true)}, {"flood", loopFlood}} {
		t.Run(part.name, func(t *testing.T) { part.test(t, m, pki) })
	}
}

// A letter is found at both ends, told of by the same number, and gone afterwards; other letters stay.
func goesAround(t *testing.T, m *servers.Mail, pki *servers.PKI) {
	if err := m.Put(peerName, []byte("From: a@xa.test\r\nSubject: a letter of a person\r\n\r\nx")); err != nil {
		t.Fatal(err)
	}
	a := newVantage(t, m, pki, userName, check.Options{"peers": []string{peerName}, "wait": time.Minute})
	sent := a.look(0)
	want(t, sent, check.OK, "")
	wantFacts(t, sent, map[string]float64{"login_code": 1, "searched_code": 1, "accepted_count": 2, "refused_count": 0, "letters_count": 1, "pending_count": 0,
		"altered_count": 0, "hops_count": 1, "future_hops_count": 0, "lost_count": 0})
	serial, _ := sent.Facts.Get("sent_serial")
	if got, _ := sent.Facts.Get("letter1_serial"); got != serial || serial == 0 {
		t.Errorf("sent %v, found %v", serial, got)
	}
	if took, ok := sent.Facts.Get("own_transit_s"); !ok || took > 60 {
		t.Errorf("it took %v, %v", took, ok)
	}

	b := newVantage(t, m, pki, peerName, check.Options{"imap": m.IMAP(), "imap_starttls": tlsRequired, "address": m.SMTPS(), "starttls": tlsImplicit, "daily": int64(2), "wait": time.Minute})
	got := b.until("letters_count")
	want(t, got, check.OK, "")
	if n, _ := got.Facts.Get("letter1_serial"); n != serial {
		t.Errorf("the other machine found %v, want %v", n, serial)
	}
	b.until("own_transit_s")
	b.look(10 * time.Second)
	if n := letters(t, m, peerName); n > 2 { // the person's, and b's second
		t.Errorf("%d letters lie there", n)
	}
	for _, when := range []string{"at once", "after a restart"} {
		if _, sent := b.look(10 * time.Second).Facts.Get("sent_serial"); sent {
			t.Errorf("%s it sends more letters than the plan allows in a day", when)
		}
		b.c = b.begin()
	}
	if r := b.look(24 * time.Hour); true {
		if _, sent := r.Facts.Get("sent_serial"); !sent {
			t.Error("it does not send on the next day")
		}
	}
	empty(t, m, b)
}

// empty lets a machine fetch what is its own until one letter is left, which is a person's.
func empty(t *testing.T, m *servers.Mail, v *vantage) {
	t.Helper()
	for range 300 {
		v.look(0)
		if n, err := m.Queued(); err != nil || n > 0 {
			continue
		}
		v.look(0)
		if letters(t, m, peerName) == 1 {
			return
		}
	}
	t.Errorf("%d letters are left, want the one that is not of the loop", letters(t, m, peerName))
}

// loopReasons are those that need no letter.
func loopReasons(t *testing.T, m *servers.Mail, pki *servers.PKI) {
	for _, tt := range []struct {
		name   string
		with   check.Options
		reason check.Reason
		detail string
	}{
		{"no submission", check.Options{"address": checktest.ClosedPort(t)}, check.ConnectRefused, "refused"},
		{"no mailbox server", check.Options{"imap": checktest.ClosedPort(t)}, check.ConnectRefused, "refused"},
		{"IMAP where letters are handed in", check.Options{"address": m.IMAPS(), "starttls": tlsImplicit}, check.Protocol, "speaks IMAP"},
		{"another name", check.Options{"server_name": "other.test"}, check.TLSName, ""},
		{"wrong password", check.Options{"password": "wrong"}, check.Auth, "AUTHENTICATIONFAILED"},
		{"no password", check.Options{"password": "none"}, check.NotConfigured, `secret "none"`},
		{"no key", check.Options{"key": "none"}, check.NotConfigured, `secret "none"`},
		{"another's mailbox", check.Options{"mailbox": "nobody@xa.test"}, check.MailRejected, "our own mailbox: 550 5.1.1"},
		{"a peer that is not there", check.Options{"peers": []string{"nobody@xa.test"}}, check.Partial, "nobody@xa.test: 550"},
		{"full", check.Options{"user": fullBox, "mailbox": fullBox}, check.MailRejected, "552 5.2.2 (the mailbox is full)"},
		{"certificate ends", check.Options{"warn_days": int64(3650)}, check.CertExpiring, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { want(t, newVantage(t, m, pki, userName, tt.with).look(0), tt.reason, tt.detail) })
	}
	drain(t, m, pki)
}

// drain takes all letters out of the mailbox, and out of the server.
func drain(t *testing.T, m *servers.Mail, pki *servers.PKI) {
	t.Helper()
	v := newVantage(t, m, pki, userName, check.Options{"pace": time.Hour})
	v.c.last = v.now()
	for range 300 {
		n, err := m.Queued()
		v.look(0)
		if err == nil && n == 0 && letters(t, m, userName) == 0 {
			return
		}
	}
	t.Fatal("the mailbox does not become empty")
}

// A forged is a letter that a test puts into the mailbox itself.
type forged struct {
	token  token
	key    string
	change func(letter string) string
}

// put writes the letter as it was composed, with what servers on the way have written above it.
func (f forged) put(t *testing.T, m *servers.Mail, above string) {
	t.Helper()
	attachment := content(f.token.serial, []byte(loopKey), 4096)
	f.token.sum = sha256.Sum256(attachment)
	text := above + string(compose(f.token, []byte(f.key), attachment, []string{userName}))
	if f.change != nil {
		text = f.change(text)
	}
	if err := m.Put(userName, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hostileLetters(t *testing.T, m *servers.Mail, pki *servers.PKI) {
	replace := func(old, with string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Errorf("the letter has no %q", old)
			}
			return strings.Replace(s, old, with, 1)
		}
	}
	received := func(ago ...time.Duration) (h string) {
		for i, d := range ago {
			h += fmt.Sprintf("Received: from a by mx%d.test (x)\r\n\twith ESMTPS id 1; %s (ICT)\r\n", i, time.Now().Add(-d).Format("Mon, 2 Jan 2006 15:04:05 -0700"))
		}
		return h
	}
	for _, tt := range []struct {
		name   string
		key    string
		sent   time.Duration // before now
		above  string
		change func(string) string
		with   check.Options
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "as sent", reason: check.OK, facts: map[string]float64{"letters_count": 1, "altered_count": 0, "letter1_altered_code": 0}},
		{name: "hops", above: received(2*time.Second, 12*time.Second, 15*time.Second), sent: 15 * time.Second, reason: check.OK, facts: map[string]float64{"hops_count": 3, "hop1_s": 3, "hop2_s": 10}},
		{name: "from the future", above: received(-time.Hour, 12*time.Second, -48*time.Hour), sent: 15 * time.Second, reason: check.OK, facts: map[string]float64{"hops_count": 3, "future_hops_count": 2}},
		{name: "a clock that is behind", above: received(20*time.Second, 15*time.Second), sent: 15 * time.Second, reason: check.OK, facts: map[string]float64{"hop1_s": 0}},
		{name: "late", above: received(400*time.Second, 500*time.Second), sent: 510 * time.Second, reason: check.MailLate, detail: "the limit is 5m0s"},
		{name: "late at the sender, quick on the servers' way", above: received(2 * time.Second), sent: 510 * time.Second, reason: check.OK},
		{name: "late without a way", sent: 510 * time.Second, reason: check.MailLate},
		{name: "sent in the future", sent: -30 * 24 * time.Hour, reason: check.OK, facts: map[string]float64{"letter1_transit_s": 0}},
		{name: "sent years ago", sent: 20 * 365 * 24 * time.Hour, reason: check.MailLate, facts: map[string]float64{"letter1_transit_s": 30 * 86400}},
		{name: "attachment altered", change: replace("\r\n\r\n--", "\r\n\r\nAAAA\r\n--"), reason: check.OK}, // the text's part: nobody compares it
		{name: "attachment with another byte", change: func(s string) string { return s[:len(s)-120] + "AAAA" + s[len(s)-116:] }, reason: check.MailAltered, detail: "attachment is another", facts: map[string]float64{"altered_count": 1, "letter1_altered_code": 1}},
		{name: "attachment taken out", change: replace(`.dat"`, `.txt"`), reason: check.MailAltered, detail: "gone"},
		{name: "no MIME", change: replace("multipart/mixed", "text/plain"), reason: check.MailAltered, detail: "gone"},
		{name: "broken base64", change: replace("base64\r\n\r\n", "base64\r\n\r\n!!"), reason: check.MailAltered},
		{name: "wrapped by a gateway", change: func(s string) string {
			head, body, _ := strings.Cut(s, "\r\n\r\n")
			head = strings.Replace(head, "Content-Type: multipart/mixed; boundary=\"egovmon-1\"", "Content-Type: multipart/mixed; boundary=out", 1)
			return head + "\r\n\r\n--out\r\nContent-Type: text/plain\r\n\r\n[EXTERNAL]\r\n--out\r\nContent-Type: multipart/mixed; boundary=\"egovmon-1\"\r\n\r\n" + body + "\r\n--out--\r\n"
		}, reason: check.OK},
		{name: "MIME bomb, deep", change: bomb(200, 1), reason: check.MailAltered, detail: "gone"},
		{name: "MIME bomb, broad", change: bomb(1, 500), reason: check.MailAltered, detail: "gone"},
		{name: "grown beyond all bounds", change: func(s string) string { return s + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 200_000) }, reason: check.MailAltered, detail: "has grown"},
		{name: "a header of megabytes", change: func(s string) string { return "X-Long: " + strings.Repeat("x", 3<<20) + "\r\n" + s }, reason: check.OK, facts: map[string]float64{"foreign_count": 1, "letters_count": 0}},
		{name: "another key", key: "other", reason: check.OK, facts: map[string]float64{"foreign_count": 1, "letters_count": 0}},
		{name: "another sender in its token", change: replace("from="+userName, "from=x@xa.test"), reason: check.OK, facts: map[string]float64{"foreign_count": 1}},
		{name: "no token", change: replace("v=1;", "v=2;"), reason: check.OK, facts: map[string]float64{"foreign_count": 1}},
		{name: "all passed", above: "Authentication-Results: mx.test; spf=pass smtp.mailfrom=xa.test; dkim=pass (2048-bit; good) header.d=xa.test; dmarc=pass\r\n",
			with: check.Options{"pass": []string{"spf", "dkim", "dmarc"}}, reason: check.OK, facts: map[string]float64{"spf_code": 1, "dkim_code": 1, "dmarc_code": 1}},
		{name: "DKIM failed", above: "Authentication-Results: mx.test; spf=pass; dkim=fail reason=\"body; hash\"\r\n",
			with: check.Options{"pass": []string{"SPF", "dkim"}}, reason: check.MailAuth, detail: "dkim: fail", facts: map[string]float64{"dkim_code": 2}},
		{name: "nobody looked at DMARC", above: "Authentication-Results: mx.test; spf=softfail\r\n", with: check.Options{"pass": []string{"dmarc"}}, reason: check.MailAuth, detail: "dmarc: nothing", facts: map[string]float64{"spf_code": 3}},
		{name: "results of somebody else", above: "Authentication-Results: mx.test; spf=fail\r\nAuthentication-Results: evil.test; spf=pass\r\n", with: check.Options{"pass": []string{"spf"}}, reason: check.MailAuth, detail: "spf: fail"},
		{name: "results of the server that counts", above: "Authentication-Results: other.test; spf=fail\r\nAuthentication-Results: MX.test 1; spf=pass\r\n", with: check.Options{"pass": []string{"spf"}, "authserv": "mx.test"}, reason: check.OK},
		{name: "altered and late", sent: time.Hour, change: replace("multipart/mixed", "text/plain"), reason: check.MailAltered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{"pace": 24 * time.Hour}
			maps.Copy(o, tt.with)
			v := newVantage(t, m, pki, userName, o)
			v.c.last = v.now() // it only looks
			f := forged{token{serial: 1, sent: time.Now().Add(-tt.sent).Truncate(time.Millisecond).UTC(), from: userName}, loopKey, tt.change}
			if tt.key != "" {
				f.key = tt.key
			}
			f.put(t, m, tt.above)
			r, took, bytes := measured(func() check.Result { return v.look(0) })
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if took > 30*time.Second || bytes > 32<<20 {
				t.Errorf("took %s and %d bytes", took, bytes)
			}
			if n := letters(t, m, userName); n != 0 {
				t.Errorf("%d letters are left", n)
			}
			f.put(t, m, tt.above)
			if again := v.look(time.Minute); again.Reason != check.OK || r.Reason != check.OK {
				wantFacts(t, again, map[string]float64{"letters_count": 0})
			}
		})
	}
}

// bomb makes a letter's body parts within parts, or very many parts, without the attachment.
func bomb(deep, broad int) func(string) string {
	return func(s string) string {
		head, _, _ := strings.Cut(s, "Content-Type:")
		var b strings.Builder
		b.WriteString(head + "Content-Type: multipart/mixed; boundary=b0\r\n\r\n")
		for d := range deep {
			for range broad {
				fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", d, d+1)
			}
		}
		return b.String()
	}
}

// A letter that waits in the server's queue is late, then lost; when it comes after all it was late. So it is when the agent
// starts anew before each run.
func stuckLoop(restarts bool) func(*testing.T, *servers.Mail, *servers.PKI) {
	return func(t *testing.T, m *servers.Mail, pki *servers.PKI) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		drain(t, m, pki)
		v := newVantage(t, m, pki, userName, check.Options{"pace": 3 * time.Hour})
		look := func(later time.Duration) check.Result {
			if restarts {
				v.c = v.begin()
			}
			return v.look(later)
		}
		v.until("own_transit_s")
		must(m.Stuck(true))
		sent := look(3 * time.Hour)
		want(t, sent, check.OK, "")
		wantFacts(t, sent, map[string]float64{"accepted_count": 1, "pending_count": 1, "lost_count": 0})
		want(t, look(4*time.Minute), check.OK, "")
		want(t, look(2*time.Minute), check.MailLate, "under way for 6m0s, the limit is 5m0s")
		r := look(time.Hour)
		want(t, r, check.MailLost, "is not in the mailbox after 1h0m0s")
		wantFacts(t, r, map[string]float64{"lost_count": 1, "pending_count": 0})
		r = look(time.Minute)
		want(t, r, check.MailLost, "")
		wantFacts(t, r, map[string]float64{"lost_count": 0})
		want(t, newVantage(t, m, pki, userName, nil).look(0), check.Slow, "not in the mailbox within this run")
		want(t, newVantage(t, m, pki, userName, check.Options{"wait": 300 * time.Millisecond}).look(0), check.Slow, "")
		if restarts {
			v.c = v.begin()
		}
		must(m.Stuck(false))
		r = v.until("came_after_all_count")
		want(t, r, check.MailLate, "our letter took 1h")
		wantFacts(t, r, map[string]float64{"lost_count": 0})
		want(t, v.look(0), check.MailLate, "") // the run that confirms it
		want(t, look(time.Minute), check.OK, "")
	}
}

// Many letters that bear the header, from whomever, do not keep ours from being found, and go away.
func loopFlood(t *testing.T, m *servers.Mail, pki *servers.PKI) {
	drain(t, m, pki)
	for range 3 * maxLetters {
		if err := m.Put(userName, []byte(tokenHeader+": v=1\r\nSubject: x\r\n\r\n"+strings.Repeat("x", 5000))); err != nil {
			t.Fatal(err)
		}
	}
	v := newVantage(t, m, pki, userName, check.Options{"pace": time.Hour})
	v.c.last = v.now()
	r := v.look(0)
	want(t, r, check.Partial, "32 more letters")
	wantFacts(t, r, map[string]float64{"foreign_count": maxLetters, "left_count": 2 * maxLetters, "letters_count": 0})
	v.look(0)
	want(t, v.look(0), check.OK, "")
	if n := letters(t, m, userName); n != 0 {
		t.Errorf("%d letters are left", n)
	}
}
