package dns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/lookup"
)

const soon = 300 * time.Millisecond

func TestAnswers(t *testing.T) {
	const a1, a2 = "motcua.test. 60 IN A 192.0.2.1", "motcua.test. 30 IN A 192.0.2.2"
	for _, tc := range []struct {
		name    string
		rcode   int
		records []string
		o       check.Options
		want    check.Reason
		answers float64
	}{
		{"one address", mdns.RcodeSuccess, []string{a1}, nil, check.OK, 1},
		{"letters of another case", mdns.RcodeSuccess, []string{"MotCua.Test. 60 IN A 192.0.2.1"}, nil, check.OK, 1},
		{"expected", mdns.RcodeSuccess, []string{a1, a2}, check.Options{"answers": []string{"192.0.2.2"}}, check.OK, 2},
		{"all expected", mdns.RcodeSuccess, []string{a1, a2}, check.Options{"answers": []string{"192.0.2.2", "192.0.2.1"}}, check.OK, 2},
		{"one of all is missing", mdns.RcodeSuccess, []string{a1}, check.Options{"answers": []string{"192.0.2.1", "192.0.2.2"}}, check.DNSMismatch, 1},
		{"one of any is missing", mdns.RcodeSuccess, []string{a1}, check.Options{"answers": []string{"192.0.2.1", "192.0.2.2"}, "match": matchAny}, check.OK, 1},
		{"none of any", mdns.RcodeSuccess, []string{a1}, check.Options{"answers": []string{"192.0.2.2"}, "match": matchAny}, check.DNSMismatch, 1},
		{"exactly", mdns.RcodeSuccess, []string{a1, a2}, check.Options{"answers": []string{"192.0.2.2", "192.0.2.1"}, "match": matchExact}, check.OK, 2},
		{"one more than exactly", mdns.RcodeSuccess, []string{a1, a2}, check.Options{"answers": []string{"192.0.2.1"}, "match": matchExact}, check.DNSMismatch, 2},
		{"slow", mdns.RcodeSuccess, []string{a1}, check.Options{"slow": time.Nanosecond}, check.Slow, 1},
		{"name is gone", mdns.RcodeNameError, nil, nil, check.DNSNXDomain, 0},
		{"server fails", mdns.RcodeServerFailure, nil, nil, check.DNSServfail, 0},
		{"server refuses", mdns.RcodeRefused, nil, nil, check.DNSRefused, 0},
		{"server cannot", mdns.RcodeNotImplemented, nil, nil, check.Protocol, 0},
		{"answer is empty", mdns.RcodeSuccess, nil, nil, check.DNSEmpty, 0},
		{"another type", mdns.RcodeSuccess, []string{"motcua.test. 60 IN AAAA 2001:db8::1"}, nil, check.DNSEmpty, 0},
		{"another name", mdns.RcodeSuccess, []string{"elsewhere.test. 60 IN A 192.0.2.1"}, nil, check.DNSEmpty, 0},
		{"another class", mdns.RcodeSuccess, []string{"motcua.test. 60 CH A 192.0.2.1"}, nil, check.DNSEmpty, 0},
		{"an alias", mdns.RcodeSuccess, []string{"motcua.test. 60 IN CNAME www.test.", "www.test. 60 IN A 192.0.2.1", "other.test. 60 IN A 192.0.2.9"}, nil, check.OK, 1},
		{"an alias that leads nowhere", mdns.RcodeSuccess, []string{"motcua.test. 60 IN CNAME www.test."}, nil, check.DNSEmpty, 0},
		{"aliases in a circle", mdns.RcodeSuccess, []string{"motcua.test. 60 IN CNAME www.test.", "www.test. 60 IN CNAME motcua.test."}, nil, check.DNSEmpty, 0},
		{"the alias itself", mdns.RcodeSuccess, []string{"motcua.test. 60 IN CNAME WWW.test."}, check.Options{"type": "cname", "answers": []string{"www.test"}}, check.OK, 1},
		{"mail", mdns.RcodeSuccess, []string{"motcua.test. 60 IN MX 10 Mail.test."}, check.Options{"type": "MX", "answers": []string{"10 mail.test."}}, check.OK, 1},
		{"text in parts", mdns.RcodeSuccess, []string{`motcua.test. 60 IN TXT "v=spf1 ip4:192.0.2.1 " "\"x\" -all"`}, check.Options{"type": "TXT", "answers": []string{`v=spf1 ip4:192.0.2.1 "x" -all`}}, check.OK, 1},
		{"text in Vietnamese", mdns.RcodeSuccess, []string{`motcua.test. 60 IN TXT "Tứ Kỳ"`}, check.Options{"type": "TXT", "answers": []string{"Tứ Kỳ"}}, check.OK, 1},
		{"IPv6 written long", mdns.RcodeSuccess, []string{"motcua.test. 60 IN AAAA 2001:db8::1"}, check.Options{"type": "AAAA", "answers": []string{"2001:db8:0:0:0:0:0:1"}}, check.OK, 1},
		{"a type by number", mdns.RcodeSuccess, []string{`motcua.test. 60 IN TYPE65280 \# 2 abcd`}, check.Options{"type": "TYPE65280", "answers": []string{`\# 2 ABCD`}}, check.OK, 1},
		{"anything", mdns.RcodeSuccess, []string{a1, "motcua.test. 60 IN MX 10 mail.test."}, check.Options{"type": "ANY"}, check.OK, 2},
		{"by TCP", mdns.RcodeSuccess, []string{a1}, check.Options{"protocol": "tcp"}, check.OK, 1},
		{"gone by TCP", mdns.RcodeNameError, nil, check.Options{"protocol": "tcp"}, check.DNSNXDomain, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"server": zone(t, tc.rcode, tc.records...)}
			maps.Copy(o, tc.o)
			r := run(t, o, check.Env{}, 5*time.Second)
			want(t, r, tc.want)
			wantFact(t, r, "answers_count", tc.answers)
			wantFact(t, r, "rcode_code", float64(tc.rcode))
		})
	}
}

func TestNumbers(t *testing.T) {
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		m := reply(t, q, mdns.RcodeSuccess, "tuky.test. 3600 IN SOA ns.test. root.test. 2026112301 7200 3600 1209600 300")
		m.AuthenticatedData, m.Authoritative = q.IsEdns0().Do(), !q.RecursionDesired
		return m
	})
	r := run(t, check.Options{"server": server, "name": "tuky.test", "type": "SOA", "dnssec": true, "recursion": false}, check.Env{}, 5*time.Second)
	want(t, r, check.OK)
	for name, v := range map[string]float64{"soa_serial": 2026112301, "ttl_min_s": 3600, "authentic_code": 1, "authoritative_code": 1,
		"sent_count": 1, "servers_count": 1, "servers_ok_count": 1, "rcode_code": 0} {
		wantFact(t, r, name, v)
	}
	if _, ok := r.Phases.Get("dns"); !ok {
		t.Errorf("phases %v", r.Phases)
	}
	r = run(t, check.Options{"server": server, "name": "tuky.test", "type": "SOA"}, check.Env{}, 5*time.Second)
	if _, ok := r.Facts.Get("authentic_code"); ok {
		t.Error("authentic_code without dnssec")
	}
	wantFact(t, r, "authoritative_code", 0)
}

// TestHostileAnswers asks a peer that sends bytes of its own. q is the question as it came.
// TestHostileAnswers runs beside no other test: it sees what is allocated.
func TestHostileAnswers(t *testing.T) {
	good := func(q []byte) []byte {
		var m mdns.Msg
		if err := m.Unpack(q); err != nil {
			t.Error(err)
		}
		b, err := reply(t, &m, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1").Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	with := func(q []byte, change func(b []byte) []byte) []byte { return change(good(q)) }
	wrongID := func(q []byte) []byte { return with(q, func(b []byte) []byte { b[1]++; return b }) }
	wrongName := func(q []byte) []byte { return with(q, func(b []byte) []byte { b[13] = 'x'; return b }) }
	flood := func(q []byte) (all [][]byte) {
		for range lookup.MaxForeign + 10 {
			all = append(all, wrongID(q))
		}
		return all
	}
	for _, tc := range []struct {
		name   string
		answer func(q []byte) [][]byte
		want   check.Reason
		detail string
	}{
		{"another id", func(q []byte) [][]byte { return [][]byte{wrongID(q)} }, check.DNSTimeout, "another question"},
		{"another name", func(q []byte) [][]byte { return [][]byte{wrongName(q)} }, check.DNSTimeout, "another question"},
		{"another type", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte { b[12+13+1] = byte(mdns.TypeAAAA); return b })}
		}, check.DNSTimeout, "another question"},
		{"another class", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte { b[12+13+3] = 3; return b })}
		}, check.DNSTimeout, "another question"},
		{"the question itself", func(q []byte) [][]byte { return [][]byte{q} }, check.DNSTimeout, "another question"},
		{"three bytes", func(q []byte) [][]byte { return [][]byte{q[:3]} }, check.DNSTimeout, "another question"},
		{"nothing at all", func([]byte) [][]byte { return [][]byte{{}} }, check.DNSTimeout, ""},
		{"others first, then the right one", func(q []byte) [][]byte { return [][]byte{wrongID(q), wrongName(q), q[:3], good(q)} }, check.OK, ""},
		{"no question", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte { b[5] = 0; return b[:12] })}
		}, check.Protocol, "0 questions"},
		{"two questions", func(q []byte) [][]byte { return [][]byte{with(q, func(b []byte) []byte { b[5] = 2; return b })} }, check.Protocol, "2 questions"},
		{"failure without question", func(q []byte) [][]byte {
			return [][]byte{{q[0], q[1], 0x80, mdns.RcodeServerFailure, 0, 0, 0, 0, 0, 0, 0, 0}}
		}, check.DNSServfail, ""},
		{"cut in the question", func(q []byte) [][]byte { return [][]byte{good(q)[:20]} }, check.Protocol, "malformed"},
		{"cut in the answer", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte { return b[:len(b)-20] })}
		}, check.Protocol, "malformed"},
		{"question that points at itself", func(q []byte) [][]byte {
			return [][]byte{{q[0], q[1], 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}}
		}, check.Protocol, "malformed"},
		{"answer that points at itself", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte {
				at := 12 + 13 + 4
				return append(b[:at], 0xc0, byte(at), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
			})}
		}, check.Protocol, "malformed"},
		{"more answers announced than sent", func(q []byte) [][]byte {
			return [][]byte{with(q, func(b []byte) []byte { b[6], b[7] = 0xff, 0xff; b[11] = 0; return b })}
		}, check.Protocol, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := serveRaw(t, func(_ *peer, q []byte, _ bool) [][]byte { return tc.answer(q) })
			limit := 5 * time.Second
			if tc.want == check.DNSTimeout {
				limit = soon
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			r := run(t, check.Options{"server": p.address, "protocol": "udp"}, check.Env{}, limit)
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			want(t, r, tc.want)
			if bytes := after.TotalAlloc - before.TotalAlloc; r.State != tc.want.State() || took > time.Minute || bytes > 4<<20 {
				t.Errorf("%s after %s and %d bytes", r.State, took, bytes)
			}
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q does not say %q", r.Detail, tc.detail)
			}
		})
	}
	t.Run("flood by TCP", func(t *testing.T) {
		p := serveRaw(t, func(_ *peer, q []byte, _ bool) [][]byte { return flood(q) })
		want(t, run(t, check.Options{"server": p.address, "protocol": "tcp"}, check.Env{}, 5*time.Second), check.Protocol)
	})
}

func TestAnswerFromAnotherPort(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	forged := make(chan error, 8)
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			var m mdns.Msg
			if err := m.Unpack(buf[:n]); err != nil {
				forged <- err
				return
			}
			b, err := reply(t, &m, mdns.RcodeSuccess, "motcua.test. 60 IN A 203.0.113.66").Pack()
			if err == nil {
				_, err = other.WriteTo(b, from)
			}
			forged <- err
		}
	}()
	r := run(t, check.Options{"server": u.LocalAddr().String()}, check.Env{}, soon)
	want(t, r, check.DNSTimeout)
	if err := <-forged; err != nil {
		t.Error(err)
	}
	if _, ok := r.Facts.Get("answers_count"); ok {
		t.Error("the forged answer was counted")
	}
	wantFact(t, r, "sent_count", 2)
}

func TestTransport(t *testing.T) {
	long := func(q *mdns.Msg) *mdns.Msg {
		var records []string
		for i := range 200 {
			records = append(records, fmt.Sprintf("motcua.test. 60 IN A 192.0.2.%d", i))
		}
		return reply(t, q, mdns.RcodeSuccess, records...)
	}
	cut := func(q *mdns.Msg) *mdns.Msg {
		m := reply(t, q, mdns.RcodeSuccess)
		m.Truncated = true
		return m
	}
	for _, tc := range []struct {
		name   string
		answer func(q *mdns.Msg, tcp bool) *mdns.Msg
		o      check.Options
		want   check.Reason
		n      float64
	}{
		{"too long for UDP", func(q *mdns.Msg, tcp bool) *mdns.Msg {
			if tcp {
				return long(q)
			}
			return cut(q)
		}, nil, check.OK, 200},
		{"longer than we offered", func(q *mdns.Msg, _ bool) *mdns.Msg { return long(q) }, nil, check.OK, 200},
		{"cut by TCP too", func(q *mdns.Msg, _ bool) *mdns.Msg { return cut(q) }, nil, check.Protocol, -1},
		{"TCP hangs up", func(q *mdns.Msg, tcp bool) *mdns.Msg {
			if tcp {
				return nil
			}
			return cut(q)
		}, nil, check.ConnectReset, -1},
		{"hangs up", func(*mdns.Msg, bool) *mdns.Msg { return nil }, check.Options{"protocol": "tcp"}, check.ConnectReset, -1},
		{"server without EDNS0", func(q *mdns.Msg, _ bool) *mdns.Msg {
			if q.IsEdns0() == nil {
				return reply(t, q, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1")
			}
			q.Extra = nil
			return reply(t, q, mdns.RcodeFormatError)
		}, nil, check.OK, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"server": serve(t, tc.answer)}
			maps.Copy(o, tc.o)
			r := run(t, o, check.Env{}, 5*time.Second)
			want(t, r, tc.want)
			if tc.n >= 0 {
				wantFact(t, r, "answers_count", tc.n)
			}
		})
	}
}

func TestTCPThatStopsShort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 512)
			c.Read(buf)
			c.Write([]byte{0, 100, buf[2], buf[3], 0x80})
			c.Close()
		}
	}()
	want(t, run(t, check.Options{"server": l.Addr().String(), "protocol": "tcp"}, check.Env{}, 5*time.Second), check.Truncated)
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	at := func(source string) check.Env { return check.Env{Source: netip.MustParseAddr(source)} }
	ok := zone(t, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1")
	for _, tc := range []struct {
		name string
		o    check.Options
		env  check.Env
		want check.Reason
	}{
		{"silence", check.Options{"server": silent(t)}, check.Env{}, check.DNSTimeout},
		{"closed port", check.Options{"server": refused(t)}, check.Env{}, check.ConnectRefused},
		{"closed port by TCP", check.Options{"server": refused(t), "protocol": "tcp"}, check.Env{}, check.ConnectRefused},
		{"from an address that is not ours", check.Options{"server": ok}, at("192.0.2.77"), check.ConnectUnreachable},
		{"by TCP from an address that is not ours", check.Options{"server": ok, "protocol": "tcp"}, at("192.0.2.77"), check.ConnectUnreachable},
		{"from the other IP version", check.Options{"server": ok}, at("::1"), check.Misconfigured},
		{"from an address of ours", check.Options{"server": ok}, at("127.0.0.7"), check.OK},
		{"by TCP from an address of ours", check.Options{"server": ok, "protocol": "tcp"}, at("127.0.0.7"), check.OK},
		{"server by name", check.Options{"server": strings.Replace(ok, "127.0.0.1", "localhost", 1)}, at("127.0.0.1"), check.OK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limit := 5 * time.Second
			if tc.want == check.DNSTimeout {
				limit = soon
			}
			want(t, run(t, tc.o, tc.env, limit), tc.want)
		})
	}
}

func TestQuestionIsSentAgain(t *testing.T) {
	var asked atomic.Int32
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		if asked.Add(1) == 1 {
			return nil
		}
		return reply(t, q, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1")
	})
	r := run(t, check.Options{"server": server}, check.Env{}, 2*soon)
	want(t, r, check.OK)
	wantFact(t, r, "sent_count", 2)
}

func TestSeveralServers(t *testing.T) {
	t.Parallel()
	good := func() string { return zone(t, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1") }
	other := func() string { return zone(t, mdns.RcodeSuccess, "motcua.test. 60 IN A 203.0.113.66") }
	gone := func() string { return zone(t, mdns.RcodeNameError) }
	fails := func() string { return zone(t, mdns.RcodeServerFailure) }
	expect := check.Options{"answers": []string{"192.0.2.1"}}
	agree := check.Options{"agree": true}
	for _, tc := range []struct {
		name    string
		servers []string
		o       check.Options
		want    check.Reason
		good    float64
		limit   time.Duration
	}{
		{"all as expected", []string{good(), good()}, expect, check.OK, 2, 5 * time.Second},
		{"one has another address", []string{good(), other()}, expect, check.DNSInconsistent, 1, 5 * time.Second},
		{"one does not know the name", []string{gone(), good()}, nil, check.DNSInconsistent, 1, 5 * time.Second},
		{"one fails", []string{fails(), good()}, expect, check.Partial, 1, 5 * time.Second},
		{"one is silent", []string{good(), silent(t)}, nil, check.Partial, 1, soon},
		{"one is silent, one differs", []string{silent(t), other(), good()}, expect, check.DNSInconsistent, 1, soon},
		{"different, nothing expected", []string{good(), other()}, nil, check.OK, 2, 5 * time.Second},
		{"different, but must agree", []string{good(), other()}, agree, check.DNSInconsistent, 2, 5 * time.Second},
		{"the same, and must agree", []string{good(), good()}, agree, check.OK, 2, 5 * time.Second},
		{"none as expected", []string{other(), other()}, expect, check.DNSMismatch, 0, 5 * time.Second},
		{"a failure and a word about the name", []string{fails(), gone()}, nil, check.DNSNXDomain, 0, 5 * time.Second},
		{"silence and a failure", []string{silent(t), fails()}, nil, check.DNSServfail, 0, soon},
		{"silence", []string{silent(t), silent(t)}, nil, check.DNSTimeout, 0, soon},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"servers": tc.servers}
			maps.Copy(o, tc.o)
			r := run(t, o, check.Env{}, tc.limit)
			want(t, r, tc.want)
			wantFact(t, r, "servers_count", float64(len(tc.servers)))
			wantFact(t, r, "servers_ok_count", tc.good)
			if tc.name == "one is silent, one differs" && !strings.Contains(r.Detail, "203.0.113.66") {
				t.Errorf("detail %q does not tell the other answer", r.Detail)
			}
			for i := range tc.servers {
				if _, ok := r.Phases.Get(serverPhase(i)); !ok {
					t.Errorf("no phase of server %d in %v", i+1, r.Phases)
				}
			}
		})
	}
}

func TestSystemServers(t *testing.T) {
	address := netip.MustParseAddrPort(zone(t, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1"))
	for _, tc := range []struct {
		name   string
		system []netip.AddrPort
		err    error
		want   check.Reason
	}{
		{"one", []netip.AddrPort{address}, nil, check.OK},
		{"none", nil, nil, check.NotConfigured},
		{"not readable", nil, errors.New("no such file"), check.NotSupported},
	} {
		f, err := newDNS(options(nil), check.Env{}, internet{system: func() ([]netip.AddrPort, error) { return tc.system, tc.err }})
		if err != nil {
			t.Fatal(err)
		}
		r := f(t.Context())
		declared(t, r)
		want(t, r, tc.want)
	}
}

func TestCutShort(t *testing.T) {
	for _, protocol := range []string{"udp", "tcp"} {
		f, err := dnsKind().New(options(check.Options{"server": silent(t), "protocol": protocol}), check.Env{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := f(ctx)
		declared(t, r)
		want(t, r, check.Internal)
	}
}

func TestExtendedError(t *testing.T) {
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		m := reply(t, q, mdns.RcodeServerFailure)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &mdns.EDNS0_EDE{InfoCode: mdns.ExtendedErrorCodeDNSBogus})
		return m
	})
	r := run(t, check.Options{"server": server}, check.Env{}, 5*time.Second)
	want(t, r, check.DNSServfail)
	if !strings.Contains(r.Detail, "Bogus") {
		t.Errorf("detail %q", r.Detail)
	}
}

func TestOptionsThatCannotHold(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    check.Options
		want string
	}{
		{"server and servers", check.Options{"server": "127.0.0.1:53", "servers": []string{"127.0.0.2:53"}}, "server"},
		{"one server twice", check.Options{"servers": []string{"127.0.0.2:53", "127.0.0.2:53"}}, "servers"},
		{"server without port", check.Options{"server": "127.0.0.1"}, "server"},
		{"no such type", check.Options{"type": "AAAAA"}, "type"},
		{"number too large", check.Options{"type": "TYPE65536"}, "type"},
		{"a whole zone", check.Options{"type": "AXFR"}, "type"},
		{"a whole zone by number", check.Options{"type": "TYPE252"}, "type"},
		{"empty name", check.Options{"name": ""}, "name"},
		{"long label", check.Options{"name": strings.Repeat("x", 64) + ".test"}, "name"},
		{"letters beyond ASCII", check.Options{"name": "tứkỳ.test"}, "name"},
		{"space", check.Options{"name": "a b.test"}, "name"},
		{"no address", check.Options{"answers": []string{"motcua"}}, "answers"},
		{"two lines", check.Options{"answers": []string{"192.0.2.1\n. 0 IN A 192.0.2.2"}}, "answers"},
		{"expected of any type", check.Options{"type": "ANY", "answers": []string{"x"}}, "answers"},
	} {
		if _, err := dnsKind().New(options(tc.o), check.Env{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("option %q", tc.want)) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
	for _, o := range []check.Options{{"type": "PTR", "name": "192.0.2.1"}, {"type": "type1"}, {"name": "_dmarc.tuky.test", "type": "TXT"}, {"name": "."}} {
		if _, err := dnsKind().New(options(o), check.Env{}); err != nil {
			t.Errorf("%v: %v", o, err)
		}
	}
}

func TestKindIsWhole(t *testing.T) {
	for _, k := range Kinds() {
		if k.Family != "dns" || k.New == nil || !strings.HasSuffix(k.Summary, ".") {
			t.Errorf("%s: family, summary or constructor is missing", k.Name)
		}
		for _, o := range k.Options {
			if !strings.HasSuffix(o.Help, ".") || o.Type == check.TypeInt && o.Unit == "" {
				t.Errorf("option %s has no sentence or no unit", o.Name)
			}
		}
		for _, f := range k.Facts {
			if f.Help == "" || f.Max <= f.Min || !check.WholeFact(f.Name) && !strings.HasSuffix(f.Name, "_s") && !strings.HasSuffix(f.Name, "_bits") {
				t.Errorf("fact %s has no help, no bounds or no unit", f.Name)
			}
		}
	}
}

// FuzzAnswer hands bytes to all that handles an answer after it was read from a socket.
func FuzzAnswer(f *testing.F) {
	for _, typ := range []string{"A", "TXT", "SOA", "ANY"} {
		var m mdns.Msg
		m.SetQuestion("motcua.test.", mdns.StringToType[typ])
		for _, record := range []string{"motcua.test. 60 IN CNAME a.test.", "a.test. 60 IN A 192.0.2.1", `motcua.test. 60 IN TXT "a\"\001"`,
			"motcua.test. 60 IN SOA a. b. 1 2 3 4 5", "motcua.test. 60 IN NULL \\# 0"} {
			if rr, err := mdns.NewRR(record); err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		m.Response = true
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, typ)
	}
	f.Add([]byte{0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}, "A")
	f.Fuzz(func(t *testing.T, b []byte, typ string) {
		q, err := lookup.NewQuery("motcua.test", typ, true, true)
		if err != nil {
			return
		}
		o, err := lookup.Parse(q, b)
		if err != nil {
			return
		}
		c := &checker{query: q, want: expectation{[]string{"192.0.2.1"}, matchExact}, dnssec: true, agree: true}
		c.want.compare(&o)
		r := c.verdict(t.Context(), []string{"", ""}, []seen{{Outcome: o}, {Outcome: o}})
		declared(t, r)
		if len(r.Detail) > check.MaxDetail {
			t.Errorf("detail of %d bytes", len(r.Detail))
		}
	})
}

// BenchmarkDNS asks one server on loopback, beside what the question costs without judgement (bare).
func BenchmarkDNS(b *testing.B) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	go func() {
		buf := make([]byte, 4096)
		var answer []byte
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer == nil {
				var q mdns.Msg
				if q.Unpack(buf[:n]) != nil {
					return
				}
				if answer, err = reply(b, &q, mdns.RcodeSuccess, "motcua.test. 60 IN A 192.0.2.1").Pack(); err != nil {
					return
				}
			}
			copy(answer, buf[:2])
			u.WriteTo(answer, from)
		}
	}()
	b.Run("check", func(b *testing.B) {
		f, err := dnsKind().New(options(check.Options{"server": u.LocalAddr().String(), "answers": []string{"192.0.2.1"}}), check.Env{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
			if r := f(ctx); r.Reason != check.OK {
				b.Fatal(r.Reason, r.Detail)
			}
			cancel()
		}
	})
	b.Run("bare", func(b *testing.B) {
		client := &mdns.Client{Timeout: 5 * time.Second}
		q := new(mdns.Msg)
		b.ReportAllocs()
		for b.Loop() {
			q.SetQuestion("motcua.test.", mdns.TypeA)
			if _, _, err := client.Exchange(q, u.LocalAddr().String()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
