package lookup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"
)

// ednsBytes is the answer size we offer over UDP: what passes everywhere without fragments. RFC 9715.
const ednsBytes = 1232

// A Query is one question, packed once and sent many times under fresh ids. [NewQuery] makes it.
type Query struct {
	Name   string // absolute, as asked
	Type   uint16 // as in the registry of IANA
	packed []byte // with EDNS0
	plain  []byte // without, for servers that refuse EDNS0
}

// NewQuery packs a question. Its errors name the option that is wrong, "name" or "type".
func NewQuery(name, typ string, recursion, dnssec bool) (Query, error) {
	q := Query{}
	t, err := parseType(typ)
	if err != nil {
		return q, err
	}
	q.Type = t
	if a, err := netip.ParseAddr(name); err == nil && t == mdns.TypePTR {
		if name, err = mdns.ReverseAddr(a.String()); err != nil {
			return q, fmt.Errorf("option %q: %q: %w", "name", name, err)
		}
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7e || r <= ' ' }) {
		return q, fmt.Errorf("option %q: %q has letters that DNS does not carry: write it in its xn-- form", "name", name)
	}
	q.Name = mdns.Fqdn(name)
	if _, ok := mdns.IsDomainName(q.Name); !ok || name == "" {
		return q, fmt.Errorf("option %q: %q is no domain name: write labels of at most 63 letters with dots between", "name", name)
	}
	m := new(mdns.Msg)
	m.SetQuestion(q.Name, t)
	m.Id, m.RecursionDesired = 0, recursion
	if q.plain, err = m.Pack(); err != nil {
		return q, fmt.Errorf("option %q: %q cannot be asked for: %w", "name", name, err)
	}
	m.SetEdns0(ednsBytes, dnssec)
	if q.packed, err = m.Pack(); err != nil {
		return q, fmt.Errorf("option %q: %q cannot be asked for: %w", "name", name, err)
	}
	return q, nil
}

// Unvalidated returns the question with a request to leave validation to the asker (CD). RFC 4035, section 3.2.2.
func (q Query) Unvalidated() Query {
	const checkingDisabled = 1 << 4
	for _, packed := range []*[]byte{&q.packed, &q.plain} {
		b := slices.Clone(*packed)
		b[3] |= checkingDisabled
		*packed = b
	}
	return q
}

// parseType reads the name of a record type or TYPEnnn (RFC 3597). Types that are no records to ask for are refused: a
// whole zone is not ours to fetch.
func parseType(s string) (uint16, error) {
	t, ok := mdns.StringToType[strings.ToUpper(s)]
	if !ok {
		digits, found := strings.CutPrefix(strings.ToUpper(s), "TYPE")
		n, err := strconv.ParseUint(digits, 10, 16)
		if !found || err != nil || n == 0 {
			return 0, fmt.Errorf("option %q: %q is no record type: write e.g. A, MX, TXT or TYPE65", "type", s)
		}
		t = uint16(n)
	}
	switch t {
	case mdns.TypeNone, mdns.TypeAXFR, mdns.TypeIXFR, mdns.TypeOPT, mdns.TypeTSIG, mdns.TypeTKEY, mdns.TypeMAILA, mdns.TypeMAILB, mdns.TypeReserved:
		return 0, fmt.Errorf("option %q: %s cannot be asked for: write the type of a record", "type", strings.ToUpper(s))
	}
	return t, nil
}

// An echoed is what the head of a message says about the question it answers.
type echoed struct {
	rcode     int
	truncated bool
}

var (
	errForeign   = errors.New("an answer to another question")
	errMalformed = errors.New("a malformed answer")
)

// head reads the header and the question of a message without unpacking the rest. It is errForeign when the message
// is no answer to our question under our id, and errMalformed when it is one whose question cannot be read.
func (q Query) head(b []byte, id uint16) (echoed, error) {
	const headerBytes = 12
	if len(b) < headerBytes || binary.BigEndian.Uint16(b) != id {
		return echoed{}, errForeign
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&(1<<15) == 0 || flags>>11&0xf != mdns.OpcodeQuery {
		return echoed{}, errForeign
	}
	e := echoed{rcode: int(flags & 0xf), truncated: flags&(1<<9) != 0}
	switch n := binary.BigEndian.Uint16(b[4:]); {
	case n == 0 && e.rcode != mdns.RcodeSuccess && e.rcode != mdns.RcodeNameError:
		return e, nil // servers that fail may leave the question out
	case n != 1:
		return e, fmt.Errorf("%w: %d questions", errMalformed, n)
	}
	name, at, err := mdns.UnpackDomainName(b, headerBytes)
	if err != nil {
		return e, fmt.Errorf("%w: question: %w", errMalformed, err)
	}
	if at+4 > len(b) {
		return e, fmt.Errorf("%w: it ends in the question", errMalformed)
	}
	if !strings.EqualFold(name, q.Name) || binary.BigEndian.Uint16(b[at:]) != q.Type || binary.BigEndian.Uint16(b[at+2:]) != mdns.ClassINET {
		return e, errForeign
	}
	return e, nil
}

// MaxAnswers bounds the records that are looked at; a message over TCP has room for some thousands.
const MaxAnswers = 1000

// records returns the records that answer the question: those of its type at the end of the chain of aliases that
// begins at its name. What stands beside them is not believed.
func (q Query) records(answer []mdns.RR) []mdns.RR {
	answer = answer[:min(len(answer), MaxAnswers)]
	owner := q.Name
	if q.Type != mdns.TypeCNAME && q.Type != mdns.TypeANY {
		owner = chainEnd(owner, answer)
	}
	var found []mdns.RR
	for _, rr := range answer {
		h := rr.Header()
		if h.Class == mdns.ClassINET && (h.Rrtype == q.Type || q.Type == mdns.TypeANY) && strings.EqualFold(h.Name, owner) {
			found = append(found, rr)
		}
	}
	return found
}

// chainEnd follows aliases from owner, at most maxAliases of them.
func chainEnd(owner string, answer []mdns.RR) string {
	const maxAliases = 16
	for range maxAliases {
		i := slices.IndexFunc(answer, func(rr mdns.RR) bool {
			return rr.Header().Rrtype == mdns.TypeCNAME && strings.EqualFold(rr.Header().Name, owner)
		})
		if i < 0 {
			return owner
		}
		alias, ok := answer[i].(*mdns.CNAME)
		if !ok {
			return owner
		}
		owner = alias.Target
	}
	return owner
}

// Data is the content of a record in a form that compares: addresses as addresses are written, names in small letters,
// text as one string.
func Data(rr mdns.RR) string {
	switch r := rr.(type) {
	case *mdns.A:
		return r.A.String()
	case *mdns.AAAA:
		return r.AAAA.String()
	case *mdns.TXT:
		return unescape(strings.Join(r.Txt, ""))
	case *mdns.CNAME, *mdns.NS, *mdns.PTR, *mdns.MX, *mdns.SRV, *mdns.SOA, *mdns.DNAME:
		return strings.ToLower(content(rr))
	case *mdns.RFC3597:
		return fmt.Sprintf(`\# %d %s`, len(r.Rdata)/2, strings.ToLower(r.Rdata))
	default:
		return content(rr)
	}
}

func content(rr mdns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// unescape undoes the library's way of writing a text: \DDD for a byte, \X for a character. RFC 1035, section 5.1.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
