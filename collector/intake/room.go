//go:build !windows

package intake

import (
	"errors"
	"syscall"
)

// noRoom reports whether an error says that a disk, or the share of it that this program may use, is full.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
