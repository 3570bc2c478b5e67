package standin

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// A Resolver answers for the lab's names. It is authority and resolver at once.
type Resolver struct {
	listen func() (net.PacketConn, error)

	mu    sync.Mutex
	names map[string]netip.Addr
	lies  bool
	fails string // the zone that is SERVFAIL
	conn  net.PacketConn
	done  chan struct{}
}

// NewResolver starts a resolver that knows these host names. listen opens its port, again after each Stop.
func NewResolver(names map[string]netip.Addr, listen func() (net.PacketConn, error)) (*Resolver, error) {
	r := &Resolver{listen: listen, names: map[string]netip.Addr{}}
	for n, a := range names {
		r.names[dns.Fqdn(n)] = a
	}
	return r, r.Start()
}

// Addr is where it answers, "" while it is stopped.
func (r *Resolver) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return ""
	}
	return r.conn.LocalAddr().String()
}

// Start opens the resolver's port, unless it is open.
func (r *Resolver) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		return nil
	}
	c, err := r.listen()
	if err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	done := make(chan struct{})
	r.conn, r.done = c, done
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(r.answer)}
	go func() {
		defer close(done)
		_ = s.ActivateAndServe() // ends with the socket
	}()
	return nil
}

// Stop closes the port: who asks hears nothing.
func (r *Resolver) Stop() error {
	r.mu.Lock()
	c, done := r.conn, r.done
	r.conn = nil
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	err := c.Close()
	<-done
	return err
}

// Lie has the resolver answer with an address where nobody is.
func (r *Resolver) Lie(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lies = on
}

// Fail has the resolver answer SERVFAIL for a zone; "" ends that.
func (r *Resolver) Fail(zone string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = zone
}

// elsewhere is what a lying resolver answers: an address for documentation (RFC 5737), where nobody is.
var elsewhere = netip.MustParseAddr("192.0.2.66")

func (r *Resolver) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	name := strings.ToLower(q.Question[0].Name)
	r.mu.Lock()
	at, known := r.names[name]
	lies, fails := r.lies, r.fails
	r.mu.Unlock()
	switch {
	case fails != "" && dns.IsSubDomain(dns.Fqdn(fails), name):
		m.Rcode = dns.RcodeServerFailure
	case !known:
		m.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		if lies {
			at = elsewhere
		}
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: at.AsSlice()}}
	}
	_ = w.WriteMsg(m)
}
