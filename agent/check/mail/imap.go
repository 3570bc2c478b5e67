package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

func imapKind() check.Kind {
	return check.Kind{
		Name:    "imap",
		Family:  "mail",
		Summary: "A mailbox server: greeting, capabilities, TLS and its certificate, login and quota of a monitoring account; no letter is read.",
		Options: slices.Concat(serverOptions(check.Option{Name: "starttls", Type: check.TypeString, Default: tlsImplicit,
			Enum: []string{tlsImplicit, tlsRequired, tlsNone},
			Help: "implicit: TLS from the start (993). required: TLS is turned on (143) and its certificate judged. none: without TLS."}),
			[]check.Option{
				{Name: "quota_warn", Type: check.TypeFloat, Default: "0.9", Min: 0.01, Max: 1, Unit: "of the limit",
					Help: "A monitoring mailbox that is filled beyond this share is quota; it counts only where the server tells (RFC 9208)."},
			}),
		Facts: slices.Concat([]check.FactDef{
			{Name: "capabilities_count", Help: "capabilities named at the end", Max: maxHeard},
			{Name: "quota_used_bytes", Help: "what the letters of the monitoring account take", Max: maxQuota},
			{Name: "quota_limit_bytes", Help: "what they may take", Max: maxQuota},
			{Name: "quota_ratio", Help: "the fullest of the account's quotas, of room or of letters", Max: maxFilled},
		}, serverFacts()),
		Phases: []string{phaseDNS, phaseConnect, phaseGreeting, phaseHello, phaseSTARTTLS, phaseTLS, phaseLogin, phaseQuota, phaseTotal},
		Target: serverTarget,
		New:    newIMAP,
	}
}

// An imapCheck is one check of the kind imap.
type imapCheck struct {
	server    *server
	quotaWarn float64
}

func newIMAP(o check.Options, env check.Env) (check.Func, error) {
	s, err := newServer(o, env)
	if err != nil {
		return nil, err
	}
	c := &imapCheck{server: s, quotaWarn: o.Float("quota_warn")}
	return func(ctx context.Context) check.Result { return s.visit(ctx, "z LOGOUT\r\n", c.talk) }, nil
}

// talk goes through the conversation up to the quota. RFC 9051, and RFC 3501 for servers from before.
func (c *imapCheck) talk(s *session) *reach.Fault {
	caps, bad := c.open(s)
	if bad == nil && c.server.password != nil {
		bad = c.quota(s, caps)
	}
	if caps != nil {
		report(s, caps)
	}
	return bad
}

// open goes up to the login, where there is one, and returns what the server can do then; nil when it did not tell.
func (c *imapCheck) open(s *session) (caps []string, bad *reach.Fault) {
	begin := time.Now()
	greeting, bad := s.response("the greeting")
	s.add(phaseGreeting, begin)
	if bad == nil {
		bad = c.greeted(s, greeting)
	}
	if bad != nil {
		return nil, bad
	}
	if caps, bad = s.capabilities("a"); bad != nil {
		return nil, bad
	}
	if !s.secure {
		s.facts.Add("starttls_code", truth(slices.Contains(caps, "STARTTLS")))
		s.facts.Add("auth_plaintext_code", truth(!slices.Contains(caps, "LOGINDISABLED")))
	}
	if c.server.starttls == tlsRequired {
		if !slices.Contains(caps, "STARTTLS") {
			return caps, reach.Failf(check.STARTTLSMissing, "the server does not offer STARTTLS")
		}
		if bad = s.imapTLS(); bad != nil {
			return nil, bad
		}
		// What was said in the open is forgotten. RFC 9051, section 6.2.1.
		if caps, bad = s.capabilities("c"); bad != nil {
			return nil, bad
		}
	}
	if bad = c.server.lacks(loginMechanisms(caps)); bad != nil || c.server.password == nil {
		return caps, bad
	}
	if bad = c.login(s, caps); bad != nil {
		return caps, bad
	}
	after, bad := s.capabilities("e")
	if bad != nil {
		return caps, bad
	}
	return after, nil
}

// greeted judges the greeting.
func (c *imapCheck) greeted(s *session, g response) *reach.Fault {
	if g.tag != "*" {
		if what := stranger([]byte(g.line)); what != "" {
			return reach.Failf(check.Protocol, "%s, not IMAP", what)
		}
		return reach.Failf(check.Protocol, "the greeting is no line of IMAP: %s", told(g.line))
	}
	switch g.word {
	case "OK":
		return nil
	case "PREAUTH":
		if c.server.starttls == tlsRequired {
			// TLS cannot be turned on any more, which is what an attacker in between wants. RFC 9051, section 11.1.
			return reach.Failf(check.Protocol, "the server calls us logged in before TLS is on")
		}
		return nil
	case "BYE":
		return reach.Failf(check.MailRejected, "the greeting is BYE %s", told(g.rest))
	default:
		return reach.Failf(check.Protocol, "the greeting is %s", told(g.line))
	}
}

// imapTLS turns on TLS.
func (s *session) imapTLS() *reach.Fault {
	begin := time.Now()
	end, _, bad := s.command("b", "STARTTLS\r\n", "STARTTLS")
	s.add(phaseSTARTTLS, begin)
	switch {
	case bad != nil:
		return bad
	case end.word != "OK":
		return reach.Failf(check.TLSHandshake, "the server offers STARTTLS and refuses it: %s %s", end.word, told(end.rest))
	}
	return s.shake()
}

// capabilities asks what the server can do; the words are in capital letters.
func (s *session) capabilities(tag string) ([]string, *reach.Fault) {
	begin := time.Now()
	defer func() { s.add(phaseHello, begin) }()
	end, said, bad := s.command(tag, "CAPABILITY\r\n", "CAPABILITY")
	if bad != nil {
		return nil, bad
	}
	if end.word != "OK" {
		return nil, reach.Failf(check.Protocol, "CAPABILITY is answered %s %s", end.word, told(end.rest))
	}
	for _, r := range said {
		if r.word == "CAPABILITY" {
			return strings.Fields(strings.ToUpper(r.rest)), nil
		}
	}
	return nil, reach.Failf(check.Protocol, "CAPABILITY is answered without capabilities")
}

// login proves that the monitoring account can log in.
func (c *imapCheck) login(s *session, caps []string) *reach.Fault {
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
	var parts []string // each but the last waits until the server asks for more
	switch {
	case slices.Contains(caps, "AUTH=PLAIN") && slices.Contains(caps, "SASL-IR"):
		parts = []string{"AUTHENTICATE PLAIN " + saslPlain(c.server.user, password) + "\r\n"}
	case slices.Contains(caps, "AUTH=PLAIN"):
		parts = []string{"AUTHENTICATE PLAIN\r\n", saslPlain(c.server.user, password) + "\r\n"}
	case slices.Contains(caps, "LOGINDISABLED"):
		return reach.Failf(check.Auth, "the server offers no login by PLAIN or LOGIN, but %s", told(list(loginMechanisms(caps))))
	default: // as literals, which carry any character
		parts = []string{fmt.Sprintf("LOGIN {%d}\r\n", len(c.server.user)),
			fmt.Sprintf("%s {%d}\r\n", c.server.user, len(password)), password + "\r\n"}
	}
	end, bad := s.inParts("d", parts)
	if bad != nil {
		return bad
	}
	s.facts.Add("login_code", truth(end.word == "OK"))
	switch end.word {
	case "OK":
		return nil
	case "NO":
		// Only the code: the words may repeat the account's name.
		switch code := responseCode(end.rest); code {
		case "UNAVAILABLE", "INUSE", "SERVERBUG", "CONTACTADMIN": // no word about the password
			return reach.Failf(check.Auth, "the monitoring account was refused: %s", code)
		default:
			return c.server.lockout.refuse(password, code, c.server.now())
		}
	default:
		return reach.Failf(check.Protocol, "login is answered %s", end.word)
	}
}

// quota judges how full the monitoring mailbox is, where the server tells. RFC 9208.
func (c *imapCheck) quota(s *session, caps []string) *reach.Fault {
	if !slices.ContainsFunc(caps, func(w string) bool { return w == "QUOTA" || strings.HasPrefix(w, "QUOTA=") }) {
		return nil
	}
	begin := time.Now()
	defer func() { s.add(phaseQuota, begin) }()
	end, said, bad := s.command("f", "GETQUOTAROOT INBOX\r\n", "GETQUOTAROOT")
	if bad != nil || end.word != "OK" {
		return bad
	}
	var all usage
	for _, r := range said {
		if r.word != "QUOTA" {
			continue
		}
		if err := all.read(r.rest); err != nil {
			return reach.Failf(check.Protocol, "the quota cannot be read: %s", err)
		}
	}
	if !all.seen {
		return nil
	}
	if all.limit > 0 {
		s.facts.Add("quota_used_bytes", min(float64(all.used)*1024, maxQuota))
		s.facts.Add("quota_limit_bytes", min(float64(all.limit)*1024, maxQuota))
	}
	s.facts.Add("quota_ratio", min(all.ratio, maxFilled))
	if all.ratio > c.quotaWarn {
		return reach.Failf(check.Quota, "the monitoring mailbox is %.0f %% full", 100*all.ratio)
	}
	return nil
}

// loginMechanisms are the ways to log in: the SASL ones, and LOGIN unless it is forbidden.
func loginMechanisms(caps []string) []string {
	var ms []string
	for _, w := range caps {
		if m, ok := strings.CutPrefix(w, "AUTH="); ok && m != "" {
			ms = append(ms, m)
		}
	}
	if !slices.Contains(caps, "LOGINDISABLED") && !slices.Contains(ms, "LOGIN") {
		ms = append(ms, "LOGIN")
	}
	slices.Sort(ms)
	return slices.Compact(ms)
}

func report(s *session, caps []string) {
	s.facts.Add("capabilities_count", float64(len(caps)))
	s.facts.Add("auth_mechanisms_count", float64(len(loginMechanisms(caps))))
}
