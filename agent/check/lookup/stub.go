package lookup

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"egovmon/agent/check"
)

// A Stub asks resolvers as a machine does: the first, and the next one when the one before it fails. It is used by one
// goroutine at a time.
type Stub struct {
	Servers []string   // host:port
	Source  netip.Addr // the local address to send from; the zero Addr leaves that to the system
	Most    int        // how many questions it asks in all

	asked int
}

// Asked is how many questions were asked.
func (s *Stub) Asked() int { return s.asked }

// Ask returns the first outcome that says something about the name, else the first that came. A name that DNS cannot hold
// does not exist.
func (s *Stub) Ask(ctx context.Context, name, typ string) Outcome {
	q, err := NewQuery(name, typ, true, false)
	if err != nil {
		return Outcome{Reason: check.DNSNXDomain, Detail: fmt.Sprintf("%.80q is no name that DNS can hold", name)}
	}
	var first Outcome
	for i, server := range s.Servers {
		if s.asked >= s.Most {
			return Outcome{Reason: check.Protocol, Detail: fmt.Sprintf("it takes more than %d questions", s.Most)}
		}
		s.asked++
		one, cancel := Share(ctx, len(s.Servers)-i)
		a := Asker{Query: q, Tries: 2, Source: s.Source}
		o := a.AskNamed(one, server)
		cancel()
		if o.Replied() {
			return o
		}
		if i == 0 {
			first = o
		}
	}
	return first
}

// Share gives one of n tries that are left its part of the time that is left.
func Share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/time.Duration(n))
}
