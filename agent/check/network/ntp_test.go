//go:build linux

package network

import (
	"context"
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
	"egovmon/deploy/lab/servers"
)

// A timeAnswer is what a server of time says, in the words of RFC 5905, section 7.3.
type timeAnswer struct {
	leap, stratum  byte
	refid          string
	ahead          time.Duration // of this machine's clock
	delay, spread  time.Duration // root delay and dispersion
	at             time.Time     // the time itself, in place of ahead
	mode           byte          // 4 when zero
	foreign, short bool          // answers another request; too few bytes
	pad            int           // bytes behind the message
	heard          time.Duration // since its own source was heard
}

// bytes writes the answer to a request.
func (a timeAnswer) bytes(request []byte) []byte {
	stamp := func(t time.Time) uint64 {
		return uint64(t.Unix()+2_208_988_800)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
	}
	short := func(d time.Duration) uint32 { return uint32(d * (1 << 16) / time.Second) }
	at := a.at
	if at.IsZero() {
		at = time.Now().Add(a.ahead)
	}
	b := make([]byte, 48, 48+a.pad)
	b[0], b[1], b[2], b[3] = a.leap<<6|4<<3|max(a.mode, 4), a.stratum, 6, 0xe8
	if a.mode != 0 {
		b[0] = b[0]&^7 | a.mode
	}
	binary.BigEndian.PutUint32(b[4:], short(a.delay))
	binary.BigEndian.PutUint32(b[8:], short(a.spread))
	copy(b[12:16], a.refid)
	copy(b[24:32], request[40:48])
	if a.foreign {
		b[31]++
	}
	binary.BigEndian.PutUint64(b[16:], stamp(at.Add(-a.heard)))
	binary.BigEndian.PutUint64(b[32:], stamp(at))
	binary.BigEndian.PutUint64(b[40:], stamp(at))
	if a.short {
		return b[:47]
	}
	return b[:48+a.pad]
}

// timeServer answers each request with these, one after the other, and counts the requests.
func timeServer(t *testing.T, answers ...timeAnswer) (address string, asked *atomic.Int64) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	asked = new(atomic.Int64)
	go func() {
		buf := make([]byte, 1024)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			for _, a := range answers {
				if n >= 48 {
					c.WriteTo(a.bytes(buf[:n]), from)
				}
			}
		}
	}()
	return c.LocalAddr().String(), asked
}

// withDefaults fills in what the plan would.
func withDefaults(k check.Kind, o check.Options) check.Options {
	for _, d := range k.Options {
		if o.Has(d.Name) || d.Default == "" {
			continue
		}
		switch d.Type {
		case check.TypeDuration:
			v, _ := time.ParseDuration(d.Default)
			o[d.Name] = v
		case check.TypeInt:
			var v int64
			for _, c := range d.Default {
				v = 10*v + int64(c-'0')
			}
			o[d.Name] = v
		case check.TypeBool:
			o[d.Name] = d.Default == "true"
		case check.TypeString:
			o[d.Name] = d.Default
		}
	}
	return o
}

func TestNTP(t *testing.T) {
	good := timeAnswer{stratum: 2, refid: "\x0a\x01\x01\x01", delay: 4 * time.Millisecond, spread: 10 * time.Millisecond, heard: time.Minute}
	with := func(change func(*timeAnswer)) timeAnswer { a := good; change(&a); return a }
	at := func(answers ...timeAnswer) string { s, _ := timeServer(t, answers...); return s }
	right, right2, right3 := at(good), at(good), at(good)
	late := at(with(func(a *timeAnswer) { a.ahead = 300 * time.Second }))
	dead := at()
	for _, tc := range []struct {
		name    string
		servers []string
		o       check.Options
		want    check.Reason
		detail  string
	}{
		{"good", []string{right}, nil, check.OK, ""},
		{"three good", []string{right, right2, right3}, nil, check.OK, ""},
		{"by name", []string{strings.Replace(right, "127.0.0.1", "localhost", 1)}, check.Options{"family": ip4}, check.OK, ""},
		{"a leap second is announced", []string{at(with(func(a *timeAnswer) { a.leap = 1 }))}, nil, check.OK, ""},
		{"with extensions", []string{at(with(func(a *timeAnswer) { a.pad = 8000 }))}, nil, check.OK, ""},
		{"an answer to another request first", []string{at(with(func(a *timeAnswer) { a.foreign = true; a.ahead = time.Hour }), good)}, nil, check.OK, ""},

		{"one of three is wrong", []string{right, late, right2}, nil, check.ClockSkew, late + " differs by 5m"},
		{"two that differ", []string{right, late}, nil, check.ClockSkew, "no majority"},
		{"this machine is behind the only one", []string{late}, nil, check.ClockSkew, "cannot tell whose"},
		{"within the limit", []string{late}, check.Options{"max_offset": 400 * time.Second}, check.OK, ""},
		{"one is silent", []string{right, dead}, nil, check.Partial, dead},
		{"one is silent, which is allowed", []string{right, dead}, check.Options{"need": int64(1)}, check.OK, ""},
		{"one is not synchronised", []string{at(timeAnswer{leap: 3}), right}, nil, check.Partial, "not synchronised"},
		{"a wrong one and silent ones", []string{dead, late, right, right2, right3}, nil, check.ClockSkew, late},

		{"not synchronised", []string{at(timeAnswer{leap: 3})}, nil, check.Protocol, "not synchronised"},
		{"not synchronised, stratum 16", []string{at(with(func(a *timeAnswer) { a.stratum = 16 }))}, nil, check.Protocol, "stratum 16"},
		{"synchronised, it says, with the leap of one that is not", []string{at(with(func(a *timeAnswer) { a.leap = 3 }))}, nil, check.Protocol, "leap indicator 3"},
		{"lost its source", []string{at(with(func(a *timeAnswer) { a.heard = 40 * time.Hour }))}, nil, check.Protocol, "lost its own source"},
		{"far from a reference clock", []string{at(with(func(a *timeAnswer) { a.spread = 20 * time.Second }))}, nil, check.Protocol, "may be wrong by 20"},
		{"root distance", []string{at(with(func(a *timeAnswer) { a.spread = 2 * time.Second }))}, nil, check.Protocol, "at most 1s"},
		{"root distance that is allowed", []string{at(with(func(a *timeAnswer) { a.spread = 2 * time.Second }))}, check.Options{"max_root_distance": 10 * time.Second}, check.OK, ""},
		{"stratum", []string{at(with(func(a *timeAnswer) { a.stratum = 9 }))}, check.Options{"max_stratum": int64(8)}, check.Protocol, "stratum 9"},
		{"the far past", []string{at(with(func(a *timeAnswer) { a.at = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }))}, nil, check.Protocol, "the year 2000"},
		{"last heard in the future", []string{at(with(func(a *timeAnswer) { a.heard = -time.Hour }))}, nil, check.Protocol, "contradicts itself"},
		{"another mode", []string{at(with(func(a *timeAnswer) { a.mode = 5 }))}, nil, check.Protocol, ""},
		{"answers another request", []string{at(with(func(a *timeAnswer) { a.foreign = true }))}, nil, check.Protocol, "none to our request"},
		{"a flood of answers to another", []string{at(append(slices.Repeat([]timeAnswer{with(func(a *timeAnswer) { a.foreign = true })}, maxStrange), good)...)}, nil, check.Protocol, "a flood"},
		{"too short", []string{at(with(func(a *timeAnswer) { a.short = true }))}, nil, check.Protocol, "none to our request"},
		{"silent", []string{dead}, nil, check.Timeout, dead},
		{"nobody listens", []string{checktest.ClosedPort(t)}, nil, check.ConnectRefused, ""},
		{"the first one's reason", []string{checktest.ClosedPort(t), dead}, nil, check.ConnectRefused, ""},

		{"kiss of death", []string{at(timeAnswer{refid: "DENY"})}, nil, check.Blocked, "says DENY"},
		{"another kiss", []string{at(timeAnswer{refid: "INIT"})}, nil, check.Protocol, "says INIT"},
		{"a kiss that is no word", []string{at(timeAnswer{refid: "%s\n\x1b"})}, nil, check.Protocol, "not synchronised"},
		{"a kiss and a dead one", []string{at(timeAnswer{refid: "RATE"}), checktest.ClosedPort(t)}, nil, check.ConnectRefused, ""},
		{"a kiss and a good one", []string{at(timeAnswer{refid: "RATE"}), right}, nil, check.Partial, "says RATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := check.Options{"servers": tc.servers}
			maps.Copy(o, tc.o)
			limit := 20 * time.Second
			if tc.want == check.Timeout || tc.want == check.Partial || slices.Contains(tc.servers, dead) || strings.Contains(tc.detail, "none to our") {
				limit = 2 * time.Second
			}
			r := runFor(t, ntpKind(), withDefaults(ntpKind(), o), check.Env{}, limit)
			want(t, r, tc.want)
			if !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("detail %q lacks %q", r.Detail, tc.detail)
			}
			wantFact(t, r, "asked_count", float64(len(tc.servers)))
		})
	}
}

func TestNTPFacts(t *testing.T) {
	one, _ := timeServer(t, timeAnswer{stratum: 3, leap: 1, delay: 20 * time.Millisecond, spread: 50 * time.Millisecond})
	two, _ := timeServer(t, timeAnswer{stratum: 2, ahead: -time.Hour})
	dead, _ := timeServer(t)
	deny, _ := timeServer(t, timeAnswer{refid: "RSTR"})
	o := withDefaults(ntpKind(), check.Options{"servers": []string{one, two, dead, deny}, "max_root_distance": 16 * time.Second})
	f, err := newNTP(o, check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r := f(ctx)
	declared(t, ntpKind(), r)
	want(t, r, check.ClockSkew)
	wantFact(t, r, "answered_count", 3)
	wantFact(t, r, "synchronised_count", 2)
	wantFact(t, r, "resting_count", 1)
	if _, ok := r.Facts.Get("offset_s"); ok {
		t.Error("an offset although there is no majority")
	}
	o["servers"] = []string{one}
	r = runFor(t, ntpKind(), o, check.Env{}, 20*time.Second)
	wantFact(t, r, "stratum_code", 3)
	wantFact(t, r, "leap_code", 1)
	wantFact(t, r, "agreeing_count", 1)
	wantFact(t, r, "falsetickers_count", 0)
	if d, _ := r.Facts.Get("root_distance_s"); d < 0.0599 || d > 10.1 {
		t.Errorf("root distance %v s, want half of 20 ms and of the way, and 50 ms", d)
	}
}

// A clock of this machine's that is wrong, against servers that agree.
func TestNTPOwnClock(t *testing.T) {
	good := timeAnswer{stratum: 2}
	a, _ := timeServer(t, good)
	b, _ := timeServer(t, good)
	for _, tc := range []struct {
		ahead time.Duration
		want  check.Reason
		word  string
	}{{time.Hour, check.ClockSkew, "1h0m0s ahead of"}, {-time.Hour, check.ClockSkew, "1h0m0s behind"}, {0, check.OK, ""}} {
		k := &timekeeper{line: line{family: anyFamily}, servers: []string{a, b}, rests: make([]rest, 2), now: time.Now,
			clock:  func() time.Time { return time.Now().Add(tc.ahead) },
			limits: timeLimits{need: 2, offset: time.Minute, distance: 16 * time.Second, stratum: 15}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		r := k.check(ctx)
		cancel()
		declared(t, ntpKind(), r)
		want(t, r, tc.want)
		if !strings.Contains(r.Detail, tc.word) {
			t.Errorf("detail %q lacks %q", r.Detail, tc.word)
		}
		if s, _ := r.Facts.Get("offset_s"); (s-tc.ahead.Seconds()) > 30 || (s-tc.ahead.Seconds()) < -30 {
			t.Errorf("offset %v s, want %v", s, tc.ahead.Seconds())
		}
	}
}

// A server that asks for fewer requests gets fewer, and none after it refused.
func TestNTPRests(t *testing.T) {
	rate, asked := timeServer(t, timeAnswer{refid: "RATE"})
	deny, denied := timeServer(t, timeAnswer{refid: "DENY"})
	good, _ := timeServer(t, timeAnswer{stratum: 1})
	now := time.Now()
	k := &timekeeper{line: line{family: anyFamily}, servers: []string{rate, deny, good}, rests: make([]rest, 3),
		now: func() time.Time { return now }, limits: timeLimits{need: 1, offset: time.Hour, distance: 16 * time.Second, stratum: 15}}
	run := func() check.Result {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r := k.check(ctx)
		declared(t, ntpKind(), r)
		want(t, r, check.OK)
		wantFact(t, r, "resting_count", 2)
		return r
	}
	begin := now
	for _, step := range []struct {
		after                 time.Duration
		wantAsked, wantDenied int64
	}{
		{0, 1, 1}, {time.Minute, 1, 1}, {14 * time.Minute, 1, 1},
		{15 * time.Minute, 2, 1}, {44 * time.Minute, 2, 1}, // then half an hour
		{45 * time.Minute, 3, 1}, {104 * time.Minute, 3, 1}, // then an hour
		{105 * time.Minute, 4, 1}, {24 * time.Hour, 5, 2},
	} {
		now = begin.Add(step.after)
		run()
		if asked.Load() != step.wantAsked || denied.Load() != step.wantDenied {
			t.Fatalf("after %s: asked %d and %d times, want %d and %d", step.after, asked.Load(), denied.Load(), step.wantAsked, step.wantDenied)
		}
	}
}

func TestNTPWhatRoutersSay(t *testing.T) {
	inNetwork(t, []string{"route add unreachable 192.0.2.1", "route add prohibit 192.0.2.2"}, func() {
		for address, reason := range map[string]check.Reason{"192.0.2.1:123": check.ConnectUnreachable, "192.0.2.2:123": check.NoPermission} {
			k := &timekeeper{line: line{family: anyFamily}}
			s := k.query(t.Context(), address) // on this thread, which check is not
			if s.fault == nil || s.fault.Reason != reason {
				t.Errorf("%s: %v, want %s", address, s.fault, reason)
			}
		}
	})
}

func TestNTPThatCannotBeAsked(t *testing.T) {
	l := timeLimits{need: 1, offset: time.Minute, distance: 16 * time.Second, stratum: 15}
	for rcode, reason := range map[int]check.Reason{mdns.RcodeNameError: check.DNSNXDomain, mdns.RcodeServerFailure: check.DNSServfail} {
		k := &timekeeper{line: line{resolver: resolver(t, rcode)}, servers: []string{"time.test.:123"}, rests: make([]rest, 1), now: time.Now, limits: l}
		want(t, k.check(t.Context()), reason)
	}
	env := check.Env{Source: netip.MustParseAddr("192.0.2.77")}
	o := withDefaults(ntpKind(), check.Options{"servers": []string{"127.0.0.1:123"}})
	want(t, run(t, ntpKind(), o, env), check.ConnectUnreachable)
	env.Source = netip.MustParseAddr("::1")
	want(t, run(t, ntpKind(), o, env), check.Misconfigured)
	dead, _ := timeServer(t)
	f, err := newNTP(withDefaults(ntpKind(), check.Options{"servers": []string{dead}}), check.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, f(ctx), check.Internal)
}

func TestNTPOptionsThatCannotHold(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    check.Options
		want string
	}{
		{"none", check.Options{"servers": []string{}}, `"servers"`},
		{"twice the same", check.Options{"servers": []string{"127.0.0.1:123", "127.0.0.1:123"}}, `"servers"`},
		{"no port", check.Options{"servers": []string{"127.0.0.1"}}, `"servers"`},
		{"too many", check.Options{"servers": slices.Repeat([]string{"127.0.0.1:123"}, 17)}, `"servers"`},
		{"of the other family", check.Options{"servers": []string{"[::1]:123"}, "family": ip4}, `"servers"`},
		{"more than there are", check.Options{"servers": []string{"127.0.0.1:123"}, "need": int64(2)}, `"need"`},
	} {
		if _, err := newNTP(tc.o, check.Env{}); err == nil || !strings.Contains(err.Error(), "option "+tc.want) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
	if got := ntpKind().Target(check.Options{"servers": []string{"a.test:123", "10.1.1.1:123"}}); !slices.Equal(got, []string{"a.test", "10.1.1.1"}) {
		t.Errorf("targets %v", got)
	}
}

// Votes as tables: offset and distance of each server in ms; who is in the majority.
func TestMajority(t *testing.T) {
	for _, tc := range []struct {
		name  string
		votes [][2]int
		want  []int
		ahead int // ms
	}{
		{"none", nil, nil, 0},
		{"one", [][2]int{{40, 10}}, []int{0}, 40},
		{"two that agree", [][2]int{{40, 10}, {50, 10}}, []int{0, 1}, 45},
		{"two that do not", [][2]int{{40, 10}, {70, 10}}, nil, 0},
		{"two that touch", [][2]int{{40, 10}, {60, 10}}, []int{0, 1}, 50},
		{"one exact in a vague one", [][2]int{{0, 500}, {300, 10}}, []int{0, 1}, 300},
		{"two against one", [][2]int{{0, 10}, {1000, 10}, {5, 10}}, []int{0, 2}, 2},
		{"two against two", [][2]int{{0, 10}, {1, 10}, {1000, 10}, {1001, 10}}, nil, 0},
		{"three against two", [][2]int{{1000, 10}, {0, 10}, {1, 10}, {1001, 10}, {2, 10}}, []int{1, 2, 4}, 1},
		{"a chain without common ground", [][2]int{{0, 10}, {15, 10}, {30, 10}}, []int{0, 1}, 7},
		{"claims of no error at all", [][2]int{{0, 0}, {4, 0}, {8, 0}}, []int{0, 1, 2}, 4},
		{"all differ", [][2]int{{0, 1}, {100, 1}, {200, 1}}, nil, 0},
	} {
		var all []timeSample
		for i, v := range tc.votes {
			all = append(all, timeSample{server: string(rune('0' + i)), ahead: time.Duration(v[0]) * time.Millisecond, distance: time.Duration(v[1]) * time.Millisecond})
		}
		in, ahead := majority(all)
		var got []int
		for _, s := range in {
			got = append(got, int(s.server[0]-'0'))
		}
		if !slices.Equal(got, tc.want) || ahead.Milliseconds() != int64(tc.ahead) {
			t.Errorf("%s: %v at %s, want %v at %d ms", tc.name, got, ahead, tc.want, tc.ahead)
		}
	}
}

// chrony as it is: right, wrong by faketime, without a source, and far from one.
func TestNTPChrony(t *testing.T) {
	if err := servers.Require("chronyd", "faketime"); err != nil {
		t.Skip(err)
	}
	start := func(c servers.ClockConfig) string {
		dir, err := os.MkdirTemp("/tmp", "egovmon-ntp-") // not t.TempDir: chrony's own user must get in
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		k, err := servers.StartClock(t.Context(), servers.Loopback(filepath.Clean(dir), netip.MustParseAddr("127.0.0.1"), nil), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Stop() })
		return k.Addr()
	}
	right, right2 := start(servers.ClockConfig{}), start(servers.ClockConfig{})
	wrong := start(servers.ClockConfig{Ahead: 300 * time.Second})
	lost := start(servers.ClockConfig{Unsynchronised: true})
	far := start(servers.ClockConfig{Stratum: 15})
	for _, tc := range []struct {
		name    string
		servers []string
		want    check.Reason
		detail  string
	}{
		{"right", []string{right}, check.OK, ""},
		{"two", []string{right, right2}, check.OK, ""},
		{"the wrong one is found", []string{wrong, right, right2}, check.ClockSkew, wrong + " differs by 5m"},
		{"the wrong one alone", []string{wrong}, check.ClockSkew, "this machine's clock is 5m"},
		{"without a source", []string{lost}, check.Protocol, "not synchronised"},
		{"without a source, beside one that has", []string{lost, right}, check.Partial, lost},
		{"stratum 15", []string{far}, check.OK, ""},
	} {
		r := runFor(t, ntpKind(), withDefaults(ntpKind(), check.Options{"servers": tc.servers, "max_root_distance": 16 * time.Second}), check.Env{}, 20*time.Second)
		want(t, r, tc.want)
		if !strings.Contains(r.Detail, tc.detail) {
			t.Errorf("%s: detail %q lacks %q", tc.name, r.Detail, tc.detail)
		}
	}
	r := runFor(t, ntpKind(), withDefaults(ntpKind(), check.Options{"servers": []string{far}, "max_stratum": int64(14)}), check.Env{}, 20*time.Second)
	want(t, r, check.Protocol)
}
