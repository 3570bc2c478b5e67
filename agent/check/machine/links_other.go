//go:build !linux && !windows

package machine

import "net"

// links knows no more than the flags of the interfaces here.
func links() ([]link, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var ls []link
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback == 0 {
			ls = append(ls, link{name: i.Name, up: i.Flags&net.FlagUp != 0})
		}
	}
	return ls, nil
}
