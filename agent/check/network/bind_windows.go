package network

import (
	"math/bits"
	"net"
	"syscall"

	"golang.org/x/sys/windows"
)

// Options of a socket, from ws2ipdef.h.
const (
	ipUnicastIf   = 31 // IP_UNICAST_IF: the interface, its number in network order
	ipv6UnicastIf = 31 // IPV6_UNICAST_IF: the interface, its number as it is
)

// bindTo ties a socket to an interface; done is called when the system has done so.
func bindTo(iface string, done func()) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		return c.Control(func(fd uintptr) {
			level, option, number := windows.IPPROTO_IP, ipUnicastIf, int(bits.ReverseBytes32(uint32(i.Index)))
			if network == "tcp6" {
				level, option, number = windows.IPPROTO_IPV6, ipv6UnicastIf, i.Index
			}
			if windows.SetsockoptInt(windows.Handle(fd), level, option, number) == nil {
				done()
			}
		})
	}
}

// readCounters asks the system for an interface's counters (GetIfEntry2).
func readCounters(iface string) (traffic, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return traffic{}, err
	}
	row := windows.MibIfRow2{InterfaceIndex: uint32(i.Index)}
	if err := windows.GetIfEntry2Ex(windows.MibIfEntryNormal, &row); err != nil {
		return traffic{}, err
	}
	return traffic{row.InOctets, row.OutOctets}, nil
}
