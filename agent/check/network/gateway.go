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
	// neighbourLook is the time from one look at the table of neighbours to the next while the system finds out.
	neighbourLook = 100 * time.Millisecond
)

// How a gateway was seen: the values of the fact method_code.
const (
	byEcho = iota
	byTCP
	byNeighbour
	byRefusal
)

func gatewayKind() check.Kind {
	return check.Kind{
		Name:    "gateway",
		Family:  "network",
		Summary: "Finds the default gateway by itself and asks whether it answers: by echo, which it may refuse, else by TCP, else from the table of neighbours.",
		Options: []check.Option{
			{Name: "host", Type: check.TypeHost, Help: "Gateway to ask; without it the default route with the lowest metric tells."},
			{Name: "count", Type: check.TypeInt, Default: "3", Min: 1, Max: 20, Unit: "requests", Help: "How many echo requests to send in a run."},
			slowOption("the mean round trip"),
			{Name: "loss_warn", Type: check.TypeFloat, Default: "0", Min: 0, Max: 1, Unit: "ratio", Help: "The state is degraded when a larger share of the requests is lost."},
			familyOption(),
		},
		Facts: append(echoFacts(),
			check.FactDef{Name: "method_code", Help: "what showed the gateway alive: 0 echo, 1 TCP, 2 the table of neighbours, 3 its own message that it refuses echo", Min: byEcho, Max: byRefusal},
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
		routes: defaultRoutes, prefixes: interfacePrefixes, echo: echoRun.echo, neighbour: nearnessOf,
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
	neighbour func(a netip.Addr, iface string) nearness
}

func (g gateway) check(ctx context.Context) check.Result {
	begin := time.Now()
	to, known, bad := g.find(ctx)
	r := bad
	if bad == nil {
		r = new(g.ask(ctx, to))
		r.Facts.Add("ip_version_code", ipVersion(to.gateway))
	}
	if g.host == "" && known >= 0 {
		r.Facts.Add("default_routes_count", float64(known))
	}
	r.Phases.Add("total", time.Since(begin))
	return *r
}

// find returns the route to the gateway and how many default routes there are (-1 when that was not seen), or the result
// that says why there is none. The interface is "" for a gateway that the plan names.
func (g gateway) find(ctx context.Context) (route, int, *check.Result) {
	if g.host != "" {
		addrs, bad := g.line.lookup(ctx, g.host)
		if bad != nil {
			return route{}, -1, bad
		}
		return route{gateway: addrs[0], iface: addrs[0].Zone()}, -1, nil
	}
	routes, err := g.routes()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return route{}, -1, new(check.Because(check.NoPermission, "%s", err))
	case err != nil:
		return route{}, -1, new(check.Because(check.NotSupported, "the default gateway cannot be found: %s; name it with the option host", err))
	}
	var on map[string][]netip.Prefix
	if g.line.source.IsValid() {
		on = g.prefixes()
	}
	r, ok := choose(routes, g.line, on)
	switch {
	case !ok && g.line.source.IsValid():
		return route{}, len(routes), new(check.Because(check.ConnectUnreachable, "no default gateway on the interface of %s", g.line.source))
	case !ok:
		return route{}, len(routes), new(check.Because(check.ConnectUnreachable, "no default gateway"))
	case !r.gateway.IsValid():
		return route{}, len(routes), new(check.Because(check.NotSupported, "the default route over %s names no gateway; name a host with the option host", r.iface))
	}
	return r, len(routes), nil
}

// ask tries an echo, then TCP, then the table of neighbours, which both have just made the system look after.
func (g gateway) ask(ctx context.Context, way route) check.Result {
	to := way.gateway
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
	if err == nil && e.denial > 0 {
		r := g.alive(byRefusal, e.denial, fmt.Sprintf("%s itself says that it refuses echo", to))
		r.Facts.Add("icmp_mode_code", float64(e.mode))
		r.Phases.Add("echo", time.Since(begin))
		return r
	}
	why := "echo is not answered"
	if err != nil {
		why = "echo cannot be sent (" + cause(err) + ")"
	}
	if port, took, ok := g.connects(ctx, to); ok {
		r := g.alive(byTCP, took, fmt.Sprintf("%s; %s answers on TCP port %d", why, to, port))
		r.Facts.Add("icmp_mode_code", modeTCP)
		r.Phases.Add("connect", took)
		return r
	}
	switch g.settled(ctx, way) {
	case proven:
		r := check.Because(check.OK, "%s and TCP neither; the table of neighbours has %s as reachable", why, to)
		r.Facts.Add("method_code", byNeighbour)
		return r
	case inUse, stale:
		if errors.Is(ctx.Err(), context.Canceled) {
			break
		}
		return check.Because(check.NotSupported, "gateway %s: %s and TCP neither; the system is still finding out whether its neighbour is there, which may take 8 s: raise the timeout", to, why)
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

// alive is the result for a gateway that answered after a time, though not an echo.
func (g gateway) alive(method float64, took time.Duration, how string) check.Result {
	r := check.Because(check.OK, "%s", how)
	if g.slow > 0 && took > g.slow {
		r = check.Because(check.Slow, "%s after %s, limit %s", how, took.Round(time.Microsecond), g.slow)
	}
	r.Facts.Add("method_code", method)
	r.Facts.Add("rtt_min_s", took.Seconds())
	return r
}

// settled is what the system knows of the gateway as its neighbour. While it is finding out, which is while it counts on
// what it once knew, settled waits as long as there is time: of what was known once nothing follows. Linux asks a
// neighbour that it has written to after 5 s, and gives it up after 3 more.
func (g gateway) settled(ctx context.Context, way route) nearness {
	for {
		n := g.neighbour(way.gateway.WithZone(""), way.iface)
		if n != inUse && n != stale || !pause(ctx, neighbourLook) {
			return n
		}
	}
}

// nearnessOf looks an address up among the neighbours on an interface, or on any if that is "": the surest sign counts.
// An address that is not there is a neighbour of no kind.
func nearnessOf(a netip.Addr, iface string) nearness {
	table, err := neighbourTable()
	if err != nil {
		return otherwise
	}
	index := 0
	if i, err := net.InterfaceByName(iface); err == nil {
		index = i.Index
	}
	return surest(table, a, index)
}

// surest is the surest of what a table says of an address on an interface; the index 0 is any.
func surest(table []neighbour, a netip.Addr, index int) nearness {
	sure := otherwise
	for _, n := range table {
		if n.addr == a && (index == 0 || n.index == index) && n.nearness != otherwise && (sure == otherwise || n.nearness < sure) {
			sure = n.nearness
		}
	}
	return sure
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
