//go:build linux

package network

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// declared fails the test when a result carries what its kind does not declare, or a state that is not its reason's.
func declared(t *testing.T, k check.Kind, r check.Result) {
	t.Helper()
	checktest.Said(t, k, r)
	if !r.Reason.Valid() || r.State != r.Reason.State() {
		t.Errorf("reason %q with state %s", r.Reason, r.State)
	}
	if len(r.Detail) > check.MaxDetail {
		t.Errorf("detail of %d bytes", len(r.Detail))
	}
	seen := map[string]bool{}
	for _, f := range r.Facts {
		d, ok := k.Fact(f.Name)
		if !ok {
			t.Errorf("fact %s is not declared", f.Name)
		} else if f.Value < d.Min || f.Value > d.Max {
			t.Errorf("fact %s = %v, declared %v to %v", f.Name, f.Value, d.Min, d.Max)
		}
		if seen[f.Name] {
			t.Errorf("fact %s twice", f.Name)
		}
		seen[f.Name] = true
	}
	for _, p := range r.Phases {
		if !slices.Contains(k.Phases, p.Name) {
			t.Errorf("phase %s is not declared", p.Name)
		}
	}
}

// run makes a check of the kind with these options over its defaults, runs it once and checks what it declares.
func run(t *testing.T, k check.Kind, o check.Options, env check.Env) check.Result {
	t.Helper()
	return runFor(t, k, o, env, 5*time.Second)
}

func runFor(t *testing.T, k check.Kind, o check.Options, env check.Env, limit time.Duration) check.Result {
	t.Helper()
	f, err := k.New(o, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := f(ctx)
	declared(t, k, r)
	return r
}

func want(t *testing.T, r check.Result, reason check.Reason) {
	t.Helper()
	if r.Reason != reason {
		t.Errorf("reason %s (%s), want %s", r.Reason, r.Detail, reason)
	}
}

func wantFact(t *testing.T, r check.Result, name string, value float64) {
	t.Helper()
	if got, ok := r.Facts.Get(name); !ok || got != value {
		t.Errorf("fact %s = %v, %v; want %v", name, got, ok, value)
	}
}

// listen returns the address of a listener that accepts and closes.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// refused returns an address at which nothing listens, kept free by a socket that is bound and no more.
func refused(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return bound(t, fd)
}

// silent returns the address of a listener whose queue is full, so that the kernel drops further requests.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	address := bound(t, fd)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue of the listener does not fill up")
	return ""
}

func bound(t *testing.T, fd int) string {
	t.Helper()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := sa.(*syscall.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String()
}

// inNetwork runs f on a thread that has a network of its own, set up by commands of ip; it skips the test where that is
// not allowed. Goroutines that f starts are in the old network, sockets that f itself opens in the new one.
func inNetwork(t *testing.T, setUp []string, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a network of its own needs root: run the tests as root")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("the program ip is missing: apt install iproute2")
	}
	done, skip := make(chan struct{}), ""
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			skip = "a network of its own is not allowed here: " + err.Error()
			return
		}
		for _, command := range append([]string{"link set lo up"}, setUp...) {
			if out, err := exec.Command(ip, strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v: %s", command, err, out)
				return
			}
		}
		f()
	}()
	<-done
	if skip != "" {
		t.Skip(skip)
	}
}
