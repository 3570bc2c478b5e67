package dnssec

import (
	"fmt"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// What a proof may spend. A chain of five zones with two signatures each takes some twenty.
const (
	maxChecks     = 200    // signature checks; a set of many records counts as several
	maxSignatures = 8      // signatures of one set that are tried
	maxSameTag    = 4      // keys of one tag and algorithm that are tried
	maxHashes     = 10_000 // rounds of NSEC3
)

// A set is records of one name and type, with the signatures over them.
type set struct {
	name string // canonical
	rrs  []mdns.RR
	sigs []*mdns.RRSIG
}

// pick collects the set of a name and type from a section. Its records are nil when there are none.
func pick(section []mdns.RR, name string, typ uint16) set {
	s := set{name: name}
	for _, rr := range section {
		h := rr.Header()
		if h.Class != mdns.ClassINET || h.Rrtype != typ && h.Rrtype != mdns.TypeRRSIG || mdns.CanonicalName(h.Name) != name {
			continue
		}
		if sig, ok := rr.(*mdns.RRSIG); ok {
			if sig.TypeCovered == typ {
				s.sigs = append(s.sigs, sig)
			}
			continue
		}
		s.rrs = append(s.rrs, rr)
	}
	return s
}

// A zone is what is known of one: its keys when it is secure.
type zone struct {
	name   string // canonical
	status Status
	why    string
	keys   []*mdns.DNSKEY
}

// A fault says why something does not verify.
type fault struct {
	why      string
	untimely bool // a signature verifies, but not at this time
}

func faultf(format string, args ...any) *fault { return &fault{why: fmt.Sprintf(format, args...)} }

// verify checks a set with the keys of a zone. expanded tells that the records stem from a wildcard.
func (w *Walk) verify(z *zone, s set) (expanded bool, f *fault) {
	labels := mdns.CountLabel(s.name)
	var late *fault
	tried := 0
	for _, sig := range s.sigs {
		if mdns.CanonicalName(sig.SignerName) != z.name || int(sig.Labels) > labels {
			continue
		}
		if tried++; tried > maxSignatures {
			break
		}
		switch ok, over := w.tried(z, sig, s.rrs); {
		case over:
			return false, faultf("%s takes more signature checks than are made", told(s.name))
		case !ok:
			continue
		}
		if f := w.timely(sig, s); f != nil {
			late = f
			continue
		}
		w.until(when(sig.Expiration, w.now))
		// The star of a wildcard's own name is no label. RFC 4034, section 3.1.3.
		return int(sig.Labels) < labels-stars(s.name), nil
	}
	switch {
	case late != nil:
		return false, late
	case len(s.sigs) == 0:
		return false, faultf("%s has no signature over its %s", told(s.name), typeName(s))
	}
	return false, faultf("no signature over the %s of %s verifies with the keys of %s", typeName(s), told(s.name), told(z.name))
}

func stars(name string) int {
	if strings.HasPrefix(name, "*.") {
		return 1
	}
	return 0
}

// tried tries the keys that a signature may be of.
func (w *Walk) tried(z *zone, sig *mdns.RRSIG, rrs []mdns.RR) (ok, over bool) {
	same := 0
	for _, k := range z.keys {
		if k.Algorithm != sig.Algorithm || !supported(k.Algorithm) || k.KeyTag() != sig.KeyTag {
			continue
		}
		if same++; same > maxSameTag {
			return false, false
		}
		if !w.spend(rrs) {
			return false, true
		}
		if sig.Verify(k, rrs) == nil {
			return true, false
		}
	}
	return false, false
}

// spend takes the cost of one check off what the proof may spend.
func (w *Walk) spend(rrs []mdns.RR) bool {
	const recordsACheck = 32
	w.cost += 1 + len(rrs)/recordsACheck
	w.checks++
	return w.cost <= maxChecks
}

// timely judges the dates of a signature that verifies.
func (w *Walk) timely(sig *mdns.RRSIG, s set) *fault {
	begin, end := when(sig.Inception, w.now), when(sig.Expiration, w.now)
	switch {
	case w.now.After(end):
		return &fault{fmt.Sprintf("the signature over the %s of %s ended %s", typeName(s), told(s.name), end.Format(time.RFC3339)), true}
	case w.now.Before(begin):
		return &fault{fmt.Sprintf("the signature over the %s of %s begins %s", typeName(s), told(s.name), begin.Format(time.RFC3339)), true}
	}
	return nil
}

// until remembers the first end of the signatures that count.
func (w *Walk) until(t time.Time) {
	if w.notAfter.IsZero() || t.Before(w.notAfter) {
		w.notAfter = t
	}
}

// when is the instant of a time in a signature that is nearest to now: 32 bits of seconds wrap. RFC 4034, section 3.1.5.
func when(t uint32, now time.Time) time.Time {
	return time.Unix(now.Unix()+int64(int32(t-uint32(now.Unix()))), 0).UTC()
}

func typeName(s set) string {
	if len(s.rrs) == 0 {
		return "records"
	}
	return mdns.Type(s.rrs[0].Header().Rrtype).String()
}

// told is a name for a person.
func told(name string) string {
	const most = 64
	if name == "." {
		return "the root"
	}
	if name = strings.TrimSuffix(name, "."); len(name) > most {
		return name[:most] + "…"
	}
	return name
}
