package network

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
	table, err := neighbourTable()
	return err == nil && reachable(table, a.WithZone(""))
}

// reachable looks for an address that the kernel has had proof of.
func reachable(table []neighbour, a netip.Addr) bool {
	return slices.ContainsFunc(table, func(n neighbour) bool { return n.addr == a && n.nearness == proven })
}
