package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

// The values of the option match.
const (
	matchAll   = "all"
	matchAny   = "any"
	matchExact = "exact"
)

// maxServers bounds how many servers one check asks.
const maxServers = lookup.MaxServers

func dnsKind() check.Kind {
	return check.Kind{
		Name:    "dns",
		Family:  "dns",
		Summary: "Asks name servers for a record and compares what they answer with what is expected and with one another.",
		Options: []check.Option{
			{Name: "name", Type: check.TypeString, Required: true, Help: "Domain name to ask for; for type PTR an IP address will do."},
			{Name: "type", Type: check.TypeString, Default: "A", Help: "Record type by name or as TYPEnnn."},
			{Name: "server", Type: check.TypeAddress, Help: "Name server to ask; without server and servers it is those of the system."},
			{Name: "servers", Type: check.TypeAddrs, Min: 1, Max: maxServers, Help: "Name servers to ask, all at once."},
			{Name: "answers", Type: check.TypeStrings, Min: 1, Max: 64, Help: "Contents that are expected, as a zone file writes them; without it any record of the type will do."},
			{Name: "match", Type: check.TypeString, Default: matchAll, Enum: []string{matchAll, matchAny, matchExact},
				Help: "Which of the expected contents must be there: all of them, any of them, or exactly these and no other."},
			{Name: "agree", Type: check.TypeBool, Default: "false", Help: "The state is degraded when the servers' records differ, also where no contents are expected."},
			{Name: "protocol", Type: check.TypeString, Default: "udp", Enum: []string{"udp", "tcp"}, Help: "Transport; an answer that does not fit UDP is fetched by TCP."},
			{Name: "recursion", Type: check.TypeBool, Default: "true", Help: "Ask the server to find the answer elsewhere if need be; false asks for its own data only."},
			{Name: "dnssec", Type: check.TypeBool, Default: "false", Help: "Ask for DNSSEC data and report whether the server says that it validated the answer."},
			{Name: "tries", Type: check.TypeInt, Default: "2", Min: 1, Max: 5, Unit: "datagrams", Help: "How often a question is sent by UDP within the timeout while no answer comes."},
			{Name: "slow", Type: check.TypeDuration, Min: 0.0001, Max: 60, Help: "The state is degraded when the answer takes longer; without it nothing is too slow."},
		},
		Facts:  facts(),
		Phases: phases(),
		Target: targets,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newDNS(o, env, lookup.SystemServers)
		},
	}
}

func facts() []check.FactDef {
	return []check.FactDef{
		{Name: "answers_count", Help: "records of the type asked in the answer", Min: 0, Max: lookup.MaxAnswers},
		{Name: "ttl_min_s", Help: "shortest time to live of these records", Min: 0, Max: 1<<32 - 1},
		{Name: "rcode_code", Help: "response code: 0 no error, 2 server failure, 3 no such name, 5 refused", Min: 0, Max: 4095},
		{Name: "soa_serial", Help: "serial of the zone, for type SOA", Min: 0, Max: 1<<32 - 1},
		{Name: "authentic_code", Help: "1 when the server says that it validated the answer (AD), else 0; only with dnssec", Min: 0, Max: 1},
		{Name: "authoritative_code", Help: "1 when the answer is the server's own data (AA), else 0", Min: 0, Max: 1},
		{Name: "rtt_s", Help: "from the question to the answer", Min: 0, Max: 3600},
		{Name: "sent_count", Help: "how often the question was sent to the server", Min: 1, Max: 20},
		{Name: "servers_count", Help: "servers asked", Min: 0, Max: maxServers},
		{Name: "servers_ok_count", Help: "servers that gave the answer that was expected", Min: 0, Max: maxServers},
	}
}

// phases are dns, the exchange with the server whose answer counts; dns_1 to dns_8, with each one of several servers in
// the order of the plan; and total.
func phases() []string {
	names := []string{"dns"}
	for i := range maxServers {
		names = append(names, serverPhase(i))
	}
	return append(names, "total")
}

func serverPhase(i int) string { return "dns_" + strconv.Itoa(i+1) }

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

// A checker is a check of kind dns.
type checker struct {
	query   lookup.Query
	servers []string // host:port; none means the system's
	want    []string // as data writes them
	match   string
	agree   bool
	slow    time.Duration
	dnssec  bool
	asker   lookup.Asker
	system  func() ([]netip.AddrPort, error)
}

func newDNS(o check.Options, env check.Env, system func() ([]netip.AddrPort, error)) (check.Func, error) {
	if o.Has("server") && o.Has("servers") {
		return nil, errors.New(`option "server": it excludes servers: write one of the two`)
	}
	c := &checker{servers: named(o), match: o.String("match"), agree: o.Bool("agree"), slow: o.Duration("slow"), dnssec: o.Bool("dnssec"), system: system}
	for i, s := range c.servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return nil, fmt.Errorf("option %q: %q is no host:port: write e.g. 10.20.1.1:53", "server", s)
		}
		if slices.Contains(c.servers[:i], s) {
			return nil, fmt.Errorf("option %q: %s stands twice: name different servers", "servers", s)
		}
	}
	var err error
	if c.query, err = lookup.NewQuery(o.String("name"), o.String("type"), o.Bool("recursion"), c.dnssec); err != nil {
		return nil, err
	}
	if c.want, err = expected(c.query, o.Strings("answers")); err != nil {
		return nil, err
	}
	c.asker = lookup.Asker{Query: c.query, TCP: o.String("protocol") == "tcp", Tries: max(1, int(o.Int("tries"))), Source: env.Source}
	return c.check, nil
}

func (c *checker) check(ctx context.Context) check.Result {
	begin := time.Now()
	servers, bad := c.resolvers()
	if bad != nil {
		bad.Phases.Add("total", time.Since(begin))
		return *bad
	}
	outcomes := c.askAll(ctx, servers)
	for i := range outcomes {
		c.compare(&outcomes[i])
	}
	r := c.verdict(outcomes)
	r.Phases.Add("total", time.Since(begin))
	return r
}

// resolvers lists the servers to ask, those of the system in its order.
func (c *checker) resolvers() ([]string, *check.Result) {
	if len(c.servers) > 0 {
		return c.servers, nil
	}
	system, err := c.system()
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

// askAll asks one server from here and several each from a goroutine of its own, which ends when ctx does.
func (c *checker) askAll(ctx context.Context, servers []string) []lookup.Outcome {
	outcomes := make([]lookup.Outcome, len(servers))
	if len(servers) == 1 {
		outcomes[0] = c.asker.AskNamed(ctx, servers[0])
		return outcomes
	}
	done := make(chan struct{})
	for i, s := range servers {
		go func() {
			a := c.asker.Clone()
			outcomes[i] = a.AskNamed(ctx, s)
			done <- struct{}{}
		}()
	}
	for range servers {
		<-done
	}
	return outcomes
}

// compare turns an answer without the expected contents into dns_mismatch.
func (c *checker) compare(o *lookup.Outcome) {
	if o.Reason != check.OK || len(c.want) == 0 {
		return
	}
	got := contents(o.Found)
	missing, extra := "", ""
	hits := 0
	for _, w := range c.want {
		if slices.Contains(got, w) {
			hits++
		} else if missing == "" {
			missing = w
		}
	}
	for _, g := range got {
		if !slices.Contains(c.want, g) && extra == "" {
			extra = g
		}
	}
	switch {
	case c.match == matchAny && hits == 0, c.match != matchAny && missing != "":
		o.Reason, o.Detail = check.DNSMismatch, fmt.Sprintf("%s is missing, got %s", short(missing), short(strings.Join(got, ", ")))
	case c.match == matchExact && extra != "":
		o.Reason, o.Detail = check.DNSMismatch, fmt.Sprintf("%s is not expected", short(extra))
	}
}

// short keeps a detail readable: the whole of it is cut too, but the end would be lost.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// contents lists the data of records, sorted, each once.
func contents(rrs []mdns.RR) []string {
	var all []string
	for _, rr := range rrs {
		all = append(all, lookup.Data(rr))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// verdict makes one result of what the servers said. All as expected is ok; none is the reason of the server that counts
// (see counting); some is dns_inconsistent when the others say something else about the name, and partial when they
// failed to answer.
func (c *checker) verdict(outcomes []lookup.Outcome) check.Result {
	good, differ := 0, 0
	for _, o := range outcomes {
		switch {
		case o.Reason == check.OK:
			good++
		case o.Replied():
			differ++
		}
	}
	best := counting(outcomes)
	o := outcomes[best]
	var r check.Result
	switch {
	case good == 0:
		r = check.Because(o.Reason, "%s", naming(outcomes, o))
	case good < len(outcomes):
		bad := outcomes[slices.IndexFunc(outcomes, func(x lookup.Outcome) bool { return x.Reason != check.OK && (differ == 0 || x.Replied()) })]
		reason := check.Partial
		if differ > 0 {
			reason = check.DNSInconsistent
		}
		r = check.Because(reason, "%d of %d servers answered as expected; %s", good, len(outcomes), naming(outcomes, bad))
	case c.agree && !alike(outcomes):
		r = check.Because(check.DNSInconsistent, "the servers' records differ: %s", difference(outcomes))
	case c.slow > 0 && o.Took > c.slow:
		r = check.Because(check.Slow, "answered in %s, limit %s", o.Took.Round(time.Microsecond), c.slow)
	default:
		r = check.Because(check.OK, "")
	}
	c.report(&r, o)
	r.Facts.Add("servers_count", float64(len(outcomes)))
	r.Facts.Add("servers_ok_count", float64(good))
	r.Phases.Add("dns", o.Took)
	if len(outcomes) > 1 {
		for i, o := range outcomes[:min(len(outcomes), maxServers)] {
			r.Phases.Add(serverPhase(i), o.Took)
		}
	}
	return r
}

// counting is the outcome whose reason and numbers stand for all: the first good one; else the first that says something
// about the name, since users' machines go on to the next server until one does; else the first that answered at all.
func counting(outcomes []lookup.Outcome) int {
	for _, counts := range []func(lookup.Outcome) bool{
		func(o lookup.Outcome) bool { return o.Reason == check.OK },
		lookup.Outcome.Replied,
		func(o lookup.Outcome) bool { return o.Message != nil },
	} {
		if i := slices.IndexFunc(outcomes, counts); i >= 0 {
			return i
		}
	}
	return 0
}

// naming puts the server in front of what it said, where there are several.
func naming(outcomes []lookup.Outcome, o lookup.Outcome) string {
	if len(outcomes) < 2 || !o.Server.IsValid() {
		return o.Detail
	}
	return fmt.Sprintf("%s: %s", o.Server, o.Detail)
}

func alike(outcomes []lookup.Outcome) bool {
	first := contents(outcomes[0].Found)
	return !slices.ContainsFunc(outcomes[1:], func(o lookup.Outcome) bool { return !slices.Equal(first, contents(o.Found)) })
}

func difference(outcomes []lookup.Outcome) string {
	first := contents(outcomes[0].Found)
	for _, o := range outcomes[1:] {
		if got := contents(o.Found); !slices.Equal(first, got) {
			return fmt.Sprintf("%s has %s, %s has %s", outcomes[0].Server, short(strings.Join(first, ", ")), o.Server, short(strings.Join(got, ", ")))
		}
	}
	return ""
}

// report adds the numbers of one outcome.
func (c *checker) report(r *check.Result, o lookup.Outcome) {
	if o.Sent > 0 {
		r.Facts.Add("sent_count", float64(o.Sent))
	}
	if o.Message == nil {
		return
	}
	r.Facts.Add("rtt_s", o.Took.Seconds())
	r.Facts.Add("rcode_code", float64(o.Message.Rcode))
	r.Facts.Add("answers_count", float64(len(o.Found)))
	r.Facts.Add("authoritative_code", flag(o.Message.Authoritative))
	if c.dnssec {
		r.Facts.Add("authentic_code", flag(o.Message.AuthenticatedData))
	}
	if len(o.Found) == 0 {
		return
	}
	ttl := o.Found[0].Header().Ttl
	for _, rr := range o.Found {
		ttl = min(ttl, rr.Header().Ttl)
	}
	r.Facts.Add("ttl_min_s", float64(ttl))
	if soa, ok := o.Found[0].(*mdns.SOA); ok {
		r.Facts.Add("soa_serial", float64(soa.Serial))
	}
}

func flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
