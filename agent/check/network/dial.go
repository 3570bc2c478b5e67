package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// The values of the option family.
const (
	anyFamily = "any"
	ip4       = "ip4"
	ip6       = "ip6"
)

// maxAddrs are tried of one name; more are left alone, so that one run stays short.
const maxAddrs = 8

func familyOption() check.Option {
	return check.Option{Name: "family", Type: check.TypeString, Default: anyFamily, Enum: []string{anyFamily, ip4, ip6},
		Help: "IP version to use; any takes the addresses in the system's order."}
}

func slowOption(what string) check.Option {
	return check.Option{Name: "slow", Type: check.TypeDuration, Min: 0.0001, Max: 60,
		Help: "The state is degraded when " + what + " takes longer; without it nothing is too slow."}
}

// A line is how packets leave this machine: IP version and local address. Its zero value leaves both to the system.
type line struct {
	family   string
	source   netip.Addr
	resolver *net.Resolver                                          // nil is the system's
	control  func(network, address string, c syscall.RawConn) error // ties a socket to an interface; nil for none
}

// fits tells whether an address can be reached over the line.
func (l line) fits(a netip.Addr) bool {
	if l.family == ip4 && !a.Is4() || l.family == ip6 && a.Is4() {
		return false
	}
	return !l.source.IsValid() || l.source.Unmap().Is4() == a.Is4()
}

// lookup returns the addresses of a host that the line can use, at least one, or the result that says why not.
func (l line) lookup(ctx context.Context, host string) ([]netip.Addr, *check.Result) {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		switch {
		case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "": // RFC 4007, section 6
			return nil, new(check.Because(check.Misconfigured, "%s is an address of a link, and of every link: write on which, e.g. %s%%eth0", a, a))
		case l.fits(a):
			return []netip.Addr{a}, nil
		}
		return nil, new(check.Because(check.Misconfigured, "%s cannot be reached from %s with family %s: write an address of the same IP version", a, l.source, l.family))
	}
	host, err := reach.ASCIIHost(host) // the system's resolver does not ask for a name in other letters, and says that there is none
	if err != nil {
		return nil, new(check.Because(check.Misconfigured, "%v", err))
	}
	network := "ip"
	if l.family == ip4 || l.family == ip6 {
		network = l.family
	}
	all, err := l.resolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, new(failed(ctx, check.StepResolve, err))
	}
	var addrs []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); l.fits(a) && len(addrs) < maxAddrs {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, new(check.Because(check.Misconfigured, "%s has no address of the IP version of %s", host, l.source))
	}
	return addrs, nil
}

// connect opens a TCP connection and closes it again. It returns how long the connection took, also when it failed.
func (l line) connect(ctx context.Context, to netip.AddrPort) (time.Duration, error) {
	d := net.Dialer{KeepAlive: -1, Control: l.control}
	var from netip.AddrPort
	if l.source.IsValid() {
		from = netip.AddrPortFrom(l.source, 0)
	}
	begin := time.Now()
	c, err := d.DialTCP(ctx, "tcp", from, to)
	took := time.Since(begin)
	if err != nil {
		return took, err
	}
	c.Close() // nothing was sent, so there is nothing that closing could lose
	return took, nil
}

// share cuts the time that is left into n parts, so that one dead address does not use up what belongs to the next.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}

// failed is the result of a step that ended with an error. What our own end cut short tells nothing about the target.
func failed(ctx context.Context, step check.Step, err error) check.Result {
	if errors.Is(ctx.Err(), context.Canceled) {
		return check.Because(check.Internal, "the run was cut short")
	}
	return check.Because(check.Classify(step, err), "%s", cause(err))
}

// cause is the innermost text of an error of package net: the addresses around it stand in the plan.
func cause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// splitAddress cuts host:port, which the plan has checked.
func splitAddress(option, address string) (string, uint16, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("option %q: %q is no host:port: write e.g. 10.20.1.1:443", option, address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("option %q: %q is no port: write a number from 1 to 65535", option, port)
	}
	return host, uint16(n), nil
}

// checkFamily refuses an address that the options themselves rule out.
func checkFamily(option, host string, l line) error {
	a, err := netip.ParseAddr(host)
	if err != nil || l.family != ip4 && l.family != ip6 || (line{family: l.family}).fits(a.Unmap()) {
		return nil
	}
	return fmt.Errorf("option %q: %s is no address of family %s: change one of the two", option, host, l.family)
}

// ipVersion is the value of the fact ip_version_code.
func ipVersion(a netip.Addr) float64 {
	if a.Is4() {
		return 4
	}
	return 6
}

func ipVersionFact() check.FactDef {
	return check.FactDef{Name: "ip_version_code", Help: "IP version of the address used: 4 or 6", Min: 4, Max: 6}
}
