package dnssec

import (
	"slices"

	mdns "github.com/miekg/dns"
)

// A denial is what records prove of a name that does not have what was asked for.
type denial uint8

const (
	denialNone    denial = iota // nothing
	denialName                  // the name does not exist
	denialType                  // the name has no records of the type, nor an alias
	denialCut                   // the name has no DS, and another zone begins there
	denialOptOut                // an unsigned zone may begin at the name or above it. RFC 5155, section 6
	denialTooMany               // more rounds of hashing than are made. RFC 9276, section 3.2
)

// A span is an NSEC record: nothing exists between its two names. RFC 4034, section 4.
type span struct {
	owner, next place
	types       []uint16
}

func (s span) has(typ uint16) bool { return slices.Contains(s.types, typ) }

// cut tells that another zone begins at the owner, so that this zone knows nothing of what is below. RFC 6840, section 4.1.
func (s span) cut() bool { return s.has(mdns.TypeNS) && !s.has(mdns.TypeSOA) }

// covers tells whether a name lies between the two, and is this zone's to deny.
func (s span) covers(p place) bool {
	switch {
	case p.compare(s.owner) <= 0:
		return false
	case p.below(s.owner) && (s.cut() || s.has(mdns.TypeDNAME)):
		return false
	case s.next.compare(s.owner) <= 0: // the last one points to the zone's own name
		return true
	}
	return p.compare(s.next) < 0
}

// spans are the NSEC records of one zone, verified.
type spans []span

func spanOf(r *mdns.NSEC) (span, bool) {
	s := span{placeOf(r.Hdr.Name), placeOf(r.NextDomain), r.TypeBitMap}
	return s, s.owner != nil && s.next != nil
}

func (all spans) at(p place) (span, bool) {
	i := slices.IndexFunc(all, func(s span) bool { return p.compare(s.owner) == 0 })
	if i < 0 {
		return span{}, false
	}
	return all[i], true
}

func (all spans) over(p place) (span, bool) {
	i := slices.IndexFunc(all, func(s span) bool { return s.covers(p) })
	if i < 0 {
		return span{}, false
	}
	return all[i], true
}

// deny says what the records prove of a name and type. RFC 4035, section 5.4.
func (all spans) deny(name string, typ uint16) denial {
	p := placeOf(name)
	if p == nil {
		return denialNone
	}
	if s, ok := all.at(p); ok {
		return lacking(s.types, typ)
	}
	s, ok := all.over(p)
	if !ok {
		return denialNone
	}
	if s.next.below(p) {
		return denialType // nothing stands at the name, but below it: RFC 4592, section 2.2.2
	}
	encloser := upper(name, max(p.shared(s.owner), p.shared(s.next)))
	star := placeOf(wildcardOf(encloser))
	if star == nil {
		return denialNone
	}
	if w, ok := all.at(star); ok {
		if lacking(w.types, typ) == denialType {
			return denialType
		}
		return denialNone
	}
	if _, ok := all.over(star); ok {
		return denialName
	}
	return denialNone
}

// lacking judges the types that stand at the very name.
func lacking(types []uint16, typ uint16) denial {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	switch {
	case has(typ), has(mdns.TypeCNAME):
		return denialNone
	case typ == mdns.TypeDS && has(mdns.TypeSOA): // said by the zone below, which does not know
		return denialNone
	case typ == mdns.TypeDS && has(mdns.TypeNS):
		return denialCut
	case typ != mdns.TypeDS && has(mdns.TypeNS) && !has(mdns.TypeSOA): // said by the zone above
		return denialNone
	}
	return denialType
}

// closer tells whether the records prove that nothing stands at a name but what a wildcard below a name of so many labels
// gives it: the name one label longer does not exist. RFC 4035, section 5.3.4.
func (all spans) closer(name string, labels int) denial {
	if p := placeOf(upper(name, labels+1)); p != nil {
		if s, ok := all.over(p); ok && !s.next.below(p) {
			return denialName
		}
	}
	return denialNone
}
