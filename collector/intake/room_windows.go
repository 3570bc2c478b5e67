package intake

import (
	"errors"
	"syscall"
)

// Of winerror.h.
const (
	errorHandleDiskFull syscall.Errno = 39
	errorDiskFull       syscall.Errno = 112
)

// noRoom reports whether an error says that a disk is full.
func noRoom(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}
