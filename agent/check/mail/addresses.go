package mail

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/reach"
)

// Bounds of what is asked about a domain's servers.
const (
	maxAddresses = 10
	maxLists     = 8
	maxExtra     = 200 // questions beside those about MX, SPF and DMARC
	maxKeyBits   = 1 << 20
)

// mailAddresses lists the addresses of the domain's servers, and those that the plan names as senders.
func (c *domainCheck) mailAddresses(a *asking) []netip.Addr {
	all := slices.Clone(c.senders)
	for _, host := range a.targets {
		for _, typ := range []string{"A", "AAAA"} {
			for _, rr := range a.ask(host, typ).Found {
				if ip, ok := addressOf(rr); ok && !slices.Contains(all, ip) {
					all = append(all, ip)
				}
			}
		}
	}
	return all[:min(len(all), maxAddresses)]
}

func addressOf(rr mdns.RR) (netip.Addr, bool) {
	var ip netip.Addr
	var ok bool
	switch rr := rr.(type) {
	case *mdns.A:
		ip, ok = netip.AddrFromSlice(rr.A.To4())
	case *mdns.AAAA:
		ip, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return ip, ok
}

// judgeReverse looks whether each address has a name that leads back to it: many servers refuse letters from one that
// has none. RFC 1912, section 2.1.
func (c *domainCheck) judgeReverse(a *asking, facts *check.Facts) *reach.Fault {
	addresses := c.mailAddresses(a)
	good := 0
	var bad *reach.Fault
	for _, ip := range addresses {
		fault := a.reverse(ip)
		if fault == nil {
			good++
		}
		bad = worse(bad, fault)
	}
	facts.Add("addresses_count", float64(len(addresses)))
	facts.Add("reverse_ok_count", float64(good))
	return bad
}

// reverse judges one address.
func (a *asking) reverse(ip netip.Addr) *reach.Fault {
	o := a.ask(ip.String(), "PTR")
	switch o.Reason {
	case check.OK:
	case check.DNSEmpty, check.DNSNXDomain:
		return reach.Failf(check.MailAuth, "%s has no name (PTR)", ip)
	default:
		return reach.Failf(check.Partial, "the name of %s: %s (%s)", ip, o.Detail, o.Reason)
	}
	typ := "A"
	if ip.Is6() {
		typ = "AAAA"
	}
	name := ""
	for _, rr := range o.Found[:min(len(o.Found), 4)] {
		ptr, ok := rr.(*mdns.PTR)
		if !ok {
			continue
		}
		name = strings.TrimSuffix(ptr.Ptr, ".")
		for _, rr := range a.ask(name, typ).Found {
			if back, ok := addressOf(rr); ok && back == ip {
				return nil
			}
		}
	}
	return reach.Failf(check.MailAuth, "the name of %s, %s, does not lead back to it", ip, told(name))
}

// judgeLists asks the block lists that the plan names about each address. RFC 5782, section 2.
func (c *domainCheck) judgeLists(a *asking, facts *check.Facts) *reach.Fault {
	listed, silent := 0, 0
	var bad *reach.Fault
	for _, ip := range c.mailAddresses(a) {
		for _, list := range c.lists {
			on, fault := a.listed(ip, list)
			switch {
			case fault != nil:
				silent++
				bad = worse(bad, fault)
			case on:
				listed++
				if bad == nil || bad.Reason != check.MailAuth {
					bad = reach.Failf(check.MailAuth, "%s is on the block list %s", ip, told(list))
				}
			}
		}
	}
	facts.Add("blocklisted_count", float64(listed))
	facts.Add("blocklist_silent_count", float64(silent))
	return bad
}

// blockName is what a list is asked for: the address backwards, byte by byte or by halves of bytes.
func blockName(ip netip.Addr, list string) string {
	var parts []string
	if ip.Is4() {
		parts = strings.Split(ip.String(), ".")
	} else {
		b := ip.As16()
		parts = strings.Split(hex.EncodeToString(b[:]), "")
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".") + "." + list
}

// listed asks one list about one address. Answers outside of 127.0.0.0/8 are a list that is gone or a resolver that
// lies, those in 127.255.255.0/24 a list that does not serve us: neither says anything.
func (a *asking) listed(ip netip.Addr, list string) (bool, *reach.Fault) {
	o := a.ask(blockName(ip, list), "A")
	switch o.Reason {
	case check.OK:
	case check.DNSEmpty, check.DNSNXDomain:
		return false, nil
	default:
		return false, reach.Failf(check.Partial, "the block list %s: %s (%s)", told(list), o.Detail, o.Reason)
	}
	for _, rr := range o.Found {
		b, ok := addressOf(rr)
		if ok && b.Is4() && b.As4()[0] == 127 && !(b.As4()[1] == 255 && b.As4()[2] == 255) {
			return true, nil
		}
	}
	return false, reach.Failf(check.Partial, "the block list %s does not answer us", told(list))
}

// judgeDANE looks at the certificates that the domain's servers are bound to in DNS. RFC 7672: only records that DNSSEC
// vouches for count, and only those of usage 2 and 3.
func (c *domainCheck) judgeDANE(a *asking, facts *check.Facts) *reach.Fault {
	good := 0
	var bad *reach.Fault
	for _, host := range a.targets {
		fault := a.dane(host)
		if fault == nil {
			good++
		}
		bad = worse(bad, fault)
	}
	facts.Add("dane_ok_count", float64(good))
	return bad
}

// dane judges the records of one server.
func (a *asking) dane(host string) *reach.Fault {
	o := a.askDNSSEC("_25._tcp."+host, "TLSA")
	switch o.Reason {
	case check.OK:
	case check.DNSEmpty, check.DNSNXDomain:
		return reach.Failf(check.MailAuth, "%s has no TLSA record", told(host))
	default:
		return reach.Failf(check.Partial, "TLSA of %s: %s (%s)", told(host), o.Detail, o.Reason)
	}
	if !o.Message.AuthenticatedData {
		return reach.Failf(check.MailAuth, "TLSA of %s: the resolver does not say that DNSSEC vouches for it", told(host))
	}
	_, bad := usableTLSA(host, o.Found)
	return bad
}
