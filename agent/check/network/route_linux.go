package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
)

// maxRouteText bounds what is read of a route table: about 10,000 routes.
const maxRouteText = 2 << 20

// defaultRoutes lists the default routes of this machine, in no order.
func defaultRoutes() ([]route, error) { return routesIn("/proc/net") }

// routesIn reads the two tables in a folder of the kernel's.
func routesIn(folder string) ([]route, error) {
	four, err := readTable(filepath.Join(folder, "route"), parseRoutes4)
	if err != nil {
		return nil, err
	}
	six, err := readTable(filepath.Join(folder, "ipv6_route"), parseRoutes6)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // there is none where IPv6 is switched off
		return nil, err
	}
	return append(four, six...), nil
}

func readTable(name string, parse func([]byte) ([]route, error)) ([]route, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("route table: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRouteText))
	if err != nil {
		return nil, fmt.Errorf("route table %s: %w", name, err)
	}
	return parse(text)
}

// neighbourReachable reports whether the kernel has had proof within its reachable time (half a minute or so) that a
// host of our own network is alive. It asks the kernel's table of neighbours, which holds ARP and IPv6 alike, and
// trusts the state REACHABLE alone: the others may describe a host that is long gone.
func neighbourReachable(a netip.Addr) bool {
	family := syscall.AF_INET
	if a.Is6() {
		family = syscall.AF_INET6
	}
	table, err := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, family)
	if err != nil {
		return false
	}
	return parseNeighbours(table, a.WithZone(""))
}

// parseNeighbours looks for an address in state REACHABLE in netlink messages. See rtnetlink(7), RTM_GETNEIGH.
func parseNeighbours(table []byte, want netip.Addr) bool {
	const (
		ndmsgBytes   = 12
		stateAt      = 8
		nudReachable = 0x02
		ndaDst       = 1
	)
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWNEIGH || len(m.Data) < ndmsgBytes ||
			binary.NativeEndian.Uint16(m.Data[stateAt:])&nudReachable == 0 {
			continue
		}
		for attrs := m.Data[ndmsgBytes:]; len(attrs) >= 4; {
			n, kind := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
			if n < 4 || n > len(attrs) {
				break
			}
			if a, ok := netip.AddrFromSlice(attrs[4:n]); ok && kind == ndaDst && a == want {
				return true
			}
			attrs = attrs[min(len(attrs), (n+3)&^3):]
		}
	}
	return false
}
