package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// Bounds of what a server may send.
const (
	maxLine  = 4 << 10  // bytes of a line; RFC 5321, section 4.5.3.1.5 has 512 for a reply
	maxHeard = 64 << 10 // bytes of a whole conversation
	maxTold  = 100      // bytes of a server's own words in a detail
)

// leaveWithin is how long a server may take to say goodbye; what it does then is not judged.
const leaveWithin = time.Second

// bounds are what a server may send in one conversation. The zero value is maxLine and maxHeard.
type bounds struct {
	line, heard int // bytes
}

// or fills in the usual bounds.
func (b bounds) or() bounds {
	if b.line == 0 {
		return bounds{maxLine, maxHeard}
	}
	return b
}

// The phases of a conversation.
const (
	phaseDNS      = "dns"
	phaseConnect  = "connect"
	phaseGreeting = "greeting"
	phaseHello    = "hello"
	phaseSTARTTLS = "starttls"
	phaseTLS      = "tls"
	phaseLogin    = "login"
	phaseQuota    = "quota"
	phaseTotal    = "total"
)

// A session is one conversation with a mail server, line by line.
type session struct {
	server *server
	conn   net.Conn
	in     *bufio.Reader
	heard  int
	secure bool // TLS is on
	view   reach.View
	facts  check.Facts
	phases check.Phases
	judged func() *reach.Fault // what else must be so of the certificates that the server showed; nil for nothing

	leaving time.Duration // what the goodbye took
}

// add puts time onto a phase.
func (s *session) add(phase string, since time.Time) {
	took := time.Since(since)
	for i := range s.phases {
		if s.phases[i].Name == phase {
			s.phases[i].Took += took.Round(10 * time.Microsecond)
			return
		}
	}
	s.phases.Add(phase, took)
}

// line reads one line without its end. The bytes are good until the next read.
func (s *session) line() ([]byte, error) {
	b, err := s.in.ReadSlice('\n')
	s.heard += len(b)
	most := s.server.bounds.or()
	switch {
	case s.heard > most.heard:
		return nil, fmt.Errorf("more than %d bytes", most.heard)
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("a line of more than %d bytes", most.line)
	case err != nil:
		return nil, err
	}
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b, nil
}

// say sends lines that are complete with their ends.
func (s *session) say(lines string) *reach.Fault {
	if _, err := s.conn.Write([]byte(lines)); err != nil {
		return broken("sending", err)
	}
	return nil
}

// shake makes the handshake on the connection and goes on within it. What the server said before, and we have not read,
// is no part of what it says under TLS: it is a fault, since somebody in between may have put it there (the injection of
// CVE-2011-0411, turned on the client).
func (s *session) shake() *reach.Fault {
	if n := s.in.Buffered(); n > 0 {
		return reach.Failf(check.Protocol, "%d bytes came before the TLS handshake: somebody may be injecting answers", n)
	}
	cfg, bad := s.server.policy.Config(s.server.name(), &s.view)
	if bad != nil {
		return bad
	}
	begin := time.Now()
	t := tls.Client(s.conn, cfg)
	err := t.Handshake() // the connection's deadline ends it
	s.add(phaseTLS, begin)
	if err != nil {
		return s.view.HandshakeFault(err)
	}
	s.conn, s.secure = t, true
	s.in.Reset(t)
	if s.judged != nil {
		return s.judged()
	}
	return nil
}

// leave says goodbye and hangs up. The server has a second to answer, so that its log shows an orderly end.
func (s *session) leave(ctx context.Context, goodbye string) {
	begin := time.Now()
	defer func() { s.leaving = time.Since(begin) }()
	until := begin.Add(leaveWithin)
	if t, ok := ctx.Deadline(); ok && t.Before(until) {
		until = t
	}
	if s.conn.SetDeadline(until) == nil && ctx.Err() == nil && s.say(goodbye) == nil {
		_, _ = s.line()
	}
}

// broken is the fault of a conversation that ended with err while doing something.
func broken(doing string, err error) *reach.Fault {
	reason := check.Classify(check.StepExchange, err)
	text := cause(err)
	switch reason {
	case check.ConnectReset:
		text = "the server hung up"
	case check.Timeout:
		text = "the server fell silent"
	}
	return reach.Failf(reason, "%s: %s", doing, text)
}

// cause is the innermost text of an error of package net: the addresses around it stand in the plan.
func cause(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// told makes a server's own words fit for a detail.
func told(text string) string {
	text = check.CleanDetail(text)
	if len(text) > maxTold {
		text = strings.ToValidUTF8(text[:maxTold], "") + "…"
	}
	return text
}

// stranger says what else than a mail server begins with this line; "" when it is none that is known.
func stranger(line []byte) string {
	switch s := string(line); {
	case strings.HasPrefix(s, "SSH-"):
		return "the server speaks SSH"
	case strings.HasPrefix(s, "HTTP/"), strings.HasPrefix(strings.ToLower(s), "<html"), strings.HasPrefix(s, "<!"):
		return "the server speaks HTTP"
	case strings.HasPrefix(s, "220 "), strings.HasPrefix(s, "220-"):
		return "the server speaks SMTP or FTP"
	case strings.HasPrefix(s, "* "):
		return "the server speaks IMAP"
	case strings.HasPrefix(s, "+OK"):
		return "the server speaks POP3"
	}
	return ""
}
