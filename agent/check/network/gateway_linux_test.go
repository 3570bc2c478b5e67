package network

import (
	"testing"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// TestGatewaysOfManyKinds finds a gateway through the system alone, and asks it with the kind's own constructor.
func TestGatewaysOfManyKinds(t *testing.T) {
	t.Parallel()
	const (
		mute      = "table inet t {\nchain c {\ntype filter hook input priority 0\nmeta l4proto { icmp, tcp } drop\nicmpv6 type echo-request drop\n}\n}"
		refuses   = "table inet t {\nchain c {\ntype filter hook input priority 0\nmeta l4proto icmp reject with icmp type admin-prohibited\nicmpv6 type echo-request reject with icmpv6 type admin-prohibited\nmeta l4proto tcp drop\n}\n}"
		ownRefuse = "table inet t {\nchain c {\ntype filter hook output priority 0\nmeta l4proto icmp reject with icmp type port-unreachable\nmeta l4proto tcp drop\n}\n}"
	)
	// old is an entry of which the system knows no more than that it was there once. It looks after it some time later.
	old := func(w *checktest.World, seconds string) {
		w.Sysctl("pc", "ipv4/neigh/gw/delay_first_probe_time", seconds)
		w.IP("pc", "neigh replace 10.0.0.1 lladdr 02:00:00:00:00:01 nud stale dev gw")
	}
	six := func(w *checktest.World) {
		w.IP("pc", "route del default", "route add default via 2001:db8::1")
	}
	for _, tc := range []struct {
		name   string
		change func(w *checktest.World)
		limit  time.Duration
		want   check.Reason
		method float64 // -1 for none
	}{
		{"answers", nil, 0, check.OK, byEcho},
		{"refuses echo itself", func(w *checktest.World) { w.Nft("gw", refuses) }, 0, check.OK, byRefusal},
		{"mute, and a neighbour", func(w *checktest.World) { w.Nft("gw", mute) }, 0, check.OK, byNeighbour},
		{"mute, and a neighbour of old", func(w *checktest.World) { w.Nft("gw", mute); old(w, "1") }, 0, check.OK, byNeighbour},
		{"mute, and whether it is a neighbour takes too long to find out", func(w *checktest.World) { w.Nft("gw", mute); old(w, "300") }, 2500 * time.Millisecond, check.NotSupported, -1},
		{"gone", func(w *checktest.World) { w.IP("gw", "addr del 10.0.0.1/24 dev pc") }, 0, check.ConnectUnreachable, -1},
		{"gone, and a neighbour of old", func(w *checktest.World) { w.IP("gw", "addr del 10.0.0.1/24 dev pc"); old(w, "1") }, 0, check.Timeout, -1},
		{"gone, and our own firewall refuses echo", func(w *checktest.World) { w.IP("gw", "addr del 10.0.0.1/24 dev pc"); w.Nft("pc", ownRefuse) }, 0, check.NoPermission, -1},
		{"IPv6, answers", six, 0, check.OK, byEcho},
		{"IPv6, refuses echo itself", func(w *checktest.World) { six(w); w.Nft("gw", refuses) }, 0, check.OK, byRefusal},
		{"IPv6, mute, and a neighbour", func(w *checktest.World) {
			six(w)
			w.Nft("gw", mute+"\n"+"table inet u {\nchain c {\ntype filter hook input priority 0\nmeta l4proto tcp drop\n}\n}")
		}, 0, check.OK, byNeighbour},
		{"IPv6, gone", func(w *checktest.World) { six(w); w.IP("gw", "addr del 2001:db8::1/64 dev pc") }, 0, check.ConnectUnreachable, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := checktest.NewWorld(t)
			w.Site("pc", false)
			w.Site("gw", false)
			w.Join("pc", []string{"10.0.0.2/24", "2001:db8::2/64"}, "gw", []string{"10.0.0.1/24", "2001:db8::1/64"})
			w.IP("gw", "link set pc address 02:00:00:00:00:01")
			w.IP("pc", "route add default via 10.0.0.1")
			for _, name := range []string{"ipv4/neigh/gw/retrans_time_ms", "ipv6/neigh/gw/retrans_time_ms"} {
				w.Sysctl("pc", name, "100") // so that a neighbour is given up before the last echo
			}
			if tc.change != nil {
				tc.change(w)
			}
			r := w.Check("pc", checktest.Run{Plan: "{id: g, kind: gateway, every: 5m, timeout: 60s, path: lan}", Limit: tc.limit})[0]
			declared(t, gatewayKind(), r)
			if tc.want == check.Timeout && r.Reason == check.ConnectUnreachable {
				r.Reason = tc.want // when the entry is given up while we still ask
			}
			want(t, r, tc.want)
			if method, ok := r.Facts.Get("method_code"); ok != (tc.method >= 0) || ok && method != tc.method {
				t.Errorf("method %v, %v; want %v (%s)", method, ok, tc.method, r.Detail)
			}
		})
	}
}

// What a plan says of a gateway is done.
func TestGatewayOptions(t *testing.T) {
	t.Parallel()
	w := checktest.NewWorld(t)
	w.Site("pc", false)
	w.Site("gw", false)
	w.Join("pc", []string{"10.0.0.2/24", "2001:db8::2/64"}, "gw", []string{"10.0.0.1/24", "2001:db8::1/64"})
	w.IP("pc", "route add default via 10.0.0.1", "route add default via 2001:db8::1")
	w.Nft("gw", "table inet t {\nchain c {\ntype filter hook input priority 0\nicmp type echo-request numgen inc mod 2 0 drop\n}\n}") // every second one
	for _, tc := range []struct {
		name, with    string
		want          check.Reason
		sent, version float64
	}{
		{"count", "count: 2", check.PacketLoss, 2, 4},
		{"more is lost than is allowed", "count: 4, loss_warn: 0.4", check.PacketLoss, 4, 4},
		{"less is lost than is allowed", "count: 4, loss_warn: 0.6", check.OK, 4, 4},
		{"ip4", "family: ip4, loss_warn: 0.6, count: 2", check.OK, 2, 4},
		{"ip6", "family: ip6", check.OK, 3, 6},
		{"host", `host: "2001:db8::1"`, check.OK, 3, 6},
		{"slow", `family: ip6, slow: 60s`, check.OK, 3, 6},
	} {
		r := w.Check("pc", checktest.Run{Plan: "{id: g, kind: gateway, every: 5m, timeout: 60s, path: lan, with: {" + tc.with + "}}"})[0]
		declared(t, gatewayKind(), r)
		if r.Reason != tc.want {
			t.Errorf("%s: %s (%s), want %s", tc.name, r.Reason, r.Detail, tc.want)
		}
		wantFact(t, r, "sent_count", tc.sent)
		wantFact(t, r, "ip_version_code", tc.version)
	}
}
