package lookup

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// SystemServers lists the name servers of the adapters that are up and have a gateway, each once. Those that Windows
// invents where none is set (fec0:0:0:ffff::1 to ::3) are left out.
func SystemServers() ([]netip.AddrPort, error) {
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
	invented := netip.MustParsePrefix("fec0:0:0:ffff::/64")
	var servers []netip.AddrPort
	for a := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0])); a != nil; a = a.Next {
		if a.OperStatus != windows.IfOperStatusUp || a.FirstGatewayAddress == nil {
			continue
		}
		for d := a.FirstDnsServerAddress; d != nil; d = d.Next {
			addr, ok := netip.AddrFromSlice(d.Address.IP())
			if !ok || invented.Contains(addr) {
				continue
			}
			if addr = addr.Unmap(); addr.IsLinkLocalUnicast() && addr.Is6() {
				addr = addr.WithZone(fmt.Sprint(a.Ipv6IfIndex))
			}
			if s := netip.AddrPortFrom(addr, 53); !slices.Contains(servers, s) && len(servers) < MaxServers {
				servers = append(servers, s)
			}
		}
	}
	return servers, nil
}
