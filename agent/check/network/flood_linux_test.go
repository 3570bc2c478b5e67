package network

import (
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// The addresses of the flooded street: pc – gw, which holds a host that answers and one that is silent.
const (
	floodedPC, floodedPC6     = "10.0.1.2", "2001:db8:1::2"
	floodRouter, floodRouter6 = "10.0.1.1", "2001:db8:1::1"
	answering, answering6     = "10.0.9.9", "2001:db8:9::9"
	silentHost, silentHost6   = "10.0.9.8", "2001:db8:9::8"
)

func floodWorld(t *testing.T) *checktest.World {
	t.Helper()
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("gw", true)
	w.Join("pc", []string{floodedPC + "/24", floodedPC6 + "/64"}, "gw", []string{floodRouter + "/24", floodRouter6 + "/64"})
	w.IP("pc", "route add default via "+floodRouter, "route add default via "+floodRouter6)
	w.IP("gw", "addr add "+answering+"/32 dev lo", "addr add "+silentHost+"/32 dev lo", "addr add "+answering6+"/128 dev lo nodad", "addr add "+silentHost6+"/128 dev lo nodad")
	w.Nft("gw", "table inet t {\nchain c {\ntype filter hook input priority 0\nip daddr "+silentHost+" drop\nip6 daddr "+silentHost6+" drop\n}\n}")
	return w
}

// A forgery makes the i-th ICMP message of a stranger about packets from pc to a host, and says who it claims to be from.
type forgery struct {
	name string
	make func(i int, v6 bool, pc, host netip.Addr) (from netip.Addr, message []byte)
}

// quotedPacket is an IP packet with this transport.
func quotedPacket(v6 bool, proto byte, from, to netip.Addr, transport []byte) []byte {
	if v6 {
		ip := make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, proto, 1
		binary.BigEndian.PutUint16(ip[4:], uint16(len(transport)))
		copy(ip[8:], from.AsSlice())
		copy(ip[24:], to.AsSlice())
		return append(ip, transport...)
	}
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 1, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(transport)))
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	return append(ip, transport...)
}

// guessed is an echo request with a guessed id and this data.
func guessed(i int, v6 bool, data string) []byte {
	b := putEcho(make([]byte, icmpHeader+len(data)), v6, uint16(i*257), uint16(i%4), []byte(data))
	b[2] ^= byte(i) // whatever checksum it had
	return b
}

// icmpSays is an ICMP message: kinds are the type and code of IPv4 and of IPv6, rest is what stands in its second word.
func icmpSays(v6 bool, four, six [2]byte, rest uint32, quote []byte) []byte {
	kind := four
	if v6 {
		kind = six
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind[0], kind[1], 0, 0}, rest), quote...)
}

func forgeriesInNumber() []forgery {
	const token = "no token of ours, and some more"
	about := func(name string, four, six [2]byte, rest uint32, data string) forgery {
		return forgery{name, func(i int, v6 bool, pc, host netip.Addr) (netip.Addr, []byte) {
			proto := byte(unix.IPPROTO_ICMP)
			if v6 {
				proto = unix.IPPROTO_ICMPV6
			}
			return router(v6), icmpSays(v6, four, six, rest, quotedPacket(v6, proto, pc, host, guessed(i, v6, data)))
		}}
	}
	unreachable, exceeded, tooLarge, moved := [2]byte{3, 1}, [2]byte{11, 0}, [2]byte{3, 4}, [2]byte{5, 1}
	six := func(kind, code byte) [2]byte { return [2]byte{kind, code} }
	return []forgery{
		about("unreachable", unreachable, six(1, 3), 0, token),
		about("time exceeded", exceeded, six(3, 0), 0, token),
		about("too large, 0 bytes pass", tooLarge, six(2, 0), 0, token),
		about("too large, 68 bytes pass", tooLarge, six(2, 0), 68, token),
		about("too large, 70000 bytes pass", tooLarge, six(2, 0), 70000, token),
		about("redirect", moved, six(137, 0), 0x0a000101, token),
		{"of another's packets", func(i int, v6 bool, pc, host netip.Addr) (netip.Addr, []byte) {
			udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(i)), 53)
			return router(v6), icmpSays(v6, unreachable, six(1, 3), 0, quotedPacket(v6, unix.IPPROTO_UDP, pc, host, append(udp, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)))
		}},
		{"cut short in the header that it quotes", func(i int, v6 bool, pc, host netip.Addr) (netip.Addr, []byte) {
			return router(v6), icmpSays(v6, unreachable, six(1, 3), 0, quotedPacket(v6, 1, pc, host, nil)[:4+i%12])
		}},
		{"replies of another host", func(i int, v6 bool, _, _ netip.Addr) (netip.Addr, []byte) {
			return router(v6), reply(guessed(i, v6, token), v6)
		}},
		{"replies in the target's name", func(i int, v6 bool, _, host netip.Addr) (netip.Addr, []byte) {
			return host, reply(guessed(i, v6, token), v6)
		}},
	}
}

func router(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr(floodRouter6)
	}
	return netip.MustParseAddr(floodRouter)
}

func reply(request []byte, v6 bool) []byte {
	request[0] = echoReply4
	if v6 {
		request[0] = echoReply6
	}
	return request
}

// packets writes messages out as IP packets from whoever they claim to be from.
func packets(f []forgery, v6 bool, pc, host netip.Addr) [][]byte {
	var all [][]byte
	for i := range 256 {
		for _, one := range f {
			from, m := one.make(i, v6, pc, host)
			proto := byte(unix.IPPROTO_ICMP)
			m[2], m[3] = 0, 0
			sum := m
			if v6 {
				proto = unix.IPPROTO_ICMPV6
				pseudo := append(from.AsSlice(), pc.AsSlice()...) // RFC 8200, section 8.1
				pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(m)))
				sum = slices.Concat(pseudo, []byte{0, 0, 0, proto}, m)
			}
			binary.BigEndian.PutUint16(m[2:], checksum(sum))
			p := quotedPacket(v6, proto, from, pc, m)
			p[map[bool]int{false: 8, true: 7}[v6]] = 64
			if !v6 {
				p[10], p[11] = 0, 0
				binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
			}
			all = append(all, p)
		}
	}
	return all
}

// flood sends packets from gw to pc over and over, as fast as it can or one burst after each pause, until it is stopped; it
// returns how many were sent.
func flood(t *testing.T, w *checktest.World, v6 bool, all [][]byte, pause time.Duration) (stop func() int) {
	t.Helper()
	family := unix.AF_INET
	var to unix.Sockaddr = &unix.SockaddrInet4{Addr: netip.MustParseAddr(floodedPC).As4()}
	if v6 {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.MustParseAddr(floodedPC6).As16()}
	}
	var fd int
	w.Do("gw", func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	var over atomic.Bool
	done, begun := make(chan int, 1), make(chan struct{})
	go func() {
		defer unix.Close(fd)
		sent := 0
		for i := 0; !over.Load(); i++ {
			if unix.Sendto(fd, all[i%len(all)], 0, to) == nil {
				sent++
			}
			if i == len(all)/8 {
				close(begun)
			}
			if pause > 0 && i%8 == 7 {
				time.Sleep(pause)
			}
		}
		done <- sent
	}()
	<-begun
	return func() int { over.Store(true); return <-done }
}

// inFlood runs a check on pc and returns how long it took and how far the heap grew meanwhile.
func inFlood(t *testing.T, w *checktest.World, k check.Kind, f check.Func, limit time.Duration) (r check.Result, took time.Duration, grown uint64) {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			most = max(most, heap())
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	w.Do("pc", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		begin := time.Now()
		r = f(ctx)
		took = time.Since(begin)
		return nil
	})
	close(end)
	<-done
	declared(t, k, r)
	return r, took, most - min(most, before)
}

// How far the heap may grow while strangers send, and while one reads as much of a flood as one reads at all, with what is not yet
// collected of it.
const (
	maxStrangersHeap = 512 << 10
	maxFloodHeap     = 1600 * maxForeign
)

// Whatever strangers say, and however much of it, of a host that answers is said that it answers, and of a silent one that it is
// silent, in the time that the plan gives.
func TestStrangersInNumber(t *testing.T) {
	w := floodWorld(t)
	for _, v6 := range []bool{false, true} {
		pc, good, dead := netip.MustParseAddr(floodedPC), netip.MustParseAddr(answering), netip.MustParseAddr(silentHost)
		if v6 {
			pc, good, dead = netip.MustParseAddr(floodedPC6), netip.MustParseAddr(answering6), netip.MustParseAddr(silentHost6)
		}
		type run struct {
			name string
			sent []forgery
			host netip.Addr
			want check.Reason
		}
		runs := []run{{"all", forgeriesInNumber(), dead, check.Timeout}}
		for _, one := range forgeriesInNumber() {
			runs = append(runs, run{one.name, []forgery{one}, good, check.OK})
		}
		for _, tc := range runs {
			limit := long
			if tc.host == dead {
				limit = 300 * time.Millisecond
			}
			o := checktest.WithDefaults(t, pingKind(), check.Options{"host": tc.host.String(), "mode": modeICMPOnly, "interval": 10 * time.Millisecond})
			f := checktest.NewFunc(t, pingKind(), o, check.Env{})
			stop := flood(t, w, v6, packets(tc.sent, v6, pc, tc.host), time.Millisecond)
			r, took, grown := inFlood(t, w, pingKind(), f, limit)
			if n := stop(); n < 8 || r.Reason != tc.want || took > limit+15*time.Second || grown > maxStrangersHeap {
				t.Errorf("%s, %s, %d messages: %s (%s) after %s, the heap grew by %d bytes; want %s", tc.name, tc.host, n, r.Reason, r.Detail, took, grown, tc.want)
			}
		}
		// All of them at once, for the kinds that read ICMP.
		stop := flood(t, w, v6, packets(forgeriesInNumber(), v6, pc, good), time.Millisecond)
		for _, tc := range []struct {
			kind check.Kind
			o    check.Options
			fact string
		}{
			{gatewayKind(), check.Options{"host": good.String()}, "method_code"},
			{deviceKind(), check.Options{"host": good.String()}, "os_ended_code"},
			{pathKind(), check.Options{"host": good.String(), "protocol": "icmp"}, "changed_hops_count"},
			{pathKind(), check.Options{"host": good.String(), "protocol": "udp"}, "changed_hops_count"},
		} {
			f := checktest.NewFunc(t, tc.kind, checktest.WithDefaults(t, tc.kind, tc.o), check.Env{})
			r, _, grown := inFlood(t, w, tc.kind, f, long)
			v, _ := r.Facts.Get(tc.fact)
			mtu, sized := r.Facts.Get("path_mtu_bytes")
			if r.Reason != check.OK || v != 0 || sized && mtu != 1500 || grown > maxStrangersHeap {
				t.Errorf("%s %v: %s (%s), %s %v, %v bytes pass; the heap grew by %d bytes", tc.kind.Name, tc.o, r.Reason, r.Detail, tc.fact, v, mtu, grown)
			}
		}
		stop()
	}
}

// A flood that is more than a run reads ends it early. Then nothing is said, neither that the host is there nor that it is not.
func TestFloodEndsARun(t *testing.T) {
	w := floodWorld(t)
	for _, v6 := range []bool{false, true} {
		pc, host := netip.MustParseAddr(floodedPC), netip.MustParseAddr(silentHost)
		if v6 {
			pc, host = netip.MustParseAddr(floodedPC6), netip.MustParseAddr(silentHost6)
		}
		stop := flood(t, w, v6, packets(forgeriesInNumber(), v6, pc, host), 0)
		o := check.Options{"host": host.String(), "mode": modeICMPOnly}
		r, took, grown := inFlood(t, w, pingKind(), checktest.NewFunc(t, pingKind(), checktest.WithDefaults(t, pingKind(), o), check.Env{}), 3*time.Minute)
		if r.Reason != check.Internal || !strings.Contains(r.Detail, "floods") || took > 2*time.Minute || grown > maxFloodHeap {
			t.Errorf("ping %s: %s (%s) after %s, the heap grew by %d bytes", host, r.Reason, r.Detail, took, grown)
		}
		if _, told := r.Facts.Get("loss_ratio"); told {
			t.Error("a loss is told of a run that was cut short")
		}
		p := &path{host: host.String(), protocol: modeICMPOnly, hops: 3, wait: 100 * time.Millisecond, most: 1500, pace: newPacer(packetEvery),
			open: func(o proberOptions, answers chan<- answer) (prober, error) {
				d, err := openProber(o, answers)
				for err == nil && !d.(*datagramProber).flooded() { // strangers come before the first probe
					time.Sleep(time.Millisecond)
				}
				return d, err
			}}
		r, _, grown = inFlood(t, w, pathKind(), p.check, 3*time.Minute)
		if r.Reason != check.Internal || !strings.Contains(r.Detail, "floods") || grown > maxFloodHeap {
			t.Errorf("path to %s: %s (%s), the heap grew by %d bytes", host, r.Reason, r.Detail, grown)
		}
		if _, told := r.Facts.Get("broken_after_count"); told {
			t.Error("a way breaks in a run that was cut short")
		}
		stop()
	}
	// What has answered before has answered.
	e := echoes{sent: 3, rtts: []time.Duration{time.Millisecond}, flooded: true}
	want(t, e.judge(t.Context(), 0, 0), check.OK)
	e.flooded = false
	want(t, e.judge(t.Context(), 0, 0), check.PacketLoss)
	want(t, judgePath(t.Context(), way{trace: trace{hops: routers(1), target: 2}, flooded: true}, 0, 0), check.OK)
}

// A stranger who guesses at ids with quotations that are too short to prove anything may have one chance in 65,536 for each,
// and only as long as not many were wrong. Nothing of it costs memory.
func TestGuessesInNumber(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		to, hop := netip.MustParseAddr(answering), netip.MustParseAddr(floodRouter)
		no := icmpError{origin: originICMP, kind: 3, code: 1, from: hop, errno: uint32(unix.EHOSTUNREACH)}
		if v6 {
			to, hop = netip.MustParseAddr(answering6), netip.MustParseAddr(floodRouter6)
			no = icmpError{origin: originICMP6, kind: 1, code: 3, from: hop, errno: uint32(unix.EHOSTUNREACH)}
		}
		payload := newPayload(56)
		x := &exchange{run: echoRun{to: to, count: 4}, socket: &echoSocket{raw: true, v6: v6}, payload: payload, id: 7, sent: 4,
			at: make([]time.Time, 4), rtt: make([]time.Duration, 4), denied: make([]bool, 4)}
		answers := make(chan answer, 4*maxProbes)
		d := &datagramProber{base: base{o: proberOptions{to: to}, answers: answers, account: &account{}}, raw: true, id: 7}
		d.token = [8]byte(payload)
		d.account.sent.Store(4)
		quote := func(id, seq uint16, data []byte) []byte {
			return putEcho(make([]byte, icmpHeader+len(data)), v6, id, seq, data)
		}
		wrong := [][]byte{nil, make([]byte, 7), quote(8, 0, nil), quote(8, 0, payload), quote(7, 4, payload), quote(7, 65535, nil), quote(7, 0, []byte("no token")), quote(7, 0, []byte("n"))}
		var replies, packets [][]byte // the same as replies, and with the header that a raw socket of IPv4 hands out
		for _, q := range wrong {
			if len(q) >= icmpHeader {
				q = reply(slices.Clone(q), v6)
			}
			replies, packets = append(replies, q), append(packets, q)
			if !v6 {
				packets[len(packets)-1] = quotedPacket(v6, unix.IPPROTO_ICMP, to, hop, q)
			}
		}
		own := reply(quote(7, 0, payload), v6) // that somebody got no reply says nothing of a request
		strange := func() {
			for i, q := range wrong {
				x.heed(no, q)
				x.take(q, 64)
				x.take(replies[i], 64)
				x.heed(no, own)
				d.heed(no, q, netip.AddrPort{}, time.Time{})
				d.take(q, nil, time.Time{})
				d.take(packets[i], nil, time.Time{})
			}
		}
		if n := testing.AllocsPerRun(1000, strange); n != 0 {
			t.Errorf("IPv6 %v: %v allocations for %d messages", v6, n, 7*len(wrong))
		}
		if x.settled != 0 || x.refused != nil || len(answers) != 0 {
			t.Errorf("IPv6 %v: %d requests are settled (%v), %d probes answered", v6, x.settled, x.refused, len(answers))
		}
		if x.ignored < maxForeign || d.ignored < maxForeign || x.step(t.Context()) {
			t.Errorf("IPv6 %v: %d and %d messages were counted, and the run goes on", v6, x.ignored, d.ignored)
		}
		// The guess is right, and too late.
		short := quote(7, 1, nil)
		x.heed(no, short)
		d.heed(no, short, netip.AddrPort{}, time.Time{})
		if x.settled != 0 || len(answers) != 0 {
			t.Errorf("IPv6 %v: what proves nothing is believed in a flood", v6)
		}
		// What quotes enough, or comes while nobody guesses, is believed, once.
		x.ignored, d.ignored = maxTrusted, maxTrusted
		for range 1000 {
			for _, q := range [][]byte{short, quote(7, 2, payload)} {
				x.heed(no, q)
				d.heed(no, q, netip.AddrPort{}, time.Time{})
			}
		}
		if x.settled != 2 || len(answers) != 2 || x.ignored < 1998 || d.ignored < 1998 {
			t.Errorf("IPv6 %v: %d requests are settled, %d probes answered, %d and %d messages too many", v6, x.settled, len(answers), x.ignored, d.ignored)
		}
	}
	// To know the port of UDP is to know nothing of probes that were not sent.
	u := &datagramProber{base: base{o: proberOptions{to: netip.MustParseAddr(answering), protocol: byUDPProbe}, answers: make(chan answer, 9), account: &account{}}}
	u.account.sent.Store(2)
	for n := -2; n < 300; n++ {
		at := netip.AddrPortFrom(u.o.to, uint16(probePort+n))
		u.take(nil, &unix.SockaddrInet4{Addr: netip.MustParseAddr(floodRouter).As4(), Port: probePort}, time.Time{})
		if n < 0 && len(u.answers) != 0 {
			t.Fatal("a datagram of another host is believed")
		}
		u.heed(icmpError{origin: originICMP, kind: 11, from: netip.MustParseAddr(floodRouter)}, u.token[:], at, time.Time{})
		u.take(nil, &unix.SockaddrInet4{Addr: u.o.to.As4(), Port: probePort + n}, time.Time{})
	}
	if len(u.answers) != 2 || u.ignored != 3*302-2 {
		t.Errorf("%d answers to 2 probes, %d messages ignored", len(u.answers), u.ignored)
	}
}
