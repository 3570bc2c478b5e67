package network

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// rowBytes is the size of Windows' MIB_IPNET_ROW2.
const rowBytes = 88

// parseRows reads rows of Windows' table of neighbours (MIB_IPNET_ROW2 of netioapi.h, 64 bits).
func parseRows(rows []byte) []neighbour {
	const (
		familyAt, addr4At, addr6At = 0, 4, 8
		indexAt                    = 28
		hardwareAt, lengthAt       = 40, 72
		stateAt, reachedAt         = 76, 84

		inet, inet6 = 2, 23
		// NL_NEIGHBOR_STATE
		unreachable, incomplete, probe, delay, old, reached = 0, 1, 2, 3, 4, 5
	)
	var all []neighbour
	for ; len(rows) >= rowBytes && len(all) < maxNeighbours; rows = rows[rowBytes:] {
		n := neighbour{index: int(binary.LittleEndian.Uint32(rows[indexAt:])), confirmed: -1}
		switch binary.LittleEndian.Uint16(rows[familyAt:]) {
		case inet:
			n.addr = netip.AddrFrom4([4]byte(rows[addr4At:]))
		case inet6:
			n.addr = netip.AddrFrom16([16]byte(rows[addr6At:]))
		}
		if binary.LittleEndian.Uint32(rows[lengthAt:]) == uint32(len(n.hardware)) {
			n.hardware = hardware(rows[hardwareAt:])
		}
		switch binary.LittleEndian.Uint32(rows[stateAt:]) {
		case unreachable, incomplete:
			n.nearness = silentOne
		case reached:
			n.nearness = proven
		case probe, delay:
			n.nearness = inUse
		case old:
			n.nearness = stale
		}
		if n.nearness == proven || n.nearness == inUse || n.nearness == stale {
			n.confirmed = time.Duration(binary.LittleEndian.Uint32(rows[reachedAt:])) * time.Millisecond
		}
		all = append(all, n)
	}
	return all
}
