package signature

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
)

const (
	ocspBytes   = 64 << 10 // an answer has about 2 kB
	maxMaxBytes = 64 << 20
	// tolerance is how far the clocks of two machines may differ before an answer seems to come from the future.
	tolerance = 5 * time.Minute
	// shared is how far the answers of responders that share the work may be apart.
	shared = time.Hour
	// unboundedAge is how old an answer may be that names no next update (RFC 6960, section 4.2.2.1).
	unboundedAge = 24 * time.Hour
)

func ocspKind() check.Kind {
	return check.Kind{
		Name:    "ocsp",
		Family:  "signature",
		Summary: "Asks an OCSP responder whether a certificate is revoked, and verifies the answer (RFC 6960).",
		Options: append([]check.Option{
			{Name: "certificate", Type: check.TypeString, Required: true, Help: "A file (PEM or DER) with the certificate to ask about."},
			{Name: "issuer", Type: check.TypeString, Required: true, Help: "A file (PEM or DER) with the certificate of the authority that issued it."},
			{Name: "url", Type: check.TypeURL, Help: "The responder; without it the first one that the certificate names (authority information access)."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of roots that the issuer must lead to; without it the issuer is trusted as it is."},
			{Name: "responder", Type: check.TypeString, Help: "A PEM file of responders' certificates to trust as they are, beside the issuer and those it appointed."},
			{Name: "responder_crl", Type: check.TypeURL, Help: "A revocation list of the issuer, in which an appointed responder's certificate is looked up unless it says that it need not be (ocsp-nocheck)."},
			{Name: "method", Type: check.TypeString, Default: "POST", Enum: []string{"POST", "GET"}, Help: "How to send the request; GET can be answered by caches on the way."},
			{Name: "nonce", Type: check.TypeString, Default: "ask", Enum: []string{"ask", "require", "none"},
				Help: "Whether to send a nonce: ask accepts an answer without it (and sends none with GET), require does not."},
			{Name: "hash", Type: check.TypeString, Default: "sha1", Enum: []string{"sha1", "sha256"}, Help: "The hash that names the issuer in the request; it protects nothing, and sha1 is what every responder knows (RFC 5019)."},
			{Name: "max_age", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "An answer that was right longer ago than this is revocation_stale."},
			{Name: "renew_before", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "An answer whose next update is nearer than this is revocation_stale already; without it only one past its next update is."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "The certificate asked about that ends within this many days is cert_expiring."},
		}, append(trustOptions(), fetchOptions()...)...),
		Facts: append([]check.FactDef{
			{Name: "ocsp_status_code", Help: "status of the answer: 0 successful, 1 malformed request, 2 internal error, 3 try later, 5 signature required, 6 unauthorised", Max: 1 << 31},
			{Name: "cert_status_code", Help: "0 good, 1 revoked, 2 unknown to the responder", Max: certUnknown},
			{Name: "nonce_code", Help: "1 when the answer holds our nonce, 0 when it holds none", Max: 1},
			unixFact("this_update_unix", "since when the answer is known to be right"),
			unixFact("next_update_unix", "when a newer answer will be available"),
			unixFact("produced_unix", "when the answer was signed"),
			unixFact("revoked_unix", "when the certificate was revoked"),
			unixFact("cert_not_after_unix", "when the certificate asked about ends"),
			unixFact("issuer_not_after_unix", "when its issuer ends"),
			unixFact("responder_not_after_unix", "when the certificate that signed the answer ends"),
			{Name: "responder_code", Help: "who signed the answer: 0 the issuer, 1 an appointed responder that need not be looked up, 2 an appointed one that should be, 3 one that the plan trusts", Max: signerTrusted},
		}, append(trustFacts(), fetchFacts()...)...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string {
			var lists []string
			if o.Has("responder_crl") {
				lists = hosts(o.String("responder_crl"))
			}
			if o.Has("url") {
				return append(hosts(o.String("url")), lists...)
			}
			f := certFile{path: o.String("certificate")}
			if c, err := f.one(); err == nil && len(c.OCSPServer) > 0 {
				return append(hosts(c.OCSPServer[0]), lists...)
			}
			return lists
		},
		New: newOCSP,
	}
}

// Who signed an answer (RFC 6960, section 4.2.2.2).
const (
	signerIssuer = iota
	signerNoCheck
	signerToCheck
	signerTrusted
)

// An ocspCheck is one check of the kind ocsp. It remembers the newest answer that it saw.
type ocspCheck struct {
	fetcher                        fetcher
	certificate, issuer, responder certFile
	trust                          trust
	url, method, nonce, hash       string
	maxAge, renew, warn, slow      time.Duration
	list                           *lookup // of responders; nil for none

	newest time.Time // this update of the newest answer seen, of the certificate with the serial below
	of     string
}

func newOCSP(o check.Options, env check.Env) (check.Func, error) {
	f, err := newFetcher(o, env, ocspBytes)
	if err != nil {
		return nil, err
	}
	c := &ocspCheck{
		fetcher: f, certificate: certFile{path: o.String("certificate")}, issuer: certFile{path: o.String("issuer")},
		trust: newTrust(o), responder: certFile{path: o.String("responder")},
		url: o.String("url"), method: o.String("method"), nonce: o.String("nonce"), hash: o.String("hash"),
		maxAge: o.Duration("max_age"), renew: o.Duration("renew_before"), warn: days(o), slow: o.Duration("slow"),
	}
	for name, path := range map[string]string{"certificate": c.certificate.path, "issuer": c.issuer.path} {
		if path == "" {
			return nil, fmt.Errorf("option %q: no file: write the path of a PEM file", name)
		}
	}
	if c.url != "" {
		if _, err := parseURL(c.url); err != nil {
			return nil, fmt.Errorf("option \"url\": %w", err)
		}
	}
	if c.list, err = newLookup(o.String("responder_crl"), f); err != nil {
		return nil, fmt.Errorf("option \"responder_crl\": %w", err)
	}
	return c.run, nil
}

func days(o check.Options) time.Duration { return time.Duration(o.Int("warn_days")) * 24 * time.Hour }

// run asks once.
func (c *ocspCheck) run(ctx context.Context) check.Result {
	return timed(ctx, c.slow, c.ask)
}

// ask reads the files, fetches the answer (whose numbers go into facts) and judges it (into seen).
func (c *ocspCheck) ask(ctx context.Context, sp *spans, facts, seen *check.Facts) (string, *fault) {
	cert, err := c.certificate.one()
	if err != nil {
		return "", because(check.Misconfigured, "certificate: %v", err)
	}
	issuer, err := c.issuer.one()
	if err != nil {
		return "", because(check.Misconfigured, "issuer: %v", err)
	}
	addUnix(seen, "cert_not_after_unix", cert.NotAfter)
	addUnix(seen, "issuer_not_after_unix", issuer.NotAfter)
	roots, err := c.trust.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	chain, bad := c.pair(cert, issuer, roots)
	if bad != nil {
		return "", bad
	}
	roots.seen(chain, seen)
	q, nonce, bad := c.question(cert, issuer)
	if bad != nil {
		return "", bad
	}
	a, bad := c.fetcher.ask(ctx, q, sp, facts)
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	s, to, bad := c.read(a, cert, issuer, nonce, seen)
	sp.add(phaseVerify, time.Since(begin))
	if bad == nil {
		bad = c.judge(s, cert)
	}
	if bad == nil && to != nil && c.list != nil {
		bad = c.list.ask(ctx, to, issuer, "the responder's certificate", sp)
	}
	if bad == nil {
		bad = roots.ending(chain, c.fetcher.at)
	}
	if bad != nil {
		return "", bad
	}
	return "not revoked, as of " + stamp(s.thisUpdate) + roots.under(chain, c.fetcher.at), nil
}

// read reads and verifies an answer. It returns the responder's certificate when that should be looked up itself.
func (c *ocspCheck) read(a *answer, cert, issuer *x509.Certificate, nonce []byte, seen *check.Facts) (*single, *x509.Certificate, *fault) {
	answer, err := parseOCSP(a.body)
	if err != nil {
		return nil, nil, a.unreadable("an OCSP answer", err)
	}
	seen.Add("ocsp_status_code", float64(answer.status))
	if answer.status != 0 {
		return nil, nil, because(check.RevocationInvalid, "the responder answers with %s", ocspStatus(answer.status))
	}
	return c.verify(answer, cert, issuer, nonce, seen)
}

// pair checks that the two certificates of the plan belong together and hold, and returns the issuer's chain to the roots.
func (c *ocspCheck) pair(cert, issuer *x509.Certificate, roots *anchors) ([]*x509.Certificate, *fault) {
	if err := mayIssue(issuer); err != nil {
		return nil, because(check.Misconfigured, "issuer: %v", err)
	}
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) || issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return nil, because(check.Misconfigured, "certificate %s was not issued by %s", called(cert), called(issuer))
	}
	if bad := inDates(cert, c.fetcher.at, check.Misconfigured); bad != nil {
		bad.detail += ": give the check a certificate in force"
		return nil, bad
	}
	return issuerChain(issuer, roots, c.fetcher.at)
}

// issuerChain leads an authority of the plan to the roots; without roots it is trusted as it is, in its dates.
func issuerChain(issuer *x509.Certificate, roots *anchors, at clock) ([]*x509.Certificate, *fault) {
	if roots == nil {
		return nil, inDates(issuer, at, check.RevocationInvalid)
	}
	return verifyChain(issuer, nil, roots, x509.ExtKeyUsageAny, at, check.RevocationInvalid)
}

// question makes the request; nonce is nil when none is sent.
func (c *ocspCheck) question(cert, issuer *x509.Certificate) (q question, nonce []byte, bad *fault) {
	to := c.url
	if to == "" {
		if len(cert.OCSPServer) == 0 {
			return q, nil, because(check.Misconfigured, "certificate %s names no OCSP responder: write its url", called(cert))
		}
		to = cert.OCSPServer[0]
	}
	u, err := parseURL(to)
	if err != nil {
		return q, nil, because(check.Misconfigured, "certificate %s: OCSP responder: %v", called(cert), err)
	}
	if c.nonce == "require" || c.nonce == "ask" && c.method == http.MethodPost {
		nonce = make([]byte, 32) // RFC 9654, section 2.1
		_, _ = rand.Read(nonce)  // never fails
	}
	h, oid := hashByName(c.hash)
	body, err := ocspRequest(cert.SerialNumber, issuer, h, oid, nonce)
	if err != nil {
		return q, nil, because(check.Misconfigured, "issuer: %v", err)
	}
	q = question{method: c.method, url: u, accept: "application/ocsp-response"}
	if c.method == http.MethodGet {
		// RFC 6960, appendix A.1.1.
		text := strings.TrimSuffix(u.EscapedPath(), "/") + "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(body))
		path, err := url.PathUnescape(text)
		if err != nil {
			return q, nil, because(check.Misconfigured, "url: %v", err)
		}
		with := *u
		with.Path, with.RawPath = path, text
		q.url = &with
		return q, nonce, nil
	}
	q.kind, q.body = "application/ocsp-request", body
	return q, nonce, nil
}

func ocspStatus(code int) string {
	switch code {
	case 1:
		return "malformedRequest (1)"
	case 2:
		return "internalError (2)"
	case 3:
		return "tryLater (3)"
	case 5:
		return "sigRequired (5)"
	case 6:
		return "unauthorized (6)"
	}
	return fmt.Sprintf("status %d, which RFC 6960 does not know", code)
}

// verify checks who signed the answer, for which certificate and for which request (RFC 6960, section 3.2). It returns
// the responder's certificate when that should be looked up itself.
func (c *ocspCheck) verify(a *ocspAnswer, cert, issuer *x509.Certificate, nonce []byte, seen *check.Facts) (*single, *x509.Certificate, *fault) {
	addUnix(seen, "produced_unix", a.produced)
	signer, kind, bad := c.signer(a, issuer)
	if bad != nil {
		return nil, nil, bad
	}
	addUnix(seen, "responder_not_after_unix", signer.NotAfter)
	seen.Add("responder_code", float64(kind))
	s, err := a.find(cert.SerialNumber, issuer)
	if err != nil {
		return nil, nil, because(check.RevocationInvalid, "%v", err)
	}
	seen.Add("cert_status_code", float64(s.status))
	addUnix(seen, "this_update_unix", s.thisUpdate)
	addUnix(seen, "next_update_unix", s.nextUpdate)
	addUnix(seen, "revoked_unix", s.revoked)
	switch {
	case a.critical != nil:
		return nil, nil, because(check.RevocationInvalid, "a critical extension %v that is not known here", a.critical)
	case s.critical != nil:
		return nil, nil, because(check.RevocationInvalid, "a critical extension %v that is not known here", s.critical)
	case a.nonce != nil && nonce != nil && !bytes.Equal(a.nonce, nonce):
		return nil, nil, because(check.RevocationInvalid, "the nonce in the answer is not ours: an answer to another request")
	case a.nonce == nil && c.nonce == "require":
		return nil, nil, because(check.RevocationInvalid, "the answer holds no nonce, and the plan requires it")
	}
	if nonce != nil {
		seen.Add("nonce_code", map[bool]float64{true: 1}[a.nonce != nil])
	}
	if kind != signerToCheck {
		signer = nil
	}
	return s, signer, nil
}

// signer finds who signed the answer, and checks the signature and the right to give it (RFC 6960, section 4.2.2.2):
// the issuer itself, one whom it appointed with the extended key usage OCSPSigning, or one that the plan trusts.
func (c *ocspCheck) signer(a *ocspAnswer, issuer *x509.Certificate) (signer *x509.Certificate, kind int, bad *fault) {
	trusted, err := c.responder.load()
	if err != nil {
		return nil, 0, because(check.Misconfigured, "responder: %v", err)
	}
	algo, err := signatureAlgorithm(a.signatures, 0)
	if err != nil {
		return nil, 0, because(check.RevocationInvalid, "%v", err)
	}
	bad = because(check.RevocationInvalid, "the answer was signed by nobody that we know: neither the issuer nor a certificate in the answer")
	for _, cert := range slices.Concat([]*x509.Certificate{issuer}, trusted, a.certs) {
		if !a.names(cert) {
			continue
		}
		if err := cert.CheckSignature(algo, a.signed, a.signature); err != nil {
			bad = because(check.RevocationInvalid, "the signature of the answer by %s: %v", called(cert), err)
			continue
		}
		switch {
		case cert.Equal(issuer):
			return cert, signerIssuer, inDates(cert, c.fetcher.at, check.RevocationInvalid)
		case slices.ContainsFunc(trusted, cert.Equal):
			return cert, signerTrusted, inDates(cert, c.fetcher.at, check.RevocationInvalid)
		case slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNoCheck()) }):
			return cert, signerNoCheck, c.appointed(cert, issuer)
		}
		return cert, signerToCheck, c.appointed(cert, issuer)
	}
	return nil, 0, bad
}

// names tells whether the answer names a certificate as its responder's.
func (a *ocspAnswer) names(c *x509.Certificate) bool {
	if a.responder != nil {
		return bytes.Equal(a.responder, c.RawSubject)
	}
	key, err := keyBits(c)
	h, _ := hashByName("sha1")
	return err == nil && bytes.Equal(a.keyHash, digest(h, key))
}

// appointed says why a responder's certificate gives it no right to answer for the issuer.
func (c *ocspCheck) appointed(cert, issuer *x509.Certificate) *fault {
	bad := func(format string, args ...any) *fault {
		return because(check.RevocationInvalid, "responder %s %s", called(cert), fmt.Sprintf(format, args...))
	}
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return bad("was not appointed by the issuer but by %q", cert.Issuer.CommonName)
	}
	err := cert.CheckSignatureFrom(issuer)
	if _, weak := errors.AsType[x509.InsecureAlgorithmError](err); weak && c.trust.sha1 {
		err = issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	}
	switch {
	case err != nil:
		return bad("was not appointed by the issuer: %v", err)
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return bad("may not answer for the issuer: no extended key usage OCSPSigning")
	case cert.KeyUsage != 0 && cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return bad("is not for signatures (key usage)")
	case len(cert.UnhandledCriticalExtensions) > 0:
		return bad("has a critical extension that is not known here")
	}
	return inDates(cert, c.fetcher.at, check.RevocationInvalid)
}

// judge says what a verified answer means now.
func (c *ocspCheck) judge(s *single, cert *x509.Certificate) *fault {
	switch s.status {
	case certRevoked:
		c.older(s, cert)
		return because(check.Revoked, "certificate %s was revoked %s", called(cert), stamp(s.revoked))
	case certUnknown:
		return because(check.RevocationInvalid, "the responder does not know the certificate with serial %x", cert.SerialNumber)
	}
	if bad := window(c.fetcher.at, s.thisUpdate, s.nextUpdate, c.maxAge, c.renew); bad != nil {
		return bad
	}
	if bad := c.older(s, cert); bad != nil {
		return bad
	}
	return expiring([]*x509.Certificate{cert}, c.warn, c.fetcher.at)
}

// older says when an answer is of an earlier time than one seen before: it may be one that somebody kept, though it has
// not run out. Responders that share the work differ by less than an hour.
func (c *ocspCheck) older(s *single, cert *x509.Certificate) *fault {
	if of := serialKey(cert.SerialNumber); of != c.of {
		c.of, c.newest = of, time.Time{}
	}
	if s.thisUpdate.Before(c.newest.Add(-shared)) {
		return because(check.RevocationStale, "an answer as of %s, after one as of %s was seen", stamp(s.thisUpdate), stamp(c.newest))
	}
	if s.thisUpdate.After(c.newest) && !s.thisUpdate.After(c.fetcher.at.now().Add(tolerance)) {
		c.newest = s.thisUpdate
	}
	return nil
}

// window says whether an answer or a list holds now. A zero next update is none: newer information is to be had at any
// time then, so that an old answer is one that was kept. A zero maxAge or renew asks nothing.
func window(at clock, this, next time.Time, maxAge, renew time.Duration) *fault {
	now := at.now()
	var bad *fault
	switch {
	case !next.IsZero() && next.Before(this):
		return because(check.RevocationInvalid, "the next update, %s, lies before this one, %s", stamp(next), stamp(this))
	case this.After(now.Add(tolerance)):
		bad = because(check.RevocationInvalid, "it holds only from %s", stamp(this))
	case !next.IsZero() && now.After(next):
		bad = because(check.RevocationStale, "the next update was due %s", stamp(next))
	case next.IsZero() && maxAge == 0 && now.Sub(this) > unboundedAge:
		bad = because(check.RevocationStale, "of %s, without a next update, more than %s old", stamp(this), unboundedAge)
	case maxAge > 0 && now.Sub(this) > maxAge:
		bad = because(check.RevocationStale, "of %s, more than %s old", stamp(this), maxAge)
	case renew > 0 && !next.IsZero() && next.Sub(now) < renew:
		bad = because(check.RevocationStale, "the next update is due %s, in less than %s, and is not out yet", stamp(next), renew)
	}
	return at.judged(bad)
}
