package dns

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// An act is what one run of a kind meets, and what it is to say.
type act struct {
	name  string
	want  check.Reason
	o     check.Options
	env   check.Env
	limit time.Duration                   // 0 is long
	run   func(t *testing.T) check.Result // in place of a run of the kind with o and env; nil for that
}

// play plays the acts, which are all that the kind can say of a target that is down.
func play(t *testing.T, k check.Kind, down []check.Reason, acts []act) {
	t.Helper()
	var scenes []checktest.Scene
	for _, a := range acts {
		run := a.run
		if run == nil {
			run = func(t *testing.T) check.Result {
				ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(a.limit, long))
				defer cancel()
				return checktest.NewFunc(t, k, a.o, a.env)(ctx)
			}
		}
		scenes = append(scenes, checktest.Scene{Name: a.name, Want: a.want, Run: run})
	}
	checktest.PlayScenes(t, down, scenes)
}

// cutOff starts a name server whose answers do not fit UDP, and that ends each connection by TCP as end does, once it has
// read the question.
func cutOff(t *testing.T, end func(c *net.TCPConn)) string {
	t.Helper()
	l, u := bothPorts(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadAtLeast(c, make([]byte, 512), 14); err == nil {
					end(c.(*net.TCPConn))
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			var q mdns.Msg
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			m := reply(t, &q, mdns.RcodeSuccess)
			m.Truncated = true
			if b, err := m.Pack(); err == nil {
				_, _ = u.WriteTo(b, from)
			}
		}
	}()
	return l.Addr().String()
}

func resets(c *net.TCPConn) { _ = c.SetLinger(0) }

func stopsShort(c *net.TCPConn) { _, _ = c.Write([]byte{0, 100, 1, 2, 0x80}) }

// atTheServer are the acts that all kinds meet at a server which they are told to ask.
func atTheServer(t *testing.T, o check.Options) []act {
	from := check.Env{Source: netip.MustParseAddr("192.0.2.77")}
	acts := []act{
		{name: "no such name", want: check.DNSNXDomain, o: check.Options{"server": zone(t, mdns.RcodeNameError)}},
		{name: "fails", want: check.DNSServfail, o: check.Options{"server": zone(t, mdns.RcodeServerFailure)}},
		{name: "refuses", want: check.DNSRefused, o: check.Options{"server": zone(t, mdns.RcodeRefused)}},
		{name: "says nothing", want: check.DNSTimeout, o: check.Options{"server": silent(t)}, limit: soon},
		{name: "has nothing", want: check.DNSEmpty, o: check.Options{"server": zone(t, mdns.RcodeSuccess)}},
		{name: "cannot", want: check.Protocol, o: check.Options{"server": zone(t, mdns.RcodeNotImplemented)}},
		{name: "is closed", want: check.ConnectRefused, o: check.Options{"server": refused(t)}},
		{name: "is nowhere", want: check.ConnectUnreachable, o: check.Options{"server": refused(t)}, env: from},
		{name: "resets", want: check.ConnectReset, o: check.Options{"server": cutOff(t, resets)}},
		{name: "hangs up", want: check.ConnectReset, o: check.Options{"server": cutOff(t, func(*net.TCPConn) {})}},
		{name: "stops short", want: check.Truncated, o: check.Options{"server": cutOff(t, stopsShort)}},
		{name: "of another version of IP", want: check.Misconfigured, o: check.Options{"server": refused(t)}, env: check.Env{Source: netip.IPv6Loopback()}},
	}
	for i := range acts {
		maps.Copy(acts[i].o, o)
	}
	return acts
}

// plainReasons are what atTheServer plays of a target that is down.
func plainReasons() []check.Reason {
	return []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSRefused, check.DNSTimeout, check.DNSEmpty, check.Protocol, check.ConnectRefused,
		check.ConnectUnreachable, check.ConnectReset, check.Truncated}
}

// bogus answers when it need not validate.
func bogus(t *testing.T, record string) string {
	return serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		if q.CheckingDisabled {
			return reply(t, q, 0, record)
		}
		return reply(t, q, mdns.RcodeServerFailure)
	})
}

func TestReasonsOfDNS(t *testing.T) {
	const record = "motcua.test. 60 IN A 192.0.2.1"
	a := checktest.NewAuthority(t, "dns.test")
	o := check.Options{"name": "motcua.test"}
	with := func(more check.Options) check.Options {
		all := maps.Clone(o)
		maps.Copy(all, more)
		return all
	}
	over := func(protocol, server string, more check.Options) check.Options {
		all := with(check.Options{"protocol": protocol, "server": server, "roots": a.Roots()})
		maps.Copy(all, more)
		return all
	}
	byTLS := func(change func(*x509.Certificate), most uint16, more check.Options) check.Options {
		return over(protocolTLS, checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}, MaxVersion: most}, nil), more)
	}
	byHTTPS := func(handle http.HandlerFunc) check.Options { return over(protocolHTTPS, overHTTPS(t, a, handle), nil) }
	good := zone(t, mdns.RcodeSuccess, record)
	stranger := checktest.NewAuthority(t, "dns.test")
	play(t, dnsKind(), append(plainReasons(), check.DNSMismatch, check.DNSBogus, check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName,
		check.TLSUntrusted, check.TLSProtocol, check.HTTPStatus, check.TooLarge), append(atTheServer(t, o), []act{
		{name: "well", want: check.OK, o: with(check.Options{"server": good})},
		{name: "slow", want: check.Slow, o: with(check.Options{"server": good, "slow": time.Nanosecond})},
		{name: "another address", want: check.DNSMismatch, o: with(check.Options{"server": good, "answers": []string{"192.0.2.9"}})},
		{name: "bogus", want: check.DNSBogus, o: with(check.Options{"server": bogus(t, record)})},
		{name: "no TLS", want: check.TLSHandshake, o: over(protocolTLS, checktest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail\r\n") }), nil)},
		{name: "ended", want: check.TLSExpired, o: byTLS(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }, 0, nil)},
		{name: "begins later", want: check.TLSNotYetValid, o: byTLS(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, 0, nil)},
		{name: "another name", want: check.TLSName, o: byTLS(nil, 0, check.Options{"server_name": "other.test"})},
		{name: "another root", want: check.TLSUntrusted, o: byTLS(nil, 0, check.Options{"roots": stranger.Roots()})},
		{name: "old TLS", want: check.TLSProtocol, o: byTLS(nil, tls.VersionTLS11, nil)},
		{name: "a status", want: check.HTTPStatus, o: byHTTPS(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })},
		{name: "too much", want: check.TooLarge, o: byHTTPS(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			_, _ = w.Write(make([]byte, 1<<17))
		})},
	}...))
}

func TestReasonsOfZone(t *testing.T) {
	o := check.Options{"name": "tuky.test"}
	fake := func(change func(f *fakeZone), o check.Options) func(t *testing.T) check.Result {
		return func(t *testing.T) check.Result {
			f := newFakeZone(t)
			if change != nil {
				change(f)
			}
			return f.check(o)(long)
		}
	}
	servers := func(address func(t *testing.T) string) func(f *fakeZone) {
		return func(f *fakeZone) {
			for _, a := range []string{"192.0.2.11", "192.0.2.12"} {
				f.at[netip.MustParseAddr(a)] = netip.MustParseAddrPort(address(f.t))
			}
		}
	}
	play(t, zoneKind(), append(plainReasons(), check.DNSMismatch, check.DNSBogus), append(atTheServer(t, o), []act{
		{name: "well", want: check.OK, run: fake(nil, nil)},
		{name: "one is closed", want: check.Partial, run: fake(func(f *fakeZone) { f.at[netip.MustParseAddr("192.0.2.12")] = netip.MustParseAddrPort(refused(f.t)) }, nil)},
		{name: "led elsewhere", want: check.DNSMismatch, run: fake(nil, check.Options{"ns": []string{"ns9.tuky.test"}})},
		{name: "bogus", want: check.DNSBogus, o: check.Options{"name": "tuky.test", "server": bogus(t, "tuky.test. 60 IN NS ns1.tuky.test.")}},
		{name: "the zone's own servers reset", want: check.ConnectReset, run: fake(servers(func(t *testing.T) string { return cutOff(t, resets) }), nil)},
		{name: "the zone's own servers stop short", want: check.Truncated, run: fake(servers(func(t *testing.T) string { return cutOff(t, stopsShort) }), nil)},
	}...))
}

func TestReasonsOfHijack(t *testing.T) {
	o := check.Options{"name": "www.tuky.test", "answers": []string{"192.0.2.1"}, "wait": time.Duration(0)}
	with := func(more check.Options) check.Options {
		all := maps.Clone(o)
		maps.Copy(all, more)
		return all
	}
	good := zone(t, mdns.RcodeSuccess, "www.tuky.test. 60 IN A 192.0.2.1")
	forged := zone(t, mdns.RcodeSuccess, "www.tuky.test. 60 IN A 198.51.100.66")
	play(t, hijackKind(), append(plainReasons(), check.DNSMismatch, check.CaptivePortal), append(atTheServer(t, o), []act{
		{name: "well", want: check.OK, o: with(check.Options{"server": good})},
		{name: "one of two fails", want: check.Partial, o: with(check.Options{"servers": []string{good, zone(t, mdns.RcodeServerFailure)}})},
		{name: "forged", want: check.DNSMismatch, o: with(check.Options{"server": forged})},
		{name: "answers where no server is", want: check.CaptivePortal, o: check.Options{"decoy": forged, "wait": 5 * time.Second}},
	}...))
}
