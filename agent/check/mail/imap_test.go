package mail

import (
	"crypto/x509"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

const (
	greetIMAP = "S:* OK mail.test ready\nC:a CAPABILITY\n"
	openIMAP  = greetIMAP + "S:* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED|a OK done\nC:b STARTTLS\nS:b OK go\nTLS\n"
	fullIMAP  = openIMAP + "C:c CAPABILITY\nS:* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2|c OK done\n"
	inIMAP    = fullIMAP + "C:d AUTHENTICATE PLAIN \nS:* CAPABILITY X|d OK in\nC:e CAPABILITY\nS:* CAPABILITY IMAP4rev1 QUOTA|e OK done\n"
	outIMAP   = "C:z LOGOUT\nS:* BYE|z OK\n"
)

func TestIMAPReasons(t *testing.T) {
	a, other := checktest.NewAuthority(t, "mail.test"), checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	ends := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(d) }
	}
	login := check.Options{"user": userName, "password": "mailbox"}
	quota := func(answer string) string { return inIMAP + "C:f GETQUOTAROOT INBOX\n" + answer + outIMAP }
	byLogin := openIMAP + "C:c CAPABILITY\nS:* CAPABILITY IMAP4rev1|c OK done\n" +
		fmt.Sprintf("C:d LOGIN {%d}\nS:+ go\nC:%s {%d}\nS:+\nC:%s\n", len(userName), userName, len(password), password)
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
		{name: "all is well", script: fullIMAP + outIMAP, reason: check.OK,
			facts: map[string]float64{"starttls_code": 1, "auth_plaintext_code": 0, "auth_mechanisms_count": 3, "capabilities_count": 4, "ip_family_code": 4, "tls_version_code": 13, "chain_valid_code": 1}},
		{name: "TLS from the start", script: "TLS\n" + greetIMAP + "S:* CAPABILITY IMAP4rev1 AUTH=PLAIN|a OK done\n" + outIMAP, with: check.Options{"starttls": tlsImplicit}, reason: check.OK,
			facts: map[string]float64{"chain_valid_code": 1, "auth_mechanisms_count": 2}},
		{name: "without TLS", script: greetIMAP + "S:* CAPABILITY IMAP4rev1|a OK done\n" + outIMAP, with: check.Options{"starttls": tlsNone}, reason: check.OK, facts: map[string]float64{"auth_plaintext_code": 1, "starttls_code": 0}},
		{name: "logged in already, without TLS", script: "S:* PREAUTH hi\nC:a CAPABILITY\nS:* CAPABILITY IMAP4rev1|a OK\n" + outIMAP, with: check.Options{"starttls": tlsNone}, reason: check.OK},
		{name: "logged in already, before TLS", script: "S:* PREAUTH hi\nHANG", reason: check.Protocol, detail: "before TLS is on"},
		{name: "hangs at the goodbye", script: fullIMAP + "C:z LOGOUT\nHANG", reason: check.OK},

		{name: "no STARTTLS", script: greetIMAP + "S:* CAPABILITY IMAP4rev1 AUTH=PLAIN|a OK done\n" + outIMAP, with: login, reason: check.STARTTLSMissing, facts: map[string]float64{"starttls_code": 0}},
		{name: "STARTTLS refused", script: greetIMAP + "S:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:b NO not now\n", reason: check.TLSHandshake, detail: "NO not now"},
		{name: "closes at STARTTLS", script: greetIMAP + "S:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:* BYE now\n", reason: check.MailRejected, detail: "the server closes: now"},
		{name: "hangs up in the handshake", script: greetIMAP + "S:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:b OK\n", reason: check.TLSHandshake},
		{name: "hangs in the handshake", script: greetIMAP + "S:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:b OK\nHANG", reason: check.Timeout},
		{name: "injects before TLS", script: greetIMAP + "S:* CAPABILITY STARTTLS|a OK\nC:b STARTTLS\nS:b OK go|* CAPABILITY AUTH=PLAIN|c OK\nTLS\n", reason: check.Protocol, detail: "before the TLS handshake"},
		{name: "expired", script: openIMAP, cert: ends(-time.Hour), reason: check.TLSExpired, facts: map[string]float64{"chain_valid_code": 0}},
		{name: "not yet valid", script: openIMAP, cert: func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, reason: check.TLSNotYetValid},
		{name: "expired, clock not proven", script: openIMAP, cert: ends(-time.Hour), env: check.Env{ClockProven: func() bool { return false }}, reason: check.ClockUnproven},
		{name: "wrong name", script: openIMAP, with: check.Options{"server_name": "other.test"}, reason: check.TLSName},
		{name: "untrusted", script: openIMAP, with: check.Options{"roots": other.Roots()}, reason: check.TLSUntrusted},
		{name: "ends soon", script: fullIMAP + outIMAP, cert: ends(20 * 24 * time.Hour), reason: check.CertExpiring},
		{name: "older than anybody takes", script: strings.Replace(openIMAP, "go\nTLS\n", "go\nTLS1.1\n", 1), reason: check.TLSProtocol},
		{name: "no such roots", script: openIMAP, with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured},

		{name: "mechanism offered", script: fullIMAP + outIMAP, with: check.Options{"auth": []string{"xoauth2", "LOGIN"}}, reason: check.OK},
		{name: "mechanism not offered", script: fullIMAP + outIMAP, with: check.Options{"auth": []string{"SCRAM-SHA-256"}}, reason: check.Auth, detail: "but LOGIN, PLAIN, XOAUTH2"},
		{name: "logs in, no quota", script: fullIMAP + "C:d AUTHENTICATE PLAIN " + saslPlain(userName, password) + "\nS:d OK in\nC:e CAPABILITY\nS:* CAPABILITY IMAP4rev1|e OK\n" + outIMAP, with: login, reason: check.OK, facts: map[string]float64{"login_code": 1, "capabilities_count": 1}},
		{name: "logs in by LOGIN", script: byLogin + "S:d OK in\nC:e CAPABILITY\nS:* CAPABILITY IMAP4rev1|e OK\n" + outIMAP, with: login, reason: check.OK},
		{name: "logs in in two steps", script: openIMAP + "C:c CAPABILITY\nS:* CAPABILITY AUTH=PLAIN|c OK\nC:d AUTHENTICATE PLAIN\nS:+\nC:" + saslPlain(userName, password) + "\nS:d OK\nC:e CAPABILITY\nS:* CAPABILITY X|e OK\n" + outIMAP, with: login, reason: check.OK},
		{name: "account refused", script: fullIMAP + "C:d AUTH\nS:d NO [AUTHENTICATIONFAILED] " + userName + " is unknown\n" + outIMAP, with: login, reason: check.Auth, detail: "refused: AUTHENTICATIONFAILED", facts: map[string]float64{"login_code": 0}},
		{name: "account refused at its name", script: openIMAP + "C:c CAPABILITY\nS:* CAPABILITY IMAP4rev1|c OK\nC:d LOGIN\nS:d NO " + userName + "\n" + outIMAP, with: login, reason: check.Auth},
		{name: "login not understood", script: fullIMAP + "C:d AUTH\nS:d BAD " + userName + "\n", with: login, reason: check.Protocol, detail: "login is answered BAD"},
		{name: "closes at login", script: fullIMAP + "C:d AUTH\nS:* BYE " + userName + "\n", with: login, reason: check.MailRejected},
		{name: "asks without end", script: fullIMAP + "C:d AUTH\nS:+|+|+\nHANG", with: login, reason: check.Protocol, detail: "asks for more than there is"},
		{name: "talks without end at login", script: fullIMAP + "C:d AUTH\nFLOOD:* X|", with: login, reason: check.Protocol, detail: "more than 100 lines"},
		{name: "login forbidden", script: openIMAP + "C:c CAPABILITY\nS:* CAPABILITY LOGINDISABLED AUTH=GSSAPI|c OK\n" + outIMAP, with: login, reason: check.Auth, detail: "but GSSAPI"},
		{name: "no such secret", script: fullIMAP, with: check.Options{"user": userName, "password": "other"}, reason: check.NotConfigured},

		{name: "room left", script: quota("S:* QUOTAROOT INBOX \"User quota\"|* QUOTA \"User quota\" (STORAGE 10 512)|f OK\n"), with: login, reason: check.OK,
			facts: map[string]float64{"quota_used_bytes": 10240, "quota_limit_bytes": 524288, "quota_ratio": 0.019531}},
		{name: "nearly full", script: quota("S:* QUOTA \"\" (STORAGE 500 512)|f OK\n"), with: login, reason: check.Quota, detail: "98 % full"},
		{name: "too many letters", script: quota("S:* QUOTA a (STORAGE 1 512 MESSAGE 100 100)|f OK\n"), with: login, reason: check.Quota, detail: "100 % full", facts: map[string]float64{"quota_ratio": 1, "quota_used_bytes": 1024}},
		{name: "fuller than the plan's share", script: quota("S:* QUOTA a (STORAGE 300 512)|f OK\n"), with: check.Options{"user": userName, "password": "mailbox", "quota_warn": 0.5}, reason: check.Quota},
		{name: "the name of a quota as a literal", script: quota("S:* QUOTA {5}|a (b) (STORAGE 500 512)|f OK\n"), with: login, reason: check.Quota},
		{name: "no limit", script: quota("S:* QUOTA a ()|f OK\n"), with: login, reason: check.OK},
		{name: "limit of nothing", script: quota("S:* QUOTA a (STORAGE 0 0 X-OTHER 5 5)|f OK\n"), with: login, reason: check.OK},
		{name: "quota not told", script: quota("S:f NO sorry\n"), with: login, reason: check.OK},
		{name: "quota that is none", script: quota("S:* QUOTA a (STORAGE full 512)|f OK\n"), with: login, reason: check.Protocol, detail: "full is no number"},
		{name: "quota beyond all numbers", script: quota("S:* QUOTA a (STORAGE 9223372036854775807 1)|f OK\n"), with: login, reason: check.Quota},

		{name: "closed in the greeting", script: "S:* BYE too many connections\n", reason: check.MailRejected, detail: "too many connections"},
		{name: "SSH", script: "S:SSH-2.0-OpenSSH_9.2p1\nHANG", reason: check.Protocol, detail: "the server speaks SSH, not IMAP"},
		{name: "SMTP", script: "S:220 mail.test ESMTP\nHANG", reason: check.Protocol, detail: "speaks SMTP or FTP"},
		{name: "something else", script: "S:hello\nHANG", reason: check.Protocol, detail: "no line of IMAP: hello"},
		{name: "another greeting", script: "S:* NO\nHANG", reason: check.Protocol},
		{name: "hangs up at once", script: "", reason: check.ConnectReset},
		{name: "silent", script: "HANG", reason: check.Timeout, detail: "the greeting: the server fell silent"},
		{name: "drips", script: "DRIP:* OK", reason: check.Timeout},
		{name: "drips lines", script: greetIMAP + "DRIP:* X|", reason: check.Timeout},
		{name: "endless line", script: "FLOOD:" + strings.Repeat("*", 8000), reason: check.Protocol, detail: "a line of more than"},
		{name: "endless capabilities", script: greetIMAP + "RAW:* CAPABILITY\nFLOOD: XYZ", reason: check.Protocol, detail: "a line of more than"},
		{name: "endless answers", script: greetIMAP + "FLOOD:* X|", reason: check.Protocol, detail: "more than 100 lines"},
		{name: "a literal of four gigabytes", script: greetIMAP + "S:* CAPABILITY {4294967296}\nFLOOD:x", reason: check.Protocol, detail: "a literal of 4294967296 bytes"},
		{name: "a literal beyond all numbers", script: greetIMAP + "S:* X {99999999999999999999999}\nHANG", reason: check.Protocol, detail: "a literal of"},
		{name: "literals without end", script: greetIMAP + "FLOOD:* X {1}|ab {1}|", reason: check.Protocol},
		{name: "hangs up in a literal", script: greetIMAP + "S:* X {100}|abc\n", reason: check.ConnectReset},
		{name: "capabilities refused", script: greetIMAP + "S:a BAD what\n", reason: check.Protocol},
		{name: "no capabilities", script: greetIMAP + "S:a OK\n", reason: check.Protocol, detail: "without capabilities"},
		{name: "another's answer", script: greetIMAP + "S:q OK\n", reason: check.Protocol, detail: "belongs to no command"},

		{name: "slow", script: fullIMAP + outIMAP, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
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
			r := runFor(t, imapKind(), o, tt.env, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if took := time.Since(begin); took > limit+5*time.Second {
				t.Errorf("took %s of %s", took, limit)
			}
		})
	}
	want(t, run(t, imapKind(), check.Options{"address": checktest.ClosedPort(t)}, check.Env{}), check.ConnectRefused, "refused")
}

// Whatever a server says, the check ends with one of its own reasons and keeps to what it declares.
func FuzzIMAP(f *testing.F) {
	for _, s := range []string{"* OK\r\n* CAPABILITY AUTH=PLAIN SASL-IR\r\na OK\r\nd OK\r\n* CAPABILITY QUOTA\r\ne OK\r\n* QUOTA a (STORAGE 1 2)\r\nf OK\r\n",
		"* OK\r\n* CAPABILITY {3}\r\nabc\r\na OK\r\n+\r\n+\r\nd NO\r\n", "* PREAUTH\n* {-1}\n", "* BYE", "\xff{0}\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		fuzzSession(t, imapKind(), said, (&imapCheck{server: &server{starttls: tlsNone}}).talk)
		fuzzSession(t, imapKind(), said, (&imapCheck{quotaWarn: 0.9, server: &server{starttls: tlsNone, user: userName, password: func() (string, error) { return password, nil }, lockout: &lockout{}, now: checktest.Epoch}}).talk)
	})
}
