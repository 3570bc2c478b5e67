package dnssec

import (
	"slices"

	mdns "github.com/miekg/dns"
)

// A place is a name as it is ordered: its labels from the right, letters in lower case. RFC 4034, section 6.1.
type place []string

// placeOf returns the place of a name; nil for one that is none. The root's is empty and not nil.
func placeOf(name string) place {
	var wire [256]byte
	end, err := mdns.PackDomainName(mdns.Fqdn(name), wire[:], 0, nil, false)
	if err != nil {
		return nil
	}
	p := place{}
	for at := 0; at < end && wire[at] != 0; {
		n := int(wire[at])
		label := wire[at+1 : at+1+n]
		for i, c := range label {
			if 'A' <= c && c <= 'Z' {
				label[i] = c + 'a' - 'A'
			}
		}
		p = append(p, string(label))
		at += 1 + n
	}
	slices.Reverse(p)
	return p
}

func (p place) compare(q place) int { return slices.Compare(p, q) }

// below tells whether p is q or below it.
func (p place) below(q place) bool { return len(p) >= len(q) && slices.Equal(p[:len(q)], q) }

// shared is how many labels, from the right, two names have in common.
func (p place) shared(q place) int {
	n := 0
	for n < len(p) && n < len(q) && p[n] == q[n] {
		n++
	}
	return n
}

// upper returns the name of n labels at or above a canonical name.
func upper(name string, n int) string {
	starts := mdns.Split(name)
	if n <= 0 || len(starts) < n {
		return "."
	}
	return name[starts[len(starts)-n]:]
}

func wildcardOf(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}
