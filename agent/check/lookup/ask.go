package lookup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// MaxForeign ends a run in which somebody floods us with answers to other questions.
const MaxForeign = 1000

// udpBuffer has room for more than we offer to take; an answer that fills it is asked for again by TCP.
const udpBuffer = 2048

// An Outcome is what one server said to one question.
type Outcome struct {
	Server  netip.AddrPort
	Reason  check.Reason // OK, or why the server gave nothing that can be used
	Detail  string       // for a person
	Message *mdns.Msg    // nil when no answer could be read
	Found   []mdns.RR    // the records that answer the question
	Took    time.Duration
	Sent    int         // how often the question was sent
	TLS     *reach.View // what the server showed over TLS; nil when it was not asked so
	Second  *Outcome    // the first other answer to the same question that came by UDP; nil for none
}

// Replied reports whether the server gave an answer about the name, whatever it says.
func (o Outcome) Replied() bool {
	switch o.Reason {
	case check.OK, check.DNSNXDomain, check.DNSEmpty, check.DNSMismatch:
		return true
	}
	return false
}

// An Asker sends one question. It is used by one goroutine at a time.
type Asker struct {
	Query  Query
	TCP    bool       // ask by TCP from the start
	Secure *Secure    // ask over TLS or HTTPS; nil asks in the clear
	Tries  int        // how often it is sent by UDP within the time while no answer comes; at least 1
	Source netip.Addr // the local address to send from; the zero Addr leaves that to the system

	// Linger is how long a second answer by UDP is waited for once one has come. A resolver sends one; a second, different one
	// shows that the first was forged by somebody nearer. Zero does not wait.
	Linger time.Duration

	out  []byte // the question as it is sent
	held held   // what stays open from one question to the next
}

// Clone returns an Asker of the same question for another goroutine.
func (a *Asker) Clone() *Asker {
	return &Asker{Query: a.Query, TCP: a.TCP, Secure: a.Secure.clone(), Tries: a.Tries, Source: a.Source}
}

// Ask puts the question to one server and judges what comes back, as far as that needs no expectation.
func (a *Asker) Ask(ctx context.Context, server netip.AddrPort) Outcome {
	o := Outcome{Server: server}
	if a.Source.IsValid() && a.Source.Unmap().Is4() != server.Addr().Is4() {
		o.Reason, o.Detail = check.Misconfigured, fmt.Sprintf("%s cannot be reached from %s: write a server of the same IP version", server.Addr(), a.Source)
		return o
	}
	begin := time.Now()
	a.exchange(ctx, &o, a.Query.packed)
	if o.Message != nil && o.Message.IsEdns0() == nil && (o.Message.Rcode == mdns.RcodeFormatError || o.Message.Rcode == mdns.RcodeNotImplemented) {
		o.Message = nil
		a.exchange(ctx, &o, a.Query.plain) // a server from before EDNS0, RFC 6891 section 7
	}
	o.Took = time.Since(begin)
	if o.Message != nil {
		o.judge(a.Query)
	}
	return o
}

// exchange fills in the message, or the reason why there is none.
func (a *Asker) exchange(ctx context.Context, o *Outcome, packed []byte) {
	var id [2]byte
	if a.Secure == nil || a.Secure.Path == "" {
		rand.Read(id[:]) // over HTTPS it is 0, so that answers can be kept. RFC 8484, section 4.1
	}
	a.out = append(append(a.out[:0], 0, 0), packed...) // two bytes of room for the length that TCP puts in front
	copy(a.out[2:], id[:])
	step, err := check.StepExchange, error(nil)
	var truncated bool
	switch {
	case a.Secure != nil && a.Secure.Path != "":
		err = a.byHTTPS(ctx, o)
	case a.Secure != nil:
		step, err = a.byTLS(ctx, o, binary.BigEndian.Uint16(id[:]))
	case !a.TCP:
		truncated, err = a.byUDP(ctx, o, binary.BigEndian.Uint16(id[:]))
	}
	if a.Secure == nil && (a.TCP || truncated) {
		step, err = a.byTCP(ctx, o, binary.BigEndian.Uint16(id[:]))
		if err != nil && truncated {
			err = fmt.Errorf("the answer does not fit UDP, and by TCP: %w", err)
		}
	}
	if err == nil {
		return
	}
	o.Reason, o.Detail = reasonOf(ctx, step, err), err.Error()
}

// reasonOf names an error. Silence is dns_timeout at every step: the server, not a connection, is what is judged.
func reasonOf(ctx context.Context, step check.Step, err error) check.Reason {
	if f, ok := errors.AsType[*faulted](err); ok && !errors.Is(ctx.Err(), context.Canceled) {
		return f.fault.Reason
	}
	switch r := check.Classify(step, err); {
	case errors.Is(ctx.Err(), context.Canceled):
		return check.Internal
	case errors.Is(err, errMalformed), errors.Is(err, errForeign):
		return check.Protocol
	case r == check.Timeout, r == check.ConnectTimeout:
		return check.DNSTimeout
	default:
		return r
	}
}

// byUDP sends the question, again after each share of the time in which nothing came, and reads until an answer to it
// arrives. The socket is connected, so that the kernel drops what comes from other addresses.
func (a *Asker) byUDP(ctx context.Context, o *Outcome, id uint16) (truncated bool, err error) {
	var from *net.UDPAddr
	if a.Source.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Source, 0))
	}
	c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(o.Server))
	if err != nil {
		return false, plain(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, udpBuffer)
	end, bounded := ctx.Deadline()
	foreign := 0
	for try := range a.Tries {
		until := end
		if left := a.Tries - try; bounded && left > 1 {
			until = time.Now().Add(time.Until(end) / time.Duration(left))
		}
		o.Sent++
		if _, err := c.Write(a.out[2:]); err != nil {
			return false, plain(err)
		}
		c.SetReadDeadline(until)
		for ctx.Err() == nil && foreign <= MaxForeign {
			n, err := c.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return false, plain(err)
			}
			head, err := a.Query.head(buf[:n], id)
			switch {
			case errors.Is(err, errForeign):
				foreign++
				continue
			case err != nil:
				return false, err
			case head.truncated, n == len(buf):
				return true, nil
			}
			if err := o.unpack(buf[:n]); err != nil {
				return false, err
			}
			if a.Linger > 0 {
				a.linger(ctx, c, o, buf, n, id)
			}
			return false, nil
		}
	}
	switch {
	case foreign > MaxForeign:
		return false, fmt.Errorf("%w, more than %d times", errForeign, MaxForeign)
	case foreign > 0:
		return false, fmt.Errorf("no answer, but %d messages that answer another question: %w", foreign, os.ErrDeadlineExceeded)
	}
	return false, fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
}

// linger reads on for another answer than the one of n bytes in buf.
func (a *Asker) linger(ctx context.Context, c *net.UDPConn, o *Outcome, buf []byte, n int, id uint16) {
	first := slices.Clone(buf[:n])
	c.SetReadDeadline(time.Now().Add(a.Linger))
	for range MaxForeign {
		n, err := c.Read(buf)
		if err != nil || ctx.Err() != nil {
			return
		}
		second := Outcome{Server: o.Server, Sent: o.Sent}
		if _, err := a.Query.head(buf[:n], id); err != nil || bytes.Equal(buf[:n], first) || second.unpack(buf[:n]) != nil {
			continue
		}
		second.judge(a.Query)
		o.Second = &second
		return
	}
}

// byTCP asks over a connection of its own. RFC 7766.
func (a *Asker) byTCP(ctx context.Context, o *Outcome, id uint16) (check.Step, error) {
	c, err := a.dial(ctx, o.Server)
	if err != nil {
		return check.StepConnect, plain(err)
	}
	defer c.Close()
	return check.StepExchange, a.talk(ctx, c, o, id)
}

func (a *Asker) dial(ctx context.Context, server netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	var from netip.AddrPort
	if a.Source.IsValid() {
		from = netip.AddrPortFrom(a.Source, 0)
	}
	return d.DialTCP(ctx, "tcp", from, server)
}

// talk sends the question over a stream and reads until the answer to it arrives. RFC 1035, section 4.2.2.
func (a *Asker) talk(ctx context.Context, c net.Conn, o *Outcome, id uint16) error {
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	binary.BigEndian.PutUint16(a.out, uint16(len(a.out)-2))
	o.Sent++
	if _, err := c.Write(a.out); err != nil {
		return plain(err)
	}
	for range MaxForeign {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return plain(err)
		}
		answer := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, answer); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return plain(err)
		}
		head, err := a.Query.head(answer, id)
		switch {
		case errors.Is(err, errForeign):
			continue
		case err != nil:
			return err
		case head.truncated:
			return fmt.Errorf("%w: cut short although it came by TCP", errMalformed)
		}
		return o.unpack(answer)
	}
	return fmt.Errorf("%w, more than %d times", errForeign, MaxForeign)
}

// plain drops the addresses from an error of package net.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

// Parse makes of a message what an Asker makes of one that comes as the answer to q. An error says that it is none.
func Parse(q Query, b []byte) (Outcome, error) {
	o := Outcome{Sent: 1}
	if len(b) < 2 {
		return o, errForeign
	}
	if _, err := q.head(b, binary.BigEndian.Uint16(b)); err != nil {
		return o, err
	}
	if err := o.unpack(b); err != nil {
		return o, err
	}
	o.judge(q)
	return o, nil
}

// unpack reads a whole message.
func (o *Outcome) unpack(b []byte) error {
	m := new(mdns.Msg)
	if err := m.Unpack(b); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	for i, section := range [][]mdns.RR{m.Answer, m.Ns, m.Extra} {
		if n := int(binary.BigEndian.Uint16(b[6+2*i:])); n != len(section) {
			return fmt.Errorf("%w: %d records where it announces %d", errMalformed, len(section), n)
		}
	}
	o.Message = m
	return nil
}

// judge tells the ways apart in which a message may hold no answer.
func (o *Outcome) judge(q Query) {
	m := o.Message
	switch m.Rcode {
	case mdns.RcodeSuccess:
		if o.Found = q.records(m.Answer); len(o.Found) > 0 {
			o.Reason = check.OK
			return
		}
		o.Reason, o.Detail = check.DNSEmpty, "no record of type "+mdns.Type(q.Type).String()
		if len(m.Answer) == 0 && len(m.Ns) > 0 && m.Ns[0].Header().Rrtype == mdns.TypeNS {
			o.Detail = "a referral to other servers instead of an answer"
		}
	case mdns.RcodeNameError:
		o.Reason, o.Detail = check.DNSNXDomain, "the name does not exist"
	case mdns.RcodeServerFailure:
		o.Reason, o.Detail = check.DNSServfail, "the server failed"+extended(m)
	case mdns.RcodeRefused:
		o.Reason, o.Detail = check.DNSRefused, "the server refused"+extended(m)
	default:
		o.Reason, o.Detail = check.Protocol, "the server answered "+rcodeName(m.Rcode)
	}
}

// extended is what the server says about its failure. RFC 8914.
func extended(m *mdns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	for _, o := range opt.Option {
		if e, ok := o.(*mdns.EDNS0_EDE); ok {
			if text := mdns.ExtendedErrorCodeToString[e.InfoCode]; text != "" {
				return " (" + text + ")"
			}
			return fmt.Sprintf(" (extended error %d)", e.InfoCode)
		}
	}
	return ""
}

func rcodeName(rcode int) string {
	if s, ok := mdns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", rcode)
}

// AskNamed asks a server given as host:port, by address or by name. Only that name is looked up by the system.
func (a *Asker) AskNamed(ctx context.Context, server string) Outcome {
	if ap, err := netip.ParseAddrPort(server); err == nil {
		return a.Ask(ctx, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	host, port, _ := net.SplitHostPort(server)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Outcome{Reason: check.Misconfigured, Detail: fmt.Sprintf("port %q is no number", port)}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Outcome{Reason: check.Classify(check.StepResolve, err), Detail: fmt.Sprintf("the name of the server %s: %s", host, plain(err))}
	}
	for _, addr := range addrs {
		if addr = addr.Unmap(); !a.Source.IsValid() || a.Source.Unmap().Is4() == addr.Is4() {
			return a.Ask(ctx, netip.AddrPortFrom(addr, uint16(n)))
		}
	}
	return Outcome{Reason: check.Misconfigured, Detail: fmt.Sprintf("%s has no address of the IP version of %s", host, a.Source)}
}
