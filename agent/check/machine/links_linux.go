package machine

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// links reads what Linux tells of its links in /sys/class/net (Documentation/ABI/testing/sysfs-class-net).
func links() ([]link, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var ls []link
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback == 0 {
			ls = append(ls, linkAt(filepath.Join("/sys/class/net", i.Name), i))
		}
	}
	return ls, nil
}

// linkAt reads one link's folder. A value that is not there leaves what the interface's flags say.
func linkAt(dir string, i net.Interface) link {
	l := link{name: i.Name, up: i.Flags&net.FlagUp != 0}
	if b, err := os.ReadFile(filepath.Join(dir, "carrier")); err == nil {
		l.up = strings.TrimSpace(string(b)) == "1"
	}
	if _, err := os.Stat(filepath.Join(dir, "device")); err == nil {
		l.hardware = true
	}
	if b, err := os.ReadFile(filepath.Join(dir, "speed")); err == nil {
		if mbit, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil && mbit > 0 && mbit <= 1e7 {
			l.bps = mbit * 1e6
		}
	}
	return l
}
