package servers

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do calls f on a thread that is in the Place's network namespace: sockets that f opens itself belong there and stay there.
// What f hands to other goroutines does not.
func (p Place) Do(f func() error) error {
	if p.Netns == "" {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("this thread's network namespace: %w", err)
			return
		}
		defer unix.Close(home)
		if err := enter("/run/netns/" + p.Netns); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("network namespace %s: %w (only root may enter it; `ip netns` lists what there is)", p.Netns, err)
			return
		}
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine
		result <- err
	}()
	return <-result
}

func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// Listen opens a TCP listener at a standard port of the Place.
func (p Place) Listen(ctx context.Context, std int) (net.Listener, error) {
	var l net.Listener
	err := p.Do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.at(std))
		return err
	})
	return l, err
}

// ListenPacket opens a UDP socket at a standard port of the Place.
func (p Place) ListenPacket(ctx context.Context, std int) (net.PacketConn, error) {
	var c net.PacketConn
	err := p.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", p.at(std))
		return err
	})
	return c, err
}

// DialContext connects from the Place to an address with a numeric host.
func (p Place) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := p.Do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
