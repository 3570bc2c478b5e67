package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/network"
	"egovmon/agent/check/reach"
	"egovmon/agent/daemon"
	"egovmon/agent/host"
	"egovmon/agent/notes"
	"egovmon/agent/plan"
	"egovmon/agent/words"
	"egovmon/exporter"
)

const (
	pageTimeout = 6 * time.Second  // of the page, and of each look but the hops
	pathTimeout = 20 * time.Second // of the look at the hops
	askTimeout  = 3 * time.Second  // of a question to a name server or a neutral host
	maxAsked    = 8                // name servers, and neutral hosts
)

// A system is what the way leads to.
type system struct {
	url     *url.URL // of what is no page, the kind and the address
	kind    string   // of check
	options check.Options
	plan    *plan.Plan // nil for none
	path    plan.Path  // its line, when the plan names one
	dir     string     // the data folder, for secrets and what checks remember
	check   string     // the check of the plan whose kind and options these are; "" for none
}

// mailKinds are the kinds that speak for a mail server's ports, and whether TLS is there from the start.
func mailKinds() map[string][2]string {
	return map[string][2]string{"25": {"smtp", "offered"}, "587": {"smtp", "required"}, "465": {"smtp", "implicit"}, "143": {"imap", "required"},
		"993": {"imap", "implicit"}, "110": {"pop3", "required"}, "995": {"pop3", "implicit"}}
}

// findSystem reads what a person wrote: the address of a page, a mail server as host:port, or a check of the plan that goes to one.
func findSystem(name string, p *plan.Plan, dir string) (*system, error) {
	s := &system{plan: p, path: plan.Internet, dir: dir}
	if p != nil {
		for _, c := range p.Checks {
			if u := c.Options.String("url"); u != "" && (c.ID == name || u == name) && (c.Kind == "http" || c.Kind == "loginpage") {
				s.path = c.Path
				return s, s.take(u, c)
			}
			if slices.Contains([]string{"smtp", "imap", "pop3", "tcp"}, c.Kind) && (c.ID == name || c.Options.String("address") == name) {
				s.path, s.check = c.Path, c.ID
				return s, s.serve(c.Kind, c.Options.String("address"), c.Options)
			}
		}
	}
	if _, port, err := net.SplitHostPort(name); err == nil {
		if k, ok := mailKinds()[port]; ok {
			return s, s.serve(k[0], name, check.Options{"starttls": k[1]})
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is6() {
		name = "https://[" + strings.ReplaceAll(name, "%", "%25") + "]" // RFC 6874, section 2
	}
	if !strings.Contains(name, "://") {
		if p != nil && !strings.Contains(name, ".") || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%q is neither the address of a page nor a check of the plan with one: write e.g. https://host/path", name)
		}
		name = "https://" + name
	}
	return s, s.take(name, plan.Check{})
}

func (s *system) take(address string, c plan.Check) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" && !isPort(u.Port()) {
		return fmt.Errorf("%q is no address of a page: write e.g. https://host/path", address)
	}
	s.url, s.kind = u, "http"
	s.options = defaults("http")
	if c.Kind == "http" {
		maps.Copy(s.options, c.Options)
	} else if c.Options.Has("roots") {
		s.options["roots"] = c.Options["roots"]
	}
	s.options["url"] = address
	return nil
}

// serve takes what is no page: a server at an address, spoken to as a kind does.
func (s *system) serve(kind, address string, o check.Options) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%q is no host:port: write e.g. mail.example.vn:587", address)
	}
	s.url, s.kind, s.options = &url.URL{Scheme: kind, Host: address}, kind, defaults(kind)
	maps.Copy(s.options, o)
	s.options["address"] = address
	return nil
}

// isPort tells whether a text is the number of a port.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// look gathers what there is to see of the way, as much of it as is needed: when the page comes, nothing else matters.
func (s *system) look(ctx context.Context) wayEvidence {
	e := wayEvidence{early: time.Now().Before(exporter.ThisBuild().Date)}
	e.page, e.service, e.tslcd = s.run(ctx, s.kind, s.options, pageTimeout), s.kind != "http", s.path == plan.TSLCD
	if e.page.State == check.Up || e.page.State == check.Degraded {
		return e
	}
	e.card, e.link, e.address = cards(s.ownLine(), s.foreignLines())
	target := s.address(ctx)
	e.route = s.routed(target)
	e.near = target.IsValid() && ownNetwork(target)
	e.wayless = target.IsValid() && !e.near && !e.route
	if !e.card || !e.link || !e.address && !e.near {
		return e
	}
	var wg sync.WaitGroup
	var answers, names int
	if !e.near {
		wg.Go(func() { e.gateway = new(s.run(ctx, "gateway", defaults("gateway"), pageTimeout)) })
		wg.Go(func() { answers = s.askAnchors(ctx) })
		wg.Go(func() { e.captive = s.askPlanned(ctx, "captive") })
		wg.Go(func() { e.hijack = s.askPlanned(ctx, "hijack") })
	}
	wg.Go(func() { names, e.resolved, e.bogus = s.askNames(ctx) })
	wg.Go(func() { e.path, e.toSystem = s.follow(ctx, target) })
	wg.Wait()
	e.outside = answers + names
	return e
}

// defaults are the options that a kind has without a plan.
func defaults(kind string) check.Options {
	o := check.Options{}
	k, _ := kinds.Table().Lookup(kind)
	for _, d := range k.Options {
		if v, err := plan.Default(d); err == nil && d.Default != "" {
			o[d.Name] = v
		}
	}
	return o
}

// run runs a kind once.
func (s *system) run(ctx context.Context, kind string, o check.Options, limit time.Duration) check.Result {
	k, ok := kinds.Table().Lookup(kind)
	if !ok {
		return check.Because(check.NotSupported, "no kind %s", kind)
	}
	env := check.Env{Check: kind, Timeout: limit, Now: time.Now, Secret: func(name string) (string, error) { return host.Secret(s.dir, name) }}
	if s.plan != nil {
		env.Source = s.plan.Source(s.path)
	}
	env.Notes = s.notes(kind)
	fn, err := k.New(o, env)
	if err != nil {
		return check.Because(check.Misconfigured, "%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return fn(ctx)
}

// notes are what the check of the plan remembers, such as a password that was refused and may not be tried again; nil for
// none.
func (s *system) notes(kind string) check.Notes {
	if fi, err := os.Stat(s.dir); s.check == "" || kind != s.kind || err != nil || !fi.IsDir() {
		return nil
	}
	return notes.New(filepath.Join(s.dir, notes.Folder), time.Now, slog.New(slog.DiscardHandler)).Of(s.check, kind)
}

// host is the name of the system's host as it goes over the wire.
func (s *system) host() string {
	if name, err := reach.ASCIIHost(s.url.Hostname()); err == nil {
		return name
	}
	return s.url.Hostname()
}

// address is the first address of the system's host; the zero Addr when it has none that can be found.
func (s *system) address(ctx context.Context) netip.Addr {
	if a, err := netip.ParseAddr(s.url.Hostname()); err == nil {
		return a.Unmap()
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host())
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}
	}
	return addrs[0].Unmap()
}

// anchors are the neutral hosts that the plan names for the system's line.
func (s *system) anchors() []string {
	var all []string
	if s.plan != nil {
		for _, c := range s.plan.Checks {
			if (c.Kind == "uplink" || c.Kind == "line") && c.Path == s.path {
				all = append(all, c.Options.Strings("anchors")...)
			}
		}
	}
	return all[:min(len(all), maxAsked)]
}

func (s *system) askAnchors(ctx context.Context) int {
	all := s.anchors()
	if len(all) == 0 {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return network.ProbeAnchors(ctx, all, s.plan.Source(s.path))
}

// askPlanned runs the plan's own check of a kind for the line, nil when it has none.
func (s *system) askPlanned(ctx context.Context, kind string) *check.Result {
	if s.plan == nil {
		return nil
	}
	i := slices.IndexFunc(s.plan.Checks, func(c plan.Check) bool { return c.Kind == kind && c.Path == s.path })
	if i < 0 {
		return nil
	}
	return new(s.run(ctx, kind, s.plan.Checks[i].Options, pageTimeout))
}

// resolvers lists the name servers of this machine, and those outside of its network.
func resolvers() (all, outside []netip.AddrPort) {
	all, err := lookup.SystemServers()
	if err != nil {
		return nil, nil
	}
	all = all[:min(len(all), maxAsked)]
	for _, r := range all {
		if !ownNetwork(r.Addr()) {
			outside = append(outside, r)
		}
	}
	return all, outside
}

// askNames asks the machine's name servers themselves. It returns how many outside of this network have answered, and
// whether any has said something of the name; bogus is when one does only if it need not verify the signatures of the name's
// zone (RFC 4035, section 3.2.2).
func (s *system) askNames(ctx context.Context) (outside int, resolved, bogus bool) {
	if _, err := netip.ParseAddr(s.url.Hostname()); err == nil {
		return 0, false, false
	}
	q, err := lookup.NewQuery(s.host(), "A", true, false)
	if err != nil {
		return 0, false, false
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	all, _ := resolvers()
	type pair struct{ checked, raw lookup.Outcome }
	answers := make(chan pair, len(all))
	for _, r := range all {
		go func() {
			a := lookup.Asker{Query: q, Tries: 2}
			p := pair{checked: a.Ask(ctx, r)}
			if p.checked.Reason == check.DNSServfail {
				a.Query = q.Unvalidated()
				p.raw = a.Ask(ctx, r)
			}
			answers <- p
		}()
	}
	for range all {
		p := <-answers
		o := p.checked
		bogus = bogus || p.raw.Message != nil && p.raw.Replied()
		resolved = resolved || o.Replied()
		if o.Message != nil && !ownNetwork(o.Server.Addr()) && s.onLine(o.Server) {
			outside++
		}
	}
	return outside, resolved, bogus && !resolved
}

// onLine tells whether the way to a server leads over the system's line: where the plan names the address of that line, what answers
// over another one says nothing of it.
func (s *system) onLine(server netip.AddrPort) bool {
	own := s.ownLine()
	if !own.IsValid() {
		return true
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server)) // nothing is sent
	if err != nil {
		return false
	}
	defer c.Close()
	from, _ := c.LocalAddr().(*net.UDPAddr)
	return from.AddrPort().Addr().Unmap().WithZone("") == own
}

// follow looks at the hops to the system, or, while its address is not known, to a neutral host or a name server outside.
func (s *system) follow(ctx context.Context, target netip.Addr) (*check.Result, bool) {
	to, system := target, target.IsValid()
	if !system {
		for _, a := range s.anchors() {
			if ap, err := netip.ParseAddrPort(a); err == nil && !to.IsValid() {
				to = ap.Addr()
			}
		}
		if _, outside := resolvers(); !to.IsValid() && len(outside) > 0 {
			to = outside[0].Addr()
		}
	}
	if !to.IsValid() {
		return nil, false
	}
	o := defaults("path")
	o["host"] = to.String()
	if p := s.url.Port(); system && p != "" {
		if n, err := net.LookupPort("tcp", p); err == nil {
			o["port"] = int64(n)
		}
	} else if system && s.url.Scheme == "http" {
		o["port"] = int64(80)
	}
	return new(s.run(ctx, "path", o, pathTimeout)), system
}

// ownLine is the address of the system's line, as the plan names it; the zero Addr when it does not.
func (s *system) ownLine() netip.Addr {
	if s.plan == nil {
		return netip.Addr{}
	}
	return s.plan.Source(s.path)
}

// foreignLines are the addresses of the machine's other lines, as the plan names them.
func (s *system) foreignLines() []netip.Addr {
	var all []netip.Addr
	if s.plan != nil {
		for _, l := range s.plan.Lines {
			if l.Path != s.path {
				all = append(all, l.Source)
			}
		}
	}
	return all
}

// routed tells whether this machine knows a way over the system's line to an address; nothing is sent.
func (s *system) routed(to netip.Addr) bool {
	if !to.IsValid() {
		_, outside := resolvers()
		if len(outside) == 0 {
			return false
		}
		to = outside[0].Addr()
	}
	var from *net.UDPAddr
	if own := s.ownLine(); own.IsValid() {
		from = net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 0))
	}
	c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// cards tells whether an interface that leads out is switched on, has a link, and has an address. One that holds an address of
// foreign is another line's; while one holds own, the others are too.
func cards(own netip.Addr, foreign []netip.Addr) (on, link, address bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return true, true, true // it cannot be seen: what follows tells
	}
	holds := func(i net.Interface, any ...netip.Addr) bool {
		addrs, _ := i.Addrs()
		return slices.ContainsFunc(addrs, func(a net.Addr) bool {
			p, err := netip.ParsePrefix(a.String())
			return err == nil && slices.Contains(any, p.Addr().Unmap())
		})
	}
	known := slices.ContainsFunc(interfaces, func(i net.Interface) bool { return holds(i, own) })
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagUp == 0 || known && !holds(i, own) || !known && holds(i, foreign...) {
			continue
		}
		on = true
		if i.Flags&net.FlagRunning == 0 {
			continue
		}
		link = true
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				address = true
			}
		}
	}
	return on, link, address
}

// ownNetwork tells whether an address is this machine's or on a network that it is directly on.
func ownNetwork(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Contains(a)
	})
}

// findings are the lines that a person reads: every stage before the break works, and what lies behind it was not looked at.
func (b wayBreak) findings(e wayEvidence) []finding {
	var fs []finding
	for i, key := range stages() {
		f := finding{Key: "way." + key, State: check.Up, Reason: check.OK}
		switch {
		case stage(i) == b.at:
			f.State, f.Reason, f.sentence = check.Down, b.reason, "doctor.break."+b.how
			f.advice, f.after = "doctor.break."+b.how+".do", b.after
			if b.at >= atServer && b.how != "silent" {
				f.Detail = e.page.Detail
			}
			switch b.how {
			case "egress":
				f.Detail = e.page.Detail
			case "hijack":
				f.Detail = e.hijack.Detail
			}
			if b.how == "unknown" {
				f.State = check.Unknown
			}
		case stage(i) > b.at:
			f.State, f.Reason = check.Unknown, ""
		}
		fs = append(fs, f)
	}
	return fs
}

// storedPlan is the plan of a file, or the one that this machine follows; nil when there is none.
func storedPlan(file, dir string) (*plan.Plan, error) {
	if file != "" {
		text, err := readPlan(file)
		if err != nil {
			return nil, err
		}
		return plan.Parse(text, kinds.Table())
	}
	id, err := host.LoadIdentity(dir)
	if err != nil {
		return nil, nil
	}
	p, _, err := daemon.StoredPlan(dir, id, kinds.Table(), nil)
	if err != nil {
		return nil, nil // the examination of the machine itself says what is wrong with it
	}
	return p, nil
}

// sentenceOf is the one sentence that says where the way breaks off.
func sentenceOf(l words.Lang, f finding) string {
	if f.after != "" {
		return words.Tell(l, f.sentence, f.after)
	}
	return words.Tell(l, f.sentence)
}
