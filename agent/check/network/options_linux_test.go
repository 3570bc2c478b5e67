package network

import (
	"context"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// An address of another IP version than the plan allows is the plan's fault, in each kind that has the option.
func TestFamilyOfEachKind(t *testing.T) {
	open := listen(t)
	for _, k := range []struct {
		kind check.Kind
		o    check.Options
	}{
		{pingKind(), check.Options{"host": "127.0.0.1"}},
		{tcpKind(), check.Options{"address": open}},
		{gatewayKind(), check.Options{"host": "127.0.0.1"}},
		{pathKind(), check.Options{"host": "127.0.0.1"}},
		{ntpKind(), check.Options{"servers": []string{open}}},
		{deviceKind(), check.Options{"host": "127.0.0.1", "ports": []int64{port(t, open)}}},
	} {
		k.o["family"] = ip6
		all := checktest.WithDefaults(t, k.kind, k.o)
		if _, err := k.kind.New(all, checktest.WithEnv(check.Env{})); err != nil {
			if !strings.Contains(err.Error(), "family ip6") {
				t.Errorf("%s: %v", k.kind.Name, err)
			}
			continue
		}
		r := runFor(t, k.kind, all, checktest.WithEnv(check.Env{}), long)
		wantSaid(t, r, check.Misconfigured, "family ip6")
	}
}

// How many requests are sent, how large they are, and where the way's end is knocked at, are as the plan says.
func TestRequestsAsPlanned(t *testing.T) {
	do := func(k check.Kind, o check.Options) check.Result {
		return runFor(t, k, checktest.WithDefaults(t, k, o), checktest.WithEnv(check.Env{}), long)
	}
	for _, n := range []int64{2, 5} {
		r := do(pingKind(), check.Options{"host": "127.0.0.1", "count": n, "interval": 10 * time.Millisecond})
		wantFact(t, r, "sent_count", float64(n))
	}
	for _, n := range []int64{1, 3} {
		wantFact(t, do(deviceKind(), check.Options{"host": "127.0.0.1", "count": n}), "sent_count", float64(n))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	knocked := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
		knocked <- err
	}()
	o := check.Options{"host": "127.0.0.1", "protocol": "tcp", "port": port(t, l.Addr().String()), "mtu": false}
	want(t, do(pathKind(), o), check.OK)
	select {
	case err := <-knocked:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(long):
		t.Error("nobody knocked at the port of the plan")
	}
	for _, sizes := range []bool{true, false} {
		r := do(pathKind(), check.Options{"host": "127.0.0.1", "mtu": sizes})
		if _, told := r.Facts.Get("path_mtu_bytes"); told != sizes {
			t.Errorf("mtu %v: a size is told: %v (%s: %s)", sizes, told, r.Reason, r.Detail)
		}
	}
}

// The data of an echo request is as long as the plan says.
func TestPingSize(t *testing.T) {
	c, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if os.IsPermission(err) {
		t.Skip("needs root: only root may see the packets that a check sends")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const size = 1237 // that no other test sends
	o := check.Options{"host": "127.0.0.1", "count": int64(1), "size": int64(size), "mode": "icmp"}
	want(t, runFor(t, pingKind(), checktest.WithDefaults(t, pingKind(), o), checktest.WithEnv(check.Env{}), long), check.OK)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	end, _ := ctx.Deadline()
	_ = c.SetReadDeadline(end)
	for buf := make([]byte, 4096); ; {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatalf("no echo request of %d bytes of data was seen: %v", size, err)
		}
		if n == 8+size && buf[0] == 8 {
			return
		}
	}
}

// A neighbour that made up its address, one more than allowed, and one that was confirmed a while ago, are what the plan says.
func TestNeighboursAsPlanned(t *testing.T) {
	row := func(mac string, near nearness, confirmed time.Duration) neighbour {
		m, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		return neighbour{hardware: hardware(m), nearness: near, confirmed: confirmed}
	}
	table := []neighbour{row("00:1b:a9:00:00:01", proven, 0), row("02:00:00:00:00:02", proven, 0), row("00:1b:a9:00:00:03", stale, 5*time.Minute)}
	for _, tc := range []struct {
		o            check.Options
		want         check.Reason
		devices, new float64
	}{
		{check.Options{}, check.ControlPartial, 2, 2},
		{check.Options{"max_new": int64(1)}, check.ControlPartial, 2, 2},
		{check.Options{"max_new": int64(2)}, check.OK, 2, 2},
		{check.Options{"random": randomApart}, check.ControlPartial, 2, 1},
		{check.Options{"random": randomApart, "max_new": int64(1)}, check.OK, 2, 1},
		{check.Options{"seen_within": time.Minute}, check.ControlPartial, 2, 2},
		{check.Options{"seen_within": 10 * time.Minute}, check.ControlPartial, 3, 3},
	} {
		tc.o["known"] = []string{}
		n, err := readNeighbours(checktest.WithDefaults(t, neighboursKind(), tc.o))
		if err != nil {
			t.Fatal(err)
		}
		n.table = func() ([]neighbour, error) { return table, nil }
		n.names = func() map[int]string { return nil }
		r := n.check(t.Context())
		want(t, r, tc.want)
		for name, v := range map[string]float64{"devices_count": tc.devices, "new_count": tc.new} {
			if got, _ := r.Facts.Get(name); got != v {
				t.Errorf("%v: %s is %v, want %v", tc.o, name, got, v)
			}
		}
	}
}

// A file that comes without end is fetched for as long as the plan says, and what has come is measured.
func TestThroughputTime(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	url := file(t, 1<<30, &sent, make(chan struct{})) + "/file"
	fetch := func(longest time.Duration) (took time.Duration) {
		o := checktest.WithDefaults(t, throughputKind(), check.Options{"url": url, "enabled": true, "max_time": longest})
		r := runFor(t, throughputKind(), o, checktest.WithEnv(check.Env{}), long)
		want(t, r, check.OK)
		wantFact(t, r, "received_bytes", 64<<10)
		for _, p := range r.Phases {
			if p.Name == "transfer" {
				took = p.Took
			}
		}
		if took < longest {
			t.Errorf("fetched for %s, want %s", took, longest)
		}
		return took
	}
	fetch(1500 * time.Millisecond)
	for range 10 { // a machine that is busy may be late
		if fetch(500*time.Millisecond) < 1500*time.Millisecond {
			return
		}
	}
	t.Error("max_time is not what ends the transfer")
}
