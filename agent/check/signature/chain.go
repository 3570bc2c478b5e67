package signature

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

const (
	// maxRSABits bounds keys that others send: the time that a signature takes grows with the square of their size.
	maxRSABits = 8192
	// namedBefore is how long before its end a root's end is told with every good result.
	namedBefore = 5 * 365 * 24 * time.Hour
	// The longest chain that [anchors.walk] looks at, and the most signatures that it checks.
	maxChain      = 8
	maxSignatures = 64
)

// anchors are the roots that a plan trusts, a root for each generation of a PKI. The nil anchors are none.
type anchors struct {
	certs []*x509.Certificate
	pool  *x509.CertPool
	sha1  bool          // signatures within a chain may be over SHA-1
	warn  time.Duration // a root that ends sooner is told
}

func newAnchors(certs []*x509.Certificate, sha1 bool, warn time.Duration) *anchors {
	if len(certs) == 0 {
		return nil
	}
	a := &anchors{certs: certs, pool: x509.NewCertPool(), sha1: sha1, warn: warn}
	for _, c := range certs {
		a.pool.AddCert(c)
	}
	return a
}

// A trust is what the options of a kind say about anchors.
type trust struct {
	roots certFile
	sha1  bool
	warn  time.Duration
}

// trustOptions say how a chain leads to the roots; the option roots itself stands with each kind.
func trustOptions() []check.Option {
	return []check.Option{
		{Name: "sha1_chain", Type: check.TypeBool, Default: "false", Help: "Whether certificates of the chain may be signed over SHA-1, as those of a PKI of 2010 are; answers themselves always may."},
		{Name: "root_warn_days", Type: check.TypeInt, Default: "730", Max: 7300, Unit: "days", Help: "A root that ends within this many days is cert_expiring; five years before, its end is told with every good result."},
	}
}

// trustFacts are the numbers of the root that a chain led to.
func trustFacts() []check.FactDef {
	return []check.FactDef{
		{Name: "anchor_code", Help: "which of the roots was led to: 1 for the first in the file", Max: maxPEM},
		unixFact("anchor_not_after_unix", "when that root ends"),
	}
}

func newTrust(o check.Options) trust {
	return trust{roots: certFile{path: o.String("roots")}, sha1: o.Bool("sha1_chain"), warn: time.Duration(o.Int("root_warn_days")) * 24 * time.Hour}
}

// load reads the roots; nil when the plan names none.
func (t *trust) load() (*anchors, error) {
	certs, err := t.roots.load()
	if err != nil {
		return nil, err
	}
	return newAnchors(certs, t.sha1, t.warn), nil
}

// seen adds which root a chain led to.
func (a *anchors) seen(chain []*x509.Certificate, fs *check.Facts) {
	if a == nil || len(chain) == 0 {
		return
	}
	root := chain[len(chain)-1]
	if i := slices.IndexFunc(a.certs, root.Equal); i >= 0 {
		fs.Add("anchor_code", float64(i+1))
	}
	addUnix(fs, "anchor_not_after_unix", root.NotAfter)
}

// under names the root that a chain led to, and its end when that is not far.
func (a *anchors) under(chain []*x509.Certificate, at clock) string {
	if a == nil || len(chain) == 0 {
		return ""
	}
	root := chain[len(chain)-1]
	if root.NotAfter.Sub(at.now()) < namedBefore {
		return fmt.Sprintf(", under %s, which ends %s", called(root), root.NotAfter.UTC().Format(time.DateOnly))
	}
	return ", under " + called(root)
}

// ending says when the root that a chain led to ends soon: then it is time for the next generation. A service's own
// certificate among the roots is no root in this.
func (a *anchors) ending(chain []*x509.Certificate, at clock) *fault {
	if a == nil || len(chain) == 0 || !chain[len(chain)-1].IsCA {
		return nil
	}
	return expiring(chain[len(chain)-1:], a.warn, at)
}

// called names a certificate for the reader of a result: an authority or a service by its name, anybody else by the
// serial number, since a person's name is not for everybody who reads results.
func called(c *x509.Certificate) string {
	service := func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageOCSPSigning || u == x509.ExtKeyUsageTimeStamping || u == x509.ExtKeyUsageServerAuth
	}
	if c.Subject.CommonName != "" && (c.IsCA || slices.ContainsFunc(c.ExtKeyUsage, service)) {
		return fmt.Sprintf("%q", c.Subject.CommonName)
	}
	return fmt.Sprintf("with serial %x", c.SerialNumber)
}

// usable says why a certificate that somebody sent is not even looked at.
func usable(c *x509.Certificate) error {
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
		return fmt.Errorf("a key of %d bits, at most %d are checked", k.N.BitLen(), maxRSABits)
	}
	return nil
}

// verifyChain leads a certificate to one of the roots at the clock's time. bad is the reason for a chain that does not
// hold; what is outside its dates may be our own clock's fault.
func verifyChain(c *x509.Certificate, more []*x509.Certificate, roots *anchors, use x509.ExtKeyUsage, at clock, bad check.Reason) ([]*x509.Certificate, *fault) {
	opts := x509.VerifyOptions{Roots: roots.pool, Intermediates: x509.NewCertPool(), CurrentTime: at.now(), KeyUsages: []x509.ExtKeyUsage{use}}
	for _, m := range more {
		opts.Intermediates.AddCert(m)
	}
	chains, err := c.Verify(opts)
	if err == nil {
		return longest(chains), nil
	}
	if roots.sha1 {
		if chain := roots.walk(c, more, use, at.now()); chain != nil {
			return chain, nil
		}
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		out := c
		if inv.Cert != nil {
			out = inv.Cert
		}
		return nil, at.judged(because(bad, "certificate %s is valid from %s to %s", called(out), stamp(out.NotBefore), stamp(out.NotAfter)))
	}
	if !roots.sha1 && strings.Contains(err.Error(), "insecure algorithm SHA1") {
		return nil, because(bad, "certificate %s: the chain is signed over SHA-1: the option sha1_chain allows that", called(c))
	}
	return nil, because(bad, "certificate %s: %v", called(c), err)
}

// walk leads a certificate to one of the roots over signatures with SHA-1 too, which the standard library does not take
// any more. What it does not know it refuses: critical extensions, constraints of names. Nil when there is no way.
func (a *anchors) walk(c *x509.Certificate, more []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) []*x509.Certificate {
	left := maxSignatures
	var from func(chain []*x509.Certificate) []*x509.Certificate
	from = func(chain []*x509.Certificate) []*x509.Certificate {
		last := chain[len(chain)-1]
		if !holds(last, use, now) {
			return nil
		}
		if slices.ContainsFunc(a.certs, last.Equal) {
			return chain
		}
		for _, p := range slices.Concat(a.certs, more) {
			if len(chain) == maxChain || left == 0 || !bytes.Equal(p.RawSubject, last.RawIssuer) || slices.ContainsFunc(chain, p.Equal) || !mayHaveBelow(p, len(chain)-1) {
				continue
			}
			left--
			if p.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) != nil {
				continue
			}
			if found := from(append(slices.Clip(chain), p)); found != nil {
				return found
			}
		}
		return nil
	}
	return from([]*x509.Certificate{c})
}

// holds tells whether a certificate may stand in a chain for a use: in its dates, and with nothing in it that limits it
// in a way not known here.
func holds(c *x509.Certificate, use x509.ExtKeyUsage, now time.Time) bool {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) || usable(c) != nil {
		return false
	}
	if len(c.UnhandledCriticalExtensions) > 0 ||
		slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) }) {
		return false
	}
	all := len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	return all || use == x509.ExtKeyUsageAny || slices.Contains(c.ExtKeyUsage, use)
}

// mayHaveBelow tells whether an authority may issue, with so many authorities between it and the end of the chain.
func mayHaveBelow(c *x509.Certificate, between int) bool {
	if mayIssue(c) != nil || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return false
	}
	limited := c.MaxPathLen > 0 || c.MaxPathLen == 0 && c.MaxPathLenZero
	return !limited || between <= c.MaxPathLen
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
		return at.judged(because(bad, "certificate %s is valid from %s to %s", called(c), stamp(c.NotBefore), stamp(c.NotAfter)))
	}
	return nil
}

// expiring says which certificate of a chain ends within warn. It is not judged by a clock that is not proven.
func expiring(chain []*x509.Certificate, warn time.Duration, at clock) *fault {
	if len(chain) == 0 || !at.proven() {
		return nil
	}
	if c := first(chain); c.NotAfter.Sub(at.now()) < warn {
		return because(check.CertExpiring, "certificate %s ends %s", called(c), stamp(c.NotAfter))
	}
	return nil
}

// mayIssue says why a certificate is no authority's.
func mayIssue(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA {
		return fmt.Errorf("certificate %s is not an authority's (no CA in its basic constraints)", called(c))
	}
	return nil
}

// soleUse tells whether a certificate is for one use alone, and says so critically.
func soleUse(c *x509.Certificate, use asn1.ObjectIdentifier) error {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37}) })
	if i < 0 {
		return fmt.Errorf("certificate %s has no extended key usage", called(c))
	}
	var uses []asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(c.Extensions[i].Value, &uses); err != nil || len(rest) > 0 {
		return fmt.Errorf("certificate %s has an extended key usage that cannot be read", called(c))
	}
	switch {
	case !slices.ContainsFunc(uses, use.Equal):
		return fmt.Errorf("certificate %s is not for this use (extended key usage %v, want %v)", called(c), uses, use)
	case len(uses) > 1:
		return fmt.Errorf("certificate %s is for other uses too (extended key usage %v, want %v alone)", called(c), uses, use)
	case !c.Extensions[i].Critical:
		return fmt.Errorf("certificate %s has an extended key usage that is not critical", called(c))
	}
	return nil
}
