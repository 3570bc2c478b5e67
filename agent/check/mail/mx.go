package mail

import (
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// maxTargets of a domain are looked up; a sender tries no more either.
const maxTargets = 10

// judgeMX judges the servers that the domain names for its letters. RFC 5321, section 5.1. The rule by which a domain
// without any takes letters at its own address is for domains that were never set up for mail.
func (c *domainCheck) judgeMX(a *asking, facts *check.Facts, phases *check.Phases) *reach.Fault {
	begin := time.Now()
	o := a.ask(c.domain, "MX")
	phases.Add(phaseMX, time.Since(begin))
	if o.Reason == check.DNSEmpty && !c.receives {
		return reach.Failf(check.DNSMismatch, "%s does not say that it takes no letters: a null MX is missing", c.domain)
	}
	if o.Reason != check.OK {
		return reach.Failf(o.Reason, "MX of %s: %s", c.domain, o.Detail)
	}
	targets, null := mxTargets(o.Found)
	facts.Add("mx_count", float64(len(targets)))
	facts.Add("null_mx_code", truth(null))
	switch {
	case null && len(targets) > 0:
		return reach.Failf(check.DNSMismatch, "%s says that it takes no letters and names servers for them all the same", c.domain)
	case null && c.receives:
		return reach.Failf(check.DNSMismatch, "%s says that it takes no letters (null MX)", c.domain)
	case null:
		return nil
	case !c.receives:
		return reach.Failf(check.DNSMismatch, "%s names %s for its letters, though it should take none", c.domain, quoted(targets))
	}
	a.targets = targets[:min(len(targets), maxTargets)]
	begin = time.Now()
	defer func() { phases.Add(phaseAddresses, time.Since(begin)) }()
	return c.judgeTargets(a, targets, facts)
}

// mxTargets lists the servers of a domain, best first as the answer has them, and whether one is the null MX.
func mxTargets(found []mdns.RR) (targets []string, null bool) {
	for _, rr := range found {
		mx, ok := rr.(*mdns.MX)
		switch {
		case !ok:
		case mx.Mx == ".":
			null = true
		default:
			targets = append(targets, strings.ToLower(strings.TrimSuffix(mx.Mx, ".")))
		}
	}
	return targets, null
}

// judgeTargets looks up the servers' addresses.
func (c *domainCheck) judgeTargets(a *asking, targets []string, facts *check.Facts) *reach.Fault {
	good, reached := 0, 0
	var first *reach.Fault
	for _, t := range targets[:min(len(targets), maxTargets)] {
		alias, bad := a.address(t)
		if bad == nil {
			reached++
			if !alias {
				good++
				continue
			}
			// RFC 2181, section 10.3: some senders refuse it.
			bad = reach.Failf(check.Partial, "%s is an alias (CNAME), which no MX may name", told(t))
		}
		if first == nil {
			first = bad
		}
	}
	facts.Add("mx_ok_count", float64(good))
	if first == nil || reached == 0 {
		return first
	}
	return reach.Failf(check.Partial, "%s", first.Detail)
}

// address looks for an address of a server, and whether its name is an alias.
func (a *asking) address(host string) (alias bool, bad *reach.Fault) {
	for _, typ := range []string{"A", "AAAA"} {
		o := a.ask(host, typ)
		if o.Message != nil {
			alias = alias || aliased(o, host)
		}
		switch {
		case o.Reason == check.OK:
			return alias, nil
		case o.Reason == check.DNSEmpty, o.Reason == check.DNSNXDomain:
			bad = reach.Failf(check.DNSEmpty, "%s has no address: %s", told(host), o.Detail)
		default:
			return alias, reach.Failf(o.Reason, "address of %s: %s", told(host), o.Detail)
		}
		if o.Reason == check.DNSNXDomain {
			break
		}
	}
	return alias, bad
}

func aliased(o lookup.Outcome, host string) bool {
	for _, rr := range o.Message.Answer {
		if h := rr.Header(); h.Rrtype == mdns.TypeCNAME && strings.EqualFold(strings.TrimSuffix(h.Name, "."), host) {
			return true
		}
	}
	return false
}
