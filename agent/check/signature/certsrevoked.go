package signature

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/certlist"
)

// revocation asks about certificates in force that lead to a root and were not asked about of late, those that end first
// before the others, at most as many as one run may. revoked says that some were; unsure that it cannot be learnt of some.
func (c *certsCheck) revocation(ctx context.Context, f *found, chains [][]*x509.Certificate, sp *spans, seen *check.Facts) (revoked, unsure *fault) {
	if len(c.hosts) == 0 {
		return nil, nil
	}
	now := c.fetcher.at.now()
	states := map[[sha256.Size]byte]state{}
	lists := shelves{}
	var gone, good, open, requests int
	for i, x := range f.certs {
		if len(chains[i]) < 2 || certlist.Of(x, now) == certlist.Ended {
			continue
		}
		sum := sha256.Sum256(x.Raw)
		s, known := c.states[sum]
		if old := !known || !now.Before(s.until) || s.until.Sub(now) > c.recheck; old && requests < c.asks && ctx.Err() == nil {
			bad, asked := c.stateOf(ctx, x, chains[i][1], lists, sp)
			requests += asked
			s, known = c.learnt(bad, now), true
		}
		if known {
			states[sum] = s
		}
		switch {
		case known && s.reason == check.Revoked:
			gone++
		case known && s.reason == check.OK:
			good++
		default:
			if open++; known && (unsure == nil || s.reason != check.RevocationStale) {
				unsure = because(s.reason, "an answer about a certificate is past its next update")
			}
		}
	}
	c.states = states
	seen.Add("revoked_count", float64(gone))
	seen.Add("good_count", float64(good))
	seen.Add("unasked_count", float64(open))
	seen.Add("requests_count", float64(requests))
	if gone > 0 {
		revoked = because(check.Revoked, "%d of %d certificates were revoked", gone, len(f.certs))
	}
	if unsure != nil && unsure.reason != check.RevocationStale {
		unsure = because(check.Partial, "whether %d certificates were revoked could not be learnt: %s", open, unsure.reason)
	}
	return revoked, unsure
}

// shelves are the lists that a run has fetched, by their address.
type shelves map[string]*answer

// keep puts a list on the shelves. When there are too many bytes, the others go; they would be fetched again.
func (s shelves) keep(at string, a *answer) {
	n := len(a.body)
	for _, other := range s {
		n += len(other.body)
	}
	if n > lookupBytes {
		clear(s)
	}
	s[at] = a
}

// learnt keeps the outcome of a question. One that failed is asked again soon.
func (c *certsCheck) learnt(bad *fault, now time.Time) state {
	switch {
	case bad == nil:
		return state{now.Add(c.recheck), check.OK}
	case bad.reason == check.Revoked:
		return state{now.Add(c.recheck), check.Revoked}
	}
	return state{now.Add(min(c.recheck, time.Hour)), bad.reason}
}

// stateOf asks about one certificate where it says, if the plan allows that host: by OCSP, else by its list, which is
// fetched once a run. It returns how many requests it sent.
func (c *certsCheck) stateOf(ctx context.Context, x, issuer *x509.Certificate, lists shelves, sp *spans) (bad *fault, asked int) {
	bad = because(check.Misconfigured, "the certificate names no responder or list at one of the hosts")
	for _, u := range x.OCSPServer[:min(len(x.OCSPServer), 2)] {
		if c.allowed(u) == nil {
			continue
		}
		asked++
		if bad = c.askOCSP(ctx, x, issuer, u, sp); bad == nil || bad.reason == check.Revoked {
			return bad, asked
		}
		break
	}
	for _, text := range x.CRLDistributionPoints[:min(len(x.CRLDistributionPoints), 2)] {
		u := c.allowed(text)
		if u == nil || ctx.Err() != nil {
			continue
		}
		a, ok := lists[text]
		if !ok {
			asked++
			if a, bad = c.fetcher.ask(ctx, question{method: http.MethodGet, url: u, accept: "application/pkix-crl"}, sp, new(check.Facts)); bad != nil {
				continue
			}
			lists.keep(text, a)
		}
		l := lookup{fetcher: c.fetcher, url: u}
		bad, _ = l.judge(a, x, issuer, serialKey(x.SerialNumber))
		return bad, asked
	}
	return bad, asked
}

func (c *certsCheck) allowed(text string) *url.URL {
	u, err := parseURL(text)
	if err != nil || !c.hosts[strings.ToLower(u.Hostname())] {
		return nil
	}
	return u
}

func (c *certsCheck) askOCSP(ctx context.Context, x, issuer *x509.Certificate, u string, sp *spans) *fault {
	o := &ocspCheck{fetcher: c.fetcher, trust: c.trust, url: u, method: http.MethodPost, nonce: "ask", hash: "sha1"}
	o.fetcher.maxBytes = ocspBytes
	q, nonce, bad := o.question(x, issuer)
	if bad != nil {
		return bad
	}
	a, bad := o.fetcher.ask(ctx, q, sp, new(check.Facts))
	if bad != nil {
		return bad
	}
	s, _, bad := o.read(a, x, issuer, nonce, new(check.Facts))
	if bad == nil {
		bad = o.judge(s, x)
	}
	return bad
}
