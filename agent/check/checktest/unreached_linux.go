package checktest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
)

// An Encounter is what one run of a kind meets at a server that it is given by host:port, and what it is to say.
type Encounter struct {
	Name    string
	Address string // host:port
	Plain   bool   // the server speaks without TLS
	With    check.Options
	Env     check.Env
	Limit   time.Duration // what the run may take; 0 is long
	Want    check.Reason
}

// nowhere is an address that no TCP connection can be made to: no way leads there, and nothing leaves this machine.
const nowhere = "127.255.255.255:443"

// soon is how long a run waits for what will not come.
const soon = 500 * time.Millisecond

// Unreached are the ways not to come to speak with a server whose certificate a signs. Names are resolved as they need until the
// test ends, so that no test may run beside it.
func Unreached(t *testing.T, a *Authority) []Encounter {
	t.Helper()
	names(t)
	shows := func(change func(*x509.Certificate), by *Authority) string {
		return ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{by.Leaf(nil, change)}}, nil)
	}
	dropped := Dropped(t)
	unproven := check.Env{ClockProven: func() bool { return false }}
	expired := shows(func(c *x509.Certificate) { c.NotAfter = Epoch().Add(-time.Hour) }, a)
	return []Encounter{
		{Name: "no such name", Address: "gone.test:443", Want: check.DNSNXDomain},
		{Name: "the name cannot be resolved", Address: "servfail.test:443", Want: check.DNSServfail},
		{Name: "nobody resolves the name", Address: "silent.test:443", Limit: soon, Want: check.DNSTimeout},
		{Name: "no address of the family", Address: dropped, With: check.Options{"family": "ip6"}, Want: check.DNSEmpty},
		{Name: "closed", Address: ClosedPort(t), Want: check.ConnectRefused},
		{Name: "dropped", Address: dropped, Limit: soon, Want: check.ConnectTimeout},
		{Name: "no way", Address: nowhere, Want: check.ConnectUnreachable},
		{Name: "expired", Address: expired, Want: check.TLSExpired},
		{Name: "expired, clock not proven", Address: expired, Env: unproven, Want: check.ClockUnproven},
		{Name: "not yet valid", Address: shows(func(c *x509.Certificate) { c.NotBefore = Epoch().Add(time.Hour) }, a), Want: check.TLSNotYetValid},
		{Name: "another name", Address: shows(func(c *x509.Certificate) { c.IPAddresses = nil }, a), Want: check.TLSName},
		{Name: "untrusted", Address: shows(nil, NewAuthority(t, "portal.test")), Want: check.TLSUntrusted},
		{Name: "too old", Address: ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, nil)}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, nil), Want: check.TLSProtocol},
		{Name: "no TLS", Address: Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }), Want: check.TLSHandshake},
		{Name: "silent in the handshake", Address: Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), Limit: soon, Want: check.Timeout},
	}
}

// Spoken are the answers of web servers that are broken, over plain HTTP.
func Spoken(t *testing.T) []Encounter {
	t.Helper()
	says := func(answer string) string {
		return Serve(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, answer)
			}
		})
	}
	return []Encounter{
		{Name: "resets", Address: Serve(t, func(c net.Conn) {
			if tcp, ok := c.(*net.TCPConn); ok {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_ = tcp.SetLinger(0)
			}
		}), Want: check.ConnectReset},
		{Name: "silent", Address: Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), Limit: soon, Want: check.Timeout},
		{Name: "nonsense", Address: says("SSH-2.0-x\r\n\r\n"), Want: check.Protocol},
		{Name: "stops short", Address: says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), Want: check.Truncated},
		{Name: "another status", Address: says("HTTP/1.1 500 x\r\n\r\n"), Want: check.HTTPStatus},
		{Name: "leads to another site", Address: says("HTTP/1.1 302 x\r\nLocation: http://elsewhere.test/\r\n\r\n"), Want: check.HTTPRedirect},
		{Name: "wants a login to the network", Address: says("HTTP/1.1 511 x\r\n\r\n"), Want: check.CaptivePortal},
		{Name: "too large", Address: says("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 10_000)), With: check.Options{"max_bytes": int64(5000)}, Want: check.TooLarge},
		{Name: "asks not to be asked", Address: says("HTTP/1.1 429 x\r\n\r\n"), Want: check.Blocked},
	}
}

// An Act is one run of a kind, and what it is to say.
type Act struct {
	Name  string
	With  check.Options
	Env   check.Env
	Limit time.Duration // 0 is long
	Want  check.Reason
}

// Acts makes acts of encounters: option names the server as url has it, and more stands beside.
func Acts(list []Encounter, a *Authority, option string, url func(scheme, address string) string, more check.Options) []Act {
	var acts []Act
	roots := a.Roots()
	for _, e := range list {
		o := check.Options{"roots": roots}
		maps.Copy(o, more)
		maps.Copy(o, e.With)
		scheme := "https"
		if e.Plain {
			scheme = "http"
		}
		o[option] = url(scheme, e.Address)
		acts = append(acts, Act{e.Name, o, e.Env, e.Limit, e.Want})
	}
	return acts
}

// Play plays the acts and sees that they are all that the kind can say of a target that is down, and that it can be up, degraded
// and unknown too. Those that wait for what will not come wait beside one another.
func Play(t *testing.T, k check.Kind, down []check.Reason, acts []Act) {
	t.Helper()
	var scenes []Scene
	for _, a := range acts {
		f := NewFunc(t, k, a.With, a.Env)
		run := func() check.Result {
			ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(a.Limit, time.Minute))
			defer cancel()
			return f(ctx)
		}
		if a.Limit > 0 {
			came, begun := make(chan check.Result, 1), run
			go func() { came <- begun() }()
			run = func() check.Result { return <-came }
		}
		scenes = append(scenes, Scene{a.Name, a.Want, func(*testing.T) check.Result { return run() }})
	}
	PlayScenes(t, down, scenes)
}

// Dropped is an address of this machine that answers no connection request.
func Dropped(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := name.(*syscall.SockaddrInet4)
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.Port}).String()
	for range 8 { // until the queue is full
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this kernel answers connection requests beyond the queue")
	return ""
}

// names has names resolved until the test ends: silent.test by nobody, servfail.test by a resolver that fails, and no other exists.
func names(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	AnswerNames(t, conn, func(m, q *mdns.Msg) bool {
		switch name := q.Question[0].Name; {
		case strings.HasPrefix(name, "silent.test."):
			return false
		case strings.HasPrefix(name, "servfail.test."):
			m.Rcode = mdns.RcodeServerFailure
		default:
			m.Rcode = mdns.RcodeNameError
		}
		return true
	})
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Resolver: new(net.Resolver)}).DialContext(ctx, network, conn.LocalAddr().String()) // one that reads no global
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
}
