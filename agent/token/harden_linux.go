package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// What this process may take, whatever a driver does. In a service the unit's own limits hold too, and may forbid to set
// these.
const (
	maxMemory = 512 << 20 // bytes of data
	maxTime   = 60        // seconds of processor time
	maxFile   = 64 << 20  // bytes of a file
)

// harden bounds this process, keeps its memory out of core dumps, and returns what was its standard output: drivers print
// to theirs, which leads nowhere from here on.
func harden() (*os.File, error) {
	for _, l := range []struct {
		what int
		max  uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_DATA, maxMemory}, {unix.RLIMIT_CPU, maxTime}, {unix.RLIMIT_FSIZE, maxFile}} {
		_ = unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.max, Max: l.max})
	}
	undumpable()
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	for _, std := range []int{1, 2} {
		if err := unix.Dup3(int(null.Fd()), std, 0); err != nil {
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}

// undumpable keeps other processes of the same user from reading this one's memory, which holds a PIN.
func undumpable() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
