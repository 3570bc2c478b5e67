package portal

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

// familyOption is how a plan chooses between IPv4 and IPv6.
func familyOption() check.Option {
	return check.Option{Name: "family", Type: check.TypeString, Default: "any", Enum: []string{"any", "ip4", "ip6"},
		Help: "The addresses to use: any lets the system choose as a browser does."}
}

// A dialer opens TCP connections for one check and tells name resolution from connecting.
type dialer struct {
	net     net.Dialer
	network string // tcp, tcp4 or tcp6
}

func newDialer(family string, source netip.Addr) dialer {
	d := dialer{network: "tcp"}
	switch family {
	case "ip4":
		d.network = "tcp4"
	case "ip6":
		d.network = "tcp6"
	}
	d.net.KeepAlive = -1 // a connection lives for one run
	if source.IsValid() {
		d.net.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d
}

// dial connects to host:port and adds the time to sp.
func (d *dialer) dial(ctx context.Context, address string, sp *spans) (net.Conn, error) {
	begin := time.Now()
	var resolving time.Time
	var dns time.Duration
	if _, err := netip.ParseAddrPort(address); err != nil {
		// Both hooks run on this goroutine, before DialContext returns.
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			DNSStart: func(httptrace.DNSStartInfo) { resolving = time.Now() },
			DNSDone:  func(httptrace.DNSDoneInfo) { dns = time.Since(resolving) },
		})
	}
	conn, err := d.net.DialContext(ctx, d.network, address)
	if !resolving.IsZero() {
		sp.add(phaseDNS, dns)
	}
	if _, failed := dnsFailure(err); !failed {
		sp.add(phaseConnect, time.Since(begin)-dns)
	}
	return conn, err
}

// bind makes conn give up when ctx ends. The returned function undoes it.
func bind(ctx context.Context, conn net.Conn) (release func() bool) {
	if t, ok := ctx.Deadline(); ok {
		// The connection's own timer, so that the end of the time is an error of the step it hit.
		_ = conn.SetDeadline(t)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// ipFamily is 4 or 6, or 0 when the address is of neither.
func ipFamily(conn net.Conn) float64 {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return 0
	case a.IP.To4() != nil:
		return 4
	default:
		return 6
	}
}
