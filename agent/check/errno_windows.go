package check

import "syscall"

func errnoFault(n syscall.Errno) osFault { return winsockFault(uintptr(n)) }

// winsockTimeout is WSAETIMEDOUT, which syscall.Errno.Timeout does not know.
const winsockTimeout = 10060

func errnoTimeout(n syscall.Errno) bool { return n == winsockTimeout }
