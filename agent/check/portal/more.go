package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

// The values of the option addresses.
const (
	addressesOne      = "one"
	addressesAll      = "all"
	addressesFamilies = "families"
)

// The values of the option protocol.
const (
	protocol1   = "1.1"
	protocol2   = "2"
	protocolAny = "any"
	protocol3   = "3"
)

const (
	maxLinks = 20
	century  = 100 * 365 * 24 * 3600
)

// moreOptions are those of http that look further than one page.
func moreOptions() []check.Option {
	return []check.Option{
		{Name: "json", Type: check.TypeMap, Help: "Values that a JSON answer must have: {path: regular expression}, e.g. {$.status: ^UP$}; an empty one matches any."},
		{Name: "select", Type: check.TypeMap, Help: "Elements that the page must have: {CSS selector: regular expression for the text}, e.g. {h1.ten: Tứ Kỳ}; an empty one matches any."},
		{Name: "select_absent", Type: check.TypeStrings, Max: 32, Help: "CSS selectors of which none may find an element."},
		{Name: "signs", Type: check.TypeBool, Default: "true",
			Help: "Whether a page that announces maintenance is content_forbidden, a firewall's page blocked, and one with the marks of vandals content_changed, whatever their status."},
		{Name: "changed", Type: check.TypeFloat, Max: 1, Unit: "of the text",
			Help: "A page of which more than this share is other than in its reference is content_changed, e.g. 0.5; digits count as one another. Without it nothing is compared."},
		{Name: "reference", Type: check.TypeString, Default: "learn",
			Help: "What the page is compared with: learn (as it was at the last good run), show (prints the fingerprint), or a fingerprint that was printed."},
		{Name: "changed_for", Type: check.TypeDuration, Default: "24h", Min: 60, Max: 366 * 86400, Help: "How long a change stays content_changed before the new page is learnt as the reference."},
		{Name: "ignore", Type: check.TypeString, Help: "A CSS selector for the parts of the page that may change, e.g. .tin-moi, #luot-truy-cap."},
		{Name: "tolerate", Type: check.TypeRegexps, Max: 16, Help: "Regular expressions for texts that may change."},
		{Name: "size_change", Type: check.TypeFloat, Max: 100, Unit: "of the size", Help: "A body whose size differs by more than this share from the median of the last 16 is content_changed."},
		{Name: "newest", Type: check.TypeString, Help: "A CSS selector for the dates of articles, e.g. .tin .ngay or time@datetime."},
		{Name: "feed", Type: check.TypeURL, Help: "An RSS or Atom feed or a sitemap of the same site, whose newest date counts in place of newest."},
		{Name: "newest_max", Type: check.TypeDuration, Min: 60, Max: 10 * 366 * 86400, Help: "A newest article older than this is stale; required with newest or feed."},
		{Name: "hsts", Type: check.TypeDuration, Max: century, Help: "How long Strict-Transport-Security must hold at least; less, or none, is weak_tls."},
		{Name: "plain_url", Type: check.TypeURL, Help: "The http:// address of the site that must lead to https or be closed; one that shows a page is weak_tls."},
		{Name: "protocol", Type: check.TypeString, Default: protocol1, Enum: []string{protocol1, protocol2, protocolAny, protocol3},
			Help: "The version of HTTP: any takes 2 where the server has it; 2 and 3 must be had. 3 needs an agent built with -tags http3; others say not_supported."},
		{Name: "addresses", Type: check.TypeString, Default: addressesOne, Enum: []string{addressesOne, addressesAll, addressesFamilies},
			Help: "Which addresses of the name are tried: one; all, of which some that fail are partial; families: IPv4 and IPv6 must both do."},
		{Name: "caa", Type: check.TypeStrings, Min: 1, Max: 16, Help: "The authorities that the name's CAA records may name, e.g. [letsencrypt.org]; others, and no records, are weak_tls."},
		{Name: "server", Type: check.TypeAddress, Help: "The resolver to ask for CAA records; without it those of the system."},
		{Name: "links", Type: check.TypeInt, Max: maxLinks, Help: "How many links of the page to its own host are tried in a run, others each time, as robots.txt allows; broken ones are partial."},
		{Name: "sitemap", Type: check.TypeURL, Help: "A sitemap of the same site, whose addresses are tried in place of the page's links."},
	}
}

func moreFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "changed_ratio", Help: "share of the text that is other than in the reference", Max: 1},
		{Name: "size_change_ratio", Help: "how much the size differs from the median of the last ones", Max: maxMaxBytes},
		{Name: "newest_age_s", Help: "age of the newest article", Max: century},
		{Name: "newest_ahead_s", Help: "how far the date of the newest article lies in the future", Max: century},
		{Name: "hsts_s", Help: "how long Strict-Transport-Security holds", Max: century},
		{Name: "https_forced_code", Help: "1 when plain HTTP leads to https or is closed, 0 when it shows a page", Max: 1},
		{Name: "addresses_count", Help: "addresses of the name", Max: maxAddresses},
		{Name: "addresses_failed_count", Help: "addresses where the page could not be had", Max: maxAddresses},
		{Name: "ipv4_code", Help: "1 when the page was had over IPv4, else 0", Max: 1},
		{Name: "ipv6_code", Help: "1 when the page was had over IPv6, else 0", Max: 1},
		{Name: "caa_count", Help: "CAA records that name authorities", Max: 1000},
		{Name: "links_count", Help: "links that were tried", Max: maxLinks},
		{Name: "links_broken_count", Help: "links that lead nowhere", Max: maxLinks},
	}
}

// more is what a check of http looks at beyond one page. The zero value is nothing.
type more struct {
	changed    float64
	show       bool
	reference  sketch // of the plan, nil to learn
	changedFor time.Duration
	ignore     *web.Selector
	tolerate   []*regexp.Regexp
	sizeChange float64
	newest     *web.Selector
	feed       *url.URL
	newestMax  time.Duration
	hsts       time.Duration
	plain      *url.URL
	protocol   string
	addresses  string
	network    string // of the addresses: ip, ip4 or ip6
	caa        []string
	servers    []string // resolvers for caa; nil for the system's
	links      int
	sitemap    *url.URL
	dates      *web.DateReader
	memory     *memory
	now        func() time.Time
	source     netip.Addr
	resolve    func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// reads reports whether the whole page must be kept for it.
func (m *more) reads() bool {
	return m.changed > 0 || m.show || m.newest != nil || m.links > 0 && m.sitemap == nil
}

// beyond reads the options. What they say about others is checked here.
func (c *httpCheck) beyond(o check.Options, env check.Env) (err error) {
	m := &c.more
	m.changed, m.changedFor, m.sizeChange, m.newestMax = o.Float("changed"), o.Duration("changed_for"), o.Float("size_change"), o.Duration("newest_max")
	m.hsts, m.protocol, m.addresses, m.links = o.Duration("hsts"), o.String("protocol"), o.String("addresses"), int(o.Int("links"))
	m.now, m.source, m.network = env.Now, env.Source, "ip"
	if family := o.String("family"); family == "ip4" || family == "ip6" {
		m.network = family
	}
	if m.now == nil {
		m.now = time.Now
	}
	if c.method != http.MethodGet {
		c.page.signs = false
		if m.changed > 0 || m.sizeChange > 0 || o.Has("newest") || m.links > 0 || o.String("reference") == "show" {
			return fmt.Errorf("option \"method\": %s brings no page: use GET, or leave out changed, size_change, newest and links", c.method)
		}
	}
	if err := c.comparison(o); err != nil {
		return err
	}
	if s := o.String("newest"); s != "" {
		if m.newest, err = web.ParseSelector(s); err != nil {
			return fmt.Errorf("option \"newest\": %w", err)
		}
	}
	for _, one := range []struct {
		name string
		into **url.URL
	}{{"feed", &m.feed}, {"plain_url", &m.plain}, {"sitemap", &m.sitemap}} {
		if !o.Has(one.name) {
			continue
		}
		u, err := web.ParseURL(o.String(one.name))
		if err != nil {
			return fmt.Errorf("option %q: %w", one.name, err)
		}
		if !web.Kin(u.Hostname(), c.url.Hostname()) {
			return fmt.Errorf("option %q: %s is of another site than url", one.name, u.Hostname())
		}
		*one.into = u
	}
	switch {
	case (m.newest != nil || m.feed != nil) != (m.newestMax > 0):
		return fmt.Errorf("option \"newest_max\": write it together with newest or feed")
	case m.newest != nil && m.feed != nil:
		return fmt.Errorf("option \"feed\": newest and feed exclude each other: keep one")
	case m.plain != nil && m.plain.Scheme != "http":
		return fmt.Errorf("option \"plain_url\": write an http:// address")
	case m.sitemap != nil && m.links == 0:
		return fmt.Errorf("option \"sitemap\": write links: how many of its addresses to try")
	case (m.hsts > 0 || m.protocol == protocol2 || m.protocol == protocol3) && c.url.Scheme != "https":
		return fmt.Errorf("option \"url\": hsts and protocol %s and %s need https://", protocol2, protocol3)
	case m.protocol == protocol3 && o.String("proxy") != "none":
		return fmt.Errorf("option \"protocol\": %s goes through no proxy: write proxy: none", protocol3)
	case m.addresses == addressesFamilies && m.network != "ip":
		return fmt.Errorf("option \"addresses\": families needs both: leave out family")
	case m.addresses != "" && m.addresses != addressesOne && o.String("proxy") != "none":
		return fmt.Errorf("option \"addresses\": a proxy chooses the address: leave out proxy")
	}
	if m.newestMax > 0 {
		m.dates = web.NewDateReader(nil)
	}
	c.alpn()
	m.memory = newMemory(env)
	return c.authorities(o)
}

// comparison reads what the page is compared with.
func (c *httpCheck) comparison(o check.Options) (err error) {
	m := &c.more
	switch s := o.String("reference"); s {
	case "", "learn":
	case "show":
		m.show = true
	default:
		if m.reference, err = parseSketch(s); err != nil {
			return fmt.Errorf("option \"reference\": %w", err)
		}
		if m.changed == 0 {
			return fmt.Errorf("option \"reference\": write changed: how much may be other, e.g. 0.5")
		}
	}
	if s := o.String("ignore"); s != "" {
		if m.ignore, err = web.ParseSelector(s); err != nil {
			return fmt.Errorf("option \"ignore\": %w", err)
		}
	}
	m.tolerate, err = regexps("tolerate", o.Strings("tolerate"))
	return err
}

// alpn offers the protocols that are asked for.
func (c *httpCheck) alpn() {
	switch c.more.protocol {
	case protocol2, protocolAny:
		c.policy.ALPN = []string{"h2", "http/1.1"}
	}
}

func (c *httpCheck) authorities(o check.Options) error {
	for _, a := range o.Strings("caa") {
		name, err := reach.ASCIIHost(a)
		if err != nil {
			return fmt.Errorf("option \"caa\": %w", err)
		}
		c.more.caa = append(c.more.caa, strings.ToLower(name))
	}
	if _, err := netip.ParseAddr(c.url.Hostname()); err == nil && len(c.more.caa) > 0 {
		return fmt.Errorf("option \"caa\": an address has no CAA records: write a name in url")
	}
	if s := o.String("server"); s != "" {
		c.more.servers = []string{s}
	}
	return nil
}

// A view is what a page showed that is judged after it was found good.
type view struct {
	sketch sketch
	dates  []string
	links  []string
	hsts   time.Duration
	signed *fault // marks of vandals
}

// view looks at a good page.
func (c *httpCheck) view(body []byte, header http.Header) view {
	m := &c.more
	v := view{hsts: hstsAge(header)}
	if !m.reads() && !c.page.signs {
		return v
	}
	page := web.Decode(body, header.Get("Content-Type"))
	if c.page.signs {
		v.signed = defaced(page)
	}
	if m.changed > 0 || m.show {
		v.sketch = newSketch(words(page, m.ignore), func(s string) string {
			for _, r := range m.tolerate {
				s = r.ReplaceAllString(s, " ")
			}
			return s
		})
	}
	if m.newest != nil {
		v.dates = m.newest.Find(page, most)
	}
	if m.links > 0 && m.sitemap == nil {
		v.links = anchors().Find(page, maxAnchors)
	}
	return v
}

// hstsAge reads Strict-Transport-Security (RFC 6797, section 6.1); 0 when it is not there.
func hstsAge(h http.Header) time.Duration {
	for part := range strings.SplitSeq(h.Get("Strict-Transport-Security"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "max-age") {
			continue
		}
		seconds, err := time.ParseDuration(strings.Trim(value, ` "`) + "s")
		if err != nil || seconds < 0 {
			return 0
		}
		return min(seconds, century*time.Second)
	}
	return 0
}

// further looks beyond the page that came well, and returns the first thing that is not as it should be. What takes another request
// is given up when the time is nearly over.
func (c *httpCheck) further(ctx context.Context, f *fetch) (worn *fault) {
	m := &c.more
	keep := func(bad *fault) {
		if worn == nil {
			worn = bad
		}
	}
	keep(f.view.signed)
	keep(m.remember(f))
	if m.hsts > 0 {
		f.facts.Add("hsts_s", f.view.hsts.Seconds())
		if f.view.hsts < m.hsts {
			keep(&fault{check.WeakTLS, fmt.Sprintf("Strict-Transport-Security holds for %s, want %s", f.view.hsts, m.hsts)})
		}
	}
	for _, look := range []struct {
		wanted bool
		at     func(context.Context, *fetch) *fault
	}{{m.plain != nil, c.forced}, {len(m.caa) > 0, c.judgeCAA}, {m.newestMax > 0, c.judgeNewest}, {m.links > 0, c.tryLinks}} {
		if look.wanted && ctx.Err() == nil {
			keep(look.at(ctx, f))
		}
	}
	return worn
}

// side makes a check of another address of the site, for the same clients and with nothing to be found there.
func (c *httpCheck) side(u *url.URL) *httpCheck {
	one := *c
	one.url, one.page, one.minBytes, one.elements = u, assertions{}, 0, false
	one.more = more{protocol: c.more.protocol}
	one.status = []int64{http.StatusOK}
	if !sameHost(u, c.url) {
		one.host, one.header, one.site = "", c.header.Clone(), login{}
		one.header.Del("Authorization")
		one.header.Del("Cookie")
	}
	return &one
}

// visit makes one more request with the memory of the first, whose time and facts are left alone.
func (f *fetch) visit(ctx context.Context, c *httpCheck) (g fetch, bad *fault) {
	f.scratch.text.Reset()
	g = fetch{c: c, scratch: f.scratch, jar: f.jar}
	bad = g.follow(ctx)
	return g, bad
}

// forced sees that plain HTTP shows no page.
func (c *httpCheck) forced(ctx context.Context, f *fetch) *fault {
	one := c.side(c.more.plain)
	one.method, one.anyStatus, one.redirects, one.policy.ALPN = http.MethodHead, true, 0, nil
	g, bad := f.visit(ctx, one)
	switch {
	case bad == nil && g.last.status < 300:
		f.facts.Add("https_forced_code", 0)
		return &fault{check.WeakTLS, fmt.Sprintf("%s shows a page without TLS, status %d", web.Shown(c.more.plain), g.last.status)}
	case bad == nil || bad.reason == check.ConnectRefused:
		f.facts.Add("https_forced_code", 1)
	case bad.reason == check.HTTPRedirect && g.to != nil:
		f.facts.Add("https_forced_code", truth(g.to.Scheme == "https"))
		if g.to.Scheme != "https" {
			return &fault{check.WeakTLS, fmt.Sprintf("%s leads to %s and not to https", web.Shown(c.more.plain), web.Shown(g.to))}
		}
	}
	return nil // that it cannot be told is no fault of the site
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// judgeCAA asks which authorities may issue certificates for the name (RFC 8659).
func (c *httpCheck) judgeCAA(ctx context.Context, f *fetch) *fault {
	s := lookup.Stub{Servers: c.more.servers, Source: c.more.source, Most: 24}
	if s.Servers == nil {
		system, err := lookup.SystemServers()
		if err != nil || len(system) == 0 {
			return &fault{check.Partial, "the system names no resolver to ask for CAA records"}
		}
		for _, a := range system {
			s.Servers = append(s.Servers, a.String())
		}
	}
	records, at, o := s.CAA(ctx, c.url.Hostname())
	if o.Reason != check.OK && o.Reason != check.DNSEmpty {
		return &fault{check.Partial, "CAA records cannot be had: " + o.Detail}
	}
	named := 0
	var stranger string
	for _, r := range records {
		if !strings.EqualFold(r.Tag, "issue") {
			continue
		}
		named++
		name, _, _ := strings.Cut(r.Value, ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !slices.Contains(c.more.caa, name) {
			stranger = name
		}
	}
	f.facts.Add("caa_count", float64(min(named, 1000)))
	switch {
	case named == 0:
		return &fault{check.WeakTLS, "no CAA record: every authority may issue certificates for the name"}
	case stranger != "":
		return &fault{check.WeakTLS, fmt.Sprintf("the CAA records of %s also name %.60q", at, stranger)}
	}
	return nil
}

// judgeNewest weighs the age of the newest article.
func (c *httpCheck) judgeNewest(ctx context.Context, f *fetch) *fault {
	m := &c.more
	texts, what := f.view.dates, "the page"
	if m.feed != nil {
		what = "the feed"
		one := c.side(m.feed)
		one.keep = true
		g, bad := f.visit(ctx, one)
		if bad != nil {
			return &fault{check.Partial, "the feed: " + bad.detail}
		}
		texts = feedDates().Find(g.kept, most)
	}
	now := m.now()
	var newest time.Time
	for _, text := range texts {
		if d, ok := m.dates.Read(text, now); ok && d.Latest(now).After(newest) {
			newest = d.Latest(now)
		}
	}
	if newest.IsZero() {
		return &fault{check.Partial, fmt.Sprintf("no date of an article is found in %s", what)}
	}
	age := now.Sub(newest)
	if age < -time.Hour {
		f.facts.Add("newest_ahead_s", min(-age.Seconds(), century))
		return &fault{check.ClockSkew, fmt.Sprintf("the newest article is of %s, in the future", newest.Format(time.RFC3339))}
	}
	f.facts.Add("newest_age_s", min(max(age.Seconds(), 0), century))
	if age > m.newestMax {
		return &fault{check.Stale, fmt.Sprintf("the newest article is of %s, the limit is %s", newest.In(web.Vietnam()).Format(time.DateOnly), m.newestMax)}
	}
	return nil
}
