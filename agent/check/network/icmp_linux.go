package network

import (
	"encoding/binary"
	"net/netip"
)

// An icmpError is what the kernel tells of a message that it has matched with a packet of ours.
type icmpError struct {
	origin, kind, code byte
	info               uint32
	from               netip.Addr
	errno              uint32 // what the kernel makes of it for the socket
}

// Who an icmpError comes from: see ip(7), IP_RECVERR.
const (
	originICMP  = 2
	originICMP6 = 3
)

// parseExtended reads a struct sock_extended_err and the address behind it; the zero value is none.
func parseExtended(b []byte, v6 bool) icmpError {
	if len(b) < 16 {
		return icmpError{}
	}
	e := icmpError{origin: b[4], kind: b[5], code: b[6], info: binary.NativeEndian.Uint32(b[8:]), errno: binary.NativeEndian.Uint32(b)}
	switch at := b[16:]; {
	case !v6 && len(at) >= 8:
		e.from = netip.AddrFrom4([4]byte(at[4:8]))
	case v6 && len(at) >= 24:
		e.from = netip.AddrFrom16([16]byte(at[8:24])).Unmap()
	}
	return e
}

// answer says what the message means for a probe to this target; false for one that means nothing. A target that says
// no in any way has been reached. Another host that says so stands in the way: that a port is closed only the target
// can know, and a firewall that claims it is one that refuses.
func (e icmpError) answer(to netip.Addr) (answer, bool) {
	a := answer{from: e.from}
	target := e.from == to.WithZone("")
	switch {
	case !e.from.IsValid():
		return a, false
	case e.origin == originICMP && e.kind == 11 && e.code == 0, e.origin == originICMP6 && e.kind == 3 && e.code == 0: // RFC 792; RFC 4443, section 3.3
		a.kind = fromHop
	case e.origin == originICMP && e.kind == 3 && e.code == 4, e.origin == originICMP6 && e.kind == 2: // RFC 1191, section 4; RFC 4443, section 3.2
		a.kind, a.mtu = tooBig, int(min(e.info, 1<<16))
	case (e.origin == originICMP && e.kind == 3 || e.origin == originICMP6 && e.kind == 1) && target:
		a.kind = fromTarget
	case e.origin == originICMP && e.kind == 3, e.origin == originICMP6 && e.kind == 1:
		a.kind = noWay
	default:
		return a, false
	}
	return a, true
}

// quotedEcho reads the echo request that a message quotes: its number and what is quoted of its data.
func quotedEcho(b []byte, v6, anyID bool, id uint16) (n int, data []byte, ours bool) {
	want := byte(echoRequest4)
	if v6 {
		want = echoRequest6
	}
	if len(b) < icmpHeader || b[0] != want || b[1] != 0 || !anyID && binary.BigEndian.Uint16(b[4:]) != id {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint16(b[6:])), b[icmpHeader:], true
}
