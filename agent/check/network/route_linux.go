package network

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
