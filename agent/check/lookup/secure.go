package lookup

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// A Secure is how a server is asked over an encrypted connection: by DNS over TLS (RFC 7858), or by DNS over HTTPS
// (RFC 8484) when Path is not empty.
type Secure struct {
	Policy reach.Policy // what is demanded of the server
	Name   string       // what its certificate must be for; "" stands for its address
	Path   string       // of HTTPS, e.g. /dns-query
}

func (s *Secure) clone() *Secure {
	if s == nil {
		return nil
	}
	return new(*s)
}

// held is what an Asker keeps open. The zero value is nothing.
type held struct {
	conn net.Conn
	http *http.Client
	view *reach.View
}

// Close ends what the Asker kept open; it may be used again afterwards.
func (a *Asker) Close() {
	if a.held.conn != nil {
		a.held.conn.Close()
	}
	if a.held.http != nil {
		a.held.http.CloseIdleConnections()
	}
	a.held = held{}
}

// A faulted is an error whose reason is known.
type faulted struct{ fault *reach.Fault }

func (f *faulted) Error() string { return f.fault.Detail }

// shake connects to the server and makes the handshake. What the server shows goes into view.
func (a *Asker) shake(ctx context.Context, o *Outcome, view *reach.View, protocols []string) (net.Conn, error) {
	name := a.Secure.Name
	if name == "" {
		name = o.Server.Addr().String()
	}
	a.Secure.Policy.ALPN = protocols
	cfg, f := a.Secure.Policy.Config(name, view)
	if f != nil {
		return nil, &faulted{f}
	}
	c, err := a.dial(ctx, o.Server)
	if err != nil {
		return nil, &faulted{&reach.Fault{Reason: reasonOf(ctx, check.StepConnect, plain(err)), Detail: plain(err).Error()}}
	}
	release := reach.Bind(ctx, c)
	defer release()
	t := tls.Client(c, cfg)
	if err := t.Handshake(); err != nil {
		c.Close()
		f := view.HandshakeFault(plain(err))
		if f.Reason == check.Timeout {
			f.Reason = check.DNSTimeout
		}
		return nil, &faulted{f}
	}
	return t, nil
}

// byTLS asks over a connection that is kept for the next question.
func (a *Asker) byTLS(ctx context.Context, o *Outcome, id uint16) (check.Step, error) {
	kept := a.held.conn != nil
	for {
		if a.held.conn == nil {
			view := new(reach.View)
			c, err := a.shake(ctx, o, view, nil)
			o.TLS = view
			if err != nil {
				return check.StepTLS, err
			}
			a.held.conn, a.held.view = c, view
		}
		o.TLS = a.held.view
		end, _ := ctx.Deadline()
		a.held.conn.SetDeadline(end)
		err := a.talk(ctx, a.held.conn, o, id)
		if err == nil {
			return check.StepExchange, nil
		}
		a.Close()
		if !kept || !errors.Is(err, io.EOF) {
			return check.StepExchange, err
		}
		kept = false // the server had ended the connection meanwhile: that is its right, RFC 7766 section 6.2.3
	}
}

// byHTTPS asks by POST over a connection that is kept for the next question. RFC 8484, section 4.1.
func (a *Asker) byHTTPS(ctx context.Context, o *Outcome) error {
	if a.held.http == nil {
		view := new(reach.View)
		c, err := a.shake(ctx, o, view, []string{"h2", "http/1.1"})
		o.TLS = view
		if err != nil {
			return err
		}
		a.held = held{conn: c, http: client(c), view: view}
	}
	o.TLS = a.held.view
	host := o.Server.String()
	if a.Secure.Name != "" {
		host = net.JoinHostPort(a.Secure.Name, fmt.Sprint(o.Server.Port()))
	}
	u := url.URL{Scheme: "https", Host: host, Path: a.Secure.Path}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(a.out[2:]))
	if err != nil {
		return err
	}
	const media = "application/dns-message"
	req.Header = http.Header{"Content-Type": {media}, "Accept": {media}, "User-Agent": {"egovmon"}}
	o.Sent++
	resp, err := a.held.http.Do(req)
	if err != nil {
		a.Close()
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &faulted{reach.Failf(check.HTTPStatus, "status %d in place of an answer", resp.StatusCode)}
	}
	if got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || got != media {
		return fmt.Errorf("%w: its type is %.40q, not %s", errMalformed, resp.Header.Get("Content-Type"), media)
	}
	const most = 1<<16 - 1
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer breaks off after %d bytes: %w (%w)", len(body), plain(err), io.ErrUnexpectedEOF)
	case len(body) > most:
		return &faulted{reach.Failf(check.TooLarge, "an answer of more than %d bytes", most)}
	}
	if _, err := a.Query.head(body, 0); err != nil {
		return err
	}
	return o.unpack(body)
}

// errSpent says that the one connection is gone.
var errSpent = errors.New("the server ended the connection")

// client speaks HTTP over one connection that is there already, whatever a URL names; it follows nobody elsewhere.
func client(c net.Conn) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				if c == nil {
					return nil, errSpent
				}
				mine := c
				c = nil
				return mine, nil
			},
			Protocols:              protocols,
			DisableCompression:     true,
			MaxConnsPerHost:        1,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}
}
