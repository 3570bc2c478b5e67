//go:build !linux || !amd64

package wrongclock

import (
	"errors"
	"time"
)

var errElsewhere = errors.New("one program's clock can be set on Linux on x86-64 alone")

// Possible says why this machine cannot do it; nil when it can.
func Possible() error { return errElsewhere }

// Shift sets the time of day that a running program reads; it is not to be had here.
func Shift(int, time.Duration) error { return errElsewhere }
