package dnssec

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// A Status is what a proof came to. RFC 4035, section 4.3.
type Status uint8

// The statuses, from what says least.
const (
	Insecure Status = iota // proven to be unsigned, or signed only in ways that cannot be verified
	Secure                 // signed all the way from an anchor
	Bogus                  // it should be signed so, and is not
)

// An AskFunc asks for the records of a name and type with DNSSEC data (DO) and without validation by the server (CD). An
// error says that no answer about the name came, a response code like SERVFAIL among them: that proves nothing either way.
type AskFunc func(ctx context.Context, name string, typ uint16) (*mdns.Msg, error)

// ErrStripped says that answers come without DNSSEC data although the anchor's zone has them: a resolver on the way does not
// pass them on, and nothing can be proven through it.
var ErrStripped = errors.New("the server passes on no DNSSEC data")

// errTooMany ends a run that asks more questions than any real name needs.
var errTooMany = errors.New("the proof takes more questions than are asked")

// maxQuestions bounds what one Walk asks: two for each label on the way, for some names.
const maxQuestions = 100

// A Walk proves answers from anchors, as of one instant. It belongs to one run and one goroutine; zones that it came
// through are not proven again. Each proof may spend as much as the first.
type Walk struct {
	anchors Anchors
	now     time.Time
	ask     AskFunc

	zones     map[string]*zone // by the names of their tops
	cuts      map[string]*step // by the name asked
	cost      int              // of signature checks, see maxChecks
	hashes    int              // rounds left
	checks    int
	questions int
	notAfter  time.Time
}

// A step is what lies at one name on the way down.
type step struct {
	kind denial // of its DS records; denialNone when there are some, or the zone goes on
	zone *zone  // the zone that begins there; nil when none does
	f    *fault
}

// New begins a walk.
func New(a Anchors, now time.Time, ask AskFunc) *Walk {
	return &Walk{anchors: a, now: now, ask: ask, zones: map[string]*zone{}, cuts: map[string]*step{}, hashes: maxHashes}
}

// Zones is how many zones were proven to be secure.
func (w *Walk) Zones() int {
	n := 0
	for _, z := range w.zones {
		if z.status == Secure {
			n++
		}
	}
	return n
}

// Checks is how many signatures were checked.
func (w *Walk) Checks() int { return w.checks }

// NotAfter is the first end of the signatures that the proofs rest on; zero when there are none.
func (w *Walk) NotAfter() time.Time { return w.notAfter }

func (w *Walk) question(ctx context.Context, name string, typ uint16) (*mdns.Msg, error) {
	if w.questions++; w.questions > maxQuestions {
		return nil, errTooMany
	}
	return w.ask(ctx, name, typ)
}

// to finds the zone that a canonical name stands in, from the nearest anchor above it. Without an anchor it is insecure.
func (w *Walk) to(ctx context.Context, name string) (*zone, *fault, error) {
	top, ok := w.anchors.Above(name)
	if !ok {
		return &zone{name: ".", status: Insecure, why: "no anchor is at or above " + told(name)}, nil, nil
	}
	z, f, err := w.anchored(ctx, top)
	if f != nil || err != nil {
		return nil, f, err
	}
	for n := mdns.CountLabel(top) + 1; n <= mdns.CountLabel(name); n++ {
		s, err := w.step(ctx, z, upper(name, n))
		switch {
		case err != nil:
			return nil, nil, err
		case s.f != nil:
			return nil, s.f, nil
		case s.kind == denialName:
			return z, nil, nil // nothing is there, and so nothing below
		case s.zone == nil:
			continue
		}
		if z = s.zone; z.status != Secure {
			return z, nil, nil
		}
	}
	return z, nil, nil
}

// anchored proves the keys of an anchor's zone.
func (w *Walk) anchored(ctx context.Context, name string) (*zone, *fault, error) {
	if z, ok := w.zones[name]; ok {
		return z, nil, nil
	}
	var ds []*mdns.DS
	var keys []*mdns.DNSKEY
	for _, rr := range w.anchors[name] {
		switch r := rr.(type) {
		case *mdns.DS:
			ds = append(ds, r)
		case *mdns.DNSKEY:
			keys = append(keys, r)
		}
	}
	z, f, err := w.keys(ctx, name, ds, keys, true)
	return z, f, err
}

// keys proves a zone's keys by digests that its parent signed, or that are anchors, or by keys that are.
func (w *Walk) keys(ctx context.Context, name string, ds []*mdns.DS, trusted []*mdns.DNSKEY, anchor bool) (*zone, *fault, error) {
	m, err := w.question(ctx, name, mdns.TypeDNSKEY)
	if err != nil {
		return nil, nil, err
	}
	s := pick(m.Answer, name, mdns.TypeDNSKEY)
	switch {
	case len(s.rrs) == 0:
		return nil, faultf("%s has no keys", told(name)), nil
	case anchor && len(s.sigs) == 0:
		return nil, nil, ErrStripped
	}
	entry := &zone{name: name, keys: w.entries(s, ds, trusted)}
	if len(entry.keys) == 0 {
		if anchor {
			return nil, faultf("no key of %s is the anchor", told(name)), nil
		}
		return nil, faultf("no key of %s is the one that the zone above vouches for (DS)", told(name)), nil
	}
	if _, f := w.verify(entry, s); f != nil {
		return nil, f, nil
	}
	z := &zone{name: name, status: Secure}
	for _, rr := range s.rrs {
		if k, ok := rr.(*mdns.DNSKEY); ok && usable(k) {
			z.keys = append(z.keys, k)
		}
	}
	w.zones[name] = z
	return z, nil, nil
}

// entries are the keys of a set that digests or trusted keys stand for.
func (w *Walk) entries(s set, digests []*mdns.DS, trusted []*mdns.DNSKEY) []*mdns.DNSKEY {
	var keys []*mdns.DNSKEY
	same := map[uint16]int{}
	for _, rr := range s.rrs {
		k, ok := rr.(*mdns.DNSKEY)
		if !ok || !usable(k) {
			continue
		}
		tag := k.KeyTag()
		if same[tag]++; same[tag] > maxSameTag {
			continue
		}
		stands := slices.ContainsFunc(trusted, func(t *mdns.DNSKEY) bool {
			return t.Algorithm == k.Algorithm && t.PublicKey == k.PublicKey
		}) || slices.ContainsFunc(digests, func(d *mdns.DS) bool {
			if d.KeyTag != tag || d.Algorithm != k.Algorithm || !w.spend(nil) {
				return false
			}
			made := k.ToDS(d.DigestType)
			return made != nil && strings.EqualFold(made.Digest, d.Digest)
		})
		if stands {
			keys = append(keys, k)
		}
	}
	return keys
}

// step looks at one name below a secure zone: whether another zone begins there, and whether it is signed.
func (w *Walk) step(ctx context.Context, z *zone, name string) (*step, error) {
	if s, ok := w.cuts[name]; ok {
		return s, nil
	}
	m, err := w.question(ctx, name, mdns.TypeDS)
	if err != nil {
		return nil, err
	}
	s, err := w.judgeStep(ctx, z, name, m)
	if err == nil {
		w.cuts[name] = s
	}
	return s, err
}

func (w *Walk) judgeStep(ctx context.Context, z *zone, name string, m *mdns.Msg) (*step, error) {
	if ds := pick(m.Answer, name, mdns.TypeDS); len(ds.rrs) > 0 {
		if _, f := w.verify(z, ds); f != nil {
			return &step{f: f}, nil
		}
		known := trustworthy(ds.rrs)
		if len(known) == 0 {
			return &step{zone: &zone{name: name, status: Insecure, why: told(name) + " is signed only in ways that cannot be verified here"}}, nil
		}
		below, f, err := w.keys(ctx, name, known, nil, false)
		return &step{zone: below, f: f}, err
	}
	if alias := pick(m.Answer, name, mdns.TypeCNAME); len(alias.rrs) > 0 {
		_, f := w.verify(z, alias) // no zone begins at an alias
		return &step{f: f}, nil
	}
	d, f := w.denied(z, m, name, mdns.TypeDS)
	switch {
	case f != nil:
		return &step{f: f}, nil
	case d == denialCut, d == denialOptOut, d == denialTooMany:
		why := map[denial]string{denialCut: " is not signed", denialOptOut: " may be unsigned (opt-out)", denialTooMany: " is denied with too many rounds of NSEC3"}[d]
		return &step{kind: d, zone: &zone{name: name, status: Insecure, why: told(name) + why}}, nil
	case d == denialNone:
		return &step{f: faultf("nothing proves that %s is unsigned", told(name))}, nil
	}
	return &step{kind: d}, nil
}

// trustworthy keeps the digests that can be verified; those of SHA-1 only where there is no better one. RFC 4509, section 3.
func trustworthy(rrs []mdns.RR) []*mdns.DS {
	const most = 8
	var known []*mdns.DS
	strong := false
	for _, rr := range rrs {
		if d, ok := rr.(*mdns.DS); ok && supported(d.Algorithm) && digestible(d.DigestType) {
			known = append(known, d)
			strong = strong || d.DigestType != mdns.SHA1
		}
	}
	if strong {
		known = slices.DeleteFunc(known, func(d *mdns.DS) bool { return d.DigestType == mdns.SHA1 })
	}
	return known[:min(len(known), most)]
}
