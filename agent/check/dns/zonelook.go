package dns

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/dnssec"
	"egovmon/agent/check/lookup"
	"egovmon/agent/check/reach"
)

// A view is what one run sees of a zone.
type view struct {
	fault     *reach.Fault // why nothing was seen
	own       []string     // the servers that the zone names
	above     []string     // those that the zone above names; nil when it was not asked
	hosts     []string     // both, those that are asked
	unknown   []string     // those of hosts without an address
	addresses []netip.Addr // of hosts
	unsure    bool         // a resolver did not say whether there are more
	asked     []witness
	ttl       uint32 // of own, as a server of the zone has it; 0 when none said
	aboveTTL  uint32 // of above
	questions int
	phases    check.Phases

	proof  proof
	proven []*reach.Fault // what is wrong with the answer of each of the speakers; nil for nothing
}

// A witness is what was heard at one address.
type witness struct {
	address netip.Addr
	host    string
	outcome lookup.Outcome
	denial  lookup.Outcome // of a name that should not be there; the zero value when it was not asked for
	speaks  bool           // with authority
	serial  uint32         // when it speaks
}

// find fills in the zone's servers and their addresses.
func (c *zoneCheck) find(ctx context.Context, f *finder, v *view) {
	o := f.stub.Ask(ctx, c.name, "NS")
	v.fault = c.whyNone(ctx, f, o)
	if v.fault != nil {
		return
	}
	v.own = names(o.Found)
	c.askAbove(ctx, f, v)
	all := slices.Concat(v.own, v.above)
	slices.Sort(all)
	all = slices.Compact(all)
	v.hosts = all[:min(len(all), maxNames)]
	types := map[string][]string{familyAny: {"A", "AAAA"}, familyIP4: {"A"}, familyIP6: {"AAAA"}}[c.family]
	for _, h := range v.hosts {
		found, sure := f.addresses(ctx, h, types...)
		v.unsure = v.unsure || !sure
		if len(found) == 0 && sure {
			v.unknown = append(v.unknown, h)
		}
		for _, a := range found {
			if !slices.Contains(v.addresses, a) && len(v.asked) < maxAddresses {
				v.addresses = append(v.addresses, a)
				v.asked = append(v.asked, witness{address: a, host: h})
			}
		}
	}
	check.Order(v.addresses, netip.Addr.Compare)
}

// whyNone says why a resolver knows no servers of the zone; nil when it does.
func (c *zoneCheck) whyNone(ctx context.Context, f *finder, o lookup.Outcome) *reach.Fault {
	switch {
	case o.Reason == check.OK && aliasOf(c.name, o) != "":
		return reach.Failf(check.DNSEmpty, "%s is an alias, no zone", c.name)
	case o.Reason == check.OK:
		return nil
	case o.Reason == check.DNSServfail:
		q, err := lookup.NewQuery(c.name, "NS", true, true)
		if err != nil {
			break
		}
		a := lookup.Asker{Query: q.Unvalidated(), Tries: c.tries, Source: c.source}
		if raw := a.Ask(ctx, o.Server); raw.Replied() {
			return reach.Failf(check.DNSBogus, "the resolver answers only when it need not validate: %s", o.Detail)
		}
	}
	return reach.Failf(o.Reason, "NS of %s: %s", c.name, o.Detail)
}

// askAbove asks the servers of the zone above for the delegation, until one says. Where nobody does it stays unknown: that
// is the fault of another zone.
func (c *zoneCheck) askAbove(ctx context.Context, f *finder, v *view) {
	const most = 4
	if c.name == "." {
		return
	}
	top, bad := f.apex(ctx, above(c.name))
	if bad != nil {
		return
	}
	q, err := lookup.NewQuery(c.name, "NS", false, false)
	if err != nil {
		return
	}
	asked := 0
	ns := f.stub.Ask(ctx, top, "NS")
	for _, host := range names(ns.Found) {
		addresses, _ := f.addresses(ctx, host, "A")
		for _, a := range addresses {
			if asked++; asked > most {
				return
			}
			one, cancel := lookup.Share(ctx, 3)
			asker := lookup.Asker{Query: q, Tries: c.tries, Source: c.source}
			o := asker.Ask(one, c.net.at(a))
			cancel()
			if o.Message == nil || o.Message.Authoritative {
				continue // one that serves both zones says what the lower one has
			}
			for _, rr := range o.Message.Ns {
				if n, ok := rr.(*mdns.NS); ok && mdns.CanonicalName(n.Hdr.Name) == c.name {
					v.above, v.aboveTTL = append(v.above, mdns.CanonicalName(n.Ns)), n.Hdr.Ttl
				}
			}
			if v.above != nil {
				slices.Sort(v.above)
				v.above = slices.Compact(v.above)
				return
			}
		}
	}
}

// askAll asks every address at once, and one that speaks for the zone for its list of servers.
func (c *zoneCheck) askAll(ctx context.Context, v *view) {
	q, err := lookup.NewQuery(c.name, "SOA", false, c.prover.anchors != nil)
	no, longer := lookup.NewQuery(noSuchName(c.name), "A", false, true)
	if err = errors.Join(err, longer); err != nil {
		v.fault = reach.Failf(check.Misconfigured, "%s", err)
		return
	}
	var wg sync.WaitGroup
	for i := range v.asked {
		wg.Go(func() {
			w := &v.asked[i]
			a := lookup.Asker{Query: q, Tries: c.tries, Source: c.source}
			w.outcome = a.Ask(ctx, c.net.at(w.address))
			if w.listen(c.name); w.speaks && c.prover.anchors != nil {
				a.Query = no
				w.denial = a.Ask(ctx, c.net.at(w.address))
			}
		})
	}
	wg.Wait()
	q, err = lookup.NewQuery(c.name, "NS", false, false)
	if s := v.speakers(); err == nil && len(s) > 0 {
		a := lookup.Asker{Query: q, Tries: c.tries, Source: c.source}
		if o := a.Ask(ctx, s[0].outcome.Server); o.Reason == check.OK && o.Message.Authoritative {
			v.own, v.ttl = names(o.Found), o.Found[0].Header().Ttl
		}
	}
}

// listen tells whether the server speaks for the zone.
func (w *witness) listen(zone string) {
	o := w.outcome
	if o.Reason != check.OK || !o.Message.Authoritative {
		return
	}
	for _, rr := range o.Found {
		if soa, ok := rr.(*mdns.SOA); ok && mdns.CanonicalName(soa.Hdr.Name) == zone {
			w.speaks, w.serial = true, soa.Serial
		}
	}
}

func (v *view) speakers() []witness {
	var all []witness
	for _, w := range v.asked {
		if w.speaks {
			all = append(all, w)
		}
	}
	return all
}

// noWay tells whether this machine has no way for a version of IP: every one of its addresses is unreachable at once, and
// those of the other version are not.
func (v *view) noWay(six bool) bool {
	tried, other := false, false
	for _, w := range v.asked {
		stuck := w.outcome.Reason == check.ConnectUnreachable && w.outcome.Message == nil
		switch {
		case w.address.Is6() != six:
			other = other || !stuck
		case !stuck:
			return false
		default:
			tried = true
		}
	}
	return tried && other
}

// sorted splits the addresses that do not speak for the zone into lame servers and silence; those that there is no way to
// are in neither.
func (v *view) sorted() (lame, silent, noWay []witness) {
	no4, no6 := v.noWay(false), v.noWay(true)
	for _, w := range v.asked {
		switch {
		case w.speaks:
		case w.address.Is6() && no6, !w.address.Is6() && no4:
			noWay = append(noWay, w)
		case w.outcome.Message != nil:
			lame = append(lame, w)
		default:
			silent = append(silent, w)
		}
	}
	return lame, silent, noWay
}

// code is a number of the servers' names and addresses.
func (v *view) code() uint32 {
	var b strings.Builder
	fmt.Fprintln(&b, v.own, v.addresses)
	return crc32.ChecksumIEEE([]byte(b.String()))
}

// serials returns the newest serial and how far the oldest is behind. RFC 1982, section 3.2.
func serials(all []witness) (newest, spread uint32) {
	for i, w := range all {
		if i == 0 || int32(w.serial-newest) > 0 {
			newest = w.serial
		}
	}
	for _, w := range all {
		spread = max(spread, newest-w.serial)
	}
	return newest, spread
}

// prove proves what each server said.
func (c *zoneCheck) prove(ctx context.Context, f *finder, v *view) {
	begin := time.Now()
	w := dnssec.New(c.prover.anchors, c.prover.now(), func(ctx context.Context, name string, typ uint16) (*mdns.Msg, error) {
		var last error
		for _, s := range f.stub.Servers {
			m, err := through(&lookup.Asker{Tries: c.tries, Source: c.source}, s)(ctx, name, typ)
			if err == nil {
				return m, nil
			}
			last = errors.Join(last, err)
		}
		return nil, last
	})
	speakers := v.speakers()
	for i, s := range speakers {
		p, fault, err := c.proveBoth(ctx, w, s)
		v.proven = append(v.proven, fault)
		if i == 0 || fault == nil && v.proof.status == dnssec.Bogus {
			v.proof = proofOf(w, p, err)
		}
		if err != nil {
			break // the way to the zone is the same for all
		}
	}
	v.proof.zones, v.proof.checks, v.proof.notAfter = w.Zones(), w.Checks(), w.NotAfter()
	v.proof.took = time.Since(begin)
}

// noSuchName is a name of the zone that should not be there: a zone whose denials do not verify fails for every name that it
// does not have, and for every unsigned zone below it.
func noSuchName(zone string) string { return "egovmon-no-such-name." + strings.TrimPrefix(zone, ".") }

// proveBoth proves what one server said: the zone's SOA, and that the name is not there.
func (c *zoneCheck) proveBoth(ctx context.Context, w *dnssec.Walk, s witness) (dnssec.Proof, *reach.Fault, error) {
	p, err := w.Prove(ctx, s.outcome.Message, c.name, mdns.TypeSOA)
	if fault := c.prover.fault(p, err); fault != nil || p.Status != dnssec.Secure || !s.denial.Replied() {
		return p, fault, err
	}
	denial, err := w.Prove(ctx, s.denial.Message, noSuchName(c.name), mdns.TypeA)
	fault := c.prover.fault(denial, err)
	if denial.Status == dnssec.Bogus {
		p = denial
	}
	return p, fault, err
}
