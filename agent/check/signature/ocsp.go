package signature

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
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
			{Name: "method", Type: check.TypeString, Default: "POST", Enum: []string{"POST", "GET"}, Help: "How to send the request; GET can be answered by caches on the way."},
			{Name: "nonce", Type: check.TypeString, Default: "ask", Enum: []string{"ask", "require", "none"},
				Help: "Whether to send a nonce: ask accepts an answer without it (and sends none with GET), require does not."},
			{Name: "hash", Type: check.TypeString, Default: "sha1", Enum: []string{"sha1", "sha256"}, Help: "The hash that names the issuer in the request; it protects nothing, and sha1 is what every responder knows (RFC 5019)."},
			{Name: "max_age", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "An answer that was right longer ago than this is revocation_stale."},
			{Name: "renew_before", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "An answer whose next update is nearer than this is revocation_stale already; without it only one past its next update is."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "The certificate asked about that ends within this many days is cert_expiring."},
		}, fetchOptions()...),
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
		}, fetchFacts()...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string {
			if o.Has("url") {
				return hosts(o.String("url"))
			}
			f := certFile{path: o.String("certificate")}
			if c, err := f.one(); err == nil && len(c.OCSPServer) > 0 {
				return hosts(c.OCSPServer[0])
			}
			return nil
		},
		New: newOCSP,
	}
}

// An ocspCheck is one check of the kind ocsp.
type ocspCheck struct {
	fetcher                               fetcher
	certificate, issuer, roots, responder certFile
	url, method, nonce, hash              string
	maxAge, renew, warn, slow             time.Duration
}

func newOCSP(o check.Options, env check.Env) (check.Func, error) {
	f, err := newFetcher(o, env, ocspBytes)
	if err != nil {
		return nil, err
	}
	c := &ocspCheck{
		fetcher: f, certificate: certFile{path: o.String("certificate")}, issuer: certFile{path: o.String("issuer")},
		roots: certFile{path: o.String("roots")}, responder: certFile{path: o.String("responder")},
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
	return c.run, nil
}

func days(o check.Options) time.Duration { return time.Duration(o.Int("warn_days")) * 24 * time.Hour }

// run asks once.
func (c *ocspCheck) run(ctx context.Context) check.Result {
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
	if bad := c.pair(cert, issuer); bad != nil {
		return "", bad
	}
	q, nonce, bad := c.question(cert, issuer)
	if bad != nil {
		return "", bad
	}
	a, bad := c.fetcher.ask(ctx, q, sp, facts)
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	defer func() { sp.add(phaseVerify, time.Since(begin)) }()
	answer, err := parseOCSP(a.body)
	if err != nil {
		return "", a.unreadable("an OCSP answer", err)
	}
	seen.Add("ocsp_status_code", float64(answer.status))
	if answer.status != 0 {
		return "", because(check.RevocationInvalid, "the responder answers with %s", ocspStatus(answer.status))
	}
	s, bad := c.verify(answer, cert, issuer, nonce, seen)
	if bad != nil {
		return "", bad
	}
	return "not revoked, as of " + stamp(s.thisUpdate), c.judge(s, cert)
}

// pair checks that the two certificates of the plan belong together and hold.
func (c *ocspCheck) pair(cert, issuer *x509.Certificate) *fault {
	if err := mayIssue(issuer); err != nil {
		return because(check.Misconfigured, "issuer: %v", err)
	}
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) || issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return because(check.Misconfigured, "certificate %q was not issued by %q", cert.Subject.CommonName, issuer.Subject.CommonName)
	}
	if bad := inDates(cert, c.fetcher.at, check.Misconfigured); bad != nil {
		bad.detail += ": give the check a certificate in force"
		return bad
	}
	roots, err := c.roots.pool()
	if err != nil {
		return because(check.Misconfigured, "roots: %v", err)
	}
	if roots == nil {
		return inDates(issuer, c.fetcher.at, check.RevocationInvalid)
	}
	_, bad := verifyChain(issuer, nil, roots, x509.ExtKeyUsageAny, c.fetcher.at, check.RevocationInvalid)
	return bad
}

// question makes the request; nonce is nil when none is sent.
func (c *ocspCheck) question(cert, issuer *x509.Certificate) (q question, nonce []byte, bad *fault) {
	to := c.url
	if to == "" {
		if len(cert.OCSPServer) == 0 {
			return q, nil, because(check.Misconfigured, "certificate %q names no OCSP responder: write its url", cert.Subject.CommonName)
		}
		to = cert.OCSPServer[0]
	}
	u, err := parseURL(to)
	if err != nil {
		return q, nil, because(check.Misconfigured, "certificate %q: OCSP responder: %v", cert.Subject.CommonName, err)
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

// verify checks who signed the answer, for which certificate and for which request (RFC 6960, section 3.2).
func (c *ocspCheck) verify(a *ocspAnswer, cert, issuer *x509.Certificate, nonce []byte, seen *check.Facts) (*single, *fault) {
	addUnix(seen, "produced_unix", a.produced)
	signer, bad := c.signer(a, issuer)
	if bad != nil {
		return nil, bad
	}
	addUnix(seen, "responder_not_after_unix", signer.NotAfter)
	s, err := a.find(cert.SerialNumber, issuer)
	if err != nil {
		return nil, because(check.RevocationInvalid, "%v", err)
	}
	seen.Add("cert_status_code", float64(s.status))
	addUnix(seen, "this_update_unix", s.thisUpdate)
	addUnix(seen, "next_update_unix", s.nextUpdate)
	addUnix(seen, "revoked_unix", s.revoked)
	switch {
	case a.critical != nil:
		return nil, because(check.RevocationInvalid, "a critical extension %v that is not known here", a.critical)
	case s.critical != nil:
		return nil, because(check.RevocationInvalid, "a critical extension %v that is not known here", s.critical)
	case a.nonce != nil && nonce != nil && !bytes.Equal(a.nonce, nonce):
		return nil, because(check.RevocationInvalid, "the nonce in the answer is not ours: an answer to another request")
	case a.nonce == nil && c.nonce == "require":
		return nil, because(check.RevocationInvalid, "the answer holds no nonce, and the plan requires it")
	}
	if nonce != nil {
		seen.Add("nonce_code", map[bool]float64{true: 1}[a.nonce != nil])
	}
	return s, nil
}

// signer finds who signed the answer, and checks the signature and the right to give it (RFC 6960, section 4.2.2.2):
// the issuer itself, one whom it appointed with the extended key usage OCSPSigning, or one that the plan trusts.
func (c *ocspCheck) signer(a *ocspAnswer, issuer *x509.Certificate) (*x509.Certificate, *fault) {
	trusted, err := c.responder.load()
	if err != nil {
		return nil, because(check.Misconfigured, "responder: %v", err)
	}
	algo, err := signatureAlgorithm(a.signatures, 0)
	if err != nil {
		return nil, because(check.RevocationInvalid, "%v", err)
	}
	bad := because(check.RevocationInvalid, "the answer was signed by nobody that we know: neither the issuer nor a certificate in the answer")
	for _, cert := range slices.Concat([]*x509.Certificate{issuer}, trusted, a.certs) {
		if !a.names(cert) {
			continue
		}
		if err := cert.CheckSignature(algo, a.signed, a.signature); err != nil {
			bad = because(check.RevocationInvalid, "the signature of the answer by %q: %v", cert.Subject.CommonName, err)
			continue
		}
		if cert.Equal(issuer) || slices.ContainsFunc(trusted, cert.Equal) {
			return cert, inDates(cert, c.fetcher.at, check.RevocationInvalid)
		}
		return cert, c.appointed(cert, issuer)
	}
	return nil, bad
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
	if !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return because(check.RevocationInvalid, "responder %q was not appointed by the issuer but by %q", cert.Subject.CommonName, cert.Issuer.CommonName)
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return because(check.RevocationInvalid, "responder %q was not appointed by the issuer: %v", cert.Subject.CommonName, err)
	}
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return because(check.RevocationInvalid, "responder %q may not answer for the issuer: no extended key usage OCSPSigning", cert.Subject.CommonName)
	}
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return because(check.RevocationInvalid, "responder %q has a critical extension that is not known here", cert.Subject.CommonName)
	}
	return inDates(cert, c.fetcher.at, check.RevocationInvalid)
}

// judge says what a verified answer means now.
func (c *ocspCheck) judge(s *single, cert *x509.Certificate) *fault {
	switch s.status {
	case certRevoked:
		return because(check.Revoked, "certificate %q was revoked %s", cert.Subject.CommonName, stamp(s.revoked))
	case certUnknown:
		return because(check.RevocationInvalid, "the responder does not know the certificate with serial %x", cert.SerialNumber)
	}
	if bad := window(c.fetcher.at, s.thisUpdate, s.nextUpdate, c.maxAge, c.renew); bad != nil {
		return bad
	}
	return expiring([]*x509.Certificate{cert}, c.warn, c.fetcher.at)
}

// window says whether an answer or a list holds now. A zero next update is none; a zero maxAge or renew asks nothing.
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
	case maxAge > 0 && now.Sub(this) > maxAge:
		bad = because(check.RevocationStale, "of %s, more than %s old", stamp(this), maxAge)
	case renew > 0 && !next.IsZero() && next.Sub(now) < renew:
		bad = because(check.RevocationStale, "the next update is due %s, in less than %s, and is not out yet", stamp(next), renew)
	}
	return at.judged(bad)
}
