//go:build !linux && !windows

package network

import (
	"errors"
	"syscall"
)

// bindTo leaves it to the source address to tie a socket to its line on this system.
func bindTo(string, func()) func(network, address string, c syscall.RawConn) error { return nil }

// readCounters knows no counters on this system.
func readCounters(string) (traffic, error) {
	return traffic{}, errors.New("this system's counters of interfaces are not known")
}
