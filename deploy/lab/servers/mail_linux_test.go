package servers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

const (
	officer  = "vhtt@tuky.lab"
	province = "stttt@tinh.lab"
)

func startMail(t *testing.T, p Place) (*PKI, *Mail) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("Postfix and Dovecot are started as root only")
	}
	need(t, "/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap")
	pki := newPKI(t, p)
	m := must[*Mail](t)(StartMail(t.Context(), p, MailConfig{PKI: pki, Host: "mail.tuky.lab", Domains: []string{"tuky.lab", "tinh.lab"},
		Boxes: map[string]string{officer: "matkhau9", province: "matkhau7"}}))
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, name := range []string{"postfix.log", "dovecot.log"} {
				text, _ := os.ReadFile(filepath.Join(p.Dir, name))
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
			}
		}
	})
	return pki, m
}

// send sends a letter from one domain to the other, with a login.
func send(t *testing.T, pki *PKI, m *Mail, subject string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(pki.Roots)))
	conn, err := m.p.DialContext(t.Context(), "tcp", m.Submission())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := must[*smtp.Client](t)(smtp.NewClient(conn, "mail.tuky.lab"))
	w, err := c, c.StartTLS(&tls.Config{ServerName: "mail.tuky.lab", RootCAs: roots})
	err = errors.Join(err, w.Auth(smtp.PlainAuth("", officer, "matkhau9", "mail.tuky.lab")), w.Mail(officer), w.Rcpt(province))
	if err != nil {
		t.Fatal(err)
	}
	body := must[interface {
		Write([]byte) (int, error)
		Close() error
	}](t)(w.Data())
	_, err = fmt.Fprintf(body, "From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\nThử\r\n", officer, province, subject)
	if err = errors.Join(err, body.Close(), w.Quit()); err != nil {
		t.Fatal(err)
	}
}

// arrived tells whether a letter lies in a mailbox.
func arrived(t *testing.T, m *Mail, subject string) bool {
	t.Helper()
	files := must[[]string](t)(filepath.Glob(filepath.Join(m.Folder(province), "new", "*")))
	for _, f := range files {
		if strings.Contains(string(must[[]byte](t)(os.ReadFile(f))), "Subject: "+subject+"\n") {
			return true
		}
	}
	return false
}

// comes waits for a letter.
func comes(t *testing.T, m *Mail, subject string) {
	t.Helper()
	err := until(t.Context(), nil, "letter "+subject, func() error {
		if arrived(t, m, subject) {
			return nil
		}
		return errors.New("it is not there")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMail(t *testing.T) {
	places(t, func(t *testing.T, p Place) {
		pki, m := startMail(t, p)
		deliver := func(reason check.Reason) look {
			return look{kind: "smtp", reason: reason, with: check.Options{"address": m.Addr(), "starttls": "offered", "roots": pki.Roots, "server_name": "mail.tuky.lab", "ehlo": "pc.lab"}}
		}
		submit := func(reason check.Reason) look {
			l := deliver(reason)
			l.with["address"], l.with["starttls"], l.with["user"], l.with["password"], l.secret = m.Submission(), "required", officer, "x", "matkhau9"
			return l
		}
		imap := func(address, starttls string, reason check.Reason) look {
			return look{kind: "imap", reason: reason, secret: "matkhau7", with: check.Options{"address": address, "starttls": starttls, "roots": pki.Roots,
				"server_name": "mail.tuky.lab", "user": province, "password": "x"}}
		}
		walk(t, []step{
			{"between servers", nil, deliver(check.OK)},
			{"submission", nil, submit(check.OK)},
			{"IMAPS", nil, imap(m.IMAPS(), "implicit", check.OK)},
			{"IMAP", nil, imap(m.IMAP(), "required", check.OK)},
			{"STARTTLS stripped", func() error { return m.STARTTLSStripped(true) }, deliver(check.STARTTLSMissing)},
			{"for people too", nil, submit(check.STARTTLSMissing)},
			{"not stripped", func() error { return m.STARTTLSStripped(false) }, deliver(check.OK)},
			{"IMAP refuses", func() error { return m.IMAPRefuses(true) }, imap(m.IMAPS(), "implicit", check.ConnectRefused)},
			{"servers go on", nil, deliver(check.OK)},
			{"IMAP takes", func() error { return m.IMAPRefuses(false) }, imap(m.IMAPS(), "implicit", check.OK)},
			{"closed", func() error { return m.Closed(true) }, deliver(check.MailRejected)},
			{"open", func() error { return m.Closed(false) }, deliver(check.OK)},
			{"expired", func() error { return m.UseCertificate(Expired) }, submit(check.TLSExpired)},
			{"expired, IMAPS", nil, imap(m.IMAPS(), "implicit", check.TLSExpired)},
			{"good", func() error { return m.UseCertificate(Good) }, submit(check.OK)},
			{"good, IMAPS", nil, imap(m.IMAPS(), "implicit", check.OK)},
			{"ended", func() error { return m.Halt(true) }, deliver(check.ConnectRefused)},
			{"started", func() error { return m.Halt(false) }, submit(check.OK)},
		})
		send(t, pki, m, "first")
		comes(t, m, "first")
		stuck(t, pki, m)
		hangs(t, m)
		see(t, "at the end", deliver(check.OK))
	})
}

// stuck sends a letter that waits until the queue moves.
func stuck(t *testing.T, pki *PKI, m *Mail) {
	t.Helper()
	for range 2 {
		if err := m.Stuck(true); err != nil {
			t.Fatal(err)
		}
	}
	send(t, pki, m, "second")
	err := until(t.Context(), nil, "deferred", func() error {
		deferred, err := filepath.Glob(filepath.Join(m.p.Dir, "queue/deferred/*/*"))
		if err == nil && len(deferred) == 0 {
			err = errors.New("nothing waits")
		}
		return err
	})
	if n, countErr := m.Queued(); err != nil || n != 1 || arrived(t, m, "second") {
		t.Errorf("%d letters wait (%v), %v, arrived %v", n, countErr, err, arrived(t, m, "second"))
	}
	if err := m.Stuck(false); err != nil {
		t.Fatal(err)
	}
	comes(t, m, "second")
}

// hangs sees that nobody greets at a server that hangs, and that it goes on.
func hangs(t *testing.T, m *Mail) {
	t.Helper()
	if err := m.Hang(true); err != nil {
		t.Fatal(err)
	}
	c, err := m.p.DialContext(t.Context(), "tcp", m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if err := m.Hang(false); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Errorf("does not go on: %v", err)
	}
}

// The records of a mail domain are what our own check of them wants, and broken ones are not.
func TestMailRecords(t *testing.T) {
	need(t, "named", "dnssec-keygen", "dnssec-signzone", "unbound")
	p := common(localhost(t))
	records := must[[]string](t)(MailRecords("mail", p.IP, must[*DKIMKey](t)(NewDKIMKey())))
	n := must[*Names](t)(StartNames(t.Context(), p, NamesConfig{Zones: []ZoneConfig{{Name: "tuky.lab", Signed: true, Records: records}}}))
	defer n.Stop()
	r := must[*Resolver](t)(StartResolver(t.Context(), localhost(t), ResolverFor(n)))
	defer r.Stop()
	set := func(records []string) func() error {
		return func() error { return errors.Join(n.SetRecords("tuky.lab", records), r.Flush()) }
	}
	domain := func(reason check.Reason) look {
		return look{kind: "maildns", reason: reason, with: check.Options{"name": "tuky.lab", "server": r.Addr(), "dmarc": "quarantine"}}
	}
	walk(t, []step{
		{"good", nil, domain(check.OK)},
		{"SPF broken", set(BreakSPF(records)), domain(check.MailAuth)},
		{"SPF mended", set(records), domain(check.OK)},
		{"DKIM key", nil, look{kind: "dns", reason: check.OK, with: check.Options{"name": "s1._domainkey.tuky.lab", "type": "TXT", "server": r.Addr()}}},
	})
}

// A relay takes nothing without TLS, and has no login.
func TestRelay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("Postfix is started as root only")
	}
	need(t, "/usr/lib/postfix/sbin/master")
	p := localhost(t)
	m := must[*Mail](t)(StartMail(t.Context(), p, MailConfig{PKI: newPKI(t, p), Host: "relay.lab", Domains: []string{"tuky.lab"}, Boxes: map[string]string{officer: ""}, Relay: true}))
	defer m.Stop()
	c := must[*smtp.Client](t)(smtp.Dial(m.Addr()))
	defer c.Close()
	if err := c.Mail("x@tinh.lab"); err == nil || !strings.HasPrefix(err.Error(), "530 ") {
		t.Errorf("without TLS: %v", err)
	}
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("a relay offers a login")
	}
	if err := c.Mail("x@tinh.lab"); err != nil {
		t.Error(err)
	}
	if err := c.Rcpt("x@tinh.lab"); err == nil {
		t.Error("a relay takes letters for others")
	}
	if err := c.Rcpt(officer); err != nil {
		t.Error(err)
	}
	if m.IMAPRefuses(true) == nil {
		t.Error("a relay has no IMAP that could refuse")
	}
}
