package mail

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// parseTags reads a list of tags as DKIM, MTA-STS and TLS-RPT write them: `v=DKIM1; k=rsa; p=…`. RFC 6376, section 3.2.
func parseTags(s string) (map[string]string, error) {
	tags := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is no tag", told(strings.TrimSpace(part)))
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("the tag %s stands twice", told(name))
		}
		tags[name] = strings.TrimSpace(value)
	}
	return tags, nil
}

// A dkimKey is what a selector's record says. RFC 6376, section 3.6.1, and RFC 8463.
type dkimKey struct {
	kind    string // rsa or ed25519
	bits    int
	testing bool // receivers treat what it signs as not signed
}

// parseDKIM reads a record.
func parseDKIM(s string) (dkimKey, error) {
	tags, err := parseTags(s)
	if err != nil {
		return dkimKey{}, err
	}
	k := dkimKey{kind: "rsa"}
	if v, ok := tags["v"]; ok && v != "DKIM1" {
		return k, fmt.Errorf("its version is %s, not DKIM1", told(v))
	}
	if v, ok := tags["k"]; ok {
		k.kind = strings.ToLower(v)
	}
	for flag := range strings.SplitSeq(tags["t"], ":") {
		k.testing = k.testing || strings.TrimSpace(flag) == "y"
	}
	p, ok := tags["p"]
	if !ok || p == "" {
		return k, errors.New("the key was withdrawn (p is empty)")
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p), ""))
	if err != nil {
		return k, errors.New("the key is no base64")
	}
	switch k.kind {
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return k, fmt.Errorf("an Ed25519 key has %d bytes, not %d", ed25519.PublicKeySize, len(der))
		}
		k.bits = 8 * len(der)
		return k, nil
	case "rsa":
	default:
		return k, fmt.Errorf("%s is no kind of key", told(k.kind))
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if public, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return k, errors.New("the key cannot be read")
		}
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return k, errors.New("the key is no RSA key")
	}
	k.bits = key.N.BitLen()
	return k, nil
}

// judgeDKIM looks at the key of each selector that the plan names.
func (c *domainCheck) judgeDKIM(a *asking, facts *check.Facts) *reach.Fault {
	good, least := 0, 0
	var bad *reach.Fault
	for _, selector := range c.selectors {
		k, fault := a.dkim(selector, c.domain)
		if fault == nil && k.kind == "rsa" {
			if least == 0 || k.bits < least {
				least = k.bits
			}
			if k.bits < c.dkimBits {
				fault = reach.Failf(check.MailAuth, "the DKIM key %s has %d bits, the least allowed is %d", told(selector), k.bits, c.dkimBits)
			}
		}
		if fault == nil {
			good++
		}
		bad = worse(bad, fault)
	}
	facts.Add("dkim_ok_count", float64(good))
	if least > 0 {
		facts.Add("dkim_key_bits", float64(min(least, maxKeyBits)))
	}
	return bad
}

// dkim fetches one key.
func (a *asking) dkim(selector, domain string) (dkimKey, *reach.Fault) {
	name := selector + "._domainkey." + domain
	records, bad := a.texts(name, func(s string) bool { return strings.Contains(s, "p=") })
	if bad != nil {
		return dkimKey{}, bad
	}
	if len(records) != 1 {
		return dkimKey{}, reach.Failf(check.MailAuth, "the DKIM selector %s has %d keys, where one belongs", told(selector), len(records))
	}
	k, err := parseDKIM(records[0])
	if err == nil && k.testing {
		err = errors.New("it is for tests only (t=y), so that nobody relies on it")
	}
	if err != nil {
		return k, reach.Failf(check.MailAuth, "the DKIM selector %s: %s", told(selector), err)
	}
	return k, nil
}

// judgeReports looks for the address that other servers tell of failures of TLS. RFC 8460, section 3.
func (c *domainCheck) judgeReports(a *asking, facts *check.Facts) *reach.Fault {
	records, bad := a.texts("_smtp._tls."+c.domain, func(s string) bool { return version(s) == "TLSRPTv1" })
	if bad != nil {
		return bad
	}
	facts.Add("tls_rpt_code", truth(len(records) == 1))
	if len(records) != 1 {
		return reach.Failf(check.MailAuth, "%s has %d TLS-RPT records, where one belongs", c.domain, len(records))
	}
	tags, err := parseTags(records[0])
	if err != nil {
		return reach.Failf(check.MailAuth, "TLS-RPT: %s", err)
	}
	for uri := range strings.SplitSeq(tags["rua"], ",") {
		if uri = strings.TrimSpace(uri); !strings.HasPrefix(uri, "mailto:") && !strings.HasPrefix(uri, "https://") {
			return reach.Failf(check.MailAuth, "TLS-RPT: %q is neither mailto: nor https:", told(uri))
		}
	}
	return nil
}

// version is the value of the tag v, when it stands first.
func version(s string) string {
	tag, _, _ := strings.Cut(s, ";")
	name, value, _ := strings.Cut(tag, "=")
	if strings.TrimSpace(name) != "v" {
		return ""
	}
	return strings.TrimSpace(value)
}
