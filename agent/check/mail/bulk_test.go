package mail

import (
	"maps"
	"runtime"
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
