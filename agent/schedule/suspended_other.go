//go:build !linux && !windows

package schedule

import "time"

// SystemSuspended returns 0: this system cannot tell how long the machine has slept.
func SystemSuspended() time.Duration { return 0 }
