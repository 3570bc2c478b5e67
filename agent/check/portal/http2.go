package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"egovmon/agent/check"
)

// speaks2 reports whether HTTP/2 was agreed on in the handshake.
func speaks2(conn net.Conn) bool {
	t, ok := conn.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

var errSecond = errors.New("the server ended the connection")

// receive2 sends one request by HTTP/2 over a connection that is there (RFC 9113), and reads its answer.
func (f *fetch) receive2(ctx context.Context, conn net.Conn, req *http.Request) (*url.URL, *fault) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	given := false
	t := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if given {
				return nil, errSecond
			}
			given = true
			return conn, nil
		},
		Protocols: protocols, DisableCompression: true, MaxConnsPerHost: 1, MaxResponseHeaderBytes: maxHead,
	}
	defer t.CloseIdleConnections()
	one := req.Clone(ctx)
	one.Close = false // it belongs to HTTP/1.1; the connection ends with the run
	begin := time.Now()
	resp, err := t.RoundTrip(one)
	f.spans.add(phaseFirstByte, time.Since(begin))
	if err != nil {
		return nil, &fault{check.Classify(check.StepExchange, err), "waiting for the answer: " + err.Error()}
	}
	defer conn.Close() // before the body, whose end nobody waits for
	wire := &f.scratch.wire
	wire.reset(resp.Body, maxHead)
	resp.Body = io.NopCloser(wire)
	return f.answered(resp, req)
}
