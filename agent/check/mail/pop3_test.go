package mail

import (
	"crypto/x509"
	"maps"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

const (
	greetPOP = "S:+OK ready <1.2@mail.test>\nC:CAPA\n"
	openPOP  = greetPOP + "S:+OK|TOP|STLS|UIDL|.\nC:STLS\nS:+OK go\nTLS\n"
	fullPOP  = openPOP + "C:CAPA\nS:+OK here|TOP|SASL PLAIN XOAUTH2|USER|.\n"
	inPOP    = fullPOP + "C:AUTH PLAIN\nS:+\nC:"
	outPOP   = "C:QUIT\nS:+OK bye\n"
)

func TestPOP3Reasons(t *testing.T) {
	a, other := checktest.NewAuthority(t, "mail.test"), checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	ends := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(d) }
	}
	plain := saslPlain(userName, password)
	login := check.Options{"user": userName, "password": "mailbox"}
	filled := check.Options{"user": userName, "password": "mailbox", "quota": int64(1000)}
	byUser := openPOP + "C:CAPA\nS:+OK|USER|.\nC:USER " + userName + "\n"
	stat := func(answer string) string { return inPOP + plain + "\nS:+OK in\nC:STAT\nS:" + answer + "\n" + outPOP }
	tests := []struct {
		name   string
		script string
		cert   func(*x509.Certificate)
		with   check.Options
		env    check.Env
		reason check.Reason
		detail string
		facts  map[string]float64
	}{
		{name: "all is well", script: fullPOP + outPOP, reason: check.OK,
			facts: map[string]float64{"starttls_code": 1, "auth_plaintext_code": 0, "auth_mechanisms_count": 3, "capabilities_count": 3, "tls_version_code": 13, "chain_valid_code": 1}},
		{name: "TLS from the start", script: "TLS\n" + greetPOP + "S:+OK|USER|.\n" + outPOP, with: check.Options{"starttls": tlsImplicit}, reason: check.OK, facts: map[string]float64{"auth_mechanisms_count": 1}},
		{name: "without TLS", script: greetPOP + "S:+OK|USER|STLS|.\n" + outPOP, with: check.Options{"starttls": tlsNone}, reason: check.OK, facts: map[string]float64{"auth_plaintext_code": 1, "starttls_code": 1}},
		{name: "a server from before capabilities", script: greetPOP + "S:-ERR what\n" + outPOP, with: check.Options{"starttls": tlsNone}, reason: check.OK, facts: map[string]float64{"auth_mechanisms_count": 1, "starttls_code": 0}},
		{name: "hangs at the goodbye", script: fullPOP + "C:QUIT\nHANG", reason: check.OK},

		{name: "no STLS", script: greetPOP + "S:+OK|USER|.\n" + outPOP, with: login, reason: check.STARTTLSMissing, facts: map[string]float64{"starttls_code": 0, "auth_plaintext_code": 1}},
		{name: "STLS refused", script: greetPOP + "S:+OK|STLS|.\nC:STLS\nS:-ERR not now\n", reason: check.TLSHandshake, detail: "not now"},
		{name: "breaks off in STLS", script: greetPOP + "S:+OK|STLS|.\nC:STLS\nS:+OK\n", reason: check.TLSHandshake},
		{name: "hangs in the handshake", script: greetPOP + "S:+OK|STLS|.\nC:STLS\nS:+OK\nHANG", reason: check.Timeout},
		{name: "injects before TLS", script: greetPOP + "S:+OK|STLS|.\nC:STLS\nS:+OK go|+OK|USER|.\nTLS\n", reason: check.Protocol, detail: "before the TLS handshake"},
		{name: "expired", script: openPOP, cert: ends(-time.Hour), reason: check.TLSExpired},
		{name: "not yet valid", script: openPOP, cert: func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, reason: check.TLSNotYetValid},
		{name: "expired, clock not proven", script: openPOP, cert: ends(-time.Hour), env: check.Env{ClockProven: func() bool { return false }}, reason: check.ClockUnproven},
		{name: "wrong name", script: openPOP, with: check.Options{"server_name": "other.test"}, reason: check.TLSName},
		{name: "untrusted", script: openPOP, with: check.Options{"roots": other.Roots()}, reason: check.TLSUntrusted},
		{name: "ends soon", script: fullPOP + outPOP, cert: ends(20 * 24 * time.Hour), reason: check.CertExpiring},
		{name: "too old", script: strings.Replace(openPOP, "go\nTLS\n", "go\nTLS1.1\n", 1), reason: check.TLSProtocol},

		{name: "mechanism offered", script: fullPOP + outPOP, with: check.Options{"auth": []string{"xoauth2", "USER"}}, reason: check.OK},
		{name: "mechanism not offered", script: fullPOP + outPOP, with: check.Options{"auth": []string{"SCRAM-SHA-256"}}, reason: check.Auth, detail: "but PLAIN, USER, XOAUTH2"},
		{name: "logs in", script: stat("+OK 2 320"), with: login, reason: check.OK, facts: map[string]float64{"login_code": 1, "messages_count": 2, "quota_used_bytes": 320}},
		{name: "logs in by USER", script: byUser + "S:+OK\nC:PASS " + password + "\nS:+OK\nC:STAT\nS:+OK 0 0\n" + outPOP, with: login, reason: check.OK, facts: map[string]float64{"messages_count": 0}},
		{name: "account refused", script: inPOP + plain + "\nS:-ERR [AUTH] " + userName + " is unknown\n" + outPOP, with: login, reason: check.Auth, detail: "refused: AUTH", facts: map[string]float64{"login_code": 0}},
		{name: "account refused at its name", script: byUser + "S:-ERR " + userName + "\n" + outPOP, with: login, reason: check.Auth},
		{name: "refused before the password", script: fullPOP + "C:AUTH PLAIN\nS:-ERR no\n" + outPOP, with: login, reason: check.Auth},
		{name: "mailbox in use", script: inPOP + plain + "\nS:-ERR [IN-USE] locked\n", with: login, reason: check.MailRejected, detail: "IN-USE"},
		{name: "the server's own trouble", script: inPOP + plain + "\nS:-ERR [SYS/TEMP] later\n", with: login, reason: check.MailRejected, detail: "SYS/TEMP"},
		{name: "says other things at login", script: inPOP + plain + "\nS:" + password + "\n", with: login, reason: check.Protocol, detail: "login: no line of POP3"},
		{name: "does not ask", script: fullPOP + "C:AUTH PLAIN\nS:+OK\n", with: login, reason: check.Protocol, detail: "does not ask"},
		{name: "no way to log in", script: openPOP + "C:CAPA\nS:+OK|SASL GSSAPI|.\n" + outPOP, with: login, reason: check.Auth, detail: "but GSSAPI"},
		{name: "a password of two lines", script: openPOP + "C:CAPA\nS:+OK|USER|.\n", with: login, env: check.Env{Secret: func(string) (string, error) { return "a\r\nDELE 1", nil }}, reason: check.Misconfigured},
		{name: "no such secret", script: fullPOP, with: check.Options{"user": userName, "password": "other"}, reason: check.NotConfigured},

		{name: "room left", script: stat("+OK 2 300 more"), with: filled, reason: check.OK, facts: map[string]float64{"quota_ratio": 0.3, "quota_limit_bytes": 1000}},
		{name: "nearly full", script: stat("+OK 2 950"), with: filled, reason: check.Quota, detail: "95 % full"},
		{name: "fuller than the plan's share", script: stat("+OK 2 300"), with: check.Options{"user": userName, "password": "mailbox", "quota": int64(1000), "quota_warn": 0.2}, reason: check.Quota},
		{name: "more than all numbers", script: stat("+OK 9223372036854775807 9223372036854775807"), with: filled, reason: check.Quota},
		{name: "numbers that are none", script: stat("+OK many 3"), with: login, reason: check.Protocol, detail: "is no number"},
		{name: "no numbers", script: stat("+OK"), with: login, reason: check.Protocol},
		{name: "size not told", script: stat("-ERR no"), with: login, reason: check.Protocol},

		{name: "closed in the greeting", script: "S:-ERR too many connections\n", reason: check.MailRejected, detail: "too many connections"},
		{name: "SSH", script: "S:SSH-2.0-OpenSSH_9.2p1\nHANG", reason: check.Protocol, detail: "the server speaks SSH, not POP3"},
		{name: "IMAP", script: "S:* OK ready\nHANG", reason: check.Protocol, detail: "speaks IMAP"},
		{name: "something else", script: "S:hello\nHANG", reason: check.Protocol, detail: "no line of POP3: hello"},
		{name: "hangs up at once", script: "", reason: check.ConnectReset},
		{name: "greets and stops", script: "S:+OK\nHANG", reason: check.Timeout, detail: "CAPA: the server fell silent"},
		{name: "silent", script: "HANG", reason: check.Timeout, detail: "the greeting"},
		{name: "drips", script: "DRIP:+OK", reason: check.Timeout},
		{name: "endless line", script: "FLOOD:" + strings.Repeat("+", 8000), reason: check.Protocol, detail: "a line of more than"},
		{name: "endless capabilities", script: greetPOP + "S:+OK\nFLOOD:XYZ|", reason: check.Protocol, detail: "more than 100 lines"},
		{name: "hangs up in the capabilities", script: greetPOP + "S:+OK|TOP\n", reason: check.ConnectReset},

		{name: "slow", script: fullPOP + outPOP, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert := good
			if tt.cert != nil {
				cert = a.Leaf(nil, tt.cert)
			}
			o := check.Options{"address": play(t, cert, tt.script), "roots": a.Roots(), "starttls": tlsRequired}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 300 * time.Millisecond
			}
			begin := time.Now()
			r := runFor(t, pop3Kind(), o, tt.env, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if strings.Contains(r.Detail, userName) || strings.Contains(r.Detail, password) {
				t.Errorf("the detail gives the account away: %s", r.Detail)
			}
			if took := time.Since(begin); took > limit+5*time.Second {
				t.Errorf("took %s of %s", took, limit)
			}
		})
	}
	want(t, run(t, pop3Kind(), check.Options{"address": checktest.ClosedPort(t)}, check.Env{}), check.ConnectRefused, "refused")
}

// Whatever a server says, the check ends with one of its own reasons and keeps to what it declares.
func FuzzPOP3(f *testing.F) {
	for _, s := range []string{"+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n+\r\n+OK\r\n+OK 1 2\r\n", "+OK\r\n-ERR\r\n+OK\r\n+OK\r\n+OK 1 -2\r\n", "-ERR [X", "\xff\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		fuzzSession(t, pop3Kind(), said, (&pop3Check{server: &server{starttls: tlsNone}}).talk)
		fuzzSession(t, pop3Kind(), said, (&pop3Check{quota: 10, quotaWarn: 0.9, server: &server{starttls: tlsNone, user: userName, lockout: &lockout{}, now: checktest.Epoch,
			password: func() (string, error) { return password, nil }}}).talk)
	})
}
