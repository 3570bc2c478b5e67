//go:build linux

package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"egovmon/agent/check"
)

// pingOptions are the defaults, quick, with changes.
func pingOptions(host string, change check.Options) check.Options {
	o := check.Options{"host": host, "count": int64(4), "interval": 5 * time.Millisecond, "size": int64(56), "loss_warn": 0.0,
		"family": anyFamily, "mode": modeAuto, "port": int64(443)}
	maps.Copy(o, change)
	return o
}

// needEcho skips the test where the kernel lets us send no echo.
func needEcho(t *testing.T, to string) {
	t.Helper()
	s, err := openEcho(netip.MustParseAddr(to), netip.Addr{}, 8)
	if errors.Is(err, errNoEcho) {
		t.Skip("no ICMP: run as root or `sysctl net.ipv4.ping_group_range='0 2147483647'`")
	}
	if err != nil {
		t.Skipf("%s cannot be reached: switch IPv6 on with `sysctl net.ipv6.conf.lo.disable_ipv6=0`: %v", to, err)
	}
	s.file.Close()
}

func TestPingLoopback(t *testing.T) {
	for _, to := range []string{"127.0.0.1", "::1"} {
		for _, size := range []int64{8, 9, 56, 1472} {
			t.Run(fmt.Sprintf("%s with %d bytes", to, size), func(t *testing.T) {
				needEcho(t, to)
				r := run(t, pingKind(), pingOptions(to, check.Options{"mode": modeICMPOnly, "size": size}), check.Env{})
				want(t, r, check.OK)
				wantFact(t, r, "sent_count", 4)
				wantFact(t, r, "received_count", 4)
				wantFact(t, r, "loss_ratio", 0)
				wantFact(t, r, "reply_hop_limit_count", 64)
				wantFact(t, r, "ip_version_code", map[string]float64{"127.0.0.1": 4, "::1": 6}[to])
				least, _ := r.Facts.Get("rtt_min_s")
				mean, _ := r.Facts.Get("rtt_avg_s")
				most, _ := r.Facts.Get("rtt_max_s")
				if !(0 < least && least <= mean && mean <= most) {
					t.Errorf("round trips %v, %v, %v", least, mean, most)
				}
			})
		}
	}
}

func TestPingSlowAndSource(t *testing.T) {
	needEcho(t, "127.0.0.1")
	want(t, run(t, pingKind(), pingOptions("127.0.0.1", check.Options{"slow": time.Nanosecond}), check.Env{}), check.Slow)
	from := func(a string) check.Env { return check.Env{Source: netip.MustParseAddr(a)} }
	want(t, run(t, pingKind(), pingOptions("127.0.0.1", nil), from("127.0.0.8")), check.OK)
	want(t, run(t, pingKind(), pingOptions("127.0.0.1", nil), from("192.0.2.77")), check.ConnectUnreachable)
	want(t, run(t, pingKind(), pingOptions("127.0.0.1", nil), from("::1")), check.Misconfigured)
	want(t, runFor(t, pingKind(), pingOptions("name.invalid.", nil), check.Env{}, time.Nanosecond), check.DNSTimeout)
}

func TestPingWithoutICMP(t *testing.T) {
	open := listen(t)
	_, port, err := splitAddress("", open)
	if err != nil {
		t.Fatal(err)
	}
	_, closed, err := splitAddress("", refused(t))
	if err != nil {
		t.Fatal(err)
	}
	denied := func(echoRun, context.Context) (echoes, error) { return echoes{}, errNoEcho }
	for _, tc := range []struct {
		name   string
		mode   string
		port   uint16
		slow   time.Duration
		want   check.Reason
		detail string
	}{
		{"open port", modeAuto, port, 0, check.OK, "ICMP is not allowed here, so TCP was measured (port " + strconv.Itoa(int(port)) + ")"},
		{"closed port", modeAuto, closed, 0, check.OK, "TCP was measured"},
		{"slow", modeAuto, port, time.Nanosecond, check.Slow, "TCP was measured"},
		{"asked for TCP", modeTCPOnly, port, 0, check.OK, "measured by TCP"},
		{"asked for ICMP", modeICMPOnly, port, 0, check.NoPermission, "ping_group_range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := pinger{host: "127.0.0.1", mode: tc.mode, port: tc.port, slow: tc.slow, echo: denied,
				run: echoRun{count: 3, interval: time.Millisecond, size: 8}}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r := p.check(ctx)
			declared(t, pingKind(), r)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q does not say %q", r.Detail, tc.detail)
			}
			if tc.want == check.NoPermission {
				return
			}
			wantFact(t, r, "icmp_mode_code", modeTCP)
			wantFact(t, r, "received_count", 3)
		})
	}
}

func TestPingByTCPThatIsSilent(t *testing.T) {
	_, port, err := splitAddress("", silent(t))
	if err != nil {
		t.Fatal(err)
	}
	o := pingOptions("127.0.0.1", check.Options{"mode": modeTCPOnly, "port": int64(port), "count": int64(2)})
	r := runFor(t, pingKind(), o, check.Env{}, 200*time.Millisecond)
	want(t, r, check.Timeout)
	wantFact(t, r, "loss_ratio", 1)
}

func TestPingWhatRoutersSay(t *testing.T) {
	inNetwork(t, []string{"route add unreachable 192.0.2.1", "route add prohibit 192.0.2.2"}, func() {
		for to, reason := range map[string]check.Reason{
			"192.0.2.1": check.ConnectUnreachable, "192.0.2.2": check.NoPermission, "192.0.2.3": check.ConnectUnreachable,
		} {
			want(t, run(t, pingKind(), pingOptions(to, nil), check.Env{}), reason)
		}
	})
}

// TestPingSilence pings a host that answers nothing, in a network of its own.
func TestPingSilence(t *testing.T) {
	inNetwork(t, nil, func() {
		ignoreEchoes(t)
		r := runFor(t, pingKind(), pingOptions("127.0.0.1", check.Options{"mode": modeICMPOnly}), check.Env{}, 100*time.Millisecond)
		want(t, r, check.Timeout)
		wantFact(t, r, "sent_count", 4)
		wantFact(t, r, "loss_ratio", 1)
	})
}

func ignoreEchoes(t *testing.T) {
	t.Helper()
	// What stands under /proc/sys/net belongs to the network of the thread that opens it.
	for _, name := range []string{"ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPingForeignReplies pings a host that answers each request in a way of its own: rightly, twice, or with something
// that is not ours.
func TestPingForeignReplies(t *testing.T) {
	for _, tc := range []struct {
		name     string
		reply    func(seq uint16, packet []byte) [][]byte
		lossWarn float64
		want     check.Reason
		received float64
	}{
		{"all", func(_ uint16, p []byte) [][]byte { return [][]byte{p} }, 0, check.OK, 4},
		{"twice", func(_ uint16, p []byte) [][]byte { return [][]byte{p, p} }, 0, check.OK, 4},
		{"every second one", everySecond, 0, check.PacketLoss, 2},
		{"every second one is enough", everySecond, 0.5, check.OK, 2},
		{"a number that is never sent", func(_ uint16, p []byte) [][]byte { return altered(p, 7, 100) }, 1, check.Timeout, 0},
		{"another id", func(_ uint16, p []byte) [][]byte { return altered(p, 4, 1) }, 1, check.Timeout, 0},
		{"another token", func(_ uint16, p []byte) [][]byte { return altered(p, 8, 1) }, 1, check.Timeout, 0},
		{"another code", func(_ uint16, p []byte) [][]byte { return altered(p, 1, 1) }, 1, check.Timeout, 0},
		{"cut short", func(_ uint16, p []byte) [][]byte { return [][]byte{p[:20]} }, 1, check.Timeout, 0},
		{"foreign ones before", func(_ uint16, p []byte) [][]byte { return append(altered(p, 8, 1), p) }, 0, check.OK, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inNetwork(t, nil, func() {
				ignoreEchoes(t)
				stop := respond(t, false, tc.reply)
				defer stop()
				o := pingOptions("127.0.0.1", check.Options{"mode": modeICMPOnly, "loss_warn": tc.lossWarn, "interval": 10 * time.Millisecond})
				limit := 5 * time.Second
				if tc.received < 4 {
					limit = 500 * time.Millisecond
				}
				r := runFor(t, pingKind(), o, check.Env{}, limit)
				want(t, r, tc.want)
				wantFact(t, r, "received_count", tc.received)
			})
		})
	}
}

// TestPingForeignErrors has somebody say, before each reply, that packets cannot arrive: a raw socket hears that of packets
// which others on this machine have sent to the same target.
func TestPingForeignErrors(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		const timeExceeded, unreachable = false, true
		says := func(no bool, packet []byte) []byte { return quoting(v6, no, packet) }
		for _, tc := range []struct {
			name     string
			reply    func(seq uint16, packet []byte) [][]byte
			want     check.Reason
			received float64
		}{
			{"of another's packet, whose hop limit has ended", func(_ uint16, p []byte) [][]byte {
				return [][]byte{says(timeExceeded, altered(p, 4, 1)[0]), p}
			}, check.OK, 4},
			{"of another's packet, that there is no way", func(_ uint16, p []byte) [][]byte {
				return [][]byte{says(unreachable, altered(p, 5, 1)[0]), p}
			}, check.OK, 4},
			{"with another token", func(_ uint16, p []byte) [][]byte {
				return [][]byte{says(unreachable, altered(p, 8, 1)[0]), p}
			}, check.OK, 4},
			{"of a packet that is never sent", func(_ uint16, p []byte) [][]byte {
				return [][]byte{says(unreachable, altered(p, 7, 100)[0]), p}
			}, check.OK, 4},
			{"of the first packet, which is answered all the same, over and over", func(_ uint16, p []byte) [][]byte {
				first := slices.Clone(p)
				first[7] = 0
				m := says(unreachable, first)
				return [][]byte{m, m, p}
			}, check.OK, 4},
			{"of ours", func(_ uint16, p []byte) [][]byte { return [][]byte{says(unreachable, p)} }, check.ConnectUnreachable, 0},
			{"of ours, as much of it as must be told", func(_ uint16, p []byte) [][]byte {
				return [][]byte{says(unreachable, p[:8])}
			}, check.ConnectUnreachable, 0},
		} {
			t.Run(map[bool]string{false: "IPv4, ", true: "IPv6, "}[v6]+tc.name, func(t *testing.T) {
				inNetwork(t, nil, func() {
					ignoreEchoes(t)
					stop := respond(t, v6, tc.reply)
					defer stop()
					begin := time.Now()
					host := map[bool]string{false: "127.0.0.1", true: "::1"}[v6]
					r := runFor(t, pingKind(), pingOptions(host, check.Options{"mode": modeICMPOnly, "interval": 10 * time.Millisecond}), check.Env{}, 20*time.Second)
					want(t, r, tc.want)
					wantFact(t, r, "icmp_mode_code", modeRaw)
					wantFact(t, r, "received_count", tc.received)
					if took := time.Since(begin); took > 15*time.Second {
						t.Errorf("waited %s for what is known", took)
					}
				})
			})
		}
	}
}

// quoting is a message that quotes an echo request, made of its reply, between the addresses of loopback: that its hop
// limit has ended on the way, or that there is no way.
func quoting(v6, noWay bool, packet []byte) []byte {
	q := slices.Clone(packet)
	if v6 {
		q[0] = echoRequest6
		ip := make([]byte, 40)
		ip[0], ip[6], ip[7], ip[23], ip[39] = 0x60, syscall.IPPROTO_ICMPV6, 1, 1, 1
		binary.BigEndian.PutUint16(ip[4:], uint16(len(q)))
		head := []byte{3, 0, 0, 0, 0, 0, 0, 0} // RFC 4443, sections 3.1 and 3.3
		if noWay {
			head[0], head[1] = 1, 3
		}
		return slices.Concat(head, ip, q)
	}
	q[0] = echoRequest4
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(q)))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	head := []byte{11, 0, 0, 0, 0, 0, 0, 0} // RFC 792
	if noWay {
		head[0], head[1] = 3, 1
	}
	return slices.Concat(head, ip, q)
}

func everySecond(seq uint16, p []byte) [][]byte {
	if seq%2 == 1 {
		return nil
	}
	return [][]byte{p}
}

// altered changes one byte of a message.
func altered(p []byte, at int, add byte) [][]byte {
	q := append([]byte(nil), p...)
	q[at] += add
	return [][]byte{q}
}

// respond answers echo requests on loopback in the network of this thread until it is stopped.
func respond(t *testing.T, v6 bool, reply func(seq uint16, packet []byte) [][]byte) (stop func()) {
	t.Helper()
	family, proto, request, response := syscall.AF_INET, syscall.IPPROTO_ICMP, byte(echoRequest4), byte(echoReply4)
	var to syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if v6 {
		family, proto, request, response = syscall.AF_INET6, syscall.IPPROTO_ICMPV6, echoRequest6, echoReply6
		to = &syscall.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, proto)
	if err != nil {
		t.Fatal(err)
	}
	wait := syscall.Timeval{Usec: 10_000}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait); err != nil {
		t.Fatal(err)
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			select {
			case <-end:
				return
			default:
			}
			n, _, err := syscall.Recvfrom(fd, buf, 0)
			if err != nil {
				continue
			}
			message, ok := buf[:n], true
			if !v6 {
				message, _, ok = stripIPv4(message)
			}
			if !ok || len(message) < icmpHeader || message[0] != request {
				continue
			}
			answer := append([]byte(nil), message...)
			answer[0] = response
			for _, p := range reply(binary.BigEndian.Uint16(answer[6:]), answer) {
				if p[2], p[3] = 0, 0; !v6 { // of ICMPv6 the kernel writes it
					binary.BigEndian.PutUint16(p[2:], checksum(p))
				}
				if err := syscall.Sendto(fd, p, 0, to); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	return func() { close(end); <-done; syscall.Close(fd) }
}

func TestPingIsCutShort(t *testing.T) {
	inNetwork(t, nil, func() {
		ignoreEchoes(t)
		f, err := newPing(pingOptions("127.0.0.1", nil), check.Env{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
		r := f(ctx)
		declared(t, pingKind(), r)
		want(t, r, check.Internal)
	})
}

func TestSpread(t *testing.T) {
	ms := func(n ...int) (rtts []time.Duration) {
		for _, x := range n {
			rtts = append(rtts, time.Duration(x)*time.Millisecond)
		}
		return rtts
	}
	for _, tc := range []struct {
		rtts []time.Duration
		want []time.Duration // least, mean, most, jitter
	}{
		{nil, ms(0, 0, 0, 0)},
		{ms(7), ms(7, 7, 7, 0)},
		{ms(10, 30, 20), ms(10, 20, 30, 15)},
	} {
		a, b, c, d := echoes{rtts: tc.rtts}.spread()
		if got := []time.Duration{a, b, c, d}; fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("spread of %v is %v, want %v", tc.rtts, got, tc.want)
		}
	}
}

func TestChecksum(t *testing.T) {
	// The example of RFC 1071, section 3: the sum is ddf2.
	if got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("%04x", got)
	}
	if got := checksum([]byte{0xff}); got != 0x00ff {
		t.Errorf("odd length: %04x", got)
	}
}

func FuzzParseReply(f *testing.F) {
	payload := []byte("12345678")
	good := putEcho(make([]byte, 16), false, 7, 3, payload)
	good[0] = echoReply4
	f.Add(good)
	f.Add(append([]byte{0x45, 19: 0}, good...))
	f.Add([]byte{0x4f, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if seq, ours := parseReply(b, false, false, 7, payload); ours && (len(b) != 16 || seq != binary.BigEndian.Uint16(b[6:]) || string(b[8:]) != "12345678") {
			t.Errorf("%x was taken for ours", b)
		}
		if inner, ttl, ok := stripIPv4(b); ok && (len(inner) > len(b)-20 || ttl < 0 || ttl > 255) {
			t.Errorf("%x: %d bytes inside, ttl %d", b, len(inner), ttl)
		}
	})
}
