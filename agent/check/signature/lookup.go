package signature

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"egovmon/agent/check"
)

const (
	lookupBytes = 16 << 20
	// An answer is kept until its list is due again, within these bounds: lists are large, and change once a day.
	minKept = 5 * time.Minute
	maxKept = 6 * time.Hour
)

// A lookup finds out whether the certificate of a service, which signs what a check verifies, was revoked itself. It
// remembers the last answer.
type lookup struct {
	fetcher fetcher
	url     *url.URL

	of    string // serial that the answer below is about
	until time.Time
	bad   *fault
}

// newLookup looks at a list; nil when the plan names none.
func newLookup(list string, f fetcher) (*lookup, error) {
	if list == "" {
		return nil, nil
	}
	u, err := parseURL(list)
	f.maxBytes = lookupBytes
	return &lookup{fetcher: f, url: u}, err
}

// ask says what a certificate's state is: nil when it was not revoked, Revoked, RevocationStale or RevocationInvalid, or
// Partial when its list cannot be had, so that nobody knows.
func (l *lookup) ask(ctx context.Context, c, issuer *x509.Certificate, what string, sp *spans) *fault {
	now, serial := l.fetcher.at.now(), serialKey(c.SerialNumber)
	if l.of == serial && now.Before(l.until) && l.until.Sub(now) <= maxKept {
		return l.bad
	}
	a, bad := l.fetcher.ask(ctx, question{method: http.MethodGet, url: l.url, accept: "application/pkix-crl"}, sp, new(check.Facts))
	if bad != nil {
		return because(check.Partial, "whether %s was revoked could not be learnt: %s: %s", what, bad.reason, bad.detail)
	}
	begin := time.Now()
	bad, next := l.judge(a, c, issuer, serial)
	sp.add(phaseVerify, time.Since(begin))
	if bad != nil {
		bad = bad.of(what)
	}
	l.of, l.bad = serial, bad
	l.until = now.Add(min(max(next.Sub(now), minKept), maxKept))
	return bad
}

// judge reads a list and looks the certificate up; next is when to look again.
func (l *lookup) judge(a *answer, c, issuer *x509.Certificate, serial string) (bad *fault, next time.Time) {
	list, err := parseCRL(unwrapCRL(a.body), map[string]bool{serial: true})
	if err != nil {
		return because(check.RevocationInvalid, "its list cannot be read: %v", err), next
	}
	for _, bad := range []*fault{list.signedBy(issuer), list.limits(false), list.scope.covers([]*x509.Certificate{c})} {
		if bad != nil {
			return bad, next
		}
	}
	if len(list.revoked) > 0 {
		return because(check.Revoked, "certificate %s was revoked %s (reason %d)", called(c), stamp(list.revoked[0].at), list.revoked[0].reason), next
	}
	return window(l.fetcher.at, list.ThisUpdate, list.NextUpdate, 0, 0), list.NextUpdate
}
