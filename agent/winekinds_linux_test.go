package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check/checktest"
)

// looks runs each kind of network, dns and mail once under Wine against peers on loopback. What is asked for with several reasons
// depends on the system below Wine, some versions of which lack what Go's sockets for datagrams need (then "not_supported"); "internal" is never one of them.
func (pc *windowsPC) looks(t *testing.T) {
	pc = pc.with(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/204" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(make([]byte, 200_000))
	}))
	t.Cleanup(web.Close)
	open, names, clock := web.Listener.Addr().String(), winePeerNames(t), winePeerClock(t)
	smtp := winePeerMail(t, "220 mx.test hi\r\n", "250 mx.test\r\n")
	imap := winePeerMail(t, "* BYE not now\r\n", "")
	pop3 := winePeerMail(t, "-ERR not now\r\n", "")
	closed := checktest.ClosedPort(t)
	kinds := []struct {
		kind, with string
		want       []string
	}{
		{"ping", "host: 127.0.0.1", []string{"ok"}},
		{"tcp", fmt.Sprintf("address: %q", open), []string{"ok"}},
		{"tcp", fmt.Sprintf("address: %q", closed), []string{"connect_refused"}},
		{"gateway", "host: 127.0.0.1", []string{"ok"}},
		{"uplink", fmt.Sprintf("anchors: [%q, %q, %q]", open, smtp, pop3), []string{"ok"}},
		{"path", "host: 127.0.0.1", []string{"ok", "timeout", "not_supported", "no_permission"}},
		{"line", fmt.Sprintf("anchors: [%q]", open), []string{"ok", "not_supported"}},
		{"throughput", fmt.Sprintf("enabled: true, url: %q, max_bytes: 100000", web.URL), []string{"ok"}},
		{"captive", fmt.Sprintf("url: %q, status: [204]", web.URL+"/204"), []string{"ok"}},
		{"neighbours", "known: []", []string{"ok", "control_partial", "not_supported", "not_configured"}},
		{"ntp", fmt.Sprintf("servers: [%q]", clock), []string{"ok", "not_supported"}},
		{"device", "host: 127.0.0.1", []string{"ok"}},
		{"dns", fmt.Sprintf("name: ok.test, server: %q", names), []string{"ok", "not_supported"}},
		{"dns", fmt.Sprintf("name: nobody.test, server: %q", names), []string{"dns_nxdomain", "not_supported"}},
		{"zone", fmt.Sprintf("name: ok.test, server: %q", names), []string{"ok", "not_supported", "dns_lame", "dns_timeout", "dns_servfail", "partial", "not_supported"}},
		{"hijack", fmt.Sprintf(`server: %q, missing: ["{random}.test"]`, names), []string{"ok", "not_supported"}},
		{"smtp", fmt.Sprintf("address: %q, starttls: required", smtp), []string{"starttls_missing", "protocol"}},
		{"imap", fmt.Sprintf("address: %q, starttls: none", imap), []string{"mail_rejected"}},
		{"pop3", fmt.Sprintf("address: %q, starttls: none", pop3), []string{"mail_rejected"}},
		{"maildns", fmt.Sprintf("name: ok.test, server: %q", names), nil},
		{"mailloop", fmt.Sprintf(`address: %q, imap: %q, mailbox: a@ok.test, user: a, password: {secret: none}, key: {secret: none}`, smtp, imap), []string{"not_configured"}},
	}
	var b strings.Builder
	b.WriteString("plan: wine\nversion: 1\nissued: 2026-11-23T01:00:00Z\nchecks:\n")
	for i, k := range kinds {
		fmt.Fprintf(&b, "  - {id: k%d.%s, service: c, kind: %s, every: 5m, timeout: 20s, confirm: 0, with: {%s}}\n", i, k.kind, k.kind, k.with)
	}
	file := filepath.Join(pc.TempDir(), "plan.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := pc.run(pc.agent, "check", "--plan", file, "--json")
	said := map[string][2]string{}
	for line := range strings.Lines(out) {
		var r struct{ Check, Reason, Detail string }
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &r) == nil {
			said[r.Check] = [2]string{r.Reason, r.Detail}
		}
	}
	for i, k := range kinds {
		got, ok := said[fmt.Sprintf("k%d.%s", i, k.kind)]
		t.Logf("%s: %s (%.200s)", k.kind, got[0], got[1])
		if !ok || got[0] == "internal" || len(k.want) > 0 && !slices.Contains(k.want, got[0]) {
			t.Errorf("%s with %s: %s (%.200s), want one of %v", k.kind, k.with, got[0], got[1], k.want)
		}
	}
	if len(said) != len(kinds) {
		t.Errorf("%d results, want %d:\n%.1000s", len(said), len(kinds), out)
	}
}

// winePeerNames serves the zone ok.test over UDP and TCP.
func winePeerNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		one := q.Question[0]
		if !mdns.IsSubDomain("ok.test.", strings.ToLower(one.Name)) {
			m.Rcode = mdns.RcodeNameError
		}
		for _, text := range []string{"ok.test. 60 IN A 127.0.0.1", "ok.test. 60 IN NS ok.test.", "ok.test. 60 IN SOA ok.test. a.ok.test. 1 60 60 600 60", "ok.test. 60 IN MX 10 ok.test.", `ok.test. 60 IN TXT "v=spf1 -all"`} {
			if rr, err := mdns.NewRR(text); err == nil && rr.Header().Rrtype == one.Qtype && strings.EqualFold(rr.Header().Name, one.Name) {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*mdns.Server{{Listener: l, Handler: h}, {PacketConn: c, Handler: h}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() { l.Close(); c.Close() })
	return l.Addr().String()
}

// winePeerClock answers requests of NTP with this machine's time: RFC 5905, section 7.3.
func winePeerClock(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			a := make([]byte, 48)
			a[0], a[1], a[2], a[3] = 4<<3|4, 2, 6, 0xe8
			copy(a[12:], []byte{10, 0, 0, 1})
			copy(a[24:32], b[40:48])
			now := time.Now()
			stamp := uint64(now.Unix()+2_208_988_800)<<32 | uint64(now.Nanosecond())<<32/1_000_000_000
			for _, at := range []int{16, 32, 40} {
				binary.BigEndian.PutUint64(a[at:], stamp)
			}
			_, _ = c.WriteTo(a, from)
		}
	}()
	return c.LocalAddr().String()
}

// winePeerMail greets, and answers each line in one way; "" hangs up after the greeting.
func winePeerMail(t *testing.T, greeting, answer string) string {
	t.Helper()
	return checktest.Serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, greeting)
		for in := bufio.NewScanner(c); answer != "" && in.Scan(); {
			_, _ = io.WriteString(c, answer)
		}
	})
}
