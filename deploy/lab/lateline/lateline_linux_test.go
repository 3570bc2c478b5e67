package lateline

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"egovmon/deploy/lab/servers"
)

// TestLine sends a datagram from one network namespace to another over a gateway whose packets come late.
func TestLine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root is needed for network namespaces: run the test as root")
	}
	if err := servers.Require("ip"); err != nil {
		t.Skip(err)
	}
	const delay = 300 * time.Millisecond
	a, g, b := fmt.Sprintf("ll-a-%d", os.Getpid()), fmt.Sprintf("ll-g-%d", os.Getpid()), fmt.Sprintf("ll-b-%d", os.Getpid())
	batch := func(netns, text string) {
		t.Helper()
		args := []string{"-batch", "-"}
		if netns != "" {
			args = append([]string{"-n", netns}, args...)
		}
		cmd := exec.CommandContext(t.Context(), "ip", args...)
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %.300s", strings.Join(args, " "), err, out)
		}
	}
	for _, n := range []string{a, g, b} {
		batch("", "netns add "+n+"\n")
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n).Run() })
	}
	batch("", fmt.Sprintf("link add o netns %s type veth peer name ga netns %s\nlink add o netns %s type veth peer name gb netns %s\n", a, g, b, g))
	batch(a, "addr add 10.9.0.2/24 dev o\nlink set o up\nroute add default via 10.9.0.1\n")
	batch(g, "addr add 10.9.0.1/24 dev ga\nlink set ga up\naddr add 10.9.1.1/24 dev gb\nlink set gb up\n")
	batch(b, "addr add 10.9.1.2/24 dev o\nlink set o up\nroute add default via 10.9.1.1\n")
	if err := (servers.Place{Netns: g}).Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644), os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("0"), 0o644),
			os.WriteFile("/proc/sys/net/ipv4/conf/default/rp_filter", []byte("0"), 0o644))
	}); err != nil {
		t.Fatal(err)
	}
	var answers net.PacketConn
	if err := (servers.Place{Netns: b}).Do(func() (err error) {
		answers, err = net.ListenPacket("udp", "10.9.1.2:7000")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := answers.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = answers.WriteTo(buf[:n], from)
		}
	}()
	ask := func(what string) time.Duration {
		t.Helper()
		c, err := (servers.Place{Netns: a}).DialContext(t.Context(), "udp", "10.9.1.2:7000")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := time.Now()
		text := strings.Repeat(what, 100)
		buf := make([]byte, 2000)
		for range 5 { // a first one may be lost while the neighbours are asked for
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, err := c.Read(buf)
			if err == nil {
				if string(buf[:n]) != text {
					t.Errorf("%d bytes came back, want %d", n, len(text))
				}
				return time.Since(begin)
			}
		}
		t.Fatal("no answer to " + what)
		return 0
	}
	if took := ask("soon "); took > 10*time.Second {
		t.Errorf("without a late line it takes %s", took)
	}
	l, err := Open(g, "late", delay)
	if err != nil {
		t.Fatal(err)
	}
	batch(g, "link set late up\nroute add default dev late table 7\nrule add iif ga table 7 priority 100\n")
	if took := ask("late "); took < delay {
		t.Errorf("over a line that is %s late it takes %s", delay, took)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if took := ask("soon again "); took > 10*time.Second {
		t.Errorf("after the line is gone it takes %s", took)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open("", "a name that is much too long", time.Second); err == nil {
		t.Error("a long name was taken")
	}
}
