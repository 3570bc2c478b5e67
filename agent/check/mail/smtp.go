package mail

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

func smtpKind() check.Kind {
	return check.Kind{
		Name:    "smtp",
		Family:  "mail",
		Summary: "A mail server that takes letters: greeting, extensions, TLS and its certificate, login; no letter is sent.",
		Options: slices.Concat(serverOptions(check.Option{Name: "starttls", Type: check.TypeString, Default: tlsRequired,
			Enum: []string{tlsRequired, tlsOffered, tlsImplicit, tlsNone},
			Help: "required: TLS is turned on and its certificate judged, as mail programs do (587). offered: the same, but any certificate will do, as between mail servers (25). implicit: TLS from the start (465). none: without TLS."}),
			[]check.Option{
				{Name: "ehlo", Type: check.TypeHost, Help: "The name to greet with; without it the address that the connection leaves from."},
			}, daneOptions(), egressOptions()),
		Facts: slices.Concat([]check.FactDef{
			{Name: "reply_code", Help: "the last reply code of the server before the end", Min: 200, Max: 599},
			{Name: "extensions_count", Help: "extensions offered at the end", Max: maxHeard},
			{Name: "size_limit_bytes", Help: "largest letter that the server says it takes; absent without a limit", Min: 1, Max: 1 << 53},
		}, daneFacts(), serverFacts()),
		Phases: []string{phaseDNS, phaseConnect, phaseGreeting, phaseHello, phaseSTARTTLS, phaseTLS, phaseLogin, phaseDANE, phaseTotal},
		Target: smtpTarget,
		New:    newSMTP,
	}
}

// An smtpCheck is one check of the kind smtp.
type smtpCheck struct {
	server *server
	ehlo   string     // "" for the address of the connection
	offers extensions // what the server offered last
	bind   *binding   // nil asks nothing of DNS
}

func newSMTP(o check.Options, env check.Env) (check.Func, error) {
	s, err := newServer(o, env)
	if err != nil {
		return nil, err
	}
	if s.egress, err = newEgress(o); err != nil {
		return nil, err
	}
	c := &smtpCheck{server: s}
	if c.bind, err = newBinding(o, env, s); err != nil {
		return nil, err
	}
	if o.Has("ehlo") {
		if c.ehlo, err = reach.ASCIIHost(o.String("ehlo")); err != nil || strings.ContainsAny(c.ehlo, " \t\r\n") {
			return nil, fmt.Errorf("option \"ehlo\": %q is no host name: write e.g. pc-01.example.vn", o.String("ehlo"))
		}
		c.ehlo = literal(c.ehlo)
	}
	return func(ctx context.Context) check.Result {
		return s.visit(ctx, "QUIT\r\n", func(ses *session) *reach.Fault { return c.bound(ctx, ses) })
	}, nil
}

// smtpTarget lists the hosts that a check goes to, the resolver among them.
func smtpTarget(o check.Options) []string {
	hosts := serverTarget(o)
	if host, _, err := net.SplitHostPort(o.String("server")); err == nil && !slices.Contains(hosts, host) {
		hosts = append(hosts, host)
	}
	return hosts
}

// bound talks with the server, and compares its certificate with what DNS binds it to before anything is said in confidence.
func (c *smtpCheck) bound(ctx context.Context, s *session) *reach.Fault {
	if c.bind == nil {
		return c.talk(s)
	}
	begin := time.Now()
	records, missing := c.bind.look(ctx)
	s.add(phaseDANE, begin)
	if missing != nil && missing.Reason.State() != check.Degraded {
		return missing
	}
	if missing == nil {
		s.facts.Add("tlsa_count", float64(len(records)))
		s.judged = func() *reach.Fault {
			bad := bound(records, s.view.Certificates(), c.bind.host, c.server.now())
			s.facts.Add("tlsa_match_code", truth(bad == nil))
			return bad
		}
		if s.secure {
			if bad := s.judged(); bad != nil {
				return bad
			}
		}
	}
	bad := c.talk(s)
	switch {
	case missing == nil:
		return bad
	case bad == nil:
		return missing
	}
	bad.Detail += "; " + missing.Detail
	return bad
}

// literal writes an address as a greeting has it, names as they are. RFC 5321, section 4.1.3.
func literal(host string) string {
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return host
	case ip.To4() != nil:
		return "[" + ip.To4().String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// talk goes through the conversation up to the login.
func (c *smtpCheck) talk(s *session) *reach.Fault {
	begin := time.Now()
	r, bad := s.reply("the greeting")
	s.add(phaseGreeting, begin)
	if bad == nil && r.code != 220 {
		bad = r.refused("the greeting")
	}
	if bad != nil {
		return c.greetingFault(s, bad)
	}
	ext, bad := c.hello(s)
	if bad != nil {
		return bad
	}
	offered := ext.has("STARTTLS")
	if !s.secure {
		s.facts.Add("starttls_code", truth(offered))
		s.facts.Add("auth_plaintext_code", truth(len(ext.mechanisms()) > 0))
	}
	if c.server.starttls == tlsRequired || c.server.starttls == tlsOffered {
		if !offered {
			ext.report(s)
			return reach.Failf(check.STARTTLSMissing, "the server does not offer STARTTLS")
		}
		if bad = s.smtpTLS(); bad != nil {
			return bad
		}
		// What was said in the open is forgotten. RFC 3207, section 4.2.
		if ext, bad = c.hello(s); bad != nil {
			return bad
		}
	}
	ext.report(s)
	if bad := c.server.lacks(ext.mechanisms()); bad != nil || c.server.password == nil {
		return bad
	}
	return c.login(s, ext.mechanisms())
}

// greetingFault adds what a person may try when nothing came.
func (c *smtpCheck) greetingFault(s *session, bad *reach.Fault) *reach.Fault {
	if bad.Reason == check.Timeout && !s.secure {
		return reach.Failf(bad.Reason, "%s; where the port has TLS from the start, write starttls: implicit", bad.Detail)
	}
	return bad
}

// hello asks for the extensions; a server from before EHLO has none.
func (c *smtpCheck) hello(s *session) (extensions, *reach.Fault) {
	name := c.ehlo
	if name == "" {
		name = "localhost"
		if host, _, err := net.SplitHostPort(s.conn.LocalAddr().String()); err == nil {
			name = literal(host)
		}
	}
	begin := time.Now()
	defer func() { s.add(phaseHello, begin) }()
	r, bad := s.ask("EHLO "+name+"\r\n", "EHLO")
	if bad != nil {
		return nil, bad
	}
	if r.code == 500 || r.code == 502 {
		if r, bad = s.ask("HELO "+name+"\r\n", "HELO"); bad != nil {
			return nil, bad
		}
		r.lines = r.lines[:1]
	}
	if r.code != 250 {
		return nil, r.refused("our name")
	}
	c.offers = parseExtensions(r.lines[1:])
	return c.offers, nil
}

// smtpTLS turns on TLS. RFC 3207.
func (s *session) smtpTLS() *reach.Fault {
	begin := time.Now()
	r, bad := s.ask("STARTTLS\r\n", "STARTTLS")
	s.add(phaseSTARTTLS, begin)
	switch {
	case bad != nil:
		return bad
	case r.code == 421:
		return r.refused("STARTTLS")
	case r.code != 220:
		return reach.Failf(check.TLSHandshake, "the server offers STARTTLS and refuses it: %s", r)
	}
	return s.shake()
}

// login proves that the monitoring account can log in. RFC 4954.
func (c *smtpCheck) login(s *session, offered []string) *reach.Fault {
	password, err := c.server.password()
	if err != nil {
		return reach.Failf(check.NotConfigured, "%s", err)
	}
	if bad := c.server.lockout.holds(password, c.server.now()); bad != nil {
		s.facts.Add("login_code", 0)
		return bad
	}
	begin := time.Now()
	defer func() { s.add(phaseLogin, begin) }()
	var r reply
	var bad *reach.Fault
	switch {
	case slices.Contains(offered, "PLAIN"):
		r, bad = s.ask("AUTH PLAIN "+saslPlain(c.server.user, password)+"\r\n", "login")
	case slices.Contains(offered, "LOGIN"):
		r, bad = s.ask("AUTH LOGIN\r\n", "login")
		for _, word := range []string{c.server.user, password} {
			if bad == nil && r.code == 334 {
				r, bad = s.ask(base64Of(word)+"\r\n", "login")
			}
		}
	default:
		return reach.Failf(check.Auth, "the server offers no login by PLAIN or LOGIN, but %s", told(list(offered)))
	}
	if bad != nil {
		return bad
	}
	s.facts.Add("login_code", truth(r.code == 235))
	switch {
	case r.code == 235:
		return nil
	case r.code == 421:
		return reach.Failf(check.MailRejected, "login: the server closes: %s", r.numbers())
	// Only the numbers: the words may repeat the account's name.
	case r.code/100 == 4:
		return reach.Failf(check.Auth, "the monitoring account was refused: %s", r.numbers())
	case r.code/100 == 5:
		return c.server.lockout.refuse(password, r.numbers(), c.server.now())
	default:
		return reach.Failf(check.Protocol, "login: %s where 235 belongs", r.numbers())
	}
}
