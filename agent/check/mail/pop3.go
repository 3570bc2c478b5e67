package mail

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

func pop3Kind() check.Kind {
	return check.Kind{
		Name:    "pop3",
		Family:  "mail",
		Summary: "A mailbox server for programs that fetch letters: greeting, capabilities, TLS and its certificate, login and size of a monitoring mailbox; no letter is fetched.",
		Options: slices.Concat(serverOptions(check.Option{Name: "starttls", Type: check.TypeString, Default: tlsImplicit,
			Enum: []string{tlsImplicit, tlsRequired, tlsNone},
			Help: "implicit: TLS from the start (995). required: TLS is turned on by STLS (110) and its certificate judged. none: without TLS."}),
			[]check.Option{
				{Name: "quota", Type: check.TypeBytes, Min: 1, Max: maxQuota, Help: "What the monitoring mailbox may hold: the protocol does not tell. Without it nothing is quota."},
				{Name: "quota_warn", Type: check.TypeFloat, Default: "0.9", Min: 0.01, Max: 1, Unit: "of the quota", Help: "A monitoring mailbox that is filled beyond this share of quota is quota."},
			}),
		Facts: slices.Concat([]check.FactDef{
			{Name: "capabilities_count", Help: "capabilities named at the end", Max: maxResponses},
			{Name: "messages_count", Help: "letters in the monitoring mailbox", Max: maxQuota},
			{Name: "quota_used_bytes", Help: "what they take", Max: maxQuota},
			{Name: "quota_limit_bytes", Help: "what they may take, as the plan says", Max: maxQuota},
			{Name: "quota_ratio", Help: "the one over the other", Max: maxFilled},
		}, serverFacts()),
		Phases: []string{phaseDNS, phaseConnect, phaseGreeting, phaseHello, phaseSTARTTLS, phaseTLS, phaseLogin, phaseQuota, phaseTotal},
		Target: serverTarget,
		New:    newPOP3,
	}
}

// A pop3Check is one check of the kind pop3.
type pop3Check struct {
	server    *server
	quota     int64 // 0 for none
	quotaWarn float64
}

func newPOP3(o check.Options, env check.Env) (check.Func, error) {
	s, err := newServer(o, env)
	if err != nil {
		return nil, err
	}
	c := &pop3Check{server: s, quota: o.Int("quota"), quotaWarn: o.Float("quota_warn")}
	return func(ctx context.Context) check.Result { return s.visit(ctx, "QUIT\r\n", c.talk) }, nil
}

// A popReply is the one line that answers a command. RFC 1939, section 3.
type popReply struct {
	ok   bool
	text string
	code string // in brackets, e.g. IN-USE (RFC 2449, section 8); "" without one
}

// popReply reads one.
func (s *session) popReply(to string) (popReply, *reach.Fault) {
	line, err := s.line()
	if err != nil {
		return popReply{}, broken(to, err)
	}
	r, ok := parsePOP(string(line))
	if ok {
		return r, nil
	}
	if what := stranger(line); what != "" {
		return popReply{}, reach.Failf(check.Protocol, "%s, not POP3", what)
	}
	return popReply{}, reach.Failf(check.Protocol, "%s: no line of POP3: %s", to, told(string(line)))
}

func parsePOP(line string) (r popReply, ok bool) {
	word, text, _ := strings.Cut(line, " ")
	if word != "+OK" && word != "-ERR" {
		return popReply{}, false
	}
	r = popReply{ok: word == "+OK", text: text}
	if code, _, found := strings.Cut(text, "]"); found && strings.HasPrefix(code, "[") &&
		!strings.ContainsFunc(code[1:], func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' && c != '/' }) {
		r.code = code[1:]
	}
	return r, true
}

// popAsk sends a command and reads the line that answers it.
func (s *session) popAsk(command, what string) (popReply, *reach.Fault) {
	if bad := s.say(command + "\r\n"); bad != nil {
		return popReply{}, bad
	}
	return s.popReply(what)
}

// talk goes through the conversation up to the size of the mailbox.
func (c *pop3Check) talk(s *session) *reach.Fault {
	begin := time.Now()
	greeting, bad := s.popReply("the greeting")
	s.add(phaseGreeting, begin)
	switch {
	case bad != nil:
		return bad
	case !greeting.ok:
		return reach.Failf(check.MailRejected, "the greeting is -ERR %s", told(greeting.text))
	}
	caps, bad := s.popCapabilities()
	if bad != nil {
		return bad
	}
	if !s.secure {
		s.facts.Add("starttls_code", truth(caps.has("STLS")))
		s.facts.Add("auth_plaintext_code", truth(len(popMechanisms(caps)) > 0))
	}
	if c.server.starttls == tlsRequired {
		if !caps.has("STLS") {
			reportPOP(s, caps)
			return reach.Failf(check.STARTTLSMissing, "the server does not offer STLS")
		}
		if bad = s.popTLS(); bad != nil {
			return bad
		}
		// What was said in the open is forgotten. RFC 2595, section 4.
		if caps, bad = s.popCapabilities(); bad != nil {
			return bad
		}
	}
	reportPOP(s, caps)
	if bad = c.server.lacks(popMechanisms(caps)); bad != nil || c.server.password == nil {
		return bad
	}
	if bad = c.login(s, caps); bad != nil {
		return bad
	}
	return c.size(s)
}

func reportPOP(s *session, caps extensions) {
	s.facts.Add("capabilities_count", float64(len(caps)))
	s.facts.Add("auth_mechanisms_count", float64(len(popMechanisms(caps))))
}

// popMechanisms are the ways to log in: the SASL ones, and USER for a name and a password in two commands.
func popMechanisms(caps extensions) []string {
	all := slices.Clone(caps["SASL"])
	if caps.has("USER") {
		all = append(all, "USER")
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// popCapabilities asks what the server can do. A server from before RFC 2449 knows no such question: it has USER.
func (s *session) popCapabilities() (extensions, *reach.Fault) {
	begin := time.Now()
	defer func() { s.add(phaseHello, begin) }()
	r, bad := s.popAsk("CAPA", "CAPA")
	if bad != nil {
		return nil, bad
	}
	if !r.ok {
		return extensions{"USER": nil}, nil
	}
	var lines []string
	for range maxResponses {
		line, err := s.line()
		if err != nil {
			return nil, broken("CAPA", err)
		}
		if string(line) == "." {
			return parseExtensions(lines), nil
		}
		lines = append(lines, string(line))
	}
	return nil, reach.Failf(check.Protocol, "CAPA: more than %d lines", maxResponses)
}

// popTLS turns on TLS. RFC 2595, section 4.
func (s *session) popTLS() *reach.Fault {
	begin := time.Now()
	r, bad := s.popAsk("STLS", "STLS")
	s.add(phaseSTARTTLS, begin)
	switch {
	case bad != nil:
		return bad
	case !r.ok:
		return reach.Failf(check.TLSHandshake, "the server offers STLS and refuses it: %s", told(r.text))
	}
	return s.shake()
}

// login proves that the monitoring account can log in.
func (c *pop3Check) login(s *session, caps extensions) *reach.Fault {
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
	var r popReply
	var bad *reach.Fault
	switch {
	case slices.Contains(caps["SASL"], "PLAIN"):
		r, bad = s.popPlain(saslPlain(c.server.user, password))
	case caps.has("USER"):
		if strings.ContainsAny(password, "\r\n\x00") {
			return reach.Failf(check.Misconfigured, "the password holds a character that this server's login cannot send")
		}
		if r, bad = s.popAsk("USER "+c.server.user, "login"); bad == nil && r.ok {
			r, bad = s.popAsk("PASS "+password, "login")
		}
	default:
		return reach.Failf(check.Auth, "the server offers no login by PLAIN or USER, but %s", told(list(popMechanisms(caps))))
	}
	if bad != nil {
		return quietly(bad)
	}
	s.facts.Add("login_code", truth(r.ok))
	return c.judgeLogin(r, password)
}

// popPlain logs in by SASL. RFC 5034: a server that cannot take the message at once asks for it.
func (s *session) popPlain(message string) (popReply, *reach.Fault) {
	if bad := s.say("AUTH PLAIN\r\n"); bad != nil {
		return popReply{}, bad
	}
	line, err := s.line()
	if err != nil {
		return popReply{}, broken("login", err)
	}
	if string(line) != "+" && !strings.HasPrefix(string(line), "+ ") {
		r, ok := parsePOP(string(line))
		if !ok || r.ok {
			return popReply{}, reach.Failf(check.Protocol, "login: the server does not ask for the password")
		}
		return r, nil
	}
	return s.popAsk(message, "login")
}

// judgeLogin judges the answer. Only the code is told: the words may repeat the account's name.
func (c *pop3Check) judgeLogin(r popReply, password string) *reach.Fault {
	switch {
	case r.ok:
		return nil
	case r.code == "IN-USE", r.code == "SYS/TEMP", r.code == "SYS/PERM", r.code == "LOGIN-DELAY": // no word about the password
		return reach.Failf(check.MailRejected, "the server does not open the mailbox: %s", r.code)
	default:
		return c.server.lockout.refuse(password, r.code, c.server.now())
	}
}

// quietly takes the server's words out of a fault that may repeat what it was told.
func quietly(bad *reach.Fault) *reach.Fault {
	if bad.Reason == check.Protocol && strings.HasPrefix(bad.Detail, "login: no line of POP3") {
		return reach.Failf(check.Protocol, "login: no line of POP3")
	}
	return bad
}

// size judges how full the monitoring mailbox is.
func (c *pop3Check) size(s *session) *reach.Fault {
	begin := time.Now()
	defer func() { s.add(phaseQuota, begin) }()
	r, bad := s.popAsk("STAT", "STAT")
	if bad != nil {
		return bad
	}
	words := strings.Fields(r.text)
	if !r.ok || len(words) < 2 {
		return reach.Failf(check.Protocol, "STAT is answered without the two numbers: %s", told(r.text))
	}
	count, err := strconv.ParseUint(words[0], 10, 63)
	used, err2 := strconv.ParseUint(words[1], 10, 63)
	if err != nil || err2 != nil {
		return reach.Failf(check.Protocol, "STAT: %s is no number", told(fmt.Sprint(words[:2])))
	}
	s.facts.Add("messages_count", min(float64(count), maxQuota))
	s.facts.Add("quota_used_bytes", min(float64(used), maxQuota))
	if c.quota == 0 {
		return nil
	}
	ratio := float64(used) / float64(c.quota)
	s.facts.Add("quota_limit_bytes", float64(c.quota))
	s.facts.Add("quota_ratio", min(ratio, maxFilled))
	if ratio > c.quotaWarn {
		return reach.Failf(check.Quota, "the monitoring mailbox is %.0f %% full", 100*ratio)
	}
	return nil
}
