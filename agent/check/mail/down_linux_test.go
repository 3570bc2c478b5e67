package mail

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// nowhere is an address that no TCP connection can be made to: no way leads there, and nothing leaves this machine.
const nowhere = "127.255.255.255:25"

// A downCase is one way for a check to be down. Where it has no address, the script is played at one; run, where it is there,
// does all itself.
type downCase struct {
	name    string
	address string
	script  string
	cert    func(*x509.Certificate)
	by      *checktest.Authority // who signs it; nil for the one that is trusted
	with    check.Options
	run     func(*testing.T) check.Result
	reason  check.Reason
}

// TestDown plays every reason for which a check of a mail server can be down.
func TestDown(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	names(t, "servfail.test SERVFAIL\nsilent.test SILENT\n")
	for _, tt := range []struct {
		kind    check.Kind
		open    string // up to the handshake
		refused string // the greeting
		login   string // refused
	}{
		{smtpKind(), strings.TrimSuffix(openSMTP, "TLS\n"), "S:554 5.7.1 not you\n", fullSMTP + "C:AUTH PLAIN\nS:535 5.7.8 no\n" + quitSMTP},
		{imapKind(), strings.TrimSuffix(openIMAP, "TLS\n"), "S:* BYE not you\n", fullIMAP + "C:d AUTHENTICATE PLAIN\nS:d NO [AUTHENTICATIONFAILED] no\n" + outIMAP},
		{pop3Kind(), strings.TrimSuffix(openPOP, "TLS\n"), "S:-ERR not you\n", inPOP + "\nS:-ERR [AUTH] no\n" + outPOP},
	} {
		t.Run(tt.kind.Name, func(t *testing.T) {
			cases := append(unreached(t), spoken(t, tt.open)...)
			cases = append(cases, downCase{name: "not served", script: tt.refused, reason: check.MailRejected},
				downCase{name: "login refused", script: tt.login, with: check.Options{"user": userName, "password": "mailbox"}, reason: check.Auth})
			if tt.kind.Name == "smtp" {
				cases = append(cases, downCase{name: "bound by a record that does not verify", reason: check.DNSBogus, run: func(t *testing.T) check.Result {
					o := check.Options{"address": play(t, a.Leaf(nil, nil), greetSMTP+"HANG\n"), "server_name": "mail.test", "dane": true, "anchors": []string{falseAnchor}}
					o["server"] = resolver(t, boundZone(t, o.String("address"), "3 1 1 "+strings.Repeat("ab", 32))+falseKey)
					return run(t, smtpKind(), o, check.Env{})
				}})
			}
			playDown(t, a, tt.kind, "address", check.Options{"starttls": tlsRequired}, cases, downReasons(tt.kind.Name))
		})
	}
}

// A zone's key is not the one that its anchor names.
const (
	falseAnchor = "test. DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
	falseKey    = "test. DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n" +
		"test. RRSIG DNSKEY 13 1 60 20261201000000 20261101000000 20326 test. AAAA\n"
)

// noFamily is the name of the one case in which an address is of the other family.
const noFamily = "no address of the family"

// unreached are the ways not to be connected.
func unreached(t *testing.T) []downCase {
	t.Helper()
	dropped := fmt.Sprintf("127.0.0.1:%d", swallow(t, [4]byte{127, 0, 0, 1}, 0))
	return []downCase{
		{name: "no such name", address: "gone.test:25", reason: check.DNSNXDomain},
		{name: "the name cannot be resolved", address: "servfail.test:25", reason: check.DNSServfail},
		{name: "nobody resolves the name", address: "silent.test:25", reason: check.DNSTimeout},
		{name: noFamily, address: dropped, with: check.Options{"family": "ip6"}, reason: check.DNSEmpty},
		{name: "closed", address: checktest.ClosedPort(t), reason: check.ConnectRefused},
		{name: "dropped", address: dropped, reason: check.ConnectTimeout},
		{name: "no way", address: nowhere, reason: check.ConnectUnreachable},
	}
}

// spoken are the faults of a server that is there. open is the conversation up to the handshake.
func spoken(t *testing.T, open string) []downCase {
	t.Helper()
	return []downCase{
		{name: "hangs up", script: open, reason: check.TLSHandshake},
		{name: "hangs up after the handshake", script: open + "TLS\n", reason: check.ConnectReset},
		{name: "breaks off in TLS", script: open + "TLS\nCUT\n", reason: check.Truncated},
		{name: "silent after the handshake", script: open + "TLS\nHANG\n", reason: check.Timeout},
		{name: "nonsense", script: open + "TLS\nS:SSH-2.0-x\nHANG\n", reason: check.Protocol},
		{name: "expired", script: open + "TLS\n", cert: func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }, reason: check.TLSExpired},
		{name: "not yet valid", script: open + "TLS\n", cert: func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, reason: check.TLSNotYetValid},
		{name: "another name", script: open + "TLS\n", cert: func(c *x509.Certificate) { c.IPAddresses = nil }, reason: check.TLSName},
		{name: "untrusted", script: open + "TLS\n", by: checktest.NewAuthority(t, "mail.test"), reason: check.TLSUntrusted},
		{name: "too old", script: open + "TLS1.1\n", reason: check.TLSProtocol},
	}
}

// playDown plays the cases, at the address that this option of the kind holds, and sees that no reason is missing.
func playDown(t *testing.T, a *checktest.Authority, k check.Kind, option string, with check.Options, cases []downCase, all []check.Reason) {
	t.Helper()
	var played []check.Reason
	for _, tt := range cases {
		played = append(played, tt.reason)
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.run != nil {
				want(t, tt.run(t), tt.reason, "")
				return
			}
			by := a
			if tt.by != nil {
				by = tt.by
			}
			o := check.Options{"roots": a.Roots()}
			maps.Copy(o, with)
			maps.Copy(o, tt.with)
			if o[option] = tt.address; tt.address == "" {
				o[option] = play(t, by.Leaf(nil, tt.cert), tt.script)
			}
			limit := 20 * time.Second
			if tt.reason == check.Timeout || tt.reason == check.ConnectTimeout || tt.reason == check.DNSTimeout {
				limit = 500 * time.Millisecond
				if k.Name == "mailloop" {
					limit = 2 * time.Second // half of it is for handing in
				}
			}
			want(t, runFor(t, k, o, check.Env{}, limit), tt.reason, "")
		})
	}
	for _, reason := range all {
		if !slices.Contains(played, reason) {
			t.Errorf("%s is not played", reason)
		}
	}
}

// names lets names be resolved by a resolver that knows this zone alone, until the test ends. No test may run beside it.
func names(t *testing.T, zone string) {
	t.Helper()
	server, was := resolver(t, zone), net.DefaultResolver
	dialer := &net.Dialer{Resolver: new(net.Resolver)} // a question that is still asked when the test ends must not look at the variable
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, server)
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
}

// TestLoopDown plays every reason for which a loop can be down, at the mailbox and where letters are handed in.
func TestLoopDown(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	names(t, "servfail.test SERVFAIL\nsilent.test SILENT\n")
	good := a.Leaf(nil, nil)
	taken := play(t, good, loopSMTP+"S:250\nC:RCPT\nS:250\nC:DATA\nS:354 go\nC:From\nS:250 queued\nHANG")
	empty := play(t, good, loopIMAP+noLetter+"C:z LOGOUT\n")
	account := func(more check.Options) check.Options {
		o := check.Options{"mailbox": userName, "user": userName, "password": "mailbox", "key": "mailbox", "wait": time.Duration(0)}
		maps.Copy(o, more)
		return o
	}
	t.Run("mailbox", func(t *testing.T) {
		cases := append(unreached(t), spoken(t, "")...)
		cases = append(cases, downCase{name: "not served", script: "TLS\nS:* BYE not you\n", reason: check.MailRejected},
			downCase{name: "login refused", script: "TLS\nS:* OK\nC:a\nS:* CAPABILITY AUTH=PLAIN SASL-IR|a OK\nC:d\nS:d NO [AUTHENTICATIONFAILED] no\nC:z LOGOUT\n", reason: check.Auth},
			downCase{name: "altered", script: loopIMAP + oneMoved + alteredLetter() + "C:L7\nS:L7 OK\nC:L8\nS:L8 OK\nC:z LOGOUT\n", reason: check.MailAltered},
			downCase{name: "lost", reason: check.MailLost, run: func(t *testing.T) check.Result {
				return afterTwoHours(t, account(check.Options{"address": taken, "imap": empty, "roots": a.Roots(), "pace": 24 * time.Hour}))
			}})
		playDown(t, a, mailloopKind(), "imap", account(check.Options{"address": taken}), cases, downReasons("mailloop"))
	})
	t.Run("submission", func(t *testing.T) {
		cases := append(unreached(t), spoken(t, "S:220 hi\nC:EHLO\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\n")...)
		cases = append(cases, downCase{name: "not served", script: "S:554 5.7.1 not you\n", reason: check.MailRejected},
			downCase{name: "login refused", script: strings.Replace(loopSMTP, "S:235 in\nC:MAIL FROM:<"+userName+"> SIZE=\n", "S:535 5.7.8 no\nC:QUIT\n", 1), reason: check.Auth})
		// An address of the other family is none at the mailbox either, which is asked first.
		cases = slices.DeleteFunc(cases, func(c downCase) bool { return c.name == noFamily })
		all := slices.DeleteFunc(downReasons("smtp"), func(r check.Reason) bool { return r == check.DNSEmpty || r == check.DNSBogus })
		playDown(t, a, mailloopKind(), "address", account(check.Options{"imap": empty}), cases, all)
	})
}

// alteredLetter is the answer to FETCH with a letter of ours whose attachment is not the one that was sent.
func alteredLetter() string {
	tok := token{serial: 1, sent: checktest.Epoch().Add(-time.Second), from: userName, sum: sha256.Sum256([]byte("sent"))}
	text := strings.ReplaceAll(string(compose(tok, []byte(password), []byte("came"), []string{userName})), "\r\n", "|")
	size := len(strings.ReplaceAll(text, "|", "\r\n"))
	return fmt.Sprintf("S:* 1 FETCH (UID 3 RFC822.SIZE %d BODY[]<0> {%d}|%s)|L6 OK\n", size, size, text)
}

// afterTwoHours runs a loop twice, the second time two hours later.
func afterTwoHours(t *testing.T, o check.Options) check.Result {
	t.Helper()
	now := checktest.Epoch()
	env := check.Env{Now: func() time.Time { return now }, Secret: func(string) (string, error) { return password, nil }}
	f := checktest.NewFunc(t, mailloopKind(), o, env)
	first := f(t.Context())
	wantFacts(t, first, map[string]float64{"accepted_count": 1, "pending_count": 1})
	now = now.Add(2 * time.Hour)
	return f(t.Context())
}

// TestMailDNSDown plays every reason for which a mail domain can be down.
func TestMailDNSDown(t *testing.T) {
	with := check.Options{"name": "xa.test"}
	ask := func(zone string) string { return resolver(t, zone) }
	playDown(t, checktest.NewAuthority(t, "mail.test"), maildnsKind(), "server", with, []downCase{
		{name: "no such domain", address: ask("other.test. A 192.0.2.1"), reason: check.DNSNXDomain},
		{name: "resolver fails", address: ask("xa.test SERVFAIL"), reason: check.DNSServfail},
		{name: "resolver refuses", address: ask("xa.test REFUSED"), reason: check.DNSRefused},
		{name: "resolver is silent", address: ask("xa.test SILENT"), reason: check.DNSTimeout},
		{name: "no MX", address: ask("xa.test. A 192.0.2.1"), reason: check.DNSEmpty},
		{name: "takes no letters", address: ask("xa.test. MX 0 ."), reason: check.DNSMismatch},
		{name: "no resolver", address: checktest.ClosedPort(t), reason: check.ConnectRefused},
		{name: "hangs up", address: brokenResolver(t, ""), reason: check.ConnectReset},
		{name: "breaks off", address: brokenResolver(t, "\x01\x00abc"), reason: check.Truncated},
		{name: "nonsense", address: brokenResolver(t, strings.Repeat("\x00\x0cnonsense....", 2000)), reason: check.Protocol},
		{name: "no way", reason: check.ConnectUnreachable, run: func(t *testing.T) (r check.Result) {
			w := checktest.NewWorld(t)
			w.Site("alone", false)
			w.Do("alone", func() error {
				r = run(t, maildnsKind(), check.Options{"name": "xa.test", "server": "192.0.2.53:53"}, check.Env{})
				return nil
			})
			return r
		}},
	}, downReasons("maildns"))
}

// brokenResolver is a resolver whose answers do not fit UDP, and that says this by TCP, whatever it is asked, and hangs up.
func brokenResolver(t *testing.T, said string) string {
	t.Helper()
	address := checktest.Serve(t, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 2+12)) // at least the length and the header
		_, _ = io.WriteString(conn, said)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	checktest.AnswerNames(t, u, func(m, _ *mdns.Msg) bool { m.Truncated = true; return true })
	return address
}
