//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

// loopbackGateway is a check whose default route leads to 127.0.0.1 and whose echoes are told by answer.
func loopbackGateway(answer func(echoRun) (echoes, error)) gateway {
	return gateway{
		line: line{family: anyFamily}, run: echoRun{count: 3, interval: time.Millisecond, size: 8, linger: 100 * time.Millisecond},
		routes:    func() ([]route, error) { return []route{{netip.MustParseAddr("127.0.0.1"), "lo", 0}}, nil },
		prefixes:  func() map[string][]netip.Prefix { return nil },
		echo:      func(r echoRun, _ context.Context) (echoes, error) { return answer(r) },
		neighbour: knows(otherwise),
	}
}

// knows is a system that says one thing of a neighbour after the other, and at last the same for good.
func knows(all ...nearness) func(netip.Addr, string) nearness {
	return func(netip.Addr, string) nearness {
		n := all[0]
		all = all[min(1, len(all)-1):]
		return n
	}
}

// denying is a target that is refused, by itself after a time if that is not 0.
func denying(denial time.Duration) func(echoRun) (echoes, error) {
	return func(r echoRun) (echoes, error) {
		return echoes{sent: r.count, refused: syscall.ECONNREFUSED, denial: denial}, nil
	}
}

func unanswered(r echoRun) (echoes, error) { return echoes{sent: r.count}, nil }

func replies(n int, rtt time.Duration) func(echoRun) (echoes, error) {
	return func(r echoRun) (echoes, error) {
		e := echoes{sent: r.count}
		for range n {
			e.rtts = append(e.rtts, rtt)
		}
		return e, nil
	}
}

func TestGateway(t *testing.T) {
	port := func(address string) uint16 {
		_, p, err := splitAddress("", address)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	open, closed, quiet := port(listen(t)), port(refused(t)), port(silent(t))
	found := func(routes ...route) func() ([]route, error) { return func() ([]route, error) { return routes, nil } }
	failing := func(err error) func() ([]route, error) { return func() ([]route, error) { return nil, err } }
	for _, tc := range []struct {
		name   string
		echo   func(echoRun) (echoes, error)
		change func(*gateway)
		want   check.Reason
		method float64 // -1 for none
		detail string
	}{
		{"echo", replies(3, time.Millisecond), nil, check.OK, byEcho, ""},
		{"some echoes lost", replies(2, time.Millisecond), nil, check.PacketLoss, byEcho, "1 of 3"},
		{"slow echo", replies(3, time.Millisecond), func(g *gateway) { g.slow = time.Microsecond }, check.Slow, byEcho, "limit"},
		{"open port", unanswered, func(g *gateway) { g.ports = []uint16{open} }, check.OK, byTCP, fmt.Sprintf("echo is not answered; 127.0.0.1 answers on TCP port %d", open)},
		{"closed port", unanswered, func(g *gateway) { g.ports = []uint16{quiet, closed} }, check.OK, byTCP, "answers on TCP port"},
		{"slow port", unanswered, func(g *gateway) { g.ports, g.slow = []uint16{open}, time.Nanosecond }, check.Slow, byTCP, "limit"},
		{"neighbour", unanswered, func(g *gateway) {
			g.ports, g.neighbour = []uint16{quiet}, knows(proven)
		}, check.OK, byNeighbour, "table of neighbours"},
		{"neighbour that is found after a while", unanswered, func(g *gateway) {
			g.ports, g.neighbour = []uint16{quiet}, knows(stale, inUse, inUse, proven)
		}, check.OK, byNeighbour, "table of neighbours"},
		{"neighbour that is given up after a while", unanswered, func(g *gateway) {
			g.ports, g.neighbour = []uint16{quiet}, knows(inUse, silentOne)
		}, check.Timeout, -1, "no reachable neighbour"},
		{"neighbour of which the system does not know yet", unanswered, func(g *gateway) {
			g.ports, g.neighbour = []uint16{quiet}, knows(inUse)
		}, check.NotSupported, -1, "still finding out"},
		{"neighbour of which nothing is heard since", unanswered, func(g *gateway) {
			g.ports, g.neighbour = []uint16{quiet}, knows(stale)
		}, check.NotSupported, -1, "still finding out"},
		{"refuses echo itself", denying(time.Millisecond), nil, check.OK, byRefusal, "127.0.0.1 itself says that it refuses echo"},
		{"refuses echo itself and is slow", denying(time.Millisecond), func(g *gateway) { g.slow = time.Microsecond }, check.Slow, byRefusal, "limit"},
		{"another refuses echo", denying(0), func(g *gateway) { g.ports = []uint16{quiet} }, check.ConnectRefused, -1, "no reachable neighbour"},
		{"nothing", unanswered, func(g *gateway) { g.ports = []uint16{quiet} }, check.Timeout, -1, "gateway 127.0.0.1: echo is not answered"},
		{"echo not allowed, open port", func(echoRun) (echoes, error) { return echoes{}, errNoEcho }, func(g *gateway) { g.ports = []uint16{open} }, check.OK, byTCP, "ping_group_range"},
		{"echo not allowed, nothing", func(echoRun) (echoes, error) { return echoes{}, errNoEcho }, nil, check.Timeout, -1, "TCP neither"},
		{"unreachable", func(echoRun) (echoes, error) { return echoes{sent: 3, refused: syscall.EHOSTUNREACH}, nil }, nil, check.ConnectUnreachable, -1, "neighbour"},
		{"echo fails", func(echoRun) (echoes, error) { return echoes{}, syscall.ENETUNREACH }, nil, check.ConnectUnreachable, -1, "unreachable"},
		{"no default route", unanswered, func(g *gateway) { g.routes = found() }, check.ConnectUnreachable, -1, "no default gateway"},
		{"no default route on the line", unanswered, func(g *gateway) { g.line.source = netip.MustParseAddr("192.0.2.77") }, check.ConnectUnreachable, -1, "192.0.2.77"},
		{"route without gateway", unanswered, func(g *gateway) { g.routes = found(route{iface: "ppp0"}) }, check.NotSupported, -1, "ppp0"},
		{"table not readable", unanswered, func(g *gateway) { g.routes = failing(fs.ErrPermission) }, check.NoPermission, -1, ""},
		{"table not known", unanswered, func(g *gateway) { g.routes = failing(errors.ErrUnsupported) }, check.NotSupported, -1, "host"},
		{"named", replies(3, time.Millisecond), func(g *gateway) { g.host, g.routes = "127.0.0.1", nil }, check.OK, byEcho, ""},
		{"named in the other IP version", unanswered, func(g *gateway) { g.host, g.line.source = "127.0.0.1", netip.MustParseAddr("::1") }, check.Misconfigured, -1, ""},
		{"name that does not resolve", unanswered, func(g *gateway) { g.host, g.line.resolver = "gw.test.", resolver(t, 3) }, check.DNSNXDomain, -1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := loopbackGateway(tc.echo)
			if tc.change != nil {
				tc.change(&g)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			r := g.check(ctx)
			declared(t, gatewayKind(), r)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q does not say %q", r.Detail, tc.detail)
			}
			if method, ok := r.Facts.Get("method_code"); ok != (tc.method >= 0) || ok && method != tc.method {
				t.Errorf("method %v, %v; want %v", method, ok, tc.method)
			}
		})
	}
}

func TestGatewayIsCutShort(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := loopbackGateway(unanswered).check(ctx)
	declared(t, gatewayKind(), r)
	want(t, r, check.Internal)
}

// TestGatewayOfARealTable finds a gateway through the system alone, in a network of its own whose other end is mute.
func TestGatewayOfARealTable(t *testing.T) {
	real := func() gateway {
		g := loopbackGateway(nil)
		g.routes = func() ([]route, error) { return routesIn("/proc/thread-self/net") }
		g.prefixes, g.echo, g.neighbour = interfacePrefixes, echoRun.echo, nearnessOf
		return g
	}
	inNetwork(t, []string{
		"link add name v0 type veth peer name v1", "addr add 192.0.2.2/24 dev v0", "link set v0 up", "link set v1 up",
		"route add default via 192.0.2.1", "neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud reachable dev v0",
	}, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		g := real()
		r := g.check(ctx)
		declared(t, gatewayKind(), r)
		want(t, r, check.OK)
		wantFact(t, r, "method_code", byNeighbour)
		wantFact(t, r, "default_routes_count", 1)
		g.line.source = netip.MustParseAddr("192.0.2.2")
		want(t, g.check(ctx), check.OK)
		g.line.source = netip.MustParseAddr("192.0.2.77")
		want(t, g.check(ctx), check.ConnectUnreachable)
	})
	inNetwork(t, nil, func() {
		r := real().check(t.Context())
		want(t, r, check.ConnectUnreachable)
		if r.Detail != "no default gateway" {
			t.Errorf("detail %q", r.Detail)
		}
	})
}

// TestGatewayOnLoopback asks a gateway that the plan names, with the kind's own constructor.
func TestGatewayOnLoopback(t *testing.T) {
	needEcho(t, "127.0.0.1")
	r := run(t, gatewayKind(), check.Options{"host": "127.0.0.1", "count": int64(2), "loss_warn": 0.0, "family": anyFamily}, check.Env{})
	want(t, r, check.OK)
	wantFact(t, r, "method_code", byEcho)
}
