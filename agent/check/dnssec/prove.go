package dnssec

import (
	"context"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
)

// A Proof is what was found of one answer.
type Proof struct {
	Status   Status
	Why      string // for a person: what fails, or why it is insecure; "" when it is secure
	Untimely bool   // Bogus only because of the time: whose clock is not sure cannot tell
	Denied   bool   // what is proven is that there is no such name or type
}

// maxAliases bounds a chain of aliases.
const maxAliases = 16

// Prove proves a message that answers a question. It asks for what the proof takes; an error says that something on the way
// did not answer, or [ErrStripped].
func (w *Walk) Prove(ctx context.Context, m *mdns.Msg, name string, typ uint16) (Proof, error) {
	w.cost, w.hashes, w.questions = 0, maxHashes, 0
	owner := mdns.CanonicalName(name)
	sum := Proof{Status: Secure}
	seen := map[string]bool{}
	for range maxAliases {
		if seen[owner] {
			return bogus(faultf("the aliases go round in a circle at %s", told(owner))), nil
		}
		seen[owner] = true
		if s := pick(m.Answer, owner, typ); len(s.rrs) > 0 {
			p, err := w.positive(ctx, m, s, typ)
			return worse(sum, p), err
		}
		s := pick(m.Answer, owner, mdns.TypeCNAME)
		if len(s.rrs) == 0 {
			p, err := w.negative(ctx, m, owner, typ)
			return worse(sum, p), err
		}
		p, err := w.alias(ctx, m, s)
		if sum = worse(sum, p); err != nil || sum.Status == Bogus {
			return sum, err
		}
		c, ok := s.rrs[0].(*mdns.CNAME)
		if !ok || len(s.rrs) > 1 {
			return bogus(faultf("%s has several aliases", told(owner))), nil
		}
		owner = mdns.CanonicalName(c.Target)
	}
	return bogus(faultf("more than %d aliases follow one another", maxAliases)), nil
}

func bogus(f *fault) Proof { return Proof{Status: Bogus, Why: f.why, Untimely: f.untimely} }

// worse joins the proofs of two steps: one that is bogus or insecure makes the whole so.
func worse(a, b Proof) Proof {
	b.Denied = a.Denied || b.Denied
	if a.Status == Bogus || a.Status == Insecure && b.Status == Secure {
		a.Denied = b.Denied
		return a
	}
	return b
}

// positive proves a set that is there.
func (w *Walk) positive(ctx context.Context, m *mdns.Msg, s set, typ uint16) (Proof, error) {
	z, f, err := w.signer(ctx, s, typ)
	switch {
	case err != nil:
		return Proof{Status: Bogus}, err
	case f != nil:
		return bogus(f), nil
	case z.status != Secure:
		return Proof{Status: z.status, Why: z.why}, nil
	}
	expanded, f := w.verify(z, s)
	if f != nil {
		return bogus(f), nil
	}
	if !expanded {
		return Proof{Status: Secure}, nil
	}
	return w.wildcard(z, m, s), nil
}

// signer finds the zone that is to have signed a set: the nearest one that the signatures name, or, without any, the one in
// which the name stands.
func (w *Walk) signer(ctx context.Context, s set, typ uint16) (*zone, *fault, error) {
	at := s.name
	if typ == mdns.TypeDS && at != "." {
		at = parent(at) // said by the zone above
	}
	top, anchored := w.anchors.Above(s.name)
	name := ""
	for _, sig := range s.sigs {
		n := mdns.CanonicalName(sig.SignerName)
		if mdns.IsSubDomain(n, at) && mdns.IsSubDomain(top, n) && (name == "" || len(n) > len(name)) {
			name = n
		}
	}
	if name == "" || !anchored {
		return w.to(ctx, at)
	}
	z, f, err := w.to(ctx, name)
	if f == nil && err == nil && z.status == Secure && z.name != name {
		f = faultf("%s is signed by %s, which is no zone", told(s.name), told(name))
	}
	return z, f, err
}

// wildcard proves that a set that stems from a wildcard stands for no name of its own.
func (w *Walk) wildcard(z *zone, m *mdns.Msg, s set) Proof {
	labels := 0
	for _, sig := range s.sigs {
		if mdns.CanonicalName(sig.SignerName) == z.name {
			labels = int(sig.Labels)
			break
		}
	}
	three, spans, f := w.denials(z, m)
	if f != nil {
		return bogus(f)
	}
	d := max(spans.closer(s.name, labels), three.closer(s.name, labels))
	switch d {
	case denialName:
		return Proof{Status: Secure}
	case denialOptOut, denialTooMany:
		return Proof{Status: Insecure, Why: told(s.name) + " stems from a wildcard that may not be meant (opt-out)"}
	}
	return bogus(faultf("%s stems from a wildcard, and nothing proves that it has no records of its own", told(s.name)))
}

// alias proves a CNAME, or the DNAME that it was made of. RFC 6672, section 5.3.
func (w *Walk) alias(ctx context.Context, m *mdns.Msg, s set) (Proof, error) {
	if len(s.sigs) > 0 {
		return w.positive(ctx, m, s, mdns.TypeCNAME)
	}
	for _, rr := range m.Answer {
		d, ok := rr.(*mdns.DNAME)
		if !ok {
			continue
		}
		owner := mdns.CanonicalName(d.Hdr.Name)
		if owner == s.name || !mdns.IsSubDomain(owner, s.name) {
			continue
		}
		c, ok := s.rrs[0].(*mdns.CNAME)
		if !ok || mdns.CanonicalName(strings.TrimSuffix(s.name, owner)+d.Target) != mdns.CanonicalName(c.Target) {
			return bogus(faultf("the alias of %s is not what %s says", told(s.name), told(owner))), nil
		}
		return w.positive(ctx, m, pick(m.Answer, owner, mdns.TypeDNAME), mdns.TypeDNAME)
	}
	return w.positive(ctx, m, s, mdns.TypeCNAME)
}

// negative proves that there is no such name or type.
func (w *Walk) negative(ctx context.Context, m *mdns.Msg, name string, typ uint16) (Proof, error) {
	s := set{name: name}
	for _, rr := range m.Ns {
		if sig, ok := rr.(*mdns.RRSIG); ok && (sig.TypeCovered == mdns.TypeNSEC || sig.TypeCovered == mdns.TypeNSEC3) {
			s.sigs = append(s.sigs, sig)
		}
	}
	z, f, err := w.signer(ctx, s, typ)
	switch {
	case err != nil:
		return Proof{Status: Bogus}, err
	case f != nil:
		return bogus(f), nil
	case z.status != Secure:
		return Proof{Status: z.status, Why: z.why}, nil
	}
	d, f := w.denied(z, m, name, typ)
	switch {
	case f != nil:
		return bogus(f), nil
	case d == denialOptOut, d == denialTooMany:
		return Proof{Status: Insecure, Why: "what proves that " + told(name) + " is not there leaves room for unsigned zones, or is too costly"}, nil
	case d == denialName, d != denialNone && m.Rcode == mdns.RcodeSuccess:
		return Proof{Status: Secure, Denied: true}, nil
	}
	return bogus(faultf("nothing proves that %s does not have what was asked for", told(name))), nil
}

// denied says what the records of a message prove of a name and type in a secure zone.
func (w *Walk) denied(z *zone, m *mdns.Msg, name string, typ uint16) (denial, *fault) {
	three, spans, f := w.denials(z, m)
	if f != nil {
		return denialNone, f
	}
	if d := spans.deny(name, typ); d != denialNone {
		return d, nil
	}
	return three.deny(name, typ), nil
}

// denials verifies the NSEC and NSEC3 records of a message that are the zone's.
func (w *Walk) denials(z *zone, m *mdns.Msg) (hashes, spans, *fault) {
	const most = 8 // a proof takes three
	var all spans
	var three []*mdns.NSEC3
	seen := map[string]bool{}
	for _, rr := range m.Ns {
		h := rr.Header()
		name := mdns.CanonicalName(h.Name)
		if h.Rrtype != mdns.TypeNSEC && h.Rrtype != mdns.TypeNSEC3 || !mdns.IsSubDomain(z.name, name) || seen[name] {
			continue
		}
		if seen[name] = true; len(seen) > most {
			return hashes{}, nil, faultf("%d and more records deny one name", most+1)
		}
		s := pick(m.Ns, name, h.Rrtype)
		if !slices.ContainsFunc(s.sigs, func(sig *mdns.RRSIG) bool { return mdns.CanonicalName(sig.SignerName) == z.name }) {
			continue // another zone's, where an alias led through several
		}
		expanded, f := w.verify(z, s)
		switch {
		case f != nil:
			return hashes{}, nil, f
		case expanded:
			continue // no denial stems from a wildcard
		}
		for _, rr := range s.rrs {
			switch r := rr.(type) {
			case *mdns.NSEC:
				if sp, ok := spanOf(r); ok {
					all = append(all, sp)
				}
			case *mdns.NSEC3:
				three = append(three, r)
			}
		}
	}
	return hashesOf(z.name, three, &w.hashes), all, nil
}
