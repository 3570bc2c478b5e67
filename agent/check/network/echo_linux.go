package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// An echoSocket is a connected ICMP socket. Being connected, it sees replies of its target only, and the kernel turns
// messages that the target cannot be reached into errors of reading and writing.
type echoSocket struct {
	file *os.File
	raw  bool
	v6   bool
	buf  []byte
	oob  [64]byte
}

// openEcho tries a datagram socket, which needs no privileges where the kernel allows it, then a raw one.
func openEcho(to, source netip.Addr, size int) (*echoSocket, error) {
	s := &echoSocket{v6: to.Is6(), buf: make([]byte, 60+icmpHeader+size+1)}
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if s.v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		s.raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errNoEcho
	}
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := s.setUp(fd, to, source); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.file = os.NewFile(uintptr(fd), "icmp")
	return s, nil
}

func (s *echoSocket) setUp(fd int, to, source netip.Addr) error {
	level, errs, ttl := unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_RECVTTL
	if s.v6 {
		level, errs, ttl = unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_RECVHOPLIMIT
	}
	for _, option := range []int{errs, ttl} {
		if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if s.raw {
		if err := s.filter(fd); err != nil {
			return err
		}
	}
	if source.IsValid() {
		if err := unix.Bind(fd, sockaddr(source)); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	return os.NewSyscallError("connect", unix.Connect(fd, sockaddr(to)))
}

// filter lets echo replies alone wake a raw socket. A set bit of the filter blocks its type.
func (s *echoSocket) filter(fd int) error {
	if s.v6 {
		var f unix.ICMPv6Filter
		for i := range f.Data {
			f.Data[i] = 0xffffffff
		}
		f.Data[echoReply6>>5] &^= 1 << (echoReply6 & 31)
		return os.NewSyscallError("setsockopt", unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, 1, &f))
	}
	const icmpFilter = 1 // ICMP_FILTER at level SOL_RAW, see raw(7)
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1<<echoReply4)))
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16()}
	if zone := a.Zone(); zone != "" {
		if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
			sa.ZoneId = uint32(n)
		} else if i, err := net.InterfaceByName(zone); err == nil {
			sa.ZoneId = uint32(i.Index)
		}
	}
	return sa
}

// recv returns the next ICMP message that arrives before the read deadline, and the hop limit left in it.
func (s *echoSocket) recv() (message []byte, hops int, err error) {
	rc, err := s.file.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var n, oobn int
	var op error
	if err := rc.Read(func(fd uintptr) bool {
		n, oobn, _, _, op = unix.Recvmsg(int(fd), s.buf, s.oob[:], 0)
		return op != unix.EAGAIN && op != unix.EINTR
	}); err != nil {
		return nil, 0, err
	}
	if op != nil {
		return nil, 0, os.NewSyscallError("recvmsg", op)
	}
	message = s.buf[:n]
	if s.raw && !s.v6 {
		message, hops, _ = stripIPv4(message)
		return message, hops, nil
	}
	return message, hopLimit(s.oob[:oobn]), nil
}

func hopLimit(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		ttl := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL
		hop := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT
		if (ttl || hop) && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// echo sends the requests and gathers the replies until all are there, all that is missing was refused, or time is up.
// The error says that no request could be sent at all.
func (run echoRun) echo(ctx context.Context) (echoes, error) {
	s, err := openEcho(run.to, run.source, run.size)
	if err != nil {
		return echoes{}, err
	}
	defer s.file.Close()
	defer context.AfterFunc(ctx, func() { s.file.SetReadDeadline(time.Unix(1, 0)) })()

	x := &exchange{run: run, socket: s, payload: newPayload(run.size), begin: time.Now(),
		at: make([]time.Time, run.count), rtt: make([]time.Duration, run.count), denied: make([]bool, run.count)}
	var id [2]byte
	rand.Read(id[:])
	x.id = binary.BigEndian.Uint16(id[:])
	x.packet = make([]byte, icmpHeader+len(x.payload))
	for x.step(ctx) {
	}
	return x.echoes(), nil
}

// An exchange is one series of echoes under way.
type exchange struct {
	run     echoRun
	socket  *echoSocket
	payload []byte
	packet  []byte
	id      uint16
	begin   time.Time
	at      []time.Time     // when each request was sent
	rtt     []time.Duration // of each request; 0 while it is not answered
	denied  []bool          // of each request: it could not be sent, or somebody says that it cannot arrive
	sent    int
	settled int // requests that are answered or denied
	refused error
	denial  time.Duration
	hops    int
	ignored int // messages that were not ours
}

// step sends the next request when it is due, else waits for one message. It returns false when all is done.
func (x *exchange) step(ctx context.Context) bool {
	if x.sent == x.run.count && x.settled >= x.sent || x.ignored > maxForeign {
		return false
	}
	due := x.begin.Add(time.Duration(x.sent) * x.run.interval)
	if x.sent < x.run.count && !time.Now().Before(due) {
		x.send()
		return ctx.Err() == nil
	}
	until, _ := ctx.Deadline()
	if x.sent < x.run.count && (until.IsZero() || due.Before(until)) {
		until = due
	} else if last := x.at[max(0, x.sent-1)].Add(x.run.linger); x.run.linger > 0 && (until.IsZero() || last.Before(until)) {
		until = last
	}
	x.socket.file.SetReadDeadline(until)
	if ctx.Err() != nil { // set before the deadline was moved again
		return false
	}
	message, hops, err := x.socket.recv()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return x.sent < x.run.count && ctx.Err() == nil
	case err != nil:
		if !x.drain() {
			x.ignored++
		}
		return true
	}
	x.take(message, hops)
	return true
}

// maxQueued are read of a socket's queue of errors at once.
const maxQueued = 100

// drain reads what the kernel was told about packets, and reports whether it was told anything. A raw socket is told of
// every echo request that this machine sends to the target, such as those of the kind path, whose hop limit ends on the
// way: only what quotes a request of this run counts.
func (x *exchange) drain() (told bool) {
	rc, err := x.socket.file.SyscallConn()
	if err != nil {
		return false
	}
	buf := make([]byte, len(x.socket.buf))
	_ = rc.Control(func(fd uintptr) {
		for range maxQueued {
			e, data, _, ok := queued(int(fd), x.socket.v6, buf)
			if !ok {
				return
			}
			told = true
			x.heed(e, data)
		}
	})
	return told
}

// heed takes what somebody says of the packet that begins with data.
func (x *exchange) heed(e icmpError, data []byte) {
	seq, data, ours := quotedEcho(data, x.socket.v6, !x.socket.raw, x.id)
	n := min(len(data), len(x.payload))
	if !ours || seq >= x.sent || !bytes.Equal(data[:n], x.payload[:n]) || x.denied[seq] || n < minEcho && x.ignored > maxTrusted {
		x.ignored++
		return
	}
	x.deny(seq, os.NewSyscallError("recvmsg", unix.Errno(e.errno)), e.from)
}

// deny notes that a request cannot arrive, and who says so; the zero Addr is our own system.
func (x *exchange) deny(seq int, why error, by netip.Addr) {
	x.refused = why
	if by == x.run.to.WithZone("") {
		x.denial = max(1, time.Since(x.at[seq]))
	}
	if !x.denied[seq] && x.rtt[seq] == 0 {
		x.settled++
	}
	x.denied[seq] = true
}

func (x *exchange) send() {
	seq := x.sent
	packet := putEcho(x.packet, x.socket.v6, x.id, uint16(seq), x.payload)
	x.at[seq] = time.Now()
	_, err := x.socket.file.Write(packet)
	// What the kernel was told of a packet it tells the next call, once: only an error that stays is this one's. While
	// messages keep coming it can be another one each time.
	for try := range maxQueued {
		if err == nil || !x.drain() && try >= 3 {
			break
		}
		_, err = x.socket.file.Write(packet)
	}
	x.sent++
	if err != nil {
		x.deny(seq, err, netip.Addr{})
	}
}

func (x *exchange) take(message []byte, hops int) {
	now := time.Now()
	seq, ours := parseReply(message, x.socket.v6, !x.socket.raw, x.id, x.payload)
	if !ours || int(seq) >= x.sent || x.rtt[seq] != 0 {
		x.ignored++
		return
	}
	x.rtt[seq] = max(1, now.Sub(x.at[seq]))
	if !x.denied[seq] {
		x.settled++
	}
	x.hops = hops
}

func (x *exchange) echoes() echoes {
	e := echoes{mode: modeDatagram, sent: x.sent, hops: x.hops, flooded: x.ignored > maxForeign && (x.sent < x.run.count || x.settled < x.sent)}
	if x.socket.raw {
		e.mode = modeRaw
	}
	for _, r := range x.rtt {
		if r > 0 {
			e.rtts = append(e.rtts, r)
		}
	}
	if x.refused != nil {
		e.refused, e.denial = fmt.Errorf("echo to %s: %w", x.run.to, x.refused), x.denial
	}
	return e
}
