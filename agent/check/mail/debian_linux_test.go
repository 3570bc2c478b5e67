package mail

import (
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// fullBox is a mailbox that is nearly full.
const fullBox = "full@xa.test"

// startMailServer starts Debian's Postfix and Dovecot as the lab runs them, or skips the test and says what is missing.
func startMailServer(t *testing.T) (*servers.Mail, *servers.PKI) {
	t.Helper()
	return startMailServerWith(t, servers.MailConfig{})
}

// startMailServerWith does so with what c says beyond the boxes and names of the tests.
func startMailServerWith(t *testing.T, c servers.MailConfig) (*servers.Mail, *servers.PKI) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postfix and Dovecot: left out by -short")
	}
	if err := servers.Require("/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap"); err != nil {
		t.Skip(err)
	}
	if c.DKIM != nil {
		if err := servers.Require("opendkim"); err != nil {
			t.Skip(err)
		}
	}
	if c.Judge != "" {
		if err := servers.Require("opendmarc", "unshare"); err != nil {
			t.Skip(err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("Postfix and Dovecot are started as root only")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-mail-") // not t.TempDir: the programs' own users must get in
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(os.Chmod(dir, 0o755))
	pki, err := servers.NewPKI(filepath.Join(dir, "pki"), servers.PKIConfig{Now: checktest.Epoch()})
	must(err)
	place := servers.Loopback(dir, netip.MustParseAddr("127.0.0.1"), io.Discard)
	c.PKI, c.Host, c.Domains = pki, "mail.test", []string{"xa.test"}
	c.Boxes = map[string]string{userName: password, fullBox: password, peerName: password}
	c.Quotas = map[string]string{userName: "1M", fullBox: "2K"}
	m, err := servers.StartMail(t.Context(), place, c)
	must(err)
	t.Cleanup(func() {
		must(m.Stop())
		for _, name := range []string{"postfix.log", "dovecot.log"} {
			if text, _ := os.ReadFile(filepath.Join(dir, name)); t.Failed() {
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
			}
		}
	})
	must(m.Put(fullBox, []byte("From: a@xa.test\r\nSubject: x\r\n\r\n"+strings.Repeat("x", 1980))))
	return m, pki
}

func TestPostfixAndDovecot(t *testing.T) {
	m, pki := startMailServer(t)
	login := check.Options{"user": userName, "password": "mailbox"}
	refuse := check.Env{Secret: func(string) (string, error) { return "wrong", nil }}
	stranger := checktest.NewAuthority(t, "mail.test").Roots()
	use := func(c servers.Certificate) func() error { return func() error { return m.UseCertificate(c) } }
	for _, tt := range []struct {
		name    string
		kind    check.Kind
		address string
		change  func() error // of the server, before; it stays
		with    []check.Options
		env     check.Env
		reason  check.Reason
		detail  string
		facts   map[string]float64
	}{
		{name: "MX", kind: smtpKind(), address: m.Addr(), with: []check.Options{{"starttls": tlsOffered}}, reason: check.OK,
			facts: map[string]float64{"starttls_code": 1, "auth_plaintext_code": 0, "size_limit_bytes": 20971520, "chain_valid_code": 1}},
		{name: "submission", kind: smtpKind(), address: m.Submission(), with: []check.Options{login, {"auth": []string{"PLAIN"}}}, reason: check.OK,
			facts: map[string]float64{"login_code": 1, "reply_code": 235, "auth_plaintext_code": 0, "auth_mechanisms_count": 2}},
		{name: "submission, wrong password", kind: smtpKind(), address: m.Submission(), with: []check.Options{login}, env: refuse, reason: check.Auth, detail: "535 5.7.8",
			facts: map[string]float64{"login_code": 0}},
		{name: "TLS from the start", kind: smtpKind(), address: m.SMTPS(), with: []check.Options{login, {"starttls": tlsImplicit}}, reason: check.OK, facts: map[string]float64{"login_code": 1}},
		{name: "another name", kind: smtpKind(), address: m.Addr(), with: []check.Options{{"server_name": "other.test"}}, reason: check.TLSName},
		{name: "TLS from the start where none is expected", kind: smtpKind(), address: m.IMAPS(), reason: check.Timeout, detail: "implicit"},
		{name: "SMTP on Dovecot", kind: smtpKind(), address: m.IMAP(), reason: check.Protocol, detail: "the server speaks IMAP, not SMTP"},

		{name: "IMAPS", kind: imapKind(), address: m.IMAPS(), with: []check.Options{login}, reason: check.OK,
			facts: map[string]float64{"login_code": 1, "quota_limit_bytes": 1 << 20, "quota_used_bytes": 0, "chain_valid_code": 1}},
		{name: "IMAP with STARTTLS", kind: imapKind(), address: m.IMAP(), with: []check.Options{login, {"starttls": tlsRequired}}, reason: check.OK, facts: map[string]float64{"starttls_code": 1, "login_code": 1}},
		{name: "nearly full", kind: imapKind(), address: m.IMAPS(), with: []check.Options{{"user": fullBox, "password": "mailbox"}}, reason: check.Quota, facts: map[string]float64{"quota_ratio": 1}},
		{name: "IMAPS, wrong password", kind: imapKind(), address: m.IMAPS(), with: []check.Options{login}, env: refuse, reason: check.Auth, detail: "AUTHENTICATIONFAILED"},
		{name: "IMAP on Postfix", kind: imapKind(), address: m.Addr(), with: []check.Options{{"starttls": tlsNone}}, reason: check.Protocol, detail: "speaks SMTP"},
		{name: "untrusted", kind: imapKind(), address: m.IMAPS(), with: []check.Options{{"roots": stranger}}, reason: check.TLSUntrusted},

		{name: "POP3S", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{login}, reason: check.OK, facts: map[string]float64{"login_code": 1, "messages_count": 0, "quota_used_bytes": 0, "chain_valid_code": 1}},
		{name: "POP3 with STLS", kind: pop3Kind(), address: m.POP3(), with: []check.Options{login, {"starttls": tlsRequired}}, reason: check.OK, facts: map[string]float64{"starttls_code": 1, "login_code": 1}},
		{name: "POP3, nearly full", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{{"user": fullBox, "password": "mailbox", "quota": int64(2048)}}, reason: check.Quota, facts: map[string]float64{"messages_count": 1}},
		{name: "POP3, wrong password", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{login}, env: refuse, reason: check.Auth, detail: "AUTH"},
		{name: "POP3 on Postfix", kind: pop3Kind(), address: m.Addr(), with: []check.Options{{"starttls": tlsNone}}, reason: check.Protocol, detail: "speaks SMTP"},

		{name: "TLS from the start at a port that begins without", kind: smtpKind(), address: m.Addr(), with: []check.Options{{"starttls": tlsImplicit}}, reason: check.TLSHandshake},
		{name: "IMAP, TLS from the start at a port that begins without", kind: imapKind(), address: m.IMAP(), with: []check.Options{{"starttls": tlsImplicit}}, reason: check.TLSHandshake},
		{name: "POP3, TLS from the start at a port that begins without", kind: pop3Kind(), address: m.POP3(), with: []check.Options{{"starttls": tlsImplicit}}, reason: check.TLSHandshake},
		{name: "IMAP, another name", kind: imapKind(), address: m.IMAPS(), with: []check.Options{{"server_name": "other.test"}}, reason: check.TLSName},
		{name: "POP3, another name", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{{"server_name": "other.test"}}, reason: check.TLSName},
		{name: "POP3, untrusted", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{{"roots": stranger}}, reason: check.TLSUntrusted},
		{name: "IMAP, TLS where none is expected", kind: imapKind(), address: m.IMAPS(), with: []check.Options{{"starttls": tlsRequired}}, reason: check.Timeout},
		{name: "POP3, TLS where none is expected", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{{"starttls": tlsRequired}}, reason: check.Timeout},
		{name: "MX, certificate ends", kind: smtpKind(), address: m.Addr(), with: []check.Options{{"warn_days": int64(3650)}}, reason: check.CertExpiring},
		{name: "IMAP, certificate ends", kind: imapKind(), address: m.IMAPS(), with: []check.Options{{"warn_days": int64(3650)}}, reason: check.CertExpiring},
		{name: "POP3, certificate ends", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{{"warn_days": int64(3650)}}, reason: check.CertExpiring},
		{name: "submission, no password", kind: smtpKind(), address: m.Submission(), with: []check.Options{login, {"password": "none"}}, reason: check.NotConfigured},
		{name: "IMAP, no password", kind: imapKind(), address: m.IMAPS(), with: []check.Options{login, {"password": "none"}}, reason: check.NotConfigured},
		{name: "POP3, no password", kind: pop3Kind(), address: m.POP3S(), with: []check.Options{login, {"password": "none"}}, reason: check.NotConfigured},

		{name: "expired", kind: smtpKind(), address: m.Addr(), change: use(servers.Expired), reason: check.TLSExpired},
		{name: "IMAP, expired", kind: imapKind(), address: m.IMAPS(), reason: check.TLSExpired},
		{name: "POP3, expired", kind: pop3Kind(), address: m.POP3S(), reason: check.TLSExpired},
		{name: "no intermediate", kind: imapKind(), address: m.IMAPS(), change: use(servers.NoIntermediate), reason: check.TLSUntrusted},
		{name: "no TLS", kind: smtpKind(), address: m.Addr(), change: func() error { return m.STARTTLSStripped(true) }, reason: check.STARTTLSMissing, facts: map[string]float64{"starttls_code": 0}},
		{name: "closed to us", kind: smtpKind(), address: m.Addr(), change: func() error { return m.Closed(true) }, reason: check.MailRejected, detail: "554 5.7.1", facts: map[string]float64{"reply_code": 554}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := servers.Require("/usr/lib/dovecot/pop3"); err != nil && tt.kind.Name == "pop3" {
				t.Skip(err)
			}
			if tt.change != nil {
				if err := tt.change(); err != nil {
					t.Fatal(err)
				}
			}
			o := check.Options{"address": tt.address, "roots": pki.Roots}
			for _, with := range tt.with {
				maps.Copy(o, with)
			}
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 500 * time.Millisecond
			}
			r := runFor(t, tt.kind, o, tt.env, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
		})
	}
}
