package dns

import (
	"context"
	"maps"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// A server that says nothing is asked as often as the plan says, and the time of a run is shared out among the questions.
func TestTriesOfEachKind(t *testing.T) {
	for _, tries := range []int64{1, 3} {
		for _, k := range []struct {
			kind check.Kind
			o    check.Options
			asks uint16
		}{
			{dnsKind(), check.Options{"name": "motcua.test"}, mdns.TypeA},
			{hijackKind(), check.Options{"name": "motcua.test", "answers": []string{"192.0.2.1"}, "wait": time.Duration(0)}, mdns.TypeA},
		} {
			var asked atomic.Int64
			o := check.Options{"tries": tries, "server": serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
				if q.Question[0].Qtype == k.asks {
					asked.Add(1)
				}
				return nil
			})}
			maps.Copy(o, k.o)
			ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
			want(t, checktest.NewFunc(t, k.kind, o, check.Env{})(ctx), check.DNSTimeout)
			if cancel(); asked.Load() != tries {
				t.Errorf("%s was to ask %d times and asked %d times", k.kind.Name, tries, asked.Load())
			}
		}
		var asked atomic.Int64
		f := newFakeZone(t)
		f.at[netip.MustParseAddr("192.0.2.12")] = netip.MustParseAddrPort(serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.Question[0].Qtype == mdns.TypeSOA {
				asked.Add(1)
			}
			return nil
		}))
		want(t, f.check(check.Options{"tries": tries})(3*soon), check.Partial)
		if asked.Load() != tries {
			t.Errorf("zone was to ask %d times and asked %d times", tries, asked.Load())
		}
	}
}

// The resolvers of a zone's check are asked one after the other until one says something.
func TestZoneResolversInTurn(t *testing.T) {
	f := newFakeZone(t)
	net := theInternet()
	net.at = func(a netip.Addr) netip.AddrPort { return f.at[a] }
	net.system = func() ([]netip.AddrPort, error) {
		t.Error("the system's resolvers are looked up")
		return nil, nil
	}
	o := check.Options{"name": "tuky.test", "servers": []string{refused(t), f.server}}
	fn, err := newZone(checktest.WithDefaults(t, zoneKind(), o), checktest.WithEnv(check.Env{}), net)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	r := fn(ctx)
	want(t, r, check.OK)
}
