package portal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	socks "golang.org/x/net/proxy"

	"egovmon/agent/check"
)

// A proxy says how a request leaves. The zero value is straight.
type proxy struct {
	fixed       *url.URL
	environment bool
	login       login
}

func newProxy(s string, l login) (proxy, error) {
	p := proxy{login: l}
	switch s {
	case "", "none":
		if l.user != "" {
			return p, fmt.Errorf("option \"proxy_user\": there is no proxy: write proxy: http://host:port")
		}
		return p, nil
	case "environment":
		p.environment = true
		return p, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "socks5":
		return p, fmt.Errorf("option \"proxy\": %q: write none, environment, http://host:port or socks5://host:port", s)
	case u.User != nil:
		return p, fmt.Errorf("option \"proxy\": a user in the URL: use proxy_user and proxy_password: {secret: NAME}")
	}
	p.fixed = u
	return p, nil
}

// via returns the proxy for a request, nil for none.
func (p *proxy) via(req *http.Request) (*url.URL, *fault) {
	if !p.environment {
		return p.fixed, nil
	}
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, &fault{check.Misconfigured, "proxy of the environment: " + err.Error()}
	}
	if u != nil && u.Scheme != "http" && u.Scheme != "socks5" && u.Scheme != "socks5h" {
		return nil, &fault{check.Misconfigured, fmt.Sprintf("proxy of the environment: scheme %q: only http and socks5 are spoken", u.Scheme)}
	}
	return u, nil
}

// basic returns the Proxy-Authorization value for a proxy, "" for none.
func (p *proxy) basic(via *url.URL) (string, error) {
	if via.User == nil {
		return p.login.basic()
	}
	password, _ := via.User.Password()
	return login{via.User.Username(), func() (string, error) { return password, nil }}.basic()
}

// throughSOCKS asks the SOCKS5 proxy (RFC 1928) at the other end of conn for a connection to address.
func (p *proxy) throughSOCKS(ctx context.Context, conn net.Conn, via *url.URL, address string) *fault {
	var auth *socks.Auth
	switch {
	case via.User != nil:
		password, _ := via.User.Password()
		auth = &socks.Auth{User: via.User.Username(), Password: password}
	case p.login.password != nil:
		password, err := p.login.password()
		if err != nil {
			return &fault{check.NotConfigured, err.Error()}
		}
		auth = &socks.Auth{User: p.login.user, Password: password}
	}
	d, err := socks.SOCKS5("tcp", via.Host, auth, given{conn})
	if err != nil {
		return &fault{check.Internal, err.Error()}
	}
	dc, ok := d.(socks.ContextDialer)
	if !ok {
		return &fault{check.Internal, "the SOCKS dialer takes no context"}
	}
	if _, err := dc.DialContext(ctx, "tcp", address); err != nil {
		return &fault{socksReason(err), fmt.Sprintf("proxy %s: %v", via.Host, err)}
	}
	return nil
}

// socksReason reads the reply of a SOCKS5 proxy, which says what became of the connection behind it.
func socksReason(err error) check.Reason {
	s := err.Error()
	switch {
	case strings.Contains(s, "connection refused"):
		return check.ConnectRefused
	case strings.Contains(s, "unreachable"):
		return check.ConnectUnreachable
	case strings.Contains(s, "TTL expired"):
		return check.ConnectTimeout
	case strings.Contains(s, "not allowed"):
		return check.Blocked
	case strings.Contains(s, "authentication"):
		return check.Auth
	}
	return check.Classify(check.StepExchange, err)
}

// given is a dialer whose connection is already there.
type given struct{ net.Conn }

// Dial returns the connection.
func (g given) Dial(string, string) (net.Conn, error) { return g.Conn, nil }

// DialContext returns the connection.
func (g given) DialContext(context.Context, string, string) (net.Conn, error) { return g.Conn, nil }

// connectThrough asks an HTTP proxy for a tunnel to address (RFC 9110, section 9.3.6).
func connectThrough(conn net.Conn, via *url.URL, auth, agent, address string) *fault {
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", address, address, agent)
	if auth != "" {
		b.WriteString("Proxy-Authorization: " + auth + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return &fault{check.Classify(check.StepExchange, err), "proxy " + via.Host + ": " + err.Error()}
	}
	// One byte at a time, so that nothing of the tunnel itself is read into a buffer and lost.
	br := bufio.NewReaderSize(io.LimitReader(oneByte{conn}, maxProxyHead), 16)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return &fault{check.Classify(check.StepExchange, err), "proxy " + via.Host + ": " + err.Error()}
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return &fault{check.Auth, "proxy " + via.Host + " did not accept the user: 407"}
	case resp.StatusCode == http.StatusForbidden:
		return &fault{check.Blocked, "proxy " + via.Host + " refuses the target: 403"}
	case resp.StatusCode == http.StatusGatewayTimeout:
		return &fault{check.ConnectTimeout, "proxy " + via.Host + " could not reach the target: 504"}
	case resp.StatusCode != http.StatusOK:
		return &fault{check.ConnectUnreachable, fmt.Sprintf("proxy %s could not reach the target: %d", via.Host, resp.StatusCode)}
	}
	return nil
}

const maxProxyHead = 16 << 10

// oneByte reads one byte at a time.
type oneByte struct{ r io.Reader }

// Read reads one byte.
func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }
