package portal

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 16

// everywhere fetches the page at each address of the name. It returns the first fetch that went well, or else the first; bad is set
// when none did, and worn when some did not.
func (c *httpCheck) everywhere(ctx context.Context, s *scratch) (f fetch, bad, worn *fault) {
	f = fetch{c: c, scratch: s, last: answerNotRead()}
	resolve := c.more.resolve
	if resolve == nil {
		resolve = net.DefaultResolver.LookupNetIP
	}
	found, err := resolve(ctx, c.more.network, c.url.Hostname())
	if err != nil {
		return f, &fault{check.Classify(check.StepConnect, err), err.Error()}, nil
	}
	found = found[:min(len(found), maxAddresses)]
	failed, first := 0, ""
	var works [2]int // addresses of IPv4 and IPv6 that do
	var has [2]int
	good := false
	for i, a := range found {
		a = a.Unmap()
		family := 0
		if a.Is6() {
			family = 1
		}
		has[family]++
		one := *c
		one.at = a
		g := fetch{c: &one, scratch: s}
		s.text.Reset()
		part, cancel := lookup.Share(ctx, len(found)-i+1)
		why := g.follow(part)
		cancel()
		if why == nil {
			works[family]++
		} else if failed++; first == "" {
			first = fmt.Sprintf("%s: %s: %s", a, why.reason, why.detail)
		}
		if i == 0 || why == nil && !good {
			f, bad = g, why
			good = why == nil
		}
	}
	f.facts.Add("addresses_count", float64(len(found)))
	f.facts.Add("addresses_failed_count", float64(failed))
	f.facts.Add("ipv4_code", truth(works[0] > 0))
	f.facts.Add("ipv6_code", truth(works[1] > 0))
	if bad != nil {
		return f, bad, nil
	}
	if c.more.addresses == addressesFamilies {
		var lacks []string
		for i, name := range []string{"IPv4", "IPv6"} {
			switch {
			case has[i] == 0:
				lacks = append(lacks, "the name has no address of "+name)
			case works[i] == 0:
				lacks = append(lacks, "no address of "+name+" does")
			}
		}
		if len(lacks) == 0 {
			return f, nil, nil
		}
		if first != "" {
			lacks = append(lacks, first)
		}
		return f, nil, &fault{check.Partial, strings.Join(lacks, "; ")}
	}
	if failed > 0 {
		return f, nil, &fault{check.Partial, fmt.Sprintf("%d of %d addresses fail: %s", failed, len(found), first)}
	}
	return f, nil, nil
}

// hostPort is where a URL's host is connected to: the address that this check is of, when it is of one.
func (c *httpCheck) hostPort(address string) string {
	if !c.at.IsValid() {
		return address
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return netip.AddrPortFrom(c.at, portOf(port)).String()
}

func portOf(s string) uint16 {
	p, err := netip.ParseAddrPort("0.0.0.0:" + s)
	if err != nil {
		return 0
	}
	return p.Port()
}
