package mail

import (
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A line of 100 MB and a literal of 4 GB, which are really sent, take neither memory nor time.
func TestBulk(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	open := check.Options{"starttls": tlsNone}
	account := check.Options{"address": checktest.ClosedPort(t), "mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox", "roots": a.Roots()}
	const line, literal = "BULK:100000000\nRAW:|\n", "BULK:4294967296\nS:|\n"
	for _, tt := range []struct {
		name   string
		kind   check.Kind
		at     string // the option that is the server's address
		with   check.Options
		script string
		detail string
		most   uint64 // bytes
	}{
		{"smtp, greeting", smtpKind(), "address", open, "RAW:220 \n" + line, "a line of more than 4096 bytes", 1 << 20},
		{"smtp, extensions", smtpKind(), "address", open, greetSMTP + "RAW:250-x|250-\n" + line, "a line of more than 4096 bytes", 1 << 20},
		{"imap, greeting", imapKind(), "address", open, "RAW:* OK \n" + line, "a line of more than 4096 bytes", 1 << 20},
		{"imap, literal", imapKind(), "address", open, greetIMAP + "S:* CAPABILITY {4294967296}\n" + literal, "a literal of 4294967296 bytes", 1 << 20},
		{"pop3, greeting", pop3Kind(), "address", open, "RAW:+OK \n" + line, "a line of more than 4096 bytes", 1 << 20},
		{"pop3, capabilities", pop3Kind(), "address", open, greetPOP + "RAW:+OK|\n" + line, "a line of more than 4096 bytes", 1 << 20},
		{"mailloop, search", mailloopKind(), "imap", account, loopIMAP + "C:L1\nS:L1 OK\nC:L2\nRAW:* SEARCH \n" + line, "a line of more than 65536 bytes", 2 << 20},
		{"mailloop, letter", mailloopKind(), "imap", account, loopIMAP + oneMoved + "S:* 1 FETCH (UID 3 BODY[]<0> {4294967296}\n" + literal, "a literal of 4294967296 bytes", 2 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.Options{tt.at: play(t, good, tt.script)}
			maps.Copy(o, tt.with)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			r := run(t, tt.kind, o, check.Env{})
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			want(t, r, check.Protocol, tt.detail)
			if n := after.TotalAlloc - before.TotalAlloc; n > tt.most {
				t.Errorf("%d bytes were allocated, the limit is %d", n, tt.most)
			}
			if took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// measured runs f and returns what it gave, how long it took, and what was allocated meanwhile, by the test's own server too. Tests that
// run beside others cannot use it.
func measured(f func() check.Result) (r check.Result, took time.Duration, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	r = f()
	took = time.Since(begin)
	runtime.ReadMemStats(&after)
	return r, took, after.TotalAlloc - before.TotalAlloc
}

// Servers that stop, drip, break off within TLS, say more before TLS than belongs there, or offer passwords in the clear alone:
// each has its reason, takes no longer than the check has, and next to no memory.
func TestBadServers(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	base := check.Options{"roots": a.Roots(), "server_name": "mail.test", "starttls": tlsRequired}
	login := check.Options{"user": userName, "password": "mailbox"}
	const most, second = 4 << 20, time.Second
	greetings := map[string]string{"smtp": "S:220 hi\n", "imap": "S:* OK hi\n", "pop3": "S:+OK hi\n"}
	begun := map[string]string{
		"smtp": "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go",
		"imap": "S:* OK hi\nC:a\nS:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:b OK go",
		"pop3": "S:+OK hi\nC:CAPA\nS:+OK|STLS|.\nC:STLS\nS:+OK go",
	}
	more := map[string]string{"smtp": "|250-x|250 AUTH PLAIN", "imap": "|* CAPABILITY AUTH=PLAIN|c OK", "pop3": "|+OK|USER|."}
	plain := map[string]string{"smtp": "S:220 hi\nC:EHLO\nS:250-x|250 AUTH PLAIN LOGIN\nHANG", "imap": "S:* OK hi\nC:a\nS:* CAPABILITY AUTH=PLAIN|a OK\nHANG",
		"pop3": "S:+OK hi\nC:CAPA\nS:+OK|USER|SASL PLAIN|.\nHANG"}
	for _, k := range []check.Kind{smtpKind(), imapKind(), pop3Kind()} {
		for _, tt := range []struct {
			name, script string
			with         check.Options
			reason       check.Reason
			limit        time.Duration
		}{
			{"greets and stops", greetings[k.Name] + "HANG", nil, check.Timeout, second},
			{"one byte after the other", "DRIP:" + strings.TrimPrefix(strings.TrimSpace(greetings[k.Name]), "S:"), nil, check.Timeout, second},
			{"breaks off within TLS", begun[k.Name] + "\nTLS\nCUT", nil, check.Truncated, time.Minute},
			{"says more before TLS", begun[k.Name] + more[k.Name] + "\nTLS", nil, check.Protocol, time.Minute},
			{"passwords in the clear alone", plain[k.Name], login, check.STARTTLSMissing, time.Minute},
		} {
			t.Run(k.Name+", "+tt.name, func(t *testing.T) {
				o := check.Options{"address": play(t, good, tt.script)}
				maps.Copy(o, base)
				maps.Copy(o, tt.with)
				r, took, bytes := measured(func() check.Result { return runFor(t, k, o, check.Env{}, tt.limit) })
				if r.Reason != tt.reason || r.State != tt.reason.State() {
					t.Errorf("%s, %s (%.200s), want %s", r.State, r.Reason, r.Detail, tt.reason)
				}
				if took > time.Minute || bytes > most {
					t.Errorf("it took %s and %d bytes, at most %d", took, bytes, most)
				}
			})
		}
	}
}
