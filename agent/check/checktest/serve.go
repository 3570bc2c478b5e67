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

// ClosedPort is an address where nobody listens.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
