package servers

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// A Place is where a server runs.
type Place struct {
	// Dir is a folder of its own, made by the caller. Other users of this machine must be able to enter it: some servers give up
	// being root.
	Dir string
	// Netns names the network namespace, as `ip netns` lists it; "" is the one that this program runs in.
	Netns string
	// IP is the address to listen at.
	IP netip.Addr
	// Port returns the port to use for a standard one: the same in a namespace, a free one on loopback. It answers the same for
	// the same port. Nil stands for the standard ports.
	Port func(std int) int
	// Log takes what servers print, several at once. Nil throws it away.
	Log io.Writer
}

// Loopback is a Place in this network namespace, with free ports.
func Loopback(dir string, ip netip.Addr, log io.Writer) Place {
	return Place{Dir: dir, IP: ip, Port: FreePorts(ip), Log: log}
}

// FreePorts returns a function that finds a port of an address that is free for TCP and UDP in place of each standard one, and
// remembers it.
func FreePorts(ip netip.Addr) func(std int) int {
	var mu sync.Mutex
	found := map[int]int{}
	return func(std int) int {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := found[std]; !ok {
			found[std] = freePort(ip, std)
		}
		return found[std]
	}
}

// Ports that servers are given lie below those that a system hands out by itself: between the look and the start of a server no
// connection and no listener of another program can take one by chance.
const firstPort, lastPort = 20_000, 32_000

// freePort returns a port that nobody listens at, or the standard one when there is none: the server then says why.
func freePort(ip netip.Addr, std int) int {
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))))
		if err != nil {
			continue
		}
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip.AsSlice(), Port: port})
		_ = l.Close()
		if err != nil {
			continue // taken for UDP
		}
		_ = u.Close()
		return port
	}
	return std
}

// port returns the port in place of a standard one.
func (p Place) port(std int) int {
	if p.Port == nil {
		return std
	}
	return p.Port(std)
}

// at is the address of a standard port, as host:port.
func (p Place) at(std int) string {
	return net.JoinHostPort(p.IP.String(), strconv.Itoa(p.port(std)))
}

// url is the address of a server at a standard port, without the port where a browser leaves it out.
func (p Place) url(scheme, host string, std int) string {
	port := p.port(std)
	if scheme == "http" && port == 80 || scheme == "https" && port == 443 {
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// log is where the server's output goes.
func (p Place) log() io.Writer {
	if p.Log == nil {
		return io.Discard
	}
	return p.Log
}
