package dns

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"egovmon/agent/check"
	"egovmon/agent/check/checktest"
)

// seeHijack runs the kind with these options.
func seeHijack(t *testing.T, o check.Options) check.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	return checktest.NewFunc(t, hijackKind(), o, check.Env{})(ctx)
}

// honest knows www.tuky.test alone.
func honest(t *testing.T) func(q *mdns.Msg) *mdns.Msg {
	return func(q *mdns.Msg) *mdns.Msg {
		if mdns.CanonicalName(q.Question[0].Name) == "www.tuky.test." {
			return reply(t, q, mdns.RcodeSuccess, "www.tuky.test. 60 IN A 192.0.2.1")
		}
		return reply(t, q, mdns.RcodeNameError)
	}
}

func TestHijack(t *testing.T) {
	saying := func(rcode int, records ...string) func(t *testing.T) func(*mdns.Msg) *mdns.Msg {
		return func(t *testing.T) func(*mdns.Msg) *mdns.Msg {
			return func(q *mdns.Msg) *mdns.Msg {
				var all []string
				for _, r := range records {
					all = append(all, strings.ReplaceAll(r, "NAME", q.Question[0].Name))
				}
				return reply(t, q, rcode, all...)
			}
		}
	}
	www := check.Options{"name": "www.tuky.test", "answers": []string{"192.0.2.1"}}
	gone := check.Options{"missing": []string{"{random}.tuky.test"}}
	for _, tc := range []struct {
		name    string
		o       check.Options
		answers []func(t *testing.T) func(*mdns.Msg) *mdns.Msg
		want    check.Reason
		forged  float64
	}{
		{"honest", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{honest}, check.OK, 0},
		{"honest of what is missing", gone, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{honest}, check.OK, 0},
		{"nothing at what is missing", gone, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0)}, check.OK, 0},
		{"an address for everything", gone, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0, "NAME 60 IN A 198.51.100.66")}, check.DNSMismatch, 1},
		{"another address", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0, "NAME 60 IN A 198.51.100.66")}, check.DNSMismatch, 1},
		{"denied", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(mdns.RcodeNameError)}, check.DNSNXDomain, 1},
		{"emptied", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0)}, check.DNSEmpty, 1},
		{"one of two lies", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{honest, saying(0, "NAME 60 IN A 198.51.100.66")}, check.DNSMismatch, 1},
		{"one of two fails", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{honest, saying(mdns.RcodeServerFailure)}, check.Partial, 0},
		{"one lies, one fails", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(mdns.RcodeServerFailure), saying(0, "NAME 60 IN A 198.51.100.66")}, check.DNSMismatch, 1},
		{"fails", www, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(mdns.RcodeServerFailure)}, check.DNSServfail, 0},
		{"refuses", gone, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(mdns.RcodeRefused)}, check.DNSRefused, 0},
		{"cannot", gone, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(mdns.RcodeNotImplemented)}, check.Protocol, 0},
		{"one more than exactly", check.Options{"name": "www.tuky.test", "answers": []string{"192.0.2.1"}, "match": matchExact},
			[]func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0, "NAME 60 IN A 192.0.2.1", "NAME 60 IN A 198.51.100.66")}, check.DNSMismatch, 1},
		{"another type", check.Options{"name": "www.tuky.test", "type": "TXT", "answers": []string{"x"}}, []func(t *testing.T) func(*mdns.Msg) *mdns.Msg{saying(0, "NAME 60 IN TXT x")}, check.OK, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := check.Options{"wait": time.Duration(0)}
			maps.Copy(o, tc.o)
			var all []string
			for _, a := range tc.answers {
				answer := a(t)
				all = append(all, serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg { return answer(q) }))
			}
			o["servers"] = all
			r := seeHijack(t, o)
			want(t, r, tc.want)
			wantFact(t, r, "forged_count", tc.forged)
			wantFact(t, r, "servers_count", float64(len(all)))
		})
	}
	want(t, seeHijack(t, check.Options{"server": refused(t), "missing": []string{"a.test"}}), check.ConnectRefused)
	f := checktest.NewFunc(t, hijackKind(), check.Options{"server": silent(t), "missing": []string{"a.test", "b.test"}}, check.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	want(t, f(ctx), check.DNSTimeout)
	called, off := context.WithCancel(t.Context())
	off()
	want(t, f(called), check.Internal)
}

// TestRandomNames sees that a name is another one in each run, and within one.
func TestRandomNames(t *testing.T) {
	asked := make(chan string, 10)
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg {
		asked <- q.Question[0].Name
		return reply(t, q, mdns.RcodeNameError)
	})
	f := checktest.NewFunc(t, hijackKind(), check.Options{"server": server, "missing": []string{"{random}.tuky.test"}, "wait": time.Duration(0)}, check.Env{})
	f(t.Context())
	f(t.Context())
	a, b := <-asked, <-asked
	if a == b || !strings.HasSuffix(a, ".tuky.test.") || strings.Contains(a, "random") {
		t.Errorf("asked for %q, then %q", a, b)
	}
}

// TestTwoAnswers has somebody nearer than the server answer first.
func TestTwoAnswers(t *testing.T) {
	t.Parallel()
	pack := func(q []byte, rcode int, records ...string) []byte {
		var m mdns.Msg
		if err := m.Unpack(q); err != nil {
			t.Error(err)
		}
		b, err := reply(t, &m, rcode, records...).Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	const right, wrong = "www.tuky.test. 60 IN A 192.0.2.1", "www.tuky.test. 60 IN A 198.51.100.66"
	for _, tc := range []struct {
		name    string
		answers func(q []byte) [][]byte
		wait    time.Duration
		want    check.Reason
		doubled float64
	}{
		{"the same twice", func(q []byte) [][]byte { return [][]byte{pack(q, 0, right), pack(q, 0, right)} }, soon, check.OK, 0},
		{"the same twice, then the forgery", func(q []byte) [][]byte { return [][]byte{pack(q, 0, right), pack(q, 0, right), pack(q, 0, wrong)} }, long, check.DNSMismatch, 1},
		{"another time to live", func(q []byte) [][]byte {
			return [][]byte{pack(q, 0, right), pack(q, 0, strings.Replace(right, "60", "59", 1))}
		}, soon, check.OK, 0},
		{"the forgery first", func(q []byte) [][]byte { return [][]byte{pack(q, 0, wrong), pack(q, 0, right)} }, soon, check.DNSMismatch, 1},
		{"the forgery second", func(q []byte) [][]byte { return [][]byte{pack(q, 0, right), pack(q, 0, wrong)} }, long, check.DNSMismatch, 1},
		{"first there is none", func(q []byte) [][]byte { return [][]byte{pack(q, mdns.RcodeNameError), pack(q, 0, right)} }, long, check.DNSMismatch, 1},
		{"not waited for", func(q []byte) [][]byte { return [][]byte{pack(q, 0, right), pack(q, 0, wrong)} }, 0, check.OK, 0},
		{"another question's", func(q []byte) [][]byte {
			b := pack(q, 0, wrong)
			b[0]++
			return [][]byte{pack(q, 0, right), b}
		}, soon, check.OK, 0},
		{"no message", func(q []byte) [][]byte { return [][]byte{pack(q, 0, right), pack(q, 0, right)[:20]} }, soon, check.OK, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := serveRaw(t, func(_ *peer, q []byte, _ bool) [][]byte { return tc.answers(q) })
			r := seeHijack(t, check.Options{"server": p.address, "name": "www.tuky.test", "answers": []string{"192.0.2.1"}, "wait": min(tc.wait, 5*time.Second)})
			want(t, r, tc.want)
			wantFact(t, r, "doubled_count", tc.doubled)
		})
	}
}

// TestTwoQuestions has a question that was sent again and got an answer each time, from different parts of many addresses.
func TestTwoQuestions(t *testing.T) {
	t.Parallel()
	var kept []byte
	p := serveRaw(t, func(_ *peer, q []byte, _ bool) [][]byte {
		if kept == nil {
			kept = q
			return nil
		}
		var all [][]byte
		for i := range 2 {
			var m mdns.Msg
			if err := m.Unpack(q); err != nil {
				t.Error(err)
			}
			b, err := reply(t, &m, 0, "www.tuky.test. 60 IN A 192.0.2.1", fmt.Sprintf("www.tuky.test. 60 IN A 192.0.2.%d", 7+i)).Pack()
			if err != nil {
				t.Error(err)
			}
			all = append(all, b)
		}
		return all
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r := checktest.NewFunc(t, hijackKind(), check.Options{"server": p.address, "name": "www.tuky.test", "answers": []string{"192.0.2.1"}, "wait": soon}, check.Env{})(ctx)
	want(t, r, check.OK)
	wantFact(t, r, "doubled_count", 0)
}

func TestDecoy(t *testing.T) {
	t.Parallel()
	server := serve(t, func(q *mdns.Msg, _ bool) *mdns.Msg { return honest(t)(q) })
	for _, tc := range []struct {
		name  string
		decoy string
		want  check.Reason
		code  float64
	}{
		{"silent", silent(t), check.OK, 0},
		{"closed", refused(t), check.OK, 0},
		{"answers", zone(t, mdns.RcodeSuccess, "www.tuky.test. 60 IN A 192.0.2.1"), check.CaptivePortal, 1},
		{"refuses", zone(t, mdns.RcodeRefused), check.CaptivePortal, 1},
	} {
		o := check.Options{"decoy": tc.decoy, "wait": soon}
		if tc.code == 1 {
			o["wait"] = 5 * time.Second // so long it need not take
		}
		r := seeHijack(t, o)
		want(t, r, tc.want)
		wantFact(t, r, "decoy_code", tc.code)
		wantFact(t, r, "servers_count", 0)
	}
	r := seeHijack(t, check.Options{"server": server, "decoy": silent(t), "missing": []string{"a.test"}, "wait": soon})
	want(t, r, check.OK)
	wantFact(t, r, "servers_ok_count", 1)
}

func TestHijackOptionsThatCannotHold(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    check.Options
		want string
	}{
		{"nothing", nil, "missing"},
		{"a name without answers", check.Options{"name": "www.tuky.test"}, "name"},
		{"answers without a name", check.Options{"answers": []string{"192.0.2.1"}}, "name"},
		{"bad answer", check.Options{"name": "www.tuky.test", "answers": []string{"x"}}, "answers"},
		{"bad type", check.Options{"name": "www.tuky.test", "answers": []string{"x"}, "type": "AXFR"}, "type"},
		{"bad name", check.Options{"missing": []string{"a b"}}, "missing"},
		{"empty name", check.Options{"missing": []string{""}}, "missing"},
		{"too long a name", check.Options{"missing": []string{strings.Repeat("x", 60) + "{random}"}}, "missing"},
		{"the decoy is the server", check.Options{"missing": []string{"a.test"}, "server": "127.0.0.1:53", "decoy": "127.0.0.1:53"}, "decoy"},
		{"the decoy has no port", check.Options{"decoy": "127.0.0.1"}, "decoy"},
		{"server and servers", check.Options{"missing": []string{"a.test"}, "server": "127.0.0.1:53", "servers": []string{"127.0.0.2:53"}}, "server"},
	} {
		if _, err := hijackKind().New(checktest.WithDefaults(t, hijackKind(), tc.o), checktest.WithEnv(check.Env{})); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("option %q", tc.want)) {
			t.Errorf("%s: %v, want an error that names the option %s", tc.name, err, tc.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, k := range Kinds() {
		got := k.Target(check.Options{"servers": []string{"192.0.2.1:53", "dns.test:53"}})
		if want := []string{"192.0.2.1", "dns.test"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", k.Name, got, want)
		}
	}
}
