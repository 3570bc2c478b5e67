package signature

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

func crlKind() check.Kind {
	return check.Kind{
		Name:    "crl",
		Family:  "signature",
		Summary: "Fetches a certificate revocation list, verifies it and looks for watched certificates on it (RFC 5280).",
		Options: append([]check.Option{
			{Name: "url", Type: check.TypeURL, Required: true, Help: "The list, in DER or PEM; it stands in each certificate (CRL distribution points)."},
			{Name: "issuer", Type: check.TypeString, Required: true, Help: "A file (PEM or DER) with the certificate of the authority that signs the list."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of roots that the issuer must lead to; without it the issuer is trusted as it is."},
			{Name: "serials", Type: check.TypeStrings, Max: maxWatched, Help: "Serial numbers in hexadecimal of certificates that must not stand on the list, e.g. [\"5401:0A3F\"]."},
			{Name: "certificates", Type: check.TypeString, Help: "A PEM file of certificates that must not stand on the list; those of other issuers are passed over."},
			{Name: "delta", Type: check.TypeBool, Default: "false", Help: "Whether the list is a delta list; a complete one is expected otherwise."},
			{Name: "freshest", Type: check.TypeBool, Default: "false", Help: "Whether to fetch the delta list too, which a complete one names (freshest CRL) at its own host, and to judge both together."},
			{Name: "delta_url", Type: check.TypeURL, Help: "The delta list that belongs to the complete one, where freshest cannot find it."},
			{Name: "max_bytes", Type: check.TypeBytes, Default: "16MiB", Min: 1, Max: maxMaxBytes, Unit: "bytes", Help: "A list larger than this is too_large."},
			{Name: "max_age", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "A list issued longer ago than this is revocation_stale."},
			{Name: "renew_before", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "A list whose next update is nearer than this is revocation_stale already; without it only one past its next update is."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "An issuer that ends within this many days is cert_expiring."},
		}, append(trustOptions(), fetchOptions()...)...),
		Facts: append([]check.FactDef{
			{Name: "crl_number_serial", Help: "number of the list", Max: maxCode},
			{Name: "base_number_serial", Help: "number of the complete list that a delta list builds on", Max: maxCode},
			{Name: "entries_count", Help: "certificates on the list", Max: maxMaxBytes},
			{Name: "revoked_count", Help: "watched certificates on the list", Max: maxMaxBytes},
			{Name: "watched_count", Help: "certificates looked for", Max: 2 * maxPEM},
			unixFact("this_update_unix", "when the list was issued"),
			unixFact("next_update_unix", "when the next list is due"),
			unixFact("revoked_unix", "when the first watched certificate on the list was revoked"),
			unixFact("issuer_not_after_unix", "when the issuer's certificate ends"),
			{Name: "delta_number_serial", Help: "number of the delta list that was fetched beside", Max: maxCode},
			{Name: "delta_entries_count", Help: "certificates on that delta list", Max: maxMaxBytes},
			unixFact("delta_next_update_unix", "when the next delta list is due"),
		}, append(trustFacts(), fetchFacts()...)...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string { return append(hosts(o.String("url")), hosts(o.String("delta_url"))...) },
		New:    newCRL,
	}
}

// A crlCheck is one check of the kind crl. It remembers the number of the newest list that it saw.
type crlCheck struct {
	fetcher                   fetcher
	url, deltaURL             *url.URL // deltaURL is nil when the plan names none
	issuer, certificates      certFile
	trust                     trust
	serials                   map[string]bool // by the bytes of their DER
	delta, freshest           bool
	maxAge, renew, warn, slow time.Duration

	newest, newestDelta *big.Int // numbers of the newest lists seen, nil before the first
}

func newCRL(o check.Options, env check.Env) (check.Func, error) {
	f, err := newFetcher(o, env, o.Int("max_bytes"))
	if err != nil {
		return nil, err
	}
	c := &crlCheck{
		fetcher: f, issuer: certFile{path: o.String("issuer")}, trust: newTrust(o),
		certificates: certFile{path: o.String("certificates")}, serials: map[string]bool{}, delta: o.Bool("delta"), freshest: o.Bool("freshest"),
		maxAge: o.Duration("max_age"), renew: o.Duration("renew_before"), warn: days(o), slow: o.Duration("slow"),
	}
	if c.url, err = parseURL(o.String("url")); err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	if o.Has("delta_url") {
		if c.deltaURL, err = parseURL(o.String("delta_url")); err != nil {
			return nil, fmt.Errorf("option \"delta_url\": %w", err)
		}
	}
	if c.delta && (c.freshest || c.deltaURL != nil) {
		return nil, fmt.Errorf("option \"delta\": a delta list has no delta list of its own: leave freshest and delta_url out")
	}
	if c.issuer.path == "" {
		return nil, fmt.Errorf("option \"issuer\": no file: write the path of a PEM file")
	}
	for _, s := range o.Strings("serials") {
		text := strings.TrimPrefix(strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(s)), "0x")
		n, ok := new(big.Int).SetString(text, 16)
		if !ok || n.Sign() < 0 || len(text) > 64 {
			return nil, fmt.Errorf("option \"serials\": %q is no serial number: write it in hexadecimal, e.g. 5401:0A3F", s)
		}
		c.serials[serialKey(n)] = true
	}
	return c.run, nil
}

// serialKey returns the bytes that an INTEGER has in DER.
func serialKey(n *big.Int) string {
	text, err := asn1.Marshal(n)
	var raw asn1.RawValue
	if err == nil {
		_, err = asn1.Unmarshal(text, &raw)
	}
	if err != nil {
		return ""
	}
	return string(raw.Bytes)
}

// run fetches and judges the list once.
func (c *crlCheck) run(ctx context.Context) check.Result {
	return timed(ctx, c.slow, c.ask)
}

func (c *crlCheck) ask(ctx context.Context, sp *spans, facts, seen *check.Facts) (string, *fault) {
	issuer, err := c.issuer.one()
	if err == nil {
		err = mayIssue(issuer)
	}
	if err != nil {
		return "", because(check.Misconfigured, "issuer: %v", err)
	}
	addUnix(seen, "issuer_not_after_unix", issuer.NotAfter)
	roots, err := c.trust.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	watched, certs, err := c.watched(issuer)
	if err != nil {
		return "", because(check.Misconfigured, "certificates: %v", err)
	}
	seen.Add("watched_count", float64(len(watched)))
	l, bad := c.fetch(ctx, c.url, watched, sp, facts)
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	l.facts(seen)
	chain, bad := c.verify(l, issuer, roots)
	if bad == nil {
		roots.seen(chain, seen)
		bad = l.scope.covers(certs)
	}
	sp.add(phaseVerify, time.Since(begin))
	if bad != nil {
		return "", bad
	}
	with, missing := c.withDelta(ctx, l, issuer, watched, sp, seen)
	if missing != nil && missing.reason != check.Partial {
		return "", missing
	}
	if bad := c.judge(l, issuer); bad != nil {
		return "", bad
	}
	for _, bad := range []*fault{missing, roots.ending(chain, c.fetcher.at)} {
		if bad != nil {
			return "", bad
		}
	}
	return fmt.Sprintf("%d certificates on the list of %s%s%s", l.entries, stamp(l.ThisUpdate), with, roots.under(chain, c.fetcher.at)), nil
}

// fetch gets and reads a list.
func (c *crlCheck) fetch(ctx context.Context, u *url.URL, watched map[string]bool, sp *spans, facts *check.Facts) (*list, *fault) {
	a, bad := c.fetcher.ask(ctx, question{method: http.MethodGet, url: u, accept: "application/pkix-crl"}, sp, facts)
	if bad != nil {
		return nil, bad
	}
	begin := time.Now()
	defer func() { sp.add(phaseVerify, time.Since(begin)) }()
	l, err := parseCRL(unwrapCRL(a.body), watched)
	if err != nil {
		return nil, a.unreadable("a revocation list", err)
	}
	return l, nil
}

// withDelta fetches the delta list that belongs to a complete one, and enters it there. A delta list that cannot be had
// is partial: the complete one holds meanwhile.
func (c *crlCheck) withDelta(ctx context.Context, l *list, issuer *x509.Certificate, watched map[string]bool, sp *spans, seen *check.Facts) (with string, bad *fault) {
	u, bad := c.whereDelta(l)
	if u == nil || bad != nil {
		return "", bad
	}
	d, bad := c.fetch(ctx, u, watched, sp, new(check.Facts))
	if bad != nil {
		return "", because(check.Partial, "the complete list holds; the delta list: %s: %s", bad.reason, bad.detail)
	}
	addNumber(seen, "delta_number_serial", d.Number)
	seen.Add("delta_entries_count", float64(d.entries))
	addUnix(seen, "delta_next_update_unix", d.NextUpdate)
	if bad := d.signedBy(issuer); bad != nil {
		return "", bad.of("the delta list")
	}
	if bad := d.limits(true); bad != nil {
		return "", bad.of("the delta list")
	}
	if bad := l.takes(d); bad != nil {
		return "", bad
	}
	if bad := window(c.fetcher.at, d.ThisUpdate, d.NextUpdate, 0, 0); bad != nil {
		return "", bad.of("the delta list")
	}
	if bad := older(&c.newestDelta, d.Number); bad != nil {
		return "", bad.of("the delta list")
	}
	return fmt.Sprintf(" and %d on the delta list of %s", d.entries, stamp(d.ThisUpdate)), nil
}

// whereDelta returns where the delta list is; nil when none is asked for. A list sends nobody to another host.
func (c *crlCheck) whereDelta(l *list) (*url.URL, *fault) {
	if c.deltaURL != nil || !c.freshest {
		return c.deltaURL, nil
	}
	for _, text := range l.freshest {
		if u, err := parseURL(text); err == nil && strings.EqualFold(u.Host, c.url.Host) {
			return u, nil
		}
	}
	if len(l.freshest) > 0 {
		return nil, because(check.Misconfigured, "the delta list is at another host, %s: write it as delta_url", l.freshest[0])
	}
	return nil, because(check.Misconfigured, "the list names no delta list (freshest CRL): leave freshest out, or write delta_url")
}

// takes enters a delta list into a complete one (RFC 5280, section 5.2.4).
func (l *list) takes(d *list) *fault {
	switch {
	case l.scope.raw != d.scope.raw:
		return because(check.RevocationInvalid, "the delta list is of another scope than the complete one (issuing distribution point)")
	case l.Number == nil || d.Number == nil:
		return because(check.RevocationInvalid, "the complete list or the delta list has no number")
	case d.base.Cmp(l.Number) > 0:
		return because(check.RevocationStale, "the delta list builds on list number %v, and the complete one is number %v", d.base, l.Number)
	case d.Number.Cmp(l.Number) < 0:
		return because(check.RevocationStale, "the delta list has number %v, before the complete one's %v", d.Number, l.Number)
	}
	off := func(e entry) bool {
		return slices.ContainsFunc(d.removed, func(r entry) bool { return bytes.Equal(r.serial, e.serial) })
	}
	on := func(e entry) bool {
		return slices.ContainsFunc(d.revoked, func(r entry) bool { return bytes.Equal(r.serial, e.serial) })
	}
	l.revoked = append(slices.DeleteFunc(l.revoked, func(e entry) bool { return off(e) || on(e) }), d.revoked...)
	return nil
}

// watched returns the serials to look for, and the certificates of this issuer among them that are known.
func (c *crlCheck) watched(issuer *x509.Certificate) (map[string]bool, []*x509.Certificate, error) {
	certs, err := c.certificates.load()
	if err != nil || len(certs) == 0 {
		return c.serials, nil, err
	}
	all := maps.Clone(c.serials)
	var own []*x509.Certificate
	for _, cert := range certs {
		if bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
			all[serialKey(cert.SerialNumber)] = true
			own = append(own, cert)
		}
	}
	return all, own, nil
}

// facts adds the numbers of a list.
func (l *list) facts(fs *check.Facts) {
	addNumber(fs, "crl_number_serial", l.Number)
	addNumber(fs, "base_number_serial", l.base)
	fs.Add("entries_count", float64(l.entries))
	fs.Add("revoked_count", float64(len(l.revoked)))
	addUnix(fs, "this_update_unix", l.ThisUpdate)
	addUnix(fs, "next_update_unix", l.NextUpdate)
	if len(l.revoked) > 0 {
		addUnix(fs, "revoked_unix", l.revoked[0].at)
	}
}

// addNumber adds a number that a fact can hold exactly; larger ones are left out.
func addNumber(fs *check.Facts, name string, n *big.Int) {
	if n != nil && n.Sign() >= 0 && n.Cmp(big.NewInt(maxCode)) <= 0 {
		fs.Add(name, float64(n.Int64()))
	}
}

// verify checks who signed the list, and what it is about (RFC 5280, section 6.3.3). It returns the issuer's chain.
func (c *crlCheck) verify(l *list, issuer *x509.Certificate, roots *anchors) ([]*x509.Certificate, *fault) {
	if bad := l.signedBy(issuer); bad != nil {
		return nil, bad
	}
	if bad := l.limits(c.delta); bad != nil {
		return nil, bad
	}
	return issuerChain(issuer, roots, c.fetcher.at)
}

// signedBy says why a list is not an authority's.
func (l *list) signedBy(issuer *x509.Certificate) *fault {
	if !bytes.Equal(l.RawIssuer, issuer.RawSubject) {
		return because(check.RevocationInvalid, "the list is of %q, not of %s", l.Issuer.CommonName, called(issuer))
	}
	if issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return because(check.RevocationInvalid, "%s may not sign revocation lists (key usage)", called(issuer))
	}
	if err := issuer.CheckSignature(l.SignatureAlgorithm, l.signed, l.Signature); err != nil {
		return because(check.RevocationInvalid, "the signature of the list: %v", err)
	}
	return nil
}

// limits says what in a list keeps it from being the whole truth about an authority's certificates.
func (l *list) limits(delta bool) *fault {
	bad := func(format string, args ...any) *fault { return because(check.RevocationInvalid, format, args...) }
	switch {
	case l.critical != nil:
		return bad("a critical extension %v that is not known here", l.critical)
	case l.scope.indirect:
		return bad("an indirect list, which holds certificates of other issuers too")
	case l.scope.attribute:
		return bad("a list for attribute certificates only")
	case l.scope.user && l.scope.ca:
		return bad("a list for users' certificates only and for authorities' only, which is for none")
	case l.scope.reasons:
		return bad("a list for some reasons of revocation only")
	case l.base != nil && !delta:
		return bad("a delta list where a complete one is expected: see the option delta")
	case l.base == nil && delta:
		return bad("a complete list where a delta list is expected: see the option delta")
	}
	return nil
}

// covers says when a list is not about a watched certificate, so that its not standing there says nothing.
func (sc scope) covers(certs []*x509.Certificate) *fault {
	for _, c := range certs {
		switch {
		case sc.user && c.IsCA:
			return because(check.RevocationInvalid, "a list for users' certificates only says nothing of the authority %s", called(c))
		case sc.ca && !c.IsCA:
			return because(check.RevocationInvalid, "a list for authorities' certificates only says nothing of the certificate %s", called(c))
		case len(sc.points) > 0 && len(c.CRLDistributionPoints) > 0 &&
			!slices.ContainsFunc(sc.points, func(p string) bool { return slices.Contains(c.CRLDistributionPoints, p) }):
			return because(check.RevocationInvalid, "a list of another distribution point than the one that the certificate %s names", called(c))
		}
	}
	return nil
}

// judge says what a verified list means now.
func (c *crlCheck) judge(l *list, issuer *x509.Certificate) *fault {
	if len(l.revoked) > 0 {
		e := l.revoked[0]
		return because(check.Revoked, "the certificate with serial %x was revoked %s (reason %d), one of %d watched on the list", e.serial, stamp(e.at), e.reason, len(l.revoked))
	}
	if bad := window(c.fetcher.at, l.ThisUpdate, l.NextUpdate, c.maxAge, c.renew); bad != nil {
		return bad
	}
	if bad := older(&c.newest, l.Number); bad != nil {
		return bad
	}
	return expiring([]*x509.Certificate{issuer}, c.warn, c.fetcher.at)
}

// older says when a list has a lower number than one seen before: numbers only grow (RFC 5280, section 5.2.3).
func older(newest **big.Int, number *big.Int) *fault {
	if number == nil {
		return nil
	}
	if *newest != nil && number.Cmp(*newest) < 0 {
		return because(check.RevocationStale, "list number %v, after number %v was seen", number, *newest)
	}
	*newest = number
	return nil
}
