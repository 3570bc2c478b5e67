package lateline

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/deploy/lab/servers"
)

// Bounds of what is under way; what is more is lost, as on a line.
const (
	maxPackets = 4096
	maxPacket  = 64 << 10
)

// A Line is such an interface. It is a TUN device, which goes with its program.
type Line struct {
	f     *os.File
	delay time.Duration
	under chan packet
	done  sync.WaitGroup
}

// A packet that is under way.
type packet struct {
	due  time.Time
	data []byte
}

// Open makes the interface in a network namespace ("" for this one). It is down and has no address: what is routed into it comes
// out of it once it is up. The error says what this machine lacks.
func Open(netns, name string, delay time.Duration) (*Line, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", name, err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	l := &Line{delay: delay, under: make(chan packet, maxPackets)}
	err = servers.Place{Netns: netns}.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w: a kernel with TUN devices is needed (modprobe tun)", err)
		}
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("interface %s: %w", name, err)
		}
		l.f = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.done.Go(l.take)
	l.done.Go(l.give)
	return l, nil
}

// take takes packets in.
func (l *Line) take() {
	defer close(l.under)
	buf := make([]byte, maxPacket)
	for {
		n, err := l.f.Read(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // the interface is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case l.under <- packet{time.Now().Add(l.delay), append([]byte(nil), buf[:n]...)}:
		default: // full
		}
	}
}

// give gives them back when they are due.
func (l *Line) give() {
	for p := range l.under {
		time.Sleep(time.Until(p.due))
		_, _ = l.f.Write(p.data) // a packet that cannot be written is lost
	}
}

// Close takes the interface away, and what is under way with it.
func (l *Line) Close() error {
	err := l.f.Close()
	go func() { // what was under way is not waited for
		for range l.under {
		}
	}()
	l.done.Wait()
	return err
}
