package checktest

import (
	"crypto/tls"
	"net"
	"testing"
)

// Serve answers every connection to a port of 127.0.0.1 with handle, and returns its host:port.
func Serve(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// ServeTLS speaks TLS with these settings and then handles the connection; a nil handle reads until the end.
func ServeTLS(t testing.TB, cfg *tls.Config, handle func(net.Conn)) string {
	t.Helper()
	return Serve(t, func(conn net.Conn) {
		s := tls.Server(conn, cfg)
		if s.Handshake() != nil {
			return
		}
		if handle == nil {
			_, _ = s.Read(make([]byte, 1))
			return
		}
		handle(s)
	})
}

// ClosedPort is an address where nobody listens, for TCP and UDP, and where nobody else will while the test runs: both ports are
// held by sockets that only speak with others.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for range 100 {
		// That the address is named makes the port one that the system gives to nobody else, be it to listen or to connect from.
		conn, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, l.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		at := conn.LocalAddr().(*net.TCPAddr)
		if u, err := net.DialUDP("udp4", &net.UDPAddr{IP: at.IP, Port: at.Port}, &net.UDPAddr{IP: at.IP, Port: 9}); err == nil {
			t.Cleanup(func() { u.Close() })
			return at.String()
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return ""
}
