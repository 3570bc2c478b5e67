package network

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	// maxAnswer is as much as is read of an answer that is known beforehand.
	maxAnswer     = 64 << 10
	maxAnswerHead = 64 << 10
)

// blockPages are texts by which block pages of Vietnamese providers, offices and their firewalls are known, in lower
// case. A plan names its own in their place.
const blockPages = `["trang web này đã bị chặn", "trang web bị chặn", "website bị chặn", "truy cập bị chặn", "truy cập bị từ chối", "đã bị chặn theo yêu cầu", "nội dung bị chặn", "bị chặn bởi", "web page blocked", "website blocked", "has been blocked", "blocked by your organization", "access to this site is blocked"]`

func captiveKind() check.Kind {
	return check.Kind{
		Name:    "captive",
		Family:  "network",
		Summary: "Asks over HTTP and TLS for answers that are known beforehand; tells a log-in page of the network, a block page and intercepted TLS.",
		Options: []check.Option{
			{Name: "url", Type: check.TypeURL, Required: true, Help: "A page over plain http:// whose answer is known: whoever stands in between can change it, and is seen by that."},
			{Name: "status", Type: check.TypeInts, Default: "[204]", Min: 100, Max: 599, Help: "The known answer: one of these statuses."},
			{Name: "contains", Type: check.TypeStrings, Max: 32, Help: "The known answer: texts that all stand in the body, compared in Unicode NFC."},
			{Name: "exact", Type: check.TypeString, Help: "The known answer: the whole body, but for white space around it; shows also what was added on the way."},
			{Name: "block_pages", Type: check.TypeStrings, Max: 64, Default: blockPages, Help: "Texts that mark a block page, compared in Unicode NFC without regard to case."},
			{Name: "address", Type: check.TypeAddress, Help: "A TLS server, host:port, whose certificate is known; without it TLS is not looked at."},
			{Name: "server_name", Type: check.TypeHost, Help: "The name that the certificate must be for, when it is not the address's."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of the roots to trust in place of the system's, so that a root that was added to this machine for inspection shows."},
			{Name: "issuer", Type: check.TypeString, Help: "A text that the issuer's name must hold; another issuer (a TLS inspection box, for one) is tls_untrusted."},
			slowOption("the answer over HTTP"),
			reach.FamilyOption(),
		},
		Facts: []check.FactDef{
			{Name: "http_status_code", Help: "status of the answer over HTTP", Min: 100, Max: 999},
			{Name: "http_known_code", Help: "1 when the answer over HTTP was the known one, else 0", Max: 1},
			{Name: "tls_known_code", Help: "1 when the certificate was the known server's, else 0", Max: 1},
			{Name: "redirected_code", Help: "1 when the answer leads to another site, else 0", Max: 1},
			{Name: "body_bytes", Help: "bytes that were read of the body", Max: maxAnswer},
			{Name: "issuer_code", Help: "first 48 bits of the SHA-256 of the issuer's name: another number is another issuer", Max: 1 << 48},
			reach.FamilyFact(),
		},
		Phases: []string{"dns", "connect", "http", "tls", "total"},
		Line:   true,
		Target: captiveTarget,
		New:    newCaptive,
	}
}

func captiveTarget(o check.Options) []string {
	var hosts []string
	if u, err := url.Parse(o.String("url")); err == nil && u.Hostname() != "" {
		hosts = append(hosts, u.Hostname())
	}
	if host, _, err := splitAddress("address", o.String("address")); err == nil {
		hosts = append(hosts, host)
	}
	return hosts
}

// A captive is a check of kind captive.
type captive struct {
	url      *url.URL
	status   []int64
	contains []string
	exact    string
	blocks   []string // in lower case
	slow     time.Duration

	address string // "" for none
	name    string // of the TLS server
	policy  reach.Policy
	dialer  reach.Dialer
}

func newCaptive(o check.Options, env check.Env) (check.Func, error) {
	u, err := web.ParseURL(o.String("url"))
	if err != nil {
		return nil, fmt.Errorf("option %q: %w", "url", err)
	}
	if u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("option %q: only a plain http:// page can show who changes answers: write one without user, and name a TLS server with address", "url")
	}
	c := &captive{
		url: u, status: o.Ints("status"), contains: o.Strings("contains"), exact: strings.TrimSpace(o.String("exact")),
		slow: o.Duration("slow"), address: o.String("address"), dialer: reach.NewDialer(o.String("family"), env.Source),
	}
	for _, s := range o.Strings("block_pages") {
		if s = strings.TrimSpace(s); s == "" {
			return nil, fmt.Errorf("option %q: an empty text stands on every page: leave it out", "block_pages")
		}
		c.blocks = append(c.blocks, strings.ToLower(s))
	}
	if c.policy, err = reach.NewPolicy(o, env); err != nil {
		return nil, err
	}
	if c.address != "" {
		host, _, err := splitAddress("address", c.address)
		if err != nil {
			return nil, err
		}
		if c.name, err = reach.ASCIIHost(cmp.Or(o.String("server_name"), host)); err != nil {
			return nil, fmt.Errorf("option %q: %w", "address", err)
		}
	} else if o.Has("issuer") || o.Has("roots") || o.Has("server_name") {
		return nil, fmt.Errorf("option %q: issuer, roots and server_name say how the certificate of a TLS server is judged: name that server", "address")
	}
	return c.check, nil
}

func (c *captive) check(ctx context.Context) check.Result {
	begin := time.Now()
	done := make(chan tlsSeen, 1)
	if c.address == "" {
		done <- tlsSeen{}
	} else {
		go func() { done <- c.shake(ctx) }()
	}
	h := c.ask(ctx)
	t := <-done

	f := judgeCaptive(h, t, c.slow).UnlessCalledOff(ctx)
	r := f.Result()
	h.report(&r)
	t.report(&r)
	r.Phases.Add("total", time.Since(begin))
	return r
}

// httpSeen is what came of the question over HTTP.
type httpSeen struct {
	fault  *reach.Fault // why there is no answer, or what is wrong with it; nil for the known one
	meddle bool         // the fault is somebody in between: a log-in or block page
	answer bool         // an answer came
	status int
	size   int
	sent   string // the other site that it leads to; "" for none
	family float64
	dialed reach.Dialed
	took   time.Duration // from the request to the last byte read
}

// tlsSeen is what came of the handshake. The zero value says that none was asked for.
type tlsSeen struct {
	asked  bool
	fault  *reach.Fault // nil for the known server
	shown  bool         // a certificate was shown, whosever it was
	meddle bool         // the fault is somebody in between
	view   reach.View
	took   time.Duration
}

// judgeCaptive weighs both. A page of the network's own explains what TLS shows, so it comes first; then a certificate
// of somebody else. What did not answer at all is the line's matter: one of two is partial.
func judgeCaptive(h httpSeen, t tlsSeen, slow time.Duration) *reach.Fault {
	switch {
	case h.meddle:
		return h.fault
	case t.meddle:
		return t.fault
	case h.fault != nil && h.fault.Reason.State() == check.Unknown:
		return h.fault
	case h.fault == nil && t.fault != nil && t.fault.Reason.State() == check.Unknown:
		return t.fault
	case h.fault != nil && t.asked && t.fault == nil:
		return reach.Failf(check.Partial, "TLS is answered by the known server, HTTP is not: %s (%s)", h.fault.Detail, h.fault.Reason)
	case h.fault != nil:
		return h.fault
	case t.fault != nil:
		return reach.Failf(check.Partial, "HTTP is answered as known, TLS is not: %s (%s)", t.fault.Detail, t.fault.Reason)
	case slow > 0 && h.took > slow:
		return reach.Failf(check.Slow, "answered in %s, limit %s", h.took.Round(time.Microsecond), slow)
	}
	return nil
}

func (h httpSeen) report(r *check.Result) {
	if h.dialed.Resolved {
		r.Phases.Add("dns", h.dialed.DNS)
	}
	if h.dialed.Tried {
		r.Phases.Add("connect", h.dialed.Connect)
	}
	if h.family != 0 {
		r.Facts.Add("ip_family_code", h.family)
	}
	if !h.answer {
		return
	}
	r.Phases.Add("http", h.took)
	r.Facts.Add("http_status_code", float64(h.status))
	r.Facts.Add("http_known_code", code(h.fault == nil))
	r.Facts.Add("redirected_code", code(h.sent != ""))
	r.Facts.Add("body_bytes", float64(h.size))
}

func (t *tlsSeen) report(r *check.Result) {
	if !t.asked {
		return
	}
	r.Phases.Add("tls", t.took)
	if !t.shown {
		return
	}
	r.Facts.Add("tls_known_code", code(t.fault == nil))
	var all check.Facts
	t.view.Facts(&all)
	if v, ok := all.Get("issuer_code"); ok {
		r.Facts.Add("issuer_code", v)
	}
}

func code(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ask sends the one request and reads a bounded answer.
func (c *captive) ask(ctx context.Context) httpSeen {
	a := getter{dialer: c.dialer, url: c.url, most: maxAnswerHead + maxAnswer, header: http.Header{
		"User-Agent": {"egovmon"}, "Accept": {"*/*"}, "Cache-Control": {"no-cache"}, "Accept-Encoding": {"identity"},
	}}.get(ctx)
	defer a.close()
	h := httpSeen{dialed: a.dialed, family: a.family}
	if a.err != nil {
		h.fault = a.fault(c.url.Host)
		return h
	}
	begin := time.Now()
	body, err := io.ReadAll(io.LimitReader(a.resp.Body, maxAnswer))
	h.took = a.first + time.Since(begin)
	h.answer, h.status, h.size = true, a.resp.StatusCode, len(body)
	h.fault, h.meddle, h.sent = c.compare(a.resp, body)
	if h.fault == nil && err != nil {
		h.fault = reach.Failf(check.Classify(check.StepExchange, err), "the body breaks off: %s", cause(err))
	}
	return h
}

// compare judges an answer. meddle says that somebody else than the known server gave it.
func (c *captive) compare(resp *http.Response, body []byte) (f *reach.Fault, meddle bool, sent string) {
	text := web.NewText(body, resp.Header.Get("Content-Type"))
	sent = c.elsewhere(resp, body)
	if mark := c.blockPage(text, resp.Header.Get("Location")); mark != "" {
		return reach.Failf(check.Blocked, "a block page answers for %s (status %d, %q)", c.url.Host, resp.StatusCode, mark), true, sent
	}
	right := slices.Contains(c.status, int64(resp.StatusCode))
	switch {
	case resp.StatusCode == http.StatusNetworkAuthenticationRequired:
		return reach.Failf(check.CaptivePortal, "the network wants a log-in first (status 511)"), true, sent
	case !right && sent != "":
		return reach.Failf(check.CaptivePortal, "the answer for %s (status %d) leads to %.80s", c.url.Host, resp.StatusCode, sent), true, sent
	case !right && web.Redirects(resp.StatusCode):
		return reach.Failf(check.HTTPRedirect, "status %d leads to another page of %s, which is not the known answer", resp.StatusCode, c.url.Host), false, sent
	case !right && (resp.StatusCode/100 == 2 || asksForLogin(text)):
		return reach.Failf(check.CaptivePortal, "somebody else answers for %s: status %d and %d bytes, known is %v", c.url.Host, resp.StatusCode, len(body), c.status), true, sent
	case !right:
		return reach.Failf(check.HTTPStatus, "status %d, known is %v", resp.StatusCode, c.status), false, sent
	case c.exact != "" && norm.NFC.String(strings.TrimSpace(string(body))) != norm.NFC.String(c.exact):
		return reach.Failf(check.CaptivePortal, "%d bytes for %s are not the known answer: somebody else gives it or changes it", len(body), c.url.Host), true, sent
	}
	for _, s := range c.contains {
		if !text.Has(s) {
			return reach.Failf(check.CaptivePortal, "the answer for %s lacks %.60q: somebody else gives it or changes it", c.url.Host, s), true, sent
		}
	}
	return nil, false, ""
}

// blockPage returns the text by which a page, or where it leads to, is known as a block page; "" when it is none.
func (c *captive) blockPage(text web.Text, location string) string {
	page, plain, location := bytes.ToLower(text.Page), bytes.ToLower(text.Plain), strings.ToLower(location)
	for _, b := range c.blocks {
		if bytes.Contains(page, []byte(b)) || bytes.Contains(plain, []byte(b)) || strings.Contains(location, b) {
			return b
		}
	}
	return ""
}

// asksForLogin tells whether a page has a field for a password, or for the telephone number that networks of shops ask for.
func asksForLogin(text web.Text) bool {
	login := func(f web.Field) bool { return f.Type == "password" || f.Type == "tel" }
	e := web.Parse(text.Page)
	return slices.ContainsFunc(e.Loose, login) || slices.ContainsFunc(e.Forms, func(f web.Form) bool { return slices.ContainsFunc(f.Fields, login) })
}

// metaRefresh finds where a page sends the browser by itself.
var metaRefresh = regexp.MustCompile(`(?i)<meta[^>]{1,200}refresh[^>]{1,200}url\s*=\s*['"]?([^'">\s]{1,500})`)

// elsewhere returns the other site that an answer leads to, without query; "" when it leads to none.
func (c *captive) elsewhere(resp *http.Response, body []byte) string {
	to := ""
	if web.Redirects(resp.StatusCode) {
		to = resp.Header.Get("Location")
	} else if m := metaRefresh.FindSubmatch(body); m != nil {
		to = html.UnescapeString(string(m[1]))
	}
	u, err := c.url.Parse(to)
	if to == "" || err != nil || u.Hostname() == "" || web.Kin(u.Hostname(), c.url.Hostname()) {
		return ""
	}
	return web.Shown(u)
}

// shake looks at the certificate of the TLS server and sends nothing more.
func (c *captive) shake(ctx context.Context) tlsSeen {
	t := tlsSeen{asked: true}
	conn, dialed, err := c.dialer.Dial(ctx, c.address)
	if err != nil {
		step := check.StepConnect
		if !dialed.Tried {
			step = check.StepResolve
		}
		reason := check.Classify(step, err)
		if reason == check.ConnectTimeout {
			reason = check.Timeout
		}
		t.fault = reach.Failf(reason, "%s: %s", c.address, cause(err))
		return t
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	cfg, f := c.policy.Config(c.name, &t.view)
	if f != nil {
		t.fault, t.meddle = f, true // a file of roots that cannot be read: nothing can be said
		return t
	}
	begin := time.Now()
	err = tls.Client(conn, cfg).HandshakeContext(ctx)
	t.took = time.Since(begin)
	t.shown = t.view.Issuer() != ""
	if err == nil {
		return t
	}
	t.fault = t.view.HandshakeFault(err)
	switch t.fault.Reason {
	case check.TLSUntrusted:
		t.meddle = true
		t.fault = reach.Failf(check.TLSUntrusted, "somebody in between opens TLS to %s: %s", c.address, t.fault.Detail)
	case check.TLSName:
		t.meddle = true
		t.fault = reach.Failf(check.TLSName, "another server answers for %s: %s", c.address, t.fault.Detail)
	case check.TLSHandshake:
		// Who answers a greeting with something else than TLS is no TLS server; who says no or hangs up may be one.
		if head, ok := errors.AsType[tls.RecordHeaderError](err); ok {
			t.meddle = true
			t.fault = reach.Failf(check.TLSHandshake, "something else than TLS answers at %s (it begins with %q)", c.address, head.RecordHeader)
		}
	}
	return t
}
