package signature

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"egovmon/agent/check"
)

// verifyChain leads a certificate to one of the roots at the clock's time. bad is the reason for a chain that does not
// hold; what is outside its dates may be our own clock's fault.
func verifyChain(c *x509.Certificate, more []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage, at clock, bad check.Reason) ([]*x509.Certificate, *fault) {
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: at.now(), KeyUsages: []x509.ExtKeyUsage{use}}
	for _, m := range more {
		opts.Intermediates.AddCert(m)
	}
	chains, err := c.Verify(opts)
	if err == nil {
		return longest(chains), nil
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		out := c
		if inv.Cert != nil {
			out = inv.Cert
		}
		return nil, at.judged(because(bad, "certificate %q is valid from %s to %s", out.Subject.CommonName, stamp(out.NotBefore), stamp(out.NotAfter)))
	}
	return nil, because(bad, "certificate %q: %v", c.Subject.CommonName, err)
}

// longest returns the chain that ends last.
func longest(chains [][]*x509.Certificate) []*x509.Certificate {
	return slices.MaxFunc(chains, func(a, b []*x509.Certificate) int { return ends(a).Compare(ends(b)) })
}

// ends returns when the first certificate of a chain ends.
func ends(chain []*x509.Certificate) time.Time { return first(chain).NotAfter }

func first(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// inDates says when a certificate is outside its dates.
func inDates(c *x509.Certificate, at clock, bad check.Reason) *fault {
	if now := at.now(); now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return at.judged(because(bad, "certificate %q is valid from %s to %s", c.Subject.CommonName, stamp(c.NotBefore), stamp(c.NotAfter)))
	}
	return nil
}

// expiring says which certificate of a chain ends within warn. It is not judged by a clock that is not proven.
func expiring(chain []*x509.Certificate, warn time.Duration, at clock) *fault {
	if len(chain) == 0 || !at.proven() {
		return nil
	}
	if c := first(chain); c.NotAfter.Sub(at.now()) < warn {
		return because(check.CertExpiring, "certificate %q ends %s", c.Subject.CommonName, stamp(c.NotAfter))
	}
	return nil
}

// mayIssue says why a certificate is no authority's.
func mayIssue(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA {
		return fmt.Errorf("certificate %q is not an authority's (no CA in its basic constraints)", c.Subject.CommonName)
	}
	return nil
}

// soleUse tells whether a certificate is for one use alone, and says so critically.
func soleUse(c *x509.Certificate, use asn1.ObjectIdentifier) error {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) })
	if i < 0 {
		return fmt.Errorf("certificate %q has no extended key usage", c.Subject.CommonName)
	}
	var uses []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(c.Extensions[i].Value, &uses); err != nil || len(rest) > 0 {
		return fmt.Errorf("certificate %q has an extended key usage that cannot be read", c.Subject.CommonName)
	}
	switch {
	case !slices.ContainsFunc(uses, use.Equal):
		return fmt.Errorf("certificate %q is not for this use (extended key usage %v, want %v)", c.Subject.CommonName, uses, use)
	case len(uses) > 1:
		return fmt.Errorf("certificate %q is for other uses too (extended key usage %v, want %v alone)", c.Subject.CommonName, uses, use)
	case !c.Extensions[i].Critical:
		return fmt.Errorf("certificate %q has an extended key usage that is not critical", c.Subject.CommonName)
	}
	return nil
}
