package check

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// peer answers every connection to a port of 127.0.0.1 with handle.
func peer(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// closedPort is an address where nobody listens, and where nobody else will while the test runs: its port is held by a connection
// to another one.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conn, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

// reset ends a connection with RST instead of FIN.
func reset(c *net.TCPConn) {
	_, _ = c.Read(make([]byte, 1))
	_ = c.SetLinger(0)
}

// silent reads until the other side gives up.
func silent(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// says writes a text at once and then waits for the other side to end.
func says(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = io.WriteString(c, text)
		silent(c)
	}
}

func speaksTLS(cfg *tls.Config) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		s := tls.Server(c, cfg)
		if s.Handshake() == nil {
			_, _ = s.Read(make([]byte, 1))
		}
	}
}

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, 30*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func shake(address string, cfg *tls.Config, wait time.Duration) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	return tls.Client(c, cfg).Handshake()
}

func get(url string, wait time.Duration) error {
	client := &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// A ca signs the certificates of these tests.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca{cert, key}
}

func (a ca) server(t *testing.T, name string, from, to time.Duration) *tls.Config {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.key}}}
}

func TestClassifyRealPeers(t *testing.T) {
	const long, short = 30 * time.Second, 50 * time.Millisecond
	a, other := newCA(t), newCA(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	client := &tls.Config{RootCAs: pool, ServerName: "portal.test"}
	good := a.server(t, "portal.test", -time.Hour, time.Hour)
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	choosy := good.Clone()
	choosy.NextProtos = []string{"h2"}
	offering := client.Clone()
	offering.NextProtos = []string{"mqtt"}

	tests := []struct {
		name string
		step Step
		do   func() error
		want Reason
	}{
		{"nothing wrong", StepTLS, func() error { return shake(peer(t, speaksTLS(good)), client, long) }, OK},
		{"port closed", StepConnect, func() error { return dial("tcp", closedPort(t)) }, ConnectRefused},
		{"port closed, seen by net/http", StepExchange, func() error { return get("http://"+closedPort(t), long) }, ConnectRefused},
		{"no time left to connect", StepConnect, func() error {
			ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
			defer cancel()
			_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:9")
			return err
		}, ConnectTimeout},
		{"called off", StepConnect, func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9", nil)
			if err != nil {
				return err
			}
			_, err = http.DefaultTransport.RoundTrip(req)
			return err
		}, Internal},
		{"an IPv6 address over IPv4", StepConnect, func() error { return dial("tcp4", "[::1]:9") }, DNSEmpty},
		{"name that cannot exist", StepConnect, func() error { return dial("tcp", "no-such-host.invalid:80") }, ""}, // see below
		{"resolver that is not there", StepConnect, func() error { return lookup(t, closedUDP(t), long) }, DNSServfail},
		{"resolver that is silent", StepConnect, func() error { return lookup(t, silentUDP(t), short) }, DNSTimeout},

		{"hangs up in the handshake", StepTLS, func() error {
			return shake(peer(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) }), client, long)
		}, TLSHandshake},
		{"hangs up before the handshake", StepTLS, func() error { return shake(peer(t, func(*net.TCPConn) {}), client, long) }, TLSHandshake},
		{"resets in the handshake", StepTLS, func() error { return shake(peer(t, reset), client, long) }, TLSHandshake},
		{"silent in the handshake", StepTLS, func() error { return shake(peer(t, silent), client, short) }, Timeout},
		{"speaks SSH", StepTLS, func() error { return shake(peer(t, says("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")), client, long) }, TLSHandshake},
		{"speaks HTTP", StepTLS, func() error { return shake(peer(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")), client, long) }, TLSHandshake},
		{"speaks HTTP, seen by net/http", StepTLS, func() error {
			return get("https://"+peer(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")), long)
		}, TLSHandshake},
		{"TLS 1.0 only", StepTLS, func() error { return shake(peer(t, speaksTLS(old)), client, long) }, TLSProtocol},
		{"no protocol in common", StepTLS, func() error { return shake(peer(t, speaksTLS(choosy)), offering, long) }, TLSHandshake},
		{"expired", StepTLS, func() error {
			return shake(peer(t, speaksTLS(a.server(t, "portal.test", -2*time.Hour, -time.Hour))), client, long)
		}, TLSExpired},
		{"not yet valid", StepTLS, func() error {
			return shake(peer(t, speaksTLS(a.server(t, "portal.test", time.Hour, 2*time.Hour))), client, long)
		}, TLSNotYetValid},
		{"wrong name", StepTLS, func() error {
			return shake(peer(t, speaksTLS(a.server(t, "other.test", -time.Hour, time.Hour))), client, long)
		}, TLSName},
		{"another root", StepTLS, func() error {
			return shake(peer(t, speaksTLS(other.server(t, "portal.test", -time.Hour, time.Hour))), client, long)
		}, TLSUntrusted},

		{"hangs up after the request", StepExchange, func() error {
			return get("http://"+peer(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)) }), long)
		}, ConnectReset},
		{"resets after the request", StepExchange, func() error {
			return get("http://"+peer(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)); _ = c.SetLinger(0) }), long)
		}, ConnectReset},
		{"silent after the request", StepExchange, func() error { return get("http://"+peer(t, silent), short) }, Timeout},
		{"speaks SSH to HTTP", StepExchange, func() error {
			return get("http://"+peer(t, says("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")), long)
		}, Protocol},
		{"body cut short", StepExchange, func() error {
			return get("http://"+peer(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")), long)
		}, Truncated},
		{"chunk cut short", StepExchange, func() error {
			return get("http://"+peer(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nshort")), long)
		}, Truncated},
		{"broken chunks", StepExchange, func() error {
			return get("http://"+peer(t, answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), long)
		}, Protocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			got := Classify(tt.step, err)
			if tt.want == "" {
				// A machine without any resolver gives another error than one whose resolver says no.
				if got != DNSNXDomain && got != DNSServfail && got != DNSTimeout {
					t.Errorf("%v: got %s, want a reason of dns", err, got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("%v: got %s, want %s", err, got, tt.want)
			}
		})
	}
}

// answers reads a request, writes a text and hangs up.
func answers(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

// lookup asks the resolver at this address for a name.
func lookup(t *testing.T, resolver string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, resolver)
	}}
	_, err := (&net.Dialer{Resolver: r}).DialContext(ctx, "tcp", "portal.example.vn:80")
	return err
}

func silentUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

func closedUDP(t *testing.T) string {
	t.Helper()
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}) // it hears port 9 alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// What loopback cannot show: errors of the network's middle, of the resolver's words, and of this machine.
func TestClassifyMadeUp(t *testing.T) {
	tests := []struct {
		name string
		step Step
		err  error
		want Reason
	}{
		{"no error", StepTLS, nil, OK},
		{"no such name", StepConnect, &net.DNSError{Err: "no such host", IsNotFound: true}, DNSNXDomain},
		{"resolver failed", StepConnect, &net.DNSError{Err: "server misbehaving", IsTemporary: true}, DNSServfail},
		{"resolver refused", StepConnect, &net.DNSError{Err: "query refused"}, DNSRefused},
		{"resolver timed out while we connected", StepConnect, fmt.Errorf("x: %w", &net.DNSError{Err: "i/o timeout", IsTimeout: true}), DNSTimeout},
		{"unsaid failure of a name", StepResolve, errors.New("odd"), DNSServfail},
		{"unsaid failure to connect", StepConnect, errors.New("odd"), ConnectUnreachable},
		{"unsaid failure to agree", StepTLS, errors.New("odd"), TLSHandshake},
		{"unsaid failure to talk", StepExchange, errors.New("odd"), Protocol},
		{"time over while resolving", StepResolve, context.DeadlineExceeded, DNSTimeout},
		{"time over while connecting", StepConnect, os.ErrDeadlineExceeded, ConnectTimeout},
		{"time over while talking", StepExchange, os.ErrDeadlineExceeded, Timeout},
		{"broken off while connecting", StepConnect, io.ErrUnexpectedEOF, ConnectUnreachable},
		{"hung up while talking", StepExchange, io.EOF, ConnectReset},
		{"weak signature", StepTLS, x509.InsecureAlgorithmError(x509.SHA1WithRSA), TLSUntrusted},
		{"certificate not fit", StepTLS, x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, TLSUntrusted},
		{"no roots on this system", StepTLS, x509.SystemRootsError{}, NotSupported},
		{"protocol version alert", StepTLS, &net.OpError{Op: "remote error", Err: tls.AlertError(70)}, TLSProtocol},
		{"another alert", StepTLS, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, TLSHandshake},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Classify(tt.step, tt.err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Package syscall invents ECONNREFUSED and so on for Windows; what comes from there are the numbers of Winsock.
func TestWinsockNumbers(t *testing.T) {
	tests := map[uintptr]osFault{
		10061: faultRefused, 10054: faultReset, 10053: faultReset, 10051: faultUnreachable, 10065: faultUnreachable,
		10013: faultPermission, 10024: faultOwn, 10055: faultOwn, 10045: faultUnsupported, 10060: faultOther, 0: faultOther,
	}
	for n, want := range tests {
		if got := winsockFault(n); got != want {
			t.Errorf("%d: got %d, want %d", n, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	seen := map[Reason]bool{}
	count := map[State]int{}
	for _, r := range Reasons() {
		if seen[r] || !r.Valid() {
			t.Errorf("%q stands twice or is not valid", r)
		}
		seen[r] = true
		count[r.State()]++
		if got, err := ParseReason(string(r)); err != nil || got != r {
			t.Errorf("ParseReason(%q) = %q, %v", r, got, err)
		}
		if (r.Missed() || r.AccountOnly()) && r.State() != Unknown {
			t.Errorf("%q was not measured and is %s", r, r.State())
		}
	}
	// The numbers of the closed list; a new reason changes them on purpose.
	if count[Up] != 1 || count[Degraded] != 22 || count[Unknown] != 22 || count[Down] != 37 {
		t.Errorf("reasons by state: %v", count)
	}
	// What merely warns, and what is nobody's outage, each by its name: everything else takes a target down.
	milder := map[State]string{
		Up:       "ok",
		Degraded: "slow packet_loss path_mtu cert_expiring signature_expiring weak_tls partial stale clock_skew low_resource quota dns_lame dns_inconsistent starttls_missing mail_late mail_auth content_changed revocation_stale trustlist_stale tsa_skew control_partial evidence_expiring",
		Unknown:  "no_uplink no_permission not_supported not_configured misconfigured internal blocked egress_blocked token_absent clock_unset data_lost missed_suspended missed_overrun missed_clock_jump missed_stopped missed_shutdown evidence_missing evidence_expired clock_unproven not_planned silent identity_cloned",
	}
	for state, list := range milder {
		for word := range strings.FieldsSeq(list) {
			if Reason(word).State() != state {
				t.Errorf("%q is %s, want %s", word, Reason(word).State(), state)
			}
		}
	}
	for _, bad := range []string{"", "OK", "ok ", "tls", "up"} {
		if r, err := ParseReason(bad); err == nil {
			t.Errorf("ParseReason(%q) = %q", bad, r)
		}
		if Reason(bad).State() != Unknown || Reason(bad).Valid() {
			t.Errorf("%q is %s, valid %v", bad, Reason(bad).State(), Reason(bad).Valid())
		}
	}
	for _, s := range States() {
		if got, err := ParseState(s.String()); err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v", s, got, err)
		}
		if s.Known() != (s != Unknown) {
			t.Errorf("%s: known %v", s, s.Known())
		}
	}
	if _, err := ParseState("UP"); err == nil {
		t.Error("ParseState accepts UP")
	}
}
