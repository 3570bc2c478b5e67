package onestop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

// A walk is one run of a journey. Every request has a connection of its own, so that a kept one never hides an outage.
type walk struct {
	j        *journey
	jar      *cookiejar.Jar
	vars     map[string]string
	secrets  []string // values that were sent
	requests int
	picture  int // bytes of the picture that a browser left
	status   int
	ip       float64
	address  float64      // of the first server
	peer     reach.View   // of the last handshake
	worn     *reach.Fault // the first handshake that was good but not as it should be
}

// An answer is what came of one request.
type answer struct {
	body        []byte
	contentType string
	modified    string   // Last-Modified
	next        *url.URL // where a redirection leads, nil for none
}

func newWalk(j *journey) *walk {
	jar, _ := cookiejar.New(nil) // its error is always nil
	return &walk{j: j, jar: jar, vars: map[string]string{}}
}

// facts turns what was seen into numbers.
func (w *walk) facts(fs *check.Facts, passed int) {
	fs.Add("steps_passed_count", float64(passed))
	fs.Add("requests_count", float64(min(w.requests, maxSteps*(maxRequests+1))))
	if w.picture > 0 {
		fs.Add("screenshot_bytes", float64(w.picture))
	}
	w.seen(fs)
}

// seen tells of the last answer.
func (w *walk) seen(fs *check.Facts) {
	if w.status > 0 {
		fs.Add("status_code", float64(w.status))
	}
	if w.ip > 0 {
		fs.Add("ip_family_code", w.ip)
	}
	if w.address > 0 {
		fs.Add("address_code", w.address)
	}
	w.peer.Facts(fs)
}

// mask takes the values that were sent or found out of a text.
func (w *walk) mask(s string) string {
	for _, v := range w.hidden() {
		for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v)} {
			s = strings.ReplaceAll(s, form, "***")
		}
	}
	return s
}

// hidden are the values that nobody may read, the longest first, so that one that holds another goes whole.
func (w *walk) hidden() []string {
	hidden := slices.Clone(w.secrets)
	for _, v := range w.vars {
		if len(v) >= 8 { // shorter ones are numbers and words that stand everywhere
			hidden = append(hidden, v)
		}
	}
	check.Order(hidden, func(a, b string) int { return len(b) - len(a) })
	return hidden
}

// step does one step.
func (w *walk) step(ctx context.Context, s *step) *reach.Fault {
	a, bad := w.visit(ctx, s)
	if bad != nil {
		return bad
	}
	return s.judge(a.body, a.contentType, w.vars)
}

// visit sends the request of a step, over all its redirections, and returns the answer at their end.
func (w *walk) visit(ctx context.Context, s *step) (answer, *reach.Fault) {
	u, err := w.j.address(fillAddress(s.address, w.vars))
	if err != nil || !w.j.mayGo(u) {
		return answer{}, reach.Failf(check.Misconfigured, "the address cannot be used with the variables that were found")
	}
	values, bad := w.values(s)
	if bad != nil {
		return answer{}, bad
	}
	method, body := http.MethodGet, ""
	if s.post {
		method, body = http.MethodPost, values.Encode()
	} else if len(values) > 0 {
		q := u.Query()
		maps.Copy(q, values)
		u.RawQuery = q.Encode()
	}
	for range maxRequests + 1 {
		a, bad := w.exchange(ctx, s, method, u, body)
		if bad != nil {
			return answer{}, bad
		}
		if a.next == nil {
			return a, nil
		}
		if bad := w.follow(u, a.next, &method, &body); bad != nil {
			return answer{}, bad
		}
		u = a.next
	}
	return answer{}, reach.Failf(check.HTTPRedirect, "more than %d redirections", maxRequests)
}

// values makes the fields of a form.
func (w *walk) values(s *step) (url.Values, *reach.Fault) {
	values := url.Values{}
	for name, v := range s.form {
		text := fill(v.Text, w.vars, func(s string) string { return s })
		if v.Secret != "" {
			var err error
			if text, err = w.j.secret(v.Secret); err != nil {
				return nil, reach.Failf(check.NotConfigured, "%v", err)
			}
			w.secrets = append(w.secrets, text)
		}
		values.Set(name, text)
	}
	return values, nil
}

// follow says why a redirection must not be followed, and what is sent there (RFC 9110, section 15.4).
func (w *walk) follow(from, to *url.URL, method, body *string) *reach.Fault {
	where := to.Scheme + "://" + to.Host // the rest may hold what the plan keeps secret
	switch {
	case !w.j.mayGo(to):
		return reach.Failf(check.HTTPRedirect, "redirected to another site, %s: list it under hosts", where)
	case from.Scheme == "https" && to.Scheme == "http":
		return reach.Failf(check.HTTPRedirect, "redirected from https to %s", where)
	}
	if *method != http.MethodPost {
		return nil
	}
	if w.status == http.StatusTemporaryRedirect || w.status == http.StatusPermanentRedirect {
		if !w.j.mayPost(to) {
			return reach.Failf(check.HTTPRedirect, "redirected to submit the form to an address at %s that is not in the plan", where)
		}
		return nil
	}
	*method, *body = http.MethodGet, ""
	return nil
}

// exchange sends one request and reads its answer.
func (w *walk) exchange(ctx context.Context, s *step, method string, u *url.URL, body string) (answer, *reach.Fault) {
	w.requests++
	w.status = 0
	conn, bad := w.connect(ctx, u)
	if bad != nil {
		return answer{}, bad
	}
	defer conn.Close()
	defer reach.Bind(ctx, conn)()
	w.ip = reach.IPFamily(conn)
	if w.requests == 1 {
		w.address = reach.AddressCode(conn)
	}
	talk := conn
	if u.Scheme == "https" {
		if talk, bad = w.secure(conn, u); bad != nil {
			return answer{}, bad
		}
	}
	req, err := w.request(ctx, method, u, body)
	if err != nil {
		return answer{}, reach.Failf(check.NotConfigured, "the request cannot be made: %v", err)
	}
	var whole bytes.Buffer // Write hides what a connection says while the body goes out
	if err = req.Write(&whole); err == nil {
		_, err = talk.Write(whole.Bytes())
	}
	if err != nil {
		return answer{}, reach.Failf(check.Classify(check.StepExchange, err), "sending the request: %v", err)
	}
	return w.receive(s, talk, req)
}

func (w *walk) connect(ctx context.Context, u *url.URL) (net.Conn, *reach.Fault) {
	conn, _, err := w.j.dialer.Dial(ctx, web.HostPort(u))
	if err != nil {
		return nil, reach.Failf(check.Classify(check.StepConnect, err), "%v", err)
	}
	return conn, nil
}

func (w *walk) secure(conn net.Conn, u *url.URL) (net.Conn, *reach.Fault) {
	name := u.Hostname()
	if w.j.policy.ServerName != "" && strings.EqualFold(name, w.j.base.Hostname()) {
		name = w.j.policy.ServerName
	}
	w.peer = reach.View{}
	cfg, bad := w.j.policy.Config(name, &w.peer)
	if bad != nil {
		return nil, bad
	}
	t := tls.Client(conn, cfg)
	if err := t.Handshake(); err != nil { // Bind ends it with ctx, without a goroutine
		return nil, w.peer.HandshakeFault(err)
	}
	if w.worn == nil {
		w.worn = w.j.policy.Degraded(&w.peer)
	}
	return t, nil
}

func (w *walk) request(ctx context.Context, method string, u *url.URL, body string) (*http.Request, error) {
	var content io.Reader
	if method == http.MethodPost {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {w.j.agent}}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	web.SendCookies(w.jar, req)
	if w.j.password == nil || !strings.EqualFold(u.Hostname(), w.j.base.Hostname()) || u.Scheme != "https" && !loopback(u.Hostname()) {
		return req, nil
	}
	p, err := w.j.password()
	if err != nil {
		return nil, err
	}
	w.secrets = append(w.secrets, p)
	req.SetBasicAuth(w.j.user, p)
	return req, nil
}

// receive reads the answer.
func (w *walk) receive(s *step, conn net.Conn, req *http.Request) (answer, *reach.Fault) {
	wire := &io.LimitedReader{R: conn, N: web.MaxHead}
	resp, err := web.ReadHead(bufio.NewReader(wire), req)
	if err != nil {
		if wire.N <= 0 {
			return answer{}, reach.Failf(check.TooLarge, "headers of more than %d bytes", web.MaxHead)
		}
		return answer{}, reach.Failf(check.Classify(check.StepExchange, err), "waiting for the answer: %v", err)
	}
	w.status = resp.StatusCode
	web.KeepCookies(w.jar, req.URL, resp)
	if !slices.Contains(s.status, int64(resp.StatusCode)) {
		if where := resp.Header.Get("Location"); where != "" && web.Redirects(resp.StatusCode) {
			return w.redirection(req.URL, where)
		}
		return answer{}, w.unwanted(s, resp.StatusCode)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return answer{}, reach.Failf(check.Protocol, "Content-Encoding %.40q, which was not asked for", enc)
	}
	// What comes over the wire is bounded too: chunks can be empty. Body is never closed: Close would read the rest.
	wire.N = 2*w.j.max + web.MaxHead
	body, err := io.ReadAll(io.LimitReader(resp.Body, w.j.max+1))
	switch {
	case int64(len(body)) > w.j.max, err != nil && wire.N <= 0:
		return answer{}, reach.Failf(check.TooLarge, "the page has more than %d bytes", w.j.max)
	case err != nil:
		return answer{}, reach.Failf(check.Classify(check.StepExchange, err), "reading the page, %d bytes came: %v", len(body), err)
	}
	return answer{body: body, contentType: resp.Header.Get("Content-Type"), modified: resp.Header.Get("Last-Modified")}, nil
}

func (w *walk) redirection(from *url.URL, where string) (answer, *reach.Fault) {
	u, err := from.Parse(where)
	if err == nil {
		u, err = web.ParseURL(u.String())
	}
	if err != nil {
		return answer{}, reach.Failf(check.HTTPRedirect, "status %d with a Location that cannot be followed", w.status)
	}
	u.User = nil
	return answer{next: u}, nil
}

// unwanted judges a status that the step does not expect.
func (w *walk) unwanted(s *step, status int) *reach.Fault {
	words := make([]string, len(s.status))
	for i, n := range s.status {
		words[i] = fmt.Sprint(n)
	}
	detail := fmt.Sprintf("status %d, want %s", status, strings.Join(words, " or "))
	switch {
	case status == http.StatusUnauthorized && len(w.secrets) > 0:
		return reach.Failf(check.Auth, "%s: the monitoring account was not accepted", detail)
	case status == http.StatusTooManyRequests:
		return reach.Failf(check.Blocked, "%s: the server says that we ask too often", detail)
	case status == http.StatusNetworkAuthenticationRequired:
		return reach.Failf(check.CaptivePortal, "%s: the network wants a login first", detail)
	}
	return reach.Failf(check.HTTPStatus, "%s", detail)
}

// loopback reports whether a host is this machine itself, so that what is sent there passes no line.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
