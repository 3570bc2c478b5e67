//go:build !windows

package check

import (
	"net"
	"os"
	"syscall"
	"testing"
)

// wrapped is an error as package net returns it.
func wrapped(n syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", n)}
}

func TestErrnoNumbers(t *testing.T) {
	tests := []struct {
		step Step
		n    syscall.Errno
		want Reason
	}{
		{StepConnect, syscall.ECONNREFUSED, ConnectRefused},
		{StepConnect, syscall.EHOSTUNREACH, ConnectUnreachable},
		{StepConnect, syscall.ENETUNREACH, ConnectUnreachable},
		{StepConnect, syscall.EADDRNOTAVAIL, ConnectUnreachable},
		{StepConnect, syscall.EACCES, NoPermission},
		{StepConnect, syscall.EPERM, NoPermission},
		{StepConnect, syscall.ETIMEDOUT, ConnectTimeout},
		{StepExchange, syscall.ETIMEDOUT, Timeout},
		{StepTLS, syscall.ECONNRESET, TLSHandshake},
		{StepExchange, syscall.ECONNRESET, ConnectReset},
		{StepExchange, syscall.EPIPE, ConnectReset},
		{StepConnect, syscall.EMFILE, Internal},
		{StepConnect, syscall.ENFILE, Internal},
		{StepConnect, syscall.ENOBUFS, Internal},
		{StepExchange, syscall.EOPNOTSUPP, NotSupported},
		{StepExchange, syscall.EINVAL, Protocol},
	}
	for _, tt := range tests {
		if got := Classify(tt.step, wrapped(tt.n)); got != tt.want {
			t.Errorf("%v at step %d: got %s, want %s", tt.n, tt.step, got, tt.want)
		}
	}
}
