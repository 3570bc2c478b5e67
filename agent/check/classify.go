package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// A Step is the layer at which an error arose. It decides what a timeout or a hang-up means.
type Step uint8

// The layers of a connection, from the bottom up.
const (
	StepResolve  Step = iota // name → address
	StepConnect              // TCP connection
	StepTLS                  // TLS handshake
	StepExchange             // request and answer
)

// Classify turns an error of Go's net, crypto/tls, crypto/x509 and net/http into the reason for a Result. Every family
// uses it, so that one fault has one name. The order is the layers': a name that does not resolve is never a timeout of
// the exchange. A nil err is OK. What it does not know is Protocol in an exchange, TLSHandshake in a handshake, and
// ConnectUnreachable or DNSServfail below: the target could not be used, and the detail says how. A run that was
// called off, and a fault of this machine's own, are Internal, which says nothing about the target.
func Classify(step Step, err error) Reason {
	if err == nil {
		return OK
	}
	if errors.Is(err, context.Canceled) {
		return Internal
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return classifyDNS(dns)
	}
	if a, ok := errors.AsType[*net.AddrError](err); ok && a.Err == "no suitable address found" {
		return DNSEmpty
	}
	if r, ok := classifyX509(err); ok {
		return r
	}
	if r, ok := classifyTLS(err); ok {
		return r
	}
	if r, ok := classifyErrno(step, err); ok {
		return r
	}
	if isTimeout(err) {
		switch step {
		case StepResolve:
			return DNSTimeout
		case StepConnect:
			return ConnectTimeout
		default:
			return Timeout
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && step == StepExchange {
		return Truncated
	}
	switch step {
	case StepResolve:
		return DNSServfail
	case StepConnect:
		return ConnectUnreachable
	case StepTLS:
		return TLSHandshake
	default:
		if errors.Is(err, io.EOF) {
			return ConnectReset
		}
		return Protocol
	}
}

// classifyDNS tells the answers of a resolver apart as far as Go's own resolver does; the kind dns asks for itself.
func classifyDNS(err *net.DNSError) Reason {
	switch {
	case err.IsNotFound:
		return DNSNXDomain
	case err.IsTimeout:
		return DNSTimeout
	case strings.Contains(err.Err, "refused") && !strings.Contains(err.Err, "connection refused"):
		return DNSRefused
	default:
		return DNSServfail
	}
}

func classifyX509(err error) (Reason, bool) {
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if inv.Reason == x509.Expired {
			// One reason of x509 stands for both ends of the validity; the certificate tells which.
			if inv.Cert != nil && strings.Contains(inv.Detail, "before") {
				return TLSNotYetValid, true
			}
			return TLSExpired, true
		}
		return TLSUntrusted, true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return TLSName, true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return TLSUntrusted, true
	}
	if _, ok := errors.AsType[x509.InsecureAlgorithmError](err); ok {
		return TLSUntrusted, true
	}
	if _, ok := errors.AsType[x509.UnhandledCriticalExtension](err); ok {
		return TLSUntrusted, true
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return NotSupported, true
	}
	return "", false
}

func classifyTLS(err error) (Reason, bool) {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return TLSHandshake, true
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		if alert == 70 { // protocol_version, RFC 8446, section 6.2
			return TLSProtocol, true
		}
		return TLSHandshake, true
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return TLSHandshake, true
	}
	s := err.Error()
	switch {
	case strings.Contains(s, "tls: protocol version not supported"),
		strings.Contains(s, "tls: server selected unsupported protocol version"):
		return TLSProtocol, true
	case strings.Contains(s, "tls: first record does not look like a TLS handshake"), strings.Contains(s, "remote error: tls:"):
		return TLSHandshake, true
	}
	return "", false
}

// classifyErrno reads the number that the operating system gave. One that speaks of this machine (no more files, no
// memory) is never the target's fault.
func classifyErrno(step Step, err error) (Reason, bool) {
	n, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return "", false
	}
	switch errnoFault(n) {
	case faultRefused:
		return ConnectRefused, true
	case faultReset:
		if step == StepTLS {
			return TLSHandshake, true
		}
		return ConnectReset, true
	case faultUnreachable:
		return ConnectUnreachable, true
	case faultPermission:
		return NoPermission, true
	case faultOwn:
		return Internal, true
	case faultUnsupported:
		return NotSupported, true
	}
	return "", false
}

// An osFault is what a number of the operating system means, whatever the number is there.
type osFault uint8

// What the numbers mean. A number that means none of these is judged by the step alone; one that means a time-out says
// so itself (syscall.Errno.Timeout).
const (
	faultOther osFault = iota
	faultRefused
	faultReset
	faultUnreachable
	faultPermission
	faultOwn
	faultUnsupported
)

// winsockFault reads the numbers of Windows Sockets (winerror.h). They differ from package syscall's ECONNREFUSED and
// so on, which are invented there and never come from the system.
func winsockFault(n uintptr) osFault {
	switch n {
	case 10061: // WSAECONNREFUSED
		return faultRefused
	case 10052, 10053, 10054, 10058: // WSAENETRESET, WSAECONNABORTED, WSAECONNRESET, WSAESHUTDOWN
		return faultReset
	case 10049, 10050, 10051, 10064, 10065: // WSAEADDRNOTAVAIL, WSAENETDOWN, WSAENETUNREACH, WSAEHOSTDOWN, WSAEHOSTUNREACH
		return faultUnreachable
	case 5, 10013: // ERROR_ACCESS_DENIED, WSAEACCES
		return faultPermission
	case 8, 14, 10024, 10055: // ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, WSAEMFILE, WSAENOBUFS
		return faultOwn
	case 10045: // WSAEOPNOTSUPP
		return faultUnsupported
	}
	return faultOther
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok && errnoTimeout(n) {
		return true
	}
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
