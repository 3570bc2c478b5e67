//go:build !linux && !windows

package schedule

import "time"

// SystemBoot would tell one start of the machine from another. Here it cannot.
func SystemBoot() func() (id string, up time.Duration) {
	return func() (string, time.Duration) { return "", 0 }
}
