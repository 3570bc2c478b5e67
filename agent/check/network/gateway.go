package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"syscall"
	"time"

	"egovmon/agent/check"
)

const (
	// gatewayLinger is the longest wait for an answer of a gateway, which stands in the same building.
	gatewayLinger   = time.Second
	gatewayInterval = 200 * time.Millisecond
)

// How a gateway was seen: the values of the fact method_code.
const (
	byEcho = iota
	byTCP
	byNeighbour
)

func gatewayKind() check.Kind {
	return check.Kind{
		Name:    "gateway",
		Family:  "network",
		Summary: "Finds the default gateway by itself and asks whether it answers: by echo, else by TCP, else from the table of neighbours.",
		Options: []check.Option{
			{Name: "host", Type: check.TypeHost, Help: "Gateway to ask; without it the default route with the lowest metric tells."},
			{Name: "count", Type: check.TypeInt, Default: "3", Min: 1, Max: 20, Unit: "requests", Help: "How many echo requests to send in a run."},
			slowOption("the mean round trip"),
			{Name: "loss_warn", Type: check.TypeFloat, Default: "0", Min: 0, Max: 1, Unit: "ratio", Help: "The state is degraded when a larger share of the requests is lost."},
			familyOption(),
		},
		Facts: append(echoFacts(),
			check.FactDef{Name: "method_code", Help: "what showed the gateway alive: 0 echo, 1 TCP, 2 the table of neighbours", Min: byEcho, Max: byNeighbour},
			check.FactDef{Name: "default_routes_count", Help: "default routes of this machine", Min: 0, Max: 2 * maxRoutes},
		),
		Phases: []string{"echo", "connect", "total"},
		Line:   true,
		Target: func(o check.Options) []string {
			if o.Has("host") {
				return []string{o.String("host")}
			}
			return nil
		},
		New: newGateway,
	}
}

func newGateway(o check.Options, env check.Env) (check.Func, error) {
	g := gateway{
		line: line{family: o.String("family"), source: env.Source}, host: o.String("host"), slow: o.Duration("slow"), lossWarn: o.Float("loss_warn"),
		run:    echoRun{source: env.Source, count: int(o.Int("count")), interval: gatewayInterval, size: 56, linger: gatewayLinger},
		routes: defaultRoutes, prefixes: interfacePrefixes, echo: echoRun.echo, neighbour: neighbourReachable,
		// Services that a gateway has for its own network: name server, and the page to set it up.
		ports: []uint16{53, 80, 443},
	}
	if err := checkFamily("host", g.host, g.line); err != nil {
		return nil, err
	}
	if all := time.Duration(g.run.count-1) * gatewayInterval; env.Timeout > 0 && all >= env.Timeout {
		return nil, fmt.Errorf("option %q: %d requests take %s, and the timeout is %s: lower the count or raise the timeout", "count", g.run.count, all, env.Timeout)
	}
	return g.check, nil
}

// A gateway is a check of kind gateway, with what it asks the system for.
type gateway struct {
	line     line
	host     string
	slow     time.Duration
	lossWarn float64
	run      echoRun
	ports    []uint16

	routes    func() ([]route, error)
	prefixes  func() map[string][]netip.Prefix
	echo      func(echoRun, context.Context) (echoes, error)
	neighbour func(netip.Addr) bool
}

func (g gateway) check(ctx context.Context) check.Result {
	begin := time.Now()
	to, known, bad := g.find(ctx)
	r := bad
	if bad == nil {
		r = new(g.ask(ctx, to))
		r.Facts.Add("ip_version_code", ipVersion(to))
	}
	if g.host == "" && known >= 0 {
		r.Facts.Add("default_routes_count", float64(known))
	}
	r.Phases.Add("total", time.Since(begin))
	return *r
}

// find returns the address of the gateway and how many default routes there are (-1 when that was not seen), or the
// result that says why there is none.
func (g gateway) find(ctx context.Context) (netip.Addr, int, *check.Result) {
	if g.host != "" {
		addrs, bad := g.line.lookup(ctx, g.host)
		if bad != nil {
			return netip.Addr{}, -1, bad
		}
		return addrs[0], -1, nil
	}
	routes, err := g.routes()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return netip.Addr{}, -1, new(check.Because(check.NoPermission, "%s", err))
	case err != nil:
		return netip.Addr{}, -1, new(check.Because(check.NotSupported, "the default gateway cannot be found: %s; name it with the option host", err))
	}
	var on map[string][]netip.Prefix
	if g.line.source.IsValid() {
		on = g.prefixes()
	}
	r, ok := choose(routes, g.line, on)
	switch {
	case !ok && g.line.source.IsValid():
		return netip.Addr{}, len(routes), new(check.Because(check.ConnectUnreachable, "no default gateway on the interface of %s", g.line.source))
	case !ok:
		return netip.Addr{}, len(routes), new(check.Because(check.ConnectUnreachable, "no default gateway"))
	case !r.gateway.IsValid():
		return netip.Addr{}, len(routes), new(check.Because(check.NotSupported, "the default route over %s names no gateway; name a host with the option host", r.iface))
	}
	return r.gateway, len(routes), nil
}

// ask tries an echo, then TCP, then the table of neighbours, which both have just made the kernel look after.
func (g gateway) ask(ctx context.Context, to netip.Addr) check.Result {
	g.run.to = to
	begin := time.Now()
	half, cancel := share(ctx, 2)
	e, err := g.echo(g.run, half)
	cancel()
	if err == nil && len(e.rtts) > 0 {
		r := e.judge(ctx, g.lossWarn, g.slow)
		r.Facts.Add("method_code", byEcho)
		r.Phases.Add("echo", time.Since(begin))
		return r
	}
	why := "echo is not answered"
	if err != nil {
		why = "echo cannot be sent (" + cause(err) + ")"
	}
	if port, took, ok := g.connects(ctx, to); ok {
		r := check.Because(check.OK, "%s; %s answers on TCP port %d", why, to, port)
		if g.slow > 0 && took > g.slow {
			r = check.Because(check.Slow, "%s; TCP port %d answered in %s, limit %s", why, port, took.Round(time.Microsecond), g.slow)
		}
		r.Facts.Add("method_code", byTCP)
		r.Facts.Add("icmp_mode_code", modeTCP)
		r.Facts.Add("rtt_min_s", took.Seconds())
		r.Phases.Add("connect", took)
		return r
	}
	if g.neighbour(to) {
		r := check.Because(check.OK, "%s and TCP neither; the table of neighbours has %s as reachable", why, to)
		r.Facts.Add("method_code", byNeighbour)
		return r
	}
	if err != nil && !errors.Is(err, errNoEcho) {
		return failed(ctx, check.StepConnect, err)
	}
	r := e.judge(ctx, g.lossWarn, g.slow)
	if err != nil {
		r = check.Because(r.Reason, "")
	}
	r.Detail = check.CleanDetail(fmt.Sprintf("gateway %s: %s, TCP neither, and it is no reachable neighbour", to, why))
	return r
}

// connects reports the port that answered first, accepting or refusing.
func (g gateway) connects(ctx context.Context, to netip.Addr) (uint16, time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, gatewayLinger)
	defer cancel()
	type answer struct {
		port uint16
		took time.Duration
		err  error
	}
	answers := make(chan answer, len(g.ports))
	for _, port := range g.ports {
		go func() {
			took, err := g.line.connect(ctx, netip.AddrPortFrom(to, port))
			answers <- answer{port, took, err}
		}()
	}
	for range g.ports {
		if a := <-answers; a.err == nil || errors.Is(a.err, syscall.ECONNREFUSED) {
			return a.port, a.took, true
		}
	}
	return 0, 0, false
}

// interfacePrefixes lists the addresses of every interface with the size of their networks.
func interfacePrefixes() map[string][]netip.Prefix {
	all := map[string][]netip.Prefix{}
	interfaces, err := net.Interfaces()
	if err != nil {
		return all
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all[i.Name] = append(all[i.Name], netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
			}
		}
	}
	return all
}
