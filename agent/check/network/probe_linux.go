package network

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// probePort is the first of the ports that nobody listens at, by an old custom of traceroute: probe n goes to
// probePort + n, and what the target says of that port shows that the probe has come.
const probePort = 33434

// connectLife is how long a connection may stay unanswered: less than the second after which the kernel would repeat
// its request, which would be a packet beyond what we count.
const connectLife = 900 * time.Millisecond

// openProber opens what sends the probes of a protocol.
func openProber(o proberOptions, answers chan<- answer) (prober, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	b := base{o: o, answers: answers, wake: wake, done: make(chan struct{}), account: &account{}}
	rand.Read(b.token[:])
	var p interface {
		prober
		listen()
	}
	switch o.protocol {
	case byTCPProbe:
		p = &connectProber{base: b, opened: make(chan connecting, maxProbes)}
	default:
		d := &datagramProber{base: b}
		if err := d.open(); err != nil {
			unix.Close(wake)
			return nil, err
		}
		p = d
	}
	go p.listen()
	return p, nil
}

// A base is what probers have in common.
type base struct {
	o       proberOptions
	answers chan<- answer
	wake    int // an eventfd that ends the wait of listen
	done    chan struct{}
	token   [8]byte // in every packet, so that a quotation that is long enough proves itself
	account *account
}

// An account is kept of the probes, by those who send and those who listen.
type account struct {
	sent atomic.Int32
	told [maxProbes]atomic.Bool // of each probe: its first answer was passed on
}

func (b *base) stir() {
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(b.wake, one[:])
}

// settle makes the wait of listen return at the next event again.
func (b *base) settle() {
	var count [8]byte
	_, _ = unix.Read(b.wake, count[:])
}

// hand passes on the first answer to a probe that was sent. The channel has room for them all, however often one is repeated.
// It reports whether this was one.
func (b *base) hand(a answer) bool {
	if a.n < 0 || a.n >= min(int(b.account.sent.Load()), maxProbes) || b.account.told[a.n].Swap(true) {
		return false
	}
	select {
	case b.answers <- a:
	default:
	}
	return true
}

// header is how many bytes stand before the data of a probe: IP, and ICMP or UDP.
func header(v6 bool) int {
	if v6 {
		return 40 + 8
	}
	return 20 + 8
}

// payload is the data of a packet of this size: the token, then a pattern.
func (b *base) payload(size int) []byte {
	p := make([]byte, max(size-header(b.o.to.Is6()), len(b.token)))
	for i := range p {
		p[i] = byte(i)
	}
	copy(p, b.token[:])
	return p
}

// quotes tells whether what a message quotes of a probe's data is that data, as far as it is quoted.
func (b *base) quotes(data []byte) bool {
	n := min(len(data), len(b.token))
	return bytes.Equal(data[:n], b.token[:n])
}

// socket makes one whose packets may not be cut to pieces and whose errors are queued.
func (b *base) socket(kind, proto int) (int, error) {
	family := unix.AF_INET
	level, options := unix.IPPROTO_IP, [][2]int{{unix.IP_RECVERR, 1}, {unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}}
	if b.o.to.Is6() {
		family = unix.AF_INET6
		level, options = unix.IPPROTO_IPV6, [][2]int{{unix.IPV6_RECVERR, 1}, {unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE}, {unix.IPV6_V6ONLY, 1}}
		if kind == unix.SOCK_RAW {
			options = options[:2]
		}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, level, o[0], o[1]); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	return fd, nil
}

func (b *base) limit(fd, ttl int) error {
	if b.o.to.Is6() {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl))
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl))
}

// queued returns the next error of a socket's queue: what a message said, the data of the packet that it quotes, and
// where that packet went.
func queued(fd int, v6 bool, buf []byte) (e icmpError, data []byte, to netip.AddrPort, ok bool) {
	var oob [512]byte
	n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return e, nil, to, false
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return e, nil, to, true
	}
	for _, m := range messages {
		four := !v6 && m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		six := v6 && m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if four || six {
			e = parseExtended(m.Data, v6)
		}
	}
	return e, buf[:n], addrPort(from), true
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// A datagramProber sends UDP datagrams or echo requests.
type datagramProber struct {
	base
	fd      int
	raw     bool
	id      uint16      // of echo requests
	ignored int         // messages that were not ours
	over    atomic.Bool // there were more than maxForeign of them, so that no more are read
}

func (d *datagramProber) flooded() bool { return d.over.Load() }

func (d *datagramProber) open() error {
	var err error
	v6 := d.o.to.Is6()
	echo := unix.IPPROTO_ICMP
	if v6 {
		echo = unix.IPPROTO_ICMPV6
	}
	if d.o.protocol == byUDPProbe {
		d.fd, err = d.socket(unix.SOCK_DGRAM, 0)
	} else if d.fd, err = d.socket(unix.SOCK_DGRAM, echo); err != nil {
		d.raw = true
		d.fd, err = d.socket(unix.SOCK_RAW, echo)
	}
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) {
			return errNoEcho
		}
		return err
	}
	if err := d.prepare(); err != nil {
		unix.Close(d.fd)
		return err
	}
	return nil
}

func (d *datagramProber) prepare() error {
	var id [2]byte
	rand.Read(id[:])
	d.id = binary.BigEndian.Uint16(id[:])
	if d.raw {
		s := echoSocket{v6: d.o.to.Is6()}
		if err := s.filter(d.fd); err != nil {
			return err
		}
	}
	from := d.o.source
	if d.o.protocol == byUDPProbe && !from.IsValid() {
		from = netip.IPv4Unspecified()
		if d.o.to.Is6() {
			from = netip.IPv6Unspecified()
		}
	}
	if from.IsValid() {
		sa := sockaddr(from)
		// The same port as in the last run leads over the same lines where routers spread by ports.
		withPort(sa, d.o.port)
		err := unix.Bind(d.fd, sa)
		if err != nil && d.o.port != 0 {
			withPort(sa, 0)
			err = unix.Bind(d.fd, sa)
		}
		if err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if d.o.protocol == byUDPProbe {
		return nil // not connected: every probe goes to a port of its own
	}
	return os.NewSyscallError("connect", unix.Connect(d.fd, sockaddr(d.o.to)))
}

func withPort(sa unix.Sockaddr, port int) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		a.Port = port
	case *unix.SockaddrInet6:
		a.Port = port
	}
}

func (d *datagramProber) cost() int { return 1 }

// port returns the local port, 0 when there is none.
func (d *datagramProber) port() int {
	sa, err := unix.Getsockname(d.fd)
	if err != nil || d.o.protocol != byUDPProbe {
		return 0
	}
	return int(addrPort(sa).Port())
}

func (d *datagramProber) send(n int, p probe) error {
	if err := d.limit(d.fd, p.ttl); err != nil {
		return err
	}
	data := d.payload(p.size)
	to := sockaddr(d.o.to)
	var packet []byte
	if d.o.protocol == byUDPProbe {
		withPort(to, probePort+n)
		packet = data
	} else {
		packet = putEcho(make([]byte, icmpHeader+len(data)), d.o.to.Is6(), d.id, uint16(n), data)
	}
	d.account.sent.Store(int32(n + 1))
	var err error
	// An error that came for an earlier probe is told to the next call, once: only one that stays is this one's. While
	// messages of strangers keep coming it can be another one each time.
	for range maxQueued {
		if d.o.protocol == byUDPProbe {
			err = unix.Sendto(d.fd, packet, 0, to)
		} else {
			_, err = unix.Write(d.fd, packet)
		}
		if err == nil {
			return nil
		}
	}
	if errors.Is(err, unix.EMSGSIZE) {
		return errTooLarge
	}
	return os.NewSyscallError("send", err)
}

// listen reads answers until the prober is closed.
func (d *datagramProber) listen() {
	defer close(d.done)
	buf := make([]byte, maxMTU+100)
	fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if d.ignored > maxForeign {
			d.over.Store(true)
			return
		}
		for range 100 { // then see again whether this is to end
			if !d.readError(buf) && !d.readData(buf) {
				break
			}
		}
	}
}

func (d *datagramProber) readError(buf []byte) bool {
	e, data, to, ok := queued(d.fd, d.o.to.Is6(), buf)
	if !ok {
		return false
	}
	d.heed(e, data, to, time.Now())
	return true
}

// heed takes what a message says of the packet that went to an address and begins with data.
func (d *datagramProber) heed(e icmpError, data []byte, to netip.AddrPort, now time.Time) {
	n, ours := int(to.Port())-probePort, to.Addr().Unmap() == d.o.to.WithZone("")
	if d.o.protocol != byUDPProbe {
		n, data, ours = quotedEcho(data, d.o.to.Is6(), !d.raw, d.id)
	}
	ours = ours && d.quotes(data) && (len(data) >= len(d.token) || d.ignored <= maxTrusted)
	a, means := e.answer(d.o.to)
	a.n, a.at = n, now
	if !ours || !means || !d.hand(a) {
		d.ignored++
	}
}

func (d *datagramProber) readData(buf []byte) bool {
	n, from, err := unix.Recvfrom(d.fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		// One told of an error that readError has read, or reads next.
		return !errors.Is(err, unix.EAGAIN)
	}
	d.take(buf[:n], from, time.Now())
	return true
}

// take reads a datagram: the reply of the target, as its ICMP, or from the port that a probe of UDP went to.
func (d *datagramProber) take(message []byte, from unix.Sockaddr, now time.Time) {
	seq, ours := 0, false
	if d.o.protocol == byUDPProbe {
		a := addrPort(from)
		seq, ours = int(a.Port())-probePort, a.Addr().Unmap() == d.o.to.WithZone("")
	} else {
		if d.raw && !d.o.to.Is6() {
			message, _, _ = stripIPv4(message)
		}
		if len(message) >= icmpHeader+len(d.token) && d.quotes(message[icmpHeader:]) {
			var s uint16
			s, ours = parseReply(message, d.o.to.Is6(), !d.raw, d.id, message[icmpHeader:])
			seq = int(s)
		}
	}
	if !ours || !d.hand(answer{n: seq, kind: fromTarget, from: d.o.to, at: now}) {
		d.ignored++
	}
}

func (d *datagramProber) close() {
	d.stir()
	<-d.done
	unix.Close(d.fd)
	unix.Close(d.wake)
}

// A connectProber opens TCP connections and closes them as soon as they are there. It needs no rights at all.
type connectProber struct {
	base
	opened chan connecting
}

// A connecting is a connection under way.
type connecting struct {
	fd, n int
	until time.Time
}

// cost counts the request, and what ends a connection that the target has accepted: its acknowledgement and a reset.
func (c *connectProber) cost() int { return 3 }

func (c *connectProber) send(n int, p probe) error {
	c.account.sent.Store(int32(n + 1))
	fd, err := c.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err = c.limit(fd, p.ttl); err == nil {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err == nil && c.o.source.IsValid() {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(c.o.source)))
	}
	if err == nil {
		to := sockaddr(c.o.to)
		withPort(to, c.o.port)
		if err = unix.Connect(fd, to); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
		if errors.Is(err, unix.ECONNREFUSED) { // at once, as on loopback
			unix.Close(fd)
			c.hand(answer{n: n, kind: fromTarget, from: c.o.to, at: time.Now()})
			return nil
		}
		err = os.NewSyscallError("connect", err)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	c.opened <- connecting{fd, n, time.Now().Add(connectLife)}
	c.stir()
	return nil
}

// listen waits for the connections to be accepted, refused or reported lost.
func (c *connectProber) listen() {
	defer close(c.done)
	var all []connecting
	defer func() {
		for _, x := range all {
			unix.Close(x.fd)
		}
	}()
	buf := make([]byte, 2048)
	for {
		fds := []unix.PollFd{{Fd: int32(c.wake), Events: unix.POLLIN}}
		for _, x := range all {
			fds = append(fds, unix.PollFd{Fd: int32(x.fd), Events: unix.POLLOUT})
		}
		if _, err := unix.Poll(fds, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		now := time.Now()
		left := all[:0]
		for i, x := range all {
			if fds[i+1].Revents == 0 && now.Before(x.until) {
				left = append(left, x)
				continue
			}
			if fds[i+1].Revents != 0 {
				c.read(x, buf, now)
			}
			unix.Close(x.fd)
		}
		all = left
		if fds[0].Revents != 0 {
			c.settle()
			for more := true; more; {
				select {
				case x, open := <-c.opened:
					if !open {
						return
					}
					all = append(all, x)
				default:
					more = false
				}
			}
		}
	}
}

// read says what became of a connection.
func (c *connectProber) read(x connecting, buf []byte, now time.Time) {
	for {
		e, _, _, ok := queued(x.fd, c.o.to.Is6(), buf)
		if !ok {
			break
		}
		if a, ok := e.answer(c.o.to); ok {
			a.n, a.at = x.n, now
			c.hand(a)
			return
		}
	}
	failed, err := unix.GetsockoptInt(x.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && (failed == 0 || failed == int(unix.ECONNREFUSED) || failed == int(unix.ECONNRESET)) {
		c.hand(answer{n: x.n, kind: fromTarget, from: c.o.to, at: now})
	}
}

func (c *connectProber) close() {
	close(c.opened)
	c.stir()
	<-c.done
	for x := range c.opened { // sent and never looked at
		unix.Close(x.fd)
	}
	unix.Close(c.wake)
}
