package schedule

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"egovmon/agent/plan"
)

const (
	gateFor     = 5 * time.Second // an answer of the anchors is used again so long
	gateTimeout = 3 * time.Second
)

// A gate knows, a path at a time, whether the machine's own line works.
type gate struct {
	mu      sync.Mutex
	anchors map[plan.Path][]string
	source  map[plan.Path]netip.Addr
	probes  map[plan.Path]*probe
}

// A probe is one try of a path's anchors.
type probe struct {
	done     chan struct{}
	started  time.Time // monotonic
	answered int
}

// reset takes the anchors from the uplink checks of a plan.
func (g *gate) reset(p *plan.Plan) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anchors, g.source, g.probes = map[plan.Path][]string{}, map[plan.Path]netip.Addr{}, map[plan.Path]*probe{}
	for _, c := range p.Checks {
		if c.Kind == "uplink" {
			g.anchors[c.Path] = append(g.anchors[c.Path], c.Options.Strings("anchors")...)
			g.source[c.Path] = p.Source(c.Path)
		}
	}
}

// noUplink reports whether the failure of a check may be our own line's: the check is gated, its path has anchors, and
// none of them answers either. A path without anchors counts as working.
func (s *Scheduler) noUplink(ctx context.Context, c plan.Check) bool {
	if s.o.Anchors == nil || c.Path == plan.LAN || !s.gated(ctx, c) {
		return false
	}
	g := &s.gate
	g.mu.Lock()
	anchors := g.anchors[c.Path]
	if len(anchors) == 0 {
		g.mu.Unlock()
		return false
	}
	pr := g.probes[c.Path]
	if pr == nil || time.Since(pr.started) > gateFor {
		pr = &probe{done: make(chan struct{}), started: time.Now()}
		g.probes[c.Path] = pr
		source := g.source[c.Path]
		go func() {
			defer close(pr.done)
			pctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateTimeout)
			defer cancel()
			pr.answered = s.o.Anchors(pctx, anchors, source)
		}()
	}
	g.mu.Unlock()
	select {
	case <-pr.done:
		return pr.answered == 0
	case <-ctx.Done():
		return false
	}
}

// gated reports whether a check goes over the unit's line: its kind does not judge the line itself, and at least one
// of its targets is neither this machine nor on a network that this machine is directly on.
func (s *Scheduler) gated(ctx context.Context, c plan.Check) bool {
	k, ok := s.o.Kinds.Lookup(c.Kind)
	if !ok || k.Line || k.Target == nil {
		return false
	}
	return slices.ContainsFunc(k.Target(c.Options), func(host string) bool { return !near(ctx, host) })
}

// near reports whether a host is this machine or on a directly connected network. A name that cannot be resolved is
// not: its name server is behind the line as well.
func near(ctx context.Context, host string) bool {
	if isLoopback(host) {
		return true
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		addrs, _ = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if len(addrs) == 0 {
		return false
	}
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !connected(a, nets) })
}

func connected(a netip.Addr, nets []net.Addr) bool {
	a = a.Unmap()
	if a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(nets, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Bits() < p.Addr().BitLen() && p.Contains(a)
	})
}

// Anchored reports which paths of a plan have anchors: the others cannot be gated and count as proven.
func Anchored(p *plan.Plan) []plan.Path {
	var paths []plan.Path
	for _, c := range p.Checks {
		if c.Kind == "uplink" && !slices.Contains(paths, c.Path) && len(c.Options.Strings("anchors")) > 0 {
			paths = append(paths, c.Path)
		}
	}
	return paths
}
