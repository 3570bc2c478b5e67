package alerttest

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"egovmon/deploy/lab/servers"
)

// A Postfix is Debian's mail server as the lab runs it, for one test. It takes letters to vhtt@d.test, over STARTTLS alone.
type Postfix struct {
	Addr string // host:port
	Port int
	CA   string // PEM file of its authority
	Mail string // folder of the letters that came
	m    *servers.Mail
	t    *testing.T
}

const box = "vhtt@d.test"

// Start starts Debian's Postfix until the test ends. Without it, or without root, the test is skipped.
func Start(t *testing.T) *Postfix {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Postfix: left out by -short")
	}
	if err := servers.Require("/usr/lib/postfix/sbin/master"); err != nil {
		t.Skip(err)
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
	must(os.Chmod(dir, 0o755))
	pki, err := servers.NewPKI(filepath.Join(dir, "pki"), servers.PKIConfig{Now: time.Now()})
	must(err)
	var out said
	place := servers.Loopback(dir, netip.MustParseAddr("127.0.0.1"), &out)
	m, err := servers.StartMail(t.Context(), place, servers.MailConfig{PKI: pki, Host: "relay.test", Domains: []string{"d.test"}, Boxes: map[string]string{box: ""}, Relay: true})
	must(err)
	t.Cleanup(func() {
		must(m.Stop())
		if log, _ := os.ReadFile(filepath.Join(dir, "postfix.log")); t.Failed() {
			t.Logf("Postfix: %s\n%s", out.text.String(), log)
		}
	})
	_, port, err := net.SplitHostPort(m.Addr())
	must(err)
	number, err := strconv.Atoi(port)
	must(err)
	return &Postfix{Addr: m.Addr(), Port: number, CA: pki.Roots, Mail: filepath.Join(m.Folder(box), "new"), m: m, t: t}
}

// said keeps what the program prints.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// Again starts it after a Stop, at the same address, and waits until it answers.
func (p *Postfix) Again(t *testing.T) {
	t.Helper()
	if err := p.m.Halt(false); err != nil {
		t.Fatal(err)
	}
}

// Stop ends it and everything that it started.
func (p *Postfix) Stop() {
	if err := p.m.Halt(true); err != nil {
		p.t.Error(err)
	}
}

// Until waits for something that another process does.
func Until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
