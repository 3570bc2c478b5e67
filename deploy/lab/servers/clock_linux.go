package servers

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// ClockConfig sets up a server of time.
type ClockConfig struct {
	Now            func() time.Time // of the clock that is wrong; nil for the system's
	Stratum        int              // how far chrony says that it is from a reference clock, 1 to 15; 0 stands for 3
	Unsynchronised bool             // chrony has no source and says so
	Ahead          time.Duration    // how far chrony itself is ahead of this machine, in whole seconds
}

// A Clock is chrony at port 123, which serves this machine's time and leaves its clock alone. A clock that goes wrong and right
// again is served by a few lines of ours in its place: chrony keeps the time that it was started with.
type Clock struct {
	ctx    context.Context
	p      Place
	now    func() time.Time
	chrony *daemon

	mu    sync.Mutex
	wrong net.PacketConn // nil while chrony serves
	done  chan struct{}  // closed when wrong serves no more
}

const chronySettings = `allow all
port %d
bindaddress %s
cmdport 0
bindcmdaddress /
pidfile %s/chronyd.pid
`

// StartClock starts the server.
func StartClock(ctx context.Context, p Place, c ClockConfig) (*Clock, error) {
	if err := Require("chronyd"); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	settings := fmt.Appendf(nil, chronySettings, p.port(123), p.IP, p.Dir)
	if !c.Unsynchronised {
		settings = fmt.Appendf(settings, "local stratum %d\n", cmp.Or(c.Stratum, 3))
	}
	path := filepath.Join(p.Dir, "chrony.conf")
	if err := replace(path, settings, 0o644); err != nil {
		return nil, err
	}
	args, err := chronyd(p, c.Ahead)
	if err != nil {
		return nil, err
	}
	k := &Clock{ctx: ctx, p: p, now: c.Now}
	k.chrony, err = startDaemon(ctx, p, k.ticks, append(args, "-d", "-x", "-U", "-u", userName(), "-f", path)...)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = k.Stop() })
	return k, nil
}

// chronyd is the command that runs chrony with a clock that is ahead of this machine's.
func chronyd(p Place, ahead time.Duration) ([]string, error) {
	if ahead == 0 {
		return []string{"chronyd"}, nil
	}
	if err := Require("faketime"); err != nil {
		return nil, err
	}
	path, err := find("chronyd")
	if err != nil {
		return nil, err
	}
	path, err = unconfined("/", p.Dir, path)
	return []string{"faketime", "-f", fmt.Sprintf("%+ds", int64(ahead.Seconds())), path}, err
}

// ticks waits for an answer.
func (k *Clock) ticks(proc *Process) error {
	return until(k.ctx, proc, "time at "+k.Addr(), func() error {
		c, err := k.p.DialContext(k.ctx, "udp", k.Addr())
		if err != nil {
			return err
		}
		defer c.Close()
		q := make([]byte, 48)
		q[0] = 4<<3 | 3 // version 4, a client
		return asked(c, q)
	})
}

// Shift serves a time that is ahead of the right one by this much, or behind; 0 serves the right one.
func (k *Clock) Shift(ahead time.Duration) error {
	if err := k.endWrong(); err != nil {
		return err
	}
	if ahead == 0 {
		return k.chrony.halt(false)
	}
	if err := k.chrony.halt(true); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := k.p.ListenPacket(k.ctx, 123)
	if err != nil {
		return err
	}
	k.wrong, k.done = c, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		serveTime(c, func() time.Time { return k.now().Add(ahead) })
	}(k.done)
	return nil
}

func (k *Clock) endWrong() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrong == nil {
		return nil
	}
	err := k.wrong.Close()
	<-k.done
	k.wrong = nil
	return err
}

// serveTime answers clients as a server of stratum 3 (RFC 5905, section 7.3) until the socket is closed.
func serveTime(c net.PacketConn, now func() time.Time) {
	buf := make([]byte, 1024)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 48 || buf[0]&7 != 3 {
			continue
		}
		a := make([]byte, 48)
		a[0] = buf[0]&0x38 | 4 // no leap second, the client's version, a server
		a[1], a[2], a[3] = 3, buf[2], 0xe9
		copy(a[12:16], "LAB\x00")
		copy(a[24:32], buf[40:48]) // origin
		at := timestamp(now())
		for _, field := range []int{16, 32, 40} { // reference, receive, transmit
			binary.BigEndian.PutUint64(a[field:], at)
		}
		_, _ = c.WriteTo(a, from)
	}
}

// timestamp is a time as NTP writes it: seconds since 1900 and their fraction, 32 bits each (RFC 5905, section 6).
func timestamp(t time.Time) uint64 {
	const from1900 = 2_208_988_800
	return uint64(t.Unix()+from1900)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}

// Halt ends the server, or starts chrony again.
func (k *Clock) Halt(on bool) error {
	if err := k.endWrong(); err != nil {
		return err
	}
	return k.chrony.halt(on)
}

// Stop ends the server for good.
func (k *Clock) Stop() error { return errors.Join(k.endWrong(), k.chrony.stop()) }

// Addr is its host:port.
func (k *Clock) Addr() string { return k.p.at(123) }
