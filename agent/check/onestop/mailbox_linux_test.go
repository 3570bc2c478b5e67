package onestop

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// The age of the newest letter, by each option that says which letters count and how the mailbox is opened.
func TestFreshnessOfAMailbox(t *testing.T) {
	if err := servers.Require("/usr/lib/postfix/sbin/master", "dovecot", "/usr/lib/dovecot/imap"); err != nil {
		t.Skip(err)
	}
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("Postfix and Dovecot are started as root only, and not by -short")
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-onestop-") // not t.TempDir: the programs' own users must get in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := servers.Loopback(dir, netip.MustParseAddr("127.0.0.77"), nil) // where no other test's servers take its ports
	pki, err := servers.NewPKI(filepath.Join(p.Dir, "pki"), servers.PKIConfig{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	const box = "giamsat@lab.test"
	m, err := servers.StartMail(t.Context(), p, servers.MailConfig{PKI: pki, Host: "mail.lab.test", Domains: []string{"lab.test"}, Boxes: map[string]string{box: password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop() })
	if err := m.Put(box, []byte("From: truc@vpcp.test\r\nSubject: Van ban den\r\n\r\nx")); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	look := func(o check.Options, secret string) check.Func {
		all := check.Options{"address": m.IMAPS(), "server_name": "mail.lab.test", "roots": pki.Roots, "user": box, "password": "x", "max_age": time.Hour}
		maps.Copy(all, o)
		e := env(secret)
		e.Now = func() time.Time { return now }
		f, err := freshnessKind().New(checktest.WithDefaults(t, freshnessKind(), all), e)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, tt := range []struct {
		o             check.Options
		without, with check.Reason
	}{
		{check.Options{"from": "nobody@vpcp.test"}, check.OK, check.ContentMissing},
		{check.Options{"subject": "Cong van di"}, check.OK, check.ContentMissing},
		{check.Options{"folder": "Khac"}, check.OK, check.MailRejected},
		{check.Options{"address": m.IMAP(), "starttls": "required"}, check.TLSHandshake, check.OK},
		{check.Options{"max_age": time.Nanosecond}, check.OK, check.Stale},
	} {
		without := maps.Clone(tt.o)
		for _, name := range []string{"from", "subject", "folder", "starttls", "max_age"} {
			delete(without, name)
		}
		wants(t, look(without, password)(t.Context()), tt.without, "", nil)
		wants(t, look(tt.o, password)(t.Context()), tt.with, "", nil)
	}
	for pause, tried := range map[time.Duration]bool{time.Hour: true, 6 * time.Hour: false} {
		now = time.Now()
		f := look(check.Options{"login_pause": pause}, "wrong")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		wants(t, f(ctx), check.Auth, "", nil)
		now = now.Add(2 * time.Hour)
		r := f(ctx)
		cancel()
		checktest.Sound(t, freshnessKind(), r)
		ok := slices.ContainsFunc(r.Phases, func(p check.Phase) bool { return p.Name == "login" })
		if ok != tried || r.Reason != check.Auth {
			t.Errorf("with a pause of %s, two hours later: %s %q, tried %v", pause, r.Reason, r.Detail, ok)
		}
	}
}
