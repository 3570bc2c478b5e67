package dnssec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func wantProof(t *testing.T, p Proof, err error, status Status, why string) {
	t.Helper()
	if err != nil || p.Status != status || !strings.Contains(p.Why, why) || (status == Secure) != (p.Why == "") {
		t.Errorf("status %d, why %q, error %v; want status %d, %q", p.Status, p.Why, err, status, why)
	}
}

func TestChain(t *testing.T) {
	w := newWorld(t)
	walk, p, err := w.prove("www.tuky.lab.", "A")
	wantProof(t, p, err, Secure, "")
	if walk.Zones() != 3 || !walk.NotAfter().Equal(now.Add(23*time.Hour)) {
		t.Errorf("%d zones, not after %s", walk.Zones(), walk.NotAfter())
	}
	if want := []string{". DNSKEY", "lab. DS", "lab. DNSKEY", "tuky.lab. DS", "tuky.lab. DNSKEY"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked %q, want %q", w.asked, want)
	}
	if _, err := walk.Prove(t.Context(), w.said["www.tuky.lab. A"], "WWW.Tuky.Lab", mdns.TypeA); err != nil || len(w.asked) != 5 {
		t.Errorf("a second proof asked again: %q, %v", w.asked, err)
	}
}

func TestBrokenChains(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(w *world)
		status Status
		why    string
	}{
		{"broken signature", func(w *world) { spoil(w.t, w.said["www.tuky.lab. A"].Answer[1]) }, Bogus, "no signature over the A of www.tuky.lab verifies"},
		{"broken signature of keys", func(w *world) { spoil(w.t, w.said["lab. DNSKEY"].Answer[1]) }, Bogus, "DNSKEY of lab"},
		{"broken signature of digests", func(w *world) { spoil(w.t, w.said["tuky.lab. DS"].Answer[1]) }, Bogus, "DS of tuky.lab"},
		{"forged record", func(w *world) { w.said["www.tuky.lab. A"].Answer[0] = rr(w.t, "www.tuky.lab. 60 A 198.51.100.66") }, Bogus, "verifies"},
		{"one record more", func(w *world) {
			m := w.said["www.tuky.lab. A"]
			m.Answer = append(m.Answer, rr(w.t, "www.tuky.lab. 60 A 198.51.100.66"))
		}, Bogus, "verifies"},
		{"no signature", func(w *world) {
			w.said["www.tuky.lab. A"].Answer = w.said["www.tuky.lab. A"].Answer[:1]
			w.deny("www.tuky.lab.", "DS", false, w.tuky.with(rr(w.t, "www.tuky.lab. 60 NSEC tuky.lab. A RRSIG NSEC"))...)
		}, Bogus, "no signature over its A"},
		{"signed by another zone", func(w *world) {
			m := w.said["www.tuky.lab. A"]
			m.Answer[1] = newSigner(w.t, "other.lab.").sign(m.Answer[0])
			w.deny("www.tuky.lab.", "DS", false, w.tuky.with(rr(w.t, "www.tuky.lab. 60 NSEC tuky.lab. A RRSIG NSEC"))...)
		}, Bogus, "verifies"},
		{"signed by what is no zone", func(w *world) {
			m := w.said["www.tuky.lab. A"]
			m.Answer[1] = newSigner(w.t, "www.tuky.lab.").sign(m.Answer[0])
			w.deny("www.tuky.lab.", "DS", false, w.tuky.with(rr(w.t, "www.tuky.lab. 60 NSEC tuky.lab. A RRSIG NSEC"))...)
		}, Bogus, "is no zone"},
		{"another key at the anchor", func(w *world) {
			s := newSigner(w.t, ".")
			w.answer(".", "DNSKEY", s.with(s.key)...)
		}, Bogus, "no key of the root is the anchor"},
		{"another key below", func(w *world) {
			s := newSigner(w.t, "tuky.lab.")
			w.answer("tuky.lab.", "DNSKEY", s.with(s.key)...)
		}, Bogus, "(DS)"},
		{"keys signed by one that is not vouched for", func(w *world) {
			s := newSigner(w.t, "tuky.lab.")
			w.answer("tuky.lab.", "DNSKEY", s.with(s.key, w.tuky.key)...)
		}, Bogus, "DNSKEY of tuky.lab"},
		{"a revoked key", func(w *world) {
			w.lab.key.Flags |= mdns.REVOKE
			w.answer("lab.", "DS", w.root.with(w.lab.ds())...)
			w.answer("lab.", "DNSKEY", w.lab.with(w.lab.key)...)
		}, Bogus, "no key of lab"},
		{"no keys", func(w *world) { w.answer("lab.", "DNSKEY") }, Bogus, "lab has no keys"},
		{"unknown algorithm", func(w *world) {
			ds := w.tuky.ds()
			ds.Algorithm = 16 // Ed448
			w.answer("tuky.lab.", "DS", w.lab.with(ds)...)
		}, Insecure, "cannot be verified here"},
		{"unknown digest", func(w *world) {
			ds := w.tuky.ds()
			ds.DigestType = 3 // GOST
			w.answer("tuky.lab.", "DS", w.lab.with(ds)...)
		}, Insecure, "cannot be verified here"},
		{"unknown algorithm, and nobody vouches for that", func(w *world) {
			ds := w.tuky.ds()
			w.answer("tuky.lab.", "DS", w.lab.with(ds)...)
			ds.Algorithm = 16
		}, Bogus, "DS of tuky.lab"},
		{"SHA-1 beside a wrong SHA-256", func(w *world) {
			weak, strong := w.tuky.key.ToDS(mdns.SHA1), newSigner(w.t, "tuky.lab.").ds()
			weak.Hdr.Ttl = 60
			w.answer("tuky.lab.", "DS", w.lab.with(weak, strong)...)
		}, Bogus, "(DS)"},
		{"SHA-1 alone", func(w *world) {
			weak := w.tuky.key.ToDS(mdns.SHA1)
			weak.Hdr.Ttl = 60
			w.answer("tuky.lab.", "DS", w.lab.with(weak)...)
		}, Secure, ""},
		{"a digest of another key beside the right one", func(w *world) {
			w.answer("tuky.lab.", "DS", w.lab.with(newSigner(w.t, "tuky.lab.").ds(), w.tuky.ds())...)
		}, Secure, ""},
		{"a second, broken signature", func(w *world) {
			m := w.said["www.tuky.lab. A"]
			broken := w.tuky.sign(m.Answer[0])
			spoil(w.t, broken)
			m.Answer = []mdns.RR{m.Answer[0], broken, m.Answer[1]}
		}, Secure, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			walk, p, err := w.prove("www.tuky.lab.", "A")
			wantProof(t, p, err, tc.status, tc.why)
			if p.Untimely || walk.Checks() > 12 {
				t.Errorf("untimely %v, %d checks", p.Untimely, walk.Checks())
			}
		})
	}
}

func TestDates(t *testing.T) {
	for _, tc := range []struct {
		name       string
		begin, end time.Duration
		status     Status
		why        string
	}{
		{"valid", -time.Hour, time.Hour, Secure, ""},
		{"ends now", -time.Hour, 0, Secure, ""},
		{"ended", -2 * time.Hour, -time.Second, Bogus, "ended 2026-11-23T02:59:59Z"},
		{"begins later", time.Second, time.Hour, Bogus, "begins 2026-11-23T03:00:01Z"},
	} {
		for _, at := range []string{"www.tuky.lab. A", "tuky.lab. DNSKEY", "lab. DS"} {
			w := newWorld(t)
			m := w.said[at]
			s := map[string]*signer{"www.tuky.lab. A": w.tuky, "tuky.lab. DNSKEY": w.tuky, "lab. DS": w.root}[at]
			m.Answer[1] = s.between(tc.begin, tc.end, m.Answer[0])
			walk, p, err := w.prove("www.tuky.lab.", "A")
			wantProof(t, p, err, tc.status, tc.why)
			if p.Untimely != (tc.status == Bogus) {
				t.Errorf("%s, %s: untimely %v", tc.name, at, p.Untimely)
			}
			if tc.status == Secure && !walk.NotAfter().Equal(now.Add(tc.end)) {
				t.Errorf("%s, %s: not after %s", tc.name, at, walk.NotAfter())
			}
		}
	}
	// Times wrap in 2106: the nearest one counts.
	if got := when(5, time.Unix(1<<32-5, 0)); got.Unix() != 1<<32+5 {
		t.Errorf("%s", got)
	}
}

func TestUnsignedBelow(t *testing.T) {
	apex3 := func(t testing.TB, zone string) *mdns.NSEC3 {
		return nsec3(t, zone, zone, true, 0, 0, mdns.TypeNS, mdns.TypeSOA)
	}
	for _, tc := range []struct {
		name   string
		proof  func(w *world) []mdns.RR
		gone   bool
		status Status
		why    string
	}{
		{"NSEC", func(w *world) []mdns.RR { return w.lab.with(rr(w.t, "tuky.lab. 60 NSEC x.lab. NS RRSIG NSEC")) }, false, Insecure, "tuky.lab is not signed"},
		{"NSEC3", func(w *world) []mdns.RR {
			return w.lab.with(nsec3(w.t, "lab.", "tuky.lab.", true, 0, 5, mdns.TypeNS))
		}, false, Insecure, "tuky.lab is not signed"},
		{"opt-out", func(w *world) []mdns.RR {
			return append(w.lab.with(apex3(w.t, "lab.")), w.lab.with(nsec3(w.t, "lab.", "tuky.lab.", false, 1, 0))...)
		}, false, Insecure, "opt-out"},
		{"covered without opt-out, no name", func(w *world) []mdns.RR {
			return append(w.lab.with(apex3(w.t, "lab.")), w.lab.with(nsec3(w.t, "lab.", "tuky.lab.", false, 0, 0))...)
		}, false, Bogus, "nothing proves that tuky.lab is unsigned"},
		{"no proof", func(*world) []mdns.RR { return nil }, false, Bogus, "nothing proves that tuky.lab is unsigned"},
		{"there is a DS", func(w *world) []mdns.RR { return w.lab.with(rr(w.t, "tuky.lab. 60 NSEC x.lab. NS DS RRSIG NSEC")) }, false, Bogus, "nothing proves"},
		{"said by the zone itself", func(w *world) []mdns.RR {
			return w.tuky.with(rr(w.t, "tuky.lab. 60 NSEC x.tuky.lab. NS SOA RRSIG NSEC"))
		}, false, Bogus, "nothing proves"},
		{"said above as of a top", func(w *world) []mdns.RR { return w.lab.with(rr(w.t, "tuky.lab. 60 NSEC x.lab. NS SOA RRSIG NSEC")) }, false, Bogus, "nothing proves"},
		{"broken", func(w *world) []mdns.RR {
			all := w.lab.with(rr(w.t, "tuky.lab. 60 NSEC x.lab. NS RRSIG NSEC"))
			spoil(w.t, all[1])
			return all
		}, false, Bogus, "no signature over the NSEC"},
		{"another name's", func(w *world) []mdns.RR { return w.lab.with(rr(w.t, "tukz.lab. 60 NSEC x.lab. NS RRSIG NSEC")) }, false, Bogus, "nothing proves"},
		{"no zone begins there", func(w *world) []mdns.RR { return w.lab.with(rr(w.t, "tuky.lab. 60 NSEC x.lab. TXT RRSIG NSEC")) }, false, Bogus, "no signature over its A"},
		{"no such name", func(w *world) []mdns.RR {
			return append(w.lab.with(rr(w.t, "a.lab. 60 NSEC x.lab. TXT RRSIG NSEC")), w.lab.with(rr(w.t, "lab. 60 NSEC a.lab. NS SOA RRSIG NSEC"))...)
		}, true, Bogus, "no signature over its A"},
		{"too many rounds", func(w *world) []mdns.RR {
			return w.lab.with(nsec3(w.t, "lab.", "tuky.lab.", true, 0, 65535, mdns.TypeNS))
		}, false, Insecure, "too many rounds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.deny("tuky.lab.", "DS", tc.gone, tc.proof(w)...)
			w.deny("www.tuky.lab.", "DS", false, w.lab.with(rr(t, "www.tuky.lab. 60 NSEC x.lab. A RRSIG NSEC"))...)
			w.answer("www.tuky.lab.", "A", rr(t, "www.tuky.lab. 60 A 192.0.2.1"))
			walk, p, err := w.prove("www.tuky.lab.", "A")
			wantProof(t, p, err, tc.status, tc.why)
			if walk.hashes < maxHashes-200 {
				t.Errorf("%d rounds hashed", maxHashes-walk.hashes)
			}
		})
	}
}

// A case of TestDenial has records of tuky.lab. that prove something of a name and type.
func TestDenial(t *testing.T) {
	n := func(text string) func(testing.TB) mdns.RR {
		return func(t testing.TB) mdns.RR { return rr(t, text) }
	}
	h := func(name string, there bool, flags uint8, types ...uint16) func(testing.TB) mdns.RR {
		return func(t testing.TB) mdns.RR { return nsec3(t, "tuky.lab.", name, there, flags, 10, types...) }
	}
	top := h("tuky.lab.", true, 0, mdns.TypeNS, mdns.TypeSOA)
	for _, tc := range []struct {
		name   string
		of     string
		typ    string
		gone   bool
		proof  []func(testing.TB) mdns.RR
		status Status
	}{
		{"no name", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("mx.tuky.lab. 60 NSEC www.tuky.lab. A"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Secure},
		{"no name, letters large", "NO.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("MX.tuky.lab. 60 NSEC WWW.tuky.lab. A"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Secure},
		{"no name, at the end", "zz.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC tuky.lab. A"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Secure},
		{"no name, a wildcard may be", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("mx.tuky.lab. 60 NSEC www.tuky.lab. A")}, Bogus},
		{"no name, there is a wildcard", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("mx.tuky.lab. 60 NSEC www.tuky.lab. A"), n("*.tuky.lab. 60 NSEC a.tuky.lab. A")}, Bogus},
		{"no name, wildcard without the type", "no.tuky.lab.", "A", false, []func(testing.TB) mdns.RR{n("mx.tuky.lab. 60 NSEC www.tuky.lab. A"), n("*.tuky.lab. 60 NSEC a.tuky.lab. TXT")}, Secure},
		{"no name, said by nobody", "no.tuky.lab.", "A", true, nil, Bogus},
		{"no name, said of others", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("p.tuky.lab. 60 NSEC www.tuky.lab. A"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Bogus},
		{"no name, but the proof is of no type", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("no.tuky.lab. 60 NSEC www.tuky.lab. TXT")}, Bogus},
		{"no name, said above a zone cut", "a.b.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("b.tuky.lab. 60 NSEC c.tuky.lab. NS"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Bogus},
		{"no name, said above a DNAME", "a.b.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("b.tuky.lab. 60 NSEC c.tuky.lab. DNAME"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Bogus},
		{"no type", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC x.tuky.lab. A")}, Secure},
		{"no type, at the top", "tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{n("tuky.lab. 60 NSEC x.tuky.lab. A NS SOA")}, Secure},
		{"no type, but there is", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC x.tuky.lab. A AAAA")}, Bogus},
		{"no type, but an alias", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC x.tuky.lab. CNAME")}, Bogus},
		{"no type, said above a zone cut", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC x.tuky.lab. NS")}, Bogus},
		{"no type, said as no name", "www.tuky.lab.", "AAAA", true, []func(testing.TB) mdns.RR{n("www.tuky.lab. 60 NSEC x.tuky.lab. A")}, Bogus},
		{"nothing there, but below", "b.tuky.lab.", "A", false, []func(testing.TB) mdns.RR{n("a.tuky.lab. 60 NSEC x.b.tuky.lab. A")}, Secure},
		{"nothing there, but below, said as no name", "b.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{n("a.tuky.lab. 60 NSEC x.b.tuky.lab. A"), n("tuky.lab. 60 NSEC a.tuky.lab. NS SOA")}, Bogus},

		{"3: no name", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 0), h("*.tuky.lab.", false, 0)}, Secure},
		{"3: no name, deep", "a.b.no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 0), h("*.tuky.lab.", false, 0)}, Secure},
		{"3: no name, opt-out", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 1), h("*.tuky.lab.", false, 0)}, Insecure},
		{"3: no name, a wildcard may be", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 0)}, Bogus},
		{"3: no name, no encloser", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{h("no.tuky.lab.", false, 0), h("*.tuky.lab.", false, 0)}, Bogus},
		{"3: no name, the name itself covered alone", "a.no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("a.no.tuky.lab.", false, 0), h("*.tuky.lab.", false, 0)}, Bogus},
		{"3: no name, below a zone cut", "a.b.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{h("b.tuky.lab.", true, 0, mdns.TypeNS), h("a.b.tuky.lab.", false, 0), h("*.b.tuky.lab.", false, 0)}, Bogus},
		{"3: no type", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{h("www.tuky.lab.", true, 0, mdns.TypeA)}, Secure},
		{"3: no type, but there is", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{h("www.tuky.lab.", true, 0, mdns.TypeAAAA)}, Bogus},
		{"3: no type, but an alias", "www.tuky.lab.", "AAAA", false, []func(testing.TB) mdns.RR{h("www.tuky.lab.", true, 0, mdns.TypeCNAME)}, Bogus},
		{"3: no type of a wildcard", "no.tuky.lab.", "A", false, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 0), h("*.tuky.lab.", true, 0, mdns.TypeTXT)}, Secure},
		{"3: nothing there, but below", "b.tuky.lab.", "A", false, []func(testing.TB) mdns.RR{h("b.tuky.lab.", true, 0)}, Secure},
		{"3: another hash", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{func(t testing.TB) mdns.RR {
			r := nsec3(t, "tuky.lab.", "tuky.lab.", true, 0, 10, mdns.TypeSOA)
			r.Hash = 2
			return r
		}, h("no.tuky.lab.", false, 0), h("*.tuky.lab.", false, 0)}, Bogus},
		{"3: flags that are not known", "no.tuky.lab.", "A", true, []func(testing.TB) mdns.RR{top, h("no.tuky.lab.", false, 2), h("*.tuky.lab.", false, 0)}, Bogus},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			var all []mdns.RR
			for _, r := range tc.proof {
				all = append(all, w.tuky.with(r(t))...)
			}
			w.deny(tc.of, tc.typ, tc.gone, all...)
			w.deny("no.tuky.lab.", "DS", false, w.tuky.with(rr(t, "no.tuky.lab. 60 NSEC x.tuky.lab. TXT"))...)
			_, p, err := w.prove(tc.of, tc.typ)
			if err != nil || p.Status != tc.status || p.Denied != (tc.status == Secure) {
				t.Errorf("%+v, %v; want status %d", p, err, tc.status)
			}
		})
	}
}

func TestWildcards(t *testing.T) {
	// What a wildcard gives stands under the name asked; its signature is over the star.
	expand := func(w *world, proof ...mdns.RR) {
		star := rr(w.t, "*.tuky.lab. 60 A 192.0.2.7")
		sig := w.tuky.sign(star)
		star.Header().Name, sig.Hdr.Name = "a.b.tuky.lab.", "a.b.tuky.lab."
		w.answer("a.b.tuky.lab.", "A", star, sig).Ns = proof
	}
	for _, tc := range []struct {
		name   string
		proof  func(w *world) []mdns.RR
		status Status
	}{
		{"NSEC", func(w *world) []mdns.RR { return w.tuky.with(rr(w.t, "*.tuky.lab. 60 NSEC www.tuky.lab. A")) }, Secure},
		{"no proof", func(*world) []mdns.RR { return nil }, Bogus},
		{"a name nearer than the wildcard", func(w *world) []mdns.RR { return w.tuky.with(rr(w.t, "b.tuky.lab. 60 NSEC www.tuky.lab. A")) }, Bogus},
		{"something below the nearer name", func(w *world) []mdns.RR { return w.tuky.with(rr(w.t, "*.tuky.lab. 60 NSEC c.b.tuky.lab. A")) }, Bogus},
		{"NSEC3", func(w *world) []mdns.RR { return w.tuky.with(nsec3(w.t, "tuky.lab.", "b.tuky.lab.", false, 0, 1)) }, Secure},
		{"NSEC3 of the whole name", func(w *world) []mdns.RR {
			return w.tuky.with(nsec3(w.t, "tuky.lab.", "a.b.tuky.lab.", false, 0, 1))
		}, Bogus},
		{"NSEC3, opt-out", func(w *world) []mdns.RR { return w.tuky.with(nsec3(w.t, "tuky.lab.", "b.tuky.lab.", false, 1, 1)) }, Insecure},
		{"NSEC3, too many rounds", func(w *world) []mdns.RR {
			return w.tuky.with(nsec3(w.t, "tuky.lab.", "b.tuky.lab.", false, 0, 151))
		}, Insecure},
	} {
		w := newWorld(t)
		expand(w, tc.proof(w)...)
		if _, p, err := w.prove("a.b.tuky.lab.", "A"); err != nil || p.Status != tc.status {
			t.Errorf("%s: %+v, %v; want status %d", tc.name, p, err, tc.status)
		}
	}
	w := newWorld(t)
	w.answer("*.tuky.lab.", "A", w.tuky.with(rr(t, "*.tuky.lab. 60 A 192.0.2.7"))...)
	_, p, err := w.prove("*.tuky.lab.", "A")
	wantProof(t, p, err, Secure, "")
}

// TestWildcardOfDenials has a denial under another name than its own, as if it stemmed from a wildcard.
func TestWildcardOfDenials(t *testing.T) {
	w := newWorld(t)
	star := rr(t, "*.tuky.lab. 60 NSEC www.tuky.lab. A")
	sig := w.tuky.sign(star)
	star.Header().Name, sig.Hdr.Name = "mx.tuky.lab.", "mx.tuky.lab."
	w.deny("no.tuky.lab.", "A", true, append(w.tuky.with(rr(t, "tuky.lab. 60 NSEC a.tuky.lab. NS SOA")), star, sig)...)
	_, p, err := w.prove("no.tuky.lab.", "A")
	wantProof(t, p, err, Bogus, "nothing proves")
}

func TestAliases(t *testing.T) {
	cname := func(w *world, from, to string) []mdns.RR {
		return w.tuky.with(rr(w.t, fmt.Sprintf("%s 60 CNAME %s", from, to)))
	}
	for _, tc := range []struct {
		name   string
		answer func(w *world) []mdns.RR
		status Status
		why    string
	}{
		{"one", func(w *world) []mdns.RR {
			return append(cname(w, "m.tuky.lab.", "www.tuky.lab."), w.said["www.tuky.lab. A"].Answer...)
		}, Secure, ""},
		{"forged", func(w *world) []mdns.RR {
			all := cname(w, "m.tuky.lab.", "elsewhere.tuky.lab.")
			all[0] = rr(w.t, "m.tuky.lab. 60 CNAME www.tuky.lab.")
			return append(all, w.said["www.tuky.lab. A"].Answer...)
		}, Bogus, "CNAME of m.tuky.lab"},
		{"to another zone", func(w *world) []mdns.RR {
			return append(cname(w, "m.tuky.lab.", "x.lab."), w.lab.with(rr(w.t, "x.lab. 60 A 192.0.2.9"))...)
		}, Secure, ""},
		{"to an unsigned zone", func(w *world) []mdns.RR {
			w.deny("plain.lab.", "DS", false, w.lab.with(rr(w.t, "plain.lab. 60 NSEC x.lab. NS"))...)
			return append(cname(w, "m.tuky.lab.", "plain.lab."), rr(w.t, "plain.lab. 60 A 192.0.2.9"))
		}, Insecure, "plain.lab is not signed"},
		{"in a circle", func(w *world) []mdns.RR {
			return append(cname(w, "m.tuky.lab.", "n.tuky.lab."), cname(w, "n.tuky.lab.", "m.tuky.lab.")...)
		}, Bogus, "circle"},
		{"without end", func(w *world) []mdns.RR {
			var all []mdns.RR
			from := "m.tuky.lab."
			for i := range 20 {
				to := fmt.Sprintf("m%d.tuky.lab.", i)
				all = append(all, cname(w, from, to)...)
				from = to
			}
			return all
		}, Bogus, "more than 16"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.deny("m.tuky.lab.", "DS", false, w.tuky.with(rr(t, "m.tuky.lab. 60 NSEC n.tuky.lab. CNAME"))...)
			w.answer("m.tuky.lab.", "A", tc.answer(w)...)
			_, p, err := w.prove("m.tuky.lab.", "A")
			wantProof(t, p, err, tc.status, tc.why)
		})
	}
}

func TestTreeAlias(t *testing.T) {
	for _, tc := range []struct {
		target string
		status Status
		why    string
	}{{"www.tuky.lab.", Secure, ""}, {"evil.tuky.lab.", Bogus, "not what old.tuky.lab says"}} {
		w := newWorld(t)
		all := append(w.tuky.with(rr(t, "old.tuky.lab. 60 DNAME tuky.lab.")), rr(t, "www.old.tuky.lab. 60 CNAME "+tc.target))
		w.answer("www.old.tuky.lab.", "A", append(all, w.said["www.tuky.lab. A"].Answer...)...)
		_, p, err := w.prove("www.old.tuky.lab.", "A")
		wantProof(t, p, err, tc.status, tc.why)
	}
}

func TestNoDNSSECOnTheWay(t *testing.T) {
	w := newWorld(t)
	w.answer(".", "DNSKEY", w.root.key)
	if _, _, err := w.prove("www.tuky.lab.", "A"); !errors.Is(err, ErrStripped) {
		t.Errorf("%v", err)
	}
	w = newWorld(t)
	delete(w.said, "lab. DS")
	if _, _, err := w.prove("www.tuky.lab.", "A"); !errors.Is(err, errSilent) {
		t.Errorf("%v", err)
	}
}

func TestNotUnderAnAnchor(t *testing.T) {
	w := newWorld(t)
	walk := New(Anchors{"other.": {w.root.ds()}}, now, w.ask)
	p, err := walk.Prove(t.Context(), w.said["www.tuky.lab. A"], "www.tuky.lab.", mdns.TypeA)
	wantProof(t, p, err, Insecure, "no anchor")
	if len(w.asked) > 0 {
		t.Errorf("asked %q", w.asked)
	}
}
