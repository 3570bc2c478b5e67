package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
)

// maxForeign ends a run in which somebody floods us with answers to other questions.
const maxForeign = 1000

// udpBuffer has room for more than we offer to take; an answer that fills it is asked for again by TCP.
const udpBuffer = 2048

// An outcome is what one server said to one question.
type outcome struct {
	server  netip.AddrPort
	reason  check.Reason // OK, or why the server gave nothing that can be used
	detail  string       // for a person
	message *mdns.Msg    // nil when no answer could be read
	found   []mdns.RR    // the records that answer the question
	took    time.Duration
	sent    int // how often the question was sent
}

// replied reports whether the server gave an answer about the name, whatever it says.
func (o outcome) replied() bool {
	switch o.reason {
	case check.OK, check.DNSNXDomain, check.DNSEmpty, check.DNSMismatch:
		return true
	}
	return false
}

// An asker sends one question. It is used by one goroutine at a time.
type asker struct {
	query  query
	tcp    bool // ask by TCP from the start
	tries  int
	source netip.Addr
	out    []byte // the question as it is sent
}

// ask puts the question to one server and judges what comes back, as far as that needs no expectation.
func (a *asker) ask(ctx context.Context, server netip.AddrPort) outcome {
	o := outcome{server: server}
	if a.source.IsValid() && a.source.Unmap().Is4() != server.Addr().Is4() {
		o.reason, o.detail = check.Misconfigured, fmt.Sprintf("%s cannot be reached from %s: write a server of the same IP version", server.Addr(), a.source)
		return o
	}
	begin := time.Now()
	a.exchange(ctx, &o, a.query.packed)
	if o.message != nil && o.message.IsEdns0() == nil && (o.message.Rcode == mdns.RcodeFormatError || o.message.Rcode == mdns.RcodeNotImplemented) {
		o.message = nil
		a.exchange(ctx, &o, a.query.plain) // a server from before EDNS0, RFC 6891 section 7
	}
	o.took = time.Since(begin)
	if o.message != nil {
		o.judge(a.query)
	}
	return o
}

// exchange fills in the message, or the reason why there is none.
func (a *asker) exchange(ctx context.Context, o *outcome, packed []byte) {
	var id [2]byte
	rand.Read(id[:])
	a.out = append(append(a.out[:0], 0, 0), packed...) // two bytes of room for the length that TCP puts in front
	copy(a.out[2:], id[:])
	step, err := check.StepExchange, error(nil)
	var truncated bool
	if !a.tcp {
		truncated, err = a.byUDP(ctx, o, binary.BigEndian.Uint16(id[:]))
	}
	if a.tcp || truncated {
		step, err = a.byTCP(ctx, o, binary.BigEndian.Uint16(id[:]))
		if err != nil && truncated {
			err = fmt.Errorf("the answer does not fit UDP, and by TCP: %w", err)
		}
	}
	if err == nil {
		return
	}
	o.reason, o.detail = reasonOf(ctx, step, err), err.Error()
}

// reasonOf names an error. Silence is dns_timeout at every step: the server, not a connection, is what is judged.
func reasonOf(ctx context.Context, step check.Step, err error) check.Reason {
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
func (a *asker) byUDP(ctx context.Context, o *outcome, id uint16) (truncated bool, err error) {
	var from *net.UDPAddr
	if a.source.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.source, 0))
	}
	c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(o.server))
	if err != nil {
		return false, plain(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, udpBuffer)
	end, bounded := ctx.Deadline()
	foreign := 0
	for try := range a.tries {
		until := end
		if left := a.tries - try; bounded && left > 1 {
			until = time.Now().Add(time.Until(end) / time.Duration(left))
		}
		o.sent++
		if _, err := c.Write(a.out[2:]); err != nil {
			return false, plain(err)
		}
		c.SetReadDeadline(until)
		for ctx.Err() == nil && foreign <= maxForeign {
			n, err := c.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return false, plain(err)
			}
			head, err := a.query.head(buf[:n], id)
			switch {
			case errors.Is(err, errForeign):
				foreign++
				continue
			case err != nil:
				return false, err
			case head.truncated, n == len(buf):
				return true, nil
			}
			return false, o.unpack(buf[:n])
		}
	}
	switch {
	case foreign > maxForeign:
		return false, fmt.Errorf("%w, more than %d times", errForeign, maxForeign)
	case foreign > 0:
		return false, fmt.Errorf("no answer, but %d messages that answer another question: %w", foreign, os.ErrDeadlineExceeded)
	}
	return false, fmt.Errorf("no answer: %w", os.ErrDeadlineExceeded)
}

// byTCP asks over a connection of its own. RFC 7766.
func (a *asker) byTCP(ctx context.Context, o *outcome, id uint16) (check.Step, error) {
	d := net.Dialer{KeepAlive: -1}
	var from netip.AddrPort
	if a.source.IsValid() {
		from = netip.AddrPortFrom(a.source, 0)
	}
	c, err := d.DialTCP(ctx, "tcp", from, o.server)
	if err != nil {
		return check.StepConnect, plain(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	binary.BigEndian.PutUint16(a.out, uint16(len(a.out)-2))
	o.sent++
	if _, err := c.Write(a.out); err != nil {
		return check.StepExchange, plain(err)
	}
	for range maxForeign {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return check.StepExchange, plain(err)
		}
		answer := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, answer); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return check.StepExchange, plain(err)
		}
		head, err := a.query.head(answer, id)
		switch {
		case errors.Is(err, errForeign):
			continue
		case err != nil:
			return check.StepExchange, err
		case head.truncated:
			return check.StepExchange, fmt.Errorf("%w: cut short although it came by TCP", errMalformed)
		}
		return check.StepExchange, o.unpack(answer)
	}
	return check.StepExchange, fmt.Errorf("%w, more than %d times", errForeign, maxForeign)
}

// plain drops the addresses from an error of package net.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	return err
}

// unpack reads a whole message.
func (o *outcome) unpack(b []byte) error {
	m := new(mdns.Msg)
	if err := m.Unpack(b); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	for i, section := range [][]mdns.RR{m.Answer, m.Ns, m.Extra} {
		if n := int(binary.BigEndian.Uint16(b[6+2*i:])); n != len(section) {
			return fmt.Errorf("%w: %d records where it announces %d", errMalformed, len(section), n)
		}
	}
	o.message = m
	return nil
}

// judge tells the ways apart in which a message may hold no answer.
func (o *outcome) judge(q query) {
	m := o.message
	switch m.Rcode {
	case mdns.RcodeSuccess:
		if o.found = q.records(m.Answer); len(o.found) > 0 {
			o.reason = check.OK
			return
		}
		o.reason, o.detail = check.DNSEmpty, "no record of type "+mdns.Type(q.qtype).String()
		if len(m.Answer) == 0 && len(m.Ns) > 0 && m.Ns[0].Header().Rrtype == mdns.TypeNS {
			o.detail = "a referral to other servers instead of an answer"
		}
	case mdns.RcodeNameError:
		o.reason, o.detail = check.DNSNXDomain, "the name does not exist"
	case mdns.RcodeServerFailure:
		o.reason, o.detail = check.DNSServfail, "the server failed"+extended(m)
	case mdns.RcodeRefused:
		o.reason, o.detail = check.DNSRefused, "the server refused"+extended(m)
	default:
		o.reason, o.detail = check.Protocol, "the server answered "+rcodeName(m.Rcode)
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
