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
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

func httpKind() check.Kind {
	names := phaseNames()
	// The buffers of one fetch go from check to check, so that memory follows what runs at once, not the plan's length.
	pool := &sync.Pool{New: func() any { return new(scratch) }}
	return check.Kind{
		Name:    "http",
		Family:  "portal",
		Summary: "One page over a fresh connection: status, redirections, headers, content, size, certificate and the time of each phase.",
		Options: slices.Concat(httpOptions(), moreOptions(), reach.TLSOptions()),
		Facts: slices.Concat([]check.FactDef{
			{Name: "status_code", Help: "status of the last answer", Min: 100, Max: 999},
			{Name: "body_bytes", Help: "size of the body after decompression", Max: maxMaxBytes},
			{Name: "redirects_count", Help: "redirections followed", Max: maxRedirects},
			{Name: "http_version_code", Help: "the protocol version times ten: 10, 11, 20 or 30", Min: 10, Max: 30},
			reach.FamilyFact(),
			reach.AddressFact(),
		}, moreFacts(), reach.TLSFacts()),
		Phases: append(names[:], "total"),
		Target: httpTarget,
		New: func(o check.Options, env check.Env) (check.Func, error) {
			c, err := newHTTP(o, env)
			if err != nil {
				return nil, err
			}
			if err := c.beyond(o, env); err != nil {
				return nil, err
			}
			c.pool = pool
			return c.run, nil
		},
	}
}

const (
	maxRedirects = 20
	maxMaxBytes  = 64 << 20
	maxHead      = web.MaxHead
)

func httpOptions() []check.Option {
	return []check.Option{
		{Name: "url", Type: check.TypeURL, Required: true, Help: "The page, beginning with http:// or https://."},
		{Name: "method", Type: check.TypeString, Default: "GET", Enum: []string{"GET", "HEAD", "OPTIONS"}, Help: "The request method; only those that change nothing."},
		{Name: "status", Type: check.TypeInts, Default: "[200]", Min: 100, Max: 599, Help: "The answers that are right. A redirection listed here is not followed."},
		{Name: "contains", Type: check.TypeStrings, Help: "Texts that must all stand on the page, compared after charset decoding and in Unicode NFC."},
		{Name: "absent", Type: check.TypeStrings, Help: "Texts of which none may stand on the page."},
		{Name: "matches", Type: check.TypeRegexps, Max: 32, Help: "Regular expressions that must all match the page."},
		{Name: "headers", Type: check.TypeMap, Help: "Headers to send, e.g. {Accept-Language: vi}."},
		{Name: "answer_headers", Type: check.TypeMap, Help: "Headers that the answer must have, each with a regular expression for its value; an empty one matches any."},
		{Name: "redirects", Type: check.TypeInt, Default: "10", Max: maxRedirects, Help: "The most redirections followed; more are http_redirect."},
		{Name: "other_hosts", Type: check.TypeBool, Default: "false",
			Help: "Whether a redirection may lead to another site (names below or above the same one, such as www., always may)."},
		{Name: "downgrade", Type: check.TypeBool, Default: "false", Help: "Whether a redirection may lead from https to http."},
		{Name: "max_bytes", Type: check.TypeBytes, Default: "4MiB", Min: 1, Max: maxMaxBytes, Unit: "bytes", Help: "A body larger than this, after decompression, is too_large."},
		{Name: "min_bytes", Type: check.TypeBytes, Max: maxMaxBytes, Unit: "bytes", Help: "A body smaller than this, after decompression, is truncated."},
		{Name: "user", Type: check.TypeString, Help: "User name for basic authentication; sent to the url's own host only."},
		{Name: "password", Type: check.TypeSecret, Help: "Password for basic authentication."},
		{Name: "user_agent", Type: check.TypeString, Default: "egovmon", Help: "How the check names itself; add a contact so that the site's operator knows whom to ask."},
		{Name: "proxy", Type: check.TypeString, Default: "none",
			Help: "none, environment (HTTP_PROXY and so on), or a proxy's http:// or socks5:// URL without user."},
		{Name: "proxy_user", Type: check.TypeString, Help: "User name at the proxy."},
		{Name: "proxy_password", Type: check.TypeSecret, Help: "Password at the proxy."},
		reach.FamilyOption(),
		slowOption(),
		{Name: "client_cert", Type: check.TypeString, Help: "A PEM file with the certificate that the check identifies itself with, and its key unless that is given apart."},
		{Name: "client_key", Type: check.TypeString, Help: "A PEM file with the key of client_cert."},
		{Name: "client_key_secret", Type: check.TypeSecret, Help: "The key of client_cert as a secret in PEM."},
	}
}

func httpTarget(o check.Options) []string {
	s := o.String("url")
	if p := o.String("proxy"); strings.Contains(p, "://") {
		s = p
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	return []string{u.Hostname()}
}

// An httpCheck is one check of the kind http, made ready so that a run only sends, reads and compares.
type httpCheck struct {
	url       *url.URL
	method    string
	header    http.Header
	host      string // the Host header, "" for the URL's
	status    []int64
	page      assertions
	redirects int
	others    bool // redirections to other sites are followed
	downgrade bool
	maxBytes  int64
	minBytes  int64
	slow      time.Duration
	timeout   time.Duration
	site      login
	proxy     proxy
	policy    reach.Policy
	dialer    reach.Dialer
	pool      *sync.Pool
	sso       string // a host that a redirection may lead to, "" for none
	elements  bool   // the forms and images of the page are kept
	keep      bool   // the page is kept
	anyStatus bool   // every status is right
	more      more
	at        netip.Addr // the address of url's host to connect to; the zero Addr leaves that to the system
}

func newHTTP(o check.Options, env check.Env) (*httpCheck, error) {
	u, err := web.ParseURL(o.String("url"))
	if err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	c := &httpCheck{
		url:       u,
		method:    o.String("method"),
		status:    o.Ints("status"),
		redirects: int(o.Int("redirects")),
		others:    o.Bool("other_hosts"),
		downgrade: o.Bool("downgrade"),
		maxBytes:  o.Int("max_bytes"),
		minBytes:  o.Int("min_bytes"),
		slow:      o.Duration("slow"),
		timeout:   env.Timeout,
		dialer:    reach.NewDialer(o.String("family"), env.Source),
	}
	if len(c.status) == 0 {
		return nil, fmt.Errorf("option \"status\": an empty list: write at least one status, e.g. [200]")
	}
	if c.minBytes > c.maxBytes {
		return nil, fmt.Errorf("option \"min_bytes\": %d is more than max_bytes %d: lower it or raise max_bytes", c.minBytes, c.maxBytes)
	}
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	if err := c.headers(o); err != nil {
		return nil, err
	}
	if c.page, err = newAssertions(o); err != nil {
		return nil, err
	}
	if c.method != http.MethodGet && (c.page.content() || c.minBytes > 0) {
		return nil, fmt.Errorf("option \"method\": %s brings no page: use GET, or leave out contains, absent, matches and min_bytes", c.method)
	}
	if err := c.logins(o, env); err != nil {
		return nil, err
	}
	return c, c.clientPair(o, env)
}

func (c *httpCheck) headers(o check.Options) error {
	c.header = http.Header{
		"Accept":          {"*/*"},
		"Accept-Encoding": {"gzip, deflate"},
		"User-Agent":      {o.String("user_agent")},
	}
	for name, value := range o.Map("headers") {
		name = http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("option \"headers\": %q: %q is no header: write {Name: value} on one line", name, value)
		}
		switch name {
		case "Host":
			c.host = value
		case "Connection", "Content-Length", "Transfer-Encoding", "Accept-Encoding", "Proxy-Authorization":
			return fmt.Errorf("option \"headers\": %s is set by the check itself: leave it out", name)
		default:
			c.header[name] = []string{value}
		}
	}
	if !httpguts.ValidHeaderFieldValue(o.String("user_agent")) {
		return fmt.Errorf("option \"user_agent\": %q cannot stand in a header: write it on one line", o.String("user_agent"))
	}
	return nil
}

func (c *httpCheck) logins(o check.Options, env check.Env) error {
	var err error
	if c.site, err = newLogin(o, env, "user", "password"); err != nil {
		return err
	}
	through, err := newLogin(o, env, "proxy_user", "proxy_password")
	if err != nil {
		return err
	}
	c.proxy, err = newProxy(o.String("proxy"), through)
	return err
}

func (c *httpCheck) clientPair(o check.Options, env check.Env) error {
	cert, key, secret := o.String("client_cert"), o.String("client_key"), o.String("client_key_secret")
	switch {
	case cert == "" && (key != "" || secret != ""):
		return fmt.Errorf("option \"client_cert\": a client key needs its certificate: write the PEM file's path")
	case key != "" && secret != "":
		return fmt.Errorf("option \"client_key\": the key is given twice: keep client_key or client_key_secret")
	}
	var read func() (string, error)
	if secret != "" {
		read = func() (string, error) { return reach.Secret(env, secret) }
	}
	c.policy.ClientCert(cert, key, read)
	return nil
}

// regexps compiles a list that a plan has already been checked for.
func regexps(option string, list []string) ([]*regexp.Regexp, error) {
	var rs []*regexp.Regexp
	for _, s := range list {
		r, err := regexp.Compile(norm.NFC.String(s))
		if err != nil {
			return nil, fmt.Errorf("option %q: %w", option, err)
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// run fetches the page once.
func (c *httpCheck) run(ctx context.Context) check.Result {
	if _, ok := ctx.Deadline(); !ok && c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	begin := time.Now()
	s, _ := c.pool.Get().(*scratch)
	f := fetch{c: c, scratch: s}
	var bad, worn, seen *fault
	if c.more.addresses == addressesAll || c.more.addresses == addressesFamilies {
		f, bad, worn = c.everywhere(ctx, s)
	} else {
		bad = f.follow(ctx)
	}
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		seen = c.further(ctx, &f)
	}
	s.release()
	c.pool.Put(s)
	for _, next := range []*fault{faultOf(c.policy.Degraded(&f.peer)), worn, seen} {
		if bad == nil {
			bad = next
		}
	}
	if bad == nil && c.slow > 0 && total > c.slow {
		bad = &fault{check.Slow, fmt.Sprintf("%s, the limit is %s", total.Round(time.Millisecond), c.slow)}
	}
	r := bad.result()
	if bad == nil && c.more.show {
		r.Detail = f.view.sketch.String()
	}
	f.peer.Facts(&f.facts)
	r.Phases, r.Facts = f.spans.phases(total), f.facts
	return r
}
