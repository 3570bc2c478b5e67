package push

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// idleTimeout keeps the connection between two batches of the longest seal: a handshake with certificates on both sides
// costs as many bytes as two batches.
const idleTimeout = 20 * time.Minute

// A request of many batches is sent once the collector has asked for it (RFC 9110, section 10.1.1), so that one that has
// no room for it costs the line next to nothing. A collector that does not ask within the time gets it all the same.
const (
	manyBytes  = 32 << 10
	askTimeout = 5 * time.Second
)

// NewTransport returns what an agent calls its collector with: one connection, kept. How
// the collector is reached is for dial to know, which may be nil.
func NewTransport(conf *tls.Config, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		TLSClientConfig: conf, ForceAttemptHTTP2: false, MaxIdleConns: 1, MaxConnsPerHost: 1,
		IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: 20 * time.Second, DialContext: dial, DisableCompression: true,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, ExpectContinueTimeout: askTimeout,
	}
}
