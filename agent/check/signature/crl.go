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
			{Name: "max_bytes", Type: check.TypeBytes, Default: "16MiB", Min: 1, Max: maxMaxBytes, Unit: "bytes", Help: "A list larger than this is too_large."},
			{Name: "max_age", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "A list issued longer ago than this is revocation_stale."},
			{Name: "renew_before", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "A list whose next update is nearer than this is revocation_stale already; without it only one past its next update is."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "An issuer that ends within this many days is cert_expiring."},
		}, fetchOptions()...),
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
		}, fetchFacts()...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string { return hosts(o.String("url")) },
		New:    newCRL,
	}
}

// A crlCheck is one check of the kind crl. It remembers the number of the newest list that it saw.
type crlCheck struct {
	fetcher                     fetcher
	url                         *url.URL
	issuer, roots, certificates certFile
	serials                     map[string]bool // by the bytes of their DER
	delta                       bool
	maxAge, renew, warn, slow   time.Duration

	newest *big.Int // number of the newest list seen, nil before the first
}

func newCRL(o check.Options, env check.Env) (check.Func, error) {
	f, err := newFetcher(o, env, o.Int("max_bytes"))
	if err != nil {
		return nil, err
	}
	c := &crlCheck{
		fetcher: f, issuer: certFile{path: o.String("issuer")}, roots: certFile{path: o.String("roots")},
		certificates: certFile{path: o.String("certificates")}, serials: map[string]bool{}, delta: o.Bool("delta"),
		maxAge: o.Duration("max_age"), renew: o.Duration("renew_before"), warn: days(o), slow: o.Duration("slow"),
	}
	if c.url, err = parseURL(o.String("url")); err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
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
	begin := time.Now()
	var sp spans
	var facts, seen check.Facts
	detail, bad := c.ask(ctx, &sp, &facts, &seen)
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		bad = tooSlow(total, c.slow)
	}
	r := bad.result(detail)
	r.Phases, r.Facts = sp.phases(total), append(facts, seen...)
	return r
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
	roots, err := c.roots.pool()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	watched, err := c.watched(issuer)
	if err != nil {
		return "", because(check.Misconfigured, "certificates: %v", err)
	}
	seen.Add("watched_count", float64(len(watched)))
	a, bad := c.fetcher.ask(ctx, question{method: http.MethodGet, url: c.url, accept: "application/pkix-crl"}, sp, facts)
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	defer func() { sp.add(phaseVerify, time.Since(begin)) }()
	l, err := parseCRL(unwrapCRL(a.body), watched)
	if err != nil {
		return "", a.unreadable("a revocation list", err)
	}
	l.facts(seen)
	if bad := c.verify(l, issuer, roots); bad != nil {
		return "", bad
	}
	return fmt.Sprintf("%d certificates on the list of %s", l.entries, stamp(l.ThisUpdate)), c.judge(l, issuer)
}

// watched returns the serials to look for.
func (c *crlCheck) watched(issuer *x509.Certificate) (map[string]bool, error) {
	certs, err := c.certificates.load()
	if err != nil || len(certs) == 0 {
		return c.serials, err
	}
	all := maps.Clone(c.serials)
	for _, cert := range certs {
		if bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
			all[serialKey(cert.SerialNumber)] = true
		}
	}
	return all, nil
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

// verify checks who signed the list, and what it is about (RFC 5280, section 6.3.3).
func (c *crlCheck) verify(l *list, issuer *x509.Certificate, roots *x509.CertPool) *fault {
	bad := func(format string, args ...any) *fault { return because(check.RevocationInvalid, format, args...) }
	if !bytes.Equal(l.RawIssuer, issuer.RawSubject) {
		return bad("the list is of %q, not of %q", l.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return bad("%q may not sign revocation lists (key usage)", issuer.Subject.CommonName)
	}
	if err := issuer.CheckSignature(l.SignatureAlgorithm, l.signed, l.Signature); err != nil {
		return bad("the signature of the list: %v", err)
	}
	switch {
	case l.critical != nil:
		return bad("a critical extension %v that is not known here", l.critical)
	case l.scope.indirect:
		return bad("an indirect list, which holds certificates of other issuers too")
	case l.scope.attribute:
		return bad("a list for attribute certificates only")
	case l.scope.reasons:
		return bad("a list for some reasons of revocation only")
	case l.base != nil && !c.delta:
		return bad("a delta list where a complete one is expected: see the option delta")
	case l.base == nil && c.delta:
		return bad("a complete list where a delta list is expected: see the option delta")
	}
	if roots == nil {
		return inDates(issuer, c.fetcher.at, check.RevocationInvalid)
	}
	_, fault := verifyChain(issuer, nil, roots, x509.ExtKeyUsageAny, c.fetcher.at, check.RevocationInvalid)
	return fault
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
	if bad := c.older(l); bad != nil {
		return bad
	}
	return expiring([]*x509.Certificate{issuer}, c.warn, c.fetcher.at)
}

// older says when a list has a lower number than one seen before: numbers only grow (RFC 5280, section 5.2.3).
func (c *crlCheck) older(l *list) *fault {
	if l.Number == nil {
		return nil
	}
	if c.newest != nil && l.Number.Cmp(c.newest) < 0 {
		return because(check.RevocationStale, "list number %v, after number %v was seen", l.Number, c.newest)
	}
	c.newest = l.Number
	return nil
}
