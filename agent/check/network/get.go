package network

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
	"egovmon/agent/check/web"
)

// A getter asks for one page over a connection of its own and follows nothing.
type getter struct {
	dialer reach.Dialer
	url    *url.URL
	header http.Header
	config *tls.Config // of https
	most   int64       // bytes read of the answer, head and all

	method string    // "" is GET
	body   io.Reader // sent in chunks; nil for none
	buffer int       // bytes that the system may hold of what is sent; 0 leaves it to the system
}

// A got is an answer, or how far the question came.
type got struct {
	step   check.Step // of the error
	err    error      // why there is no answer
	full   bool       // there is none since its head was too large
	early  bool       // the answer came before all was sent
	dialed reach.Dialed
	family float64
	first  time.Duration  // from the request to the head of the answer
	resp   *http.Response // nil without an answer
	conn   net.Conn       // nil without a connection; the caller closes it
}

// get asks. What is written and read ends with ctx.
func (g getter) get(ctx context.Context) got {
	var a got
	conn, dialed, err := g.dialer.Dial(ctx, web.HostPort(g.url))
	a.dialed = dialed
	if err != nil {
		a.err, a.step = err, check.StepConnect
		if !dialed.Tried {
			a.step = check.StepResolve
		}
		return a
	}
	a.conn, a.family = conn, reach.IPFamily(conn)
	reach.Bind(ctx, conn)
	if tcp, ok := conn.(*net.TCPConn); ok && g.buffer > 0 {
		_ = tcp.SetWriteBuffer(g.buffer)
	}
	if g.url.Scheme == "https" {
		secure := tls.Client(conn, g.config)
		if err := secure.HandshakeContext(ctx); err != nil {
			a.err, a.step = err, check.StepTLS
			return a
		}
		conn = secure
	}
	req := (&http.Request{Method: cmp.Or(g.method, http.MethodGet), URL: g.url, Host: g.url.Host, Header: g.header, Close: true}).WithContext(ctx)
	if g.body != nil {
		req.Body, req.ContentLength = io.NopCloser(g.body), -1
	}
	begin := time.Now()
	a.step = check.StepExchange
	out := &faultWriter{w: conn}
	unsent := req.Write(out)
	if out.err != nil {
		unsent = out.err
	}
	if unsent != nil && g.body == nil {
		a.err = unsent
		return a
	}
	bounded := &io.LimitedReader{R: conn, N: g.most}
	a.resp, a.err = web.ReadHead(bufio.NewReader(bounded), req)
	if a.err != nil && unsent != nil { // a server may say no before it has all
		a.err = unsent
	}
	a.first, a.full, a.early = time.Since(begin), a.err != nil && bounded.N <= 0, a.err == nil && unsent != nil
	return a
}

// A faultWriter keeps the error of a write, which net/http hides where a request has a body.
type faultWriter struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (w *faultWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

// close ends the connection at once: what is still on its way is not wanted.
func (a got) close() {
	if a.conn == nil {
		return
	}
	if tcp, ok := a.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	a.conn.Close()
}

// fault says at which layer nothing came back. A connection that is not answered is a line that does not work, which all
// kinds of the line say with one word.
func (a got) fault(host string) *reach.Fault {
	reason := check.Classify(a.step, a.err)
	switch {
	case a.full:
		return reach.Failf(check.TooLarge, "%s: a head of more than %d bytes", host, maxAnswerHead)
	case reason == check.ConnectTimeout:
		reason = check.Timeout
	}
	return reach.Failf(reason, "%s: %s", host, cause(a.err))
}
