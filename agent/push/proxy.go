package push

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Dial opens a connection, as [net.Dialer.DialContext] does.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

const (
	dialTimeout  = 15 * time.Second
	proxyTimeout = 20 * time.Second // from the request to the proxy until its answer
	maxProxy     = 16 << 10         // bytes of a proxy's answer
)

// A Proxy is an office's way out: an HTTP proxy that opens connections by CONNECT (RFC 9110, section 9.3.6). The zero
// value is no proxy.
type Proxy struct {
	Address string // host:port
	// User and Password are for Basic authentication (RFC 7617); "" for none. The password is asked for at each
	// connection, so that a new one is taken without a restart.
	User     string
	Password func() (string, error)
	// Environment takes the proxy that https_proxy and no_proxy name, which a service otherwise does not: what somebody
	// has set for his shell is nothing to it.
	Environment bool
}

// A ProxyError says why a proxy did not connect us. Nothing reached the collector.
type ProxyError struct {
	Problem Problem // one of those of proxies
	Proxy   string  // host:port
	Text    string
	Err     error // nil, or what the network said
}

// Error gives the whole story.
func (e *ProxyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("proxy %s %s: %v", e.Proxy, e.Text, e.Err)
	}
	return fmt.Sprintf("proxy %s %s", e.Proxy, e.Text)
}

// Unwrap returns what the network said.
func (e *ProxyError) Unwrap() error { return e.Err }

// Dial returns what opens connections through the proxy. next opens those to the proxy itself; nil is the operating
// system's.
func (p Proxy) Dial(next Dial) Dial {
	if next == nil {
		next = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if p.Address == "" && !p.Environment {
		return next
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		via := p
		if p.Environment {
			var err error
			if via, err = fromEnvironment(address); err != nil {
				return nil, err
			}
			if via.Address == "" {
				return next(ctx, network, address)
			}
		}
		return via.connect(ctx, next, network, address)
	}
}

// fromEnvironment returns the proxy of the environment for an address.
func fromEnvironment(address string) (Proxy, error) {
	u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	if err != nil || u == nil {
		return Proxy{}, err
	}
	if u.Scheme != "http" {
		return Proxy{}, &ProxyError{Problem: ProxyUnusable, Proxy: u.Host, Text: fmt.Sprintf("of the environment is of kind %.20q: only http is spoken", u.Scheme)}
	}
	p := Proxy{Address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))}
	if u.User != nil {
		password, _ := u.User.Password()
		p.User, p.Password = u.User.Username(), func() (string, error) { return password, nil }
	}
	return p, nil
}

// connect asks the proxy for a connection to address.
func (p Proxy) connect(ctx context.Context, next Dial, network, address string) (net.Conn, error) {
	head := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.User != "" {
		password, err := p.Password()
		if err != nil {
			return nil, &ProxyError{ProxyUnusable, p.Address, "needs a password that cannot be read", err}
		}
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+password)) + "\r\n"
	}
	conn, err := next(ctx, network, p.Address)
	if err != nil {
		return nil, &ProxyError{ProxyUnreachable, p.Address, "cannot be reached", err}
	}
	ctx, cancel := context.WithTimeout(ctx, proxyTimeout)
	defer cancel()
	// A context that ends breaks off what is under way; one that ends later does not.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	opened, err := p.handshake(conn, head)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || ctx.Err() != nil {
			err = &ProxyError{ProxySilent, p.Address, "does not answer in time", cmp.Or(ctx.Err(), err)}
		}
		return nil, err
	}
	return opened, nil
}

func (p Proxy) handshake(conn net.Conn, head string) (net.Conn, error) {
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return nil, &ProxyError{ProxyGarbage, p.Address, "broke off", err}
	}
	limited := &io.LimitedReader{R: conn, N: maxProxy}
	r := bufio.NewReaderSize(limited, maxProxy)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
			return nil, err
		}
		return nil, &ProxyError{ProxyGarbage, p.Address, "does not answer as an HTTP proxy does", err}
	}
	switch {
	case res.StatusCode == http.StatusProxyAuthRequired, res.StatusCode == http.StatusUnauthorized: // tinyproxy says 401 of a wrong password
		return nil, &ProxyError{ProxyAuth, p.Address, p.asks(res.Header.Values("Proxy-Authenticate")), nil}
	case res.StatusCode/100 != 2:
		return nil, &ProxyError{ProxyRefused, p.Address, fmt.Sprintf("refuses the connection: %.60q: have the collector's address and port allowed there", res.Status), nil}
	}
	if n := r.Buffered(); n > 0 { // the first words are ours to say, in TLS
		return nil, &ProxyError{ProxyGarbage, p.Address, fmt.Sprintf("speaks %d bytes before the collector was asked", n), nil}
	}
	return conn, nil
}

// asks says what a proxy wants that answered 407.
func (p Proxy) asks(challenges []string) string {
	basic := false
	var others []string
	for _, c := range challenges {
		scheme, _, _ := strings.Cut(strings.TrimSpace(c), " ")
		if basic = basic || strings.EqualFold(scheme, "Basic"); !strings.EqualFold(scheme, "Basic") && len(others) < 4 {
			others = append(others, fmt.Sprintf("%.20q", scheme))
		}
	}
	switch {
	case !basic && len(others) > 0:
		return "asks for a sign-in of kind " + strings.Join(others, ", ") + ", and only Basic is spoken: have the collector's address allowed without one"
	case p.User == "":
		return "asks for a user name and a password: write proxy: {url, user, password: {secret: NAME}} into the configuration"
	}
	return fmt.Sprintf("does not accept the user name %.60q with its password", p.User)
}
