package network

import (
	"bufio"
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
}

// A got is an answer, or how far the question came.
type got struct {
	step   check.Step // of the error
	err    error      // why there is no answer
	full   bool       // there is none since its head was too large
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
	if g.url.Scheme == "https" {
		secure := tls.Client(conn, g.config)
		if err := secure.HandshakeContext(ctx); err != nil {
			a.err, a.step = err, check.StepTLS
			return a
		}
		conn = secure
	}
	req := (&http.Request{Method: http.MethodGet, URL: g.url, Host: g.url.Host, Header: g.header, Close: true}).WithContext(ctx)
	begin := time.Now()
	a.step = check.StepExchange
	if a.err = req.Write(conn); a.err != nil {
		return a
	}
	bounded := &io.LimitedReader{R: conn, N: g.most}
	a.resp, a.err = web.ReadHead(bufio.NewReader(bounded), req)
	a.first, a.full = time.Since(begin), a.err != nil && bounded.N <= 0
	return a
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
