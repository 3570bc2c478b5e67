package dns

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

func dnsKind() check.Kind {
	return check.Kind{
		Name:    "dns",
		Family:  "dns",
		Summary: "Asks name servers for a record and compares what they answer with what is expected, with one another, with a reference and with the zone's own servers, and proves it by DNSSEC.",
		Options: slices.Concat([]check.Option{
			{Name: "name", Type: check.TypeString, Required: true, Help: "Domain name to ask for; for type PTR an IP address will do."},
			{Name: "type", Type: check.TypeString, Default: "A", Help: "Record type by name or as TYPEnnn."},
			serverOption(),
			serversOption(),
			{Name: "answers", Type: check.TypeStrings, Min: 1, Max: 64, Help: "Contents that are expected, as a zone file writes them; without it any record of the type will do."},
			matchOption(),
			{Name: "agree", Type: check.TypeBool, Default: "false", Help: "The state is degraded when the servers' records differ, also where no contents are expected."},
			{Name: "reference", Type: check.TypeAddress, Help: "Another resolver, whose answer must share a record with the servers' (dns_inconsistent); one that is silent is no fault of theirs."},
			{Name: "authority", Type: check.TypeBool, Default: "false", Help: "Compare in the same way with what the zone's own servers say; they are found through reference, else through the servers."},
			{Name: "ipv6", Type: check.TypeBool, Default: "false", Help: "The name must have an IPv6 address (AAAA) too, as a state portal must; without one it is partial."},
			{Name: "recursion", Type: check.TypeBool, Default: "true", Help: "Ask the server to find the answer elsewhere if need be; false asks for its own data only."},
			{Name: "dnssec", Type: check.TypeBool, Default: "false", Help: "Ask for DNSSEC data and report whether the server says that it validated the answer."},
			anchorsOption(), signedOption(), signatureWarnOption(),
			triesOption(),
			{Name: "slow", Type: check.TypeDuration, Min: 0.0001, Max: 60, Help: "The state is degraded when the answer takes longer; without it nothing is too slow."},
			{Name: "protocol", Type: check.TypeString, Default: protocolUDP, Enum: []string{protocolUDP, protocolTCP, protocolTLS, protocolHTTPS},
				Help: "Transport; an answer that does not fit UDP is fetched by TCP. tls is DNS over TLS (port 853), https DNS over HTTPS (port 443)."},
			{Name: "doh_path", Type: check.TypeString, Default: "/dns-query", Help: "Path of DNS over HTTPS at the server."},
		}, reach.TLSOptions()),
		Facts:  facts(),
		Phases: phases(),
		Target: targets,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newDNS(o, env, theInternet())
		},
	}
}

func facts() []check.FactDef {
	return slices.Concat([]check.FactDef{
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
		{Name: "compared_count", Help: "others (reference, the zone's own servers) that answered and were compared with", Max: 2},
		{Name: "consistent_code", Help: "1 when those others say the same, else 0", Max: 1},
		{Name: "aaaa_count", Help: "IPv6 addresses of the name; only with ipv6", Max: lookup.MaxAnswers},
	}, proofFacts(), reach.TLSFacts())
}

// phases are dns, the exchange with the server whose answer counts; dns_1 to dns_8, with each one of several servers in
// the order of the plan; dnssec, the proof; compare, asking the others; and total.
func phases() []string {
	names := []string{"dns"}
	for i := range maxServers {
		names = append(names, serverPhase(i))
	}
	return append(names, phaseDNSSEC, "compare", "total")
}

func serverPhase(i int) string { return "dns_" + strconv.Itoa(i+1) }

// A checker is a check of kind dns.
type checker struct {
	place
	query  lookup.Query
	want   expectation
	agree  bool
	slow   time.Duration
	dnssec bool // what the server says of its own validation is a fact
	rd     bool
	asker  lookup.Asker
	prover prover
	others others
	ipv6   *lookup.Query
}

func newDNS(o check.Options, env check.Env, net internet) (check.Func, error) {
	c := &checker{agree: o.Bool("agree"), slow: o.Duration("slow"), dnssec: o.Bool("dnssec"), rd: o.Bool("recursion")}
	var err error
	if c.place, err = newPlace(o, env, net); err != nil {
		return nil, err
	}
	if c.query, err = lookup.NewQuery(o.String("name"), o.String("type"), c.rd, c.dnssec || o.Has("anchors")); err != nil {
		return nil, err
	}
	if c.prover, err = newProver(o, env, c.query.Name); err != nil {
		return nil, err
	}
	if c.prover.anchors != nil && (c.query.Type == mdns.TypeANY || c.query.Type == mdns.TypeRRSIG) {
		return nil, fmt.Errorf("option %q: answers of type %s cannot be proven: name another type", "anchors", mdns.Type(c.query.Type))
	}
	if c.want, err = newExpectation(c.query, o); err != nil {
		return nil, err
	}
	if c.others, err = newOthers(o, c.query); err != nil {
		return nil, err
	}
	if o.Bool("ipv6") {
		if c.query.Type != mdns.TypeA {
			return nil, fmt.Errorf("option %q: it goes with type A: for AAAA alone write type: AAAA without it", "ipv6")
		}
		q, err := lookup.NewQuery(o.String("name"), "AAAA", c.rd, false)
		if err != nil {
			return nil, err
		}
		c.ipv6 = &q
	}
	c.asker = lookup.Asker{Query: c.query, TCP: o.String("protocol") == protocolTCP, Tries: max(1, int(o.Int("tries"))), Source: env.Source}
	c.asker.Secure, err = newSecure(o, env)
	return c.check, err
}

func (c *checker) check(ctx context.Context) check.Result {
	begin := time.Now()
	servers, bad := c.resolvers()
	if bad != nil {
		bad.Phases.Add("total", time.Since(begin))
		return *bad
	}
	all := c.askAll(ctx, servers)
	r := c.verdict(ctx, servers, all)
	r.Phases.Add("total", time.Since(begin))
	return r
}

// A seen is what one server said, and what became of it.
type seen struct {
	lookup.Outcome
	proof proof
	aaaa  *lookup.Outcome // of the name's IPv6 addresses, where they were asked for
}

// speaks reports whether the server said something about the name, whatever it is worth.
func (s seen) speaks() bool { return s.Replied() || s.Reason == check.DNSBogus }

// askAll asks one server from here and several each from a goroutine of its own, which ends when ctx does.
func (c *checker) askAll(ctx context.Context, servers []string) []seen {
	all := make([]seen, len(servers))
	if len(servers) == 1 {
		all[0] = c.ask(ctx, servers[0])
		return all
	}
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { all[i] = c.ask(ctx, s) })
	}
	wg.Wait()
	return all
}

// ask asks one server all that is to be known from it.
func (c *checker) ask(ctx context.Context, server string) seen {
	a := askerAt(&c.asker, server)
	defer a.Close()
	s := seen{Outcome: a.AskNamed(ctx, server)}
	c.want.compare(&s.Outcome)
	if s.Reason == check.DNSServfail && c.rd {
		c.prover.whyServfail(ctx, a, &s)
	} else if s.Replied() {
		c.prover.prove(ctx, a, &s, s.Message)
	}
	if c.ipv6 != nil && s.Reason == check.OK {
		a.Query = *c.ipv6
		s.aaaa = new(a.AskNamed(ctx, server))
	}
	return s
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
// failed to answer. The others are compared with the server that counts.
func (c *checker) verdict(ctx context.Context, servers []string, all []seen) check.Result {
	good, differ := 0, 0
	for _, s := range all {
		switch {
		case s.Reason == check.OK:
			good++
		case s.speaks():
			differ++
		}
	}
	best := counting(all)
	s := all[best]
	begin := time.Now()
	opinions := c.others.ask(ctx, c, servers[best], s)
	comparing := time.Since(begin)
	var r check.Result
	switch {
	case good == 0:
		r = check.Because(s.Reason, "%s%s", naming(all, s), opinions.contradicting())
	case good < len(all):
		bad := all[slices.IndexFunc(all, func(x seen) bool { return x.Reason != check.OK && (differ == 0 || x.speaks()) })]
		reason := check.Partial
		if differ > 0 {
			reason = check.DNSInconsistent
		}
		r = check.Because(reason, "%d of %d servers answered as expected; %s", good, len(all), naming(all, bad))
	case c.agree && !alike(all):
		r = check.Because(check.DNSInconsistent, "the servers' records differ: %s", difference(all))
	case opinions.contradicting() != "":
		r = check.Because(check.DNSInconsistent, "%s has %s%s", s.Server, said(s.Outcome), opinions.contradicting())
	default:
		r = c.shortcomings(s).Result()
	}
	c.report(&r, s)
	opinions.facts(&r.Facts)
	r.Facts.Add("servers_count", float64(len(all)))
	r.Facts.Add("servers_ok_count", float64(good))
	r.Phases.Add("dns", s.Took)
	if len(all) > 1 {
		for i, s := range all[:min(len(all), maxServers)] {
			r.Phases.Add(serverPhase(i), s.Took)
		}
	}
	if s.proof.took > 0 {
		r.Phases.Add(phaseDNSSEC, s.proof.took)
	}
	if c.others.any() {
		r.Phases.Add("compare", comparing)
	}
	return r
}

// shortcomings are what is not as it should be about a good answer; nil for nothing.
func (c *checker) shortcomings(s seen) *reach.Fault {
	if s.aaaa != nil && s.aaaa.Reason != check.OK {
		return reach.Failf(check.Partial, "no IPv6 address (AAAA): %s", s.aaaa.Detail)
	}
	if f := c.prover.shortcomings(s.proof); f != nil {
		return f
	}
	if s.TLS != nil {
		if f := c.asker.Secure.Policy.Degraded(s.TLS); f != nil {
			return f
		}
	}
	if c.slow > 0 && s.Took > c.slow {
		return reach.Failf(check.Slow, "answered in %s, limit %s", s.Took.Round(time.Microsecond), c.slow)
	}
	return nil
}

// counting is the outcome whose reason and numbers stand for all: the first good one; else the first that says something
// about the name, since users' machines go on to the next server until one does; else the first that answered at all.
func counting(outcomes []seen) int {
	for _, counts := range []func(seen) bool{
		func(s seen) bool { return s.Reason == check.OK },
		seen.speaks,
		func(s seen) bool { return s.Message != nil },
	} {
		if i := slices.IndexFunc(outcomes, counts); i >= 0 {
			return i
		}
	}
	return 0
}

// naming puts the server in front of what it said, where there are several.
func naming(outcomes []seen, o seen) string {
	if len(outcomes) < 2 || !o.Server.IsValid() {
		return o.Detail
	}
	return fmt.Sprintf("%s: %s", o.Server, o.Detail)
}

func alike(outcomes []seen) bool {
	first := contents(outcomes[0].Found)
	return !slices.ContainsFunc(outcomes[1:], func(o seen) bool { return !slices.Equal(first, contents(o.Found)) })
}

func difference(outcomes []seen) string {
	first := contents(outcomes[0].Found)
	for _, o := range outcomes[1:] {
		if got := contents(o.Found); !slices.Equal(first, got) {
			return fmt.Sprintf("%s has %s, %s has %s", outcomes[0].Server, short(strings.Join(first, ", ")), o.Server, short(strings.Join(got, ", ")))
		}
	}
	return ""
}

// report adds the numbers of one outcome.
func (c *checker) report(r *check.Result, o seen) {
	o.proof.facts(&r.Facts)
	if o.TLS != nil {
		o.TLS.Facts(&r.Facts)
	}
	if o.aaaa != nil && o.aaaa.Message != nil {
		r.Facts.Add("aaaa_count", float64(len(o.aaaa.Found)))
	}
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
