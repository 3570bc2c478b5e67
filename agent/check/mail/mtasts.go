package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// Bounds of a policy.
const (
	maxPolicy = 64 << 10 // bytes; RFC 8461, section 3.3
	maxAnswer = maxPolicy + 32<<10
	maxSTSAge = 31557600 // seconds; RFC 8461, section 3.2
)

// An stsPolicy is how other servers are to deliver to a domain. RFC 8461, section 3.2.
type stsPolicy struct {
	mode string // enforce, testing or none
	mx   []string
	age  int // seconds
}

// parseSTS reads a policy.
func parseSTS(text string) (stsPolicy, error) {
	var p stsPolicy
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok {
			return p, fmt.Errorf("%s is no line of a policy", told(line))
		}
		if seen[name] && name != "mx" {
			continue // the first counts
		}
		seen[name] = true
		switch name {
		case "version":
			if value != "STSv1" {
				return p, fmt.Errorf("its version is %s, not STSv1", told(value))
			}
		case "mode":
			p.mode = value
		case "mx":
			if len(p.mx) < 100 {
				p.mx = append(p.mx, strings.ToLower(value))
			}
		case "max_age":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > maxSTSAge {
				return p, fmt.Errorf("max_age: %s is no number of seconds up to %d", told(value), maxSTSAge)
			}
			p.age = n
		}
	}
	switch {
	case !seen["version"] || !seen["max_age"]:
		return p, errors.New("version or max_age is missing")
	case stsStrength(p.mode) < 0:
		return p, fmt.Errorf("%q is no mode", told(p.mode))
	case p.mode != "none" && len(p.mx) == 0:
		return p, errors.New("it names no mx")
	}
	return p, nil
}

// stsStrength puts the modes in order; -1 is none of them.
func stsStrength(mode string) int {
	switch mode {
	case "none":
		return 0
	case "testing":
		return 1
	case "enforce":
		return 2
	}
	return -1
}

// allows reports whether a policy names a server. RFC 8461, section 4.1.
func (p stsPolicy) allows(host string) bool {
	for _, pattern := range p.mx {
		if pattern == host {
			return true
		}
		if suffix, ok := strings.CutPrefix(pattern, "*."); ok {
			if _, rest, _ := strings.Cut(host, "."); rest == suffix {
				return true
			}
		}
	}
	return false
}

// judgeSTS looks for the record, fetches the policy and compares it with the servers that the domain names.
func (c *domainCheck) judgeSTS(a *asking, facts *check.Facts) *reach.Fault {
	records, bad := a.texts("_mta-sts."+c.domain, func(s string) bool { return version(s) == "STSv1" })
	if bad != nil {
		return bad
	}
	if len(records) != 1 {
		return reach.Failf(check.MailAuth, "%s has %d MTA-STS records, where one belongs", c.domain, len(records))
	}
	if tags, err := parseTags(records[0]); err != nil || tags["id"] == "" || len(tags["id"]) > 32 {
		return reach.Failf(check.MailAuth, "MTA-STS of %s: the record has no id of 1 to 32 letters", c.domain)
	}
	var view reach.View
	text, err := c.fetchSTS(a.ctx, &view)
	if err != nil {
		return reach.Failf(check.Partial, "the policy of MTA-STS cannot be fetched: %s", err)
	}
	p, err := parseSTS(text)
	if err != nil {
		return reach.Failf(check.MailAuth, "the policy of MTA-STS: %s", err)
	}
	facts.Add("mta_sts_code", float64(stsStrength(p.mode)))
	facts.Add("mta_sts_max_age_s", float64(p.age))
	if stsStrength(p.mode) < stsStrength(c.sts) {
		return reach.Failf(check.MailAuth, "the policy of MTA-STS is %s, the plan asks for at least %s", p.mode, c.sts)
	}
	for _, host := range a.targets {
		if p.mode != "none" && !p.allows(host) {
			return reach.Failf(check.MailAuth, "the policy of MTA-STS leaves out %s, to which other servers then do not deliver", told(host))
		}
	}
	if bad := c.policy.Degraded(&view); bad != nil {
		return reach.Failf(bad.Reason, "the server of the policy of MTA-STS: %s", bad.Detail)
	}
	return nil
}

// fetchSTS gets the policy by HTTPS. RFC 8461, section 3.3: the certificate is verified, and no redirect followed.
func (c *domainCheck) fetchSTS(ctx context.Context, view *reach.View) (string, error) {
	host := "mta-sts." + c.domain
	address := c.stsAddress
	if address == "" {
		address = net.JoinHostPort(host, "443")
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*2/3)
		defer cancel()
	}
	raw, _, err := c.dialer.Dial(ctx, address)
	if err != nil {
		return "", errors.New(cause(err))
	}
	defer raw.Close()
	defer reach.Bind(ctx, raw)()
	name := host
	if c.policy.ServerName != "" {
		name = c.policy.ServerName
	}
	cfg, bad := c.policy.Config(name, view)
	if bad != nil {
		return "", errors.New(bad.Detail)
	}
	conn := tls.Client(raw, cfg)
	if err := conn.Handshake(); err != nil {
		return "", errors.New(view.HandshakeFault(err).Detail)
	}
	if _, err := fmt.Fprintf(conn, "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: %s\r\nUser-Agent: egovmon\r\nConnection: close\r\n\r\n", host); err != nil {
		return "", errors.New(cause(err))
	}
	return readPolicy(conn)
}

// readPolicy reads the server's answer.
func readPolicy(conn io.Reader) (string, error) {
	answer, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), nil)
	if err != nil {
		return "", errors.New("the answer is no HTTP, or too long")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answers %d", answer.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return "", fmt.Errorf("it is %s, not text/plain", told(answer.Header.Get("Content-Type")))
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxPolicy+1))
	switch {
	case err != nil:
		return "", errors.New("it is cut off")
	case len(text) > maxPolicy:
		return "", fmt.Errorf("it has more than %d bytes", maxPolicy)
	}
	return string(text), nil
}
