package mail

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/notes"
)

// The conversations of a loop up to where letters come in.
const (
	loopIMAP = "TLS\nS:* OK hi\nC:a CAPABILITY\nS:* CAPABILITY AUTH=PLAIN SASL-IR|a OK\nC:d AUTHENTICATE PLAIN\nS:d OK\nC:e CAPABILITY\nS:* CAPABILITY MOVE UIDPLUS|e OK\n"
	noLetter = "C:L1 SELECT INBOX\nS:* 0 EXISTS|L1 OK\nC:L2 UID SEARCH UNDELETED HEADER \"X-Egovmon-Loop\" \"\"\nS:* SEARCH|L2 OK\nC:L3 SELECT egovmon\nS:L3 NO\n"
	oneMoved = "C:L1 SELECT INBOX\nS:L1 OK\nC:L2 UID SEARCH\nS:* SEARCH 7|L2 OK\nC:L3 UID MOVE 7 egovmon\nS:L3 OK\nC:L4 SELECT egovmon\nS:L4 OK\nC:L5 UID SEARCH\nS:* SEARCH 3|L5 OK\nC:L6 UID FETCH 3 (UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.73728>)\n"
	loopSMTP = "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\nC:EHLO\nS:250-x|250-DSN|250-SIZE 100000|250 AUTH PLAIN\nC:AUTH PLAIN\nS:235 in\nC:MAIL FROM:<" + userName + "> SIZE=\n"
)

// What either server may do to a loop, and how the run ends.
func TestLoopReasons(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	for _, tt := range []struct {
		name       string
		imap, smtp string
		with       check.Options
		reason     check.Reason
		detail     string
		facts      map[string]float64
	}{
		{name: "taken, not yet back", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT TO:<" + userName + "> NOTIFY=NEVER\nS:250\nC:DATA\nS:354 go\nC:From: <" + userName + ">\nS:250 2.0.0 queued\nHANG",
			reason: check.Slow, facts: map[string]float64{"accepted_count": 1, "pending_count": 1, "searched_code": 1, "letters_count": 0}},
		{name: "the sender refused", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:553 5.7.1 not yours\nHANG", reason: check.MailRejected, detail: "from our mailbox: 553 5.7.1"},
		{name: "too large", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:552 5.3.4 too large\nHANG", reason: check.MailRejected, detail: "552 5.3.4"},
		{name: "for the time being", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:451 4.7.1 later\nHANG", reason: check.MailRejected, detail: "our own mailbox: 451 4.7.1", facts: map[string]float64{"refused_count": 1, "accepted_count": 0}},
		{name: "a peer refused", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:RCPT\nS:550 5.1.1 no\nC:DATA\nS:354\nC:From\nS:250\nHANG", with: check.Options{"peers": []string{peerAddress}},
			reason: check.Partial, detail: peerAddress + ": 550 5.1.1", facts: map[string]float64{"refused_count": 1, "accepted_count": 1, "first_peer_code": 1}},
		{name: "two of three peers", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:RCPT TO:<p1@xa.test>\nS:250\nC:RCPT TO:<p2@xa.test>\nS:250\nC:DATA\nS:354\nC:From\nS:250\nHANG",
			with: check.Options{"peers": []string{"p1@xa.test", "p2@xa.test", "p3@xa.test"}, "each": int64(2)}, reason: check.Slow, facts: map[string]float64{"accepted_count": 3}},
		{name: "one of two peers at a time", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:RCPT TO:<p1@xa.test>\nS:250\nC:DATA\nS:354\nC:From\nS:250\nHANG",
			with: check.Options{"peers": []string{"p1@xa.test", "p2@xa.test"}, "each": int64(1)}, reason: check.Slow, facts: map[string]float64{"accepted_count": 2}},
		{name: "a folder of another name", imap: loopIMAP + strings.ReplaceAll(noLetter, "egovmon", "vong") + "HANG", smtp: loopSMTP + "S:553 5.7.1\nHANG", with: check.Options{"folder": "vong"}, reason: check.MailRejected, facts: map[string]float64{"searched_code": 1}},
		{name: "a small attachment", imap: loopIMAP + noLetter + "HANG", smtp: strings.Replace(loopSMTP, "SIZE=\n", "SIZE=2\n", 1) + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\nS:250\nHANG",
			with: check.Options{"attachment": int64(1024)}, reason: check.Slow, facts: map[string]float64{"accepted_count": 1}},
		{name: "a large attachment", imap: loopIMAP + noLetter + "HANG", smtp: strings.Replace(loopSMTP, "SIZE=\n", "SIZE=23\n", 1) + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\nS:250\nHANG",
			with: check.Options{"attachment": int64(16 << 10)}, reason: check.Slow, facts: map[string]float64{"accepted_count": 1}},
		{name: "refused at the letter", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\nS:554 5.7.1 spam " + userName + "\nHANG", reason: check.MailRejected, detail: "refuses the letter: 554 5.7.1", facts: map[string]float64{"pending_count": 0}},
		{name: "hangs up in the letter", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\n", reason: check.ConnectReset, facts: map[string]float64{"pending_count": 0}},
		{name: "says nothing after the letter", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nHANG", reason: check.Timeout, detail: "the letter: the server fell silent"},
		{name: "a line of no end after the letter", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:DATA\nS:354\nC:From\nFLOOD:" + strings.Repeat("2", 8000), reason: check.Protocol, detail: "a line of more than"},
		{name: "answers something else", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:354 go\nHANG", reason: check.Protocol},
		{name: "no STARTTLS", imap: loopIMAP + noLetter + "HANG", smtp: "S:220 hi\nC:EHLO\nS:250-x|250 AUTH PLAIN\nHANG", reason: check.STARTTLSMissing},
		{name: "injects before TLS", imap: loopIMAP + noLetter + "HANG", smtp: "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go|250 AUTH PLAIN\nTLS\n", reason: check.Protocol, detail: "before the TLS handshake"},

		{name: "neither MOVE nor UIDPLUS", imap: strings.Replace(loopIMAP, "MOVE UIDPLUS", "IDLE", 1) + "HANG", reason: check.NotSupported, detail: "neither MOVE nor UIDPLUS", facts: map[string]float64{"login_code": 1, "searched_code": 0}},
		{name: "greets and stops", imap: "TLS\nS:* OK\nHANG", reason: check.Timeout},
		{name: "drips", imap: "TLS\nDRIP:* OK", reason: check.Timeout},
		{name: "login refused", imap: "TLS\nS:* OK\nC:a CAPABILITY\nS:* CAPABILITY AUTH=PLAIN SASL-IR|a OK\nC:d AUTH\nS:d NO [AUTHENTICATIONFAILED] x\nHANG", reason: check.Auth, facts: map[string]float64{"login_code": 0}},
		{name: "no inbox", imap: loopIMAP + "C:L1 SELECT INBOX\nS:L1 NO [SERVERBUG] x\nHANG", reason: check.MailRejected, detail: "opening the inbox is refused: SERVERBUG"},
		{name: "asks for more", imap: loopIMAP + "C:L1 SELECT INBOX\nS:+ go on\nHANG", reason: check.Protocol, detail: "opening the inbox: the server asks for more than there is", facts: map[string]float64{"searched_code": 0}},
		{name: "the loop's folder cannot be opened", imap: loopIMAP + "C:L1\nS:L1 OK\nC:L2\nS:* SEARCH|L2 OK\nC:L3 SELECT egovmon\nS:L3 BAD what\nHANG", reason: check.Protocol, detail: "opening the loop's folder is answered"},
		{name: "no letters are taken after all", imap: loopIMAP + noLetter + "HANG", smtp: loopSMTP + "S:250\nC:RCPT\nS:250\nC:DATA\nS:452 4.3.1 no room\nHANG", reason: check.MailRejected, detail: "does not take a letter: 452 4.3.1", facts: map[string]float64{"pending_count": 0}},
		{name: "search not understood", imap: loopIMAP + "C:L1\nS:L1 OK\nC:L2\nS:L2 BAD what\nHANG", reason: check.Protocol, detail: "SEARCH is answered"},
		{name: "search finds no numbers", imap: loopIMAP + "C:L1\nS:L1 OK\nC:L2\nS:* SEARCH 1 x|L2 OK\nHANG", reason: check.Protocol, detail: "x is no number"},
		{name: "search finds without end", imap: loopIMAP + "C:L1\nS:L1 OK\nC:L2\nRAW:* SEARCH\nFLOOD: 1", reason: check.Protocol, detail: "a line of more than 65536"},
		{name: "nothing can be moved: full", imap: loopIMAP + "C:L1\nS:L1 OK\nC:L2\nS:* SEARCH 7|L2 OK\nC:L3 UID MOVE\nS:L3 NO x\nC:L4 CREATE egovmon\nS:L4 OK\nC:L5 UID MOVE\nS:L5 NO [OVERQUOTA] full\nHANG", reason: check.Quota, detail: "the mailbox is full"},
		{name: "a letter of four gigabytes", imap: loopIMAP + oneMoved + "S:* 1 FETCH (UID 3 BODY[]<0> {4294967296}\nFLOOD:x", reason: check.Protocol, detail: "a literal of 4294967296 bytes"},
		{name: "a letter within a letter's answer", imap: loopIMAP + oneMoved + "FLOOD:* 1 FETCH (UID 3 BODY[]<0> {3}|abc)|", reason: check.Protocol, detail: "more than 100 lines"},
		{name: "hangs up in a letter", imap: loopIMAP + oneMoved + "S:* 1 FETCH (UID 3 BODY[]<0> {3000}|abc\n", reason: check.ConnectReset},
		{name: "a letter that is gone", imap: loopIMAP + oneMoved + "S:L6 OK\nC:L7 UID STORE 3 +FLAGS.SILENT (\\Deleted)\nS:L7 OK\nC:L8 UID EXPUNGE 3\nS:L8 OK\nHANG", smtp: loopSMTP + "S:553 5.7.1\nHANG", reason: check.MailRejected},
		{name: "a letter of another number", imap: loopIMAP + oneMoved + "S:* 1 FETCH (UID 4 BODY[]<0> {3}|abc)|L6 OK\nC:L7\nS:L7 OK\nC:L8\nS:L8 OK\nHANG", smtp: loopSMTP + "S:553 5.7.1\nHANG", reason: check.MailRejected, facts: map[string]float64{"foreign_count": 0}},
		{name: "nothing can be deleted", imap: loopIMAP + oneMoved + "S:* 1 FETCH (UID 3 BODY[]<0> {3}|abc)|L6 OK\nC:L7\nS:L7 NO\nHANG", reason: check.MailRejected, detail: "deleting is refused"},
		{name: "without MOVE", imap: strings.Replace(loopIMAP, "MOVE UIDPLUS", "UIDPLUS", 1) + "C:L1\nS:L1 OK\nC:L2\nS:* SEARCH 7 8 9 12|L2 OK\nC:L3 UID COPY 7:9,12 egovmon\nS:L3 OK\nC:L4 UID STORE 7:9,12\nS:L4 OK\nC:L5 UID EXPUNGE 7:9,12\nS:L5 NO [X] no\nHANG", reason: check.MailRejected, detail: "deleting is refused: X"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			smtp := checktest.ClosedPort(t)
			if tt.smtp != "" {
				smtp = play(t, good, tt.smtp)
			}
			o := check.Options{"address": smtp, "imap": play(t, good, tt.imap), "roots": a.Roots(), "mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox", "wait": time.Duration(0)}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 2 * time.Second
			}
			begin := time.Now()
			r := runFor(t, mailloopKind(), o, check.Env{}, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if took := time.Since(begin); took > limit+10*time.Second {
				t.Errorf("took %s of %s", took, limit)
			}
		})
	}
}

const peerAddress = "probe2@xa.test"

func TestLoopOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"mailbox": "probe"}, `option "mailbox": "probe" is no mail address`},
		{check.Options{"mailbox": "a@b>\r\nRCPT TO:<c@d"}, `option "mailbox"`},
		{check.Options{"peers": []string{"thư@xa.test"}}, `option "peers": "thư@xa.test" is no mail address`},
		{check.Options{"peers": []string{userName}}, `option "peers": "probe@xa.test" stands twice or is our own`},
		{check.Options{"peers": []string{"a@b.test", "a@b.test"}}, `option "peers"`},
		{check.Options{"folder": "inbox"}, `option "folder": "inbox" is no folder of the loop's own`},
		{check.Options{"folder": `a" DELETE "b`}, `option "folder"`},
		{check.Options{"late": time.Hour, "lost": time.Hour}, `option "lost": 1h0m0s is no longer than late`},
		{check.Options{"peers": []string{"a@b.test", "c@b.test"}, "daily": int64(2)}, `option "daily": 2 is fewer than the 3 copies`},
		{check.Options{"pass": []string{"arc"}}, `option "pass": "arc" is none of spf, dkim, dmarc`},
		{check.Options{"imap": "mail.test"}, `option "imap"`},
		{check.Options{"user": "a\r\nb"}, `option "user"`},
	} {
		o := check.Options{"address": "mail.test:587", "imap": "imap.test:993", "mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox"}
		maps.Copy(o, tt.with)
		if _, err := mailloopKind().New(checktest.WithDefaults(t, mailloopKind(), o), check.Env{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %s", tt.with, err, tt.want)
		}
	}
	if got := mailloopKind().Target(check.Options{"address": "mail.test:587", "imap": "imap.test:993"}); !slices.Equal(got, []string{"mail.test", "imap.test"}) {
		t.Errorf("it reaches %v", got)
	}
}

// Each letter goes to the next peers, and to our own mailbox.
func TestLoopTurns(t *testing.T) {
	c := &loopCheck{mailbox: "me", peers: []string{"a", "b", "c"}, each: 2, daily: 7, pace: time.Hour}
	var got []string
	for range 4 {
		got = append(got, strings.Join(c.chosen(), " "))
		c.turn += 2
	}
	if diff := cmp.Diff([]string{"me a b", "me c a", "me b c", "me a b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	at := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at     time.Duration
		copies int
		want   bool
	}{{0, 3, true}, {59 * time.Minute, 0, false}, {time.Hour, 3, true}, {2 * time.Hour, 0, false}, {22 * time.Hour, 0, false}, {23 * time.Hour, 3, true}} {
		now := at.Add(tt.at)
		if got := c.due(now); got != tt.want {
			t.Errorf("after %s: %v", tt.at, got)
		}
		if tt.want {
			c.last, c.copies = now, c.copies+tt.copies
		}
	}
}

// After a restart the next letter goes to the peers whose turn it is, no sooner than the pace allows; notes that nobody
// wrote so change nothing.
func TestLoopRemembers(t *testing.T) {
	kept := notes.New(filepath.Join(t.TempDir(), notes.Folder), checktest.Epoch, slog.New(slog.DiscardHandler)).Of("mail.loop", "mailloop")
	begin := func() *loopCheck {
		return &loopCheck{mailbox: "me", peers: []string{"a", "b", "c"}, each: 2, daily: 7, pace: time.Hour, notes: kept}
	}
	at := checktest.Epoch()
	c := begin()
	if !c.due(at) {
		t.Fatal("no first letter")
	}
	c.last, c.copies, c.turn = at, 3, 2
	c.keep()
	c = begin()
	if c.due(at.Add(59 * time.Minute)) {
		t.Error("sooner than the pace")
	}
	if !c.due(at.Add(time.Hour)) || c.copies != 3 {
		t.Errorf("%d copies after a restart", c.copies)
	}
	if got := strings.Join(c.chosen(), " "); got != "me c a" {
		t.Errorf("the next letter goes to %s", got)
	}
	for _, text := range []string{"{", `{"day":"` + at.Format("2006-01-02") + `T00:00:00Z","copies":-9}`, `{"turn":-8}`, `{"last":"x"}`} {
		kept.Keep(postingNote, []byte(text))
		if c = begin(); !c.due(at) || c.copies != 0 || len(c.chosen()) != 3 {
			t.Errorf("%s: %d copies", text, c.copies)
		}
	}
	// The most that may be remembered is that the day is used up, by a clock that was ahead too.
	kept.Keep(postingNote, []byte(`{"day":"2099-01-01T00:00:00Z","copies":99999999,"last":"2099-01-01T00:00:00Z","turn":9223372036854775807}`))
	if c = begin(); !c.due(at) || len(c.chosen()) != 3 {
		t.Error("a clock that was ahead keeps letters back")
	}
}

// A finding that happens once is there for the run that confirms it, and no longer.
func TestLedger(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
	l := &ledger{late: 5 * time.Minute, lost: time.Hour}
	reason := func(after time.Duration) check.Reason {
		_, bad := l.overdue(at.Add(after))
		if bad == nil {
			return check.OK
		}
		return bad.Reason
	}
	l.post(1, at, proof{})
	l.post(2, at.Add(10*time.Minute), proof{})
	for _, step := range []struct {
		after time.Duration
		find  uint64
		want  check.Reason
	}{
		{after: time.Minute, want: check.OK},
		{after: 6 * time.Minute, want: check.MailLate},
		{after: 12 * time.Minute, find: 2, want: check.MailLate},
		{after: time.Hour, want: check.MailLost},
		{after: 61 * time.Minute, want: check.OK}, // told of once: a later one has come
	} {
		if step.find != 0 {
			if again, was := l.find(token{serial: step.find, sent: at.Add(10 * time.Minute)}, true); again || was == nil {
				t.Errorf("letter %d: %v, %v", step.find, again, was)
			}
		}
		if got := reason(step.after); got != step.want {
			t.Errorf("after %s: %s, want %s", step.after, got, step.want)
		}
	}
	if _, was := l.find(token{serial: 1, sent: at}, true); was == nil || !was.lost {
		t.Errorf("a letter that comes after all: %v", was)
	}
	if again, _ := l.find(token{serial: 1, sent: at}, true); !again {
		t.Error("it is not known when it comes twice")
	}
	for i := range uint64(2 * maxSeen) {
		l.post(i+10, at, proof{})
		l.find(token{serial: i + 5000}, false)
	}
	if len(l.out) > maxPending || len(l.seen) > maxSeen {
		t.Errorf("%d and %d are kept", len(l.out), len(l.seen))
	}
}

func TestMailDate(t *testing.T) {
	for s, want := range map[string]string{
		"Mon, 23 Nov 2026 08:00:01 +0700 (ICT)": "2026-11-23T01:00:01Z",
		"23 Nov 2026 08:00 +0700":               "2026-11-23T01:00:00Z",
		"Mon,  3 Nov 2026 08:00:01 GMT":         "2026-11-03T08:00:01Z",
		"Mon, 23 Nov 2026 08:00:01 XYZ":         "",
		"(only a comment":                       "",
		"yesterday":                             "",
	} {
		got := ""
		if at := mailDate(s); !at.IsZero() {
			got = at.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestAuthResults(t *testing.T) {
	for _, tt := range []struct {
		headers  []string
		authserv string
		want     authResults
	}{
		{nil, "", authResults{}},
		{[]string{"mx.test; none"}, "", authResults{}},
		{[]string{`mx.test 1; SPF=Pass (a (nested; dkim=fail) one) smtp.mailfrom=a@b; dkim/1 = fail reason="x; dmarc=pass"`}, "", authResults{"spf": authPass, "dkim": authFail}},
		{[]string{"mx.test; dkim=fail; dkim=pass"}, "", authResults{"dkim": authPass}},
		{[]string{"mx.test; dkim=pass", "mx.test; dkim=fail"}, "", authResults{"dkim": authPass}},
		{[]string{"mx.test; spf=strange"}, "", authResults{"spf": authOther}},
		{[]string{"a; spf=pass", "b; spf=fail"}, "B", authResults{"spf": authFail}},
		{[]string{`mx.test; spf="unfinished`}, "", authResults{"spf": authOther}},
	} {
		if diff := cmp.Diff(tt.want, readAuthResults(tt.headers, tt.authserv)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.headers, diff)
		}
	}
}

// What a letter brought along is not what the receiver found, whatever name stands over it.
func TestAuthResultsOfTheReceiver(t *testing.T) {
	const (
		forged = "Authentication-Results: mx.xa.test; dkim=pass\n"
		honest = "Authentication-Results: mx.xa.test; dkim=fail\n"
		sender = "Received: from pc (h [192.0.2.1]) by out.tinh.test with ESMTPSA; x\n"
		taken  = "Received: from mx.xa.test (by.evil.test [198.51.100.7])\n\tBY mx.xa.test. (Postfix) with ESMTPS; x (by evil.test)\n"
		lies   = "Received: from [127.0.0.1] (x.test [198.51.100.7]) by mx.xa.test; x\n"
		inner  = "Received: from mx.xa.test (mx.xa.test [192.0.2.25]) by store.xa.test with LMTP; x\n"
		filter = "Received: from localhost (localhost [127.0.0.1]) by mx.xa.test (Postfix); x\n"
		six    = "Received: from mx (localhost [IPv6:::1]) by mx.xa.test (Postfix); x\n"
		socket = "Received: from mx.xa.test by mx.xa.test with LMTP id 1 (envelope-from <a@b>); x\n"
		nobody = "Received: by 2002:a17::1 with SMTP id 1; x\n"
		loop   = "Received: from evil.test by mx.xa.test; x\n"
		other  = "Authentication-Results: out.tinh.test; dkim=pass\n"
		empty  = "Received: \n"
	)
	fail, none, pass := authResults{"dkim": authFail}, authResults{}, authResults{"dkim": authPass}
	for _, tt := range []struct {
		name, head, authserv string
		want                 authResults
	}{
		{"above the header with which it was taken", honest + taken + sender, "", fail},
		{"forged below it", taken + forged + sender, "", none},
		{"forged below it, with the receiver's name", taken + forged + sender, "mx.xa.test", none},
		{"forged with a way of its own, from a server that says it is the receiver", taken + forged + taken + sender, "mx.xa.test", none},
		{"the same from one that says it is the machine itself", lies + forged + taken + sender, "mx.xa.test", none},
		{"the sender's own", taken + other + sender, "", none},
		{"the sender's own beside the receiver's", honest + taken + other + sender, "", fail},
		{"of a server on the way, which the plan names", taken + other + sender, "out.tinh.test", pass},
		{"the receiver's over a forged one", honest + taken + forged + sender, "", fail},
		{"of the receiver's first server", inner + honest + taken + sender, "", none},
		{"of the receiver's first server, named in the plan", inner + honest + taken + sender, "mx.xa.test", fail},
		{"of the receiver's first server, its domain named", inner + strings.ReplaceAll(honest, "mx.", "") + taken + sender, "xa.test", none},
		{"before a filter on the same machine", filter + honest + taken + sender, "", fail},
		{"before a filter over IPv6", six + honest + taken + sender, "", fail},
		{"before a local socket", socket + honest + taken + sender, "", fail},
		{"before a server that says of nobody that it gave it the letter", nobody + honest + taken + sender, "", fail},
		{"and forged below", filter + taken + forged + sender, "", none},
		{"named in the plan, and forged with a way of its own", inner + honest + taken + sender + forged + loop, "mx.xa.test", fail},
		{"forged alone, with a way of its own", inner + taken + sender + forged + loop, "mx.xa.test", none},
		{"a server that does not say who it is", empty + forged + sender, "", none},
		{"no way at all", forged, "", pass},
		{"forged before the letter's own lines", taken + sender + "From: a\n" + forged, "", none},
	} {
		headers, _ := parseHead([]byte(tt.head + "\nbody"))
		got := readAuthResults(values(receiversHead(headers, tt.authserv), "authentication-results"), tt.authserv)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, tt := range []struct {
		by, name string
		want     bool
	}{{"mx.xa.vn", "MX.xa.vn", true}, {"mx.xa.vn", "xa.vn", true}, {"a.xa.vn", "b.xa.vn", false}, {"mx.vn", "vn", false}, {"", "", false}, {"evilxa.vn", "xa.vn", false}} {
		if got := (hop{by: tt.by}).is(tt.name); got != tt.want {
			t.Errorf("%q is %q: %v", tt.by, tt.name, got)
		}
	}
}

// What composes a letter reads it, and nobody else's key does.
func TestToken(t *testing.T) {
	key := []byte("khóa")
	tok := token{serial: maxSerial - 1, sent: time.UnixMilli(1795451352123).UTC(), from: userName, sum: sha256.Sum256(nil)}
	text := tok.text(key)
	got, err := parseToken(text, signedWith(key))
	if err != nil || got != tok {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", text + "; more=1", text + "; v=1", strings.Replace(text, "serial=9", "serial=8", 1), strings.Replace(text, "probe", "xrobe", 1), strings.Replace(text, "v=1", "v=2", 1),
		strings.Replace(text, "sha256=e", "sha256=f", 1), text[:len(text)-2]} {
		if got, err := parseToken(bad, signedWith(key)); !errors.Is(err, errToken) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
	if _, err := parseToken(text, signedWith([]byte("other"))); err == nil {
		t.Error("another key reads it")
	}
	for line := range bytes.Lines(compose(tok, key, content(1, key, 64<<10), []string{userName, peerAddress})) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || len(line) > 400 || line[0] == '.' {
			t.Errorf("line %q", line)
		}
	}
	if serials := newSerial(); serials >= maxSerial {
		t.Errorf("serial %d", serials)
	}
}

// FuzzLetter reads letters of all kinds: what is of the loop keeps within its bounds.
func FuzzLetter(f *testing.F) {
	key := []byte("k")
	tok := token{serial: 1, sent: time.UnixMilli(1795451352123), from: userName}
	attachment := content(1, key, 50)
	tok.sum = sha256.Sum256(attachment)
	whole := compose(tok, key, attachment, []string{userName})
	f.Add(whole)
	f.Add(slices.Concat([]byte("Received: x; Mon, 23 Nov 2026 08:00:01 +0700\nAuthentication-Results: a; spf=pass\n"), whole))
	f.Add([]byte(tokenHeader + ": " + tok.text(key) + "\n\n"))
	f.Add([]byte(":\n \n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		headers, _ := parseHead(text)
		if len(headers) > maxHeaders {
			t.Errorf("%d headers", len(headers))
		}
		l, err := readLetter(text, true, signedWith(key), "")
		if err != nil {
			return
		}
		l.found = checktest.Epoch()
		w := wayOf(l.stamps, l.found)
		if took := l.transit(w); took < 0 {
			t.Errorf("it took %s", took)
		}
		for _, h := range w.hops {
			if h < 0 {
				t.Errorf("a hop of %s", h)
			}
		}
		if l.altered == "" && !bytes.Contains(text, []byte("Content")) && !bytes.Contains(bytes.ToLower(text), []byte("content")) {
			t.Error("unaltered without an attachment")
		}
	})
}

func FuzzFetch(f *testing.F) {
	for _, s := range []string{`* 3 FETCH (UID 12 RFC822.SIZE 600 INTERNALDATE "23-Nov-2026 10:00:00 +0700" BODY[]<0> "a\r\nb")`, `* 1 FETCH (FLAGS (\Seen) UID 1 BODY[] NIL)`, `* 1 FETCH (UID`, `* 1 FETCH (UID "`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if got, ok := parseFetch(line); ok && len(got.text) > 4*len(line) {
			t.Errorf("%d bytes out of %d", len(got.text), len(line))
		}
	})
}

func FuzzAuthResults(f *testing.F) {
	for _, s := range []string{"mx.test; spf=pass smtp.mailfrom=a", `a "b;c" 1; dkim=fail (x\)y) reason="z"`, ";;=;(", "\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for method, code := range readAuthResults([]string{s}, "") {
			if code < authNone || code > authOther || strings.ContainsAny(method, "; ") {
				t.Errorf("%q: %q is %d", s, method, code)
			}
		}
		mailDate(s)
	})
}

// Whatever the mailbox's server says, a loop ends with one of its own reasons.
func FuzzLoop(f *testing.F) {
	for _, s := range []string{"* OK\r\n* CAPABILITY AUTH=PLAIN SASL-IR MOVE\r\na OK\r\nd OK\r\n* CAPABILITY MOVE\r\ne OK\r\nL1 OK\r\n* SEARCH 1\r\nL2 OK\r\nL3 OK\r\nL4 OK\r\n* SEARCH 1\r\nL5 OK\r\n* 1 FETCH (UID 1 BODY[] {1}\r\nx)\r\nL6 OK\r\nL7 OK\r\nL8 OK\r\n", "* BYE\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		srv := &server{starttls: tlsNone, user: userName, lockout: &lockout{}, now: checktest.Epoch, bounds: bounds{maxLoopLine, maxLoopHeard}, password: func() (string, error) { return password, nil }}
		c := &loopCheck{imap: &imapCheck{server: srv}, mailbox: userName, folder: "egovmon", now: checktest.Epoch, daily: 1, last: checktest.Epoch(), pace: time.Hour,
			ledger: ledger{late: time.Minute, lost: time.Hour}}
		r := &loopRun{loopCheck: c, ctx: t.Context(), secret: []byte("k")}
		s := &session{server: srv, conn: canned{Reader: bytes.NewReader(said)}, in: bufio.NewReaderSize(bytes.NewReader(said), maxLoopLine)}
		bad := r.withMailbox(s, time.Now())
		if bad == nil {
			bad = r.verdict()
		}
		result := bad.Result()
		r.tell()
		r.phases.Add(phaseTotal, 0)
		result.Facts, result.Phases = r.facts, r.phases
		if bytes.Contains(said, []byte(userName)) || bytes.Contains(said, []byte(password)) {
			result.Detail = ""
		}
		checktest.Sound(t, mailloopKind(), result)
	})
}
