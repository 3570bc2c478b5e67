package alerttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
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

// A Postfix is Debian's mail server, run for one test. It takes letters to vhtt@d.test from this machine, over STARTTLS.
type Postfix struct {
	Addr string // host:port
	Port int
	CA   string // PEM file of its authority
	Mail string // folder of the letters that came
	dir  string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// Start starts Debian's Postfix until the test ends. Without it, or without root, the test is skipped.
func Start(t *testing.T) *Postfix {
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
	p := &Postfix{Addr: a.String(), Port: a.Port, CA: filepath.Join(dir, "ca.pem"), Mail: filepath.Join(dir, "mail/vhtt/new"), dir: dir}
	t.Cleanup(func() {
		p.Stop()
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("Postfix: %s\n%s", p.out.String(), log)
		}
	})
	p.Again(t)
	return p
}

// Again starts it after a Stop, at the same address, and waits until it answers.
func (p *Postfix) Again(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command("/usr/lib/postfix/sbin/master", "-d", "-c", filepath.Join(p.dir, "etc"))
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = &p.out, &p.out, &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	Until(t, "Postfix answers", func() bool {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// Stop ends it and everything that it started.
func (p *Postfix) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) // what it started
	p.cmd = nil
}

// Until waits for something that another process does.
func Until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 2 minutes", what)
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
