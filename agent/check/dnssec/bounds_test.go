package dnssec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// TestKeyTrap hands over many keys of one tag and many signatures that each of them might have made. CVE-2023-50387.
func TestKeyTrap(t *testing.T) {
	w := newWorld(t)
	keys := []mdns.RR{w.tuky.key}
	for range 40 {
		keys = append(keys, twin(t, w.tuky.key))
	}
	w.answer("tuky.lab.", "DNSKEY", w.tuky.with(keys...)...)
	m := w.said["www.tuky.lab. A"]
	for range 100 {
		bad := w.tuky.sign(m.Answer[0])
		spoil(t, bad)
		m.Answer = append(m.Answer, bad)
	}
	spoil(t, m.Answer[1])
	walk, p, err := w.prove("www.tuky.lab.", "A")
	wantProof(t, p, err, Bogus, "")
	if most := 6 + 3*maxSameTag + maxSameTag*maxSignatures; walk.Checks() > most {
		t.Errorf("%d checks, want at most %d", walk.Checks(), most)
	}
}

// TestManyDigests hands over many digests that one key might have.
func TestManyDigests(t *testing.T) {
	w := newWorld(t)
	var all []mdns.RR
	for i := range 500 {
		ds := w.tuky.ds()
		ds.Digest = fmt.Sprintf("%064x", i)
		all = append(all, ds)
	}
	w.answer("tuky.lab.", "DS", w.lab.with(all...)...)
	walk, p, err := w.prove("www.tuky.lab.", "A")
	wantProof(t, p, err, Bogus, "(DS)")
	if walk.Checks() > 30 {
		t.Errorf("%d checks", walk.Checks())
	}
}

// TestManySets spends all of a run's checks on a chain of aliases, each with signatures that do not verify before the one
// that does, over sets as large as a message can hold.
func TestManySets(t *testing.T) {
	w := newWorld(t)
	var big []mdns.RR
	for i := range 3000 {
		big = append(big, rr(t, fmt.Sprintf("www.tuky.lab. 60 A 192.%d.%d.1", i>>8, i&255)))
	}
	sig := w.tuky.sign(big...)
	m := w.answer("www.tuky.lab.", "A", big...)
	for range maxSignatures - 1 {
		bad := *sig
		spoil(t, &bad)
		m.Answer = append(m.Answer, &bad)
	}
	m.Answer = append(m.Answer, sig)
	walk, p, err := w.prove("www.tuky.lab.", "A")
	wantProof(t, p, err, Bogus, "more signature checks")
	if walk.Checks() > 12 {
		t.Errorf("%d checks of a set of %d records", walk.Checks(), len(big))
	}
}

// TestManyRounds asks for names so deep that finding what exists above them takes many hashes. CVE-2023-50868.
func TestManyRounds(t *testing.T) {
	for _, iterations := range []uint16{maxIterations, maxIterations + 1, 65535} {
		w := newWorld(t)
		name := strings.Repeat("a.", 100) + "tuky.lab."
		var proof []mdns.RR
		for i := range 8 {
			proof = append(proof, w.tuky.with(nsec3(t, "tuky.lab.", fmt.Sprintf("x%d.tuky.lab.", i), true, 0, iterations, mdns.TypeA))...)
		}
		w.deny(name, "A", true, proof...)
		walk, p, err := w.prove(name, "A")
		want := Insecure
		if iterations <= maxIterations {
			want = Bogus
		}
		if err != nil || p.Status != want {
			t.Errorf("%d rounds: %+v, %v; want status %d", iterations, p, err, want)
		}
		if walk.hashes < 0 || iterations > maxIterations && walk.hashes != maxHashes {
			t.Errorf("%d rounds: %d hashed", iterations, maxHashes-walk.hashes)
		}
	}
}

func TestManyDenials(t *testing.T) {
	w := newWorld(t)
	var proof []mdns.RR
	for i := range 9 {
		proof = append(proof, w.tuky.with(rr(t, fmt.Sprintf("x%d.tuky.lab. 60 NSEC x%d.tuky.lab. A", i, i+1)))...)
	}
	w.deny("no.tuky.lab.", "A", true, proof...)
	_, p, err := w.prove("no.tuky.lab.", "A")
	wantProof(t, p, err, Bogus, "9 and more records")
}

// TestManyQuestions has a name of so many labels, without a zone of its own, that the way down is longer than is gone.
func TestManyQuestions(t *testing.T) {
	w := newWorld(t)
	name := strings.Repeat("a.", 110) + "tuky.lab."
	for n := name; n != "tuky.lab."; n = parent(n) {
		w.deny(n, "DS", false, w.tuky.with(rr(t, n+" 60 NSEC b.tuky.lab. TXT"))...)
	}
	w.answer(name, "A", rr(t, name+" 60 A 192.0.2.1"))
	if _, _, err := w.prove(name, "A"); !errors.Is(err, errTooMany) || len(w.asked) > maxQuestions {
		t.Errorf("%v after %d questions", err, len(w.asked))
	}
}

func TestAnchors(t *testing.T) {
	s := newSigner(t, "lab.")
	ds, k := s.ds().String(), s.key.String()
	for _, text := range []string{ds, k, strings.ReplaceAll(k, "\t", " "), "lab. DS 1 13 2 " + strings.Repeat("0", 64)} {
		a, err := ParseAnchors([]string{text})
		if zone, ok := a.Above("www.tuky.LAB."); err != nil || !ok || zone != "lab." {
			t.Errorf("%q: %v, %q", text, err, zone)
		}
	}
	a, err := ParseAnchors([]string{ds})
	if _, ok := a.Above("tuky.test."); err != nil || ok {
		t.Error("an anchor above another zone")
	}
	revoked := *s.key
	revoked.Flags |= mdns.REVOKE
	for _, bad := range []string{"", "lab.", "lab. A 192.0.2.1", ds + "\n" + ds, "$INCLUDE /etc/passwd", "lab. DS 1 16 2 " + strings.Repeat("0", 64),
		"lab. DS 1 13 3 " + strings.Repeat("0", 64), "lab. DNSKEY 257 3 1 AAAA", revoked.String(), "lab. DNSKEY 0 3 13 AAAA"} {
		if _, err := ParseAnchors([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := ParseAnchors(make([]string, MaxAnchors+1)); err == nil {
		t.Error("too many were taken")
	}
	// A key as an anchor works like its digest.
	w := newWorld(t)
	p, err := New(Anchors{".": {w.root.key}}, now, w.ask).Prove(t.Context(), w.said["www.tuky.lab. A"], "www.tuky.lab.", mdns.TypeA)
	wantProof(t, p, err, Secure, "")
	// Of two anchors the nearer one counts, though the other's zone is silent.
	delete(w.said, ". DNSKEY")
	p, err = New(Anchors{".": {w.root.key}, "lab.": {w.lab.ds()}}, now, w.ask).Prove(t.Context(), w.said["www.tuky.lab. A"], "www.tuky.lab.", mdns.TypeA)
	wantProof(t, p, err, Secure, "")
}

func TestOrder(t *testing.T) {
	// RFC 4034, section 6.1.
	names := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i, a := range names {
		for j, b := range names {
			if got := placeOf(a).compare(placeOf(b)); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s with %s: %d", a, b, got)
			}
		}
	}
}

// FuzzProve hands messages to all that reads them; the signatures in it are those of the seeds.
func FuzzProve(f *testing.F) {
	w := newWorld(f)
	w.deny("no.tuky.lab.", "A", true, append(w.tuky.with(rr(f, "mx.tuky.lab. 60 NSEC www.tuky.lab. A")), w.tuky.with(rr(f, "tuky.lab. 60 NSEC a.tuky.lab. NS SOA"))...)...)
	w.deny("n3.tuky.lab.", "A", true, append(w.tuky.with(nsec3(f, "tuky.lab.", "tuky.lab.", true, 0, 3, mdns.TypeSOA)), w.tuky.with(nsec3(f, "tuky.lab.", "n3.tuky.lab.", false, 0, 3))...)...)
	for k, m := range w.said {
		name, typ, _ := strings.Cut(k, " ")
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, name, mdns.StringToType[typ])
	}
	f.Fuzz(func(t *testing.T, b []byte, name string, typ uint16) {
		m := new(mdns.Msg)
		if _, ok := mdns.IsDomainName(name); !ok || m.Unpack(b) != nil {
			return
		}
		walk := New(w.anchors(), now, func(ctx context.Context, n string, typ uint16) (*mdns.Msg, error) {
			if known, ok := w.said[key(n, mdns.Type(typ).String())]; ok {
				return known, nil
			}
			return m, nil
		})
		p, err := walk.Prove(t.Context(), m, name, typ)
		if walk.questions > maxQuestions+1 || walk.Checks() > maxChecks+1 {
			t.Errorf("%d questions, %d checks", walk.questions, walk.Checks())
		}
		if err == nil && p.Status == Secure && !p.Denied && !strings.HasSuffix(mdns.CanonicalName(name), "tuky.lab.") && len(m.Answer) > 0 && typ == mdns.TypeA {
			t.Errorf("%s is proven to have %v", name, m.Answer)
		}
	})
}

// FuzzNSEC compares what spans cover with the order of names alone.
func FuzzNSEC(f *testing.F) {
	f.Add("a.lab.", "c.lab.", "b.lab.")
	f.Add("c.lab.", "lab.", "d.lab.")
	f.Add(`\000.lab.`, `\255.lab.`, "B.LAB.")
	f.Fuzz(func(t *testing.T, owner, next, name string) {
		s, ok := spanOf(&mdns.NSEC{Hdr: mdns.RR_Header{Name: owner}, NextDomain: next})
		p := placeOf(name)
		if !ok || p == nil {
			return
		}
		if s.covers(p) && (p.compare(s.owner) == 0 || p.compare(s.next) == 0) {
			t.Errorf("%q to %q covers its own end %q", owner, next, name)
		}
		all := spans{s}
		if d := all.deny(name, mdns.TypeA); d == denialName && mdns.CanonicalName(name) == mdns.CanonicalName(owner) {
			t.Errorf("%q is denied by its own record", name)
		}
	})
}

// TestMemory proves a small world again and again and sees that nothing is kept.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w.prove("www.tuky.lab.", "A")
	w.asked = nil
	before := measure()
	for range 50 {
		w.prove("www.tuky.lab.", "A")
		w.asked = w.asked[:0]
	}
	if after := measure(); after > before+1<<20 {
		t.Errorf("%d bytes more after 50 proofs", after-before)
	}
}

// BenchmarkChain proves an answer three zones below the anchor; what is asked is there at once.
func BenchmarkChain(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		w.asked = w.asked[:0]
		if _, p, err := w.prove("www.tuky.lab.", "A"); err != nil || p.Status != Secure {
			b.Fatal(p, err)
		}
	}
}
