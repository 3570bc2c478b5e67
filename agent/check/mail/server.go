package mail

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// The values of the option starttls.
const (
	tlsRequired = "required"
	tlsOffered  = "offered"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// serverOptions are the options that smtp and imap share.
func serverOptions(starttls check.Option) []check.Option {
	return slices.Concat([]check.Option{
		{Name: "address", Type: check.TypeAddress, Required: true, Help: "The server, as host:port."},
		starttls,
		{Name: "auth", Type: check.TypeStrings, Min: 1, Max: 16,
			Help: "Mechanisms of login that must all be offered once TLS is on, e.g. [PLAIN]; one that is not is auth."},
		{Name: "user", Type: check.TypeString, Help: "The monitoring account to log in with, never a person's own; without it nobody logs in."},
		{Name: "password", Type: check.TypeSecret, Help: "The password of the monitoring account; it is sent through verified TLS only."},
		pauseOption(),
		{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A run that takes longer than this is slow; without it none is."},
		reach.FamilyOption(),
	}, reach.TLSOptions())
}

// serverFacts are the numbers that smtp and imap share.
func serverFacts() []check.FactDef {
	return slices.Concat([]check.FactDef{
		reach.FamilyFact(),
		reach.AddressFact(),
		{Name: "starttls_code", Help: "1 when the server offers to turn on TLS, else 0", Max: 1},
		{Name: "auth_mechanisms_count", Help: "mechanisms of login offered at the end", Max: maxHeard},
		{Name: "auth_plaintext_code", Help: "1 when a login was offered before TLS was on, else 0", Max: 1},
		{Name: "login_code", Help: "1 when the monitoring account could log in, 0 when it could not", Max: 1},
	}, reach.TLSFacts())
}

// A server is what a plan says of the server that a check of smtp or imap talks to.
type server struct {
	address, host string
	starttls      string
	policy        reach.Policy
	dialer        reach.Dialer
	mechanisms    []string // in capital letters
	user          string
	password      func() (string, error) // nil for no login
	lockout       *lockout
	now           func() time.Time
	bounds        bounds // zero for the usual ones
	slow, timeout time.Duration
	egress        egress
}

func newServer(o check.Options, env check.Env) (*server, error) {
	s := &server{address: o.String("address"), starttls: o.String("starttls"), user: o.String("user"), slow: o.Duration("slow"), timeout: env.Timeout,
		lockout: &lockout{pause: o.Duration("login_pause"), account: o.String("address") + " " + o.String("user"), notes: env.Kept()}, now: env.Now}
	if s.now == nil {
		s.now = time.Now
	}
	host, port, err := net.SplitHostPort(s.address)
	if err != nil || host == "" {
		return nil, fmt.Errorf("option \"address\": %q is no host:port: write e.g. mail.example.vn:587", s.address)
	}
	if s.host, err = reach.ASCIIHost(host); err != nil {
		return nil, fmt.Errorf("option \"address\": %w", err)
	}
	s.address = net.JoinHostPort(s.host, port)
	if s.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	s.policy.Unjudged = s.starttls == tlsOffered
	s.dialer = reach.NewDialer(o.String("family"), env.Source)
	for _, m := range o.Strings("auth") {
		if m == "" || strings.ContainsAny(m, " \t\r\n") {
			return nil, fmt.Errorf("option \"auth\": %q is no mechanism: write e.g. PLAIN", m)
		}
		s.mechanisms = append(s.mechanisms, strings.ToUpper(m))
	}
	return s, s.login(o, env)
}

// login reads the monitoring account.
func (s *server) login(o check.Options, env check.Env) error {
	secret := o.String("password")
	switch {
	case s.user == "" && secret == "":
		return nil
	case s.user == "":
		return fmt.Errorf("option \"password\": a password needs its user: write user")
	case secret == "":
		return fmt.Errorf("option \"user\": the account has no password: write password: {secret: NAME}")
	case strings.ContainsAny(s.user, "\x00\r\n"):
		return fmt.Errorf("option \"user\": it holds a character that no login can send")
	case s.starttls == tlsNone, s.starttls == tlsOffered:
		return fmt.Errorf("option \"user\": a password is sent through verified TLS only: write starttls: required or implicit")
	}
	s.password = func() (string, error) { return reach.Secret(env, secret) }
	return nil
}

func serverTarget(o check.Options) []string {
	var hosts []string
	for _, a := range slices.Concat([]string{o.String("address")}, o.Strings("alive"), o.Strings("egress")) {
		if host, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// name is the one that the certificate must be for.
func (s *server) name() string {
	if s.policy.ServerName != "" {
		return s.policy.ServerName
	}
	return s.host
}

// visit makes one run: it connects, lets talk do the rest, and judges what is left to judge when talk had no fault.
func (s *server) visit(ctx context.Context, goodbye string, talk func(*session) *reach.Fault) check.Result {
	if _, ok := ctx.Deadline(); !ok && s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	begin := time.Now()
	ses := &session{server: s}
	bad := s.meet(ctx, ses, goodbye, talk).UnlessCalledOff(ctx)
	total := time.Since(begin) - ses.leaving
	if bad == nil {
		bad = s.policy.Degraded(&ses.view)
	}
	if bad == nil && s.slow > 0 && total > s.slow {
		bad = reach.Failf(check.Slow, "%s, the limit is %s", total.Round(time.Millisecond), s.slow)
	}
	r := bad.Result()
	ses.view.Facts(&ses.facts)
	ses.phases.Add(phaseTotal, total)
	r.Phases, r.Facts = ses.phases, ses.facts
	return r
}

// meet connects and talks.
func (s *server) meet(ctx context.Context, ses *session, goodbye string, talk func(*session) *reach.Fault) *reach.Fault {
	dial, cancel := s.egress.reserve(ctx)
	conn, dialed, err := s.dialer.Dial(dial, s.address)
	cancel()
	if dialed.Resolved {
		ses.phases.Add(phaseDNS, dialed.DNS)
	}
	if dialed.Tried {
		ses.phases.Add(phaseConnect, dialed.Connect)
	}
	if err != nil {
		return s.egress.judge(ctx, &s.dialer, reach.Failf(check.Classify(check.StepConnect, err), "%s", cause(err)))
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	if v := reach.IPFamily(conn); v != 0 {
		ses.facts.Add("ip_family_code", v)
	}
	if v := reach.AddressCode(conn); v != 0 {
		ses.facts.Add("address_code", v)
	}
	ses.conn, ses.in = conn, bufio.NewReaderSize(conn, s.bounds.or().line)
	if s.starttls == tlsImplicit {
		if bad := ses.shake(); bad != nil {
			return bad
		}
	}
	bad := talk(ses)
	if bad == nil || bad.Reason.State() == check.Degraded || bad.Reason == check.Auth {
		ses.leave(ctx, goodbye)
	}
	return bad
}

// lacks is the fault of a server that does not offer a mechanism that the plan asks for; nil when all are there.
func (s *server) lacks(offered []string) *reach.Fault {
	for _, m := range s.mechanisms {
		if !slices.Contains(offered, m) {
			return reach.Failf(check.Auth, "login by %s is not offered, but %s", told(m), told(list(offered)))
		}
	}
	return nil
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
