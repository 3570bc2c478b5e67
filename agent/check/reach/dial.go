package reach

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

// FamilyOption is how a plan chooses between IPv4 and IPv6.
func FamilyOption() check.Option {
	return check.Option{Name: "family", Type: check.TypeString, Default: "any", Enum: []string{"any", "ip4", "ip6"},
		Help: "The addresses to use: any lets the system choose as a browser does."}
}

// FamilyFact declares the number that [IPFamily] gives.
func FamilyFact() check.FactDef {
	return check.FactDef{Name: "ip_family_code", Help: "4 or 6: the kind of address that was connected to", Min: 4, Max: 6}
}

// AddressFact declares the number that [AddressCode] gives.
func AddressFact() check.FactDef {
	return check.FactDef{Name: "address_code", Help: "first 48 bits of the SHA-256 of the address that was connected to: another number is another server", Max: 1 << 48}
}

// A Dialer opens TCP connections for one check and tells name resolution from connecting.
type Dialer struct {
	net     net.Dialer
	network string // tcp, tcp4 or tcp6
}

// NewDialer makes a Dialer for a value of [FamilyOption] that leaves from source; the zero Addr leaves that to the system.
func NewDialer(family string, source netip.Addr) Dialer {
	d := Dialer{network: "tcp"}
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

// Dialed says where the time of a connection went, also of one that failed.
type Dialed struct {
	DNS      time.Duration
	Resolved bool // a name was looked up; an address needs none
	Connect  time.Duration
	Tried    bool // there was an address to connect to
}

// Dial connects to host:port.
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, Dialed, error) {
	var t Dialed
	begin := time.Now()
	var resolving time.Time
	if _, err := netip.ParseAddrPort(address); err != nil {
		// Both hooks run on this goroutine, before DialContext returns.
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			DNSStart: func(httptrace.DNSStartInfo) { resolving, t.Resolved = time.Now(), true },
			DNSDone:  func(httptrace.DNSDoneInfo) { t.DNS = time.Since(resolving) },
		})
	}
	conn, err := d.net.DialContext(ctx, d.network, address)
	if _, failed := errors.AsType[*net.DNSError](err); !failed {
		t.Connect, t.Tried = time.Since(begin)-t.DNS, true
	}
	return conn, t, err
}

// Bind makes conn give up when ctx ends. The returned function undoes it.
func Bind(ctx context.Context, conn net.Conn) (release func() bool) {
	if t, ok := ctx.Deadline(); ok {
		// The connection's own timer, so that the end of the time is an error of the step it hit.
		_ = conn.SetDeadline(t)
	}
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// IPFamily is 4 or 6, or 0 when the address is of neither.
func IPFamily(conn net.Conn) float64 {
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

// AddressCode is the first 48 bits of the SHA-256 of the address that conn leads to, so that checks of several services
// and machines can be seen to end at one server. It is 0 for an address that means another machine elsewhere: a loopback
// or link-local one, or none.
func AddressCode(conn net.Conn) float64 {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return codeOf(a.IP)
}

func codeOf(ip net.IP) float64 {
	if !ip.IsGlobalUnicast() {
		return 0
	}
	sum := sha256.Sum256(ip.To16())
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 16)
}
