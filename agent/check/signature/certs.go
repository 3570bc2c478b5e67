package signature

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"egovmon/agent/check"
	"egovmon/agent/check/certlist"
	"egovmon/agent/check/reach"
	"egovmon/agent/token/talk"
)

// maxUserCerts bounds how many certificates one check looks after.
const maxUserCerts = 2000

func certsKind() check.Kind {
	return check.Kind{
		Name:    "certs",
		Family:  "signature",
		Summary: "Looks after the certificates that people sign with: days left, revocation, chain, the unit that they name. Counts only: no name, no serial number.",
		Options: []check.Option{
			{Name: "files", Type: check.TypeStrings, Max: 32, Help: "Files of certificates (PEM, DER, PKCS#7, or PKCS#12 by the helper program), or folders of such files. Private keys are not taken."},
			{Name: "password", Type: check.TypeSecret, Help: "The password of PKCS#12 files."},
			{Name: "stores", Type: check.TypeStrings, Max: 4, Enum: []string{"user", "machine"}, Help: "Certificate stores of Windows: user, of the account that the agent runs as, or machine."},
			{Name: "modules", Type: check.TypeStrings, Max: 8, Help: "PKCS#11 modules of tokens, which the helper program asks for what they show without a PIN."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of roots that each certificate must lead to; without it chains are not judged, nor revocation."},
			{Name: "intermediates", Type: check.TypeString, Help: "A PEM file of authorities between the roots and the certificates, beside those that stand in files."},
			{Name: "units", Type: check.TypeStrings, Max: 64, Help: "Names of the unit as of today: a certificate names one of them as its organisation or part of it. Without it units are not compared."},
			{Name: "hosts", Type: check.TypeStrings, Max: 16, Help: "Hosts that certificates may send the check to, to ask whether they were revoked (OCSP, lists); without it none is asked."},
			{Name: "asks", Type: check.TypeInt, Default: "10", Min: 1, Max: 100, Unit: "requests", Help: "How many requests one run may send; what is left over is asked in the next run."},
			{Name: "recheck", Type: check.TypeDuration, Default: "24h", Min: 300, Max: 7 * 86400, Help: "For how long it holds that a certificate was not revoked."},
			{Name: "warn_days", Type: check.TypeInt, Default: "30", Max: 3650, Unit: "days", Help: "A certificate that has ended, or ends within this many days, is signature_expiring."},
			trustOptions()[0],
			reach.FamilyOption(), userAgent(), slowOption(),
		},
		Facts: []check.FactDef{
			countFact("certs_count", "certificates of people, each once"),
			countFact("certs_ended_count", "those that have ended, or not begun"),
			countFact("certs_15d_count", "those that end within 15 days"),
			countFact("certs_30d_count", "those that end within 16 to 30 days"),
			countFact("certs_60d_count", "those that end within 31 to 60 days"),
			countFact("certs_later_count", "those that end later"),
			countFact("duplicates_count", "certificates that were found more than once"),
			countFact("renewed_count", "certificates that have ended or end soon, and whose holder has a later one"),
			countFact("small_keys_count", "certificates with a key below RSA 2048 or a curve of 256 bits"),
			countFact("other_unit_count", "certificates that name none of the units"),
			countFact("untrusted_count", "certificates that lead to none of the roots"),
			countFact("revoked_count", "certificates that were revoked"),
			countFact("good_count", "certificates that were not revoked when they were last asked about"),
			countFact("unasked_count", "certificates in force of which nobody knows yet whether they were revoked"),
			countFact("requests_count", "requests of this run"),
			countFact("bad_files_count", "files that could not be read"),
			countFact("private_keys_count", "files that hold a private key, and were not taken"),
			unixFact("first_not_after_unix", "when the first certificate in force ends"),
		},
		Phases: fetchPhases(),
		Target: func(o check.Options) []string { return o.Strings("hosts") },
		New:    newCerts,
	}
}

func countFact(name, help string) check.FactDef {
	return check.FactDef{Name: name, Help: help, Max: 1 << 20}
}

// A certsCheck is one check of the kind certs. It remembers what it asked about.
type certsCheck struct {
	fetcher       fetcher
	files, stores []string
	modules       []string
	password      func() (string, error)
	trust         trust
	intermediates certFile
	units         []string
	hosts         map[string]bool
	asks          int
	recheck, warn time.Duration
	slow          time.Duration
	find          func() (string, error)                                   // where the helper program is
	store         func(name string) (certs []*x509.Certificate, err error) // of Windows
	states        map[[sha256.Size]byte]state
}

// A state is what was learnt of one certificate.
type state struct {
	until  time.Time    // when to ask again
	reason check.Reason // OK, Revoked; another: it could not be learnt
}

func newCerts(o check.Options, env check.Env) (check.Func, error) {
	c, err := newCertsCheck(o, env)
	if err != nil {
		return nil, err
	}
	return c.run, nil
}

func newCertsCheck(o check.Options, env check.Env) (*certsCheck, error) {
	f, err := newFetcher(o, env, lookupBytes)
	if err != nil {
		return nil, err
	}
	c := &certsCheck{
		fetcher: f, files: o.Strings("files"), stores: o.Strings("stores"), modules: o.Strings("modules"), trust: newTrust(o),
		intermediates: certFile{path: o.String("intermediates")}, units: o.Strings("units"), hosts: map[string]bool{}, asks: int(o.Int("asks")),
		recheck: o.Duration("recheck"), warn: days(o), slow: o.Duration("slow"), find: talk.Find, store: windowsStore, states: map[[sha256.Size]byte]state{},
	}
	if name := o.String("password"); name != "" {
		if env.Secret == nil {
			return nil, errors.New("option \"password\": this machine keeps no secrets")
		}
		c.password = func() (string, error) { return env.Secret(name) }
	}
	if len(c.files)+len(c.stores)+len(c.modules) == 0 {
		return nil, errors.New("option \"files\": nothing to look after: write files, stores or modules")
	}
	for _, h := range o.Strings("hosts") {
		if strings.ContainsAny(h, "/:@ ") || h == "" {
			return nil, fmt.Errorf("option \"hosts\": %q is no host: write a name alone, e.g. ocsp.ca.gov.vn", h)
		}
		c.hosts[strings.ToLower(h)] = true
	}
	if len(c.hosts) > 0 && c.trust.roots.path == "" {
		return nil, errors.New("option \"hosts\": answers about revocation are verified from roots: write the option roots too")
	}
	return c, nil
}

// run looks once.
func (c *certsCheck) run(ctx context.Context) check.Result { return timed(ctx, c.slow, c.ask) }

// A found is what one run found.
type found struct {
	certs []*x509.Certificate // of people, each once, in the order of their ends
	above []*x509.Certificate // authorities
	twice int
	bad   int    // files that could not be read
	keys  int    // files with a private key
	empty *fault // why a source gave nothing: absent, no permission, not supported
}

func (c *certsCheck) ask(ctx context.Context, sp *spans, _, seen *check.Facts) (string, *fault) {
	roots, err := c.trust.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	above, err := c.intermediates.load()
	if err != nil {
		return "", because(check.Misconfigured, "intermediates: %v", err)
	}
	f, bad := c.gather(ctx)
	if bad != nil {
		return "", bad
	}
	f.above = append(f.above, above...)
	seen.Add("certs_count", float64(len(f.certs)))
	seen.Add("duplicates_count", float64(f.twice))
	seen.Add("bad_files_count", float64(f.bad))
	seen.Add("private_keys_count", float64(f.keys))
	if len(f.certs) == 0 {
		switch {
		case f.empty != nil:
			return "", f.empty
		case f.bad+f.keys > 0:
			return "", because(check.Misconfigured, "no certificate: %d files cannot be read, %d hold a private key", f.bad, f.keys)
		}
		return "", because(check.NotConfigured, "no certificate of a person was found")
	}
	said, ends := c.classes(f, seen)
	chains, untrusted := c.chains(f, roots, seen)
	revoked, unsure := c.revocation(ctx, f, chains, sp, seen)
	small, other := c.plain(f, seen)
	for _, bad := range []*fault{revoked, untrusted, ends, small, unsure, f.spoilt(), other, f.empty} {
		if bad != nil {
			return "", bad
		}
	}
	return said, nil
}

// spoilt says that some files were not taken.
func (f *found) spoilt() *fault {
	switch {
	case f.keys > 0:
		return because(check.Partial, "%d files hold a private key and were not taken: keep keys on tokens", f.keys)
	case f.bad > 0:
		return because(check.Partial, "%d files cannot be read", f.bad)
	}
	return nil
}

// classes counts the certificates by the days that are left. One that was renewed already is no reason to worry.
func (c *certsCheck) classes(f *found, seen *check.Facts) (said string, bad *fault) {
	now := c.fetcher.at.now()
	last := map[string]time.Time{} // by the holder
	for _, x := range f.certs {
		if now.Before(x.NotBefore) {
			continue
		}
		if end := x.NotAfter; end.After(last[string(x.RawSubject)]) {
			last[string(x.RawSubject)] = end
		}
	}
	var n [certlist.Classes]int
	var ended, near, renewed int
	var first time.Time
	for _, x := range f.certs {
		class := certlist.Of(x, now)
		n[class]++
		if class != certlist.Ended && (first.IsZero() || x.NotAfter.Before(first)) {
			first = x.NotAfter
		}
		switch {
		case x.NotAfter.Sub(now) >= c.warn && !now.Before(x.NotBefore):
		case last[string(x.RawSubject)].Sub(now) >= c.warn:
			renewed++
		case class == certlist.Ended:
			ended++
		default:
			near++
		}
	}
	for class, name := range [certlist.Classes]string{"certs_ended_count", "certs_15d_count", "certs_30d_count", "certs_60d_count", "certs_later_count"} {
		seen.Add(name, float64(n[class]))
	}
	seen.Add("renewed_count", float64(renewed))
	addUnix(seen, "first_not_after_unix", first)
	if ended+near > 0 {
		return "", c.fetcher.at.judged(because(check.SignatureExpiring, "of %d certificates %d have ended and %d end within %d days", len(f.certs), ended, near, int(c.warn.Hours()/24)))
	}
	return fmt.Sprintf("%d certificates, the first ends %s", len(f.certs), cmp.Or(first, now).UTC().Format(time.DateOnly)), nil
}

// chains leads each certificate in force to a root. What has ended is not judged: its chain may have, too.
func (c *certsCheck) chains(f *found, roots *anchors, seen *check.Facts) ([][]*x509.Certificate, *fault) {
	if roots == nil {
		return nil, nil
	}
	chains, untrusted, force := make([][]*x509.Certificate, len(f.certs)), 0, 0
	var why *fault
	for i, x := range f.certs {
		if certlist.Of(x, c.fetcher.at.now()) == certlist.Ended {
			continue
		}
		force++
		chain, bad := verifyChain(x, f.above, roots, x509.ExtKeyUsageAny, c.fetcher.at, check.SignatureInvalid)
		if bad != nil {
			untrusted, why = untrusted+1, bad
		}
		chains[i] = chain
	}
	seen.Add("untrusted_count", float64(untrusted))
	if untrusted == 0 {
		return chains, nil
	}
	if why.reason == check.SignatureInvalid {
		why = because(check.SignatureInvalid, "%d of %d certificates in force lead to none of the roots: signatures by them are valid nowhere", untrusted, force)
	}
	return chains, why
}

// plain counts what a certificate shows by itself.
func (c *certsCheck) plain(f *found, seen *check.Facts) (small, other *fault) {
	now := c.fetcher.at.now()
	var weak, foreign int
	for _, x := range f.certs {
		if certlist.Of(x, now) == certlist.Ended {
			continue
		}
		if certlist.SmallKey(x) {
			weak++
		}
		if len(c.units) > 0 && !certlist.NamesUnit(x, c.units) {
			foreign++
		}
	}
	seen.Add("small_keys_count", float64(weak))
	if weak > 0 {
		small = because(check.WeakTLS, "%d of %d certificates have a key below RSA 2048 or a curve of 256 bits", weak, len(f.certs))
	}
	if len(c.units) > 0 {
		seen.Add("other_unit_count", float64(foreign))
	}
	if foreign > 0 {
		other = because(check.Partial, "%d of %d certificates name another unit than today's: they are to be issued anew after a merger", foreign, len(f.certs))
	}
	return small, other
}
