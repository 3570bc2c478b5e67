package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// The values of the option protocol.
const (
	protocolUDP   = "udp"
	protocolTCP   = "tcp"
	protocolTLS   = "tls"
	protocolHTTPS = "https"
)

// maxServers bounds how many servers one check asks.
const maxServers = lookup.MaxServers

func serverOption() check.Option {
	return check.Option{Name: "server", Type: check.TypeAddress, Help: "Name server to ask; without server and servers it is those of the system."}
}

func serversOption() check.Option {
	return check.Option{Name: "servers", Type: check.TypeAddrs, Min: 1, Max: maxServers, Help: "Name servers to ask, all at once."}
}

func triesOption() check.Option {
	return check.Option{Name: "tries", Type: check.TypeInt, Default: "2", Min: 1, Max: 5, Unit: "datagrams", Help: "How often a question is sent by UDP within the timeout while no answer comes."}
}

// An internet is what the kinds know of the world without being told by a plan.
type internet struct {
	system func() ([]netip.AddrPort, error) // the system's name servers
	at     func(netip.Addr) netip.AddrPort  // where a zone's server with this address listens
}

func theInternet() internet {
	return internet{
		system: lookup.SystemServers,
		at:     func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 53) },
	}
}

// A place is where a check asks: at the servers of the plan or of the system, and from which address.
type place struct {
	servers []string // host:port; none means the system's
	source  netip.Addr
	net     internet
}

func newPlace(o check.Options, env check.Env, net internet) (place, error) {
	p := place{servers: named(o), source: env.Source, net: net}
	if o.Has("server") && o.Has("servers") {
		return p, errors.New(`option "server": it excludes servers: write one of the two`)
	}
	for i, s := range p.servers {
		if err := hostPort("server", s); err != nil {
			return p, err
		}
		if slices.Contains(p.servers[:i], s) {
			return p, fmt.Errorf("option %q: %s stands twice: name different servers", "servers", s)
		}
	}
	return p, nil
}

func hostPort(option, s string) error {
	if _, _, err := net.SplitHostPort(s); err != nil {
		return fmt.Errorf("option %q: %q is no host:port: write e.g. 10.20.1.1:53", option, s)
	}
	return nil
}

// named lists the servers that the options name.
func named(o check.Options) []string {
	if s := o.String("server"); s != "" {
		return []string{s}
	}
	return o.Strings("servers")
}

func targets(o check.Options) []string {
	var hosts []string
	for _, s := range named(o) {
		if host, _, err := net.SplitHostPort(s); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// resolvers lists the servers to ask, those of the system in its order.
func (p place) resolvers() ([]string, *check.Result) {
	if len(p.servers) > 0 {
		return p.servers, nil
	}
	system, err := p.net.system()
	switch {
	case err != nil:
		return nil, new(check.Because(check.NotSupported, "the system's name servers cannot be found: %s; name them with the option servers", err))
	case len(system) == 0:
		return nil, new(check.Because(check.NotConfigured, "the system has no name servers; name them with the option servers"))
	}
	var all []string
	for _, s := range system[:min(len(system), maxServers)] {
		all = append(all, s.String())
	}
	return all, nil
}

// newSecure reads how to ask over an encrypted connection; nil for one in the clear.
func newSecure(o check.Options, env check.Env) (*lookup.Secure, error) {
	protocol := o.String("protocol")
	if protocol != protocolTLS && protocol != protocolHTTPS {
		return nil, nil
	}
	if len(named(o)) == 0 {
		return nil, fmt.Errorf("option %q: the system's name servers are asked in the clear: name a server", "protocol")
	}
	policy, err := reach.NewPolicy(o, env)
	if err != nil {
		return nil, err
	}
	s := &lookup.Secure{Policy: policy, Name: policy.ServerName}
	if protocol == protocolHTTPS {
		if s.Path = o.String("doh_path"); !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Path, "?#{} ") {
			return nil, fmt.Errorf("option %q: %q is no path: write e.g. /dns-query", "doh_path", s.Path)
		}
	}
	return s, nil
}

// askerAt makes an Asker for one server. Its certificate must be for the name in the plan.
func askerAt(a *lookup.Asker, server string) *lookup.Asker {
	mine := a.Clone()
	if mine.Secure != nil && mine.Secure.Name == "" {
		if host, _, err := net.SplitHostPort(server); err == nil {
			mine.Secure.Name = host
		}
	}
	return mine
}
