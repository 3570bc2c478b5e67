package alert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The configuration of a relay that asks for STARTTLS and delivers to maildirs of its own.
const (
	relayMain = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = /tmp
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = d.test
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ vhtt@d.test=vhtt/ }
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
virtual_minimum_uid = 1
smtpd_tls_chain_files = DIR/server.pem
smtpd_tls_security_level = encrypt
default_transport = error:nothing leaves this test
`
	relayMaster = `127.0.0.1:PORT inet n - n - - smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
error     unix - - n - - error
virtual   unix - n n - - virtual
tlsmgr    unix - - n 1000? 1 tlsmgr
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
postlog   unix-dgram n - n - 1 postlogd
`
)

// startPostfix starts Debian's Postfix for one test, and returns its port, the file of its authority and its maildir.
func startPostfix(t *testing.T) (port int, ca, maildir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postfix: left out by -short")
	}
	if _, err := os.Stat("/usr/lib/postfix/sbin/master"); err != nil {
		t.Skip("Postfix is missing: apt-get install postfix")
	}
	if os.Getuid() != 0 {
		t.Skip("Postfix is started as root only")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "egovmon-alert-") // not t.TempDir: Postfix's own user must get in
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u, err := user.Lookup("postfix")
	must(err)
	uid, err := strconv.Atoi(u.Uid)
	must(err)
	gid, err := strconv.Atoi(u.Gid)
	must(err)
	must(os.Chmod(dir, 0o755))
	for _, d := range []string{"etc", "queue", "queue/pid", "data", "mail"} {
		must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, d := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "public", "saved", "trace"} {
		must(os.MkdirAll(filepath.Join(dir, "queue", d), 0o700))
		must(os.Chown(filepath.Join(dir, "queue", d), uid, gid))
	}
	must(os.Chown(filepath.Join(dir, "data"), uid, gid))
	must(os.Chown(filepath.Join(dir, "mail"), uid, gid))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	a, _ := l.Addr().(*net.TCPAddr)
	must(l.Close())
	fill := strings.NewReplacer("DIR", dir, "UID", u.Uid, "GID", u.Gid, "PORT", strconv.Itoa(a.Port))
	must(os.WriteFile(filepath.Join(dir, "etc/main.cf"), []byte(fill.Replace(relayMain)), 0o644))
	must(os.WriteFile(filepath.Join(dir, "etc/master.cf"), []byte(fill.Replace(relayMaster)), 0o644))
	key, cert := certificate(t)
	must(os.WriteFile(filepath.Join(dir, "server.pem"), append(key, cert...), 0o600))
	must(os.WriteFile(filepath.Join(dir, "ca.pem"), cert, 0o644))
	cmd := exec.Command("/usr/lib/postfix/sbin/master", "-d", "-c", filepath.Join(dir, "etc"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &out, &out, &syscall.SysProcAttr{Setpgid: true}
	must(cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // what it started
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("Postfix: %s\n%s", out.String(), log)
		}
	})
	until(t, "Postfix answers", func() bool {
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return a.Port, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "mail/vhtt/new")
}

// until waits for something that another process does.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// certificate makes a key and a certificate for 127.0.0.1 that vouches for itself, as PEM.
func certificate(t *testing.T) (key, cert []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay.test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestPostfixTakesOneLetterAnEvent(t *testing.T) {
	port, ca, maildir := startPostfix(t)
	d := newDesk(t)
	d.town.opens("cong", at(23, 10, 0))
	d.tell()
	config := Config{Mail: &MailConfig{Host: "127.0.0.1", Port: port, CAFile: ca, From: "egovmon@d.test"}}
	letters := func() []string {
		names, _ := filepath.Glob(filepath.Join(maildir, "*"))
		return names
	}
	for range 3 { // restarts
		d.sender(config).send(t.Context(), ByMail)
		d.set(d.clock().Add(time.Minute))
	}
	until(t, "the alert is in the mailbox", func() bool { return len(letters()) == 1 })
	raw, err := os.ReadFile(letters()[0])
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Gián đoạn: Cổng TTĐT huyện" {
		t.Errorf("subject %q, %v", subject, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), "Hệ thống: Cổng TTĐT huyện\n") {
		t.Errorf("body %q, %v", body, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.Contains(m.Header.Get("Message-ID"), "<i-cong.opened.") ||
		!strings.Contains(string(raw), "with ESMTPS") {
		t.Errorf("headers:\n%s", raw)
	}
	d.town.closes("cong", d.clock())
	d.tell()
	for range 3 {
		d.sender(config).send(t.Context(), ByMail)
		d.set(d.clock().Add(time.Minute))
	}
	until(t, "the all-clear is in the mailbox", func() bool { return len(letters()) >= 2 })
	if n := len(letters()); n != 2 {
		t.Errorf("%d letters, want one alert and one all-clear", n)
	}
}

func TestPostfixWithAnUnknownAuthority(t *testing.T) {
	port, _, _ := startPostfix(t)
	m, err := newMailer(MailConfig{Host: "127.0.0.1", Port: port, STARTTLS: TLSRequired, From: "egovmon@d.test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.send(t.Context(), "vhtt@d.test", Content{Key: "k", Text: "x"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the relay's certificate was believed: %v", err)
	}
}
