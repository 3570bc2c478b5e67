package schedule

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemSuspended returns how long the machine has slept since it was started: what CLOCK_BOOTTIME has counted and
// CLOCK_MONOTONIC has not (clock_gettime(2)). It is 0 where the system cannot tell.
func SystemSuspended() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}
