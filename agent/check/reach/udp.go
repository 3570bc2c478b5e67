//go:build http3

package reach

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// A Packets is a socket for datagrams to one server.
type Packets struct {
	net.PacketConn
	To *net.UDPAddr
}

// Family is 4 or 6.
func (p *Packets) Family() float64 {
	if p.To.IP.To4() != nil {
		return 4
	}
	return 6
}

// Code is what [AddressCode] is of a connection.
func (p *Packets) Code() float64 { return codeOf(p.To.IP) }

// SetReadBuffer leaves the buffer as the system has it, which is enough for one page; without it QUIC's package complains on the
// standard logger.
func (p *Packets) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does likewise.
func (p *Packets) SetWriteBuffer(int) error { return nil }

// Packets opens a socket for datagrams to host:port, of whose addresses it takes the first.
func (d *Dialer) Packets(ctx context.Context, address string) (*Packets, Dialed, error) {
	var t Dialed
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, t, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, t, err
	}
	network := "ip" + d.network[len("tcp"):]
	ip, err := netip.ParseAddr(host)
	if err != nil {
		begin := time.Now()
		list, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
		t.DNS, t.Resolved = time.Since(begin), true
		if err != nil {
			return nil, t, err
		}
		ip = list[0].Unmap()
	}
	local := &net.UDPAddr{}
	if from, ok := d.net.LocalAddr.(*net.TCPAddr); ok {
		local.IP = from.IP
	}
	socket, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, t, err
	}
	return &Packets{socket, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(number)))}, t, nil
}
