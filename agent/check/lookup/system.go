package lookup

import (
	"bufio"
	"bytes"
	"net/netip"
	"slices"
	"strings"
)

// MaxServers bounds how many servers one check asks.
const MaxServers = 8

// parseResolvConf lists the name servers in the text of a resolv.conf, in its order, each once. Lines that do not name
// an address are passed over, as the system's resolver does. See resolv.conf(5).
func parseResolvConf(text []byte) []netip.AddrPort {
	var servers []netip.AddrPort
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() && len(servers) < MaxServers {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err != nil {
			continue
		}
		if s := netip.AddrPortFrom(a.Unmap(), 53); !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	return servers
}
