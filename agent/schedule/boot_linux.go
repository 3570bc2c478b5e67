package schedule

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SystemBoot returns what tells one start of the machine from another, and how long ago it was, the time that the machine
// slept included: random(4) and CLOCK_BOOTTIME. The id is "" where the system cannot tell.
func SystemBoot() func() (id string, up time.Duration) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := strings.TrimSpace(string(b))
	if err != nil || len(id) > 64 || strings.ContainsAny(id, " \n") {
		id = ""
	}
	return func() (string, time.Duration) {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
			return "", 0
		}
		return id, time.Duration(t.Nano())
	}
}
