package signature

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"egovmon/agent/check"
)

const (
	maxCopies    = 64       // copies of the list on one machine that are looked at
	maxListBytes = 16 << 20 // what max_bytes may be
)

func trustlistKind() check.Kind {
	return check.Kind{
		Name:    "trustlist",
		Family:  "signature",
		Summary: "Fetches the list of trusted authorities that signing programs use, reads the certificates on it and looks after this machine's copies.",
		Options: append([]check.Option{
			{Name: "url", Type: check.TypeURL, Required: true, Help: "The list, JSON as signing programs of the government's authority read it (gca.ctl); XML lists of ETSI TS 119 612 are not read."},
			{Name: "roots", Type: check.TypeString, Help: "A PEM file of certificates that must be on the list: those that the other checks trust."},
			{Name: "copies", Type: check.TypeStrings, Max: 8, Help: "Where signing programs on this machine keep their copy, with * for any name and %NAME% for the environment, e.g. ['C:\\Users\\*\\AppData\\Roaming\\VGCA\\ctl\\gca.ctl']."},
			{Name: "copy_lag", Type: check.TypeDuration, Default: "168h", Min: 1, Max: 366 * 86400, Help: "A copy of an older list is trustlist_stale when the newer one has been out for longer than this, or when the older one's next update is past."},
			{Name: "max_bytes", Type: check.TypeBytes, Default: "2MiB", Min: 1, Max: maxListBytes, Unit: "bytes", Help: "A list larger than this is too_large."},
			{Name: "max_age", Type: check.TypeDuration, Min: 1, Max: 3660 * 86400, Help: "A list issued longer ago than this is trustlist_stale."},
			{Name: "renew_before", Type: check.TypeDuration, Min: 1, Max: 366 * 86400, Help: "A list whose next update is nearer than this is trustlist_stale already; without it only one past its next update is."},
			{Name: "warn_days", Type: check.TypeInt, Default: "21", Max: 7300, Unit: "days", Help: "A certificate on the list that ends within this many days is cert_expiring; those that have ended are counted only."},
		}, fetchOptions()...),
		Facts: append([]check.FactDef{
			{Name: "list_number_serial", Help: "sequence number of the list", Max: maxCode},
			{Name: "certs_count", Help: "certificates on the list that can be read", Max: maxListed},
			{Name: "certs_valid_count", Help: "those of them that are in force", Max: maxListed},
			{Name: "certs_ending_count", Help: "those that end within warn_days", Max: maxListed},
			{Name: "certs_ended_count", Help: "those that have ended, or not begun", Max: maxListed},
			{Name: "certs_unreadable_count", Help: "entries of the list that are no certificate", Max: maxListed},
			{Name: "anchors_count", Help: "certificates that must be on the list", Max: maxPEM},
			{Name: "anchors_missing_count", Help: "those of them that are not", Max: maxPEM},
			{Name: "copies_count", Help: "copies of the list on this machine", Max: maxCopies},
			{Name: "copies_stale_count", Help: "copies that are too old", Max: maxCopies},
			{Name: "signed_code", Help: "0 the list carries no signature, 1 it carries one in a form that is not known here, 2 it is signed and that holds", Max: listSigned},
			unixFact("this_update_unix", "when the list was issued"),
			unixFact("next_update_unix", "when the next list is due"),
			unixFact("first_not_after_unix", "when the first certificate on the list that is in force ends"),
		}, fetchFacts()...),
		Phases: fetchPhases(),
		Target: func(o check.Options) []string { return hosts(o.String("url")) },
		New:    newTrustlist,
	}
}

// A trustlistCheck is one check of the kind trustlist. It remembers the number of the newest list that it saw.
type trustlistCheck struct {
	fetcher                  fetcher
	url                      *url.URL
	roots                    certFile
	copies                   []string
	lag, maxAge, renew, warn time.Duration
	slow                     time.Duration

	newest *big.Int
}

func newTrustlist(o check.Options, env check.Env) (check.Func, error) {
	f, err := newFetcher(o, env, o.Int("max_bytes"))
	if err != nil {
		return nil, err
	}
	c := &trustlistCheck{fetcher: f, roots: certFile{path: o.String("roots")}, lag: o.Duration("copy_lag"), maxAge: o.Duration("max_age"),
		renew: o.Duration("renew_before"), warn: days(o), slow: o.Duration("slow")}
	if c.url, err = parseURL(o.String("url")); err != nil {
		return nil, fmt.Errorf("option \"url\": %w", err)
	}
	for _, p := range o.Strings("copies") {
		p = expand(p, os.Getenv)
		if _, err := filepath.Match(p, ""); err != nil || !filepath.IsAbs(p) {
			return nil, fmt.Errorf("option \"copies\": %q is no path that can be looked for: write a whole path, with * for any name", p)
		}
		c.copies = append(c.copies, p)
	}
	return c.run, nil
}

// expand puts values of the environment in the place of their names, as Windows writes them: %APPDATA%.
func expand(path string, env func(string) string) string {
	return regexp.MustCompile(`%[A-Za-z_()0-9]+%`).ReplaceAllStringFunc(path, func(name string) string {
		if v := env(name[1 : len(name)-1]); v != "" {
			return v
		}
		return name
	})
}

// run fetches and judges the list once.
func (c *trustlistCheck) run(ctx context.Context) check.Result {
	return timed(ctx, c.slow, c.ask)
}

func (c *trustlistCheck) ask(ctx context.Context, sp *spans, facts, seen *check.Facts) (string, *fault) {
	roots, err := c.roots.load()
	if err != nil {
		return "", because(check.Misconfigured, "roots: %v", err)
	}
	a, bad := c.fetcher.ask(ctx, question{method: http.MethodGet, url: c.url, accept: "application/json, application/octet-stream, */*"}, sp, facts)
	if bad != nil {
		return "", bad
	}
	begin := time.Now()
	defer func() { sp.add(phaseVerify, time.Since(begin)) }()
	l, err := parseTrustList(a.body)
	if err != nil {
		return "", a.unreadable("a trust list", err)
	}
	l.facts(seen)
	if bad := c.verify(l, roots); bad != nil {
		return "", bad
	}
	held := c.hold(l, seen)
	missing := absent(l.certs, roots, seen)
	copies := c.lookAtCopies(l, seen)
	for _, bad := range []*fault{missing, held, c.dates(l), older(&c.newest, l.number), copies, c.entries(l)} {
		if bad == nil {
			continue
		}
		if bad.reason == check.RevocationStale {
			bad.reason = check.TrustlistStale
		}
		return "", bad
	}
	how := [...]string{"it carries no signature", "its signature is in a form that is not known here, and was not verified", "its signature holds"}[l.signed]
	return fmt.Sprintf("%d certificates on the list of %s, number %v; %s", len(l.certs), stamp(l.this), l.number, how), nil
}

// facts adds the numbers of a list.
func (l *trustList) facts(fs *check.Facts) {
	addNumber(fs, "list_number_serial", l.number)
	fs.Add("certs_count", float64(len(l.certs)))
	fs.Add("certs_unreadable_count", float64(l.unreadable))
	fs.Add("signed_code", float64(l.signed))
	addUnix(fs, "this_update_unix", l.this)
	addUnix(fs, "next_update_unix", l.next)
}

// verify checks the signature of a list that is a signed message: by whom the roots lead to.
func (c *trustlistCheck) verify(l *trustList, roots []*x509.Certificate) *fault {
	if l.message == nil {
		return nil
	}
	signer, err := l.message.certificate()
	if err == nil {
		err = l.message.verify(signer, oidData())
	}
	if err != nil {
		return because(check.SignatureInvalid, "the signature of the list: %v", err)
	}
	anchors := newAnchors(roots, true, 0)
	if anchors == nil {
		return because(check.Misconfigured, "the list is signed: write the roots that its signer must lead to")
	}
	_, bad := verifyChain(signer, l.message.certs, anchors, x509.ExtKeyUsageAny, c.fetcher.at, check.SignatureInvalid)
	return bad
}

// hold counts which certificates are in force. A list of which none is serves nobody.
func (c *trustlistCheck) hold(l *trustList, seen *check.Facts) *fault {
	now := c.fetcher.at.now()
	var valid, ending, ended int
	var first time.Time
	for _, cert := range l.certs {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			ended++
			continue
		}
		valid++
		if cert.NotAfter.Sub(now) < c.warn {
			ending++
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	seen.Add("certs_valid_count", float64(valid))
	seen.Add("certs_ending_count", float64(ending))
	seen.Add("certs_ended_count", float64(ended))
	addUnix(seen, "first_not_after_unix", first)
	if valid == 0 {
		return c.fetcher.at.judged(because(check.ContentMissing, "none of the %d certificates on the list is in force", len(l.certs)))
	}
	return nil
}

// absent says which of the plan's roots are not on the list: what they signed is trusted by nobody who uses it.
func absent(certs, roots []*x509.Certificate, seen *check.Facts) *fault {
	if len(roots) == 0 {
		return nil
	}
	var missing []*x509.Certificate
	for _, r := range roots {
		if !slices.ContainsFunc(certs, r.Equal) {
			missing = append(missing, r)
		}
	}
	seen.Add("anchors_count", float64(len(roots)))
	seen.Add("anchors_missing_count", float64(len(missing)))
	if len(missing) == 0 {
		return nil
	}
	return because(check.ContentMissing, "%d of %d roots are not on the list, the first is %s", len(missing), len(roots), called(missing[0]))
}

// dates says whether a list holds now.
func (c *trustlistCheck) dates(l *trustList) *fault {
	switch {
	case l.this.IsZero() || l.next.IsZero():
		return because(check.Protocol, "the list does not say when it was issued, or when the next one is due")
	case l.next.Before(l.this):
		return because(check.Protocol, "the next update, %s, lies before this one, %s", stamp(l.next), stamp(l.this))
	case l.this.After(c.fetcher.at.now().Add(tolerance)):
		return c.fetcher.at.judged(because(check.Protocol, "the list holds only from %s", stamp(l.this)))
	}
	return window(c.fetcher.at, l.this, l.next, c.maxAge, c.renew)
}

// entries says what is wrong with single certificates.
func (c *trustlistCheck) entries(l *trustList) *fault {
	if l.unreadable > 0 {
		return because(check.Partial, "%d of %d entries of the list are no certificates", l.unreadable, l.unreadable+len(l.certs))
	}
	now := c.fetcher.at.now()
	force := slices.DeleteFunc(slices.Clone(l.certs), func(x *x509.Certificate) bool { return now.Before(x.NotBefore) || now.After(x.NotAfter) })
	return expiring(force, c.warn, c.fetcher.at)
}

// lookAtCopies compares the copies on this machine with the list. Where they lie is not told: the path names a person.
func (c *trustlistCheck) lookAtCopies(l *trustList, seen *check.Facts) *fault {
	if len(c.copies) == 0 {
		return nil
	}
	var paths []string
	for _, p := range c.copies {
		found, err := filepath.Glob(p)
		if err != nil {
			return because(check.Misconfigured, "copies: %v", err)
		}
		paths = append(paths, found...)
	}
	if paths = paths[:min(len(paths), maxCopies)]; len(paths) == 0 {
		seen.Add("copies_count", 0)
		return because(check.TrustlistStale, "no copy of the list on this machine: no signing program has fetched it")
	}
	var stale, changed, broken, hidden int
	for _, p := range paths {
		switch c.copy(p, l) {
		case check.TrustlistStale:
			stale++
		case check.ContentChanged:
			changed++
		case check.Protocol:
			broken++
		case check.NoPermission:
			hidden++
		}
	}
	seen.Add("copies_count", float64(len(paths)))
	seen.Add("copies_stale_count", float64(stale))
	switch {
	case changed > 0:
		return because(check.ContentChanged, "%d of %d copies on this machine have the number of the list and are another", changed, len(paths))
	case broken > 0:
		return because(check.TrustlistStale, "%d of %d copies on this machine cannot be read as a trust list", broken, len(paths))
	case stale > 0:
		return because(check.TrustlistStale, "%d of %d copies on this machine are too old, the newest list is number %v of %s", stale, len(paths), l.number, stamp(l.this))
	case hidden > 0:
		return because(check.NoPermission, "%d of %d copies on this machine may not be read by the agent", hidden, len(paths))
	}
	return nil
}

// copy judges one copy against the list.
func (c *trustlistCheck) copy(path string, l *trustList) check.Reason {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return check.NoPermission
	}
	var k *trustList
	if err == nil {
		k, err = parseTrustList(text)
	}
	if err != nil {
		return check.Protocol
	}
	now := c.fetcher.at.now()
	switch {
	case bytes.Equal(k.text, l.text):
		return check.OK
	case k.number != nil && l.number != nil && k.number.Cmp(l.number) == 0:
		return check.ContentChanged
	case k.number != nil && l.number != nil && k.number.Cmp(l.number) > 0:
		return check.OK // the server at the address is behind, which its own number shows
	case c.fetcher.at.proven() && (now.After(k.next) || now.Sub(l.this) > c.lag):
		return check.TrustlistStale
	}
	return check.OK
}
