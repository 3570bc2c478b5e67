//go:build !linux && !windows

package network

import (
	"errors"
	"net/netip"
)

// defaultRoutes fails: this system's route table is not known to us.
func defaultRoutes() ([]route, error) {
	return nil, errors.ErrUnsupported
}

// neighbourReachable knows no table of neighbours here.
func neighbourReachable(netip.Addr) bool { return false }

// neighbourTable fails: this system's table of neighbours is not known to us.
func neighbourTable() ([]neighbour, error) {
	return nil, errors.ErrUnsupported
}
