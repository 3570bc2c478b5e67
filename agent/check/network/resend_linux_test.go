package network

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An error that came for a packet of somebody else is told to the next call that sends, and as often as one is waiting: it is not
// taken for what became of the packet that is sent.
func TestErrorsOfOthersBeforeSending(t *testing.T) {
	const waiting = 4*maxQueued + maxQueued/2 // more than four looks at the queue of errors take away
	for _, v6 := range []bool{false, true} {
		host, family, proto := netip.MustParseAddr("127.0.0.1"), unix.AF_INET, unix.IPPROTO_ICMP
		var to unix.Sockaddr = &unix.SockaddrInet4{Addr: host.As4()}
		if v6 {
			host, family, proto = netip.IPv6Loopback(), unix.AF_INET6, unix.IPPROTO_ICMPV6
			to = &unix.SockaddrInet6{Addr: host.As16()}
		}
		inNetwork(t, nil, func() {
			ignoreEchoes(t)
			// A raw socket is not told of errors when it sends: see raw_sendmsg of Linux.
			if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0); err != nil {
				t.Fatal(err)
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			stranger, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
			must(err)
			defer unix.Close(stranger)
			// errors lets that many wait at a socket: of a packet with its number, which it has not sent.
			errors := func(fd, n int) {
				t.Helper()
				must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20))
				self, err := unix.Getsockname(fd)
				must(err)
				no := quoting(v6, true, putEcho(make([]byte, icmpHeader+minEcho), v6, addrPort(self).Port(), 99, make([]byte, minEcho)))
				if !v6 { // of ICMPv6 the kernel writes it
					binary.BigEndian.PutUint16(no[2:], checksum(no))
				}
				for range n {
					must(unix.Sendto(stranger, no, 0, to))
				}
				fds := []unix.PollFd{{Fd: int32(fd)}}
				if n, err := unix.Poll(fds, 10_000); n != 1 || fds[0].Revents&unix.POLLERR == 0 {
					t.Fatalf("IPv6 %v: no error waits: %v", v6, err)
				}
			}

			s, err := openEcho(host, netip.Addr{}, minEcho)
			must(err)
			defer s.file.Close()
			x := &exchange{run: echoRun{to: host, count: 1}, socket: s, payload: newPayload(minEcho), packet: make([]byte, icmpHeader+minEcho), id: 8,
				at: make([]time.Time, 1), rtt: make([]time.Duration, 1), denied: make([]bool, 1)}
			rc, err := s.file.SyscallConn()
			must(err)
			must(rc.Control(func(fd uintptr) { errors(int(fd), waiting) }))
			if x.send(); x.sent != 1 || x.denied[0] || x.refused != nil {
				t.Errorf("IPv6 %v: the request was not sent: %v", v6, x.refused)
			}
			if x.ignored < waiting/2 {
				t.Errorf("IPv6 %v: %d errors were waiting, which shows nothing", v6, x.ignored)
			}

			d := &datagramProber{base: base{o: proberOptions{to: host, protocol: byICMPProbe}, answers: make(chan answer, 1), account: &account{}}}
			must(d.open())
			defer unix.Close(d.fd)
			errors(d.fd, 1)
			if err := d.send(0, probe{ttl: 3, size: 60}); err != nil {
				t.Errorf("IPv6 %v: the probe was not sent: %v", v6, err)
			}
		})
	}
}
