//go:build !windows

package check

import "syscall"

func errnoFault(n syscall.Errno) osFault {
	switch n {
	case syscall.ECONNREFUSED:
		return faultRefused
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ENOTCONN:
		return faultReset
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL:
		return faultUnreachable
	case syscall.EACCES, syscall.EPERM:
		return faultPermission
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return faultOwn
	case syscall.EOPNOTSUPP:
		return faultUnsupported
	}
	return faultOther
}

func errnoTimeout(n syscall.Errno) bool { return n == syscall.ETIMEDOUT }
