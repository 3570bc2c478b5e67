package dnssec

import (
	"errors"
	"fmt"
	"strings"

	mdns "github.com/miekg/dns"
)

// MaxAnchors bounds how many records a plan may name.
const MaxAnchors = 16

// Anchors are keys, or digests of keys, that are trusted without proof: DS and DNSKEY records by the canonical name of
// their zone.
type Anchors map[string][]mdns.RR

// ParseAnchors reads DS and DNSKEY records in the form of a zone file, one each.
func ParseAnchors(records []string) (Anchors, error) {
	all := Anchors{}
	if len(records) > MaxAnchors {
		return nil, fmt.Errorf("%d anchors: name at most %d", len(records), MaxAnchors)
	}
	for _, s := range records {
		rr, err := parseAnchor(s)
		if err != nil {
			return nil, err
		}
		zone := mdns.CanonicalName(rr.Header().Name)
		all[zone] = append(all[zone], rr)
	}
	return all, nil
}

var errNoAnchor = errors.New(`write a DS or DNSKEY record as a zone file has it, on one line, e.g. ". DS 20326 8 2 E06D…"`)

func parseAnchor(s string) (mdns.RR, error) {
	if strings.ContainsAny(s, "\r\n;$()") || !strings.Contains(s, " ") {
		return nil, fmt.Errorf("%.40q is no anchor: %w", s, errNoAnchor)
	}
	rr, err := mdns.NewRR(s)
	if err != nil || rr == nil {
		return nil, fmt.Errorf("%.40q is no anchor: %w", s, errNoAnchor)
	}
	switch r := rr.(type) {
	case *mdns.DS:
		if !supported(r.Algorithm) || !digestible(r.DigestType) {
			return nil, fmt.Errorf("%.40q: algorithm %d with digest %d cannot be verified: name another anchor", s, r.Algorithm, r.DigestType)
		}
	case *mdns.DNSKEY:
		if !supported(r.Algorithm) {
			return nil, fmt.Errorf("%.40q: algorithm %d cannot be verified: name another anchor", s, r.Algorithm)
		}
		if !usable(r) {
			return nil, fmt.Errorf("%.40q is revoked or no key of a zone: name another anchor", s)
		}
	default:
		return nil, fmt.Errorf("%.40q is no anchor: %w", s, errNoAnchor)
	}
	return rr, nil
}

// Above returns the zone of the nearest anchor at or above a name, and whether there is one.
func (a Anchors) Above(name string) (zone string, ok bool) {
	name = mdns.CanonicalName(name)
	for {
		if _, ok := a[name]; ok {
			return name, true
		}
		if name == "." {
			return "", false
		}
		name = parent(name)
	}
}

// parent is the name one label up; the root's is the root.
func parent(name string) string {
	i, end := mdns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// supported tells whether signatures of an algorithm can be verified here. RFC 8624, section 3.1.
func supported(algorithm uint8) bool {
	switch algorithm {
	case mdns.RSASHA1, mdns.RSASHA1NSEC3SHA1, mdns.RSASHA256, mdns.RSASHA512, mdns.ECDSAP256SHA256, mdns.ECDSAP384SHA384, mdns.ED25519:
		return true
	}
	return false
}

// digestible tells whether digests of a type can be made here. RFC 8624, section 3.3.
func digestible(digest uint8) bool {
	return digest == mdns.SHA1 || digest == mdns.SHA256 || digest == mdns.SHA384
}

// usable tells whether a key may sign a zone: it has the flag for it, and not the one of revocation. RFC 5011, section 2.1.
func usable(k *mdns.DNSKEY) bool {
	return k.Protocol == 3 && k.Flags&mdns.ZONE != 0 && k.Flags&mdns.REVOKE == 0
}
