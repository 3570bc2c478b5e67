package dns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/agent/check/lookup"
)

// A book is what a name server has to say: records in zone-file form.
type book struct {
	mu      sync.Mutex
	records []string
	aa      bool
	rcode   int // when it is not 0, to every question
	silent  bool
}

func (b *book) set(f func(*book)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// answer answers as a server of one zone does: records, a referral to a zone below, or that there are none.
func (b *book) answer(t *testing.T, q *mdns.Msg) *mdns.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent {
		return nil
	}
	m := reply(t, q, b.rcode)
	m.Authoritative = b.aa
	if b.rcode != 0 {
		return m
	}
	name, typ := mdns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	exists := false
	for _, text := range b.records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Error(err)
			return nil
		}
		h := rr.Header()
		switch owner := mdns.CanonicalName(h.Name); {
		case owner == name && h.Rrtype == typ:
			m.Answer = append(m.Answer, rr)
		case owner == name:
			exists = true
		case h.Rrtype == mdns.TypeSOA && mdns.IsSubDomain(owner, name):
			m.Ns = []mdns.RR{rr}
		}
	}
	if len(m.Answer) > 0 {
		m.Ns = nil
	} else if !exists {
		m.Rcode = mdns.RcodeNameError
	}
	return m
}

// A fakeZone is tuky.test with two servers, below test with one, and a resolver that knows all of it.
type fakeZone struct {
	t        *testing.T
	resolver *book
	above    *book
	servers  [2]*book
	at       map[netip.Addr]netip.AddrPort
	server   string // the resolver's address
	now      time.Time
}

var aboveAddress = netip.MustParseAddr("192.0.2.1")

func newFakeZone(t *testing.T) *fakeZone {
	soa := "tuky.test. 60 IN SOA ns1.tuky.test. root.tuky.test. 7 7200 3600 1209600 300"
	ns := []string{"tuky.test. 600 IN NS ns1.tuky.test.", "tuky.test. 600 IN NS NS2.tuky.test."}
	f := &fakeZone{t: t, at: map[netip.Addr]netip.AddrPort{}, now: checktest.Epoch()}
	f.resolver = &book{records: append([]string{soa, "test. 60 IN SOA ns.test. root.test. 1 7200 3600 1209600 300", "test. 60 IN NS ns.test.", "ns.test. 60 IN A " + aboveAddress.String(),
		"ns1.tuky.test. 60 IN A 192.0.2.11", "ns2.tuky.test. 60 IN A 192.0.2.12"}, ns...)}
	f.above = &book{records: []string{"tuky.test. 3600 IN NS ns1.tuky.test.", "tuky.test. 3600 IN NS ns2.tuky.test."}}
	f.servers = [2]*book{{aa: true, records: append([]string{soa}, ns...)}, {aa: true, records: append([]string{soa}, ns...)}}
	f.server = serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg { return f.resolver.answer(t, q) })
	f.at[aboveAddress] = netip.MustParseAddrPort(serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		m := f.above.answer(t, q)
		if m == nil || m.Rcode == mdns.RcodeRefused {
			return m
		}
		m.Rcode, m.Ns, m.Answer = 0, m.Answer, nil // a referral
		return m
	}))
	for i, b := range f.servers {
		f.at[netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 11+i))] = netip.MustParseAddrPort(serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg { return b.answer(t, q) }))
	}
	return f
}

// check makes the check with these options over the kind's defaults; its clock is f.now.
func (f *fakeZone) check(change check.Options) func(limit time.Duration) check.Result {
	f.t.Helper()
	for _, b := range []*book{f.resolver, f.above, f.servers[0], f.servers[1]} {
		b.set(func(*book) {}) // what the test wrote into it is seen by its server from here on
	}
	o := check.Options{"name": "tuky.test", "server": f.server}
	maps.Copy(o, change)
	net := theInternet()
	net.at = func(a netip.Addr) netip.AddrPort { return f.at[a] }
	fn, err := newZone(checktest.WithDefaults(f.t, zoneKind(), o), checktest.WithEnv(check.Env{Now: func() time.Time { return f.now }}), net)
	if err != nil {
		f.t.Fatal(err)
	}
	return func(limit time.Duration) check.Result {
		ctx, cancel := context.WithTimeout(f.t.Context(), limit)
		defer cancel()
		r := fn(ctx)
		checktest.Declared(f.t, zoneKind(), r)
		return r
	}
}

// replace puts records in the place of those that begin alike.
func replaceRecords(b *book, begin string, records ...string) {
	b.set(func(b *book) {
		b.records = slices.DeleteFunc(slices.Clone(b.records), func(s string) bool { return strings.HasPrefix(s, begin) })
		b.records = append(b.records, records...)
	})
}

const long = 20 * time.Second

func TestZoneJudgement(t *testing.T) {
	both := func(f *fakeZone, change func(*book)) {
		for _, b := range f.servers {
			b.set(change)
		}
	}
	soa := func(serial int) string {
		return fmt.Sprintf("tuky.test. 60 IN SOA ns1.tuky.test. root.tuky.test. %d 7200 3600 1209600 300", serial)
	}
	for _, tc := range []struct {
		name   string
		o      check.Options
		change func(f *fakeZone)
		want   check.Reason
		detail string
		facts  map[string]float64
	}{
		{"well", nil, nil, check.OK, "", map[string]float64{"ns_count": 2, "addresses_count": 2, "addresses_ok_count": 2, "lame_count": 0, "silent_count": 0,
			"no_way_count": 0, "ns_unknown_count": 0, "soa_serial": 7, "serial_spread_count": 0, "ns_ttl_s": 600, "delegation_ttl_s": 3600}},
		{"the plan's servers", check.Options{"ns": []string{"NS2.tuky.test", "ns1.tuky.test."}}, nil, check.OK, "", nil},
		{"led elsewhere by the zone above", check.Options{"ns": []string{"ns1.tuky.test", "ns2.tuky.test"}}, func(f *fakeZone) {
			f.above.records = []string{"tuky.test. 3600 IN NS ns.evil.test."}
		}, check.DNSMismatch, "ns.evil.test, which the plan does not name", nil},
		{"a server is missing", check.Options{"ns": []string{"ns1.tuky.test", "ns2.tuky.test", "ns3.tuky.test"}}, nil, check.DNSMismatch, "not led to ns3.tuky.test", nil},
		{"above names more", nil, func(f *fakeZone) {
			f.above.records = append(f.above.records, "tuky.test. 3600 IN NS ns3.tuky.test.")
			replaceRecords(f.resolver, "ns3", "ns3.tuky.test. 60 IN A 192.0.2.12")
		}, check.DNSInconsistent, "names ns3.tuky.test, which the zone does not", map[string]float64{"ns_count": 3}},
		{"above names fewer", nil, func(f *fakeZone) { f.above.records = f.above.records[:1] }, check.DNSInconsistent, "names ns2.tuky.test, which the zone above does not", nil},
		{"above is silent", nil, func(f *fakeZone) { f.above.rcode = mdns.RcodeRefused }, check.OK, "", nil},
		{"serials apart", check.Options{"grace": time.Duration(0)}, func(f *fakeZone) { replaceRecords(f.servers[1], "tuky.test. 60 IN SOA", soa(5)) },
			check.DNSInconsistent, "serials from 5 to 7", map[string]float64{"soa_serial": 7, "serial_spread_count": 2}},
		{"serials apart, over the wrap", check.Options{"grace": time.Duration(0)}, func(f *fakeZone) { replaceRecords(f.servers[1], "tuky.test. 60 IN SOA", soa(4294967290)) },
			check.DNSInconsistent, "serials from 4294967290 to 7", map[string]float64{"soa_serial": 7, "serial_spread_count": 13}},
		{"serials apart for a while", nil, func(f *fakeZone) { replaceRecords(f.servers[1], "tuky.test. 60 IN SOA", soa(5)) }, check.OK, "", map[string]float64{"serial_spread_count": 2}},
		{"one refuses", nil, func(f *fakeZone) { f.servers[1].rcode = mdns.RcodeRefused }, check.DNSLame, "ns2.tuky.test (192.0.2.12): the server refused", map[string]float64{"lame_count": 1, "addresses_ok_count": 1}},
		{"one fails", nil, func(f *fakeZone) { f.servers[0].rcode = mdns.RcodeServerFailure }, check.DNSLame, "ns1.tuky.test (192.0.2.11): the server failed", nil},
		{"one has it from others", nil, func(f *fakeZone) { f.servers[1].aa = false }, check.DNSLame, "not its own data", nil},
		{"one has another zone", nil, func(f *fakeZone) { f.servers[1].records = nil }, check.DNSLame, "does not exist", nil},
		{"one has no address", nil, func(f *fakeZone) { replaceRecords(f.resolver, "ns2") }, check.DNSLame, "1 of 2 name servers have no address: ns2.tuky.test", map[string]float64{"ns_unknown_count": 1}},
		{"one is closed", nil, func(f *fakeZone) { f.at[netip.MustParseAddr("192.0.2.12")] = netip.MustParseAddrPort(refused(f.t)) }, check.Partial, "1 of 2 servers do not answer", map[string]float64{"silent_count": 1}},
		{"slow", check.Options{"slow": time.Nanosecond}, nil, check.Slow, "limit", nil},
		{"all refuse", nil, func(f *fakeZone) { both(f, func(b *book) { b.rcode = mdns.RcodeRefused }) }, check.DNSRefused, "no server speaks for the zone", map[string]float64{"lame_count": 2}},
		{"all fail", nil, func(f *fakeZone) { both(f, func(b *book) { b.rcode = mdns.RcodeServerFailure }) }, check.DNSServfail, "no server speaks", nil},
		{"all have it from others", nil, func(f *fakeZone) { both(f, func(b *book) { b.aa = false }) }, check.DNSEmpty, "no server speaks", nil},
		{"all cannot", nil, func(f *fakeZone) { both(f, func(b *book) { b.rcode = mdns.RcodeNotImplemented }) }, check.Protocol, "no server speaks", nil},
		{"all are closed", nil, func(f *fakeZone) {
			for a := range f.at {
				f.at[a] = netip.MustParseAddrPort(refused(f.t))
			}
		}, check.ConnectRefused, "no server answers", map[string]float64{"silent_count": 2}},
		{"no server has an address", nil, func(f *fakeZone) { replaceRecords(f.resolver, "ns1"); replaceRecords(f.resolver, "ns2") }, check.DNSEmpty, "none of the 2 name servers has an address", nil},
		{"no such zone", check.Options{"name": "other.test"}, nil, check.DNSNXDomain, "does not exist", nil},
		{"a name, no zone", check.Options{"name": "ns1.tuky.test"}, nil, check.DNSEmpty, "no record of type NS", nil},
		{"the resolver fails", nil, func(f *fakeZone) { f.resolver.rcode = mdns.RcodeServerFailure }, check.DNSServfail, "NS of tuky.test", nil},
		{"the resolver refuses", nil, func(f *fakeZone) { f.resolver.rcode = mdns.RcodeRefused }, check.DNSRefused, "NS of tuky.test", nil},
		{"the resolver is closed", check.Options{"server": "127.0.0.1:1"}, nil, check.ConnectRefused, "NS of tuky.test", nil},
		{"only IPv4", check.Options{"family": familyIP4}, nil, check.OK, "", map[string]float64{"addresses_count": 2}},
		{"only IPv6, and there is none", check.Options{"family": familyIP6}, nil, check.DNSEmpty, "has an address to ask", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeZone(t)
			if tc.change != nil {
				tc.change(f)
			}
			r := f.check(tc.o)(long)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q, want %q", r.Detail, tc.detail)
			}
			for name, v := range tc.facts {
				wantFact(t, r, name, v)
			}
		})
	}
}

// TestZoneSilence asks servers and resolvers that never answer: the time is kept.
func TestZoneSilence(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(f *fakeZone)
		want   check.Reason
	}{
		"one server":   {func(f *fakeZone) { f.servers[1].silent = true }, check.Partial},
		"all servers":  {func(f *fakeZone) { f.servers[0].silent, f.servers[1].silent = true, true }, check.DNSTimeout},
		"the resolver": {func(f *fakeZone) { f.resolver.silent = true }, check.DNSTimeout},
		"above":        {func(f *fakeZone) { f.above.silent = true }, check.OK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeZone(t)
			tc.change(f)
			begin := time.Now()
			want(t, f.check(nil)(4*time.Second), tc.want)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestZoneSixth(t *testing.T) {
	f := newFakeZone(t)
	six := netip.MustParseAddr("2001:db8::11")
	replaceRecords(f.resolver, "ns1.tuky.test. 60 IN AAAA", "ns1.tuky.test. 60 IN AAAA 2001:db8::11")
	f.at[six] = f.at[netip.MustParseAddr("192.0.2.11")]
	r := f.check(nil)(long)
	want(t, r, check.OK)
	wantFact(t, r, "addresses_ok_count", 3)
	f.at[six] = netip.MustParseAddrPort(refused(t))
	want(t, f.check(nil)(long), check.Partial)
	want(t, f.check(check.Options{"family": familyIP6})(long), check.ConnectRefused)
	// A machine without IPv6 cannot blame the zone.
	var v view
	for _, a := range []string{"192.0.2.1", "2001:db8::1", "2001:db8::2"} {
		w := witness{address: netip.MustParseAddr(a)}
		if w.address.Is6() {
			w.outcome.Reason = check.ConnectUnreachable
		} else {
			w.speaks = true
		}
		v.asked = append(v.asked, w)
	}
	if lame, silent, noWay := v.sorted(); len(lame)+len(silent) != 0 || len(noWay) != 2 {
		t.Errorf("%d lame, %d silent, %d without a way", len(lame), len(silent), len(noWay))
	}
	v.asked[1].outcome.Reason = check.DNSTimeout // one of them got out: there is a way
	if _, silent, noWay := v.sorted(); len(silent) != 2 || len(noWay) != 0 {
		t.Errorf("%d silent, %d without a way", len(silent), len(noWay))
	}
}

func TestZoneOverTime(t *testing.T) {
	f := newFakeZone(t)
	run := f.check(check.Options{"grace": 10 * time.Minute, "changed": time.Hour})
	see := func(after time.Duration, reason check.Reason, detail string) check.Result {
		t.Helper()
		f.now = f.now.Add(after)
		r := run(long)
		want(t, r, reason)
		if !strings.Contains(r.Detail, detail) {
			t.Errorf("detail %q, want %q", r.Detail, detail)
		}
		return r
	}
	soa := func(serial int) {
		replaceRecords(f.servers[1], "tuky.test. 60 IN SOA", fmt.Sprintf("tuky.test. 60 IN SOA ns1.tuky.test. root.tuky.test. %d 7200 3600 1209600 300", serial))
	}
	first := see(0, check.OK, "")
	soa(8)
	see(time.Minute, check.OK, "")
	see(9*time.Minute, check.OK, "")
	see(time.Minute, check.DNSInconsistent, "serials from 7 to 8")
	soa(7)
	see(time.Minute, check.OK, "")
	soa(8)
	see(time.Minute, check.OK, "")
	soa(7)

	// An address changes; it is told for an hour.
	f.at[netip.MustParseAddr("192.0.2.13")] = f.at[netip.MustParseAddr("192.0.2.12")]
	replaceRecords(f.resolver, "ns2.tuky.test. 60 IN A", "ns2.tuky.test. 60 IN A 192.0.2.13")
	second := see(time.Minute, check.ContentChanged, "others than before")
	see(59*time.Minute, check.ContentChanged, "")
	see(time.Minute, check.OK, "")
	a, _ := first.Facts.Get("delegation_code")
	b, _ := second.Facts.Get("delegation_code")
	if a == b {
		t.Errorf("delegation_code is %v before and after", a)
	}

	f.above.set(func(b *book) {
		b.records = []string{"tuky.test. 300 IN NS ns1.tuky.test.", "tuky.test. 300 IN NS ns2.tuky.test."}
	})
	see(time.Minute, check.ContentChanged, "the delegation's TTL was 3600 s and is 300 s")
	see(time.Hour, check.OK, "")
	for _, s := range f.servers {
		replaceRecords(s, "tuky.test. 600 IN NS", "tuky.test. 60 IN NS ns1.tuky.test.", "tuky.test. 60 IN NS ns2.tuky.test.")
	}
	see(time.Minute, check.ContentChanged, "the TTL of the zone's servers was 600 s and is 60 s")
	see(time.Hour, check.OK, "")

	// What was not seen is no change.
	f.above.set(func(b *book) { b.rcode = mdns.RcodeRefused })
	see(time.Minute, check.OK, "")
	f.above.set(func(b *book) { b.rcode = 0 })
	see(time.Minute, check.OK, "")
	for _, s := range f.servers {
		s.set(func(b *book) { b.rcode = mdns.RcodeRefused })
	}
	see(time.Minute, check.DNSRefused, "")
	for _, s := range f.servers {
		s.set(func(b *book) { b.rcode = 0 })
	}
	see(time.Minute, check.OK, "")

	never := f.check(check.Options{"changed": time.Duration(0)})
	want(t, never(long), check.OK)
	replaceRecords(f.resolver, "ns2.tuky.test. 60 IN A", "ns2.tuky.test. 60 IN A 192.0.2.12")
	want(t, never(long), check.OK)
}

// TestZoneOfManyServers has 200 name servers with 200 addresses each, and sees what of it is asked.
func TestZoneOfManyServers(t *testing.T) {
	f := newFakeZone(t)
	for _, b := range []*book{f.resolver, f.servers[0]} {
		replaceRecords(b, "tuky.test. 600 IN NS")
		for i := range 200 {
			b.records = append(b.records, fmt.Sprintf("tuky.test. 600 IN NS h%03d.tuky.test.", i))
		}
	}
	f.above.rcode = mdns.RcodeRefused
	all := f.at[netip.MustParseAddr("192.0.2.11")]
	for i := range 16 {
		for j := range 200 {
			a := netip.AddrFrom4([4]byte{198, 18, byte(i), byte(j)})
			f.at[a] = all
			f.resolver.records = append(f.resolver.records, fmt.Sprintf("h%03d.tuky.test. 60 IN A %s", i, a))
		}
	}
	f.at[aboveAddress] = netip.MustParseAddrPort(refused(t))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := f.check(nil)(time.Minute)
	runtime.GC()
	runtime.ReadMemStats(&after)
	want(t, r, check.Partial)
	wantFact(t, r, "ns_count", 200)
	wantFact(t, r, "addresses_count", maxAddresses)
	if after.HeapAlloc > before.HeapAlloc+4<<20 {
		t.Errorf("%d bytes are kept of one run", after.HeapAlloc-before.HeapAlloc)
	}
	if !strings.Contains(r.Detail, "200 name servers, of which 16 were asked") {
		t.Errorf("detail %q", r.Detail)
	}
	one := finder{stub: lookup.Stub{Servers: []string{f.server}, Most: 1}}
	if all, sure := one.addresses(t.Context(), "h000.tuky.test.", "A"); len(all) != 4 || !sure {
		t.Errorf("%d addresses of one name, sure %v", len(all), sure)
	}
	if all, sure := one.addresses(t.Context(), "h000.tuky.test.", "A"); len(all) != 0 || sure {
		t.Errorf("%d addresses by more questions than are allowed, sure %v", len(all), sure)
	}
	if q, _ := r.Facts.Get("questions_count"); q > maxQuestions {
		t.Errorf("%v questions", q)
	}
}

func TestZoneSystemServers(t *testing.T) {
	for _, tc := range []struct {
		system []netip.AddrPort
		err    error
		want   check.Reason
	}{{nil, nil, check.NotConfigured}, {nil, errors.New("no such file"), check.NotSupported}} {
		for _, k := range []struct {
			kind check.Kind
			make func(check.Options, check.Env, internet) (check.Func, error)
			o    check.Options
		}{{zoneKind(), newZone, check.Options{"name": "tuky.test"}}, {hijackKind(), newHijack, check.Options{"missing": []string{"a.test"}}}} {
			f, err := k.make(checktest.WithDefaults(t, k.kind, k.o), checktest.WithEnv(check.Env{}), internet{system: func() ([]netip.AddrPort, error) { return tc.system, tc.err }})
			if err != nil {
				t.Fatal(err)
			}
			r := f(t.Context())
			checktest.Declared(t, k.kind, r)
			want(t, r, tc.want)
		}
	}
}

func TestZoneOptionsThatCannotHold(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    check.Options
		env  check.Env
		want string
	}{
		{"server and servers", check.Options{"server": "127.0.0.1:53", "servers": []string{"127.0.0.2:53"}}, check.Env{}, "server"},
		{"bad name", check.Options{"name": "a b"}, check.Env{}, "name"},
		{"bad server name", check.Options{"ns": []string{"a b"}}, check.Env{}, "ns"},
		{"signed without anchors", check.Options{"signed": true}, check.Env{}, "signed"},
		{"bad anchor", check.Options{"anchors": []string{"x"}}, check.Env{}, "anchors"},
		{"anchor of another zone", check.Options{"anchors": []string{"other. DS 1 13 2 " + strings.Repeat("0", 64)}}, check.Env{}, "anchors"},
		{"another version of IP", check.Options{"family": familyIP6}, check.Env{Source: netip.MustParseAddr("127.0.0.1")}, "family"},
	} {
		o := check.Options{"name": "tuky.test"}
		maps.Copy(o, tc.o)
		if _, err := zoneKind().New(checktest.WithDefaults(t, zoneKind(), o), checktest.WithEnv(tc.env)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("option %q", tc.want)) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
}
