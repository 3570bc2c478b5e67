package signature

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"egovmon/agent/check"
)

const (
	tsaBytes  = 256 << 10 // an answer has about 6 kB
	maxOffset = 1e12      // seconds between any two instants that a time stamp and a clock can name
)

func tsaKind() check.Kind {
	return check.Kind{
		Name:    "tsa",
		Family:  "signature",
		Summary: "Gets a time stamp over random data, verifies it wholly and compares its time with this machine's clock (RFC 3161).",
		Options: append([]check.Option{
			{Name: "url", Type: check.TypeURL, Required: true, Help: "The time-stamping authority, e.g. http://tsa.ca.gov.vn."},
			{Name: "roots", Type: check.TypeString, Required: true, Help: "A PEM file of the roots that the authority's certificate must lead to; its own certificate may stand there too."},
			{Name: "crl", Type: check.TypeURL, Help: "The revocation list in which the authority's own certificate is looked up, as that certificate names it; asked again when the list is due, at most every 5 minutes."},
			{Name: "policy", Type: check.TypeString, Help: "The policy to ask for and to find in the time stamp, as numbers with dots."},
			{Name: "hash", Type: check.TypeString, Default: "sha256", Enum: []string{"sha256", "sha384", "sha512"}, Help: "The hash of the data that is stamped."},
			{Name: "max_skew", Type: check.TypeDuration, Default: "60s", Min: 1, Max: 86400, Help: "A time that differs more than this from the clock is tsa_skew, and so is one that is exact to more than this only; the time under way and the authority's accuracy are allowed for."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "A certificate of the chain that ends within this many days is cert_expiring."},
		}, append(trustOptions(), fetchOptions()...)...),
		Facts: append([]check.FactDef{
			{Name: "pki_status_code", Help: "0 granted, 1 granted with modifications, 2 rejected, 3 waiting", Max: maxCode},
			{Name: "clock_offset_s", Help: "the time stamp's time less this machine's: positive when the authority is ahead", Min: -maxOffset, Max: maxOffset},
			{Name: "accuracy_s", Help: "how exact the authority says that its time is", Max: 1 << 32},
			{Name: "stamp_serial", Help: "serial number of the time stamp, when it is not too large", Max: maxCode},
			unixFact("gen_time_unix", "the time in the time stamp"),
			unixFact("cert_not_after_unix", "when the authority's certificate ends"),
			unixFact("chain_not_after_unix", "when the first certificate of its chain ends"),
		}, append(trustFacts(), fetchFacts()...)...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string { return append(hosts(o.String("url")), hosts(o.String("crl"))...) },
		New:    newTSA,
	}
}

// A tsaCheck is one check of the kind tsa. It remembers the last time stamp.
type tsaCheck struct {
	fetcher          fetcher
	url              *url.URL
	trust            trust
	list             *lookup               // of the authority's certificate; nil for none
	policy           asn1.ObjectIdentifier // nil for any
	hash             crypto.Hash
	hashOID          asn1.ObjectIdentifier
	skew, warn, slow time.Duration

	last *big.Int // serial number of the last time stamp, nil before the first
	by   []byte   // SHA-256 of the certificate that signed it
}

// A stampQuestion is what one run asked for.
type stampQuestion struct {
	imprint    []byte
	nonce      *big.Int
	sent, came time.Time // by the clock that is judged
}

func newTSA(o check.Options, env check.Env) (check.Func, error) {
	c, err := newTSACheck(o, env)
	if err != nil {
		return nil, err
	}
	return c.run, nil
}

func newTSACheck(o check.Options, env check.Env) (*tsaCheck, error) {
	f, err := newFetcher(o, env, tsaBytes)
	if err != nil {
		return nil, err
	}
	c := &tsaCheck{fetcher: f, trust: newTrust(o), skew: o.Duration("max_skew"), warn: days(o), slow: o.Duration("slow")}
	c.hash, c.hashOID = hashByName(o.String("hash"))
	if c.url, err = parseURL(o.String("url")); err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	if c.trust.roots.path == "" {
		return nil, fmt.Errorf("option \"roots\": no file: write the path of a PEM file")
	}
	if c.list, err = newLookup(o.String("crl"), f); err != nil {
		return nil, fmt.Errorf("option \"crl\": %w", err)
	}
	if o.Has("policy") {
		if c.policy, err = parseOID(o.String("policy")); err != nil {
			return nil, fmt.Errorf("option \"policy\": %w", err)
		}
	}
	return c, nil
}

// parseOID reads numbers with dots (RFC 3061).
func parseOID(s string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is no object identifier: write e.g. 1.3.6.1.4.1.4146.2.3", s)
		}
		oid = append(oid, int(n))
	}
	if len(oid) < 2 || len(oid) > 32 || oid[0] > 2 || oid[0] < 2 && oid[1] >= 40 {
		return nil, fmt.Errorf("%q is no object identifier: write e.g. 1.3.6.1.4.1.4146.2.3", s)
	}
	return oid, nil
}

// run gets and judges one time stamp.
func (c *tsaCheck) run(ctx context.Context) check.Result {
	return timed(ctx, c.slow, c.ask)
}

func (c *tsaCheck) ask(ctx context.Context, sp *spans, facts, seen *check.Facts) (string, *fault) {
	roots, err := c.trust.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	q, body, err := c.question()
	if err != nil {
		return "", because(check.Misconfigured, "the request: %v", err)
	}
	q.sent = c.fetcher.at.now()
	a, bad := c.post(ctx, body, sp, facts)
	q.came = c.fetcher.at.now()
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	info, chain, bad := c.read(a, q, roots, seen)
	sp.add(phaseVerify, time.Since(begin))
	if bad != nil {
		return "", bad
	}
	if c.list != nil && len(chain) > 1 {
		if bad := c.list.ask(ctx, chain[0], chain[1], "the authority's certificate", sp); bad != nil {
			return "", bad
		}
	}
	for _, bad := range []*fault{c.skewed(info, q), expiring(chain, c.warn, c.fetcher.at), roots.ending(chain, c.fetcher.at)} {
		if bad != nil {
			return "", bad
		}
	}
	return fmt.Sprintf("stamped %s by %s%s", stamp(info.genTime), called(chain[0]), roots.under(chain, c.fetcher.at)), nil
}

// post sends a request.
func (c *tsaCheck) post(ctx context.Context, body []byte, sp *spans, facts *check.Facts) (*answer, *fault) {
	return c.fetcher.ask(ctx, question{
		method: http.MethodPost, url: c.url, kind: "application/timestamp-query", accept: "application/timestamp-reply", body: body,
	}, sp, facts)
}

// read reads and verifies an answer.
func (c *tsaCheck) read(a *answer, q stampQuestion, roots *anchors, seen *check.Facts) (*stampInfo, []*x509.Certificate, *fault) {
	answer, err := parseStampAnswer(a.body)
	if err != nil {
		return nil, nil, a.unreadable("a time stamp", err)
	}
	seen.Add("pki_status_code", float64(answer.status))
	if answer.status > 1 {
		return nil, nil, because(check.TSAInvalid, "no time stamp: %s", answer.refusal())
	}
	info, chain, bad := c.verify(answer.token, q, roots, seen)
	if bad == nil {
		bad = c.repeated(info, chain[0])
	}
	return info, chain, bad
}

// repeated says when two time stamps have one serial number, by which an authority tells its time stamps apart (RFC
// 3161, section 2.4.2).
func (c *tsaCheck) repeated(info *stampInfo, signer *x509.Certificate) *fault {
	by := digest(crypto.SHA256, signer.Raw)
	twice := c.last != nil && info.serial.Cmp(c.last) == 0 && bytes.Equal(by, c.by)
	c.last, c.by = info.serial, by
	if twice {
		return because(check.TSAInvalid, "two time stamps have the serial number %x", info.serial)
	}
	return nil
}

// question makes a request over data that nobody else has: a random digest says that it was never stamped before.
func (c *tsaCheck) question() (stampQuestion, []byte, error) {
	imprint := make([]byte, c.hash.Size())
	_, _ = rand.Read(imprint) // never fails
	return c.questionOver(imprint)
}

// questionOver makes a request over data of this hash.
func (c *tsaCheck) questionOver(imprint []byte) (stampQuestion, []byte, error) {
	q := stampQuestion{imprint: imprint}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	nonce[0] &= 0x7f
	q.nonce = new(big.Int).SetBytes(nonce)
	body, err := stampRequest(c.hashOID, q.imprint, c.policy, q.nonce)
	return q, body, err
}

// verify checks a token against the request it answers (RFC 3161, section 2.4.2) and returns what it says and the
// chain of its signer.
func (c *tsaCheck) verify(token []byte, q stampQuestion, roots *anchors, seen *check.Facts) (*stampInfo, []*x509.Certificate, *fault) {
	invalid := func(err error) (*stampInfo, []*x509.Certificate, *fault) {
		return nil, nil, because(check.TSAInvalid, "%v", err)
	}
	if token == nil {
		return invalid(fmt.Errorf("granted, and no time stamp came"))
	}
	d, err := parseSigned(token)
	if err != nil {
		return invalid(fmt.Errorf("the time stamp: %w", err))
	}
	signer, err := d.certificate()
	if err != nil {
		return invalid(err)
	}
	addUnix(seen, "cert_not_after_unix", signer.NotAfter)
	if err := d.verify(signer, oidTSTInfo()); err != nil {
		return invalid(fmt.Errorf("the signature of the time stamp: %w", err))
	}
	if err := d.signer.bound(signer); err != nil {
		return invalid(err)
	}
	info, err := parseStampInfo(d.content)
	if err != nil {
		return invalid(err)
	}
	addNumber(seen, "stamp_serial", info.serial)
	addUnix(seen, "gen_time_unix", info.genTime)
	seen.Add("accuracy_s", info.accuracy.Seconds())
	seen.Add("clock_offset_s", q.offset(info).Seconds())
	if err := c.answers(info, q); err != nil {
		return invalid(err)
	}
	if err := mayStamp(signer, info.genTime); err != nil {
		return invalid(err)
	}
	chain, bad := verifyChain(signer, d.certs, roots, x509.ExtKeyUsageTimeStamping, c.fetcher.at, check.TSAInvalid)
	if bad != nil {
		return nil, nil, bad
	}
	addUnix(seen, "chain_not_after_unix", ends(chain))
	roots.seen(chain, seen)
	return info, chain, nil
}

// answers says what in a time stamp is not what was asked for.
func (c *tsaCheck) answers(info *stampInfo, q stampQuestion) error {
	switch {
	case !info.hash.Equal(c.hashOID) || !bytes.Equal(info.imprint, q.imprint):
		return fmt.Errorf("the time stamp is over other data (message imprint)")
	case info.nonce == nil:
		return fmt.Errorf("the time stamp holds no nonce")
	case info.nonce.Cmp(q.nonce) != 0:
		return fmt.Errorf("the nonce in the time stamp is not ours: an answer to another request")
	case c.policy != nil && !info.policy.Equal(c.policy):
		return fmt.Errorf("the time stamp is of policy %v, want %v", info.policy, c.policy)
	case info.critical != nil:
		return fmt.Errorf("a critical extension %v that is not known here", info.critical)
	}
	return nil
}

// mayStamp says why a certificate gives no right to sign a time stamp of this time (RFC 3161, section 2.3).
func mayStamp(c *x509.Certificate, at time.Time) error {
	if err := soleUse(c, oidTimeStamping()); err != nil {
		return err
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return fmt.Errorf("certificate %s is not for signatures (key usage)", called(c))
	}
	if at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return fmt.Errorf("stamped %s, outside the validity of certificate %s: %s to %s", stamp(at), called(c), stamp(c.NotBefore), stamp(c.NotAfter))
	}
	return nil
}

// offset returns how far the time stamp's time is ahead of the middle of the exchange.
func (q stampQuestion) offset(info *stampInfo) time.Duration {
	return info.genTime.Sub(q.sent.Add(q.came.Sub(q.sent) / 2))
}

// skewed says when the time stamp's time and the clock differ by more than can be explained.
func (c *tsaCheck) skewed(info *stampInfo, q stampQuestion) *fault {
	if info.accuracy > c.skew {
		return because(check.TSASkew, "stamped %s, exact to %s only by the authority's own word, limit %s", stamp(info.genTime), info.accuracy, c.skew)
	}
	by := q.offset(info)
	allowed := c.skew + q.came.Sub(q.sent)/2 + info.accuracy
	if info.genTime.Nanosecond() == 0 && by < 0 {
		allowed += time.Second // the authority may have cut the fraction off
	}
	if by.Abs() <= allowed {
		return nil
	}
	word := "ahead of"
	if by < 0 {
		word = "behind"
	}
	return c.fetcher.at.judged(because(check.TSASkew, "stamped %s, %s %s this machine's clock, limit %s%s",
		stamp(info.genTime), by.Abs().Round(time.Millisecond), word, c.skew, localTime(by)))
}

// localTime says when two clocks differ by what Vietnamese time differs from UTC: then one of them most likely writes
// local time where UTC belongs.
func localTime(by time.Duration) string {
	if (by.Abs() - 7*time.Hour).Abs() > 5*time.Minute {
		return ""
	}
	return ": 7 h are the difference between local time and UTC"
}
