package portal

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

func tlsKind() check.Kind {
	return check.Kind{
		Name:    "tls",
		Family:  "portal",
		Summary: "A TLS handshake: the certificate chain, its names and dates, the protocol version and the issuer.",
		Options: append([]check.Option{
			{Name: "address", Type: check.TypeAddress, Required: true, Help: "The server, as host:port."},
			{Name: "alpn", Type: check.TypeStrings, Max: 8, Help: "The protocols to offer (ALPN), e.g. [h2, http/1.1]; a server that agrees on none of them is tls_handshake."},
			reach.FamilyOption(),
			slowOption(),
		}, reach.TLSOptions()...),
		Facts:  append(reach.TLSFacts(), reach.FamilyFact(), reach.AddressFact()),
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

// A tlsCheck is one check of the kind tls.
type tlsCheck struct {
	address, host string
	policy        reach.Policy
	dialer        reach.Dialer
	slow          time.Duration
}

func newTLS(o check.Options, env check.Env) (check.Func, error) {
	c := &tlsCheck{address: o.String("address"), slow: o.Duration("slow")}
	host, port, err := net.SplitHostPort(c.address)
	if err != nil || host == "" {
		return nil, fmt.Errorf("option \"address\": %q is no host:port: write e.g. tuky.example.vn:443", c.address)
	}
	if c.host, err = reach.ASCIIHost(host); err != nil {
		return nil, fmt.Errorf("option \"address\": %w", err)
	}
	c.address = net.JoinHostPort(c.host, port)
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	for _, p := range o.Strings("alpn") {
		if p == "" || len(p) > 255 {
			return nil, fmt.Errorf("option \"alpn\": %q is no protocol: write 1 to 255 bytes, e.g. h2", p)
		}
	}
	c.policy.ALPN = o.Strings("alpn")
	c.dialer = reach.NewDialer(o.String("family"), env.Source)
	return c.run, nil
}

func (c *tlsCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	var sp spans
	var pr reach.View
	var facts check.Facts
	f := c.shake(ctx, &sp, &pr, &facts).unlessCalledOff(ctx)
	total := time.Since(begin)
	if f == nil {
		f = faultOf(c.policy.Degraded(&pr))
	}
	if f == nil && c.slow > 0 && total > c.slow {
		f = &fault{check.Slow, fmt.Sprintf("%s, the limit is %s", total.Round(time.Millisecond), c.slow)}
	}
	r := f.result()
	if f == nil {
		r.Detail = check.CleanDetail("issued by " + pr.Issuer())
	}
	pr.Facts(&facts)
	r.Phases, r.Facts = sp.phases(total), facts
	return r
}

// shake connects and makes the handshake.
func (c *tlsCheck) shake(ctx context.Context, sp *spans, pr *reach.View, facts *check.Facts) *fault {
	name := c.host
	if c.policy.ServerName != "" {
		name = c.policy.ServerName
	}
	cfg, f := c.policy.Config(name, pr)
	if f != nil {
		return faultOf(f)
	}
	conn, dialed, err := c.dialer.Dial(ctx, c.address)
	sp.dialed(dialed)
	if err != nil {
		return &fault{check.Classify(check.StepConnect, err), err.Error()}
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	if v := reach.IPFamily(conn); v != 0 {
		facts.Add("ip_family_code", v)
	}
	if v := reach.AddressCode(conn); v != 0 {
		facts.Add("address_code", v)
	}
	begin := time.Now()
	t := tls.Client(conn, cfg)
	err = t.Handshake() // bind ends it with ctx, without a goroutine
	sp.add(phaseTLS, time.Since(begin))
	if err != nil {
		return faultOf(pr.HandshakeFault(err))
	}
	if len(cfg.NextProtos) > 0 && t.ConnectionState().NegotiatedProtocol == "" {
		return &fault{check.TLSHandshake, fmt.Sprintf("the server agreed on none of the protocols %q", cfg.NextProtos)}
	}
	return nil
}
