package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// chain is pc – gw – isp – core – web: three routers between a desk and a server, IPv4 and IPv6.
func chain(t *testing.T) *checktest.World {
	t.Helper()
	w := checktest.NewWorld(t)
	sites := []string{"pc", "gw", "isp", "core", "web"}
	for i, s := range sites {
		w.Site(s, i > 0 && i < 4)
	}
	for i := range 4 {
		w.Join(sites[i], []string{fmt.Sprintf("10.0.%d.2/24", i+1), fmt.Sprintf("2001:db8:%d::2/64", i+1)},
			sites[i+1], []string{fmt.Sprintf("10.0.%d.1/24", i+1), fmt.Sprintf("2001:db8:%d::1/64", i+1)})
	}
	for i, s := range sites {
		if i < 4 {
			w.IP(s, fmt.Sprintf("route add default via 10.0.%d.1", i+1), fmt.Sprintf("route add default via 2001:db8:%d::1", i+1))
		}
		for back := 1; back < i; back++ {
			w.IP(s, fmt.Sprintf("route add 10.0.%d.0/24 via 10.0.%d.2", back, i), fmt.Sprintf("route add 2001:db8:%d::/64 via 2001:db8:%d::2", back, i))
		}
	}
	return w
}

const webAddr = "10.0.4.1"

func pathPlan(host, more string) string {
	return fmt.Sprintf(`{id: inet.path, kind: path, every: 120s, timeout: 30s, confirm: 0, with: {host: %q, %s}}`, host, more)
}

func drop(rule string) string {
	return "table inet t {\nchain c {\ntype filter hook forward priority 0\n" + rule + "\n}\n}"
}

// Every protocol and IP version sees the same way, root or not.
func TestPathIsFollowed(t *testing.T) {
	t.Parallel()
	w := chain(t)
	for _, tc := range []struct {
		name, host, more string
		user             int
		protocol         float64
	}{
		{"ICMP", webAddr, "protocol: icmp", 0, byICMPProbe},
		{"ICMP by itself", webAddr, "", 0, byICMPProbe},
		{"UDP", webAddr, "protocol: udp", 0, byUDPProbe},
		{"UDP without rights", webAddr, "", 65534, byUDPProbe},
		{"TCP without rights", webAddr, "protocol: tcp, port: 81", 65534, byTCPProbe},
		{"ICMPv6", "2001:db8:4::1", "protocol: icmp", 0, byICMPProbe},
		{"UDP over IPv6", "2001:db8:4::1", "protocol: udp", 65534, byUDPProbe},
		{"TCP over IPv6", "2001:db8:4::1", "protocol: tcp", 65534, byTCPProbe},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := w.Check("pc", checktest.Run{Plan: pathPlan(tc.host, tc.more), User: tc.user})[0]
			declared(t, pathKind(), r)
			want(t, r, check.OK)
			wantFact(t, r, "protocol_code", tc.protocol)
			wantFact(t, r, "hops_count", 4)
			wantFact(t, r, "answered_hops_count", 3)
			if tc.protocol != byTCPProbe {
				wantFact(t, r, "path_mtu_bytes", 1500)
			}
			if v, _ := r.Facts.Get("rtt_s"); v <= 0 {
				t.Errorf("round trip %v", v)
			}
		})
	}
	// Datagram sockets for echo requests, where the system allows them to everybody.
	w.Sysctl("pc", "ipv4/ping_group_range", "0 2147483647")
	r := w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, "protocol: icmp"), User: 65534})[0]
	want(t, r, check.OK)
	wantFact(t, r, "hops_count", 4)
	wantFact(t, r, "path_mtu_bytes", 1500)
	w.Sysctl("pc", "ipv4/ping_group_range", "1 0")
	want(t, w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, "protocol: icmp"), User: 65534})[0], check.NoPermission)
	// A target that is on the same network, and this machine itself.
	for host, hops := range map[string]float64{"10.0.1.1": 1, "127.0.0.1": 1} {
		r := w.Check("pc", checktest.Run{Plan: pathPlan(host, "")})[0]
		want(t, r, check.OK)
		wantFact(t, r, "hops_count", hops)
	}
}

// Where a way breaks.
func TestPathBreaks(t *testing.T) {
	t.Parallel()
	const quick = "wait: 500ms, mtu: false"
	for _, tc := range []struct {
		name, site, rules string
		more              string
		want              check.Reason
		after             float64
	}{
		{"cut behind the second hop", "isp", drop("ip daddr 10.0.4.1 drop"), "", check.Timeout, 2},
		{"cut behind the second hop, by UDP", "isp", drop("ip daddr 10.0.4.1 drop"), "protocol: udp", check.Timeout, 2},
		{"cut behind the second hop, by TCP", "isp", drop("ip daddr 10.0.4.1 drop"), "protocol: tcp", check.Timeout, 2},
		{"the gateway passes nothing on", "gw", drop("drop"), "", check.Timeout, 1},
		{"the gateway is dead", "gw", "table inet t {\nchain c {\ntype filter hook prerouting priority 0\ndrop\n}\n}", "", check.Timeout, 0},
		{"a router knows no way", "core", drop("reject with icmp type host-unreachable"), "", check.ConnectUnreachable, 3},
		{"a firewall refuses", "core", drop("reject with icmp type admin-prohibited"), "protocol: udp", check.ConnectUnreachable, 3},
		{"a firewall claims that the port is closed", "core", drop("reject with icmp type port-unreachable"), "protocol: udp", check.ConnectUnreachable, 3},
		{"the same, by TCP", "core", drop("reject with icmp type port-unreachable"), "protocol: tcp", check.ConnectUnreachable, 3},
		{"a target that is silent but for TCP", "core", drop("meta l4proto icmp drop"), "", check.OK, -1},
		{"hops without a word are no break", "isp", "table inet t {\nchain c {\ntype filter hook output priority 0\nmeta l4proto icmp drop\n}\n}", "", check.OK, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := chain(t)
			w.Nft(tc.site, tc.rules)
			more := quick
			if tc.more != "" {
				more += ", " + tc.more
			}
			r := w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, more)})[0]
			declared(t, pathKind(), r)
			want(t, r, tc.want)
			if tc.after >= 0 {
				wantFact(t, r, "broken_after_count", tc.after)
			} else if _, broken := r.Facts.Get("broken_after_count"); broken {
				t.Errorf("a way that is not broken breaks: %s", r.Detail)
			}
		})
	}
	t.Run("packets go round", func(t *testing.T) {
		t.Parallel()
		w := chain(t)
		w.IP("core", "route add 10.0.9.0/24 via 10.0.3.2")
		r := w.Check("pc", checktest.Run{Plan: pathPlan("10.0.9.9", quick+", max_hops: 8")})[0]
		want(t, r, check.ConnectUnreachable)
		if !strings.Contains(r.Detail, "loop") {
			t.Errorf("detail %q", r.Detail)
		}
	})
	t.Run("no route", func(t *testing.T) {
		t.Parallel()
		w := chain(t)
		w.IP("pc", "route del default")
		r := w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, quick)})[0]
		want(t, r, check.ConnectUnreachable)
	})
	t.Run("farther than was looked", func(t *testing.T) {
		t.Parallel()
		w := chain(t)
		want(t, w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, quick+", max_hops: 2, protocol: icmp")})[0], check.Misconfigured)
	})
}

// The largest packet that passes, and what happens to larger ones.
func TestPathMTU(t *testing.T) {
	t.Parallel()
	silent := "table inet t {\nchain c {\ntype filter hook output priority 0\nicmp type destination-unreachable icmp code frag-needed drop\nicmpv6 type packet-too-big drop\n}\n}"
	for _, tc := range []struct {
		name, host, more, rules string
		user, mtu               int
		want                    check.Reason
		low, high               float64
		hole                    float64
	}{
		{"all pass", webAddr, "", "", 0, 1500, check.OK, 1500, 1500, 0},
		{"a narrow line whose router says so", webAddr, "", "", 0, 1400, check.OK, 1400, 1400, 0},
		{"the same without rights", webAddr, "protocol: udp", "", 65534, 1400, check.OK, 1400, 1400, 0},
		{"the same over IPv6", "2001:db8:4::1", "", "", 0, 1400, check.OK, 1400, 1400, 0},
		{"narrower than the limit", webAddr, "mtu_warn: 1420", "", 0, 1400, check.PathMTU, 1400, 1400, 0},
		{"black hole", webAddr, "", silent, 0, 1400, check.PathMTU, 1400, 1400, 1},
		{"black hole over IPv6", "2001:db8:4::1", "", silent, 0, 1400, check.PathMTU, 1400, 1400, 1},
		{"black hole without rights", webAddr, "protocol: udp", silent, 65534, 1400, check.PathMTU, 1250, 1400, 1},
		{"nothing larger is tried", webAddr, "mtu_max: 1300", silent, 0, 1400, check.OK, 1300, 1300, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := chain(t)
			w.IP("isp", fmt.Sprintf("link set core mtu %d", tc.mtu))
			w.IP("core", fmt.Sprintf("link set isp mtu %d", tc.mtu))
			w.Nft("isp", tc.rules)
			more := "wait: 500ms"
			if tc.more != "" {
				more += ", " + tc.more
			}
			r := w.Check("pc", checktest.Run{Plan: pathPlan(tc.host, more), User: tc.user})[0]
			declared(t, pathKind(), r)
			want(t, r, tc.want)
			if v, ok := r.Facts.Get("path_mtu_bytes"); !ok || v < tc.low || v > tc.high {
				t.Errorf("path_mtu_bytes %v, want %v to %v (%s)", v, tc.low, tc.high, r.Detail)
			}
			wantFact(t, r, "black_hole_code", tc.hole)
			if tc.hole == 1 {
				wantFact(t, r, "black_hole_after_count", 2)
			}
		})
	}
}

// The way changes between two runs, and back.
func TestPathChanges(t *testing.T) {
	t.Parallel()
	w := chain(t)
	w.Site("isp2", true)
	w.Join("gw", []string{"10.0.12.2/24"}, "isp2", []string{"10.0.12.1/24"})
	w.Join("isp2", []string{"10.0.13.2/24"}, "core", []string{"10.0.13.1/24"})
	w.IP("isp2", "route add default via 10.0.13.1", "route add 10.0.1.0/24 via 10.0.12.2")
	gate := t.TempDir() + "/gate"
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		f, err := os.OpenFile(gate, os.O_WRONLY, 0) // the child reads when its first run is over
		if err != nil {
			return
		}
		w.IP("gw", "route replace default via 10.0.12.1")
		w.IP("core", "route replace 10.0.1.0/24 via 10.0.13.2")
		_ = f.Close()
	}()
	rs := w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, "mtu: false"), Times: 2, Gate: gate})
	wantFact(t, rs[0], "changed_hops_count", 0)
	wantFact(t, rs[1], "changed_hops_count", 2)
	wantFact(t, rs[1], "path_changes_count", 1)
	a, _ := rs[0].Facts.Get("path_code")
	if b, ok := rs[1].Facts.Get("path_code"); !ok || a == b {
		t.Errorf("path_code %v, then %v", a, b)
	}
	want(t, rs[1], check.OK)

	// There by one provider, back by the other: the errors come from routers' other sides, and nothing is broken.
	w.IP("gw", "route replace default via 10.0.2.1")
	for _, more := range []string{"protocol: icmp", "protocol: udp", "protocol: tcp"} {
		r := w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, more)})[0]
		declared(t, pathKind(), r)
		want(t, r, check.OK)
		wantFact(t, r, "hops_count", 4)
		wantFact(t, r, "answered_hops_count", 3)
	}
}

// No more than 30 packets leave in any second, whatever a run looks for. The first router counts them.
func TestPathSparesTheLine(t *testing.T) {
	t.Parallel()
	w := chain(t)
	w.IP("isp", "link set core mtu 1400")
	for _, tc := range []struct {
		name, more string
		least      int
	}{
		{"all that a run over ICMP does", "wait: 500ms", 35},
		{"TCP", "protocol: tcp", 4},
		{"a way that ends in nothing", "max_hops: 64, wait: 200ms, mtu: false", 12},
	} {
		w.Nft("isp", "table inet t {\nchain o {\ntype filter hook output priority 0\nicmp code frag-needed drop\n}\n}")
		w.Nft("gw", "table inet t {\ncounter seen { }\ncounter over { }\nchain c {\ntype filter hook prerouting priority -300\n"+
			"iifname pc meta l4proto { icmp, udp, tcp } counter name seen\n"+
			"iifname pc meta l4proto { icmp, udp, tcp } limit rate over 30/second burst 5 packets counter name over\n}\n}")
		if strings.Contains(tc.more, "64") {
			w.Nft("isp", drop("drop"))
		}
		w.Check("pc", checktest.Run{Plan: pathPlan(webAddr, tc.more)})
		if all, over := w.Counted("gw", "seen"), w.Counted("gw", "over"); over != 0 || all < tc.least {
			t.Errorf("%s: %d packets, %d of them more than 30 a second; want at least %d and 0", tc.name, all, over, tc.least)
		}
	}
}

// Messages of strangers, while the check runs: from a host that sees nothing of it, with quotations of packets that were
// not sent. They guess at ids and even know the local port of UDP; what is in our packets they do not know.
func TestPathIsNotFooledByStrangers(t *testing.T) {
	t.Parallel()
	w := chain(t)
	for _, tc := range []struct {
		more string
		v6   bool
	}{{"protocol: icmp", false}, {"protocol: udp", false}, {"protocol: tcp", false}, {"protocol: icmp", true}, {"protocol: udp", true}, {"protocol: tcp", true}} {
		more, host := tc.more, webAddr
		family, proto, table, forge := unix.AF_INET, unix.IPPROTO_ICMP, "udp", forgeries
		var to unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{10, 0, 1, 2}}
		if tc.v6 {
			host, family, proto, table, forge = "2001:db8:4::1", unix.AF_INET6, unix.IPPROTO_ICMPV6, "udp6", forgeries6
			to = &unix.SockaddrInet6{Addr: netip.MustParseAddr("2001:db8:1::2").As16()}
		}
		var stop atomic.Bool
		var port atomic.Int32
		var fd int
		done := make(chan int, 1)
		w.Do("gw", func() (err error) {
			fd, err = unix.Socket(family, unix.SOCK_RAW, proto)
			return err
		})
		go func() {
			defer unix.Close(fd)
			sent := 0
			for i := 0; !stop.Load(); i++ {
				for _, m := range forge(uint16(i), uint16(port.Load())) {
					if unix.Sendto(fd, m, 0, to) == nil {
						sent++
					}
				}
				time.Sleep(time.Millisecond)
			}
			done <- sent
		}()
		spied := make(chan struct{})
		go func() {
			defer close(spied)
			w.Do("pc", func() error {
				for !stop.Load() {
					if p := udpPort(table); p != 0 {
						port.Store(int32(p))
					}
					time.Sleep(5 * time.Millisecond)
				}
				return nil
			})
		}()
		r := w.Check("pc", checktest.Run{Plan: pathPlan(host, more)})[0]
		stop.Store(true)
		<-spied
		if n := <-done; n < 100 {
			t.Errorf("%s to %s: only %d forged messages", more, host, n)
		}
		if strings.Contains(more, "udp") && port.Load() == 0 {
			t.Error("the strangers have not found the port")
		}
		declared(t, pathKind(), r)
		want(t, r, check.OK)
		wantFact(t, r, "hops_count", 4)
		wantFact(t, r, "answered_hops_count", 3)
		if !strings.Contains(more, "tcp") {
			wantFact(t, r, "path_mtu_bytes", 1500)
		}
	}
}

// udpPort returns a local port of a table of UDP in the thread's network; 0 for none.
func udpPort(table string) uint64 {
	text, err := os.ReadFile("/proc/thread-self/net/" + table)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if _, hex, ok := strings.Cut(f[1], ":"); ok {
			if p, err := strconv.ParseUint(hex, 16, 16); err == nil {
				return p
			}
		}
	}
	return 0
}

// forgeries6 are the same over IPv6: RFC 4443, section 3.
func forgeries6(guess, port uint16) [][]byte {
	quote := func(proto byte, transport []byte) []byte {
		ip := make([]byte, 40, 80)
		ip[0], ip[6], ip[7] = 0x60, proto, 1
		binary.BigEndian.PutUint16(ip[4:], uint16(len(transport)))
		from, to := netip.MustParseAddr("2001:db8:1::2").As16(), netip.MustParseAddr("2001:db8:4::1").As16()
		copy(ip[8:], from[:])
		copy(ip[24:], to[:])
		return append(ip, transport...)
	}
	udp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, port), probePort+guess%8)
	udp = append(binary.BigEndian.AppendUint32(udp, 0x00100000), "no token of ours"...)
	tcp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 32768+guess), 443)
	tcp = append(binary.BigEndian.AppendUint32(tcp, 12345), make([]byte, 12)...)
	echo := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{echoRequest6, 0, 0, 0}, guess), guess%8)
	echo = append(echo, "no token of ours"...)
	var all [][]byte
	for _, q := range [][]byte{quote(17, udp), quote(6, tcp), quote(58, echo)} {
		for _, m := range [][3]uint16{{1, 3, 0}, {2, 0, 1280}, {3, 0, 0}, {1, 4, 0}} {
			all = append(all, append([]byte{byte(m[0]), byte(m[1]), 0, 0, 0, 0, byte(m[2] >> 8), byte(m[2])}, q...)) // the kernel writes the checksum
		}
	}
	return all
}

// forgeries are ICMP messages that quote packets which the check has not sent: the right addresses, a guessed id, and the
// port of UDP.
func forgeries(guess, port uint16) [][]byte {
	quote := func(proto byte, transport []byte) []byte {
		ip := make([]byte, 20, 60)
		ip[0], ip[8], ip[9] = 0x45, 1, proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(transport)))
		copy(ip[12:], []byte{10, 0, 1, 2})
		copy(ip[16:], []byte{10, 0, 4, 1})
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		return append(ip, transport...)
	}
	ports := func(seq uint32) []byte {
		b := binary.BigEndian.AppendUint16(nil, port)
		b = binary.BigEndian.AppendUint16(b, probePort+guess%8)
		return binary.BigEndian.AppendUint32(b, seq)
	}
	tcp := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 32768+guess), 443)
	tcp = binary.BigEndian.AppendUint32(tcp, 12345)
	echo := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{echoRequest4, 0, 0, 0}, guess), guess%8)
	echo = append(echo, "no token of ours"...)
	var all [][]byte
	for _, q := range [][]byte{quote(17, append(ports(0x00100000), "no token of ours"...)), quote(6, tcp), quote(1, echo)} {
		for _, m := range [][3]uint16{{3, 1, 0}, {3, 4, 600}, {11, 0, 0}, {3, 3, 0}} {
			b := append([]byte{byte(m[0]), byte(m[1]), 0, 0, 0, 0, byte(m[2] >> 8), byte(m[2])}, q...)
			binary.BigEndian.PutUint16(b[2:], checksum(b))
			all = append(all, b)
		}
	}
	return all
}
