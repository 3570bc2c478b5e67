package dnssec

import (
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
)

// maxIterations is the most rounds that are hashed; a zone with more counts as unsigned, as with BIND and Unbound.
// RFC 9276, section 3.2.
const maxIterations = 150

// hashes are the NSEC3 records of one zone, verified, all of the same salt and rounds. RFC 5155.
type hashes struct {
	zone    string
	records []*mdns.NSEC3
	budget  *int // rounds that the run has left
	known   map[string]string
}

// hashesOf keeps the records that can be used: of one label below the zone, and of the first one's parameters.
func hashesOf(zone string, all []*mdns.NSEC3, budget *int) hashes {
	h := hashes{zone: zone, budget: budget, known: map[string]string{}}
	for _, r := range all {
		if r.Hash != mdns.SHA1 || r.Flags&^1 != 0 || parent(mdns.CanonicalName(r.Hdr.Name)) != zone {
			continue
		}
		if len(h.records) > 0 && (r.Iterations != h.records[0].Iterations || !strings.EqualFold(r.Salt, h.records[0].Salt)) {
			continue
		}
		h.records = append(h.records, r)
	}
	return h
}

func (h hashes) tooMany() bool { return len(h.records) > 0 && h.records[0].Iterations > maxIterations }

// hash returns the hash of a name; "" when the run may make no more.
func (h hashes) hash(name string) string {
	if s, ok := h.known[name]; ok {
		return s
	}
	r := h.records[0]
	rounds := 1 + int(r.Iterations)
	if *h.budget < rounds {
		return ""
	}
	*h.budget -= rounds
	s := mdns.HashName(name, r.Hash, r.Iterations, r.Salt)
	h.known[name] = s
	return s
}

func ownerHash(r *mdns.NSEC3) string {
	label, _, _ := strings.Cut(r.Hdr.Name, ".")
	return strings.ToUpper(label)
}

// at returns the record of the very name.
func (h hashes) at(name string) *mdns.NSEC3 {
	x := h.hash(name)
	i := slices.IndexFunc(h.records, func(r *mdns.NSEC3) bool { return x != "" && ownerHash(r) == x })
	if i < 0 {
		return nil
	}
	return h.records[i]
}

// over returns a record that a name's hash lies within.
func (h hashes) over(name string) *mdns.NSEC3 {
	x := h.hash(name)
	i := slices.IndexFunc(h.records, func(r *mdns.NSEC3) bool {
		owner, next := ownerHash(r), strings.ToUpper(r.NextDomain)
		switch {
		case x == "" || x == owner:
			return false
		case owner < next:
			return owner < x && x < next
		}
		return x > owner || x < next // the last one, or the only one
	})
	if i < 0 {
		return nil
	}
	return h.records[i]
}

// encloser returns the nearest name at or above a name that is proven to exist, and the name one label below it on the
// way. RFC 5155, section 8.3.
func (h hashes) encloser(name string) (encloser, next string, ok bool) {
	for n, below := name, ""; mdns.IsSubDomain(h.zone, n); n, below = parent(n), n {
		if r := h.at(n); r != nil {
			cut := slices.Contains(r.TypeBitMap, mdns.TypeNS) && !slices.Contains(r.TypeBitMap, mdns.TypeSOA)
			if below != "" && (cut || slices.Contains(r.TypeBitMap, mdns.TypeDNAME)) {
				return "", "", false // another zone's, or the alias of a whole tree
			}
			return n, below, true
		}
		if n == "." {
			break
		}
	}
	return "", "", false
}

// deny says what the records prove of a name and type. RFC 5155, sections 8.4 to 8.8.
func (h hashes) deny(name string, typ uint16) denial {
	switch {
	case len(h.records) == 0:
		return denialNone
	case h.tooMany():
		return denialTooMany
	}
	encloser, next, ok := h.encloser(name)
	if !ok {
		return denialNone
	}
	if next == "" {
		return lacking(h.at(name).TypeBitMap, typ)
	}
	cover := h.over(next)
	if cover == nil {
		return denialNone
	}
	optOut := cover.Flags&1 != 0
	star := wildcardOf(encloser)
	switch r := h.at(star); {
	case r != nil && lacking(r.TypeBitMap, typ) == denialType:
		return denialType
	case r != nil:
		return denialNone
	case optOut:
		return denialOptOut
	case h.over(star) != nil:
		return denialName
	}
	return denialNone
}

// closer is like that of [spans]. RFC 5155, section 8.8.
func (h hashes) closer(name string, labels int) denial {
	switch {
	case len(h.records) == 0:
		return denialNone
	case h.tooMany():
		return denialTooMany
	}
	r := h.over(upper(name, labels+1))
	switch {
	case r == nil:
		return denialNone
	case r.Flags&1 != 0:
		return denialOptOut
	}
	return denialName
}
