package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// neighbourTable asks the kernel for its neighbours of IPv4 and IPv6, which needs no rights.
func neighbourTable() ([]neighbour, error) {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return parseNeighbourTable(table)
}

// States of a neighbour, from linux/neighbour.h.
const (
	nudIncomplete = 0x01
	nudReachable  = 0x02
	nudStale      = 0x04
	nudDelay      = 0x08
	nudProbe      = 0x10
	nudFailed     = 0x20
)

// parseNeighbourTable reads the netlink messages of a dump. See rtnetlink(7), RTM_GETNEIGH.
func parseNeighbourTable(table []byte) ([]neighbour, error) {
	const (
		ndmsgBytes = 12
		indexAt    = 4
		stateAt    = 8

		ndaDst, ndaLLAddr, ndaCacheInfo = 1, 2, 3
		tick                            = 10 * time.Millisecond // of what user space is told
	)
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	var all []neighbour
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWNEIGH || len(m.Data) < ndmsgBytes || len(all) == maxNeighbours {
			continue
		}
		n := neighbour{index: int(int32(binary.NativeEndian.Uint32(m.Data[indexAt:]))), confirmed: -1}
		switch state := binary.NativeEndian.Uint16(m.Data[stateAt:]); {
		case state&nudReachable != 0:
			n.nearness = proven
		case state&(nudDelay|nudProbe) != 0:
			n.nearness = inUse
		case state&nudStale != 0:
			n.nearness = stale
		case state&(nudFailed|nudIncomplete) != 0:
			n.nearness = silentOne
		}
		for attrs := m.Data[ndmsgBytes:]; len(attrs) >= 4; {
			size, kind := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
			if size < 4 || size > len(attrs) {
				break
			}
			value := attrs[4:size]
			switch {
			case kind == ndaDst:
				n.addr, _ = netip.AddrFromSlice(value)
			case kind == ndaLLAddr && len(value) == len(n.hardware):
				n.hardware = hardware(value)
			case kind == ndaCacheInfo && len(value) >= 4:
				n.confirmed = time.Duration(binary.NativeEndian.Uint32(value)) * tick
			}
			attrs = attrs[min(len(attrs), (size+3)&^3):]
		}
		all = append(all, n)
	}
	return all, nil
}
