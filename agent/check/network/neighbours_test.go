//go:build linux

package network

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"egovmon/agent/check"
)

// near makes an entry; a hardware address of "" is none.
func near(n nearness, addr, mac string) neighbour {
	e := neighbour{index: 2, addr: netip.MustParseAddr(addr), nearness: n, confirmed: -1}
	if mac != "" {
		m, _ := net.ParseMAC(mac)
		e.hardware = hardware(m)
	}
	return e
}

const (
	printerMAC = "00:1b:a9:00:00:01"
	routerMAC  = "3c:52:82:00:00:02"
	phoneMAC   = "da:a1:19:00:00:03" // the second bit of the first number: made up
)

func TestNeighbours(t *testing.T) {
	router, printer, phone := near(proven, "192.168.1.1", routerMAC), near(inUse, "192.168.1.7", printerMAC), near(proven, "192.168.1.9", phoneMAC)
	both := []string{printerMAC, routerMAC}
	old := near(stale, "192.168.1.30", "00:11:22:00:00:30")
	old.confirmed = 2 * time.Minute
	for _, tc := range []struct {
		name   string
		o      check.Options
		table  []neighbour
		err    error
		want   check.Reason
		counts string // devices, known, new, random, unseen, stale, failed
		detail string
	}{
		{"all known", check.Options{"known": both}, []neighbour{router, printer}, nil, check.OK, "2 2 0 0 0 0 0", ""},
		{"in one text, as Windows writes them", check.Options{"known": []string{"00-1B-A9-00-00-01  " + routerMAC}}, []neighbour{router, printer}, nil, check.OK, "2 2 0 0 0 0 0", ""},
		{"one is not there", check.Options{"known": both}, []neighbour{router}, nil, check.OK, "1 1 0 0 1 0 0", ""},
		{"a new one", check.Options{"known": both[1:]}, []neighbour{router, printer}, nil, check.ControlPartial, "2 1 1 0 0 0 0", "makers 00:1b:a9"},
		{"a new one, which is allowed", check.Options{"known": both[1:], "max_new": int64(1)}, []neighbour{router, printer}, nil, check.OK, "2 1 1 0 0 0 0", ""},
		{"no inventory", check.Options{"known": []string{}}, []neighbour{router, printer}, nil, check.ControlPartial, "2 0 2 0 0 0 0", "makers 00:1b:a9, 3c:52:82"},
		{"one device with two addresses", check.Options{"known": both}, []neighbour{router, near(proven, "fe80::1", routerMAC), near(stale, "2001:db8::1", routerMAC)}, nil, check.OK, "1 1 0 0 1 1 0", ""},
		{"a phone", check.Options{"known": both}, []neighbour{router, phone}, nil, check.ControlPartial, "2 1 1 1 1 0 0", "1 have a random address"},
		{"a phone, counted apart", check.Options{"known": both, "random": randomApart}, []neighbour{router, phone}, nil, check.OK, "2 1 0 1 1 0 0", ""},
		{"a phone of the inventory", check.Options{"known": append(both, phoneMAC)}, []neighbour{router, phone}, nil, check.OK, "2 2 0 0 1 0 0", ""},
		{"stale ones do not count", check.Options{"known": both}, []neighbour{router, old}, nil, check.OK, "1 1 0 0 1 1 0", ""},
		{"stale ones that were there lately", check.Options{"known": both, "seen_within": 5 * time.Minute}, []neighbour{router, old}, nil, check.ControlPartial, "2 1 1 0 1 0 0", ""},
		{"stale ones that were there long ago", check.Options{"known": both, "seen_within": time.Minute}, []neighbour{router, old}, nil, check.OK, "1 1 0 0 1 1 0", ""},
		{"stale ones of which nothing is told", check.Options{"known": both, "seen_within": time.Hour}, []neighbour{router, near(stale, "192.168.1.31", "00:11:22:00:00:31")}, nil, check.OK, "1 1 0 0 1 1 0", ""},
		{"only stale ones", check.Options{"known": both}, []neighbour{old}, nil, check.OK, "0 0 0 0 2 1 0", ""},
		{"failed ones do not count", check.Options{"known": both}, []neighbour{router, near(silentOne, "192.168.1.50", "00:11:22:00:00:50")}, nil, check.OK, "1 1 0 0 1 0 1", ""},
		{"groups and written ones do not count", check.Options{"known": both}, []neighbour{router, near(proven, "224.0.0.22", "00:11:22:00:00:51"),
			near(proven, "192.168.1.255", "ff:ff:ff:ff:ff:ff"), near(proven, "192.168.1.52", ""), near(otherwise, "192.168.1.53", "00:11:22:00:00:53")}, nil, check.OK, "1 1 0 0 1 0 0", ""},
		{"another interface", check.Options{"known": both, "interfaces": []string{"wlan0"}}, []neighbour{{index: 3, addr: router.addr, hardware: router.hardware, nearness: proven}, printer}, nil, check.OK, "1 1 0 0 1 0 0", ""},

		{"nobody answers", check.Options{"known": both}, []neighbour{near(silentOne, "192.168.1.1", ""), near(otherwise, "192.168.1.2", routerMAC)}, nil, check.Timeout, "0 0 0 0 2 0 1", ""},
		{"an empty table", check.Options{"known": both}, nil, nil, check.NotSupported, "", ""},
		{"no such interface", check.Options{"known": both, "interfaces": []string{"eth9"}}, nil, nil, check.Misconfigured, "", "eth9"},
		{"not allowed", check.Options{"known": both}, nil, fs.ErrPermission, check.NoPermission, "", ""},
		{"not offered", check.Options{"known": both}, nil, errors.ErrUnsupported, check.NotSupported, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := neighboursOf(withDefaults(neighboursKind(), tc.o), func() ([]neighbour, error) { return slices.Clone(tc.table), tc.err })
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			declared(t, neighboursKind(), r)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q lacks %q", r.Detail, tc.detail)
			}
			var got []string
			for _, name := range []string{"devices_count", "known_count", "new_count", "random_count", "unseen_count", "stale_count", "failed_count"} {
				if v, ok := r.Facts.Get(name); ok {
					got = append(got, string(rune('0'+int(v))))
				}
			}
			if s := strings.Join(got, " "); s != tc.counts {
				t.Errorf("counts %s, want %s", s, tc.counts)
			}
			// What is told of a device is its maker, no address.
			for _, e := range tc.table {
				if strings.Contains(r.Detail, e.addr.String()) || e.hardware.device() && strings.Contains(r.Detail, net.HardwareAddr(e.hardware[:]).String()) {
					t.Errorf("an address in %q", r.Detail)
				}
			}
		})
	}
}

// neighboursOf makes the check with a table of ours, of a machine with eth0 (2) and wlan0 (3).
func neighboursOf(o check.Options, table func() ([]neighbour, error)) (check.Func, error) {
	n, err := readNeighbours(o)
	if err != nil {
		return nil, err
	}
	n.table, n.names = table, func() map[int]string { return map[int]string{2: "eth0", 3: "wlan0"} }
	return n.check, nil
}

func TestNeighboursOptionsThatCannotHold(t *testing.T) {
	for _, s := range []string{"printer", "00:1b:a9", "00:1b:a9:00:00:01:02:03", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", printerMAC + " x"} {
		if _, err := newNeighbours(check.Options{"known": []string{s}}, check.Env{}); err == nil || !strings.Contains(err.Error(), `option "known"`) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := newNeighbours(check.Options{"known": []string{"", " "}}, check.Env{}); err != nil {
		t.Errorf("empty texts of a profile: %v", err)
	}
}

// The kernel's own table: a neighbour that answers, one that does not, and what was written down.
func TestNeighboursOfTheKernel(t *testing.T) {
	inNetwork(t, []string{"link add here type veth peer name there", "link set here address 02:00:00:00:00:01", "addr add 192.0.2.1/24 dev here", "link set here up"}, func() {
		// The other end goes to a network of its own, which lasts as long as a process there.
		other := exec.Command("unshare", "-n", "sh", "-c", "echo up; read end")
		in, _ := other.StdinPipe()
		out, _ := other.StdoutPipe()
		if err := other.Start(); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		defer func() { in.Close(); other.Wait() }()
		out.Read(make([]byte, 3))
		ip := func(command string) {
			if text, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v: %s", command, err, text)
			}
		}
		pid := strconv.Itoa(other.Process.Pid)
		ip("link set there address 00:1b:a9:00:00:02")
		ip("link set there netns " + pid)
		for _, command := range []string{"ip link set lo up", "ip addr add 192.0.2.2/24 dev there", "ip link set there up"} {
			if text, err := exec.Command("nsenter", append([]string{"-t", pid, "-n"}, strings.Fields(command)...)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", command, err, text)
			}
		}
		look := func(known ...string) check.Result {
			f, err := newNeighbours(withDefaults(neighboursKind(), check.Options{"known": known, "interfaces": []string{"here"}}), check.Env{})
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			declared(t, neighboursKind(), r)
			return r
		}
		if r := look(); r.Reason != check.NotSupported {
			t.Errorf("nobody was talked to: %s (%s)", r.Reason, r.Detail)
		}
		ip("neigh add 192.0.2.77 dev here nud failed")
		if r := look(); r.Reason != check.Timeout {
			t.Errorf("nobody answers: %s (%s)", r.Reason, r.Detail)
		}
		ip("neigh add 192.0.2.78 lladdr 00:1b:a9:00:00:78 dev here nud stale")
		ip("neigh add 192.0.2.79 lladdr 00:1b:a9:00:00:79 dev here nud permanent")
		ip("neigh add 2001:db8::80 lladdr 00:1b:a9:00:00:80 dev here nud reachable")
		speak(t, "192.0.2.2:9")
		r := look("00:1b:a9:00:00:80")
		want(t, r, check.ControlPartial)
		wantFact(t, r, "devices_count", 2)
		wantFact(t, r, "new_count", 1)
		wantFact(t, r, "stale_count", 1)
		wantFact(t, r, "failed_count", 1)
		r = look("00:1b:a9:00:00:80", "00:1b:a9:00:00:02")
		want(t, r, check.OK)
	})
}

// speak sends packets to a neighbour until the kernel has its hardware address.
func speak(t *testing.T, to string) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); runtime.Gosched() {
		c.Write([]byte("x"))
		entries, err := neighbourTable()
		if err != nil {
			t.Error(err)
			return
		}
		if slices.ContainsFunc(entries, func(n neighbour) bool {
			return n.addr == netip.MustParseAddrPort(to).Addr() && n.hardware.device() && n.nearness != stale
		}) {
			return
		}
	}
	t.Errorf("%s never answered", to)
}

// Rows as Windows 10 writes them, byte for byte.
func TestNeighbourRowsOfWindows(t *testing.T) {
	row := func(family uint16, addr []byte, index uint32, mac string, state uint32, ms uint32) []byte {
		b := make([]byte, rowBytes)
		binary.LittleEndian.PutUint16(b, family)
		at := 4
		if family == 23 {
			at = 8
		}
		copy(b[at:], addr)
		binary.LittleEndian.PutUint32(b[28:], index)
		m, _ := net.ParseMAC(mac)
		copy(b[40:], m)
		binary.LittleEndian.PutUint32(b[72:], uint32(len(m)))
		binary.LittleEndian.PutUint32(b[76:], state)
		binary.LittleEndian.PutUint32(b[84:], ms)
		return b
	}
	v6 := netip.MustParseAddr("fe80::1").As16()
	got := parseRows(slices.Concat(
		row(2, []byte{192, 168, 1, 1}, 12, routerMAC, 5, 1500), row(23, v6[:], 12, routerMAC, 4, 60000), row(2, []byte{192, 168, 1, 9}, 12, "", 0, 9),
		row(2, []byte{192, 168, 1, 7}, 13, printerMAC, 3, 0), row(2, []byte{224, 0, 0, 22}, 12, "01:00:5e:00:00:16", 6, 0), row(2, []byte{192, 168, 1, 8}, 12, "00:00:00:00:00:00:00:01", 5, 0), []byte{1, 2}))
	state := func(n nearness, addr, mac string, index int, confirmed time.Duration) neighbour {
		e := near(n, addr, mac)
		e.index, e.confirmed = index, confirmed
		return e
	}
	wanted := []neighbour{
		state(proven, "192.168.1.1", routerMAC, 12, 1500*time.Millisecond), state(stale, "fe80::1", routerMAC, 12, time.Minute), state(silentOne, "192.168.1.9", "", 12, -1),
		state(inUse, "192.168.1.7", printerMAC, 13, 0), state(otherwise, "224.0.0.22", "01:00:5e:00:00:16", 12, -1), state(proven, "192.168.1.8", "", 12, 0),
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("rows %v\nwant %v", got, wanted)
	}
}

func FuzzNeighbourRows(f *testing.F) {
	f.Add(make([]byte, rowBytes))
	f.Add(slices.Repeat([]byte{0xff}, 2*rowBytes+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(parseRows(b)); n != min(len(b)/rowBytes, maxNeighbours) {
			t.Errorf("%d rows of %d bytes", n, len(b))
		}
	})
}

func FuzzNeighbourTable(f *testing.F) {
	f.Add([]byte{36, 0, 0, 0, 28, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1})
	f.Add([]byte{38, 0, 0, 0, 28, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 10, 0, 2, 0, 2, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, table []byte) {
		entries, err := parseNeighbourTable(table)
		if err != nil {
			return
		}
		if len(entries)*28 > len(table) {
			t.Errorf("%d neighbours of %d bytes", len(entries), len(table))
		}
		n := neighbours{known: map[hardware]bool{}}
		declared(t, neighboursKind(), n.judge(entries))
	})
}
