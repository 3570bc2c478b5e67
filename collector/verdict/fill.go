package verdict

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"egovmon/agent/plan"
	"egovmon/collector/profile"
)

// A filler reads out of a profile through what the checks of a service pass.
type filler struct {
	p     *profile.Profile
	now   time.Time
	units []string
}

// service describes a service by its deciding checks.
func (f *filler) service(s *profile.Service) Service {
	out := Service{Depends: s.Depends, Operator: s.Operator}
	if r := s.Rule(); r != nil {
		out.Depends = slices.Clone(out.Depends)
		for _, x := range r.Items() {
			if !slices.Contains(out.Depends, x.Service) {
				out.Depends = append(out.Depends, x.Service)
			}
		}
	}
	var paths []plan.Path
	local, names, zones := true, []string(nil), []string(nil)
	for i, c := range s.Checks {
		if !c.Decides && (i > 0 || slices.ContainsFunc(s.Checks, func(c profile.ServiceCheck) bool { return c.Decides })) {
			continue
		}
		out.Every = max(out.Every, c.Every)
		switch c.Kind {
		case "gateway", "uplink", "path", "line", "captive", "neighbours", "throughput":
			out.Line = true
		case "http", "loginpage", "journey", "freshness", "tls", "trustlist":
			out.Web = true
		}
		local = local && slices.Contains([]string{"host", "inventory", "control", "certs", "signservice", "attested", "derived", "counter"}, c.Kind)
		if !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
		hosts, secure := f.hosts(&c)
		apexes := f.apexes(&c)
		out.TLS = out.TLS || secure
		out.PerUnit = out.PerUnit || len(hosts) > 1 || len(apexes) > 1
		for _, z := range apexes {
			if !slices.Contains(zones, z) {
				zones = append(zones, z)
			}
		}
		for _, h := range hosts {
			if z := zoneOf(h); z != "" && !slices.Contains(zones, z) {
				zones = append(zones, z)
			}
			if !slices.Contains(names, h) {
				names = append(names, h)
			}
		}
	}
	out.Local = local
	if len(paths) == 1 {
		out.Path = paths[0]
	}
	if len(names) == 1 {
		out.Host = names[0]
	}
	if len(zones) == 1 {
		out.Zone = zones[0]
	}
	return out
}

// hosts lists the hosts that a check asks, of every unit, and whether the other side shows a certificate.
func (f *filler) hosts(c *profile.ServiceCheck) (hosts []string, secure bool) {
	switch c.Kind {
	case "tls", "loginpage", "journey":
		secure = true
	}
	for _, o := range c.With {
		text, ok := o.Value.(string)
		if !ok {
			continue
		}
		switch o.Name {
		case "url", "address", "host":
		case "name":
			if c.Kind != "dns" && c.Kind != "maildns" {
				continue
			}
		case "starttls":
			secure = secure || text == "required"
			continue
		default:
			continue
		}
		for _, unit := range f.units {
			v := f.fill(text, unit)
			secure = secure || strings.HasPrefix(v, "https://")
			if h := hostOf(v); h != "" && !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts, secure
}

// apexes lists the zones that a check is about by their own names, of every unit: the kind zone asks for nothing else.
func (f *filler) apexes(c *profile.ServiceCheck) (zones []string) {
	if c.Kind != "zone" {
		return nil
	}
	for _, o := range c.With {
		text, ok := o.Value.(string)
		if !ok || o.Name != "name" {
			continue
		}
		for _, unit := range f.units {
			if z := hostOf(f.fill(text, unit)); z != "" && !slices.Contains(zones, z) {
				zones = append(zones, z)
			}
		}
	}
	return zones
}

var placeholder = regexp.MustCompile(`\$\{([^{}]*)\}`)

// fill fills the parameters of a unit in; "" when one of them is not known.
func (f *filler) fill(text, unit string) string {
	whole := true
	text = placeholder.ReplaceAllStringFunc(text, func(m string) string {
		v, ok := f.p.Parameter(m[2:len(m)-1], unit, f.now)
		whole = whole && ok
		return v.Value
	})
	if !whole {
		return ""
	}
	return text
}

// hostOf returns the host of a URL, of host:port, or of a bare name.
func hostOf(v string) string {
	if u, err := url.Parse(v); err == nil && u.Host != "" {
		return strings.ToLower(u.Hostname())
	}
	if h, _, err := net.SplitHostPort(v); err == nil {
		v = h
	}
	return strings.ToLower(strings.TrimSuffix(v, "."))
}

// zoneOf returns the zone that a name most likely stands in: what follows its first label. An address stands in none.
func zoneOf(host string) string {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return ""
	}
	if _, zone, ok := strings.Cut(host, "."); ok && strings.Contains(zone, ".") {
		return zone
	}
	return host
}

// resolver returns the service that judges what resolves the units' names: the one with a deciding check of kind dns.
func (f *filler) resolver() (id string) {
	for _, s := range f.p.ServicesAt(f.now) {
		deciding := s.Deciding()
		for _, c := range s.Checks {
			if c.Kind == "dns" && slices.Contains(deciding, s.ID+"."+c.ID) && (id == "" || s.ID < id) {
				id = s.ID
			}
		}
	}
	return id
}

// server names the resolver that a unit asks; "" is the system's own.
func (f *filler) server(service, unit string) string {
	s, ok := f.p.Service(service, f.now)
	if !ok {
		return ""
	}
	for _, c := range s.Checks {
		for _, o := range c.With {
			if text, ok := o.Value.(string); ok && c.Kind == "dns" && o.Name == "server" {
				return f.fill(text, unit)
			}
		}
	}
	return ""
}
