package dns

import (
	"context"
	"net/netip"
	"slices"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// What finding a zone and its servers may take.
const (
	maxQuestions = 80 // put to resolvers, in all
	maxNames     = 16 // of name servers whose addresses are looked up
	maxAddresses = 32 // of name servers that are asked
)

// A finder finds zones and their servers through a resolver.
type finder struct {
	stub  lookup.Stub
	net   internet
	tries int
}

// apex finds the zone that a name stands in: its SOA, or that of what a resolver says in its place (RFC 2308, section 3).
func (f *finder) apex(ctx context.Context, name string) (string, *reach.Fault) {
	for at := mdns.CanonicalName(name); ; at = above(at) {
		o := f.stub.Ask(ctx, at, "SOA")
		if !o.Replied() {
			return "", reach.Failf(o.Reason, "SOA of %s: %s", at, o.Detail)
		}
		sections := [][]mdns.RR{o.Message.Answer, o.Message.Ns}
		if aliasOf(at, o) != "" {
			sections = nil // what follows is said of the alias's end
		}
		for _, section := range sections {
			for _, rr := range section {
				if owner := mdns.CanonicalName(rr.Header().Name); rr.Header().Rrtype == mdns.TypeSOA && mdns.IsSubDomain(owner, at) {
					return owner, nil
				}
			}
		}
		if at == "." {
			return "", reach.Failf(check.DNSEmpty, "no zone is found that %s stands in", name)
		}
	}
}

// above is the name one label up; the root's is the root.
func above(name string) string {
	i, end := mdns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// names lists name servers, each once, in order.
func names(rrs []mdns.RR) []string {
	var all []string
	for _, rr := range rrs {
		if ns, ok := rr.(*mdns.NS); ok {
			all = append(all, mdns.CanonicalName(ns.Ns))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// addresses looks a name server up, in the order of addresses. It is not sure of them when a resolver did not answer.
func (f *finder) addresses(ctx context.Context, host string, types ...string) (all []netip.Addr, sure bool) {
	const most = 4 // of one name and version of IP
	sure = true
	for _, typ := range types {
		o := f.stub.Ask(ctx, host, typ)
		sure = sure && o.Replied()
		var some []netip.Addr
		for _, rr := range o.Found {
			if a, ok := addressOf(rr); ok {
				some = append(some, a)
			}
		}
		check.Order(some, netip.Addr.Compare)
		all = append(all, some[:min(len(some), most)]...)
	}
	return all, sure
}

func addressOf(rr mdns.RR) (netip.Addr, bool) {
	var a netip.Addr
	var ok bool
	switch r := rr.(type) {
	case *mdns.A:
		a, ok = netip.AddrFromSlice(r.A)
	case *mdns.AAAA:
		a, ok = netip.AddrFromSlice(r.AAAA)
	}
	return a.Unmap(), ok
}

// authority asks the servers of the zone that the question's name stands in, until one speaks for it.
func (f *finder) authority(ctx context.Context, q lookup.Query) lookup.Outcome {
	const most = 3
	var last lookup.Outcome
	zone, bad := f.apex(ctx, q.Name)
	if bad != nil {
		return lookup.Outcome{Reason: bad.Reason, Detail: bad.Detail}
	}
	ns := f.stub.Ask(ctx, zone, "NS")
	asked := 0
	for _, host := range names(ns.Found) {
		addresses, _ := f.addresses(ctx, host, "A")
		for _, a := range addresses {
			if asked++; asked > most {
				return last
			}
			one, cancel := lookup.Share(ctx, 2)
			asker := lookup.Asker{Query: q, Tries: f.tries, Source: f.stub.Source}
			last = asker.Ask(one, f.net.at(a))
			cancel()
			if last.Replied() && last.Message.Authoritative {
				return last
			}
		}
	}
	if last.Replied() {
		last.Reason, last.Detail = check.DNSServfail, "no server speaks for "+zone
	}
	return last
}
