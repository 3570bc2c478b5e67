package network

import (
	"net"
	"net/netip"
)

// The protocols of probes: the values of the fact protocol_code.
const (
	byICMPProbe = iota
	byUDPProbe
	byTCPProbe
)

// proberOptions say where probes go.
type proberOptions struct {
	protocol int
	to       netip.Addr
	source   netip.Addr // the zero Addr leaves it to the system
	port     int        // of TCP: the target's; of UDP: the local one of the last run, 0 for any
	wait     int        // milliseconds that an answer may take
}

// interfaceOf returns the interface that holds a local address; false when none does.
func interfaceOf(a netip.Addr) (net.Interface, bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, false
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, x := range addrs {
			if p, err := netip.ParsePrefix(x.String()); err == nil && p.Addr().Unmap() == a.WithZone("") {
				return i, true
			}
		}
	}
	return net.Interface{}, false
}

// localAddr returns the address that packets to a host leave from, as the system chooses it; nothing is sent.
func localAddr(to, source netip.Addr) (netip.Addr, error) {
	var from *net.UDPAddr
	if source.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, probeAny)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	a, _ := c.LocalAddr().(*net.UDPAddr)
	return a.AddrPort().Addr().Unmap().WithZone(""), nil
}

// probeAny is a port for a socket that sends nothing.
const probeAny = 9
