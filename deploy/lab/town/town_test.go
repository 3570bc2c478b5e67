package town

import (
	"net/netip"
	"strings"
	"testing"
)

func TestEveryTownHolds(t *testing.T) {
	for n := 1; n <= Most; n++ {
		tn, err := New(n, DefaultRange)
		if err != nil {
			t.Fatal(err)
		}
		seen, direct := map[netip.Addr]string{}, map[string][]netip.Prefix{}
		take := func(site string, p netip.Prefix) {
			if was, ok := seen[p.Addr()]; ok {
				t.Errorf("%d communes: %s is at %s and at %s", n, p.Addr(), was, site)
			}
			seen[p.Addr()] = site
			if !DefaultRange.Contains(p.Addr()) {
				t.Errorf("%d communes: %s of %s is outside of the range", n, p, site)
			}
		}
		ifaces := map[End]bool{}
		for _, l := range tn.Links {
			for _, e := range []End{l.A, l.B} {
				take(e.Site, e.Addr)
				direct[e.Site] = append(direct[e.Site], e.Addr.Masked())
				if key := (End{Site: e.Site, Iface: e.Iface}); ifaces[key] || len(e.Iface) > 15 {
					t.Errorf("%d communes: %s has two interfaces %s, or its name is too long", n, e.Site, e.Iface)
				} else {
					ifaces[key] = true
				}
			}
		}
		for site, list := range tn.addrs {
			for _, a := range list {
				take(site, a.addr)
			}
		}
		for site, routes := range tn.routes {
			for _, r := range routes {
				near := false
				for _, p := range direct[site] {
					near = near || p.Contains(r.via)
				}
				if !near || seen[r.via] == site {
					t.Errorf("%d communes: %s sends %s to %s, which is no neighbour", n, site, r.to, r.via)
				}
			}
		}
		if len(tn.Communes) != n || strings.Count(tn.Make(), "netns add") != len(tn.Sites) {
			t.Errorf("%d communes: %d planned, and %d sites", n, len(tn.Communes), len(tn.Sites))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		n    int
		from string
		want string
	}{
		{0, "10.213.0.0/16", "from 1 to 24"},
		{25, "10.213.0.0/16", "from 1 to 24"},
		{6, "10.213.0.0/17", "16 bits"},
		{6, "10.213.1.0/16", "16 bits"},
		{6, "8.8.0.0/16", "private"},
		{6, "fd00::/16", "private"},
	} {
		if _, err := New(c.n, netip.MustParsePrefix(c.from)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%d, %s) = %v, want an error with %q", c.n, c.from, err, c.want)
		}
	}
}

func TestClash(t *testing.T) {
	tn, err := New(1, DefaultRange)
	if err != nil {
		t.Fatal(err)
	}
	for taken, want := range map[string]bool{"10.213.4.0/24": true, "10.213.0.0/16": true, "10.212.0.0/15": true, "10.214.0.0/16": false, "192.168.1.0/24": false, "0.0.0.0/0": false} {
		if got := tn.Clash([]netip.Prefix{netip.MustParsePrefix(taken)}); got.IsValid() != want {
			t.Errorf("Clash(%s) = %s, want a clash: %v", taken, got, want)
		}
	}
}
