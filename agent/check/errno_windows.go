package check

import "syscall"

func errnoFault(n syscall.Errno) osFault { return winsockFault(uintptr(n)) }

func errnoTimeout(n syscall.Errno) bool { return n == winsockTimeout }
