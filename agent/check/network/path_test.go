//go:build linux

package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
)

func addr(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, n, 1}) }

// routers are the hops of a way; 0 stands for silence.
func routers(ns ...byte) []hop {
	var hs []hop
	for _, n := range ns {
		h := hop{rtt: time.Millisecond}
		if n != 0 {
			h.from = addr(n)
		}
		hs = append(hs, h)
	}
	return hs
}

func TestJudgePath(t *testing.T) {
	refused := answer{kind: noWay, from: addr(9)}
	found := func(f mtuFound) *mtuFound { return &f }
	for _, tc := range []struct {
		name   string
		w      way
		slow   time.Duration
		warn   int
		want   check.Reason
		detail string
	}{
		{"reached", way{trace: trace{hops: routers(1, 2), target: 3, rtt: time.Millisecond}}, time.Second, 0, check.OK, ""},
		{"too slow", way{trace: trace{hops: routers(1, 2), target: 3, rtt: 2 * time.Second}}, time.Second, 0, check.Slow, "limit 1s"},
		{"by TCP alone", way{trace: trace{hops: routers(1, 2), asked: 7}, tcp: true}, 0, 0, check.OK, "TCP alone"},
		{"changed", way{trace: trace{hops: routers(1, 2), target: 3}, changed: 2}, 0, 0, check.OK, "2 hops"},
		{"black hole", way{trace: trace{hops: routers(1, 2), target: 3}, mtu: found(mtuFound{passes: 1400, fails: 1401, hole: true, after: 2})}, 0, 0, check.PathMTU, "after hop 2"},
		{"a smaller line that says so", way{trace: trace{hops: routers(1), target: 2}, mtu: found(mtuFound{passes: 1400, fails: 1500, told: true})}, 0, 0, check.OK, ""},
		{"a line below the limit", way{trace: trace{hops: routers(1), target: 2}, mtu: found(mtuFound{passes: 1400, fails: 1500, told: true})}, 0, 1401, check.PathMTU, "limit 1401"},
		{"a line at the limit", way{trace: trace{hops: routers(1), target: 2}, mtu: found(mtuFound{passes: 1400})}, 0, 1400, check.OK, ""},
		{"no size is known", way{trace: trace{hops: routers(1), target: 2}, mtu: found(mtuFound{})}, 0, 1400, check.OK, ""},
		{"breaks", way{trace: trace{hops: routers(1, 0, 3), asked: 8}}, 0, 0, check.Timeout, "after hop 3 (10.0.3.1)"},
		{"nothing answers", way{trace: trace{asked: 5}}, 0, 0, check.Timeout, "not even the first"},
		{"farther than was looked", way{trace: trace{hops: routers(1, 2), asked: 2}}, 0, 0, check.Misconfigured, "max_hops"},
		{"refused", way{trace: trace{hops: routers(1, 2), asked: 8, at: 3, refused: refused}}, 0, 0, check.ConnectUnreachable, "10.0.9.1 says"},
		{"refused at once", way{trace: trace{asked: 1, at: 1, refused: refused}}, 0, 0, check.ConnectUnreachable, "before any hop"},
		{"a loop", way{trace: trace{hops: routers(1, 2, 3, 2, 3), asked: 5}}, 0, 0, check.ConnectUnreachable, "loop"},
		{"a router that answers twice is no loop", way{trace: trace{hops: routers(1, 2, 2), asked: 8}}, 0, 0, check.Timeout, "after hop 3"},
		{"cannot send", way{trace: trace{failed: syscall.ENETUNREACH}}, 0, 0, check.ConnectUnreachable, "network is unreachable"},
		{"may not send", way{trace: trace{failed: syscall.EPERM}}, 0, 0, check.NoPermission, ""},
		{"no time to send", way{trace: trace{failed: context.DeadlineExceeded, hops: routers(1), asked: 2}}, 0, 0, check.Timeout, "after hop 1"},
	} {
		r := judgePath(t.Context(), tc.w, tc.slow, tc.warn)
		tc.w.report(&r, 3)
		declared(t, pathKind(), r)
		if r.Reason != tc.want || !strings.Contains(r.Detail, tc.detail) {
			t.Errorf("%s: %s (%s), want %s with %q", tc.name, r.Reason, r.Detail, tc.want, tc.detail)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, judgePath(stopped, way{trace: trace{asked: 1}}, 0, 0), check.Internal)
}

func TestChangedHops(t *testing.T) {
	list := func(ns ...byte) []netip.Addr {
		var as []netip.Addr
		for _, h := range routers(ns...) {
			as = append(as, h.from)
		}
		return as
	}
	for _, tc := range []struct {
		before, now []netip.Addr
		want        int
	}{
		{nil, list(1, 2), 0}, {list(1, 2), list(1, 2), 0}, {list(1, 2), list(1, 3), 1}, {list(1, 2), list(4, 3, 5), 2},
		{list(1, 0, 3), list(1, 2, 3), 0}, {list(1, 2, 3), list(1, 0, 4), 1}, {list(1, 2), list(), 0},
	} {
		if got := changedHops(tc.before, tc.now); got != tc.want {
			t.Errorf("%v, then %v: %d, want %d", tc.before, tc.now, got, tc.want)
		}
	}
	// What a broken way leaves is not compared with later: the whole way is.
	p := &path{}
	p.compare(addr(9), trace{hops: routers(1, 2, 3), target: 4})
	p.compare(addr(9), trace{hops: routers(1)})
	if got := p.compare(addr(9), trace{hops: routers(1, 2, 5), target: 4}); got != 1 || p.changes != 1 {
		t.Errorf("%d hops changed in %d runs, want 1 and 1", got, p.changes)
	}
	if got := p.compare(addr(8), trace{hops: routers(7, 7, 7), target: 4}); got != 0 {
		t.Errorf("%d hops of another target changed", got)
	}
}

// All checks of a program together send no more than 30 packets in any second, though each of them hurries.
func TestPacerOverAllChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := newPacer(packetEvery)
		var mu sync.Mutex
		var at []time.Time
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for range 20 {
					if err := pace.do(t.Context(), 1+i%3, func() error {
						mu.Lock()
						defer mu.Unlock()
						for range 1 + i%3 {
							at = append(at, time.Now())
						}
						return nil
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for i := range at {
			n := 0
			for _, b := range at[i:] {
				if b.Sub(at[i]) < time.Second {
					n++
				}
			}
			if n > 30 {
				t.Fatalf("%d packets within a second", n)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := pace.do(ctx, 1, func() error { t.Error("sent after the end"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A fake is a way as a prober would see it.
type fake struct {
	answers chan<- answer
	reply   func(n int, p probe) (answer, error)
	sent    int
}

func (f *fake) send(n int, p probe) error {
	f.sent++
	a, err := f.reply(n, p)
	if a.kind != 0 {
		a.n, a.at = n, time.Now().Add(time.Millisecond)
		f.answers <- a
	}
	return err
}
func (f *fake) cost() int { return 1 }
func (f *fake) close()    {}

func faked(reply func(n int, p probe) (answer, error)) (*tracer, *fake) {
	t := newTracer(newPacer(packetEvery), time.Second)
	f := &fake{answers: t.answers, reply: reply}
	t.prober = f
	return t, f
}

// The largest packet, whatever routers say of it: what is found is what was answered.
func TestMTUSearch(t *testing.T) {
	const real = 1412
	target := answer{kind: fromTarget, from: addr(9)}
	fits := func(mtu int, told func(size int) (int, bool)) func(int, probe) (answer, error) {
		return func(_ int, p probe) (answer, error) {
			if p.ttl < maxHops {
				if p.ttl == 1 || p.size <= mtu {
					return answer{kind: fromHop, from: addr(byte(p.ttl))}, nil
				}
				return answer{}, nil
			}
			if p.size <= mtu {
				return target, nil
			}
			if said, ok := told(p.size); ok {
				return answer{kind: tooBig, from: addr(1), mtu: said}, nil
			}
			return answer{}, nil
		}
	}
	silent := func(int) (int, bool) { return 0, false }
	lossy := 0
	for _, tc := range []struct {
		name  string
		reply func(int, probe) (answer, error)
		want  mtuFound
	}{
		{"all pass", fits(1500, silent), mtuFound{passes: 1500}},
		{"told", fits(real, func(int) (int, bool) { return real, true }), mtuFound{passes: real, fails: 1500, told: true}},
		{"told in steps", fits(real, func(size int) (int, bool) { return max(real, size-20), true }), mtuFound{passes: real, fails: 1420, told: true}},
		{"told without a size", fits(real, func(int) (int, bool) { return 0, true }), mtuFound{passes: real, fails: real + 1, told: true}},
		{"told a size that does not fit either, and then nothing", fits(real, func(size int) (int, bool) { return 1450, size > 1450 }), mtuFound{passes: real, fails: real + 1, hole: true, after: 1}},
		{"told an absurd size", fits(real, func(int) (int, bool) { return 68, true }), mtuFound{passes: real, fails: real + 1, told: true}},
		{"told a larger size", fits(real, func(int) (int, bool) { return 9000, true }), mtuFound{passes: real, fails: real + 1, told: true}},
		{"black hole", fits(real, silent), mtuFound{passes: real, fails: real + 1, hole: true, after: 1}},
		{"black hole just above the least", fits(minMTU4, silent), mtuFound{passes: minMTU4, fails: minMTU4 + 1, hole: true, after: 1}},
		{"every third packet is lost", func(n int, p probe) (answer, error) {
			if lossy++; lossy%3 == 0 {
				return answer{}, nil
			}
			return fits(1500, silent)(n, p)
		}, mtuFound{passes: 1500}},
		{"the machine's own line takes less", func(n int, p probe) (answer, error) {
			if p.size > 1280 {
				return answer{}, errTooLarge
			}
			return fits(1500, silent)(n, p)
		}, mtuFound{passes: 1280, fails: 1281, told: true}},
		{"nothing is answered", fits(100, silent), mtuFound{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, f := faked(tc.reply)
				for ttl := 1; ttl <= 3; ttl++ {
					if _, err := tr.send(t.Context(), probe{ttl, smallPacket}); err != nil {
						t.Fatal(err)
					}
				}
				got := tr.mtu(t.Context(), mtuSearch{low: minMTU4, high: 1500, ttl: maxHops, rounds: 3, tries: 12})
				if got != tc.want {
					t.Errorf("%+v, want %+v", got, tc.want)
				}
				if f.sent > 60 {
					t.Errorf("%d packets", f.sent)
				}
			})
		})
	}
}

// A run ends however the answers fall: in time, and with a bounded number of packets.
func TestTraceIsBounded(t *testing.T) {
	for name, reply := range map[string]func(int, probe) (answer, error){
		"silence":               func(int, probe) (answer, error) { return answer{}, nil },
		"a hop for every limit": func(_ int, p probe) (answer, error) { return answer{kind: fromHop, from: addr(byte(p.ttl))}, nil },
		"every fifth hop answers": func(_ int, p probe) (answer, error) {
			return answer{kind: answerKind(1 - min(1, p.ttl%5)), from: addr(byte(p.ttl))}, nil
		},
		"a refusal": func(_ int, p probe) (answer, error) { return answer{kind: noWay, from: addr(1)}, nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			tr, f := faked(reply)
			tr.answers <- answer{n: 200, kind: fromTarget, from: addr(66), at: time.Now()}
			begin := time.Now()
			w := tr.hops(t.Context(), 64)
			if took := time.Since(begin); took > 10*time.Second || f.sent > 2*64 || w.target != 0 {
				t.Errorf("%s: %d packets in %s, target %d", name, f.sent, took, w.target)
			}
		})
	}
}

func TestPathOptions(t *testing.T) {
	for _, tc := range []struct {
		o    check.Options
		env  check.Env
		want string
	}{
		{check.Options{"host": "10.0.0.1", "wait": 2 * time.Second}, check.Env{Timeout: 5 * time.Second}, `"wait"`},
		{check.Options{"host": "10.0.0.1", "mtu_warn": int64(1500), "mtu_max": int64(1400)}, check.Env{}, `"mtu_warn"`},
		{check.Options{"host": "::1", "family": ip4}, check.Env{}, `"host"`},
	} {
		if _, err := pathKind().New(tc.o, tc.env); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%v: %v, want an error that names %s", tc.o, err, tc.want)
		}
	}
	// A system that lets the agent see no hops, and one that lets it do so by TCP alone.
	p := &path{host: "127.0.0.1", protocol: modeAuto, wait: time.Second, hops: 3, pace: newPacer(time.Millisecond)}
	p.open = func(proberOptions, chan<- answer) (prober, error) { return nil, errNoTrace }
	want(t, p.check(t.Context()), check.NotSupported)
	p.open = func(o proberOptions, answers chan<- answer) (prober, error) {
		if o.protocol != byTCPProbe {
			return nil, errNoEcho
		}
		return &fake{answers: answers, reply: func(int, probe) (answer, error) { return answer{kind: fromTarget, from: addr(9)}, nil }}, nil
	}
	r := p.check(t.Context())
	want(t, r, check.OK)
	wantFact(t, r, "protocol_code", byTCPProbe)
	p.line.resolver, p.host = resolver(t, mdns.RcodeNameError), "motcua.test."
	r = p.check(t.Context())
	declared(t, pathKind(), r)
	want(t, r, check.DNSNXDomain)
	p.line.family, p.host = ip6, "10.0.0.1"
	want(t, p.check(t.Context()), check.Misconfigured)
}

// What a message of the kernel means, by who sent it.
func TestICMPErrorMeans(t *testing.T) {
	to, hop4 := addr(9), addr(2)
	to6, hop6 := netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("2001:db8::2")
	for _, tc := range []struct {
		name string
		e    icmpError
		to   netip.Addr
		want answerKind
	}{
		{"hop limit", icmpError{originICMP, 11, 0, 0, hop4, 0}, to, fromHop},
		{"fragments came too late", icmpError{originICMP, 11, 1, 0, hop4, 0}, to, 0},
		{"too big", icmpError{originICMP, 3, 4, 1400, hop4, 0}, to, tooBig},
		{"port closed", icmpError{originICMP, 3, 3, 0, to, 0}, to, fromTarget},
		{"port closed, says another", icmpError{originICMP, 3, 3, 0, hop4, 0}, to, noWay},
		{"no host", icmpError{originICMP, 3, 1, 0, hop4, 0}, to, noWay},
		{"the target refuses", icmpError{originICMP, 3, 13, 0, to, 0}, to, fromTarget},
		{"source quench", icmpError{originICMP, 4, 0, 0, hop4, 0}, to, 0},
		{"of the kernel itself", icmpError{1, 3, 4, 1400, hop4, 0}, to, 0},
		{"without a sender", icmpError{originICMP, 11, 0, 0, netip.Addr{}, 0}, to, 0},
		{"hop limit, IPv6", icmpError{originICMP6, 3, 0, 0, hop6, 0}, to6, fromHop},
		{"too big, IPv6", icmpError{originICMP6, 2, 0, 1280, hop6, 0}, to6, tooBig},
		{"port closed, IPv6", icmpError{originICMP6, 1, 4, 0, to6, 0}, to6, fromTarget},
		{"no route, IPv6", icmpError{originICMP6, 1, 0, 0, hop6, 0}, to6, noWay},
		{"an IPv4 type over IPv6", icmpError{originICMP6, 11, 0, 0, hop6, 0}, to6, 0},
	} {
		a, ok := tc.e.answer(tc.to)
		if a.kind != tc.want || ok != (tc.want != 0) {
			t.Errorf("%s: %d, %v; want %d", tc.name, a.kind, ok, tc.want)
		}
	}
}

func FuzzParseExtended(f *testing.F) {
	whole := make([]byte, 44)
	copy(whole[4:], []byte{originICMP, 11, 0})
	copy(whole[20:], []byte{10, 0, 1, 1})
	f.Add(whole, false)
	f.Add(whole[:32], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		e := parseExtended(b, v6)
		if a, ok := e.answer(addr(9)); ok && (!a.from.IsValid() || a.kind == 0 || a.mtu < 0 || a.mtu > 1<<16) {
			t.Errorf("%+v", a)
		}
	})
}

func FuzzQuotedEcho(f *testing.F) {
	f.Add(putEcho(make([]byte, 64), false, 7, 3, []byte("01234567")), false, uint16(7))
	f.Add(putEcho(make([]byte, 64), true, 7, 3, []byte("01234567")), true, uint16(8))
	f.Add([]byte{8, 0}, false, uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, v6 bool, id uint16) {
		n, data, ours := quotedEcho(b, v6, false, id)
		if ours && (n < 0 || n > 65535 || len(data) != len(b)-icmpHeader) {
			t.Errorf("%d, %d bytes of %d", n, len(data), len(b))
		}
		reply := putEcho(make([]byte, 0, 64), v6, id, 5, []byte("0123456789"))
		if n, _, ours := quotedEcho(reply, v6, false, id); !ours || n != 5 {
			t.Errorf("our own request is not ours: %d, %v", n, ours)
		}
		if _, _, ours := quotedEcho(reply, v6, false, id+1); ours {
			t.Error("a request of another id is ours")
		}
	})
}

func FuzzStripIPv4(f *testing.F) {
	f.Add([]byte{0x45, 19: 1, 20: 8})
	f.Add([]byte{0x4f, 30: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if payload, _, ok := stripIPv4(b); ok && len(payload) > len(b)-20 {
			t.Errorf("%d bytes carry %d", len(b), len(payload))
		}
	})
}
