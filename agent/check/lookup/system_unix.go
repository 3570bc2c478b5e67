//go:build !windows

package lookup

import (
	"io"
	"net/netip"
	"os"
)

// SystemServers lists the name servers that this machine's programs use.
func SystemServers() ([]netip.AddrPort, error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, err
	}
	return parseResolvConf(text), nil
}
