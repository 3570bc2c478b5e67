package network

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// defaultRoutes lists the gateways of the adapters that are up, each with the metric of its adapter.
func defaultRoutes() ([]route, error) {
	const includeGateways = 0x80 // GAA_FLAG_INCLUDE_GATEWAYS
	var buf []byte
	for size, tries := uint32(16<<10), 0; ; tries++ {
		buf = make([]byte, size)
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, includeGateways, 0, (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])), &size)
		if err == nil {
			break
		}
		if !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) || tries == 4 || size > 4<<20 {
			return nil, fmt.Errorf("GetAdaptersAddresses: %w", err)
		}
	}
	var routes []route
	for a := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])); a != nil; a = a.Next {
		if a.OperStatus != windows.IfOperStatusUp {
			continue
		}
		name := windows.UTF16PtrToString(a.FriendlyName)
		for g := a.FirstGatewayAddress; g != nil; g = g.Next {
			addr, ok := netip.AddrFromSlice(g.Address.IP())
			if !ok {
				continue
			}
			addr = addr.Unmap()
			r := route{gateway: addr, iface: name, metric: uint64(a.Ipv4Metric)}
			if addr.Is6() {
				r.metric = uint64(a.Ipv6Metric)
				if addr.IsLinkLocalUnicast() {
					r.gateway = addr.WithZone(fmt.Sprint(a.Ipv6IfIndex))
				}
			}
			routes = append(routes, r)
		}
	}
	return routes, nil
}
