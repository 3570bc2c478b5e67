package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// maxLookups is how many questions a receiver may need for a record. RFC 7208, section 4.6.4.
const maxLookups = 10

// isSPF reports whether a TXT record is an SPF record. RFC 7208, section 4.5.
func isSPF(s string) bool {
	word, _, _ := strings.Cut(s, " ")
	return strings.EqualFold(word, "v=spf1")
}

// An spfRecord is what of a record asks further questions, and what it says of all senders that it does not name.
type spfRecord struct {
	lookups  int      // questions that its own terms ask
	follow   []string // records that it takes in (include, redirect), as far as their names are fixed
	all      byte     // the qualifier of all: + - ~ ?; 0 without one
	redirect bool
}

// The words of a record. RFC 7208, section 12.
var (
	spfModifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*=`)
	spfMacros   = regexp.MustCompile(`%(?:%|_|-|\{[slodiphcrtvSLODIPHCRTV][0-9]*[rR]?[.+,/_=-]*\})`)
)

// parseSPF reads a record that isSPF. Errors say what a receiver stumbles over.
func parseSPF(s string) (spfRecord, error) {
	var r spfRecord
	seen := map[string]bool{}
	redirect := ""
	for i, term := range strings.Split(s, " ") {
		if i == 0 || term == "" {
			continue
		}
		if spfModifier.MatchString(term) {
			name, value, _ := strings.Cut(term, "=")
			name = strings.ToLower(name)
			if name != "redirect" && name != "exp" {
				continue // others are for others
			}
			if seen[name] {
				return r, fmt.Errorf("%s stands twice", name)
			}
			seen[name] = true
			if err := domainSpec(value); err != nil {
				return r, fmt.Errorf("%s: %w", told(term), err)
			}
			if name == "redirect" {
				redirect = value
			}
			continue
		}
		if err := r.mechanism(term); err != nil {
			return r, fmt.Errorf("%s: %w", told(term), err)
		}
	}
	if redirect != "" && r.all == 0 {
		r.redirect = true
		r.asks(redirect, true)
	}
	return r, nil
}

// mechanism reads one term that matches senders. Those after all are checked for their form only.
func (r *spfRecord) mechanism(term string) error {
	qualifier := byte('+')
	if strings.IndexByte("+-~?", term[0]) >= 0 {
		qualifier, term = term[0], term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	name, rest := strings.ToLower(term[:end]), term[end:]
	value, given := strings.CutPrefix(rest, ":")
	reached := r.all == 0
	switch name {
	case "all":
		if rest != "" {
			return errors.New("all takes nothing")
		}
		if reached {
			r.all = qualifier
		}
	case "ip4", "ip6":
		return addressSpec(name, value)
	case "include", "exists":
		if err := domainSpec(value); err != nil {
			return err
		}
		if reached {
			r.asks(value, name == "include")
		}
	case "a", "mx":
		domain, prefix, _ := strings.Cut(value, "/")
		if !given {
			domain, prefix = "", strings.TrimPrefix(rest, "/")
		}
		if err := errors.Join(optionalSpec(domain, given), prefixSpec(prefix, strings.Contains(rest, "/"))); err != nil {
			return err
		}
		if reached {
			r.lookups++
		}
	case "ptr":
		if rest != "" && !given {
			return errors.New("what follows ptr begins with a colon")
		}
		if err := optionalSpec(value, given); err != nil {
			return err
		}
		if reached {
			r.lookups++
		}
	default:
		return errors.New("no term of SPF")
	}
	return nil
}

// asks counts a term that asks a question, and keeps the name of a record that has to be read too.
func (r *spfRecord) asks(domain string, record bool) {
	r.lookups++
	if record && !strings.Contains(domain, "%") {
		r.follow = append(r.follow, strings.TrimSuffix(strings.ToLower(domain), "."))
	}
}

func optionalSpec(s string, given bool) error {
	if !given {
		return nil
	}
	return domainSpec(s)
}

// domainSpec checks a name, in which macros may stand.
func domainSpec(s string) error {
	plain := spfMacros.ReplaceAllString(s, "x")
	if s == "" || strings.ContainsAny(plain, "%/:") || strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("no name of a domain")
	}
	return nil
}

// addressSpec checks an address with or without the length of its network.
func addressSpec(mechanism, s string) error {
	addr, bits, cut := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != (mechanism == "ip4") {
		return fmt.Errorf("no address of %s", mechanism)
	}
	if n, err := strconv.ParseUint(bits, 10, 8); cut && (err != nil || int(n) > a.BitLen()) {
		return errors.New("no length of a network")
	}
	return nil
}

// prefixSpec checks 24, 24//64 or /64, what stands behind the first slash.
func prefixSpec(s string, given bool) error {
	if !given {
		return nil
	}
	four, six, both := strings.Cut(s, "/")
	if both && four != "" && !strings.HasPrefix(six, "/") {
		return errors.New("the length of an IPv6 network stands behind two slashes")
	}
	six = strings.TrimPrefix(six, "/")
	for i, bits := range []string{four, six} {
		if bits == "" && (i == 0) == both {
			continue
		}
		if n, err := strconv.ParseUint(bits, 10, 8); err != nil || n > uint64(32+96*i) {
			return errors.New("no length of a network")
		}
	}
	return nil
}

// judgeSPF reads the domain's record and those that it takes in.
func (c *domainCheck) judgeSPF(a *asking, facts *check.Facts) *reach.Fault {
	records, bad := a.texts(c.domain, isSPF)
	if bad != nil {
		return bad
	}
	facts.Add("spf_records_count", float64(len(records)))
	switch {
	case len(records) == 0:
		return reach.Failf(check.MailAuth, "%s has no SPF record", c.domain)
	case len(records) > 1:
		return reach.Failf(check.MailAuth, "%s has %d SPF records, which is none to a receiver", c.domain, len(records))
	}
	lookups := 0
	all, bad := a.spf(c.domain, records[0], &lookups)
	facts.Add("spf_lookups_count", float64(min(lookups, maxLookups+1)))
	if bad == nil && all == '+' {
		return reach.Failf(check.MailAuth, "SPF of %s lets everybody send in its name (+all)", c.domain)
	}
	return bad
}

// spf reads one record with all that it takes in, and returns what it says of everybody else. It counts what the worst
// case asks: a receiver stops at the first term that matches, but a sender must not hang on which one does.
func (a *asking) spf(domain, record string, lookups *int) (all byte, bad *reach.Fault) {
	r, err := parseSPF(record)
	if err != nil {
		return 0, reach.Failf(check.MailAuth, "SPF of %s: %s", told(domain), err)
	}
	if *lookups += r.lookups; *lookups > maxLookups {
		return 0, reach.Failf(check.MailAuth, "SPF takes more than %d lookups, which is none to a receiver (reached at %s)", maxLookups, told(domain))
	}
	all = r.all
	for i, name := range r.follow {
		records, bad := a.texts(name, isSPF)
		switch {
		case bad != nil:
			return 0, bad
		case len(records) != 1:
			return 0, reach.Failf(check.MailAuth, "SPF of %s takes in %s, which has %d SPF records", told(domain), told(name), len(records))
		}
		theirs, bad := a.spf(name, records[0], lookups)
		if bad != nil {
			return 0, bad
		}
		if r.redirect && i == len(r.follow)-1 {
			all = theirs
		}
	}
	return all, nil
}
