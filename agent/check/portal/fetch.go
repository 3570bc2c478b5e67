package portal

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

// A fetch is one run of an httpCheck: the request, and those that redirections ask for.
type fetch struct {
	c       *httpCheck
	scratch *scratch
	spans   spans
	peer    reach.View // of the last handshake
	facts   check.Facts
	jar     *cookiejar.Jar // nil until a redirection; a session may depend on the cookie set with it
	last    answer
	at      *url.URL // where the last answer came from
	seen    web.Elements
	view    view
	to      *url.URL // where a redirection that was not followed leads
	kept    []byte   // in UTF-8, where the check keeps it
}

// An answer is the last one that was read.
type answer struct {
	status, version, redirects int
	ip                         float64
	address                    float64 // of the first server, where no proxy stands before it
	body                       int64   // -1 when not read
}

func answerNotRead() answer { return answer{body: -1} }

// follow fetches the page over all its redirections and judges it.
func (f *fetch) follow(ctx context.Context) *fault {
	f.last = answerNotRead()
	defer f.number()
	u, method := f.c.url, f.c.method
	for {
		next, bad := f.exchange(ctx, u, method)
		if bad != nil || next == nil {
			f.at = u
			return bad
		}
		if bad := f.mayGo(u, next); bad != nil {
			f.to = next
			return bad
		}
		if method == http.MethodOptions && f.last.status == http.StatusSeeOther {
			method = http.MethodGet // RFC 9110, section 15.4.4
		}
		u = next
		f.last.redirects++
	}
}

// number turns what was seen into facts.
func (f *fetch) number() {
	if f.last.status > 0 {
		f.facts.Add("status_code", float64(f.last.status))
		f.facts.Add("http_version_code", float64(f.last.version))
		f.facts.Add("redirects_count", float64(f.last.redirects))
	}
	if f.last.body >= 0 {
		f.facts.Add("body_bytes", float64(f.last.body))
	}
	if f.last.ip > 0 {
		f.facts.Add("ip_family_code", f.last.ip)
	}
	if f.last.address > 0 {
		f.facts.Add("address_code", f.last.address)
	}
}

// mayGo says why a redirection must not be followed.
func (f *fetch) mayGo(from, to *url.URL) *fault {
	switch {
	case f.last.redirects >= f.c.redirects:
		return &fault{check.HTTPRedirect, fmt.Sprintf("more than %d redirections, the last one to %s", f.c.redirects, web.Shown(to))}
	case from.Scheme == "https" && to.Scheme == "http" && !f.c.downgrade:
		return &fault{check.HTTPRedirect, fmt.Sprintf("redirected from https to %s: allow it with downgrade: true", web.Shown(to))}
	case f.c.sso != "" && strings.EqualFold(f.c.sso, to.Hostname()):
		return nil
	case !f.c.others && !web.Kin(f.c.url.Hostname(), to.Hostname()):
		return &fault{check.HTTPRedirect, fmt.Sprintf("redirected to another site, %s: allow it with other_hosts: true", web.Shown(to))}
	}
	return nil
}

// exchange sends one request and reads its answer; next is where a redirection leads.
func (f *fetch) exchange(ctx context.Context, u *url.URL, method string) (next *url.URL, bad *fault) {
	req, bad := f.request(u, method)
	if bad != nil {
		return nil, bad
	}
	via, bad := f.c.proxy.via(req)
	if bad != nil {
		return nil, bad
	}
	if f.c.more.protocol == protocol3 && u.Scheme == "https" {
		return f.exchange3(ctx, u, req)
	}
	conn, bad := f.connect(ctx, u, via)
	if bad != nil {
		return nil, bad
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	f.last.ip = reach.IPFamily(conn)
	if f.last.redirects == 0 && via == nil {
		f.last.address = reach.AddressCode(conn)
	}
	talk, bad := f.secure(ctx, conn, u, via)
	if bad != nil {
		return nil, bad
	}
	if speaks2(talk) {
		return f.receive2(ctx, talk, req)
	}
	if f.c.more.protocol == protocol2 && u.Scheme == "https" {
		return nil, &fault{check.Protocol, "the server does not speak HTTP/2"}
	}
	if bad := f.send(talk, req, via); bad != nil {
		return nil, bad
	}
	return f.receive(talk, req)
}

// request makes the request for one address.
func (f *fetch) request(u *url.URL, method string) (*http.Request, *fault) {
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: f.c.header, Close: true}
	own := sameHost(u, f.c.url)
	if own && f.c.host != "" {
		req.Host = f.c.host
	}
	if f.c.site.password == nil && f.jar == nil && own {
		return req, nil
	}
	req.Header = req.Header.Clone()
	if !own {
		for _, name := range []string{"Authorization", "Cookie"} {
			req.Header.Del(name)
		}
	}
	if own && (u.Scheme == "https" || f.c.url.Scheme == "http") {
		auth, err := f.c.site.basic()
		if err != nil {
			return nil, &fault{check.NotConfigured, err.Error()}
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
	}
	if f.jar != nil {
		web.SendCookies(f.jar, req)
	}
	return req, nil
}

func sameHost(a, b *url.URL) bool { return strings.EqualFold(a.Hostname(), b.Hostname()) }

// connect opens the connection, to the proxy when there is one.
func (f *fetch) connect(ctx context.Context, u, via *url.URL) (net.Conn, *fault) {
	to := u
	if via != nil {
		to = via
	}
	address := web.HostPort(to)
	if via == nil && sameHost(u, f.c.url) {
		address = f.c.hostPort(address)
	}
	conn, dialed, err := f.c.dialer.Dial(ctx, address)
	f.spans.dialed(dialed)
	if err != nil {
		return nil, &fault{check.Classify(check.StepConnect, err), err.Error()}
	}
	return conn, nil
}

// secure passes the proxy and makes the TLS handshake, where the address asks for them.
func (f *fetch) secure(ctx context.Context, conn net.Conn, u, via *url.URL) (net.Conn, *fault) {
	if via != nil && (u.Scheme == "https" || via.Scheme != "http") {
		begin := time.Now()
		bad := f.tunnel(ctx, conn, u, via)
		f.spans.add(phaseConnect, time.Since(begin))
		if bad != nil {
			return nil, bad
		}
	}
	if u.Scheme != "https" {
		return conn, nil
	}
	name := u.Hostname()
	if f.c.policy.ServerName != "" && sameHost(u, f.c.url) {
		name = f.c.policy.ServerName
	}
	f.peer = reach.View{}
	cfg, bad := f.c.policy.Config(name, &f.peer)
	if bad != nil {
		return nil, faultOf(bad)
	}
	t := tls.Client(conn, cfg)
	begin := time.Now()
	err := t.Handshake() // bind ends it with ctx, without a goroutine
	f.spans.add(phaseTLS, time.Since(begin))
	if err != nil {
		return nil, faultOf(f.peer.HandshakeFault(err))
	}
	return t, nil
}

func (f *fetch) tunnel(ctx context.Context, conn net.Conn, u, via *url.URL) *fault {
	if via.Scheme != "http" {
		return f.c.proxy.throughSOCKS(ctx, conn, via, web.HostPort(u))
	}
	auth, err := f.c.proxy.basic(via)
	if err != nil {
		return &fault{check.NotConfigured, err.Error()}
	}
	return connectThrough(conn, via, auth, f.c.header.Get("User-Agent"), web.HostPort(u))
}

// send writes the request.
func (f *fetch) send(conn net.Conn, req *http.Request, via *url.URL) *fault {
	begin := time.Now()
	w := f.scratch.writer(conn)
	var err error
	if via != nil && via.Scheme == "http" && req.URL.Scheme == "http" {
		auth, secretErr := f.c.proxy.basic(via)
		if secretErr != nil {
			return &fault{check.NotConfigured, secretErr.Error()}
		}
		if auth != "" {
			req.Header = req.Header.Clone()
			req.Header.Set("Proxy-Authorization", auth)
		}
		err = req.WriteProxy(w)
	} else {
		err = req.Write(w)
	}
	if err == nil {
		err = w.Flush()
	}
	f.spans.add(phaseSend, time.Since(begin))
	if err != nil {
		return &fault{check.Classify(check.StepExchange, err), "sending the request: " + err.Error()}
	}
	return nil
}

// receive reads the answer.
func (f *fetch) receive(conn net.Conn, req *http.Request) (*url.URL, *fault) {
	begin := time.Now()
	wire := &f.scratch.wire
	wire.reset(conn, maxHead)
	br := f.scratch.reader(wire)
	resp, err := web.ReadHead(br, req)
	f.spans.add(phaseFirstByte, time.Since(begin))
	if err != nil {
		return nil, wire.fault("waiting for the answer", err)
	}
	return f.answered(resp, req)
}

// answered judges an answer whose head has come, and reads the rest of it from the scratch's wire.
func (f *fetch) answered(resp *http.Response, req *http.Request) (*url.URL, *fault) {
	wire := &f.scratch.wire
	f.last.status, f.last.version = resp.StatusCode, 10*resp.ProtoMajor+resp.ProtoMinor
	if next, bad := f.redirection(req.URL, resp); next != nil || bad != nil {
		return next, bad
	}
	if bad := f.status(resp, wire); bad != nil {
		return nil, bad
	}
	if bad := f.c.page.head(resp.Header); bad != nil {
		return nil, bad
	}
	begin := time.Now()
	// What comes over the wire is bounded too: chunks and compressed blocks can be empty.
	wire.left = 2*f.c.maxBytes + maxHead
	body, bad := f.body(resp, wire)
	f.spans.add(phaseTransfer, time.Since(begin))
	if bad != nil {
		return nil, bad
	}
	if f.c.elements {
		web.KeepCookies(f.jar, req.URL, resp)
		f.seen = web.Parse(web.Decode(body, resp.Header.Get("Content-Type")))
	}
	if f.c.keep {
		f.kept = web.Decode(bytes.Clone(body), resp.Header.Get("Content-Type"))
	}
	if bad := f.c.page.judge(body, resp.Header.Get("Content-Type")); bad != nil {
		return nil, bad
	}
	f.view = f.c.view(body, resp.Header)
	return nil, nil
}

// redirection returns where the answer leads, nil when it is to be judged itself.
func (f *fetch) redirection(from *url.URL, resp *http.Response) (*url.URL, *fault) {
	if !web.Redirects(resp.StatusCode) {
		return nil, nil
	}
	where := resp.Header.Get("Location")
	if where == "" || slices.Contains(f.c.status, int64(resp.StatusCode)) {
		return nil, nil
	}
	u, err := from.Parse(where)
	if err == nil {
		u, err = web.ParseURL(u.String())
	}
	if err != nil {
		return nil, &fault{check.HTTPRedirect, fmt.Sprintf("status %d with a Location that cannot be followed: %v", resp.StatusCode, err)}
	}
	u.User = nil
	if f.jar == nil {
		f.jar, _ = cookiejar.New(nil) // its error is always nil
	}
	web.KeepCookies(f.jar, from, resp)
	return u, nil
}

// status judges the status of the answer.
func (f *fetch) status(resp *http.Response, wire *wireReader) *fault {
	if f.c.anyStatus || slices.Contains(f.c.status, int64(resp.StatusCode)) {
		return nil
	}
	detail := fmt.Sprintf("status %d, want %s", resp.StatusCode, wanted(f.c.status))
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		if f.c.site.password != nil {
			return &fault{check.Auth, detail + ": user and password were not accepted"}
		}
	case http.StatusProxyAuthRequired:
		return &fault{check.Auth, detail + ": the proxy wants a user and password"}
	case http.StatusNetworkAuthenticationRequired:
		return &fault{check.CaptivePortal, detail + ": the network wants a login first"}
	case http.StatusTooManyRequests:
		return &fault{check.Blocked, detail + ": the server says that we ask too often"}
	case http.StatusForbidden, http.StatusNotAcceptable, http.StatusServiceUnavailable:
		wire.left = maxHead
		if mark := firewall(resp, f.scratch); mark != "" {
			return &fault{check.Blocked, detail + ": a page of " + mark}
		}
		if !f.c.page.signs {
			break
		}
		if bad := closed(web.Decode(f.scratch.text.Bytes(), resp.Header.Get("Content-Type"))); bad != nil {
			detail += ": " + bad.detail
		}
	}
	return &fault{check.HTTPStatus, detail}
}

func wanted(status []int64) string {
	words := make([]string, len(status))
	for i, s := range status {
		words[i] = fmt.Sprint(s)
	}
	return strings.Join(words, " or ")
}

// A wireReader reads from a connection up to a number of bytes.
type wireReader struct {
	r    io.Reader
	left int64
}

// errFull ends an answer that has more bytes than may come.
var errFull = errors.New("the answer is larger than may come")

func (w *wireReader) reset(r io.Reader, limit int64) { w.r, w.left = r, limit }

// Read reads at most what is left, then returns errFull.
func (w *wireReader) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, errFull
	}
	n, err := w.r.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	return n, err
}

// fault says why reading ended.
func (w *wireReader) fault(doing string, err error) *fault {
	if w.left <= 0 || errors.Is(err, errFull) {
		return &fault{check.TooLarge, doing + ": more bytes than may come"}
	}
	return &fault{check.Classify(check.StepExchange, err), doing + ": " + err.Error()}
}
