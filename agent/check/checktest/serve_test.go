package checktest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// A closed port refuses, and stays closed: nobody else can have it while the test runs.
func TestClosedPort(t *testing.T) {
	at := ClosedPort(t)
	for range 50 {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("TCP: %v, want a refusal", err)
		}
	}
	u, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_ = u.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = u.Write([]byte("x"))
	if _, err := u.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("UDP: %v, want a refusal", err)
	}
	if l, err := net.Listen("tcp", at); err == nil {
		l.Close()
		t.Error("somebody else can listen at the TCP port")
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	if l, err := net.ListenPacket("udp", at); err == nil {
		l.Close()
		t.Error("somebody else can listen at the UDP port")
	} else if !errors.Is(err, syscall.EADDRINUSE) && !os.IsPermission(err) {
		t.Error(err)
	}
}
