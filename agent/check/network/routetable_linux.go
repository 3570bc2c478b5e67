package network

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Flags of a route, from Linux' linux/route.h.
const (
	routeUp      = 0x1
	routeGateway = 0x2
	routeReject  = 0x200
)

// parseRoutes4 reads the default routes of the text of /proc/net/route.
func parseRoutes4(text []byte) ([]route, error) {
	var routes []route
	err := eachLine(text, func(f []string) error {
		if len(f) < 8 || f[0] == "Iface" || f[1] != "00000000" || f[7] != "00000000" {
			return nil
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil {
			return fmt.Errorf("flags %q are no hexadecimal number", f[3])
		}
		gateway, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil {
			return fmt.Errorf("gateway %q is no hexadecimal number", f[2])
		}
		metric, err := strconv.ParseUint(f[6], 10, 32)
		if err != nil {
			return fmt.Errorf("metric %q is no number", f[6])
		}
		if flags&routeUp == 0 || flags&routeReject != 0 {
			return nil
		}
		r := route{iface: f[0], metric: metric}
		if flags&routeGateway != 0 {
			var a [4]byte
			binary.NativeEndian.PutUint32(a[:], uint32(gateway)) // the kernel prints the bytes as one number of its own order
			r.gateway = netip.AddrFrom4(a)
		}
		routes = append(routes, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("/proc/net/route: %w", err)
	}
	return routes, nil
}

// parseRoutes6 reads the default routes of the text of /proc/net/ipv6_route.
func parseRoutes6(text []byte) ([]route, error) {
	const zero = "00000000000000000000000000000000"
	var routes []route
	err := eachLine(text, func(f []string) error {
		if len(f) < 10 || f[0] != zero || f[1] != "00" || f[2] != zero {
			return nil
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		if err != nil {
			return fmt.Errorf("flags %q are no hexadecimal number", f[8])
		}
		metric, err := strconv.ParseUint(f[5], 16, 32)
		if err != nil {
			return fmt.Errorf("metric %q is no hexadecimal number", f[5])
		}
		b, err := hex.DecodeString(f[4])
		if err != nil || len(b) != 16 {
			return fmt.Errorf("next hop %q is no IPv6 address in hexadecimal", f[4])
		}
		if flags&routeUp == 0 || flags&routeReject != 0 || f[9] == "lo" {
			return nil
		}
		r := route{iface: f[9], metric: metric}
		if flags&routeGateway != 0 {
			r.gateway = netip.AddrFrom16([16]byte(b))
			if r.gateway.IsLinkLocalUnicast() {
				r.gateway = r.gateway.WithZone(f[9])
			}
		}
		routes = append(routes, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("/proc/net/ipv6_route: %w", err)
	}
	return routes, nil
}

func eachLine(text []byte, each func(fields []string) error) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	n := 0
	for lines.Scan() {
		if n++; n > maxRoutes {
			return nil
		}
		if err := each(strings.Fields(lines.Text())); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}
