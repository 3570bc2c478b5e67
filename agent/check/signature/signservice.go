package signature

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

func signserviceKind() check.Kind {
	return check.Kind{
		Name:    "signservice",
		Family:  "signature",
		Summary: "The signing program on this machine: its process, its port and a TLS handshake; nothing is ever sent to it that could sign or ask for a PIN.",
		Options: []check.Option{
			{Name: "address", Type: check.TypeAddress, Default: "127.0.0.1:8987", Help: "Where the program listens; only this machine's loopback addresses are taken."},
			{Name: "process", Type: check.TypeString, Help: "The program's name, e.g. VGCASignService.exe; without it processes are not looked at."},
			{Name: "path", Type: check.TypeString, Help: "The file that the process must run from; another program of the same name does not count then."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "A certificate of the program that ends within this many days, or has ended, is cert_expiring; who issued it does not matter."},
			slowOption(),
		},
		Facts: []check.FactDef{
			{Name: "processes_count", Help: "processes of the program", Max: 1 << 22},
			{Name: "tls_version_code", Help: "the protocol version times ten: 10, 11, 12 or 13", Min: 10, Max: 13},
			unixFact("cert_not_before_unix", "when the program's certificate begins"),
			unixFact("cert_not_after_unix", "when the program's certificate ends"),
		},
		Phases: []string{"process", "connect", "tls", "total"},
		New:    newSignservice,
	}
}

// A signserviceCheck is one check of the kind signservice.
type signserviceCheck struct {
	address, process, path string
	warn, slow             time.Duration
	at                     clock
	suites                 []uint16
	find                   func(ctx context.Context, name, path string) (int, error)
}

func newSignservice(o check.Options, env check.Env) (check.Func, error) {
	c, err := newSignserviceCheck(o, env)
	if err != nil {
		return nil, err
	}
	return c.run, nil
}

func newSignserviceCheck(o check.Options, env check.Env) (*signserviceCheck, error) {
	c := &signserviceCheck{process: o.String("process"), path: o.String("path"), warn: days(o), slow: o.Duration("slow"), at: newClock(env), find: findProcesses}
	host, port, err := net.SplitHostPort(o.String("address"))
	if err != nil {
		return nil, fmt.Errorf("option \"address\": %q is no host:port: write 127.0.0.1:8987", o.String("address"))
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1" // never looked up: a tampered hosts file must not lead elsewhere
	}
	if a, err := netip.ParseAddr(host); err != nil || !a.Unmap().IsLoopback() {
		return nil, fmt.Errorf("option \"address\": %s is not this machine's loopback: write 127.0.0.1:%s", host, port)
	}
	c.address = net.JoinHostPort(host, port)
	if c.path != "" && c.process == "" {
		return nil, fmt.Errorf("option \"path\": a path needs the name of its process: write the option process too")
	}
	// An old program is seen and its certificate read, and not only a failed handshake.
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.suites = append(c.suites, s.ID)
	}
	return c, nil
}

// run looks once.
func (c *signserviceCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	var sp spans
	var facts check.Facts
	cert, bad := c.look(ctx, &sp, &facts)
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	detail := ""
	if bad == nil {
		detail = "certificate until " + stamp(cert.NotAfter)
		bad = expiring([]*x509.Certificate{cert}, c.warn, c.at)
	}
	if bad == nil {
		bad = tooSlow(total, c.slow)
	}
	r := bad.result(detail)
	r.Phases, r.Facts = sp.phases(total), facts
	return r
}

// look counts the processes and makes the handshake. The port is asked also when no process was found: what is known
// of it tells a program that was not started from a port that another program has taken.
func (c *signserviceCheck) look(ctx context.Context, sp *spans, facts *check.Facts) (*x509.Certificate, *fault) {
	running, unseen := -1, error(nil)
	if c.process != "" {
		begin := time.Now()
		running, unseen = c.find(ctx, c.process, c.path)
		sp.add(phaseProcess, time.Since(begin))
		if unseen == nil {
			facts.Add("processes_count", float64(running))
		}
	}
	cert, bad := c.shake(ctx, sp, facts)
	switch {
	case bad != nil && c.process != "" && unseen == nil && running == 0:
		return nil, because(bad.reason, "%s is not running; %s", c.process, bad.detail)
	case bad != nil && running > 0:
		return nil, because(bad.reason, "%s is running; %s", c.process, bad.detail)
	case bad != nil:
		return nil, bad
	case unseen != nil:
		return nil, because(processReason(unseen), "%s answers, but processes cannot be listed: %v", c.address, unseen)
	case c.process != "" && running == 0:
		return nil, because(check.ContentMissing, "%s is not running, though something answers at %s", c.process, c.address)
	}
	return cert, nil
}

// shake connects, makes the handshake and hangs up. No byte of a request is sent.
func (c *signserviceCheck) shake(ctx context.Context, sp *spans, facts *check.Facts) (*x509.Certificate, *fault) {
	begin := time.Now()
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", c.address)
	sp.add(phaseConnect, time.Since(begin))
	if err != nil {
		return nil, because(check.Classify(check.StepConnect, err), "%v", err)
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	t := tls.Client(conn, &tls.Config{
		ServerName: "localhost", MinVersion: tls.VersionTLS10, CipherSuites: c.suites,
		InsecureSkipVerify: true, // it signs its certificate itself; what it is good for is the user's browser to judge
	})
	begin = time.Now()
	err = t.Handshake()
	sp.add(phaseTLS, time.Since(begin))
	if err != nil {
		return nil, because(check.Classify(check.StepTLS, err), "TLS handshake with %s: %v", c.address, err)
	}
	state := t.ConnectionState()
	facts.Add("tls_version_code", float64(10+state.Version-tls.VersionTLS10))
	if len(state.PeerCertificates) == 0 {
		return nil, because(check.TLSHandshake, "%s sent no certificate", c.address)
	}
	cert := state.PeerCertificates[0]
	addUnix(facts, "cert_not_before_unix", cert.NotBefore)
	addUnix(facts, "cert_not_after_unix", cert.NotAfter)
	return cert, nil
}
