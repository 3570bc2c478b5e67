package mail

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/reach"
)

// newestIn asks a mailbox as a check would.
func newestIn(t *testing.T, o check.Options, limit time.Duration) (time.Time, int, check.Result) {
	t.Helper()
	m, err := NewMailbox(optionsOf(t, o), envOf(limit))
	if err != nil {
		t.Fatal(err)
	}
	at, n, r := m.Newest(t.Context(), checktest.Epoch().AddDate(0, 0, -7))
	checktest.Sound(t, mailboxKind(), r)
	return at, n, r
}

func optionsOf(t *testing.T, o check.Options) check.Options {
	t.Helper()
	return checktest.WithDefaults(t, mailboxKind(), o)
}

func envOf(limit time.Duration) check.Env {
	return checktest.WithEnv(check.Env{Timeout: limit, Secret: func(name string) (string, error) {
		if name != "mailbox" {
			return "", errors.New("there is none")
		}
		return password, nil
	}})
}

// mailboxKind is what a kind with a mailbox has.
func mailboxKind() check.Kind {
	slow := check.Option{Name: "slow", Type: check.TypeDuration}
	return check.Kind{Name: "mailbox", Facts: append(MailboxFacts(), append(reach.TLSFacts(), reach.FamilyFact())...), Phases: MailboxPhases(),
		Options: append(append(MailboxOptions(), slow, reach.FamilyOption(), check.Option{Name: "user", Type: check.TypeString}, check.Option{Name: "password", Type: check.TypeSecret}), reach.TLSOptions()...)}
}

func TestMailbox(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	in := "TLS\n" + greetIMAP + "S:* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR|a OK\nC:d AUTHENTICATE PLAIN " + saslPlain(userName, password) + "\nS:d OK in\nC:e CAPABILITY\nS:* CAPABILITY "
	long, short := in+"IMAP4rev1|e OK\nC:L1 EXAMINE \"INBOX\"\n", in+"IMAP4rev1 ESEARCH|e OK\nC:L1 EXAMINE \"INBOX\"\n"
	const open = "S:* 3 EXISTS|L1 OK [READ-ONLY]\n"
	const search = "C:L2 UID SEARCH UNDELETED SINCE 15-Nov-2026\n"
	const fetch = "C:L3 UID FETCH 12 (UID INTERNALDATE)\nS:* 2 FETCH (UID 12 INTERNALDATE \"23-Nov-2026 09:00:00 +0700\")|L3 OK\n" + outIMAP
	placed := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, script string
		with         check.Options
		at           time.Time
		matched      int
		reason       check.Reason
		detail       string
	}{
		{"newest", long + open + search + "S:* SEARCH 3 12 5|L2 OK\n" + fetch, nil, placed, 3, check.OK, ""},
		{"newest, told in short", short + open + "C:L2 UID SEARCH RETURN (MAX COUNT) UNDELETED SINCE 15-Nov-2026\nS:* ESEARCH (TAG \"L2\") UID MAX 12 COUNT 40000|L2 OK\n" + fetch, nil, placed, 40000, check.OK, ""},
		{"none", long + open + search + "S:* SEARCH|L2 OK\n" + outIMAP, nil, time.Time{}, 0, check.OK, ""},
		{"none, told in short", short + open + "C:L2 UID SEARCH\nS:* ESEARCH (TAG \"L2\") UID COUNT 0|L2 OK\n" + outIMAP, nil, time.Time{}, 0, check.OK, ""},
		{"from and subject", long + open + "C:L2 UID SEARCH CHARSET UTF-8 UNDELETED SINCE 15-Nov-2026 FROM \"truc@vpcp.test\" SUBJECT {9}\nS:+ go\nC:Tứ Kỳ\nS:* SEARCH 12|L2 OK\n" + fetch,
			check.Options{"from": "truc@vpcp.test", "subject": "Tứ Kỳ"}, placed, 1, check.OK, ""},
		{"the subject is refused", long + open + "C:L2 UID SEARCH\nS:L2 NO [BADCHARSET] what\n" + outIMAP, check.Options{"subject": "Tứ Kỳ"}, time.Time{}, 0, check.MailRejected, "SEARCH is refused: BADCHARSET"},
		{"the search is refused", long + open + "C:L2 UID SEARCH\nS:+ go\nC:x\nS:L2 BAD x\n" + outIMAP, check.Options{"subject": "x"}, time.Time{}, 0, check.Protocol, "SEARCH is answered"},
		{"another's answer", long + open + "C:L2 UID SEARCH\nS:+ go\nC:x\nS:q BAD x\n", check.Options{"subject": "x"}, time.Time{}, 0, check.Protocol, "belongs to no command"},
		{"answers without end", long + open + "C:L2 UID SEARCH\nS:+ go\nC:x\nFLOOD:* 1 EXISTS|", check.Options{"subject": "x"}, time.Time{}, 0, check.Protocol, "more than 100 lines"},
		{"hangs up in the search", long + open + "C:L2 UID SEARCH\nS:+ go\nC:x\n", check.Options{"subject": "x"}, time.Time{}, 0, check.ConnectReset, ""},
		{"no such folder", long + "S:L1 NO [NONEXISTENT] x\n" + outIMAP, nil, time.Time{}, 0, check.MailRejected, "opening the folder is refused: NONEXISTENT"},
		{"no number", long + open + search + "S:* SEARCH x|L2 OK\n" + outIMAP, nil, time.Time{}, 0, check.Protocol, "no number of a letter"},
		{"a list without end", long + open + search + "RAW:* SEARCH\nFLOOD: 7", nil, time.Time{}, 0, check.Protocol, "a line of more than"},
		{"no date", long + open + search + "S:* SEARCH 12|L2 OK\nC:L3\nS:* 2 FETCH (UID 12)|L3 OK\n" + outIMAP, nil, time.Time{}, 1, check.Protocol, "does not say when"},
		{"another letter's date", long + open + search + "S:* SEARCH 12|L2 OK\nC:L3\nS:* 2 FETCH (UID 13 INTERNALDATE \"23-Nov-2026 09:00:00 +0700\")|L3 OK\n" + outIMAP, nil, time.Time{}, 1, check.Protocol, "does not say when"},
		{"login refused", "TLS\n" + greetIMAP + "S:* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR|a OK\nC:d\nS:d NO [AUTHENTICATIONFAILED]\n" + outIMAP, nil, time.Time{}, 0, check.Auth, ""},
		{"silent", "TLS\nHANG", nil, time.Time{}, 0, check.Timeout, "fell silent"},
		{"no secret", "TLS\n" + greetIMAP + "S:* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR|a OK\n", check.Options{"password": "gone"}, time.Time{}, 0, check.NotConfigured, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := check.Options{"address": play(t, good, tt.script), "roots": a.Roots(), "user": userName, "password": "mailbox", "server_name": "mail.test"}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 300 * time.Millisecond
			}
			at, n, r := newestIn(t, o, limit)
			want(t, r, tt.reason, tt.detail)
			if !at.Equal(tt.at) || n != tt.matched {
				t.Errorf("%s of %d, want %s of %d", at, n, tt.at, tt.matched)
			}
		})
	}
}

func TestMailboxOptions(t *testing.T) {
	for _, tt := range []struct {
		with check.Options
		want string
	}{
		{check.Options{"user": "", "password": ""}, `option "user": a mailbox needs its account`},
		{check.Options{"folder": ""}, `option "folder"`},
		{check.Options{"folder": "a\"b"}, `option "folder"`},
		{check.Options{"from": "a\r\nb"}, `option "from"`},
		{check.Options{"subject": "a\r\nb"}, `option "subject"`},
		{check.Options{"subject": strings.Repeat("x", 201)}, `option "subject"`},
		{check.Options{"address": "x"}, `option "address"`},
		{check.Options{"starttls": tlsNone}, `option "user": a password is sent through verified TLS only`},
	} {
		o := check.Options{"address": "mail.test:993", "user": userName, "password": "mailbox"}
		maps.Copy(o, tt.with)
		if _, err := NewMailbox(checktest.WithDefaults(t, mailboxKind(), o), checktest.WithEnv(check.Env{})); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
}
