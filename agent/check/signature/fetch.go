package signature

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

const (
	maxRedirects = 3
	maxHead      = 64 << 10 // status line and headers
)

// fetchOptions are the options of the kinds that ask a server over HTTP.
func fetchOptions() []check.Option {
	return []check.Option{
		reach.FamilyOption(),
		userAgent(),
		{Name: "tls_roots", Type: check.TypeString, Help: "A PEM file of the roots that an https:// server is verified with, in place of the system's."},
		slowOption(),
	}
}

func userAgent() check.Option {
	return check.Option{Name: "user_agent", Type: check.TypeString, Default: "egovmon", Help: "How the check names itself; add a contact so that the operator knows whom to ask."}
}

// fetchFacts are the numbers of every fetch.
func fetchFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "status_code", Help: "HTTP status of the answer", Min: 100, Max: 999},
		{Name: "body_bytes", Help: "size of the answer", Max: maxMaxBytes},
		reach.FamilyFact(),
		reach.AddressFact(),
	}
}

// A fetcher asks servers over fresh connections, so that a kept one never hides an outage.
type fetcher struct {
	dialer   reach.Dialer
	agent    string
	roots    certFile
	at       clock
	maxBytes int64
}

func newFetcher(o check.Options, env check.Env, maxBytes int64) (fetcher, error) {
	f := fetcher{dialer: reach.NewDialer(o.String("family"), env.Source), agent: o.String("user_agent"), at: newClock(env), maxBytes: maxBytes,
		roots: certFile{path: o.String("tls_roots")}}
	if strings.ContainsFunc(f.agent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return f, fmt.Errorf("option \"user_agent\": %q cannot stand in a header: write it in ASCII on one line", f.agent)
	}
	return f, nil
}

// A question is one request.
type question struct {
	method string
	url    *url.URL
	kind   string // media type of body, "" for none
	accept string // media type asked for
	body   []byte
}

// An answer is the body of an answer with status 200.
type answer struct {
	kind string // media type as the server gave it
	body []byte
}

// parseURL reads a URL that can be fetched; who asks does not log in.
func parseURL(s string) (*url.URL, error) {
	u, err := web.ParseURL(s)
	if err == nil && u.User != nil {
		return nil, fmt.Errorf("a user in the URL of %s: leave it out", u.Hostname())
	}
	return u, err
}

// hosts returns the host of a URL as a kind's Target does.
func hosts(s string) []string {
	u, err := parseURL(s)
	if err != nil {
		return nil
	}
	return []string{u.Hostname()}
}

// ask sends the question and returns the answer, over redirections within the host.
func (f *fetcher) ask(ctx context.Context, q question, sp *spans, facts *check.Facts) (*answer, *fault) {
	for range maxRedirects + 1 {
		status, next, a, bad := f.exchange(ctx, q, sp, facts)
		if bad != nil || next == nil {
			return a, bad
		}
		switch {
		case !strings.EqualFold(next.Hostname(), q.url.Hostname()):
			return nil, because(check.HTTPRedirect, "redirected to another host, %s", next.Host)
		case q.url.Scheme == "https" && next.Scheme == "http":
			return nil, because(check.HTTPRedirect, "redirected from https to http")
		case q.method != http.MethodGet && status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect:
			return nil, because(check.HTTPRedirect, "status %d to %s, which would drop the request (RFC 9110, section 15.4)", status, next.Path)
		}
		q.url = next
	}
	return nil, because(check.HTTPRedirect, "more than %d redirections", maxRedirects)
}

// exchange sends one request over one connection. Facts are of the last exchange of a run.
func (f *fetcher) exchange(ctx context.Context, q question, sp *spans, facts *check.Facts) (status int, next *url.URL, a *answer, bad *fault) {
	*facts = nil
	conn, err := f.dial(ctx, q.url, sp)
	if err != nil {
		return 0, nil, nil, because(check.Classify(check.StepConnect, err), "%v", err)
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	if family := reach.IPFamily(conn); family > 0 {
		facts.Add("ip_family_code", family)
	}
	if address := reach.AddressCode(conn); address > 0 {
		facts.Add("address_code", address)
	}
	if q.url.Scheme == "https" {
		if conn, bad = f.secure(conn, q.url.Hostname(), sp); bad != nil {
			return 0, nil, nil, bad
		}
	}
	req := f.request(q)
	if bad := send(conn, req, sp); bad != nil {
		return 0, nil, nil, bad
	}
	return f.read(conn, req, sp, facts)
}

// read reads and judges one answer; next is where a redirection leads.
func (f *fetcher) read(conn net.Conn, req *http.Request, sp *spans, facts *check.Facts) (status int, next *url.URL, a *answer, bad *fault) {
	wire := &io.LimitedReader{R: conn, N: maxHead}
	begin := time.Now()
	resp, err := web.ReadHead(bufio.NewReaderSize(wire, 4<<10), req)
	sp.add(phaseFirstByte, time.Since(begin))
	if err != nil {
		if wire.N <= 0 {
			return 0, nil, nil, because(check.TooLarge, "the headers of the answer have more than %d bytes", maxHead)
		}
		return 0, nil, nil, because(check.Classify(check.StepExchange, err), "waiting for the answer: %v", err)
	}
	facts.Add("status_code", float64(resp.StatusCode))
	if next, bad := redirection(req.URL, resp); next != nil || bad != nil {
		return resp.StatusCode, next, nil, bad
	}
	if bad := statusFault(resp.StatusCode); bad != nil {
		return resp.StatusCode, nil, nil, bad
	}
	// What comes over the wire is bounded too, in case that there is much beside the body.
	wire.N = 2*f.maxBytes + maxHead
	a, bad = f.body(resp, sp, facts)
	return resp.StatusCode, nil, a, bad
}

func (f *fetcher) request(q question) *http.Request {
	req := &http.Request{Method: q.method, URL: q.url, Host: q.url.Host, Close: true, Header: http.Header{
		"Accept": {q.accept}, "User-Agent": {f.agent},
	}}
	if q.body != nil {
		req.Header.Set("Content-Type", q.kind)
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
	}
	return req
}

// dial connects and tells name resolution from connecting.
func (f *fetcher) dial(ctx context.Context, u *url.URL, sp *spans) (net.Conn, error) {
	conn, took, err := f.dialer.Dial(ctx, web.HostPort(u))
	if took.Resolved {
		sp.add(phaseDNS, took.DNS)
	}
	if took.Tried {
		sp.add(phaseConnect, took.Connect)
	}
	return conn, err
}

// secure makes the TLS handshake with an https server.
func (f *fetcher) secure(conn net.Conn, host string, sp *spans) (net.Conn, *fault) {
	roots, err := f.roots.pool()
	if err != nil {
		return nil, because(check.Misconfigured, "tls_roots: %v", err)
	}
	t := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: roots, Time: f.at.now, MinVersion: tls.VersionTLS12})
	begin := time.Now()
	err = t.Handshake() // bind ends it with the run, without a goroutine
	sp.add(phaseTLS, time.Since(begin))
	if err == nil {
		return t, nil
	}
	bad := because(check.Classify(check.StepTLS, err), "TLS handshake: %v", err)
	if bad.reason == check.TLSExpired || bad.reason == check.TLSNotYetValid {
		bad = f.at.judged(bad)
	}
	return nil, bad
}

func send(conn net.Conn, req *http.Request, sp *spans) *fault {
	begin := time.Now()
	w := bufio.NewWriterSize(conn, 2<<10)
	err := req.Write(w)
	if err == nil {
		err = w.Flush()
	}
	sp.add(phaseSend, time.Since(begin))
	if err != nil {
		return because(check.Classify(check.StepExchange, err), "sending the request: %v", err)
	}
	return nil
}

// redirection returns where the answer leads, nil when it is to be judged itself.
func redirection(from *url.URL, resp *http.Response) (*url.URL, *fault) {
	if !web.Redirects(resp.StatusCode) {
		return nil, nil
	}
	u, err := from.Parse(resp.Header.Get("Location"))
	if err == nil {
		u, err = parseURL(u.String())
	}
	if err != nil {
		return nil, because(check.HTTPRedirect, "status %d with a Location that cannot be followed: %v", resp.StatusCode, err)
	}
	return u, nil
}

// statusFault judges a status that is no redirection.
func statusFault(status int) *fault {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusNetworkAuthenticationRequired:
		return because(check.CaptivePortal, "status %d: the network wants a login first", status)
	case http.StatusTooManyRequests:
		return because(check.Blocked, "status %d: the server says that we ask too often", status)
	default:
		return because(check.HTTPStatus, "status %d, want 200", status)
	}
}

// body reads the body to its end.
func (f *fetcher) body(resp *http.Response, sp *spans, facts *check.Facts) (*answer, *fault) {
	begin := time.Now()
	// Never closed: Close would read the rest of a body without end. The connection is closed instead.
	if resp.ContentLength > f.maxBytes {
		facts.Add("body_bytes", float64(f.maxBytes))
		return nil, because(check.TooLarge, "the answer has more than %d bytes", f.maxBytes)
	}
	buf, err := readUpTo(resp.Body, max(resp.ContentLength, firstRead), f.maxBytes+1)
	n := int64(len(buf))
	sp.add(phaseTransfer, time.Since(begin))
	facts.Add("body_bytes", float64(min(n, f.maxBytes)))
	switch {
	case n > f.maxBytes:
		return nil, because(check.TooLarge, "the answer has more than %d bytes", f.maxBytes)
	case err != nil:
		return nil, because(check.Classify(check.StepExchange, err), "reading the answer, %d bytes came: %v", n, err)
	case n == 0:
		return nil, because(check.Truncated, "the answer is empty")
	}
	return &answer{kind: resp.Header.Get("Content-Type"), body: buf}, nil
}

// firstRead is how much room is made for a body whose size is not told.
const firstRead = 16 << 10

// readUpTo reads to the end, or until it has most bytes. It makes room for size bytes first and then twice as much each
// time, never more than most.
func readUpTo(r io.Reader, size, most int64) ([]byte, error) {
	buf := make([]byte, 0, min(size+1, most)) // the end is seen without more room
	for int64(len(buf)) < most {
		if len(buf) == cap(buf) {
			more := make([]byte, len(buf), min(2*int64(cap(buf)), most))
			copy(more, buf)
			buf = more
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
	return buf, nil
}

// unreadable says why an answer cannot be read as what it should be, and what it seems to be instead.
func (a *answer) unreadable(as string, err error) *fault {
	start := bytes.ToLower(bytes.TrimSpace(a.body[:min(len(a.body), 512)]))
	if bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html")) || strings.HasPrefix(a.kind, "text/html") {
		return because(check.Protocol, "a web page came with status 200 in place of %s", as)
	}
	return because(check.Protocol, "the answer (%s) is not %s: %v", a.kind, as, err)
}
