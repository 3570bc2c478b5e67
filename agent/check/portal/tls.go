package portal

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"egovmon/agent/check"
)

func tlsKind() check.Kind {
	return check.Kind{
		Name:    "tls",
		Family:  "portal",
		Summary: "A TLS handshake: the certificate chain, its names and dates, the protocol version and the issuer.",
		Options: append([]check.Option{
			{Name: "address", Type: check.TypeAddress, Required: true, Help: "The server, as host:port."},
			{Name: "alpn", Type: check.TypeStrings, Max: 8, Help: "The protocols to offer (ALPN), e.g. [h2, http/1.1]; a server that agrees on none of them is tls_handshake."},
			familyOption(),
			slowOption(),
		}, tlsOptions()...),
		Facts:  append(tlsFacts(), familyFact()),
		Phases: []string{"dns", "connect", "tls", "total"},
		Target: func(o check.Options) []string {
			host, _, err := net.SplitHostPort(o.String("address"))
			if err != nil {
				return nil
			}
			return []string{host}
		},
		New: newTLS,
	}
}

func slowOption() check.Option {
	return check.Option{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A run that takes longer than this is slow; without it none is."}
}

func familyFact() check.FactDef {
	return check.FactDef{Name: "ip_family_code", Help: "4 or 6: the kind of address that was connected to", Min: 4, Max: 6}
}

// A tlsCheck is one check of the kind tls.
type tlsCheck struct {
	address, host string
	policy        policy
	dialer        dialer
	slow          time.Duration
}

func newTLS(o check.Options, env check.Env) (check.Func, error) {
	c := &tlsCheck{address: o.String("address"), slow: o.Duration("slow")}
	host, port, err := net.SplitHostPort(c.address)
	if err != nil || host == "" {
		return nil, fmt.Errorf("option \"address\": %q is no host:port: write e.g. tuky.example.vn:443", c.address)
	}
	if c.host, err = asciiHost(host); err != nil {
		return nil, fmt.Errorf("option \"address\": %w", err)
	}
	c.address = net.JoinHostPort(c.host, port)
	if c.policy, err = newPolicy(o, env); err != nil {
		return nil, err
	}
	for _, p := range o.Strings("alpn") {
		if p == "" || len(p) > 255 {
			return nil, fmt.Errorf("option \"alpn\": %q is no protocol: write 1 to 255 bytes, e.g. h2", p)
		}
	}
	c.policy.alpn = o.Strings("alpn")
	c.dialer = newDialer(o.String("family"), env.Source)
	return c.run, nil
}

func (c *tlsCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	var sp spans
	var pr peer
	var facts check.Facts
	f := c.shake(ctx, &sp, &pr, &facts).unlessCalledOff(ctx)
	total := time.Since(begin)
	if f == nil {
		f = c.policy.degraded(&pr)
	}
	if f == nil && c.slow > 0 && total > c.slow {
		f = &fault{check.Slow, fmt.Sprintf("%s, the limit is %s", total.Round(time.Millisecond), c.slow)}
	}
	r := f.result()
	if f == nil {
		r.Detail = check.CleanDetail("issued by " + issuerOf(pr.certs[0]))
	}
	pr.facts(&facts)
	r.Phases, r.Facts = sp.phases(total), facts
	return r
}

// shake connects and makes the handshake.
func (c *tlsCheck) shake(ctx context.Context, sp *spans, pr *peer, facts *check.Facts) *fault {
	name := c.host
	if c.policy.serverName != "" {
		name = c.policy.serverName
	}
	cfg, f := c.policy.config(name, pr)
	if f != nil {
		return f
	}
	conn, err := c.dialer.dial(ctx, c.address, sp)
	if err != nil {
		return &fault{check.Classify(check.StepConnect, err), err.Error()}
	}
	defer conn.Close()
	defer bind(ctx, conn)()
	if v := ipFamily(conn); v != 0 {
		facts.Add("ip_family_code", v)
	}
	begin := time.Now()
	t := tls.Client(conn, cfg)
	err = t.Handshake() // bind ends it with ctx, without a goroutine
	sp.add(phaseTLS, time.Since(begin))
	if err != nil {
		return pr.handshakeFault(err)
	}
	if len(cfg.NextProtos) > 0 && t.ConnectionState().NegotiatedProtocol == "" {
		return &fault{check.TLSHandshake, fmt.Sprintf("the server agreed on none of the protocols %q", cfg.NextProtos)}
	}
	return nil
}
