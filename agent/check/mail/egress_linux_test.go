package mail

import (
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// swallow makes an address of loopback that answers no connection request: its queue is full and nobody accepts. Port 0
// takes a free one. It returns the port.
func swallow(t *testing.T, ip [4]byte, port int) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: ip}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := name.(*syscall.SockaddrInet4)
	address := net.JoinHostPort(net.IP(ip[:]).String(), strconv.Itoa(at.Port))
	for range 8 { // until the queue is full
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return at.Port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel answers connection requests beyond the queue")
	return 0
}

// A provider that drops what goes to port 25 is told from a server that is gone, within the time of the run.
func TestEgressDropped(t *testing.T) {
	open := checktest.Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	port := swallow(t, [4]byte{127, 0, 0, 1}, 0)
	swallow(t, [4]byte{127, 0, 0, 2}, port)
	swallow(t, [4]byte{127, 0, 0, 3}, port)
	at := func(host string) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	for _, tt := range []struct {
		with   check.Options
		reason check.Reason
		detail string
	}{
		{check.Options{}, check.ConnectTimeout, ""},
		{check.Options{"alive": []string{open}}, check.ConnectTimeout, open + " answers"},
		{check.Options{"alive": []string{open}, "egress": []string{at("127.0.0.2"), at("127.0.0.3")}}, check.EgressBlocked, "our provider closes the port"},
	} {
		tt.with["address"] = at("127.0.0.1")
		begin := time.Now()
		r := runFor(t, smtpKind(), tt.with, check.Env{}, time.Second)
		want(t, r, tt.reason, tt.detail)
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("took %s of 1s", took)
		}
	}
}
