package mail

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

const (
	greetSMTP = "S:220 mail.test ESMTP\nC:EHLO [127.0.0.1]\n"
	openSMTP  = greetSMTP + "S:250-mail.test|250-SIZE 10485760|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\n"
	fullSMTP  = openSMTP + "C:EHLO [127.0.0.1]\nS:250-mail.test|250-SIZE 20971520|250-8BITMIME|250 AUTH PLAIN LOGIN\n"
	quitSMTP  = "C:QUIT\nS:221 bye\n"
)

func TestSMTPReasons(t *testing.T) {
	a, other := checktest.NewAuthority(t, "mail.test"), checktest.NewAuthority(t, "mail.test")
	good := a.Leaf(nil, nil)
	ends := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(d) }
	}
	nobody := func(c *x509.Certificate) { c.IPAddresses = nil }
	login := check.Options{"user": userName, "password": "mailbox"}
	unproven := func() bool { return false }
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
		{name: "all is well", script: fullSMTP + quitSMTP, reason: check.OK,
			facts: map[string]float64{"starttls_code": 1, "auth_plaintext_code": 0, "auth_mechanisms_count": 2, "extensions_count": 3, "size_limit_bytes": 20971520,
				"reply_code": 250, "ip_family_code": 4, "tls_version_code": 13, "chain_valid_code": 1, "name_valid_code": 1, "cert_not_after_unix": float64(checktest.Epoch().AddDate(0, 6, 0).Unix())}},
		{name: "no goodbye", script: fullSMTP + "C:QUIT\n", reason: check.OK},
		{name: "hangs at the goodbye", script: fullSMTP + "C:QUIT\nHANG", reason: check.OK},
		{name: "name of our own", script: "S:220 hi\nC:EHLO pc.test\nS:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nTLS\nC:EHLO pc.test\nS:250 x\n" + quitSMTP, with: check.Options{"ehlo": "pc.test"}, reason: check.OK},
		{name: "an address as name", script: "S:220 hi\nC:EHLO [IPv6:::1]\nS:250 x\n" + quitSMTP, with: check.Options{"ehlo": "::1", "starttls": tlsNone}, reason: check.OK},
		{name: "several lines of greeting", script: "S:220-mail.test|220-no spam|220 please\nC:EHLO\nS:250 x\n" + quitSMTP, with: check.Options{"starttls": tlsNone}, reason: check.OK},
		{name: "ends of lines without CR", script: "RAW:220-hi¶220 there¶\nC:EHLO\nS:250 x\n" + quitSMTP, with: check.Options{"starttls": tlsNone}, reason: check.OK},
		{name: "bare codes", script: "S:220\nC:EHLO\nS:250\n" + quitSMTP, with: check.Options{"starttls": tlsNone}, reason: check.OK},
		{name: "from before EHLO", script: "S:220 hi\nC:EHLO\nS:502 what\nC:HELO\nS:250 hi\n" + quitSMTP, with: check.Options{"starttls": tlsNone}, reason: check.OK, facts: map[string]float64{"extensions_count": 0}},

		{name: "no STARTTLS", script: greetSMTP + "S:250-mail.test|250 AUTH PLAIN\n" + quitSMTP, reason: check.STARTTLSMissing, facts: map[string]float64{"starttls_code": 0, "auth_plaintext_code": 1, "auth_mechanisms_count": 1}},
		{name: "no STARTTLS where any certificate will do", script: greetSMTP + "S:250 mail.test\n" + quitSMTP, with: check.Options{"starttls": tlsOffered}, reason: check.STARTTLSMissing},
		{name: "STARTTLS refused", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:454 4.7.0 not now\n", reason: check.TLSHandshake, detail: "454 4.7.0 not now"},
		{name: "closes at STARTTLS", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:421 going down\n", reason: check.MailRejected, detail: "421"},
		{name: "hangs up at STARTTLS", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\n", reason: check.ConnectReset},
		{name: "hangs up in the handshake", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\n", reason: check.TLSHandshake},
		{name: "hangs in the handshake", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nHANG", reason: check.Timeout},
		{name: "no TLS behind STARTTLS", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go\nBYTE\nS:250 nonsense\nHANG", reason: check.TLSHandshake},
		{name: "injects before TLS", script: greetSMTP + "S:250-x|250 STARTTLS\nC:STARTTLS\nS:220 go|250-x|250 AUTH PLAIN\nTLS\n", reason: check.Protocol, detail: "before the TLS handshake"},
		{name: "silent after TLS", script: openSMTP + "HANG", reason: check.Timeout},
		{name: "hangs up after TLS", script: openSMTP + "C:EHLO\n", reason: check.ConnectReset},

		{name: "expired", script: openSMTP, cert: ends(-time.Hour), reason: check.TLSExpired, facts: map[string]float64{"chain_valid_code": 0, "cert_not_after_unix": float64(checktest.Epoch().Add(-time.Hour).Unix())}},
		{name: "expired, clock not proven", script: openSMTP, cert: ends(-time.Hour), env: check.Env{ClockProven: unproven}, reason: check.ClockUnproven},
		{name: "not yet valid", script: openSMTP, cert: func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, reason: check.TLSNotYetValid},
		{name: "wrong name", script: openSMTP, cert: nobody, reason: check.TLSName, facts: map[string]float64{"name_valid_code": 0}},
		{name: "server_name", script: fullSMTP + quitSMTP, cert: nobody, with: check.Options{"server_name": "mail.test"}, reason: check.OK},
		{name: "untrusted", script: openSMTP, with: check.Options{"roots": other.Roots()}, reason: check.TLSUntrusted},
		{name: "untrusted where any will do", script: fullSMTP + quitSMTP, cert: ends(-time.Hour), with: check.Options{"roots": other.Roots(), "starttls": tlsOffered}, reason: check.OK, facts: map[string]float64{"chain_valid_code": 0}},
		{name: "ends soon", script: fullSMTP + quitSMTP, cert: ends(20 * 24 * time.Hour), reason: check.CertExpiring},
		{name: "ends soon where any will do", script: fullSMTP + quitSMTP, cert: ends(20 * 24 * time.Hour), with: check.Options{"starttls": tlsOffered}, reason: check.OK},
		{name: "weaker than the plan allows", script: strings.Replace(fullSMTP, "go\nTLS\n", "go\nTLS1.2\n", 1) + quitSMTP, with: check.Options{"min_version": "1.3"}, reason: check.WeakTLS},
		{name: "older than anybody takes", script: strings.Replace(fullSMTP, "go\nTLS\n", "go\nTLS1.1\n", 1), reason: check.TLSProtocol, facts: map[string]float64{"tls_version_code": 11}},
		{name: "another issuer than the plan's", script: openSMTP, with: check.Options{"issuer": "Somebody Else"}, reason: check.TLSUntrusted, detail: "not by the issuer that the plan names"},
		{name: "the plan's issuer", script: fullSMTP + quitSMTP, with: check.Options{"issuer": "test root"}, reason: check.OK},
		{name: "no such roots", script: openSMTP, with: check.Options{"roots": "/no/such.pem"}, reason: check.Misconfigured},
		{name: "TLS from the start", script: "TLS\nS:220 hi\nC:EHLO\nS:250-x|250 AUTH LOGIN\n" + quitSMTP, with: check.Options{"starttls": tlsImplicit}, reason: check.OK, facts: map[string]float64{"auth_mechanisms_count": 1, "chain_valid_code": 1}},
		{name: "no TLS from the start", script: "S:220 hi\nHANG", with: check.Options{"starttls": tlsImplicit}, reason: check.TLSHandshake},
		{name: "TLS from the start where none is expected", script: "TLS\n", reason: check.Timeout, detail: "write starttls: implicit"},

		{name: "mechanisms offered", script: fullSMTP + quitSMTP, with: check.Options{"auth": []string{"plain", "LOGIN"}}, reason: check.OK},
		{name: "old form of AUTH", script: openSMTP + "C:EHLO\nS:250-x|250 AUTH=PLAIN LOGIN\n" + quitSMTP, with: check.Options{"auth": []string{"PLAIN"}}, reason: check.OK},
		{name: "mechanism not offered", script: fullSMTP + quitSMTP, with: check.Options{"auth": []string{"XOAUTH2"}}, reason: check.Auth, detail: "XOAUTH2 is not offered, but LOGIN, PLAIN"},
		{name: "no login offered", script: openSMTP + "C:EHLO\nS:250 x\n" + quitSMTP, with: login, reason: check.Auth, detail: "but none"},
		{name: "logs in", script: fullSMTP + "C:AUTH PLAIN " + saslPlain(userName, password) + "\nS:235 2.7.0 welcome\n" + quitSMTP, with: login, reason: check.OK, facts: map[string]float64{"login_code": 1, "reply_code": 235}},
		{name: "logs in by LOGIN", script: openSMTP + "C:EHLO\nS:250-x|250 AUTH LOGIN\nC:AUTH LOGIN\nS:334 VXNlcm5hbWU6\nC:" + base64Of(userName) + "\nS:334 UGFzc3dvcmQ6\nC:" + base64Of(password) + "\nS:235 ok\n" + quitSMTP, with: login, reason: check.OK},
		{name: "account refused", script: fullSMTP + "C:AUTH PLAIN\nS:535 5.7.8 " + userName + " is unknown\n" + quitSMTP, with: login, reason: check.Auth, detail: "refused: 535 5.7.8", facts: map[string]float64{"login_code": 0}},
		{name: "account refused at its name", script: openSMTP + "C:EHLO\nS:250-x|250 AUTH LOGIN\nC:AUTH LOGIN\nS:334 VXNlcm5hbWU6\nC:\nS:535 no\n" + quitSMTP, with: login, reason: check.Auth},
		{name: "closes at login", script: fullSMTP + "C:AUTH PLAIN\nS:421 4.3.2 " + userName + "\n", with: login, reason: check.MailRejected, detail: "421 4.3.2"},
		{name: "nonsense at login", script: fullSMTP + "C:AUTH PLAIN\nS:250 " + userName + "\n", with: login, reason: check.Protocol},
		{name: "no such secret", script: fullSMTP, with: check.Options{"user": userName, "password": "other"}, reason: check.NotConfigured},

		{name: "refused in the greeting", script: "S:554 5.7.1 not you\nC:QUIT", reason: check.MailRejected, detail: "the greeting is answered 554 5.7.1 not you", facts: map[string]float64{"reply_code": 554}},
		{name: "busy", script: "S:421 4.3.2 try later\n", reason: check.MailRejected, detail: "421"},
		{name: "our name refused", script: greetSMTP + "S:550 who\n", reason: check.MailRejected},
		{name: "another code in the greeting", script: "S:250 hi\n", reason: check.Protocol, detail: "the greeting is answered 250 hi"},
		{name: "SSH", script: "S:SSH-2.0-OpenSSH_9.2p1\nHANG", reason: check.Protocol, detail: "the server speaks SSH, not SMTP"},
		{name: "HTTP", script: "S:HTTP/1.1 400 Bad Request|\n", reason: check.Protocol, detail: "HTTP"},
		{name: "IMAP", script: "S:* OK ready\nHANG", reason: check.Protocol, detail: "the server speaks IMAP"},
		{name: "POP3", script: "S:+OK ready\nHANG", reason: check.Protocol, detail: "POP3"},
		{name: "code too small", script: "S:100 hm\n", reason: check.Protocol},
		{name: "code runs into the text", script: "S:220hi\n", reason: check.Protocol},
		{name: "codes that differ", script: "S:220-a|250 b\n", reason: check.Protocol, detail: "begins with 220 goes on with 250"},
		{name: "hangs up at once", script: "", reason: check.ConnectReset, detail: "the greeting: the server hung up"},
		{name: "hangs up in a line", script: "RAW:220 mail", reason: check.ConnectReset},
		{name: "silent", script: "HANG", reason: check.Timeout, detail: "fell silent"},
		{name: "drips", script: "DRIP:2", reason: check.Timeout},
		{name: "drips lines", script: "DRIP:220-a|", reason: check.Timeout},
		{name: "endless line", script: "FLOOD:" + strings.Repeat("2", 8000), reason: check.Protocol, detail: "a line of more than 4096 bytes"},
		{name: "endless greeting", script: "FLOOD:220-a|", reason: check.Protocol, detail: "more than 100 lines"},
		{name: "endless greeting of long lines", script: "FLOOD:220-" + strings.Repeat("a", 2000) + "|", reason: check.Protocol, detail: "more than 65536 bytes"},
		{name: "endless extensions", script: greetSMTP + "FLOOD:250-X|", reason: check.Protocol},
		{name: "control characters and long words", script: "S:554 \x1b[31m\x00" + strings.Repeat("ứ", 200) + "\n", reason: check.MailRejected},

		{name: "slow", script: fullSMTP + quitSMTP, with: check.Options{"slow": time.Nanosecond}, reason: check.Slow},
		{name: "not slow", script: fullSMTP + quitSMTP, with: check.Options{"slow": time.Hour}, reason: check.OK},
		{name: "no IPv6 address", script: fullSMTP, with: check.Options{"family": "ip6"}, reason: check.DNSEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert := good
			if tt.cert != nil {
				cert = a.Leaf(nil, tt.cert)
			}
			o := check.Options{"address": play(t, cert, tt.script), "roots": a.Roots()}
			maps.Copy(o, tt.with)
			limit := 20 * time.Second
			if tt.reason == check.Timeout {
				limit = 300 * time.Millisecond
			}
			begin := time.Now()
			r := runFor(t, smtpKind(), o, tt.env, limit)
			want(t, r, tt.reason, tt.detail)
			wantFacts(t, r, tt.facts)
			if took := time.Since(begin); took > limit+5*time.Second {
				t.Errorf("took %s of %s", took, limit)
			}
		})
	}
}

func TestSMTPUnreached(t *testing.T) {
	want(t, run(t, smtpKind(), check.Options{"address": checktest.ClosedPort(t)}, check.Env{}), check.ConnectRefused, "refused")
	want(t, run(t, smtpKind(), check.Options{"address": "mail.invalid:25"}, check.Env{}), check.Reason(reasonOfNoName(t)), "")
}

// reasonOfNoName is what this machine's resolver says of a name that cannot exist.
func reasonOfNoName(t *testing.T) check.Reason {
	t.Helper()
	_, err := (&net.Resolver{}).LookupHost(t.Context(), "mail.invalid")
	return check.Classify(check.StepResolve, err)
}

// A run ends with a goodbye. A server that does not answer it is not waited for, and what it takes does not count.
func TestLeaves(t *testing.T) {
	for _, tt := range []struct {
		kind            check.Kind
		script, goodbye string
	}{
		{smtpKind(), "S:220 hi\nC:EHLO\nS:250 x\n", "QUIT\r\n"},
		{imapKind(), "S:* OK hi\nC:a CAPABILITY\nS:* CAPABILITY X|a OK\n", "z LOGOUT\r\n"},
	} {
		said := make(chan string, 1)
		address := checktest.Serve(t, func(c net.Conn) {
			if err := follow(c, tls.Certificate{}, tt.script); err != nil {
				t.Error(err)
			}
			b, _ := io.ReadAll(c)
			said <- string(b)
		})
		begin := time.Now()
		r := runFor(t, tt.kind, check.Options{"address": address, "starttls": tlsNone}, check.Env{}, time.Minute)
		took := time.Since(begin)
		if took > 30*time.Second {
			t.Errorf("%s: the goodbye took %s", tt.kind.Name, took)
		}
		if total, _ := r.Phases.Get(phaseTotal); total > took-leaveWithin/2 {
			t.Errorf("%s: a total of %s of %s counts the goodbye", tt.kind.Name, total, took)
		}
		want(t, r, check.OK, "")
		if got := <-said; got != tt.goodbye {
			t.Errorf("%s: said %q at the end, want %q", tt.kind.Name, got, tt.goodbye)
		}
	}
}

// Port 25 is not told closed by the provider unless other hosts prove it.
func TestEgress(t *testing.T) {
	a := checktest.NewAuthority(t, "mail.test")
	open := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	dead := checktest.ClosedPort(t)
	_, port, err := net.SplitHostPort(dead)
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string) string { return net.JoinHostPort(host, port) }
	// 127.0.0.4 listens at the closed port of 127.0.0.1.
	l, err := net.Listen("tcp", at("127.0.0.4"))
	if err != nil {
		t.Skip("this system has no other loopback addresses than 127.0.0.1: ", err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name          string
		alive, egress []string
		reason        check.Reason
		detail        string
	}{
		{"no witnesses", nil, nil, check.ConnectRefused, "refused"},
		{"another port answers", []string{open}, nil, check.ConnectRefused, open + " answers"},
		{"no other port answers", []string{checktest.ClosedPort(t)}, nil, check.ConnectRefused, "no other port answers either"},
		{"all hosts at this port are shut", []string{open}, []string{at("127.0.0.2"), at("127.0.0.3")}, check.EgressBlocked, "our provider closes the port"},
		{"one host at this port answers", []string{open}, []string{at("127.0.0.2"), at("127.0.0.4")}, check.ConnectRefused, open + " answers"},
		{"all is shut", []string{checktest.ClosedPort(t)}, []string{at("127.0.0.2"), at("127.0.0.3")}, check.ConnectRefused, "no other port"},
	} {
		o := check.Options{"address": dead, "roots": a.Roots()}
		if tt.alive != nil {
			o["alive"] = tt.alive
		}
		if tt.egress != nil {
			o["egress"] = tt.egress
		}
		t.Run(tt.name, func(t *testing.T) { want(t, run(t, smtpKind(), o, check.Env{}), tt.reason, tt.detail) })
	}
}

// What our own end cuts short tells nothing about the server.
func TestCalledOff(t *testing.T) {
	started := make(chan struct{}, 1)
	address := checktest.Serve(t, func(c net.Conn) { started <- struct{}{}; _, _ = io.Copy(io.Discard, c) })
	for _, k := range []check.Kind{smtpKind(), imapKind()} {
		o := checktest.WithDefaults(t, k, check.Options{"address": address, "starttls": tlsNone})
		f, err := k.New(o, check.Env{Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := contextOf(t)
		go func() { <-started; cancel() }()
		want(t, f(ctx), check.Internal, "called off")
	}
}

func TestServerOptions(t *testing.T) {
	for _, tt := range []struct {
		kind check.Kind
		with check.Options
		want string
	}{
		{smtpKind(), check.Options{"address": "mail.test"}, `option "address"`},
		{smtpKind(), check.Options{"address": ":25"}, `option "address"`},
		{smtpKind(), check.Options{"address": "-ạ_:25"}, `option "address"`},
		{smtpKind(), check.Options{"auth": []string{"PLAIN LOGIN"}}, `option "auth"`},
		{smtpKind(), check.Options{"distrusted": []string{"00"}}, `option "distrusted"`},
		{smtpKind(), check.Options{"user": userName}, `option "user": the account has no password`},
		{smtpKind(), check.Options{"password": "mailbox"}, `option "password"`},
		{smtpKind(), check.Options{"user": "a\r\nb", "password": "mailbox"}, `option "user"`},
		{smtpKind(), check.Options{"user": userName, "password": "mailbox", "starttls": tlsNone}, `through verified TLS only`},
		{smtpKind(), check.Options{"user": userName, "password": "mailbox", "starttls": tlsOffered}, `through verified TLS only`},
		{imapKind(), check.Options{"user": userName, "password": "mailbox", "starttls": tlsNone}, `through verified TLS only`},
		{imapKind(), check.Options{"address": "x"}, `option "address"`},
		{smtpKind(), check.Options{"ehlo": "a\r\nMAIL FROM:<>"}, `option "ehlo"`},
		{smtpKind(), check.Options{"egress": []string{"a.test:25", "b.test:25"}}, `option "egress": a closed port`},
		{smtpKind(), check.Options{"egress": []string{"a.test:587", "b.test:25"}, "alive": []string{"mail.test:587"}}, `option "egress": a.test:587`},
		{smtpKind(), check.Options{"egress": []string{"mail.test:25", "b.test:25"}, "alive": []string{"mail.test:587"}}, `option "egress": mail.test:25`},
		{smtpKind(), check.Options{"egress": []string{"b.test:25", "b.test:25"}, "alive": []string{"mail.test:587"}}, `stands twice`},
		{smtpKind(), check.Options{"egress": []string{"a.test:25", "b.test:25"}, "alive": []string{"mail.test:25"}}, `option "alive"`},
	} {
		if !tt.with.Has("address") {
			tt.with["address"] = "mail.test:25"
		}
		_, err := tt.kind.New(checktest.WithDefaults(t, tt.kind, tt.with), check.Env{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.with, err, tt.want)
		}
	}
	got := smtpKind().Target(check.Options{"address": "a:25", "alive": []string{"a:587"}, "egress": []string{"b:25", "c:25"}})
	if strings.Join(got, " ") != "a b c" {
		t.Errorf("targets %v", got)
	}
}

// Whatever a server says, the check ends with one of its own reasons and keeps to what it declares.
func FuzzSMTP(f *testing.F) {
	for _, s := range []string{"220 a\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n220\r\n", "220-\n220 \n250\n", "999 a\r\n", "220 a\r\n250 SIZE 99999999999999999999\r\n", "421", "\xff\x00\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		fuzzSession(t, smtpKind(), said, (&smtpCheck{server: &server{starttls: tlsNone}, ehlo: "x"}).talk)
		fuzzSession(t, smtpKind(), said, (&smtpCheck{server: &server{starttls: tlsNone, user: userName, password: func() (string, error) { return password, nil }, lockout: &lockout{}, now: checktest.Epoch}, ehlo: "x"}).talk)
	})
}
