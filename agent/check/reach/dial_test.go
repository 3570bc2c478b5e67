package reach

import (
	"net"
	"testing"
)

// An elsewhere is a connection to an address.
type elsewhere struct {
	net.Conn
	to net.Addr
}

func (e elsewhere) RemoteAddr() net.Addr { return e.to }

func TestAddressCode(t *testing.T) {
	code := func(ip string, port int) float64 {
		return AddressCode(elsewhere{to: &net.TCPAddr{IP: net.ParseIP(ip), Port: port}})
	}
	for _, ip := range []string{"127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "224.0.0.1"} {
		if v := code(ip, 443); v != 0 {
			t.Errorf("%s, which is another machine elsewhere, has the code %v", ip, v)
		}
	}
	a := code("192.0.2.1", 443)
	if a <= 0 || a >= AddressFact().Max || a != float64(uint64(a)) {
		t.Errorf("the code is %v, want a whole number below 2^48", a)
	}
	if code("192.0.2.1", 25) != a || code("::ffff:192.0.2.1", 25) != a {
		t.Error("two ports of one address have two codes")
	}
	if code("192.0.2.2", 443) == a || code("2001:db8::1", 443) == a {
		t.Error("two addresses have one code")
	}
	if v := AddressCode(elsewhere{to: &net.UnixAddr{Name: "/x"}}); v != 0 {
		t.Errorf("a socket in a folder has the code %v", v)
	}
}
