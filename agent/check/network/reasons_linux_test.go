package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// An act is what one run of a kind meets, and what it is to say.
type act struct {
	name string
	want check.Reason
	run  func(t *testing.T) check.Result
}

// play plays the acts, which are all that the kind can say of a target that is down.
func play(t *testing.T, k check.Kind, down []check.Reason, acts []act) {
	t.Helper()
	var scenes []checktest.Scene
	for _, a := range acts {
		scenes = append(scenes, checktest.Scene{Name: a.name, Want: a.want, Run: func(t *testing.T) check.Result {
			r := a.run(t)
			declared(t, k, r)
			return r
		}})
	}
	checktest.PlayScenes(t, down, scenes)
}

// nameless is a site of its own whose resolver knows no name: what it says is the name's first label.
func nameless(t *testing.T) *checktest.World { return checktest.Nameless(t) }

// calledOff is a run that is ended from outside before it begins: it says nothing of the target.
func calledOff(k check.Kind, o check.Options) act {
	return act{"called off", check.Internal, func(t *testing.T) check.Result {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return checktest.NewFunc(t, k, o, check.Env{})(ctx)
	}}
}

func TestReasonsOfPath(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	w.IP("pc", "link set lo mtu 1400", "addr add 192.0.2.9/32 dev lo", "route add unreachable 192.0.2.1")
	w.Nft("pc", "table inet t {\nchain c {\ntype filter hook input priority 0\nip daddr 192.0.2.9 drop\n}\n}")
	at := func(host, more string, user int, limit time.Duration) func(t *testing.T) check.Result {
		return func(*testing.T) check.Result {
			return w.Check("pc", checktest.Run{Plan: pathPlan(host, "max_hops: 3"+more), User: user, Limit: limit})[0]
		}
	}
	play(t, pathKind(), []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.ConnectUnreachable, check.Timeout}, []act{
		{"reached", check.OK, at("127.0.0.1", "", 0, 0)},
		{"a narrow line", check.PathMTU, at("127.0.0.1", ", mtu_warn: 1500", 0, 0)},
		{"slow", check.Slow, func(t *testing.T) check.Result {
			return runFor(t, pathKind(), checktest.WithDefaults(t, pathKind(), check.Options{"host": "127.0.0.1", "slow": time.Nanosecond, "mtu": false}), check.Env{}, long)
		}},
		{"no rights", check.NoPermission, at("127.0.0.1", ", protocol: icmp", 65534, 0)},
		{"another version of IP", check.Misconfigured, func(t *testing.T) check.Result {
			return checktest.NewFunc(t, pathKind(), check.Options{"host": "127.0.0.1"}, check.Env{Source: netip.IPv6Loopback()})(t.Context())
		}},
		{"a system that shows no hops", check.NotSupported, func(t *testing.T) check.Result {
			p := &path{host: "127.0.0.1", protocol: modeAuto, wait: time.Second, hops: 3, pace: newPacer(time.Millisecond),
				open: func(proberOptions, chan<- answer) (prober, error) { return nil, errNoTrace }}
			return p.check(t.Context())
		}},
		calledOff(pathKind(), check.Options{"host": "127.0.0.1"}),
		{"no such name", check.DNSNXDomain, at("nobody.test", "", 0, 0)},
		{"the resolver fails", check.DNSServfail, at("fails.test", "", 0, 0)},
		{"the resolver refuses", check.DNSServfail, at("refuses.test", "", 0, 0)},
		{"the resolver is silent", check.DNSTimeout, at("silent.test", ", wait: 100ms", 0, time.Second)},
		{"no way", check.ConnectUnreachable, at("192.0.2.1", "", 0, 0)},
		{"nobody answers", check.Timeout, at("192.0.2.9", ", wait: 100ms", 0, 0)},
	})
}

func TestReasonsOfThroughput(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	resolving := func(host, most string) func(t *testing.T) check.Result {
		return func(*testing.T) check.Result {
			return w.Check("pc", checktest.Run{Plan: fmt.Sprintf(`{id: inet.t, kind: throughput, every: 1h, timeout: 20s, confirm: 0, with: {enabled: true, max_time: %s, url: "http://%s/"}}`, most, host)})[0]
		}
	}
	var sent atomic.Int64
	big, small := file(t, 1<<20, &sent, nil), file(t, 1000, &sent, nil)
	fetch := func(url string, o check.Options, env check.Env) func(t *testing.T) check.Result {
		return func(t *testing.T) check.Result {
			all := check.Options{"url": url, "enabled": true, "max_time": 20 * time.Second}
			maps.Copy(all, o)
			return checktest.NewFunc(t, throughputKind(), all, env)(t.Context())
		}
	}
	// says answers a request and then ends the connection as end does.
	says := func(answer string, end func(*net.TCPConn)) string {
		return "http://" + checktest.Serve(t, func(c net.Conn) {
			if _, err := io.ReadAtLeast(c, make([]byte, 4096), 16); err != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			if end != nil {
				end(c.(*net.TCPConn))
			}
		}) + "/"
	}
	resets := func(c *net.TCPConn) { _ = c.SetLinger(0) }
	a := checktest.NewAuthority(t, "file.test")
	byTLS := func(change func(*x509.Certificate), most uint16) string {
		return "https://" + checktest.ServeTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Leaf(nil, change)}, MaxVersion: most}, nil) + "/"
	}
	roots := check.Options{"roots": a.Roots()}
	down := []check.Reason{
		check.DNSNXDomain, check.DNSServfail, check.DNSTimeout, check.DNSEmpty, check.ConnectRefused, check.ConnectUnreachable, check.ConnectReset,
		check.TLSHandshake, check.TLSExpired, check.TLSNotYetValid, check.TLSName, check.TLSUntrusted, check.TLSProtocol,
		check.Timeout, check.Protocol, check.HTTPStatus, check.HTTPRedirect, check.TooLarge, check.Truncated,
	}
	play(t, throughputKind(), down, []act{
		{"well", check.OK, fetch(big+"/file", nil, check.Env{})},
		{"slow", check.Slow, fetch(big+"/file", check.Options{"min_mbps": 1e5}, check.Env{})},
		{"off", check.NotConfigured, fetch(big+"/file", check.Options{"enabled": false}, check.Env{})},
		{"no such name", check.DNSNXDomain, resolving("nobody.test", "15s")},
		{"the resolver fails", check.DNSServfail, resolving("fails.test", "15s")},
		{"the resolver refuses", check.DNSServfail, resolving("refuses.test", "15s")},
		{"the resolver is silent", check.DNSTimeout, resolving("silent.test", "500ms")},
		{"another version of IP", check.DNSEmpty, fetch(big+"/file", check.Options{"family": "ip6"}, check.Env{})},
		{"closed", check.ConnectRefused, fetch("http://"+refused(t)+"/", nil, check.Env{})},
		{"nowhere", check.ConnectUnreachable, fetch(big+"/file", nil, check.Env{Source: netip.MustParseAddr("192.0.2.77")})},
		{"reset at once", check.ConnectReset, fetch(says("", resets), nil, check.Env{})},
		{"hung up", check.ConnectReset, fetch(says("", nil), nil, check.Env{})},
		{"reset in the file", check.ConnectReset, fetch(says("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", func(c *net.TCPConn) {
			_, _ = c.Write(make([]byte, 1<<10))
			resets(c)
		}), nil, check.Env{})},
		{"no TLS", check.TLSHandshake, fetch("https://"+strings.TrimPrefix(big, "http://")+"/", nil, check.Env{})},
		{"ended", check.TLSExpired, fetch(byTLS(func(c *x509.Certificate) { c.NotAfter = checktest.Epoch().Add(-time.Hour) }, 0), roots, check.Env{})},
		{"begins later", check.TLSNotYetValid, fetch(byTLS(func(c *x509.Certificate) { c.NotBefore = checktest.Epoch().Add(time.Hour) }, 0), roots, check.Env{})},
		{"another name", check.TLSName, fetch(byTLS(func(c *x509.Certificate) { c.IPAddresses = nil }, 0), roots, check.Env{})},
		{"a root that nobody trusts", check.TLSUntrusted, fetch(byTLS(nil, 0), nil, check.Env{})},
		{"old TLS", check.TLSProtocol, fetch(byTLS(nil, tls.VersionTLS11), roots, check.Env{})},
		{"no answer", check.Timeout, fetch("http://"+checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })+"/", check.Options{"max_time": 500 * time.Millisecond}, check.Env{})},
		{"no HTTP", check.Protocol, fetch(says("220 mail\r\n\r\n", nil), nil, check.Env{})},
		{"gone", check.HTTPStatus, fetch(big+"/gone", nil, check.Env{})},
		{"moved", check.HTTPRedirect, fetch(big+"/moved", nil, check.Env{})},
		{"a head without end", check.TooLarge, fetch(endless(t), nil, check.Env{})},
		{"too small a file", check.Truncated, fetch(small+"/file", nil, check.Env{})},
		{"a file that breaks off", check.Truncated, fetch(small+"/short", nil, check.Env{})},
	})
}

// endless answers with a header that goes on.
func endless(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Long: ")
		for block := []byte(strings.Repeat("x", 32<<10)); err == nil; {
			_, err = c.Write(block)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

const long = 20 * time.Second

// TestReasonsOfReach plays the kinds that ask whether somebody is there.
func TestReasonsOfReach(t *testing.T) {
	t.Parallel()
	w := nameless(t)
	w.IP("pc", "addr add 192.0.2.7/32 dev lo", "addr add 192.0.2.8/32 dev lo", "route add unreachable 192.0.2.1")
	w.Site("router", true)
	w.Join("pc", []string{"10.0.0.2/24"}, "router", []string{"10.0.0.1/24"})
	w.IP("pc", "route add 192.0.2.6/32 via 10.0.0.1", "neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 nud stale dev router")
	w.IP("router", "route add 192.0.2.6/32 dev pc")
	w.Sysctl("pc", "ipv4/neigh/router/delay_first_probe_time", "300")
	w.Nft("router", "table inet t {\nchain c {\ntype filter hook forward priority 0\nmeta l4proto icmp reject with icmp type port-unreachable\ndrop\n}\n}")
	w.Nft("pc", "table inet t {\nchain c {\ntype filter hook input priority 0\n"+
		"ip daddr 192.0.2.7 icmp type echo-request reject with icmp type port-unreachable\nip daddr 192.0.2.7 meta l4proto tcp drop\nip daddr 192.0.2.8 drop\n}\n}")
	plan := func(kind, with string, limit time.Duration) func(t *testing.T) check.Result {
		return func(*testing.T) check.Result {
			return w.Check("pc", checktest.Run{Plan: fmt.Sprintf("{id: inet.x, kind: %s, every: 60s, timeout: 20s, confirm: 0, with: {%s}}", kind, with), Limit: limit})[0]
		}
	}
	here := func(k check.Kind, o check.Options, env check.Env) func(t *testing.T) check.Result {
		return func(t *testing.T) check.Result {
			return runFor(t, k, checktest.WithDefaults(t, k, o), checktest.WithEnv(env), long)
		}
	}
	six := check.Env{Source: netip.IPv6Loopback()}
	names := []check.Reason{check.DNSNXDomain, check.DNSServfail, check.DNSTimeout}
	// unnamed are the acts of names that lead nowhere; with has %s in the place of the host.
	unnamed := func(kind, with string) []act {
		at := func(host string, limit time.Duration) func(t *testing.T) check.Result {
			return plan(kind, fmt.Sprintf(with, host), limit)
		}
		return []act{
			{"no such name", check.DNSNXDomain, at("nobody.test", 0)},
			{"the resolver fails", check.DNSServfail, at("fails.test", 0)},
			{"the resolver is silent", check.DNSTimeout, at("silent.test", time.Second)},
		}
	}
	t.Run("tcp", func(t *testing.T) {
		open := listen(t)
		play(t, tcpKind(), append(names, check.ConnectRefused, check.ConnectTimeout, check.ConnectUnreachable), append(unnamed("tcp", `address: "%s:80"`), []act{
			{"well", check.OK, here(tcpKind(), check.Options{"address": open}, check.Env{})},
			{"slow", check.Slow, here(tcpKind(), check.Options{"address": open, "slow": time.Nanosecond}, check.Env{})},
			{"another version of IP", check.Misconfigured, here(tcpKind(), check.Options{"address": open}, six)},
			{"closed", check.ConnectRefused, plan("tcp", `address: "127.0.0.1:80"`, 0)},
			{"silent", check.ConnectTimeout, plan("tcp", `address: "192.0.2.8:80"`, time.Second)},
			{"no way", check.ConnectUnreachable, plan("tcp", `address: "192.0.2.1:80"`, 0)},
		}...))
	})
	t.Run("ping", func(t *testing.T) {
		play(t, pingKind(), append(names, check.ConnectRefused, check.ConnectUnreachable, check.Timeout), append(unnamed("ping", "host: %s"), []act{
			{"well", check.OK, plan("ping", "host: 127.0.0.1", 0)},
			{"slow", check.Slow, here(pingKind(), check.Options{"host": "127.0.0.1", "slow": time.Nanosecond}, check.Env{})},
			{"another version of IP", check.Misconfigured, here(pingKind(), check.Options{"host": "127.0.0.1"}, six)},
			{"refused", check.ConnectRefused, plan("ping", "host: 192.0.2.7", 0)},
			{"no way", check.ConnectUnreachable, plan("ping", "host: 192.0.2.1", 0)},
			{"silent", check.Timeout, plan("ping", "host: 192.0.2.8", time.Second)},
		}...))
	})
	t.Run("gateway", func(t *testing.T) {
		play(t, gatewayKind(), append(names, check.ConnectRefused, check.ConnectUnreachable, check.Timeout), append(unnamed("gateway", "host: %s"), []act{
			{"well", check.OK, plan("gateway", "host: 127.0.0.1", 0)},
			{"slow", check.Slow, here(gatewayKind(), check.Options{"host": "127.0.0.1", "slow": time.Nanosecond}, check.Env{})},
			{"another version of IP", check.Misconfigured, here(gatewayKind(), check.Options{"host": "127.0.0.1"}, six)},
			{"refuses echo itself", check.OK, plan("gateway", "host: 192.0.2.7", 0)},
			{"refused by another", check.ConnectRefused, plan("gateway", "host: 192.0.2.6", 0)},
			{"not known yet", check.NotSupported, plan("gateway", "host: 10.0.0.3", 4*time.Second)},
			{"none", check.ConnectUnreachable, plan("gateway", "", 0)},
			{"silent", check.Timeout, plan("gateway", "host: 192.0.2.8", 0)},
		}...))
	})
	t.Run("uplink", func(t *testing.T) {
		a, b, c := listen(t), listen(t), refused(t)
		anchors := func(all ...string) check.Options { return check.Options{"anchors": all} }
		play(t, uplinkKind(), []check.Reason{check.Timeout}, []act{
			{"well", check.OK, here(uplinkKind(), anchors(a, b, c), check.Env{})},
			{"one of three", check.Partial, here(uplinkKind(), anchors(a, refused(t), c), check.Env{})},
			{"none", check.Timeout, here(uplinkKind(), anchors(refused(t), refused(t), c), check.Env{})},
			calledOff(uplinkKind(), anchors(silent(t), refused(t), c)),
		})
	})
}
