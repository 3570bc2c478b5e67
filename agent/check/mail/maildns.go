package mail

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// The phases of maildns.
const (
	phaseMX        = "mx"
	phaseAddresses = "addresses"
	phaseSPF       = "spf"
	phaseDMARC     = "dmarc"
	phaseDKIM      = "dkim"
	phaseSTS       = "mta_sts"
	phaseReports   = "tls_rpt"
	phaseDANE      = "dane"
	phaseReverse   = "reverse"
	phaseLists     = "blocklists"
)

// maxQuestions bounds what one run asks; a domain that needs more is broken or hostile.
const maxQuestions = 100

func maildnsKind() check.Kind {
	return check.Kind{
		Name:    "maildns",
		Family:  "mail",
		Summary: "What a mail domain says in DNS: the servers that take its letters (MX), who may send in its name (SPF, DKIM) and what is done with others (DMARC), how they are delivered (MTA-STS, DANE), and what is said of its servers (reverse names, block lists).",
		Options: slices.Concat([]check.Option{
			{Name: "name", Type: check.TypeString, Required: true, Help: "The mail domain, the part after the @."},
			{Name: "server", Type: check.TypeAddress, Help: "Resolver to ask; without server and servers it is those of the system."},
			{Name: "servers", Type: check.TypeAddrs, Min: 1, Max: lookup.MaxServers, Help: "Resolvers to ask; the next one when the one before it fails."},
			{Name: "receives", Type: check.TypeBool, Default: "true", Help: "Whether the domain takes letters; false wants it to say that it takes none (a null MX, RFC 7505)."},
			{Name: "spf", Type: check.TypeBool, Default: "true", Help: "Whether a missing or broken SPF record is mail_auth."},
			{Name: "dmarc", Type: check.TypeString, Default: "none", Enum: []string{"off", "none", "quarantine", "reject"},
				Help: "The weakest DMARC policy allowed; a weaker one, and a missing or broken record, is mail_auth. off asks for none."},
			{Name: "dkim", Type: check.TypeStrings, Min: 1, Max: 8, Help: "Selectors of the keys that the domain's letters are signed with; one that is missing, withdrawn, for tests only or too short is mail_auth."},
			{Name: "dkim_bits", Type: check.TypeInt, Default: "1024", Min: 512, Max: 16384, Unit: "bits", Help: "The shortest RSA key allowed; RFC 8301 asks for 1024 and advises 2048."},
			{Name: "mta_sts", Type: check.TypeString, Default: "off", Enum: []string{"off", "none", "testing", "enforce"},
				Help: "The weakest mode of MTA-STS allowed; its policy is fetched from mta-sts.NAME by HTTPS and must name all servers. What is missing, weaker or wrong is mail_auth, a policy that cannot be fetched is partial. off asks for none."},
			{Name: "mta_sts_address", Type: check.TypeAddress, Help: "Where the policy is fetched, as host:port, when that is not mta-sts.NAME:443."},
			{Name: "tls_rpt", Type: check.TypeBool, Default: "false", Help: "Whether a missing or broken TLS-RPT record is mail_auth."},
			{Name: "dane", Type: check.TypeBool, Default: "false", Help: "Whether a server of the domain without usable TLSA records, vouched for by DNSSEC as the resolver says, is mail_auth. The certificate itself is compared by smtp with dane: true, where port 25 is open."},
			{Name: "reverse", Type: check.TypeBool, Default: "false", Help: "Whether an address of the servers, or of senders, without a name that leads back to it is mail_auth."},
			{Name: "blocklists", Type: check.TypeStrings, Min: 1, Max: maxLists, Help: "Zones of block lists to ask about these addresses; one that is listed is mail_auth, a list that does not answer is partial."},
			{Name: "senders", Type: check.TypeStrings, Min: 1, Max: maxAddresses, Help: "Addresses that the domain's letters leave from, for reverse and blocklists, beside those of its servers."},
			{Name: "slow", Type: check.TypeDuration, Min: 0.001, Max: 3600, Help: "A run that takes longer than this is slow; without it none is."},
			reach.FamilyOption(),
		}, reach.TLSOptions()),
		Facts: []check.FactDef{
			{Name: "mx_count", Help: "servers that the domain names for its letters", Max: lookup.MaxAnswers},
			{Name: "mx_ok_count", Help: "those of them that have an address and are no alias", Max: lookup.MaxAnswers},
			{Name: "null_mx_code", Help: "1 when the domain says that it takes no letters, else 0", Max: 1},
			{Name: "spf_records_count", Help: "SPF records of the domain; one is right", Max: lookup.MaxAnswers},
			{Name: "spf_lookups_count", Help: "questions that checking the SPF record can take; RFC 7208 allows 10, counting ends at 11", Max: maxLookups + 1},
			{Name: "dmarc_records_count", Help: "DMARC records found at the domain or above it; one is right", Max: lookup.MaxAnswers},
			{Name: "dmarc_policy_code", Help: "what DMARC asks for: 0 none, 1 quarantine, 2 reject", Max: 2},
			{Name: "dkim_ok_count", Help: "selectors with a key that is good", Max: 8},
			{Name: "dkim_key_bits", Help: "size of the shortest of their RSA keys", Max: maxKeyBits},
			{Name: "mta_sts_code", Help: "what the policy of MTA-STS asks for: 0 none, 1 testing, 2 enforce", Max: 2},
			{Name: "mta_sts_max_age_s", Help: "how long other servers keep the policy", Max: maxSTSAge},
			{Name: "tls_rpt_code", Help: "1 when there is a TLS-RPT record, else 0", Max: 1},
			{Name: "dane_ok_count", Help: "servers with usable TLSA records", Max: maxTargets},
			{Name: "addresses_count", Help: "addresses whose names were looked up", Max: maxAddresses},
			{Name: "reverse_ok_count", Help: "those of them whose name leads back", Max: maxAddresses},
			{Name: "blocklisted_count", Help: "entries of these addresses on block lists", Max: maxAddresses * maxLists},
			{Name: "blocklist_silent_count", Help: "questions that a block list did not answer", Max: maxAddresses * maxLists},
			{Name: "questions_count", Help: "questions asked", Max: maxQuestions + maxExtra + 2*lookup.MaxServers},
		},
		Phases: []string{phaseMX, phaseAddresses, phaseSPF, phaseDMARC, phaseDKIM, phaseSTS, phaseReports, phaseDANE, phaseReverse, phaseLists, phaseTotal},
		Target: func(o check.Options) []string {
			var hosts []string
			for _, s := range namedServers(o) {
				if host, _, err := net.SplitHostPort(s); err == nil {
					hosts = append(hosts, host)
				}
			}
			if o.String("mta_sts") != "off" && o.Has("mta_sts") {
				return append(hosts, stsHost(o))
			}
			return hosts
		},
		New: func(o check.Options, env check.Env) (check.Func, error) {
			return newMailDNS(o, env, lookup.SystemServers)
		},
	}
}

// stsHost is the host that the policy of MTA-STS is fetched from.
func stsHost(o check.Options) string {
	if host, _, err := net.SplitHostPort(o.String("mta_sts_address")); err == nil {
		return host
	}
	return "mta-sts." + strings.TrimSuffix(o.String("name"), ".")
}

func namedServers(o check.Options) []string {
	if s := o.String("server"); s != "" {
		return []string{s}
	}
	return o.Strings("servers")
}

// A domainCheck is one check of the kind maildns.
type domainCheck struct {
	domain   string // in the form that goes over the wire, without a dot at the end
	receives bool
	spf      bool
	dmarc    string
	slow     time.Duration
	timeout  time.Duration
	servers  []string
	source   netip.Addr
	system   func() ([]netip.AddrPort, error)

	selectors  []string
	dkimBits   int
	sts        string
	stsAddress string
	reports    bool
	dane       bool
	reverse    bool
	lists      []string
	senders    []netip.Addr
	policy     reach.Policy // of the server of the MTA-STS policy
	dialer     reach.Dialer
}

func newMailDNS(o check.Options, env check.Env, system func() ([]netip.AddrPort, error)) (check.Func, error) {
	if o.Has("server") && o.Has("servers") {
		return nil, fmt.Errorf("option \"server\": it excludes servers: write one of the two")
	}
	c := &domainCheck{receives: o.Bool("receives"), spf: o.Bool("spf"), dmarc: o.String("dmarc"), slow: o.Duration("slow"),
		timeout: env.Timeout, servers: namedServers(o), source: env.Source, system: system}
	for _, s := range c.servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return nil, fmt.Errorf("option \"server\": %q is no host:port: write e.g. 10.20.1.1:53", s)
		}
	}
	name, err := reach.ASCIIHost(strings.TrimSuffix(o.String("name"), "."))
	if err != nil {
		return nil, fmt.Errorf("option \"name\": %w", err)
	}
	if strings.Contains(name, "@") || !strings.Contains(name, ".") {
		return nil, fmt.Errorf("option \"name\": %q is no mail domain: write the part after the @, e.g. tuky.example.vn", name)
	}
	if _, err := lookup.NewQuery("_dmarc."+name, "TXT", true, false); err != nil {
		return nil, err
	}
	c.domain = strings.ToLower(name)
	return c.run, c.more(o, env)
}

// more reads the options about everything but MX, SPF and DMARC.
func (c *domainCheck) more(o check.Options, env check.Env) (err error) {
	c.selectors, c.dkimBits, c.sts, c.stsAddress = o.Strings("dkim"), int(o.Int("dkim_bits")), o.String("mta_sts"), o.String("mta_sts_address")
	c.reports, c.dane, c.reverse = o.Bool("tls_rpt"), o.Bool("dane"), o.Bool("reverse")
	c.dialer = reach.NewDialer(o.String("family"), env.Source)
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return err
	}
	for _, s := range c.selectors {
		if _, err := lookup.NewQuery(s+"._domainkey."+c.domain, "TXT", true, false); err != nil {
			return fmt.Errorf("option \"dkim\": %q is no selector: write the word after s= in DKIM-Signature", s)
		}
	}
	for _, s := range o.Strings("senders") {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" {
			return fmt.Errorf("option \"senders\": %q is no IP address: write e.g. 192.0.2.25", s)
		}
		c.senders = append(c.senders, ip.Unmap())
	}
	for _, s := range o.Strings("blocklists") {
		list, err := reach.ASCIIHost(strings.Trim(s, "."))
		if err != nil || !strings.Contains(list, ".") {
			return fmt.Errorf("option \"blocklists\": %q is no zone: write e.g. bl.example.org", s)
		}
		c.lists = append(c.lists, list)
	}
	return nil
}

func (c *domainCheck) run(ctx context.Context) check.Result {
	if _, ok := ctx.Deadline(); !ok && c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	begin := time.Now()
	var facts check.Facts
	var phases check.Phases
	servers, bad := c.resolvers()
	if bad == nil {
		a := &asking{ctx: ctx, servers: servers, source: c.source, most: maxQuestions}
		bad = c.judge(a, &facts, &phases)
		facts.Add("questions_count", float64(a.questions))
	}
	bad = bad.UnlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil && c.slow > 0 && total > c.slow {
		bad = reach.Failf(check.Slow, "%s, the limit is %s", total.Round(time.Millisecond), c.slow)
	}
	r := bad.Result()
	phases.Add(phaseTotal, total)
	r.Phases, r.Facts = phases, facts
	return r
}

// judge looks at the servers, then at SPF, then at DMARC, then at all else that the plan asks for. What is down wins over what is degraded; of two equals the
// one that was seen first stands, with the other's words behind it.
func (c *domainCheck) judge(a *asking, facts *check.Facts, phases *check.Phases) *reach.Fault {
	bad := c.judgeMX(a, facts, phases)
	if bad != nil && bad.Reason.State() != check.Degraded {
		return bad
	}
	for _, part := range []struct {
		phase  string
		wanted bool
		judge  func(*asking, *check.Facts) *reach.Fault
	}{{phaseSPF, c.spf, c.judgeSPF}, {phaseDMARC, c.dmarc != "off", c.judgeDMARC}, {phaseDKIM, len(c.selectors) > 0, c.judgeDKIM},
		{phaseSTS, c.sts != "off", c.judgeSTS}, {phaseReports, c.reports, c.judgeReports}, {phaseDANE, c.dane, c.judgeDANE},
		{phaseReverse, c.reverse, c.judgeReverse}, {phaseLists, len(c.lists) > 0, c.judgeLists}} {
		if part.phase == phaseDKIM {
			a.most = maxQuestions + maxExtra
		}
		if !part.wanted {
			continue
		}
		begin := time.Now()
		next := part.judge(a, facts)
		phases.Add(part.phase, time.Since(begin))
		switch {
		case next == nil:
		case bad == nil:
			bad = next
		default:
			bad.Detail += "; " + next.Detail
		}
	}
	return bad
}

// resolvers lists the servers to ask, those of the system in its order.
func (c *domainCheck) resolvers() ([]string, *reach.Fault) {
	if len(c.servers) > 0 {
		return c.servers, nil
	}
	system, err := c.system()
	switch {
	case err != nil:
		return nil, reach.Failf(check.NotSupported, "the system's name servers cannot be found: %s; name them with the option servers", err)
	case len(system) == 0:
		return nil, reach.Failf(check.NotConfigured, "the system has no name servers; name them with the option servers")
	}
	var all []string
	for _, s := range system {
		all = append(all, s.String())
	}
	return all, nil
}

// An asking is the questions of one run.
type asking struct {
	ctx       context.Context
	servers   []string
	source    netip.Addr
	questions int
	most      int      // questions
	targets   []string // the servers of the domain, as far as they are looked at
	dnssec    bool     // ask for what DNSSEC says
	unchecked bool     // and leave it to us whether it holds
}

// ask puts one question to the servers, one after the other until one says something about the name. A question may
// take a third of the time that is left, so that one that is lost does not use up what the others need.
func (a *asking) ask(name, typ string) lookup.Outcome {
	q, err := lookup.NewQuery(name, typ, true, a.dnssec)
	if err != nil {
		return lookup.Outcome{Reason: check.DNSNXDomain, Detail: told(name) + " is no name that DNS can hold"}
	}
	if a.unchecked {
		q = q.Unvalidated()
	}
	var first lookup.Outcome
	for i, s := range a.servers {
		if a.questions++; a.questions > a.most {
			return lookup.Outcome{Reason: check.Protocol, Detail: fmt.Sprintf("the domain takes more than %d questions", a.most)}
		}
		ctx, cancel := a.ctx, context.CancelFunc(func() {})
		if end, ok := a.ctx.Deadline(); ok {
			ctx, cancel = context.WithTimeout(a.ctx, time.Until(end)/3)
		}
		asker := lookup.Asker{Query: q, Tries: 2, Source: a.source}
		o := asker.AskNamed(ctx, s)
		cancel()
		if o.Replied() {
			return o
		}
		if i == 0 {
			first = o
		}
	}
	return first
}

// askDNSSEC asks for records and whether DNSSEC vouches for them.
func (a *asking) askDNSSEC(name, typ string) lookup.Outcome {
	a.dnssec = true
	defer func() { a.dnssec = false }()
	return a.ask(name, typ)
}

// texts asks for the TXT records of a name that begin with a word, as SPF and DMARC mark theirs. A name without any
// has none; a fault says that nobody could tell.
func (a *asking) texts(name string, is func(string) bool) ([]string, *reach.Fault) {
	o := a.ask(name, "TXT")
	switch o.Reason {
	case check.OK:
	case check.DNSEmpty, check.DNSNXDomain:
		return nil, nil
	case check.Internal:
		return nil, reach.Failf(check.Internal, "%s", o.Detail)
	default:
		return nil, reach.Failf(check.Partial, "TXT of %s: %s (%s)", told(name), o.Detail, o.Reason)
	}
	var all []string
	for _, rr := range o.Found {
		if s := lookup.Data(rr); is(s) {
			all = append(all, s)
		}
	}
	return all, nil
}

// quoted names what a plan or a record holds, short enough for a detail.
func quoted(names []string) string {
	slices.Sort(names)
	return told(strings.Join(names, ", "))
}
