package network

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindTo ties a socket to an interface (SO_BINDTODEVICE, see socket(7)), which is called done when the kernel has done
// so. Where that is not allowed, the socket keeps its source address, which ties it to the line where routes go by it.
func bindTo(iface string, done func()) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			if unix.BindToDevice(int(fd), iface) == nil {
				done()
			}
		})
	}
}

// readCounters reads what the kernel counts of an interface (Documentation/ABI/testing/sysfs-class-net-statistics).
func readCounters(iface string) (traffic, error) {
	if iface == "" || strings.ContainsAny(iface, "/\x00") || iface == "." || iface == ".." {
		return traffic{}, fmt.Errorf("%q is no name of an interface", iface)
	}
	var t traffic
	for name, into := range map[string]*uint64{"rx_bytes": &t.down, "tx_bytes": &t.up} {
		f, err := os.Open("/sys/class/net/" + iface + "/statistics/" + name)
		if err != nil {
			return traffic{}, err
		}
		b, err := io.ReadAll(io.LimitReader(f, 64))
		f.Close()
		if err != nil {
			return traffic{}, err
		}
		if *into, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return traffic{}, err
		}
	}
	return t, nil
}
