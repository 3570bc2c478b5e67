package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"egovmon/agent/check"
	"egovmon/agent/check/kinds"
	"egovmon/agent/plan"
	"egovmon/agent/words"
)

func because(r check.Reason, facts ...check.Fact) *check.Result {
	x := check.Because(r, "")
	x.Facts = facts
	return &x
}

func TestJudgeWay(t *testing.T) {
	whole := wayEvidence{card: true, link: true, address: true, page: *because(check.OK)}
	with := func(r check.Reason, change func(e *wayEvidence)) wayEvidence {
		e := whole
		e.page = *because(r)
		if change != nil {
			change(&e)
		}
		return e
	}
	broken := func(after float64) func(e *wayEvidence) {
		return func(e *wayEvidence) {
			e.path, e.toSystem = because(check.Timeout, check.Fact{Name: "broken_after_count", Value: after}), true
		}
	}
	hole := func(e *wayEvidence) {
		e.path = because(check.PathMTU, check.Fact{Name: "black_hole_code", Value: 1}, check.Fact{Name: "black_hole_after_count", Value: 2})
	}
	for _, tc := range []struct {
		name string
		e    wayEvidence
		at   stage
		how  string
	}{
		{"whole", whole, pastAll, ""},
		{"whole, though slow", with(check.Slow, func(e *wayEvidence) { e.early = true }), pastAll, ""},
		{"the first hop is silent and the second answers", with(check.ConnectTimeout, broken(2)), atCarrier, "carrier"},
		{"a gateway that refuses us", with(check.ConnectTimeout, func(e *wayEvidence) { broken(1)(e); e.gateway = because(check.Timeout) }), atLine, "line"},
		{"a page that comes contradicts everything", wayEvidence{page: *because(check.Slow), early: true, gateway: because(check.Timeout)}, pastAll, ""},
		{"clock", with(check.TLSNotYetValid, func(e *wayEvidence) { e.early = true }), atMachine, "clock"},
		{"no card", with(check.DNSTimeout, func(e *wayEvidence) { e.card, e.link, e.address = false, false, false }), atMachine, "card"},
		{"no link", with(check.DNSTimeout, func(e *wayEvidence) { e.link, e.address = false, false }), atLAN, "link"},
		{"no address", with(check.DNSTimeout, func(e *wayEvidence) { e.address = false }), atLAN, "address"},
		{"no route", with(check.DNSServfail, func(e *wayEvidence) {
			broken(0)(e)
			e.gateway = because(check.ConnectUnreachable)
		}), atGateway, "noroute"},
		{"no way to the system alone", with(check.ConnectUnreachable, func(e *wayEvidence) { e.wayless, e.outside, e.gateway = true, 1, because(check.OK) }), atGateway, "noway"},
		{"no way to the system alone, and nobody to ask", with(check.ConnectUnreachable, func(e *wayEvidence) {
			broken(0)(e)
			e.wayless, e.gateway = true, because(check.OK)
		}), atGateway, "noway"},
		{"a way that somebody else says is none", with(check.ConnectUnreachable, func(e *wayEvidence) { e.route, e.outside, e.gateway = true, 1, because(check.OK) }), atServer, "silent"},
		{"no way to the first of several addresses", with(check.ConnectTimeout, func(e *wayEvidence) { e.wayless, e.outside, e.gateway = true, 1, because(check.OK) }), atServer, "silent"},
		{"cut behind a router that is no default gateway", with(check.ConnectTimeout, func(e *wayEvidence) {
			broken(1)(e)
			e.route, e.tslcd, e.gateway = true, true, because(check.ConnectUnreachable)
		}), atLine, "tslcd"},
		{"a router that is no default gateway is off", with(check.ConnectTimeout, func(e *wayEvidence) {
			broken(0)(e)
			e.route, e.tslcd, e.gateway = true, true, because(check.ConnectUnreachable)
		}), atGateway, "gateway"},
		{"no log-in page to be found", with(check.HTTPStatus, func(e *wayEvidence) { e.captive = because(check.Timeout) }), atPage, "page"},
		{"the hops lead there, past a silent gateway", with(check.ConnectTimeout, func(e *wayEvidence) { e.path, e.gateway = because(check.OK), because(check.Timeout) }), atServer, "silent"},
		{"an answer, past a silent gateway", with(check.ConnectRefused, func(e *wayEvidence) { broken(0)(e); e.gateway = because(check.Timeout) }), atServer, "refused"},
		{"silent gateway", with(check.DNSTimeout, func(e *wayEvidence) { broken(0)(e); e.gateway = because(check.Timeout) }), atGateway, "gateway"},
		{"silent gateway, and nowhere to look", with(check.DNSTimeout, func(e *wayEvidence) { e.gateway = because(check.Timeout) }), atGateway, "gateway"},
		{"a gateway that says nothing and passes on", with(check.ConnectTimeout, func(e *wayEvidence) { broken(2)(e); e.gateway = because(check.Timeout) }), atCarrier, "carrier"},
		{"cut behind the gateway", with(check.ConnectTimeout, func(e *wayEvidence) { broken(1)(e); e.gateway = because(check.OK) }), atLine, "line"},
		{"cut, and the gateway hides its hop", with(check.ConnectTimeout, func(e *wayEvidence) { broken(0)(e); e.gateway = because(check.OK) }), atLine, "line"},
		{"portal", with(check.TLSUntrusted, func(e *wayEvidence) { e.captive = because(check.CaptivePortal) }), atLine, "portal"},
		{"port 25 closed by the carrier", with(check.EgressBlocked, nil), atLine, "egress"},
		{"cut on the dedicated network", with(check.ConnectTimeout, func(e *wayEvidence) { broken(1)(e); e.tslcd = true; e.gateway = because(check.OK) }), atLine, "tslcd"},
		{"a false address", with(check.TLSUntrusted, func(e *wayEvidence) { e.hijack = because(check.DNSMismatch) }), atResolver, "hijack"},
		{"a false address, seen by a decoy", with(check.ContentMissing, func(e *wayEvidence) { e.hijack = because(check.CaptivePortal) }), atResolver, "hijack"},
		{"false answers for other names", with(check.ConnectRefused, func(e *wayEvidence) { e.hijack = because(check.DNSMismatch) }), atServer, "refused"},
		{"names that are as they should be", with(check.TLSUntrusted, func(e *wayEvidence) { e.hijack = because(check.OK) }), atCertificate, "untrusted"},
		{"a log-in page that gives false addresses", with(check.TLSUntrusted, func(e *wayEvidence) {
			e.hijack, e.captive = because(check.DNSMismatch), because(check.CaptivePortal)
		}), atLine, "portal"},
		{"a bogus name", with(check.DNSServfail, func(e *wayEvidence) { broken(3)(e); e.bogus = true }), atResolver, "bogus"},
		{"no such name, say name servers behind a cut", with(check.DNSNXDomain, func(e *wayEvidence) { broken(1)(e); e.resolved = true }), atResolver, "noname"},
		{"no such name, says nobody that was asked", with(check.DNSNXDomain, func(e *wayEvidence) { broken(1)(e) }), atLine, "line"},
		{"a server next door without any address", wayEvidence{near: true, page: *because(check.ConnectRefused)}, atServer, "refused"},
		{"a handshake that hangs without large packets", with(check.TLSHandshake, nil), atCertificate, "certificate"},
		{"a certificate of another name, and large packets vanish", with(check.TLSName, hole), atCertificate, "certificate"},
		{"cut off in the middle, and large packets vanish", with(check.Truncated, hole), atCarrier, "hole"},
		{"refused, and large packets vanish", with(check.HTTPStatus, hole), atPage, "page"},
		{"a service that does not answer", with(check.Timeout, func(e *wayEvidence) { e.service = true }), atPage, "service"},
		{"a mailbox that refuses the password", with(check.Auth, func(e *wayEvidence) { e.service = true }), atPage, "service"},
		{"a page that is cut off", with(check.ConnectReset, nil), atPage, "slow"},
		{"a revoked certificate", with(check.TLSRevoked, nil), atCertificate, "untrusted"},
		{"an old version of TLS", with(check.TLSProtocol, nil), atCertificate, "certificate"},
		{"a mismatch that the page's own check sees", with(check.DNSMismatch, nil), atResolver, "resolver"},
		{"portal that the page meets", with(check.CaptivePortal, nil), atLine, "portal"},
		{"cut in the carrier's network", with(check.ConnectTimeout, broken(3)), atCarrier, "carrier"},
		{"the same, but neutral hosts answer", with(check.ConnectTimeout, func(e *wayEvidence) { broken(3)(e); e.outside = 1 }), atServer, "silent"},
		{"the hops lead there", with(check.ConnectTimeout, func(e *wayEvidence) { e.path = because(check.OK) }), atServer, "silent"},
		{"black hole", with(check.Timeout, hole), atCarrier, "hole"},
		{"black hole in the handshake", with(check.TLSHandshake, hole), atCarrier, "hole"},
		{"name servers are silent", with(check.DNSTimeout, func(e *wayEvidence) { e.outside = 2 }), atResolver, "resolver"},
		{"no such name", with(check.DNSNXDomain, func(e *wayEvidence) { e.resolved = true }), atResolver, "noname"},
		{"nothing to go by", with(check.DNSServfail, nil), atResolver, "resolver"},
		{"refused", with(check.ConnectRefused, nil), atServer, "refused"},
		{"a server next door", wayEvidence{near: true, card: true, page: *because(check.ConnectTimeout), path: because(check.Timeout)}, atServer, "silent"},
		{"expired", with(check.TLSExpired, nil), atCertificate, "expired"},
		{"untrusted", with(check.TLSUntrusted, nil), atCertificate, "untrusted"},
		{"another name", with(check.TLSName, nil), atCertificate, "certificate"},
		{"no handshake", with(check.TLSHandshake, nil), atCertificate, "certificate"},
		{"status", with(check.HTTPStatus, nil), atPage, "page"},
		{"content", with(check.ContentMissing, nil), atPage, "page"},
		{"leads elsewhere", with(check.HTTPRedirect, nil), atPage, "redirect"},
		{"no page comes", with(check.Timeout, nil), atPage, "slow"},
		{"it cannot be measured", with(check.Blocked, func(e *wayEvidence) { e.outside = 1 }), atPage, "unknown"},
	} {
		got := judgeWay(tc.e)
		if got.at != tc.at || got.how != tc.how {
			t.Errorf("%s: at %d, %q; want %d, %q", tc.name, got.at, got.how, tc.at, tc.how)
		}
		for fact, how := range map[string]string{"broken_after_count": "carrier", "black_hole_after_count": "hole"} {
			if tc.how != how {
				continue
			}
			if v, _ := tc.e.path.Facts.Get(fact); got.after != fmt.Sprint(v) {
				t.Errorf("%s: after hop %q, want %v", tc.name, got.after, v)
			}
		}
		if tc.how == "" {
			continue
		}
		fs := got.findings(tc.e)
		i := slices.IndexFunc(fs, func(f finding) bool { return f.sentence != "" })
		if i != int(tc.at) {
			t.Errorf("%s: the sentence stands at %d", tc.name, i)
			continue
		}
		for _, l := range []words.Lang{words.VI, words.EN} {
			for _, s := range []string{sentenceOf(l, fs[i]), words.Tell(l, fs[i].advice), words.Tell(l, "doctor."+fs[i].Key)} {
				if strings.ContainsAny(s, "<%>") || s == "" {
					t.Errorf("%s: %s", tc.name, s)
				}
			}
		}
	}
	// Whatever a page may report, there is something to say.
	for _, r := range check.Reasons() {
		for _, change := range []func(*wayEvidence){nil, broken(1), broken(4), hole, func(e *wayEvidence) { e.outside = 1 }} {
			if b := judgeWay(with(r, change)); b.at != pastAll && words.Tell(words.VI, "doctor.break."+b.how) == "<doctor.break."+b.how+">" {
				t.Errorf("%s: no sentence for %q", r, b.how)
			}
		}
	}
}

func TestFindSystem(t *testing.T) {
	p, err := plan.Parse([]byte(`plan: x
checks:
  - {id: cong.http, kind: http, every: 60s, path: tslcd, with: {url: "https://cong.test/a", contains: [Tứ Kỳ]}}
  - {id: cong.login, kind: loginpage, every: 60s, with: {url: "https://login.test/", fields: [user]}}
  - {id: cong.tcp, kind: tcp, every: 60s, with: {address: "cong.test:443"}}
`), kinds.Table())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cong.http": "https://cong.test/a", "https://cong.test/a": "https://cong.test/a", "cong.login": "https://login.test/",
		"http://other.test:8080/": "http://other.test:8080/", "other.test": "https://other.test", "ftp://other.test": "", "cong.tcp": "tcp://cong.test:443", "cong.test:443": "tcp://cong.test:443", "mail.test:587": "smtp://mail.test:587", "mail.test:993": "imap://mail.test:993", ":587": "",
		"2001:db8::1": "https://[2001:db8::1]", "fe80::1%eth0": "https://[fe80::1%25eth0]", "[::1]:587": "smtp://[::1]:587", "https://a.test:99999/": "", "a.test:0": "", "https://a.test:80": "https://a.test:80", "không có": "", "cong": "", "https://": "",
	} {
		s, err := findSystem(name, p, t.TempDir())
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is taken for %s", name, s.url)
		case want != "" && (err != nil || s.url.String() != want || s.options.String("url") != want && s.options.String("address") != s.url.Host):
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		if name == "cong.http" && (len(s.options.Strings("contains")) != 1 || s.path != plan.TSLCD) {
			t.Errorf("what the plan says of the page is lost: %v over %s", s.options, s.path)
		}
	}
}
