//go:build !windows

package journal

import (
	"errors"
	"syscall"
)

// diskFull reports whether a write failed because there is no room left, on the disk or for this user.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
