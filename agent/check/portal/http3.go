//go:build http3

package portal

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"egovmon/agent/check"
	"egovmon/agent/check/web"
)

// exchange3 sends one request by HTTP/3 (RFC 9114) over a connection of its own, and reads its answer.
func (f *fetch) exchange3(ctx context.Context, u *url.URL, req *http.Request) (*url.URL, *fault) {
	address := web.HostPort(u)
	name := u.Hostname()
	if sameHost(u, f.c.url) {
		address = f.c.hostPort(address)
		if f.c.policy.ServerName != "" {
			name = f.c.policy.ServerName
		}
	}
	socket, dialed, err := f.c.dialer.Packets(ctx, address)
	f.spans.dialed(dialed)
	if err != nil {
		return nil, &fault{check.Classify(check.StepConnect, err), err.Error()}
	}
	defer socket.Close()
	f.last.ip = socket.Family()
	if f.last.redirects == 0 {
		f.last.address = socket.Code()
	}
	cfg, bad := f.c.policy.Config(name, &f.peer)
	if bad != nil {
		return nil, faultOf(bad)
	}
	cfg.MinVersion, cfg.NextProtos = tls.VersionTLS13, []string{http3.NextProtoH3}
	begin := time.Now()
	conn, err := quic.Dial(ctx, socket, socket.To, cfg, &quic.Config{KeepAlivePeriod: 0})
	f.spans.add(phaseTLS, time.Since(begin))
	if err != nil {
		return nil, f.refused3(ctx, err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	t := &http3.Transport{
		Dial:               func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) { return conn, nil },
		DisableCompression: true, MaxResponseHeaderBytes: maxHead, TLSClientConfig: cfg,
	}
	one := req.Clone(ctx)
	one.Close = false
	begin = time.Now()
	resp, err := t.RoundTrip(one)
	f.spans.add(phaseFirstByte, time.Since(begin))
	if err != nil {
		return nil, &fault{check.Classify(check.StepExchange, err), "waiting for the answer: " + err.Error()}
	}
	wire := &f.scratch.wire
	wire.reset(resp.Body, maxHead)
	resp.Body = io.NopCloser(wire)
	return f.answered(resp, req)
}

// refused3 says why there is no connection. A server that does not speak QUIC answers nothing, as one that is not there.
func (f *fetch) refused3(ctx context.Context, err error) *fault {
	var late *quic.HandshakeTimeoutError
	var idle *quic.IdleTimeoutError
	if ctx.Err() != nil || errors.As(err, &late) || errors.As(err, &idle) {
		return &fault{check.ConnectTimeout, "nothing answered over QUIC: the server may not speak HTTP/3, or UDP is blocked on the way"}
	}
	return faultOf(f.peer.HandshakeFault(err))
}
