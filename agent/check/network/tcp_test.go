//go:build linux

package network

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

func TestTCP(t *testing.T) {
	open := listen(t)
	for _, tc := range []struct {
		name   string
		o      check.Options
		source string
		limit  time.Duration
		want   check.Reason
	}{
		{"open", check.Options{"address": open}, "", 5 * time.Second, check.OK},
		{"open by name", check.Options{"address": strings.Replace(open, "127.0.0.1", "localhost", 1), "family": ip4}, "", 5 * time.Second, check.OK},
		{"from an address", check.Options{"address": open}, "127.0.0.9", 5 * time.Second, check.OK},
		{"slow", check.Options{"address": open, "slow": time.Nanosecond}, "", 5 * time.Second, check.Slow},
		{"refused", check.Options{"address": refused(t)}, "", 5 * time.Second, check.ConnectRefused},
		{"silent", check.Options{"address": silent(t)}, "", 200 * time.Millisecond, check.ConnectTimeout},
		{"from an address that is not ours", check.Options{"address": open}, "192.0.2.77", 5 * time.Second, check.ConnectUnreachable},
		{"from the other IP version", check.Options{"address": open}, "::1", 5 * time.Second, check.Misconfigured},
		{"name in no zone", check.Options{"address": "name.invalid.:1"}, "", time.Nanosecond, check.DNSTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := check.Env{}
			if tc.source != "" {
				env.Source = netip.MustParseAddr(tc.source)
			}
			r := runFor(t, tcpKind(), tc.o, env, tc.limit)
			want(t, r, tc.want)
			if _, ok := r.Phases.Get("connect"); ok != (tc.want != check.Misconfigured && tc.want != check.DNSTimeout) {
				t.Errorf("phases %v", r.Phases)
			}
		})
	}
}

func TestTCPWhatRoutersSay(t *testing.T) {
	inNetwork(t, []string{
		"route add unreachable 192.0.2.1", "route add prohibit 192.0.2.2", "route add throw 192.0.2.3",
	}, func() {
		for address, reason := range map[string]check.Reason{
			"192.0.2.1:80": check.ConnectUnreachable, "192.0.2.2:80": check.NoPermission, "192.0.2.3:80": check.ConnectUnreachable,
		} {
			want(t, run(t, tcpKind(), check.Options{"address": address}, check.Env{}), reason)
		}
	})
}

func TestTCPIsCutShort(t *testing.T) {
	f, err := newTCP(check.Options{"address": silent(t)}, check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := f(ctx)
	declared(t, tcpKind(), r)
	want(t, r, check.Internal)
}

func TestOptionsThatCannotHold(t *testing.T) {
	three := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	for _, tc := range []struct {
		name string
		kind check.Kind
		o    check.Options
		env  check.Env
		want string
	}{
		{"address of the other family", tcpKind(), check.Options{"address": "127.0.0.1:80", "family": ip6}, check.Env{}, `"address"`},
		{"port 0", tcpKind(), check.Options{"address": "127.0.0.1:0"}, check.Env{}, `"address"`},
		{"no port", tcpKind(), check.Options{"address": "127.0.0.1"}, check.Env{}, `"address"`},
		{"host of the other family", pingKind(), check.Options{"host": "::1", "family": ip4}, check.Env{}, `"host"`},
		{"longer than the timeout", pingKind(), check.Options{"host": "::1", "count": int64(11), "interval": time.Second}, check.Env{Timeout: 10 * time.Second}, `"interval"`},
		{"gateway longer than the timeout", gatewayKind(), check.Options{"count": int64(20)}, check.Env{Timeout: time.Second}, `"count"`},
		{"gateway of the other family", gatewayKind(), check.Options{"host": "::1", "family": ip4}, check.Env{}, `"host"`},
		{"two anchors", uplinkKind(), check.Options{"anchors": three[:2]}, check.Env{}, `"anchors"`},
		{"one anchor twice", uplinkKind(), check.Options{"anchors": []string{three[0], three[1], three[0]}}, check.Env{}, `"anchors"`},
		{"anchor without port", uplinkKind(), check.Options{"anchors": []string{three[0], three[1], "127.0.0.1"}}, check.Env{}, `"anchors"`},
		{"more than there are", uplinkKind(), check.Options{"anchors": three, "need": int64(4)}, check.Env{}, `"need"`},
	} {
		if _, err := tc.kind.New(tc.o, tc.env); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
}

func TestKindsAreWhole(t *testing.T) {
	for _, k := range Kinds() {
		if k.Family != "network" || k.New == nil || !strings.HasSuffix(k.Summary, ".") {
			t.Errorf("%s: family, summary or constructor is missing", k.Name)
		}
		for _, o := range k.Options {
			if !strings.HasSuffix(o.Help, ".") || o.Type == check.TypeInt && o.Unit == "" && o.Name != "port" {
				t.Errorf("%s: option %s has no sentence or no unit", k.Name, o.Name)
			}
		}
		for _, f := range k.Facts {
			if f.Help == "" || f.Max <= f.Min || !check.WholeFact(f.Name) && !strings.HasSuffix(f.Name, "_s") && !strings.HasSuffix(f.Name, "_ratio") {
				t.Errorf("%s: fact %s has no help, no bounds or no unit", k.Name, f.Name)
			}
		}
	}
}

// resolver asks a name server on loopback that gives every question the same response code and no record.
func resolver(t *testing.T, rcode int) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checktest.AnswerNames(t, c, func(m, _ *mdns.Msg) bool { m.Rcode = rcode; return true })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func TestTCPNamesThatDoNotResolve(t *testing.T) {
	for rcode, reason := range map[int]check.Reason{
		mdns.RcodeNameError: check.DNSNXDomain, mdns.RcodeServerFailure: check.DNSServfail, mdns.RcodeSuccess: check.DNSNXDomain,
	} {
		r := runTCP(t.Context(), line{resolver: resolver(t, rcode)}, "motcua.test.", 443, 0)
		declared(t, tcpKind(), r)
		want(t, r, reason)
		if _, ok := r.Phases.Get("dns"); !ok {
			t.Errorf("phases %v", r.Phases)
		}
	}
}

// BenchmarkTCP connects to a listener on loopback, beside the same by net.Dialer alone (bare).
func BenchmarkTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	b.Run("check", func(b *testing.B) {
		f, err := newTCP(check.Options{"address": l.Addr().String()}, check.Env{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
			if r := f(ctx); r.Reason != check.OK {
				b.Fatal(r.Reason, r.Detail)
			}
			cancel()
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
}
