//go:build unix

package onestop

import (
	"os"
	"syscall"
)

// openPlain opens a file for reading; a pipe that took its place does not hold it up.
func openPlain(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}
