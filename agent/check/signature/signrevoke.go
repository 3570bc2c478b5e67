package signature

import (
	"context"
	"crypto/x509"
	"net/http"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
)

// A revocation is what was learnt of the certificates of a signature.
type revocation struct {
	ocsps, crls [][]byte // in DER
	lists       map[string][]byte
	uncovered   int
	stale       *fault // a list or answer that is past its next update
}

func (r *revocation) bytes() (n int) {
	for _, of := range [][][]byte{r.ocsps, r.crls} {
		for _, b := range of {
			n += len(b)
		}
	}
	return n
}

// evidence asks about every certificate of both chains but the roots, for what is embedded.
func (a *act) evidence(ctx context.Context) *fault {
	if a.c.o.String("level") != levelLT {
		return nil
	}
	if own := a.chain[0]; len(own.OCSPServer)+len(own.CRLDistributionPoints) == 0 {
		return because(check.Misconfigured, "the signer's certificate names nowhere to ask whether it was revoked: write level: %s", levelT)
	}
	begin := time.Now()
	defer func() { a.time("revocation", begin) }()
	a.revoked.lists = map[string][]byte{}
	asked := map[string]bool{}
	for _, of := range []struct {
		what  string
		chain []*x509.Certificate
	}{{"the signer's", a.chain}, {"the time stamp's", a.tsaChain}} {
		for i := range len(of.chain) - 1 {
			c, issuer := of.chain[i], of.chain[i+1]
			if asked[string(c.Raw)] {
				continue
			}
			asked[string(c.Raw)] = true
			bad := a.ask(ctx, c, issuer)
			switch {
			case bad == nil:
			case bad.reason == check.RevocationStale && a.revoked.stale == nil:
				a.revoked.stale = bad.of(of.what)
			case bad.reason == check.RevocationStale:
			default:
				return bad.of(of.what)
			}
		}
	}
	a.facts.Add("revocation_count", float64(len(a.revoked.ocsps)+len(a.revoked.crls)))
	a.facts.Add("revocation_bytes", float64(a.revoked.bytes()))
	a.facts.Add("uncovered_count", float64(a.revoked.uncovered))
	return nil
}

// ask asks about one certificate: by OCSP where it names a responder, else by its list. A responder that does not answer
// leaves the list.
func (a *act) ask(ctx context.Context, c, issuer *x509.Certificate) *fault {
	var bad *fault
	if len(c.OCSPServer) > 0 {
		if bad = a.askOCSP(ctx, c, issuer); bad == nil || bad.reason == check.Revoked || bad.reason == check.RevocationStale {
			return bad
		}
	}
	if len(c.CRLDistributionPoints) > 0 && ctx.Err() == nil {
		return a.askList(ctx, c, issuer)
	}
	if bad == nil {
		a.revoked.uncovered++
	}
	return bad
}

func (a *act) askOCSP(ctx context.Context, c, issuer *x509.Certificate) *fault {
	o := &ocspCheck{fetcher: a.c.fetcher, trust: a.c.trust, method: http.MethodPost, nonce: "ask", hash: "sha1"}
	o.fetcher.maxBytes = ocspBytes
	q, nonce, bad := o.question(c, issuer)
	if bad != nil {
		return bad
	}
	got, bad := o.fetcher.ask(ctx, q, new(spans), new(check.Facts))
	if bad != nil {
		return bad
	}
	s, _, bad := o.read(got, c, issuer, nonce, new(check.Facts))
	if bad == nil {
		bad = o.judge(s, c)
	}
	if bad == nil || bad.reason == check.RevocationStale {
		a.revoked.ocsps = append(a.revoked.ocsps, got.body)
	}
	return bad
}

// askList looks a certificate up in the list that it names; one list may serve several.
func (a *act) askList(ctx context.Context, c, issuer *x509.Certificate) *fault {
	u, err := parseURL(c.CRLDistributionPoints[0])
	if err != nil {
		return because(check.Misconfigured, "certificate %s: revocation list: %v", called(c), err)
	}
	raw, ok := a.revoked.lists[u.String()]
	if !ok {
		f := a.c.fetcher
		f.maxBytes = talk.MaxRevocation
		got, bad := f.ask(ctx, question{method: http.MethodGet, url: u, accept: "application/pkix-crl"}, new(spans), new(check.Facts))
		if bad != nil {
			return bad
		}
		raw = unwrapCRL(got.body)
	}
	l, err := parseCRL(raw, map[string]bool{serialKey(c.SerialNumber): true})
	if err != nil {
		return because(check.Protocol, "the revocation list of %s: %v", called(issuer), err)
	}
	for _, bad := range []*fault{l.signedBy(issuer), l.limits(false), l.scope.covers([]*x509.Certificate{c})} {
		if bad != nil {
			return bad
		}
	}
	if len(l.revoked) > 0 {
		return because(check.Revoked, "certificate %s was revoked %s (reason %d)", called(c), stamp(l.revoked[0].at), l.revoked[0].reason)
	}
	if !ok {
		a.revoked.lists[u.String()] = raw
		a.revoked.crls = append(a.revoked.crls, raw)
	}
	if a.revoked.bytes() > talk.MaxRevocation {
		return because(check.TooLarge, "revocation data of more than %d bytes cannot be embedded", talk.MaxRevocation)
	}
	return window(a.c.at, l.ThisUpdate, l.NextUpdate, 0, 0)
}
