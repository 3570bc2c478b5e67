package signature

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/token/talk"
)

// The levels of a signature (ETSI EN 319 122-1 and 319 142-1).
const (
	levelT  = "b-t"  // with a time stamp
	levelLT = "b-lt" // and with what it takes to verify it when nobody answers any more
)

// signPhases are the steps of the kind sign, in their order.
func signPhases() []string {
	return []string{"open", "hash", "login", "sign", "stamp", "revocation", "embed", "verify", "total"}
}

func signKind() check.Kind {
	return check.Kind{
		Name:    "sign",
		Family:  "signature",
		Summary: "The whole act of signing with a monitoring key: hash, signature by a key in a file or on a token, time stamp, PAdES or CAdES, and its verification.",
		Options: append([]check.Option{
			{Name: "form", Type: check.TypeString, Default: talk.PAdES, Enum: []string{talk.PAdES, talk.CAdES, "both"}, Help: "The form of the signature: pades within the PDF, cades as a file .p7s beside it, or one of each."},
			{Name: "level", Type: check.TypeString, Default: levelLT, Enum: []string{levelT, levelLT}, Help: "b-t has a time stamp; b-lt also holds answers of OCSP or revocation lists for every certificate that names where to ask, at least the signer's."},
			{Name: "document", Type: check.TypeString, Help: "A file of at most 10 MB to sign, for pades a PDF; without it a page in Vietnamese that says what it is for."},
			{Name: "hash", Type: check.TypeString, Default: "sha256", Enum: []string{"sha256", "sha384", "sha512"}, Help: "The hash of document and time stamp."},
			{Name: "key", Type: check.TypeSecret, Help: "The private key: PEM without a password, or PKCS#12 (as it is, or in base64). A monitoring key; never a person's."},
			{Name: "key_password", Type: check.TypeSecret, Help: "The password of the PKCS#12 file."},
			{Name: "certificate", Type: check.TypeString, Help: "A PEM file with the certificate of the key and those above it, where they do not stand with the key."},
			{Name: "module", Type: check.TypeString, Help: "In place of key: the whole path of the PKCS#11 module (driver) of a token, which nobody but the administrator may be able to change."},
			{Name: "token", Type: check.TypeString, Help: "The label or serial number of the token; without it there must be only one."},
			{Name: "key_id", Type: check.TypeString, Help: "The id of the key on the token (CKA_ID), in hexadecimal; without it there must be only one."},
			{Name: "pin", Type: check.TypeSecret, Help: "The PIN of the token. It is tried once: when it is refused, nothing is tried again until a person has changed it or run `agent sign reset`; a token that itself remembers the wrong try is asked again only after somebody has logged in to it with its own program."},
			{Name: "tsa", Type: check.TypeURL, Required: true, Help: "The time-stamping authority, e.g. http://tsa.ca.gov.vn."},
			{Name: "policy", Type: check.TypeString, Help: "The policy of the time stamp, as numbers with dots."},
			{Name: "roots", Type: check.TypeString, Required: true, Help: "A PEM file of the roots that the signer's certificate and the time-stamping authority's must lead to."},
			{Name: "tsa_roots", Type: check.TypeString, Help: "A PEM file of the roots of the time-stamping authority, in place of roots."},
			{Name: "keep", Type: check.TypeString, Help: "A folder in which the last signed document is kept, under the name of the check; without it the outcome is thrown away."},
			{Name: "max_skew", Type: check.TypeDuration, Default: "60s", Min: 1, Max: 86400, Help: "A time stamp that differs more than this from the clock is tsa_skew."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 3650, Unit: "days", Help: "A certificate of the signer's chain that ends within this many days is cert_expiring, one of the time stamp's signature_expiring: the signature can then not be verified without being stamped anew."},
		}, append(trustOptions(), fetchOptions()...)...),
		Facts: []check.FactDef{
			{Name: "document_bytes", Help: "size of the document", Max: talk.MaxDocument},
			{Name: "signed_bytes", Help: "size of the outcome: the signed PDF, or the file .p7s", Max: 1 << 32},
			{Name: "cms_bytes", Help: "size of the signature with its time stamp", Max: talk.MaxLine},
			{Name: "revocation_bytes", Help: "size of the revocation data", Max: talk.MaxRevocation},
			{Name: "revocation_count", Help: "answers and lists that were embedded", Max: 64},
			{Name: "uncovered_count", Help: "certificates below a root that name nowhere to ask whether they were revoked", Max: 64},
			{Name: "clock_offset_s", Help: "the time stamp's time less this machine's: positive when the authority is ahead", Min: -maxOffset, Max: maxOffset},
			{Name: "signing_time_offset_s", Help: "the time that the signature claims less the time stamp's; about 25200 where local time stands in the place of UTC", Min: -maxOffset, Max: maxOffset},
			{Name: "document_time_offset_s", Help: "of a document that somebody's program signed before: the time that its newest signature claims less its time stamp's; about 25200 where local time stands in the place of UTC", Min: -maxOffset, Max: maxOffset},
			unixFact("gen_time_unix", "the time in the time stamp"),
			unixFact("cert_not_after_unix", "when the signer's certificate ends"),
			unixFact("chain_not_after_unix", "when the first certificate of the signer's chain ends"),
			unixFact("tsa_not_after_unix", "when the first certificate of the time stamp's chain ends"),
			trustFacts()[0], trustFacts()[1],
		},
		Phases: signPhases(),
		Target: signTargets,
		New:    newSign,
	}
}

// signTargets are the hosts of the time stamps, and those that the signer's certificates name where they are known.
func signTargets(o check.Options) []string {
	all := hosts(o.String("tsa"))
	file := certFile{path: o.String("certificate")}
	certs, _ := file.load()
	for _, c := range certs {
		for _, u := range slices.Concat(c.OCSPServer, c.CRLDistributionPoints) {
			all = append(all, hosts(u)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A signCheck is one check of the kind sign.
type signCheck struct {
	name        string // of the check
	o           check.Options
	forms       []string
	secret      func(string) (string, error)
	find        func() (string, error) // the helper's path
	marks       marks
	tsa         *tsaCheck
	trust       trust
	certificate certFile
	shared      func(name string) check.SharedNotes
	notes       check.Notes
	at          clock
	warn, slow  time.Duration
	fetcher     fetcher
}

func newSign(o check.Options, env check.Env) (check.Func, error) {
	c, err := newSignCheck(o, env)
	if err != nil {
		return nil, err
	}
	return c.run, nil
}

func newSignCheck(o check.Options, env check.Env) (*signCheck, error) {
	c := &signCheck{
		name: env.Check, o: o, forms: []string{o.String("form")}, secret: env.Secret, find: talk.Find, marks: newMarks(env), shared: env.Shared, notes: env.Kept(),
		trust: newTrust(o), certificate: certFile{path: o.String("certificate")}, at: newClock(env), warn: days(o), slow: o.Duration("slow"),
	}
	if o.String("form") == "both" {
		c.forms = []string{talk.PAdES, talk.CAdES}
	}
	if (o.Has("key")) == (o.Has("module")) {
		return nil, fmt.Errorf("option \"key\": write either key, for a key in a file, or module, for one on a token")
	}
	for _, name := range []string{"token", "key_id", "pin"} {
		if o.Has(name) && !o.Has("module") {
			return nil, fmt.Errorf("option %q: it is for a token: write its module too", name)
		}
	}
	if o.Has("key_password") && !o.Has("key") {
		return nil, fmt.Errorf("option \"key_password\": it is for a key in PKCS#12: write the option key too")
	}
	for _, name := range []string{"module", "keep"} {
		if p := o.String(name); o.Has(name) && !filepath.IsAbs(p) {
			return nil, fmt.Errorf("option %q: %q is no whole path", name, p)
		}
	}
	asTSA := check.Options{"url": o.String("tsa"), "roots": o.String("roots")}
	if o.Has("tsa_roots") {
		asTSA["roots"] = o.String("tsa_roots")
	}
	for _, name := range []string{"policy", "hash", "max_skew", "warn_days", "sha1_chain", "root_warn_days", "family", "user_agent", "tls_roots"} {
		if o.Has(name) {
			asTSA[name] = o[name]
		}
	}
	var err error
	if c.tsa, err = newTSACheck(asTSA, env); err != nil {
		return nil, fmt.Errorf("%w (the time stamp)", err)
	}
	c.fetcher = c.tsa.fetcher
	return c, nil
}

// run signs once in each form.
func (c *signCheck) run(ctx context.Context) check.Result {
	begin := time.Now()
	took := map[string]time.Duration{}
	var facts check.Facts
	var detail string
	var bad *fault
	for _, form := range c.forms {
		a := &act{c: c, form: form, took: took}
		detail, bad = a.run(ctx)
		facts = merged(facts, a.facts)
		if bad != nil {
			if len(c.forms) > 1 {
				bad = bad.of(form)
			}
			break
		}
	}
	bad = bad.unlessCalledOff(ctx)
	total := time.Since(begin)
	if bad == nil {
		bad = tooSlow(total, c.slow)
	}
	r := bad.result(detail)
	for _, name := range signPhases() {
		if d, ok := took[name]; ok {
			r.Phases.Add(name, d)
		}
	}
	r.Phases.Add("total", total)
	r.Facts = facts
	return r
}

// merged returns the newer facts over the older ones; sizes add up.
func merged(old, more check.Facts) check.Facts {
	all := map[string]float64{}
	for _, f := range old {
		all[f.Name] = f.Value
	}
	for _, f := range more {
		if have, ok := all[f.Name]; ok && (f.Name == "signed_bytes" || f.Name == "cms_bytes") {
			f.Value += have
		}
		all[f.Name] = f.Value
	}
	var out check.Facts
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out.Add(name, all[name])
	}
	return out
}

// request says what to sign, and with what.
func (c *signCheck) request(form string) (*talk.Signing, *fault) {
	q := &talk.Signing{
		Form: form, Document: c.o.String("document"), Hash: c.o.String("hash"), At: c.at.now().UTC().Truncate(time.Second),
		Key: talk.Key{Module: c.o.String("module"), Token: c.o.String("token"), ID: strings.ToLower(c.o.String("key_id"))},
	}
	if dir := c.o.String("keep"); dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, because(check.Misconfigured, "keep: %s is no folder", dir)
		}
		q.Keep = filepath.Join(dir, c.name+map[string]string{talk.PAdES: ".pdf", talk.CAdES: ".p7s"}[form])
	}
	certs, err := c.certificate.load()
	if err != nil {
		return nil, because(check.Misconfigured, "certificate: %v", err)
	}
	if c.o.Has("key") {
		text, bad := c.read("key")
		if bad != nil {
			return nil, bad
		}
		if strings.Contains(text, "-----BEGIN") {
			q.Key.PEM = text
			if certs == nil {
				certs = pemCerts(text)
			}
		} else if q.Key.PKCS12, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			q.Key.PKCS12 = []byte(text)
		}
		if q.Key.Password, bad = c.read("key_password"); bad != nil {
			return nil, bad
		}
	}
	for _, cert := range certs {
		q.Chain = append(q.Chain, cert.Raw)
	}
	return q, nil
}

// read returns the secret that an option names; "" for an option that was not given.
func (c *signCheck) read(option string) (string, *fault) {
	if !c.o.Has(option) {
		return "", nil
	}
	if c.secret == nil {
		return "", because(check.NotConfigured, "%s: there are no secrets here", option)
	}
	text, err := c.secret(c.o.String(option))
	if err != nil {
		return "", because(check.NotConfigured, "%s: %v", option, err)
	}
	return text, nil
}

// pemCerts returns the certificates that stand beside a key.
func pemCerts(text string) []*x509.Certificate {
	var all []*x509.Certificate
	for rest := []byte(text); len(all) < maxChain; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}
