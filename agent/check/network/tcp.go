package network

import (
	"context"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

func tcpKind() check.Kind {
	return check.Kind{
		Name:    "tcp",
		Family:  "network",
		Summary: "Opens a TCP connection and closes it again; says how long that took or why it failed.",
		Options: []check.Option{
			{Name: "address", Type: check.TypeAddress, Required: true, Help: "Host and port to connect to."},
			slowOption("the connection"),
			familyOption(),
		},
		Facts: []check.FactDef{
			ipVersionFact(),
			{Name: "addresses_count", Help: "addresses of the name that could be tried", Min: 1, Max: maxAddrs},
		},
		Phases: []string{"dns", "connect", "total"},
		Target: func(o check.Options) []string {
			host, _, err := splitAddress("address", o.String("address"))
			if err != nil {
				return nil
			}
			return []string{host}
		},
		New: newTCP,
	}
}

func newTCP(o check.Options, env check.Env) (check.Func, error) {
	host, port, err := splitAddress("address", o.String("address"))
	if err != nil {
		return nil, err
	}
	l := line{family: o.String("family"), source: env.Source}
	if err := checkFamily("address", host, l); err != nil {
		return nil, err
	}
	slow := o.Duration("slow")
	return func(ctx context.Context) check.Result { return runTCP(ctx, l, host, port, slow) }, nil
}

// runTCP tries the addresses of the host one after the other until one answers. The reason of a failure is the first
// address's, since that is the one that the host's users try first.
func runTCP(ctx context.Context, l line, host string, port uint16, slow time.Duration) check.Result {
	begin := time.Now()
	addrs, bad := l.lookup(ctx, host)
	var phases check.Phases
	if _, err := netip.ParseAddr(host); err != nil {
		phases.Add("dns", time.Since(begin))
	}
	if bad != nil {
		bad.Phases = phases
		return *bad
	}
	var result check.Result
	var used netip.Addr
	var took time.Duration
	for i, a := range addrs {
		sub, cancel := share(ctx, len(addrs)-i)
		t, err := l.connect(sub, netip.AddrPortFrom(a, port))
		cancel()
		if err == nil {
			result, used, took = check.Because(check.OK, ""), a, t
			break
		}
		if i == 0 {
			result, used, took = failed(ctx, check.StepConnect, err), a, t
		}
		if ctx.Err() != nil {
			break
		}
	}
	if result.Reason == check.OK && slow > 0 && took > slow {
		result = check.Because(check.Slow, "connected in %s, limit %s", took.Round(time.Microsecond), slow)
	}
	phases.Add("connect", took)
	phases.Add("total", time.Since(begin))
	result.Phases = phases
	result.Facts.Add("ip_version_code", ipVersion(used))
	result.Facts.Add("addresses_count", float64(len(addrs)))
	return result
}
