package signature

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
)

// An act is one signature, from the document to what a stranger would find in the outcome.
type act struct {
	c     *signCheck
	form  string
	facts check.Facts
	took  map[string]time.Duration

	q        *talk.Signing
	child    *talk.Child
	chain    []*x509.Certificate // of the signer, to a root
	stamp    stampQuestion
	info     *stampInfo
	tsaChain []*x509.Certificate
	revoked  revocation
	quirk    string // what is odd about the signature that the document had before; "" for nothing
	tried    bool   // whether the token was given the PIN, or may have been, and did not take it
}

// time adds to a phase what a step took.
func (a *act) time(phase string, begin time.Time) { a.took[phase] += time.Since(begin) }

// run signs. Degraded is what does not keep the signature from being made: it is told at the end.
func (a *act) run(ctx context.Context) (string, *fault) {
	pin, bad := a.c.read("pin")
	if bad != nil {
		return "", bad
	}
	if a.c.o.Has("module") {
		if bad := a.c.stopped(pin); bad != nil {
			return "", bad
		}
	}
	if a.q, bad = a.c.request(a.form); bad != nil {
		return "", bad
	}
	begin := time.Now()
	path, err := a.c.find()
	if err != nil {
		return "", because(check.NotSupported, "%v", err)
	}
	if a.child, err = talk.Start(ctx, path); err != nil {
		return "", because(check.NotSupported, "%s cannot be started: %v", talk.Name(), err)
	}
	defer a.child.Close()
	opened, bad := a.say(ctx, talk.Request{Version: talk.Version, Command: talk.Sign, Sign: a.q})
	if bad != nil {
		return "", bad
	}
	a.time("open", begin)
	if opened.Opened == nil {
		return "", because(check.Internal, "%s answered something else", talk.Name())
	}
	signature, bad := a.sign(ctx, opened.Opened, pin)
	if bad != nil {
		return "", bad
	}
	return a.last(ctx, signature)
}

// last makes the signature last, and verifies it.
func (a *act) last(ctx context.Context, signature []byte) (string, *fault) {
	begin := time.Now()
	token, bad := a.stampOver(ctx, signature)
	a.time("stamp", begin)
	if bad != nil {
		return "", bad
	}
	if bad := a.evidence(ctx); bad != nil {
		return "", bad
	}
	begin = time.Now()
	answer, bad := a.say(ctx, talk.Next{Complete: &talk.Complete{Stamp: token, Certs: a.certs(), OCSPs: a.revoked.ocsps, CRLs: a.revoked.crls}})
	a.time("embed", begin)
	if bad != nil {
		return "", bad
	}
	if answer.Done == nil {
		return "", because(check.Internal, "%s answered something else", talk.Name())
	}
	begin = time.Now()
	bad = a.verify(answer.Done)
	a.time("verify", begin)
	if bad != nil {
		return "", bad
	}
	return a.judge()
}

// judge says what is not as it should be with a signature that holds.
func (a *act) judge() (string, *fault) {
	roots, err := a.c.trust.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	late := expiring(a.tsaChain, a.c.warn, a.c.at)
	if late != nil {
		late = because(check.SignatureExpiring, "the time stamp's chain ends soon: %s", late.detail)
	}
	for _, bad := range []*fault{a.c.tsa.skewed(a.info, a.stamp), a.revoked.stale, expiring(a.chain, a.c.warn, a.c.at), late, roots.ending(a.chain, a.c.at)} {
		if bad != nil {
			return "", bad
		}
	}
	return fmt.Sprintf("signed (%s, %s) and stamped %s by %s, verified%s", a.form, a.c.o.String("level"), stamp(a.info.genTime), called(a.tsaChain[0]), roots.under(a.chain, a.c.at)) + a.quirk, nil
}

// prior compares the time that an earlier signature of the document claims with that of its own time stamp: some signing
// programs write local time where UTC belongs. Nothing of it is verified, and what cannot be read tells nothing.
func (a *act) prior(p *talk.Prior) {
	if p == nil || len(p.CMS) > talk.MaxPrior {
		return
	}
	d, err := parseDetached(p.CMS)
	if err != nil {
		return
	}
	claimed := p.SigningTime
	if v, ok := d.signer.attr(oidSigningTime()); ok && !readAnyTime(v, &claimed) {
		return
	}
	token, err := d.signer.stamped()
	if err != nil || claimed.IsZero() {
		return
	}
	t, err := parseSigned(token)
	if err != nil {
		return
	}
	info, err := parseStampInfo(t.content)
	if err != nil {
		return
	}
	by := claimed.Sub(info.genTime)
	a.facts.Add("document_time_offset_s", by.Seconds())
	if hint := localTime(by); hint != "" {
		a.quirk = fmt.Sprintf("; the document's earlier signature claims a time %s from its time stamp%s", by.Round(time.Second), hint)
	}
}

// say talks to the helper. Its errors are about what it was told to use; that it failed itself is nobody's fault but ours
// or the driver's.
func (a *act) say(ctx context.Context, message any) (*talk.Answer, *fault) {
	answer, err := a.child.Say(message)
	a.tried = err != nil
	if err == nil {
		for step, seconds := range answer.Seconds {
			if phase, ok := map[string]string{"hash": "hash", "login": "login", "sign": "sign"}[step]; ok && seconds >= 0 && seconds < 3600 {
				a.took[phase] += time.Duration(seconds * float64(time.Second))
			}
		}
		return answer, nil
	}
	if e, ok := errors.AsType[*talk.Error](err); ok {
		a.tried = e.Tried
		reason := check.Reason(e.Reason)
		if !reason.Valid() || reason.Missed() || reason.AccountOnly() || reason == check.OK {
			reason = check.Internal
		}
		return nil, because(reason, "%s", e.Detail)
	}
	if ctx.Err() != nil {
		return nil, because(check.Classify(check.StepExchange, ctx.Err()), "%s did not answer in time: %s", talk.Name(), a.at())
	}
	return nil, because(check.Internal, "%s: %v", talk.Name(), err)
}

// at says what the helper is at, for who must find out why it hangs.
func (a *act) at() string {
	if a.q.Key.Module != "" {
		return "the token's driver " + a.q.Key.Module + " may hang"
	}
	return "it was ended"
}

// sign checks the certificate, lets the helper log in and sign.
func (a *act) sign(ctx context.Context, o *talk.Opened, pin string) ([]byte, *fault) {
	a.facts.Add("document_bytes", float64(o.Document))
	a.prior(o.Prior)
	if bad := a.signer(o.Chain); bad != nil {
		return nil, bad
	}
	var token *claim
	if !o.Login {
		pin = ""
	} else {
		if pin == "" {
			return nil, because(check.NotConfigured, "pin: the token asks for one")
		}
		// Before the token is given the PIN: a try whose outcome never came to be known counts as one that was refused.
		c, bad := a.c.claim(ctx, o, pin)
		if bad != nil {
			return nil, bad
		}
		defer c.release()
		token = c
	}
	answer, bad := a.say(ctx, talk.Next{Proceed: &talk.Proceed{PIN: pin}})
	if token != nil && !a.tried {
		if bad := token.unmark(); bad != nil {
			return nil, bad
		}
	}
	switch {
	case bad != nil && a.tried && o.Login:
		return nil, because(bad.reason, "%s; the PIN is not tried again until it was changed here or `agent sign reset %s` was run", bad.detail, a.c.name)
	case bad != nil:
		return nil, bad
	case answer.Signed == nil:
		return nil, because(check.Internal, "%s answered something else", talk.Name())
	}
	return answer.Signed.Signature, nil
}

// signer leads the signer's certificate to a root, before anything is signed with its key.
func (a *act) signer(ders [][]byte) *fault {
	var all []*x509.Certificate
	for _, raw := range ders[:min(len(ders), 2*maxChain)] {
		c, err := x509.ParseCertificate(raw)
		if err == nil {
			err = usable(c)
		}
		if err != nil {
			return because(check.Misconfigured, "certificate: %v", err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return because(check.Misconfigured, "certificate: none came with the key")
	}
	own := all[0]
	addUnix(&a.facts, "cert_not_after_unix", own.NotAfter)
	if own.KeyUsage != 0 && own.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return because(check.Misconfigured, "certificate %s is not for signatures (key usage)", called(own))
	}
	roots, err := a.c.trust.load()
	if err != nil {
		return because(check.Misconfigured, "roots: %v", err)
	}
	var bad *fault
	if a.chain, bad = verifyChain(own, all[1:], roots, x509.ExtKeyUsageAny, a.c.at, check.SignatureInvalid); bad != nil {
		return bad
	}
	addUnix(&a.facts, "chain_not_after_unix", ends(a.chain))
	roots.seen(a.chain, &a.facts)
	return nil
}

// stampOver gets a time stamp over a signature, judged as the kind tsa does.
func (a *act) stampOver(ctx context.Context, signature []byte) ([]byte, *fault) {
	t := a.c.tsa
	q, body, err := t.questionOver(digest(t.hash, signature))
	if err != nil {
		return nil, because(check.Misconfigured, "the request for a time stamp: %v", err)
	}
	q.sent = a.c.at.now()
	got, bad := t.post(ctx, body, new(spans), new(check.Facts))
	q.came = a.c.at.now()
	if bad != nil {
		return nil, bad.of("the time stamp")
	}
	roots, err := t.trust.load()
	if err != nil {
		return nil, because(check.Misconfigured, "roots: %v", err)
	}
	var seen check.Facts
	a.stamp = q
	if a.info, a.tsaChain, bad = t.read(got, q, roots, &seen); bad != nil {
		return nil, bad
	}
	for _, f := range seen {
		if f.Name == "clock_offset_s" || f.Name == "gen_time_unix" {
			a.facts = append(a.facts, f)
		}
	}
	addUnix(&a.facts, "tsa_not_after_unix", ends(a.tsaChain))
	a.facts.Add("signing_time_offset_s", a.q.At.Sub(a.info.genTime).Seconds())
	answer, err := parseStampAnswer(got.body)
	if err != nil {
		return nil, because(check.Internal, "the time stamp: %v", err) // read has read it
	}
	return answer.token, nil
}

// certs are those of both chains, without the roots.
func (a *act) certs() [][]byte {
	var all [][]byte
	for _, chain := range [][]*x509.Certificate{a.chain, a.tsaChain} {
		for _, c := range chain[:max(1, len(chain)-1)] {
			if !slices.ContainsFunc(all, func(have []byte) bool { return bytes.Equal(have, c.Raw) }) {
				all = append(all, c.Raw)
			}
		}
	}
	return all
}

func oidData() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }

func oidSigningTime() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
}

func oidSignatureStamp() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
}

// verify checks the outcome as one who knows nothing but the roots: who signed what, that nothing else is signed for it,
// and the time stamp within it.
func (a *act) verify(o *talk.Done) *fault {
	a.facts.Add("signed_bytes", float64(o.Bytes))
	a.facts.Add("cms_bytes", float64(len(o.CMS)))
	invalid := func(format string, args ...any) *fault {
		return because(check.SignatureInvalid, "read back: "+format, args...)
	}
	d, err := parseDetached(o.CMS)
	if err != nil {
		return invalid("%v", err)
	}
	own, err := d.certificate()
	if err != nil {
		return invalid("%v", err)
	}
	if !own.Equal(a.chain[0]) {
		return invalid("signed by another certificate than the one that was asked for")
	}
	if err := d.verifyDigest(own, oidData(), a.c.tsa.hash, o.Digest); err != nil {
		return invalid("%v", err)
	}
	if err := d.signer.bound(own); err != nil {
		return invalid("%v", err)
	}
	if !o.Whole {
		return invalid("the signature does not cover the whole document")
	}
	if err := a.claimed(d, o.SigningTime); err != nil {
		return invalid("%v", err)
	}
	token, err := d.signer.stamped()
	if err != nil {
		return invalid("%v", err)
	}
	roots, err := a.c.tsa.trust.load()
	if err != nil {
		return because(check.Misconfigured, "roots: %v", err)
	}
	q := a.stamp
	q.imprint = digest(a.c.tsa.hash, d.signer.signature)
	if _, _, bad := a.c.tsa.verify(token, q, roots, new(check.Facts)); bad != nil {
		return bad.of("read back")
	}
	if o.OCSPs != len(a.revoked.ocsps) || o.CRLs != len(a.revoked.crls) {
		return invalid("%d answers and %d lists are embedded, want %d and %d", o.OCSPs, o.CRLs, len(a.revoked.ocsps), len(a.revoked.crls))
	}
	return nil
}

// claimed checks the time that the signature claims: in a PDF its dictionary says it, and nothing else (ETSI EN 319 142-1,
// section 6.3); elsewhere a signed attribute.
func (a *act) claimed(d *signedData, outside time.Time) error {
	v, ok := d.signer.attr(oidSigningTime())
	at := outside
	if a.form == talk.CAdES {
		if !ok || !readAnyTime(v, &at) {
			return errors.New("no signing time")
		}
	} else if ok {
		return errors.New("a signing time in the signature of a PDF")
	}
	if !at.Equal(a.q.At) {
		return fmt.Errorf("signing time %s, want %s", stamp(at), stamp(a.q.At))
	}
	return nil
}

// readAnyTime reads a UTCTime or GeneralizedTime.
func readAnyTime(s cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(der.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

// stamped returns the time-stamp token over the signature.
func (si *signerInfo) stamped() (cryptobyte.String, error) {
	attrs, err := readAttributes(si.unsigned)
	if err != nil {
		return nil, err
	}
	for _, a := range attrs {
		if a.oid.Equal(oidSignatureStamp()) {
			return a.value, nil
		}
	}
	return nil, errors.New("no time stamp is embedded")
}
