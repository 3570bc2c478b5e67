package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// An icmpAPI is what ping.exe uses as well: iphlpapi sends echo requests for programs without privileges.
type icmpAPI struct{ create4, create6, close, send4, send6 *windows.LazyProc }

func loadICMP() icmpAPI {
	dll := windows.NewLazySystemDLL("iphlpapi.dll")
	return icmpAPI{dll.NewProc("IcmpCreateFile"), dll.NewProc("Icmp6CreateFile"), dll.NewProc("IcmpCloseHandle"),
		dll.NewProc("IcmpSendEcho2Ex"), dll.NewProc("Icmp6SendEcho2")}
}

// An ipOptions is IP_OPTION_INFORMATION.
type ipOptions struct {
	ttl, tos, flags, size byte
	data                  uintptr
}

// An echoReply is the head of ICMP_ECHO_REPLY.
type echoReply struct {
	addr     [4]byte
	status   uint32
	rtt      uint32
	dataSize uint16
	_        uint16
	data     uintptr
	options  ipOptions
}

// Where ICMPV6_ECHO_REPLY has its status: after IPV6_ADDRESS_EX, 26 bytes packed, and 2 of padding. The address stands
// within that, after the port and the flow.
const (
	status6At = 28
	from6At   = 6
)

// Values of the status of a reply, from ipexport.h.
const (
	ipSuccess             = 0
	ipNetUnreachable      = 11002
	ipHostUnreachable     = 11003
	ipProtocolUnreachable = 11004 // of IPv6: prohibited
	ipPortUnreachable     = 11005
)

// echo sends one request after the other: the call waits for the reply itself, in shares of the time that is left.
func (run echoRun) echo(ctx context.Context) (echoes, error) {
	api := loadICMP()
	create := api.create4
	if run.to.Is6() {
		create = api.create6
	}
	h, _, err := create.Call()
	if windows.Handle(h) == windows.InvalidHandle {
		return echoes{}, fmt.Errorf("%w (IcmpCreateFile: %w)", errNoEcho, err)
	}
	defer api.close.Call(h)
	e, payload := echoes{mode: modeWindows}, newPayload(run.size)
	for i := range run.count {
		if i > 0 && !pause(ctx, run.interval) {
			break
		}
		begin := time.Now()
		status, hops, by := api.send(h, run, payload, run.wait(ctx, run.count-i))
		e.sent++
		switch status {
		case ipSuccess:
			e.rtts = append(e.rtts, max(1, time.Since(begin)))
			e.hops = hops
		case ipNetUnreachable, ipHostUnreachable, ipProtocolUnreachable, ipPortUnreachable:
			e.refused = fmt.Errorf("echo to %s: status %d: %w", run.to, status, syscall.EHOSTUNREACH)
			if by == run.to.WithZone("") {
				e.denial = max(1, time.Since(begin))
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return e, nil
}

// wait is how long one request may take when n are still to be sent.
func (run echoRun) wait(ctx context.Context, n int) time.Duration {
	d := 4 * time.Second
	if end, ok := ctx.Deadline(); ok {
		d = (time.Until(end) - time.Duration(n-1)*run.interval) / time.Duration(n)
	}
	if run.linger > 0 {
		d = min(d, run.linger)
	}
	return max(d, 10*time.Millisecond)
}

// send returns the status of one echo, the time to live left in its reply where the system tells it, and who answered.
func (api icmpAPI) send(h uintptr, run echoRun, payload []byte, wait time.Duration) (status uint32, hops int, by netip.Addr) {
	buf := make([]byte, int(unsafe.Sizeof(echoReply{}))+len(payload)+8+64)
	options := ipOptions{ttl: 128}
	ms := uintptr(max(1, wait.Milliseconds()))
	if run.to.Is6() {
		from, to := rawSockaddr(run.source), rawSockaddr(run.to)
		n, _, err := api.send6.Call(h, 0, 0, 0, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&to)), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)),
			uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), ms)
		if n == 0 {
			return statusOf(err), 0, netip.Addr{}
		}
		return *(*uint32)(unsafe.Pointer(&buf[status6At])), 0, netip.AddrFrom16([16]byte(buf[from6At:]))
	}
	to, from := run.to.As4(), [4]byte{}
	if run.source.Is4() {
		from = run.source.As4()
	}
	n, _, err := api.send4.Call(h, 0, 0, 0, uintptr(*(*uint32)(unsafe.Pointer(&from))), uintptr(*(*uint32)(unsafe.Pointer(&to))), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)),
		uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), ms)
	if n == 0 {
		return statusOf(err), 0, netip.Addr{}
	}
	r := (*echoReply)(unsafe.Pointer(&buf[0]))
	return r.status, int(r.options.ttl), netip.AddrFrom4(r.addr)
}

func statusOf(err error) uint32 {
	if n, ok := err.(syscall.Errno); ok && n != 0 {
		return uint32(n)
	}
	return 11050 // IP_GENERAL_FAILURE
}

func rawSockaddr(a netip.Addr) windows.RawSockaddrInet6 {
	sa := windows.RawSockaddrInet6{Family: windows.AF_INET6}
	if !a.Is6() {
		return sa
	}
	sa.Addr = a.As16()
	if n, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
		sa.Scope_id = uint32(n)
	} else if i, err := net.InterfaceByName(a.Zone()); err == nil {
		sa.Scope_id = uint32(i.Index)
	}
	return sa
}
