//go:build !linux && !windows

package network

import "errors"

// defaultRoutes fails: this system's route table is not known to us.
func defaultRoutes() ([]route, error) {
	return nil, errors.ErrUnsupported
}

// neighbourTable fails: this system's table of neighbours is not known to us.
func neighbourTable() ([]neighbour, error) {
	return nil, errors.ErrUnsupported
}
