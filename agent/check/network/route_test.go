//go:build linux

package network

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const routeHead = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestParseRoutes4(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
		mistake    string
	}{
		{"none", routeHead, nil, ""},
		{"empty", "", nil, ""},
		{"one", routeHead + "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
			"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", []string{"192.0.2.1 eth0 100"}, ""},
		{"two", "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\nwlan0\t00000000\tFE01A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n",
			[]string{"192.168.1.1 eth0 100", "192.168.1.254 wlan0 600"}, ""},
		{"half of everything", "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n", nil, ""},
		{"without gateway", "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", []string{"invalid IP ppp0 0"}, ""},
		{"down", "eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n", nil, ""},
		{"rejected", "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n", nil, ""},
		{"cut short", "eth0\t00000000\t0101A8C0", nil, ""},
		{"no gateway's number", "eth0\t00000000\tgateway!\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", nil, "line 1: gateway"},
		{"no flags", routeHead + "eth0\t00000000\t0101A8C0\tU\t0\t0\t0\t00000000\t0\t0\t0\n", nil, "line 2: flags"},
		{"no metric", "eth0\t00000000\t0101A8C0\t0003\t0\t0\tx\t00000000\t0\t0\t0\n", nil, "line 1: metric"},
	} {
		t.Run(tc.name, func(t *testing.T) { compareRoutes(t, parseRoutes4, tc.text, tc.want, tc.mistake) })
	}
}

func TestParseRoutes6(t *testing.T) {
	const any6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
	for _, tc := range []struct {
		name, text string
		want       []string
		mistake    string
	}{
		{"one", "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
			any6 + "fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n" +
			any6 + "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n", []string{"fd00::1 eth0 1024"}, ""},
		{"on the link", any6 + "fe800000000000000000000000000001 00000064 00000002 00000000 00000003 wlan0\n", []string{"fe80::1%wlan0 wlan0 100"}, ""},
		{"no hop", any6 + "fe80 00000064 00000002 00000000 00000003 wlan0\n", nil, "line 1: next hop"},
		{"no metric", any6 + "fe800000000000000000000000000001 x 00000002 00000000 00000003 wlan0\n", nil, "line 1: metric"},
		{"no flags", any6 + "fe800000000000000000000000000001 0 00000002 00000000 x wlan0\n", nil, "line 1: flags"},
		{"cut short", any6, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) { compareRoutes(t, parseRoutes6, tc.text, tc.want, tc.mistake) })
	}
}

func compareRoutes(t *testing.T, parse func([]byte) ([]route, error), text string, want []string, mistake string) {
	t.Helper()
	routes, err := parse([]byte(text))
	if mistake != "" {
		if err == nil || !strings.Contains(err.Error(), mistake) {
			t.Errorf("error %v, want one with %q", err, mistake)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, r.text())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestChoose(t *testing.T) {
	addr := netip.MustParseAddr
	routes := []route{
		{addr("fe80::1%eth0"), "eth0", 1}, {addr("192.168.1.254"), "eth0", 300}, {addr("10.20.1.1"), "eth0", 200},
		{addr("100.64.0.1"), "wlan0", 600}, {netip.Addr{}, "ppp0", 700}, {addr("172.16.0.1"), "eth1", 250},
	}
	on := map[string][]netip.Prefix{
		"eth0":  {netip.MustParsePrefix("192.168.1.20/24"), netip.MustParsePrefix("10.20.1.20/24"), netip.MustParsePrefix("fd00::20/64")},
		"wlan0": {netip.MustParsePrefix("100.64.0.9/10")},
		"ppp0":  {netip.MustParsePrefix("203.0.113.5/32")},
	}
	for _, tc := range []struct{ name, family, source, want string }{
		{"lowest metric of IPv4", anyFamily, "", "10.20.1.1 eth0 200"},
		{"IPv6 when asked for", ip6, "", "fe80::1%eth0 eth0 1"},
		{"the network of the line's address", anyFamily, "192.168.1.20", "192.168.1.254 eth0 300"},
		{"the other network on the same wire", anyFamily, "10.20.1.20", "10.20.1.1 eth0 200"},
		{"the interface of the line's address", anyFamily, "100.64.0.9", "100.64.0.1 wlan0 600"},
		{"IPv6 of the line", anyFamily, "fd00::20", "fe80::1%eth0 eth0 1"},
		{"line without gateway", anyFamily, "203.0.113.5", "invalid IP ppp0 700"},
		{"address that is not ours", anyFamily, "192.0.2.77", ""},
		{"IPv6 over an IPv4 line", ip6, "10.20.1.20", ""},
	} {
		l := line{family: tc.family}
		if tc.source != "" {
			l.source = addr(tc.source)
		}
		got := ""
		if r, ok := choose(routes, l, on); ok {
			got = r.text()
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	only6 := routes[:1]
	if r, ok := choose(only6, line{family: anyFamily}, nil); !ok || r.iface != "eth0" {
		t.Error("the only route, IPv6, is not chosen")
	}
}

func TestDefaultRoutesOfARealTable(t *testing.T) {
	inNetwork(t, []string{
		"link add name v0 type veth peer name v1", "addr add 192.0.2.2/24 dev v0", "addr add fd00::2/64 dev v0 nodad", "link set v0 up", "link set v1 up",
		"route add default via 192.0.2.1 metric 7", "-6 route add default via fd00::1 metric 9",
	}, func() {
		routes, err := routesIn("/proc/thread-self/net") // a thread of its own has a network of its own
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range routes {
			got = append(got, r.text())
		}
		if d := cmp.Diff([]string{"192.0.2.1 v0 7", "fd00::1 v0 9"}, got); d != "" {
			t.Error(d)
		}
	})
}

func TestNeighbourOfARealTable(t *testing.T) {
	inNetwork(t, []string{
		"link add name v0 type veth peer name v1", "addr add 192.0.2.2/24 dev v0", "link set v0 up", "link set v1 up",
		"neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud reachable dev v0",
		"neigh add 192.0.2.3 lladdr 02:00:00:00:00:03 nud stale dev v0",
		"neigh add 192.0.2.5 nud failed dev v0",
		"neigh add 192.0.2.5 lladdr 02:00:00:00:00:05 nud stale dev v1",
		"neigh add fd00::1 lladdr 02:00:00:00:00:01 nud reachable dev v0",
	}, func() {
		for _, tc := range []struct {
			addr, iface string
			want        nearness
		}{
			{"192.0.2.1", "", proven},
			{"192.0.2.1", "v0", proven},
			{"192.0.2.1", "v1", otherwise},
			{"192.0.2.3", "v0", stale},
			{"192.0.2.4", "v0", otherwise},
			{"192.0.2.5", "v0", silentOne},
			{"192.0.2.5", "", stale},
			{"fd00::1", "v0", proven},
		} {
			if got := nearnessOf(netip.MustParseAddr(tc.addr), tc.iface); got != tc.want {
				t.Errorf("%s on %q is neighbour of kind %d, want %d", tc.addr, tc.iface, got, tc.want)
			}
		}
	})
}

func (r route) text() string {
	return strings.Join([]string{r.gateway.String(), r.iface, strconv.FormatUint(r.metric, 10)}, " ")
}

func FuzzRoutes(f *testing.F) {
	f.Add([]byte(routeHead + "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"))
	f.Add([]byte("00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003 eth0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		four, err4 := parseRoutes4(text)
		six, err6 := parseRoutes6(text)
		if err4 != nil && four != nil || err6 != nil && six != nil || len(four)+len(six) > 2*maxRoutes {
			t.Errorf("%d and %d routes, errors %v and %v", len(four), len(six), err4, err6)
		}
		choose(append(four, six...), line{}, nil)
	})
}

func FuzzNeighbours(f *testing.F) {
	f.Add([]byte{}, []byte{192, 0, 2, 1})
	f.Add([]byte{36, 0, 0, 0, 28, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1}, []byte{192, 0, 2, 1})
	seen := func(table []byte, a netip.Addr) bool {
		entries, err := parseNeighbourTable(table)
		return err == nil && surest(entries, a, 0) != otherwise
	}
	f.Fuzz(func(t *testing.T, table, a []byte) {
		if want, ok := netip.AddrFromSlice(a); ok && seen(table, want) && !strings.Contains(string(table), string(a)) {
			t.Errorf("%s is not in the table", want)
		}
	})
}
