package mail

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// maxWitnesses bounds each of the two lists.
const maxWitnesses = 8

// egressOptions let a check prove that it is the provider that closes a port to this machine. Many close port 25 to
// homes and offices, so that a PC cannot judge a server there, while the province's own servers reach it.
func egressOptions() []check.Option {
	return []check.Option{
		{Name: "alive", Type: check.TypeAddrs, Min: 1, Max: maxWitnesses,
			Help: "Other ports, of this server or another, asked when no connection could be made; the detail then says whether one answers."},
		{Name: "egress", Type: check.TypeAddrs, Min: 2, Max: maxWitnesses,
			Help: "The same port at hosts of other operators that are up. When none of them can be reached either, and one of alive can, the result is egress_blocked: our own provider closes the port."},
	}
}

// An egress is the witnesses that tell a provider's closed port from a server's. The zero value has none.
type egress struct {
	alive, blocked []string
}

func newEgress(o check.Options) (egress, error) {
	e := egress{alive: o.Strings("alive"), blocked: o.Strings("egress")}
	if len(e.blocked) == 0 {
		return e, nil
	}
	if len(e.alive) == 0 {
		return egress{}, fmt.Errorf("option \"egress\": a closed port is proven only while another port is open: write alive too")
	}
	host, port, err := net.SplitHostPort(o.String("address"))
	if err != nil {
		return egress{}, fmt.Errorf("option \"address\": %w", err)
	}
	for i, a := range e.blocked {
		h, p, err := net.SplitHostPort(a)
		switch {
		case err != nil:
			return egress{}, fmt.Errorf("option \"egress\": %w", err)
		case p != port || h == host:
			return egress{}, fmt.Errorf("option \"egress\": %s proves nothing about port %s: write other hosts with that port", a, port)
		case slices.Contains(e.blocked[:i], a):
			return egress{}, fmt.Errorf("option \"egress\": %s stands twice: name different hosts", a)
		}
	}
	for _, a := range e.alive {
		if _, p, err := net.SplitHostPort(a); err != nil || p == port {
			return egress{}, fmt.Errorf("option \"alive\": %s must have another port than %s, which may be the closed one", a, port)
		}
	}
	return e, nil
}

// reserve leaves half of the time for the witnesses, when there are any.
func (e egress) reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || len(e.alive) == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// judge hears the witnesses about a connection that failed. Without proof the fault stays what it is.
func (e egress) judge(ctx context.Context, d *reach.Dialer, bad *reach.Fault) *reach.Fault {
	switch bad.Reason {
	case check.ConnectTimeout, check.ConnectUnreachable, check.ConnectRefused:
	default:
		return bad
	}
	if len(e.alive) == 0 || ctx.Err() != nil {
		return bad
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*9/10) // so that the result is there when the time ends
		defer cancel()
	}
	type heard struct {
		alive    bool
		address  string
		answered bool
	}
	all := make(chan heard)
	ask := func(address string, alive bool) {
		conn, _, err := d.Dial(ctx, address)
		if err == nil {
			conn.Close()
		}
		all <- heard{alive, address, err == nil}
	}
	for _, a := range e.alive {
		go ask(a, true)
	}
	for _, a := range e.blocked {
		go ask(a, false)
	}
	open, passed := "", ""
	for range len(e.alive) + len(e.blocked) {
		switch h := <-all; {
		case h.answered && h.alive:
			open = h.address
		case h.answered:
			passed = h.address
		}
	}
	switch {
	case open == "":
		return &reach.Fault{Reason: bad.Reason, Detail: bad.Detail + "; no other port answers either"}
	case len(e.blocked) == 0, passed != "":
		return &reach.Fault{Reason: bad.Reason, Detail: fmt.Sprintf("%s; %s answers", bad.Detail, open)}
	default:
		return reach.Failf(check.EgressBlocked, "%s; %d other hosts cannot be reached at this port either, while %s answers: our provider closes the port", bad.Detail, len(e.blocked), open)
	}
}
