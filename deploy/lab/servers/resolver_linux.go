package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// ResolverConfig sets up a resolver.
type ResolverConfig struct {
	Zones   map[string]string // the host:port of the authority for each zone; names in none of them are refused
	Anchors []string          // keys to trust, as a zone file writes them

	// Certificate and Key are PEM files; with them it also answers over TLS and HTTPS, at ports 853 and 443.
	Certificate, Key string
}

// A Resolver is Unbound at port 53, which follows delegations and validates DNSSEC. It keeps nothing for longer than 5 seconds.
type Resolver struct {
	p       Place
	c       ResolverConfig
	unbound *daemon

	mu         sync.Mutex
	lies       map[string]netip.Addr
	generation int
}

// generationName is a name by which it is seen which configuration is in force.
const generationName = "generation.invalid."

const unboundSettings = `server:
	directory: "%[1]s"
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	logfile: ""
	verbosity: 0
	do-daemonize: no
	num-threads: 1
	interface: %[2]s@%[3]d
	access-control: 0.0.0.0/0 allow
	access-control: ::0/0 allow
	do-not-query-localhost: no
	cache-max-ttl: 5
	cache-max-negative-ttl: 1
	val-bogus-ttl: 1
	infra-host-ttl: 5
	local-zone: "." refuse
	local-zone: "` + generationName + `" static
	local-data: '` + generationName + ` 0 TXT "%[4]d"'
`

// Nobody controls it but by a signal.
const unboundEnd = `remote-control:
	control-enable: no
`

// StartResolver starts the resolver.
func StartResolver(ctx context.Context, p Place, c ResolverConfig) (*Resolver, error) {
	if err := Require("unbound"); err != nil {
		return nil, err
	}
	r := &Resolver{p: p, c: c}
	if err := r.configure(); err != nil {
		return nil, err
	}
	var err error
	r.unbound, err = startDaemon(ctx, p, func(proc *Process) error { return r.shown(ctx, proc) }, "unbound", "-d", "-c", filepath.Join(p.Dir, "unbound.conf"))
	return r, err
}

// ResolverFor is the configuration of a resolver for the zones of an authority. Where the authority is not at port 53, to which
// delegations lead, the resolver is told of each zone.
func ResolverFor(n *Names) ResolverConfig {
	c := ResolverConfig{Zones: map[string]string{}, Anchors: n.Anchors()}
	for _, z := range n.zones {
		if n.above(z) == nil || n.p.port(53) != 53 {
			c.Zones[z.name] = n.Addr()
		}
	}
	return c
}

// configure writes Unbound's configuration, of a new generation.
func (r *Resolver) configure() error {
	r.generation++
	text := fmt.Appendf(nil, unboundSettings, r.p.Dir, r.p.IP, r.p.port(53), r.generation)
	if r.c.Certificate != "" {
		text = fmt.Appendf(text, "\tinterface: %[1]s@%[2]d\n\tinterface: %[1]s@%[3]d\n\ttls-port: %[2]d\n\thttps-port: %[3]d\n\ttls-service-pem: %[4]q\n\ttls-service-key: %[5]q\n",
			r.p.IP, r.p.port(853), r.p.port(443), r.c.Certificate, r.c.Key)
	}
	for _, key := range r.c.Anchors {
		text = fmt.Appendf(text, "\ttrust-anchor: \"%s\"\n", strings.ReplaceAll(key, "\t", " "))
	}
	zones := slices.Sorted(maps.Keys(r.c.Zones))
	for _, z := range zones {
		text = fmt.Appendf(text, "\tlocal-zone: %q transparent\n", dns.Fqdn(z))
	}
	for _, name := range slices.Sorted(maps.Keys(r.lies)) {
		kind := "A"
		if r.lies[name].Is6() {
			kind = "AAAA"
		}
		text = fmt.Appendf(text, "\tlocal-zone: %q redirect\n\tlocal-data: \"%s 5 %s %s\"\n", dns.Fqdn(name), dns.Fqdn(name), kind, r.lies[name])
	}
	text = append(text, unboundEnd...)
	for _, z := range zones {
		host, port, err := net.SplitHostPort(r.c.Zones[z])
		if err != nil {
			return fmt.Errorf("zone %s: its server %q is no host:port", z, r.c.Zones[z])
		}
		text = fmt.Appendf(text, "stub-zone:\n\tname: %q\n\tstub-addr: %s@%s\n", dns.Fqdn(z), host, port)
	}
	return replace(filepath.Join(r.p.Dir, "unbound.conf"), text, 0o644)
}

// shown waits until the newest configuration is in force.
func (r *Resolver) shown(ctx context.Context, proc *Process) error {
	want := fmt.Sprint(r.generation)
	return until(ctx, proc, "resolver at "+r.Addr(), func() error {
		m, err := ask(ctx, r.p, r.Addr(), generationName, dns.TypeTXT)
		if err != nil {
			return err
		}
		if len(m.Answer) == 1 {
			if txt, ok := m.Answer[0].(*dns.TXT); ok && slices.Equal(txt.Txt, []string{want}) {
				return nil
			}
		}
		return errors.New("an old configuration is in force")
	})
}

// Lies lets the resolver answer with these addresses for these names and all below them; with none it is honest again. What it
// knew is forgotten.
func (r *Resolver) Lies(lies map[string]netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lies = maps.Clone(lies)
	return r.renew()
}

// Flush lets the resolver forget all that it knew.
func (r *Resolver) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renew()
}

func (r *Resolver) renew() error {
	if err := r.configure(); err != nil {
		return err
	}
	return r.unbound.reload(func(proc *Process) error { return r.shown(r.unbound.ctx, proc) })
}

// Halt ends the resolver, or starts it again.
func (r *Resolver) Halt(on bool) error { return r.unbound.halt(on) }

// Hang lets the resolver answer nobody.
func (r *Resolver) Hang(on bool) error { return r.unbound.hang(on) }

// Stop ends the resolver for good.
func (r *Resolver) Stop() error { return r.unbound.stop() }

// Addr is its host:port.
func (r *Resolver) Addr() string { return r.p.at(53) }

// TLSAddr is its host:port for DNS over TLS.
func (r *Resolver) TLSAddr() string { return r.p.at(853) }

// HTTPSAddr is its host:port for DNS over HTTPS, whose path is /dns-query.
func (r *Resolver) HTTPSAddr() string { return r.p.at(443) }
