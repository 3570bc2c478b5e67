package dns

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/dnssec"
	"egovmon/agent/check/lookup"
)

// wantSaid compares reason, state and detail.
func wantSaid(t *testing.T, r check.Result, reason check.Reason, detail string) {
	t.Helper()
	if want(t, r, reason); r.State != reason.State() || !strings.Contains(r.Detail, detail) {
		t.Errorf("%s, detail %q, want %s, %q", r.State, r.Detail, reason.State(), detail)
	}
}

// A resolver that knows the zone's servers by name only, an alias in a zone's place, and a name that leaves no room to ask
// for one that does not exist: nobody's servers are asked.
func TestZoneThatCannotBeAsked(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "test"
	for _, tc := range []struct {
		name   string
		answer func(q *mdns.Msg, _ bool) *mdns.Msg
		o      check.Options
		want   check.Reason
		detail string
	}{
		{"its servers' addresses are kept back", func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.Question[0].Qtype != mdns.TypeNS {
				return reply(t, q, mdns.RcodeServerFailure)
			}
			return reply(t, q, 0, "tuky.test. 60 IN NS ns1.tuky.test.")
		}, nil, check.DNSTimeout, "does not say where the zone's servers are: ns1.tuky.test"},
		{"its servers have no address", func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.Question[0].Qtype != mdns.TypeNS {
				return reply(t, q, 0)
			}
			return reply(t, q, 0, "tuky.test. 60 IN NS ns1.tuky.test.")
		}, nil, check.DNSEmpty, "none of the 1 name servers has an address"},
		{"an alias", func(q *mdns.Msg, _ bool) *mdns.Msg {
			return reply(t, q, 0, "tuky.test. 60 IN CNAME other.test.", "other.test. 60 IN NS ns1.other.test.")
		}, nil, check.DNSEmpty, "tuky.test. is an alias, no zone"},
		{"a name too long", func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.Question[0].Qtype != mdns.TypeNS {
				return reply(t, q, 0, q.Question[0].Name+" 60 IN A 192.0.2.1")
			}
			return reply(t, q, 0, long+". 60 IN NS ns1.test.")
		}, check.Options{"name": long}, check.Misconfigured, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeZone(t)
			o := check.Options{"server": serve(t, tc.answer)}
			maps.Copy(o, tc.o)
			r := f.check(o)(30 * time.Second)
			wantSaid(t, r, tc.want, tc.detail)
			if n, _ := r.Facts.Get("addresses_ok_count"); n != 0 {
				t.Errorf("%v addresses are in order", n)
			}
		})
	}
}

// Whoever is to be compared with and does not speak for the zone, or for whose zone nobody does, says nothing that counts.
func TestNobodySpeaksForTheZone(t *testing.T) {
	q, err := lookup.NewQuery("www.tuky.test", "A", false, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		records []string // of the resolver; nil for none at all
		want    check.Reason
		detail  string
	}{
		{"no zone is known", nil, check.DNSEmpty, "no zone is found that www.tuky.test. stands in"},
		{"its server passes on what others say", []string{"tuky.test. 60 IN SOA ns1.tuky.test. root.tuky.test. 7 7200 3600 1209600 300", "tuky.test. 60 IN NS ns1.tuky.test.", "ns1.tuky.test. 60 IN A 192.0.2.11"},
			check.DNSServfail, "no server speaks for tuky.test."},
	} {
		resolver := &book{records: tc.records}
		at := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
			if tc.records == nil {
				return reply(t, q, 0)
			}
			return resolver.answer(t, q)
		})
		lame := zone(t, 0, "www.tuky.test. 60 IN A 192.0.2.1")
		net := theInternet()
		net.at = func(netip.Addr) netip.AddrPort { return netip.MustParseAddrPort(lame) }
		f := finder{stub: lookup.Stub{Servers: []string{at}, Most: maxQuestions}, net: net, tries: 2}
		if o := f.authority(t.Context(), q); o.Reason != tc.want || !strings.Contains(o.Detail, tc.detail) {
			t.Errorf("%s: %s, %q", tc.name, o.Reason, o.Detail)
		}
		// The check goes on without them: what the reference says is compared, and nothing else.
		fn, err := newDNS(options(check.Options{"name": "www.tuky.test", "server": lame, "reference": at, "authority": true}), check.Env{}, net)
		if err != nil {
			t.Fatal(err)
		}
		r := fn(t.Context())
		declared(t, r)
		wantSaid(t, r, check.DNSInconsistent, "the reference "+at)
	}
}

// A proof that is not made says why: that is not the same as one that fails.
func TestProofsThatAreNotMade(t *testing.T) {
	sure, unsure := prover{proven: func() bool { return true }}, prover{proven: func() bool { return false }}
	untimely := dnssec.Proof{Status: dnssec.Bogus, Why: "ended", Untimely: true}
	for _, tc := range []struct {
		p      prover
		found  dnssec.Proof
		err    error
		want   check.Reason
		detail string
	}{
		{sure, dnssec.Proof{}, dnssec.ErrStripped, check.NotSupported, "ask one that does"},
		{sure, dnssec.Proof{}, &failed{lookup.Outcome{Reason: check.DNSTimeout, Detail: "silence"}, "test.", mdns.TypeDS}, check.DNSTimeout, "DS of test.: silence"},
		{sure, dnssec.Proof{Status: dnssec.Bogus}, errors.New("more questions than are asked"), check.Protocol, "for the proof: more questions"},
		{sure, untimely, nil, check.DNSBogus, "ended"},
		{unsure, untimely, nil, check.ClockUnproven, "clock is not proven"},
		{prover{}, untimely, nil, check.DNSBogus, "ended"},
		{unsure, dnssec.Proof{Status: dnssec.Bogus, Why: "forged"}, nil, check.DNSBogus, "forged"},
	} {
		if f := tc.p.fault(tc.found, tc.err); f == nil || f.Reason != tc.want || !strings.Contains(f.Detail, tc.detail) {
			t.Errorf("%v, %v: %v, want %s", tc.found, tc.err, f, tc.want)
		}
	}
	if f := sure.fault(dnssec.Proof{Status: dnssec.Secure}, nil); f != nil {
		t.Errorf("a proof that holds: %v", f)
	}
}
