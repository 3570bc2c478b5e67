package control

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/web"
)

// portal is how a portal speaks to browsers.
type portal struct {
	host     string
	v4, v6   int // addresses of its name
	noHTTPS  bool
	version  uint16 // of TLS, as the handshake has it
	old      bool   // it also speaks TLS 1.0 or 1.1
	notAfter time.Time
	bad      error         // why the certificate is not to be trusted; nil when it is
	hsts     time.Duration // max-age of Strict-Transport-Security (RFC 6797); 0 without it
	forced   bool          // HTTP is not offered, or leads to HTTPS
}

// judgePortal asks for TLS 1.2 or later with a good certificate, and for HTTPS always, IPv6 and a name of the state.
func judgePortal(v portal, l *limits, now time.Time) *check.Result {
	var bad, weak []string
	add := func(to *[]string, wrong bool, format string, args ...any) {
		if wrong {
			*to = append(*to, fmt.Sprintf(format, args...))
		}
	}
	left := v.notAfter.Sub(now)
	if add(&bad, v.noHTTPS, "HTTPS is not offered"); !v.noHTTPS {
		add(&bad, v.version < tls.VersionTLS12, "%s is the best it speaks", tls.VersionName(v.version))
		add(&bad, v.bad != nil, "its certificate is not trusted: %v", v.bad)
		add(&bad, left <= 0, "its certificate has expired")
		add(&weak, left > 0 && left < l.warn, "its certificate ends in %d days", days(left))
		add(&weak, v.old && v.version >= tls.VersionTLS12, "TLS 1.0 or 1.1 is still spoken")
		add(&weak, v.hsts == 0, "no HSTS")
		add(&weak, !v.forced, "HTTP does not lead to HTTPS")
	}
	add(&weak, v.v6 == 0, "no IPv6 address")
	add(&weak, !stateName(v.host), "its name is not below gov.vn")
	r := because(check.OK, "%s, HSTS, HTTPS always, IPv6", tls.VersionName(v.version))
	switch {
	case len(bad) > 0:
		r = because(check.ControlFail, "%s", strings.Join(append(bad, weak...), "; "))
	case len(weak) > 0:
		r = because(check.ControlPartial, "%s", strings.Join(weak, "; "))
	}
	r.Facts.Add("ipv4_count", float64(v.v4))
	r.Facts.Add("ipv6_count", float64(v.v6))
	r.Facts.Add("gov_name_code", yes01(stateName(v.host)))
	if !v.noHTTPS {
		r.Facts.Add("tls_version_code", float64(v.version))
		r.Facts.Add("tls_old_code", yes01(v.old))
		r.Facts.Add("cert_not_after_unix", float64(max(0, v.notAfter.Unix())))
		r.Facts.Add("hsts_s", min(v.hsts.Seconds(), 1e9))
		r.Facts.Add("https_forced_code", yes01(v.forced))
	}
	return r
}

func stateName(host string) bool { return host == "gov.vn" || strings.HasSuffix(host, ".gov.vn") }

// A network opens the connections of the controls that look beyond this machine.
type network struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// from makes the network of a line; source is the zero Addr where the system chooses.
func from(source netip.Addr) network {
	d := net.Dialer{KeepAlive: -1}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return network{d.DialContext, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// portal asks a portal: two handshakes, one page by HTTPS and one by HTTP, of which only the heads are read.
func (n network) portal(ctx context.Context, l *limits, now time.Time) (portal, error) {
	u := l.portal
	v := portal{host: strings.ToLower(u.Hostname())}
	addresses, err := n.lookup(ctx, v.host)
	if err != nil {
		return v, fmt.Errorf("the addresses of the portal: %w", err)
	}
	for _, a := range addresses {
		if a.Unmap().Is4() {
			v.v4++
		} else {
			v.v6++
		}
	}
	roots, err := readRoots(l.rootsFile)
	if err != nil {
		return v, err
	}
	conn, err := n.shake(ctx, u, &tls.Config{MinVersion: tls.VersionTLS10})
	if check.Classify(check.StepConnect, err) == check.ConnectRefused {
		v.noHTTPS = true
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("the portal: %w", err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	v.version, v.notAfter = state.Version, state.PeerCertificates[0].NotAfter
	v.bad = verify(state.PeerCertificates, v.host, roots, now)
	if head, err := headOf(ctx, conn, u); err == nil {
		v.hsts = maxAge(head.Header.Get("Strict-Transport-Security"))
	} else {
		return v, fmt.Errorf("the portal's page: %w", err)
	}
	if older, err := n.shake(ctx, u, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		older.Close()
		v.old = true
	}
	v.forced, err = n.forced(ctx, u)
	return v, err
}

// shake makes a handshake that takes any certificate; verify judges it.
func (n network) shake(ctx context.Context, u *url.URL, c *tls.Config) (*tls.Conn, error) {
	raw, err := n.dial(ctx, "tcp", web.HostPort(u))
	if err != nil {
		return nil, err
	}
	c.InsecureSkipVerify, c.ServerName = true, u.Hostname()
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// verify says why a chain does not lead to a root for the host, but for its days: these are judged apart.
func verify(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) error {
	at := now
	if leaf := chain[0]; now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		at = leaf.NotAfter.Add(-time.Second)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: at})
	return err
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	i, err := os.Stat(file)
	if err == nil && (!i.Mode().IsRegular() || i.Size() > maxFile) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("the file of roots: %w", bare(err))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the file of roots: %w", bare(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file of roots holds no certificate: %w", errors.ErrUnsupported)
	}
	return pool, nil
}

// headOf asks for a page and reads the head of the answer.
func headOf(ctx context.Context, conn net.Conn, u *url.URL) (*http.Response, error) {
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "egovmon")
	req.Close = true
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return web.ReadHead(bufio.NewReaderSize(&bounded{conn, web.MaxHead}, 4096), req)
}

// A bounded connection ends after so many bytes.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("the head of the answer is too large")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// maxAge reads the first directive max-age of Strict-Transport-Security.
func maxAge(value string) time.Duration {
	for d := range strings.SplitSeq(value, ";") {
		k, v, _ := strings.Cut(d, "=")
		if strings.EqualFold(strings.TrimSpace(k), "max-age") {
			return time.Duration(max(0, wholeNumber(strings.Trim(strings.TrimSpace(v), `"`)))) * time.Second
		}
	}
	return 0
}

// forced reports whether HTTP is not offered or leads to HTTPS on the same site.
func (n network) forced(ctx context.Context, u *url.URL) (bool, error) {
	plain := &url.URL{Scheme: "http", Host: u.Hostname(), Path: "/"}
	if strings.Contains(plain.Host, ":") {
		plain.Host = "[" + plain.Host + "]"
	}
	conn, err := n.dial(ctx, "tcp", web.HostPort(plain))
	if check.Classify(check.StepConnect, err) == check.ConnectRefused {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("the portal by HTTP: %w", err)
	}
	defer conn.Close()
	head, err := headOf(ctx, conn, plain)
	if err != nil {
		return false, fmt.Errorf("the portal by HTTP: %w", err)
	}
	to, err := plain.Parse(head.Header.Get("Location"))
	return err == nil && web.Redirects(head.StatusCode) && to.Scheme == "https" && web.Kin(to.Hostname(), u.Hostname()), nil
}

// readPortal reads the address of the portal.
func (l *limits) readPortal(o check.Options) error {
	l.rootsFile = o.String("roots")
	if !o.Has("url") {
		return nil
	}
	u, err := web.ParseURL(o.String("url"))
	if err != nil {
		return fmt.Errorf("option \"url\": %w", err)
	}
	if u.Scheme == "http" { // a site that has no other address is asked whether it has one: the control is about HTTPS
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		u.Scheme, u.Host = "https", host
	}
	l.portal = u
	return nil
}
